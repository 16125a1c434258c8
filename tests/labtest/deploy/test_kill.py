"""A shell that is killed with SIGKILL while it carries a plan out, on hosts that are on disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.labtest.deploy.labs import Bench
from tests.labtest.deploy.test_deployment import brought_up, play
from tests.labtest.deploy.test_trouble import moved

from labtest.deploy.journal import journals

REPOSITORY = Path(__file__).resolve().parents[3]
DEADLINE_S = 30.0


def killed_after(folder: Path, bench: Bench, records: int) -> bool:
    """Runs the program until its journal has so many records, and kills it; whether it was still at it."""
    before = len(journals(bench.folder.path / "journal"))
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.labtest.deploy.killed_program", str(folder)],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + DEADLINE_S
        while program.poll() is None and time.monotonic() < deadline:
            there = journals(bench.folder.path / "journal")
            if len(there) > before and there[-1].read_bytes().count(b"\n") >= records:
                break
        was_alive = program.poll() is None
        program.send_signal(signal.SIGKILL)
        return was_alive
    finally:
        program.kill()
        program.wait()


@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_a_killed_shell_is_recovered_from(tmp_path: Path, way: str) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    records = random.Random(seed).randrange(1, 40)
    bench = Bench(tmp_path, are_stored=True)
    play(lambda: brought_up(bench))
    assert killed_after(tmp_path, bench, records), f"it had ended before its journal had {records} records"

    async def body() -> None:
        again = Bench(tmp_path, are_stored=True)  # from what is on the disk
        async with again.open() as d:
            assert d.unfinished is not None
            assert d.unfinished.began.who == "the one that is killed"
            assert again.is_unlocked()
            if way == "resume":
                await d.apply(await d.plan_resume())
                assert moved(again)
            else:
                await d.apply(await d.plan_rollback())
                assert again.is_at(again.target())
                assert len(d.desired.pending) == 3
            assert d.unfinished is None
            assert (await d.drift()).plan.steps == ()

    play(body)
