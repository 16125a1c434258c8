"""The SSD tier on file systems that fill up, freeze, go read-only and lose their power."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import crc32c
import pytest

from cashy.core import disk_health
from cashy.core.disk_index import Place
from cashy.disk import DiskError, DiskTier
from cashy.disk import disk as disk_module
from cashy.disk.layout import RecordKind

from .disks import BLOCK, block, digest_of, get, put, run, tier_at, until
from .file_systems import Ext4, filled


async def check(tier: DiskTier, count: int) -> int:
    """How many are there; each is right, or an error and gone."""
    found = 0
    for number in range(count):
        data = await get(tier, number)
        assert data is None or isinstance(data, DiskError) or data == block(number)
        found += data == block(number)
    return found


def test_a_disk_that_others_fill_is_written_again_when_they_have_gone(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_health, "FULL_S", 0.1)

    async def story() -> None:
        async with tier_at(small_disk / "disk", blocks=400) as tier:
            assert await put(tier, 0)
            with filled(small_disk):
                assert not await put(tier, 1)
                assert tier.disks[0].counters()["full_total"]
            await until(lambda: tier.wants(digest_of(2), BLOCK, uses=1))
            for number in range(3, 9):
                assert await put(tier, number)
            assert await check(tier, 9) >= 6

    run(story)


def test_a_disk_that_others_have_filled_is_read_from_also_after_a_restart(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_health, "FULL_S", 0.1)

    async def story() -> None:
        async with tier_at(small_disk / "disk", blocks=400) as tier:
            for number in range(8):
                assert await put(tier, number)
        with filled(small_disk):
            async with tier_at(small_disk / "disk", blocks=400) as tier:
                assert [await get(tier, number) for number in range(8)] == [block(n) for n in range(8)]
                await until(
                    lambda: tier.disks[0]._opened and tier.disks[0]._opened.journal.is_open
                )  # it gave up blocks for it
                left = await check(tier, 8)
                assert 0 < left < 8
                assert tier.disks[0].is_ready
        async with tier_at(small_disk / "disk", blocks=400) as tier:
            assert await check(tier, 8) == left

    run(story)


def test_an_index_that_finds_no_room_is_no_failure_of_the_disk(small_disk: Path) -> None:
    async def story() -> None:
        async with tier_at(small_disk / "disk", blocks=400) as tier:
            disk = tier.disks[0]
            for number in range(8):
                assert await put(tier, number)
            await until(lambda: not disk._records)
            with filled(small_disk):
                for number in range(300):  # more than fits into what is left of the index's last page
                    disk._note(
                        RecordKind.REMOVED,
                        Place(0, digest_of(1000 + number)[:16], 0, 0),
                    )
                await until(lambda: disk.counters()["full_total"])
                assert disk.is_ready
                assert disk.counters()["errors_total"] == 0
            assert await check(tier, 8)

    run(story)


async def write_one(tier: DiskTier) -> asyncio.Future[bool]:
    data = block(50)
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    tier.write(digest_of(50), BLOCK, crc32c.crc32c(data), memoryview(data), done.set_result)
    return done


async def remove_one(tier: DiskTier) -> asyncio.Future[bool]:
    tier.forget(digest_of(1))
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    done.set_result(False)
    return done


@pytest.mark.parametrize("begin", [write_one, remove_one])
def test_a_file_system_that_freezes_is_left_alone_until_it_is_back(
    ext4: Ext4, monkeypatch: pytest.MonkeyPatch, begin: Callable[[DiskTier], object]
) -> None:
    monkeypatch.setattr(disk_module, "WRITE_S_MAX", 0.3)
    folder = ext4.folder / "disk"

    async def story() -> None:
        async with tier_at(folder) as tier:
            for number in range(8):
                assert await put(tier, number)
            ext4.freeze()
            done = await begin(tier)  # type: ignore[misc]
            await until(lambda: tier.states()[str(folder)][0] == "stuck")
            assert tier.find(digest_of(0)) is None
            assert not tier.wants(digest_of(60), BLOCK, uses=1)
            assert done.done() == (begin is remove_one), "its bytes are needed as long as it hangs"
            ext4.thaw()
            assert not await done
            await until(lambda: tier.disks[0].is_ready)
            await until(lambda: tier.find(digest_of(0)))
            assert await check(tier, 8) >= 7
            assert await put(tier, 70)

    run(story)


def test_a_file_system_that_turns_read_only_is_taken_out_and_comes_back_with_its_blocks(ext4: Ext4) -> None:
    folder = ext4.folder / "disk"

    async def story() -> None:
        async with tier_at(folder) as tier:
            for number in range(8):
                assert await put(tier, number)
            ext4.sync()
            ext4.turn_read_only()
            for number in range(20, 30):
                assert not await put(tier, number)
            await until(lambda: not tier.disks[0].is_ready)
            assert "Read-only" in tier.states()[str(folder)][1]
            assert await check(tier, 30) == 0
        ext4.unmount()
        ext4.mount()
        async with tier_at(folder) as tier:
            await until(lambda: all(tier.find(digest_of(number)) for number in range(8)))
            assert await check(tier, 30) == 8
            assert await put(tier, 40)

    run(story)


@pytest.mark.parametrize("are_names_there", [False, True])
def test_after_a_power_cut_blocks_are_right_or_not_there(ext4: Ext4, are_names_there: bool) -> None:
    folder = ext4.folder / "disk"

    async def story() -> None:
        async with tier_at(folder) as tier:
            for number in range(20):
                assert await put(tier, number)
            if are_names_there:
                ext4.commit_names()
            ext4.cut_power()
            for number in range(20):
                await get(tier, number)
            await until(lambda: not tier.disks[0].is_ready)
            assert "Input/output error" in tier.states()[str(folder)][1]
        ext4.unmount()
        ext4.mount()
        async with tier_at(folder) as tier:
            if are_names_there:
                await until(lambda: not tier.disks[0]._tasks)
            await check(tier, 20)
            assert tier.disks[0].is_ready
            for number in range(30, 36):
                assert await put(tier, number)
            assert await get(tier, 35) == block(35)

    run(story)
