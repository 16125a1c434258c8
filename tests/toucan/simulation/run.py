"""One run: everything is put together, things go wrong, then nothing does any more, and what is left is compared with the truth."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.core.requests import Reply
from toucan.core.values import TradingLevel

from .clients import SimulatedClient
from .disk import MemoryJournal
from .engines import SimulatedEngine
from .fronts import SimulatedFront
from .scenario import INSTRUMENTS, LIMITS, Fault, Scenario, draw_scenario
from .truth import look
from .venues import SimulatedVenue
from .world import MS, S, Violation, World

__all__ = ["Mutation", "Outcome", "Run", "run_scenario", "run_seed"]

Mutation = Callable[[], AbstractContextManager[object]]
#: With nothing wrong any more, everything is settled by then.
SETTLE_S_MAX = 15.0
PUMP_NS = 2 * MS


class Outcome:
    """How a run ended."""

    def __init__(self, scenario: Scenario, violation: str, world: World) -> None:
        self.scenario = scenario
        self.violation = violation
        self.counts: Counter[str] = world.counts
        self.points = world.points
        self.trace = list(world.trace)

    def report(self, lines: int = 60) -> str:
        """For people: what was violated, what happened before, and how to see it again."""
        scenario = self.scenario
        faults = [f"{fault.at_ns / S:10.6f}  {fault.kind} {fault.number}" for fault in scenario.faults]
        return "\n".join(
            [
                f"seed {scenario.seed}: {self.violation}",
                str(scenario.behaviour),
                *faults,
                "…",
                *self.trace[-lines:],
                f"seed {scenario.seed}: {self.violation}",
                f"repeat it with: {scenario.command}",
            ]
        )


class Run:
    """The state of a run."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.world = World(scenario.seed, scenario.start_ns)
        self.journal = MemoryJournal(self.world)
        names = sorted({one.venue for one in INSTRUMENTS})
        self.venues = {
            name: SimulatedVenue(self.world, name, [one for one in INSTRUMENTS if one.venue == name], scenario.behaviour)
            for name in names
        }  # fmt: skip
        instruments = {one.symbol: one for one in INSTRUMENTS}
        self.engine = SimulatedEngine(self.world, self.journal, self.venues, instruments, LIMITS)
        self._front_numbers = 0
        self.fronts: list[SimulatedFront] = []
        self.clients: list[SimulatedClient] = []
        self.is_healed = False

    # ------------------------------------------------------------ the course

    def play(self) -> None:
        """Everything. Raises :class:`Violation`."""
        world, scenario = self.world, self.scenario
        self._pump()
        self.engine.start()
        for _ in range(scenario.fronts):
            self._new_front()
        for name, grace_ns in scenario.clients:
            client = SimulatedClient(
                world, self.journal, name, self._alive, scenario.habits, self.engine.monotonic_ns
            )
            self.clients.append(client)
            world.after(world.between(0, 20 * MS), lambda one=client, grace=grace_ns: one.begin(grace))  # type: ignore[misc]
        self._others()
        for fault in scenario.faults:
            world.after(fault.at_ns, lambda one=fault: self._happens(one))  # type: ignore[misc]
        world.run(scenario.start_ns + int(scenario.duration_s * S))
        self._heal()
        self._settle()
        look(self)

    def _pump(self) -> None:
        for venue in self.venues.values():
            venue.pump()
        self.world.after(PUMP_NS, self._pump)

    def _others(self) -> None:
        if not self.is_healed:
            self.world.chance.choice(list(self.venues.values())).others_trade()
            self.world.after(self.world.between(MS, 2 * self.scenario.others_pause_ns), self._others)

    def _alive(self) -> list[SimulatedFront]:
        return self.fronts

    def _new_front(self) -> None:
        self._front_numbers += 1
        front = SimulatedFront(self.world, self._front_numbers)
        self.fronts.append(front)
        self.engine.joined(front)

    def faults_of_venues(self) -> Counter[str]:
        """How often each kind of misbehaviour has happened."""
        counts: Counter[str] = Counter()
        for venue in self.venues.values():
            counts += Counter({f"venue: {what}": number for what, number in venue.core.counts.items()})
        return counts

    # ------------------------------------------------------------ what goes wrong

    def _happens(self, fault: Fault) -> None:
        self.world.say(f"{fault.kind} ({fault.number})")
        self.world.counts[fault.kind] += 1
        _HAPPENS[fault.kind](self, fault.number)

    def engine_dies_soon(self, number: int) -> None:
        self.world.dies_in = number % 60

    def engine_dies(self, number: int) -> None:
        self.engine.die("a moment between two turns")

    def engine_stalls(self, number: int) -> None:
        self.engine.stalled_until_ns = self.world.now_ns + (number % 250) * MS

    def disk_fails(self, number: int) -> None:
        self.journal.is_failing = True
        self.world.after((number % 150) * MS, self._disk_works)

    def _disk_works(self) -> None:
        self.journal.is_failing = False

    def front_dies(self, number: int) -> None:
        """With whoever was on the same host, or without."""
        front = self.fronts.pop(number % len(self.fronts))
        front.die()
        if number % 3 == 0:
            for client in self.clients:
                if client.front is front:
                    client.die()
        self._new_front()

    def host_dies(self, number: int) -> None:
        """A front end, its clients and the engine, all at once."""
        self.engine.die("its host's death")
        self.front_dies(number - number % 3)

    def front_stalls(self, number: int) -> None:
        front = self.fronts[number % len(self.fronts)]
        front.stall_ns = (number % 200) * MS

        def goes_on() -> None:
            front.stall_ns = 0

        self.world.after(300 * MS, goes_on)

    def client_dies(self, number: int) -> None:
        alive = [client for client in self.clients if not client.is_dead]
        if len(alive) > 1:
            alive[number % len(alive)].die()

    def clock_steps(self, number: int) -> None:
        self.engine.wall_offset_ns += (number - 500) * [MS, S][number % 2]

    def venue_loses_everything(self, number: int) -> None:
        list(self.venues.values())[number % len(self.venues)].lose_everything()

    def line_is_cut(self, number: int) -> None:
        links = list(self.engine.links.values())
        if self.engine.loop is not None:
            links[number % len(links)].reconnect()

    def snapshot(self, number: int) -> None:
        """The snapshotter runs; what it has made must be what a replay gives."""
        self.journal.take_snapshot()
        loop = self.engine.loop
        if loop is None or loop.state.seq != self.journal.committed_seq:
            return  # what it has applied is not committed yet
        if loop.state.digest() != self.journal.recover().digest():
            raise Violation("the engine's state is not what its journal says")

    # ------------------------------------------------------------ and then nothing does

    def _heal(self) -> None:
        self.world.say("nothing goes wrong any more")
        self.is_healed = True
        self.world.dies_in = None
        self.journal.is_failing = False
        for venue in self.venues.values():
            venue.heal()
        for client in self.clients:
            client.is_finishing = True

    def _settle(self) -> None:
        self._wait(
            "the engine is ready, and every request answered",
            lambda: self.engine.is_ready and all(one.is_idle for one in self.clients),
        )
        self._enable_everything()
        # What the line lost last is only noticed when something comes after it, or with the next connection.
        for link in self.engine.links.values():
            link.reconnect()
        self.world.run(self.world.now_ns + S)
        self._wait("every venue is ready again", lambda: self.engine.is_ready)
        self.world.run(self.world.now_ns + 2 * S)  # the longest grace time, and the cancels after it
        self._wait("nothing is in flight", self._is_settled)

    def _wait(self, what: str, is_so: Callable[[], bool]) -> None:
        give_up_ns = self.world.now_ns + int(SETTLE_S_MAX * S)
        while not is_so():
            if self.world.now_ns > give_up_ns:
                raise Violation(f"{SETTLE_S_MAX:g} s after the last fault it is still not so that {what}")
            self.world.run(self.world.now_ns + 100 * MS)

    def _is_settled(self) -> bool:
        loop = self.engine.loop
        return loop is not None and not any(order.requests for order in loop.state.live_orders())

    def _enable_everything(self) -> None:
        nodes = ["firm", "firm/alpha", "firm/beta", "firm/alpha/ACC1"]
        answered: list[Reply] = []
        for number, node in enumerate(nodes, 1):
            body = rq.SetLevel(node, TradingLevel.NORMAL, "the end")
            self.fronts[0].ask(Client("operator", "end"), number, body, answered.append)
        self._wait("every node is enabled", lambda: len(answered) == len(nodes))


