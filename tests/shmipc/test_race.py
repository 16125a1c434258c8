"""Readers against an owner that evicts and refills as fast as it can: never a byte of another block."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.shmipc.race_harness import Unchecked
from tests.shmipc.support import CellArena, Client, digest_of, pattern, run_harness

from shmipc import arena as arena_module
from shmipc import fence
from shmipc.arena import ArenaReader, Hit
from shmipc.pins import PinTable
from shmipc.states import State
from shmipc.tables import TableFolder

READS = int(os.environ.get("SHMIPC_RACE_READS", "200000"))  # 10_000_000 in the long mode
UNCHECKED_READS_MAX = 3_000_000  # found within some 30,000 as a rule; the run stops at the first


@pytest.mark.slow
@pytest.mark.timeout(180 + READS // 1000)
def test_no_read_ever_sees_another_block() -> None:
    got = run_harness("race_harness", str(READS), timeout_s=150 + READS // 1000)
    assert got["reads"] >= READS
    assert got["freed"] > READS // 100, "the owner has evicted under the readers"
    assert (got["wrong"], got["failed"], got["still_held"]) == (0, 0, 0), got


@pytest.mark.slow
def test_without_the_recheck_the_race_is_found() -> None:
    got = run_harness("race_harness", str(UNCHECKED_READS_MAX), "unchecked", timeout_s=290)
    assert got["failed"] == 0, got
    assert got["wrong"] > 0, f"the race test cannot fail: {got}"


def _interrupted(kind: type[ArenaReader], interrupt: Callable[[int], None]) -> type[ArenaReader]:
    """A reader to whom something happens between its look at the word and its pin: the widest window there is."""

    class Interrupted(kind):  # type: ignore[misc, valid-type]
        def _pin(self, table: PinTable, digest: bytes, slot: int, word: int) -> Hit | None:
            interrupt(slot)
            found: Hit | None = super()._pin(table, digest, slot, word)
            return found

    return Interrupted


@pytest.mark.parametrize("kind", [ArenaReader, Unchecked])
def test_an_eviction_between_look_and_pin(arena: CellArena, kind: type[ArenaReader]) -> None:
    wanted, other = digest_of(1), digest_of(2)
    arena.fill(wanted)
    client = Client(arena.owner)
    freed: list[int] = []

    def evict(slot: int) -> None:
        assert arena.evict(slot) == []
        freed.append(slot)

    reader = _interrupted(kind, evict)(client.reader.segment, arena.owner.arena_id)
    hit = reader.pin(client.table, wanted)
    again = arena.fill(other)
    assert freed == [again], "the slot was reused"
    if kind is ArenaReader:
        assert hit is None
        assert client.table.pinned_entries == 0
    else:
        assert hit is not None
        assert client.bytes_of(hit) == pattern(other, hit.generation + 1, hit.fields.length), (
            "a foreign block"
        )


def test_a_new_generation_of_the_same_block_is_not_what_was_looked_at(arena: CellArena) -> None:
    wanted = digest_of(1)
    arena.fill(wanted)
    client = Client(arena.owner)

    def recycle(slot: int) -> None:
        arena.evict(slot)
        arena.fill(wanted)

    reader = _interrupted(ArenaReader, recycle)(client.reader.segment, arena.owner.arena_id)
    assert reader.pin(client.table, wanted) is None


class _Recorder:
    """Notes the order of marking, fence and scan."""

    def __init__(self, arena: CellArena, patch: pytest.MonkeyPatch) -> None:
        self.events: list[str | list[State]] = []
        self.slots: list[int] = []
        fence_readers, scan = fence.fence_readers, TableFolder.scan

        def recorded_fence() -> None:
            self.events.append([arena.owner.state(slot) for slot in self.slots])
            self.events.append("fence")
            fence_readers()

        def recorded_scan(folder: TableFolder) -> set[int]:
            self.events.append("scan")
            return scan(folder)

        patch.setattr(arena_module, "fence_readers", recorded_fence)
        patch.setattr(TableFolder, "scan", recorded_scan)


def test_evict_fences_after_marking_all_and_before_scanning(
    arena: CellArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena.client()  # without one nobody can pin, and there is nothing to fence
    recorder = _Recorder(arena, monkeypatch)
    recorder.slots = [arena.fill(digest_of(number)) for number in range(3)]
    arena.evict(*recorder.slots)
    assert recorder.events == [[State.EVICTING] * 3, "fence", "scan"]
    assert [arena.owner.state(slot) for slot in recorder.slots] == [State.FREE] * 3


def test_reclaim_retired_fences_before_scanning(arena: CellArena, monkeypatch: pytest.MonkeyPatch) -> None:
    arena.client()
    recorder = _Recorder(arena, monkeypatch)
    recorder.slots = [arena.fill(digest_of(1)), arena.lease(digest_of(2))]
    arena.owner.invalidate(recorder.slots[0])
    arena.owner.abort(recorder.slots[1])
    assert recorder.events == []
    assert arena.reclaim_retired() == 2
    assert recorder.events == [[State.RETIRED] * 2, "fence", "scan"]


def test_a_failing_fence_frees_nothing_and_leaves_nothing_marked(
    arena: CellArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("no fence")

    slot = arena.fill(digest_of(1))
    arena.client()
    monkeypatch.setattr(arena_module, "fence_readers", fail)
    with pytest.raises(OSError, match="no fence"):
        arena.owner.evict([slot])
    assert arena.owner.state(slot) is State.READY
