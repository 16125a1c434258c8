"""The block-reader interface: how the master asks any origin for bytes.

*Law.* Only the contract lives here: types and their guarantees, no I/O and no loop. An origin knows buckets,
keys, versions and buffers; it knows nothing of blocks, slots, arenas or clients: where bytes go is the
:class:`BlockSink`'s business, and whether to try again is the caller's. Every origin passes one conformance
kit (``tests/cashy/origin/conformance.py``).

Callbacks instead of coroutines: a host reads thousands of blocks a second, and a task per block costs more
than the block's bookkeeping; a cancel must also leave the buffer with whoever still writes into it (a socket,
a thread stuck in NFS), which a cancelled coroutine cannot say. So the end of a read has two halves:
``on_done`` (the outcome) and :meth:`BlockSink.detached` (nobody writes into the buffer any more), and after a
cancel only the second half comes.

All calls, in both directions, are made on the thread of the one event loop that the origin belongs to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from cashy.errors import CashyError

__all__ = ["BlockRead", "BlockSink", "OnDone", "Listed", "ListedPage", "ObjectMeta", "Origin"]


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What an origin says about one version of one object.

    ``version`` is the ETag with its quotes, or ``size-mtime_ns-inode`` in hex for files: two different
    contents never share one. ``last_modified`` is seconds since the epoch, UTC. ``headers`` are those stored
    with the object that are to be passed on (``cache-control``, ``content-encoding``, ``x-amz-version-id``,
    …), names in lower case; ``user_metadata`` is ``x-amz-meta-*`` with names in lower case and without that
    prefix. Values are text as HTTP carries it (each character one byte of latin-1).
    """

    version: str
    size_bytes: int
    last_modified: float
    content_type: str = "application/octet-stream"
    headers: tuple[tuple[str, str], ...] = ()
    user_metadata: tuple[tuple[str, str], ...] = ()


class Listed(NamedTuple):
    """One entry of a listing: a key, or the common prefix (it ends in ``/``) of several. Seconds since the epoch; ``version`` as of ``head``."""

    key: str
    is_prefix: bool
    size_bytes: int = 0
    last_modified: float = 0.0
    version: str = ""


class ListedPage(NamedTuple):
    """One page of a listing; ``token`` asks for the next one, empty: there is none."""

    entries: tuple[Listed, ...]
    token: str


class BlockSink(Protocol):
    """Where the bytes of one read go. The origin calls, on the loop's thread, in this order::

        begin  advanced*  detached        (all at most once but ``advanced``)

    A read that fails before its first byte is known to come never calls ``begin``; then there is no
    ``detached`` either.
    """

    def begin(self, meta: ObjectMeta, length: int) -> memoryview:
        """Gives the buffer: writable, one-dimensional bytes, exactly ``length`` of them (0: an empty view).

        ``length`` is what will come: as much as was asked, or less at the end of the object. May raise a
        :class:`~cashy.errors.CashyError` (``ArenaFull``): the read ends with it, and ``detached`` does not
        come.
        """
        ...

    def advanced(self, watermark: int, crc: int | None = None) -> None:
        """Bytes ``[0, watermark)`` of the buffer have arrived; ``watermark`` never falls. Bytes beyond it may
        be in any state. ``crc`` is their crc32c, from whoever has computed it already.
        """
        ...

    def detached(self) -> None:
        """The origin will never touch the buffer again.

        Exactly once per ``begin`` that returned. When ``on_done`` comes without an
        :class:`~cashy.errors.OriginTimeout`, this came first. After a cancel, or when a thread is stuck in a
        file system, it comes later: as late as the last writer leaves.
        """
        ...


OnDone: TypeAlias = "Callable[[BlockRead, CashyError | None], None]"
"""The outcome of a read: ``None`` when all ``length`` bytes given to ``begin`` have arrived and were checked,
else why not.
"""


@dataclass(slots=True, eq=False)
class BlockRead:
    """One read under way: bytes ``[offset, offset + length)`` of an object, or up to its end if that comes
    sooner.

    With ``expected_version`` any other version is :class:`~cashy.errors.VersionChanged`; ``None`` takes what
    there is (a first read). One object serves for one read; ``state`` belongs to the origin. ``on_retry`` is told of each failure after which the
    origin tries again by itself, and after how many seconds; for whoever traces the read.
    """

    bucket: str
    key: str
    offset: int
    length: int
    expected_version: str | None
    sink: BlockSink
    on_done: OnDone
    state: Any = field(default=None, repr=False)
    on_retry: Callable[[CashyError, float], None] | None = field(default=None, repr=False)


class Origin(ABC):
    """A place objects come from. See the module for the thread rule.

    Errors, of reads and of ``head`` alike: ``NoSuchBucket``, ``NoSuchObject``, ``InvalidName``,
    ``VersionChanged``, ``AccessDenied``, ``OriginTimeout``, ``OriginUnavailable``, ``OriginInvalid``,
    ``SlowDown`` (a queue is full here or there).
    """

    name: str

    @abstractmethod
    def begin_read_block(self, read: BlockRead) -> None:
        """Starts (or queues) a read. Never raises, and never calls back before it has returned.

        ``read.on_done`` is called exactly once, unless the read is cancelled before. A read whose ``offset``
        lies at or beyond the end, as of an empty object, succeeds with ``begin(meta, 0)``: the caller learns
        the size from ``meta``.
        """

    @abstractmethod
    def cancel_read_block(self, read: BlockRead) -> None:
        """Gives a read up: no ``on_done``, ``begin`` or ``advanced`` comes after this.

        ``detached`` still comes if ``begin`` was called, perhaps from inside this call. A read that is done,
        or was cancelled already, is left alone.
        """

    @abstractmethod
    async def head(self, bucket: str, key: str) -> ObjectMeta:
        """The object's metadata as the origin gives it now; raises a :class:`~cashy.errors.CashyError`."""

    @abstractmethod
    async def list_page(
        self, bucket: str, prefix: str, *, folds: bool, token: str, entries_max: int
    ) -> ListedPage:
        """A page of the keys that begin with ``prefix``, as the origin has them now, in the binary order of their UTF-8.

        ``folds``: those that share what goes on behind the prefix up to a ``/`` are one entry. ``token`` is the former page's, or empty.
        Raises a :class:`~cashy.errors.CashyError`: ``NoSuchBucket``, ``AccessDenied``, ``InvalidRequest`` for a wrong token.
        """

    @abstractmethod
    async def close(self) -> None:
        """Ends all connections and threads that can be ended. Reads under way end with ``OriginUnavailable``;
        later ones too.
        """

    @abstractmethod
    def counters(self) -> dict[str, int]:
        """Figures for status output, by name: totals since the start (``…_total``) and present levels."""
