"""What a seed stands for: which venues, how they behave, who trades, what goes wrong and when."""

from __future__ import annotations

from random import Random

import msgspec

from toucan.core.instruments import Instrument
from toucan.core.order import Client
from toucan.venue.misbehaving import BEHAVES, MISBEHAVES, Behaviour

from .clients import Habits
from .world import MS, S

__all__ = ["DURATION_S", "FAULTS", "SHAPES", "Fault", "Scenario", "draw_scenario"]

#: Virtual seconds in which things go wrong.
DURATION_S = 4.0

INSTRUMENTS = (
    Instrument("AAPL", "USD", "SIM"),
    Instrument("MSFT", "USD", "SIM"),
    Instrument("BTC-USD", "USD", "ALT", quantity_decimals=8),
)
LIMITS = """
base_currency = "USD"
[firm]
max_open_orders = 80
[team.alpha]
accounts = ["ACC1", "ACC2"]
max_requests = 60
[account.ACC1]
max_position = "900"
[team.beta]
accounts = ["ACC3"]
"""
#: A Monday, 14:00 UTC, and a moment before the end of a day.
NOON_NS, NEARLY_MIDNIGHT_NS = 1_767_621_600 * S, 1_767_657_598 * S
#: How likely each is to be the next one.
FAULTS = {
    "engine dies soon": 12, "engine dies": 4, "engine stalls": 5, "disk fails": 5, "front dies": 3, "front stalls": 2, "client dies": 3,
    "clock steps": 3, "host dies": 2, "venue loses everything": 1, "line is cut": 4, "snapshot": 4,
}  # fmt: skip
#: Scenarios in which one kind of thing goes wrong again and again: faults that happen, how venues behave, whether replacements grow, and how long
#: the others wait between two orders at most, in milliseconds.
SHAPES: dict[str, tuple[tuple[str, ...], Behaviour, bool, int] | None] = {
    "anything": None,
    "processes": (
        ("engine dies soon", "engine dies", "front dies", "host dies", "disk fails"),
        BEHAVES,
        True,
        60,
    ),
    "proposals": (
        (
            "engine dies soon",
            "engine dies",
            "front dies",
            "client dies",
            "disk fails",
            "clock steps",
            "snapshot",
        ),
        BEHAVES,
        True,
        60,
    ),
    "front ends": (("front dies", "client dies"), BEHAVES, True, 60),
    "lines": (
        ("line is cut", "disk fails"),
        Behaviour(cut_at_request=0.05, swallow=0.05, late=0.2),
        True,
        500,
    ),
    "venues": (
        ("line is cut",),
        Behaviour(over_fill=0.05, resend=0.1, bust=0.03, hold_fill=0.2, lose=0.05),
        False,
        20,
    ),
}


class Fault(msgspec.Struct, frozen=True):
    """Something goes wrong. What the number means depends on the kind."""

    at_ns: int
    kind: str
    number: int


class Scenario(msgspec.Struct, frozen=True):
    """All that is drawn before a run; what happens in it is drawn from the seed, too."""

    seed: int
    duration_s: float
    shape: str
    start_ns: int
    behaviour: Behaviour
    habits: Habits
    fronts: int
    #: Clients and their grace times.
    clients: tuple[tuple[Client, int | None], ...]
    faults: tuple[Fault, ...]
    others_pause_ns: int

    @property
    def command(self) -> str:
        """How to see it again."""
        shape = "" if self.shape == "anything" else f" --shape '{self.shape}'"
        return f"python -m tests.toucan.simulation --seed {self.seed} --duration {self.duration_s:g}{shape}"


def draw_scenario(seed: int, *, duration_s: float = DURATION_S, shape: str = "anything") -> Scenario:
    """The scenario of a seed."""
    chance = Random(f"{shape} {seed}")
    kinds: tuple[str, ...] = tuple(FAULTS)
    names = [Client(user, session) for user in ("alice", "bob", "carol") for session in ("desk", "robot")]
    clients = chance.sample(names, chance.randint(2, 5))
    may_grow = chance.random() < 0.7
    behaviour = _behaviour(chance)
    what = SHAPES[shape]
    others_pause_ms = chance.choice([5, 20, 60])
    if what is not None:
        kinds, behaviour, may_grow, others_pause_ms = what
    if may_grow:  # a fill beyond what was asked for could be one of what is asked for
        behaviour = msgspec.structs.replace(behaviour, over_fill=0.0)
    return Scenario(
        seed=seed,
        duration_s=duration_s,
        shape=shape,
        start_ns=chance.choice([NOON_NS, NEARLY_MIDNIGHT_NS]),
        behaviour=behaviour,
        habits=Habits(
            pause_ns_max=chance.choice([20, 60, 120]) * MS, gives_up=chance.choice([0.0, 0.03, 0.1]), may_grow=may_grow,
            uses_levels=chance.random() < 0.5, symbols=chance.choice([("AAPL",), ("AAPL", "MSFT", "BTC-USD")]),
            stages=_stages(seed, shape),
        ),
        fronts=chance.randint(1, 3),
        clients=tuple((name, chance.choice([None, 0, 200 * MS, S])) for name in clients),
        faults=tuple(_faults(chance, kinds, duration_s)),
        others_pause_ns=others_pause_ms * MS,
    )  # fmt: skip


def _stages(seed: int, shape: str) -> float:
    """Whether there are proposals; drawn by itself, so that scenarios without them are what they were."""
    if shape != "anything":
        return 0.6 if shape == "proposals" else 0.0
    return Random(f"proposals {seed}").choice([0.0, 0.0, 0.3])


def _behaviour(chance: Random) -> Behaviour:
    if chance.random() < 0.2:
        return BEHAVES
    scale = chance.choice([0.3, 1.0, 2.0])
    shares = {
        name: min(0.5, value * scale) if chance.random() < 0.7 else 0.0
        for name, value in msgspec.structs.asdict(MISBEHAVES).items()
        if isinstance(value, float)
    }
    return Behaviour(
        **shares,
        resends_all_kinds=chance.random() < 0.5,
        late_ns_max=chance.choice([5, 50, 200]) * MS,
        step_ns=20 * MS,
    )


def _faults(chance: Random, kinds: tuple[str, ...], duration_s: float) -> list[Fault]:
    pause_s = chance.choice([0.1, 0.3, 1.0])
    faults, at_s = [], chance.uniform(0.0, 0.5)
    weights = [FAULTS[kind] for kind in kinds]
    while at_s < duration_s:
        faults.append(Fault(int(at_s * S), chance.choices(kinds, weights)[0], chance.randrange(1000)))
        at_s += chance.uniform(0.0, 2 * pause_s)
    return faults
