"""The SSD tier on real folders, and what happens to folders."""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cashy.core.disk_index import DiskIndex
from cashy.disk import DiskCorrupt, DiskError, DiskTimeout
from cashy.disk import disk as disk_module
from cashy.disk.journal import Journal, read_journal
from cashy.disk.layout import Record, RecordKind
from cashy.errors import CashyError

from .disks import BLOCK, block, digest_of, flip, get, path_of, put, run, tier_at, until

REPOSITORY = Path(__file__).resolve().parents[3]
#: Kills of a process that writes.
ROUNDS = int(os.environ.get("CASHY_DISK_KILLS", "12"))


def test_what_is_written_is_read_again_also_after_a_restart_and_from_several_disks(tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two"

    async def story() -> None:
        async with tier_at(*folders) as tier:
            for number in range(40):
                assert await put(tier, number, BLOCK - number)
                assert not tier.wants(digest_of(number), BLOCK, uses=1), "it is there"
            assert [await get(tier, number) for number in range(40)] == [
                block(number, BLOCK - number) for number in range(40)
            ]
            assert all(disk.levels()["blocks"] > 5 for disk in tier.disks)
        async with tier_at(*folders) as tier:
            assert [await get(tier, number) for number in range(40)] == [
                block(number, BLOCK - number) for number in range(40)
            ]
            assert await get(tier, 99) is None
            tier.forget(digest_of(0))
            assert await get(tier, 0) is None
            assert sum(disk.counters()["hits_total"] for disk in tier.disks) == 40

    run(story)


def damage_trailer(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-10] + bytes([data[-10] ^ 1]) + data[-9:])


