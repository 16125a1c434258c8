"""A host's disk tier: blocks in the order in which they were written, the oldest overwritten first; reads and writes queue for the disk."""

from __future__ import annotations

from .events import Draws, Events
from .model import Shape

__all__ = ["Disk"]


class Disk:
    """``slow`` is a factor on every time (a disk that is about to fail)."""

    def __init__(self, shape: Shape, events: Events, latency: Draws) -> None:
        self._events, self._latency = events, latency
        self._block_ns = shape.block_ns(shape.disk_bytes_s)
        self._room = shape.disk_blocks
        self._blocks: dict[int, None] = {}
        self._free_ns = 0
        self.slow = 1.0

    def __contains__(self, content: int) -> bool:
        return content in self._blocks

    def __len__(self) -> int:
        return len(self._blocks)

    def write(self, content: int) -> None:
        """Keeps a block; what is oldest goes for it."""
        if content in self._blocks:
            return
        if len(self._blocks) >= self._room:
            del self._blocks[next(iter(self._blocks))]
        self._blocks[content] = None
        self._occupy()

    def read_ends_ns(self) -> int:
        """When a read that is asked for now has its bytes."""
        return self._occupy() + int(self._latency.next() * self.slow)

    def _occupy(self) -> int:
        self._free_ns = max(self._free_ns, self._events.now_ns) + int(self._block_ns * self.slow)
        return self._free_ns
