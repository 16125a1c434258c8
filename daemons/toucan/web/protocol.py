"""HTTP/1.1 on a connection: uvicorn's, bounded in what and how long it takes, and with a way to break off.

uvicorn reads any head and any body, for as long as they may take. Here both have limits, so that somebody who says little, or much, or slowly, costs
no more than a connection; and of those there is a number.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from toucan.web.exchange import error_body
from toucan.web.limits import (
    BODY_BYTES_MAX,
    BODY_WAIT_S,
    CONNECTIONS_MAX,
    HEAD_BYTES_MAX,
    HEAD_WAIT_S,
    LINGER_S,
    SEND_BUFFER_BYTES,
    TELL_AGAIN_S,
    UNACKNOWLEDGED_MS,
)

__all__ = ["BoundedHttp"]

_log = structlog.get_logger("toucan.web")


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    #: When it was told last that connections are refused.
    _told_at_s = -TELL_AGAIN_S

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._body_bytes = 0
        self._is_in_head = False
        #: Nothing of a request has come.
        self._is_between = True
        #: Requests that have begun in what came last.
        self._begun = 0
        self._is_refused = False
        self._deadline: asyncio.TimerHandle | None = None
        peer = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if len(self.connections) > CONNECTIONS_MAX:
            self._tell_of_refused_connections()
            self._refuse(
                b"503 Service Unavailable",
                "unavailable",
                "there are as many connections as there may be; come back, or go to another gateway",
            )
            return
        self._wait(HEAD_WAIT_S)

    def _tell_of_refused_connections(self) -> None:
        now_s = self.loop.time()
        if now_s >= BoundedHttp._told_at_s + TELL_AGAIN_S:
            BoundedHttp._told_at_s = now_s
            _log.warning(
                "connections are refused: there are as many as there may be", connections=CONNECTIONS_MAX
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._is_refused or self.transport.is_closing():
            return
        was_in_head, is_first, self._begun = self._is_in_head, self._is_between, 0
        super().data_received(data)
        if self._is_in_head and not self._is_refused and not self.transport.is_closing():
            # Where in it a head begins that follows other requests is not told; what comes after this is counted.
            if self._begun == (0 if was_in_head else 1) and (was_in_head or is_first):
                self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse_head()

    # ------------------------------------------------------------ the parser's callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_bytes = self._body_bytes = 0
        self._is_in_head, self._is_between = True, False
        self._begun += 1
        self._wait(HEAD_WAIT_S)
        self.scope["extensions"] = {"toucan": {"break_off": self.transport.abort}}

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._is_in_head = False
        if self._is_refused:
            return
        length = next((value for name, value in self.headers if name == b"content-length"), b"0")
        if (
            sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES_MAX
            or len(self.url) > HEAD_BYTES_MAX
        ):
            self._refuse_head()
        elif length.isdigit() and int(length) > BODY_BYTES_MAX:
            self._refuse_body()
        else:
            self._wait(BODY_WAIT_S)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body is there."""
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            self._refuse_body()
        elif not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._is_between = True
        if not self._is_refused:
            self._wait(None)
            super().on_message_complete()

    # ------------------------------------------------------------

    def _refuse_head(self) -> None:
        text = f"a request's head may have {HEAD_BYTES_MAX:,} bytes"
        self._refuse(b"431 Request Header Fields Too Large", "invalid_argument", text)

    def _refuse_body(self) -> None:
        self._refuse(
            b"413 Content Too Large", "resource_exhausted", f"a request may have {BODY_BYTES_MAX:,} bytes"
        )

    def _refuse(self, status: bytes, code: str, text: str) -> None:
        """Answers, unless another answer has begun, and closes."""
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        cycle = self.cycle
        if self.pipeline or (cycle is not None and cycle.response_started and not cycle.response_complete):
            self.transport.close()  # an answer of another kind is on its way
            return
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        body = error_body(code, text)
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)
        self._wait(None)
        self.loop.call_later(LINGER_S, self.transport.close)

    def _wait(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self._is_between:
            # A connection that a browser has opened to have one. An answer without a question it might take for that to its first request.
            self.transport.close()
            return
        self._refuse(b"408 Request Timeout", "deadline_exceeded", "the request did not arrive in time")
