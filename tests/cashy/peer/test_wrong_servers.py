"""Hosts that answer wrongly, slowly or not at all: refused, counted, nothing else harmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from cashy.core.peer_frames import DATA_BYTES_MAX, Kind, checksum, pack_header
from cashy.core.peer_greeting import PeerIdentity
from cashy.errors import CashyError
from cashy.origin.base import ObjectMeta
from cashy.peer import client, link
from cashy.peer.errors import PeerCorrupt, PeerProtocolError, PeerTimeout, PeerUnavailable
from cashy.peer.limits import BACKOFF_MAX_S, WAITING_MAX
from cashy.peer.messages import block_payload

from .hosts import (
    BERT,
    PATIENCE_S,
    Ask,
    Got,
    MemoryService,
    Raw,
    on_both_loops,
    pair,
    pattern,
    peer_at,
    raw_server,
    serving,
    until,
)

DATA = pattern(3, 600_000)
META = ObjectMeta('"v1"', len(DATA), 0.0)

#: What a wrong server does after the greeting, given the first READ.
Wrong = Callable[[Raw, Got], Awaitable[None]]


async def head_of_answer(raw: Raw, read: Got, length: int = len(DATA)) -> None:
    await raw.control(Kind.BLOCK, read.request_id, block_payload(META, length, 0.0))


async def data(
    raw: Raw, read: Got, start: int, end: int, crc: int | None = None, key: int | None = None
) -> None:
    crc = checksum(DATA[:end]) if crc is None else crc
    await raw.send(raw.writer.data_header(key or read.request_id, start, end - start, crc) + DATA[start:end])


async def corrupt_header(raw: Raw, read: Got) -> None:
    await head_of_answer(raw, read)
    header = bytearray(raw.writer.data_header(read.request_id, 0, 1000, checksum(DATA[:1000])))
    header[17] ^= 4
    await raw.send(bytes(header) + DATA[:1000])


async def corrupt_control(raw: Raw, read: Got) -> None:
    frame = bytearray(raw.writer.control(Kind.BLOCK, read.request_id, block_payload(META, len(DATA), 0.0)))
    frame[-1] ^= 1
    await raw.send(bytes(frame))


async def reordered(raw: Raw, read: Got) -> None:
    await head_of_answer(raw, read)
    first = raw.writer.data_header(read.request_id, 0, 100, checksum(DATA[:100])) + DATA[:100]
    second = raw.writer.data_header(read.request_id, 100, 100, checksum(DATA[:200])) + DATA[100:200]
    await raw.send(second + first)


async def repeated(raw: Raw, read: Got) -> None:
    await head_of_answer(raw, read)
    await data(raw, read, 0, 100)
    await data(raw, read, 0, 100)


async def oversize_frame(raw: Raw, read: Got) -> None:
    await head_of_answer(raw, read)
    await raw.send(pack_header(Kind.DATA, 3, read.request_id, DATA_BYTES_MAX + 1, 0, 0))


async def more_than_announced(raw: Raw, read: Got) -> None:
    await head_of_answer(raw, read)
    for start in range(0, 500_000, 250_000):
        await data(raw, read, start, start + 250_000)
    await raw.send(raw.writer.data_header(read.request_id, 500_000, 200_000, 0))


async def wrong_length(raw: Raw, read: Got) -> None:
    await head_of_answer(raw, read, length=len(DATA) - 1)


async def impossible_metadata(raw: Raw, read: Got) -> None:
    meta = ObjectMeta("", len(DATA), 0.0)
    await raw.control(Kind.BLOCK, read.request_id, block_payload(meta, len(DATA), 0.0))


async def no_protobuf(raw: Raw, read: Got) -> None:
    await raw.control(Kind.BLOCK, read.request_id, b"\xff\xff\xff")


async def error_without_sense(raw: Raw, read: Got) -> None:
    await raw.control(Kind.ERROR, read.request_id, b"\xff\xff\xff")


async def never_asked(raw: Raw, read: Got) -> None:
    await head_of_answer(raw, read)
    await data(raw, read, 0, 100, key=read.request_id + 10)


async def pong_without_ping(raw: Raw, _read: Got) -> None:
    await raw.control(Kind.PONG)


async def request_to_a_client(raw: Raw, _read: Got) -> None:
    await raw.control(Kind.PING)


async def another_language(raw: Raw, _read: Got) -> None:
    await raw.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


VIOLATIONS: dict[str, tuple[Wrong, str]] = {
    "corrupt header": (corrupt_header, "header is corrupt"),
    "corrupt control": (corrupt_control, "payload of BLOCK is corrupt"),
    "reordered": (reordered, "out of order|frame number"),
    "repeated": (repeated, "stands at 100"),
    "oversize": (oversize_frame, "at most 1048576 are allowed"),
    "too much": (more_than_announced, "stands at 500000 of 600000"),
    "wrong length": (wrong_length, "600000 were due"),
    "metadata": (impossible_metadata, "impossible metadata"),
    "no protobuf": (no_protobuf, "not what it should be"),
    "senseless error": (error_without_sense, "not what it should be"),
    "never asked": (never_asked, "not under way"),
    "PONG": (pong_without_ping, "PONG without PING"),
    "PING": (request_to_a_client, "no place in state ASKING"),
    "HTTP": (another_language, "no frame of the peer protocol"),
}


def wrong_after_greeting(wrong: Wrong) -> Callable[[Raw], Awaitable[None]]:
    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        read = await raw.frame()
        assert read.kind is Kind.READ
        await wrong(raw, read)
        assert await raw.is_closed_by_the_other()

    return talk


@pytest.mark.parametrize("what", list(VIOLATIONS))
def test_violation_ends_the_connection_and_harms_nothing_else(what: str) -> None:
    wrong, pattern_ = VIOLATIONS[what]

    async def run() -> None:
        good = MemoryService({"o": DATA}, held={"o"})
        async with (
            pair(good) as (good_peer, _),
            raw_server(wrong_after_greeting(wrong)) as address,
            peer_at(address) as peer,
        ):
            going_on = Ask(good_peer, "o")
            await until(lambda: good.reads)
            good.answer(good.reads[0], available=5)
            asks = [Ask(peer, "o", 0, 8 << 20) for _ in range(3)]
            for ask in asks:
                error = await ask.error()
                assert isinstance(error, (PeerProtocolError, PeerUnavailable))
                assert ask.sink.memory[: ask.sink.watermark] == DATA[: ask.sink.watermark]
                if "begin" in ask.sink.calls:
                    assert ask.sink.calls[-2:] == ["detached", "done"]
            assert isinstance(error, PeerProtocolError)
            with pytest.raises(PeerProtocolError, match=pattern_):
                raise error
            assert error.message.startswith("host 'bert': ")
            assert peer.counters()["protocol_errors_total"] == 1
            assert peer.counters()["connections_lost_total"] == 1
            good.reads[0].reply.advance(len(DATA))
            assert await going_on.data() == DATA
            assert good_peer.counters()["protocol_errors_total"] == 0

    asyncio.run(run())


@on_both_loops
async def test_corrupt_bytes_cost_only_their_read() -> None:
    """A block damaged in the other host's memory: its readers go elsewhere, the connection stays."""
    cancelled: list[int] = []

    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        bad, good = await raw.frame(), await raw.frame()
        await head_of_answer(raw, bad)
        await head_of_answer(raw, good)
        await data(raw, bad, 0, 1000)
        await data(raw, bad, 1000, 2000, crc=checksum(DATA[:2000]) ^ 1)
        await data(raw, bad, 2000, 3000)
        for start in range(0, len(DATA), 200_000):
            await data(raw, good, start, start + 200_000)
        cancel = await raw.frame()
        assert cancel.kind is Kind.CANCEL
        cancelled.append(cancel.request_id)
        await raw.control(Kind.ERROR, bad.request_id, b"")
        await raw.is_closed_by_the_other()

    async with raw_server(talk) as address, peer_at(address) as peer:
        bad, good = Ask(peer, "o", 0, 8 << 20), Ask(peer, "o", 0, 1 << 20)
        error = await bad.error()
        assert isinstance(error, PeerCorrupt)
        assert "bytes up to 2000 of 600000 are corrupt" in error.message
        assert bad.sink.calls == ["begin", "advanced", "detached", "done"]
        assert bad.sink.watermark == 1000
        assert await good.data() == DATA
        await until(lambda: cancelled == [1])
        await until(lambda: peer.counters()["requests_under_way"] == 0)
        assert peer.is_up
        assert peer.counters()["corrupt_reads_total"] == 1
        assert peer.counters()["protocol_errors_total"] == 0


