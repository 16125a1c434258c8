"""A view larger than what one client may pin: blocks in memory are pinned, the others are mapped from their files on the host's SSD.

Law: here is which of a view's blocks take pinned memory and which a file, and how long each is kept; what is asked of the daemon is
:mod:`cashy.client.gather`'s affair, how pages come into their places :mod:`shmipc.view`'s.

Pinned are blocks found in memory, up to half of what this client may pin: the rest is for its other reads, and for blocks on their way to the SSD. A
file is mapped at once and its descriptor closed, so a view needs no more descriptors than one answer brings. The daemon has verified the file when it
opened it, and never writes into it again; deleting it (eviction, the end of the daemon) takes nothing from who has it mapped. Only what a disk loses
*after* that shows when the page is touched, as it does with every mapped file: SIGBUS. So what fits into memory never comes from a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.meta import Meta
from cashy.errors import InternalError, ViewTooLarge
from shmipc.errors import QuotaExceeded
from shmipc.view import Piece, PlacedSpan

if TYPE_CHECKING:
    from cashy.client.reader import LocalArena, Pin

__all__ = ["TierSpan"]

#: A view pins at most one part in so many of what its client may pin.
_PINNED_SHARE = 2


class TierSpan:
    """The blocks ``indices`` of an object in one contiguous view in the making. Raises :class:`~cashy.errors.ViewTooLarge` over the client's
    quotas.
    """

    def __init__(self, arena: LocalArena, meta: Meta, indices: range) -> None:
        self._arena = arena
        self._meta = meta
        self._indices = indices
        self._pins: list[Pin] = []
        self._pinned_bytes_left = arena.pin_bytes_max // _PINNED_SHARE
        self._size_bytes = min(
            len(indices) * meta.block_bytes, meta.size_bytes - indices.start * meta.block_bytes
        )
        self._give_back = arena.reserve(mappings=len(indices), mapped_bytes=self._size_bytes)
        try:
            self._span = PlacedSpan(self._size_bytes)
        except QuotaExceeded as error:
            self.drop()
            raise _too_large(error) from error

    @property
    def may_pin(self) -> bool:
        """Whether one more block in memory may be taken."""
        return self._pinned_bytes_left >= self._meta.block_bytes

    def take_pin(self, index: int, pin: Pin) -> None:
        """A block in memory; the pin is this span's from now on."""
        self._pins.append(pin)
        self._pinned_bytes_left -= self._meta.block_bytes
        try:
            self._arena.place(self._span, self._place_of(index), pin)
        except QuotaExceeded as error:
            raise _too_large(error) from error

    def take_file(self, ready: pb.BlockReady, descriptor: int) -> None:
        """A block in a file; the descriptor may be closed afterwards."""
        due = min(self._meta.block_bytes, self._meta.size_bytes - ready.block * self._meta.block_bytes)
        if ready.length != due:
            raise InternalError(
                f"the daemon gave a file of {ready.length:,} bytes for a block of {due:,}: a bug"
            )
        try:
            self._span.place(self._place_of(ready.block), descriptor, Piece(ready.offset, ready.length))
        except QuotaExceeded as error:
            raise _too_large(error) from error

    def _place_of(self, index: int) -> int:
        return (index - self._indices.start) * self._meta.block_bytes

    def view(self) -> memoryview:
        """All of it; it keeps pins and quotas until its last user is gone. Call once."""
        span = self._span
        del self._span  # the view has this object for its end, and is not to be kept by it
        return span.view(self.drop)

    def drop(self) -> None:
        """Lets go of pins and quotas; takes no lock, since a finalizer may call it. Again: nothing."""
        pins, self._pins = self._pins, []
        for pin in pins:
            pin.release()
        give_back, self._give_back = self._give_back, _nothing
        give_back()


def _nothing() -> None:
    """What was given back once is not given back again."""


def _too_large(error: QuotaExceeded) -> ViewTooLarge:
    return ViewTooLarge(f"{error}. Use blocks(), or read() in windows")
