"""Two sources asked for one block: whoever answers first fills it, the other never writes a byte, and nothing is left over."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from aviary.cashy.v1.control_pb2 import Tier
from cashy.core.candidates import LOST_IN_A_ROW, PROBE_FIRST_S, PROBE_MAX_S
from cashy.core.hedging import TOKENS_MAX, Hedging
from cashy.core.pace import Pace
from cashy.errors import CashyError, DeadlineExceeded, NoSuchObject, OriginUnavailable, SlowDown
from cashy.limits import LOOK_AGAIN_S_MAX
from cashy.master.cluster import Cluster
from cashy.master.counters import Counters
from cashy.master.lanes import Lane, SourcePace
from cashy.master.routes import Route, Routes, Target
from cashy.master.sources import SILENT_READS, Sources
from cashy.origin.base import BlockRead, Origin
from cashy.peer.service import PeerRead

from .test_routes import BLOCK, DATA, PLACE, Peers, Script, Sink, Source, User

PATIENCE_S = 20.0


@dataclass
class Waiting:
    """What is known of a read whose host has said that it is at the origin."""

    heard_at: float
    waiting_since: float


@dataclass
class Gated(Source):
    """A source that answers when it is let."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    after_s: float | None = None

    def begin_read_block(self, read: BlockRead) -> None:
        self.reads.append(read)
        script = self.scripts.pop(0)
        if self.after_s is not None:
            asyncio.get_running_loop().call_later(self.after_s, self._answer, read, script)
        elif self.gate.is_set():
            asyncio.get_running_loop().call_soon(self._answer, read, script)
        else:
            waiting = asyncio.ensure_future(self.gate.wait())
            waiting.add_done_callback(lambda done: None if done.cancelled() else self._answer(read, script))


class Silent:
    """A read that has given no sign."""

    is_sending = False


_READ = Silent()


class Rig:
    """One route over gated sources, on the running loop."""

    def __init__(
        self, peers: Sequence[Source], origin: Source, sink: Sink | None = None, *, fills_max: int = 4
    ) -> None:
        self.counters = Counters()
        self.sink = sink or Sink()
        self.routes = Routes(
            {"store": cast(Origin, origin)}, cast(Cluster, Peers(peers)), self.counters,
            block_bytes=BLOCK, fills_max=fills_max, hedge_budget=0.05,
        )  # fmt: skip
        self.routes.hedging.tokens = TOKENS_MAX
        for peer in peers:
            for _ in range(30):
                self.routes.sources.gave_sign(peer.name, _READ, 0.001, 0.0)
        self.done = asyncio.Event()

    def launch(self) -> Route:
        target = Target(PLACE, "bucket/key", 0, "v1", "s3://bucket/key", BLOCK)
        route = Route(self.routes, target, self.sink, self._ended, is_demand=True, forward=True)
        route.launch()
        return route

    def _ended(self, error: CashyError | None) -> None:
        self.sink.outcomes.append(error)
        self.done.set()

    async def outcome(self) -> CashyError | None:
        await asyncio.wait_for(self.done.wait(), PATIENCE_S)
        for _ in range(5):
            await asyncio.sleep(0)
        return self.sink.outcomes[0]

    def counted(self, name: str) -> int:
        return self.counters.totals().get(name, 0)

    def assert_clean(self) -> None:
        assert (self.routes.active, self.routes.waiting) == (0, 0)
        assert self.routes.hedging.under_way == 0
        assert not any(self.routes.sources._outstanding.values())
        assert self.sink.begun <= 1
        assert self.sink.released == self.sink.begun


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.002)


def play(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 2 * PATIENCE_S))


def test_a_late_home_has_the_next_host_asked_and_is_given_up_when_that_answers() -> None:
    async def story() -> None:
        home, second, origin = (
            Gated("b", [Script()]),
            Gated("c", [Script()], after_s=0.0),
            Source("store", []),
        )
        rig = Rig([home, second], origin)
        route = rig.launch()
        assert await rig.outcome() is None
        assert bytes(rig.sink.memory) == DATA
        assert home.cancelled == home.reads
        assert (route.tier, len(second.reads), origin.reads) == (Tier.TIER_PEER, 1, [])
        assert (rig.counted("hedges"), rig.counted("hedges_won"), rig.counted("hedges_cancelled")) == (
            1,
            1,
            1,
        )
        home.gate.set()
        rig.assert_clean()

    play(story)


