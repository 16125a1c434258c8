"""What an S3 store's answer means: accepted with exactly these bytes, or which error.

*Law.* Pure: heads and bodies in, metadata or errors out. A body is only let into a reader's buffer when its
head proves which bytes of which version it is: status, ETag, range and length must agree with what was asked,
exactly. Nothing is guessed: an answer without a size or a strong ETag is refused, since blocks of it could
not be told from blocks of another version.

Sources: RFC 9110 (14.4 Content-Range, 8.8.3 ETag, 5.6.7 dates); "Error responses", Amazon S3 API Reference.
Error bodies are searched for four elements by pattern instead of being parsed as XML: they come from outside
and are often not XML at all.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache

from cashy.errors import (
    AccessDenied,
    CashyError,
    InvalidName,
    NoSuchBucket,
    NoSuchObject,
    OriginInvalid,
    OriginUnavailable,
    SlowDown,
    VersionChanged,
)
from cashy.origin.base import ObjectMeta

__all__ = ["AnswerHead", "Asked", "accept_read", "error_of", "meta_of"]

VERSION_CHARACTERS_MAX = 256
"""An ETag's length; S3's are 34 to 40 characters, and the version goes into shared-memory records."""

MESSAGE_CHARACTERS_MAX = 300
"""Of a store's own words in our message."""

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]+"')
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
_STORED_HEADERS = frozenset({
    "cache-control", "content-disposition", "content-encoding", "content-language", "expires",
    "x-amz-version-id", "x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-tagging-count", "x-amz-mp-parts-count",
    "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold",
    "x-amz-checksum-type", "x-amz-server-side-encryption-bucket-key-enabled", "x-amz-expiration", "x-amz-restore",
    "x-amz-archive-status", "x-amz-replication-status", "x-amz-missing-meta",
})  # fmt: skip
_CHECKSUM_PREFIX = "x-amz-checksum-"
_USER_PREFIX = "x-amz-meta-"


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """An answer's status and headers: names in lower case, values of repeated ones joined by ", " (RFC 9110,
    5.3).
    """

    status: int
    headers: dict[str, str]

    @property
    def content_length(self) -> int | None:
        """The body's length if the head tells it; for the answer to HEAD, the object's."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() and "transfer-encoding" not in self.headers else None


@dataclass(frozen=True, slots=True)
class Asked:
    """The bytes that were asked for. ``what`` names the object in messages."""

    what: str
    offset: int
    length: int
    expected_version: str | None


def accept_read(head: AnswerHead, asked: Asked) -> tuple[ObjectMeta, int]:
    """Checks a 200 or 206; gives the metadata and how many bytes the body is to have. Raises OriginInvalid or
    VersionChanged.

    A 200 will do only if it is the whole object, asked for from its start, and not longer than what was
    asked.
    """
    if head.status == 206:
        size_bytes, length = _check_range(head, asked)
    else:
        size_bytes = length = _whole_size(head, asked)
    if head.content_length not in (None, length):
        raise _invalid(asked.what, f"announces {head.content_length} bytes for a range of {length}")
    meta = meta_of(head, size_bytes, asked.what)
    if asked.expected_version not in (None, meta.version):
        text = f"{asked.what}: is now {meta.version}, was {asked.expected_version}; read again"
        raise VersionChanged(text)
    return meta, length


def _check_range(head: AnswerHead, asked: Asked) -> tuple[int, int]:
    text = head.headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None:
        raise _invalid(asked.what, f"gives no usable Content-Range ({text[:100]!r})")
    first, last, size_bytes = (int(group) for group in match.groups())
    if first != asked.offset or last != min(asked.offset + asked.length, size_bytes) - 1 or last < first:
        wanted = f"bytes {asked.offset}-{asked.offset + asked.length - 1}"
        raise _invalid(asked.what, f"sends {text!r}, but {wanted} were asked")
    return size_bytes, last - first + 1


def _whole_size(head: AnswerHead, asked: Asked) -> int:
    size_bytes = head.content_length
    if size_bytes is None:
        raise _invalid(asked.what, "does not tell the object's size")
    if asked.offset != 0 or size_bytes > asked.length:
        raise _invalid(
            asked.what, "ignores Range and sends the whole object; a store with ranged reads is needed"
        )
    return size_bytes


def meta_of(head: AnswerHead, size_bytes: int, what: str) -> ObjectMeta:
    """The metadata that a good answer carries; raises OriginInvalid without a strong ETag.

    Checksums are taken over from HEAD alone (only there it is asked for them): with a range they may be a
    part's.
    """
    headers = head.headers
    version = headers.get("etag", "")
    if len(version) > VERSION_CHARACTERS_MAX or not _STRONG_ETAG.fullmatch(version):
        raise _invalid(what, f"gives no strong ETag ({version[:100]!r}), so versions cannot be told apart")
    return ObjectMeta(
        version,
        size_bytes,
        _epoch_of(headers.get("last-modified", "")),
        headers.get("content-type", "binary/octet-stream"),
        tuple([(name, value) for name, value in headers.items() if _is_stored(name, head.status)]),
        tuple(
            [
                (name[len(_USER_PREFIX) :], value)
                for name, value in headers.items()
                if name.startswith(_USER_PREFIX)
            ]
        ),
    )


def _is_stored(name: str, status: int) -> bool:
    return name in _STORED_HEADERS or (status == 200 and name.startswith(_CHECKSUM_PREFIX))


@lru_cache(maxsize=1024)
def _epoch_of(date: str) -> float:
    """Seconds since the epoch of an HTTP date; 0.0 if there is none that can be read."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _invalid(what: str, text: str) -> OriginInvalid:
    return OriginInvalid(f"{what}: the store {text}")


