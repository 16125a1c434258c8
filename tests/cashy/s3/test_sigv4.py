"""Whatever botocore signs verifies, and nothing else does."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cashy.core.s3_errors import S3Error
from cashy.core.sigv4 import (
    CLOCK_SKEW_MAX_S,
    EXPIRES_MAX_S,
    SIGNING_KEYS_MAX,
    PreparedKey,
    authenticate,
    parse_claim,
    prepared_key,
)

KEY_ID, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-west-3"

keys = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
visible = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


class Wire:
    """A signed request as it arrives."""

    def __init__(self, request: Any) -> None:
        parts = urlsplit(request.url)
        self.method = request.method.encode()
        self.path = parts.path.encode()
        self.query = parts.query.encode()
        self.headers = {name.lower().encode(): str(value).encode() for name, value in request.headers.items()}
        self.headers.setdefault(b"host", parts.netloc.encode())

    def verify(self, now_s: float | None = None, **changes: Any) -> str | None:
        arguments: dict[str, Any] = {"secret_of": {KEY_ID: SECRET}.get, **changes}
        return authenticate(
            self.method,
            self.path,
            self.query,
            self.headers,
            now_s=_now() if now_s is None else now_s,
            **arguments,
        )


def _now() -> float:
    return datetime.now(UTC).timestamp()


def sign(
    signer: type = botocore.auth.S3SigV4Auth,
    key: str = "a b",
    query: Iterable[tuple[str, str]] = (),
    headers: dict[str, str] | None = None,
    method: str = "GET",
    **options: Any,
) -> Wire:
    url = f"http://localhost:9000/bucket/{quote(key, safe='/~')}"
    if query:
        url += "?" + "&".join(
            f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in query
        )
    request = AWSRequest(method, url, headers={"Host": "localhost:9000", **(headers or {})})
    signer(Credentials(KEY_ID, SECRET), "s3", REGION, **options).add_auth(request)
    return Wire(request)


def presign(**options: Any) -> Wire:
    return sign(botocore.auth.S3SigV4QueryAuth, **options)


def code_of(wire: Wire, **arguments: Any) -> str:
    with pytest.raises(S3Error) as caught:
        wire.verify(**arguments)
    return caught.value.code


words = st.lists(visible, min_size=1, max_size=3)
values = st.tuples(words, st.sampled_from([" ", "  ", " \t "])).map(lambda drawn: drawn[1].join(drawn[0]))
header_names = st.sampled_from(["Range", "Content-Type", "If-Match", "Cache-Control"]) | visible.map(
    lambda text: "x-amz-meta-" + quote(text, safe="").replace("%", "").lower()
)
methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"])
parameters = st.lists(st.tuples(texts.filter(bool), texts), max_size=4).flatmap(
    lambda pairs: st.permutations(
        [*pairs, *pairs[:1], *((name, value + "x") for name, value in pairs[:1])]
    )  # names again
)


@settings(max_examples=200, deadline=None)
@given(
    methods,
    keys,
    parameters,
    st.dictionaries(header_names, values, max_size=3),
    st.sampled_from([sign, presign]),
)
def test_what_botocore_signs_verifies(
    method: str, key: str, query: list[tuple[str, str]], headers: dict[str, str], signs: Callable[..., Wire]
) -> None:
    assume(not any(name.startswith("X-Amz-") for name, _ in query))
    if signs is presign:
        query = list(dict(query).items())  # botocore itself drops repeated ones there
    assert signs(method=method, key=key, query=query, headers=headers).verify() == KEY_ID


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([sign, presign]))
def test_any_changed_byte_is_refused(data: st.DataObject, signs: Callable[..., Wire]) -> None:
    wire = signs(key="some/key", query=[("x", "1")], headers={"Range": "bytes=0-9", "x-amz-meta-a": "b"})
    part = data.draw(st.sampled_from(["method", "path", "query", *sorted(wire.headers)]))
    in_headers = isinstance(part, bytes)
    value = wire.headers[part] if in_headers else getattr(wire, part)
    at = data.draw(st.integers(0, len(value) - 1))
    byte = data.draw(st.integers(33, 126))
    changed = value[:at] + bytes([byte]) + value[at + 1 :]
    assume(changed != value)
    # The other spelling of a percent-encoded byte, or of nothing, is the same request.
    assume(changed.lower() != value.lower() or part != "query")
    if in_headers:
        wire.headers[part] = changed
    else:
        setattr(wire, part, changed)
    try:
        assert wire.verify() is None  # no longer recognisable as signed: nobody's request
    except S3Error:
        pass


@pytest.mark.parametrize("signs", [sign, presign])
def test_a_wrong_secret_is_refused(signs: Callable[..., Wire]) -> None:
    assert code_of(signs(), secret_of=lambda key_id: "another") == "SignatureDoesNotMatch"


def test_unknown_keys_are_told_from_wrong_signatures() -> None:
    assert code_of(sign(), secret_of=lambda key_id: None) == "InvalidAccessKeyId"


def test_an_unsigned_request_is_nobodys() -> None:
    assert (
        authenticate(b"GET", b"/b/k", b"x=1", {b"host": b"h"}, now_s=0, secret_of=lambda key_id: None) is None
    )


def test_the_clock_may_be_off_by_fifteen_minutes_and_no_more() -> None:
    wire = sign()
    signed_at = (
        datetime.strptime(wire.headers[b"x-amz-date"].decode(), "%Y%m%dT%H%M%SZ")
        .replace(tzinfo=UTC)
        .timestamp()
    )
    for skew in (-CLOCK_SKEW_MAX_S, CLOCK_SKEW_MAX_S):
        assert wire.verify(signed_at + skew) == KEY_ID
        assert code_of(wire, now_s=signed_at + skew * 1.01) == "RequestTimeTooSkewed"


def test_a_presigned_request_expires() -> None:
    wire = presign(expires=60)
    assert wire.verify(_now() + 55) == KEY_ID
    with pytest.raises(S3Error, match="Request has expired") as caught:
        wire.verify(_now() + 62)
    assert caught.value.code == "AccessDenied"
    with pytest.raises(S3Error, match="not valid yet"):
        wire.verify(_now() - CLOCK_SKEW_MAX_S - 2)


@pytest.mark.parametrize(
    ("expires", "code"),
    [(0, "AccessDenied"), (1, ""), (EXPIRES_MAX_S, ""), (EXPIRES_MAX_S + 1, "AuthorizationQueryParametersError")],
)  # fmt: skip
def test_a_presigned_request_lives_one_second_to_a_week(expires: int, code: str) -> None:
    wire = presign(expires=expires)
    if code:
        assert code_of(wire) == code
    else:
        assert wire.verify(_now() - 1) == KEY_ID


def test_only_configured_regions_count() -> None:
    assert sign().verify(regions={REGION}) == KEY_ID
    with pytest.raises(S3Error, match="expecting 'mars-1'") as caught:
        sign().verify(regions={"mars-1"})
    assert caught.value.code == "AuthorizationHeaderMalformed"
    assert ("Region", "mars-1") in caught.value.details
    assert code_of(presign(), regions={"mars-1"}) == "AuthorizationQueryParametersError"


@pytest.mark.parametrize("signs", [sign, presign])
def test_every_amz_header_must_be_signed(signs: Callable[..., Wire]) -> None:
    wire = signs()
    wire.headers[b"x-amz-meta-added"] = b"on the way"
    assert code_of(wire) == "AccessDenied"


def test_host_must_be_signed() -> None:
    wire = sign()
    wire.headers[b"authorization"] = wire.headers[b"authorization"].replace(
        b"SignedHeaders=host;", b"SignedHeaders="
    )
    assert code_of(wire) == "AuthorizationHeaderMalformed"


def test_the_body_must_be_the_one_that_was_signed() -> None:
    assert code_of(sign(), body_sha256=b"0" * 64) == "XAmzContentSHA256Mismatch"
    assert sign().verify(body_sha256=None) == KEY_ID


def test_headers_may_have_more_blanks_than_were_signed() -> None:
    wire = sign(headers={"x-amz-meta-a": "one two"})
    wire.headers[b"x-amz-meta-a"] = b"  one   two "
    assert wire.verify() == KEY_ID


@pytest.mark.parametrize(
    ("canonical", "sent"), [("k%28%29", "k()"), ("k%2Bk", "k+k"), ("k%21", "k!"), ("a/b", "a%2Fb")]
)
def test_a_lax_path_verifies_if_its_full_encoding_was_signed(canonical: str, sent: str) -> None:
    wire = sign(key="")
    request = AWSRequest(
        "GET", f"http://localhost:9000/bucket/{canonical}", headers={"Host": "localhost:9000"}
    )
    botocore.auth.S3SigV4Auth(Credentials(KEY_ID, SECRET), "s3", REGION).add_auth(request)
    wire = Wire(request)
    wire.path = f"/bucket/{sent}".encode()
    assert wire.verify() == KEY_ID


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (b"AWS AKID:signature", "InvalidRequest"),
        (b"Basic dXNlcjpwYXNz", "InvalidRequest"),
        (b"", "InvalidRequest"),
        (b"AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed"),
        (b"AWS4-HMAC-SHA256 Credential=a/20260101/r/s3/aws4_request, SignedHeaders=host, Signature=xyz", "AuthorizationHeaderMalformed"),
        (b"AWS4-HMAC-SHA256 Credential=a/20260101/r/ec2/aws4_request, SignedHeaders=host, Signature=" + b"0" * 64, "AuthorizationHeaderMalformed"),
        (b"AWS4-HMAC-SHA256 Credential=a/20260101/r/s3/aws4_request, SignedHeaders=host, Signature=" + b"0" * 64, "AccessDenied"),
    ],
)  # fmt: skip
def test_malformed_authorization(authorization: bytes, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_claim(b"", {b"authorization": authorization, b"host": b"h"})
    assert caught.value.code == code


def test_a_date_that_is_none_is_refused() -> None:
    wire = sign()
    date = wire.headers[b"x-amz-date"][:8]
    wire.headers[b"x-amz-date"] = b"20261399T000000Z"
    wire.headers[b"authorization"] = wire.headers[b"authorization"].replace(date, b"20261399")
    assert code_of(wire) == "AuthorizationHeaderMalformed"


def test_the_scopes_date_must_be_the_requests() -> None:
    wire = sign()
    wire.headers[b"authorization"] = wire.headers[b"authorization"].replace(
        wire.headers[b"x-amz-date"][:8], b"20200101"
    )
    assert code_of(wire) == "AuthorizationHeaderMalformed"


@pytest.mark.parametrize(
    "field", ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"]
)
def test_presigned_queries_must_be_complete_and_unambiguous(field: str) -> None:
    pairs = presign().query.split(b"&")
    wire = presign()
    wire.query = b"&".join(pair for pair in pairs if not pair.startswith(b"X-Amz-%s=" % field.encode()))
    assert code_of(wire) == "AuthorizationQueryParametersError"
    wire.query = b"&".join([*pairs, b"X-Amz-%s=x" % field.encode()])
    assert code_of(wire) == "AuthorizationQueryParametersError"


def test_two_mechanisms_at_once_are_refused() -> None:
    wire = presign()
    wire.headers[b"authorization"] = b"AWS4-HMAC-SHA256"
    assert code_of(wire) == "InvalidArgument"


@given(st.binary(max_size=64), st.binary(max_size=300))
def test_the_prepared_key_is_hmac(key: bytes, text: bytes) -> None:
    assert PreparedKey(key).sign(text) == hmac.digest(key, text, "sha256").hex().encode()


def test_the_cache_of_prepared_keys_is_bounded() -> None:
    for number in range(SIGNING_KEYS_MAX + 1):
        prepared_key(f"secret {number}", b"20260101", REGION)
    assert prepared_key.cache_info().currsize == SIGNING_KEYS_MAX