@on_both_loops
async def test_answer_and_cancel_cross() -> None:
    """The whole answer was on its way when CANCEL left: it is thrown away, and the request is over."""

    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        reads = [await raw.frame() for _ in range(2)]
        assert [(await raw.frame()).kind for _ in reads] == [Kind.CANCEL] * 2
        await head_of_answer(raw, reads[0])
        await data(raw, reads[0], 0, 200_000)
        empty = block_payload(ObjectMeta('"v1"', 0, 0.0), 0, 0.0)
        await raw.control(Kind.BLOCK, reads[1].request_id, empty)
        for start in range(200_000, len(DATA), 200_000):
            await data(raw, reads[0], start, start + 200_000)
        status = await raw.frame()
        await raw.control(Kind.STATUS_REPORT, status.request_id, b"still there")
        await raw.is_closed_by_the_other()

    async with raw_server(talk) as address, peer_at(address) as peer:
        await until(lambda: peer.is_up)
        asks = [Ask(peer, "o", 0, 8 << 20) for _ in range(2)]
        for ask in asks:
            ask.cancel()
        assert await peer.status(PATIENCE_S) == b"still there"
        assert peer.counters()["requests_under_way"] == 0
        assert [ask.sink.calls for ask in asks] == [[], []]


@on_both_loops
async def test_connection_cut_at_any_place() -> None:
    """In a header, between frames, in a payload: the read fails at once, and no byte that was not verified counts."""
    cuts = iter([10, 200, 5000, 300_000])

    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        read = await raw.frame()
        writer = raw.writer
        stream = writer.control(Kind.BLOCK, read.request_id, block_payload(META, len(DATA), 0.0))
        for start in range(0, len(DATA), DATA_BYTES_MAX):
            piece = DATA[start : start + DATA_BYTES_MAX]
            stream += (
                writer.data_header(read.request_id, start, len(piece), checksum(DATA[: start + len(piece)]))
                + piece
            )
        await raw.send(stream[: next(cuts, 400_000)])

    async with raw_server(talk) as address:
        for _ in range(5):
            async with peer_at(address) as peer:
                ask = Ask(peer, "o", 0, 8 << 20)
                assert isinstance(await ask.error(), PeerUnavailable)
                assert ask.sink.memory[: ask.sink.watermark] == DATA[: ask.sink.watermark]
                assert ask.sink.watermark in (0, DATA_BYTES_MAX)
                assert peer.counters()["connections_lost_total"] >= 1
                assert peer.counters()["timeouts_total"] == 0


