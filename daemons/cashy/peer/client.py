"""One other host, as this one reads from it: a connection kept up in the background, and the requests on it.

A host that cannot be reached costs nobody anything: reads of it fail at once (so the next host, or the origin, is asked), and it is tried
again behind their backs, ever more rarely. Only while the first attempt of a series is under way do reads wait for it, each until its own
deadline.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from aviary.cashy.v1.operate_pb2 import HostAnswer, HostRequest
from cashy.core.breaker import Breaker
from cashy.core.coherence import Change, Grant
from cashy.core.peer_certificate import check_certificate
from cashy.core.peer_frames import Kind, PeerError, PeerProtocolError
from cashy.core.peer_greeting import GreetingRefused, PeerIdentity
from cashy.errors import CashyError
from cashy.peer.errors import PeerBusy, PeerCorrupt, PeerTimeout, PeerUnavailable
from cashy.peer.frame_socket import prepare_socket
from cashy.peer.limits import (
    BACKOFF_FIRST_S,
    BACKOFF_MAX_S,
    CONNECT_S_MAX,
    FAILED_AFTER_S,
    GREETING_S_MAX,
    IDLE_PING_S,
    LEAVING_SINCE,
    OPERATE_SINCE,
    STABLE_S,
    SWEEP_S,
    UNREACHABLE_ATTEMPTS,
    WAITING_MAX,
)
from cashy.peer.link import PeerLink, Request
from cashy.peer.messages import (
    changed_payload,
    head_request_payload,
    lease_request_payload,
    leaving_payload,
    operate_payload,
    parse_lease,
    parse_meta,
    parse_noted,
    parse_operated,
    status_request_payload,
)
from cashy.peer.reports import Reports
from cashy.peer.requests import Question, Reading
from cashy.peer.round_trips import RoundTrips
from cashy.peer.service import HeadAnswer, Noted, PeerRead
from cashy.peer.tls import PeerTls
from cashy.peer.tls_handshake import Handshake
from cashy.peer.tls_socket import TlsSocket

__all__ = ["Peer"]

_COUNTED = (
    "bytes_received_total", "connects_total", "connect_failures_total", "connections_lost_total", "corrupt_reads_total", "heads_total",
    "protocol_errors_total", "reads_cancelled_total", "reads_failed_total", "reads_total", "refused_total", "silences_total",
    "timeouts_total", "waits_total",
)  # fmt: skip


#: The time to these says how far a host is, and how busy; to a HEAD it may be the origin's.
_ANSWERED_AT_ONCE = frozenset((Kind.STATUS, Kind.CHANGED, Kind.LEASE))


class Peer:
    """One other host. All methods are to be called on the loop's thread; ``start`` takes the running loop.

    ``tls`` None: the connection is plain, else never.
    ``jitter`` gives numbers in [0, 1): how long to wait before the next attempt, between half of the backoff and all of it.
    """

    def __init__(
        self,
        name: str,
        address: tuple[str, int],
        *,
        identity: PeerIdentity,
        tls: PeerTls | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.address = address
        #: Why there is no connection, for status output; "" while there is one.
        self.last_error = "not started"
        self._identity = identity
        self._tls = tls
        self._jitter = jitter
        #: Whether reads are sent there: one that keeps failing them is passed over, though it may be connected.
        self.breaker = Breaker()
        self._counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
        self._reports = Reports()
        self._round_trips = RoundTrips()
        self._link: PeerLink | None = None  # greeted
        self._greeting_link: PeerLink | None = None
        self._link_ended = asyncio.Event()
        self._failures = 0
        self._waiting: deque[Request] = deque()
        self._keeper: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_is_idle = False
        self._timer_due = 0.0
        self._is_closed = False
        self._is_leaving = False
        self._has_left = False  # this host itself

    # ------------------------------------------------------------ state

    def start(self) -> None:
        """Begins to connect, and keeps trying until ``close``."""
        self.last_error = "is being connected to"
        self._keeper = asyncio.get_running_loop().create_task(
            self._keep_connected(), name=f"peer {self.name}"
        )
        self._arm(is_idle=True)

    @property
    def is_up(self) -> bool:
        """Greeted, and not silent."""
        return self._link is not None

    def is_worth_trying(self) -> bool:
        """Up, or being connected to without having failed just now, and not failing its reads: else ask the next host at once."""
        return self._can_be_asked and (self.breaker.is_closed or self.breaker.may_ask(time.monotonic()))

    @property
    def _can_be_asked(self) -> bool:
        if self._is_leaving:
            return False
        return self._link is not None or (
            self._failures == 0 and self._keeper is not None and not self._is_closed
        )

    def is_sending(self) -> bool:
        """Whether blocks are coming from there at this moment: a read that gives no sign may stand behind them."""
        return self._link is not None and self._link.is_sending(time.monotonic())

    @property
    def is_silent(self) -> bool:
        """Whether it is connected and gives no sign of life, not even an answer to PING: it is dead, or will go on in a moment."""
        return self._link is not None and self._link.is_silent

    @property
    def requests_under_way(self) -> int:
        """Requests that it has to answer, or that wait for the connection."""
        return (self._link.requests_under_way if self._link is not None else 0) + len(self._waiting)

    def counters(self) -> dict[str, int]:
        """Figures by name: totals since the start (``…_total``) and present levels."""
        link = self._link
        received, waits = (link.socket.bytes_in, link.waits_heard) if link is not None else (0, 0)
        silences = link.silences if link is not None else 0
        return {
            **self._counts,
            "bytes_received_total": self._counts["bytes_received_total"] + received,
            "breaker_opened_total": self.breaker.opened_total,
            "breaker_state": self.breaker.state(time.monotonic()).value,
            "is_up": int(link is not None),
            "latency_p50_us": self._round_trips.percentile_us(50),
            "latency_p99_us": self._round_trips.percentile_us(99),
            "requests_under_way": link.requests_under_way if link is not None else 0,
            "requests_waiting": len(self._waiting),
            "silences_total": self._counts["silences_total"] + silences,
            "waits_total": self._counts["waits_total"] + waits,
        }

    # ------------------------------------------------------------ requests

    def begin_read_block(self, read: PeerRead) -> None:
        """As :meth:`cashy.origin.base.Origin.begin_read_block`: never raises, and never calls back before it has returned.

        ``on_done`` comes once, unless the read is cancelled; ``detached`` always comes before it. Errors: ``PeerUnavailable``, ``PeerTimeout``,
        ``PeerProtocolError``, ``PeerBusy`` (all ``PeerError``: ask the next host), ``TooLarge`` for names the protocol does not take, and what the
        host answered (``NoSuchObject``, ``VersionChanged``, ``OriginUnavailable``, ``SlowDown``, ``ArenaFull`` …).
        """
        self._counts["reads_total"] += 1
        now = time.monotonic()
        reading = Reading(read, self.name, now, lambda error: self._read_over(reading, error))
        read.state = reading
        if self.breaker.ask(now):
            self._submit(reading)
        else:
            asyncio.get_running_loop().call_soon(reading.fail, self._passed_over())

    def cancel_read_block(self, read: PeerRead) -> None:
        """As :meth:`cashy.origin.base.Origin.cancel_read_block`; ``detached`` (if begun) comes from inside this call."""
        reading = read.state
        if not isinstance(reading, Reading) or reading.is_over:
            return
        self._counts["reads_cancelled_total"] += 1
        self._judge(reading, None, was_given_up=True)
        self._give_up(reading)
        reading.dropped()

    async def head(
        self, origin: str, url: str, bucket: str, key: str, *, revalidate: bool, deadline_s: float, blocks: range = range(0)
    ) -> HeadAnswer:  # fmt: skip
        """The object's metadata as that host knows it, and where it has ``blocks``; raises a CashyError."""
        self._counts["heads_total"] += 1

        def payload(left_s: float) -> bytes:
            return head_request_payload(origin, url, bucket, key, revalidate, left_s, blocks)

        if not self.breaker.ask(time.monotonic()):
            raise self._passed_over()
        try:
            answer = await self._ask(Kind.HEAD, payload, deadline_s)
        except PeerTimeout:
            self.breaker.failed(time.monotonic())
            raise
        except BaseException:
            self.breaker.given_up()
            raise
        self.breaker.succeeded()
        return parse_meta(answer)

    async def status(self, deadline_s: float) -> bytes:
        """That host's serialised StatusReport; raises a CashyError."""
        return await self._ask(Kind.STATUS, status_request_payload, deadline_s)

    async def changed(self, changes: Sequence[Change], deadline_s: float) -> Noted:
        """Tells that host of changes, all alike but for their names; returns when it has noted them. Raises a CashyError."""
        return parse_noted(
            await self._ask(Kind.CHANGED, lambda left_s: changed_payload(changes, left_s), deadline_s)
        )

    async def lease(self, incarnation: int, number: int, deadline_s: float) -> Grant:
        """Asks that host for a lease, see :class:`cashy.core.coherence.Leases`; raises a CashyError."""
        payload = await self._ask(
            Kind.LEASE, lambda left_s: lease_request_payload(incarnation, number, left_s), deadline_s
        )
        return parse_lease(payload)

    async def leave(self, deadline_s: float) -> None:
        """Tells that host that this one is about to stop; returns when it has noted that, or does not speak of such. Raises a CashyError."""
        self._has_left = True
        if self._link is not None and self._link.version >= LEAVING_SINCE:
            await self._ask(Kind.LEAVING, leaving_payload, deadline_s)

    def leaves(self) -> None:
        """That host says so of itself: what is under way goes on, nothing new is asked of it until it is there again."""
        self._is_leaving = self._link is not None

    async def operate(self, request: HostRequest, deadline_s: float) -> HostAnswer:
        """Asks that host to do its part of what an operator wants; raises a CashyError."""
        if self._link is not None and self._link.version < OPERATE_SINCE:
            raise PeerUnavailable(
                f"host {self.name!r}: its version of aviary does not know such requests: upgrade it"
            )
        payload = await self._ask(Kind.OPERATE, lambda left_s: operate_payload(request, left_s), deadline_s)
        return parse_operated(payload)

    async def finish(self, within_s: float) -> None:
        """Nobody will ask it for anything new: closes when what is under way is answered, or when so much time has passed."""
        deadline = time.monotonic() + within_s
        try:
            while self.requests_under_way and time.monotonic() < deadline:  # noqa: ASYNC110 - it is one host in a thousand, now and then
                await asyncio.sleep(SWEEP_S)
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends the connection; reads under way end with PeerUnavailable, later ones too."""
        self._is_closed = True
        self.last_error = "closed"
        if self._timer is not None:
            self._timer.cancel()
        for link in (self._greeting_link, self._link):
            if link is not None:
                link.close(PeerUnavailable("this host is shutting down"))
        self._fail_waiting()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def _ask(self, kind: Kind, payload: Callable[[float], bytes], deadline_s: float) -> bytes:
        asked_at = time.monotonic()
        question = Question(kind, payload, self.name, asked_at, deadline_s)
        self._submit(question)
        try:
            answer = await question.answer
            if kind in _ANSWERED_AT_ONCE:
                self._round_trips.add(time.monotonic() - asked_at)
            return answer
        finally:
            if not question.is_over:
                self._give_up(question)
                question.is_over = True

    def _submit(self, request: Request) -> None:
        error: CashyError
        if self._is_leaving and request.kind is not Kind.LEAVING:  # two may leave at a time
            error = PeerUnavailable(f"host {self.name!r} is being stopped")
        elif self._link is not None:
            try:
                self._link.send(request, time.monotonic())
                self._arm(is_idle=False)
                return
            except CashyError as refusal:
                error = refusal
        elif not self._can_be_asked:
            error = self._down()
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.append(request)
            self._arm(is_idle=False)
            return
        else:
            error = PeerBusy(f"{WAITING_MAX} requests wait for host {self.name!r} already: try again later")
        asyncio.get_running_loop().call_soon(request.fail, error)

    def _give_up(self, request: Request) -> None:
        if request.link is not None:
            request.link.give_up(request)
        elif request in self._waiting:
            self._waiting.remove(request)

    def _read_over(self, reading: Reading, error: CashyError | None) -> None:
        self._judge(reading, error)
        if error is not None:
            self._counts["reads_failed_total"] += 1
            self._counts["timeouts_total"] += isinstance(error, PeerTimeout)
            if isinstance(error, PeerCorrupt):
                self._counts["corrupt_reads_total"] += 1
                self._reports.warning("peer_sent_corrupt_bytes", self.name, error.message)

    def _judge(self, reading: Reading, error: CashyError | None, *, was_given_up: bool = False) -> None:
        """What a read's end says of the host. A lost connection says nothing more than that: it is made anew, or there is none."""
        now = time.monotonic()
        is_silent = now - reading.heard_at >= FAILED_AFTER_S
        if reading.link is None or isinstance(error, PeerUnavailable | PeerBusy):
            self.breaker.given_up()
        elif was_given_up or isinstance(error, PeerTimeout):
            # A reader may have had less patience than the host deserves.
            if is_silent:
                self.breaker.failed(now)
            else:
                self.breaker.given_up()
        elif isinstance(error, PeerCorrupt):
            self.breaker.failed(now)
        elif isinstance(error, PeerError):
            self.breaker.given_up()  # the connection has ended: how soon there is another is the keeper's business
        else:
            self.breaker.succeeded()

    def _passed_over(self) -> PeerUnavailable:
        return PeerUnavailable(
            f"host {self.name!r} is passed over for a moment: its last reads have all failed"
        )

    def _down(self) -> PeerUnavailable:
        return PeerUnavailable(f"host {self.name!r} is down: {self.last_error}")

    # ------------------------------------------------------------ the connection

    async def _keep_connected(self) -> None:
        while not self._is_closed:
            connected_at = time.monotonic()
            try:
                await self._connect()
            except (OSError, PeerError, TimeoutError, UnicodeError) as error:  # the last: a name that is none
                self._connecting_failed(error)
            else:
                await self._link_ended.wait()
                if time.monotonic() - connected_at >= STABLE_S:
                    self._failures = 0
                    continue
                self._failures += 1
                self._fail_waiting()
            await asyncio.sleep(self._backoff_s())

    def _backoff_s(self) -> float:
        longest: float = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 16))
        return longest * (1 + self._jitter()) / 2

    async def _connect(self) -> None:
        """Connects and greets."""
        async with asyncio.timeout(CONNECT_S_MAX):
            plain = await self._open()
        sock = plain if self._tls is None else await self._secured(plain, self._tls)
        link = self._greeting_link = PeerLink(sock, self._identity, self.name, self._link_lost)
        self._link_ended.clear()
        try:
            async with asyncio.timeout(GREETING_S_MAX):
                await link.greeted
        except TimeoutError:
            link.close(PeerUnavailable(f"no greeting within {GREETING_S_MAX:g} s"))
            raise
        finally:
            self._greeting_link = None
        self._counts["connects_total"] += 1
        if link.is_up:
            self._take_up(link)

    async def _open(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        host, port = self.address
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            prepare_socket(sock)
            await loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _secured(self, plain: socket.socket, tls: PeerTls) -> TlsSocket:
        """The same connection with TLS, to the host that was meant; raises a PeerError."""
        outcome: asyncio.Future[TlsSocket] = asyncio.get_running_loop().create_future()

        def done(_: Handshake, sock: TlsSocket | None, error: PeerError | None) -> None:
            if outcome.done():  # nobody waits any more
                if sock is not None:
                    sock.close()
            elif sock is not None:
                outcome.set_result(sock)
            else:
                assert error is not None
                outcome.set_exception(error)

        handshake = Handshake(plain, tls.loaded.client, done, is_server=False)
        try:
            sock = await outcome
        except asyncio.CancelledError:
            handshake.close("nobody waits for it")
            if outcome.done() and not outcome.cancelled() and outcome.exception() is None:
                outcome.result().close()  # it was just done
            raise
        try:
            check_certificate(sock.certificate, self._identity.cluster, self.name, tls.refused)
        except PeerError:
            sock.close()
            raise
        return sock

    def trust_changed(self, *, is_all: bool) -> None:
        """Closes the connection if the other host's certificate is refused now; ``is_all``: whichever it has. A new one is made as always."""
        for link in (self._greeting_link, self._link):
            certificate = link.certificate if link is not None else None
            if link is None or certificate is None or self._tls is None:
                continue
            if is_all or certificate.serial in self._tls.refused:
                link.close(PeerUnavailable("its certificate may not be trusted any more"))

    def _take_up(self, link: PeerLink) -> None:
        self._link = link
        self.last_error = ""
        self._reports.info("peer_up", self.name, address="{}:{}".format(*self.address))
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            self._submit(request)

    def _connecting_failed(self, error: Exception) -> None:
        self._failures += 1
        self._counts["connect_failures_total"] += 1
        self._counts["refused_total"] += isinstance(error, GreetingRefused)
        self.last_error = str(error) or f"no connection within {CONNECT_S_MAX:g} s"
        if isinstance(error, GreetingRefused):
            self._reports.warning("peer_refused", self.name, self.last_error, refusal=error.reason_name)
        elif self._failures == UNREACHABLE_ATTEMPTS:
            self._reports.warning(
                "peer_unreachable", self.name, self.last_error, address="{}:{}".format(*self.address)
            )
        self._fail_waiting()

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            request.fail(self._down())

    def _link_lost(self, link: PeerLink, error: PeerError) -> None:
        """The link's socket is closed; what is under way on it fails when this has returned."""
        self._counts["protocol_errors_total"] += isinstance(error, PeerProtocolError)
        self._counts["bytes_received_total"] += link.socket.bytes_in
        self._counts["waits_total"] += link.waits_heard
        self._counts["silences_total"] += link.silences
        if isinstance(error, PeerProtocolError):
            self._reports.warning("peer_broke_protocol", self.name, error.message)
        elif self._link is link and (self._is_leaving or self._has_left):
            self._reports.info("peer_left", self.name)
        elif self._link is link and not self._is_closed:
            self._reports.warning("peer_lost", self.name, error.message)
        self._link_ended.set()
        if self._link is link:
            self._link = None
            self._counts["connections_lost_total"] += 1
            self.last_error = "was stopped" if self._is_leaving else error.message
            self._is_leaving = False

    # ------------------------------------------------------------ time

    def _arm(self, *, is_idle: bool) -> None:
        """Sets the timer; one that is set for an idle connection is brought forward when something is awaited."""
        if self._timer is not None:
            if is_idle or not self._timer_is_idle:
                return
            self._timer.cancel()
        self._timer_is_idle = is_idle
        delay_s = IDLE_PING_S / 2 if is_idle else SWEEP_S
        self._timer_due = time.monotonic() + delay_s
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = time.monotonic()
        is_late = now - self._timer_due > SWEEP_S
        for request in [request for request in self._waiting if request.lateness(now, is_late)]:
            self._waiting.remove(request)
            request.fail(PeerTimeout(f"host {self.name!r} could not be connected to in time"))
        link = self._link
        if link is not None:
            link.sweep(now, is_late)
        if not self._is_closed:
            is_idle = not self._waiting and (link is None or link.is_quiet)
            self._arm(is_idle=is_idle)
