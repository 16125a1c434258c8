"""One run of a scenario: machines, clients, faults, and what came of it."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import cast

from cashy.s3.session import Session
from cashy.s3.writing import ToldToMaster

from .actors import do
from .host import Client, SimulatedHost, host_list
from .loop import Deadlock, SimulatedLoop
from .model import Violation
from .network import Network
from .patches import installed
from .process import NS, Clock, Process
from .scenario import DURATION_S, SPARES, Event, ListDrawn, Scenario, draw_scenario
from .store import ModelStore, StoreFaults

__all__ = ["Outcome", "Run", "run_scenario", "run_seed", "shrink"]

_TRACE_LINES = 4000
#: After the last event: as long as somebody is still at it, until hosts try to reach each other again (a second for a try that fails, five to the
#: next one), and a few leases more.
_SETTLE_S_MAX, _RECONNECT_S, _SETTLE_LEASES = 200.0, 6.0, 4


@dataclass
class Outcome:
    """What came of a run. ``violation``: empty if nothing is wrong; ``trace`` are the events that matter for it."""

    scenario: Scenario
    violation: str = ""
    key: str = ""
    trace: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    steps: int = 0

    def report(self, *, full: bool = False) -> str:
        """For people: what was violated, by which events (``full``: what was to happen, too), and how to see it again."""
        scenario = self.scenario
        return "\n".join(
            [
                f"seed {scenario.seed}: {self.violation}",
                f"{scenario!r}",
                *(map(str, scenario.events) if full else ()),
                *self.trace,
                f"repeat it with: {scenario.command}",
            ]
        )


class Run:
    """The state of a run."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.loop = SimulatedLoop(scenario.seed)
        self.counts: Counter[str] = Counter()
        self.contents = count(1)
        self.violation: Violation | None = None
        self._trace: deque[tuple[int, str, str]] = deque(maxlen=_TRACE_LINES)
        self.network = Network(self.loop, scenario.seed, self.say)
        self.store = ModelStore(self.loop, scenario.seed, self.say)
        self._told: dict[Client, ToldToMaster] = {}
        self._over = self.loop.create_future()
        self._is_healed = False
        #: Faults that have not ended, and operations of each client.
        self._under_way: Counter[str] = Counter()
        self._set_levels()
        self.hosts = {
            name: SimulatedHost(
                name, Clock(offset_ns, rate), list(scenario.hosts), self.network, self.store,
                lease_s=scenario.lease_s, fresh_s=scenario.fresh_s,
            )
            for name, offset_ns, rate in zip(self._names, scenario.offsets_ns, scenario.rates, strict=True)
        }  # fmt: skip
        #: Lists of hosts; the last of all, when the faults are over, says who is off.
        self.lists: list[ListDrawn] = list(scenario.lists)
        #: Hosts that have died for good.
        self.dead: set[str] = set()
        self.clients: dict[str, Client] = {}

    @property
    def _names(self) -> tuple[str, ...]:
        """All hosts that there are, or may be."""
        scenario = self.scenario
        return (*scenario.hosts, *SPARES) if scenario.lists else scenario.hosts

    def _set_levels(self) -> None:
        scenario = self.scenario
        if self._is_healed:
            self.store.faults = StoreFaults(latency_ms=5.0, slow_share=0.0, lost_share=0.0)
            self.network.latency_ms, self.network.spike_share = 0.5, 0.0
            return
        self.network.latency_ms, self.network.spike_share = scenario.latency_ms, scenario.spike_share
        faults = self.store.faults
        faults.latency_ms, faults.slow_share = scenario.store_latency_ms, scenario.slow_share
        faults.lost_share, faults.error_share = scenario.lost_share, 0.0

    # --- for actors ---

    def say(self, key: str, what: str) -> None:
        """Something happened to a key, or ("") to all."""
        self._trace.append((self.loop.true_ns, key, what))

    def told_by(self, client: Client) -> ToldToMaster:
        """What the worker tells its master by."""
        assert client.session is not None
        if client not in self._told:
            self._told[client] = ToldToMaster(cast(Session, client.session))  # type: ignore[arg-type]
        return self._told[client]

    def trace(self, key: str, last: int = 120) -> list[str]:
        """The last events of a key."""
        lines = [f"{at_ns / NS:12.6f}  {what}" for at_ns, of, what in self._trace if of in (key, "")]
        return lines[-last:]

    # --- the course of a run ---

    async def play(self) -> None:
        """Everything, from the start of the masters to the last look."""
        scenario = self.scenario
        for name in scenario.hosts:
            if scenario.lists:
                self.file(name, 0)
            else:
                self._start(self.hosts[name])
        for event in scenario.events:
            self.loop.call_in(self.loop.world, event.at_ns, self._happens, event)
        await self._wait(scenario.duration_s)
        self._heal()
        give_up_at = self.loop.time() + _SETTLE_S_MAX
        while self._under_way or self.store.under_way:
            if self.loop.time() > give_up_at:
                raise Violation(
                    "",
                    f"after {_SETTLE_S_MAX:g} s without faults something is still under way: {self._under_way}",
                )
            await self._wait(0.5)
        await self._wait(_RECONNECT_S + _SETTLE_LEASES * scenario.lease_s)
        await self._look_at_the_end()

    async def _wait(self, seconds: float) -> None:
        await asyncio.wait([self._over], timeout=seconds)
        if self.violation is not None:
            raise self.violation

    def _start_client(self, host: SimulatedHost, kind: str) -> None:
        name = f"{host.name}{kind}"
        client = self.clients[name] = Client(host, name, timeout_s=20.0)
        self.loop.call_in(client.process, 0, lambda: asyncio.ensure_future(client.connect()))

    def _start(self, host: SimulatedHost) -> None:
        host.start_master()
        for kind in "jw":
            self._start_client(host, kind)

    def file(self, name: str, number: int) -> None:
        """A host gets a list, unless it has a later one; one that has not run yet starts when it is in one."""
        host, drawn = self.hosts[name], self.lists[number]
        listed = host_list(number + 1, drawn.names, drawn.gone)
        if name in self.dead or (host.file is not None and host.file.version >= listed.version):
            return
        if host.file is None and name not in drawn.names:
            return
        is_first, host.file = host.file is None, listed
        self.say(
            "", f"{name} gets list {listed.version}: {' '.join(drawn.names)}, gone {' '.join(drawn.gone)}"
        )
        self.counts["lists"] += 1
        if is_first:
            self._start(host)

    def die(self, name: str) -> None:
        """For good: its file, too."""
        self.say("", f"{name} dies for good")
        self.dead.add(name)
        if self.hosts[name].file is not None:
            self.hosts[name].reboot()
        for kind in "jw":
            self._under_way.pop(f"{name}{kind}", None)

    def reboot(self, host: SimulatedHost, other: SimulatedHost, lasts_ns: int) -> None:
        if host.file is None or host.name in self.dead:
            return
        host.reboot()
        for kind in "jw":
            self._under_way.pop(f"{host.name}{kind}", None)
        self.later(lasts_ns, self._is_up_again, host)

    def _is_up_again(self, host: SimulatedHost) -> None:
        if host.name in self.dead:
            return
        self.say("", f"{host.name} is up again")
        host.start_master()
        for kind in "jw":
            if self.clients[f"{host.name}{kind}"].process.is_dead:
                self._start_client(host, kind)

    def _happens(self, event: Event) -> None:
        if event.kind == "file":
            self.file(*cast("tuple[str, int]", event.args))
            return
        if event.kind == "die":
            self.die(cast(str, event.args[0]))
            return
        fault = _FAULTS.get(event.kind)
        if fault is not None:
            self.say("", f"{event.kind} {' '.join(map(str, event.args))}")
            self.counts[event.kind] += 1
            first, second, lasts_s = cast("tuple[str, str, float]", event.args)
            fault(self, self.hosts[first], self.hosts[second], int(lasts_s * NS))
            return
        client = self.clients.get(cast(str, event.args[0]))
        if client is not None and not client.process.is_dead:
            self.loop.call_in(client.process, 0, lambda: asyncio.ensure_future(self._operate(client, event)))

    async def _operate(self, client: Client, event: Event) -> None:
        name = client.process.name
        self._under_way[name] += 1
        try:
            await do(self, client, event)
        except Violation as violation:
            self._violated(violation)
        finally:
            self._count_down(name)

    def _violated(self, violation: Violation) -> None:
        if self.violation is None:
            self.violation = violation
        if not self._over.done():
            self._over.set_result(None)

    # --- faults ---

    def later(self, delay_ns: int, callback: Callable[..., object], *args: object) -> None:
        """The end of a fault."""
        self._under_way["faults"] += 1
        self.loop.call_in(self.loop.world, delay_ns, self._ends, callback, args)

    def _ends(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self._count_down("faults")
        callback(*args)

    def _count_down(self, what: str) -> None:
        self._under_way[what] -= 1
        if not self._under_way[what]:
            del self._under_way[what]

    def kill_master(self, host: SimulatedHost, other: SimulatedHost, lasts_ns: int) -> None:
        host.kill_master()
        self.later(lasts_ns, self._start_master, host)

    def _start_master(self, host: SimulatedHost) -> None:
        if host.name in self.dead or (self.scenario.lists and host.file is None):
            return
        if host.master is None:
            self.say("", f"master of {host.name} starts")
        host.start_master()

    def freeze(self, processes: Sequence[Process | None], lasts_ns: int) -> None:
        for process in processes:
            if process is not None:
                self.loop.freeze(process)
                self.later(lasts_ns, self._thaw, process)

    def _thaw(self, process: Process) -> None:
        self.loop.thaw(process)
        self.say("", f"{process.name} goes on")

    def kill_worker(self, host: SimulatedHost, other: SimulatedHost, lasts_ns: int) -> None:
        name = f"{host.name}w"
        if name not in self.clients or host.name in self.dead:
            return
        self._told.pop(self.clients[name], None)
        self.clients[name].kill()
        self._under_way.pop(name, None)
        self.later(lasts_ns // 4, self._restart_worker, host)

    def _restart_worker(self, host: SimulatedHost) -> None:
        if host.name in self.dead:
            return
        if self.clients[f"{host.name}w"].process.is_dead:
            self._start_client(host, "w")

    def block(self, pairs: Sequence[tuple[str, str]], lasts_ns: int) -> None:
        for source, target in pairs:
            if source != target:
                self.network.block(source, target)
                self.later(lasts_ns, self.network.unblock, source, target)

    def cut_off(self, host: SimulatedHost, lasts_ns: int, *, is_out: bool = True) -> None:
        others = [other for other in self.hosts if other != host.name]
        if is_out:
            self.block([(host.name, other) for other in others], lasts_ns)
        self.block([(other, host.name) for other in others], lasts_ns)

    def slow_store(self, lasts_ns: int) -> None:
        self.store.faults.slow_share = 0.5
        self.later(lasts_ns, self._set_levels)

    def failing_store(self, lasts_ns: int) -> None:
        self.store.faults.error_share = 0.3
        self.later(lasts_ns, self._set_levels)

    def slow_network(self, lasts_ns: int) -> None:
        self.network.latency_ms = 200.0
        self.later(lasts_ns, self._set_levels)

    def slow_links(self, sources: Sequence[str], target: str, lasts_ns: int) -> None:
        for source in sources:
            self.network.slow_links[source, target] += 1
            self.later(lasts_ns, self._fast_again, source, target)

    def _fast_again(self, source: str, target: str) -> None:
        self.network.slow_links[source, target] -= 1

    def _heal(self) -> None:
        """No more faults. What is blocked or frozen ends by itself within seconds; lost answers end here."""
        self._is_healed = True
        self._set_levels()
        if self.lists:
            names = tuple(name for name in self.lists[-1].names if name not in self.dead)
            absent = self.dead | {name for name, host in self.hosts.items() if host.file is None}
            self.lists.append(ListDrawn(names, tuple(sorted(absent - set(names)))))
        for name in self._names if self.lists else ():
            self.file(name, len(self.lists) - 1)

    # --- the end ---

    async def _look_at_the_end(self) -> None:
        """All is well again: every host must be coherent, every client can write, and all see it. Hosts that are in no list any more only read."""
        self.say("", "the last look")
        members = set(self.lists[-1].names if self.lists else self.hosts)
        for host in self.hosts.values():
            if host.name in members:
                self._must_be_coherent(host)
        acknowledged = self.counts["writes acknowledged"]
        failed = sum(value for name, value in self.counts.items() if "failed" in name)
        living = [name for name, client in self.clients.items() if not client.process.is_dead]
        writers = [name for name in living if name[0] in members]
        for turn, name in enumerate(writers):
            key = f"k{turn % 5}"
            await self._run_in(self.clients[name], Event(0, "put", (name, key, turn)))
            for reader in living:
                await self._run_in(
                    self.clients[reader], Event(0, ("read", "get", "head")[turn % 3], (reader, key, turn))
                )
        if self.violation is not None:
            raise self.violation
        if self.counts["writes acknowledged"] != acknowledged + len(writers):
            raise Violation("", "a write fails, though nothing is wrong any more")
        if sum(value for name, value in self.counts.items() if "failed" in name) != failed:
            raise Violation("", "a read fails, though nothing is wrong any more")

    def _must_be_coherent(self, host: SimulatedHost) -> None:
        assert host.host is not None, f"host {host.name} has no master"
        cluster = host.host.cluster
        if self.lists and cluster is not None:
            self.counts["settled at the end"] += 1
            if not cluster.counting.is_settled:
                raise Violation(
                    "",
                    f"host {host.name} is not settled: it acts {cluster.counting.acts}, counts by "
                    f"{[each.version for each in cluster.counting.lists]}, and waits for {cluster.counting.unconfirmed()}",
                )
        if host.host.store.arena.coherent_until <= host.clock.local_ns(self.loop.true_ns):
            raise Violation("", f"host {host.name} is not coherent, though nothing is wrong any more")

    async def _run_in(self, client: Client, event: Event) -> None:
        done = self.loop.create_future()

        async def operate() -> None:
            await self._operate(client, event)
            done.set_result(None)

        self.loop.call_in(client.process, 0, lambda: asyncio.ensure_future(operate()))
        async with asyncio.timeout(100):
            await done

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()


_Fault = Callable[[Run, SimulatedHost, SimulatedHost, int], None]


def _freeze_machine(run: Run, host: SimulatedHost, lasts_ns: int) -> None:
    run.freeze([host.master, *(client.process for client in host.clients)], lasts_ns)


_FAULTS: dict[str, _Fault] = {
    "kill-master": Run.kill_master,
    "freeze-master": lambda run, host, other, ns: run.freeze([host.master], ns),
    "freeze-machine": lambda run, host, other, ns: _freeze_machine(run, host, ns),
    "kill-worker": Run.kill_worker,
    "reboot": Run.reboot,
    "partition": lambda run, host, other, ns: run.block(
        [(host.name, other.name), (other.name, host.name)], ns
    ),
    "one-way": lambda run, host, other, ns: run.block([(host.name, other.name)], ns),
    "one-way-in": lambda run, host, other, ns: run.cut_off(host, ns, is_out=False),
    "cut": lambda run, host, other, ns: run.network.cut(host.name, other.name),
    "cut-off": lambda run, host, other, ns: run.cut_off(host, ns),
    "slow-store": lambda run, host, other, ns: run.slow_store(ns),
    "failing-store": lambda run, host, other, ns: run.failing_store(ns),
    "slow-answers": lambda run, host, other, ns: run.slow_links(list(run.hosts), host.name, ns),
    "slow-link": lambda run, host, other, ns: run.slow_links([host.name], other.name, ns),
    "slow-network": lambda run, host, other, ns: run.slow_network(ns),
}


def run_scenario(
    scenario: Scenario, mutation: Callable[[], AbstractContextManager[object]] | None = None
) -> Outcome:
    """Plays a scenario; ``mutation`` breaks the protocol while it runs."""
    outcome = Outcome(scenario)
    gc_was_on = gc.isenabled()
    gc.disable()  # finalizers run at the same moments in each run
    run: Run | None = None
    with ExitStack() as stack:
        stack.callback(gc.enable if gc_was_on else gc.disable)
        stack.enter_context(
            installed(
                scenario.seed,
                scenario.remembered_max,
                is_hot=scenario.is_hot,
                hosts_leave=bool(scenario.lists),
            )
        )
        if mutation is not None:
            stack.enter_context(mutation())
        run = Run(scenario)
        stack.callback(run.loop.close)
        stack.callback(run.close)
        try:
            run.loop.run_until_complete(_played(run))
            if run.loop.problems:
                outcome.violation = "an error nobody took: " + "\n".join(run.loop.problems)
        except Violation as violation:
            outcome.violation, outcome.key = str(violation), violation.key
        except (Deadlock, TimeoutError, AssertionError) as error:
            outcome.violation = f"{type(error).__name__}: {error}"
        outcome.trace = run.trace(outcome.key) if outcome.violation else []
        outcome.counts = run.counts
        outcome.counts["steps back"] = sum(history.steps_back for history in run.store.histories.values())
        outcome.counts["store requests"] = run.store.requests
        outcome.steps = run.loop.steps
    del run
    return outcome


async def _played(run: Run) -> None:
    try:
        await run.play()
    finally:
        run.loop.abandon()


def run_seed(seed: int, *, duration_s: float = DURATION_S) -> Outcome:
    """Plays the scenario of a seed."""
    return run_scenario(draw_scenario(seed, duration_s=duration_s))


def shrink(
    outcome: Outcome,
    mutation: Callable[[], AbstractContextManager[object]] | None = None,
    *,
    runs_max: int = 60,
) -> Outcome:
    """The same violation with fewer events, as far as a number of runs leads: halves are left out, then quarters, and so on."""
    best = outcome
    piece = len(best.scenario.events) // 2
    runs = 0
    while piece and runs < runs_max:
        start = 0
        while start < len(best.scenario.events) and runs < runs_max:
            fewer = best.scenario.without(set(range(start, start + piece)))
            found = run_scenario(fewer, mutation)
            runs += 1
            if found.violation and bool(found.key) == bool(best.key):
                best = found
            else:
                start += piece
        piece //= 2
    return best
