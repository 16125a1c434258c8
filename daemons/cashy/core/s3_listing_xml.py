"""Listings as XML documents, and the fixed answers of buckets that have nothing configured.

Law. Every document of a bucket that is served from a directory is written here, from values; nothing is parsed. All texts go through
:func:`text`, so that no key can become markup.

*Characters that XML 1.0 cannot carry.* A key may have any character. With ``encoding-type=url`` (SDKs ask for it by themselves) keys,
prefixes, delimiters and markers are percent-encoded, all but ``/``; a space is ``%20``, which decodes the same by both customs.
Without it such a character is written as a numeric reference, as S3 does: a strict parser refuses that page. Replaced by
another character it would be a wrong key, silently. Carriage returns are references too, or a parser would read a line feed.

*Dates* are whole seconds, with the ``.000`` that S3 writes: HeadObject has no fractions, and tools compare the two.

Sources: Amazon S3 API Reference (the operations named below); "Naming Amazon S3 objects", Amazon S3 User Guide; XML 1.0, 2.2 and 2.11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from cashy.core.s3_listing import Found, ListingQuery, Page, make_token

__all__ = [
    "BUCKET_DOCUMENTS",
    "NAMESPACE",
    "OWNER_ID",
    "buckets_document",
    "document",
    "empty_tagging_document",
    "listing_document",
    "location_document",
    "text",
    "timestamp",
    "uploads_document",
]

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

#: Who owns all buckets that are directories: files' users mean nothing to S3 clients.
OWNER_ID = "cashy"

_OWNER = f"<Owner><ID>{OWNER_ID}</ID><DisplayName>{OWNER_ID}</DisplayName></Owner>"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_TO_ESCAPE = re.compile('[&<>"\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]')

#: Subresources that a bucket always has, with what they say of one where nothing was configured.
BUCKET_DOCUMENTS: dict[str, tuple[str, str]] = {
    "versioning": ("VersioningConfiguration", ""),
    "notification": ("NotificationConfiguration", ""),
    "logging": ("BucketLoggingStatus", ""),
    "accelerate": ("AccelerateConfiguration", ""),
    "requestPayment": ("RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"),
}


def text(value: str) -> str:
    """``value`` as XML text."""
    return _TO_ESCAPE.sub(_reference, value)


def _reference(match: re.Match[str]) -> str:
    character = match[0]
    return _NAMED.get(character) or f"&#x{ord(character):x};"


def timestamp(seconds: int) -> str:
    """ISO 8601 with milliseconds, UTC, of whole seconds since the epoch; what a date cannot hold becomes the nearest that it can."""
    seconds = min(max(seconds, -62_135_596_800), 253_402_300_799)  # years 1 to 9999
    at = _EPOCH + timedelta(seconds=seconds)
    return f"{at.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def document(root: str, content: str) -> bytes:
    """A whole document, UTF-8."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{content}</{root}>'.encode()


def _element(name: str, value: str) -> str:
    return f"<{name}>{value}</{name}>"


def _name(value: str | bytes, query: ListingQuery) -> str:
    """A key or a part of one, encoded as the query wants it."""
    if query.is_url_encoded:
        return quote(value, safe="/")
    return text(value.decode() if isinstance(value, bytes) else value)


# ---------------------------------------------------------------- listings


def listing_document(query: ListingQuery, page: Page) -> bytes:
    """The answer to ListObjects, ListObjectsV2 or ListObjectVersions."""
    parts = [_element("Name", text(query.bucket)), _element("Prefix", _name(query.prefix, query))]
    parts += _position_elements(query, page)
    parts.append(_element("MaxKeys", str(query.max_keys)))
    if query.delimiter:
        parts.append(_element("Delimiter", _name(query.delimiter, query)))
    if query.is_url_encoded:
        parts.append("<EncodingType>url</EncodingType>")
    parts.append(_element("IsTruncated", "true" if page.is_truncated else "false"))
    tag, more = ("Version", _VERSION) if query.kind == "versions" else ("Contents", "")
    owner = _OWNER if query.wants_owner else ""
    parts += [_entry(tag, found, query, more + owner) for found in page.found]
    parts += [
        f"<CommonPrefixes><Prefix>{_name(prefix, query)}</Prefix></CommonPrefixes>"
        for prefix in page.prefixes
    ]
    root = "ListVersionsResult" if query.kind == "versions" else "ListBucketResult"
    return document(root, "".join(parts))


