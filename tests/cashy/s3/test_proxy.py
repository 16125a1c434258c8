"""Requests that go through to a store: what it gets, what comes back, and who may."""

from __future__ import annotations

import base64
import hashlib
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.cashy.s3.conftest import (
    KEY,
    NARROW_KEY,
    NARROW_WRITER_KEY,
    WRITER_KEY,
    Running,
    receive_all,
    receive_answer,
)
from tests.cashy.s3.forms import post_form
from tests.cashy.s3.memory_session import MemorySession
from tests.cashy.s3.scripted_store import OK, Received, ScriptedStore, answer
from tests.cashy.s3.signed_requests import signed, signed_upload, wait_for_end

from cashy.core.aws_chunked import ChunkedDecoder
from cashy.core.sigv4 import authenticate, parse_claim
from cashy.s3.credentials import Key
from cashy.settings import DirectoryOriginSettings, S3OriginSettings

CONTENT = b"0123456789" * 20_000
SECRETS = {WRITER_KEY.key_id: WRITER_KEY.secret, "AKIDMAPPED": "mapped-secret", KEY.key_id: KEY.secret}
XML = b"<Result/>"


@pytest.fixture
def session() -> MemorySession:
    session = MemorySession()
    session.put("s3://data-1/k", b"hello", warm=True)
    return session


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    with ScriptedStore(answer()) as store:
        yield store


@pytest.fixture
def running(start: Callable[..., Running], session: MemorySession, store: ScriptedStore) -> Running:
    return start(session, anonymous=False, origins=[store.settings])


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def verified_signer(request: Received) -> str | None:
    """Verifies a request as a store does; gives whose it is."""
    method, target, _ = request.line.split(b" ")
    path, _, query = target.partition(b"?")
    headers = {name.encode(): value.encode("latin-1") for name, value in request.headers.items()}
    return authenticate(
        method, path, query, headers, now_s=time.time(), secret_of=SECRETS.get, body_sha256=None
    )


# ---------------------------------------------------------------- what the store gets


@pytest.mark.parametrize(
    "key", ["k", "a b", "a+b", "a%2Fb", "ü/日本", "a/../b", "a//b", "~!*'()", "q?x=1&y", "\x01"]
)
def test_names_go_through_and_are_signed(running: Running, store: ScriptedStore, key: str) -> None:
    client = running.client(WRITER_KEY)
    client.put_object(Bucket="data-1", Key=key, Body=b"body", Metadata={"a": "b  c"}, ContentType="text/x")
    (request,) = store.requests
    assert verified_signer(request) == WRITER_KEY.key_id
    assert request.body == b"body"
    headers = request.headers
    assert headers["host"] == store.settings.url.removeprefix("http://")
    assert headers["content-type"] == "text/x"
    assert headers["x-amz-meta-a"] == "b  c"
    assert headers["x-amz-content-sha256"] == hashlib.sha256(b"body").hexdigest()
    assert "expect" not in headers


def test_a_key_is_somebody_else_at_the_store(running: Running, store: ScriptedStore) -> None:
    running.client(NARROW_WRITER_KEY).delete_object(Bucket="data-1", Key="k")
    assert verified_signer(store.requests[0]) == "AKIDMAPPED"


