"""What happens in one run, drawn from its seed beforehand: so that a run can be repeated with parts left out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from .process import NS

__all__ = [
    "DURATION_S",
    "FAULTS",
    "KEYS",
    "SHAPES",
    "SPARES",
    "Event",
    "ListDrawn",
    "Scenario",
    "draw_scenario",
]

KEYS = ("k0", "k1", "k2", "k3", "k4")

#: Virtual seconds in which things happen, unless told otherwise.
DURATION_S = 12.0

#: Reads are what is checked, and cheap.
_READS = ("read", "read", "read-hit", "get", "stat", "head", "cancelled", "prefetch")
_WRITES = ("put", "put", "put", "delete", "copy", "touch", "delete-many", "put-many")

#: Each with two hosts and how long it lasts, in seconds; what it does not need it does not look at.
FAULTS = (
    "kill-master", "freeze-master", "freeze-machine", "kill-worker", "partition", "one-way", "one-way-in", "cut", "cut-off", "slow-store",
    "failing-store", "slow-network", "slow-answers", "slow-link",
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """``kind`` at ``at_ns``; the arguments are the kind's."""

    at_ns: int
    kind: str
    args: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.at_ns / NS:9.3f}  {self.kind} {' '.join(map(str, self.args))}"


class ListDrawn(NamedTuple):
    """A list of hosts, and those that are named as gone."""

    names: tuple[str, ...]
    gone: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """One run. ``rates`` and ``offsets_ns`` are the machines' clocks'."""

    seed: int
    shape: str
    #: What plays it again.
    command: str = field(repr=False)
    hosts: tuple[str, ...]
    rates: tuple[float, ...]
    offsets_ns: tuple[int, ...]
    lease_s: float
    fresh_s: float
    duration_s: float
    latency_ms: float
    spike_share: float
    store_latency_ms: float
    slow_share: float
    lost_share: float
    #: Changes that each host remembers.
    remembered_max: int
    events: tuple[Event, ...] = field(repr=False)
    #: The lists of hosts one after the other, by files; none: one list that stands in the settings. The first ones hosts start with number 1.
    lists: tuple[ListDrawn, ...] = ()
    #: Whether any two asks make a block hot.
    is_hot: bool = False

    def without(self, dropped: set[int]) -> Scenario:
        """The same without some events, by index."""
        return replace(self, events=tuple(event for at, event in enumerate(self.events) if at not in dropped))


def draw_scenario(seed: int, *, duration_s: float = DURATION_S, shape: str = "") -> Scenario:
    """The run of a seed. Every other one is about something: a few faults that add up, few objects, and many looks at them."""
    draw = random.Random(f"scenario {seed}")
    drawn = draw.choice(("anything", "anything", "anything", *_SHAPES))
    name = shape or drawn
    command = f"python -m tests.simulation.coherence --seed {seed}"
    command += f" --shape '{name}'" * (name != drawn) + f" --duration {duration_s:g}" * (
        duration_s != DURATION_S
    )
    make = _SHAPES.get(name)
    count = draw.choice((1, 2, 3, 3, 3, 4, 5) if make is None else (2, 3, 3, 3, 4, 5))
    if name == CHANGING_LISTS:
        return _with_lists(_with_changing_lists(seed, command, duration_s))
    hosts = tuple("abcde"[:count])
    lease_s = draw.choice((1.0, 1.0, 2.0, 3.0))
    if make is None:
        events = [*_operations(draw, hosts, duration_s), *_faults(draw, hosts, duration_s)]
    else:
        writer, reader, *others = draw.sample(hosts, len(hosts))
        events = [
            *_focused_operations(draw, writer, reader, duration_s),
            *make(draw, writer, reader, others or [writer], lease_s, duration_s),
        ]
    scenario = Scenario(
        seed=seed,
        shape=name,
        command=command,
        hosts=hosts,
        rates=tuple(1 + draw.uniform(-0.01, 0.01) for _ in hosts),
        offsets_ns=tuple(draw.randrange(1, 10**6) * NS for _ in hosts),
        lease_s=lease_s,
        fresh_s=draw.choice((1.0, 5.0, 60.0, 3600.0)) if make is None else 3600.0,
        duration_s=duration_s,
        latency_ms=draw.choice((0.1, 0.5, 5.0, 40.0)),
        spike_share=draw.choice((0.0, 0.01, 0.2)),
        store_latency_ms=draw.choice((2.0, 20.0, 100.0)),
        slow_share=draw.choice((0.0, 0.02, 0.15)),
        lost_share=draw.choice((0.0, 0.02, 0.2)),
        remembered_max=draw.choice((65_536, 65_536, 2, 12)),
        events=_in_order(events),
    )
    # Half of the runs of all kinds go on while hosts come and leave; what else happens in them stays the same.
    return _with_lists(scenario) if not shape and count > 1 and seed % 2 else scenario


