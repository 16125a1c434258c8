"""What one host asks of another, and what a host does for others: the types on both sides of the peer protocol.

Law. Types and their guarantees only: no I/O, no loop, no frames. The server (:mod:`cashy.peer.server`) turns frames into
:class:`ReadRequest` and :class:`HeadRequest` and gives them to a :class:`PeerService`; the service answers through a :class:`BlockReply`
that the server made. Where the bytes lie, and how they come there, is the service's business; when they leave, the server's.

A reply instead of a coroutine per block, for the reason given in :mod:`cashy.origin.base`: bytes are sent on while they arrive, and the
block's memory must stay put exactly as long as something may still be sent from it (``when_gone``), whatever becomes of the request.

All calls, in both directions, are made on the thread of the one event loop the server belongs to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aviary.cashy.v1.operate_pb2 import HostAnswer, HostRequest
from cashy.core.coherence import NO_WORD, Change, Grant, Word
from cashy.core.hot_blocks import NOT_HOT, Hot
from cashy.errors import CashyError
from cashy.origin.base import BlockRead, ObjectMeta

__all__ = ["BlockReply", "HeadAnswer", "HeadRequest", "Noted", "PeerRead", "PeerService", "ReadRequest"]


@dataclass(slots=True, eq=False, kw_only=True)
class PeerRead(BlockRead):
    """One read from another host: a :class:`~cashy.origin.base.BlockRead` with what that host must know to find the object.

    ``origin`` is the origin's name in the settings (the same on all hosts), ``url`` the object's full name as users write it; ``offset`` may lie
    inside a block (a resumed read). The read ends with ``PeerTimeout`` when the asked host has given no sign of it for ``silence_s`` (bytes, or word
    that it is at the origin for it), and when ``deadline_s`` have passed since ``begin_read_block``. ``size_bytes`` is the object's size if known.
    ``fresh_for_s`` is an *answer*: set before ``sink.begin``, it says for how long the asked host holds the version to be current; so is ``hot``, of
    how many hosts the block may be asked. ``caller`` is the user on whose behalf; users take turns there too.

    ``only_here``: nobody is to be asked for it by the asked host, which ends the read with ``OriginUnavailable`` where it has nothing. ``copies``:
    among how many hosts the asked one was chosen, 0: the asker cannot be sent on; a host that would rather have another of them asked ends the read
    with ``PeerElsewhere``, but not if ``is_final``.
    """

    origin: str
    url: str
    deadline_s: float
    silence_s: float
    size_bytes: int | None = None
    fresh_for_s: float = 0.0
    caller: str = ""
    #: Sixteen bytes: the asked host is to note what becomes of the read.
    trace_id: bytes = b""
    only_here: bool = False
    copies: int = 0
    is_final: bool = False
    hot: Hot = NOT_HOT

    @property
    def waiting_since(self) -> float:
        """When the asked host said first that it is at the origin for it (CLOCK_MONOTONIC, seconds); 0.0: it has not."""
        return getattr(self.state, "waiting_since", 0.0)

    @property
    def heard_at(self) -> float:
        """When the asked host gave the last sign of it (CLOCK_MONOTONIC, seconds); 0.0: not asked yet."""
        return getattr(self.state, "heard_at", 0.0)


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Another host wants bytes ``[offset, offset + length)`` of an object, or up to its end if that comes sooner.

    ``length`` is 1 to the cluster's block size. ``version`` None: whatever version there is. ``peer`` is the asking host's name, proved at the
    greeting. ``deadline_s``: seconds from now after which nobody wants the answer; ``silence_s``: seconds without a frame of this read that the
    asking host bears. ``caller``: the user on whose behalf, as the asking host calls it; empty: nobody in particular. ``trace_id``: sixteen bytes
    if the read is traced. ``only_here``, ``copies``, ``is_final`` as of :class:`PeerRead`.
    """

    peer: str
    origin: str
    bucket: str
    key: str
    url: str
    offset: int
    length: int
    version: str | None
    size_bytes: int | None
    deadline_s: float
    silence_s: float
    caller: str = ""
    trace_id: bytes = b""
    only_here: bool = False
    copies: int = 0
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class HeadRequest:
    """Another host wants an object's metadata; with ``revalidate`` as its origin gives them now; and to be told where ``blocks`` lie here."""

    peer: str
    origin: str
    bucket: str
    key: str
    url: str
    revalidate: bool
    deadline_s: float
    blocks: range = range(0)


