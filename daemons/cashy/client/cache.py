"""``cashy.connect()``: reads of cached objects for programs with threads.

Law: a thin pump. What a read needs is decided by :mod:`cashy.client.gather`, what is here by :mod:`cashy.client.reader`; this module
connects, reconnects, sends, waits, and hands out views. A read whose bytes are here sends no message and takes no lock of this module.

Lifetimes. A view's pin lives as long as anything made from the view: closing the cache or the object, leaving a ``with``, a restart of the daemon,
or a fork takes nothing away. ``with cache.read(...) as view`` releases *that* memoryview object at the end (using it raises ValueError); arrays made
from it stay. Views are plain memoryviews and no wrapper, since every consumer of buffers takes those. One consequence is CPython's: a consumer that
exports the memoryview object itself (``pyarrow.py_buffer(view)``) makes leaving the ``with`` a BufferError while it lives. Give
it a slice, ``pyarrow.py_buffer(view[:])``, or do not use ``with``: the lifetime is the same.

Restart of the daemon: the next call that needs it connects again, for as long as its timeout. If it took over the same arena, the
mapping stays and new pins go to a new table; else there is a new mapping, and old views keep the old one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import count
from math import inf
from time import monotonic, sleep
from types import TracebackType
from typing import Any, TypeVar

from google.protobuf.message import Message

from aviary.cashy.v1 import control_pb2 as pb
from aviary.cashy.v1 import operate_pb2 as ops
from cashy.client import forking
from cashy.client.cached_object import NO_ROOM_AHEAD, CachedObject
from cashy.client.connection import Call, Connection, ConnectionLost
from cashy.client.deadline import NO_DEADLINE, Deadline
from cashy.client.gather import Gather, GatherInto, GatherView
from cashy.client.limits import (
    ANSWER_TIMEOUT_S,
    CONNECT_RETRY_S_MAX,
    CONNECT_RETRY_S_MIN,
    PREFETCH_FRAME_BYTES,
    RECONNECTS_MAX,
)  # fmt: skip
from cashy.client.listing import Listed, ListingPages
from cashy.client.meta import Location, Meta
from cashy.client.reader import LocalArena, TableLost
from cashy.client.session_core import Answer, error_of
from cashy.core.names import parse_name
from cashy.errors import NotConnected, ViewTooLarge
from shmipc import fence

__all__ = [
    "DEFAULT_SOCKET_PATH",
    "NO_ROOM_AHEAD",
    "Cache",
    "CachedObject",
    "batches",
    "can_pin",
    "connect",
    "program_name",
    "socket_path_or_default",
]

#: Where the daemon of a host listens unless told otherwise; $CASHY_SOCKET replaces it.
DEFAULT_SOCKET_PATH = "/run/cashy/cashy.sock"

_GatherT = TypeVar("_GatherT", bound=Gather)


def socket_path_or_default(socket_path: str | os.PathLike[str] | None) -> str:
    """The path given, else $CASHY_SOCKET, else :data:`DEFAULT_SOCKET_PATH`."""
    return os.fspath(socket_path or os.environ.get("CASHY_SOCKET") or DEFAULT_SOCKET_PATH)


def can_pin() -> bool:
    """Whether this process may pin: membarrier registered, and not forbidden by ``CASHY_NO_PINS=1``."""
    return os.environ.get("CASHY_NO_PINS") != "1" and fence.can_register()


def program_name() -> str:
    """What the daemon's status shows for this client."""
    return os.path.basename(sys.argv[0] if sys.argv and sys.argv[0] else "python")


def connect(
    socket_path: str | os.PathLike[str] | None = None, *, timeout_s: float = ANSWER_TIMEOUT_S
) -> Cache:
    """Connects to the host's daemon; raises :class:`~cashy.errors.NotConnected`.

    ``socket_path`` is $CASHY_SOCKET or ``/run/cashy/cashy.sock`` unless given. ``timeout_s`` is the longest that any call of the
    cache waits for the daemon's next answer, also while the daemon is being restarted.
    """
    return Cache(socket_path_or_default(socket_path), timeout_s=timeout_s)


