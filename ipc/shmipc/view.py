"""Memory views of pinned slots that keep their pins: a pin lives exactly as long as anything made from its view.

Law: no call can take back a pointer that numpy or Arrow holds, so there is no "release while in use" here. Each view stands on one exporter
object of its own; every slice, array or Arrow buffer made from it keeps the exporter alive through the buffer protocol; when the last of them is gone
the exporter's finalizer drops the pin. Slices of one big memoryview were rejected: ``memoryview.release`` on a slice succeeds while an array of it
lives, and the array then shows whatever comes next.

* One slot: a ctypes array over the arena's mapping, made read-only (:func:`slot_view`). The type is cached per capacity: a new one costs 17 us.
* Several slots as one contiguous view: an anonymous read-only ``mmap`` whose pages are replaced in place by the slots' pages
  (:func:`spanning_view`). CPython's own mmap object guards its life: it cannot be unmapped while an array uses it. :mod:`shmipc.kept_spans`
  puts one view after the other on the same mapping (:func:`spanning_map`).
* The same put together piece by piece, out of the segment and of files (:class:`PlacedSpan`): a descriptor may be closed once its piece is placed.

Finalizers run anywhere, so what they call (``release``) takes no lock.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from shmipc.errors import QuotaExceeded, ShmError
from shmipc.layout import PAGE_BYTES

__all__ = ["PlacedSpan", "Piece", "SpanningMap", "address_of", "slot_view", "spanning_map", "spanning_view"]

_MAP_FIXED = 0x10
_MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


class _PyBuffer(ctypes.Structure):
    """CPython's ``Py_buffer``."""

    _fields_ = (
        ("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t), ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int), ("ndim", ctypes.c_int), ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p), ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p),
    )  # fmt: skip


def address_of(exporter: Any) -> int:
    """Address of a contiguous buffer, also of a read-only one; valid while the exporter keeps its memory."""
    buffer = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(exporter), ctypes.byref(buffer), 0)
    try:
        return int(buffer.buf or 0)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


def _release(exporter: Any) -> None:
    exporter.release()


@cache  # one type per capacity: as many as there are size classes, of slots and of mappings
def _exporter_type(capacity: int) -> Any:
    return type(
        "PinnedSlot", (ctypes.c_ubyte * capacity,), {"__slots__": ("keep", "release"), "__del__": _release}
    )


def slot_view(
    address: int, capacity: int, length: int, release: Callable[[], object], keep: object = None
) -> memoryview:
    """A read-only view of ``length`` bytes at ``address``; ``release()`` runs once, when the last user of the view is gone.

    ``keep`` is held until then: who keeps the mapping that ``address`` lies in (the reader, its segment, or the mmap object).
    """
    exporter = _exporter_type(capacity).from_address(address)
    exporter.release = release
    exporter.keep = keep
    view = memoryview(exporter).cast("B").toreadonly()
    return view if length == capacity else view[:length]


class Piece(NamedTuple):
    """Part of a spanning view: ``length`` bytes at ``offset`` of the segment; all but the last are whole pages."""

    offset: int
    length: int


class SpanningMap(mmap.mmap):
    """The exporter behind a spanning view."""

    release: Callable[[], object] | None = None

    def __del__(self) -> None:
        if self.release is not None:
            self.release()


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    for piece in pieces:
        if merged and merged[-1].offset + merged[-1].length == piece.offset:
            merged[-1] = Piece(merged[-1].offset, merged[-1].length + piece.length)
        else:
            merged.append(piece)
    return merged


def _check_pieces(pieces: Sequence[Piece]) -> None:
    if not pieces or pieces[-1].length < 1:
        raise ShmError(
            "a spanning view needs at least one piece, and no empty one: an empty object has no pages"
        )
    for piece in pieces:
        if piece.offset % PAGE_BYTES:
            raise ShmError(f"a piece at offset {piece.offset} does not begin a page of {PAGE_BYTES} bytes")
    for piece in pieces[:-1]:
        if piece.length < 1 or piece.length % PAGE_BYTES:
            raise ShmError(
                f"a piece of {piece.length} bytes inside a spanning view is not whole pages of {PAGE_BYTES}"
            )


def _reserve(size_bytes: int) -> SpanningMap:
    try:
        return SpanningMap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    except OSError as error:
        raise _refused(size_bytes, error.errno) from error


def _refused(size_bytes: int, code: int | None) -> QuotaExceeded:
    return QuotaExceeded(
        f"mapping {size_bytes:,} bytes failed: {os.strerror(code or 0)}; this process may have too many mappings (vm.max_map_count) "
        "or too little address space (ulimit -v): drop views, or read in windows"
    )


def _overlay(address: int, piece: Piece, fd: int) -> None:
    length = -(-piece.length // PAGE_BYTES) * PAGE_BYTES
    got = _mmap(address, length, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, fd, piece.offset)
    if got == _MAP_FAILED:
        raise _refused(length, ctypes.get_errno())


def spanning_view(fd: int, pieces: list[Piece], release: Callable[[], object]) -> memoryview:
    """One contiguous read-only view over ``pieces`` of the segment ``fd``, in order; ``release()`` runs once when its last user is gone.

    Raises ``QuotaExceeded`` where the kernel refuses a mapping (``release`` is then not called).
    """
    whole = spanning_map(fd, pieces, release)
    return memoryview(whole)[: sum(piece.length for piece in pieces)]


def _size_class(size_bytes: int) -> int:
    """The next of eight sizes to each power of two."""
    step = max(PAGE_BYTES, 1 << max(0, (size_bytes - 1).bit_length() - 4))
    return -(-size_bytes // step) * step


def spanning_map(fd: int, pieces: Sequence[Piece], release: Callable[[], object]) -> SpanningMap:
    """As :func:`spanning_view`: the mapping that the view stands on. ``release()`` runs when it is unmapped.

    It is up to an eighth larger than the pieces, so that mappings have few sizes: the rest is address space, and reads as zeros.
    """
    _check_pieces(pieces)
    whole = _reserve(_size_class(sum(piece.length for piece in pieces)))
    at = address_of(whole)
    for piece in _merged(pieces):
        _overlay(at, piece, fd)
        at += piece.length
    whole.release = release
    return whole


class PlacedSpan:
    """A contiguous read-only view in the making: pages of the segment and of files are put into their places in any order, then :meth:`view`.

    What is not placed reads as zeros. A span that is dropped before ``view`` takes its mappings with it. Raises ``QuotaExceeded`` where the
    kernel refuses a mapping; the span is of no further use then.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._whole = _reserve(size_bytes)
        self._address = address_of(self._whole)

    def place(self, at: int, fd: int, piece: Piece) -> None:
        """Puts ``piece`` of the segment or file ``fd`` at byte ``at``; all but the last piece of the span are whole pages."""
        if at % PAGE_BYTES or piece.offset % PAGE_BYTES:
            raise ShmError(
                f"a piece at {at}, from offset {piece.offset}, does not begin a page of {PAGE_BYTES} bytes"
            )
        if piece.length < 1 or at + piece.length > self._size_bytes:
            raise ShmError(
                f"a piece of {piece.length} bytes at {at} lies outside a span of {self._size_bytes}"
            )
        if piece.length % PAGE_BYTES and at + piece.length < self._size_bytes:
            raise ShmError(
                f"a piece of {piece.length} bytes inside a span is not whole pages of {PAGE_BYTES}"
            )
        _overlay(self._address + at, piece, fd)

    def view(self, release: Callable[[], object]) -> memoryview:
        """The whole; ``release()`` runs once when its last user is gone. Call once."""
        self._whole.release = release
        return memoryview(self._whole)
