"""AWS Signature Version 4, the verifying side.

Law. This module alone decides whether a request was signed by the holder of a key, and what exactly was signed. The time is a
parameter; secrets are asked for by a function, so it knows no file of credentials, and no rights: what the holder may do is decided by
whoever calls. It works on the bytes of the request as they came, since any normalisation before it would sign something else.

Strict where leniency would widen what a signature covers:

* the scope is ``date/region/s3/aws4_request``, its date that of the request's time, its region one of those given (or any);
* ``host`` and every ``x-amz-*`` header that is present must be signed, so that nobody on the way can add one;
* a request by header is at most 15 minutes old (or ahead), a presigned one has 1 to 604,800 seconds (7 days);
* the payload's hash is part of what is signed: ``UNSIGNED-PAYLOAD``, or the hash of the body that came;
* hashes are compared in constant time; an unknown key is told from a wrong signature, as S3 does.

The canonical path is the path as sent, encoded once (S3 signs no second encoding and no ``.``/``..`` removal), and the canonical query the
query as sent, sorted. Clients that sign the fully encoded form and send a laxer one (a raw ``(`` or ``+``) get a second try with both
decoded and encoded anew; it is the same resource either way, and costs those clients only.

What is the same for many requests is kept in bounded LRUs, never a verdict: the parsed front of an Authorization header (all but the signature),
and per secret, day and region the two half-finished hashes of HMAC (2.6 us instead of 6 for ``hmac.digest`` [measured]). botocore has no
verifier, and its signer takes several times as long as all of this.

Not here: ``STREAMING-*`` payloads, which are only taken into the signature (:mod:`cashy.core.aws_chunked` verifies their chunks), and
session tokens (the endpoint's keys are static).

Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from cashy.core.s3_errors import S3Error

__all__ = [
    "CLOCK_SKEW_MAX_S",
    "EMPTY_SHA256",
    "EXPIRES_MAX_S",
    "SIGNING_KEYS_MAX",
    "Claim",
    "PreparedKey",
    "SCOPES_MAX",
    "Scope",
    "authenticate",
    "authenticate_policy",
    "canonical_target",
    "parse_claim",
    "prepared_key",
]

#: S3's own limit between a request's time and the server's.
CLOCK_SKEW_MAX_S = 15 * 60

#: Seven days: a signing key is valid no longer (S3 API Reference, X-Amz-Expires).
EXPIRES_MAX_S = 604_800

#: One per key, day and region in use; each is 32 bytes. Over it the least recently used is derived anew (4 us).
SIGNING_KEYS_MAX = 1024

#: Fronts of Authorization headers kept parsed: one per key, day, region and set of signed headers; a few hundred bytes each.
SCOPES_MAX = 1024

EMPTY_SHA256 = sha256(b"").hexdigest().encode()

_ALGORITHM = b"AWS4-HMAC-SHA256"
_UNSIGNED_PAYLOAD = b"UNSIGNED-PAYLOAD"

# Field by field as S3 documents it; one match is a third of the cost of splitting.
_AUTHORIZATION = re.compile(
    rb"AWS4-HMAC-SHA256 +Credential=([^,\s]{1,512}), *SignedHeaders=([^,\s]{1,4096}), *Signature="
)
_CREDENTIAL = re.compile(rb"([!-.0-~]{1,128})/(([0-9]{8})/([A-Za-z0-9-]{1,64})/s3/aws4_request)")
_TIMESTAMP = re.compile(rb"[0-9]{8}T[0-9]{6}Z")
_HEX_SHA256 = re.compile(rb"[0-9a-f]{64}")
_EXPIRES = re.compile(rb"[0-9]{1,9}")

_QUERY_FIELDS = (
    b"X-Amz-Algorithm",
    b"X-Amz-Credential",
    b"X-Amz-Date",
    b"X-Amz-Expires",
    b"X-Amz-SignedHeaders",
    b"X-Amz-Signature",
)


class Scope(NamedTuple):
    """For what a signature claims to be: the same for all requests of one client and day that sign the same headers.

    ``credential`` is ``date/region/s3/aws4_request``; ``signed_headers`` is the list as sent (``host;x-amz-date``), ``names`` the same split.
    """

    key_id: str
    date: bytes
    region: str
    credential: bytes
    signed_headers: bytes
    names: tuple[bytes, ...]


class Claim(NamedTuple):
    """What a request says about its signature; nothing of it is verified yet.

    ``signature`` is 64 characters. ``expires_s`` is None for a request signed by its Authorization header. ``query`` is the query
    without the signature itself.
    """

    scope: Scope
    timestamp: bytes
    signature: bytes
    query: bytes
    expires_s: int | None = None


def authenticate(
    method: bytes,
    path: bytes,
    query: bytes,
    headers: Mapping[bytes, bytes],
    *,
    now_s: float,
    secret_of: Callable[[str], str | None],
    regions: Collection[str] = (),
    body_sha256: bytes | None = EMPTY_SHA256,
) -> str | None:
    """Verifies a request; gives the id of the key that signed it, None if it is not signed at all.

    ``path`` and ``query`` are as sent (percent-encoded, without the ``?``); ``headers`` have lower-case names, repeated ones joined by
    commas. ``now_s`` is seconds since the epoch. ``regions`` empty: any. ``body_sha256`` is the hexadecimal hash of the body received,
    None if it has not been read (then the announced hash is only taken into the signature). Raises :class:`S3Error`.
    """
    claim = parse_claim(query, headers)
    if claim is None:
        return None
    _check_time(claim, now_s)
    scope = claim.scope
    if regions and scope.region not in regions:
        raise _wrong_region(claim, regions)
    secret = secret_of(scope.key_id)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", details=(("AWSAccessKeyId", scope.key_id),))
    payload = _payload_hash(claim, headers, body_sha256)
    canonical_headers = _canonical_headers(claim, headers)
    key = prepared_key(secret, scope.date, scope.region)
    for canonical_path, canonical_query in _canonical_targets(path, claim.query):
        # join, not "%": of bytes, formatting is the slower of the two.
        request = b"\n".join(
            (method, canonical_path, canonical_query, canonical_headers, b"", scope.signed_headers, payload)
        )
        hashed = sha256(request).hexdigest().encode()
        text = b"\n".join((_ALGORITHM, claim.timestamp, scope.credential, hashed))
        if hmac.compare_digest(key.sign(text), claim.signature):
            return scope.key_id
    raise _mismatch(scope)


def authenticate_policy(
    fields: Mapping[str, str],
    *,
    now_s: float,
    secret_of: Callable[[str], str | None],
    regions: Collection[str] = (),
) -> str:
    """Verifies the signature of an upload form over its policy, the text as it stands in the form; gives the id of the key that signed it.

    ``fields`` have lower-case names. The policy itself says until when it is valid; the signing key is for seven days at most. What the policy
    allows is not looked at (:mod:`cashy.core.post_policy`). Raises :class:`S3Error`.
    """
    for name in ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"):
        if name not in fields:
            raise S3Error(
                "InvalidArgument",
                f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields.",
                (("ArgumentName", name),),
            )
    text = {**fields, "x-amz-expires": str(EXPIRES_MAX_S), "x-amz-signedheaders": "policy"}
    claim = _checked_query_claim({name: text[name.decode().lower()].encode() for name in _QUERY_FIELDS}, b"")
    _check_time(claim, now_s)
    scope = claim.scope
    if regions and scope.region not in regions:
        raise _wrong_region(claim, regions)
    secret = secret_of(scope.key_id)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", details=(("AWSAccessKeyId", scope.key_id),))
    signature = prepared_key(secret, scope.date, scope.region).sign(fields["policy"].encode())
    if not hmac.compare_digest(signature, claim.signature):
        raise _mismatch(scope)
    return scope.key_id


class PreparedKey:
    """A signing key as HMAC-SHA256 uses it: both of its pads hashed already (RFC 2104)."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        padded = key.ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def sign(self, text: bytes) -> bytes:
        """The signature, in hexadecimal digits."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest().encode()


@lru_cache(maxsize=SIGNING_KEYS_MAX)
def prepared_key(secret: str, date: bytes, region: str) -> PreparedKey:
    """The key that signs for one day and region."""
    key = hmac.digest(b"AWS4" + secret.encode(), date, "sha256")
    for part in (region.encode(), b"s3", b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    return PreparedKey(key)


def parse_claim(query: bytes, headers: Mapping[bytes, bytes]) -> Claim | None:
    """Reads the Authorization header or the presigned query; None if there is neither. Raises :class:`S3Error`."""
    authorization = headers.get(b"authorization")
    is_presigned = (
        bool(query) and query.find(b"X-Amz-") >= 0 and any(field in query for field in _QUERY_FIELDS)
    )
    if authorization is None:
        return _claim_of_query(query) if is_presigned else None
    if is_presigned:
        raise S3Error(
            "InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-* query or Authorization."
        )
    return _claim_of_header(authorization, query, headers)


# ---------------------------------------------------------------- the two ways of claiming


def _claim_of_header(authorization: bytes, query: bytes, headers: Mapping[bytes, bytes]) -> Claim:
    scope = _scope_of_header(authorization[:-64])
    if scope is None:
        raise _malformed_header(authorization)
    timestamp = headers.get(b"x-amz-date")
    if timestamp is None or len(timestamp) != 16:
        raise S3Error(
            "AccessDenied", "AWS authentication requires a valid x-amz-date header (YYYYMMDDTHHMMSSZ)"
        )
    return Claim(scope, timestamp, authorization[-64:], query)


@lru_cache(maxsize=SCOPES_MAX)
def _scope_of_header(front: bytes) -> Scope | None:
    """Parses an Authorization header up to ``Signature=``; what stands there is compared as it is."""
    match = _AUTHORIZATION.fullmatch(front)
    if match is None:
        return None
    scope = _scope(*match.groups())
    if scope is None:
        raise S3Error(
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the Credential is not KEY/YYYYMMDD/REGION/s3/aws4_request.",
        )
    return scope


def _scope(credential: bytes, signed_headers: bytes) -> Scope | None:
    match = _CREDENTIAL.fullmatch(credential)
    if match is None:
        return None
    key_id, rest, date, region = match.groups()
    return Scope(
        key_id.decode(), date, region.decode(), rest, signed_headers, tuple(signed_headers.split(b";"))
    )


def _malformed_header(authorization: bytes) -> S3Error:
    if authorization.startswith(_ALGORITHM):
        return S3Error(
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; it must be: AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, "
            "Signature= and 64 hexadecimal digits.",
        )
    return S3Error(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )


def _claim_of_query(query: bytes) -> Claim:
    fields: dict[bytes, bytes] = {}
    rest = []
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name in _QUERY_FIELDS:
            if name in fields:
                raise _bad_query(f"{name.decode()} is given twice")
            fields[name] = unquote_to_bytes(value)
        if name != b"X-Amz-Signature":
            rest.append(pair)
    missing = [name.decode() for name in _QUERY_FIELDS if name not in fields]
    if missing:
        raise _bad_query(f"Query-string authentication version 4 requires also {', '.join(missing)}")
    return _checked_query_claim(fields, b"&".join(rest))


def _checked_query_claim(fields: Mapping[bytes, bytes], rest: bytes) -> Claim:
    algorithm, credential, timestamp, expires, signed_headers, signature = map(
        fields.__getitem__, _QUERY_FIELDS
    )
    if algorithm != _ALGORITHM:
        raise _bad_query('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
    scope = _scope(credential, signed_headers)
    if scope is None:
        raise _bad_query("the X-Amz-Credential is not KEY/YYYYMMDD/REGION/s3/aws4_request")
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise _bad_query("X-Amz-Date must be in the ISO8601 long format \"yyyyMMdd'T'HHmmss'Z'\"")
    if _EXPIRES.fullmatch(expires) is None or int(expires) > EXPIRES_MAX_S:
        raise _bad_query(f"X-Amz-Expires must be a number of seconds from 1 to {EXPIRES_MAX_S} (a week)")
    if _HEX_SHA256.fullmatch(signature) is None:
        raise _bad_query("the X-Amz-Signature is not 64 lower-case hexadecimal digits")
    return Claim(scope, timestamp, signature, rest, int(expires))


def _bad_query(message: str) -> S3Error:
    return S3Error("AuthorizationQueryParametersError", message)


def _malformed(claim: Claim, message: str) -> S3Error:
    return (
        _bad_query(message)
        if claim.expires_s is not None
        else S3Error("AuthorizationHeaderMalformed", message)
    )


# ---------------------------------------------------------------- checks


def _check_time(claim: Claim, now_s: float) -> None:
    try:
        signed_at_s = _epoch_seconds(claim.timestamp)
    except ValueError:
        raise _malformed(claim, "the request's time is no date of the calendar") from None
    if claim.timestamp[:8] != claim.scope.date:
        raise _malformed(claim, "the date in the Credential is not that of the request's time")
    if claim.expires_s is None:
        if abs(now_s - signed_at_s) > CLOCK_SKEW_MAX_S:
            raise S3Error("RequestTimeTooSkewed", details=_times(claim, now_s))
    elif not claim.expires_s or now_s > signed_at_s + claim.expires_s:  # 0 is well-formed, and over at once
        raise S3Error("AccessDenied", "Request has expired", _times(claim, now_s))
    elif now_s < signed_at_s - CLOCK_SKEW_MAX_S:
        raise S3Error("AccessDenied", "Request is not valid yet", _times(claim, now_s))


def _epoch_seconds(timestamp: bytes) -> int:
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise ValueError("not of the form YYYYMMDDTHHMMSSZ")
    hours, minutes, seconds = int(timestamp[9:11]), int(timestamp[11:13]), int(timestamp[13:15])
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError("no time of day")
    return _epoch_of_day(timestamp[:8]) + 3600 * hours + 60 * minutes + seconds


@lru_cache(maxsize=64)  # strptime is slow, and all requests are of today or yesterday
def _epoch_of_day(day: bytes) -> int:
    return int(datetime.strptime(day.decode(), "%Y%m%d").replace(tzinfo=UTC).timestamp())


def _times(claim: Claim, now_s: float) -> tuple[tuple[str, str], ...]:
    server_time = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        ("RequestTime", claim.timestamp.decode()),
        ("ServerTime", server_time),
        ("MaxAllowedSkewMilliseconds", str(CLOCK_SKEW_MAX_S * 1000)),
    )


def _wrong_region(claim: Claim, regions: Collection[str]) -> S3Error:
    expected = sorted(regions)[0]
    message = f"the region '{claim.scope.region}' is wrong; expecting '{expected}'"
    error = _malformed(claim, f"The authorization header is malformed; {message}")
    error.details = (("Region", expected),)  # boto3 signs anew for the region that stands here
    return error


def _payload_hash(claim: Claim, headers: Mapping[bytes, bytes], body_sha256: bytes | None) -> bytes:
    announced = headers.get(b"x-amz-content-sha256")
    if announced is None:
        if claim.expires_s is not None:
            return _UNSIGNED_PAYLOAD
        raise S3Error(
            "MissingSecurityHeader", "Missing required header for this request: x-amz-content-sha256"
        )
    if announced == _UNSIGNED_PAYLOAD or body_sha256 is None:
        return announced
    if _HEX_SHA256.fullmatch(announced) is None:
        raise S3Error(
            "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a valid sha256 value."
        )
    if announced != body_sha256:
        raise S3Error(
            "XAmzContentSHA256Mismatch",
            details=(
                ("ClientComputedContentSHA256", announced.decode()),
                ("S3ComputedContentSHA256", body_sha256.decode()),
            ),
        )
    return announced


def _mismatch(scope: Scope) -> S3Error:
    return S3Error("SignatureDoesNotMatch", details=(("AWSAccessKeyId", scope.key_id),))


def _canonical_headers(claim: Claim, headers: Mapping[bytes, bytes]) -> bytes:
    """The signed headers, one ``name:value`` a line in the order of the claim, blanks trimmed and collapsed."""
    names = claim.scope.names
    lines = []
    for name in names:
        value = headers.get(name)
        if value is None:
            # An intermediary that drops a header breaks the signature; so does one that was never sent.
            raise _mismatch(claim.scope)
        lines.append(name + b":" + b" ".join(value.split()))
    if b"host" not in names:
        raise _malformed(claim, "the host header must be among the SignedHeaders")
    unsigned = [name.decode("latin-1") for name in headers if name[:6] == b"x-amz-" and name not in names]
    if unsigned:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            (("HeadersNotSigned", ", ".join(unsigned)),),
        )
    return b"\n".join(lines)


def _canonical_targets(path: bytes, query: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Path and query as they may have been signed: as sent, and if that is another, fully encoded."""
    pairs = [pair.partition(b"=") for pair in query.split(b"&")] if query else []
    as_sent = (path, b"&".join([name + b"=" + value for name, _, value in sorted(pairs)]))
    yield as_sent
    encoded = canonical_target(path, query)
    if encoded != as_sent:
        yield encoded


def canonical_target(path: bytes, query: bytes) -> tuple[bytes, bytes]:
    """Path and query as S3 documents them to be signed: decoded, encoded anew, the query sorted."""
    pairs = [pair.partition(b"=") for pair in query.split(b"&")] if query else []
    anew = sorted((_encode(name, b" "), _encode(value, b" ")) for name, _, value in pairs)
    return _encode(path, b"+", safe="/~"), b"&".join([name + b"=" + value for name, value in anew])


def _encode(text: bytes, plus: bytes, safe: str = "~") -> bytes:
    """Decodes and encodes anew; ``+`` stands for a blank in a query, for itself in a path."""
    return quote(unquote_to_bytes(text.replace(b"+", plus)), safe=safe).encode()
