"""An orderly end: a host says that it stops, so that the others ask elsewhere at once, what is under way ends well, and nobody reports a loss."""

from __future__ import annotations

import asyncio

import pytest
import structlog.testing

from aviary.cashy.v1.peer_pb2 import PeerChallenge
from cashy.core.peer_frames import Kind
from cashy.core.peer_greeting import NONCE_BYTES, AcceptingGreeting
from cashy.peer.errors import PeerUnavailable

from .hosts import (
    BERT,
    HOSTS,
    PATIENCE_S,
    Ask,
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

DATA = pattern(1, 300_000)


@on_both_loops
async def test_the_other_host_notes_it() -> None:
    service = MemoryService()
    async with pair(service) as (peer, server):
        await peer.leave(PATIENCE_S)
        assert service.left == ["anna"]
        assert server.counters()["leavings_total"] == 1
        assert peer.is_up, "it says so before it goes"


@on_both_loops
async def test_a_host_that_leaves_is_asked_nothing_new_and_what_is_under_way_ends_well() -> None:
    service = MemoryService({"held": DATA, "other": DATA}, held={"held"})
    async with pair(service) as (peer, server):
        under_way = Ask(peer, "held")
        await until(lambda: service.reads)
        peer.leaves()
        assert peer.is_up
        assert not peer.is_worth_trying()
        assert isinstance(await Ask(peer, "other").error(), PeerUnavailable)
        with pytest.raises(PeerUnavailable):
            await peer.lease(0, 0, PATIENCE_S)
        ending = asyncio.create_task(server.reads_ended(PATIENCE_S))
        await asyncio.sleep(0)
        assert not ending.done()
        service.answer(service.reads[0])
        assert await under_way.data() == DATA
        await ending
        assert len(service.reads) == 1


@on_both_loops
async def test_reads_that_do_not_end_hold_up_the_end_for_a_while_only() -> None:
    service = MemoryService({"held": DATA}, held={"held"})
    async with pair(service) as (peer, server):
        ask = Ask(peer, "held")
        await until(lambda: service.reads)
        await server.reads_ended(0.05)
        await server.close()
        await ask.error()


@on_both_loops
async def test_its_end_is_no_loss_and_when_it_is_back_it_is_asked_again() -> None:
    service = MemoryService({"x": DATA})
    with structlog.testing.capture_logs() as lines:
        async with serving(service) as server:
            port = server.address[1]
            async with peer_at(server.address) as peer:
                await until(lambda: peer.is_up)
                peer.leaves()
                await server.close()
                await until(lambda: not peer.is_up)
                assert peer.last_error == "was stopped"
                async with serving(service, port=port):
                    await until(lambda: peer.is_up)
                    assert peer.is_worth_trying()
                    assert await Ask(peer, "x").data() == DATA
                    peer.leaves()
    events = [line["event"] for line in lines]
    assert "peer_left" in events
    assert "peer_lost" not in events


@on_both_loops
async def test_hosts_that_leave_at_the_same_time_tell_each_other() -> None:
    service = MemoryService()
    with structlog.testing.capture_logs() as lines:
        async with pair(service) as (peer, server):
            peer.leaves()
            await peer.leave(PATIENCE_S)
            assert service.left == ["anna"]
            await server.close()
            await until(lambda: not peer.is_up)
    assert "peer_lost" not in [line["event"] for line in lines]


@on_both_loops
async def test_an_older_host_is_not_told_what_it_would_not_understand() -> None:
    heard: list[bytes] = []

    async def talk(raw: Raw) -> None:
        """As a host whose newest version is 3."""
        greeting = AcceptingGreeting(BERT, HOSTS, bytes(NONCE_BYTES), 256)
        older = PeerChallenge.FromString(greeting._challenge)
        older.ClearField("protocol_version_newest")
        greeting._challenge = older.SerializeToString()
        await raw.control(Kind.CHALLENGE, 0, greeting.greeted((await raw.frame()).payload))
        await raw.control(Kind.WELCOME, 0, greeting.proved((await raw.frame()).payload)[1])
        heard.append(await raw.take(1 << 16))  # until the end

    async with raw_server(talk) as address:
        async with peer_at(address) as peer:
            await until(lambda: peer.is_up)
            await peer.leave(PATIENCE_S)
            assert peer.is_up
        await until(lambda: heard)
    assert heard == [b""]
