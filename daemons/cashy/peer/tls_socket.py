"""A connected socket with TLS on it that moves bytes as a plain one does: what :class:`cashy.peer.frame_socket.FrameSocket` asks of a socket.

Law. Bytes are decrypted into the caller's buffers and encrypted out of them, by ``SSLSocket`` on the non-blocking socket itself: OpenSSL's own record
buffer, one of 17 KiB for each direction, is all that lies in between. What has *left* is what the kernel has taken as cipher text: a
piece whose record is not all gone counts as not sent, and is offered again as it is (OpenSSL goes on with the same
record). So pins, backpressure and withdrawal are the caller's, unchanged.

A call moves what there is and ends with BlockingIOError only if that was nothing, like the kernel's. One thing differs: OpenSSL takes a
record off the kernel whole, so bytes may be here when the kernel shows none; ``pending`` says how many.

Measured over loopback, GB per CPU-second, sending and receiving: plain 4.3 and 4.6; this 1.40 and 1.60; the same pump as the S3 endpoint's
(``ssl.MemoryBIO``) 1.16 and 1.37 at its best size of pieces (256 KiB), since each byte is copied twice more. Kernel TLS needs the
kernel's module, which the measured host lacks (TCP_ULP: ENOENT), so what it would give is not known.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Iterator, Sequence

from aviary.cashy.v1.peer_pb2 import PeerRefusal
from cashy.core.peer_certificate import PeerCertificate, peer_certificate
from cashy.core.peer_frames import PeerError
from cashy.peer.errors import GreetingRefused, PeerUnavailable

__all__ = ["TlsSocket", "explain_broken"]

#: The most that one record takes (RFC 8446 5.1).
_RECORD_BYTES = 16 << 10

#: Words of OpenSSL's for what the other side thinks of this one's certificate, by the names of its alerts (RFC 8446 6.2).
_REFUSALS = {
    "CERTIFICATE_REQUIRED": "it wants a certificate and got none",
    "CERTIFICATE_EXPIRED": "it has expired (or the clock there is wrong): issue another one with `cashy ca issue`",
    "CERTIFICATE_REVOKED": "it is revoked",
    "UNKNOWN_CA": "it is of an authority that is not in cluster.tls_ca there",
    "BAD_CERTIFICATE": "it cannot be verified there",
    "UNSUPPORTED_CERTIFICATE": "it may not be used for this: issue one with `cashy ca issue`",
    "CERTIFICATE_UNKNOWN": "it cannot be verified there",
}


class TlsSocket:
    """Owns ``sock``, whose handshake is done."""

    __slots__ = ("_ended", "_sock", "certificate")

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._ended = False
        #: The other side's, verified.
        self.certificate: PeerCertificate = peer_certificate(sock.getpeercert() or {})

    def fileno(self) -> int:
        """As of the socket."""
        return self._sock.fileno()

    def pending(self) -> int:
        """Bytes that can be received though the kernel shows none."""
        return self._sock.pending()

    def recvmsg_into(self, buffers: Sequence[memoryview]) -> tuple[int]:
        """As a socket's: fills the buffers in order with what there is; 0 bytes at the end of the stream. Raises OSError."""
        count = 0
        for buffer in buffers:
            room = len(buffer)
            at = 0
            while at < room:
                got = self._receive(buffer[at:] if at else buffer)
                if not got:
                    if not count and not self._ended:
                        raise BlockingIOError
                    return (count,)
                at += got
                count += got
        return (count,)

    def _receive(self, buffer: memoryview) -> int:
        """0: nothing there now, or (``_ended``) never again."""
        if self._ended:
            return 0
        try:
            got = self._sock.recv_into(buffer)
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLWantWriteError:
            # It asks for answers (new keys) and does not take them; to wait for room would be to wait with what it sends unread.
            raise ConnectionError("the other side asks for new keys and does not read") from None
        if not got:
            self._ended = True
        return got

    def sendmsg(self, pieces: Sequence[memoryview | bytes]) -> int:
        """As a socket's: how many bytes the kernel has taken. What was not must be offered again before anything else. Raises OSError."""
        count = 0
        for record in _records(pieces):
            try:
                count += self._sock.send(record)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                break
        if not count:
            raise BlockingIOError
        return count

    def send(self, data: bytes) -> int:
        """As a socket's. Raises OSError, also where a record that is not all gone stands in the way."""
        return self._sock.send(data[:_RECORD_BYTES])

    def close(self) -> None:
        """At once, without a word: every message has its length, so an end that comes early is noticed."""
        self._sock.close()


def _records(pieces: Sequence[memoryview | bytes]) -> Iterator[memoryview | bytes]:
    """What goes into a record each: full ones, over the seams of pieces.

    Where a record ends follows from what is left alone: a record that the kernel took in part is cut the same when it is offered again.
    """
    left = deque(memoryview(piece) for piece in pieces)
    while left:
        first = left.popleft()
        if len(first) >= _RECORD_BYTES or not left:
            yield first[:_RECORD_BYTES]
            if len(first) > _RECORD_BYTES:
                left.appendleft(first[_RECORD_BYTES:])
            continue
        rest = _RECORD_BYTES - len(first)
        second = left.popleft()
        yield b"".join((first, second[:rest]))
        if len(second) > rest:
            left.appendleft(second[rest:])


def explain_broken(error: OSError) -> PeerError:
    """What an error of a socket means for the connection."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        for alert, words in _REFUSALS.items():
            if reason.endswith(f"ALERT_{alert}"):
                return GreetingRefused(
                    PeerRefusal.CERTIFICATE,
                    f"the other side does not accept this host's certificate: {words}",
                )
        return PeerUnavailable(f"the connection broke: TLS: {reason.lower().replace('_', ' ') or error}")
    return PeerUnavailable(f"the connection broke: {error}")
