"""A request as the store behind gets it, and the store's answer as the client gets it: heads only.

Law. Pure: heads in, heads out; time and keys are parameters. What a client wrote and what it was allowed must be one thing to us and to the
store, so here stands all that keeps the two from reading one request differently:

* *The target goes out exactly as the client wrote it*, never encoded anew (``a%2Fb``, ``a/../b`` and ``a//b`` are three keys), less the
  presigned query, whose place a signed header takes. The signature is over the canonical form that S3 documents.
* *Headers pass by a list of what S3 has*: unknown ones mean nothing to S3, but may to what stands before the store (``X-Forwarded-*``,
  ``X-HTTP-Method-Override``, ``X-Original-URL``) or to the store itself (``x-minio-…``, ``Seaweed-…``). A list of bad ones is never complete.
  Beside them, those by which a trace is followed, as W3C Trace Context wants of whoever stands on the way.
* *Names that a store could read as another bucket's are refused*: an empty bucket in a path that is not ``/``, and keys whose ``..`` climb
  above the bucket, which AWS refuses by the same rule. Otherwise a key of one bucket could reach into another wherever paths are cleaned.
* *An action that changes two objects* is refused (RenameObject, which only directory buckets of S3 Express have): both would have to be marked, and
  what its header may name is not told exactly enough for that.
* *Other ways to sign* (Signature Version 2) are refused, so that a store cannot find a second signer in a request we vouch for.

Signed are Host, Content-Type, Content-MD5 and every ``x-amz-*``: what AWS requires and recommends. More would break on the way, where proxies
may change the rest. The head that goes back loses what belongs to the store's connection or its host (cookies, HSTS, Alt-Svc).

Sources: RFC 9110 7.6 (what an intermediary forwards), RFC 9112 6 (framing); Amazon S3 API Reference, "Create a signed AWS API request",
"CopyObject"; Amazon S3 User Guide, "Object key naming guidelines".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from cashy.core.http_head import decode_component
from cashy.core.s3_errors import S3Error
from cashy.core.sigv4 import canonical_target, prepared_key
from cashy.core.trace_context import TRACE_HEADERS

__all__ = [
    "CHUNKED",
    "AnswerFraming",
    "StoreAddress",
    "StoreKey",
    "answer_framing",
    "answer_head",
    "check_target",
    "copy_source",
    "forwarded_headers",
    "forwarded_query",
    "is_delete_objects",
    "names_written",
    "request_head",
]


#: To be added to the headers of a request whose body comes in HTTP's chunks (RFC 9112 7.1).
CHUNKED: Mapping[bytes, bytes] = {b"transfer-encoding": b"chunked"}


class StoreAddress(NamedTuple):
    """A store as requests to it say it: ``authority`` is the Host header's value, ``base_path`` stands before every path (may be empty).

    ``has_bucket``: the host is the bucket's own (virtual-host style), so the path goes out without its first element.
    """

    authority: bytes
    base_path: bytes
    region: str
    has_bucket: bool = False


class StoreKey(NamedTuple):
    """With what requests to a store are signed."""

    access_key: str
    secret: str


_METHODS = frozenset((b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"OPTIONS"))
_BUCKET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")

_PASSED = frozenset(
    (
        b"accept", b"accept-encoding", b"access-control-request-headers", b"access-control-request-method", b"cache-control",
        b"content-disposition", b"content-encoding", b"content-language", b"content-md5", b"content-type", b"expires",
        b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since", b"origin", b"range", b"user-agent",
        *TRACE_HEADERS,
    )
)  # fmt: skip

# Of x-amz-*, what belongs to the client's own signature and framing, or to an action that is refused.
_OWN_AMZ = frozenset(
    (
        b"x-amz-content-sha256", b"x-amz-date", b"x-amz-decoded-content-length", b"x-amz-rename-source", b"x-amz-s3session-token",
        b"x-amz-security-token", b"x-amz-trailer",
    )
)  # fmt: skip

# Of a presigned query, names in lower case; the store gets a header instead.
_PRESIGNED = frozenset(
    (
        b"x-amz-algorithm", b"x-amz-content-sha256", b"x-amz-credential", b"x-amz-date", b"x-amz-expires", b"x-amz-security-token",
        b"x-amz-signature", b"x-amz-signedheaders",
    )
)  # fmt: skip
_SIGNATURE_V2 = frozenset((b"awsaccesskeyid", b"signature"))

# Parameters of actions on a key that leave the object as it is.
_CHANGING_NO_OBJECT: dict[bytes, tuple[frozenset[bytes], ...]] = {
    b"PUT": (frozenset((b"partNumber", b"uploadId")),),
    b"POST": (frozenset((b"uploads",)), frozenset((b"select", b"select-type"))),
    b"DELETE": (frozenset((b"uploadId",)),),
}

_ANSWER_DROPPED = frozenset(
    (
        "alt-svc", "connection", "content-length", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "proxy-connection",
        "set-cookie", "strict-transport-security", "te", "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip


# ---------------------------------------------------------------- what may be forwarded


def check_target(method: bytes, path: bytes, query: bytes, bucket: str, key: str) -> None:
    """Raises :class:`S3Error` for what no S3 action has, or what a store might understand as another bucket or signer.

    ``bucket`` and ``key`` are the decoded parts of ``path``.
    """
    if method not in _METHODS:
        raise S3Error("MethodNotAllowed")
    if path == b"/":
        if method not in (b"GET", b"HEAD", b"OPTIONS"):
            raise S3Error("MethodNotAllowed")
    elif _BUCKET.fullmatch(bucket) is None:
        raise S3Error("InvalidBucketName", details=(("BucketName", bucket),))
    if _climbs(key):
        raise S3Error("InvalidURI", "The key's '..' lead out of the bucket.")
    names = {name.lower() for name, _ in _pairs(query)}
    if not names.isdisjoint(_SIGNATURE_V2):
        raise S3Error(
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        )
    if b"x-amz-copy-source" in names:
        raise S3Error("NotImplemented", "x-amz-copy-source is taken as a header only.")
    if b"renameobject" in names:
        raise S3Error("NotImplemented", "Objects cannot be renamed here; copy and delete.")
    if method == b"POST" and not key and not names - _PRESIGNED - {b"x-id"}:
        raise S3Error(  # no action is left but a form's, which this is not
            "PreconditionFailed",
            details=(("Condition", "Bucket POST must be of the enclosure-type multipart/form-data"),),
        )


def _climbs(key: str) -> bool:
    """AWS's rule: read from left to right, there are never more ``..`` than other elements."""
    depth = 0
    for element in key.split("/"):
        if element == "..":
            depth -= 1
        elif element not in ("", "."):  # what cleans paths takes these out
            depth += 1
        if depth < 0:
            return True
    return False


