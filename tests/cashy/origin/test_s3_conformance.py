"""The S3 origin passes the conformance kit against moto's server and SeaweedFS, by path and by virtual host, and takes over what the store says
of an object.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.config
import botocore.credentials
import pytest
from moto.server import ThreadedMotoServer
from tests.system.harness import KEY, SECRET

from cashy.core.s3_address import Addressing
from cashy.errors import AccessDenied, OriginUnavailable
from cashy.origin.base import Origin
from cashy.origin.s3 import S3Origin

from .conformance import CHECKS, RUNNERS, Reading, fails_with, pattern, reads

CREDENTIALS = botocore.credentials.Credentials(KEY, SECRET)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The endpoint of a moto server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def boto3_at(url: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        config=botocore.config.Config(s3={"addressing_style": "path"}),
    )  # fmt: skip


@pytest.fixture(scope="module")
def client(store: str) -> Iterator[Any]:
    made = boto3_at(store)
    yield made
    made.close()


class StorePlace:
    """A store and an origin that reads from it; boto3 is the other side."""

    def __init__(self, client: Any, url: str, addressing: Addressing) -> None:
        self.client = client
        self.origin: Origin = S3Origin(
            "store",
            url,
            region="us-east-1",
            credentials=CREDENTIALS,
            connections_max=4,
            addressing=addressing,
        )

    def make_bucket(self, bucket: str) -> None:
        try:
            self.client.create_bucket(Bucket=bucket)
        except self.client.exceptions.BucketAlreadyOwnedByYou:
            pass  # moto takes it for the same again, as Amazon does in this region

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.make_bucket(bucket)
        self.client.put_object(Bucket=bucket, Key=key, Body=data)


#: The check, and why a store cannot pass it, whoever asks.
BEYOND = {
    ("seaweedfs", "names_are_literal"): "its keys are paths of files: without dot segments and empty ones"
}


@pytest.mark.parametrize(
    ("loop", "check", "name", "addressing"),
    [
        (loop, check, name, addressing)
        for loop in RUNNERS
        for check in CHECKS
        for name in ("moto", "seaweedfs")
        for addressing in ("path", "virtual-host")
        if (name, check) not in BEYOND
    ],
)
def test_conformance(
    check: str, loop: str, name: str, addressing: Addressing, store: str, request: pytest.FixtureRequest
) -> None:
    url = store if name == "moto" else request.getfixturevalue("weed").url
    made = boto3_at(url)

    async def main() -> None:
        place = StorePlace(made, under_a_name(url) if addressing == "virtual-host" else url, addressing)
        try:
            await CHECKS[check](place)
        finally:
            await place.origin.close()
        assert place.origin.counters()["connections"] == 0

    try:
        RUNNERS[loop](main())
    finally:
        made.close()


def under_a_name(url: str) -> str:
    """The same store by a name that has names below it; an address has none."""
    return url.replace("127.0.0.1", "s3.localhost")


def test_metadata_is_taken_over(store: str, client: Any) -> None:
    client.create_bucket(Bucket="meta")
    client.put_object(
        Bucket="meta", Key="key", Body=b"hello", ContentType="text/x-test", CacheControl="max-age=60", ContentLanguage="de",
        ContentDisposition='attachment; filename="a b.txt"', ContentEncoding="x-own", Metadata={"Colour": "blue", "size": "7"},
        Expires=datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC), StorageClass="STANDARD_IA", ChecksumAlgorithm="SHA256",
    )  # fmt: skip
    said = client.head_object(Bucket="meta", Key="key")

    async def main() -> None:
        origin = S3Origin("store", store, credentials=CREDENTIALS)
        head = await origin.head("meta", "key")
        reading = Reading(origin, "meta", "key")
        assert await reading.data() == b"hello"
        read = reading.sink.meta
        assert read is not None
        for meta in (head, read):
            assert meta.version == said["ETag"]
            assert meta.last_modified == said["LastModified"].timestamp()
            assert meta.content_type == "text/x-test"
            headers = dict(meta.headers)
            assert headers["cache-control"] == "max-age=60"
            assert headers["content-language"] == "de"
            assert headers["content-disposition"] == 'attachment; filename="a b.txt"'
            assert headers["content-encoding"] == "x-own"
            assert headers["expires"].startswith("Wed, 02 Jan 2030")
            assert headers["x-amz-storage-class"] == "STANDARD_IA"
            assert dict(meta.user_metadata) == {"colour": "blue", "size": "7"}
        # Checksums are told to those who ask for them (x-amz-checksum-mode), and known of the whole object only.
        assert "x-amz-checksum-sha256" in dict(head.headers)
        assert "x-amz-checksum-sha256" not in dict(read.headers)
        await origin.close()

    asyncio.run(main())


def test_few_connections_serve_many_reads(store: str, client: Any) -> None:
    data = pattern(20, 1 << 20)
    client.create_bucket(Bucket="many")
    client.put_object(Bucket="many", Key="key", Body=data)

    async def main() -> None:
        origin = S3Origin("store", store, credentials=CREDENTIALS, connections_max=4)
        readings = [Reading(origin, "many", "key", index * 16_000, 16_000 + index) for index in range(64)]
        for index, reading in enumerate(readings):
            assert await reading.data() == data[index * 16_000 : index * 16_000 + 16_000 + index]
            assert origin.counters()["connections"] <= 4
        counters = origin.counters()
        assert counters["requests_total"] == 64
        assert counters["bytes_total"] > sum(16_000 + index for index in range(64))
        await origin.close()

    asyncio.run(main())


def test_nobody_listens() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        origin = S3Origin("gone", f"http://127.0.0.1:{port}", connections_max=2)
        readings = [Reading(origin, "bucket", "key") for _ in range(10)]
        for reading in readings:
            assert type(await reading.wait()) is OriginUnavailable
        with pytest.raises(OriginUnavailable, match=f"127.0.0.1:{port}"):
            await origin.head("bucket", "key")
        await origin.close()

    asyncio.run(main())


class SlowCredentials:
    """Refreshable credentials whose first fetch takes a while, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.fetched = 0

    def refresh_needed(self, refresh_in: float | None = None) -> bool:
        return self.fetched == 0

    def get_frozen_credentials(self) -> Any:
        import time

        time.sleep(0.05)
        if self.error is not None:
            raise self.error
        self.fetched += 1
        return CREDENTIALS.get_frozen_credentials()


def test_reads_wait_for_credentials_without_blocking_the_loop(store: str, client: Any) -> None:
    client.create_bucket(Bucket="keys")
    client.put_object(Bucket="keys", Key="key", Body=b"signed")

    async def main() -> None:
        credentials = SlowCredentials()
        origin = S3Origin("store", store, credentials=credentials)
        readings = [Reading(origin, "keys", "key") for _ in range(5)]
        cancelled = Reading(origin, "keys", "key")
        cancelled.cancel()
        for reading in readings:
            assert await reading.data() == b"signed"
        await cancelled.settle_cancelled()
        assert credentials.fetched == 1
        assert await reads(origin, "keys", "key") == b"signed"
        assert origin.counters()["credential_refreshes_total"] == 1
        await origin.close()

    asyncio.run(main())


def test_credentials_that_cannot_be_had(store: str) -> None:
    async def main() -> None:
        origin = S3Origin(
            "store", store, credentials=SlowCredentials(OSError("no route to the metadata service"))
        )
        error = await fails_with(AccessDenied, origin, "bucket", "key")
        assert "metadata service" in str(error)
        with pytest.raises(AccessDenied):
            await origin.head("bucket", "key")
        await origin.close()

    asyncio.run(main())