def test_a_home_that_answers_after_all_wins() -> None:
    async def story() -> None:
        home, second = Gated("b", [Script()]), Gated("c", [Script()])
        rig = Rig([home, second], Source("store", []))
        rig.launch()
        await until(lambda: second.reads)
        home.gate.set()
        assert await rig.outcome() is None
        assert second.cancelled == second.reads
        assert (rig.counted("hedges"), rig.counted("hedges_won")) == (1, 0)
        rig.assert_clean()

    play(story)


def test_the_last_host_is_hedged_by_the_origin() -> None:
    async def story() -> None:
        home, origin = Gated("b", [Script()]), Gated("store", [Script()], after_s=0.0)
        rig = Rig([home], origin)
        route = rig.launch()
        assert await rig.outcome() is None
        assert route.tier == Tier.TIER_ORIGIN
        assert home.cancelled == home.reads
        rig.assert_clean()

    play(story)


def test_a_home_that_is_at_the_origin_is_waited_for() -> None:
    async def story() -> None:
        home, second = Gated("b", [Script()]), Gated("c", [])
        rig = Rig([home, second], Source("store", []))
        rig.launch()
        now = time.monotonic()
        home.reads[0].state = Waiting(now, now)
        await until(lambda: rig.counted("hedges_refused_waiting"))
        home.gate.set()
        assert await rig.outcome() is None
        assert not second.reads
        rig.assert_clean()

    play(story)


@pytest.mark.parametrize("why", ["budget", "overload", "cap", "sending"])
def test_without_leave_nobody_else_is_asked(why: str) -> None:
    async def story() -> None:
        home, second = Gated("b", [Script()]), Gated("c", [])
        rig = Rig([home, second], Source("store", []))
        if why == "budget":
            rig.routes.hedging.tokens = 0.9
        elif why == "sending":
            home.sends = True
        elif why == "overload":
            rig.routes.hedging.slow_down_seen(time.monotonic())
        else:
            for _ in range(8):
                rig.routes.hedging.started("c")
            rig.routes.hedging.tokens = TOKENS_MAX
        rig.launch()
        await until(lambda: rig.counted(f"hedges_refused_{why}"))
        home.gate.set()
        assert await rig.outcome() is None
        assert not second.reads

    play(story)


@pytest.mark.parametrize("why", ["budget", "waiting"])
def test_a_home_that_gives_no_sign_of_life_is_left_whatever_it_said(why: str) -> None:
    async def story() -> None:
        home, second = Gated("b", [Script()]), Gated("c", [Script()], after_s=0.0)
        rig = Rig([home, second], Source("store", []))
        rig.routes.hedging.tokens = 0.0
        rig.launch()
        if why == "waiting":
            now = time.monotonic()
            home.reads[0].state = Waiting(now, now)
        await until(lambda: rig.counted(f"hedges_refused_{why}"))
        await asyncio.sleep(2 * LOOK_AGAIN_S_MAX)
        assert not second.reads
        home.is_silent = True
        assert await rig.outcome() is None
        assert bytes(rig.sink.memory) == DATA
        assert (home.cancelled, len(second.reads)) == (home.reads, 1)
        assert (rig.counted("hedges_of_silent"), rig.counted(f"hedges_refused_{why}")) == (1, 1)
        rig.assert_clean()

    play(story)


def test_a_home_that_gives_no_sign_of_life_is_asked_last() -> None:
    async def story() -> None:
        home, second = Gated("b", [], is_silent=True), Gated("c", [Script()], after_s=0.0)
        rig = Rig([home, second], Source("store", []))
        rig.launch()
        assert await rig.outcome() is None
        assert not home.reads
        rig.assert_clean()

    play(story)


def test_a_second_read_never_waits_for_a_place() -> None:
    async def story() -> None:
        home, origin = Gated("b", [Script()]), Source("store", [])
        rig = Rig([home], origin, fills_max=1)
        rig.routes.at_origins.enter(cast(Route, User([])))
        rig.launch()
        await until(lambda: rig.counted("hedges_refused_overload"))
        home.gate.set()
        assert await rig.outcome() is None
        assert not origin.reads

    play(story)


