"""The handshake on a connection between hosts, before anything else is said on it; the same object for both sides.

Law. It ends once, in a :class:`~cashy.peer.tls_socket.TlsSocket` or in an error that says whose move it is, within a time and a number of bytes;
until then nobody has proved anything, and nothing but OpenSSL's state is kept. It never blocks: the loop says when the socket can
go on. How many there may be at a time is the caller's to say.

A side that refuses says so and then reads on for a moment, throwing away what comes: closing a socket with unread bytes resets the
connection, and the other side would be told of a reset instead of the reason. In TLS 1.3 the connecting side is through before its own
certificate has been looked at, so this is the usual case.

A host that speaks the peer protocol without TLS is answered in it, so that its log says what is wrong.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable

from aviary.cashy.v1.peer_pb2 import PeerRefusal
from cashy.core.peer_frames import MAGIC, Kind, PeerError
from cashy.core.peer_wire import FrameWriter
from cashy.peer.errors import GreetingRefused, PeerUnavailable
from cashy.peer.limits import FAREWELL_BYTES_MAX, HANDSHAKE_BYTES_MAX, HANDSHAKE_S_MAX
from cashy.peer.tls import PEER_ALPN
from cashy.peer.tls_socket import TlsSocket, explain_broken

__all__ = ["Handshake"]

#: Bytes received so far, in struct tcp_info (linux/tcp.h): after eight bytes, 24 numbers of 32 bits and three of 64.
_RECEIVED_AT = 8 + 24 * 4 + 3 * 8
_RECEIVED = struct.Struct("=Q")

_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "UNEXPECTED_MESSAGE",
    "BAD_RECORD_TYPE",
)
_OLD_TLS = (
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "VERSION_TOO_LOW",
)


class Handshake:
    """One, begun at once on ``sock`` (connected, non-blocking), which is its from now on. ``done`` is called once, from the loop."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        done: Callable[[Handshake, TlsSocket | None, PeerError | None], None],
        *,
        is_server: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = done
        self._is_server = is_server
        self._is_first = is_server
        self._is_watched = (False, False)
        self._farewell: tuple[PeerError, int] | None = None
        self._is_over = False
        self._number = sock.fileno()
        self._raw = sock  # until TLS is on it
        self._tls: ssl.SSLSocket | None = None
        self._context = context
        self._timer = self._loop.call_later(HANDSHAKE_S_MAX, self._late)
        self._watch(read=is_server, write=not is_server)

    def close(self, why: str) -> None:
        """Ends it at once, if it has not ended."""
        self._end(None, PeerUnavailable(why))

    # ------------------------------------------------------------ steps

    def _step(self) -> None:
        if self._farewell is not None:
            self._take_leave()
            return
        try:
            if self._is_first and not self._first_bytes():
                return
            if self._tls is None:
                self._tls = self._context.wrap_socket(
                    self._raw, server_side=self._is_server, do_handshake_on_connect=False
                )
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            if self._has_sent_too_much():
                self._fail(_refused(f"more than {HANDSHAKE_BYTES_MAX} bytes, and no end of the handshake"))
            else:
                self._watch(read=True, write=False)
        except ssl.SSLWantWriteError:
            self._watch(read=False, write=True)
        except OSError as error:
            self._fail(self._explained(error))
        else:
            self._is_through()

    def _first_bytes(self) -> bool:
        """Looks at how it begins; False if that was the end of it, or nothing has come."""
        try:
            first = self._raw.recv(len(MAGIC), socket.MSG_PEEK)
        except BlockingIOError:
            return False
        self._is_first = False
        if not MAGIC.startswith(first) or not first:
            return True
        refusal = _refused(
            "it speaks without TLS, and this host only with: give it tls_certificate, tls_key and tls_ca in [cluster], as `cashy ca` makes them"
        )
        try:
            self._raw.send(FrameWriter().control(Kind.REFUSED, 0, refusal.payload()))
        except OSError:
            pass  # it would only have said why
        self._fail(refusal)
        return False

    def _is_through(self) -> None:
        assert self._tls is not None
        if self._tls.selected_alpn_protocol() != PEER_ALPN:
            self._fail(_refused(f"it does not offer the protocol {PEER_ALPN!r}: another program's TLS"))
            return
        tls, self._tls = self._tls, None
        self._watch(read=False, write=False)
        self._end(TlsSocket(tls), None)

    def _has_sent_too_much(self) -> bool:
        sock = self._tls or self._raw
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED_AT + _RECEIVED.size)
        return len(info) > _RECEIVED_AT and bool(
            _RECEIVED.unpack_from(info, _RECEIVED_AT)[0] > HANDSHAKE_BYTES_MAX
        )

    # ------------------------------------------------------------ ends

    def _late(self) -> None:
        if self._farewell is not None:
            self._end(None, self._farewell[0])
        else:
            self._end(None, _refused(f"no complete TLS handshake within {HANDSHAKE_S_MAX:g} s"))

    def _fail(self, error: PeerError) -> None:
        """Lets the other side read why, then ends."""
        self._farewell = error, 0
        try:
            (self._tls or self._raw).shutdown(socket.SHUT_WR)
        except OSError:  # it is gone
            self._end(None, error)
            return
        self._watch(read=True, write=False)

    def _take_leave(self) -> None:
        assert self._farewell is not None
        error, count = self._farewell
        try:
            got = len(socket.socket.recv(self._tls or self._raw, FAREWELL_BYTES_MAX))
        except BlockingIOError:
            return
        except OSError:
            got = 0
        self._farewell = error, count + got
        if not got or count + got >= FAREWELL_BYTES_MAX:
            self._end(None, error)

    def _end(self, sock: TlsSocket | None, error: PeerError | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._timer.cancel()
        if sock is None:
            self._watch(read=False, write=False)
            (self._tls or self._raw).close()
        self._done(self, sock, error)

    def _watch(self, *, read: bool, write: bool) -> None:
        number, (was_read, was_write) = self._number, self._is_watched
        if read != was_read:
            self._loop.add_reader(number, self._step) if read else self._loop.remove_reader(number)
        if write != was_write:
            self._loop.add_writer(number, self._step) if write else self._loop.remove_writer(number)
        self._is_watched = read, write

    # ------------------------------------------------------------ words

    def _explained(self, error: OSError) -> PeerError:
        reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
        if isinstance(error, ssl.SSLCertVerificationError):
            return _refused(f"its certificate is not accepted: {error.verify_message}{_advice(error)}")
        if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return _refused("it shows no certificate: every host of the cluster needs one, see `cashy ca`")
        if reason in _NOT_TLS:
            return _refused(
                "what came is no TLS: no host of this cluster, or one with cluster.insecure = true"
            )
        if reason in _OLD_TLS or "PROTOCOL_VERSION" in reason:
            return _refused("it speaks no TLS 1.3, and nothing older is spoken here")
        if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)):
            hint = (
                ""
                if self._is_server
                else ": perhaps it runs with cluster.insecure = true, or refuses this host; its log says more"
            )
            return PeerUnavailable(f"the connection was closed in the TLS handshake{hint}")
        return explain_broken(error)


def _advice(error: ssl.SSLCertVerificationError) -> str:
    match error.verify_message:
        case "certificate has expired":
            return ", or this host's clock is wrong: issue another one with `cashy ca issue`"
        case (
            "unable to get local issuer certificate"
            | "self-signed certificate"
            | "self-signed certificate in certificate chain"
        ):
            return " (no authority in cluster.tls_ca has signed it)"
        case "unsuitable certificate purpose" | "unsupported certificate purpose":
            return " (it may not be used by both sides of a connection: issue one with `cashy ca issue`)"
        case _:
            return ""


def _refused(message: str) -> GreetingRefused:
    return GreetingRefused(PeerRefusal.CERTIFICATE, message)
