"""OPERATE: asked of a host, answered or refused, given up in time; and how long a host takes to answer."""

from __future__ import annotations

import pytest

from aviary.cashy.v1.operate_pb2 import HostEvict, HostRequest, Pin
from cashy.core.peer_frames import PAYLOAD_BYTES_MAX, Kind
from cashy.errors import InvalidName, TooLarge
from cashy.peer.errors import PeerTimeout
from cashy.peer.round_trips import ROUND_TRIPS_KEPT, RoundTrips

from .hosts import PATIENCE_S, MemoryService, on_both_loops, pair, until


@on_both_loops
async def test_a_request_and_its_answer() -> None:
    service = MemoryService()
    async with pair(service) as (peer, server):
        request = HostRequest(evict=HostEvict())
        request.evict.request.names.append("s3://b/k")
        answer = await peer.operate(request, PATIENCE_S)
        assert answer.evicted.blocks == 7
        (asked,) = service.operations
        assert asked.evict.request.names == ["s3://b/k"]
        assert 0 < asked.deadline_ms <= PATIENCE_S * 1000
        assert server.counters()["operations_total"] == 1


@on_both_loops
async def test_errors_come_as_themselves_and_the_connection_stays() -> None:
    async with pair(MemoryService()) as (peer, server):
        with pytest.raises(InvalidName, match="host 'bert': no name"):
            await peer.operate(HostRequest(pin=Pin(names=["bad"])), PATIENCE_S)
        with pytest.raises(TooLarge, match="OPERATE"):
            await peer.operate(
                HostRequest(pin=Pin(names=["x" * PAYLOAD_BYTES_MAX[Kind.OPERATE]])), PATIENCE_S
            )
        assert (await peer.operate(HostRequest(), PATIENCE_S)).evicted.blocks == 7
        assert server.counters()["requests_under_way"] == 0


@on_both_loops
async def test_one_that_takes_too_long_is_given_up_on_both_sides() -> None:
    service = MemoryService()
    async with pair(service) as (peer, server):
        with pytest.raises(PeerTimeout):
            await peer.operate(HostRequest(pin=Pin(names=["slow"])), 0.3)
        assert len(service.operations) == 1
        await until(lambda: server.counters()["requests_under_way"] == 0)


@on_both_loops
async def test_what_is_answered_at_once_says_how_far_a_host_is() -> None:
    async with pair(MemoryService()) as (peer, _):
        assert peer.counters()["latency_p50_us"] == 0
        await peer.operate(HostRequest(), PATIENCE_S)
        assert peer.counters()["latency_p50_us"] == 0, "an operator's request may take long"
        for _ in range(3):
            await peer.status(PATIENCE_S)
        figures = peer.counters()
        assert 0 < figures["latency_p50_us"] <= figures["latency_p99_us"] < PATIENCE_S * 1e6


def test_percentiles_of_the_latest() -> None:
    trips = RoundTrips()
    assert trips.percentile_us(50) == 0
    trips.add(9.0)
    assert (trips.percentile_us(50), trips.percentile_us(99)) == (9_000_000, 9_000_000)
    for number in range(ROUND_TRIPS_KEPT):
        trips.add((number + 1) / 1e6)
    assert (trips.percentile_us(50), trips.percentile_us(99)) == (129, 254)