def test_a_second_read_that_fails_leaves_the_first_one_alone() -> None:
    async def story() -> None:
        home = Gated("b", [Script()])
        second = Gated("c", [Script(begins=False, error=SlowDown("busy"))], after_s=0.0)
        origin = Source("store", [])
        rig = Rig([home, second], origin)
        rig.launch()
        await until(lambda: rig.counted("peer_reads_failed"))
        assert rig.routes.hedging.under_way == 0
        home.gate.set()
        assert await rig.outcome() is None
        assert not origin.reads
        rig.assert_clean()

    play(story)


def test_a_first_read_that_fails_leaves_the_second_one_alone() -> None:
    async def story() -> None:
        home = Gated("b", [Script(begins=False, error=OriginUnavailable("gone"))])
        second, origin = Gated("c", [Script()]), Source("store", [])
        rig = Rig([home, second], origin)
        rig.launch()
        await until(lambda: second.reads)
        home.gate.set()
        await until(lambda: rig.counted("peer_reads_failed"))
        second.gate.set()
        assert await rig.outcome() is None
        assert (len(second.reads), origin.reads) == (1, [])
        rig.assert_clean()

    play(story)


def test_the_origins_word_is_final_for_a_second_read_too_but_not_its_weakness() -> None:
    async def story() -> None:
        for error, is_final in ((NoSuchObject("none"), True), (OriginUnavailable("down"), False)):
            home = Gated("b", [Script()])
            origin = Gated("store", [Script(begins=False, error=error)], after_s=0.0)
            rig = Rig([home], origin)
            rig.launch()
            await until(lambda origin=origin: origin.reads)  # type: ignore[misc]
            if not is_final:
                await asyncio.sleep(0.01)
                home.gate.set()
            outcome = await rig.outcome()
            assert (outcome is error) == is_final
            assert bool(home.cancelled) == is_final
            rig.assert_clean()

    play(story)


def test_both_reads_end_with_their_reader() -> None:
    async def story() -> None:
        home, second = Gated("b", [Script()]), Gated("c", [Script()])
        rig = Rig([home, second], Source("store", []))
        route = rig.launch()
        await until(lambda: second.reads)
        route.cancel()
        assert (home.cancelled, second.cancelled) == (home.reads, second.reads)
        assert not rig.sink.outcomes
        rig.assert_clean()

    play(story)


def test_a_loop_that_stood_still_says_nothing_of_the_other_host() -> None:
    async def story() -> None:
        home, second = Gated("b", [Script()], after_s=0.03), Gated("c", [])
        rig = Rig([home, second], Source("store", []))
        rig.launch()
        time.sleep(0.1)
        assert await rig.outcome() is None
        assert not second.reads
        assert rig.counted("hedges") == 0

    play(story)


def test_a_slow_home_is_avoided_and_asked_again_beside_the_next_host_after_a_while() -> None:
    async def story() -> None:
        home = Gated("b", [Script(), Script()])
        second = Gated("c", [Script() for _ in range(3)], after_s=0.0)
        rig = Rig([home, second], Source("store", []))
        sources = rig.routes.sources
        for _ in range(20):
            sources.gave_sign("b", _READ, 0.4, 0.0)
        sources._asked_at["b"] = time.monotonic()
        rig.launch()
        assert await rig.outcome() is None
        assert not home.reads
        assert (rig.counted("slow_peers_avoided"), rig.counted("hedges")) == (1, 0)
        sources._asked_at["b"] = time.monotonic() - PROBE_FIRST_S
        again = Sink()
        rig.sink, rig.done = again, asyncio.Event()
        rig.launch()
        assert await rig.outcome() is None
        assert (len(home.reads), rig.counted("slow_peers_probed")) == (1, 1)
        assert bytes(again.memory) == DATA
        rig.assert_clean()

    play(story)


def test_several_reads_without_a_sign_say_that_a_host_is_slow_before_one_of_them_ends() -> None:
    sources = Sources(Hedging(0.05))
    reads = [Silent() for _ in range(SILENT_READS)]
    for read in reads[1:]:
        sources.asked("b", read, 0.0)
    assert sources.in_order(["b", "c"], "store", 5.0) == ["b", "c"], "one or two may be lost on their way"
    sources.asked("b", reads[0], 0.0)
    assert sources.in_order(["b", "c"], "store", 0.1) == ["b", "c"]
    assert sources.in_order(["b", "c"], "store", 5.0) == ["c"]
    reads[0].is_sending = True  # it stands behind others
    assert sources.in_order(["b", "c"], "store", 5.0) == ["b", "c"]
    reads[0].is_sending = False
    sources.gave_sign("b", reads[1], None, 5.0)
    assert sources.in_order(["b", "c"], "store", 5.0) == ["b", "c"]


