"""cashy:// through real daemons over both kinds of origin: what it lists, what it reads, what it costs, and what it says when it cannot."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cashy
from cashy.client import connection
from cashy.fs import CashyFile, CashyFileSystem

from .harness import DevHost, s3_client, started_store

pytestmark = pytest.mark.system

KIB, MIB = 1 << 10, 1 << 20
BLOCK = MIB


@dataclass
class Place:
    """Where objects are put for a test, and under which path the file system has them."""

    put: Callable[[str, bytes], None]
    top: str
    socket: str

    def fs(self, **options: Any) -> CashyFileSystem:
        return CashyFileSystem(socket=self.socket, **options)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with started_store() as url:
        yield url


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def host(store: str, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevHost]:
    with DevHost(
        tmp_path_factory.mktemp("host"), f"s3={store}", f"file={files}", memory="512MiB", block="1MiB", workers=0,
        config="[freshness]\nrevalidate_after_s = 600\n",
    ) as made:  # fmt: skip
        yield made


@pytest.fixture(params=["s3", "file"])
def place(
    request: pytest.FixtureRequest, host: DevHost, store: str, files: Path, tmp_path: Path
) -> Iterator[Place]:
    bucket = f"b{abs(hash(tmp_path)) % 10**12}"
    if request.param == "file":

        def write(key: str, data: bytes) -> None:
            path = files / bucket / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

        yield Place(write, f"{files}/{bucket}", str(host.socket))
        return
    with contextlib.closing(s3_client(store)) as direct:
        direct.create_bucket(Bucket=bucket)
        yield Place(
            lambda key, data: direct.put_object(Bucket=bucket, Key=key, Body=data), bucket, str(host.socket)
        )


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Requests that this process has sent to the daemon, by their kind."""
    sent: list[str] = []

    def noting(name: str, kept: Any) -> None:
        def note(self: connection.Connection, body: Any, *more: Any) -> Any:
            sent.append(type(body).__name__)
            return kept(self, body, *more)

        monkeypatch.setattr(connection.Connection, name, note)

    noting("start", connection.Connection.start)
    return sent


KEYS = ["one.csv", "two.csv", "deep/three.csv", "deep/er/four.bin", "a b+c%2F ü.txt"]


def test_lists_what_there_is(place: Place) -> None:
    for number, key in enumerate(KEYS):
        place.put(key, b"x" * number)
    fs, top = place.fs(), place.top
    assert fs.ls(top, detail=False) == sorted(
        f"{top}/{name}" for name in ("one.csv", "two.csv", "deep", KEYS[4])
    )
    assert fs.ls(f"{top}/deep/", detail=False) == [f"{top}/deep/er", f"{top}/deep/three.csv"]
    assert fs.ls(f"{top}/one.csv", detail=False) == [f"{top}/one.csv"]
    assert fs.find(top) == sorted(f"{top}/{key}" for key in KEYS)
    assert fs.find(f"{top}/deep", withdirs=True) == sorted(
        f"{top}/{key}" for key in ("deep", "deep/er", "deep/er/four.bin", "deep/three.csv")
    )
    assert fs.find(top, maxdepth=1) == sorted(f"{top}/{key}" for key in KEYS if "/" not in key)
    assert fs.find(f"{top}/one.csv") == [f"{top}/one.csv"]
    assert fs.glob(f"cashy://{top}/*.csv") == [f"{top}/one.csv", f"{top}/two.csv"]
    assert fs.glob(f"{top}/**/*.csv") == sorted(f"{top}/{key}" for key in KEYS if key.endswith("csv"))
    assert {name: info["size"] for name, info in fs.find(top, detail=True).items()} == {
        f"{top}/{key}": number for number, key in enumerate(KEYS)
    }
    assert fs.du(top) == sum(range(len(KEYS)))
    assert list(fs.walk(f"{top}/deep")) == [
        (f"{top}/deep", ["er"], ["three.csv"]), (f"{top}/deep/er", [], ["four.bin"]),
    ]  # fmt: skip


