"""The SSD tier of real hosts: what leaves memory is read from the SSD again, whatever is done to the disk, and every byte is checked."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import cashy

from .harness import DevCluster, DevHost, RunningHost, wait_until
from .reading import MIB, Readers, digest, digest_of, wait_until_joined, write_objects

pytestmark = pytest.mark.system

BLOCK = 64 << 10
MEMORY = 4 * MIB
OBJECTS = 12  # of 1 MiB: three times the memory
PATIENCE_S = 30.0


def config(disk: Path, size: str = "64MiB") -> str:
    return f'[freshness]\nrevalidate_after_s = 600\n[[disk]]\npath = "{disk}"\nsize = "{size}"\nwrite_bytes_per_s = 0\n'


def new_host(folder: Path, files: Path, disk: Path, size: str = "64MiB") -> DevHost:
    folder.mkdir()
    return DevHost(
        folder, f"file={files}", memory=f"{MEMORY}", block="64KiB", workers=0, config=config(disk, size)
    )


def level(host: RunningHost, name: str) -> int:
    """A figure of the host's disks, summed."""
    return sum(
        value
        for key, value in host.counters().items()
        if key.startswith("disk.") and key.endswith(f".{name}")
    )


def wait_until_ready(host: RunningHost) -> None:
    wait_until(lambda: level(host, "is_ready") > 0, PATIENCE_S, "a disk in service")


def fill_ssd(host: RunningHost, objects: dict[str, str], wanted: Sequence[str]) -> None:
    """Reads everything until all blocks of ``wanted`` are on the SSD and not in memory: what comes by a second time is worth a write.

    The others are used again at once, since what was read only once never pushes out what was used again.
    """
    wait_until_ready(host)
    others = [name for name in objects if name not in wanted]

    def are_there() -> bool:
        with host.connect() as cache:
            for name in (*wanted, *(other for other in others for _ in range(2))):
                assert digest_of(cache, name) == objects[name]
            return all(set(cache.locate(name).tiers) == {"local SSD"} for name in wanted)

    wait_until(are_there, PATIENCE_S, "blocks on the SSD")


def files_of(disk: Path) -> list[Path]:
    return [path for path in (disk / "blocks").rglob("*") if path.is_file() and path.stat().st_size > BLOCK]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def objects(files: Path) -> dict[str, str]:
    return write_objects(files, OBJECTS, MIB)