def cut(path: Path) -> None:
    os.truncate(path, BLOCK // 2)


def swap(path: Path) -> None:
    other = next(each for each in path.parent.parent.glob("*/*") if each != path)
    path.write_bytes(other.read_bytes())


def lose(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [flip, damage_trailer, cut, swap, lose])
def test_a_block_that_is_not_what_was_written_is_noticed_and_goes(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    async def story() -> None:
        async with tier_at(tmp_path / "disk") as tier:
            for number in range(3):
                assert await put(tier, number)
            harm(path_of(tmp_path / "disk", 1))
            error = await get(tier, 1)
            assert isinstance(error, DiskError)
            assert isinstance(error, DiskCorrupt) == (harm is not lose)
            assert await get(tier, 1) is None
            assert await get(tier, 0) == block(0)
            assert tier.disks[0].counters()["corrupt_total"] == (harm is not lose)
            assert await put(tier, 1)
            assert await get(tier, 1) == block(1)

    run(story)


@pytest.mark.parametrize("what", ["lost", "torn", "damaged", "another's"])
def test_an_index_that_is_not_whole_is_made_up_for_by_the_files(tmp_path: Path, what: str) -> None:
    index = tmp_path / "disk" / "index"

    async def story() -> None:
        async with tier_at(tmp_path / "disk") as tier:
            for number in range(30):
                assert await put(tier, number)
        data = index.read_bytes()
        if what == "lost":
            index.unlink()
        elif what == "torn":
            index.write_bytes(data[:-7])
        elif what == "damaged":
            index.write_bytes(data[:200] + b"?" + data[201:])
        else:
            index.write_bytes(b"something else")
        (tmp_path / "disk/blocks/00/foreign.txt").write_text("of somebody else")
        (tmp_path / "disk/blocks/new-3").write_text("cut off")
        path_of(tmp_path / "disk", 7).write_bytes(b"no block")
        async with tier_at(tmp_path / "disk") as tier:
            await until(lambda: all(tier.find(digest_of(number)) for number in range(30) if number != 7))
            for number in range(30):
                found = await get(tier, number)
                assert found == block(number) or number == 7
        assert (tmp_path / "disk/blocks/00/foreign.txt").exists()
        assert not (tmp_path / "disk/blocks/new-3").exists()

    run(story)


def test_old_blocks_make_room_but_not_those_that_are_read(tmp_path: Path) -> None:
    async def story() -> None:
        async with tier_at(tmp_path / "disk", blocks=8) as tier:
            for number in range(30):
                assert await put(tier, number)
                assert await get(tier, 0) == block(0)
            kept = [number for number in range(30) if tier.find(digest_of(number))]
            assert kept[0] == 0
            assert kept[1:] == list(range(31 - len(kept), 30))
            assert tier.disks[0].levels()["used_bytes"] <= tier.disks[0].options.size_bytes
            await until(lambda: len(list((tmp_path / "disk/blocks").glob("*/*"))) == len(kept))
        async with tier_at(tmp_path / "disk", blocks=3) as tier:
            # It is ready before the last of what is too much is gone: the loop gets its turn in between.
            await until(lambda: tier.disks[0].levels()["blocks"] <= 4)

    run(story)


def test_a_mapping_outlives_its_block(tmp_path: Path) -> None:
    async def story() -> None:
        async with tier_at(tmp_path / "disk", blocks=4) as tier:
            assert await put(tier, 1, BLOCK - 5)
            found = tier.find(digest_of(1))
            assert found is not None
            fd = await tier.open(found)
            mapping = mmap.mmap(fd, BLOCK - 5, prot=mmap.PROT_READ)
            os.close(fd)
            for number in range(2, 20):
                assert await put(tier, number)
            assert tier.find(digest_of(1)) is None
            await until(lambda: not path_of(tmp_path / "disk", 1).exists())
            assert mapping[:] == block(1, BLOCK - 5)
            mapping.close()
            assert await put(tier, 30)
            flip(path_of(tmp_path / "disk", 30))
            damaged = tier.find(digest_of(30))
            assert damaged is not None
            with pytest.raises(DiskCorrupt):
                await tier.open(damaged)

    run(story)


def test_a_folder_is_one_daemons_and_of_one_layout(tmp_path: Path) -> None:
    folder, other, version = tmp_path / "disk", tmp_path / "other", tmp_path / "version"
    (other / "blocks").mkdir(parents=True)
    version.mkdir()
    (version / "cashy-disk").write_text("cashy disk, layout 99\n")

    async def story() -> None:
        async with tier_at(folder) as first:
            async with tier_at(folder, other, version, is_ready=False) as second:
                await until(lambda: all(reason for _, reason in second.states().values()))
                reasons = [reason for _, reason in second.states().values()]
                assert reasons[0] == f"{folder} is used by another daemon: give each its own folder"
                assert (
                    reasons[1] == f"{other} holds 'blocks' or 'index' of something else: name an empty folder"
                )
                assert "was made by another version ('cashy disk, layout 99')" in reasons[2]
                assert not second.wants(digest_of(1), BLOCK, uses=1)
            assert await put(first, 1)
        with (folder / "cashy-disk").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    run(story)


def test_a_folder_that_goes_takes_the_disk_out_until_it_is_back(tmp_path: Path) -> None:
    folder, away = tmp_path / "disk", tmp_path / "away"

    async def story() -> None:
        async with tier_at(folder) as tier:
            for number in range(10):
                assert await put(tier, number)
            folder.rename(away)
            for number in range(10, 20):
                assert not await put(tier, number)
            await until(lambda: not tier.disks[0].is_ready)
            assert "No such file" in tier.disks[0].health.reason
            assert tier.find(digest_of(0)) is None
            away.rename(folder)
            await until(lambda: tier.disks[0].is_ready)
            assert [await get(tier, number) for number in range(10)] == [
                block(number) for number in range(10)
            ]

    run(story)


def test_a_read_that_hangs_is_told_in_time_and_its_disk_is_left_alone_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "READ_S_MAX", 0.4)

    async def story() -> None:
        async with tier_at(tmp_path / "disk") as tier:
            for number in range(3):
                assert await put(tier, number)
            hanging = path_of(tmp_path / "disk", 1)
            hanging.unlink()
            os.mkfifo(hanging)
            found, calls = tier.find(digest_of(1)), list[object]()
            assert found is not None
            buffer = bytearray(BLOCK)

            def done(error: CashyError | None, _: int) -> None:
                calls.append(type(error))

            tier.read(found, memoryview(buffer), done, lambda: calls.append("detached"))
            await until(lambda: calls)
            assert calls == [DiskTimeout]
            assert tier.states()[str(tmp_path / "disk")][0] == "stuck"
            assert tier.find(digest_of(0)) is None, "nothing is asked of it"
            assert not tier.wants(digest_of(9), BLOCK, uses=1)
            os.close(
                os.open(hanging, os.O_RDWR | os.O_NONBLOCK)
            )  # somebody opens the other end: the call comes back
            await until(lambda: calls == [DiskTimeout, "detached"])
            await until(lambda: tier.disks[0].is_ready)
            assert await get(tier, 0) == block(0)

    run(story)


def test_a_disk_that_hangs_for_ever_does_not_keep_the_process(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, sys; from pathlib import Path; from tests.cashy.disk.disks import *; from cashy.disk import disk\n"
        "disk.READ_S_MAX = 0.2; folder = Path(sys.argv[1])\n"
        "async def main():\n"
        "    async with tier_at(folder) as tier:\n"
        "        assert await put(tier, 1); path_of(folder, 1).unlink(); os.mkfifo(path_of(folder, 1)); print(type(await get(tier, 1)).__name__)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "disk")], cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("DiskTimeout\n")


def test_a_disk_that_is_full_by_others_shrinks_and_is_read(small_disk: Path) -> None:
    async def story() -> None:
        async with tier_at(small_disk / "disk", blocks=400) as tier:
            number = 0
            while await put(tier, number):
                number += 1
            assert 5 < number < 20
            disk = tier.disks[0]
            assert disk.counters()["full_total"] == 1
            assert disk.is_ready
            assert not tier.wants(digest_of(999), BLOCK, uses=1), "for a time nothing is written"
            kept = [each for each in range(number) if tier.find(digest_of(each))]
            assert kept
            assert [await get(tier, each) for each in kept] == [block(each) for each in kept]
            await until(lambda: len(list((small_disk / "disk/blocks").glob("*/*"))) == len(kept))

    run(story)


def test_what_a_killed_daemon_wrote_is_right_or_not_there(tmp_path: Path) -> None:
    folder, first, found = tmp_path / "disk", 0, 0

    async def check(written: list[int]) -> int:
        count = 0
        async with tier_at(folder, blocks=32) as tier:
            await until(lambda: not tier.disks[0]._tasks)  # the folders were looked through
            for number in range(first, written[-1] + 2):
                data = await get(tier, number)
                # The index may be behind: it was to be told of a block that had to go when the kill came.
                assert data is None or type(data) is DiskError or data == block(number)
                count += isinstance(data, bytes)
        return count

    for _ in range(ROUNDS):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cashy.disk.disks", str(folder), str(first)],
            cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        with process.stdout:
            lines = [process.stdout.readline() for _ in range(random.randrange(1, 60))]
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            told = "".join([*lines, process.stdout.read()]).splitlines()
            written = [int(line) for line in told if line.isdigit()] or [first]
        found += asyncio.run(check(written))
        first = written[-1] + 100
    assert found > 5 * ROUNDS


def test_no_more_is_held_for_writing_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "WRITES_WAITING_BYTES_MAX", 4 * BLOCK)

    async def story() -> None:
        async with tier_at(tmp_path / "disk") as tier:
            done: list[bool] = []
            data = memoryview(block(0))
            for number in range(20):
                if tier.wants(digest_of(number), BLOCK, uses=1):
                    tier.write(digest_of(number), BLOCK, 0, data, done.append)
            assert tier.disks[0].levels()["waiting_bytes"] == 4 * BLOCK
            assert tier.disks[0].counters()["refused_by_queue_total"] == 16
            await until(lambda: len(done) == 4)
            assert tier.disks[0].levels()["waiting_bytes"] == 0

    run(story)


def test_the_journal_of_many_blocks_is_read_quickly(tmp_path: Path) -> None:
    """Prints how long; ``CASHY_DISK_BLOCKS=1000000`` for the figure that counts."""
    count = int(os.environ.get("CASHY_DISK_BLOCKS", "20000"))
    index = DiskIndex(count)
    for number in range(count):
        index.add(random.Random(number).randbytes(16), BLOCK, number)
    index.remove(5)
    journal = Journal(tmp_path / "index")
    journal.write_anew(index)
    journal.append(
        [Record(RecordKind.ADDED, bytes(16), 1, 2), Record(RecordKind.REMOVED, index.place(3).key, 0, 0)]
    )
    journal.close()
    index.add(bytes(16), 1, 2)
    index.remove(3)
    found = DiskIndex(count)
    began = os.times().elapsed
    assert read_journal(tmp_path / "index", found) == 2
    print(f"{count} blocks in {os.times().elapsed - began:.2f} s")
    assert {place[1:] for place in found.places()} == {place[1:] for place in index.places()}
