"""Reads of one host through others of which one is slow, stalls, is dead, or all of which are overloaded: what readers wait, and what it costs.

The routes of :mod:`cashy.master.routes` are the real ones, with their lanes, hedging, orders and breakers, on a loop with virtual time. What is
simulated is the other hosts (a queue, a few servers, memory), the origin, and readers who come whether the last one was answered or not, and
come again when they are refused. ``python -m tests.simulation.tails`` prints the table; the same seed gives the same figures.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from unittest import mock

from cashy.core.breaker import Breaker
from cashy.core.names import Resolved
from cashy.core.placement import Member, Ranking, place_key
from cashy.errors import CashyError, SlowDown
from cashy.master import lanes, routes
from cashy.master.cluster import Cluster
from cashy.master.counters import Counters
from cashy.master.routes import Route, Routes, Target
from cashy.origin.base import BlockRead, ObjectMeta, Origin
from cashy.peer.errors import PeerTimeout, PeerUnavailable
from cashy.peer.limits import PING_S, SILENT_AFTER_S, SWEEP_S
from cashy.peer.service import PeerRead

from .coherence.loop import SimulatedLoop

__all__ = ["SCENARIOS", "Outcome", "Scenario", "simulate"]

BLOCK_BYTES = 64
HOSTS = 4  # the reader, home to nothing, and those it reads from
BLOCKS = 300
NETWORK_S = 0.0005
SERVERS = 4
QUEUE_MAX = 64
#: A dead host is noticed by its connection after this.
DEAD_AFTER_S = 2.5
#: And without an answer to PING after this, which is looked at every so often.
SILENT_NOTICED_S = PING_S + SILENT_AFTER_S + SWEEP_S
#: Readers give up after this, and come again so often.
READER_S = 2.0
TRIES = 3
_PLACE = Resolved("store", "bucket", "key")


@dataclass(frozen=True)
class Scenario:
    """What is wrong with the first host from ``from_s`` on, and how many reads come a second."""

    name: str
    slow_by_s: float = 0.0
    #: Part of its reads that get no answer.
    stalls: float = 0.0
    is_dead: bool = False
    is_hedged: bool = True
    rate: float = 400.0
    #: Times the rate, between ``from_s`` and ``until_s``.
    overload: float = 1.0
    service_s: float = 0.002
    origin_s: float = 0.030
    from_s: float = 3.0
    until_s: float = 8.0
    seconds: float = 11.0


@dataclass
class Outcome:
    """Seconds that each read took, by when it began; failures by what they were; counters."""

    took_s: list[tuple[float, float]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def percentile_ms(self, part: float, from_s: float, until_s: float) -> float:
        """Of the reads that began then."""
        found = sorted(took_s for began_s, took_s in self.took_s if from_s <= began_s < until_s)
        return 1000 * found[min(len(found) - 1, int(part * len(found)))]

    def failures(self, from_s: float, until_s: float) -> int:
        """Reads that began then and ended with an error for their reader."""
        return sum(from_s <= began_s < until_s for began_s, _ in self.failed)

    @property
    def extra(self) -> float:
        """Reads beyond one for each block."""
        return self.counts["hedges"] / max(1, self.counts["peer_reads"])


_META = ObjectMeta("v1", BLOCK_BYTES * BLOCKS, 0.0)


class _Host:
    """Another host, and this one's connection to it."""

    def __init__(self, world: _World, name: str) -> None:
        self.name = name
        self._world = world
        self._draw = random.Random(f"{name} {world.seed}")
        self._has: set[int] = set()
        self._queue: deque[BlockRead] = deque()
        self._busy = 0
        self._breaker = Breaker()
        self._is_lost = False
        self._live: set[int] = set()

    # --- as a Peer ---

    def is_worth_trying(self) -> bool:
        return not self._is_lost and self._breaker.may_ask(self._world.now)

    def is_sending(self) -> bool:
        return False  # blocks come in one piece

    @property
    def is_silent(self) -> bool:
        scenario = self._world.scenario
        return (
            scenario.is_dead
            and self._world.is_ill(self)
            and self._world.now >= scenario.from_s + SILENT_NOTICED_S
        )

    def begin_read_block(self, read: PeerRead) -> None:
        self._live.add(id(read))
        if not self._breaker.ask(self._world.now):
            self._later(0, self._end, read, PeerUnavailable("passed over"))
            return
        if self._world.is_ill(self) and self._world.scenario.is_dead:
            self._later(DEAD_AFTER_S, self._lose, read)
            return
        self._later(read.deadline_s, self._end, read, PeerTimeout("the deadline"))
        self._later(NETWORK_S + self._slowness, self._arrived, read)

    def cancel_read_block(self, read: PeerRead) -> None:
        self._live.discard(id(read))
        self._breaker.given_up()
        if read in self._queue:
            self._queue.remove(read)

    @property
    def _slowness(self) -> float:
        return self._world.scenario.slow_by_s / 2 if self._world.is_ill(self) else 0.0

    # --- as a host ---

    def _arrived(self, read: BlockRead) -> None:
        if id(read) not in self._live:
            return
        if len(self._queue) >= QUEUE_MAX:
            self._later(NETWORK_S, self._end, read, SlowDown("too much waits"))
            return
        self._queue.append(read)
        self._serve()

    def _serve(self) -> None:
        while self._queue and self._busy < SERVERS:
            read = self._queue.popleft()
            if self._world.is_ill(self) and self._draw.random() < self._world.scenario.stalls:
                continue  # never heard of again
            index = read.offset // BLOCK_BYTES
            if index in self._has or self._world.home_of(index) == self.name:
                self._busy += 1
                self._later(self._draw.expovariate(1 / self._world.scenario.service_s), self._served, read)
            else:
                self._later(NETWORK_S + self._slowness, self._say_waiting, read)
                self._later(self._world.origin_s(), self._fetched, read, index)

    def _served(self, read: BlockRead) -> None:
        self._busy -= 1
        self._later(NETWORK_S + self._slowness, self._deliver, read)
        self._serve()

    def _fetched(self, read: BlockRead, index: int) -> None:
        self._has.add(index)
        self._later(NETWORK_S + self._slowness, self._deliver, read)

    def _say_waiting(self, read: BlockRead) -> None:
        if id(read) in self._live:
            read.state = _Sign(self._world.now)

    def _deliver(self, read: BlockRead) -> None:
        if id(read) in self._live:
            self._breaker.succeeded()
            _fill(read)
            self._end(read, None)

    def _lose(self, read: BlockRead) -> None:
        self._is_lost = True
        self._end(read, PeerUnavailable("no byte for 2.5 s"))

    def _end(self, read: BlockRead, error: CashyError | None) -> None:
        if id(read) in self._live:
            self._live.discard(id(read))
            if isinstance(error, PeerTimeout):
                self._breaker.failed(self._world.now)
            read.on_done(read, error)

    def _later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> None:
        asyncio.get_running_loop().call_later(delay_s, callback, *args)


