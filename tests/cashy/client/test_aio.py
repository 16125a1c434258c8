"""The asyncio session and the public asyncio client, on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np
import pytest
import uvloop
from tests.cashy.client.mini_master import BLOCK, MiniMaster

import cashy
from cashy.client.session import AsyncSession, FetchedBlock

NAME = "s3://bucket/object"
SIZE = 6 * BLOCK + 40

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(work, 60))

    return run


@pytest.fixture
def data(master: MiniMaster) -> bytes:
    return master.put(NAME, SIZE)


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    assert condition()


def suspends(work: Awaitable[object]) -> bool:
    """Whether a coroutine gives control back before it ends."""
    iterator = work.__await__()
    try:
        next(iterator)
    except StopIteration:
        return False
    return True


def test_reads(run: Run, master: MiniMaster, data: bytes) -> None:
    async def work() -> None:
        async with cashy.aio.connect(master.socket_path) as cache:
            assert await cache.read(NAME, 100, 10) == data[100:110]
            assert await cache.read(NAME) == data
            assert not suspends(cache.read(NAME)), "what is here does not wait"
            assert not suspends(cache.read(NAME, 5, 5))
            buffer = bytearray(BLOCK)
            assert await cache.readinto(NAME, buffer, BLOCK + 1) == BLOCK
            assert buffer == data[BLOCK + 1 : 2 * BLOCK + 1]
            async with await cache.open(NAME) as obj:
                array = np.frombuffer(await obj.view(), np.uint8)
                got = [bytes(view) async for view in obj.blocks(10, 3 * BLOCK)]
                assert b"".join(got) == data[10 : 10 + 3 * BLOCK]
                assert (obj.size, obj.version, obj.user_metadata) == (SIZE, '"1"', {"colour": "blue"})
            assert await cache.prefetch([NAME]) == 1
            assert set((await cache.locate(NAME)).tiers) == {"local memory"}
            assert (await cache.status()).instance == "mini"
            assert (await cache.stat(NAME, revalidate=True)).size_bytes == SIZE
            with pytest.raises(cashy.NoSuchObject):
                await cache.read("s3://bucket/none")
        assert array.tobytes() == data
        with pytest.raises(cashy.NotConnected):
            await cache.read(NAME)

    run(work())


def test_many_tasks_and_an_object_larger_than_memory(
    run: Run, make_master: Callable[..., MiniMaster]
) -> None:
    master = make_master(blocks=16, pin_blocks=8)
    data = master.put(NAME, 60 * BLOCK)

    async def work() -> None:
        cache = await cashy.aio.connect(master.socket_path)
        obj = await cache.open(NAME)
        at = 0
        async for view in obj.blocks():
            assert view == data[at : at + len(view)]
            at += len(view)
        assert at == len(data)
        del view
        with pytest.raises(cashy.ViewTooLarge):
            await obj.view()

        async def one(index: int) -> None:
            view = await obj.view(index * BLOCK, 100)
            assert view == data[index * BLOCK : index * BLOCK + 100]

        for begin in range(0, 60, 6):
            await asyncio.gather(*(one(index) for index in range(begin, begin + 6)))
        await cache.close()

    run(work())


def test_a_restart(run: Run, master: MiniMaster, data: bytes) -> None:
    async def work() -> None:
        async with cashy.aio.connect(master.socket_path, timeout_s=20) as cache:
            view = await cache.read(NAME, 0, 2 * BLOCK)
            arena = cache.session.arena
            await cache.read(NAME)
            master.kill()
            assert await cache.read(NAME) == data, "what is here needs no daemon"
            waiting = asyncio.create_task(cache.status())
            await asyncio.sleep(0.1)
            master.start()
            assert (await waiting).instance == "mini"
            assert master.evict_all() == 2
            assert await cache.read(NAME) == data
            assert cache.session.arena is arena
            assert view == data[: 2 * BLOCK]
            master.kill()
            master.blocks *= 2
            master.start()
            await eventually(lambda: cache.session.arena is not arena)
            assert await cache.read(NAME) == data
            assert view == data[: 2 * BLOCK]

    run(work())


@pytest.mark.parametrize("streaming", [False, True])
def test_a_fetch_gives_pinned_blocks(run: Run, master: MiniMaster, data: bytes, streaming: bool) -> None:
    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test")
        assert session.lookup(NAME) is None
        blocks: dict[int, FetchedBlock] = {}
        async with session.fetch(NAME, 1, 3, streaming=streaming) as fetch:
            meta = await fetch.meta()
            assert (meta.size_bytes, meta.block_bytes) == (SIZE, BLOCK)
            async for block in fetch:
                blocks[block.index] = block
                assert await block.wait_beyond(BLOCK - 1) == BLOCK
                assert await block.wait_beyond(BLOCK) == BLOCK, "complete: there is no more to wait for"
        assert sorted(blocks) == [1, 2, 3]
        await session.ask(cashy_status())
        assert master.evict_all() == 3, "the pins outlive the fetch"
        for index, block in blocks.items():
            assert block.pin.view == data[index * BLOCK : (index + 1) * BLOCK]
            block.pin.release()
            block.pin.release()
        assert master.evict_all() == 0
        with pytest.raises(cashy.VersionChanged):
            async with session.fetch(NAME, 0, 1, content_id=b"x" * 32) as fetch:
                await fetch.meta()
        with pytest.raises(cashy.NoSuchObject):
            async with session.fetch("s3://bucket/none", 0, 1) as fetch:
                await anext(fetch)
        await session.close()

    run(work())


def cashy_status() -> Any:
    from aviary.cashy.v1 import control_pb2 as pb

    return pb.Status()


def test_hits_of_a_session_need_no_message(run: Run, master: MiniMaster, data: bytes) -> None:
    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test")
        async with session.fetch(NAME, 0, 2) as fetch:
            async for block in fetch:
                block.pin.release()
        sent = len(master.log)
        meta = session.lookup(NAME)
        assert meta is not None
        assert meta.version == '"1"'
        pin = session.pin(meta, 1)
        assert pin is not None
        assert pin.length == BLOCK
        assert pin.view == data[BLOCK : 2 * BLOCK]
        assert session.pin(meta, 5) is None
        await asyncio.sleep(0.05)
        assert [entry for entry in master.log[sent:] if entry != "release"] == []
        assert master.evict_all() == 1
        del pin
        gc.collect()
        assert master.evict_all() == 0
        await session.close()

    run(work())


def test_a_cancelled_fetch_is_released(run: Run, master: MiniMaster, data: bytes) -> None:
    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test")
        master.frozen_fetches = True

        async def read() -> None:
            async with session.fetch(NAME, 0, 2) as fetch:
                await fetch.meta()
                async for _ in fetch:
                    pass

        task = asyncio.create_task(read())
        await eventually(lambda: master.requests("fetch") == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: master.requests("release") == 1)

        cache = cashy.aio.AsyncCache(session)
        reading = asyncio.create_task(cache.read(NAME))
        await eventually(lambda: master.requests("fetch") == 2)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await eventually(lambda: master.requests("release") == 2)
        master.frozen_fetches = False
        assert await cache.read(NAME) == data
        await session.close()

    run(work())


def test_a_fetch_under_way_fails_when_the_daemon_dies(run: Run, master: MiniMaster, data: bytes) -> None:
    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test")
        master.frozen_fetches = True
        async with session.fetch(NAME, 0, 2) as fetch:
            await fetch.meta()
            master.kill()
            with pytest.raises(cashy.NotConnected, match="lost"):
                async for _ in fetch:
                    pass
        master.frozen_fetches = False
        master.start()
        async with session.fetch(NAME, 0, 1) as fetch:
            assert [block.index async for block in fetch] == [0]
        await session.close()

    run(work())


def test_blocks_left_early_cancels_what_is_under_way(run: Run, master: MiniMaster, data: bytes) -> None:
    async def work() -> None:
        async with cashy.aio.connect(master.socket_path) as cache:
            obj = await cache.open(NAME)
            blocks = obj.blocks()
            assert await anext(blocks) == data[:BLOCK]
            await blocks.aclose()  # type: ignore[attr-defined]
            await cache.status()
            assert master.requests("fetch") == master.requests("release")
            gc.collect()
            assert master.evict_all() == 0

    run(work())


def test_without_pins(run: Run, master: MiniMaster, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASHY_NO_PINS", "1")

    async def work() -> None:
        async with cashy.aio.connect(master.socket_path) as cache:
            assert await cache.read(NAME) == data
            async with cache.session.fetch(NAME, 0, 3, streaming=True) as fetch:
                blocks = [block async for block in fetch]
            assert master.evict_all() >= 0
            for block in blocks:
                assert block.is_complete
                assert block.pin.view == data[block.index * BLOCK : (block.index + 1) * BLOCK]

    run(work())


def test_a_block_is_read_while_it_fills(run: Run, master: MiniMaster, data: bytes) -> None:
    master.slow_fills = True

    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test")
        async with session.fetch(NAME, 2, 1, streaming=True) as fetch:
            block = await anext(fetch)
            assert (block.available, block.length, block.is_complete) == (0, BLOCK, False)
            assert len(block.pin.view) == 0
            waiting = asyncio.create_task(block.wait_beyond(0))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            master.grow(1000)
            assert await waiting == 1000
            assert block.pin.view == data[2 * BLOCK : 2 * BLOCK + 1000]
            several = [asyncio.create_task(block.wait_beyond(1000)) for _ in range(3)]
            await asyncio.sleep(0.02)
            master.grow(BLOCK, complete=True)
            assert await asyncio.gather(*several) == [BLOCK] * 3
            with pytest.raises(StopAsyncIteration):
                await anext(fetch)
            assert block.is_complete
        assert block.pin.view == data[2 * BLOCK : 3 * BLOCK]
        meta = await session.stat(NAME)
        assert session.pin(meta, 2) is not None
        await session.close()

    run(work())


def test_a_fill_that_breaks_off_is_told_to_who_waits(run: Run, master: MiniMaster, data: bytes) -> None:
    master.slow_fills = True

    async def work() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test")
        async with session.fetch(NAME, 0, 1, streaming=True) as fetch:
            block = await anext(fetch)
            master.grow(500)
            assert await block.wait_beyond(0) == 500
            waiting = asyncio.create_task(block.wait_beyond(500))
            await asyncio.sleep(0.02)
            master.abort_fills()
            with pytest.raises(cashy.OriginTimeout, match="stopped"):
                await waiting
            assert block.pin.view == data[:500], "what had come is still held"
            with pytest.raises(cashy.OriginTimeout):
                await anext(fetch)
        with pytest.raises(cashy.OriginTimeout):
            await block.wait_beyond(500)
        assert await session.stat(NAME, revalidate=True)
        block.pin.release()
        await session.close()

    run(work())
