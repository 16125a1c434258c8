"""Reads beyond the plain one: what errors tell, which verdict comes first, checksums, and what is passed on to the store."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.cashy.s3.conftest import KEY, NARROW_WRITER_KEY, Running, receive_answer
from tests.cashy.s3.memory_session import MemorySession
from tests.cashy.s3.scripted_store import Received, ScriptedStore, read_body
from tests.cashy.s3.test_proxy import verified_signer

from cashy.errors import (
    AccessDenied,
    CashyError,
    DeadlineExceeded,
    NoSuchObject,
    OriginInvalid,
    OriginUnavailable,
    SlowDown,
)
from cashy.s3.answering import deadline_of
from cashy.s3.limits import ANONYMOUS
from cashy.settings import DirectoryOriginSettings

BODY = b"0123456789"
CRC = (("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-type", "FULL_OBJECT"))
COMPOSITE = (("x-amz-checksum-sha256", "c3VtcyBvZiBwYXJ0cw==-3"), ("x-amz-checksum-type", "COMPOSITE"))
ENABLED = "x-amz-checksum-mode: ENABLED"
IS_DATE, BEFORE = "Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:19 GMT"


@pytest.fixture
def session() -> MemorySession:
    session = MemorySession()
    about: dict[str, Any] = {
        "content_type": "text/x",
        "headers": (("cache-control", "max-age=5"), ("content-encoding", "gzip"), ("expires", "whenever")),
    }
    session.put("s3://b/cold", BODY, **about)
    session.put("s3://b/warm", BODY, warm=True, **about)
    return session


def get(
    running: Running, target: str, *headers: str, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    with running.connect() as raw:
        lines = [f"{method} {target} HTTP/1.1", "Host: h", *headers, "", ""]
        raw.sendall("\r\n".join(lines).encode("latin-1"))
        return receive_answer(raw, has_body=method != "HEAD")


def elements(body: bytes) -> dict[str, str | None]:
    return {child.tag: child.text for child in ElementTree.fromstring(body)}


# ---------------------------------------------------------------- what errors tell


@pytest.mark.parametrize("key", ["warm", "cold"])
def test_what_an_unsatisfiable_range_tells(
    start: Callable[..., Running], session: MemorySession, key: str
) -> None:
    status, headers, body = get(start(session), f"/b/{key}", "Range: bytes=10-")
    assert (status, headers["content-range"]) == (416, "bytes */10")
    told = elements(body)
    assert (told["Code"], told["RangeRequested"], told["ActualObjectSize"]) == (
        "InvalidRange",
        "bytes=10-",
        "10",
    )
    status, headers, _ = get(start(session), f"/b/{key}", "Range: bytes=10-", method="HEAD")
    assert (status, headers["content-range"]) == (416, "bytes */10")


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        (['If-Match: "x"'], "If-Match"),
        ([f"If-Unmodified-Since: {BEFORE}"], "If-Unmodified-Since"),
        (['If-Match: "x"', f"If-Unmodified-Since: {BEFORE}"], "If-Match"),
    ],
)
def test_which_condition_failed(
    start: Callable[..., Running], session: MemorySession, headers: list[str], condition: str
) -> None:
    status, _, body = get(start(session), "/b/warm", *headers)
    told = elements(body)
    assert (status, told["Code"], told["Condition"]) == (412, "PreconditionFailed", condition)


def test_what_is_missing_has_its_name(start: Callable[..., Running], session: MemorySession) -> None:
    running = start(session)
    assert elements(get(running, "/b/a%20%3Cb%3E")[2])["Key"] == "a <b>"
    assert elements(get(running, "/nowhere/k")[2])["BucketName"] == "nowhere"


# ---------------------------------------------------------------- which verdict comes first


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("key", ["warm", "cold"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Range: bytes=99-", 'If-Match: "x"'], 412),
        (["Range: bytes=99-", 'If-None-Match: "v1"'], 304),
        (["Range: bytes=99-", f"If-Modified-Since: {IS_DATE}"], 304),
        (["Range: bytes=99-", 'If-Match: "v1"'], 416),
        (["Range: bytes=99-", 'If-Range: "x"'], 200),
        (["Range: bytes=99-", 'If-Range: "v1"'], 416),
        (["Range: bytes=1-2", 'If-Match: "v1"', 'If-Range: "v1"'], 206),
        (["Range: bytes=1-2", f"If-Range: {IS_DATE}"], 206),
        (["Range: bytes=1-2", "If-Range: Tuesday, 14-Nov-23 22:13:20 GMT"], 206),
        (["Range: bytes=1-2", "If-Range: yesterday"], 200),
        (["Range: bytes=x", 'If-None-Match: "v1"'], 304),
        (["Range: bytes=x"], 200),
    ],
)
def test_conditions_come_before_ranges(
    start: Callable[..., Running],
    session: MemorySession,
    key: str,
    headers: list[str],
    status: int,
    method: str,
) -> None:
    """RFC 9110 13.2.2: step 5 (If-Range, Range) after the others."""
    running = start(session)
    with running.connect() as raw:
        lines = [f"{method} /b/{key} HTTP/1.1", "Host: h", "Connection: close", *headers, "", ""]
        raw.sendall("\r\n".join(lines).encode())
        got, answered, body = receive_answer(raw, has_body=method == "GET" and status != 304)
    assert got == status
    if status == 304:
        assert (answered["etag"], answered["last-modified"]) == ('"v1"', IS_DATE)
        assert (answered["cache-control"], answered["expires"]) == ("max-age=5", "whenever")
        assert "content-length" not in answered
        assert "content-type" not in answered
    if method == "GET" and status in (200, 206):
        assert body == (BODY if status == 200 else BODY[1:3])


@pytest.mark.parametrize("key", ["warm", "cold"])
def test_overrides_hold_for_head_and_parts_too(
    start: Callable[..., Running], session: MemorySession, key: str
) -> None:
    client = start(session).client()
    asked = {
        "Bucket": "b", "Key": key, "ResponseContentType": "a/b", "ResponseCacheControl": "no-store",
        "ResponseExpires": "Thu, 01 Dec 2033 16:00:00 GMT",
    }  # fmt: skip
    part = client.get_object(**asked, Range="bytes=0-3")
    part["Body"].close()
    for answer in (client.head_object(**asked), part):
        assert (answer["ContentType"], answer["CacheControl"]) == ("a/b", "no-store")
        assert answer["ContentEncoding"] == "gzip"
        assert answer["Expires"].year == 2033
    with pytest.raises(ClientError) as caught:
        client.get_object(**asked, IfNoneMatch='"v1"')
    refused = caught.value.response["ResponseMetadata"]
    assert refused["HTTPStatusCode"] == 304
    assert refused["HTTPHeaders"]["cache-control"] == "no-store"


def test_no_store_is_no_business_of_ours(start: Callable[..., Running], session: MemorySession) -> None:
    """S3 gives Cache-Control back and does not act on it, whoever sends it."""
    session.put("s3://b/secret", BODY, headers=(("cache-control", "no-store, private"),))
    running = start(session)
    for _ in range(3):
        status, headers, body = get(running, "/b/secret", "Cache-Control: no-cache", "Pragma: no-cache")
        assert (status, headers["cache-control"], body) == (200, "no-store, private", BODY)
    assert session.fetched == [("s3://b/secret", 0)]


def test_metadata_of_any_bytes_comes_as_it_was(start: Callable[..., Running], session: MemorySession) -> None:
    """HTTP has headers of bytes; UTF-8 in them is two characters of latin-1 each, to us and to the reader of the store's answer."""
    session.put(
        "s3://b/u",
        BODY,
        user_metadata=(("owner", "J\u00c3\u00b6rg"), ("encoded", "=?UTF-8?B?Sg==?="), ("empty", "")),
    )
    with start(session).connect() as raw:
        raw.sendall(b"GET /b/u HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := raw.recv(65536):
            answer += piece
    assert "x-amz-meta-owner: Jörg\r\n".encode() in answer
    assert b"x-amz-meta-encoded: =?UTF-8?B?Sg==?=\r\n" in answer
    assert b"x-amz-meta-empty: \r\n" in answer


# ---------------------------------------------------------------- checksums


def sums(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("x-amz-checksum-")}


@pytest.mark.parametrize("told", [CRC, COMPOSITE])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("warm", [True, False])
def test_checksums_for_who_asks_of_the_whole_object(
    start: Callable[..., Running],
    session: MemorySession,
    told: tuple[tuple[str, str], ...],
    method: str,
    warm: bool,
) -> None:
    session.put("s3://b/sum", BODY, warm=warm, told_by_head=told)
    running = start(session)
    for _ in range(3):
        assert sums(get(running, "/b/sum", ENABLED, method=method)[1]) == dict(told)
    assert session.calls["stat"] == 1, "what is known need not be asked for again"
    for headers in (
        [],
        [ENABLED, "Range: bytes=0-3"],
        [ENABLED, "Range: bytes=0-9"],
        ["x-amz-checksum-mode: maybe"],
    ):
        assert not sums(get(running, "/b/sum", *headers, method=method)[1]), headers
    assert session.calls["stat"] == 1


def test_an_object_without_checksums_is_asked_about_once(
    start: Callable[..., Running], session: MemorySession
) -> None:
    running = start(session)
    for _ in range(3):
        status, headers, body = get(running, "/b/warm", ENABLED)
        assert (status, sums(headers), body) == (200, {}, BODY)
    assert session.calls["stat"] == 1


def test_a_type_alone_is_no_checksum(start: Callable[..., Running], session: MemorySession) -> None:
    session.put("s3://b/typed", BODY, warm=True, headers=(CRC[1],), told_by_head=(CRC[0],))
    assert sums(get(start(session), "/b/typed", ENABLED)[1]) == dict(CRC)


def test_files_have_none(start: Callable[..., Running], session: MemorySession) -> None:
    session.put("s3://b/file", BODY, warm=True, version="10-17a-2b")
    assert get(start(session), "/b/file", ENABLED)[0] == 200
    assert not session.calls["stat"]


@pytest.mark.parametrize(
    "error", [OriginUnavailable("down"), SlowDown("busy"), AccessDenied("may not decrypt")]
)
def test_that_they_cannot_be_had_is_no_reason_to_refuse_the_object(
    start: Callable[..., Running], session: MemorySession, error: CashyError
) -> None:
    running = start(session)
    session.fetch_error = error
    assert get(running, "/b/warm", ENABLED)[::2] == (200, BODY)


def test_but_that_the_object_is_gone_is(start: Callable[..., Running], session: MemorySession) -> None:
    running = start(session)
    session.fetch_error = NoSuchObject("gone")
    assert get(running, "/b/warm", ENABLED)[0] == 404


def test_an_object_that_was_replaced_meanwhile_is_read_anew(
    start: Callable[..., Running], session: MemorySession
) -> None:
    running = start(session)
    stored = session.objects["s3://b/warm"]
    stored.data, stored.version, stored.told_by_head = b"newer", '"v2"', CRC
    status, headers, body = get(running, "/b/warm", ENABLED)
    assert (status, headers["etag"], body, sums(headers)) == (200, '"v2"', b"newer", dict(CRC))


# ---------------------------------------------------------------- on whose behalf, and for how long


def test_the_daemon_is_told_whose_key_a_read_is_for_and_how_long_it_is_wanted(
    start: Callable[..., Running], session: MemorySession
) -> None:
    session.put("s3://data-1/cold", b"x" * 3000)
    running = start(session)
    assert (
        running.client(NARROW_WRITER_KEY).get_object(Bucket="data-1", Key="cold")["Body"].read()
        == b"x" * 3000
    )
    assert set(session.callers) == {NARROW_WRITER_KEY.key_id}
    assert set(session.deadlines_ms) == {0}
    session.callers.clear()
    session.deadlines_ms.clear()
    session.put("s3://b/other", b"y" * 3000)
    assert get(running, "/b/other", "x-cashy-timeout: 7.5")[::2] == (200, b"y" * 3000)
    assert set(session.callers) == {ANONYMOUS}
    assert all(0 < left_ms <= 7500 for left_ms in session.deadlines_ms)


@pytest.mark.parametrize("field", ["", "0", "-1", "soon", "1e3", "1234567", "7.5555"])
def test_a_deadline_that_is_none_is_none(field: str) -> None:
    assert not deadline_of(field.encode()).is_set


@pytest.mark.parametrize(
    ("error", "code", "retry_after"),
    [(SlowDown("busy"), "SlowDown", "1"), (DeadlineExceeded("late"), "ServiceUnavailable", None)],
)
def test_who_is_to_come_again_is_told_when(
    start: Callable[..., Running],
    session: MemorySession,
    error: CashyError,
    code: str,
    retry_after: str | None,
) -> None:
    running = start(session)
    session.put("s3://b/cold", BODY)
    session.fetch_error = error
    status, headers, body = get(running, "/b/cold")
    assert (status, headers.get("retry-after")) == (503, retry_after)
    assert f"<Code>{code}</Code>".encode() in body


# ---------------------------------------------------------------- passed on


class Behaviour:
    """A store that answers GET and HEAD of objects with what a test says."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nx-amz-store: itself\r\n\r\n"
        self.body = b"own"
        self.head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
        self.seen: list[tuple[str, str]] = []

    def behave(self, request: Received) -> None:
        read_body(request)
        method, target, _ = request.line.decode().split(" ")
        self.seen.append((verified_signer(request) or "nobody", f"{method} {target}"))
        request.peer.sendall(self.head if method == "HEAD" else self.answer + self.body)


@pytest.fixture
def store() -> Iterator[tuple[ScriptedStore, Behaviour]]:
    behaviour = Behaviour()
    with ScriptedStore(behaviour.behave) as scripted:
        yield scripted, behaviour


Store = tuple[ScriptedStore, Behaviour]


@pytest.fixture
def through(start: Callable[..., Running], session: MemorySession, store: Store) -> Running:
    session.put("s3://data-1/k", BODY, warm=True)
    session.put("s3://data-1/cold", BODY)
    return start(session, anonymous=False, origins=[store[0].settings])


@pytest.mark.parametrize(
    "asked",
    [{"VersionId": "v7"}, {"PartNumber": 2}, {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32},
     {"ExpectedBucketOwner": "111122223333"}, {"RequestPayer": "requester"}],
    ids=lambda asked: next(iter(asked)),
)  # fmt: skip
def test_what_the_cache_cannot_answer_is_the_stores(
    through: Running, store: Store, asked: dict[str, Any]
) -> None:
    client = through.client(NARROW_WRITER_KEY)
    answer = client.get_object(Bucket="data-1", Key="k", **asked)
    assert answer["Body"].read() == b"own"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-store"] == "itself"
    assert [signer for signer, _ in store[1].seen] == ["AKIDMAPPED"]


@pytest.mark.parametrize("error", [AccessDenied("to the master"), OriginInvalid("no strong ETag")])
def test_what_the_daemon_cannot_have_the_caller_may(
    through: Running, session: MemorySession, store: Store, error: CashyError
) -> None:
    session.fetch_error = error
    answer = through.client(NARROW_WRITER_KEY).get_object(Bucket="data-1", Key="cold", Range="bytes=0-3")
    assert answer["Body"].read() == b"own"
    assert store[1].seen == [("AKIDMAPPED", "HEAD /data-1/cold"), ("AKIDMAPPED", "GET /data-1/cold")]
    assert through.counters["proxied_total"] == 1


def test_a_refusal_of_the_store_is_in_its_own_words(
    through: Running, session: MemorySession, store: Store
) -> None:
    session.fetch_error = AccessDenied("archived")
    store[1].body = b"<Error><Code>InvalidObjectState</Code><StorageClass>GLACIER</StorageClass></Error>"
    store[1].answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(store[1].body)
    with pytest.raises(ClientError) as caught:
        through.client().get_object(Bucket="data-1", Key="cold")
    assert caught.value.response["Error"]["Code"] == "InvalidObjectState"


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
     b"HTTP/1.1 404 Not Found\r\nx-amz-delete-marker: true\r\nContent-Length: 0\r\n\r\n"],
)  # fmt: skip
@pytest.mark.parametrize("key", ["k", "cold"])
def test_what_a_head_cannot_explain_the_request_itself_does(
    through: Running, store: Store, head: bytes, key: str
) -> None:
    store[1].head = head
    store[1].answer = b"HTTP/1.1 404 Not Found\r\nx-amz-delete-marker: true\r\nContent-Length: 3\r\n\r\n"
    with pytest.raises(ClientError) as caught:
        through.client().get_object(Bucket="data-1", Key=key)
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"


def test_failures_that_pass_are_not_the_stores_to_answer(
    through: Running, session: MemorySession, store: Store
) -> None:
    session.fetch_error = OriginUnavailable("down")
    with pytest.raises(ClientError, match="ServiceUnavailable"):
        through.client().get_object(Bucket="data-1", Key="cold")
    assert all(line.startswith("HEAD") for _, line in store[1].seen)


def test_nothing_climbs_out_of_a_bucket_that_way(
    through: Running, session: MemorySession, store: Store
) -> None:
    session.fetch_error = AccessDenied("to the master")
    with pytest.raises(ClientError, match="AccessDenied"):
        through.client().get_object(Bucket="data-1", Key="../other/k")
    assert not [line for _, line in store[1].seen if line.startswith("GET")]


def test_a_directory_that_may_not_be_read_is_not_asked_for_ever(
    start: Callable[..., Running], session: MemorySession, tmp_path: Any
) -> None:
    (tmp_path / "b").mkdir()
    session.fetch_error = AccessDenied("mode 000")
    running = start(session, anonymous=False, origins=[DirectoryOriginSettings(path=tmp_path)])
    with pytest.raises(ClientError, match="AccessDenied"):
        running.client().get_object(Bucket="b", Key="cold")
    assert session.calls["fetch"] == 2


def test_the_question_for_the_right_brings_the_checksums(
    through: Running, session: MemorySession, store: Store
) -> None:
    """So a first read by an SDK that wants them takes no second round trip."""
    store[1].head = (
        b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: "v1"\r\nLast-Modified: %b\r\nx-amz-checksum-crc32: AAAAAA==\r\n\r\n'
        % IS_DATE.encode()
    )
    answer = through.client().get_object(Bucket="data-1", Key="cold", ChecksumMode="ENABLED")
    assert answer["ChecksumCRC32"] == "AAAAAA=="
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert not session.calls["stat"]
    assert store[1].seen == [(KEY.key_id, "HEAD /data-1/cold")]


def test_checksums_of_another_version_are_not_taken(
    through: Running, session: MemorySession, store: Store
) -> None:
    store[
        1
    ].head = b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: "v0"\r\nx-amz-checksum-crc32: BBBBBB==\r\n\r\n'
    answer = through.client().head_object(Bucket="data-1", Key="cold", ChecksumMode="ENABLED")
    assert "ChecksumCRC32" not in answer


# ---------------------------------------------------------------- browsers of other sites (CORS)

_ORIGIN = "Origin: https://example.com"
_PREFLIGHT = (_ORIGIN, "Access-Control-Request-Method: GET")


def test_preflights_reach_the_store_unsigned(through: Running, store: Store) -> None:
    store[1].answer = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 3\r\n\r\n"
    status, headers, _ = get(through, "/data-1/k", *_PREFLIGHT, method="OPTIONS")
    assert (status, headers["access-control-allow-origin"]) == (200, "*")
    assert store[1].seen == [("nobody", "OPTIONS /data-1/k")]


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/data-1/k", ()), ("/data-1/k", (_ORIGIN,)), ("/data-1/k", (*_PREFLIGHT, "Content-Length: 1\r\n\r\nx")), ("/", _PREFLIGHT)],
)  # fmt: skip
def test_nothing_else_unsigned_does(
    through: Running, store: Store, target: str, headers: tuple[str, ...]
) -> None:
    assert get(through, target, *headers, method="OPTIONS")[0] in (400, 403, 405)
    assert not store[1].seen


def test_reads_of_other_sites_get_the_stores_own_rules(through: Running, store: Store) -> None:
    client = through.client()
    client.meta.events.register("before-sign.s3.GetObject", _add_origin)
    answer = client.get_object(Bucket="data-1", Key="k")
    assert answer["Body"].read() == b"own"
    assert store[1].seen == [(KEY.key_id, "GET /data-1/k")]


def _add_origin(request: Any, **_: Any) -> None:
    request.headers["Origin"] = "https://example.com"
