"""Reads of blocks from this host's SSD, each into a slot of its own, before anybody else is asked.

Law: one rule more than a route has (:mod:`cashy.master.routes`). A thread that reads from a disk which hangs may write into its slot at any later
time, so what comes next never goes on in this slot: it is given up, stays the thread's until the thread has come back, and the block's route begins
anew in another one. So nothing is announced from here before it is complete and verified, and a disk that fails costs at most
:data:`cashy.disk.limits.READ_S_MAX`, named there, and never the read.
"""

from __future__ import annotations

from collections.abc import Callable

from cashy.disk.tier import DiskBlock, DiskRead, DiskTier
from cashy.errors import CashyError
from cashy.master.store import BlockStore

__all__ = ["SsdRead"]


class SsdRead:
    """One block on its way from the SSD. ``done(None, slot, crc)``: it is in ``slot``, which is FILLING and complete; ``done(error, -1, 0)``: ask
    others.

    ``done`` is called once, later, unless the read is cancelled. Raises ``ArenaFull``.
    """

    __slots__ = ("_done", "_is_over", "_read", "_slot", "_store")

    def __init__(
        self, store: BlockStore, tier: DiskTier, block: DiskBlock, done: Callable[[CashyError | None, int, int], None], *, is_one_of_many: bool
    ) -> None:  # fmt: skip
        self._store = store
        self._done = done
        self._is_over = False
        self._slot = store.lease_block(block.digest, block.length, is_one_of_many)
        store.attach(self._slot)
        self._read: DiskRead = tier.read(block, store.buffer(self._slot), self._on_done, self._on_detached)

    def _on_done(self, error: CashyError | None, crc: int) -> None:
        if self._is_over:
            return
        self._is_over = True
        if error is not None:
            self._store.abort(self._slot)
            self._done(error, -1, 0)
            return
        self._store.advance(self._slot, self._store.arena.fields(self._slot).length)
        self._done(None, self._slot, crc)

    def _on_detached(self) -> None:
        self._store.detach(self._slot)

    def cancel(self) -> None:
        """Nobody wants it any more."""
        if not self._is_over:
            self._is_over = True
            self._read.cancel()
            self._store.abort(self._slot)