def test_says_what_a_path_is(place: Place) -> None:
    place.put("folder/object", b"12345")
    fs, top = place.fs(), place.top
    about = fs.info(f"cashy://{top}/folder/object")
    assert (about["type"], about["size"], about["name"]) == ("file", 5, f"{top}/folder/object")
    assert fs.ls(f"{top}/folder")[0]["version"] == about["version"]
    assert fs.info(f"{top}/folder")["type"] == fs.info(top)["type"] == "directory"
    assert fs.isdir(f"{top}/folder/")
    assert fs.isfile(f"{top}/folder/object")
    assert not fs.isdir(f"{top}/folder/object")
    assert not fs.isfile(f"{top}/folder")
    assert not fs.exists(f"{top}/folder/obj")
    assert not fs.exists(f"{top}-not-there/object")
    assert fs.size(f"{top}/folder/object") == 5
    assert fs.modified(f"{top}/folder/object").timestamp() == pytest.approx(about["mtime"])
    assert fs.unstrip_protocol(f"{top}/folder/object") == f"cashy://{top}/folder/object"
    assert fs.checksum(f"{top}/folder/object") == fs.checksum(f"{top}/folder/object")


def test_errors_are_those_that_callers_know_with_the_message_of_cashy(place: Place, host: DevHost) -> None:
    place.put("folder/object", b"12345")
    fs, top = place.fs(), place.top
    with pytest.raises(FileNotFoundError, match="missing"):
        fs.open(f"{top}/missing")
    with pytest.raises(FileNotFoundError, match=r"there is no|no bucket"):
        fs.ls("no-such-bucket")
    with pytest.raises(FileNotFoundError, match="missing"):
        fs.ls(f"{top}/missing")
    with pytest.raises(FileNotFoundError, match="no directory that this daemon serves"):
        fs.cat_file("/etc/passwd")
    with pytest.raises(FileNotFoundError, match="s3://bucket/key"):
        fs.info("")
    with pytest.raises(IsADirectoryError, match="list it with ls"):
        fs.open(f"{top}/folder")
    with pytest.raises(IsADirectoryError):
        fs.cat_file(top)
    writes: list[Callable[[], Any]] = [
        lambda: fs.open(f"{top}/new", "wb"), lambda: fs.pipe_file(f"{top}/new", b"x"), lambda: fs.put_file("/etc/hostname", f"{top}/new"),
        lambda: fs.pipe({f"{top}/new": b""}), lambda: fs.rm(f"{top}/folder/object"), lambda: fs.mkdir(f"{top}/f"), lambda: fs.touch(f"{top}/n"),
        lambda: fs.mv(f"{top}/folder/object", f"{top}/x"), lambda: fs.makedirs(f"{top}/f"), lambda: fs.open(f"{top}/new", "ab"),
    ]  # fmt: skip
    for write in writes:
        with pytest.raises(PermissionError, match="only reads: write to the store itself"):
            write()
    with pytest.raises(cashy.NotConnected, match="no-such-socket"):
        CashyFileSystem(socket=f"{host.socket}.no-such-socket").ls(top)


def test_refusals_are_permission_errors(host: DevHost, files: Path) -> None:
    loop = files / "refusing"
    loop.mkdir()
    os.mkfifo(loop / "pipe")
    with pytest.raises(PermissionError, match="not a regular file"):
        CashyFileSystem(socket=str(host.socket)).cat_file(f"{loop}/pipe")


