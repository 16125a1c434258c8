"""What is special about directories: links, odd files, files that change while they are read, threads that
get stuck.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from cashy.errors import (
    AccessDenied,
    CashyError,
    InvalidName,
    NoSuchObject,
    OriginInvalid,
    OriginTimeout,
    OriginUnavailable,
    SlowDown,
    VersionChanged,
)
from cashy.origin import beneath
from cashy.origin.directory import CHUNK_BYTES, DirectoryOrigin

from .conformance import RUNNERS, Reading, fails_with, pattern, reads

OPENERS = ["openat2", "walk"]


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "walk":
        monkeypatch.setattr(beneath, "can_openat2", lambda: False)
    elif not beneath.can_openat2():
        pytest.skip("this kernel or sandbox has no openat2; the other half of these tests covers the walk")


def origin_of(root: Path, **options: object) -> DirectoryOrigin:
    return DirectoryOrigin("dir", root, **{"threads": 2, "read_timeout_s": 30, **options})  # type: ignore[arg-type]


def tree(base: Path) -> Path:
    """A root with links of every kind, and a secret beside it."""
    root = base / "root"
    (root / "bucket" / "folder").mkdir(parents=True)
    (base / "secret").write_bytes(b"secret")
    (root / "top").write_bytes(b"top")
    (root / "bucket" / "file").write_bytes(b"inside")
    for name, target in {
        "in-same": "file", "in-up": "folder/../file", "in-top": "../top", "in-chain": "in-up", "in-folder": "folder",
        "out-up": "../../secret", "out-absolute": str(base / "secret"), "in-absolute": str(root / "bucket" / "file"),
        "out-folder": "../..", "out-chain": "out-up", "loop": "loop", "dangling": "nowhere",
        "magic": "/proc/self/root", "out-and-in": f"../../{root.name}/top",
    }.items():  # fmt: skip
        (root / "bucket" / name).symlink_to(target)
    return root


@pytest.mark.usefixtures("opener")
def test_links_that_stay_inside_are_followed_others_refused(tmp_path: Path) -> None:
    async def main() -> None:
        origin = origin_of(tree(tmp_path))
        for key in ("file", "in-same", "in-up", "in-chain"):
            assert await reads(origin, "bucket", key) == b"inside"
        assert await reads(origin, "bucket", "in-top") == b"top"
        for key in (
            "out-up", "out-absolute", "in-absolute", "out-folder/secret", "out-chain", "loop", "magic/etc/passwd", "out-and-in",
        ):  # fmt: skip
            error = await fails_with(InvalidName, origin, "bucket", key)
            assert "link" in str(error)
        await fails_with(NoSuchObject, origin, "bucket", "dangling")
        await fails_with(NoSuchObject, origin, "bucket", "file/below")
        await origin.close()

    asyncio.run(main())


@pytest.mark.usefixtures("opener")
def test_bucket_that_is_a_link_out_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "escape").symlink_to("..")

    async def main() -> None:
        origin = origin_of(root)
        await fails_with(InvalidName, origin, "escape", "secret")
        await origin.close()

    asyncio.run(main())


@pytest.mark.usefixtures("opener")
def test_only_regular_files_are_served_and_a_fifo_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "bucket" / "folder").mkdir(parents=True)
    os.mkfifo(tmp_path / "bucket" / "fifo")

    async def main() -> None:
        origin = origin_of(tmp_path)
        await fails_with(AccessDenied, origin, "bucket", "fifo")
        await fails_with(NoSuchObject, origin, "bucket", "folder")
        with pytest.raises(AccessDenied):
            await origin.head("bucket", "fifo")
        await origin.close()

    asyncio.run(main())


def test_names_that_mean_another_place(tmp_path: Path) -> None:
    root = tree(tmp_path)

    async def main() -> None:
        origin = origin_of(root)
        for bucket, key in [
            ("bucket", "../top"), ("bucket", "a//b"), ("bucket", "/etc/passwd"), ("bucket", "./file"), ("bucket", "file/"),
            ("bucket", "nul\0"), (".", "top"), ("", "../secret"), ("", "/secret"), ("..", "secret"),
        ]:  # fmt: skip
            await fails_with(InvalidName, origin, bucket, key)
        assert await reads(origin, "", "bucket/file") == b"inside"
        await fails_with(NoSuchObject, origin, "", "nowhere/file")
        await origin.close()

    asyncio.run(main())


def test_missing_root_is_the_origins_fault(tmp_path: Path) -> None:
    async def main() -> None:
        origin = origin_of(tmp_path / "unmounted")
        await fails_with(OriginUnavailable, origin, "bucket", "key")
        await origin.close()

    asyncio.run(main())


class Meddler:
    """Reads like ``os.preadv``, after something was done to the file."""

    def __init__(self, deed: str, path: Path, after_calls: int = 0) -> None:
        self.deed, self.path, self.after_calls = deed, path, after_calls

    def __call__(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        self.after_calls -= 1
        if self.after_calls == -1:
            if self.deed == "rewrite":
                self.path.write_bytes(b"n" * self.path.stat().st_size)
            elif self.deed == "shrink":
                os.truncate(self.path, 10)
            elif self.deed == "grow":
                with self.path.open("ab") as file:
                    file.write(b"more")
            elif self.deed == "eof":
                return 0
        return os.preadv(fd, buffers, offset)


@pytest.mark.parametrize(
    ("deed", "kind"),
    [
        ("rewrite", VersionChanged),
        ("shrink", VersionChanged),
        ("grow", VersionChanged),
        ("eof", OriginInvalid),
    ],
)
@pytest.mark.parametrize("after_calls", [0, 1])
def test_file_that_changes_during_a_read(
    deed: str, kind: type[CashyError], after_calls: int, tmp_path: Path
) -> None:
    path = tmp_path / "bucket" / "file"
    path.parent.mkdir()
    data = pattern(40, 2 * CHUNK_BYTES)
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))  # so that the deed shows even within one tick of the clock

    async def main() -> None:
        origin = origin_of(tmp_path, preadv=Meddler(deed, path, after_calls))
        reading = Reading(origin, "bucket", "file", 0, 1 << 30)
        assert type(await reading.wait()) is kind
        # What was announced before is the old version's.
        assert reading.sink.watermark == after_calls * CHUNK_BYTES
        assert reading.sink.data[: reading.sink.watermark] == data[: reading.sink.watermark]
        await origin.close()

    asyncio.run(main())


def test_short_reads_of_the_system_are_continued(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    data = pattern(41, 100_000)
    (tmp_path / "b" / "file").write_bytes(data)

    def some(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        return os.preadv(fd, [buffers[0][:30_001]], offset)

    async def main() -> None:
        origin = origin_of(tmp_path, preadv=some)
        assert await reads(origin, "b", "file", 7, 99_000) == data[7:99_007]
        await origin.close()

    asyncio.run(main())


def test_failing_disk_is_the_origins_fault(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_bytes(b"data")

    def broken(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        raise OSError(5, "Input/output error")

    async def main() -> None:
        origin = origin_of(tmp_path, preadv=broken)
        reading = Reading(origin, "b", "file")
        assert type(await reading.wait()) is OriginUnavailable
        await origin.close()

    asyncio.run(main())


class DeadMount:
    """Reads hang for as long as the mount is dead, then write their bytes late."""

    def __init__(self) -> None:
        self.is_back = threading.Event()
        self.is_entered = threading.Event()
        self.entered: list[int] = []

    def __call__(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        self.entered.append(fd)
        self.is_entered.set()
        self.is_back.wait(60)
        return os.preadv(fd, buffers, offset)


async def until(condition: object) -> None:
    for _ in range(6000):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


@pytest.mark.parametrize("loop", RUNNERS)
def test_stuck_reads_fail_in_time_and_are_detached_when_their_threads_return(
    loop: str, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_bytes(b"late bytes")
    mount = DeadMount()

    async def main() -> None:
        origin = origin_of(tmp_path, threads=2, read_timeout_s=0.4, preadv=mount)
        try:
            readings = [Reading(origin, "b", "file") for _ in range(2)]
            await until(lambda: all(reading.outcomes for reading in readings))
            assert origin.counters()["threads_stuck"] == 2
            for reading in readings:
                assert type(reading.outcomes[0]) is OriginTimeout
                assert "detached" not in reading.sink.calls
            # Replacements serve on: the file can be looked at, until they are stuck as well.
            assert (await origin.head("b", "file")).size_bytes == 10
            readings += [Reading(origin, "b", "file") for _ in range(2)]
            await until(lambda: len(mount.entered) == 4)
            readings[3].cancel()  # cancelled or not, its thread is stuck
            was_cancelled = not readings[3].outcomes
            await until(lambda: origin.counters()["threads_stuck"] == 4)
            await fails_with(SlowDown, origin, "b", "file")
            with pytest.raises(SlowDown, match="stuck"):
                await origin.head("b", "file")
            assert origin.counters()["threads"] == 4
            mount.is_back.set()
            await until(lambda: origin.counters()["threads_stuck"] == 0)
            await until(lambda: all(reading.sink.calls[-1] == "detached" for reading in readings))
            for reading in readings[:3]:
                await reading.wait()
            if was_cancelled:
                await readings[3].settle_cancelled()
            assert await reads(origin, "b", "file") == b"late bytes"
            await until(lambda: origin.counters()["threads"] <= 2)
            assert origin.counters()["threads_stuck_total"] == 4
        finally:
            mount.is_back.set()
            await origin.close()

    RUNNERS[loop](main())


def test_close_leaves_stuck_threads_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_bytes(b"late bytes")
    mount = DeadMount()
    monkeypatch.setattr("cashy.origin.directory.CLOSE_GRACE_S", 0.1)

    async def main() -> None:
        origin = origin_of(tmp_path, preadv=mount)
        reading = Reading(origin, "b", "file")
        await until(mount.is_entered.is_set)
        await origin.close()
        assert type(reading.outcomes[0]) is OriginTimeout
        assert "detached" not in reading.sink.calls
        mount.is_back.set()
        await until(lambda: "detached" in reading.sink.calls)
        await until(lambda: origin.counters()["threads"] == 0)

    asyncio.run(main())


def test_queue_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_bytes(b"data")
    mount = DeadMount()

    async def main() -> None:
        origin = origin_of(tmp_path, threads=1, queue_max=3, preadv=mount)
        readings = [Reading(origin, "b", "file")]
        await until(lambda: "begin" in readings[0].sink.calls)
        readings += [Reading(origin, "b", "file") for _ in range(3)]
        await fails_with(SlowDown, origin, "b", "file")
        assert origin.counters()["queued"] == 3
        mount.is_back.set()
        for reading in readings:
            assert await reading.data() == b"data"
        await origin.close()

    asyncio.run(main())