def _in_order(events: Sequence[Event]) -> tuple[Event, ...]:
    return tuple(sorted(events, key=lambda event: event.at_ns))


def _at(seconds: float, kind: str, *args: object) -> Event:
    return Event(int(seconds * NS), kind, args)


# --- anything at any time ---


def _operations(draw: random.Random, hosts: tuple[str, ...], duration_s: float) -> list[Event]:
    keys = draw.sample(KEYS, draw.choice((1, 2, 3, 5)))
    pace_s = draw.choice((0.05, 0.15, 0.4))
    write_share = draw.choice((0.08, 0.2, 0.4))
    events = []
    at_s = draw.random()
    while at_s < duration_s:
        client, key = f"{draw.choice(hosts)}{draw.choice('jw')}", draw.choice(keys)
        is_write = draw.random() < write_share
        events.append(
            _at(at_s, draw.choice(_WRITES if is_write else _READS), client, key, draw.randrange(1 << 30))
        )
        if is_write and draw.random() < 0.5:  # whoever has written looks, and others are told to
            for _ in range(draw.randrange(1, 6)):
                reader, later_s = f"{draw.choice(hosts)}{draw.choice('jw')}", at_s + draw.expovariate(1.5)
                events.append(_at(later_s, draw.choice(_READS[:5]), reader, key, draw.randrange(1 << 30)))
        at_s += draw.expovariate(1 / pace_s)
    return events


def _faults(draw: random.Random, hosts: tuple[str, ...], duration_s: float) -> list[Event]:
    kinds = draw.sample(FAULTS, draw.choice((0, 1, 2, 4, len(FAULTS))))
    events = []
    at_s = draw.uniform(0, 3)
    while kinds and at_s < duration_s:
        lasts_s = draw.choice((0.05, 0.7, 2.0, 4.0, 7.0)) * draw.uniform(0.5, 1.5)
        first = draw.choice(hosts)
        second = draw.choice([host for host in hosts if host != first] or hosts)
        events.append(_at(at_s, draw.choice(kinds), first, second, round(lasts_s, 3)))
        at_s += draw.expovariate(1 / draw.choice((1.0, 3.0, 6.0)))
    return events


# --- faults that add up ---

_Shape = Callable[[random.Random, str, str, Sequence[str], float, float], list[Event]]


def _focused_operations(draw: random.Random, writer: str, reader: str, duration_s: float) -> list[Event]:
    """One host writes, another one looks again and again; the object's home may be either, or neither."""
    keys = draw.sample(KEYS, draw.choice((1, 1, 2, 4)))
    events = []
    at_s = 1.0
    write_s = draw.choice((0.3, 1.0, 2.0, 5.0))
    while at_s < duration_s:
        kind = draw.choice(("put", "put", "put", "touch", "delete"))
        events.append(
            _at(at_s, kind, f"{writer}{draw.choice('jw')}", draw.choice(keys), draw.randrange(1 << 30))
        )
        at_s += draw.expovariate(1 / write_s)
    at_s = 1.0
    look_s = draw.choice((0.015, 0.04, 0.1))
    while at_s < duration_s + 4:
        kind = draw.choice(("stat", "head", "read"))
        events.append(
            _at(at_s, kind, f"{reader}{draw.choice('jw')}", draw.choice(keys), draw.randrange(1 << 30))
        )
        at_s += look_s * draw.uniform(0.5, 1.5)
    return events


def _a_broken_link(
    draw: random.Random, writer: str, reader: str, others: Sequence[str], lease_s: float, duration_s: float
) -> list[Event]:
    """Writer and reader do not hear of each other for long; those between them come and go."""
    events = [_at(draw.uniform(1, 3), "partition", writer, reader, duration_s)]
    at_s = 3.0
    while at_s < duration_s:
        for other in others:
            if draw.random() < 0.7:
                events.append(
                    _at(
                        at_s + draw.random() * 0.1,
                        "kill-master",
                        other,
                        writer,
                        draw.choice((0.02, 0.1, 0.4)),
                    )
                )
        at_s += draw.uniform(0.7, 2.5) * lease_s
    return events