@dataclass
class _Sign:
    """What is known of a read whose host is at the origin for it."""

    waiting_since: float

    @property
    def heard_at(self) -> float:
        return self.waiting_since


class _Origin:
    """The origin, as the reader's host asks it."""

    def __init__(self, world: _World) -> None:
        self._world = world
        self._live: set[int] = set()

    def begin_read_block(self, read: BlockRead) -> None:
        self._live.add(id(read))
        asyncio.get_running_loop().call_later(self._world.origin_s(), self._deliver, read)

    def cancel_read_block(self, read: BlockRead) -> None:
        self._live.discard(id(read))

    def _deliver(self, read: BlockRead) -> None:
        if id(read) in self._live:
            self._live.discard(id(read))
            _fill(read)
            read.on_done(read, None)


def _fill(read: BlockRead) -> None:
    read.sink.begin(_META, read.length)
    read.sink.advanced(read.length, 0)
    read.sink.detached()


class _World:
    """One run. Stands where the cluster does, too."""

    read_timeout_s = 10.0
    read_total_s = 60.0

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.outcome = Outcome()
        self.hosts = {f"h{number}": _Host(self, f"h{number}") for number in range(HOSTS - 1)}
        self._ranking = Ranking(Member(name) for name in self.hosts)
        self._orders = {
            index: self._ranking.first(place_key("store", "key", index), 2) for index in range(BLOCKS)
        }
        self._draw = random.Random(f"world {seed}")
        self.counters = Counters()
        self.routes = Routes(
            {"store": cast(Origin, _Origin(self))}, cast(Cluster, self), self.counters,
            block_bytes=BLOCK_BYTES, fills_max=64, hedge_budget=0.05 if scenario.is_hedged else 0.0,
        )  # fmt: skip

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def is_ill(self, host: _Host) -> bool:
        return host.name == "h0" and self.now >= self.scenario.from_s

    def home_of(self, index: int) -> str:
        return self._orders[index][0]

    def origin_s(self) -> float:
        self.outcome.counts["origin_reads_of_all"] += 1
        return self.scenario.origin_s * (0.8 + 0.4 * self._draw.random())

    def peers_for(self, origin: str, source_key: str, index: int) -> Sequence[_Host]:
        return [self.hosts[name] for name in self._orders[index] if self.hosts[name].is_worth_trying()]

    async def play(self) -> None:
        scenario, readers = self.scenario, set[asyncio.Task[None]]()
        while self.now < scenario.seconds:
            is_overloaded = scenario.from_s <= self.now < scenario.until_s
            rate = scenario.rate * (scenario.overload if is_overloaded else 1.0)
            await asyncio.sleep(self._draw.expovariate(rate))
            reader = asyncio.get_running_loop().create_task(self._read(self._draw.randrange(BLOCKS)))
            readers.add(reader)
            reader.add_done_callback(readers.discard)
        await asyncio.gather(*readers)
        self.outcome.counts.update(self.counters.totals())

    async def _read(self, index: int) -> None:
        began = self.now
        error: CashyError | None = None
        for attempt in range(TRIES):
            error = await self._try(index)
            if error is None:
                self.outcome.took_s.append((began, self.now - began))
                return
            await asyncio.sleep(0.1 * 2**attempt * self._draw.random())
        self.outcome.failed.append((began, type(error).__name__))

    async def _try(self, index: int) -> CashyError | None:
        done: asyncio.Future[CashyError | None] = asyncio.get_running_loop().create_future()
        target = Target(_PLACE, "key", index, "v1", "s3://bucket/key", _META.size_bytes)
        try:
            self.routes.check_room()
        except SlowDown as error:
            return error
        route = Route(self.routes, target, _Memory(), done.set_result, is_demand=True, forward=True)
        route.launch()
        try:
            async with asyncio.timeout(READER_S):
                return await done
        except TimeoutError:
            route.cancel()
            return PeerTimeout("the reader has left")


