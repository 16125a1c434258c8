"""Spanning views whose mappings are kept for the next view of the same pieces.

Law: a mapping is no pin. What is kept are places of the segment, in an order, and nobody looks at them; whoever makes a view has pinned what lies
there now, and holds those pins as long as the view. So a kept mapping needs no invalidation: if a slot's bytes were replaced, the view of its
successor has other pieces, or the same ones with the new bytes pinned. What it saves is the mapping itself and the kernel's page faults, which
cost twice what summing up the bytes costs [measured, 64 MiB].

How many are kept is bounded, and how many bytes; the one that was used least recently goes first, and is unmapped when its last view is gone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import pairwise

from shmipc.errors import QuotaExceeded
from shmipc.limits import KEPT_SPAN_BYTES_MAX, KEPT_SPANS_MAX
from shmipc.view import Piece, SpanningMap, address_of, slot_view, spanning_map

__all__ = ["KeptSpans"]


class KeptSpans:
    """Of one segment, whose descriptor is ``fd``. Thread-safe. A view of more than ``bytes_max`` is made and not kept."""

    def __init__(
        self, fd: int, *, spans_max: int = KEPT_SPANS_MAX, bytes_max: int = KEPT_SPAN_BYTES_MAX
    ) -> None:
        self._fd = fd
        self._spans_max = spans_max
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Piece, ...], SpanningMap] = OrderedDict()
        self._bytes = 0

    def view(
        self,
        pieces: Iterable[Piece],
        release: Callable[[], object],
        reserve: Callable[[int], Callable[[], object]],
    ) -> memoryview:
        """One contiguous read-only view over pinned pieces, in order; ``release()`` runs once when its last user is gone.

        ``reserve`` is asked for so many mappings if they must be made, and gives what gives them back once they are unmapped. Raises what it
        raises, and ``QuotaExceeded`` where the kernel refuses a mapping; ``release`` is then not called.
        """
        key = tuple(pieces)
        with self._lock:
            span = self._kept.get(key)
            if span is not None:
                self._kept.move_to_end(key)
        if span is None:
            span = self._mapped(key, reserve)
        size = sum(piece.length for piece in key)
        return slot_view(address_of(span), len(span), size, release, span)

    def forget(self) -> None:
        """Keeps nothing any more; views stay."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def after_fork_in_child(self) -> None:
        """The lock may be held by a thread that is not here."""
        self._lock = threading.Lock()
        self.forget()

    def _mapped(self, key: tuple[Piece, ...], reserve: Callable[[int], Callable[[], object]]) -> SpanningMap:
        give_back = reserve(1 + sum(a.offset + a.length != b.offset for a, b in pairwise(key)))
        try:
            try:
                span = spanning_map(self._fd, key, give_back)
            except QuotaExceeded:
                self.forget()  # what is kept for later must not be in the way of what is wanted now
                span = spanning_map(self._fd, key, give_back)
        except BaseException:
            give_back()
            raise
        if len(span) <= self._bytes_max:
            with self._lock:
                self._keep(key, span)
        return span

    def _keep(self, key: tuple[Piece, ...], span: SpanningMap) -> None:
        if key in self._kept:
            return  # another thread was as fast
        self._kept[key] = span
        self._bytes += len(span)
        while len(self._kept) > self._spans_max or self._bytes > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)
