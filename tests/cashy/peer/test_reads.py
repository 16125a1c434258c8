"""Two hosts that both behave: what is read is right, streamed, cancelled, timed out and answered as promised."""

from __future__ import annotations

import asyncio

import pytest

from cashy.core.coherence import Change, Grant
from cashy.core.peer_frames import DATA_BYTES_MAX, checksum
from cashy.errors import ArenaFull, CashyError, InvalidName, NoSuchObject, SlowDown, TooLarge, VersionChanged
from cashy.peer import client, link, serving
from cashy.peer.errors import PeerBusy, PeerCorrupt, PeerTimeout, PeerUnavailable
from cashy.peer.limits import REQUESTS_MAX
from cashy.peer.service import Noted

from .hosts import (
    BLOCK_BYTES,
    PATIENCE_S,
    VERSION,
    Ask,
    MemoryService,
    Served,
    Sink,
    expected_failures,
    on_both_loops,
    pair,
    pattern,
    until,
)

BIG = pattern(1, 3 * DATA_BYTES_MAX + 777)


@on_both_loops
async def test_block_with_its_metadata() -> None:
    async with pair(MemoryService({"big": BIG})) as (peer, server):
        ask = Ask(peer, "big", version=VERSION)
        assert await ask.data() == BIG
        assert ask.sink.calls == ["begin", "advanced", "detached", "done"]
        assert (ask.sink.watermark, ask.sink.crc) == (len(BIG), checksum(BIG))
        meta = ask.sink.meta
        assert meta is not None
        assert (meta.version, meta.size_bytes, meta.last_modified, meta.content_type) == (
            VERSION,
            len(BIG),
            1.5,
            "text/x",
        )
        assert meta.headers == (("cache-control", "no-cache"),)
        assert meta.user_metadata == (("a", "\xe9"),)
        assert ask.read.fresh_for_s == 2.5
        request = server.service.reads[0].request  # type: ignore[attr-defined]
        assert (request.peer, request.origin, request.bucket, request.key) == (
            "anna",
            "store",
            "bucket",
            "big",
        )
        assert (request.url, request.version, request.size_bytes) == ("s3://bucket/big", VERSION, None)
        assert 0 < request.deadline_s <= PATIENCE_S
        await until(lambda: server.counters()["reads_completed_total"] == 1)
        assert server.service.reads[0].gone == 1  # type: ignore[attr-defined]
        assert peer.counters()["bytes_received_total"] > len(BIG)
        assert server.counters()["bytes_sent_total"] == peer.counters()["bytes_received_total"]


@on_both_loops
async def test_parts_ends_and_empty_objects() -> None:
    data = pattern(2, 100_000)
    service = MemoryService({"o": data, "empty": b""})
    async with pair(service) as (peer, _):
        assert await Ask(peer, "o", 70_001, 1000).data() == data[70_001:71_001]
        assert await Ask(peer, "o", 99_999).data() == data[-1:]
        for key, offset in (("o", 100_000), ("o", 5_000_000), ("empty", 0)):
            ask = Ask(peer, key, offset)
            assert await ask.data() == b""
            assert ask.sink.calls == ["begin", "detached", "done"]
        await until(lambda: all(served.gone == 1 and served.reply.is_gone for served in service.reads))


@on_both_loops
async def test_sixty_four_at_once() -> None:
    objects = {f"o{index}": pattern(index, 300_000 + index) for index in range(64)}
    async with pair(MemoryService(objects)) as (peer, server):
        asks = {key: Ask(peer, key) for key in objects}
        for key, ask in asks.items():
            assert await ask.data() == objects[key]
        await until(lambda: server.counters()["requests_under_way"] == 0)
        assert peer.counters()["requests_under_way"] == 0


@on_both_loops
async def test_bytes_are_sent_on_while_they_arrive() -> None:
    service = MemoryService({"slow": BIG}, held={"slow"})
    async with pair(service) as (peer, _):
        ask = Ask(peer, "slow")
        await until(lambda: service.reads)
        served = service.reads[0]
        service.answer(served, available=0)
        await until(lambda: ask.sink.calls == ["begin"])
        for available in (1, 1, 5000, DATA_BYTES_MAX + 1, len(BIG)):
            served.reply.advance(available)
            await until(lambda available=available: ask.sink.watermark == available)  # type: ignore[misc]
            assert ask.sink.memory[:available] == BIG[:available]
            assert ask.sink.crc == checksum(BIG[:available])
            assert (served.gone == 0) or available == len(BIG)
        assert await ask.data() == BIG
        assert served.reply.is_gone
        assert (served.gone, served.cancelled) == (1, 0)


