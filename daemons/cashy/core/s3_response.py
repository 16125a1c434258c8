"""Heads of answers: bytes from an object's metadata, or from an error.

Law. All bytes that the endpoint sends besides object data are written here, and nothing is sent. The head of an object's answer has a part
that is the same for every request (:func:`render_object`: stored headers, ETag, dates), which is rendered once per version and kept by
the caller, and a part of its own (:func:`object_head`). Values that come from a store or a request are checked for line ends here as well:
a header must never be able to begin another one.

An ETag is the store's, quotes and all; a file's version, which has none, is put in quotes. Checksums of the whole object go only with the
whole object and to whoever asked for them, as in S3: SDKs verify what they get, and would refuse a part.

Source: RFC 9110; "GetObject" and "HeadObject", Amazon S3 API Reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

from cashy.core.ranges import ByteRange, unsatisfied_content_range
from cashy.core.s3_errors import S3Error, error_document

__all__ = [
    "CHECKSUM_PREFIX",
    "RETRY_AFTER_S",
    "Description",
    "RenderedObject",
    "checksum_lines",
    "common_headers",
    "error_answer",
    "etag_of",
    "http_date",
    "not_modified_head",
    "object_head",
    "render_object",
    "with_overrides",
]


#: What a SlowDown asks for: queues here drain in fractions of a second, and SDKs back off further by themselves.
RETRY_AFTER_S = 1


class Description(Protocol):
    """What is needed of an object's metadata; see ``cashy.client.meta.Meta``."""

    @property
    def size_bytes(self) -> int:
        """Size of the object."""
        ...

    @property
    def version(self) -> str:
        """ETag with its quotes, or a file's version."""
        ...

    @property
    def last_modified(self) -> float:
        """Seconds since the epoch."""
        ...

    @property
    def content_type(self) -> str:
        """MIME type."""
        ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Stored headers, names in lower case."""
        ...

    @property
    def user_metadata(self) -> tuple[tuple[str, str], ...]:
        """``x-amz-meta-*`` without the prefix."""
        ...


@dataclass(frozen=True, slots=True)
class RenderedObject:
    """The parts of a head that every answer about one version shares; each ends with CRLF or is empty.

    ``validators`` are ETag, Last-Modified and what else a 304 repeats (RFC 9110 15.4.5); ``stored`` the others.
    """

    etag: str
    last_modified_s: float
    size_bytes: int
    validators: bytes
    stored: bytes
    checksums: bytes


#: Headers that go only with the whole object, to whoever asked for them.
CHECKSUM_PREFIX = "x-amz-checksum-"

# Of these, those that are none; all others are, whatever algorithms may come.
_OF_PARTS = re.compile(r'"[^"]*-[0-9]+"')
_ABOUT_CHECKSUMS = frozenset((CHECKSUM_PREFIX + "type", CHECKSUM_PREFIX + "algorithm"))

_LINE_END = re.compile("[\r\n\0]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2

# Headers of the message, not of the object: ours to say, whatever an origin stored.
_OWN_HEADERS = frozenset(
    (
        "accept-ranges", "connection", "content-length", "content-range", "content-type", "date", "etag", "keep-alive",
        "last-modified", "server", "trailer", "transfer-encoding", "upgrade", "x-amz-id-2", "x-amz-request-id",
    )
)  # fmt: skip
_KEPT_BY_304 = frozenset(("cache-control", "expires", "vary", "content-location"))


def http_date(seconds: float) -> str:
    """An IMF-fixdate (RFC 9110 5.6.7) of seconds since the epoch, a fraction cut off."""
    return formatdate(int(seconds), usegmt=True)


def etag_of(version: str) -> str:
    """A version as an entity tag: the store's own, or a file's in quotes."""
    return version if version.startswith(('"', 'W/"')) else f'"{version}"'


def render_object(meta: Description) -> RenderedObject:
    """Renders what all answers about this version share."""
    etag, last_modified_s = etag_of(meta.version), meta.last_modified
    validators = [("ETag", etag), ("Last-Modified", http_date(last_modified_s))]
    stored = [("Accept-Ranges", "bytes"), ("Content-Type", meta.content_type or "application/octet-stream")]
    checksums = []
    for name, value in meta.headers:
        if name.startswith(CHECKSUM_PREFIX):
            checksums.append((name, value))
        elif name in _KEPT_BY_304:
            validators.append((name, value))
        elif name not in _OWN_HEADERS:
            stored.append((name, value))
    stored += [(f"x-amz-meta-{name}", value) for name, value in meta.user_metadata]
    return RenderedObject(
        etag,
        last_modified_s,
        meta.size_bytes,
        _lines(validators),
        _lines(stored),
        checksum_lines(checksums, etag),
    )


def checksum_lines(headers: Iterable[tuple[str, str]], etag: str) -> bytes:
    """The header lines of an object's checksums and their type, from its stored headers; empty if there is only the type, or nothing.

    A composite checksum is marked as one ("…-2") or by its type (S3 user guide, "Checking object integrity"). Where a store says neither of
    an object of parts, a client would compare it with the object's bytes, so it is left out.
    """
    found = [(name, value) for name, value in headers if name.startswith(CHECKSUM_PREFIX)]
    if _OF_PARTS.fullmatch(etag) and all(name != CHECKSUM_PREFIX + "type" for name, _ in found):
        found = [(name, value) for name, value in found if name in _ABOUT_CHECKSUMS or "-" in value]
    return b"" if _ABOUT_CHECKSUMS.issuperset(name for name, _ in found) else _lines(found)


def with_overrides(rendered: RenderedObject, overrides: Iterable[tuple[bytes, bytes]]) -> RenderedObject:
    """The same with some headers replaced (``response-content-type`` …)."""
    validators, stored = rendered.validators, rendered.stored
    for name, value in overrides:
        if name in (b"cache-control", b"expires"):
            validators = _without(validators, name) + name + b": " + value + b"\r\n"
        else:
            stored = _without(stored, name) + name + b": " + value + b"\r\n"
    return RenderedObject(
        rendered.etag,
        rendered.last_modified_s,
        rendered.size_bytes,
        validators,
        stored,
        rendered.checksums,
    )


def object_head(
    rendered: RenderedObject,
    byte_range: ByteRange | None,
    common: bytes,
    checksums: bytes = b"",
) -> bytes:
    """The head of a 200 or 206. ``common`` is from :func:`common_headers`; ``checksums`` are lines that go with the whole object only."""
    if byte_range is None:
        return b"HTTP/1.1 200 OK\r\n%b%b%bContent-Length: %d\r\n%b" % (
            rendered.stored, rendered.validators, checksums, rendered.size_bytes, common,
        )  # fmt: skip
    return b"HTTP/1.1 206 Partial Content\r\n%b%bContent-Range: %b\r\nContent-Length: %d\r\n%b" % (
        rendered.stored, rendered.validators, byte_range.content_range.encode(), byte_range.length, common,
    )  # fmt: skip


def not_modified_head(rendered: RenderedObject, common: bytes) -> bytes:
    """The head of a 304, which has no body and needs no length."""
    return b"HTTP/1.1 304 Not Modified\r\n%b%b" % (rendered.validators, common)


def error_answer(
    error: S3Error,
    *,
    resource: str,
    request_id: str,
    common: bytes,
    is_head: bool,
    size_bytes: int | None = None,
) -> bytes:
    """A whole error answer, without its body for HEAD (which then announces its length all the same).

    ``size_bytes`` is the object's size for a 416.
    """
    body = error_document(error, resource, request_id)
    extra = b"Retry-After: %d\r\n" % RETRY_AFTER_S if error.code == "SlowDown" else b""
    if error.status == 416 and size_bytes is not None:
        extra = b"Content-Range: %b\r\n" % unsatisfied_content_range(size_bytes).encode()
    head = b"HTTP/1.1 %d %b\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n%b%b" % (
        error.status, HTTPStatus(error.status).phrase.encode(), len(body), extra, common,
    )  # fmt: skip
    return head if is_head else head + body


def common_headers(request_id: str, now_s: int, *, keep_alive: bool) -> bytes:
    """What every answer ends its head with, the empty line included. ``now_s`` is seconds since the epoch."""
    connection = b"" if keep_alive else b"Connection: close\r\n"
    return b"%bx-amz-request-id: %b\r\n%b\r\n" % (_date_lines(now_s), request_id.encode(), connection)


@lru_cache(maxsize=4)  # one second's answers share their date
def _date_lines(now_s: int) -> bytes:
    return f"Date: {http_date(now_s)}\r\nServer: cashy\r\n".encode()


def _lines(headers: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(
        f"{name}: {_LINE_END.sub(' ', value)}\r\n".encode("latin-1", "replace")
        for name, value in headers
        if _TOKEN.fullmatch(name)
    )


def _without(lines: bytes, name: bytes) -> bytes:
    start = name + b":"
    return b"".join(line for line in lines.splitlines(keepends=True) if not line.lower().startswith(start))
