"""GetObject and HeadObject as real clients see them: boto3, signed and presigned, and plain sockets."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import botocore
import pytest
from botocore.exceptions import ClientError, HTTPClientError
from tests.cashy.s3.conftest import KEY, NARROW_KEY, Running, receive_all, receive_answer
from tests.cashy.s3.memory_session import MemorySession

from cashy.errors import (
    AccessDenied,
    ArenaFull,
    CashyError,
    InvalidName,
    OriginInvalid,
    OriginTimeout,
    OriginUnavailable,
    SlowDown,
    VersionChanged,
)
from cashy.s3.credentials import Key

BLOCK_BYTES = 65_536
DATA = bytes(range(251)) * 1000  # four blocks, the last one short


@pytest.fixture
def session() -> MemorySession:
    session = MemorySession(block_bytes=BLOCK_BYTES)
    session.put("s3://b/cold", DATA)
    session.put("s3://b/warm", DATA, warm=True)
    session.put("s3://b/small", b"hello", warm=True)
    session.put("s3://b/empty", b"", warm=True)
    return session


@pytest.fixture
def running(start: Callable[..., Running], session: MemorySession) -> Running:
    return start(session)


@pytest.fixture
def s3(running: Running) -> Iterator[Any]:
    client = running.client()
    yield client
    client.close()


def body_of(answer: Any) -> bytes:
    body: bytes = answer["Body"].read()
    return body


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def get(
    running: Running, target: str, *headers: str, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    with running.connect() as raw:
        lines = [f"{method} {target} HTTP/1.1", "Host: h", *headers, "", ""]
        raw.sendall("\r\n".join(lines).encode("latin-1"))
        return receive_answer(raw, has_body=method != "HEAD")


# ---------------------------------------------------------------- whole objects and ranges


@pytest.mark.parametrize("key", ["cold", "warm"])
@pytest.mark.parametrize(
    "range_header",
    [None, "bytes=0-0", "bytes=5-9", "bytes=65535-65536", "bytes=70000-200000", "bytes=131072-", "bytes=-7",
     "bytes=-9999999", "bytes=250999-9999999", "bytes=0-1,5-6", "lines=1-2"],
)  # fmt: skip
def test_ranges(s3: Any, session: MemorySession, key: str, range_header: str | None) -> None:
    answer = s3.get_object(Bucket="b", Key=key, **({"Range": range_header} if range_header else {}))
    first, last = 0, len(DATA) - 1
    if range_header and "ContentRange" in answer:
        first, _, last = (
            int(part) if part.isdigit() else part
            for part in answer["ContentRange"][6:].split("/")[0].partition("-")
        )
    expected = DATA[first : last + 1]
    assert body_of(answer) == expected
    assert answer["ContentLength"] == len(expected)
    is_partial = range_header is not None and "," not in range_header and range_header.startswith("bytes")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == (206 if is_partial else 200)
    if key == "warm":
        assert not session.fetched, "a hit asked the master"


def test_a_whole_cold_object_becomes_warm(s3: Any, session: MemorySession) -> None:
    assert body_of(s3.get_object(Bucket="b", Key="cold")) == DATA
    assert session.fetched == [("s3://b/cold", index) for index in range(4)]
    assert body_of(s3.get_object(Bucket="b", Key="cold")) == DATA
    assert len(session.fetched) == 4


def test_a_small_range_of_a_cold_object_fetches_one_block(
    s3: Any, running: Running, session: MemorySession
) -> None:
    body_of(
        s3.get_object(Bucket="b", Key="warm", Range="bytes=0-1")
    )  # so that the worker knows the size of blocks
    assert body_of(s3.get_object(Bucket="b", Key="cold", Range="bytes=70000-70009")) == DATA[70000:70010]
    assert session.fetched == [("s3://b/cold", 1)]


def test_empty_objects(s3: Any) -> None:
    answer = s3.get_object(Bucket="b", Key="empty")
    assert (body_of(answer), answer["ContentLength"]) == (b"", 0)
    assert refusal(s3.get_object, Bucket="b", Key="empty", Range="bytes=0-") == (416, "InvalidRange")


@pytest.mark.parametrize("key", ["warm", "cold"])
def test_a_range_beyond_the_end(running: Running, key: str) -> None:
    status, headers, body = get(running, f"/b/{key}", f"Range: bytes={len(DATA)}-")
    assert (status, headers["content-range"]) == (416, f"bytes */{len(DATA)}")
    assert b"<Code>InvalidRange</Code>" in body


def test_head(s3: Any, running: Running, session: MemorySession) -> None:
    session.put(
        "s3://b/described", b"x" * 10, version='"e-tag"', content_type="text/csv",
        headers=(("cache-control", "max-age=5"), ("content-encoding", "gzip"), ("connection", "close")),
        user_metadata=(("owner", "desk 5"),),
    )  # fmt: skip
    for _ in range(2):  # cold, then warm
        answer = s3.head_object(Bucket="b", Key="described")
        assert answer["ContentLength"] == 10
        assert answer["ETag"] == '"e-tag"'
        assert answer["ContentType"] == "text/csv"
        assert answer["CacheControl"] == "max-age=5"
        assert answer["ContentEncoding"] == "gzip"
        assert answer["Metadata"] == {"owner": "desk 5"}
        assert answer["AcceptRanges"] == "bytes"
        assert answer["LastModified"].timestamp() == 1_700_000_000
    status, headers, _ = get(running, "/b/described", "Range: bytes=2-3", method="HEAD")
    assert (status, headers["content-length"], headers["content-range"]) == (206, "2", "bytes 2-3/10")


def test_new_metadata_of_the_same_content_is_shown(s3: Any, session: MemorySession) -> None:
    assert s3.get_object(Bucket="b", Key="small")["ContentType"] == "binary/octet-stream"
    session.objects["s3://b/small"].content_type = "text/plain"
    del session.metas["s3://b/small"]
    assert s3.get_object(Bucket="b", Key="small")["ContentType"] == "text/plain"
    assert s3.get_object(Bucket="b", Key="small")["ContentType"] == "text/plain"


def test_a_files_version_is_quoted(s3: Any, session: MemorySession) -> None:
    session.put("s3://b/file", b"x", version="1-17a-2b")
    assert s3.head_object(Bucket="b", Key="file")["ETag"] == '"1-17a-2b"'


@pytest.mark.parametrize(
    "key",
    [
        "a b",
        "a+b",
        "a%2Fb",
        "a%b",
        "ü/日本",
        "../up",
        "a/../b",
        "a//b",
        "/leading",
        "trailing/",
        "q?x=1",
        "h#x",
        "~!*'()",
        "\x01\x7f",
        "a&b;c=d",
    ],
)
def test_names(s3: Any, session: MemorySession, key: str) -> None:
    session.put(f"s3://b/{key}", key.encode())
    for _ in range(2):
        assert body_of(s3.get_object(Bucket="b", Key=key)) == key.encode()
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": key})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == key.encode()


def test_an_encoded_slash_is_a_slash_and_plus_is_plus(running: Running, session: MemorySession) -> None:
    session.put("s3://b/a/b+c", b"found")
    assert get(running, "/b/a%2Fb+c")[2] == b"found"
    assert get(running, "/b/a%2fb%2Bc")[2] == b"found"


# ---------------------------------------------------------------- who may


def test_presigned(running: Running, s3: Any) -> None:
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "small"}, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("/small", "/warm"))
    assert caught.value.code == 403
    assert b"<Code>SignatureDoesNotMatch</Code>" in caught.value.read()


def test_presigned_overrides(s3: Any) -> None:
    parameters = {"Bucket": "b", "Key": "small", "ResponseContentType": "text/x; a=b", "ResponseCacheControl": "no-store",
                  "ResponseContentDisposition": 'attachment; filename="ü.txt"'}  # fmt: skip
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=parameters)) as answer:
        assert answer.headers["Content-Type"] == "text/x; a=b"
        assert answer.headers["Cache-Control"] == "no-store"
        assert len(answer.headers.get_all("Content-Type")) == 1
        assert "attachment" in answer.headers["Content-Disposition"]


def test_overrides_cannot_split_the_head(running: Running, s3: Any) -> None:
    assert get(running, "/b/small?response-content-type=x")[0] == 400  # unsigned
    parameters = {"Bucket": "b", "Key": "small", "ResponseContentType": "x\r\nX-Evil: 1"}
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=parameters))
    assert caught.value.code == 400
    assert b"<Code>InvalidArgument</Code>" in caught.value.read()


def test_refused_keys(start: Callable[..., Running], session: MemorySession) -> None:
    running = start(session, anonymous=False)
    small = {"Bucket": "b", "Key": "small"}
    assert refusal(running.client(Key(KEY.key_id, "wrong")).get_object, **small) == (
        403,
        "SignatureDoesNotMatch",
    )
    assert refusal(running.client(Key("AKIDNOBODY", "x")).get_object, **small) == (403, "InvalidAccessKeyId")
    assert refusal(running.client(NARROW_KEY).get_object, **small) == (403, "AccessDenied")
    assert refusal(running.client(NARROW_KEY).get_object, Bucket="b", Key="missing") == (403, "AccessDenied")
    session.put("s3://data-1/k", b"x")
    assert body_of(running.client(NARROW_KEY).get_object(Bucket="data-1", Key="k")) == b"x"
    assert get(running, "/b/small")[0] == 403
    assert get(running, "/", method="PUT")[0] == 403


def test_session_tokens_are_refused(running: Running) -> None:
    client = boto3.client(
        "s3", endpoint_url=running.url, region_name="r", aws_access_key_id=KEY.key_id,
        aws_secret_access_key=KEY.secret, aws_session_token="token",
    )  # fmt: skip
    assert refusal(client.get_object, Bucket="b", Key="small") == (400, "InvalidToken")


def test_anonymous_reads(running: Running) -> None:
    config = botocore.config.Config(signature_version=botocore.UNSIGNED)
    client = boto3.client("s3", endpoint_url=running.url, region_name="r", config=config)
    assert body_of(client.get_object(Bucket="b", Key="small")) == b"hello"


# ---------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (['If-None-Match: "v1"'], 304),
        (['If-None-Match: "v2"'], 200),
        (["If-None-Match: *"], 304),
        (['If-Match: "v1"'], 200),
        (['If-Match: "v2", "v1"'], 200),
        (['If-Match: "v2"'], 412),
        (["If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT"], 304),
        (["If-Modified-Since: Tue, 14 Nov 2023 22:13:19 GMT"], 200),
        (["If-Modified-Since: nonsense"], 200),
        (["If-Unmodified-Since: Tue, 14 Nov 2023 22:13:20 GMT"], 200),
        (["If-Unmodified-Since: Tue, 14 Nov 2023 22:13:19 GMT"], 412),
        (['If-Match: "v1"', "If-Unmodified-Since: Tue, 14 Nov 2023 22:13:19 GMT"], 200),
        (['If-None-Match: "v2"', "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT"], 200),
        (['If-Range: "v1"', "Range: bytes=0-0"], 206),
        (['If-Range: "v2"', "Range: bytes=0-0"], 200),
        (["If-Range: Tue, 14 Nov 2023 22:13:20 GMT", "Range: bytes=0-0"], 206),
        (["If-Range: Tue, 14 Nov 2023 22:13:19 GMT", "Range: bytes=0-0"], 200),
    ],
)
@pytest.mark.parametrize("key", ["small", "cold"])
def test_conditions(running: Running, key: str, headers: list[str], status: int) -> None:
    assert get(running, f"/b/{key}", *headers, method="HEAD")[0] == status


def test_not_modified_has_no_body_and_the_connection_goes_on(running: Running) -> None:
    with running.connect() as raw:
        raw.sendall(
            b'GET /b/small HTTP/1.1\r\nHost: h\r\nIf-None-Match: "v1"\r\n\r\nGET /b/small HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n'
        )
        first, _, second = receive_all(raw).partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")
    assert second.endswith(b"\r\n\r\nhello")


# ---------------------------------------------------------------- all else


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/"), ("GET", "/b"), ("GET", "/b?list-type=2"), ("HEAD", "/b/"), ("GET", "/b/small?acl"), ("GET", "/b/small?tagging"),
     ("GET", "/b/small?versionId=1"), ("GET", "/b/small?partNumber=1"), ("GET", "/b/small?%61cl"),
     ("DELETE", "/b/small"), ("POST", "/b/small?uploads"), ("OPTIONS", "/b/small")],
)  # fmt: skip
def test_other_operations_are_not_implemented(running: Running, method: str, target: str) -> None:
    status, headers, body = get(running, target, method=method)
    assert (status, headers["content-type"]) == (501, "application/xml")
    if method != "HEAD":
        assert b"<Code>NotImplemented</Code>" in body


def test_a_put_gets_its_answer_though_its_body_was_not_read(s3: Any) -> None:
    assert refusal(s3.put_object, Bucket="b", Key="new", Body=b"x" * 1_000_000) == (501, "NotImplemented")


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (None, 404, "NoSuchKey"),
        (InvalidName("inside"), 404, "NoSuchKey"),
        (AccessDenied("inside"), 403, "AccessDenied"),
        (ArenaFull("inside"), 503, "SlowDown"),
        (SlowDown("inside"), 503, "SlowDown"),
        (OriginUnavailable("inside"), 503, "ServiceUnavailable"),
        (OriginTimeout("inside"), 503, "ServiceUnavailable"),
        (VersionChanged("inside"), 503, "ServiceUnavailable"),
        (OriginInvalid("inside"), 500, "InternalError"),
    ],
)
def test_errors_before_the_head(
    running: Running, session: MemorySession, error: CashyError | None, status: int, code: str, head: bool
) -> None:
    session.fetch_error = error
    got, headers, body = get(running, "/b/missing", method="HEAD" if head else "GET")
    assert got == status
    assert headers["x-amz-request-id"]
    if not head:
        assert f"<Code>{code}</Code>".encode() in body
        assert b"inside" not in body
        assert b"secret" not in body
        assert b"<Resource>/b/missing</Resource>" in body


def test_a_missing_bucket(s3: Any) -> None:
    assert refusal(s3.get_object, Bucket="nowhere", Key="k") == (404, "NoSuchBucket")


def test_a_key_that_is_too_long(s3: Any, session: MemorySession) -> None:
    session.put("s3://b/" + "ü" * 512, b"x")
    assert body_of(s3.get_object(Bucket="b", Key="ü" * 512)) == b"x"
    assert refusal(s3.get_object, Bucket="b", Key="ü" * 512 + "a") == (400, "KeyTooLongError")


def test_a_cold_object_is_streamed_while_it_arrives(running: Running, session: MemorySession) -> None:
    session.gates = {("s3://b/cold", 0): 1000}
    with running.connect() as raw:
        raw.sendall(b"GET /b/cold HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        received = b""
        while received.count(b"\r\n\r\n") == 0 or len(received.partition(b"\r\n\r\n")[2]) < 1000:
            received += raw.recv(65536)
        assert received.partition(b"\r\n\r\n")[2] == DATA[:1000]
        running.on_loop(session.let_through, "s3://b/cold", 0)
        received += receive_all(raw)
    assert received.partition(b"\r\n\r\n")[2] == DATA


@pytest.mark.parametrize("gate", [0, 1000])
def test_a_fill_that_fails(running: Running, session: MemorySession, gate: int) -> None:
    session.gates = {("s3://b/cold", 0): gate}
    with running.connect() as raw:
        raw.sendall(b"GET /b/cold HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        if gate:
            assert raw.recv(65536)
        while not running.on_loop(lambda: session.pinned):
            time.sleep(0.01)
        running.on_loop(session.fail, "s3://b/cold", 0, OriginUnavailable("inside"))
        if gate:  # the head is gone: nothing but cutting off is honest
            assert receive_all(raw) == b""
            assert running.counters["bodies_cut_off_total"] == 1
        else:
            assert b"<Code>ServiceUnavailable</Code>" in receive_all(raw)


def test_boto3_notices_a_body_that_was_cut_off(running: Running, s3: Any, session: MemorySession) -> None:
    session.gates = {("s3://b/cold", 2): 10}
    answer = s3.get_object(Bucket="b", Key="cold")
    assert answer["Body"].read(1) == DATA[:1]
    while not running.on_loop(lambda: (session.metas["s3://b/cold"].content_id, 2) in session.slots):
        time.sleep(0.01)
    running.on_loop(session.fail, "s3://b/cold", 2, OriginUnavailable("inside"))
    with pytest.raises((HTTPClientError, botocore.exceptions.BotoCoreError)):
        answer["Body"].read()


def test_an_object_that_changed_is_never_mixed(running: Running, s3: Any, session: MemorySession) -> None:
    """Metadata and first block of the old version are here, the rest is not, and the origin has a new one."""
    session.put("s3://b/changed", DATA, version='"old"', warm=True)
    old = session.metas["s3://b/changed"]
    del session.slots[old.content_id, 1]
    new = bytes(len(DATA))
    session.objects["s3://b/changed"].data = new
    session.objects["s3://b/changed"].version = '"new"'
    with running.connect() as raw:
        raw.sendall(b"GET /b/changed HTTP/1.1\r\nHost: h\r\n\r\n")
        head, _, body = receive_all(raw).partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(DATA) in head
    assert body == DATA[:BLOCK_BYTES]
    assert body_of(s3.get_object(Bucket="b", Key="changed")) == new


def test_a_change_seen_before_the_first_byte_gives_the_new_version(s3: Any, session: MemorySession) -> None:
    session.put("s3://b/changed", b"old" * 10, version='"old"', warm=True)
    del session.slots[session.metas["s3://b/changed"].content_id, 0]
    session.objects["s3://b/changed"].data = b"newer"
    session.objects["s3://b/changed"].version = '"new"'
    answer = s3.get_object(Bucket="b", Key="changed")
    assert (body_of(answer), answer["ETag"]) == (b"newer", '"new"')


def test_an_object_larger_than_the_window_needs_only_the_window(
    start: Callable[..., Running], session: MemorySession
) -> None:
    session = MemorySession(block_bytes=1 << 20, refills=True)
    data = b"".join(bytes([number]) * (1 << 20) for number in range(64))
    session.put("s3://b/large", data)
    running = start(session)
    assert get(running, "/b/large")[2] == data
    assert session.pinned_max <= 2