class Cache:
    """The host's cache, as made by :func:`connect`. Threads may share it; it survives a fork and the daemon's restart.

    Every method that names an object takes ``s3://bucket/key`` or ``file:///absolute/path`` (literal: nothing is percent-decoded) and may raise
    any :class:`~cashy.errors.CashyError`.
    """

    def __init__(self, socket_path: str, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.socket_path = socket_path
        self.timeout_s = timeout_s
        self._arena: LocalArena | None = None
        self._connection: Connection | None = None
        self._is_closed = False
        self._streams = count(1)
        self._connect_lock = threading.Lock()
        self._connection = self._open_connection()
        self._arena = self._connection.arena
        forking.watch(self)

    # --- reads ---

    def read(
        self, url: str, offset: int = 0, length: int | None = None, *, timeout_s: float | None = None
    ) -> memoryview:
        """The bytes ``[offset, offset + length)``, cut at the object's end, as one read-only view of one version; usable in ``with``.

        Not all of them here within ``timeout_s``: :class:`~cashy.errors.DeadlineExceeded`; the daemon, and whoever it asked, gives up then too.
        Raises :class:`~cashy.errors.ViewTooLarge`, :class:`~cashy.errors.PinQuotaExceeded`, ValueError for negative arguments.
        """
        arena = self._arena
        if arena is not None:
            view = arena.read_hit(url, offset, length)
            if view is not None:
                return view
        return self.view_of(self.new_read(url, offset, length, deadline=Deadline(timeout_s)))

    def readinto(self, url: str, buffer: Any, offset: int = 0, *, timeout_s: float | None = None) -> int:
        """Fills ``buffer`` (writable, contiguous) from ``offset`` on; returns how many bytes there were. A copy: nothing stays pinned.

        ``timeout_s`` as of :meth:`read`; what had come by then is in the buffer.
        """
        with memoryview(buffer) as whole, whole.cast("B") as target:
            return self.gather_into(url, offset, target, deadline=Deadline(timeout_s))

    def open(self, url: str) -> CachedObject:
        """A handle on the present version of an object."""
        arena = self._arena
        meta = arena.lookup(url) if arena is not None else None
        return CachedObject(self, meta if meta is not None else self.stat(url))

    def stat(self, url: str, *, revalidate: bool = False) -> Meta:
        """Metadata of an object; ``revalidate`` asks the origin even if what is known is still fresh."""
        arena = self._arena
        if not revalidate and arena is not None and (meta := arena.lookup(url)) is not None:
            return meta
        name = parse_name(url).url
        body = self._ask(pb.Stat(name=name, revalidate=revalidate)).body
        assert isinstance(body, pb.ObjectInfo)
        return Meta.from_info(name, body)

    def prefetch(self, urls: Iterable[str]) -> int:
        """Asks the daemon to load objects and does not wait; returns how many it accepted (fewer when its queue is full)."""
        accepted = 0
        for names in batches(parse_name(url).url for url in urls):
            body = self._ask(pb.Prefetch(names=names)).body
            assert isinstance(body, pb.PrefetchAccepted)
            accepted += body.accepted
        return accepted

    def locate(self, url: str) -> Location:
        """Where each block of an object lies."""
        name = parse_name(url).url
        body = self._ask(pb.Locate(name=name)).body
        assert isinstance(body, pb.LocateReport)
        return Location.from_report(name, body)

    def list(self, prefix: str, *, folds: bool = False, page_entries: int = 0) -> Iterator[Listed]:
        """The objects whose names begin with ``prefix``, as their origin has them now, in the binary order of their names; page by page.

        ``prefix`` is ``s3://bucket/`` or ``file:///folder/`` with anything behind it. ``folds``: as of a folder, what has a further ``/`` is one
        entry that ends in it. ``page_entries``: at most so many are asked for at a time (0: as many as the daemon gives, 500).
        """
        return self._listed(ListingPages(prefix, folds=folds, page_entries=page_entries))

    def _listed(self, pages: ListingPages) -> Iterator[Listed]:
        while pages.question is not None:
            body = self._ask(pages.question).body
            assert isinstance(body, pb.ListReport)
            yield from pages.take(body)

    def status(self) -> pb.StatusReport:
        """The daemon's instance, process and counters."""
        body = self._ask(pb.Status()).body
        assert isinstance(body, pb.StatusReport)
        return body

    def cluster(self) -> pb.ClusterReport:
        """What every host of the cluster says of itself, this one first; a host that does not answer is there with the reason.

        A host without a cluster reports itself alone.
        """
        body = self._ask(pb.ClusterStatus()).body
        assert isinstance(body, pb.ClusterReport)
        return body

    # --- what operators ask ---

    def evict(
        self, urls: Iterable[str] = (), *, everything: bool = False, cluster: bool = False
    ) -> ops.EvictReport:
        """Drops objects from this host's memory, or from every host's; says what went, host by host. For operators
        (:class:`~cashy.errors.AccessDenied`); at most a thousand names.
        """
        body = self._ask(ops.Evict(names=urls, everything=everything, cluster=cluster)).body
        assert isinstance(body, ops.EvictReport)
        return body

    def pin(self, urls: Iterable[str], *, for_s: float = 0.0, cluster: bool = False) -> ops.PinReport:
        """Has objects loaded and kept in this host's memory (``cluster``: in that of their blocks' homes) for so many seconds, 0: until they are
        unpinned; does not wait until they are there. For operators; at most a hundred names.
        """
        return self._pins(ops.Pin(names=urls, for_s=for_s, cluster=cluster))

    def unpin(
        self, urls: Iterable[str] = (), *, everything: bool = False, cluster: bool = False
    ) -> ops.PinReport:
        """Lets go of pinned objects. For operators."""
        return self._pins(ops.Unpin(names=urls, everything=everything, cluster=cluster))

    def pins(self, urls: Iterable[str] = (), *, cluster: bool = False) -> ops.PinReport:
        """What is pinned, of these objects or altogether."""
        return self._pins(ops.ListPins(names=urls, cluster=cluster))

    def _pins(self, request: Message) -> ops.PinReport:
        body = self._ask(request).body
        assert isinstance(body, ops.PinReport)
        return body

    def trace(self, url: str, offset: int = 0, length: int = 0) -> ops.TraceReport:
        """Has the daemon read a range (``length`` 0: sixteen blocks) and tell what happened when, on every host that had a part in it."""
        body = self._ask(ops.Trace(name=parse_name(url).url, offset=offset, length=length)).body
        assert isinstance(body, ops.TraceReport)
        return body

    # --- what reads stand on; shared with CachedObject ---

    def new_read(
        self, url: str, offset: int, length: int | None, *, meta: Meta | None = None, stream: int = 0, deadline: Deadline = NO_DEADLINE
    ) -> GatherView | GatherInto:  # fmt: skip
        """A read of a range, pinned if this process can pin; ``meta`` given = that version or an error."""
        kind = GatherView if self._any_arena().can_pin else GatherInto
        return kind(
            url, offset, length, meta=meta, keep_version=meta is not None, stream=stream, deadline=deadline
        )

    def view_of(self, read: GatherView | GatherInto) -> memoryview:
        """Carries a read out."""
        self.run(read)
        try:
            return read.view()
        except ViewTooLarge:
            if not isinstance(read, GatherView):
                raise
            copy = read.as_copy()
            return self.run(copy).view()

    def gather_into(
        self, url: str, offset: int, target: memoryview, *, meta: Meta | None = None, deadline: Deadline = NO_DEADLINE
    ) -> int:  # fmt: skip
        """Copies a range into ``target``; returns its length."""
        if not target.nbytes:
            return 0
        read = GatherInto(
            url,
            offset,
            target.nbytes,
            target=target,
            meta=meta,
            keep_version=meta is not None,
            deadline=deadline,
        )
        return self.run(read).size_bytes

    def next_stream(self) -> int:
        """A number for a sequence of reads."""
        return next(self._streams)

    def run(self, read: _GatherT) -> _GatherT:
        """Collects what a read needs, over forks and restarts of the daemon."""
        losses = 0
        try:
            while True:
                try:
                    self._attempt(read)
                    return read
                except TableLost:
                    self._ensure_table()
                except ConnectionLost:
                    losses += 1
                    if losses > RECONNECTS_MAX:
                        raise
        except BaseException:
            read.drop()
            raise

    def _attempt(self, read: Gather) -> None:
        read.begin(self._any_arena())
        while (fetch := read.wanted()) is not None:
            connection = self._live_connection(read.deadline.left_s(read.name))
            if connection.arena is not read.arena:
                raise ConnectionLost("the daemon has another arena now")
            with connection.start(fetch) as call:
                self._take_all(call, read)

    def _take_all(self, call: Call, read: Gather) -> None:
        while True:
            left_s = read.deadline.left_s(read.name)
            try:
                answer = call.next(min(self.timeout_s, left_s))
            except ConnectionLost:
                raise
            except NotConnected as error:
                if left_s >= self.timeout_s:
                    raise
                raise read.deadline.exceeded(read.name) from error
            read.take(answer)
            if answer.is_last:
                return

    def start_ahead(self, read: Gather) -> Call | None:
        """Begins a read whose answers are taken later (:meth:`finish`); None: all of it is here."""
        read.begin(self._any_arena())
        fetch = read.wanted()
        if fetch is None:
            return None
        connection = self._live_connection()
        if connection.arena is not read.arena:
            raise ConnectionLost("the daemon has another arena now")
        return connection.start(fetch)

    def finish(self, read: Gather, call: Call) -> None:
        """Takes the answers of a read begun ahead; it is complete then."""
        try:
            with call:
                self._take_all(call, read)
            if read.wanted() is None:
                return
        except (ConnectionLost, TableLost, *NO_ROOM_AHEAD):
            pass  # by now, what was before it has been given away
        self.run(read)

    def _ask(self, body: Message) -> Answer:
        for attempt in count(1):
            try:
                answer = self._live_connection().ask(body, self.timeout_s)
                break
            except ConnectionLost:
                if attempt > RECONNECTS_MAX:
                    raise
        if isinstance(answer.body, pb.Failure):
            raise error_of(answer.body)
        return answer

    # --- connection ---

    def _any_arena(self) -> LocalArena:
        """The arena, also while the daemon is away: what is here can be read."""
        arena = self._arena
        if arena is not None and (arena.table is not None or not arena.can_pin):
            return arena
        self._ensure_table()
        arena = self._arena
        assert arena is not None
        return arena

    def _live_connection(self, patience_s: float = inf) -> Connection:
        connection = self._connection
        if connection is not None and not connection.is_broken:
            return connection
        with self._connect_lock:
            connection = self._connection
            if connection is None or connection.is_broken:
                connection = self._reconnected(min(self.timeout_s, patience_s))
                self._connection, self._arena = connection, connection.arena
            return connection

    def _open_connection(self) -> Connection:
        return Connection(
            self.socket_path,
            program=program_name(),
            can_pin=can_pin(),
            timeout_s=self.timeout_s,
            known=self._arena,
        )

    def _reconnected(self, patience_s: float) -> Connection:
        """Tries for so long: a daemon that is being restarted is away for a moment."""
        deadline = monotonic() + patience_s
        pause_s = CONNECT_RETRY_S_MIN
        while True:
            if self._is_closed:
                raise NotConnected("this cache was closed: connect() again")
            try:
                return self._open_connection()
            except NotConnected:
                if monotonic() + pause_s > deadline:
                    raise
            sleep(pause_s)
            pause_s = min(2 * pause_s, CONNECT_RETRY_S_MAX)

    def _ensure_table(self) -> None:
        """Has a pin table to go on with: after a fork from the connection that is there, else from a new one."""
        for attempt in count(1):
            connection = self._live_connection()
            with self._connect_lock:
                arena = connection.arena
                if arena.table is not None or not arena.can_pin or connection is not self._connection:
                    return
                try:
                    answer = connection.ask(pb.NewTable(), self.timeout_s)
                except ConnectionLost:
                    if attempt > RECONNECTS_MAX:
                        raise
                    continue
                if isinstance(answer.body, pb.Failure):
                    raise error_of(answer.body)
                arena.replace_table(answer.descriptors[0])
                return

    # --- fork and end ---

    def before_fork(self) -> None:
        """Nothing: the arena sees to its table."""

    def after_fork_in_child(self) -> None:
        """The connection is the parent's; locks may be held by threads that are not here."""
        self._connect_lock = threading.Lock()
        if self._connection is not None:
            self._connection.forget_in_child()
            self._connection = None

    def close(self) -> None:
        """Ends the connection. Views and arrays stay valid; the daemon keeps their blocks until the last is gone."""
        self._is_closed = True
        connection, self._connection = self._connection, None
        arena, self._arena = self._arena, None
        if connection is not None:
            connection.break_off("the cache was closed")
        if arena is not None:
            arena.drop_table()

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<cashy.Cache {self.socket_path!r}, {state}>"


def batches(names: Iterable[str]) -> Iterator[list[str]]:
    """Cuts names into lists that each fit a frame."""
    batch: list[str] = []
    size_bytes = 0
    for name in names:
        batch.append(name)
        size_bytes += len(name.encode())
        if size_bytes >= PREFETCH_FRAME_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