# ------------------------------------------------------------ silence


def test_silent_host_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts, greets, takes requests and PINGs, and says nothing."""
    monkeypatch.setattr(link, "DEAD_AFTER_S", 0.6)
    heard: list[Kind] = []

    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        while True:
            heard.append((await raw.frame()).kind)

    async def run() -> None:
        async with raw_server(talk_until_closed(talk)) as address, peer_at(address) as peer:
            asks = [Ask(peer, "o") for _ in range(3)]
            for ask in asks:
                error = await ask.error()
                assert isinstance(error, PeerUnavailable)
                assert not isinstance(error, PeerTimeout)
                assert "not even the answer to PING" in error.message
            assert heard == [Kind.READ] * 3 + [Kind.PING]

    asyncio.run(run())


def talk_until_closed(talk: Callable[[Raw], Awaitable[None]]) -> Callable[[Raw], Awaitable[None]]:
    async def guarded(raw: Raw) -> None:
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the end of the stream does to a half frame
            await talk(raw)

    return guarded


def test_slow_host_that_answers_pings_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the read's own deadline ends it."""
    monkeypatch.setattr(link, "DEAD_AFTER_S", 0.6)

    async def run() -> None:
        service = MemoryService({"o": DATA}, held={"o"})
        async with pair(service) as (peer, _):
            ask = Ask(peer, "o", deadline_s=1.7)
            assert isinstance(await ask.error(), PeerTimeout)
            assert peer.counters()["timeouts_total"] == 1
            assert peer.counters()["connects_total"] == 1
            assert peer.is_up

    asyncio.run(run())


