"""Requests through rings: what goes which way, full rings, frames too large for them, forks, and daemons that go away."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
from tests.cashy.client.mini_master import BLOCK, MiniMaster

import cashy
from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.session import AsyncSession

NAME = "s3://bucket/object"
SIZE = 6 * BLOCK + 40

#: More than a ring of the daemon holds.
LONG = "x" * 5_000


@pytest.fixture
def data(master: MiniMaster) -> bytes:
    return master.put(NAME, SIZE)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


async def read_all(session: AsyncSession, name: str, size: int) -> bytes:
    """The bytes of an object, by one fetch."""
    found: dict[int, bytes] = {}
    async with session.fetch(name, 0, -(-size // BLOCK)) as fetch:
        async for block in fetch:
            found[block.index] = bytes(block.pin.view)
            block.pin.release()
    return b"".join(found[index] for index in sorted(found))


def test_only_the_greeting_goes_over_the_socket(master: MiniMaster, data: bytes) -> None:
    with cashy.connect(master.socket_path) as cache:
        assert cache.read(NAME) == data
        assert cache.status().instance == "mini"
        assert cache.locate(NAME).tiers.count("local memory") == 7

    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test")
        assert await read_all(session, NAME, SIZE) == data
        await session.close()

    asyncio.run(work())
    assert master.by_socket == 2, master.log


@pytest.mark.parametrize("who", ["client", "daemon"])
def test_a_side_without_channels(
    master: MiniMaster, data: bytes, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    if who == "client":
        monkeypatch.setenv("CASHY_NO_CHANNEL", "1")
    else:
        master.channels = False
    with cashy.connect(master.socket_path) as cache:
        assert cache.read(NAME) == data
        assert cache.locate(NAME).meta.size_bytes == SIZE

    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test")
        assert await read_all(session, NAME, SIZE) == data
        await session.close()

    asyncio.run(work())
    assert master.by_socket == len(master.log)


def test_an_answer_too_large_for_the_ring_keeps_its_place(master: MiniMaster, data: bytes) -> None:
    """The object is the first answer of a fetch, and does not fit; its blocks do."""
    master.content_type = LONG
    with cashy.connect(master.socket_path) as cache:
        for _ in range(3):
            assert cache.read(NAME) == data
            assert cache.stat(NAME, revalidate=True).content_type == LONG
            master.evict_all()

    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test")
        master.evict_all()
        results = await asyncio.gather(*(read_all(session, NAME, SIZE) for _ in range(4)))
        assert results == [data] * 4
        await session.close()

    asyncio.run(work())


def test_a_request_too_large_for_the_ring(master: MiniMaster, data: bytes) -> None:
    with cashy.connect(master.socket_path) as cache:
        assert cache.prefetch([f"s3://bucket/{number:0800d}" for number in range(30)]) == 30
        assert cache.read(NAME) == data
    assert master.by_socket == 2


def test_a_full_ring_is_no_end_and_holds_nothing_back(master: MiniMaster, data: bytes) -> None:
    """While the daemon stands still, requests fill the ring and go on over the socket; every hold is released in the end."""
    with cashy.connect(master.socket_path, timeout_s=20) as cache:
        cache.read(NAME)
        connection = cache._live_connection()
        with master._lock:
            calls = [connection.start(pb.Fetch(name=NAME, block_count=2)) for _ in range(150)]
            for call in calls[::3]:
                call.close()
        for number, call in enumerate(calls):
            if number % 3 == 0:
                continue
            kinds: list[str] = []
            while not kinds or kinds[-1] != "fetch_done":
                kinds.append(call.next(20).kind)
            assert kinds == ["object", "block_ready", "block_ready", "fetch_done"]
            call.close()
        eventually(lambda: master.requests("release") == master.requests("fetch"))
        with master._lock:
            assert [client.held for client in master._clients.values()] == [{}]
    assert master.by_socket > 40


def test_an_idle_reader_makes_the_daemon_wait_for_room(master: MiniMaster, data: bytes) -> None:
    """Answers of calls that nobody waits for yet fill the ring; the next who waits takes them in."""
    with cashy.connect(master.socket_path, timeout_s=20) as cache:
        connection = cache._live_connection()
        calls = [connection.start(pb.Locate(name=NAME)) for _ in range(400)]
        time.sleep(0.1)
        assert cache.status().instance == "mini"
        assert all(isinstance(call.next(20).body, pb.LocateReport) for call in calls)


def test_many_threads_share_a_ring(master: MiniMaster) -> None:
    objects = {f"s3://bucket/{number}": master.put(f"s3://bucket/{number}", 3 * BLOCK) for number in range(8)}
    wrong: list[object] = []

    def work(seed: int, cache: cashy.Cache) -> None:
        try:
            for step in range(40):
                name = f"s3://bucket/{(seed + step) % 8}"
                if cache.read(name) != objects[name]:
                    wrong.append(name)
                if seed == 0:
                    master.evict_all()
        except Exception as error:
            wrong.append(error)

    with cashy.connect(master.socket_path, timeout_s=20) as cache:
        threads = [threading.Thread(target=work, args=(seed, cache)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert wrong == []
    assert master.by_socket == 1


def test_the_daemons_death_is_noticed_at_once_by_all_who_wait(master: MiniMaster, data: bytes) -> None:
    master.frozen_fetches = True
    lost: list[float] = []
    with cashy.connect(master.socket_path, timeout_s=30) as cache:
        connection = cache._live_connection()

        def work() -> None:
            with connection.start(pb.Fetch(name=NAME, block_count=1)) as call:
                assert call.next(30).kind == "object"
                with pytest.raises(cashy.NotConnected):
                    call.next(30)
            lost.append(time.monotonic())

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        while master.requests("fetch") < 4:
            time.sleep(0.01)
        began = time.monotonic()
        master.kill()
        for thread in threads:
            thread.join(30)
        assert len(lost) == 4
        assert max(lost) - began < 10


def test_what_the_daemon_sent_before_it_died_counts(master: MiniMaster, data: bytes) -> None:
    with cashy.connect(master.socket_path, timeout_s=30) as cache:
        connection = cache._live_connection()
        calls = [connection.start(pb.Status()) for _ in range(50)]
        eventually(lambda: master.requests("status") == 50)
        master.kill()
        assert all(call.next(30).kind == "status" for call in calls)
        with pytest.raises(cashy.NotConnected), connection.start(pb.Status()) as call:
            call.next(30)


def test_closing_the_cache_ends_a_wait_of_another_thread(master: MiniMaster, data: bytes) -> None:
    master.frozen_fetches = True
    cache = cashy.connect(master.socket_path, timeout_s=30)
    ended = threading.Event()

    def work() -> None:
        with pytest.raises(cashy.NotConnected, match="closed"):
            cache.read(NAME)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    while master.requests("fetch") < 1:
        time.sleep(0.01)
    cache.close()
    assert ended.wait(10)
    thread.join(10)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_within_a_wait(master: MiniMaster, data: bytes) -> None:
    """A signal handler forks while its thread waits as the leader: the child comes back into the wait, and must leave the ring alone."""
    master.frozen_fetches = True
    children: list[int] = []
    with cashy.connect(master.socket_path, timeout_s=30) as cache:
        parent = os.getpid()

        def fork(number: int, stack_frame: object) -> None:
            master.frozen_fetches = False
            pid = os.fork()
            if pid:
                children.append(pid)
                threading.Thread(target=answer).start()

        def answer() -> None:
            with master._lock:
                client = next(iter(master._clients.values()))
                master._on_fetch(client, 2, pb.Fetch(name=NAME, block_count=7))  # 1 was Hello

        before = signal.signal(signal.SIGALRM, fork)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            view = cache.read(NAME)
            ok = view == data
        finally:
            if os.getpid() != parent:  # the child: its read went over a connection of its own
                os._exit(0 if ok else 1)
            signal.signal(signal.SIGALRM, before)
        assert ok
        assert [exit_code(pid) for pid in children] == [0]
        assert cache.read(NAME) == data


def test_a_child_leaves_its_parents_ring_alone(master: MiniMaster, data: bytes) -> None:
    with cashy.connect(master.socket_path, timeout_s=20) as cache:
        cache.read(NAME, 0, 10)
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    master.evict_all = lambda: 0  # type: ignore[method-assign]
                    code = 0 if cache.read(NAME) == data and cache.status().instance == "mini" else 1
                    cache.close()
                finally:
                    os._exit(code)
            assert cache.read(NAME) == data
            assert cache.status().instance == "mini"
            assert exit_code(pid) == 0
            master.evict_all()


def test_an_async_session_bursts_over_a_full_ring(make_master: Callable[..., MiniMaster]) -> None:
    master = make_master(blocks=600, pin_blocks=600)
    data = master.put(NAME, BLOCK)

    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test", timeout_s=20)
        with master._lock:
            reads = [asyncio.create_task(read_all(session, NAME, BLOCK)) for _ in range(500)]
            await asyncio.sleep(0.1)  # all are sent, to a daemon that stands still
        assert await asyncio.gather(*reads) == [data] * 500
        await session.close()

    asyncio.run(work())
    assert master.by_socket > 100
    eventually(lambda: master.requests("release") == 500)


def test_an_async_session_over_a_restart(make_master: Callable[..., MiniMaster]) -> None:
    master = make_master()
    data = master.put(NAME, SIZE)

    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test", timeout_s=20)
        assert await read_all(session, NAME, SIZE) == data
        master.frozen_fetches = True
        read = asyncio.create_task(read_all(session, NAME, SIZE))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(master.kill)
        with pytest.raises(cashy.NotConnected):
            await read
        master.frozen_fetches = False
        await asyncio.to_thread(master.start)
        assert await read_all(session, NAME, SIZE) == data
        await session.close()

    asyncio.run(work())