def test_races_lost_one_after_the_other_say_so_too_and_a_sign_ends_it() -> None:
    sources = Sources(Hedging(0.05))
    for _ in range(10):
        sources.lost("b", 0.0, 1.0, was_probe=False)
    assert sources.in_order(["b", "c"], "store", 1.0) == ["b", "c"], "all of them are of one moment"
    for number in range(1, LOST_IN_A_ROW):
        sources.lost("b", float(number), number + 1.0, was_probe=False)
    assert sources.in_order(["b", "c"], "store", 9.0) == ["c"]
    sources.gave_sign("b", _READ, 0.001, 9.0)
    assert sources.in_order(["b", "c"], "store", 9.0) == ["b", "c"]


def test_a_host_that_loses_its_probes_is_asked_ever_more_rarely() -> None:
    sources = Sources(Hedging(1.0))
    sources.hedging.tokens = TOKENS_MAX
    for _ in range(20):
        sources.gave_sign("b", _READ, 0.4, 0.0)
    now, waits = 0.0, []
    for _ in range(7):
        sources.asked("b", _READ, now)
        began = now
        while not sources.wants_probe(["b", "c"], "store", now):
            now += PROBE_FIRST_S / 2
        waits.append(now - began)
        sources.lost("b", now, now, was_probe=True)
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert waits[-1] == PROBE_MAX_S


def test_a_read_that_nobody_waits_for_any_more_is_not_begun() -> None:
    async def story() -> None:
        home = Gated("b", [Script()])
        rig = Rig([home], Source("store", []))
        target = Target(PLACE, "bucket/key", 0, "v1", "s3://bucket/key", BLOCK)
        route = Route(rig.routes, target, rig.sink, rig._ended, is_demand=True, forward=True)
        route.wanted_until = time.monotonic()
        route.launch()
        assert not rig.sink.outcomes, "never from inside"
        assert isinstance(await rig.outcome(), DeadlineExceeded)
        assert not home.reads
        rig.assert_clean()

    play(story)


def test_what_is_left_of_a_deadline_travels_to_the_peer() -> None:
    async def story() -> None:
        for left_s, least_s, most_s in ((3.0, 2.0, 3.0), (math.inf, 50.0, 50.0)):
            home = Gated("b", [Script()])
            rig = Rig([home], Source("store", []))
            target = Target(PLACE, "bucket/key", 0, "v1", "s3://bucket/key", BLOCK)
            route = Route(
                rig.routes, target, rig.sink, rig._ended, is_demand=True, forward=True, owner="uid:7"
            )
            route.wanted_until = time.monotonic() + left_s
            route.launch()
            (read,) = home.reads
            assert isinstance(read, PeerRead)
            assert least_s <= read.deadline_s <= most_s
            assert read.caller == "uid:7"
            route.cancel()

    play(story)


delays = st.sampled_from([0.0, 0.0, 0.002, 0.024, 0.03, 0.06])
scripts = st.builds(
    Script,
    stop=st.integers(0, BLOCK),
    error=st.sampled_from([None, OriginUnavailable("gone"), SlowDown("busy"), NoSuchObject("none")]),
    version=st.sampled_from(["v1", "v1", "v2"]),
    begins=st.booleans(),
).filter(lambda script: script.error is not None or (script.stop == BLOCK and script.begins))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(scripts, delays), min_size=1, max_size=3),
    delays,
    st.one_of(st.none(), st.sampled_from([0.0, 0.01, 0.025, 0.05])),
)
def test_whatever_the_sources_do_and_when_bytes_are_right_and_nothing_is_left(
    peers: list[tuple[Script, float]], origin_after_s: float, cancelled_after_s: float | None
) -> None:  # fmt: skip
    async def story() -> None:
        hosts = [
            Gated(f"p{number}", [script], after_s=after_s) for number, (script, after_s) in enumerate(peers)
        ]
        origin = Gated("store", [Script(), Script()], after_s=origin_after_s)
        rig = Rig(hosts, origin)
        route = rig.launch()
        if cancelled_after_s is not None:
            await asyncio.sleep(cancelled_after_s)
            route.cancel()
            assert len(rig.sink.outcomes) <= 1
        else:
            assert await rig.outcome() is None
            assert bytes(rig.sink.memory) == DATA
        assert bytes(rig.sink.memory[: rig.sink.watermark]) == DATA[: rig.sink.watermark]
        rig.assert_clean()

    play(story)


