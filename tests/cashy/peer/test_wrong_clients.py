"""Strangers, and hosts that ask wrongly, too much, or do not read: refused, counted, bounded; other connections go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from aviary.cashy.v1.peer_pb2 import PeerObject, PeerReadRequest, PeerRefusal
from cashy.core.peer_frames import DATA_BYTES_MAX, FIRST_DATA_BYTES, Kind, pack_header
from cashy.core.peer_greeting import PeerIdentity
from cashy.peer import frame_socket
from cashy.peer import server as server_module
from cashy.peer import serving as serving_module
from cashy.peer.limits import CONNECTIONS_PER_HOST_MAX, CONTROL_QUEUE_BYTES_MAX, REQUESTS_MAX
from cashy.peer.messages import parse_error
from cashy.peer.server import PeerServer

from .hosts import (
    ANNA,
    BLOCK_BYTES,
    Ask,
    MemoryService,
    Raw,
    expected_failures,
    on_both_loops,
    pair,
    pattern,
    peer_at,
    raw_client,
    serving,
    until,
)

DATA = pattern(5, 4 * DATA_BYTES_MAX)


def read_payload(
    key: str = "o", offset: int = 0, length: int = 1000, deadline_ms: int = 60_000, silence_ms: int = 60_000
) -> bytes:
    where = PeerObject(origin="store", bucket="bucket", key=key)
    return PeerReadRequest(
        object=where, offset=offset, length=length, deadline_ms=deadline_ms, silence_ms=silence_ms
    ).SerializeToString()


@asynccontextmanager
async def beside_a_good_host(service: MemoryService) -> AsyncIterator[PeerServer]:
    """A server, another host's read under way on it the whole time, which must succeed in the end."""
    service.objects["held"] = DATA
    service.held.add("held")
    carl = replace(ANNA, host="carl")
    async with serving(service) as server, peer_at(server.address, carl) as peer:
        await until(lambda: peer.is_up)
        going_on = Ask(peer, "held")
        await until(lambda: service.reads)
        service.answer(service.reads[0], available=5)
        yield server
        service.reads[0].reply.advance(len(DATA))
        assert await going_on.data() == DATA
        assert peer.counters()["connects_total"] == 1
        assert expected_failures() == []


# ------------------------------------------------------------ strangers


@pytest.mark.parametrize(
    ("identity", "to_host", "reason"),
    [
        (replace(ANNA, key=b"not the cluster's key"), "bert", "KEY"),
        (replace(ANNA, cluster="other"), "bert", "CLUSTER"),
        (replace(ANNA, host="dora"), "bert", "UNKNOWN_HOST"),
        (replace(ANNA, host="bert"), "bert", "WRONG_HOST"),
    ],
)
def test_stranger_is_refused_with_the_reason(identity: PeerIdentity, to_host: str, reason: str) -> None:
    async def run() -> None:
        async with beside_a_good_host(MemoryService()) as server, raw_client(server) as raw:
            answer = await raw.greet_as_client(identity, to_host)
            assert answer.kind is Kind.REFUSED
            refusal = PeerRefusal.FromString(answer.payload)
            assert PeerRefusal.Reason.Name(refusal.reason) == reason
            assert refusal.message
            assert await raw.is_closed_by_the_other()
            counters = server.counters()
            assert counters["refused_total"] == counters[f"refused_{reason.lower()}_total"] == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    "says", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 9, bytes(100_000), b"\x16\x03\x01" * 40]
)
def test_other_languages_are_hung_up_on(says: bytes) -> None:
    async def run() -> None:
        async with beside_a_good_host(MemoryService()) as server, raw_client(server) as raw:
            with_reset = raw.send(says)
            try:
                await with_reset
            except ConnectionError:
                pass
            assert await raw.is_closed_by_the_other()
            assert server.counters()["protocol_errors_total"] == 1

    asyncio.run(run())


def test_nothing_but_the_greeting_before_the_greeting() -> None:
    async def run() -> None:
        async with beside_a_good_host(MemoryService({"o": DATA})) as server:
            for kind, request_id, payload in (
                (Kind.READ, 1, read_payload()),
                (Kind.PING, 0, b""),
                (Kind.PROOF, 0, b""),
            ):
                async with raw_client(server) as raw:
                    await raw.control(kind, request_id, payload)
                    assert await raw.take(1) == b""
            assert server.counters()["protocol_errors_total"] == 3
            assert server.counters()["reads_total"] == 1  # the good host's

    asyncio.run(run())