@pytest.fixture(scope="module")
def big(files: Path, objects: dict[str, str]) -> tuple[str, bytes]:
    """An object of five times the memory; no two blocks are alike."""
    path = files / "bucket" / "big"
    piece = os.urandom(BLOCK)
    path.write_bytes(
        b"".join(number.to_bytes(8, "big") + piece[8:] for number in range(5 * MEMORY // BLOCK)) + b"end"
    )
    return f"file://{path}", path.read_bytes()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk") / "ssd"


@pytest.fixture(scope="module")
def host(
    tmp_path_factory: pytest.TempPathFactory, files: Path, objects: dict[str, str], disk: Path
) -> Iterator[DevHost]:
    with new_host(tmp_path_factory.mktemp("host") / "home", files, disk) as host:
        yield host


def test_a_trace_shows_the_ssd_and_what_is_evicted_goes_from_there_too(
    host: DevHost, objects: dict[str, str]
) -> None:
    wanted = list(objects)[:2]
    fill_ssd(host, objects, wanted)
    traced, evicted = wanted
    with host.connect() as cache:
        report = cache.trace(traced, 0, MIB)
        asked = [event.where for event in report.hosts[0].events if event.what == "asked"]
        assert asked == ["local SSD"] * (MIB // BLOCK)
        assert sum(event.what == "arrived" for event in report.hosts[0].events) == len(asked)
        (went,) = cache.evict([evicted]).hosts
        assert (went.objects, went.ssd_blocks, went.ssd_bytes) == (1, MIB // BLOCK, MIB)
        assert set(cache.locate(evicted).tiers) == {"not on this host"}
        before = host.counters()["blocks_from_origin"]
        assert digest_of(cache, evicted) == objects[evicted]
        assert host.counters()["blocks_from_origin"] - before == MIB // BLOCK


def test_what_left_memory_is_read_from_the_ssd_and_not_from_the_origin(
    host: DevHost, objects: dict[str, str]
) -> None:
    wanted = list(objects)[:2]
    fill_ssd(host, objects, wanted)
    before = host.counters()
    with host.connect() as cache:
        for name in wanted:
            assert digest_of(cache, name) == objects[name]
            tiers = Counter(cache.locate(name).tiers)
            # A little of the memory is left empty for other users.
            assert tiers["local memory"] >= 3 * tiers["local SSD"]
            assert tiers.keys() <= {"local memory", "local SSD"}
    after = host.counters()
    assert after["blocks_from_ssd"] - before["blocks_from_ssd"] == 2 * MIB // BLOCK
    assert after["bytes_from_ssd"] - before["bytes_from_ssd"] == 2 * MIB
    assert after["origin_reads"] == before["origin_reads"]


def test_loading_ahead_brings_blocks_from_the_ssd_into_memory(host: DevHost, objects: dict[str, str]) -> None:
    name = next(iter(objects))
    fill_ssd(host, objects, [name])
    before = host.counters()["origin_reads"]
    with host.connect() as cache:
        # Else there is room for a few of its blocks only: what was used again does not make way for what nobody has read.
        cache.evict([other for other in objects if other != name])
        cache.prefetch([name])
        wait_until(lambda: set(cache.locate(name).tiers) == {"local memory"}, PATIENCE_S, "blocks in memory")
    assert host.counters()["origin_reads"] == before


def test_a_flipped_bit_on_the_ssd_costs_one_read_of_the_origin_and_no_wrong_byte(
    host: DevHost, objects: dict[str, str], disk: Path
) -> None:
    name = next(iter(objects))
    fill_ssd(host, objects, [name])
    for path in files_of(disk):
        with path.open("r+b") as file:
            file.seek(100)
            byte = file.read(1)
            file.seek(100)
            file.write(bytes([byte[0] ^ 1]))
    before = host.counters()
    with (
        host.connect() as cache,
        cache.read(name, 0, BLOCK) as view,
        Path(name.removeprefix("file://")).open("rb") as file,
    ):
        assert bytes(view) == file.read(BLOCK)
    after = host.counters()
    assert after["ssd_reads_failed"] - before.get("ssd_reads_failed", 0) == 1
    assert after["origin_reads"] - before["origin_reads"] == 1
    assert level(host, "corrupt_total") >= 1


def test_a_disk_that_goes_away_costs_no_read(host: DevHost, objects: dict[str, str], disk: Path) -> None:
    wait_until_ready(host)
    shutil.rmtree(disk)
    with host.connect() as cache:
        for name in [*objects, *objects]:
            assert digest_of(cache, name) == objects[name]
    disk.mkdir()  # somebody puts an empty one in its place
    wait_until_ready(host)
    fill_ssd(host, objects, [next(iter(objects))])


def test_a_disk_that_hangs_is_left_alone_and_its_late_bytes_harm_nobody(
    host: DevHost, objects: dict[str, str], disk: Path
) -> None:
    name = next(iter(objects))
    fill_ssd(host, objects, [name])
    for path in files_of(disk):
        path.unlink()
        os.mkfifo(path)  # to open it for reading hangs until somebody writes
    with host.connect() as cache:
        assert digest_of(cache, name) == objects[name]
        assert level(host, "timeouts_total") >= 1
        assert level(host, "is_ready") == 0
        for fifo in (disk / "blocks").rglob("*"):
            if fifo.is_fifo():
                _end_wait(fifo)
        for each in objects:
            assert digest_of(cache, each) == objects[each]
    wait_until_ready(host)


def _end_wait(fifo: Path) -> None:
    try:
        writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        pass  # nobody waits at this one
    else:
        os.write(writer, b"wrong")
        os.close(writer)
    fifo.unlink()


def test_a_full_ssd_stays_within_its_size(tmp_path: Path, files: Path, objects: dict[str, str]) -> None:
    with new_host(tmp_path / "home", files, tmp_path / "ssd", "2MiB") as host:
        wait_until_ready(host)

        def has_evicted() -> bool:
            with host.connect() as cache:
                assert all(digest_of(cache, name) == expected for name, expected in objects.items())
            return level(host, "evicted_total") > 0

        wait_until(has_evicted, PATIENCE_S, "a block that gave way")
        assert 0 < level(host, "used_bytes") <= 2 * MIB


def test_a_view_larger_than_memory_keeps_its_bytes_whatever_becomes_of_the_disk_and_the_master(
    host: DevHost, disk: Path, big: tuple[str, bytes]
) -> None:
    name, expected = big
    wait_until_ready(host)
    with host.connect() as cache:
        with cache.open(name) as item:
            array = np.frombuffer(item.view(), np.uint8)
            assert not array.flags.writeable
            assert digest(array) == digest(expected)
            mapped = host.counters()["blocks_mapped"]
            assert mapped > len(expected) // BLOCK - MEMORY // BLOCK
        for path in files_of(disk):
            path.unlink()
        pid = host.kill_master()
        child = os.fork()
        if not child:
            os._exit(0 if digest(array) == digest(expected) else 1)
        assert os.waitpid(child, 0)[1] == 0
        host.wait_for_other_master(pid)
        assert digest(array) == digest(expected)
        with cache.read(name, BLOCK + 7, 2 * MEMORY) as view:  # of part of it, with a new master
            assert digest(view) == digest(expected[BLOCK + 7 :][: 2 * MEMORY])


def test_a_view_larger_than_the_ssd_lets_be_mapped_is_refused_with_advice(
    tmp_path: Path, files: Path, big: tuple[str, bytes]
) -> None:
    name, expected = big
    with new_host(tmp_path / "home", files, tmp_path / "ssd", "36MiB") as host:
        wait_until_ready(host)
        with host.connect() as cache, cache.open(name) as item:
            with pytest.raises(cashy.ViewTooLarge, match=r"mapped from the host's SSD.*read\(\) in windows"):
                item.view()
            half = item.view(0, 16 * MIB)
            assert digest(half) == digest(expected[: 16 * MIB])
            with pytest.raises(cashy.ViewTooLarge):
                item.view(0, 16 * MIB)  # beside the other
            half.release()
            assert digest(item.view(MIB, 16 * MIB)) == digest(expected[MIB:][: 16 * MIB])


def test_masters_killed_under_readers_cost_no_read_and_no_byte(
    host: DevHost, objects: dict[str, str]
) -> None:
    wait_until_ready(host)
    with Readers([host, host], objects) as readers:
        for _ in range(2):
            assert readers.go_on(3), readers.problems
            pid = host.kill_master()
            host.wait_for_other_master(pid)
        assert readers.go_on(OBJECTS), readers.problems
        wait_until(lambda: host.counters().get("blocks_from_ssd", 0) > 0, PATIENCE_S, "reads of the SSD")
        assert readers.stop() == []


def test_after_a_power_cut_the_ssd_has_it_for_one_question_to_the_origin(
    tmp_path: Path, files: Path, objects: dict[str, str]
) -> None:
    disk = tmp_path / "ssd"
    name = next(iter(objects))
    with new_host(tmp_path / "before", files, disk) as host:
        fill_ssd(host, objects, [name])
        host.kill_for_good()  # and its memory is lost
    with new_host(tmp_path / "after", files, disk) as host:
        # What was written last may not be in the disk's index, and is taken up by and by.
        wait_until(lambda: level(host, "blocks") == len(files_of(disk)), PATIENCE_S, "all blocks of the disk")
        with host.connect() as cache:
            assert digest_of(cache, name) == objects[name]
            counters = host.counters()
            assert counters["blocks_from_ssd"] == MIB // BLOCK
            assert counters["origin_heads"] == 1
            assert counters.get("origin_reads", 0) == 0
            # What the origin has changed meanwhile is not taken from there.
            path = Path(list(objects)[1].removeprefix("file://"))
            kept = path.read_bytes()
            try:
                path.write_bytes(kept[::-1])
                assert digest_of(cache, f"file://{path}") == digest(kept[::-1])
            finally:
                path.write_bytes(kept)


def test_a_block_on_another_hosts_ssd_is_read_from_there_and_shown_there(
    tmp_path: Path, files: Path, objects: dict[str, str]
) -> None:
    (tmp_path / "ssd").mkdir()
    with DevCluster(
        2, tmp_path, f"file={files}", memory=f"{MEMORY}", block="64KiB", workers=0, config=config(tmp_path / "ssd")
    ) as cluster:  # fmt: skip
        wait_until_joined(cluster)
        first, second = cluster.hosts
        for host in cluster.hosts:
            wait_until_ready(host)
        name = next(iter(objects))

        def is_on_the_others_ssd() -> bool:
            with first.connect() as one, second.connect() as other:
                for each in (*objects, *list(objects)[1:]):
                    assert digest_of(one, each) == objects[each]
                    assert digest_of(other, each) == objects[each]
                return "SSD" in one.locate(name).at_home

        wait_until(is_on_the_others_ssd, PATIENCE_S, "a block on the other host's SSD")
        with first.connect() as one:
            location = one.locate(name)
            index = location.at_home.index("SSD")
            assert location.homes[index] == second.name
            before = second.counters()
            with one.read(name, index * BLOCK, BLOCK) as view:
                assert bytes(view) == Path(name.removeprefix("file://")).read_bytes()[index * BLOCK :][:BLOCK]
            after = second.counters()
            assert after["blocks_from_ssd"] > before["blocks_from_ssd"]
            assert after["origin_reads"] == before["origin_reads"]
            with second.hanging_master():
                there = one.locate(list(objects)[-1]).at_home
        assert set(there) <= {"", "unknown"}
