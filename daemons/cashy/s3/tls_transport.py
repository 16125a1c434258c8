"""TLS between a socket and a connection: a protocol to the loop, a transport to :class:`~cashy.s3.connection.S3Connection`.

Law. A connection over TLS keeps every promise that one without it makes, because it sees a transport that behaves the same:

* *What was written has left when the kernel has it*: :meth:`TlsTransport.get_write_buffer_size` counts what is not yet encrypted and what the
  socket has not taken. So the send rule (:mod:`cashy.s3.send`) holds unchanged; plain bytes are kept by reference until they are encrypted.
* *A reader that stalls costs one piece*: no more is encrypted than :data:`TLS_PIECE_BYTES` before the socket has taken all that was. uvloop's
  own TLS encrypts whatever is written at once, into private memory, and counts it as gone: two blocks for every stalled reader, up to 128 MiB.
* *Reading can be paused*; then nothing is decrypted, and nothing is received.
* *Half of it can be closed*: ``write_eof`` sends close_notify and FIN and reads on, so an error's answer is not destroyed by a reset.
* *Closing does not wait for the other side's close_notify*, which most HTTP clients never send while idle (RFC 9112 9.8 asks only that we
  send ours). What ends a message is its own length, so a cut-off answer is noticed.

The handshake has its time like every state of a connection. To a client that speaks plain HTTP, the answer is one in plain HTTP.

Rejected: ``create_server(ssl=…)`` of uvloop, for what is said above, and because it can neither half-close nor tell how much is unsent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from cashy.s3.limits import TLS_PIECE_BYTES, TLS_PIECES_PER_TURN, TLS_RECEIVE_BYTES

if TYPE_CHECKING:
    from cashy.s3.connection import S3Connection

__all__ = ["TlsTransport"]

_PLAIN_HTTP_ANSWER = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
_PLAIN_HTTP_ERROR = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>BadRequest</Code>'
    b"<Message>This port speaks https only; the request was sent in plain HTTP.</Message></Error>"
)


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """One connection's TLS. ``connection`` is told of everything as by a plain transport, and of the handshake's begin and end."""

    _raw: asyncio.Transport

    def __init__(self, context: ssl.SSLContext, connection: S3Connection) -> None:
        super().__init__()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._connection = connection
        self._received = connection.worker.body_buffer[
            :TLS_RECEIVE_BYTES
        ]  # free again before anything is decrypted
        self._backlog: deque[memoryview] = deque()
        self._backlog_bytes = 0
        self._is_ready = False  # the handshake is done
        self._is_closing = self._is_eof_due = self._is_end_said = self._has_eof = False
        self._is_reading_paused = self._is_writing_paused = self._is_raw_paused = self._is_pump_due = False

    # ------------------------------------------------------------ called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._raw = cast(asyncio.Transport, transport)
        self._raw.set_write_buffer_limits(high=0, low=0)
        self._connection.connection_made(self)
        self._connection.handshake_begun()

    def get_buffer(self, size_hint: int) -> memoryview:  # noqa: D102
        return self._received

    def buffer_updated(self, byte_count: int) -> None:  # noqa: D102
        if self._is_closing:
            return
        self._incoming.write(self._received[:byte_count])
        self._take()

    def eof_received(self) -> bool:  # noqa: D102
        self._end_of_input()
        return True  # the end is ours to say

    def pause_writing(self) -> None:  # noqa: D102
        self._is_raw_paused = True

    def resume_writing(self) -> None:  # noqa: D102
        self._is_raw_paused = False
        self._pump()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        self._is_closing = True
        self._backlog.clear()
        self._backlog_bytes = 0
        self._connection.connection_lost(error)

    # ------------------------------------------------------------ in

    def _take(self) -> None:
        """Goes on with what has come, as far as the connection takes it."""
        try:
            if self._is_ready or self._shake_hands():
                self._decrypt()
        except ssl.SSLError:
            self.abort()  # not what the other side encrypted: there is nobody to answer

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_records()
            return False
        except ssl.SSLError as error:
            self._refuse(error)
            return False
        self._is_ready = True
        self._connection.handshake_done()
        self._send_records()
        self._pump_soon()
        return not self._is_closing

    def _refuse(self, error: ssl.SSLError) -> None:
        self._connection.worker.counters["tls_handshakes_failed_total"] += 1
        self._is_closing = True
        if error.reason == "HTTP_REQUEST":
            self._raw.write(_PLAIN_HTTP_ANSWER % (len(_PLAIN_HTTP_ERROR), _PLAIN_HTTP_ERROR))
        else:
            self._send_records()  # the alert that says why
        self._raw.close()

    def _decrypt(self) -> None:
        connection = self._connection
        while not self._is_reading_paused and not self._is_closing:
            buffer = connection.get_buffer(-1)
            count = self._fill(buffer)
            if count:
                connection.buffer_updated(count)
            if count < len(buffer):
                break
        if not self._is_closing:
            self._send_records()  # such as an answer to a key update

    def _fill(self, buffer: memoryview) -> int:
        count = 0
        try:
            while count < len(buffer):
                got = self._tls.read(len(buffer) - count, cast(Any, buffer[count:]))
                if not got:
                    raise ssl.SSLZeroReturnError
                count += cast(int, got)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._worker_loop.call_soon(self._end_of_input)  # after what came before it
        return count

    def _end_of_input(self) -> None:
        if self._has_eof or self._is_closing:
            return
        self._has_eof = True
        if not self._is_ready:
            self.abort()
        elif not self._connection.eof_received():
            self.close()

    # ------------------------------------------------------------ out

    def write(self, data: bytes | bytearray | memoryview) -> None:  # noqa: D102
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:  # noqa: D102
        if self._is_closing or self._is_eof_due:
            return
        for data in list_of_data:
            if len(data):
                self._backlog.append(memoryview(data))
                self._backlog_bytes += len(data)
        self._encrypt_and_send()

    def _pump(self) -> None:
        """From the loop only: it may call the connection, which may write again."""
        self._is_pump_due = False
        self._encrypt_and_send()
        if self._is_writing_paused and not self.get_write_buffer_size():
            self._is_writing_paused = False
            self._connection.resume_writing()

    def _pump_soon(self) -> None:
        if not self._is_pump_due:
            self._is_pump_due = True
            self._worker_loop.call_soon(self._pump)

    def _encrypt_and_send(self) -> None:
        if not self._is_ready or self._raw.is_closing():
            return
        turns = TLS_PIECES_PER_TURN
        while self._backlog and turns and not self._raw.get_write_buffer_size():
            turns -= 1
            self._encrypt_piece()
            self._send_records()
        if self._backlog or self._raw.get_write_buffer_size() or self._is_writing_paused:
            if not self._is_writing_paused:
                self._is_writing_paused = True
                self._connection.pause_writing()
            if not self._is_raw_paused:  # nobody else will come back to it
                self._pump_soon()
        if not self._backlog:
            self._end_if_due()

    def _encrypt_piece(self) -> None:
        room = TLS_PIECE_BYTES
        while self._backlog and room:
            view = self._backlog[0]
            count = self._tls.write(cast(Any, view[:room]))
            room -= count
            self._backlog_bytes -= count
            if count == len(view):
                self._backlog.popleft()
            else:
                self._backlog[0] = view[count:]

    def _send_records(self) -> None:
        if records := self._outgoing.read():
            self._raw.write(records)

    # ------------------------------------------------------------ the transport

    @property
    def _worker_loop(self) -> asyncio.AbstractEventLoop:
        return self._connection.worker.loop

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken, encrypted or not yet."""
        return self._backlog_bytes + self._raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Both are 0, always."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of the socket, and ``ssl_object``."""
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def pause_reading(self) -> None:  # noqa: D102
        self._is_reading_paused = True
        if not self._raw.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:  # noqa: D102
        self._is_reading_paused = False
        self._worker_loop.call_soon(self._resume_reading)

    def _resume_reading(self) -> None:
        """What has been received before comes first, and may be all that the connection takes."""
        if self._is_reading_paused or self._is_closing:
            return
        self._take()
        if not self._is_reading_paused and not self.is_closing():
            self._raw.resume_reading()

    def can_write_eof(self) -> bool:  # noqa: D102
        return True

    def write_eof(self) -> None:
        """Ends our half when everything written has left; the other side's is read on."""
        self._is_eof_due = True
        self._encrypt_and_send()

    def is_closing(self) -> bool:  # noqa: D102
        return self._is_closing or self._raw.is_closing()

    def close(self) -> None:  # noqa: D102
        if self.is_closing():
            return
        self._is_closing = True
        if not self._is_ready:
            self._raw.abort()
            return
        self._raw.pause_reading()
        self._encrypt_and_send()

    def abort(self) -> None:  # noqa: D102
        self._is_closing = True
        self._raw.abort()

    def _end_if_due(self) -> None:
        if not self._is_closing and not self._is_eof_due:
            return
        if not self._is_end_said:
            self._is_end_said = True
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # it was sent, and is not waited for
            self._send_records()
            if not self._is_closing:
                self._raw.write_eof()
        if self._is_closing:
            self._raw.close()
