"""kill -9 of the writing process at random points loses nothing that was acknowledged (see kill_harness)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
ROUNDS = int(os.environ.get("TOUCAN_KILL_ROUNDS", "60"))
SEED = os.environ.get("TOUCAN_KILL_SEED")


@pytest.mark.slow
@pytest.mark.timeout(120 + ROUNDS)
def test_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    seed = SEED or str(int.from_bytes(os.urandom(4), "little"))
    command = [sys.executable, "-m", "tests.toucan.journal.kill_harness", str(tmp_path), str(ROUNDS), seed]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=100 + ROUNDS
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    got = json.loads(done.stdout)
    assert got["kills"] == ROUNDS
    assert got["events"] == got["last_seq"]
    # That it was a trial at all.
    if ROUNDS >= 60:
        assert got["commits"] > ROUNDS, f"seed {seed}: {got}"
        assert got["segments"] > 5, f"seed {seed}: {got}"
        assert got["in_opening"] > 0, f"seed {seed}: {got}"