# ---------------------------------------------------------------- errors

_BY_CODE: dict[str, type[CashyError]] = {
    "NoSuchKey": NoSuchObject,
    "NoSuchVersion": NoSuchObject,
    "NoSuchBucket": NoSuchBucket,
    "InvalidBucketName": InvalidName,
    "InvalidObjectName": InvalidName,
    "KeyTooLongError": InvalidName,
    "AccessDenied": AccessDenied,
    "ExpiredToken": AccessDenied,
    "InvalidToken": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "RequestTimeTooSkewed": AccessDenied,
    "InvalidObjectState": AccessDenied,
    "PreconditionFailed": VersionChanged,
    "SlowDown": SlowDown,
    "ServiceUnavailable": SlowDown,
    "TooManyRequests": SlowDown,
    "InternalError": OriginUnavailable,
}
_BY_STATUS: dict[int, type[CashyError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NoSuchObject,
    412: VersionChanged,
    429: SlowDown,
    503: SlowDown,
}


def _element(name: str, text: str) -> str:
    match = re.search(f"<{name}>([^<]*)</{name}>", text)
    return html.unescape(match[1]).strip()[:MESSAGE_CHARACTERS_MAX] if match else ""


def error_of(head: AnswerHead, body: bytes, what: str) -> CashyError:
    """The error that an answer other than a good one stands for; ``body`` may be cut off or empty (HEAD)."""
    text = body.decode("utf-8", "replace")
    code = _element("Code", text)
    if head.status in (301, 302, 307, 308):
        return _moved(head, text, what)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(head.status)
    if kind is None:
        kind = OriginUnavailable if head.status >= 500 else OriginInvalid
    said = _printable(f"{code}: {_element('Message', text)}" if code else "no further explanation")
    region = _region(head, text)
    hint = f"; the store names the region {region!r}" if region and head.status == 400 else ""
    return kind(f"{what}: the store answered {head.status} ({said}){hint}")


def _moved(head: AnswerHead, text: str, what: str) -> OriginInvalid:
    region = _region(head, text)
    place = _printable(
        _element("Endpoint", text) or head.headers.get("location", "")[:MESSAGE_CHARACTERS_MAX]
    )
    where = f"the region {region!r}" if region else f"{place!r}" if place else "another place"
    return _invalid(
        what, f"answered {head.status}: the bucket belongs to {where}; configure that endpoint and region"
    )


def _region(head: AnswerHead, text: str) -> str:
    return _printable(head.headers.get("x-amz-bucket-region", "") or _element("Region", text))[:64]


def _printable(text: str) -> str:
    """Without what could confuse a terminal or a log."""
    return "".join([character if character.isprintable() else "?" for character in text])