_VERSION = "<VersionId>null</VersionId><IsLatest>true</IsLatest>"


def _position_elements(query: ListingQuery, page: Page) -> list[str]:
    """Where the page begins and the next one does; each kind has its own names for it."""
    last = page.last if page.is_truncated else None
    if query.kind == "objects-v2":
        return _v2_position(query, page, last)
    if query.kind == "versions":
        return _version_position(query, page, last)
    elements = [_element("Marker", _name(query.marker or "", query))]
    if last is not None and query.delimiter:  # without one, the last key is the next marker
        elements.append(_element("NextMarker", _name(last, query)))
    return elements


def _v2_position(query: ListingQuery, page: Page, last: bytes | None) -> list[str]:
    elements = [_element("KeyCount", str(page.count))]
    if query.marker:
        elements.append(_element("StartAfter", _name(query.marker, query)))
    if query.token is not None:
        elements.append(_element("ContinuationToken", text(query.token)))
    if last is not None:
        elements.append(_element("NextContinuationToken", make_token(last, query.bucket)))
    return elements


def _version_position(query: ListingQuery, page: Page, last: bytes | None) -> list[str]:
    elements = [_element("KeyMarker", _name(query.marker or "", query)), "<VersionIdMarker/>"]
    if last is not None:
        elements.append(_element("NextKeyMarker", _name(last, query)))
        if page.found and page.found[-1].key == last:
            elements.append("<NextVersionIdMarker>null</NextVersionIdMarker>")
    return elements


def _entry(tag: str, found: Found, query: ListingQuery, more: str) -> str:
    return (
        f"<{tag}><Key>{_name(found.key, query)}</Key><LastModified>{timestamp(found.modified_s)}</LastModified>"
        f"<ETag>{text(found.etag)}</ETag><Size>{found.size_bytes}</Size><StorageClass>STANDARD</StorageClass>{more}</{tag}>"
    )


def uploads_document(query: ListingQuery, upload_id_marker: str, max_uploads: int) -> bytes:
    """The answer to ListMultipartUploads where there are none; ``query.marker`` is its key-marker."""
    parts = [
        _element("Bucket", text(query.bucket)),
        _element("KeyMarker", _name(query.marker or "", query)),
        _element("UploadIdMarker", text(upload_id_marker)),
        _element("Prefix", _name(query.prefix, query)),
        _element("Delimiter", _name(query.delimiter, query)) if query.delimiter else "",
        "<EncodingType>url</EncodingType>" if query.is_url_encoded else "",
        _element("MaxUploads", str(max_uploads)),
        "<IsTruncated>false</IsTruncated>",
    ]
    return document("ListMultipartUploadsResult", "".join(parts))


# ---------------------------------------------------------------- buckets


def buckets_document(
    buckets: Iterable[tuple[str, int]], *, prefix: str = "", next_token: str | None = None
) -> bytes:
    """The answer to ListBuckets: names with whole seconds since the epoch."""
    listed = "".join(
        f"<Bucket><Name>{text(name)}</Name><CreationDate>{timestamp(created_s)}</CreationDate></Bucket>"
        for name, created_s in buckets
    )
    more = _element("Prefix", text(prefix)) if prefix else ""
    if next_token is not None:
        more += _element("ContinuationToken", next_token)
    return document("ListAllMyBucketsResult", f"{_OWNER}<Buckets>{listed}</Buckets>{more}")


def location_document(region: str) -> bytes:
    """The answer to GetBucketLocation; empty for us-east-1, as S3 has it."""
    return document("LocationConstraint", "" if region == "us-east-1" else text(region))


def empty_tagging_document() -> bytes:
    """The answer to GetObjectTagging for an object without tags."""
    return document("Tagging", "<TagSet/>")
