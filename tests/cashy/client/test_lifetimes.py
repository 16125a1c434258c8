"""How long bytes stay: arrays after their ``with``, their cache, the daemon's death, and in a forked child."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.cashy.client.mini_master import BLOCK, MiniMaster

import cashy

NAME = "s3://bucket/object"
SIZE = 6 * BLOCK + 40


@pytest.fixture
def data(master: MiniMaster) -> bytes:
    return master.put(NAME, SIZE)


def evict(master: MiniMaster) -> int:
    """Evicts what nobody holds, after a client that came later was greeted: so all before it was read."""
    with cashy.connect(master.socket_path) as other:
        other.status()
    return master.evict_all()


@pytest.mark.parametrize(("offset", "length"), [(0, BLOCK), (8, 3 * BLOCK)])
def test_an_array_outlives_its_with_and_its_cache(
    master: MiniMaster, data: bytes, offset: int, length: int
) -> None:
    expected = data[offset : offset + length]
    with cashy.connect(master.socket_path) as cache:
        with cache.read(NAME, offset, length) as view:
            array = np.frombuffer(view, np.uint64)
        with pytest.raises(ValueError, match="released"):
            view[0]
        with cache.open(NAME) as obj:
            buffer = pa.py_buffer(obj.view(offset, length))
    assert evict(master) > 0
    assert array.tobytes() == expected
    assert buffer.to_pybytes() == expected
    assert not array.flags.writeable
    arrow = pa.Array.from_buffers(pa.uint64(), length // 8, [None, buffer])
    del buffer
    assert evict(master) > 0
    assert arrow[0].as_py() == array[0]
    del array, arrow
    gc.collect()
    assert evict(master) == 0


def test_arrow_inside_with_takes_a_slice(cache: cashy.Cache, master: MiniMaster, data: bytes) -> None:
    """pyarrow exports the memoryview object itself, so CPython refuses to release it; of a slice it does not."""
    with cache.read(NAME) as view:
        buffer = pa.py_buffer(view[:])
    assert buffer.to_pybytes() == data
    view = cache.read(NAME)
    held = pa.py_buffer(view)
    with pytest.raises(BufferError):
        view.release()
    assert held.to_pybytes() == data


def test_a_closed_cache_says_so(master: MiniMaster, data: bytes) -> None:
    cache = cashy.connect(master.socket_path)
    cache.read(NAME)
    cache.close()
    cache.close()
    for use in (cache.read, cache.open, cache.stat):
        with pytest.raises(cashy.NotConnected, match="closed"):
            use(NAME)


def test_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASHY_SOCKET", str(tmp_path / "none.sock"))
    with pytest.raises(cashy.NotConnected, match=r"none\.sock.*is it running.*CASHY_SOCKET"):
        cashy.connect()
    with pytest.raises(cashy.NotConnected, match="at most 107 bytes"):
        cashy.connect("/tmp/" + "x" * 120)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x05\x00\x00\x00\xff\xff\xff\xff\xff",
        b"\x02\x00\x00\x00\x3a\x00",
    ],
)
def test_something_else_on_the_socket(tmp_path: Path, said: bytes) -> None:
    path = str(tmp_path / "other.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(cashy.NotConnected):
            cashy.connect(path, timeout_s=2)
        thread.join()


def test_a_daemon_that_does_not_answer(master: MiniMaster, data: bytes) -> None:
    master.frozen_fetches = True
    with cashy.connect(master.socket_path, timeout_s=0.2) as cache:
        with pytest.raises(cashy.NotConnected, match="has not answered for"):
            cache.read(NAME)
        master.frozen_fetches = False
        assert cache.read(NAME) == data


def test_a_signal_handler_runs_during_a_wait(master: MiniMaster, data: bytes) -> None:
    master.frozen_fetches = True
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    try:
        with cashy.connect(master.socket_path, timeout_s=0.5) as cache:
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            with pytest.raises(cashy.NotConnected, match="has not answered"):
                cache.read(NAME)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert len(seen) > 2

            def interrupt(number: int, frame: object) -> None:
                raise KeyboardInterrupt

            signal.signal(signal.SIGALRM, interrupt)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt):
                cache.read(NAME)
            master.frozen_fetches = False
            assert cache.read(NAME) == data
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- restart ---


def test_a_restarted_daemon_is_found_again_and_pins_count(master: MiniMaster, data: bytes) -> None:
    with cashy.connect(master.socket_path, timeout_s=10) as cache:
        array = np.frombuffer(cache.read(NAME, 0, 2 * BLOCK), np.uint8)
        arena = cache._arena
        cache.read(NAME)
        master.kill()
        assert cache.read(NAME) == data, "what is here needs no daemon"
        master.start()
        assert master.adopted
        assert master.evict_all() == 2, "the array's blocks are held by the old table"
        assert cache.read(NAME) == data
        assert cache._arena is arena, "same arena, same mapping"
        assert array.tobytes() == data[: 2 * BLOCK]
        del array
        assert evict(master) == 0
        master.kill()
        master.start()
        assert len(master.arena.tables) == 1, "the old table is gone with its last pin"


def test_a_call_under_way_survives_a_restart(master: MiniMaster, data: bytes) -> None:
    master.frozen_fetches = True
    with cashy.connect(master.socket_path, timeout_s=20) as cache:
        results: list[object] = []

        def work() -> None:
            try:
                results.append(bytes(cache.read(NAME)))
            except Exception as error:
                results.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        while master.requests("fetch") < 4:
            time.sleep(0.01)
        master.kill()
        master.frozen_fetches = False
        time.sleep(0.1)
        master.start()
        for thread in threads:
            thread.join(20)
        assert results == [data] * 4


def test_another_arena_gets_another_mapping(master: MiniMaster, data: bytes) -> None:
    with cashy.connect(master.socket_path, timeout_s=10) as cache:
        array = np.frombuffer(cache.read(NAME), np.uint8)
        blocks = cache.open(NAME).blocks()
        first = next(blocks)
        old = cache._arena
        master.kill()
        master.blocks *= 2
        master.start()
        assert not master.adopted
        other = master.put("s3://bucket/other", 3 * BLOCK)
        assert cache.read("s3://bucket/other") == other
        assert cache._arena is not old
        assert cache.read(NAME) == data
        assert master.evict_all() >= 0
        assert array.tobytes() == data
        assert bytes(first) + b"".join(bytes(b) for b in blocks) == data
        with Path("/proc/self/maps").open() as maps:
            assert sum("(deleted)" in line and "minicashy" in line for line in maps) > 0
        del array, first, blocks, old
        gc.collect()
        with Path("/proc/self/maps").open() as maps:
            assert not [line for line in maps if "(deleted)" in line and master.instance_name in line]


def test_a_daemon_that_stays_away(master: MiniMaster, data: bytes) -> None:
    with cashy.connect(master.socket_path, timeout_s=0.3) as cache:
        master.kill()
        begin = time.monotonic()
        with pytest.raises(cashy.NotConnected, match="is it running"):
            cache.read(NAME)
        assert time.monotonic() - begin < 10


def test_no_descriptor_is_left_behind(master: MiniMaster, data: bytes) -> None:
    def descriptors() -> int:
        gc.collect()
        deadline = time.monotonic() + 10
        while master._clients and time.monotonic() < deadline:
            time.sleep(0.01)  # the daemon is in this process too, and closes its end when it comes to it
        with master._lock:
            master.arena.tables.retire_abandoned()
        return len(os.listdir("/proc/self/fd"))

    cashy.connect(master.socket_path).close()
    before = descriptors()
    for _ in range(5):
        cache = cashy.connect(master.socket_path)
        view = cache.read(NAME)
        cache.close()
        assert view == data
        del view, cache
    assert descriptors() == before


# --- fork ---


def in_child(work: Callable[[], object]) -> int:
    """Runs ``work`` in a forked child; returns its pid. The child exits 0 if all went well."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_keeps_its_arrays_when_the_parent_drops_them(master: MiniMaster, data: bytes) -> None:
    go_read, go_write = os.pipe()
    with cashy.connect(master.socket_path, timeout_s=10) as cache:
        arrays = [np.frombuffer(cache.read(NAME), np.uint8)]

        def child() -> None:
            os.read(go_read, 1)
            assert arrays[0].tobytes() == data

        pid = in_child(child)
        arrays.clear()
        gc.collect()
        assert evict(master) == 7, "frozen: the child may still read them"
        assert cache.read(NAME) == data, "the parent goes on, with a new table"
        assert master.requests("new_table") == 1
        os.write(go_write, b"x")
        assert exit_code(pid) == 0
        assert evict(master) == 0
    os.close(go_read)
    os.close(go_write)


