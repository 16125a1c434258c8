"""One connection of another host, from the serving side: who it is, what it asks, and when it is cut off."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from typing import Protocol

from aviary.cashy.v1.operate_pb2 import HostRequest
from aviary.cashy.v1.peer_pb2 import PeerRefusal
from cashy.core.peer_certificate import check_certificate, describe_names
from cashy.core.peer_frames import PAYLOAD_BYTES_MAX, Kind, PeerError, PeerProtocolError, State
from cashy.core.peer_greeting import NONCE_BYTES, AcceptingGreeting, GreetingRefused, PeerIdentity
from cashy.core.peer_wire import Frame, FrameReader, Incoming
from cashy.errors import CashyError, InternalError, SlowDown
from cashy.peer.errors import PeerUnavailable
from cashy.peer.frame_socket import FrameSocket
from cashy.peer.limits import (
    CLIENT_SILENT_S_MAX,
    DEADLINE_GRACE_S,
    GREETING_S_MAX,
    LOOKAHEAD_SERVING_BYTES,
    RECEIVER_STALLED_S_MAX,
    REQUESTS_MAX,
)
from cashy.peer.messages import (
    CANCELLED,
    error_payload,
    lease_payload,
    meta_payload,
    noted_payload,
    operated_payload,
    parse_changed,
    parse_head_request,
    parse_lease_request,
    parse_leaving,
    parse_operate,
    parse_read_request,
    parse_status_request,
)
from cashy.peer.replies import ChecksumMemory, Reply
from cashy.peer.reports import Reports
from cashy.peer.service import HeadRequest, Noted, PeerService
from cashy.peer.tls import PeerTls
from cashy.peer.tls_socket import TlsSocket

__all__ = ["ServedPeer", "ServingHost"]


class ServingHost(Protocol):
    """What all connections share: the server."""

    service: PeerService
    identity: PeerIdentity
    hosts: frozenset[str]
    checksums: ChecksumMemory
    reports: Reports
    counts: Counter[str]
    tls: PeerTls | None

    def greeted(self, connection: ServedPeer) -> None:
        """The connection has proved who it is."""

    def gone(self, connection: ServedPeer) -> None:
        """The connection is closed."""


class _Heading:
    """A HEAD or OPERATE under way."""

    __slots__ = ("deadline_at", "task")

    def __init__(self, task: asyncio.Task[None], deadline_at: float) -> None:
        self.task = task
        self.deadline_at = deadline_at


class ServedPeer:
    """One accepted connection. ``host`` is the name it has proved, empty before; ``address`` where it comes from, for the log."""

    def __init__(self, sock: socket.socket | TlsSocket, server: ServingHost, address: str) -> None:
        self._server = server
        self._address = address
        #: What it has shown, over TLS.
        self.certificate = sock.certificate if isinstance(sock, TlsSocket) else None
        self._greeting = AcceptingGreeting(
            server.identity, server.hosts, os.urandom(NONCE_BYTES), REQUESTS_MAX, self._check_name
        )
        self._accepted_at = time.monotonic()
        self._is_closing = False
        self._replies: dict[int, Reply] = {}
        self._headings: dict[int, _Heading] = {}
        self.host = ""
        self.checksums = server.checksums
        self.socket = FrameSocket(sock, FrameReader(State.AWAIT_HELLO, LOOKAHEAD_SERVING_BYTES), self)

    @property
    def requests_under_way(self) -> int:
        """Reads and HEADs that are not answered completely."""
        return len(self._replies) + len(self._headings)

    def close(self, why: str) -> None:
        """Closes at once; everything under way for it is cancelled."""
        self._is_closing = True
        self.socket.close(PeerUnavailable(why))

    def refuse(self, refusal: GreetingRefused) -> None:
        """Says why, as far as that can be sent, and closes."""
        self.socket.close_with(Kind.REFUSED, refusal.payload(), refusal)

    def _check_name(self, host: str) -> None:
        if self.certificate is not None and self._server.tls is not None:
            check_certificate(self.certificate, self._server.identity.cluster, host, self._server.tls.refused)

    # ------------------------------------------------------------ the socket's side

    def frame_arrived(self, frame: Frame) -> None:
        """A frame has come; kinds that have no place here were refused by the reader."""
        kind = frame.kind
        if kind is Kind.READ:
            self._read(frame)
        elif kind is Kind.PING:
            self.socket.send(Kind.PONG)
        elif kind is Kind.CANCEL:
            self._cancel(frame.request_id, CANCELLED, "cancelled")
        elif kind is Kind.HEAD:
            self._head(frame)
        elif kind is Kind.STATUS:
            self._status(frame)
        elif kind is Kind.CHANGED:
            self._changed(frame)
        elif kind is Kind.LEASE:
            self._lease(frame)
        elif kind is Kind.LEAVING:
            self._leaving(frame)
        elif kind is Kind.OPERATE:
            self._operate(frame)
        else:
            self._greet(frame)

    def data_arrived(self, incoming: Incoming) -> None:
        """Never: the table of states lets nobody send DATA to this side."""
        raise PeerProtocolError(f"DATA for request {incoming.request_id}, which is not under way")

    def connection_ended(self, error: PeerError) -> None:
        """The socket is closed."""
        counts = self._server.counts
        if isinstance(error, PeerProtocolError):
            counts["protocol_errors_total"] += 1
            self._warn("peer_broke_protocol" if self.host else "stranger_broke_protocol", error.message)
        elif isinstance(error, GreetingRefused):
            counts["refused_total"] += 1
            counts[f"refused_{error.reason_name.lower()}_total"] += 1
            self._warn("peer_not_let_in", error.message, refusal=error.reason_name)
        elif self.certificate is not None and not self.host and not self._is_closing:
            names = describe_names(self.certificate.uris)
            self._warn(
                "peer_left_greeting",
                f"{error.message}; its certificate is for {names}, and its log may say more",
            )
        counts["bytes_received_total"] += self.socket.bytes_in
        counts["bytes_sent_total"] += self.socket.bytes_out
        for request_id in [*self._replies, *self._headings]:
            self._cancel(request_id, CANCELLED, "the connection has ended")
        self._server.gone(self)

    def _warn(self, event: str, reason: str, **values: object) -> None:
        self._server.reports.warning(event, self.host, reason, address=self._address, **values)

    def _cut_off(self, why: str) -> None:
        self._warn("peer_cut_off", why)
        self.close(why)

    def _greet(self, frame: Frame) -> None:
        try:
            if frame.kind is Kind.HELLO:
                self.socket.send(Kind.CHALLENGE, 0, self._greeting.greeted(frame.payload))
                return
            self.host, welcome = self._greeting.proved(frame.payload)
        except GreetingRefused as refusal:
            self.refuse(refusal)
            return
        self.socket.send(Kind.WELCOME, 0, welcome)
        self._server.greeted(self)

    # ------------------------------------------------------------ requests

    def _admit(self, frame: Frame) -> bool:
        request_id = frame.request_id
        if request_id in self._replies or request_id in self._headings:
            raise PeerProtocolError(
                f"{frame.kind.name} with the id of request {request_id}, which is under way"
            )
        if self.requests_under_way < REQUESTS_MAX:
            return True
        self._server.counts["slow_downs_total"] += 1
        self._error(request_id, SlowDown(f"{REQUESTS_MAX} requests of this connection are under way already"))
        return False

    def _read(self, frame: Frame) -> None:
        request = parse_read_request(frame.payload, self.host, self._server.identity.block_bytes)
        if not self._admit(frame):
            return
        self._server.counts["reads_total"] += 1
        reply = Reply(self, frame.request_id, request, time.monotonic())
        self._replies[frame.request_id] = reply
        try:
            self._server.service.read(request, reply)
        except CashyError as error:
            reply.fail(error)
        except Exception as error:
            reply.fail(self._bug(error))
        else:  # in the next turn: what is known here has been found by then
            asyncio.get_running_loop().call_soon(self._say_at_once, reply)

    def _say_at_once(self, reply: Reply) -> None:
        if reply.says_at_once(time.monotonic()):
            self._say_waiting(reply)

    def _say_waiting(self, reply: Reply) -> None:
        self._server.counts["waits_total"] += 1
        self.socket.send(Kind.WAITING, reply.request_id)

    def reply_ended(self, reply: Reply, outcome: str) -> None:
        """A reply will send nothing more."""
        del self._replies[reply.request_id]
        self._server.counts[f"reads_{outcome}_total"] += 1

    def _head(self, frame: Frame) -> None:
        request = parse_head_request(frame.payload, self.host)
        if not self._admit(frame):
            return
        self._server.counts["heads_total"] += 1
        task = asyncio.get_running_loop().create_task(self._answer_head(frame.request_id, request))
        deadline_at = time.monotonic() + request.deadline_s + DEADLINE_GRACE_S
        self._headings[frame.request_id] = _Heading(task, deadline_at)

    async def _answer_head(self, request_id: int, request: HeadRequest) -> None:
        try:
            payload = meta_payload(await self._server.service.head(request))
        except CashyError as error:
            self._end_head(request_id, Kind.ERROR, error_payload(error.code, error.message))
        except Exception as error:
            bug = self._bug(error)
            self._end_head(request_id, Kind.ERROR, error_payload(bug.code, bug.message))
        else:
            self._end_head(request_id, Kind.META, payload)

    def _end_head(self, request_id: int, kind: Kind, payload: bytes) -> None:
        if self._headings.pop(request_id, None) is not None:
            self.socket.send(kind, request_id, payload)

    def _operate(self, frame: Frame) -> None:
        request, deadline_s = parse_operate(frame.payload)
        if not self._admit(frame):
            return
        self._server.counts["operations_total"] += 1
        task = asyncio.get_running_loop().create_task(self._answer_operate(frame.request_id, request))
        deadline_at = time.monotonic() + deadline_s + DEADLINE_GRACE_S
        self._headings[frame.request_id] = _Heading(task, deadline_at)

    async def _answer_operate(self, request_id: int, request: HostRequest) -> None:
        try:
            payload = operated_payload(await self._server.service.operate(request))
        except CashyError as error:
            self._end_head(request_id, Kind.ERROR, error_payload(error.code, error.message))
        except Exception as error:
            bug = self._bug(error)
            self._end_head(request_id, Kind.ERROR, error_payload(bug.code, bug.message))
        else:
            self._end_head(request_id, Kind.OPERATED, payload)

    def _status(self, frame: Frame) -> None:
        parse_status_request(frame.payload)
        if not self._admit(frame):
            return
        report = self._server.service.status()
        if len(report) > PAYLOAD_BYTES_MAX[Kind.STATUS_REPORT]:
            self._error(
                frame.request_id, InternalError(f"the status has {len(report)} bytes: too long for a frame")
            )
        else:
            self.socket.send(Kind.STATUS_REPORT, frame.request_id, report)

    def _changed(self, frame: Frame) -> None:
        changes = parse_changed(frame.payload)
        if not self._admit(frame):
            return
        self._server.counts["changes_total"] += 1
        try:
            noted = noted_payload(self._server.service.changed(changes))
        except CashyError as error:
            self._error(frame.request_id, error)
        else:
            self.socket.send(Kind.NOTED, frame.request_id, noted)

    def _lease(self, frame: Frame) -> None:
        incarnation, number = parse_lease_request(frame.payload)
        if not self._admit(frame):
            return
        self._server.counts["leases_total"] += 1
        try:
            lease = lease_payload(self._server.service.lease(self.host, incarnation, number))
        except CashyError as error:
            self._error(frame.request_id, error)
        else:
            self.socket.send(Kind.LEASED, frame.request_id, lease)

    def _leaving(self, frame: Frame) -> None:
        parse_leaving(frame.payload)
        if not self._admit(frame):
            return
        self._server.counts["leavings_total"] += 1
        self._server.service.leaving(self.host)
        self.socket.send(Kind.NOTED, frame.request_id, noted_payload(Noted(0, {})))

    def _cancel(self, request_id: int, code: str, message: str) -> None:
        """Ends a request; one that is not under way has ended already, and its end is on its way."""
        reply = self._replies.get(request_id)
        if reply is not None:
            reply.cancel(code, message)
            return
        heading = self._headings.pop(request_id, None)
        if heading is not None:
            heading.task.cancel()
            self.socket.send(Kind.ERROR, request_id, error_payload(code, message))

    def _error(self, request_id: int, error: CashyError) -> None:
        self.socket.send(Kind.ERROR, request_id, error_payload(error.code, error.message))

    def _bug(self, error: Exception) -> InternalError:
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"answering host {self.host!r} failed", "exception": error}
        )
        return InternalError(
            f"host {self._server.identity.host!r} failed at this: {type(error).__name__}; its log says more"
        )

    # ------------------------------------------------------------ time

    def sweep(self, now: float, is_late: bool) -> None:
        """Says which reads wait, looks at deadlines, and cuts off who is silent or does not read. ``is_late``: this host's loop stood still,
        nobody is to blame.
        """
        self._say_what_waits(now)
        if is_late:
            return
        if not self.host:
            if now - self._accepted_at > GREETING_S_MAX:
                self.refuse(
                    GreetingRefused(PeerRefusal.PROTOCOL, f"no complete greeting within {GREETING_S_MAX:g} s")
                )
            return
        blocked_since = self.socket.blocked_since
        if blocked_since is not None and now - blocked_since > RECEIVER_STALLED_S_MAX:
            self._server.counts["stalled_receivers_total"] += 1
            self._cut_off(f"it has read nothing for {RECEIVER_STALLED_S_MAX:g} s")
            return
        if now - self.socket.heard_at > CLIENT_SILENT_S_MAX and blocked_since is None:
            self._server.counts["silent_clients_total"] += 1
            self._cut_off(f"it has sent nothing for {CLIENT_SILENT_S_MAX:g} s")
            return
        self._end_late(now)

    def _say_what_waits(self, now: float) -> None:
        if self.socket.blocked_since is None:  # else it hears nothing anyway
            for reply in self._replies.values():
                if reply.is_sign_due(now):
                    self._say_waiting(reply)

    def _end_late(self, now: float) -> None:
        late = [key for key, reply in self._replies.items() if reply.deadline_at <= now]
        late += [key for key, heading in self._headings.items() if heading.deadline_at <= now]
        for request_id in late:
            self._cancel(request_id, "ORIGIN_TIMEOUT", "the deadline has passed")