@dataclass(frozen=True, slots=True)
class HeadAnswer:
    """An object's metadata, and for how many seconds more they are held to be current.

    ``tiers``: for each block asked for a ``Tier`` of control.proto, as the answering host sees it; empty if it does not say.
    """

    meta: ObjectMeta
    fresh_for_s: float
    tiers: bytes = b""


@dataclass(frozen=True, slots=True)
class Noted:
    """Changes were noted. ``promises``: by host, for how many nanoseconds more it may hold a lease that was granted before; ``word``: by which lists
    the host that noted them counts.
    """

    counts_in_ns: int
    promises: Mapping[str, int]
    word: Word = NO_WORD


class BlockReply(Protocol):
    """The answer to one read, made by the server. The service calls ``begin advance* ``, or ``fail`` at any time instead of going on.

    None of these calls calls back from inside, blocks or raises for what the *other host* did: once the reply ``is_gone`` they do nothing.
    """

    on_cancel: Callable[[], None] | None
    """Set by the service: called at most once, when nobody wants the answer any more (cancelled, connection lost, deadline passed, or the
    receiver does not read). Not called after the answer is complete or failed."""

    is_at_origin: Callable[[], bool] | None
    """Set by the service: whether this host reads from the origin for this answer now, or waits for a place to. Then the other host is told to wait
    on while no bytes come. Never True for what a third host is to bring: hosts that keep each other waiting in a circle would never look
    elsewhere."""

    hot: Hot
    """Set by the service before ``begin``: of how many hosts the block may be asked, and for how long."""

    @property
    def is_gone(self) -> bool:
        """Complete, failed or cancelled: nothing more will be sent."""
        ...

    def begin(
        self,
        meta: ObjectMeta,
        length: int,
        fresh_for_s: float,
        buffer: memoryview,
        available: int,
        when_gone: Callable[[], None],
        known_as: Hashable = None,
    ) -> None:
        """Starts the answer: ``length`` bytes will come (0 at or beyond the object's end), of version ``meta.version``.

        ``buffer`` holds the asked range, ``length`` bytes, readable while ``when_gone`` has not been called; the first ``available`` of them may
        be sent now. ``when_gone`` is called exactly once, when the server will not touch ``buffer`` again: all is sent, or the reply is gone
        (also if it was gone before ``begin``); never from inside ``begin``.

        ``known_as`` names the bytes of the whole block for ever (slot and generation, say): whoever reads the same range again is spared
        its checksums.
        """
        ...

    def advance(self, available: int) -> None:
        """The first ``available`` bytes of the buffer may be sent; never falls."""
        ...

    def fail(self, error: CashyError) -> None:
        """Ends the answer, begun or not: the other host gets the error's code and message. ``when_gone`` comes if ``begin`` was called."""
        ...


class PeerService(Protocol):
    """What the host does for its peers; the master's side of the server."""

    def read(self, request: ReadRequest, reply: BlockReply) -> None:
        """Answers a read, now or later, through ``reply``. Does not block; a :class:`~cashy.errors.CashyError` it raises is the answer."""
        ...

    def head(self, request: HeadRequest) -> Awaitable[HeadAnswer]:
        """The object's metadata; raises a :class:`~cashy.errors.CashyError`. Cancelled when nobody wants it any more."""
        ...

    def changed(self, changes: Sequence[Change]) -> Noted:
        """Objects are being changed at their store, or were: what is known of them is not current any more. May raise a ``CashyError``."""
        ...

    def lease(self, peer: str, incarnation: int, number: int) -> Grant:
        """A lease for host ``peer``, which was told of changes up to ``number`` by ``incarnation`` of this host. May raise a ``CashyError``."""
        ...

    def leaving(self, peer: str) -> None:
        """Host ``peer`` is about to stop: it believes nothing any more, and nothing new is to be asked of it."""
        ...

    def operate(self, request: HostRequest) -> Awaitable[HostAnswer]:
        """Does this host's part of what an operator asked of another one; raises a :class:`~cashy.errors.CashyError`. Cancelled when nobody wants
        the answer any more.
        """
        ...

    def status(self) -> bytes:
        """This host's counters: a serialised ``aviary.cashy.v1.StatusReport``."""
        ...