def test_cancelled_requests_must_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that answers PINGs and ignores CANCEL would use up the requests that may be under way."""
    monkeypatch.setattr(link, "CANCEL_ANSWER_S_MAX", 0.3)
    monkeypatch.setattr(client, "IDLE_PING_S", 0.2)  # looks often

    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        while True:
            if (await raw.frame()).kind is Kind.PING:
                await raw.control(Kind.PONG)

    async def run() -> None:
        async with raw_server(talk_until_closed(talk)) as address, peer_at(address) as peer:
            await until(lambda: peer.is_up)
            Ask(peer, "o").cancel()
            await until(lambda: peer.counters()["connections_lost_total"] == 1)
            assert "a cancelled request was not ended" in peer.last_error
        service = MemoryService({"o": DATA}, held={"held"})
        async with pair(service) as (peer, _):
            for key in ("o", "held"):
                Ask(peer, key).cancel()
            await asyncio.sleep(1.0)
            assert peer.counters()["connections_lost_total"] == 0  # it has ended them

    asyncio.run(run())


def test_idle_host_is_noticed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "DEAD_AFTER_S", 0.3)
    monkeypatch.setattr(link, "IDLE_PING_S", 0.2)
    monkeypatch.setattr(client, "IDLE_PING_S", 0.2)

    async def silent(raw: Raw) -> None:
        await raw.greet_as_server()
        await raw.is_closed_by_the_other()

    async def run() -> None:
        async with raw_server(silent) as address, peer_at(address) as peer:
            await until(lambda: peer.counters()["connections_lost_total"] == 1)
        async with pair(MemoryService()) as (peer, _):
            await asyncio.sleep(1.0)
            assert peer.counters()["connections_lost_total"] == 0

    asyncio.run(run())


# ------------------------------------------------------------ greeting and coming back


@pytest.mark.parametrize(
    ("identity", "pattern_"),
    [
        (replace(BERT, key=b"another key entirely"), "'bert' refuses this host: .*cluster's key"),
        (replace(BERT, cluster="other"), "'other'"),
        (replace(BERT, host="carl"), "leads to 'carl'"),
        (replace(BERT, block_bytes=1 << 16), "blocks of 65536 bytes"),
    ],
)
def test_wrong_host_is_refused_and_tried_again(identity: PeerIdentity, pattern_: str) -> None:
    async def run() -> None:
        async with serving(MemoryService(), identity) as server, peer_at(server.address) as peer:
            error: CashyError = await Ask(peer, "o").error()
            with pytest.raises(PeerUnavailable, match=pattern_):
                raise error
            assert not peer.is_worth_trying()
            await until(lambda: peer.counters()["refused_total"] >= 3)
            assert not peer.is_up

    asyncio.run(run())


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-OpenSSH_9.2 and so on, at length\r\n"])
def test_host_that_does_not_greet(says: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "GREETING_S_MAX", 0.2)

    async def talk(raw: Raw) -> None:
        if says:
            await raw.send(says)
        await raw.is_closed_by_the_other()

    async def run() -> None:
        async with raw_server(talk) as address, peer_at(address) as peer:
            assert isinstance(await Ask(peer, "o").error(), PeerUnavailable)
            assert not peer.is_worth_trying()

    asyncio.run(run())


@on_both_loops
async def test_host_comes_back() -> None:
    """Down: reads fail at once. Up again on the same port: it is found without anybody asking."""
    service = MemoryService({"o": DATA}, held={"held"})
    async with serving(service) as server:
        address = server.address
        async with peer_at(address) as peer:
            await until(lambda: peer.is_up)
            ask = Ask(peer, "held")
            await until(lambda: service.reads)
            service.objects["held"] = DATA
            service.answer(service.reads[0], available=9)
            await until(lambda: ask.sink.watermark == 9)
            await server.close()
            error = await ask.error()
            assert isinstance(error, PeerUnavailable)
            assert ask.sink.calls == ["begin", "advanced", "detached", "done"]
            assert (service.reads[0].gone, service.reads[0].cancelled) == (1, 1)
            await until(lambda: not peer.is_worth_trying())
            assert isinstance(await Ask(peer, "o").error(), PeerUnavailable)
            async with serving(service, port=address[1]):
                await until(lambda: peer.is_up)
                assert peer.is_worth_trying()
                assert await Ask(peer, "o").data() == DATA
                assert peer.last_error == ""


def test_attempts_become_rarer() -> None:
    peer = client.Peer("bert", ("127.0.0.1", 1), identity=BERT, jitter=lambda: 1.0)
    waits = []
    for failures in (1, 2, 3, 4, 7, 50):
        peer._failures = failures
        waits.append(peer._backoff_s())
    assert waits == [0.1, 0.2, 0.4, 0.8, BACKOFF_MAX_S, BACKOFF_MAX_S]
    peer._jitter = lambda: 0.0
    assert peer._backoff_s() == BACKOFF_MAX_S / 2


def test_host_that_breaks_every_connection_is_tried_ever_more_rarely() -> None:
    times: list[float] = []

    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        times.append(asyncio.get_running_loop().time())

    async def run() -> None:
        async with raw_server(talk) as address, peer_at(address) as peer:
            await until(lambda: len(times) == 5)
            assert peer.counters()["connections_lost_total"] >= 4

    asyncio.run(run())
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap >= 0.07 * 2**number for number, gap in enumerate(gaps))


@on_both_loops
async def test_requests_wait_for_the_first_connection_only_so_many() -> None:
    async def talk(raw: Raw) -> None:
        await asyncio.sleep(PATIENCE_S)

    async with raw_server(talk) as address, peer_at(address) as peer:
        asks = [Ask(peer, "o") for _ in range(WAITING_MAX)]
        error = await Ask(peer, "o").error()
        assert error.code == "SLOW_DOWN"
        asks[7].cancel()
        late = Ask(peer, "o", deadline_s=0.0)
        assert isinstance(await late.error(), PeerTimeout)
        await peer.close()
        for index, ask in enumerate(asks):
            if index != 7:
                assert isinstance(await ask.error(), PeerUnavailable)
        assert asks[7].sink.calls == []