@on_both_loops
async def test_errors_come_as_themselves() -> None:
    service = MemoryService({"o": BIG}, held={"o"})
    async with pair(service) as (peer, _):
        error = await Ask(peer, "nothing").error()
        assert isinstance(error, NoSuchObject)
        assert error.message == "host 'bert': there is no nothing"
        ask = Ask(peer, "o")
        await until(lambda: service.reads[1:])
        service.answer(service.reads[1], available=DATA_BYTES_MAX + 3)
        await until(lambda: ask.sink.watermark)
        service.reads[1].reply.fail(VersionChanged("it is another one now"))
        assert isinstance(await ask.error(), VersionChanged)
        assert ask.sink.calls == ["begin", "advanced", "detached", "done"]
        await until(lambda: service.reads[1].gone)
        assert service.reads[1].cancelled == 0
        service.reads[1].reply.advance(len(BIG))  # too late, and harmless
        service.reads[1].reply.fail(NoSuchObject("too late"))


@on_both_loops
async def test_bug_of_the_service_is_its_own() -> None:
    service = MemoryService()

    def fail(_served: Served) -> None:
        raise ZeroDivisionError("a bug")

    async with pair(service) as (peer, _):
        service.on_read = fail
        error = await Ask(peer, "o").error()
        assert (error.code, "ZeroDivisionError" in error.message) == ("INTERNAL", True)
        assert peer.is_up
        assert len(expected_failures()) == 1


@on_both_loops
async def test_other_version_than_asked_for_is_refused() -> None:
    async with pair(MemoryService({"o": BIG})) as (peer, server):
        ask = Ask(peer, "o", version='"v0"')
        assert isinstance(await ask.error(), VersionChanged)
        assert ask.sink.calls == ["done"]
        await until(lambda: server.counters()["requests_under_way"] == 0)
        assert peer.is_up


@on_both_loops
async def test_sink_that_has_no_room() -> None:
    def full() -> None:
        raise ArenaFull("no room")

    async with pair(MemoryService({"o": BIG, "empty": b""})) as (peer, _):
        for key in ("o", "empty"):
            ask = Ask(peer, key, sink=Sink(on_begin=full))
            assert isinstance(await ask.error(), ArenaFull)
            assert ask.sink.calls == ["begin", "done"]
        assert await Ask(peer, "o").data() == BIG
        await until(lambda: peer.counters()["requests_under_way"] == 0)


# ------------------------------------------------------------ giving up


@on_both_loops
async def test_cancel_frees_the_servers_work() -> None:
    service = MemoryService({"o": BIG}, held={"o"})
    async with pair(service) as (peer, server):
        before, begun = Ask(peer, "o"), Ask(peer, "o")
        await until(lambda: len(service.reads) == 2)
        service.answer(service.reads[1], available=10)
        await until(lambda: begun.sink.watermark == 10)
        before.cancel()
        begun.cancel()
        assert before.sink.calls == []
        assert begun.sink.calls == ["begin", "advanced", "detached"]  # from inside cancel
        await until(lambda: all(served.cancelled for served in service.reads))
        assert [served.gone for served in service.reads] == [0, 1]
        service.answer(service.reads[0])  # too late: when_gone comes all the same, later
        assert service.reads[0].gone == 0
        await until(lambda: service.reads[0].gone == 1)
        await until(lambda: peer.counters()["requests_under_way"] == 0)
        assert server.counters()["reads_cancelled_total"] == 2
        assert before.sink.calls == []
        assert peer.counters()["connections_lost_total"] == 0
        begun.cancel()  # once more, harmless
        assert peer.counters()["reads_cancelled_total"] == 2


