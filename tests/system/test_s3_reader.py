"""The S3 reader in whole hosts: virtual hosts, regions and credentials end to end; connections counted before a real store."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import botocore.credentials
import pytest
from tests.cashy.origin.conformance import Reading, pattern
from tests.cashy.origin.region_store import Key, RegionStore, region_store

from cashy.origin.s3 import S3Origin

from .harness import KEY, SECRET, DevHost, s3_client
from .weed import Weed

pytestmark = pytest.mark.system

MIB = 1 << 20
BUCKET = "bench"  # which the store is started with
BLOCKS = 500
BLOCK_BYTES = 4096


@pytest.mark.parametrize("connections_max", [1, 8])
def test_connections_are_reused(weed: Weed, connections_max: int) -> None:
    """Measured: 500 blocks take as many connections as may be under way at a time, and none is made anew."""
    data = pattern(50, BLOCKS * BLOCK_BYTES)
    client = s3_client(weed.url)
    client.put_object(Bucket=BUCKET, Key="key", Body=data)
    client.close()

    async def main() -> dict[str, int]:
        credentials = botocore.credentials.Credentials(KEY, SECRET)
        origin = S3Origin("weed", weed.url, credentials=credentials, connections_max=connections_max)
        try:
            version = (await origin.head(BUCKET, "key")).version
            for begin in range(0, BLOCKS, 100):
                offsets = [number * BLOCK_BYTES for number in range(begin, begin + 100)]
                readings = [
                    Reading(origin, BUCKET, "key", offset, BLOCK_BYTES, version) for offset in offsets
                ]
                for offset, reading in zip(offsets, readings, strict=True):
                    assert await reading.data() == data[offset : offset + BLOCK_BYTES]
            return origin.counters()
        finally:
            await origin.close()

    counters = asyncio.run(main())
    assert counters["requests_total"] == BLOCKS + 1
    assert counters["connections_opened_total"] == connections_max
    assert counters["retries_total"] == counters["timeouts_total"] == 0


def test_checksum_is_known_from_head(weed: Weed, tmp_path: Path) -> None:
    """SeaweedFS and moto differ in what they keep; what HEAD tells in checksum mode is what HEAD through cashy tells."""
    client = s3_client(weed.url)
    client.put_object(
        Bucket=BUCKET, Key="k", Body=b"hello", ChecksumAlgorithm="CRC32", Metadata={"colour": "blue"}
    )
    told = client.head_object(Bucket=BUCKET, Key="k", ChecksumMode="ENABLED")

    async def main() -> dict[str, str]:
        origin = S3Origin("weed", weed.url, credentials=botocore.credentials.Credentials(KEY, SECRET))
        try:
            meta = await origin.head(BUCKET, "k")
            assert dict(meta.user_metadata) == {"colour": "blue"}
            return dict(meta.headers)
        finally:
            await origin.close()

    headers = asyncio.run(main())
    client.close()
    assert headers.get("x-amz-checksum-crc32") == told.get("ChecksumCRC32")


@pytest.fixture
def store() -> Iterator[RegionStore]:
    with region_store(there="eu-west-3", here="us-east-1") as store:
        store.keys = {KEY: Key(SECRET), "ROLE": Key("role secret", "role token")}
        yield store


def test_host_reads_from_other_regions_and_virtual_hosts_with_a_programs_credentials(
    store: RegionStore, tmp_path: Path
) -> None:
    data = pattern(51, 9 * MIB)
    store.objects["there", "large"] = data
    store.objects["here", "small"] = b"small"
    said = {
        "Version": 1,
        "AccessKeyId": "ROLE",
        "SecretAccessKey": "role secret",
        "SessionToken": "role token",
    }
    script = tmp_path / "role.py"
    script.write_text(f"print({json.dumps(json.dumps(said | {'Expiration': '2100-01-01T00:00:00Z'}))})")
    (tmp_path / "aws").write_text(f'[profile role]\ncredential_process = "{sys.executable}" "{script}"\n')
    variables = {"AWS_CONFIG_FILE": str(tmp_path / "aws"), "AWS_PROFILE": "role"}
    variables |= {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}  # these would go before the program
    (tmp_path / "host").mkdir()
    config = f'[[origin]]\nkind = "s3"\nurl = "{store.url("us-east-1")}"\naddressing = "virtual-host"\n'
    with DevHost(tmp_path / "host", config=config, variables=variables) as host, host.connect() as cache:
        with cache.read("s3://there/large", 0, len(data)) as view:
            assert bytes(view) == data
        with cache.read("s3://here/small", 0, 5) as view:
            assert bytes(view) == b"small"
        hosts = {seen.host.partition(":")[0] for seen in store.seen if seen.status == 206}
        assert hosts == {"there.s3.eu-west-3.localhost", "here.s3.us-east-1.localhost"}
        assert {seen.access_key for seen in store.seen} == {"ROLE"}
        counters = host.counters()
        assert sum(value for name, value in counters.items() if name.endswith(".redirects_total")) >= 1
        # What the proxy writes, it writes where the reader reads.
        client = host.s3(retries=2)
        client.put_object(Bucket="there", Key="new", Body=b"written")
        assert store.objects["there", "new"] == b"written"
        assert client.get_object(Bucket="there", Key="new")["Body"].read() == b"written"


def test_anonymous_store_as_an_option(store: RegionStore, tmp_path: Path) -> None:
    """A store that takes signed requests only says so; the request was unsigned."""
    with DevHost(tmp_path, f"s3-anonymous={store.url()}") as host, host.connect() as cache:
        with pytest.raises(PermissionError):
            cache.stat("s3://here/small")
        assert {seen.access_key for seen in store.seen} == {""}
