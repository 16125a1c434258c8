"""Slow is not silent: a read lives as long as signs of it come, whatever it waits for; silence, trickles and reads that never end are given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from cashy.core.peer_frames import DATA_BYTES_MAX, Kind, checksum
from cashy.origin.base import ObjectMeta
from cashy.peer import link
from cashy.peer.errors import PeerTimeout
from cashy.peer.messages import block_payload

from .hosts import (
    ANNA,
    PATIENCE_S,
    Ask,
    Got,
    MemoryService,
    Raw,
    Served,
    on_both_loops,
    pair,
    pattern,
    peer_at,
    raw_client,
    raw_server,
    until,
)
from .test_wrong_clients import read_payload

DATA = pattern(3, 600_000)
META = ObjectMeta('"v1"', len(DATA), 0.0)
SILENCE_S = 0.6


def at_origin(answer: bool) -> Callable[[Served], None]:
    """A service that holds every read and says whether it is at the origin for it."""

    def note(served: Served) -> None:
        served.reply.is_at_origin = lambda: answer

    return note


@on_both_loops
async def test_a_read_that_waits_at_its_home_is_told_so_and_waits_on() -> None:
    """Before the first byte, and in the middle: several times the silence that its reader bears."""
    service = MemoryService({"o": DATA}, on_read=at_origin(True))
    async with pair(service) as (peer, server):
        ask = Ask(peer, "o", silence_s=SILENCE_S)
        await until(lambda: peer.counters()["waits_total"] >= 5)
        service.answer(service.reads[0], available=10)
        await until(lambda: ask.sink.watermark == 10)
        heard = peer.counters()["waits_total"]
        await until(lambda: peer.counters()["waits_total"] >= heard + 4)
        service.reads[0].reply.advance(len(DATA))
        assert await ask.data() == DATA
        assert peer.counters()["timeouts_total"] == 0
        assert server.counters()["waits_total"] == peer.counters()["waits_total"]
        assert time.monotonic() - ask.read.heard_at < PATIENCE_S


@on_both_loops
async def test_a_read_that_has_to_wait_for_the_origin_is_told_at_once_and_one_that_has_not_is_not() -> None:
    """Whoever gives no sign in its usual time has the next host asked too, which would read the block at the origin once more."""
    service = MemoryService({"o": DATA}, on_read=at_origin(True))
    async with pair(service) as (peer, _):
        ask = Ask(peer, "o", silence_s=1000.0)
        await until(lambda: ask.read.waiting_since)
        service.answer(service.reads[0])
        assert await ask.data() == DATA
        service.on_read = service.answer
        at_hand = Ask(peer, "o", silence_s=1000.0)
        assert await at_hand.data() == DATA
        assert (at_hand.read.waiting_since, peer.counters()["waits_total"]) == (0.0, 1)


@on_both_loops
async def test_a_read_that_waits_for_nothing_is_left_after_a_silence() -> None:
    """As at a host that itself waits for a third one: the connection stays, other reads too."""
    service = MemoryService({"o": DATA, "p": DATA}, on_read=at_origin(False))
    async with pair(service) as (peer, _):
        begun, never = Ask(peer, "o", silence_s=SILENCE_S), Ask(peer, "o", silence_s=SILENCE_S)
        patient = Ask(peer, "p", silence_s=PATIENCE_S)
        await until(lambda: len(service.reads) == 3)
        service.answer(service.reads[0], available=10)
        for ask in (begun, never):
            error = await ask.error()
            assert isinstance(error, PeerTimeout)
            assert error.message == "host 'bert' gave no sign of this read for 0.6 s"
        await until(lambda: [served.cancelled for served in service.reads] == [1, 1, 0])
        service.answer(service.reads[2])
        assert await patient.data() == DATA
        assert peer.is_up
        assert (peer.counters()["timeouts_total"], peer.counters()["waits_total"]) == (2, 0)


@on_both_loops
async def test_a_home_that_only_says_wait_is_left_at_the_deadline() -> None:
    service = MemoryService({"o": DATA}, on_read=at_origin(True))
    async with pair(service) as (peer, _):
        error = await Ask(peer, "o", deadline_s=1.2, silence_s=SILENCE_S).error()
        assert isinstance(error, PeerTimeout)
        assert "by the deadline" in error.message
        assert peer.counters()["waits_total"] >= 2
        await until(lambda: service.reads[0].cancelled == 1)


@on_both_loops
async def test_bytes_that_wait_behind_others_are_worth_waiting_for() -> None:
    service = MemoryService({"o": pattern(1, 4 * DATA_BYTES_MAX)})
    async with pair(service) as (_, server), raw_client(server) as raw:
        assert (await raw.greet_as_client(replace(ANNA, host="carl"))).kind is Kind.WELCOME
        for request_id in range(1, 9):
            payload = read_payload(length=4 * DATA_BYTES_MAX, silence_ms=1000)
            await raw.control(Kind.READ, request_id, payload)
        connection = next(one for one in server._connections() if one.host == "carl")
        await until(lambda: connection.socket.blocked_since is not None and len(connection._replies) == 8)
        replies = list(connection._replies.values())
        for reply in replies:
            reply.is_sign_due(time.monotonic())
        assert [reply.is_sign_due(time.monotonic() + 0.1) for reply in replies] == [False] * 8
        assert [reply.is_sign_due(time.monotonic() + 0.3) for reply in replies] == [True] * 8


# ------------------------------------------------------------ slow frames


async def head_of_answer(raw: Raw, read: Got) -> None:
    await raw.control(Kind.BLOCK, read.request_id, block_payload(META, len(DATA), 0.0))


async def send_slowly(raw: Raw, data: bytes, seconds: float) -> None:
    pieces = max(1, int(seconds / 0.05))
    for number in range(pieces):
        await raw.send(data[number * len(data) // pieces : (number + 1) * len(data) // pieces])
        await asyncio.sleep(0.05)


def test_while_one_frame_takes_long_its_own_and_other_reads_count_as_heard_of() -> None:
    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        slow, other = await raw.frame(), await raw.frame()
        await head_of_answer(raw, slow)
        await head_of_answer(raw, other)
        header = raw.writer.data_header(slow.request_id, 0, len(DATA), checksum(DATA))
        await send_slowly(raw, header + DATA, 3 * SILENCE_S)
        await raw.send(raw.writer.data_header(other.request_id, 0, len(DATA), checksum(DATA)) + DATA)
        assert await raw.is_closed_by_the_other()

    async def run() -> None:
        async with raw_server(talk) as address, peer_at(address) as peer:
            asks = [Ask(peer, "o", 0, 8 << 20, silence_s=SILENCE_S) for _ in range(2)]
            for ask in asks:
                assert await ask.data() == DATA
            assert peer.counters()["timeouts_total"] == 0

    asyncio.run(run())


def test_who_does_not_answer_ping_is_silent_and_is_asked_for_no_metadata_until_it_goes_on() -> None:
    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        read = await raw.frame()
        while (frame := await raw.frame()).kind is not Kind.CANCEL:
            assert frame.kind in (Kind.HEAD, Kind.PING)
        await raw.control(Kind.PONG, 0, b"")
        await head_of_answer(raw, read)
        await raw.send(raw.writer.data_header(read.request_id, 0, len(DATA), checksum(DATA)) + DATA)
        assert await raw.is_closed_by_the_other()

    async def run() -> None:
        async with raw_server(talk) as address, peer_at(address) as peer:
            ask = Ask(peer, "o", 0, 8 << 20, silence_s=PATIENCE_S)
            with pytest.raises(PeerTimeout, match="has not answered PING, nothing for"):
                await peer.head("s3", "s3://b/o", "b", "o", revalidate=False, deadline_s=PATIENCE_S)
            assert peer.is_silent
            assert await ask.data() == DATA, (
                "the connection lives, and so does what its reader has not given up"
            )
            assert not peer.is_silent
            assert peer.counters()["silences_total"] == 1

    asyncio.run(run())


@pytest.mark.parametrize("cut_at", [10, 1000])
def test_a_trickle_of_bytes_ends_the_connection(cut_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a header, or in a payload; no byte of a frame that is not complete counts."""
    monkeypatch.setattr(link, "FRAME_S_MAX", 0.7)

    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        read = await raw.frame()
        await head_of_answer(raw, read)
        frame = raw.writer.data_header(read.request_id, 0, 2000, checksum(DATA[:2000])) + DATA[:2000]
        await raw.send(frame[: cut_at - 9])
        for byte in frame[cut_at - 9 : cut_at]:
            await raw.send(bytes([byte]))
            await asyncio.sleep(0.2)
        assert await raw.is_closed_by_the_other()

    async def run() -> None:
        async with raw_server(talk) as address, peer_at(address) as peer:
            ask = Ask(peer, "o")
            error = await ask.error()
            assert isinstance(error, PeerTimeout)
            assert error.message == "host 'bert': a frame was not complete within 0.7 s"
            assert ask.sink.watermark == 0
            assert peer.counters()["timeouts_total"] == 1
            assert peer.counters()["connections_lost_total"] == 1
            assert peer.counters()["protocol_errors_total"] == 0

    asyncio.run(run())