@on_both_loops
async def test_cancel_in_the_middle_of_a_transfer() -> None:
    """Bytes are on the way when the reader leaves: they land nowhere, and the connection goes on."""
    async with pair(MemoryService({"o": BIG})) as (peer, _):
        for _ in range(20):
            ask, seen = Ask(peer, "o"), list[bytes]()

            def leave(ask: Ask = ask, seen: list[bytes] = seen) -> None:
                ask.cancel()
                seen.append(bytes(ask.sink.memory))

            ask.sink.on_advanced = leave
            await until(lambda seen=seen: seen)  # type: ignore[misc]
            assert await Ask(peer, "o").data() == BIG
            assert [bytes(ask.sink.memory)] == seen
            assert seen[0].startswith(BIG[: ask.sink.watermark])
            assert ask.sink.calls == ["begin", "advanced", "detached"]
        assert peer.counters()["connects_total"] == 1


@on_both_loops
async def test_cancel_at_the_very_last_byte() -> None:
    """From inside the last ``advanced``: all is there, and still nobody is told that it is done."""
    async with pair(MemoryService({"o": BIG[:999]})) as (peer, _):
        ask = Ask(peer, "o")
        ask.sink.on_advanced = ask.cancel
        assert await Ask(peer, "o").data() == BIG[:999]
        assert ask.sink.calls == ["begin", "advanced", "detached"]
        assert peer.counters()["requests_under_way"] == 0


@on_both_loops
async def test_nothing_refers_to_memory_that_was_given_back() -> None:
    """A bytearray can only be resized while nobody has a view of it: on neither side, after a complete or a cancelled read."""
    memory = bytearray(BIG)
    service = MemoryService()
    service.objects["o"] = memory  # type: ignore[assignment]
    async with pair(service) as (peer, _):
        for key in range(3):
            ask = Ask(peer, "o")
            if key:
                ask.sink.on_advanced = ask.cancel
            await until(lambda ask=ask: "detached" in ask.sink.calls)  # type: ignore[misc]
            ask.sink.memory.append(0)
            await until(lambda: all(served.gone for served in service.reads))
            memory.append(0)


@on_both_loops
async def test_cancel_from_inside_begin() -> None:
    async with pair(MemoryService({"o": BIG, "empty": b""})) as (peer, _):
        for key in ("o", "empty"):
            ask = Ask(peer, key)
            ask.sink.on_begin = ask.cancel
            await until(lambda ask=ask: ask.sink.calls == ["begin", "detached"])  # type: ignore[misc]
        assert await Ask(peer, "o").data() == BIG
        await until(lambda: peer.counters()["requests_under_way"] == 0)


@on_both_loops
async def test_cancel_at_once() -> None:
    """Before the request has left."""
    service = MemoryService({"o": BIG})
    async with pair(service) as (peer, _):
        ask = Ask(peer, "o")
        ask.cancel()
        assert await Ask(peer, "o").data() == BIG
        assert ask.sink.calls == []
        await until(lambda: peer.counters()["requests_under_way"] == 0)


@on_both_loops
async def test_deadline_ends_the_read_and_tells_the_server() -> None:
    service = MemoryService({"o": BIG}, held={"o"})
    async with pair(service) as (peer, _):
        ask = Ask(peer, "o", deadline_s=0.3)
        await until(lambda: service.reads)
        service.answer(service.reads[0], available=10)
        assert isinstance(await ask.error(), PeerTimeout)
        assert ask.sink.calls == ["begin", "advanced", "detached", "done"]
        await until(lambda: service.reads[0].cancelled)
        assert service.reads[0].gone == 1
        assert peer.is_up
        assert peer.counters()["timeouts_total"] == 1


def test_server_gives_up_by_itself_when_cancel_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "DEADLINE_GRACE_S", 0.0)
    monkeypatch.setattr(
        link.PeerLink, "sweep", lambda *_args, **_named: None
    )  # an asking side that has no clock

    async def run() -> None:
        service = MemoryService({"o": BIG}, held={"o"})
        async with pair(service) as (peer, _):
            error = await Ask(peer, "o", deadline_s=0.1).error()
            assert error.code == "ORIGIN_TIMEOUT"
            assert service.reads[0].cancelled == 1

    asyncio.run(run())


# ------------------------------------------------------------ questions


