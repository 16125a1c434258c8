"""Buckets in other regions than the configured one, and virtual hosts: found, signed for, and remembered; no stranger is followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import botocore.credentials
import pytest

from cashy.errors import OriginInvalid, SlowDown
from cashy.origin.s3 import S3Origin

from .conformance import RUNNERS, Reading, fails_with, reads
from .region_store import RegionStore, region_store

CREDENTIALS = botocore.credentials.Credentials("AKIDEXAMPLE", "secret")


@asynccontextmanager
async def origin_at(url: str, **options: Any) -> AsyncIterator[S3Origin]:
    origin = S3Origin("regions", url, credentials=CREDENTIALS, **options)
    try:
        yield origin
    finally:
        await origin.close()


def statuses(store: RegionStore) -> list[int]:
    return [seen.status for seen in store.seen]


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("addressing", ["path", "virtual-host"])
def test_bucket_of_another_region_is_followed_and_remembered(addressing: str, loop: str) -> None:
    async def main() -> None:
        with region_store(there="eu-west-3") as store:
            store.objects["there", "key"] = b"in Paris"
            async with origin_at(store.url("us-east-1"), addressing=addressing) as origin:
                assert await reads(origin, "there", "key") == b"in Paris"
                assert await reads(origin, "there", "key") == b"in Paris"
                assert (await origin.head("there", "key")).size_bytes == 8
                assert statuses(store) == [301, 206, 206, 200]
                assert [seen.region for seen in store.seen] == ["us-east-1", *["eu-west-3"] * 3]
                bucket = "" if addressing == "path" else "there."
                assert store.seen[1].host == f"{bucket}s3.eu-west-3.localhost:{store.port}"
                assert store.seen[1].path == ("/there/key" if addressing == "path" else "/key")
                assert origin.counters()["redirects_total"] == 1

    RUNNERS[loop](main())


def test_head_finds_the_region_by_the_header_alone() -> None:
    async def main() -> None:
        with region_store(there="ap-south-2") as store:
            store.objects["there", "key"] = b"x"
            async with origin_at(store.url("us-east-1")) as origin:
                assert (await origin.head("there", "key")).size_bytes == 1
                assert statuses(store) == [301, 200]

    asyncio.run(main())


def test_custom_endpoint_keeps_its_host_and_changes_the_region() -> None:
    async def main() -> None:
        with region_store(there="eu-west-3") as store:
            store.objects["there", "key"] = b"here"
            async with origin_at(store.url()) as origin:
                assert await reads(origin, "there", "key") == b"here"
                assert statuses(store) == [400, 206]
                assert {seen.host for seen in store.seen} == {f"127.0.0.1:{store.port}"}

    asyncio.run(main())


def test_region_in_a_temporary_redirects_host() -> None:
    async def main() -> None:
        with region_store(there="eu-west-3") as store:
            store.is_temporary, store.tells_region = True, False
            store.objects["there", "key"] = b"new"
            async with origin_at(store.url("us-east-1")) as origin:
                assert await reads(origin, "there", "key") == b"new"
                assert statuses(store) == [307, 206]

    asyncio.run(main())


@pytest.mark.parametrize(
    "stranger",
    [
        "s3.eu-west-3.example.com",
        "s3.eu-west-3.localhost.example.com",
        "evil.localhost",
        "x@s3.evil.com",
        "169.254.169.254",
    ],
)
@pytest.mark.parametrize("is_temporary", [True, False])
def test_stranger_is_never_asked(stranger: str, is_temporary: bool) -> None:
    async def main() -> None:
        with region_store(there="eu-west-3") as store:
            store.is_temporary, store.tells_region, store.location = is_temporary, False, stranger
            async with origin_at(store.url("us-east-1")) as origin:
                error = await fails_with(OriginInvalid, origin, "there", "key")
                assert "configure" in str(error)
                with pytest.raises(OriginInvalid):
                    await origin.head("there", "key")
                assert statuses(store) == [307 if is_temporary else 301] * 2

    asyncio.run(main())


def test_bucket_that_moves_again_and_one_that_is_nowhere() -> None:
    async def main() -> None:
        with region_store(moving="eu-west-3") as store:
            store.objects["moving", "key"] = b"data"
            async with origin_at(store.url("us-east-1")) as origin:
                assert await reads(origin, "moving", "key") == b"data"
                store.buckets["moving"] = "ap-south-2"
                assert await reads(origin, "moving", "key") == b"data"
                assert statuses(store) == [301, 206, 301, 206]

    asyncio.run(main())


def test_redirects_to_and_fro_end() -> None:
    async def main() -> None:
        with region_store(there="eu-west-3") as store:
            async with origin_at(store.url("us-east-1")) as origin:

                class Fickle(dict[str, str]):
                    def get(self, key: str, default: object = None) -> str:
                        return "ap-south-2" if len(store.seen) % 2 else "eu-west-3"

                store.buckets = Fickle()
                await fails_with(OriginInvalid, origin, "there", "key")
                assert statuses(store) == [301, 301, 301]

    asyncio.run(main())


def test_virtual_host_falls_back_to_the_path() -> None:
    async def main() -> None:
        with region_store(plain="us-east-1", UPPER_case="us-east-1") as store:
            store.objects["plain", "a"] = store.objects["UPPER-case", "a"] = b"a"
            async with origin_at(store.url("us-east-1"), addressing="virtual-host") as origin:
                assert await reads(origin, "plain", "a") == b"a"
                assert await reads(origin, "UPPER-case", "a") == b"a"
                assert [seen.path for seen in store.seen] == ["/a", "/UPPER-case/a"]
                assert origin.counters()["hosts"] == 2

    asyncio.run(main())


def test_each_host_has_its_own_connections_and_unused_ones_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cashy.origin.s3_hosts.HOSTS_MAX", 3)
    names = [f"bucket-{number}" for number in range(8)]

    async def main() -> None:
        with region_store(**dict.fromkeys(names, "us-east-1")) as store:
            for name in names:
                store.objects[name, "k"] = name.encode()
            async with origin_at(
                store.url("us-east-1"), addressing="virtual-host", connections_max=1
            ) as origin:
                for _ in range(2):
                    for name in names:
                        assert await reads(origin, name, "k") == name.encode()
                        assert await reads(origin, name, "k") == name.encode()
                        assert origin.counters()["hosts"] <= 3
                assert origin.counters()["connections_opened_total"] == 16
                together = [Reading(origin, name, "k") for name in names]
                outcomes = [await reading.wait() for reading in together]
                assert outcomes[:3] == [None] * 3
                assert {type(outcome) for outcome in outcomes[3:]} == {SlowDown}

    asyncio.run(main())