def copy_source(headers: Mapping[bytes, bytes]) -> str | None:
    """The bucket that a copy reads from, None if the request copies nothing. Raises :class:`S3Error` if it cannot be told."""
    field = headers.get(b"x-amz-copy-source")
    if field is None:
        return None
    text = decode_component(field.partition(b"?")[0])
    bucket, _, key = text.removeprefix("/").partition("/")
    if _BUCKET.fullmatch(bucket) is None or not key or _climbs(key):
        raise S3Error(
            "InvalidArgument",
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            (("ArgumentName", "x-amz-copy-source"),),
        )
    return bucket


def names_written(method: bytes, query: bytes, bucket: str, key: str) -> tuple[str, ...]:
    """The object that an action changes, as ``s3://bucket/key``; none for reads, buckets, and parts of uploads.

    Of DeleteObjects (:func:`is_delete_objects`) the keys stand in the body (:mod:`cashy.core.delete_request`).
    """
    if not key or method not in (b"PUT", b"POST", b"DELETE"):
        return ()
    names = frozenset(name for name, _ in _pairs(query) if name.lower() not in _PRESIGNED)
    # Whatever is not exactly one of these may change the object: marking too much costs a moment, too little a wrong read.
    if names - {b"x-id"} in _CHANGING_NO_OBJECT[method]:
        return ()
    return (f"s3://{bucket}/{key}",)


def is_delete_objects(method: bytes, query: bytes, key: str) -> bool:
    """Whether it is DeleteObjects, by any reading: a POST to a bucket with ``delete`` among its parameters."""
    return method == b"POST" and not key and any(name == b"delete" for name, _ in _pairs(query))


def _pairs(query: bytes) -> list[tuple[bytes, bytes]]:
    """Decoded names with the pairs as they were sent."""
    if not query:
        return []
    return [(unquote_to_bytes(pair.partition(b"=")[0]), pair) for pair in query.split(b"&")]


# ---------------------------------------------------------------- the request


def forwarded_query(query: bytes) -> bytes:
    """The query as it was sent, less what presigned it."""
    if not query:
        return b""
    return b"&".join(pair for name, pair in _pairs(query) if name.lower() not in _PRESIGNED)