@on_both_loops
async def test_head_and_status() -> None:
    service = MemoryService({"o": BIG}, held={"never"})
    async with pair(service) as (peer, server):
        answer = await peer.head(
            "store", "s3://bucket/o", "bucket", "o", revalidate=True, deadline_s=PATIENCE_S
        )
        assert answer.fresh_for_s == 7.25
        assert answer.meta == service.meta("o")
        assert (service.heads[0].peer, service.heads[0].url, service.heads[0].revalidate) == (
            "anna",
            "s3://bucket/o",
            True,
        )
        assert await peer.status(PATIENCE_S) == b"all is well"
        with pytest.raises(NoSuchObject):
            await peer.head("store", "s3://bucket/x", "bucket", "x", revalidate=False, deadline_s=PATIENCE_S)
        with pytest.raises(PeerTimeout):
            await peer.head("store", "", "bucket", "never", revalidate=False, deadline_s=0.1)
        await until(lambda: service.heads_cancelled == 1)
        asking = asyncio.create_task(
            peer.head("store", "", "bucket", "never", revalidate=False, deadline_s=PATIENCE_S)
        )
        await until(lambda: len(service.heads) == 4)
        asking.cancel()
        await until(lambda: service.heads_cancelled == 2)
        await until(lambda: server.counters()["requests_under_way"] == 0)
        await until(lambda: peer.counters()["requests_under_way"] == 0)


@on_both_loops
async def test_status_too_long_for_a_frame() -> None:
    service = MemoryService()
    service.status = lambda: bytes((1 << 20) + 1)  # type: ignore[method-assign]
    async with pair(service) as (peer, _):
        with pytest.raises(CashyError, match="too long for a frame"):
            await peer.status(PATIENCE_S)
        service.status = lambda: bytes(1 << 20)  # type: ignore[method-assign]
        assert len(await peer.status(PATIENCE_S)) == 1 << 20


@on_both_loops
async def test_changes_are_told_and_confirmed() -> None:
    service = MemoryService()
    async with pair(service) as (peer, server):
        changes = [Change(name, True, "anna") for name in ("s3://bucket/a", "s3://bucket/ü")]
        noted = await peer.changed(changes, PATIENCE_S)
        assert service.changes == changes
        assert noted == Noted(2_000_000, {"other": 3_000_000_000}), (
            "in whole milliseconds, rather more than less"
        )
        with pytest.raises(InvalidName):
            await peer.changed([Change("bad", False, "anna")], PATIENCE_S)
        with pytest.raises(CashyError):
            await peer.changed([Change("x" * 65_537, False, "anna")], PATIENCE_S)
        await peer.changed([Change("after", False, "anna")], PATIENCE_S)
        assert server.counters()["changes_total"] == 3
        assert server.counters()["requests_under_way"] == 0


@on_both_loops
async def test_leases_are_asked_for_and_tell_of_changes() -> None:
    service = MemoryService()
    async with pair(service) as (peer, server):
        service.changes = [Change("s3://bucket/a", False, "carl"), Change("s3://bucket/b", True, "anna")]
        grant = await peer.lease(7, 1 << 40, PATIENCE_S)
        assert service.leases == [("anna", 7, 1 << 40)]
        assert grant == Grant((1 << 63) + 5, 8, 3_000_000_000, True, tuple(service.changes))
        service.changes = [Change("x" * 70_000, False, "carl")]
        with pytest.raises(TooLarge):
            await peer.lease(6, 0, PATIENCE_S)
        service.changes = []
        assert not (await peer.lease(6, 0, PATIENCE_S)).is_complete
        assert server.counters()["leases_total"] == 3


# ------------------------------------------------------------ limits


@on_both_loops
async def test_requests_under_way_are_limited() -> None:
    limit = REQUESTS_MAX
    service = MemoryService({"o": BIG}, held={"o"})
    async with pair(service) as (peer, _):
        asks = [Ask(peer, "o", 0, 10) for _ in range(limit)]
        one_more = Ask(peer, "o", 0, 10)
        error = await one_more.error()
        assert isinstance(error, PeerBusy)
        assert isinstance(error, SlowDown)
        await until(lambda: len(service.reads) == limit)
        for served in service.reads:
            service.answer(served)
        for ask in asks:
            assert await ask.data() == BIG[:10]
        assert peer.is_up