def test_forged_headers_do_not_pass(running: Running, store: ScriptedStore) -> None:
    head, _ = signed(running, "DELETE", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
    forged = b"X-Forwarded-For: 1.2.3.4\r\nX-Original-URL: /secret\r\nX-HTTP-Method-Override: PUT\r\nCookie: a=b\r\n"
    answer = running.exchange(head + forged + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    (request,) = store.requests
    assert set(request.headers) == {"host", "x-amz-content-sha256", "x-amz-date", "authorization"}
    assert request.line == b"DELETE /data-1/k HTTP/1.1"


def test_header_that_nobody_signed_is_refused(running: Running, store: ScriptedStore) -> None:
    head, _ = signed(running, "DELETE", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
    answer = running.exchange(head + b"x-amz-security-token: t\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert not store.requests


@pytest.mark.parametrize("body", [b"", b"x", CONTENT])
def test_presigned_put(running: Running, store: ScriptedStore, body: bytes) -> None:
    client = running.client(WRITER_KEY)
    url = client.generate_presigned_url("put_object", Params={"Bucket": "data-1", "Key": "a b"})
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method="PUT")) as got:
        assert got.status == 200
    (request,) = store.requests
    assert request.body == body
    assert verified_signer(request) == WRITER_KEY.key_id
    assert b"Signature=" not in request.line
    assert request.line.startswith(b"PUT /data-1/a%20b")
    assert request.headers["content-length"] == str(len(body))


def test_presigned_and_changed(running: Running, store: ScriptedStore) -> None:
    url = running.client(WRITER_KEY).generate_presigned_url(
        "put_object", Params={"Bucket": "data-1", "Key": "k"}
    )
    changed = urllib.request.Request(url.replace("data-1", "data-2"), data=b"x", method="PUT")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(changed)
    assert caught.value.code == 403
    caught.value.close()
    assert not store.requests


# ---------------------------------------------------------------- aws-chunked


def test_signed_chunks(running: Running, store: ScriptedStore) -> None:
    head, body = signed_upload(running.url, "/data-1/k", CONTENT, key=WRITER_KEY)
    assert running.exchange(head + body).startswith(b"HTTP/1.1 200 ")
    (request,) = store.requests
    assert request.body == CONTENT
    assert request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "content-encoding" not in request.headers
    assert "x-amz-decoded-content-length" not in request.headers
    assert verified_signer(request) == WRITER_KEY.key_id


@pytest.mark.parametrize("at", [10, 70_000, -1, -100])
def test_a_changed_chunk_leaves_nothing(running: Running, store: ScriptedStore, at: int) -> None:
    head, body = signed_upload(running.url, "/data-1/k", CONTENT, key=WRITER_KEY)
    changed = bytearray(body)
    changed[at] ^= 1
    answer = running.exchange(head + bytes(changed))
    assert answer.split(b" ")[1] in (b"400", b"403")
    wait_for_end(running)
    assert not any(request.is_whole for request in store.requests)


def test_a_changed_body_of_a_signed_hash_leaves_nothing(running: Running, store: ScriptedStore) -> None:
    head, _ = signed(running, "PUT", "/data-1/k", {}, hashlib.sha256(CONTENT).hexdigest())
    framing = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(CONTENT)
    answer = running.exchange(head + framing + CONTENT[:-1] + b"X")
    assert b"<Code>XAmzContentSHA256Mismatch</Code>" in answer
    wait_for_end(running)
    assert not any(request.is_whole for request in store.requests)


@pytest.mark.parametrize("is_chunked_http", [False, True])
def test_unsigned_chunks_with_a_trailer(
    running: Running, store: ScriptedStore, is_chunked_http: bool
) -> None:
    checksum = base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big"))
    headers = {
        "x-amz-decoded-content-length": str(len(CONTENT)), "Content-Encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32",
    }  # fmt: skip
    head, _ = signed(running, "PUT", "/data-1/k", headers, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    body = b"%x\r\n%b\r\n0\r\nx-amz-checksum-crc32:%b\r\n\r\n" % (len(CONTENT), CONTENT, checksum)
    if is_chunked_http:
        data = head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        data += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        data = head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    assert running.exchange(data).startswith(b"HTTP/1.1 200 ")
    (request,) = store.requests
    assert request.headers["x-amz-content-sha256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert request.headers["x-amz-trailer"] == "x-amz-checksum-crc32"
    assert verified_signer(request) == WRITER_KEY.key_id
    decoder = ChunkedDecoder(len(CONTENT), signer=None, trailer=b"x-amz-checksum-crc32")
    assert b"".join(decoder.feed(bytes(request.body))) == CONTENT
    decoder.finish()
    assert decoder.trailer_value == checksum


def test_a_wrong_trailing_checksum_leaves_nothing(running: Running, store: ScriptedStore) -> None:
    headers = {"x-amz-decoded-content-length": "5", "x-amz-trailer": "x-amz-checksum-crc32"}
    head, _ = signed(running, "PUT", "/data-1/k", headers, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    body = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    framing = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    answer = running.exchange(head + framing + body)
    assert b"<Code>BadDigest</Code>" in answer
    wait_for_end(running)
    assert not any(request.is_whole for request in store.requests)


# ---------------------------------------------------------------- what comes back


def test_answers_pass_back(running: Running, store: ScriptedStore) -> None:
    body = b"<ListBucketResult><Name>data-1</Name></ListBucketResult>"
    store.behave = answer(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nx-amz-request-id: THEIRS\r\nx-amz-id-2: HOST\r\n"
        b"Content-Length: %d\r\nSet-Cookie: a=b\r\n\r\n%b" % (len(body), body)
    )
    got = running.client(KEY).list_objects_v2(Bucket="data-1", Prefix="a b", Delimiter="/")
    assert got["Name"] == "data-1"
    assert got["ResponseMetadata"]["RequestId"] == "THEIRS"
    assert got["ResponseMetadata"]["HostId"] == "HOST"
    assert "set-cookie" not in got["ResponseMetadata"]["HTTPHeaders"]
    assert verified_signer(store.requests[0]) == KEY.key_id


def test_errors_pass_back(running: Running, store: ScriptedStore) -> None:
    body = b"<Error><Code>NoSuchUpload</Code><Message>m</Message><RequestId>R</RequestId></Error>"
    store.behave = answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    client = running.client(WRITER_KEY)
    assert refusal(client.list_parts, Bucket="data-1", Key="k", UploadId="u") == (404, "NoSuchUpload")
    assert refusal(client.put_object, Bucket="data-1", Key="k", Body=b"x") == (404, "NoSuchUpload")


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\n wo\r\n3\r\nrld\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    ],
)
@pytest.mark.parametrize("is_old", [False, True])
def test_framings_of_answers(running: Running, store: ScriptedStore, said: bytes, is_old: bool) -> None:
    store.behave = answer(said)
    head, _ = signed(running, "GET", "/data-1/k?versionId=v", {}, "UNSIGNED-PAYLOAD")
    if is_old:
        got = running.exchange(head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n")
        assert got.endswith(b"\r\n\r\nhello world")
        assert b"chunked" not in got
    else:
        got = running.exchange(head + b"\r\n" + head + b"Connection: close\r\n\r\n")
        assert got.count(b"HTTP/1.1 200 OK\r\n") == 2
        if b"chunked" in said:
            assert got.count(b"5\r\nhello\r\n") == 2
            assert got.endswith(b"0\r\n\r\n")
        else:
            assert got.count(b"hello world") == 2
    assert store.connections == 1


def test_an_answer_that_ends_with_its_connection(running: Running, store: ScriptedStore) -> None:
    def behave(request: Received) -> None:
        request.peer.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello world")
        request.peer.close()

    store.behave = behave
    head, _ = signed(running, "GET", "/data-1/k?versionId=v", {}, "UNSIGNED-PAYLOAD")
    with running.connect() as raw:
        raw.sendall(head + b"\r\n" + head + b"Connection: close\r\n\r\n")
        got = receive_all(raw)
    assert got.count(b"Transfer-Encoding: chunked\r\n") == 2
    assert got.count(b"hello world") == 2


def test_head_and_no_content(running: Running, store: ScriptedStore) -> None:
    def behave(request: Received) -> None:
        if request.line.startswith(b"HEAD"):
            request.peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nETag: x\r\n\r\n")
        else:
            request.peer.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    store.behave = behave
    client = running.client(WRITER_KEY)
    for _ in range(3):
        assert client.head_object(Bucket="data-1", Key="k", VersionId="v")["ContentLength"] == 5000
        client.delete_object(Bucket="data-1", Key="k")
    assert store.connections == 1


def test_requests_after_a_proxied_one_are_answered_in_order(running: Running, store: ScriptedStore) -> None:
    hit, _ = signed(running, "GET", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
    upload, _ = signed(running, "PUT", "/data-1/new", {}, "UNSIGNED-PAYLOAD")
    data = b""
    for number in range(3):
        body = bytes([65 + number]) * (number * 40_000 + 1)
        data += upload + b"Content-Length: %d\r\n\r\n" % len(body) + body + hit + b"\r\n"
    got = running.exchange(data + hit + b"Connection: close\r\n\r\n")
    assert got.count(b"HTTP/1.1 200 OK") == 7
    assert got.count(b"\r\n\r\nhello") == 4
    # It is asked about the hits, too.
    uploads = [len(request.body) for request in store.requests if request.body]
    assert uploads == [1, 40_001, 80_001]


# ---------------------------------------------------------------- Expect


def test_expect_is_answered_once_it_is_allowed(running: Running, store: ScriptedStore) -> None:
    head, _ = signed(running, "PUT", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
    with running.connect() as raw:
        raw.sendall(head + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"hello")
        assert receive_answer(raw)[0] == 200
    assert store.requests[0].body == b"hello"


def test_expect_is_answered_for_an_empty_body_too(running: Running, store: ScriptedStore) -> None:
    """botocore takes a final answer without it for the answer to its next request as well."""
    told = b"HTTP/1.1 100 Continue\r\n\r\n"
    head, _ = signed(running, "PUT", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
    got = running.exchange(head + b"Content-Length: 0\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
    assert got.startswith(told + b"HTTP/1.1 200 ")
    assert got.count(told) == 1


def test_expect_is_refused_without_the_body(running: Running, store: ScriptedStore) -> None:
    head, _ = signed(running, "PUT", "/data-1/k", {}, "UNSIGNED-PAYLOAD", NARROW_KEY)
    with running.connect() as raw:
        raw.sendall(head + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        got = receive_all(raw)
    assert got.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close\r\n" in got
    assert not store.requests


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize(
    ("key", "call", "arguments", "code"),
    [
        (KEY, "put_object", {"Bucket": "data-1", "Key": "k", "Body": CONTENT}, "AccessDenied"),
        (WRITER_KEY, "rename_object", {"Bucket": "data-1", "Key": "k", "RenameSource": "/l"}, "NotImplemented"),
        (KEY, "delete_object", {"Bucket": "data-1", "Key": "k"}, "AccessDenied"),
        (KEY, "create_bucket", {"Bucket": "data-2"}, "AccessDenied"),
        (NARROW_KEY, "list_objects_v2", {"Bucket": "other"}, "AccessDenied"),
        (NARROW_KEY, "list_buckets", {}, "AccessDenied"),
        (NARROW_WRITER_KEY, "put_object", {"Bucket": "other", "Key": "k", "Body": b"x"}, "AccessDenied"),
        (NARROW_WRITER_KEY, "copy_object", {"Bucket": "data-1", "Key": "k", "CopySource": "other/k"}, "AccessDenied"),
        (NARROW_WRITER_KEY, "copy_object", {"Bucket": "data-1", "Key": "k", "CopySource": "data-1/../other/k"}, "InvalidArgument"),
        (NARROW_WRITER_KEY, "put_object", {"Bucket": "data-1", "Key": "../other/k", "Body": b"x"}, "InvalidURI"),
        (Key("AKIDNOBODY", "x"), "put_object", {"Bucket": "data-1", "Key": "k", "Body": b"x"}, "InvalidAccessKeyId"),
        (Key(WRITER_KEY.key_id, "x"), "put_object", {"Bucket": "data-1", "Key": "k", "Body": b"x"}, "SignatureDoesNotMatch"),
    ],
)  # fmt: skip
def test_who_may_not(
    running: Running, store: ScriptedStore, key: Key, call: str, arguments: dict[str, Any], code: str
) -> None:
    assert refusal(getattr(running.client(key), call), **arguments)[1] == code
    assert not store.requests


def test_nobody_without_a_key(running: Running, store: ScriptedStore) -> None:
    for target in (b"/", b"/data-1", b"/data-1/k?acl", b"/data-1/k?X-Amz-Security-Token=t"):
        for method in (b"GET", b"PUT", b"DELETE", b"POST", b"OPTIONS"):
            got = running.exchange(
                b"%b %b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
                % (method, target)
            )
            assert got.split(b" ")[1] in (b"403", b"400")
    assert not store.requests


def test_anonymous_reads_go_unsigned(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore
) -> None:
    running = start(session, anonymous=True, origins=[store.settings])
    end = b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    assert running.exchange(b"GET /data-1?list-type=2" + end).startswith(b"HTTP/1.1 200 ")
    assert store.requests[0].line == b"GET /data-1?list-type=2 HTTP/1.1"
    assert set(store.requests[0].headers) == {"host"}
    assert running.exchange(b"DELETE /data-1/k" + end).startswith(b"HTTP/1.1 403 ")
    assert running.exchange(b"GET /data-1/k?acl&AWSAccessKeyId=a&Signature=b&Expires=1" + end).startswith(
        b"HTTP/1.1 400 "
    )
    assert len(store.requests) == 1


def test_an_anonymous_origin_gets_unsigned_requests(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore
) -> None:
    origin = S3OriginSettings(url=store.settings.url, anonymous=True)
    running = start(session, anonymous=False, origins=[origin])
    running.client(WRITER_KEY).delete_object(Bucket="data-1", Key="k")
    assert "authorization" not in store.requests[0].headers


# ---------------------------------------------------------------- which store


def test_buckets_go_to_their_store(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    with ScriptedStore(answer()) as second:
        origins = [
            S3OriginSettings(url=store.settings.url, buckets=("data-*",)),
            DirectoryOriginSettings(path=tmp_path),
            S3OriginSettings(url=second.settings.url, name="second"),
        ]
        running = start(session, anonymous=False, origins=origins)
        client = running.client(WRITER_KEY)
        client.put_object(Bucket="data-1", Key="k", Body=b"first")
        client.put_object(Bucket="other", Key="k", Body=b"second")
        assert refusal(client.put_object, Bucket="folder", Key="k", Body=b"x") == (405, "MethodNotAllowed")
        assert refusal(client.delete_object, Bucket="folder", Key="k") == (405, "MethodNotAllowed")
        (tmp_path / "folder" / "file").write_bytes(b"here")
        assert [one["Key"] for one in client.list_objects_v2(Bucket="folder")["Contents"]] == ["file"]
        assert refusal(client.copy_object, Bucket="data-1", Key="k", CopySource="other/k") == (
            501,
            "NotImplemented",
        )
        assert [bytes(request.body) for request in store.requests] == [b"first"]
        assert [bytes(request.body) for request in second.requests] == [b"second"]


def test_only_directories(start: Callable[..., Running], session: MemorySession, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    running = start(session, anonymous=False, origins=[DirectoryOriginSettings(path=tmp_path)])
    client = running.client(WRITER_KEY)
    assert refusal(client.put_object, Bucket="folder", Key="k", Body=b"x") == (405, "MethodNotAllowed")
    assert refusal(client.put_object, Bucket="missing", Key="k", Body=b"x") == (404, "NoSuchBucket")
    assert refusal(client.create_bucket, Bucket="folder") == (405, "MethodNotAllowed")
    assert [one["Name"] for one in client.list_buckets()["Buckets"]] == ["folder"]


# ---------------------------------------------------------------- the seam for coherence


class Recorder:
    """Notes what is told, and how many bytes of the answer the client can have by then."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.left = 0
        self.on_leaving: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def writing(self, names: Sequence[str]) -> AsyncIterator[None]:
        self.told.append(tuple(names))
        try:
            yield
        finally:
            self.on_leaving()
            self.left += 1


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def recorded(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore, recorder: Recorder
) -> Running:
    return start(session, anonymous=False, origins=[store.settings], writing=recorder)


def test_changes_are_told(recorded: Running, store: ScriptedStore, recorder: Recorder) -> None:
    client = recorded.client(WRITER_KEY)
    store.behave = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<Result/>")
    one = {"Bucket": "data-1", "Key": "a b"}
    client.put_object(**one, Body=b"x")
    client.delete_object(**one)
    client.copy_object(**one, CopySource="data-1/k")
    client.complete_multipart_upload(
        **one, UploadId="u", MultipartUpload={"Parts": [{"ETag": "e", "PartNumber": 1}]}
    )
    client.put_object_tagging(**one, Tagging={"TagSet": []})
    assert recorder.told == [("s3://data-1/a b",)] * 5
    client.upload_part(**one, UploadId="u", PartNumber=1, Body=b"x")
    client.create_multipart_upload(**one)
    client.abort_multipart_upload(**one, UploadId="u")
    client.list_objects_v2(Bucket="data-1")
    client.get_object_acl(**one)
    assert len(recorder.told) == recorder.left == 5
    client.delete_objects(Bucket="data-1", Delete={"Objects": [{"Key": "a"}, {"Key": "ü<"}]})
    assert recorder.told[5:] == [("s3://data-1/a", "s3://data-1/ü<")]
    assert recorder.left == 6
    assert b"<Key>a</Key>" in store.requests[-1].body
    form = client.generate_presigned_post("data-1", "forms/${filename}")
    post_form(form, b"x", "a b")
    assert recorder.told[6:] == [("s3://data-1/forms/a b",)]
    assert recorder.left == 7


def test_documents_that_cannot_be_read_are_not_passed_on(recorded: Running, store: ScriptedStore) -> None:
    for body in (b"nonsense", b"<Delete/>", b""):
        head, _ = signed(recorded, "POST", "/data-1?delete", {}, hashlib.sha256(body).hexdigest())
        got = recorded.exchange(head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        assert b"<Code>MalformedXML</Code>" in got
    assert not store.requests


@pytest.mark.parametrize(
    "said",
    [OK, b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<Result/>",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n9\r\n<Result/>\r\n0\r\n\r\n"],
)  # fmt: skip
def test_success_is_not_heard_before_the_change_is_known(
    recorded: Running, store: ScriptedStore, recorder: Recorder, said: bytes
) -> None:
    """The client cannot have the whole answer while others still hold the old version for current."""
    store.behave = answer(said)
    head, _ = signed(recorded, "PUT", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
    seen = bytearray()
    with recorded.connect() as raw:

        def look() -> None:
            time.sleep(0.05)
            raw.setblocking(False)
            try:
                seen.extend(raw.recv(10_000))
            except BlockingIOError:
                pass
            raw.setblocking(True)

        recorder.on_leaving = look
        raw.sendall(head + b"Content-Length: 1\r\nConnection: close\r\n\r\nx")
        while not recorder.left:
            time.sleep(0.01)
        rest = receive_all(raw)
    assert bytes(seen + rest).startswith(b"HTTP/1.1 20")
    assert rest
    if b"chunked" not in said and b"Result" not in said:
        assert not seen
    if b"Result" in said:
        assert b"<Result/>" in rest


def test_an_aborted_change_is_left_too(recorded: Running, store: ScriptedStore, recorder: Recorder) -> None:
    head, _ = signed(recorded, "PUT", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
    with recorded.connect() as raw:
        raw.sendall(head + b"Content-Length: 100\r\n\r\nhello")
        deadline = time.monotonic() + 10
        while not recorder.told:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    while not recorder.left:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    wait_for_end(recorded)
    assert not any(request.is_whole for request in store.requests)


def test_claims_are_read_twice_alike(running: Running) -> None:
    """The chain of chunks begins with the signature that was verified."""
    head, seed = signed(running, "PUT", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-1])
    claim = parse_claim(b"", {name.lower(): value for name, value in lines.items()})
    assert claim is not None
    assert claim.signature == seed
