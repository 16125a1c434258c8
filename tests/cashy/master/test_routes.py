"""Routes over sources that break off, lie and refuse: to the fill it is one read, and only the origin's word is final."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aviary.cashy.v1.control_pb2 import Tier
from cashy.core.names import Resolved
from cashy.errors import (
    ArenaFull,
    CashyError,
    NoSuchObject,
    OriginInvalid,
    OriginUnavailable,
    SlowDown,
    VersionChanged,
)
from cashy.master.cluster import Cluster
from cashy.master.counters import Counters
from cashy.master.lanes import Lane
from cashy.master.routes import Route, Routes, Target
from cashy.origin.base import BlockRead, ObjectMeta, Origin

BLOCK = 1000
DATA = bytes(range(250)) * 4
PLACE = Resolved("store", "bucket", "key")


@dataclass
class Script:
    """What a source does: begins with ``version``, sends up to byte ``stop`` of the block, then ends with ``error`` (None: all is there)."""

    stop: int = BLOCK
    error: CashyError | None = None
    version: str = "v1"
    begins: bool = True
    size_bytes: int = BLOCK


@dataclass
class Source:
    """A source that follows its scripts, one per read; used as peer and as origin."""

    name: str
    scripts: list[Script]
    reads: list[BlockRead] = field(default_factory=list)
    cancelled: list[BlockRead] = field(default_factory=list)
    attached: set[int] = field(default_factory=set)
    hangs: bool = False
    sends: bool = False
    is_silent: bool = False

    def is_sending(self) -> bool:
        return self.sends

    def begin_read_block(self, read: BlockRead) -> None:
        self.reads.append(read)
        asyncio.get_running_loop().call_soon(self._answer, read, self.scripts.pop(0))

    def _answer(self, read: BlockRead, script: Script) -> None:
        if read in self.cancelled:
            return
        if not script.begins:
            read.on_done(read, script.error or OriginUnavailable("down"))
            return
        length = min(read.length, script.size_bytes - read.offset)
        try:
            buffer = read.sink.begin(ObjectMeta(script.version, script.size_bytes, 0.0), length)
        except CashyError as error:
            read.on_done(read, error)
            return
        assert len(buffer) == length
        self.attached.add(id(read))
        sent = max(0, min(script.stop, BLOCK) - read.offset)
        for end in sorted({sent // 2, sent}):
            buffer[:end] = DATA[read.offset : read.offset + end]
            read.sink.advanced(end, crc32c.crc32c(DATA[read.offset : read.offset + end]))
        if self.hangs:
            return
        self.attached.discard(id(read))
        read.sink.detached()
        read.on_done(read, script.error)

    def cancel_read_block(self, read: BlockRead) -> None:
        self.cancelled.append(read)
        if id(read) in self.attached:
            self.attached.discard(id(read))
            read.sink.detached()


class Sink:
    """The fill's side; notes everything."""

    def __init__(self, refuse: CashyError | None = None) -> None:
        self.memory = bytearray(BLOCK)
        self.begun = self.released = 0
        self.watermark = self.crc = 0
        self.outcomes: list[CashyError | None] = []
        self.refuse = refuse
        self.version: str | None = None

    def begin(self, meta: ObjectMeta, length: int) -> memoryview:
        if self.refuse is not None:
            raise self.refuse
        if meta.version != "v1":
            raise VersionChanged("another version")
        if length != BLOCK:
            raise OriginInvalid("wrong length")
        self.begun += 1
        self.version = meta.version
        return memoryview(self.memory)[:length]

    def advanced(self, watermark: int, crc: int | None = None) -> None:
        assert watermark >= self.watermark
        assert not self.released
        part = self.memory[self.watermark : watermark]
        self.crc = crc32c.crc32c(part, self.crc) if crc is None else crc
        self.watermark = watermark

    def detached(self) -> None:
        self.released += 1


@dataclass
class Sign:
    """What is known of a read at a peer."""

    heard_at: float


class Peers:
    """Stands where the cluster does: these peers, in this order."""

    read_timeout_s = 5.0
    read_total_s = 50.0

    def __init__(self, peers: Sequence[Source]) -> None:
        self._peers = peers

    def peers_for(self, origin: str, source_key: str, index: int) -> Sequence[Source]:
        return self._peers