@on_both_loops
async def test_names_that_do_not_fit_are_refused_here() -> None:
    async with pair(MemoryService()) as (peer, _):
        assert isinstance(await Ask(peer, "k" * 20_000).error(), TooLarge)
        assert peer.is_up
        assert peer.counters()["requests_under_way"] == 0


@on_both_loops
async def test_metadata_that_does_not_fit_is_refused_there() -> None:
    service = MemoryService({"o": BIG}, held={"o"})
    async with pair(service) as (peer, _):
        ask = Ask(peer, "o", 0, 4)
        await until(lambda: service.reads)
        served = service.reads[0]
        meta = service.meta("o")
        huge = type(meta)(meta.version, meta.size_bytes, 0.0, "text/x", (("h", "x" * (1 << 20)),))
        served.reply.begin(huge, 4, 0.0, memoryview(BIG)[:4], 4, served.count_gone)
        assert isinstance(await ask.error(), TooLarge)
        await until(lambda: served.gone == 1)


@on_both_loops
async def test_service_that_answers_nonsense_is_told() -> None:
    service = MemoryService({"o": BIG}, held={"o"})
    async with pair(service) as (peer, _):
        ask = Ask(peer, "o", 0, 10)
        await until(lambda: service.reads)
        reply, meta = service.reads[0].reply, service.meta("o")
        for length, size, available in ((11, 11, 0), (10, 9, 0), (10, 10, 11), (10, 10, -1)):
            with pytest.raises(ValueError, match="to a read of 10"):
                reply.begin(meta, length, 0.0, memoryview(bytes(size)), available, lambda: None)
        service.answer(service.reads[0], available=5)
        for available in (4, 11):
            with pytest.raises(ValueError, match="available after 5, of 10"):
                reply.advance(available)
        reply.advance(10)
        assert await ask.data() == BIG[:10]


# ------------------------------------------------------------ checksums


@on_both_loops
async def test_checksums_of_known_bytes_are_computed_once() -> None:
    """Shown by breaking the promise: other bytes under a known name do not fit what is remembered, and nobody takes them."""
    service = MemoryService({"o": BIG}, known=True)
    async with pair(service) as (peer, server):
        assert await Ask(peer, "o").data() == BIG
        assert await Ask(peer, "o").data() == BIG
        assert server.counters()["checksummed_ranges"] == 1
        service.objects["o"] = BIG[:-1] + bytes([BIG[-1] ^ 1])
        ask = Ask(peer, "o")
        assert isinstance(await ask.error(), PeerCorrupt)
        assert ask.sink.watermark == 3 * DATA_BYTES_MAX
        assert peer.is_up


@on_both_loops
async def test_checksums_are_learnt_while_bytes_arrive() -> None:
    service = MemoryService({"o": BIG}, held={"o"}, known=True)
    async with pair(service) as (peer, _):
        first = Ask(peer, "o")
        await until(lambda: service.reads)
        service.answer(service.reads[0], available=100)
        second = Ask(peer, "o")
        await until(lambda: len(service.reads) == 2 and first.sink.watermark)
        service.answer(service.reads[1])
        assert await second.data() == BIG
        service.reads[0].reply.advance(DATA_BYTES_MAX + 1)
        service.reads[0].reply.advance(len(BIG))
        assert await first.data() == BIG


# ------------------------------------------------------------ no connection


@on_both_loops
async def test_host_that_is_not_there() -> None:
    async with pair(MemoryService()) as (_, server):
        address = server.address
    peer = client.Peer("bert", address, identity=server.identity)
    assert not peer.is_worth_trying()
    peer.start()
    waiting = Ask(peer, "o")  # the first attempt is under way
    error = await waiting.error()
    assert isinstance(error, PeerUnavailable)
    assert "host 'bert' is down" in error.message
    assert not peer.is_worth_trying()
    assert not peer.is_up
    assert isinstance(await Ask(peer, "o").error(), PeerUnavailable)
    cancelled = Ask(peer, "o")
    cancelled.cancel()
    await asyncio.sleep(0.01)
    assert cancelled.sink.calls == []
    await peer.close()
    assert isinstance(await Ask(peer, "o").error(), PeerUnavailable)
    assert peer.counters()["connect_failures_total"] >= 1


def test_blocks_are_as_large_as_the_cluster_says() -> None:
    assert len(BIG) < BLOCK_BYTES
