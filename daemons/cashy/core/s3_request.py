"""What an S3 request asks for: from method, path, query and headers to an action.

Law. S3 puts its operations into methods, subresources (``?acl``) and headers; this module alone tells them apart. It reads nothing else and
decides no right. What the endpoint does not do itself is an :class:`Other` with its kind of right, so that the proxy takes it from here
and nothing falls through to a plain GetObject: a ``GET ?acl`` answered with the object would be worse than none.

Parameters that S3 does not know are ignored, as S3 ignores them; ``x-id`` is what newer SDKs add for their logs.

Source: Amazon S3 API Reference, "Actions".
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import unquote_to_bytes

from cashy.core.http_head import Request, split_path
from cashy.core.names import S3_KEY_BYTES_MAX
from cashy.core.s3_errors import S3Error

__all__ = ["OVERRIDES", "Action", "ObjectRead", "Other", "Right", "classify"]

Right = Literal["read", "write"]

#: Query parameters of GetObject that replace a header of the answer.
OVERRIDES: dict[bytes, bytes] = {
    b"response-cache-control": b"cache-control",
    b"response-content-disposition": b"content-disposition",
    b"response-content-encoding": b"content-encoding",
    b"response-content-language": b"content-language",
    b"response-content-type": b"content-type",
    b"response-expires": b"expires",
}

# Subresources and parameters that make a GET or HEAD of an object another operation, or one of another version or part. Those that belong to
# buckets are among them: what they mean on a key is the store's to say.
_SUBRESOURCES = frozenset(
    b"""accelerate acl analytics attributes cors delete encryption intelligent-tiering inventory legal-hold lifecycle list-type location
    logging metrics notification object-lock ownershipControls partNumber policy policyStatus publicAccessBlock replication
    requestPayment restore retention select select-type tagging torrent uploadId uploads versionId versioning versions website""".split()
)

# Headers that change which bytes a read gives, or need what only the store has (its rules for other origins: CORS).
_FOREIGN_HEADERS = frozenset(
    (
        b"access-control-request-headers",
        b"access-control-request-method",
        b"origin",
        b"x-amz-expected-bucket-owner",
        b"x-amz-request-payer",
        b"x-amz-server-side-encryption",
        b"x-amz-server-side-encryption-aws-kms-key-id",
        b"x-amz-server-side-encryption-context",
        b"x-amz-server-side-encryption-customer-algorithm",
        b"x-amz-server-side-encryption-customer-key",
        b"x-amz-server-side-encryption-customer-key-md5",
    )
)

_FIELD_VALUE = re.compile(
    rb"[ -~\x80-\xff]*"
)  # RFC 9110 5.5 without tabs; no CR or LF gets into an answer's head


class ObjectRead(NamedTuple):
    """GetObject or HeadObject of a current object. ``overrides`` replace headers of the answer, names in lower case."""

    bucket: str
    key: str
    is_head: bool
    overrides: tuple[tuple[bytes, bytes], ...] = ()


class Other(NamedTuple):
    """Any other operation; ``bucket`` and ``key`` are empty where it has none."""

    bucket: str
    key: str
    right: Right


Action = ObjectRead | Other


def classify(request: Request) -> Action:
    """Tells what is asked. Raises :class:`S3Error` for names that S3 would not take."""
    bucket, key = split_path(request.path)
    method = request.method
    if len(key) > S3_KEY_BYTES_MAX // 4 and len(key.encode()) > S3_KEY_BYTES_MAX:
        size = ("Size", str(len(key.encode()))), ("MaxSizeAllowed", str(S3_KEY_BYTES_MAX))
        raise S3Error("KeyTooLongError", details=size)
    if method not in (b"GET", b"HEAD"):
        return Other(bucket, key, "read" if _only_reads(request) else "write")
    if not key or not bucket or not _FOREIGN_HEADERS.isdisjoint(request.headers):
        return Other(bucket, key, "read")
    if not request.query:
        return ObjectRead(bucket, key, method == b"HEAD")
    return _classify_query(bucket, key, method == b"HEAD", request)


def _only_reads(request: Request) -> bool:
    """Of the other methods: a preflight, and SelectObjectContent with no parameter that could make it something else."""
    if request.method == b"OPTIONS":
        return True
    names = {unquote_to_bytes(pair.partition(b"=")[0]) for pair in request.query.split(b"&")}
    is_select = b"select" in names and names <= {b"select", b"select-type", b"x-id"}
    return request.method == b"POST" and is_select


def _classify_query(bucket: str, key: str, is_head: bool, request: Request) -> Action:
    overrides = []
    is_signed = b"authorization" in request.headers or b"X-Amz-Signature=" in request.query
    for pair in request.query.split(b"&"):
        raw_name, _, raw_value = pair.partition(b"=")
        name = unquote_to_bytes(raw_name)
        if name in _SUBRESOURCES:
            return Other(bucket, key, "read")
        if name in OVERRIDES:
            overrides.append((OVERRIDES[name], _override_value(name, raw_value, is_signed)))
    return ObjectRead(bucket, key, is_head, tuple(overrides))


def _override_value(name: bytes, raw_value: bytes, is_signed: bool) -> bytes:
    if not is_signed:
        raise S3Error(
            "InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests."
        )
    value = unquote_to_bytes(raw_value.replace(b"+", b" "))
    if _FIELD_VALUE.fullmatch(value) is None:
        raise S3Error(
            "InvalidArgument",
            "Header value cannot have control characters.",
            (("ArgumentName", name.decode()),),
        )
    return value.strip()