def test_an_array_whose_cache_was_closed_before_the_fork(master: MiniMaster, data: bytes) -> None:
    go_read, go_write = os.pipe()
    with cashy.connect(master.socket_path) as cache:
        arrays = [np.frombuffer(cache.read(NAME), np.uint8)]

    def child() -> None:
        os.read(go_read, 1)
        assert arrays[0].tobytes() == data

    pid = in_child(child)
    arrays.clear()
    gc.collect()
    assert evict(master) == 7
    os.write(go_write, b"x")
    assert exit_code(pid) == 0
    os.close(go_read)
    os.close(go_write)


def test_a_child_reads_over_its_own_connection(master: MiniMaster, data: bytes) -> None:
    other = master.put("s3://bucket/other", 2 * BLOCK)
    with cashy.connect(master.socket_path, timeout_s=10) as cache, cache.open(NAME) as obj:
        blocks = obj.blocks()
        assert next(blocks) == data[:BLOCK]

        def child() -> None:
            assert b"".join(bytes(block) for block in blocks) == data[BLOCK:]
            assert obj.view() == data
            assert cache.read("s3://bucket/other") == other
            cache.close()

        pids = [in_child(child) for _ in range(3)]
        assert b"".join(bytes(block) for block in blocks) == data[BLOCK:]
        assert cache.read("s3://bucket/other") == other
        assert [exit_code(pid) for pid in pids] == [0, 0, 0]
        assert cache.read(NAME) == data