_HAPPENS: dict[str, Callable[[Run, int], None]] = {
    "engine dies soon": Run.engine_dies_soon,
    "engine dies": Run.engine_dies,
    "engine stalls": Run.engine_stalls,
    "disk fails": Run.disk_fails,
    "front dies": Run.front_dies,
    "host dies": Run.host_dies,
    "front stalls": Run.front_stalls,
    "client dies": Run.client_dies,
    "clock steps": Run.clock_steps,
    "venue loses everything": Run.venue_loses_everything,
    "line is cut": Run.line_is_cut,
    "snapshot": Run.snapshot,
}


def run_scenario(scenario: Scenario, mutation: Mutation | None = None) -> Outcome:
    """Plays a scenario; ``mutation`` breaks something while it runs."""
    run = Run(scenario)
    violation = ""
    was_on = gc.isenabled()
    gc.disable()
    try:
        with mutation() if mutation is not None else nullcontext():
            run.play()
    except Violation as found:
        violation = str(found)
    except (AssertionError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        # The engine would have died of it, and of the same again after its next start.
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        code = "" if where is None else f" in {where.tb_frame.f_code.co_qualname}:{where.tb_lineno}"
        violation = f"{type(error).__name__}{code}: {error}"
    finally:
        if was_on:
            gc.enable()
    run.world.counts += run.faults_of_venues()
    return Outcome(scenario, violation, run.world)


def run_seed(seed: int, *, duration_s: float | None = None) -> Outcome:
    """Plays the scenario of a seed."""
    return run_scenario(
        draw_scenario(seed) if duration_s is None else draw_scenario(seed, duration_s=duration_s)
    )
