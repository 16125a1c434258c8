"""Looks whether what lies in memory is still what was filed there: after a restart all of it, then round and round.

A predecessor's slots are nobody's until they are verified (:class:`~shmipc.states.State`); whatever is asked for is verified on the way
(:meth:`cashy.master.store.BlockStore.find`), and meanwhile this goes through the rest, so that hits become hits again: metadata first, since nothing
is found without it, then what readers have used last, as far as their touch marks tell, then the others. A thread computes while the loop
serves; it rests as long as it works, and so gets through some 10 GB a second [measured]. From then on it goes round slowly, for the sake of memory
that rots.

The verdict on a slot counts only if its word is still the same afterwards: else it was given up meanwhile, and its memory may be another's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import crc32c

from cashy.core.meta_record import KIND_META
from cashy.limits import SCRUB_BATCH_BYTES, SCRUB_BATCH_SLOTS, SCRUB_BYTES_PER_S, SCRUB_PAUSE_S, SCRUB_SHARE
from cashy.master.counters import Counters
from cashy.master.store import BlockStore
from shmipc.layout import unpack_pin
from shmipc.states import State

__all__ = ["Verifier"]

_Pause = Callable[[float, int], float]

_READABLE = (State.READY, State.ADOPTED)


class _Case(NamedTuple):
    """A slot to be looked at, under the word it has now."""

    slot: int
    word: int
    content: memoryview
    crc: int


class Verifier:
    """Of one store, on its loop."""

    def __init__(self, store: BlockStore, counters: Counters) -> None:
        self._store = store
        self._counters = counters
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="verify")

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._go_through(self._by_heat(), self._rest_as_long)
        while True:
            if not await self._go_through(range(self._store.arena.geometry.slot_count), self._go_slowly):
                await asyncio.sleep(SCRUB_PAUSE_S)

    def close(self) -> None:
        """Ends the thread, after what it is at: some megabytes."""
        self._thread.shutdown()

    def _by_heat(self) -> list[int]:
        """A predecessor's slots in the order in which they are likely to be wanted."""
        arena = self._store.arena
        if not self._store.unverified:
            return []
        adopted = arena.adopted_slots()
        metadata = [slot for slot in adopted if arena.fields(slot).kind == KIND_META]
        marks = [unpack_pin(word) for table in arena.tables.tables() for word in table.recent_marks()]
        slot_count = arena.geometry.slot_count
        used = [
            slot
            for slot, generation in reversed(marks)
            if slot < slot_count and arena.generation(slot) == generation
        ]
        return list(dict.fromkeys((*metadata, *used, *adopted)))

    # --- going through ---

    async def _go_through(self, slots: Iterable[int], pause_s: _Pause) -> int:
        """Looks at slots, with a rest after each batch; returns how many there were to look at."""
        loop = asyncio.get_running_loop()
        count = 0
        for batch in self._batches(slots):
            began = loop.time()
            verdicts = await loop.run_in_executor(self._thread, _look, batch)
            took_s = loop.time() - began
            count += len(batch)
            self._judge(batch, verdicts)
            size_bytes = sum(len(case.content) for case in batch)
            for case in batch:
                case.content.release()
            await asyncio.sleep(pause_s(took_s, size_bytes))
        return count

    def _batches(self, slots: Iterable[int]) -> Iterator[list[_Case]]:
        arena = self._store.arena
        batch: list[_Case] = []
        size_bytes = 0
        for slot in slots:
            if arena.state(slot) not in _READABLE:
                continue
            batch.append(
                _Case(slot, arena.word(slot), arena.content(slot).toreadonly(), arena.fields(slot).crc)
            )
            size_bytes += len(batch[-1].content)
            if size_bytes >= SCRUB_BATCH_BYTES or len(batch) == SCRUB_BATCH_SLOTS:
                yield batch
                batch, size_bytes = [], 0
        if batch:
            yield batch

    def _judge(self, batch: list[_Case], verdicts: list[bool]) -> None:
        store = self._store
        for case, is_intact in zip(batch, verdicts, strict=True):
            if store.arena.word(case.slot) == case.word:
                store.judge(case.slot, is_intact)
                self._counters.add("slots_scrubbed")

    @staticmethod
    def _rest_as_long(took_s: float, size_bytes: int) -> float:
        return took_s * (1 / SCRUB_SHARE - 1)

    @staticmethod
    def _go_slowly(took_s: float, size_bytes: int) -> float:
        return size_bytes / SCRUB_BYTES_PER_S


def _look(batch: list[_Case]) -> list[bool]:
    """In the thread: whether each has its checksum. Releases the interpreter for all but the smallest."""
    return [crc32c.crc32c(case.content) == case.crc for case in batch]