def forwarded_headers(headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """What of a client's headers (names in lower case) the store gets."""
    hop_by_hop = {name.strip().lower() for name in headers.get(b"connection", b"").split(b",")}
    return {
        name: value
        for name, value in headers.items()
        if (name in _PASSED or (name.startswith(b"x-amz-") and name not in _OWN_AMZ))
        and name not in hop_by_hop
    }


def request_head(
    method: bytes,
    path: bytes,
    query: bytes,
    headers: Mapping[bytes, bytes],
    *,
    address: StoreAddress,
    key: StoreKey | None,
    payload: bytes,
    length: int | None,
    epoch_s: float,
) -> bytes:
    """The head of a request to the store; without ``key`` it goes unsigned.

    ``path`` (path-style) and ``query`` as they are to be sent; ``headers`` from :func:`forwarded_headers`, an empty value drops one.
    ``payload`` is the value of ``x-amz-content-sha256``, ``length`` that of Content-Length, None for none: there is no body, or, with
    :data:`CHUNKED` among the headers, one of unknown length.
    """
    lines = {b"host": address.authority, **{name: value for name, value in headers.items() if value}}
    if length is not None:
        lines[b"content-length"] = b"%d" % length
    path = address.base_path + (_without_bucket(path) if address.has_bucket else path)
    lines[b"x-amz-content-sha256"] = payload
    if key is not None:
        stamp = _timestamp(int(epoch_s))
        lines[b"x-amz-date"] = stamp
        lines[b"authorization"] = _authorization(method, path, query, lines, address.region, key, stamp)
    elif not payload.startswith(b"STREAMING-"):
        del lines[b"x-amz-content-sha256"]
    target = path + b"?" + query if query else path
    text = b"".join([name + b": " + value + b"\r\n" for name, value in lines.items()])
    return method + b" " + target + b" HTTP/1.1\r\n" + text + b"\r\n"


def _without_bucket(path: bytes) -> bytes:
    """The path less its first element, whatever its encoding; the rest stays as it was sent."""
    return b"/" + path[1:].partition(b"/")[2]


def _authorization(
    method: bytes,
    path: bytes,
    query: bytes,
    lines: Mapping[bytes, bytes],
    region: str,
    key: StoreKey,
    stamp: bytes,
) -> bytes:
    names = sorted(name for name in lines if _is_signed(name))
    signed = b";".join(names)
    canonical_headers = b"".join([name + b":" + b" ".join(lines[name].split()) + b"\n" for name in names])
    canonical = b"\n".join(
        (
            method,
            *canonical_target(path, query),
            canonical_headers,
            signed,
            lines[b"x-amz-content-sha256"],
        )
    )
    scope = b"%b/%b/s3/aws4_request" % (stamp[:8], region.encode())
    hashed = sha256(canonical).hexdigest().encode()
    text = b"\n".join((b"AWS4-HMAC-SHA256", stamp, scope, hashed))
    signature = prepared_key(key.secret, stamp[:8], region).sign(text)
    return b"AWS4-HMAC-SHA256 Credential=%b/%b, SignedHeaders=%b, Signature=%b" % (
        key.access_key.encode(), scope, signed, signature,
    )  # fmt: skip


def _is_signed(name: bytes) -> bool:
    return name.startswith(b"x-amz-") or name in (b"host", b"content-type", b"content-md5")


@lru_cache(maxsize=2)
def _timestamp(epoch_s: int) -> bytes:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y%m%dT%H%M%SZ").encode()


# ---------------------------------------------------------------- the answer


class AnswerFraming(NamedTuple):
    """How an answer's body is sent on: ``has_body``, and whether in chunks; without length and chunks the connection ends it."""

    has_body: bool
    length: int | None
    is_chunked: bool


def answer_framing(
    method: bytes, status: int, headers: Mapping[str, str], *, is_http_1_0: bool
) -> AnswerFraming:
    """From the store's answer (names in lower case) to ours. A length that is not plain digits counts as none."""
    text = headers.get("content-length", "")
    length = (
        int(text)
        if text.isascii()
        and text.isdigit()
        and len(text) < 20
        and "chunked" not in headers.get("transfer-encoding", "").lower()
        else None
    )
    if method == b"HEAD" or status in (204, 304):
        return AnswerFraming(False, None if status == 204 else length, False)
    return AnswerFraming(True, length, length is None and not is_http_1_0)


def answer_head(
    status: int, headers: Mapping[str, str], framing: AnswerFraming, *, request_id: str, keep_alive: bool
) -> bytes:
    """The head that goes back to the client; ``request_id`` is used if the store has none of its own."""
    hop_by_hop = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    lines = [
        f"{name}: {value}\r\n"
        for name, value in headers.items()
        if name not in _ANSWER_DROPPED and name not in hop_by_hop
    ]
    if "x-amz-request-id" not in headers:
        lines.append(f"x-amz-request-id: {request_id}\r\n")
    lines += _framing_lines(framing)
    if not keep_alive:
        lines.append("Connection: close\r\n")
    text = "".join(lines).encode("latin-1")
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, _phrase(status).encode(), text)


def _framing_lines(framing: AnswerFraming) -> Iterable[str]:
    if framing.length is not None:
        return (f"Content-Length: {framing.length}\r\n",)
    return ("Transfer-Encoding: chunked\r\n",) if framing.is_chunked else ()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
