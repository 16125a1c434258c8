"""kill -9 of owners and readers at random points harms nobody and leaks nothing (see kill_harness)."""

from __future__ import annotations

import os

import pytest
from tests.shmipc.support import run_harness

ROUNDS = int(os.environ.get("SHMIPC_KILL_ROUNDS", "2000"))
SEED = os.environ.get("SHMIPC_KILL_SEED")


@pytest.mark.slow
@pytest.mark.timeout(120 + ROUNDS)
def test_killed_owners_and_readers_leave_everything_in_order() -> None:
    seed = SEED or str(int.from_bytes(os.urandom(4), "little"))
    got = run_harness("kill_harness", str(ROUNDS), seed, timeout_s=100 + ROUNDS)
    # Nothing leaked: with all readers gone every slot is FREE or READY, every cell is somebody's, none is two's.
    assert got["free"] + got["ready"] == got["slots"], f"seed {seed}: {got}"
    assert got["leasable"] == got["free"], f"seed {seed}: {got}"
    assert (got["overlaps"], got["not_evicted"]) == (0, 0), f"seed {seed}: {got}"
    # Dead tables are retired, also by the next owner.
    assert (got["tables"], got["table_files"]) == (0, 0), f"seed {seed}: {got}"
    # The run has shown what it should: kills of both kinds, live pins honoured by later owners, and work in between.
    assert got["adopted"] == 1
    assert got["owner_kills"] + got["reader_kills"] >= ROUNDS
    if ROUNDS >= 500:
        moved = (
            "starts",
            "live_tables_adopted",
            "pins_adopted",
            "tables_retired",
            "keeper_held_across",
            "spared",
        )
        assert all(got[name] > 10 for name in (*moved, "aborted", "invalidated", "filling_reads")), got
