"""Arrays over objects of the cache, without a copy; and objects as a data set for training.

::

    prices = cashy.numpy.load_array("s3://bucket/prices.f64", np.float64, (-1, 4))
    table = cashy.numpy.load_npy("file:///mnt/data/table.npy")

Law: an array given here is a view of shared memory, read-only, and holds its blocks in the host's memory for as long as anything made from it lives.
numpy is imported here and nowhere else in this distribution; ``import cashy`` does not load this module. What cannot be a view is an
error that says so, never a silent copy (but where this process cannot pin: there every read is a verified copy).

``.npy`` heads are parsed here and not by ``numpy.load``, which reads through a file object and copies. Arrays of Python objects are refused: they are
pickles, and unpickling runs what somebody wrote. Source: numpy.lib.format, "Format Version 1.0" to 3.0.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cashy.client.cache import Cache
from cashy.client.shared import shared_cache

__all__ = ["NPY_HEAD_BYTES_MAX", "ObjectDataset", "load_array", "load_npy", "parse_npy_head"]

#: The longest head that is read: numpy's own limit against heads that are slow to evaluate (``max_header_size``).
NPY_HEAD_BYTES_MAX = 10_000

_MAGIC = b"\x93NUMPY"


def load_array(
    url: str,
    dtype: npt.DTypeLike,
    shape: int | Sequence[int] = -1,
    *,
    offset: int = 0,
    order: Literal["C", "F"] = "C",
    cache: Cache | None = None,
) -> npt.NDArray[Any]:
    """The object from byte ``offset`` on as an array: read-only, no copy. One of ``shape`` may be -1: as many as there are.

    ``cache``: of this process and $CASHY_SOCKET unless given. Raises ValueError if the bytes do not fit dtype and shape, TypeError for arrays of
    objects, and what :meth:`cashy.Cache.read` raises, :class:`~cashy.errors.ViewTooLarge` among it.
    """
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise TypeError(f"{kind} has Python objects, which cannot lie in shared memory")
    wanted = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    view = (cache or shared_cache()).read(url, offset, _bytes_of(wanted, kind))
    return _array_of(url, view, kind, wanted, order)


def load_npy(url: str, *, cache: Cache | None = None) -> npt.NDArray[Any]:
    """An object in numpy's ``.npy`` format as an array: read-only, no copy, all of one version.

    Raises as :func:`load_array`, and ValueError for other formats.
    """
    with (cache or shared_cache()).open(url) as obj:
        head = bytes(obj.view(0, len(_MAGIC) + 6 + NPY_HEAD_BYTES_MAX))
        try:
            kind, shape, order, offset = parse_npy_head(head)
        except ValueError as error:
            raise ValueError(f"{url}: {error}") from None
        return _array_of(url, obj.view(offset, _bytes_of(shape, kind)), kind, shape, order)


def _bytes_of(shape: tuple[int, ...], kind: np.dtype[Any]) -> int | None:
    """How many bytes an array takes; None if the shape leaves it open."""
    return None if -1 in shape else math.prod(shape) * kind.itemsize


def _array_of(
    url: str, view: memoryview, kind: np.dtype[Any], shape: tuple[int, ...], order: Literal["C", "F"]
) -> npt.NDArray[Any]:
    wanted = _bytes_of(shape, kind)
    if wanted is not None and len(view) != wanted:
        raise ValueError(f"{url} has {len(view):,} bytes there, {kind} of shape {shape} takes {wanted:,}")
    if kind.itemsize == 0 or len(view) % kind.itemsize:
        raise ValueError(
            f"{url}: {len(view):,} bytes are no whole number of {kind} ({kind.itemsize} bytes each)"
        )
    return np.frombuffer(view, kind).reshape(shape, order=order)


def parse_npy_head(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], Literal["C", "F"], int]:
    """The dtype, shape and order that the first bytes of a ``.npy`` file tell, and at which byte its data begin. Raises ValueError, TypeError."""
    if not head.startswith(_MAGIC) or len(head) < len(_MAGIC) + 4:
        raise ValueError("this is no .npy file (its first bytes are not \\x93NUMPY)")
    major = head[len(_MAGIC)]
    if major not in (1, 2, 3):
        raise ValueError(f".npy format version {major} is not known, only 1 to 3 are")
    at = len(_MAGIC) + 2
    width = 2 if major == 1 else 4
    length = int.from_bytes(head[at : at + width], "little")
    begin = at + width
    if length > NPY_HEAD_BYTES_MAX or begin + length > len(head):
        raise ValueError(
            f"its head has {length:,} bytes; it is cut off, or longer than {NPY_HEAD_BYTES_MAX:,}"
        )
    kind, shape, is_fortran = _described(
        head[begin : begin + length].decode("utf-8" if major == 3 else "latin-1")
    )
    if kind.hasobject:
        raise TypeError(f"{kind} has Python objects, which are pickles and are not read")
    return kind, shape, "F" if is_fortran else "C", begin + length


def _described(text: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    try:
        told = ast.literal_eval(text.strip())
        kind = np.dtype(_descr(told["descr"]))
        shape, is_fortran = told["shape"], told["fortran_order"]
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"its head cannot be read: {error!r}"[:300]) from None
    if (
        not isinstance(shape, tuple)
        or any(not isinstance(n, int) or n < 0 for n in shape)
        or not isinstance(is_fortran, bool)
    ):
        raise ValueError("its head does not tell shape and order")
    return kind, shape, is_fortran


def _descr(descr: Any) -> Any:
    """A dtype's description as numpy takes it: lists of fields are lists of tuples."""
    if isinstance(descr, list):
        return [(field[0], _descr(field[1]), *field[2:]) for field in descr]
    return descr


class ObjectDataset(Sequence[Any]):
    """Objects as a map-style data set: item ``i`` is ``decode(view)`` of the ``i``-th object's bytes, by default a ``uint8`` array without a copy.

    It needs no torch and is what ``torch.utils.data.DataLoader`` takes: it has a length, is read by index, goes on in forked workers and can
    be pickled to spawned ones, each of which connects by itself. :meth:`prefetch` has the daemon load what is going to be read.
    """

    def __init__(
        self,
        urls: Sequence[str],
        decode: Callable[[memoryview], Any] | None = None,
        *,
        socket_path: str | None = None,
    ) -> None:
        self.urls = list(urls)
        self._decode = decode
        self._socket_path = socket_path

    def __len__(self) -> int:
        return len(self.urls)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return ObjectDataset(self.urls[index], self._decode, socket_path=self._socket_path)
        view = shared_cache(self._socket_path).read(self.urls[index])
        return np.frombuffer(view, np.uint8) if self._decode is None else self._decode(view)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def prefetch(self, indices: Sequence[int] | None = None) -> int:
        """Has the daemon load objects (all, or those of an epoch to come) and does not wait; returns how many it accepted."""
        urls = self.urls if indices is None else [self.urls[index] for index in indices]
        return shared_cache(self._socket_path).prefetch(urls)
