"""HTTP/1.x requests out of bytes: the grammar is httptools', the limits are ours.

Law. Bytes in, :class:`Request` values out; no socket, no loop, no clock. llhttp (inside httptools) refuses what is malformed or could
smuggle a second request (two Content-Lengths, one beside Transfer-Encoding, a bare LF, a folded line), but it has no limits at all (a
1 MiB header passes, and is collected in memory) and takes a request without Host. This module adds exactly that:

* limits on target, head and number of headers, enforced before they are collected;
* ``chunked`` as the only Transfer-Encoding, and none in HTTP/1.0 (RFC 9112 6.1): llhttp takes others, and then guesses where a body ends;
* Host exactly once in HTTP/1.1, and one that names a host (RFC 9112 3.2); of an absolute target (``http://host/path``), which every server
  must take, the host replaces the header (RFC 9112 3.2.2); ``*`` with OPTIONS only, no other form (we are no proxy);
* HTTP/1.0 gets one answer per connection. Keeping it would need ``Connection: keep-alive`` in every answer, or such a client waits for
  the end of a body that has ended; RFC 9112 9.3 leaves the choice, and nobody who cares for speed speaks it;
* what follows a request to switch protocols is still HTTP/1.1 (RFC 9110 7.8: ``Upgrade`` may be ignored; Java's and curl's clients offer
  ``h2c`` with uploads too). llhttp stops there, so the body is read by a second parser, and then the connection ends;
* a bounded body on GET and HEAD, hashed and thrown away: it has no meaning there (RFC 9110 9.3.1), but its framing must be consumed; a
  larger one *ends the connection*: whoever answers without having read it cannot know where the next request begins;
* any other request with a body is given out as soon as its head is complete, with a :class:`Body` that fills while more is fed. Whoever
  feeds bounds it, by feeding no faster than the body is taken.

Requests are given in order. After an error nothing more is parsed: :attr:`RequestReader.error` is to be answered after the requests that
came before it, and the connection closed.

Decoding of names happens here too: ``%2F`` becomes ``/``, ``+`` stays ``+``, and what is not UTF-8, or an unfinished ``%``, is refused as
S3 does, so that one object has one key whatever the spelling of its URL.
"""

from __future__ import annotations

import re
from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote_to_bytes

import httptools

from cashy.core.s3_errors import S3Error
from cashy.core.virtual_host import is_authority

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = [
    "BODY_IGNORED_BYTES_MAX",
    "HEADERS_MAX",
    "HEAD_BYTES_MAX",
    "TARGET_BYTES_MAX",
    "Body",
    "Request",
    "RequestReader",
    "decode_component",
    "split_path",
]

#: A key has at most 1,024 bytes, 3,072 when encoded; the rest is for a presigned query with its token.
TARGET_BYTES_MAX = 8192

#: S3 allows 8 KiB of headers; proxies and tracing add theirs. Names and values, with four bytes of punctuation each.
HEAD_BYTES_MAX = 32_768

#: boto3 sends about ten.
HEADERS_MAX = 100

#: Of a GET's meaningless body; SDKs send none.
BODY_IGNORED_BYTES_MAX = 65_536

# What one request may have fed before its head is complete: both limits, the request line, and leading empty lines.
_UNFINISHED_BYTES_MAX = TARGET_BYTES_MAX + HEAD_BYTES_MAX + 1024

# RFC 3986 4.3 with an authority; what that may be is checked apart.
_ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SIZED_NAMES = frozenset(
    (b"host", b"authorization")
)  # what must not be repeated: their meaning would be ambiguous


class Body:
    """A body that is still coming: its pieces so far, in order, without HTTP's framing; ``due`` are the bytes that its length still
    promises, None if it is chunked.
    """

    __slots__ = ("due", "is_complete", "pieces", "waiting_bytes")

    def __init__(self, due: int | None) -> None:
        self.pieces: deque[bytes] = deque()
        self.waiting_bytes = 0
        self.due = due
        self.is_complete = False

    def add(self, piece: bytes) -> None:
        """The next piece has come."""
        self.pieces.append(piece)
        self.waiting_bytes += len(piece)
        if self.due is not None:
            self.due -= len(piece)

    def take(self) -> bytes:
        """Takes all that has come, empty if nothing."""
        data = self.pieces.popleft() if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces.clear()
        self.waiting_bytes = 0
        return data


class Request:
    """One request. ``path`` and ``query`` are as sent; ``headers`` have lower-case names, repeated ones are joined by commas.

    ``path`` begins with ``/``, or is ``*`` alone (OPTIONS for the server as a whole).

    ``body_sha256`` is the hexadecimal hash of the body, None if it was not read: it is still to come as ``body``, or, without one, will
    not be read at all, and then ``keep_alive`` is False.
    """

    __slots__ = ("body", "body_sha256", "headers", "is_http_1_0", "keep_alive", "method", "path", "query")

    def __init__(self, method: bytes, target: bytes, headers: dict[bytes, bytes], keep_alive: bool) -> None:
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.keep_alive = keep_alive
        self.is_http_1_0 = False
        self.body: Body | None = None
        self.body_sha256: bytes | None = _EMPTY_SHA256

    @property
    def is_read(self) -> bool:
        """Whether all of it has come: only then can another request follow."""
        return self.body is None or self.body.is_complete


