"""The proxy asks where the reader asks: virtual hosts, and buckets in other regions than the configured one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from tests.cashy.origin.region_store import Key, RegionStore, region_store

from cashy.setting_values import HttpUrl
from cashy.settings import S3OriginSettings

from .conftest import WRITER_KEY, Running
from .memory_session import MemorySession


@pytest.fixture
def session() -> MemorySession:
    return MemorySession()


@pytest.fixture
def store() -> Iterator[RegionStore]:
    with region_store(here="us-east-1", there="eu-west-3") as store:
        store.keys = {WRITER_KEY.key_id: Key(WRITER_KEY.secret)}
        yield store


def client_of(start: Callable[..., Running], session: MemorySession, url: str, **settings: Any) -> Any:
    origin = S3OriginSettings(url=HttpUrl(url), region="us-east-1", **settings)
    return start(session, anonymous=False, origins=[origin]).client(WRITER_KEY)


def statuses(store: RegionStore) -> list[int]:
    return [seen.status for seen in store.seen]


@pytest.mark.parametrize("addressing", ["path", "virtual-host"])
def test_reading_request_goes_to_the_region_it_is_told(
    addressing: str, start: Callable[..., Running], session: MemorySession, store: RegionStore
) -> None:
    client = client_of(start, session, store.url("us-east-1"), addressing=addressing)
    for _ in range(2):
        client.head_bucket(Bucket="there")
    assert statuses(store) == [301, 200, 200]
    bucket = "" if addressing == "path" else "there."
    assert store.seen[1].host == f"{bucket}s3.eu-west-3.localhost:{store.port}"
    assert store.seen[1].path == ("/there" if addressing == "path" else "/")


def test_custom_endpoint_gets_another_signature(
    start: Callable[..., Running], session: MemorySession, store: RegionStore
) -> None:
    client = client_of(start, session, store.url())
    client.list_objects_v2(Bucket="there")
    assert [(seen.status, seen.region) for seen in store.seen] == [(400, "us-east-1"), (200, "eu-west-3")]


def test_upload_is_asked_for_again_and_then_goes_where_it_belongs(
    start: Callable[..., Running], session: MemorySession, store: RegionStore
) -> None:
    client = client_of(start, session, store.url("us-east-1"), addressing="virtual-host")
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="there", Key="a b+c", Body=b"x" * 300_000)
    assert caught.value.response["Error"]["Code"] == "SlowDown"  # clients that retry, do on this
    assert ("there", "a b+c") not in store.objects
    client.put_object(Bucket="there", Key="a b+c", Body=b"x" * 300_000)
    assert store.seen[-1].path == "/a%20b%2Bc"
    assert store.seen[-1].status == 200
    client.put_object(Bucket="here", Key="k", Body=b"y")
    assert store.seen[-1].host == f"here.s3.us-east-1.localhost:{store.port}"
    assert store.seen[-1].status == 200


def test_refusal_that_tells_no_region_is_passed_on(
    start: Callable[..., Running], session: MemorySession, store: RegionStore
) -> None:
    store.tells_region, store.location = False, "s3.eu-west-3.example.com"
    client = client_of(start, session, store.url("us-east-1"))
    url = urlsplit(client.generate_presigned_url("list_objects_v2", Params={"Bucket": "there"}))
    connection = HTTPConnection(url.netloc, timeout=20)
    try:
        connection.request("GET", f"{url.path}?{url.query}")
        response = connection.getresponse()
        assert response.status == 301
        assert b"<Code>PermanentRedirect</Code>" in response.read()
    finally:
        connection.close()
    assert set(statuses(store)) == {301}
    assert {seen.host for seen in store.seen} == {f"s3.us-east-1.localhost:{store.port}"}


def test_name_that_no_host_can_have_goes_in_the_path(
    start: Callable[..., Running], session: MemorySession, store: RegionStore
) -> None:
    store.buckets["under_score"] = "us-east-1"
    client = client_of(start, session, store.url("us-east-1"), addressing="virtual-host")
    client.head_bucket(Bucket="under_score")
    assert store.seen[-1].path == "/under_score"