# --- lanes: turns and pace ---


def test_users_take_turns_for_places() -> None:
    started: list[User] = []
    lane = Lane(1, quantum_bytes=10)
    many = [User(started, owner="many", size_bytes=10) for _ in range(1000)]
    for user in many:
        lane.enter(user)
    one = User(started, owner="one", size_bytes=10)
    lane.enter(one)
    for _ in range(2):
        lane.leave(started[-1])
    assert one in started
    assert lane.waiting == 998


def test_a_block_that_another_user_waits_for_too_has_that_users_turn() -> None:
    started: list[User] = []
    lane = Lane(1, quantum_bytes=10)
    many = [User(started, owner="many", size_bytes=10) for _ in range(100)]
    for user in many:
        lane.enter(user)
    lane.also_for(many[-1], "one")
    for _ in range(2):
        lane.leave(started[-1])
    assert many[-1] in started
    lane.also_for(started[-1], "two")  # has begun: nothing to do
    assert lane.waiting == 97


def test_a_source_with_a_limit_is_asked_at_its_pace() -> None:
    async def story() -> None:
        started: list[User] = []
        lane = Lane(10, paces={"slow": Pace(1_000_000)}, quantum_bytes=60_000)
        slow = [User(started, source="slow", size_bytes=60_000) for _ in range(5)]
        began = time.monotonic()
        for user in slow:
            lane.enter(user)
        await until(lambda: len(started) == 5)
        assert time.monotonic() - began >= 0.140, "four blocks, less a burst of a tenth of a second"
        assert started == slow

    play(story)


def test_who_waits_for_the_pace_of_one_source_holds_up_nobody_who_asks_another() -> None:
    async def story() -> None:
        started: list[User] = []
        lane = Lane(10, paces={"slow": Pace(1000)}, quantum_bytes=100_000)
        slow = [User(started, source="slow", size_bytes=100_000) for _ in range(3)]
        other = User(started, source="other", size_bytes=100_000)
        for user in (*slow, other):
            lane.enter(user)
        assert started == [slow[0], other]
        assert not lane.try_enter(User(started, source="slow"))
        assert lane.try_enter(User(started, source="other"))

    play(story)


def test_one_that_waits_for_its_pace_can_leave() -> None:
    async def story() -> None:
        started: list[User] = []
        lane = Lane(10, paces={"slow": Pace(1000)}, quantum_bytes=100)
        first, second = (User(started, source="slow", size_bytes=100_000) for _ in range(2))
        lane.enter(first)
        lane.enter(second)
        lane.leave(second)
        assert (lane.active, lane.waiting) == (1, 0)
        lane.give_back("slow", 100_000)
        lane.enter(second)
        assert started == [first, second], "what did not come has made room"

    play(story)


def test_a_source_whose_pace_allows_sooner_waits_for_no_other() -> None:
    async def story() -> None:
        started: list[User] = []
        lane = Lane(10, paces={"slow": Pace(1000), "quick": Pace(1_000_000)}, quantum_bytes=100_000)
        slow = [User(started, source="slow", size_bytes=100_000) for _ in range(2)]
        quick = [User(started, source="quick", size_bytes=100_000) for _ in range(3)]
        for user in (*slow, *quick):
            lane.enter(user)  # the second of the slow ones may begin after a hundred seconds
        await until(lambda: started == [slow[0], *quick])

    play(story)
    uvloop.run(story())  # as in a daemon


def test_lanes_to_one_source_share_its_pace_and_neither_starves() -> None:
    async def story() -> None:
        started: list[User] = []
        pace = SourcePace(Pace(2_000_000))
        lanes = Lane(100, quantum_bytes=20_000), Lane(100, quantum_bytes=20_000)
        for lane in lanes:
            lane.limit("a", pace)
        began = time.monotonic()
        for owner, lane in zip("ab", lanes, strict=True):
            for _ in range(40):
                lane.enter(User(started, owner=owner, source="a", size_bytes=20_000))
        await until(lambda: len(started) == 80)
        assert time.monotonic() - began >= 0.685, "79 blocks, less a burst of a tenth of a second"
        turns = "".join(user.owner for user in started)
        assert turns.index("b") < 30, turns
        assert "a" in turns[30:], turns

    play(story)
    uvloop.run(story())  # as in a daemon
