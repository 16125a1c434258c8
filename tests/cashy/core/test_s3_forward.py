"""Heads on their way to the store and back: what passes, what is signed, what is refused."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cashy.core.http_head import RequestReader
from cashy.core.s3_errors import S3Error
from cashy.core.s3_forward import (
    AnswerFraming,
    StoreAddress,
    StoreKey,
    answer_framing,
    answer_head,
    check_target,
    copy_source,
    forwarded_headers,
    forwarded_query,
    is_delete_objects,
    names_written,
    request_head,
)
from cashy.core.sigv4 import EMPTY_SHA256, authenticate

ADDRESS = StoreAddress(b"store.example:9000", b"", "eu-west-3")
KEY = StoreKey("AKIDSTORE", "store secret")
NOW = 1_700_000_000


def head(
    method: bytes = b"GET",
    path: bytes = b"/b/k",
    query: bytes = b"",
    headers: Mapping[bytes, bytes] | None = None,
    **changes: Any,
) -> bytes:
    arguments: dict[str, Any] = {
        "address": ADDRESS, "key": KEY, "payload": EMPTY_SHA256, "length": None, "epoch_s": NOW,
    } | changes  # fmt: skip
    return request_head(method, path, query, headers or {}, **arguments)


def signer_of(data: bytes) -> str | None:
    """Reads and verifies a request as another endpoint like ours would."""
    reader = RequestReader()
    reader.feed(data)
    assert reader.error is None
    request = reader.requests[0]
    return authenticate(
        request.method, request.path, request.query, request.headers, now_s=NOW,
        secret_of={KEY.access_key: KEY.secret}.get, body_sha256=None,
    )  # fmt: skip


# ---------------------------------------------------------------- signing

texts = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.text("abcXYZ019-_.~ +&=/ü", min_size=1, max_size=8)


def strict(text: str, safe: str = "~") -> str:
    return quote(text.encode(), safe=safe)


@settings(max_examples=60, deadline=None)
@given(
    key=texts,
    query=st.dictionaries(names, texts, max_size=4),
    headers=st.dictionaries(
        st.sampled_from(["x-amz-meta-a", "x-amz-acl", "content-type", "range", "if-match", "content-md5"]),
        st.text("abc ;,=/-9", min_size=1, max_size=12).map(str.strip).filter(bool),
    ),
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
)
def test_signatures_are_botocores(
    key: str, query: dict[str, str], headers: dict[str, str], method: str
) -> None:
    path = "/bucket/" + strict(key, "/~")
    query_text = "&".join(f"{strict(name)}={strict(value)}" for name, value in query.items())
    lines = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    ours = head(method.encode(), path.encode(), query_text.encode(), lines)
    fields = dict(line.split(b": ", 1) for line in ours.split(b"\r\n")[1:-2])
    signed = {name: value for name, value in headers.items() if name.startswith(("x-amz-", "content-"))}
    request = botocore.awsrequest.AWSRequest(
        method,
        f"http://store.example:9000{path}" + (f"?{query_text}" if query_text else ""),
        headers={**signed, "X-Amz-Content-SHA256": EMPTY_SHA256.decode()},
    )
    signer = botocore.auth.S3SigV4Auth(
        botocore.credentials.Credentials(KEY.access_key, KEY.secret), "s3", ADDRESS.region
    )
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    with patch("botocore.auth.get_current_datetime", return_value=now):
        signer.add_auth(request)
    assert fields[b"authorization"].decode() == request.headers["Authorization"]
    assert signer_of(ours) == KEY.access_key


@given(
    st.binary(max_size=30).map(lambda raw: b"/b/" + raw.hex().encode()),
    st.sampled_from([b"%2F", b"+", b"(", b"%28", b"//", b"/../", b"*", b"%7e"]),
)
def test_the_target_goes_out_as_it_came(front: bytes, special: bytes) -> None:
    path, query = front + special + b"end", b"a+b=c%2fd&prefix=(x)&empty&e="
    data = head(path=path, query=query)
    assert data.startswith(b"GET " + path + b"?" + query + b" HTTP/1.1\r\n")
    assert signer_of(data) == KEY.access_key


def test_a_base_path_stands_before_every_path() -> None:
    address = StoreAddress(b"h", b"/base", "r")
    data = head(address=address)
    assert data.startswith(b"GET /base/b/k HTTP/1.1\r\nhost: h\r\n")
    assert signer_of(data) == KEY.access_key


def test_lengths_and_payloads() -> None:
    data = head(b"PUT", length=0, payload=b"UNSIGNED-PAYLOAD")
    assert b"\r\ncontent-length: 0\r\n" in data
    assert b"\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n" in data
    assert b"content-length" not in head(b"DELETE")
    assert signer_of(data) == KEY.access_key


def test_unsigned() -> None:
    data = head(key=None)
    assert b"authorization" not in data
    assert b"x-amz" not in data
    assert signer_of(data) is None


def test_an_empty_value_drops_a_header() -> None:
    assert b"content-encoding" not in head(headers={b"content-encoding": b""})


# ---------------------------------------------------------------- what passes


def test_headers_that_pass() -> None:
    passing = {
        b"content-type": b"text/x", b"content-md5": b"x", b"cache-control": b"x", b"if-none-match": b"*", b"range": b"bytes=0-1",
        b"user-agent": b"x", b"x-amz-acl": b"x", b"x-amz-meta-a": b"x", b"x-amz-copy-source": b"/a/b%2Fc", b"x-amz-checksum-crc32": b"x",
        b"x-amz-server-side-encryption-customer-key": b"x", b"origin": b"x",
    }  # fmt: skip
    refused = {
        b"host": b"x", b"authorization": b"x", b"expect": b"100-continue", b"transfer-encoding": b"chunked", b"content-length": b"5",
        b"te": b"trailers", b"trailer": b"x", b"upgrade": b"h2c", b"keep-alive": b"x", b"proxy-authorization": b"x", b"date": b"x",
        b"x-forwarded-for": b"1.2.3.4", b"x-forwarded-host": b"x", b"x-forwarded-proto": b"https", b"forwarded": b"for=x", b"via": b"x",
        b"x-real-ip": b"x", b"x-original-url": b"/secret", b"x-rewrite-url": b"/secret", b"x-http-method-override": b"DELETE",
        b"x-amz-security-token": b"x", b"x-amz-s3session-token": b"x", b"x-amz-date": b"x", b"x-amz-content-sha256": b"x",
        b"x-amz-decoded-content-length": b"1", b"x-amz-trailer": b"x", b"x-minio-source-mtime": b"x", b"cookie": b"x",
        b"seaweed-x": b"x", b"x-goog-acl": b"x",
    }  # fmt: skip
    assert forwarded_headers(passing | refused) == passing


def test_headers_of_one_hop_stay_there() -> None:
    headers = {b"connection": b"close, X-Amz-Meta-A", b"x-amz-meta-a": b"1", b"x-amz-meta-b": b"2"}
    assert forwarded_headers(headers) == {b"x-amz-meta-b": b"2"}


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"", b""),
        (b"uploads", b"uploads"),
        (b"a=b%2f&X-Amz-Algorithm=x&c", b"a=b%2f&c"),
        (
            b"X-Amz-Credential=a&X-Amz-Date=b&partNumber=1&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=0&uploadId=u",
            b"partNumber=1&uploadId=u",
        ),
        (b"x-amz-security-token=t&X%2DAmz-Signature=0&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", b""),
        (b"x-amz-acl=public-read&x-id=PutObject", b"x-amz-acl=public-read&x-id=PutObject"),
    ],
)
def test_the_query_loses_what_presigned_it(query: bytes, left: bytes) -> None:
    assert forwarded_query(query) == left


# ---------------------------------------------------------------- what is refused


def refusal(method: bytes, path: bytes, query: bytes = b"", *, bucket: str = "b", key: str = "k") -> str:
    with pytest.raises(S3Error) as caught:
        check_target(method, path, query, bucket, key)
    return caught.value.code


def test_targets_that_are_refused() -> None:
    assert refusal(b"PATCH", b"/b/k") == "MethodNotAllowed"
    assert refusal(b"PROPFIND", b"/b/k") == "MethodNotAllowed"
    assert refusal(b"POST", b"/", bucket="", key="") == "MethodNotAllowed"
    assert refusal(b"GET", b"//secret/k", bucket="", key="secret/k") == "InvalidBucketName"
    for bucket in ("..", ".", "a/b", "a b", "a?", "%"):
        assert refusal(b"GET", b"/x/k", bucket=bucket) == "InvalidBucketName"
    for key in ("../other/k", "a/../../other", "/../x", "./../x", "..", "a/./../../x", "a//../../x"):
        assert refusal(b"PUT", b"/b/x", key=key) == "InvalidURI"
    assert refusal(b"GET", b"/b/k", b"AWSAccessKeyId=A&Signature=s&Expires=1") == "InvalidRequest"
    assert refusal(b"GET", b"/b/k", b"%73ignature=s") == "InvalidRequest"
    assert refusal(b"PUT", b"/b/k", b"x-amz-copy-source=/secret/k") == "NotImplemented"
    assert refusal(b"PUT", b"/b/k", b"X-Amz-Copy%2DSource=/secret/k") == "NotImplemented"


@pytest.mark.parametrize(
    "key", ["", "k", "a/../b", "a/b/../../c", "..a", "a..", "a/..b/c", "...", "./a", "a//b", " "]
)
def test_targets_that_are_not(key: str) -> None:
    check_target(b"PUT", b"/b/k", b"tagging", "b", key)
    check_target(b"GET", b"/", b"", "", "")


@pytest.mark.parametrize(
    ("field", "bucket"),
    [
        (b"/b/k", "b"),
        (b"b/k", "b"),
        (b"/b/k?versionId=x/../y", "b"),
        (b"%2Fb%2Fk", "b"),
        (b"b%2Fa%20b", "b"),
        (b"b/a/../c", "b"),
    ],
)
def test_where_a_copy_comes_from(field: bytes, bucket: str) -> None:
    assert copy_source({b"x-amz-copy-source": field}) == bucket


@pytest.mark.parametrize(
    "field",
    [
        b"",
        b"/",
        b"b",
        b"/b",
        b"/b/",
        b"//b/k",
        b"/../b/k",
        b"b/../c/k",
        b"%2F%2Fb/k",
        b"%",
        b"%ff/k",
        b"arn:aws:s3:r:1:accesspoint/x/object/k",
        b"b c/k",
    ],
)
def test_a_copy_from_nowhere(field: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        copy_source({b"x-amz-copy-source": field})
    assert caught.value.status == 400


def test_no_copy() -> None:
    assert copy_source({}) is None


@pytest.mark.parametrize(
    ("method", "query", "is_written"),
    [
        (b"PUT", b"", True), (b"PUT", b"x-id=PutObject", True), (b"PUT", b"tagging", True), (b"PUT", b"acl", True),
        (b"PUT", b"partNumber=1&uploadId=u", False), (b"PUT", b"partNumber=1&uploadId=u&x-id=UploadPart", False),
        (b"PUT", b"uploadId=u", True), (b"PUT", b"partNumber=1", True), (b"PUT", b"%70artNumber=1&uploadId=u", False),
        (b"PUT", b"partNumber=1&uploadId=u&acl", True), (b"PUT", b"X-Amz-Signature=0&partNumber=1&uploadId=u", False),
        (b"DELETE", b"", True), (b"DELETE", b"versionId=v", True), (b"DELETE", b"uploadId=u", False),
        (b"POST", b"uploadId=u", True), (b"POST", b"uploads", False), (b"POST", b"restore", True), (b"POST", b"select&select-type=2", False),
        (b"POST", b"uploads&uploadId=u", True), (b"GET", b"", False), (b"HEAD", b"", False), (b"OPTIONS", b"", False),
    ],
)  # fmt: skip
def test_which_actions_change_an_object(method: bytes, query: bytes, is_written: bool) -> None:
    assert names_written(method, query, "b", "a k") == (("s3://b/a k",) if is_written else ())
    assert names_written(method, query, "b", "") == ()


def test_delete_objects_by_any_reading() -> None:
    assert is_delete_objects(b"POST", b"delete", "")
    assert is_delete_objects(b"POST", b"x=1&%64elete=&y", "")
    assert not is_delete_objects(b"POST", b"delete", "k")
    assert not is_delete_objects(b"GET", b"delete", "")
    assert not is_delete_objects(b"POST", b"uploads", "")


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("method", "status", "headers", "old", "framing"),
    [
        (b"GET", 200, {"content-length": "5"}, False, AnswerFraming(True, 5, False)),
        (b"GET", 200, {"transfer-encoding": "chunked"}, False, AnswerFraming(True, None, True)),
        (b"GET", 200, {"transfer-encoding": "chunked"}, True, AnswerFraming(True, None, False)),
        (b"GET", 200, {"transfer-encoding": "chunked", "content-length": "5"}, False, AnswerFraming(True, None, True)),
        (b"GET", 200, {}, False, AnswerFraming(True, None, True)),
        (b"GET", 200, {"content-length": "5, 5"}, False, AnswerFraming(True, None, True)),
        (b"HEAD", 200, {"content-length": "5"}, False, AnswerFraming(False, 5, False)),
        (b"HEAD", 404, {}, False, AnswerFraming(False, None, False)),
        (b"GET", 304, {"content-length": "5"}, False, AnswerFraming(False, 5, False)),
        (b"DELETE", 204, {"content-length": "0"}, False, AnswerFraming(False, None, False)),
    ],
)  # fmt: skip
def test_framing_of_answers(
    method: bytes, status: int, headers: dict[str, str], old: bool, framing: AnswerFraming
) -> None:
    assert answer_framing(method, status, headers, is_http_1_0=old) == framing


def test_the_head_of_an_answer() -> None:
    headers = {
        "etag": '"x"', "x-amz-request-id": "THEIRS", "x-amz-id-2": "i", "content-type": "a/b", "date": "d", "server": "S", "content-length": "5",
        "connection": "keep-alive, X-Hop", "keep-alive": "timeout=5", "transfer-encoding": "chunked", "x-hop": "1", "set-cookie": "a=b",
        "strict-transport-security": "x", "alt-svc": "h3", "x-amz-meta-ü": "ü",
    }  # fmt: skip
    answer = answer_head(200, headers, AnswerFraming(True, 5, False), request_id="OURS", keep_alive=True)
    assert answer.decode("latin-1").split("\r\n") == [
        "HTTP/1.1 200 OK", 'etag: "x"', "x-amz-request-id: THEIRS", "x-amz-id-2: i", "content-type: a/b", "date: d", "server: S",
        "x-amz-meta-ü: ü", "Content-Length: 5", "", "",
    ]  # fmt: skip


def test_a_store_without_request_ids_gets_ours() -> None:
    answer = answer_head(599, {}, AnswerFraming(True, None, True), request_id="OURS", keep_alive=False)
    assert answer == (
        b"HTTP/1.1 599 \r\nx-amz-request-id: OURS\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