def run_route(
    peers: Sequence[Source], origin: Source, sink: Sink, story: Callable[[Route], Any] | None = None, version: str | None = "v1"
) -> tuple[Route, Counters, Routes]:  # fmt: skip
    """Runs a route until its outcome, or until ``story`` is over."""
    counters = Counters()

    async def main() -> tuple[Route, Routes]:
        routes = Routes(
            {"store": cast(Origin, origin)},
            cast(Cluster, Peers(peers)),
            counters,
            block_bytes=BLOCK,
            fills_max=4,
        )
        done = asyncio.Event()

        def ended(error: CashyError | None) -> None:
            sink.outcomes.append(error)
            done.set()

        target = Target(PLACE, "bucket/key", 0, version, "s3://bucket/key", BLOCK)
        route = Route(routes, target, sink, ended, is_demand=True, forward=True)
        route.launch()
        if story is None:
            await asyncio.wait_for(done.wait(), 5)
        else:
            await story(route)
        for _ in range(5):
            await asyncio.sleep(0)
        return route, routes

    route, routes = asyncio.run(main())
    return route, counters, routes


def test_a_block_comes_from_its_home() -> None:
    home, origin, sink = Source("b", [Script()]), Source("store", []), Sink()
    route, counters, _ = run_route([home], origin, sink)
    assert sink.outcomes == [None]
    assert bytes(sink.memory) == DATA
    assert route.tier == Tier.TIER_PEER
    assert route.is_guest
    assert not origin.reads
    assert counters.totals() == {"peer_reads": 1}


def test_a_home_that_breaks_off_is_followed_by_the_next_at_the_byte_where_it_stopped() -> None:
    home, second = Source("b", [Script(400, OriginUnavailable("gone"))]), Source("c", [Script()])
    sink = Sink()
    run_route([home, second], Source("store", []), sink)
    assert [(read.offset, read.length, read.expected_version) for read in second.reads] == [(400, 600, "v1")]
    assert sink.outcomes == [None]
    assert bytes(sink.memory) == DATA
    assert sink.crc == crc32c.crc32c(DATA)
    assert (sink.begun, sink.released) == (1, 1)


def test_what_peers_say_of_the_object_is_asked_of_the_origin_and_of_no_other_peer() -> None:
    for error in (NoSuchObject("none"), VersionChanged("other")):
        home, second = Source("b", [Script(begins=False, error=error)]), Source("c", [])
        origin, sink = Source("store", [Script()]), Sink()
        route, _, _ = run_route([home, second], origin, sink)
        assert sink.outcomes == [None]
        assert not second.reads
        assert route.tier == Tier.TIER_ORIGIN


def test_the_origins_word_is_final() -> None:
    origin, sink = Source("store", [Script(begins=False, error=NoSuchObject("none"))]), Sink()
    run_route([Source("b", [Script(begins=False, error=SlowDown("busy"))])], origin, sink)
    assert isinstance(sink.outcomes[0], NoSuchObject)
    assert (sink.begun, sink.released) == (0, 0)


def test_a_peer_with_another_version_or_length_is_passed_over() -> None:
    wrong = [Source("b", [Script(version="v2")]), Source("c", [Script(size_bytes=700)])]
    origin, sink = Source("store", [Script()]), Sink()
    run_route(wrong, origin, sink)
    assert sink.outcomes == [None]
    assert bytes(sink.memory) == DATA


def test_no_room_here_is_nobody_elses_fault() -> None:
    home, origin = Source("b", [Script()]), Source("store", [])
    sink = Sink(refuse=ArenaFull("full"))
    run_route([home], origin, sink)
    assert isinstance(sink.outcomes[0], ArenaFull)
    assert not origin.reads


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5])
def test_a_cancelled_route_detaches_once_and_says_nothing(turns: int) -> None:
    home = Source("b", [Script(400, OriginUnavailable("gone"))])
    origin, sink = Source("store", [Script(700)], hangs=True), Sink()

    async def story(route: Route) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        route.cancel()
        route.cancel()

    _, _, routes = run_route([home], origin, sink, story)
    assert sink.outcomes == []
    assert sink.released == sink.begun
    assert (routes.active, routes.waiting) == (0, 0)


