"""The client library over both kinds of origin, through real daemons: right bytes, one load per block, restarts, bad input."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import cashy
from cashy.errors import (
    AccessDenied,
    CashyError,
    InvalidName,
    NoSuchBucket,
    NoSuchObject,
    OriginInvalid,
    OriginTimeout,
    OriginUnavailable,
    VersionChanged,
    ViewTooLarge,
)

from .harness import DevHost, FaultyStore, s3_client, started_store, wait_until

pytestmark = pytest.mark.system

MIB = 1 << 20
AWKWARD_KEYS = [
    "a b",
    "plus+plus",
    "per%2Fcent",
    "ünïcode/日本",
    "dots/..x/.y",
    "q?x=1&y#z",
    "colon:comma,'quote'",
]


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with started_store() as url:
        with contextlib.closing(s3_client(url)) as direct:
            direct.create_bucket(Bucket="bucket")
        yield url


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "bucket").mkdir()
    return folder


@pytest.fixture(scope="module")
def host(store: str, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevHost]:
    with DevHost(
        tmp_path_factory.mktemp("host"), f"s3={store}", f"file={files}", memory="128MiB", workers=0
    ) as made:
        yield made


def put(store: str, files: Path, key: str, data: bytes, origin: str) -> str:
    """Puts an object where ``origin`` says; returns its name."""
    if origin == "s3":
        with contextlib.closing(s3_client(store)) as direct:
            direct.put_object(Bucket="bucket", Key=key, Body=data)
        return f"s3://bucket/{key}"
    path = files / "bucket" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"file://{path}"


@pytest.mark.parametrize("origin", ["s3", "file"])
@pytest.mark.parametrize("size", [0, 1, 4095, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 21 * MIB + 5])
def test_a_view_has_the_bytes_of_the_object(
    host: DevHost, store: str, files: Path, origin: str, size: int
) -> None:
    data = os.urandom(size)
    name = put(store, files, f"size-{size}", data, origin)
    with host.connect() as cache, cache.open(name) as item:
        assert item.size == size
        for _ in range(2):
            view = item.view()
            assert view.readonly
            assert view.nbytes == size
            assert hashlib.sha256(view).digest() == hashlib.sha256(data).digest()
        assert b"".join(item.blocks()) == data
        middle = size // 2
        assert bytes(cache.read(name, middle, 1000)) == data[middle : middle + 1000]
        target = bytearray(size + 10)
        assert cache.readinto(name, target) == size
        assert target[:size] == data


@pytest.mark.parametrize("origin", ["s3", "file"])
@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_names_are_taken_literally(host: DevHost, store: str, files: Path, origin: str, key: str) -> None:
    data = key.encode()
    with host.connect() as cache:
        assert bytes(cache.read(put(store, files, key, data, origin))) == data


def test_numpy_and_arrow_keep_what_they_are_made_from(host: DevHost, store: str, files: Path) -> None:
    data = os.urandom(9 * MIB)
    name = put(store, files, "arrays", data, "s3")
    with host.connect() as cache:
        with cache.open(name) as item:
            array = np.frombuffer(item.view(), np.uint8)
            table = pa.py_buffer(item.view(0, 4 * MIB))
        with cache.read(name, 100, 1000) as view:
            short = np.frombuffer(view, np.uint8)
    assert array.tobytes() == data
    assert table.to_pybytes() == data[: 4 * MIB]
    assert short.tobytes() == data[100:1100]
    with pytest.raises(ValueError, match=r"read-only|not writeable"):
        array[0] = 1
    with pytest.raises(ValueError, match="released"):
        view[0]


def test_many_threads_and_clients_load_each_block_once(host: DevHost, store: str, files: Path) -> None:
    data = os.urandom(12 * MIB)
    name = put(store, files, "shared", data, "s3")
    before = host.counters().get("bytes_filled", 0)
    wrong: list[object] = []

    def work(cache: cashy.Cache) -> None:
        try:
            for _ in range(5):
                if bytes(cache.open(name).view()) != data:
                    wrong.append("bytes")
        except CashyError as error:
            wrong.append(error)

    caches = [host.connect() for _ in range(3)]
    threads = [threading.Thread(target=work, args=(cache,)) for cache in caches for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for cache in caches:
        cache.close()
    assert not wrong
    assert host.counters().get("bytes_filled", 0) - before == len(data)


def test_missing_things_are_named(host: DevHost, files: Path) -> None:
    with host.connect() as cache:
        with pytest.raises(NoSuchObject, match="nothing-here"):
            cache.read("s3://bucket/nothing-here")
        with pytest.raises(NoSuchBucket, match="nobucket"):
            cache.read("s3://nobucket/x")
        with pytest.raises(NoSuchObject):
            cache.open(f"file://{files}/bucket/nothing-here")
        with pytest.raises(InvalidName, match="no directory that this daemon serves"):
            cache.open("file:///etc/passwd")
        with pytest.raises(InvalidName, match=r"'\.\.'"):
            cache.open(f"file://{files}/bucket/../../etc/passwd")
        with pytest.raises(InvalidName, match="write file://"):
            cache.open("/etc/passwd")


def test_links_stay_inside_the_directory(host: DevHost, files: Path) -> None:
    (files / "bucket" / "secret-link").symlink_to("/etc/passwd")
    (files / "bucket" / "dotted").symlink_to("../../../../../../etc/passwd")
    (files / "bucket" / "target").write_bytes(b"inside")
    (files / "bucket" / "good-link").symlink_to("target")
    with host.connect() as cache:
        for name in ("secret-link", "dotted"):
            with pytest.raises((AccessDenied, InvalidName, NoSuchObject)):
                cache.read(f"file://{files}/bucket/{name}")
        assert bytes(cache.read(f"file://{files}/bucket/good-link")) == b"inside"
        os.mkfifo(files / "bucket" / "fifo")
        with pytest.raises(CashyError, match=r"(?i)regular|not a file|fifo"):
            cache.read(f"file://{files}/bucket/fifo")


def test_an_object_replaced_during_a_read_is_never_mixed(store: str, files: Path, tmp_path: Path) -> None:
    old, new = b"o" * (20 * MIB), b"n" * (20 * MIB)
    with (
        DevHost(tmp_path, f"s3={store}", workers=0, config="[freshness]\nrevalidate_after_s = 0.0\n") as host,
        host.connect() as cache,
    ):
        name = put(store, files, "replaced", old, "s3")
        item = cache.open(name)
        first = item.view(0, 4 * MIB)
        put(store, files, "replaced", new, "s3")
        with pytest.raises(VersionChanged):
            item.view()
        assert bytes(cache.read(name)) == new
        assert bytes(first) == old[: 4 * MIB]
        stop = threading.Event()

        def overwrite() -> None:
            turn = 0
            while not stop.is_set():
                put(store, files, "replaced", (old, new)[turn % 2], "s3")
                turn += 1

        writer = threading.Thread(target=overwrite)
        writer.start()
        try:
            for _ in range(10):
                try:
                    seen = bytes(cache.read(name))
                except VersionChanged:
                    continue
                assert seen in (old, new)
        finally:
            stop.set()
            writer.join()


def test_an_object_larger_than_memory_comes_in_blocks_and_not_as_a_view(files: Path, tmp_path: Path) -> None:
    size = 2 << 30
    path = files / "bucket" / "large"
    with path.open("wb") as file:
        file.truncate(size)
        for at in range(0, size, 97 * MIB):
            file.seek(at)
            file.write(at.to_bytes(8, "big"))
    with DevHost(tmp_path, f"file={files}", memory="256MiB", workers=0) as host, host.connect() as cache:
        item = cache.open(f"file://{path}")
        with pytest.raises(ViewTooLarge, match=r"blocks\(\)"):
            item.view()
        at = marks = 0
        for block in item.blocks():
            for mark in range(-(-at // (97 * MIB)) * 97 * MIB, at + len(block), 97 * MIB):
                assert int.from_bytes(block[mark - at : mark - at + 8], "big") == mark
                marks += 1
            at += len(block)
            del block
        assert at == size
        assert marks == -(-size // (97 * MIB))
    path.unlink()


def test_a_killed_master_is_reconnected_to_and_held_views_stay(
    host: DevHost, store: str, files: Path
) -> None:
    data = os.urandom(30 * MIB)
    name = put(store, files, "survivor", data, "s3")
    other = put(store, files, "other", os.urandom(100 * MIB), "file")
    with host.connect() as cache:
        held = np.frombuffer(cache.open(name).view(), np.uint8)
        kept = cache.status().arena_id
        for _ in range(3):
            pid = host.kill_master()
            wait_until(lambda pid=pid: _is_other_master(host, pid), what="a new master")  # type: ignore[misc]
            assert cache.status().arena_id == kept
            with cache.open(other) as item:
                for block in item.blocks():
                    block.release()
            assert held.tobytes() == data
        assert bytes(cache.read(name)) == data
    assert held.tobytes() == data


def _is_other_master(host: DevHost, pid: int) -> bool:
    try:
        return host.master_pid() != pid
    except CashyError:
        return False


def _head(length: int, total: int, *, first: int = 0) -> bytes:
    return (
        f'HTTP/1.1 206 Partial Content\r\nETag: "e"\r\nContent-Length: {length}\r\n'
        f"Content-Range: bytes {first}-{first + length - 1}/{total}\r\nLast-Modified: Mon, 03 Oct 2022 22:32:00 GMT\r\n\r\n"
    ).encode()


def _hang(head: str, handler: object) -> None:
    time.sleep(30)


def _reset(head: str, handler: object) -> None:
    # An abortive close: the peer sees RST, once nothing in this process holds the socket any more.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # type: ignore[attr-defined]
    for file in (handler.rfile, handler.wfile, handler.connection):  # type: ignore[attr-defined]
        file.close()


def _short(head: str, handler: object) -> None:
    handler.wfile.write(_head(1000, 1000) + b"x" * 400)  # type: ignore[attr-defined]
    handler.wfile.flush()  # type: ignore[attr-defined]
    handler.connection.shutdown(2)  # type: ignore[attr-defined]
    handler.connection.close()  # type: ignore[attr-defined]


def _wrong_range(head: str, handler: object) -> None:
    handler.wfile.write(_head(1000, 5000, first=1000) + b"x" * 1000)  # type: ignore[attr-defined]


def _garbage(head: str, handler: object) -> None:
    handler.wfile.write(os.urandom(3000))  # type: ignore[attr-defined]


def _huge_head(head: str, handler: object) -> None:
    handler.wfile.write(b"HTTP/1.1 206 Partial Content\r\nX-Filler: " + b"x" * MIB)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (_hang, OriginTimeout),
        (_reset, OriginUnavailable),
        (_short, (OriginInvalid, OriginUnavailable)),
        (_wrong_range, OriginInvalid),
        (_garbage, OriginInvalid),
        (_huge_head, OriginInvalid),
    ],
)
def test_an_origin_that_misbehaves_is_named_and_harms_nobody_else(
    behave: object, expected: type[CashyError], files: Path, tmp_path: Path
) -> None:
    (files / "bucket" / "good").write_bytes(b"good")
    with FaultyStore(behave) as faulty:  # type: ignore[arg-type]
        config = (
            f'[[origin]]\nkind = "s3"\nurl = "{faulty.url}"\nbuckets = ["faulty"]\nhead_timeout_s = 1.0\nread_timeout_s = 1.0\n'
            f'[[origin]]\nkind = "directory"\npath = "{files}"\n'
        )
        with DevHost(tmp_path, workers=0, config=config) as host, host.connect(timeout_s=20) as cache:
            began = time.monotonic()
            with pytest.raises(expected) as caught:
                cache.read("s3://faulty/x", 0, 1000)
            assert time.monotonic() - began < 10
            assert re.search(re.escape(faulty.url), str(caught.value)) or "faulty" in str(caught.value)
            assert bytes(cache.read(f"file://{files}/bucket/good")) == b"good"
            wait_until(lambda: host.counters()["slots_retired"] == 0, what="every failed slot free again")
            assert host.counters()["fills_under_way"] == 0


def test_tiny_objects_that_have_five_times_the_slots(files: Path, tmp_path: Path) -> None:
    """Each has one for its metadata and one for its block; a hundred thousand are put in by themselves in ``tests/cashy/master/test_store.py``."""
    folder = files / "tiny"
    folder.mkdir()
    for number in range(20_000):
        (folder / f"{number}").write_bytes(b"%d" % number)
    (files / "tiny-too").symlink_to("tiny")  # half of them need not be made one by one
    with DevHost(tmp_path, f"file={files}", memory="64MiB", workers=0) as host, host.connect() as cache:
        for bucket in ("tiny", "tiny-too"):
            for number in range(20_000):
                if not number % 1000:
                    cache.prefetch(f"s3://{bucket}/{ahead}" for ahead in range(number, number + 1000))
                if bytes(cache.read(f"s3://{bucket}/{number}")) != b"%d" % number:
                    pytest.fail(f"wrong bytes of {bucket}/{number}")
        assert host.counters().get("fills_failed", 0) == 0
        assert host.counters()["slots_evicted"] > 60_000
