"""kill -9 of ring and log writers and readers at random points loses and doubles nothing (see ring_kill_harness)."""

from __future__ import annotations

import os

import pytest
from tests.shmipc.support import run_harness

KILLS = int(os.environ.get("SHMIPC_KILL_ROUNDS", "2000"))
SEED = os.environ.get("SHMIPC_KILL_SEED")


@pytest.mark.slow
@pytest.mark.timeout(120 + KILLS)
def test_killed_writers_and_readers_lose_nothing_and_double_nothing() -> None:
    seed = SEED or str(int.from_bytes(os.urandom(4), "little"))
    got = run_harness("ring_kill_harness", str(KILLS), seed, timeout_s=100 + KILLS)
    # Order, contents, beginnings of successors and sleeps were checked by the processes themselves; here the end, and that it was a trial at all.
    assert got["lag"] == 0, f"seed {seed}: {got}"
    assert got["write_ring_kills"] + got["read_ring_kills"] >= KILLS
    if KILLS >= 500:
        assert min(got["write_log_kills"], got["read_log_kills"]) > KILLS // 20, f"seed {seed}: {got}"
        moved = ("full", "room_waits", "data_waits", "redelivered", "staged_lost", "log_gaps", "log_messages")
        assert all(got[name] > 10 for name in moved), f"seed {seed}: {got}"
        assert got["acknowledged"] > 10 * KILLS, f"seed {seed}: {got}"