def test_bytes_are_those_of_the_origin(place: Place) -> None:
    data = random.Random(1).randbytes(5 * MIB + 12345)
    place.put("data", data)
    place.put("empty", b"")
    fs, path = place.fs(), f"{place.top}/data"
    assert fs.cat_file(path) == data
    assert fs.cat_file(path, 7, 4 * MIB) == data[7 : 4 * MIB]
    assert fs.cat_file(path, -10) == data[-10:]
    assert fs.cat_file(path, 5, -5) == data[5:-5]
    assert fs.cat_file(path, 10, 5) == b""
    assert fs.cat_file(path, len(data) - 3, len(data) + 3) == data[-3:]
    assert fs.cat_file(f"{place.top}/empty") == b""
    assert fs.cat([path, f"{place.top}/empty"]) == {path: data, f"{place.top}/empty": b""}
    assert fs.cat(place.top, recursive=True)[path] == data
    assert fs.head(path, 100) == data[:100]
    assert fs.tail(path, 100) == data[-100:]
    assert fs.read_block(path, 1000, 50) == data[1000:1050]
    with fs.open(path) as file:
        assert file.read() == data
        assert file.read() == b""
        buffer = bytearray(len(data) + 5)
        file.seek(0)
        assert file.readinto(buffer) == len(data)
        assert buffer[: len(data)] == data
    with fsspec.open(f"cashy://{path}", "rb", socket=place.socket) as file:
        assert file.read(11) == data[:11]


def test_a_view_is_shared_memory_and_outlives_the_file(place: Place) -> None:
    array = np.arange(2 * MIB, dtype=np.float64)
    place.put("array", array.tobytes())
    fs = place.fs()
    with fs.open(f"{place.top}/array") as file:
        seen = np.frombuffer(file.view(), np.float64)
    assert not seen.flags.writeable
    assert not seen.flags.owndata
    np.testing.assert_array_equal(seen, array)
    np.testing.assert_array_equal(
        np.frombuffer(fs.view(f"{place.top}/array", 800, 1600), np.float64), array[100:200]
    )


def test_text_lines_and_compression(place: Place, tmp_path: Path) -> None:
    import gzip

    lines = [f"line {number} ü\n" for number in range(60_000)]
    text = "".join(lines).encode()
    place.put("text", text)
    place.put("text.gz", gzip.compress(text))
    fs = place.fs()
    with fs.open(f"{place.top}/text", "r", encoding="utf-8") as file:
        assert list(file) == lines
    with fs.open(f"{place.top}/text") as file:
        assert list(file) == [line.encode() for line in lines]
    with fs.open(f"{place.top}/text.gz", compression="infer") as file:
        assert file.read() == text
    fs.get(f"{place.top}/text", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == text


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, 4 * MIB), st.just(0)),
        st.tuples(st.just("seek"), st.integers(-MIB, MIB), st.just(1)),
        st.tuples(st.just("seek"), st.integers(-4 * MIB, 1000), st.just(2)),
        st.tuples(st.sampled_from(["read", "readinto", "read1", "readline"]), st.integers(-1, 3 * MIB), st.just(0)),
        st.tuples(st.sampled_from(["read", "readinto", "read1", "readinto1"]), st.integers(0, 70_000), st.just(0)),
    ),
    max_size=14,
)  # fmt: skip


@pytest.fixture(scope="module")
def known(host: DevHost, files: Path) -> tuple[str, str, bytes]:
    (files / "known").mkdir()
    data = random.Random(2).randbytes(3 * MIB + 777)
    (files / "known/data").write_bytes(data)
    return str(host.socket), f"{files}/known/data", data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_reads_as_a_file_in_memory_does(
    known: tuple[str, str, bytes], steps: list[tuple[str, int, int]]
) -> None:
    socket, path, data = known
    model = io.BytesIO(data)
    with CashyFileSystem(socket=socket).open(path) as file:
        for kind, number, whence in steps:
            if kind == "seek":
                _seek_both(file, model, number, whence)
            elif kind.startswith("readinto"):
                ours, theirs = bytearray(max(0, number)), bytearray(max(0, number))
                count = getattr(file, kind)(ours)
                assert count == model.readinto(memoryview(theirs)[:count] if kind == "readinto1" else theirs)
                assert ours == theirs
            elif kind == "read1":
                piece = file.read1(number)
                assert piece == model.read(len(piece))
                assert piece or not number or model.tell() >= len(data)
            else:
                assert getattr(file, kind)(number) == getattr(model, kind)(number)
            assert file.tell() == model.tell()


