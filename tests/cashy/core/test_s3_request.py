"""What is a plain read of an object, and what only the store can answer."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cashy.core.http_head import Request
from cashy.core.s3_errors import S3Error
from cashy.core.s3_request import OVERRIDES, ObjectRead, Other, classify

#: Each makes a GET of a key another operation (S3 API Reference, "Actions"), or one of another version or part.
NOT_PLAIN = [
    "acl",
    "attributes",
    "legal-hold",
    "retention",
    "tagging",
    "torrent",
    "select",
    "select-type",
    "restore",
    "uploads",
    "uploadId=x",
    "versionId=x",
    "versionId",
    "partNumber=1",
    "cors",
    "policy",
    "website",
    "encryption",
    "versioning",
    "versions",
    "lifecycle",
    "replication",
    "notification",
    "logging",
    "location",
    "object-lock",
    "publicAccessBlock",
    "ownershipControls",
    "policyStatus",
    "requestPayment",
    "accelerate",
    "analytics",
    "inventory",
    "metrics",
    "delete",
]

#: Each needs what only the store has.
FOREIGN = {
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "x-amz-server-side-encryption-customer-key": "a2V5",
    "x-amz-server-side-encryption-customer-key-md5": "bWQ1",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-expected-bucket-owner": "111122223333",
    "x-amz-request-payer": "requester",
    "origin": "https://example.com",
    "access-control-request-method": "GET",
}


def request(target: bytes, method: bytes = b"GET", **headers: str) -> Request:
    sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Request(method, target, sent, keep_alive=True)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("parameter", NOT_PLAIN)
def test_subresources_are_the_stores(parameter: str, method: bytes) -> None:
    for query in (
        parameter,
        f"x-id=GetObject&{parameter}",
        "%" + parameter[:1].encode().hex() + parameter[1:],
    ):
        assert classify(request(f"/b/k?{query}".encode(), method)) == Other("b", "k", "read")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("name", FOREIGN)
def test_headers_that_need_the_store(name: str, method: bytes) -> None:
    asked = request(b"/b/k", method)
    asked.headers[name.encode()] = FOREIGN[name].encode()
    assert classify(asked) == Other("b", "k", "read")


@given(st.binary(min_size=1, max_size=12), st.binary(max_size=12))
def test_unknown_parameters_change_nothing(name: bytes, value: bytes) -> None:
    known = {parameter.partition("=")[0].encode() for parameter in NOT_PLAIN}
    assume(name not in known and name not in OVERRIDES)
    pair = f"{quote_from_bytes(name, safe='')}={quote_from_bytes(value, safe='')}"
    assert classify(request(f"/b/k?{pair}".encode())) == ObjectRead("b", "k", False)


@pytest.mark.parametrize("name", sorted(OVERRIDES))
def test_overrides_are_for_signed_requests_whatever_the_method(name: bytes) -> None:
    target = b"/b/k?" + name + b"=a%2Fb+c%2B"
    expected = ((OVERRIDES[name], b"a/b c+"),)
    for method in (b"GET", b"HEAD"):
        signed = classify(request(target, method, authorization="AWS4-HMAC-SHA256 …"))
        assert signed == ObjectRead("b", "k", method == b"HEAD", expected)
        presigned = classify(request(target + b"&X-Amz-Signature=0", method))
        assert presigned == ObjectRead("b", "k", method == b"HEAD", expected)
        with pytest.raises(S3Error) as caught:
            classify(request(target, method))
        assert (caught.value.status, caught.value.code) == (400, "InvalidRequest")


@given(st.sampled_from(sorted(OVERRIDES)), st.binary(max_size=20))
def test_no_override_can_end_a_header_line(name: bytes, value: bytes) -> None:
    target = b"/b/k?" + name + b"=" + quote_from_bytes(value, safe="").encode()
    asked = request(target, authorization="AWS4-HMAC-SHA256 …")
    if any(byte < 32 or byte == 127 for byte in value):
        with pytest.raises(S3Error, match="InvalidArgument"):
            classify(asked)
        return
    action = classify(asked)
    assert isinstance(action, ObjectRead)
    assert action.overrides == ((OVERRIDES[name], value.strip()),)


@pytest.mark.parametrize("method", [b"PUT", b"POST", b"DELETE", b"PATCH"])
def test_other_methods_write(method: bytes) -> None:
    assert classify(request(b"/b/k", method)) == Other("b", "k", "write")