class _Memory:
    """Where a block goes."""

    def begin(self, meta: ObjectMeta, length: int) -> memoryview:
        return memoryview(bytearray(length))

    def advanced(self, watermark: int, crc: int | None = None) -> None:
        """Nothing to do."""

    def detached(self) -> None:
        """Nothing to do."""


class _Time:
    """Stands for the module ``time`` in what is simulated."""

    @staticmethod
    def monotonic() -> float:
        return asyncio.get_running_loop().time()


@contextmanager
def _virtual_time() -> Iterator[None]:
    with ExitStack() as stack:
        for module in (lanes, routes):
            stack.enter_context(mock.patch.object(module, "time", _Time))
        yield


def simulate(scenario: Scenario, seed: int = 1) -> Outcome:
    """Plays a scenario; the same seed, the same outcome."""
    loop = SimulatedLoop(seed)
    try:
        with _virtual_time():

            async def main() -> Outcome:
                world = _World(scenario, seed)
                await world.play()
                return world.outcome

            outcome = loop.run_until_complete(main())
        assert not loop.problems, loop.problems
        return outcome
    finally:
        loop.close()


#: Twice what hosts and origin can do, for two seconds; before and afterwards two thirds of what the hosts can.
_OVERLOAD: dict[str, Any] = {
    "overload": 5.0, "service_s": 0.02, "origin_s": 0.2, "from_s": 2.0, "until_s": 4.0, "seconds": 11.0,
}  # fmt: skip

SCENARIOS = (
    Scenario("healthy"),
    Scenario("slow by 200 ms", slow_by_s=0.2),
    Scenario("slow by 200 ms, not hedged", slow_by_s=0.2, is_hedged=False),
    Scenario("stalls at 5 %", stalls=0.05),
    Scenario("stalls at 5 %, not hedged", stalls=0.05, is_hedged=False),
    Scenario("dead", is_dead=True),
    Scenario("dead, not hedged", is_dead=True, is_hedged=False),
    Scenario("overload", **_OVERLOAD),
    Scenario("overload, not hedged", **_OVERLOAD, is_hedged=False),
)


def main() -> None:
    """Prints what each scenario comes to: before, while and after something is wrong."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print(f"{'':28} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7} {'extra':>7} {'origin':>7} {'p99 after':>10}")
    for scenario in SCENARIOS:
        found = simulate(scenario, seed)
        ill = scenario.from_s, scenario.until_s
        after = scenario.seconds - 3, scenario.seconds
        print(
            f"{scenario.name:28} {found.percentile_ms(0.5, *ill):8.1f} {found.percentile_ms(0.99, *ill):8.1f} "
            f"{found.failures(*ill):7} {found.extra:7.1%} {found.counts['origin_reads_of_all']:7} "
            f"{found.percentile_ms(0.99, *after):10.1f}"
        )


if __name__ == "__main__":
    main()