def _long_deaths(
    draw: random.Random, writer: str, reader: str, others: Sequence[str], lease_s: float, duration_s: float
) -> list[Event]:
    """The reader's master is away for longer than a lease, and its memory stays."""
    events, at_s = [], draw.uniform(2, 4)
    while at_s < duration_s:
        away_s = lease_s * draw.uniform(0.8, 2.5)
        kind = draw.choice(("kill-master", "kill-master", "freeze-master", "freeze-machine", "cut-off"))
        events.append(_at(at_s, kind, draw.choice((reader, reader, *others)), writer, round(away_s, 3)))
        at_s += away_s + draw.uniform(0.3, 3)
    return events


def _late_answers(
    draw: random.Random, writer: str, reader: str, others: Sequence[str], lease_s: float, duration_s: float
) -> list[Event]:
    """Messages take long, then none come at all."""
    events = [_at(0.0, draw.choice(("slow-network", "slow-answers")), reader, writer, duration_s)]
    at_s = draw.uniform(2, 4)
    while at_s < duration_s:
        away_s = lease_s * draw.uniform(1, 3)
        events.append(
            _at(at_s, draw.choice(("cut-off", "one-way-in", "one-way")), reader, writer, round(away_s, 3))
        )
        at_s += away_s + draw.uniform(0.3, 3)
    return events


def _few_friends(
    draw: random.Random, writer: str, reader: str, others: Sequence[str], lease_s: float, duration_s: float
) -> list[Event]:
    """Links break one by one and come back: some hosts hear of few others, and yet of some."""
    hosts = (writer, reader, *others)
    events, at_s = [], 1.5
    while at_s < duration_s:
        first, second = draw.sample(hosts, 2) if len(set(hosts)) > 1 else (writer, reader)
        lasts_s = lease_s * draw.uniform(0.5, 4)
        events.append(
            _at(
                at_s,
                draw.choice(("partition", "partition", "one-way", "cut")),
                first,
                second,
                round(lasts_s, 3),
            )
        )
        at_s += draw.expovariate(1.5)
    return events


def _forgetful(
    draw: random.Random, writer: str, reader: str, others: Sequence[str], lease_s: float, duration_s: float
) -> list[Event]:
    """Writes take long, hosts start anew in the middle of them, and some hear of everything late."""
    late = draw.choice(others)
    events = [
        _at(0.0, "slow-store", writer, reader, duration_s),
        _at(0.0, "slow-link", writer, late, duration_s),
    ]
    at_s = 2.0
    while at_s < duration_s:
        events.append(
            _at(at_s, "kill-master", draw.choice((late, late, reader)), writer, draw.choice((0.02, 0.1)))
        )
        at_s += draw.expovariate(0.5)
    return events


_SHAPES: dict[str, _Shape] = {
    "a broken link": _a_broken_link,
    "long deaths": _long_deaths,
    "late answers": _late_answers,
    "few friends": _few_friends,
    "forgetful": _forgetful,
}

#: About the list of hosts and little else.
CHANGING_LISTS = "changing lists"

#: What a scenario can be about.
SHAPES = ("anything", *_SHAPES, CHANGING_LISTS)


# --- hosts that come and leave ---


def _with_changing_lists(seed: int, command: str, duration_s: float) -> Scenario:
    """Few objects, one host that writes and others that look all the time, in a cluster without much else."""
    draw = random.Random(f"changing {seed}")
    hosts = tuple("abcde"[: draw.choice((2, 2, 3, 3, 3, 4))])
    everybody = (*hosts, *SPARES)
    events: list[Event] = []
    stays = _who_stays(seed, hosts)
    writer, other = draw.choice([name for name in hosts if name != stays]), draw.choice(everybody)
    events += _focused_operations(draw, writer, stays, duration_s)
    events += _focused_operations(draw, draw.choice((writer, stays)), other, duration_s)
    if draw.random() < 0.7:  # these two do not hear of each other
        events.append(
            _at(
                draw.uniform(1, 4),
                "partition",
                writer,
                draw.choice((stays, stays, other)),
                draw.uniform(3, 9),
            )
        )
    lease_s = draw.choice((1.0, 2.0))
    at_s = draw.uniform(1, 3)
    while at_s < duration_s:
        first, second = draw.sample(everybody, 2)
        lasts_s = round(lease_s * draw.uniform(0.2, 3), 3)
        kind = draw.choice(
            ("partition", "partition", "kill-master", "cut", "one-way", "freeze-master", "cut-off")
        )
        events.append(_at(at_s, kind, first, second, lasts_s))
        at_s += draw.expovariate(1 / draw.choice((0.7, 2.0, 20.0)))
    return Scenario(
        seed=seed, shape=CHANGING_LISTS, command=command, hosts=hosts,
        rates=tuple(1 + draw.uniform(-0.01, 0.01) for _ in hosts),
        offsets_ns=tuple(draw.randrange(1, 10**6) * NS for _ in hosts),
        lease_s=lease_s, fresh_s=3600.0, duration_s=duration_s, latency_ms=draw.choice((0.1, 0.5, 5.0)), spike_share=draw.choice((0.0, 0.01)),
        store_latency_ms=draw.choice((2.0, 20.0)), slow_share=0.0, lost_share=0.0, remembered_max=65_536, events=_in_order(events),
    )  # fmt: skip


