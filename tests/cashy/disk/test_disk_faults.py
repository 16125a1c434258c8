"""What is wrong with one block, with the process, or with the index costs no disk; and what is wrong with the disk does."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import crc32c
import pytest

from cashy.core.disk_index import DiskIndex
from cashy.disk import DiskCorrupt, DiskError, DiskTier, DiskTorn
from cashy.disk import disk as disk_module
from cashy.disk.journal import Journal, read_journal
from cashy.disk.layout import RECORD_BYTES, Record, RecordKind, block_path
from cashy.disk.limits import EVICTIONS_PER_TURN

from .disks import BLOCK, block, digest_of, flip, get, path_of, put, run, tier_at, until


def kept(tier: DiskTier, count: int) -> list[int]:
    return [number for number in range(count) if tier.find(digest_of(number))]


def empty(path: Path) -> None:
    os.truncate(path, 0)


def lose_trailer(path: Path) -> None:
    os.truncate(path, BLOCK + 10)


def lose_bytes(path: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)


@pytest.mark.parametrize("cut_off", [empty, lose_trailer, lose_bytes])
def test_blocks_that_a_crash_cut_off_are_nothing_against_the_disk(
    tmp_path: Path, cut_off: Callable[[Path], None]
) -> None:
    folder = tmp_path / "disk"

    async def story() -> None:
        async with tier_at(folder) as tier:
            for number in range(12):
                assert await put(tier, number)
            for number in range(10):
                cut_off(path_of(folder, number))
            for number in range(10):
                assert isinstance(await get(tier, number), DiskTorn)
            assert tier.disks[0].is_ready
            assert kept(tier, 12) == [10, 11]
            assert await get(tier, 11) == block(11)

    run(story)


def cannot_be_read(path: Path) -> None:
    path.unlink()
    path.symlink_to("/proc/self/mem")  # to read there at 0 is EIO


@pytest.mark.parametrize("harm", [flip, cannot_be_read])
def test_a_disk_whose_blocks_go_bad_one_after_the_other_is_taken_out_and_one_is_not_enough(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    folder = tmp_path / "disk"

    async def story() -> None:
        async with tier_at(folder) as tier:
            for number in range(12):
                assert await put(tier, number)
            for number in range(5):
                harm(path_of(folder, number))
            for number in range(4):
                assert isinstance(await get(tier, number), DiskError)
            assert tier.disks[0].is_ready
            error = await get(tier, 4)
            assert isinstance(error, DiskError)
            assert isinstance(error, DiskCorrupt) == (harm is flip)
            assert tier.states()[str(folder)][0] == "failed"
            assert kept(tier, 12) == []
            await until(lambda: tier.disks[0].is_ready)
            assert [await get(tier, number) for number in range(5, 12)] == [block(n) for n in range(5, 12)]

    run(story)


@contextmanager
def no_descriptors() -> Iterator[None]:
    limits, held = resource.getrlimit(resource.RLIMIT_NOFILE), list[int]()
    # What other tests have left lying must not be closed by the collector meanwhile, and give descriptors back.
    gc.collect()
    gc.disable()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[0]), limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(OSError, match="Too many open files"):
            held.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        gc.enable()


def test_a_process_without_descriptors_gives_up_neither_blocks_nor_disk(tmp_path: Path) -> None:
    async def story() -> None:
        async with tier_at(tmp_path / "disk") as tier:
            for number in range(12):
                assert await put(tier, number)
            with no_descriptors():
                for number in range(10):
                    assert isinstance(await get(tier, number), DiskError)
                    assert not await put(tier, 20 + number)
            assert tier.disks[0].is_ready
            assert [await get(tier, number) for number in range(12)] == [block(n) for n in range(12)]
            assert await put(tier, 20)

    run(story)


def test_a_folder_that_goes_under_readers_keeps_its_blocks(tmp_path: Path) -> None:
    folder, away = tmp_path / "disk", tmp_path / "away"

    async def story() -> None:
        async with tier_at(folder) as tier:
            for number in range(20):
                assert await put(tier, number)
            folder.rename(away)
            for number in range(5):
                found = await get(tier, number)
                assert isinstance(found, DiskError) or not tier.disks[0].is_ready
            assert tier.states()[str(folder)][0] == "failed"
            away.rename(folder)
            await until(lambda: tier.disks[0].is_ready)
            assert [await get(tier, number) for number in range(20)] == [block(n) for n in range(20)]

    run(story)


def test_a_block_that_is_forgotten_while_it_is_written_is_not_there_afterwards(tmp_path: Path) -> None:
    async def story() -> None:
        async with tier_at(tmp_path / "disk") as tier:
            data, done = block(1), asyncio.get_running_loop().create_future()
            tier.write(digest_of(1), BLOCK, crc32c.crc32c(data), memoryview(data), done.set_result)
            tier.forget(digest_of(1))
            assert not tier.wants(digest_of(1), BLOCK, uses=1), "not before it has gone"
            assert not await done
            assert tier.find(digest_of(1)) is None
            await until(lambda: not path_of(tmp_path / "disk", 1).exists())
            assert await put(tier, 1)
            assert await get(tier, 1) == block(1)

    run(story)


def test_a_block_whose_file_is_still_to_go_is_not_taken_up_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with tier_at(tmp_path / "disk") as tier:
            disk, goes_on = tier.disks[0], threading.Event()
            await until(lambda: not disk._tasks)  # the folders were looked through
            assert await put(tier, 1)
            disk._keep_up(goes_on.wait, lambda _: None)
            try:
                tier.forget(digest_of(1))
                await disk._look_into(digest_of(1)[0])
                assert path_of(tmp_path / "disk", 1).exists()
                assert tier.find(digest_of(1)) is None
            finally:
                goes_on.set()
            await until(lambda: not path_of(tmp_path / "disk", 1).exists())

    run(story)


def test_a_probe_that_hangs_leaves_the_disk_stuck_and_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "disk"
    monkeypatch.setattr(disk_module, "READ_S_MAX", 0.2)

    async def story() -> None:
        async with tier_at(folder) as tier:
            for number in range(8):
                assert await put(tier, number)
            for number in range(5):
                flip(path_of(folder, number))
                await get(tier, number)
            os.mkfifo(folder / "probe")
            await until(lambda: tier.states()[str(folder)][0] == "stuck")
            for _ in range(3):
                tier.disks[0].health._probe_at_s = 0.0  # it would be time
                tier.disks[0].look_after()
                await asyncio.sleep(0)
            assert tier.states()[str(folder)][0] == "stuck"
            assert tier.disks[0]._readers.counters()["threads_busy"] == 1
            (folder / "probe").rename(tmp_path / "pipe")
            # The other end is opened: the probe goes on, and finds nothing to read back.
            with (tmp_path / "pipe").open("rb"):
                await until(lambda: not tier.disks[0]._readers.counters()["threads_stuck"])
            await until(lambda: tier.disks[0].is_ready)
            assert await get(tier, 7) == block(7)

    run(story)


#: Header, count, checksum, a key, and the records behind.
@pytest.mark.parametrize("at", [0, 32, 38, 39, 41, 50, 44 + 24 * 6 + 3])
def test_any_damage_to_the_index_is_made_up_for(tmp_path: Path, at: int) -> None:
    folder = tmp_path / "disk"

    async def story() -> None:
        async with tier_at(folder) as tier:
            for number in range(6):
                assert await put(tier, number)
        async with tier_at(folder) as tier:  # it is written anew, with arrays of six
            for number in range(6, 9):
                assert await put(tier, number)
        data = bytearray((folder / "index").read_bytes())
        assert len(data) == 44 + 6 * 24 + 3 * RECORD_BYTES
        data[at] ^= 0x40
        (folder / "index").write_bytes(data)
        async with tier_at(folder) as tier:
            await until(lambda: kept(tier, 9) == list(range(9)))
            assert [await get(tier, number) for number in range(9)] == [block(n) for n in range(9)]

    run(story)


def test_a_size_that_was_cut_is_reached_step_by_step_and_the_loop_goes_on(tmp_path: Path) -> None:
    folder, count = tmp_path / "disk", 40 * EVICTIONS_PER_TURN

    async def story() -> None:
        async with tier_at(folder, blocks=count):
            pass
        index = DiskIndex(count)
        for number in range(count):
            index.add(digest_of(number), BLOCK, 0)
            Path(block_path(folder, digest_of(number)[:16])).touch()
        journal = Journal(folder / "index")
        journal.write_anew(index)
        journal.close()
        async with tier_at(folder, blocks=count // 4) as tier:
            disk, steps = tier.disks[0], list[int]()
            left = disk.block_count
            while disk.levels()["used_bytes"] > disk.options.size_bytes:
                assert not tier.wants(digest_of(count), BLOCK, uses=1), "there is no room yet"
                await asyncio.sleep(0)
                steps.append(left - disk.block_count)
                left = disk.block_count
            assert max(steps) <= 2 * EVICTIONS_PER_TURN, "two of them may fall into one turn"
            assert 0 < left <= count // 4 + count // 100
            assert tier.find(digest_of(0)) is None
            assert tier.find(digest_of(count - 1)) is not None
            await until(lambda: len(list((folder / "blocks").glob("*/*"))) == left)

    run(story)


def test_records_that_were_written_in_part_are_written_over(tmp_path: Path) -> None:
    path, index = tmp_path / "index", DiskIndex(8)
    journal = Journal(path)
    journal.write_anew(index)
    first, second = (Record(RecordKind.ADDED, bytes([number]) * 16, BLOCK, number) for number in (1, 2))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + RECORD_BYTES // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            journal.append([first])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    journal.append([first])
    journal.append([second])
    journal.close()
    assert read_journal(path, index) == 2
    assert [place.key[0] for place in index.places()] == [1, 2]