def test_slow_greeting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "GREETING_S_MAX", 0.3)

    async def run() -> None:
        async with (
            beside_a_good_host(MemoryService()) as server,
            raw_client(server) as silent,
            raw_client(server) as slow,
        ):
            for byte in pack_header(Kind.HELLO, 0, 0, 100, 0, 0)[:-1]:
                await slow.send(bytes([byte]))
                await asyncio.sleep(0.02)
                if server.counters()["refused_protocol_total"] == 2:
                    break
            answer = await silent.frame()
            assert answer.kind is Kind.REFUSED
            assert "no complete greeting" in PeerRefusal.FromString(answer.payload).message
            assert await silent.is_closed_by_the_other()
            await until(lambda: server.counters()["refused_protocol_total"] == 2)

    asyncio.run(run())


def test_strangers_in_numbers_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GREETINGS_MAX", 3)

    async def run() -> None:
        async with (
            beside_a_good_host(MemoryService()) as server,
            raw_client(server),
            raw_client(server),
            raw_client(server),
        ):
            await until(lambda: server.counters()["greetings_under_way"] == 3)
            async with raw_client(server) as one_more:
                assert await one_more.take(1) == b""
            assert server.counters()["turned_away_total"] == 1
            assert server.counters()["greetings_under_way"] == 3

    asyncio.run(run())


def test_a_hosts_newer_connections_replace_its_oldest() -> None:
    async def run() -> None:
        async with beside_a_good_host(MemoryService()) as server:
            async with raw_client(server) as oldest:
                assert (await oldest.greet_as_client()).kind is Kind.WELCOME
                newer = [raw_client(server) for _ in range(CONNECTIONS_PER_HOST_MAX)]
                for each in newer:
                    raw = await each.__aenter__()
                    assert (await raw.greet_as_client()).kind is Kind.WELCOME
                assert await oldest.is_closed_by_the_other()
                assert server.counters()["connections"] == CONNECTIONS_PER_HOST_MAX + 1  # and the good host's
                for each in newer:
                    await each.__aexit__(None, None, None)
            await until(lambda: server.counters()["connections"] == 1)

    asyncio.run(run())


def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 1)

    async def run() -> None:
        async with beside_a_good_host(MemoryService()) as server, raw_client(server) as raw:
            assert (await raw.greet_as_client()).kind in (Kind.WELCOME, Kind.REFUSED)
            assert await raw.is_closed_by_the_other()
            assert server.counters()["refused_too_many_total"] == 1
            assert server.counters()["connections"] == 1

    asyncio.run(run())


# ------------------------------------------------------------ hosts that ask wrongly

Wrong = Callable[[Raw], Awaitable[None]]


async def same_id_twice(raw: Raw) -> None:
    await raw.control(Kind.READ, 1, read_payload("never"))
    await raw.control(Kind.HEAD, 1, b"")


async def longer_than_a_block(raw: Raw) -> None:
    await raw.control(Kind.READ, 1, read_payload(length=BLOCK_BYTES + 1))


async def of_no_bytes(raw: Raw) -> None:
    await raw.control(Kind.READ, 1, read_payload(length=0))


async def beyond_every_object(raw: Raw) -> None:
    await raw.control(Kind.READ, 1, read_payload(offset=2**63, length=1))


async def no_protobuf(raw: Raw) -> None:
    await raw.control(Kind.STATUS, 1, b"\xff\xff")


async def corrupt_payload(raw: Raw) -> None:
    frame = bytearray(raw.writer.control(Kind.READ, 1, read_payload()))
    frame[40] ^= 1
    await raw.send(bytes(frame))


async def answer_to_a_server(raw: Raw) -> None:
    await raw.send(raw.writer.data_header(1, 0, 4, 0) + b"data")


async def second_hello(raw: Raw) -> None:
    await raw.control(Kind.HELLO, 0, b"")


async def oversize_request(raw: Raw) -> None:
    await raw.send(pack_header(Kind.READ, 2, 1, 1 << 30, 0, 0))


async def lost_frame(raw: Raw) -> None:
    raw.writer.control(Kind.PING)  # made, but never sent
    await raw.control(Kind.PING)