_EMPTY_SHA256 = sha256(b"").hexdigest().encode()


class _Stop(Exception):
    """Ends parsing from within a callback; httptools wraps it."""


class RequestReader:
    """One connection's requests. Feed bytes in small pieces; take from :attr:`requests`; when that is empty, look at :attr:`error`."""

    __slots__ = (
        "_body", "_body_hash", "_body_length", "_head_bytes", "_header_count", "_headers", "_is_http_1_0", "_parser", "_target",
        "_unfinished_bytes", "error", "in_request", "is_over", "requests",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.error: S3Error | None = None
        #: Nothing more is parsed: an error, or a request that ends the connection.
        self.is_over = False
        self._unfinished_bytes = 0
        self._parser: Any = httptools.HttpRequestParser(self)
        self.on_message_begin()
        #: Bytes of a request have come whose end has not.
        self.in_request = False

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Parses; never raises. Does nothing once :attr:`is_over`."""
        if self.is_over:
            return
        self.in_request = True
        self._unfinished_bytes += len(data)
        after_upgrade: bytes | bytearray | memoryview | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Stop):
                raise  # a bug of ours
        except httptools.HttpParserUpgrade as error:
            after_upgrade = data[error.args[0] :]
        except httptools.HttpParserError as error:
            if not self.is_over:
                self._fail(_parse_error(error))
        if after_upgrade is not None:
            self._go_on_without_upgrade(after_upgrade)
        if self._unfinished_bytes > _UNFINISHED_BYTES_MAX and not self.is_over:
            self._fail(S3Error("RequestHeaderSectionTooLarge"))

    # ------------------------------------------------------------ callbacks of httptools

    def on_message_begin(self) -> None:  # noqa: D102
        self.in_request = True
        self._target = b""
        self._is_http_1_0 = False
        self._headers: dict[bytes, bytes] | None = {}
        self._header_count = 0
        self._head_bytes = 0
        self._body_length = 0
        self._body_hash: _Hash | None = None
        self._body: Body | None = None

    def on_url(self, part: bytes) -> None:  # noqa: D102
        self._target += part
        if len(self._target) > TARGET_BYTES_MAX:
            self._stop(S3Error("InvalidURI", f"The request's URI is longer than {TARGET_BYTES_MAX} bytes."))

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        self._header_count += 1
        self._head_bytes += len(name) + len(value) + 4
        if self._header_count > HEADERS_MAX or self._head_bytes > HEAD_BYTES_MAX:
            self._stop(S3Error("RequestHeaderSectionTooLarge"))
        headers = self._headers
        if headers is None:
            return  # a trailer: allowed, without meaning
        name = name.lower()
        if name in headers:
            if name in _SIZED_NAMES:
                self._stop(S3Error("BadRequest", f"The {name.decode()} header is given twice."))
            value = headers[name] + b"," + value
        headers[name] = value

    def on_headers_complete(self) -> None:  # noqa: D102
        headers, parser = self._headers, self._parser
        assert headers is not None
        self._unfinished_bytes = 0
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._stop(S3Error("BadRequest", f"HTTP/{version} is not spoken here; use HTTP/1.1."))
        self._is_http_1_0 = version == "1.0"
        if self._target[:1] != b"/":
            self._to_origin_form(headers)
        if self._target.find(b"#") >= 0:
            self._stop(S3Error("InvalidURI", "The request's target has a '#'."))
        host = headers.get(b"host")
        if host is None and version == "1.1":
            self._stop(S3Error("BadRequest", "An HTTP/1.1 request needs a Host header."))
        if host is not None and not is_authority(host):
            self._stop(S3Error("BadRequest", "The Host header does not name a host."))
        codings = headers.get(b"transfer-encoding", b"chunked").lower()
        if codings != b"chunked" or (version == "1.0" and b"transfer-encoding" in headers):  # RFC 9112 6.1
            self._stop(S3Error("BadRequest", "The only Transfer-Encoding is chunked, in HTTP/1.1."))
        if not _has_body(headers):
            return
        if parser.get_method() not in (b"GET", b"HEAD"):
            self._give_with_body(headers)
        elif not _will_drop_body(headers) or parser.should_upgrade():
            self._give(keep_alive=False, body_sha256=None)
            raise _Stop

    def _to_origin_form(self, headers: dict[bytes, bytes]) -> None:
        if self._target == b"*" and self._parser.get_method() == b"OPTIONS":
            return
        match = _ABSOLUTE_FORM.fullmatch(self._target)
        if match is None:
            self._stop(S3Error("InvalidURI", "The request's target must be a path that begins with '/'."))
        headers[b"host"] = match[1]
        self._target = match[2] if match[2][:1] == b"/" else b"/" + match[2]

    def on_body(self, part: bytes) -> None:  # noqa: D102
        self._unfinished_bytes = 0
        if self._body is not None:
            self._body.add(part)
            return
        self._body_length += len(part)
        if self._body_length > BODY_IGNORED_BYTES_MAX:
            self._give(keep_alive=False, body_sha256=None)
            raise _Stop
        if self._body_hash is None:
            self._body_hash = sha256()
        self._body_hash.update(part)

    def on_message_complete(self) -> None:  # noqa: D102
        body_hash, body = self._body_hash, self._body
        if body is not None and self._parser.should_upgrade():
            return  # llhttp means the head
        if body is not None:
            body.is_complete = True
            self._body = None
            self.in_request = False
            self._unfinished_bytes = 0
            self.is_over = not self._keeps_alive()
        else:
            self._give(
                keep_alive=self._keeps_alive(),
                body_sha256=body_hash.hexdigest().encode() if body_hash is not None else _EMPTY_SHA256,
            )
        if self.is_over:
            raise _Stop  # llhttp would go on where it thinks the connection does

    # ------------------------------------------------------------ results

    def _give(self, *, keep_alive: bool, body_sha256: bytes | None) -> None:
        request = self._append(keep_alive)
        request.body_sha256 = body_sha256
        self.in_request = False
        self.is_over = not keep_alive

    def _give_with_body(self, headers: dict[bytes, bytes]) -> None:
        length = headers.get(b"content-length")  # digits only, and within 64 bits: llhttp has checked
        request = self._append(self._keeps_alive())
        request.body_sha256 = None
        request.body = self._body = Body(None if length is None else int(length))

    def _append(self, keep_alive: bool) -> Request:
        assert self._headers is not None
        request = Request(self._parser.get_method(), self._target, self._headers, keep_alive)
        request.is_http_1_0 = self._is_http_1_0
        self._headers = None
        self._unfinished_bytes = 0
        self.requests.append(request)
        return request

    @property
    def body(self) -> Body | None:
        """The body that is coming at the moment; it belongs to the last of the requests given."""
        return self._body

    def _keeps_alive(self) -> bool:
        parser = self._parser
        return parser.should_keep_alive() and not self._is_http_1_0 and not parser.should_upgrade()

    def _go_on_without_upgrade(self, rest: bytes | bytearray | memoryview) -> None:
        """The request is answered as if it had not asked to switch (RFC 9110 7.8); of what follows only its own body is read."""
        body = self._body
        if body is None:
            self.is_over = True
            return
        length = b"Transfer-Encoding: chunked" if body.due is None else b"Content-Length: %d" % body.due
        self._header_count = self._head_bytes = 0  # what follows are the next parser's
        self._parser = httptools.HttpRequestParser(_BodyOnly(self))
        self._parser.feed_data(b"PUT / HTTP/1.1\r\nConnection: close\r\n" + length + b"\r\n\r\n")
        self.feed(rest)

    def _stop(self, error: S3Error) -> NoReturn:
        self._fail(error)
        raise _Stop

    def _fail(self, error: S3Error) -> None:
        self.error = error
        self.is_over = True
        self.in_request = False


class _BodyOnly:
    """What a parser tells that reads the rest of a request whose head another one has read."""

    def __init__(self, reader: RequestReader) -> None:
        self.on_header = reader.on_header  # of the trailer: counted
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete


def _will_drop_body(headers: dict[bytes, bytes]) -> bool:
    # With Expect the client waits for a 100 that it will not get: the final answer comes instead (RFC 9110 10.1.1).
    if b"expect" in headers:
        return False
    length = headers.get(b"content-length", b"0")
    return len(length) < 18 and int(length) <= BODY_IGNORED_BYTES_MAX


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0") != b""


def _parse_error(error: httptools.HttpParserError) -> S3Error:
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return S3Error("InvalidURI", "The request's URI has characters that must be percent-encoded.")
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return S3Error("BadRequest", "This is not an HTTP/1.1 request.")
    return S3Error("BadRequest", f"An error occurred when parsing the HTTP request: {error}.")


# ---------------------------------------------------------------- names


def split_path(path: bytes) -> tuple[str, str]:
    """``(bucket, key)`` of a path-style request path, decoded; either may be empty.

    The bucket ends at the first ``/`` of the path *as sent*: a bucket's name has none. Raises :class:`S3Error` (InvalidURI).
    """
    bucket, _, key = path[1:].partition(b"/")
    return decode_component(bucket), decode_component(key)


def decode_component(encoded: bytes) -> str:
    """Percent-decodes once, ``+`` standing for itself. Raises :class:`S3Error` (InvalidURI) unless it is whole and UTF-8."""
    try:
        if encoded.find(b"%") < 0:  # on bytes, "in" costs ten times as much
            return encoded.decode()
        if _BROKEN_ESCAPE.search(encoded):
            raise S3Error(
                "InvalidURI", "The request's URI has a '%' that is not followed by two hexadecimal digits."
            )
        return unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", "The request's URI is not UTF-8 when percent-decoded.") from None
