"""One HTTP request and its answer, as the gateway's parts see it; and what is sent with every answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from toucan.web.core.addresses import sender_address
from toucan.web.core.places import Place

__all__ = ["ANSWER_HEADERS", "Exchange", "PAGE_HEADERS", "SECURITY_HEADERS", "error_body"]

#: Of one request: the header's name and the value, both as they came, of all that are looked at more than once.
_Headers = Iterable[tuple[bytes, bytes]]

#: What browsers shall not do with anything that comes from here: guess its type, frame it, take it into a page of another origin.
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

#: Of an answer that is no page: nothing at all may be done in its name.
ANSWER_HEADERS = (
    *SECURITY_HEADERS,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)

#: Of a file of the page: no script but the page's own files, no form, no markup made of text.
PAGE_HEADERS = (
    *SECURITY_HEADERS,
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        b"manifest-src 'self'; worker-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        b"require-trusted-types-for 'script'; trusted-types toucan",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
)


class Exchange:
    """A request, and the means to answer it."""

    __slots__ = (
        "_send",
        "client_address",
        "cookies",
        "headers",
        "is_over",
        "is_page",
        "method",
        "path",
        "place",
        "receive",
        "scope",
    )

    def __init__(
        self, scope: Mapping[str, Any], receive: Any, send: Any, proxies: Collection[str] = ()
    ) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = _joined(scope["headers"])
        peer = scope.get("client")
        self.client_address = sender_address(
            peer[0] if peer else "", self.headers.get("x-forwarded-for", ""), proxies
        )
        self.cookies = _cookies(self.headers.get("cookie", ""))
        #: The place under which it was reached; the gateway sets it before anything else looks.
        self.place: Place | None = None
        #: Its answer is a file of the page.
        self.is_page = False
        #: The whole answer was handed to the connection.
        self.is_over = False

    @property
    def is_secure(self) -> bool:
        """Whether the browser's connection is encrypted, here or by a proxy before."""
        return self.place is not None and self.place.is_secure

    @property
    def break_off(self) -> Callable[[], None]:
        """Ends the connection at once, whatever waits to be sent."""
        found: Callable[[], None] = self.scope["extensions"]["toucan"]["break_off"]
        return found

    async def send(self, message: Any) -> None:
        """ASGI's send; adds what goes with every answer."""
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *(PAGE_HEADERS if self.is_page else ANSWER_HEADERS)]
            if self.is_secure:
                headers.append((b"strict-transport-security", b"max-age=31536000"))
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.is_over = True

    async def answer(
        self, status: int, body: bytes = b"", content_type: str = "application/json", headers: _Headers = ()
    ) -> None:
        """Answers in one piece."""
        start: list[tuple[bytes, bytes]] = [*headers]
        if body or status not in (204, 304):
            start += [(b"content-length", str(len(body)).encode())]
        if body:
            start += [(b"content-type", content_type.encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": start})
        await self.send(
            {"type": "http.response.body", "body": b"" if self.method == "HEAD" else body, "more_body": False}
        )

    async def answer_json(self, status: int, value: object, headers: _Headers = ()) -> None:
        """Answers with an object."""
        await self.answer(
            status, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), headers=headers
        )

    async def fail(self, status: int, code: str, text: str, headers: _Headers = ()) -> None:
        """Answers with an error, in the form of Connect's (https://connectrpc.com/docs/protocol#error-end-stream)."""
        await self.answer(status, error_body(code, text), headers=headers)

    async def body(self, bytes_max: int) -> bytes | None:
        """The request's body; None: it is too large, or its sender has gone."""
        parts = bytearray()
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                return None
            parts += message.get("body", b"")
            if len(parts) > bytes_max:
                return None
            if not message.get("more_body", False):
                return bytes(parts)


def error_body(code: str, text: str) -> bytes:
    """An error as JSON."""
    return json.dumps({"code": code, "message": text}, ensure_ascii=False, separators=(",", ":")).encode()


def _joined(headers: _Headers) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in found:
            # RFC 9110, 5.3; cookies are joined by a semicolon (RFC 9113, 8.2.3). Of what may come once only the joined text is no valid value.
            value = found[name] + ("; " if name == "cookie" else ", ") + value
        found[name] = value
    return found


def _cookies(header: str) -> dict[str, str]:
    """Of several of one name the first counts."""
    found: dict[str, str] = {}
    for part in header.split(";"):
        name, separator, value = part.strip().partition("=")
        if separator:
            found.setdefault(name, value)
    return found