WRONG = [
    same_id_twice, longer_than_a_block, of_no_bytes, beyond_every_object, no_protobuf, corrupt_payload, answer_to_a_server, second_hello,
    oversize_request, lost_frame,
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_violation_ends_the_connection_and_its_work(wrong: Wrong) -> None:
    async def run() -> None:
        service = MemoryService({"o": DATA, "never": DATA}, held={"never", "begun"})
        async with beside_a_good_host(service) as server, raw_client(server) as raw:
            assert (await raw.greet_as_client()).kind is Kind.WELCOME
            service.objects["begun"] = DATA
            await raw.control(Kind.READ, 99, read_payload("begun", length=len(DATA)))
            await until(lambda: len(service.reads) == 2)
            begun = service.reads[1]
            service.answer(begun, available=10)
            await wrong(raw)
            assert await raw.is_closed_by_the_other()
            assert server.counters()["protocol_errors_total"] == 1
            assert (begun.gone, begun.cancelled, begun.reply.is_gone) == (1, 1, True)
            assert all(served.cancelled == 1 for served in service.reads[1:])
            assert server.counters()["connections"] == 1

    asyncio.run(run())


@on_both_loops
async def test_more_requests_than_there_may_be() -> None:
    service = MemoryService({"o": DATA}, held={"o"})
    async with beside_a_good_host(service) as server, raw_client(server) as raw:
        assert (await raw.greet_as_client()).kind is Kind.WELCOME
        for request_id in range(1, REQUESTS_MAX + 3):
            await raw.control(Kind.READ, request_id, read_payload(length=10))
        for request_id in (REQUESTS_MAX + 1, REQUESTS_MAX + 2):
            answer = await raw.frame()
            assert (answer.kind, answer.request_id) == (Kind.ERROR, request_id)
            assert parse_error(answer.payload, "bert").code == "SLOW_DOWN"
        assert len(service.reads) == REQUESTS_MAX + 1  # with the good host's
        await raw.control(Kind.CANCEL, 1)
        assert ((await raw.frame()).kind, service.reads[1].cancelled) == (Kind.ERROR, 1)
        await raw.control(Kind.CANCEL, 1)  # once more: it has ended already
        await raw.control(Kind.READ, 1, read_payload("gone"))
        answer = await raw.frame()
        assert parse_error(answer.payload, "bert").code == "NO_SUCH_OBJECT"
        assert server.counters()["slow_downs_total"] == 2


# ------------------------------------------------------------ hosts that do not read


async def sends_until_stopped(raw: Raw) -> int:
    """PINGs without end; how many until nothing more is taken for a second."""
    sent = 0
    while sent < 10_000_000:
        pings = b"".join(raw.writer.control(Kind.PING) for _ in range(4000))
        try:
            await asyncio.wait_for(raw.send(pings), 1.0)
        except TimeoutError:
            break
        sent += 4000
    return sent


@on_both_loops
async def test_flood_of_pings_uses_no_memory() -> None:
    """Answers pile up to a limit; then the flooder is not listened to any more, and its own kernel stops it."""
    async with beside_a_good_host(MemoryService()) as server, raw_client(server) as raw:
        assert (await raw.greet_as_client()).kind is Kind.WELCOME
        connection = next(one for one in server._connections() if one.host == "anna")
        assert await sends_until_stopped(raw) < 10_000_000, "the kernel never stopped it"
        queued = connection.socket._control_bytes + sum(map(len, connection.socket._unsent))
        assert queued <= 2 * (CONTROL_QUEUE_BYTES_MAX + (16 << 10) + 32)
        assert not connection.socket._is_reading


def test_who_reads_again_is_listened_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_socket, "CONTROL_QUEUE_BYTES_MAX", 100)

    async def run() -> None:
        async with serving(MemoryService()) as server, raw_client(server) as raw:
            assert (await raw.greet_as_client()).kind is Kind.WELCOME
            for _ in range(20):
                await raw.send(b"".join(raw.writer.control(Kind.PING) for _ in range(1000)))
                for _ in range(1000):
                    assert (await raw.frame()).kind is Kind.PONG

    asyncio.run(run())


