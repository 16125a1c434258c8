"""Sessions of a real host, damaged at random and sent to a real server and a real client: neither falls, leaks or takes a wrong byte."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

from aviary.cashy.v1.peer_pb2 import PeerObject, PeerReadRequest
from cashy.core.peer_frames import DATA_BYTES_MAX, Kind, checksum, pack_header
from cashy.core.peer_wire import FrameWriter
from cashy.origin.base import ObjectMeta
from cashy.peer.errors import PeerError
from cashy.peer.messages import block_payload

from .hosts import (
    ANNA,
    PATIENCE_S,
    Ask,
    MemoryService,
    Raw,
    expected_failures,
    on_both_loops,
    pattern,
    peer_at,
    raw_client,
    raw_server,
    serving,
    until,
)

ROUNDS = 150
DATA = pattern(7, 2 * DATA_BYTES_MAX + 99)
META = ObjectMeta('"v1"', len(DATA), 0.0)


def damaged(stream: bytes, chance: random.Random) -> bytes:
    """One or a few of: a flipped bit, a piece lost, repeated, moved or made up, an early end."""
    for _ in range(chance.choice((1, 1, 1, 3))):
        place, other = sorted(chance.randrange(len(stream) + 1) for _ in range(2))
        piece = stream[place:other][:300]
        stream = chance.choice((
            stream[:place] + bytes([chance.randrange(256)]) + stream[place + 1 :],
            stream[:place] + stream[place + len(piece) :],
            stream[:other] + piece + stream[other:],
            stream[:place] + chance.randbytes(chance.randrange(1, 60)) + stream[other:],
            stream[:place] + pack_header(chance.choice(list(Kind)), chance.randrange(9), chance.randrange(4), chance.randrange(99), 0, 0)
            + stream[place:],
            stream[:other],
        )) or b"x"  # fmt: skip
    return stream


def requests(chance: random.Random) -> bytes:
    """What a client might say after the greeting."""
    writer, stream = FrameWriter(), b""
    writer.control(Kind.HELLO)  # two frames were sent before
    writer.control(Kind.PROOF)
    for request_id in range(1, chance.randrange(2, 12)):
        where = PeerObject(origin="store", bucket="bucket", key=chance.choice(("o", "held", "none")))
        read = PeerReadRequest(
            object=where, offset=chance.randrange(99), length=chance.randrange(1, 999), deadline_ms=9
        )
        kind = chance.choice((Kind.READ, Kind.READ, Kind.CANCEL, Kind.STATUS, Kind.PING))
        payload = read.SerializeToString() if kind is Kind.READ else b""
        stream += writer.control(kind, 0 if kind is Kind.PING else request_id, payload)
    return stream


def answer(raw: Raw, request_id: int) -> bytes:
    writer = raw.writer
    stream = writer.control(Kind.BLOCK, request_id, block_payload(META, len(DATA), 1.0))
    for start in range(0, len(DATA), DATA_BYTES_MAX):
        piece = DATA[start : start + DATA_BYTES_MAX]
        stream += (
            writer.data_header(request_id, start, len(piece), checksum(DATA[: start + len(piece)])) + piece
        )
    return stream


@on_both_loops
async def test_damaged_requests() -> None:
    chance = random.Random(20)
    service = MemoryService({"o": DATA, "held": DATA}, held={"held"})
    carl = replace(ANNA, host="carl")
    async with serving(service) as server, peer_at(server.address, carl) as peer:
        await until(lambda: peer.is_up)
        for round_ in range(ROUNDS):
            async with raw_client(server) as raw:
                assert (await raw.greet_as_client()).kind is Kind.WELCOME
                await raw.send(damaged(requests(chance), chance))
                if round_ % 2:
                    await asyncio.sleep(0)
            if round_ % 10 == 0:
                assert await Ask(peer, "o").data() == DATA
        await until(lambda: server.counters()["connections"] == 1)
        assert all(served.gone <= 1 and served.cancelled <= 1 for served in service.reads)
        assert all(served.reply.is_gone for served in service.reads)
        assert server.counters()["protocol_errors_total"] > ROUNDS / 10
        assert server.counters()["requests_under_way"] == 0
        assert peer.counters()["connects_total"] == 1
        assert expected_failures() == []


@on_both_loops
async def test_damaged_answers() -> None:
    """A read that succeeds has every byte; one that fails has none that is wrong below its watermark."""
    chance = random.Random(21)
    outcomes = {"right": 0, "failed": 0}

    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        read = await raw.frame()
        stream = answer(raw, read.request_id)
        await raw.send(damaged(stream, chance) if chance.random() < 0.9 else stream)

    async with raw_server(talk) as address:
        for _ in range(ROUNDS // 3):
            async with peer_at(address) as peer:
                ask = Ask(peer, "o", 0, 8 << 20)
                async with asyncio.timeout(PATIENCE_S):
                    error = await ask.outcome
                assert ask.sink.memory[: ask.sink.watermark] == DATA[: ask.sink.watermark]
                if error is None:
                    assert bytes(ask.sink.memory) == DATA
                else:
                    assert isinstance(error, PeerError)
                outcomes["failed" if error else "right"] += 1
    assert min(outcomes.values()) > 0