def _seek_both(file: CashyFile, model: io.BytesIO, number: int, whence: int) -> None:
    base = (0, model.tell(), model.getbuffer().nbytes)[whence]
    if base + number < 0:
        with pytest.raises(ValueError, match="before the start"):
            file.seek(number, whence)
    else:
        assert file.seek(number, whence) == model.seek(base + number)


def test_ranges_are_read_together_and_each_has_its_own_outcome(place: Place, requests: list[str]) -> None:
    data = random.Random(3).randbytes(40 * MIB)
    place.put("data", data)
    fs, path = place.fs(), f"{place.top}/data"
    fs.info(path)
    spots = random.Random(4)
    starts = [spots.randrange(len(data)) for _ in range(100)]
    ends = [start + spots.randrange(3 * MIB // 2) for start in starts]
    requests.clear()
    got = fs.cat_ranges([path] * 100, starts, ends)
    assert got == [data[start:end] for start, end in zip(starts, ends, strict=True)]
    assert 0 < len(requests) <= 100
    mixed = fs.cat_ranges([path, f"{place.top}/none", place.top, path], [0, 0, 0, -5], [5, 5, 5, None])
    assert (mixed[0], mixed[3]) == (data[:5], data[-5:])
    assert isinstance(mixed[1], FileNotFoundError)
    assert isinstance(mixed[2], IsADirectoryError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([path, f"{place.top}/none"], 0, 5, on_error="raise")


def test_reading_through_asks_once_for_each_block_and_ahead(place: Place, requests: list[str]) -> None:
    place.put("through", bytes(64 * MIB))
    fs, path = place.fs(), f"{place.top}/through"
    counted = []
    for _ in ("cold", "warm"):
        requests.clear()
        with fs.open(path) as file:
            pieces = sum(1 for _ in iter(lambda: file.read(64 * KIB), b""))
        assert pieces == 1024
        counted.append((requests.count("Stat"), requests.count("Fetch"), len(requests)))
    (stats, fetches, total), warm = counted
    assert stats == 1
    assert total == stats + fetches
    assert 2 <= fetches <= 64  # fewer than there are blocks where the daemon was ahead of us
    assert warm == (0, 0, 0)


def test_jumping_about_reads_no_block_that_was_not_asked_for(place: Place, host: DevHost) -> None:
    place.put("jumps", bytes(32 * MIB))
    before = host.counters().get("blocks_filled", 0)
    with place.fs().open(f"{place.top}/jumps") as file:
        for block in (20, 3, 11, 29):
            file.seek(block * BLOCK + 1000)
            file.read(100)
    assert host.counters()["blocks_filled"] - before <= 4 + 1  # metadata was learnt with a HEAD


def test_all_bytes_of_a_file_are_of_the_version_it_was_opened_on(place: Place) -> None:
    place.put("changing", b"a" * (4 * MIB))
    fs = place.fs()
    with fs.open(f"{place.top}/changing") as file:
        pickled = pickle.dumps(file)
        assert file.read(1) == b"a"
        place.put("changing", b"b" * (4 * MIB))
        with pytest.raises(cashy.VersionChanged):
            file.read()
    fs.cache.stat(file.details["cashy_name"], revalidate=True)
    assert fs.cat_file(f"{place.top}/changing", 0, 1) == b"b"
    with pytest.raises(cashy.VersionChanged, match="open it again"):
        pickle.loads(pickled)


def _read_on(file: Any, queue: Any) -> None:
    queue.put((file.tell(), file.read(3 * MIB)))
    queue.put(file.fs.cat_file(file.path, 0, 10))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_goes_on_after_a_fork_as_in_a_data_loader(known: tuple[str, str, bytes]) -> None:
    socket, path, data = known
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with CashyFileSystem(socket=socket).open(path) as file:
        file.read(BLOCK + 5)  # reads ahead from here on
        child = context.Process(target=_read_on, args=(file, queue))
        with file._lock:  # as if another thread were reading just now
            child.start()
        assert queue.get(timeout=60) == (BLOCK + 5, data[BLOCK + 5 :][: 3 * MIB])
        assert queue.get(timeout=60) == data[:10]
        child.join(60)
        assert child.exitcode == 0
        assert file.read() == data[BLOCK + 5 :]
    queue.close()
    queue.join_thread()


def test_file_systems_and_files_are_pickled_to_other_programs(known: tuple[str, str, bytes]) -> None:
    socket, path, data = known
    program = (
        "import pickle, sys; fs, file = pickle.load(sys.stdin.buffer);"
        "sys.stdout.buffer.write(file.read(1000) + fs.cat_file(file.path, 0, 10))"
    )
    fs = CashyFileSystem(socket=socket)
    with fs.open(path) as file:
        file.seek(BLOCK + 5)
        done = subprocess.run(
            [sys.executable, "-c", program], input=pickle.dumps((fs, file)), stdout=subprocess.PIPE, check=True, timeout=60
        )  # fmt: skip
    assert done.stdout == data[BLOCK + 5 :][:1000] + data[:10]


def test_threads_share_a_file_system_and_a_file(known: tuple[str, str, bytes]) -> None:
    socket, path, data = known
    fs = CashyFileSystem(socket=socket)
    with ThreadPoolExecutor(8) as threads, fs.open(path) as file:
        parts = list(
            threads.map(lambda at: fs.cat_file(path, at, at + 100_000), range(0, len(data), 100_000))
        )
        assert b"".join(parts) == data
        interval_s = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            taken = list(threads.map(lambda _: file.read(500), range(len(data) // 500 + 1)))
        finally:
            sys.setswitchinterval(interval_s)
    assert sorted(taken) == sorted(data[at : at + 500] for at in range(0, len(data), 500))


def test_instances_are_one_for_each_socket(
    known: tuple[str, str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    socket, path, data = known
    explicit = CashyFileSystem(socket=socket)
    assert CashyFileSystem(socket=socket) is explicit
    monkeypatch.setenv("CASHY_SOCKET", "/nowhere/cashy.sock")
    elsewhere = fsspec.filesystem("cashy")
    monkeypatch.setenv("CASHY_SOCKET", socket)
    implied = fsspec.filesystem("cashy")
    assert elsewhere is not implied
    assert implied.socket == socket
    assert implied.cache is explicit.cache
    assert pickle.loads(pickle.dumps(implied)).cat_file(path, 0, 9) == data[:9]
    assert CashyFileSystem.from_json(explicit.to_json()).cache is explicit.cache


def test_pyarrow_reads_a_dataset(place: Place) -> None:
    parts = []
    for start in (0, 50_000):
        values = np.random.default_rng(start).random(50_000)
        parts.append(pa.table({"n": np.arange(start, start + 50_000), "x": values}))
    for number, part in enumerate(parts):
        sink = io.BytesIO()
        pa.parquet.write_table(part, sink, row_group_size=5_000)
        place.put(f"set/part={number}/data.parquet", sink.getvalue())
    fs = place.fs()
    dataset = pa.dataset.dataset(f"{place.top}/set", filesystem=fs, format="parquet", partitioning="hive")
    assert dataset.count_rows() == 100_000
    table = dataset.to_table(filter=pa.dataset.field("part") == 1, columns=["n", "x"])
    assert table.equals(parts[1])
    one = pa.parquet.read_table(f"{place.top}/set/part=0/data.parquet", filesystem=fs, partitioning=None)
    assert one.equals(parts[0])