def test_receiver_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "RECEIVER_STALLED_S_MAX", 0.5)

    async def run() -> None:
        service = MemoryService({f"o{index}": pattern(index, BLOCK_BYTES) for index in range(16)})
        async with beside_a_good_host(service) as server, raw_client(server) as raw:
            assert (await raw.greet_as_client()).kind is Kind.WELCOME
            for request_id in range(1, 17):
                await raw.control(
                    Kind.READ, request_id, read_payload(f"o{request_id - 1}", length=BLOCK_BYTES)
                )
            await until(lambda: server.counters()["stalled_receivers_total"] == 1)
            reads = service.reads[1:]
            assert all(served.gone == 1 for served in reads)
            assert any(served.cancelled for served in reads)
            assert all(served.reply.is_gone for served in reads)
            assert server.counters()["connections"] == 1

    asyncio.run(run())


def test_silent_client_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "CLIENT_SILENT_S_MAX", 0.3)

    async def run() -> None:
        async with serving(MemoryService()) as server, raw_client(server) as raw:
            assert (await raw.greet_as_client()).kind is Kind.WELCOME
            await until(lambda: server.counters()["silent_clients_total"] == 1)
            assert server.counters()["connections"] == 0

    asyncio.run(run())


@on_both_loops
async def test_cancel_while_a_frame_is_half_sent() -> None:
    """The frame's rest must still come, from private memory: the block's own may be another's by then."""
    service = MemoryService({"o": b"", "other": DATA[:50]})
    memory = bytearray(DATA)
    async with pair(service) as (_, server), raw_client(server) as raw:
        assert (await raw.greet_as_client(replace(ANNA, host="carl"))).kind is Kind.WELCOME
        service.objects["o"] = memory  # type: ignore[assignment]
        for request_id in range(1, 9):
            await raw.control(Kind.READ, request_id, read_payload(length=len(DATA)))
        connection = next(one for one in server._connections() if one.host == "carl")
        await until(lambda: connection.socket._sending is not None and len(connection.socket._unsent) == 1)
        for request_id in range(1, 9):
            await raw.control(Kind.CANCEL, request_id)
        await until(lambda: all(served.gone for served in service.reads))
        memory[:] = bytes(len(memory))  # given to somebody else
        await raw.control(Kind.READ, 100, read_payload("other", length=50))
        received: dict[int, bytes] = {}
        while (frame := await raw.frame()).request_id != 100 or frame.kind is not Kind.DATA:
            if frame.kind is Kind.DATA:
                assert frame.offset == len(received.get(frame.request_id, b""))
                received[frame.request_id] = received.get(frame.request_id, b"") + frame.payload
        assert frame.payload == DATA[:50]
        assert received
        assert all(DATA.startswith(part) for part in received.values())


# ------------------------------------------------------------ whose turn it is


@on_both_loops
async def test_answers_take_turns_and_small_frames_go_first() -> None:
    service = MemoryService({"a": DATA, "b": DATA})
    async with pair(service) as (_, server), raw_client(server) as raw:
        assert (await raw.greet_as_client(replace(ANNA, host="carl"))).kind is Kind.WELCOME
        frames = [
            raw.writer.control(Kind.READ, key, read_payload("ab"[key - 1], length=len(DATA)))
            for key in (1, 2)
        ]
        await raw.send(b"".join(frames) + raw.writer.control(Kind.PING))
        kinds = [await raw.frame() for _ in range(3)]
        assert [frame.kind for frame in kinds] == [Kind.BLOCK, Kind.BLOCK, Kind.PONG]
        order = [(await raw.frame()).request_id for _ in range(8)]
        assert order == [1, 2] * 4


@on_both_loops
async def test_frames_end_at_the_same_places_for_everybody() -> None:
    """However the bytes came: so that the checksums of one reader are the next one's too."""
    service = MemoryService({"o": DATA}, held={"o"})
    async with serving(service) as server, raw_client(server) as raw:
        assert (await raw.greet_as_client()).kind is Kind.WELCOME
        await raw.control(Kind.READ, 1, read_payload(length=len(DATA)))
        await until(lambda: service.reads)
        service.answer(service.reads[0], available=100)
        assert (await raw.frame()).kind is Kind.BLOCK
        assert len((await raw.frame()).payload) == 100
        service.reads[0].reply.advance(len(DATA))
        ends = [frame.offset + len(frame.payload) for frame in [await raw.frame() for _ in range(5)]]
        assert ends == [FIRST_DATA_BYTES, *(DATA_BYTES_MAX * number for number in (1, 2, 3, 4))]
