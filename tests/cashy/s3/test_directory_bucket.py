"""A worker's answers about buckets that are directories: through boto3 and raw, with rights, order of origins and refused writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.cashy.s3.conftest import KEY, NARROW_KEY, WRITER_KEY, Running, receive_answer
from tests.cashy.s3.memory_session import MemorySession, StoredObject
from tests.cashy.s3.scripted_store import ScriptedStore, answer
from tests.cashy.s3.signed_requests import signed

from cashy.core.s3_listing_xml import buckets_document
from cashy.settings import DirectoryOriginSettings, S3OriginSettings

MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
PRESENT = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for key in ("a.txt", "a/b", "a/c", "a0"):
        path = tmp_path / "data-1" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"x")
    return tmp_path


@pytest.fixture
def session() -> MemorySession:
    session = MemorySession()
    session.objects["s3://data-1/a.txt"] = StoredObject(b"a.txt")
    return session


@pytest.fixture
def running(start: Callable[..., Running], session: MemorySession, root: Path) -> Running:
    return start(session, anonymous=False, origins=[DirectoryOriginSettings(path=root)])


def test_pages(running: Running) -> None:
    client = running.client()
    for operation in ("list_objects_v2", "list_objects"):
        pages = client.get_paginator(operation).paginate(Bucket="data-1", PaginationConfig={"PageSize": 1})
        assert [one["Key"] for page in pages for one in page["Contents"]] == ["a.txt", "a/b", "a/c", "a0"]
        pages = client.get_paginator(operation).paginate(
            Bucket="data-1", Delimiter="/", PaginationConfig={"PageSize": 1}
        )
        found = [
            one.get("Key", one.get("Prefix"))
            for page in pages
            for one in page.get("Contents", []) + page.get("CommonPrefixes", [])
        ]
        assert found == ["a.txt", "a/", "a0"]
    pages = client.get_paginator("list_object_versions").paginate(
        Bucket="data-1", PaginationConfig={"PageSize": 1}
    )
    assert [(one["Key"], one["VersionId"]) for page in pages for one in page["Versions"]] == [
        (key, "null") for key in ("a.txt", "a/b", "a/c", "a0")
    ]
    assert running.counters["directory_requests_total"] >= 11
    assert running.on_loop(running.worker.all_counters)["listed_keys_total"] == 18  # type: ignore[union-attr]


def test_questions_about_a_bucket(running: Running) -> None:
    client = running.client()
    head = client.head_bucket(Bucket="data-1")["ResponseMetadata"]["HTTPHeaders"]
    assert head["x-amz-bucket-region"] == "us-east-1"
    assert client.get_bucket_location(Bucket="data-1")["LocationConstraint"] is None
    assert "Status" not in client.get_bucket_versioning(Bucket="data-1")
    assert "Uploads" not in client.list_multipart_uploads(Bucket="data-1")
    assert refusal(client.get_bucket_policy, Bucket="data-1") == (404, "NoSuchBucketPolicy")
    assert refusal(client.get_bucket_cors, Bucket="data-1") == (404, "NoSuchCORSConfiguration")
    assert refusal(client.get_bucket_acl, Bucket="data-1") == (501, "NotImplemented")
    assert refusal(client.head_bucket, Bucket="missing") == (404, "404")
    assert refusal(client.list_objects_v2, Bucket="missing") == (404, "NoSuchBucket")
    assert refusal(client.get_bucket_policy, Bucket="missing") == (404, "NoSuchBucket")
    assert refusal(client.list_objects_v2, Bucket="data-1", ContinuationToken="x") == (400, "InvalidArgument")
    assert refusal(client.list_objects_v2, Bucket="data-1", ExpectedBucketOwner="1" * 12) == (
        403,
        "AccessDenied",
    )


def test_questions_about_an_object(running: Running) -> None:
    client = running.client()
    assert client.get_object_tagging(Bucket="data-1", Key="a.txt")["TagSet"] == []
    assert refusal(client.get_object_tagging, Bucket="data-1", Key="missing") == (404, "NoSuchKey")
    assert refusal(client.get_object_acl, Bucket="data-1", Key="a.txt") == (501, "NotImplemented")
    assert client.get_object(Bucket="data-1", Key="a.txt", VersionId="null")["Body"].read() == b"a.txt"
    assert client.head_object(Bucket="data-1", Key="a.txt", VersionId="null")["ContentLength"] == 5
    assert refusal(client.get_object, Bucket="data-1", Key="a.txt", VersionId="v1") == (404, "NoSuchVersion")
    got = client.get_object(Bucket="data-1", Key="a.txt", RequestPayer="requester", Range="bytes=2-")
    assert got["Body"].read() == b"txt"


# ---------------------------------------------------------------- rights


def test_rights_come_before_anything_is_learnt(running: Running) -> None:
    client = running.client(NARROW_KEY)  # data-* only
    for bucket in ("secret", "missing"):
        assert refusal(client.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
        assert refusal(client.get_bucket_location, Bucket=bucket) == (403, "AccessDenied")
    assert client.list_objects_v2(Bucket="data-1")["KeyCount"] == 4
    assert [one["Name"] for one in client.list_buckets()["Buckets"]] == ["data-1"]
    assert [one["Name"] for one in running.client(KEY).list_buckets()["Buckets"]] == ["data-1", "secret"]
    for call in (client.delete_object, client.put_object):  # a key that may only read learns no more
        assert refusal(call, Bucket="data-1", Key="a.txt") == (403, "AccessDenied")


def test_nobody_may_list_without_a_key(running: Running) -> None:
    answered = running.exchange(b"GET /data-1?list-type=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 403 ")
    assert b"a.txt" not in answered


# ---------------------------------------------------------------- writes


def test_writes_are_refused_and_change_nothing(running: Running, root: Path) -> None:
    client = running.client(WRITER_KEY)
    before = sorted(os.walk(root))
    refused = (405, "MethodNotAllowed")
    assert refusal(client.put_object, Bucket="data-1", Key="new", Body=b"x" * 3_000_000) == refused
    assert refusal(client.delete_object, Bucket="data-1", Key="a.txt") == refused
    assert refusal(client.copy_object, Bucket="data-1", Key="n", CopySource="data-1/a.txt") == refused
    assert refusal(client.create_multipart_upload, Bucket="data-1", Key="n") == refused
    assert refusal(client.delete_objects, Bucket="data-1", Delete={"Objects": [{"Key": "a.txt"}]}) == refused
    assert refusal(client.delete_bucket, Bucket="data-1") == refused
    assert refusal(client.put_bucket_tagging, Bucket="data-1", Tagging={"TagSet": []}) == refused
    assert sorted(os.walk(root)) == before


def test_who_expects_to_be_told_to_go_on_gets_the_final_answer(running: Running) -> None:
    head, _ = signed(running, "PUT", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
    with running.connect() as raw:
        raw.sendall(head + b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        status, headers, body = receive_answer(raw)
        assert (status, headers["connection"]) == (405, "close")
        assert b"<Code>MethodNotAllowed</Code>" in body
        raw.shutdown(1)
        assert raw.recv(1) == b""


def test_a_connection_goes_on_after_listings_and_refusals(running: Running) -> None:
    with running.connect() as raw:
        for method, target, status in (
            ("GET", "/data-1?list-type=2", 200),
            ("HEAD", "/data-1", 200),
            ("DELETE", "/data-1/a.txt", 405),
            ("GET", "/data-1?list-type=9", 400),
            ("GET", "/data-1?prefix=%ff", 400),
            ("GET", "/", 200),
            ("GET", "/data-1/a.txt?versionId=null", 200),
        ):
            head, _ = signed(running, method, target, {}, "UNSIGNED-PAYLOAD")
            raw.sendall(head + b"\r\n")
            assert receive_answer(raw, has_body=method != "HEAD")[0] == status, target


# ---------------------------------------------------------------- among stores


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    with ScriptedStore(answer()) as store:
        yield store


@pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden"])
def test_behind_a_store_it_is_the_store_s_if_it_has_the_bucket(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore, root: Path, status: bytes
) -> None:
    store.behave = answer(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)
    origins = [S3OriginSettings(url=store.settings.url), DirectoryOriginSettings(path=root)]
    running = start(session, anonymous=False, origins=origins)
    head, _ = signed(running, "GET", "/data-1", {}, "UNSIGNED-PAYLOAD")
    assert running.exchange(head + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 " + status)
    assert [request.line.split()[0] for request in store.requests] == [b"HEAD", b"GET"]


def test_behind_a_store_it_is_the_directory_s_if_the_store_has_it_not(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore, root: Path
) -> None:
    store.behave = answer(MISSING)
    origins = [S3OriginSettings(url=store.settings.url), DirectoryOriginSettings(path=root)]
    client = start(session, anonymous=False, origins=origins).client(WRITER_KEY)
    assert client.list_objects_v2(Bucket="data-1")["KeyCount"] == 4
    assert refusal(client.put_object, Bucket="data-1", Key="k", Body=b"x") == (405, "MethodNotAllowed")
    assert [request.line for request in store.requests] == [b"HEAD /data-1 HTTP/1.1"]  # and remembered
    # What no directory has is the store's, and it is not asked first.
    del store.requests[:]
    store.behave = answer(PRESENT)
    client.put_object(Bucket="other", Key="k", Body=b"x")
    assert [request.line.split()[0] for request in store.requests] == [b"PUT"]


def test_before_a_store_it_is_the_directory_s(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore, root: Path
) -> None:
    origins = [DirectoryOriginSettings(path=root), S3OriginSettings(url=store.settings.url)]
    client = start(session, anonymous=False, origins=origins).client()
    assert client.list_objects_v2(Bucket="data-1")["KeyCount"] == 4
    assert not store.requests


def test_the_list_of_buckets_has_both(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore, root: Path
) -> None:
    document = buckets_document([("data-1", 5), ("data-2", 6), ("top-secret", 7)])
    store.behave = answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(document), document))
    origins = [S3OriginSettings(url=store.settings.url), DirectoryOriginSettings(path=root)]
    running = start(session, anonymous=False, origins=origins)
    listed = running.client().list_buckets()["Buckets"]
    assert [one["Name"] for one in listed] == ["data-1", "data-2", "secret", "top-secret"]
    assert listed[0]["CreationDate"].timestamp() == 5
    assert [one["Name"] for one in running.client(NARROW_KEY).list_buckets()["Buckets"]] == [
        "data-1",
        "data-2",
    ]
    store.behave = answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")  # nothing of it is hers
    assert [one["Name"] for one in running.client().list_buckets()["Buckets"]] == ["data-1", "secret"]
    for wrong, status in (
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 503),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops", 500),
    ):
        store.behave = answer(wrong)
        assert refusal(running.client().list_buckets)[0] == status


def test_a_directory_that_is_gone_is_no_missing_bucket(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore, tmp_path: Path
) -> None:
    """Else a write would go to the next origin, and its object could not be read."""
    origins = [DirectoryOriginSettings(path=tmp_path / "unmounted"), S3OriginSettings(url=store.settings.url)]
    client = start(session, anonymous=False, origins=origins).client(WRITER_KEY)
    assert refusal(client.put_object, Bucket="data-1", Key="k", Body=b"x") == (503, "ServiceUnavailable")
    assert refusal(client.list_objects_v2, Bucket="data-1") == (503, "ServiceUnavailable")
    assert refusal(client.list_buckets) == (503, "ServiceUnavailable")
    assert not store.requests