def test_a_route_knows_when_it_is_at_the_origin_and_when_its_source_gave_a_sign() -> None:
    """A host may promise others only what it sees to itself; a source that gives signs is not given up as silent."""
    home, origin = (
        Source("b", [Script(400, OriginUnavailable("gone"))]),
        Source("store", [Script(700)], hangs=True),
    )
    seen: list[bool] = []

    async def story(route: Route) -> None:
        seen.append(route.is_at_origin)
        (read,) = home.reads
        asked_at = route.last_sign
        read.state = Sign(asked_at + 9.0)
        assert route.last_sign == asked_at + 9.0
        while not origin.reads:
            await asyncio.sleep(0)
        seen.append(route.is_at_origin)
        assert asked_at <= route.last_sign < asked_at + 9.0
        route.cancel()
        seen.append(route.is_at_origin)

    run_route([home], origin, Sink(), story)
    assert seen == [False, True, False]


def test_a_route_that_waits_for_a_place_at_the_origin_is_at_the_origin_and_not_started() -> None:
    async def main() -> None:
        origin = Source("store", [Script()], hangs=True)
        routes = Routes({"store": cast(Origin, origin)}, None, Counters(), block_bytes=BLOCK, fills_max=1)
        target = Target(PLACE, "bucket/key", 0, "v1", "s3://bucket/key", BLOCK)
        first, second = (
            Route(routes, target, Sink(), lambda error: None, is_demand=True, forward=True) for _ in range(2)
        )
        first.launch()
        second.launch()
        assert (first.is_at_origin, second.is_at_origin) == (True, True)
        assert (first.started, second.started) == (True, False)
        second.cancel()
        first.cancel()

    asyncio.run(main())


scripts = st.builds(
    Script,
    stop=st.integers(0, BLOCK),
    error=st.sampled_from(
        [OriginUnavailable("gone"), SlowDown("busy"), NoSuchObject("none"), VersionChanged("other")]
    ),
    version=st.sampled_from(["v1", "v1", "v2"]),
    begins=st.booleans(),
    size_bytes=st.sampled_from([BLOCK, BLOCK, BLOCK + 500]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(scripts, max_size=4), st.one_of(st.just(Script()), scripts))
def test_whatever_peers_do_the_outcome_is_the_origins_and_bytes_are_right(
    peers: list[Script], last: Script
) -> None:
    origin, sink = Source("store", [last]), Sink()
    _, _, routes = run_route(
        [Source(f"p{number}", [script]) for number, script in enumerate(peers)], origin, sink
    )
    assert len(sink.outcomes) == 1
    assert sink.begun <= 1
    assert sink.released == sink.begun
    assert bytes(sink.memory[: sink.watermark]) == DATA[: sink.watermark]
    assert sink.crc == crc32c.crc32c(DATA[: sink.watermark])
    if sink.outcomes[0] is None:
        assert bytes(sink.memory) == DATA
    else:
        assert last.error is sink.outcomes[0] or last.version != "v1" or last.size_bytes != BLOCK
    assert (routes.active, routes.waiting) == (0, 0)


# --- lanes ---


class User:
    def __init__(
        self, started: list[User], *, is_demand: bool = True, owner: str = "", size_bytes: int = 1, source: str = ""
    ) -> None:  # fmt: skip
        self.is_demand = is_demand
        self.owner = owner
        self.size_bytes = size_bytes
        self.source = source
        self._started = started

    def start(self) -> None:
        self._started.append(self)


def test_a_lane_starts_demand_before_wishes_and_leaves_half_of_the_places_to_demand() -> None:
    started: list[User] = []
    lane = Lane(4)
    wishes = [User(started, is_demand=False) for _ in range(5)]
    for wish in wishes:
        lane.enter(wish)
    assert started == wishes[:2]
    demand = [User(started) for _ in range(3)]
    for user in demand:
        lane.enter(user)
    assert started == [*wishes[:2], *demand[:2]]
    lane.leave(wishes[0])
    assert started[-1] is demand[2]
    assert (lane.active, lane.waiting) == (4, 3)
    lane.leave(wishes[4])  # one that waits
    assert (lane.active, lane.waiting) == (4, 2)


def test_who_has_waited_elsewhere_goes_first() -> None:
    started: list[User] = []
    lane = Lane(1)
    running, waiting, urgent = (User(started) for _ in range(3))
    lane.enter(running)
    lane.enter(waiting)
    lane.enter(urgent, first=True)
    lane.leave(running)
    assert started == [running, urgent]
