"""Random targets and random worlds, and a runner that carries plans out in any allowed order while it watches."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping

import msgspec
from hypothesis import strategies as st

from labtest.core.actual import Actual
from labtest.core.ask import EVERYTHING, Ask
from labtest.core.environment import Health, HealthKind, OnChange
from labtest.core.steps import CheckHealth, Plan, Reload, Restart, Start, Step, Stop
from labtest.core.target import (
    Blobs,
    FileTarget,
    HostTarget,
    Input,
    ProcessTarget,
    ReleaseTarget,
    SourceFile,
    Target,
)
from labtest.hosts.memory_world import MemoryFile, MemoryHost

ENVIRONMENT = "lab"
HOSTS = ("a", "b", "c", "d")
PROCESSES = ("p0", "p1", "p2", "p3")
PATHS = ("/etc/x/one", "/etc/x/two", "/etc/x/three")
CONTENTS = (b"red", b"green", b"blue")
UNIT_FOLDER = "/etc/systemd/system"
#: Where nobody of labtest ever writes.
STRANGE_PATH, STRANGE_UNIT = "/etc/strange", "strange.service"

BLOBS: Blobs = {}


def blob(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    BLOBS[digest] = content
    return digest


def content_of(sha256: str) -> bytes:
    return BLOBS[sha256]


def file_target(path: str, content: bytes, mode: int = 0o644) -> FileTarget:
    return FileTarget(
        path=path,
        sha256=blob(content),
        size_bytes=len(content),
        mode=mode,
        owner="root",
        group="root",
        is_unit=path.startswith(UNIT_FOLDER),
    )


def release_target(
    name: str, version: str, *, source: bytes = b"", after_switch: bool = False
) -> ReleaseTarget:
    source = source or f"{name} {version}".encode()
    digest = blob(source)
    return ReleaseTarget(
        name=name,
        version=version,
        folder=f"/opt/{name}",
        source=(SourceFile(path="program", sha256=digest, size_bytes=len(source)),),
        install=(),
        after_switch=(("systemctl", "daemon-reload"),) if after_switch else (),
        install_timeout_s=10.0,
        fingerprint=hashlib.sha256(b"release" + source + bytes([after_switch])).hexdigest(),
    )


def input_of(name: str, fingerprint: str, on_change: OnChange = OnChange.RESTART) -> Input:
    return Input(name=name, fingerprint=fingerprint, on_change=on_change)


class ProcessDraw(msgspec.Struct, frozen=True):
    """A process as a spec would have it."""

    name: str
    hosts: frozenset[str]
    unit: str
    after: tuple[str, ...]
    #: Content of the unit's file; None: the unit is there without one.
    unit_content: bytes | None
    files: dict[str, OnChange]
    releases: tuple[str, ...]
    health: HealthKind
    batch_size: int
    stopped_on: frozenset[str]


class SpecDraw(msgspec.Struct, frozen=True):
    """A small environment."""

    hosts: tuple[str, ...]
    processes: tuple[ProcessDraw, ...]
    contents: dict[str, bytes]
    modes: dict[str, int]
    host_files: dict[str, frozenset[str]]
    releases: dict[str, ReleaseTarget]
    host_releases: frozenset[str]

    def target(self) -> Target:
        return Target(environment=ENVIRONMENT, hosts=tuple(self._host(host) for host in sorted(self.hosts)))

    def _host(self, host: str) -> HostTarget:
        here = [one for one in self.processes if host in one.hosts]
        paths = {path for one in here for path in one.files} | set(self.host_files.get(host, ()))
        files = {path: file_target(path, self.contents[path], self.modes[path]) for path in paths}
        for one in here:
            if one.unit_content is not None:
                path = f"{UNIT_FOLDER}/{one.unit}"
                files[path] = file_target(path, one.unit_content)
        names = {name for one in here for name in one.releases} | (
            self.host_releases if host == "a" else frozenset()
        )
        return HostTarget(
            host=host,
            files=tuple(files[path] for path in sorted(files)),
            releases=tuple(self.releases[name] for name in sorted(names)),
            processes=tuple(self._process(one, host, files) for one in here),
        )

    def _process(self, one: ProcessDraw, host: str, files: Mapping[str, FileTarget]) -> ProcessTarget:
        inputs = [input_of(f"file:{path}", files[path].sha256, change) for path, change in one.files.items()]
        inputs += [input_of(f"release:{name}", self.releases[name].fingerprint) for name in one.releases]
        if one.unit_content is not None:
            inputs.append(input_of("unit", blob(one.unit_content)))
        return ProcessTarget(
            process=one.name,
            unit=one.unit,
            after=one.after,
            inputs=tuple(sorted(inputs)),
            health=Health(kind=one.health, target="127.0.0.1:1"),
            start_timeout_s=5.0,
            stop_timeout_s=5.0,
            batch_size=one.batch_size,
            running=host not in one.stopped_on,
        )


@st.composite
def specs(draw: st.DrawFn) -> SpecDraw:
    """An environment of up to four hosts and four processes. Names are few, so that two of them have much in common."""
    hosts = tuple(draw(st.lists(st.sampled_from(HOSTS), min_size=1, unique=True)))
    processes = tuple(
        draw(_processes(name, hosts, PROCESSES[:index]))
        for index, name in enumerate(PROCESSES)
        if draw(st.integers(0, 3))
    )
    known = {one.name for one in processes}
    processes = tuple(
        msgspec.structs.replace(one, after=tuple(name for name in one.after if name in known))
        for one in processes
    )
    return SpecDraw(
        hosts=hosts,
        processes=processes,
        contents={path: draw(st.sampled_from(CONTENTS)) for path in PATHS},
        modes={path: draw(st.sampled_from((0o644, 0o600))) for path in PATHS},
        host_files={host: draw(st.frozensets(st.sampled_from(PATHS), max_size=1)) for host in hosts},
        releases={
            name: release_target(name, f"1.{draw(st.integers(8, 11))}", after_switch=name == "r1")
            for name in ("r0", "r1")
        },
        host_releases=draw(st.frozensets(st.sampled_from(("r0", "r1")), max_size=1)),
    )


@st.composite
def _processes(draw: st.DrawFn, name: str, hosts: tuple[str, ...], earlier: tuple[str, ...]) -> ProcessDraw:
    return ProcessDraw(
        name=name,
        hosts=draw(st.frozensets(st.sampled_from(hosts), min_size=1)),
        unit=draw(st.sampled_from((f"{name}.service", f"{name}.service", f"{name}-new.service"))),
        after=tuple(sorted(draw(st.frozensets(st.sampled_from(earlier), max_size=2)))) if earlier else (),
        unit_content=draw(st.sampled_from((None, b"unit 1", b"unit 2"))),
        files=draw(st.dictionaries(st.sampled_from(PATHS), st.sampled_from(OnChange), max_size=2)),
        releases=tuple(sorted(draw(st.frozensets(st.sampled_from(("r0", "r1")), max_size=1)))),
        health=draw(st.sampled_from((HealthKind.UNIT, HealthKind.TCP))),
        batch_size=draw(st.integers(1, 2)),
        stopped_on=draw(st.frozensets(st.sampled_from(hosts), max_size=1)),
    )


# ---------------------------------------------------------------- worlds

World = dict[str, MemoryHost]


def new_world() -> World:
    """Hosts on which other things run already."""
    world = {name: MemoryHost(name) for name in HOSTS}
    for host in world.values():
        host.state.files[STRANGE_PATH] = MemoryFile(b"not yours")
        host.set_unit(STRANGE_UNIT, active="active", sub="running", is_started=True)
    return world


def observe(world: World, target: Target, *, silent: frozenset[str] = frozenset()) -> Actual:
    """What agents would tell; hosts that are ``silent`` do not."""
    wanted = {host.host: host for host in target.hosts}
    hosts = {}
    for name, host in world.items():
        mine = wanted.get(name, HostTarget(host=name))
        units = {process.process: process.unit for process in mine.processes}
        found = host.observe(ENVIRONMENT, [STRANGE_PATH, *(file.path for file in mine.files)], units)
        hosts[name] = None if name in silent else found
    return Actual(environment=ENVIRONMENT, hosts=hosts)


def perform(world: World, step: Step) -> str:
    return world[step.host].perform(ENVIRONMENT, step.action, content_of)


def drift(world: World, target: Target, chance: random.Random) -> None:
    """Things that happen between two plans."""
    for _ in range(chance.randrange(5)):
        host = world[chance.choice(HOSTS)]
        chance.choice(_DRIFTS)(host, target, chance)


def _unit(host: MemoryHost, target: Target, chance: random.Random) -> str:
    units = [process.unit for one in target.hosts for process in one.processes]
    return chance.choice(units or ["p0.service"])


def _set_unit(host: MemoryHost, target: Target, chance: random.Random) -> None:
    active, sub = chance.choice(
        [("failed", "failed"), ("inactive", "dead"), ("activating", "auto-restart"), ("activating", "start")]
    )
    host.set_unit(_unit(host, target, chance), active=active, sub=sub, result="exit-code")


def _start_by_hand(host: MemoryHost, target: Target, chance: random.Random) -> None:
    unit = _unit(host, target, chance)
    if host.unit_state(unit).active != "active":
        host.set_unit(unit, active="active", sub="running", is_started=True)
        host.manifest(ENVIRONMENT).units.pop(unit, None)


def _edit_file(host: MemoryHost, target: Target, chance: random.Random) -> None:
    path = chance.choice(PATHS)
    host.state.files[path] = MemoryFile(b"edited by hand", 0o640)


def _lose_file(host: MemoryHost, target: Target, chance: random.Random) -> None:
    host.state.files.pop(chance.choice(PATHS), None)


def _forget(host: MemoryHost, target: Target, chance: random.Random) -> None:
    """Files and units are there, and labtest does not know why."""
    host.manifest(ENVIRONMENT).files.clear()
    host.manifest(ENVIRONMENT).units.clear()


def _reboot(host: MemoryHost, target: Target, chance: random.Random) -> None:
    host.state.boot += 1
    for unit in list(host.state.units):
        host.set_unit(unit, active="inactive", sub="dead")
    host.state.read_units.clear()
    host.set_unit(STRANGE_UNIT, active="active", sub="running", is_started=True)


_DRIFTS: list[Callable[[MemoryHost, Target, random.Random], None]] = [
    _set_unit, _start_by_hand, _edit_file, _lose_file, _forget, _reboot,
]  # fmt: skip


# ---------------------------------------------------------------- carrying out


class Watch:
    """Looks at each step as it begins and ends. What is wrong is an AssertionError."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        target: Target,
        actual: Actual,
        before: Target | None,
        ask: Ask = EVERYTHING,
    ) -> None:
        self.world = world
        self.plan = plan
        both = [*(before.hosts if before else ()), *target.hosts]
        self.after = {process.process: process.after for host in both for process in host.processes}
        self.wanted = {
            (process.process, host.host): process
            for host in target.hosts
            for process in host.processes
            if process.running
        }
        self.reached = {name for name, found in actual.hosts.items() if found is not None}
        self.touched = {
            (step.action.process.process, step.host)
            for step in plan.steps
            if isinstance(step.action, (Start, Restart, Reload))
        }
        #: Instances that may be called healthy without asking anybody.
        self.healthy = {
            key
            for key, process in self.wanted.items()
            if key not in self.touched
            and (
                (
                    (process.health.kind is HealthKind.UNIT or not ask.has_host(key[1]))
                    and world[key[1]].unit_state(process.unit).active == "active"
                )
                or self._runs_as_before(key, target)
            )
        }
        self.down: set[tuple[str, str]] = set()
        self.stops = [step for step in plan.steps if isinstance(step.action, Stop)]
        self.begun: set[int] = set()
        self.done: set[int] = set()

    def _runs_as_before(self, key: tuple[str, str], target: Target) -> bool:
        """Whether a process still has a unit that is another one's name in the target; only the target's can be asked for its health."""
        name, host = key
        units = {one.unit for hosts in target.hosts if hosts.host == host for one in hosts.processes}
        return any(
            label == name and unit not in units and self.world[host].unit_state(unit).active == "active"
            for unit, (label, _) in self.world[host].manifest(ENVIRONMENT).units.items()
        )

    def begins(self, step: Step) -> None:
        assert set(step.needs) <= self.done
        self.begun.add(step.id)
        match step.action:
            case Start(process) | Restart(process):
                self._dependencies_are_healthy(step, process)
                if isinstance(step.action, Start):
                    self._has_one_owner(step, process)
                is_up = self.world[step.host].unit_state(process.unit).active == "active"
                if isinstance(step.action, Restart) and is_up:
                    self.down.add((process.process, step.host))
                    self._few_are_down(process)
                self.healthy.discard((process.process, step.host))
            case Stop(name, unit):
                self._dependants_are_stopped(step, name)
                key = (name, step.host)
                if key in self.wanted and key in self.touched:
                    self.down.add(key)
                    self._few_are_down(self.wanted[key])
                assert unit != STRANGE_UNIT

    def ends(self, step: Step) -> None:
        self.done.add(step.id)
        if isinstance(step.action, CheckHealth):
            key = (step.action.process.process, step.host)
            self.healthy.add(key)
            self.down.discard(key)

    def _dependencies_are_healthy(self, step: Step, process: ProcessTarget) -> None:
        for name in process.after:
            hosts = {host for other, host in self.wanted if other == name}
            assert not hosts or hosts & self.reached, (
                f"{process.process}@{step.host}, and nobody knows of {name}"
            )
        for (name, host), _ in self.wanted.items():
            if name in process.after and host in self.reached:
                assert (name, host) in self.healthy, f"{process.process}@{step.host} before {name}@{host}"

    def _has_one_owner(self, step: Step, process: ProcessTarget) -> None:
        for name in self.reached:
            for unit, (label, _) in self.world[name].manifest(ENVIRONMENT).units.items():
                if label != process.process or (unit == process.unit and name == step.host):
                    continue
                is_up = self.world[name].unit_state(unit).active == "active"
                is_wanted = (label, name) in self.wanted
                assert not is_up or (is_wanted and name != step.host), (
                    f"{label} runs on {name} as {unit} still"
                )

    def _few_are_down(self, process: ProcessTarget) -> None:
        down = [host for name, host in self.down if name == process.process]
        size = max(
            1,
            min(one.batch_size for (name, _), one in self.wanted.items() if name == process.process),
        )
        assert len(down) <= size, f"{process.process} is down on {down}"

    def _dependants_are_stopped(self, step: Step, name: str) -> None:
        if self._is_replaced(step):
            return
        for other in self.stops:
            assert isinstance(other.action, Stop)
            if (
                name in self.after.get(other.action.process, ())
                and not self._is_replaced(other)
                and other.action.process != name
            ):
                assert other.id in self.done, f"{name} stops before {other.action.process}"

    def _is_replaced(self, step: Step) -> bool:
        assert isinstance(step.action, Stop)
        key = (step.action.process, step.host)
        return key in self.wanted and self.wanted[key].unit != step.action.unit


def carry_out(
    world: World, plan: Plan, chance: random.Random, watch: Watch | None = None, *, steps_max: int = 10**9
) -> int:
    """Steps begin and end in any order that their needs allow, many at a time. Gives how many were done."""
    waiting = {step.id: step for step in plan.steps}
    under_way: list[Step] = []
    done: set[int] = set()
    while (waiting or under_way) and len(done) < steps_max:
        ready = [step for step in waiting.values() if set(step.needs) <= done]
        assert ready or under_way, "a step that can never begin"
        if ready and (not under_way or chance.random() < 0.6):
            step = waiting.pop(chance.choice(ready).id)
            if watch:
                watch.begins(step)
            under_way.append(step)
        else:
            step = under_way.pop(chance.randrange(len(under_way)))
            perform(world, step)
            done.add(step.id)
            if watch:
                watch.ends(step)
    return len(done)