def test_a_fork_while_other_threads_read(master: MiniMaster, data: bytes) -> None:
    wrong: list[object] = []
    stop = threading.Event()
    with cashy.connect(master.socket_path, timeout_s=20) as cache:

        def work(seed: int) -> None:
            try:
                while not stop.is_set():
                    if cache.read(NAME, seed * BLOCK) != data[seed * BLOCK :]:
                        wrong.append(seed)
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()

        def child() -> None:
            for _ in range(3):
                assert cache.read(NAME) == data

        try:
            for _ in range(15):
                pid = in_child(child)
                master.evict_all()
                assert exit_code(pid) == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
        assert wrong == []
    gc.collect()


def _load(item: tuple[Any, str, int]) -> int:
    cache, name, index = item
    return int(np.frombuffer(cache.read(name, index * BLOCK, BLOCK), np.uint8).sum())


class _Dataset:
    """As a torch dataset: made in the parent, read in forked workers."""

    def __init__(self, socket_path: str) -> None:
        self.cache = cashy.connect(socket_path, timeout_s=20)
        self.first = np.frombuffer(self.cache.read(NAME, 0, BLOCK), np.uint8)

    def __getitem__(self, index: int) -> int:
        if index == 0:
            return int(self.first.sum())
        return int(np.frombuffer(self.cache.read(NAME, index * BLOCK, BLOCK), np.uint8).sum())


def _serve(dataset: _Dataset, indices: Any, results: Any) -> None:
    while (index := indices.get()) is not None:
        results.put((index, dataset[index]))


def test_forked_workers_share_a_dataset(master: MiniMaster, data: bytes) -> None:
    """The pattern of torch.utils.data.DataLoader: workers forked from a parent that has read already, twice over."""
    context = multiprocessing.get_context("fork")
    dataset = _Dataset(master.socket_path)
    expected = {i: sum(data[i * BLOCK : (i + 1) * BLOCK]) for i in range(6)}
    for _ in range(2):
        indices, results = context.SimpleQueue(), context.SimpleQueue()
        workers = [context.Process(target=_serve, args=(dataset, indices, results)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for index in expected:
            indices.put(index)
        master.evict_all()
        got = dict(results.get() for _ in expected)
        for _ in workers:
            indices.put(None)
        for worker in workers:
            worker.join(20)
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert got == expected
        assert dataset[1] == expected[1]
    dataset.cache.close()


# --- cost of import ---


def test_importing_cashy_loads_no_daemon_and_no_loop_library() -> None:
    code = (
        "import sys, cashy\n"
        "lazy = {'cashy.client', 'asyncio', 'google.protobuf'} & set(sys.modules)\n"
        "assert not lazy, lazy\n"
        "cashy.connect, cashy.CashyError\n"
        "bad = {'asyncio', 'uvloop', 'httptools', 'click', 'msgspec', 'structlog', 'rich', 'numpy', 'botocore', 'grpc'} & set(sys.modules)\n"
        "assert not bad, bad\n"
        "daemons = [m for m in sys.modules if m.startswith(('cashy.master', 'cashy.s3', 'cashy.origin', 'cashy.cli.'))]\n"
        "assert not daemons, daemons\n"
        "cashy.aio.connect\n"
        "bad = {'uvloop', 'msgspec', 'structlog', 'numpy'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_all_public_names_exist() -> None:
    assert set(cashy.__all__) <= set(dir(cashy))
    for name in cashy.__all__:
        assert getattr(cashy, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        cashy.nonsense  # noqa: B018
