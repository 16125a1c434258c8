"""The peer endpoint: accepts other hosts' connections and keeps them, and strangers', within limits."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections import Counter, deque
from collections.abc import Collection

from aviary.cashy.v1.peer_pb2 import PeerRefusal
from cashy.core.peer_frames import PeerError
from cashy.core.peer_greeting import GreetingRefused, PeerIdentity
from cashy.limits import ACCEPT_PAUSE_S
from cashy.peer.frame_socket import prepare_socket
from cashy.peer.limits import (
    ACCEPTS_PER_TURN,
    CONNECTIONS_MAX,
    CONNECTIONS_PER_HOST_MAX,
    GREETINGS_MAX,
    LISTEN_BACKLOG,
    SWEEP_S,
)
from cashy.peer.replies import ChecksumMemory
from cashy.peer.reports import Reports
from cashy.peer.service import PeerService
from cashy.peer.serving import ServedPeer
from cashy.peer.tls import PeerTls
from cashy.peer.tls_handshake import Handshake
from cashy.peer.tls_socket import TlsSocket

__all__ = ["PeerServer"]

_REASONS = tuple(name.lower() for name in PeerRefusal.Reason.keys()[1:])

_COUNTED = (
    "accepted_total", "bytes_received_total", "bytes_sent_total", "changes_total", "greeted_total", "handshakes_failed_total",
    "heads_total", "leases_total", "leavings_total", "operations_total", "protocol_errors_total",
    "reads_cancelled_total", "reads_completed_total", "reads_failed_total", "reads_total", "refused_total",
    *(f"refused_{reason}_total" for reason in _REASONS), "silent_clients_total", "slow_downs_total", "stalled_receivers_total", "turned_away_total",
    "waits_total",
)  # fmt: skip


class PeerServer:
    """The peer endpoint. ``hosts``: names of the hosts that may connect (this one's own among them does not matter).

    ``checksums``: what is known of blocks from when they came, if somebody keeps it. ``tls`` None: plain connections, else none but over TLS.
    """

    def __init__(
        self, service: PeerService, *, identity: PeerIdentity, hosts: Collection[str], checksums: ChecksumMemory | None = None,
        tls: PeerTls | None = None,
    ) -> None:  # fmt: skip
        self.service = service
        self.identity = identity
        self.hosts = frozenset(hosts) - {identity.host}
        self.checksums = ChecksumMemory() if checksums is None else checksums
        self.tls = tls
        self.reports = Reports()
        self.counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
        self._shaking: dict[Handshake, str] = {}  # and from which address
        self._greeting: set[ServedPeer] = set()
        self._greeted: dict[str, deque[ServedPeer]] = {}
        self._greeted_count = 0
        self._listener: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._swept_at = 0.0

    # ------------------------------------------------------------ the owner's side

    def listen(self, host: str, port: int) -> None:
        """Binds (SO_REUSEADDR, SO_REUSEPORT) and accepts on the running loop; raises OSError."""
        assert self._listener is None
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.setblocking(False)
            listener.bind(address)
            listener.listen(LISTEN_BACKLOG)
        except BaseException:
            listener.close()
            raise
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._acceptable)
        self._arm()

    def let_in(self, hosts: Collection[str]) -> None:
        """From now on these may connect; connections of others end."""
        self.hosts = frozenset(hosts) - {self.identity.host}
        for connection in self._connections():
            if connection.host and connection.host not in self.hosts:
                connection.close("the host is not in the list of hosts any more")

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens (the port as bound)."""
        assert self._listener is not None
        host, port = self._listener.getsockname()[:2]
        return host, port

    def counters(self) -> dict[str, int]:
        """Figures by name: totals since the start (``…_total``) and present levels."""
        connections = self._connections()
        figures = dict(self.counts)
        figures["bytes_sent_total"] += sum(connection.socket.bytes_out for connection in connections)
        figures["bytes_received_total"] += sum(connection.socket.bytes_in for connection in connections)
        return figures | {
            "checksummed_ranges": len(self.checksums),
            "connections": self._greeted_count,
            "greetings_under_way": len(self._greeting) + len(self._shaking),
            "requests_under_way": sum(connection.requests_under_way for connection in connections),
        }

    async def reads_ended(self, patience_s: float) -> None:
        """Returns when nothing is under way any more, at the latest after ``patience_s``; to be called when nobody begins anything new."""
        deadline = time.monotonic() + patience_s
        while any(one.requests_under_way for one in self._connections()) and time.monotonic() < deadline:  # noqa: ASYNC110 - one event for many
            await asyncio.sleep(SWEEP_S / 10)

    async def close(self) -> None:
        """Stops listening and ends all connections; every ``when_gone`` and ``on_cancel`` has been called when it returns."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for handshake in list(self._shaking):
            handshake.close("this host is shutting down")
        for connection in self._connections():
            connection.close("this host is shutting down")
        await asyncio.sleep(0)  # what was promised for later

    def trust_changed(self, *, is_all: bool) -> None:
        """Closes connections whose certificate is refused now; ``is_all``: those of all certificates, as an authority is not trusted any more."""
        assert self.tls is not None
        for connection in self._connections():
            certificate = connection.certificate
            if certificate is not None and (is_all or certificate.serial in self.tls.refused):
                connection.close("it was made by a certificate that may not be trusted any more")

    # ------------------------------------------------------------ connections

    def _connections(self) -> list[ServedPeer]:
        return [*self._greeting, *(one for each in self._greeted.values() for one in each)]

    def _acceptable(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._listener is None:
                return
            try:
                sock, address = self._listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause()
                return  # nobody is there, or has gone again
            self._accepted(sock, "{}:{}".format(*address))

    def _accepted(self, sock: socket.socket, address: str) -> None:
        self.counts["accepted_total"] += 1
        if len(self._greeting) + len(self._shaking) >= GREETINGS_MAX:
            self.counts["turned_away_total"] += 1
            reason = f"{GREETINGS_MAX} connections have not shown yet who they are"
            self.reports.warning("stranger_turned_away", "", reason, address=address)
            sock.close()
            return
        try:
            prepare_socket(sock)
        except OSError:  # reset already
            sock.close()
            return
        if self.tls is None:
            self._greeting.add(ServedPeer(sock, self, address))
            return
        self._shaking[Handshake(sock, self.tls.loaded.server, self._shaken, is_server=True)] = address

    def _shaken(self, handshake: Handshake, sock: TlsSocket | None, error: PeerError | None) -> None:
        """A handshake has ended."""
        address = self._shaking.pop(handshake)
        if sock is not None:
            self._greeting.add(ServedPeer(sock, self, address))
            return
        assert error is not None
        self.counts["handshakes_failed_total"] += 1
        if isinstance(error, GreetingRefused):
            self.counts["refused_total"] += 1
            self.counts[f"refused_{error.reason_name.lower()}_total"] += 1
        if self._listener is not None:  # else it is this host that leaves
            self.reports.warning("stranger_not_let_in", "", error.message, address=address)

    def _pause(self) -> None:
        """No descriptors are left; trying again at once would only burn time."""
        loop = asyncio.get_running_loop()
        assert self._listener is not None
        loop.remove_reader(self._listener)
        loop.call_later(ACCEPT_PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._acceptable)

    def greeted(self, connection: ServedPeer) -> None:
        """A connection has proved who it is. A host's oldest one gives way: the host would not connect anew if it still used that."""
        self._greeting.discard(connection)
        self.counts["greeted_total"] += 1
        own = self._greeted.setdefault(connection.host, deque())
        own.append(connection)
        self._greeted_count += 1
        if len(own) > CONNECTIONS_PER_HOST_MAX:
            own[0].close("the host has made newer connections")
        if self._greeted_count > CONNECTIONS_MAX:
            connection.refuse(
                GreetingRefused(PeerRefusal.TOO_MANY, f"{CONNECTIONS_MAX} hosts are connected already")
            )

    def gone(self, connection: ServedPeer) -> None:
        """A connection is closed."""
        self._greeting.discard(connection)
        own = self._greeted.get(connection.host)
        if own is not None and connection in own:
            own.remove(connection)
            self._greeted_count -= 1
            if not own:
                del self._greeted[connection.host]

    # ------------------------------------------------------------ time

    def _arm(self) -> None:
        self._swept_at = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        now = time.monotonic()
        is_late = now - self._swept_at > 2 * SWEEP_S
        for connection in self._connections():
            connection.sweep(now, is_late)
        self._arm()
