"""The verifier against the signatures that AWS has published, and at the edges of what it may accept.

Vectors: Amazon S3 API Reference, "Signature calculations for the Authorization header" and "Authenticating requests: using query
parameters". What botocore signs is verified in tests/cashy/s3/test_sigv4.py.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cashy.core.s3_errors import S3Error
from cashy.core.sigv4 import (
    CLOCK_SKEW_MAX_S,
    EMPTY_SHA256,
    EXPIRES_MAX_S,
    SCOPES_MAX,
    SIGNING_KEYS_MAX,
    authenticate,
    canonical_target,
    parse_claim,
    prepared_key,
)

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HOST, STAMP = b"examplebucket.s3.amazonaws.com", b"20130524T000000Z"
SIGNED_AT_S = datetime(2013, 5, 24, tzinfo=UTC).timestamp()
SCOPE = "20130524/us-east-1/s3/aws4_request"
WELCOME_SHA256 = (
    b"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"  # "Welcome to Amazon S3."
)


def verify(
    method: bytes, path: bytes, query: bytes, headers: Mapping[bytes, bytes], now_s: float = SIGNED_AT_S, body: bytes | None = EMPTY_SHA256
) -> str | None:  # fmt: skip
    return authenticate(
        method, path, query, headers, now_s=now_s, secret_of={KEY_ID: SECRET}.get, body_sha256=body
    )


def code_of(
    method: bytes, path: bytes, query: bytes, *, headers: Mapping[bytes, bytes], now_s: float = SIGNED_AT_S
) -> str:
    with pytest.raises(S3Error) as caught:
        verify(method, path, query, headers, now_s)
    return caught.value.code


def headers_of(
    signed: str, signature: str, payload: bytes = EMPTY_SHA256, **more: bytes
) -> dict[bytes, bytes]:
    text = f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{SCOPE},SignedHeaders={signed},Signature={signature}"
    others = {name.replace("_", "-").encode(): value for name, value in more.items()}
    return {
        b"host": HOST, b"x-amz-date": STAMP, b"x-amz-content-sha256": payload, **others, b"authorization": text.encode(),
    }  # fmt: skip


# ---------------------------------------------------------------- published

VECTORS = {
    "get-object-range": (
        b"GET", b"/test.txt", b"",
        headers_of(
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            range=b"bytes=0-9",
        ), EMPTY_SHA256,
    ),
    "put-object": (
        b"PUT", b"/test%24file.text", b"",
        headers_of(
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            WELCOME_SHA256, date=b"Fri, 24 May 2013 00:00:00 GMT", x_amz_storage_class=b"REDUCED_REDUNDANCY",
        ), WELCOME_SHA256,
    ),
    "get-bucket-lifecycle": (
        b"GET", b"/", b"lifecycle",
        headers_of(
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ), EMPTY_SHA256,
    ),
    "list-objects": (
        b"GET", b"/", b"max-keys=2&prefix=J",
        headers_of(
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ), EMPTY_SHA256,
    ),
}  # fmt: skip
PRESIGNED = (
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    b"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    b"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)


@pytest.mark.parametrize("name", VECTORS)
def test_published_vectors(name: str) -> None:
    method, path, query, headers, body = VECTORS[name]
    assert verify(method, path, query, headers, body=body) == KEY_ID
    assert verify(method, path, query, headers, body=None) == KEY_ID
    for other in (b"HEAD", b"POST"):
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            verify(other, path, query, headers, body=None)


def test_the_published_presigned_url() -> None:
    headers = {b"host": HOST}
    assert verify(b"GET", b"/test.txt", PRESIGNED, headers) == KEY_ID
    for at_s, code in (
        (SIGNED_AT_S + 86_400, None), (SIGNED_AT_S + 86_401, "AccessDenied"), (SIGNED_AT_S - CLOCK_SKEW_MAX_S, None),
        (SIGNED_AT_S - CLOCK_SKEW_MAX_S - 1, "AccessDenied"),
    ):  # fmt: skip
        if code is None:
            assert verify(b"GET", b"/test.txt", PRESIGNED, headers, now_s=at_s) == KEY_ID
        else:
            assert code_of(b"GET", b"/test.txt", PRESIGNED, headers=headers, now_s=at_s) == code
    longer = PRESIGNED.replace(b"=86400", b"=86401")
    assert code_of(b"GET", b"/test.txt", longer, headers=headers) == "SignatureDoesNotMatch"


def test_the_published_signing_key() -> None:
    """By "Deriving the signing key": four HMACs, each keyed with the one before."""
    key = b"AWS4" + SECRET.encode()
    for part in SCOPE.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    expected = hmac.digest(key, b"text", "sha256").hex().encode()
    assert prepared_key(SECRET, b"20130524", "us-east-1").sign(b"text") == expected


# ---------------------------------------------------------------- any request, signed by an independent signer

_UNRESERVED = "-._~"
texts = st.text(st.characters(codec="utf-8"), max_size=12)
pairs = st.lists(st.tuples(texts.filter(bool), texts), max_size=5)


def _encoded(text: str, safe: str = _UNRESERVED) -> str:
    return quote(text, safe=safe)


def _sign(
    method: str, path: str, query: str, headers: Mapping[str, str], names: list[str], payload: str, stamp: str
) -> str:
    """From the documentation's words, with nothing of the verifier's."""
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
    ordered = "&".join(
        "=".join(pair) for pair in sorted(tuple(one.split("=", 1)) for one in query.split("&") if one)
    )
    canonical = "\n".join((method, path, ordered, lines, ";".join(names), payload))
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, sha256(canonical.encode()).hexdigest()))
    key = b"AWS4" + SECRET.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]), texts, pairs,
    st.dictionaries(st.sampled_from(["x-amz-meta-a", "x-amz-tagging", "range", "content-type"]), st.text(" ab,;=1", min_size=1, max_size=9)),
    st.booleans(), st.integers(1, EXPIRES_MAX_S),
)  # fmt: skip
def test_any_method_key_query_and_header(
    method: str,
    key: str,
    query: list[tuple[str, str]],
    more: dict[str, str],
    is_presigned: bool,
    expires_s: int,
) -> None:
    """Parameters may repeat, in any order; in the header and in the query."""
    path = "/b/" + _encoded(key, _UNRESERVED + "/")
    sent = [f"{_encoded(name)}={_encoded(value)}" for name, value in query if not name.startswith("X-Amz-")]
    headers = {"host": "h", **more}
    names = sorted(headers)
    if is_presigned:
        fields = {
            "Algorithm": "AWS4-HMAC-SHA256", "Credential": f"{KEY_ID}/{SCOPE}", "Date": STAMP.decode(),
            "Expires": str(expires_s), "SignedHeaders": ";".join(names),
        }  # fmt: skip
        sent += [f"X-Amz-{name}={_encoded(value)}" for name, value in fields.items()]
        signature = _sign(method, path, "&".join(sent), headers, names, "UNSIGNED-PAYLOAD", fields["Date"])
        sent.insert(len(sent) // 2, f"X-Amz-Signature={signature}")
    else:
        headers |= {"x-amz-date": STAMP.decode(), "x-amz-content-sha256": EMPTY_SHA256.decode()}
        names = sorted(headers)
        signature = _sign(method, path, "&".join(sent), headers, names, EMPTY_SHA256.decode(), STAMP.decode())
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{SCOPE}, SignedHeaders={';'.join(names)}, Signature={signature}"
        )
    as_sent = {name.encode(): value.encode() for name, value in headers.items()}
    arguments = method.encode(), path.encode(), "&".join(sent).encode()
    assert verify(*arguments, as_sent) == KEY_ID
    # One header more that S3 gives a meaning, and it is refused; one that it does not, and it is not.
    assert code_of(*arguments, headers={**as_sent, b"x-amz-acl": b"public-read"}) == "AccessDenied"
    assert verify(*arguments, {**as_sent, b"x-forwarded-for": b"10.0.0.1"}) == KEY_ID


@given(texts, pairs)
def test_the_canonical_target_is_a_fixed_point(key: str, query: list[tuple[str, str]]) -> None:
    path = ("/b/" + _encoded(key, "/")).encode()
    text = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in query).encode()
    once = canonical_target(path, text)
    assert canonical_target(*once) == once


# ---------------------------------------------------------------- edges


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ("20130524/us-east-1/ec2/aws4_request", "AuthorizationHeaderMalformed"),
        ("20130524/us-east-1/s3/aws4_request2", "AuthorizationHeaderMalformed"),
        ("20130524/us-east-1/s3", "AuthorizationHeaderMalformed"),
        ("20130523/us-east-1/s3/aws4_request", "AuthorizationHeaderMalformed"),
        ("20130524/us-west-1/s3/aws4_request", "SignatureDoesNotMatch"),
        ("20130524//s3/aws4_request", "AuthorizationHeaderMalformed"),
    ],
)
def test_the_scope_is_exactly_ours(scope: str, code: str) -> None:
    method, path, query, headers, _ = VECTORS["get-object-range"]
    changed = headers | {b"authorization": headers[b"authorization"].replace(SCOPE.encode(), scope.encode())}
    assert code_of(method, path, query, headers=changed) == code
    url = PRESIGNED.replace(quote(SCOPE, safe="").encode(), quote(scope, safe="").encode())
    code = code.replace("AuthorizationHeaderMalformed", "AuthorizationQueryParametersError")
    assert code_of(b"GET", b"/test.txt", url, headers={b"host": HOST}) == code


@pytest.mark.parametrize("missing", [b"host", b"range", b"x-amz-date", b"x-amz-content-sha256"])
def test_no_signed_header_may_be_missing(missing: bytes) -> None:
    method, path, query, headers, _ = VECTORS["get-object-range"]
    left = {name: value for name, value in headers.items() if name != missing}
    expected = {b"x-amz-date": "AccessDenied", b"x-amz-content-sha256": "MissingSecurityHeader"}
    assert code_of(method, path, query, headers=left) == expected.get(missing, "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    "signed", ["x-amz-content-sha256;x-amz-date", "Host;x-amz-content-sha256;x-amz-date", "", "host;;x-amz-date", "host"]
)  # fmt: skip
def test_lists_of_signed_headers_that_leave_something_out(signed: str) -> None:
    headers = headers_of(signed or ";", "0" * 64)
    assert code_of(b"GET", b"/", b"", headers=headers) in (
        "AuthorizationHeaderMalformed", "SignatureDoesNotMatch", "AccessDenied",
    )  # fmt: skip


@pytest.mark.parametrize("payload", [b"", b"x", b"UNSIGNED", EMPTY_SHA256.upper(), EMPTY_SHA256[:-1]])
def test_the_payloads_hash_is_one(payload: bytes) -> None:
    headers = headers_of("host;x-amz-content-sha256;x-amz-date", "0" * 64, payload)
    assert code_of(b"GET", b"/", b"", headers=headers) == "InvalidArgument"


@settings(max_examples=300)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_claim_is_an_error_of_ours(authorization: bytes, query: bytes) -> None:
    for headers in (
        {b"authorization": authorization},
        {b"authorization": b"AWS4-HMAC-SHA256 " + authorization},
    ):
        with pytest.raises(S3Error):
            verify(b"GET", b"/", b"", {b"host": b"h", **headers})
    with pytest.raises(S3Error) as caught:
        verify(b"GET", b"/", b"X-Amz-Signature=" + query, {b"host": b"h"})
    assert caught.value.status in (400, 403)


def test_a_signing_key_is_of_one_day_region_and_secret() -> None:
    keys = {
        prepared_key(secret, day, region).sign(b"")
        for secret in ("a", "b")
        for day in (b"20130524", b"20130525")
        for region in ("r", "s")
    }
    assert len(keys) == 8


def test_what_is_remembered_is_bounded() -> None:
    front = (
        b"AWS4-HMAC-SHA256 Credential=K%d/20130524/r/s3/aws4_request, SignedHeaders=host, Signature="
        + b"0" * 64
    )
    for number in range(SCOPES_MAX + 1):
        parse_claim(b"", {b"authorization": front % number, b"x-amz-date": STAMP})
    remembered = parse_claim.__globals__["_scope_of_header"].cache_info()
    assert remembered.currsize == remembered.maxsize == SCOPES_MAX
    assert prepared_key.cache_info().maxsize == SIGNING_KEYS_MAX