#: Hosts that may join.
SPARES = ("x", "y", "z")


def _with_lists(scenario: Scenario) -> Scenario:
    """The same with a list that changes: joined, left and replaced hosts, files that come late or never, hosts that die for good, reboots.

    One host is in all lists, and is never rebooted: that much is asked of operators.
    """
    draw = random.Random(f"lists {scenario.seed}")
    stays = _who_stays(scenario.seed, scenario.hosts)
    lists = [ListDrawn(scenario.hosts)]
    dead: set[str] = set()
    events: list[Event] = []
    at_s = draw.uniform(0.5, 4)
    pace_s = draw.choice((0.3, 2.0, 5.0))
    while at_s < scenario.duration_s and len(lists) < 9:
        if draw.random() < 0.25 and (dying := sorted(set(lists[-1].names) - {stays} - dead)):
            victim = draw.choice(dying)
            dead.add(victim)
            events.append(_at(at_s - draw.random(), "die", victim))
        lists.append(_next_list(draw, lists[-1], stays, dead))
        late_s = draw.choice((0.05, 0.5, 3.0))
        for name in (*scenario.hosts, *SPARES):
            if draw.random() < 0.9:
                events.append(_at(at_s + draw.expovariate(1 / late_s), "file", name, len(lists) - 1))
        at_s += draw.expovariate(1 / pace_s)
    for name in sorted({*scenario.hosts, *SPARES} - {stays}):
        if draw.random() < 0.2:
            events.append(
                _at(
                    draw.uniform(1, scenario.duration_s),
                    "reboot",
                    name,
                    name,
                    round(draw.uniform(0.05, 3), 3),
                )
            )
    for _ in range(draw.choice((0, 20, 60))):  # the new ones have clients, too
        client, key = f"{draw.choice(SPARES)}{draw.choice('jw')}", draw.choice(KEYS)
        kind = draw.choice(_READS[:6] if draw.random() < 0.7 else _WRITES)
        events.append(
            _at(draw.uniform(1, scenario.duration_s + 2), kind, client, key, draw.randrange(1 << 30))
        )
    return replace(
        scenario,
        events=_in_order([*scenario.events, *events]),
        lists=tuple(lists),
        is_hot=draw.random() < 0.5,
        rates=(*scenario.rates, *(1 + draw.uniform(-0.01, 0.01) for _ in SPARES)),
        offsets_ns=(*scenario.offsets_ns, *(draw.randrange(1, 10**6) * NS for _ in SPARES)),
    )


def _who_stays(seed: int, hosts: tuple[str, ...]) -> str:
    return random.Random(f"stays {seed}").choice(hosts)


def _next_list(draw: random.Random, last: ListDrawn, stays: str, dead: set[str]) -> ListDrawn:
    names = [name for name in last.names if name not in dead or draw.random() < 0.3]
    outside = sorted({*"abcde"[:2], *SPARES, *last.names} - set(names) - dead)
    what = draw.choice(("join", "join", "leave", "replace", "replace all", "the same"))
    if what in ("join", "replace") and outside:
        names.append(draw.choice(outside))
    if what in ("leave", "replace") and (leaving := [name for name in names if name != stays]):
        names.remove(draw.choice(leaving))
    if what == "replace all":
        names = [stays, *draw.sample(outside, min(len(outside), draw.randrange(1, 4)))]
    gone = tuple(sorted(name for name in dead if name not in names and draw.random() < 0.8))
    return ListDrawn(tuple(names), gone)
