"""Evicting by request: an object's metadata and blocks leave this host's memory, and its SSD, whoever may have used them.

Blocks are keyed by version, not by name; so which ones are an object's follows from versions that somebody knows: this host's record, current or not,
or else the origin, or the host that asks. Blocks of older versions, which nobody can ask for any more, go by themselves.

What goes is not found by anybody from then on. Its memory is free at once where nobody holds it, else when the last holder lets go; what is pinned
stays. A fill under way is left alone: somebody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from aviary.cashy.v1.operate_pb2 import HostEvicted, ObjectVersion
from cashy.core.meta_record import KIND_BLOCK
from cashy.core.names import ObjectName, block_digest, meta_digest
from cashy.disk.tier import DiskTier
from cashy.errors import TooLarge
from cashy.master.catalog import Catalog, Known
from cashy.master.counters import Counters
from cashy.master.limits import EVICT_BLOCKS_MAX, OPERATE_BLOCKS_PER_TURN
from cashy.master.store import BlockStore
from shmipc.states import State

__all__ = ["Evictor", "version_of"]


def version_of(known: Known) -> ObjectVersion:
    """By what a version's blocks are found."""
    return ObjectVersion(content_id=known.content.content_id, blocks=known.content.block_count)


class _Dropped:
    """What one request let go of."""

    def __init__(self, store: BlockStore) -> None:
        self.answer = HostEvicted()
        self._store = store
        self._latest: list[tuple[int, int, int]] = []  # of blocks not reclaimed yet: slot, generation, bytes
        self._held: list[tuple[int, int, int]] = []

    def retire(self, slot: int) -> None:
        """Lets go of a slot."""
        fields = self._store.arena.fields(slot)
        if fields.kind == KIND_BLOCK:
            self.answer.blocks += 1
            self.answer.bytes += fields.length
            self._latest.append((slot, self._store.arena.generation(slot), fields.length))
        self._store.retire(slot)
        if len(self._latest) == OPERATE_BLOCKS_PER_TURN:
            self.reclaim()

    def reclaim(self) -> None:
        """Frees what nobody holds; the rest is remembered."""
        self._store.reclaim()
        self._held += filter(self._takes_room, self._latest)
        self._latest.clear()

    def _takes_room(self, block: tuple[int, int, int]) -> bool:
        slot, generation, _ = block
        arena = self._store.arena
        return arena.state(slot) is State.RETIRED and arena.generation(slot) == generation

    def finish(self) -> HostEvicted:
        """The answer, with what takes up room still."""
        self.reclaim()
        for _slot, _generation, size_bytes in filter(self._takes_room, self._held):
            self.answer.held_blocks += 1
            self.answer.held_bytes += size_bytes
        return self.answer


class Evictor:
    """Evicts from this host's memory. ``is_pinned`` says of a slot whether it is to stay."""

    def __init__(
        self, store: BlockStore, catalog: Catalog, counters: Counters, is_pinned: Callable[[int], bool], disk: DiskTier | None = None
    ) -> None:  # fmt: skip
        self._disk = disk
        self._store = store
        self._catalog = catalog
        self._counters = counters
        self._is_pinned = is_pinned

    async def version(self, name: ObjectName) -> ObjectVersion:
        """The version that this host knows of, else what its home or the origin says. Raises a ``CashyError``."""
        known = self._catalog.last_known(name)
        version = version_of(known if known is not None else await self._catalog.stat(name))
        if version.blocks > EVICT_BLOCKS_MAX:
            raise TooLarge(
                f"{name.url} has {version.blocks:,} blocks, and at most {EVICT_BLOCKS_MAX:,} are looked for: evict everything"
            )
        return version

    async def evict(self, names: Sequence[ObjectName], versions: Iterable[ObjectVersion]) -> HostEvicted:
        """Evicts these objects, in the versions given and in those that this host knows of."""
        wanted = {version.content_id: version.blocks for version in versions}
        for name in names:
            known = self._catalog.last_known(name)
            if known is not None:
                wanted[known.content.content_id] = known.content.block_count
            slot = self._store.find(meta_digest(name))
            if slot >= 0 and not self._is_pinned(slot):
                self._store.retire(slot)
        dropped = _Dropped(self._store)
        for content_id, block_count in wanted.items():
            digests = (block_digest(content_id, index) for index in range(min(block_count, EVICT_BLOCKS_MAX)))
            before = dropped.answer.ssd_blocks
            found = await self._drop((self._found(digest, dropped) for digest in digests), dropped)
            dropped.answer.objects += found or dropped.answer.ssd_blocks > before
        return self._finish(dropped)

    def _found(self, digest: bytes, dropped: _Dropped) -> int:
        """A block's slot; it goes from the SSD here, if it is there or on its way there, unless it is pinned in memory."""
        slot = self._store.find(digest)
        if self._disk is not None and not (slot >= 0 and self._is_pinned(slot)):
            on_disk = self._disk.find(digest)
            if on_disk is not None:
                dropped.answer.ssd_blocks += 1
                dropped.answer.ssd_bytes += on_disk.length
            self._disk.forget(digest)
        return slot

    async def evict_everything(self) -> HostEvicted:
        """Evicts from memory whatever is not pinned; the answer cannot say of how many objects, since blocks do not say whose they are."""
        dropped = _Dropped(self._store)
        await self._drop(self._store.ready_slots(), dropped)
        return self._finish(dropped)

    async def _drop(self, slots: Iterable[int], dropped: _Dropped) -> bool:
        """Lets go of slots, with turns for everybody else in between; returns whether there was any."""
        found = False
        for count, slot in enumerate(slots, 1):
            if slot >= 0:
                found = True
                if self._is_pinned(slot):
                    dropped.answer.pinned_blocks += self._store.arena.fields(slot).kind == KIND_BLOCK
                else:
                    dropped.retire(slot)
            if not count % OPERATE_BLOCKS_PER_TURN or self._store.turn_is_over():
                await asyncio.sleep(0)
        return found

    def _finish(self, dropped: _Dropped) -> HostEvicted:
        answer = dropped.finish()
        self._counters.add("blocks_evicted_by_request", answer.blocks)
        self._counters.add("bytes_evicted_by_request", answer.bytes)
        return answer
