"""Clients: each sends one numbered request after the other, sends it again until it is answered, and checks that the answers agree."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import msgspec

from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.core.outcomes import Accepted, Outcome, Refusal, Refused
from toucan.core.requests import Reply
from toucan.core.terms import OrderTerms
from toucan.core.values import OrderType, Side, TimeInForce, TradingLevel

from .disk import MemoryJournal
from .fronts import SimulatedFront
from .world import MS, S, Violation, World

__all__ = ["Habits", "SimulatedClient"]

#: A client that has heard nothing for so long sends its request again.
PATIENCE_NS = 60 * MS


class Habits(msgspec.Struct, frozen=True):
    """What clients of a run do."""

    pause_ns_max: int = 60 * MS
    #: How likely a request is given up, and asked about later.
    gives_up: float = 0.03
    has_deadlines: float = 0.1
    #: Replacements may ask for more than before.
    may_grow: bool = True
    uses_levels: bool = True
    #: How likely a request is about proposals: some stage orders, others decide.
    stages: float = 0.0
    symbols: tuple[str, ...] = ("AAPL", "MSFT", "BTC-USD")


class SimulatedClient:
    """A user's session."""

    def __init__(
        self, world: World, journal: MemoryJournal, name: Client, fronts: Callable[[], list[SimulatedFront]], habits: Habits,
        monotonic_ns: Callable[[], int],
    ) -> None:  # fmt: skip
        self.name = name
        self.is_dead = False
        #: No more new requests; those under way are seen through.
        self.is_finishing = False
        self.answers: dict[int, Outcome] = {}
        self.orders: list[int] = []
        self.grace_ns: int | None = None
        self.front: SimulatedFront | None = None
        #: Whether the engine has ever heard of its session stream.
        self.had_session = False
        self._world = world
        self._journal = journal
        self._fronts = fronts
        self._habits = habits
        self._monotonic_ns = monotonic_ns
        self._numbers = count(1)
        self._pending: tuple[int, rq.Body, int | None] | None = None
        self._given_up: dict[int, rq.Body] = {}

    # ------------------------------------------------------------ its life

    def begin(self, grace_ns: int | None) -> None:
        """Opens its session, and trades."""
        self.grace_ns = grace_ns
        self._attach()
        self._later()

    def _attach(self) -> None:
        self.front = self._world.chance.choice(self._fronts())
        self.front.open_stream(self.name, rq.OpenSession(self.grace_ns), self._opened)

    def _opened(self) -> None:
        self.had_session = True

    def die(self) -> None:
        """Its program is gone, and never comes back."""
        self.is_dead = True
        if self.front is not None and self.front.is_alive:
            self.front.lose_stream(self.name)

    @property
    def is_idle(self) -> bool:
        """Whether all of its requests are answered."""
        return self.is_dead or (self._pending is None and not self._given_up)

    def _later(self) -> None:
        self._world.after(self._world.between(MS, self._habits.pause_ns_max), self._act)

    def _act(self) -> None:
        if self.is_dead:
            return
        if self.front is None or not self.front.is_alive:
            self._attach()
        if self._pending is None and self._given_up and (self.is_finishing or self._world.happens(0.2)):
            number = self._world.chance.choice(list(self._given_up))
            self._pending = (number, self._given_up.pop(number), None)
            self._send()
        elif self._pending is None and not self.is_finishing:
            self._begin_request()
        self._later()

    def _begin_request(self) -> None:
        chance = self._world.chance
        for _ in range(chance.choice([1, 1, 1, 3])):
            number = next(self._numbers)
        deadline_ns = (
            self._monotonic_ns() + chance.randint(0, 5 * MS)
            if chance.random() < self._habits.has_deadlines
            else None
        )
        self._pending = (number, self._body(), deadline_ns)
        self._send()

    def _send(self) -> None:
        """Now and, until it is answered, again and again: over whichever front end is there."""
        pending = self._pending
        if pending is None or self.is_dead:
            return
        number, body, deadline_ns = pending
        front = (
            self.front
            if self.front is not None and self.front.is_alive
            else self._world.chance.choice(self._fronts())
        )
        self._world.say(f"{self.name.user}/{self.name.session} asks {number}: {body}")
        front.ask(self.name, number, body, lambda reply: self._answered(number, body, reply), deadline_ns)
        if self._world.happens(0.02):  # a network that repeats itself
            other = self._world.chance.choice(self._fronts())
            other.ask(self.name, number, body, lambda reply: self._answered(number, body, reply), deadline_ns)
        self._world.after(
            self._world.between(PATIENCE_NS // 2, PATIENCE_NS * 2), lambda: self._impatient(pending)
        )

    def _impatient(self, pending: tuple[int, rq.Body, int | None]) -> None:
        if self._pending is not pending:
            return
        self._world.counts["requests sent again"] += 1
        if not self.is_finishing and self._world.happens(self._habits.gives_up * 5):
            self._world.counts["requests given up"] += 1
            self._given_up[pending[0]] = pending[1]
            self._pending = None
        else:
            self._send()

    # ------------------------------------------------------------ answers

    def _answered(self, number: int, body: rq.Body, reply: Reply) -> None:
        outcome = reply.outcome
        self._world.say(f"{self.name.user}/{self.name.session} is answered {number}: {outcome}")
        self._world.counts[f"answered {type(outcome).__name__}"] += 1
        if isinstance(outcome, Refused):
            self._world.counts[f"refused {outcome.code}"] += 1
            if outcome.code is Refusal.JOURNAL_UNAVAILABLE:
                return  # not for good: it is asked again
        self._check(number, outcome)
        if (
            isinstance(outcome, Accepted)
            and isinstance(body, rq.Submit)
            and outcome.order_id not in self.orders
        ):
            self.orders.append(outcome.order_id)
        self._given_up.pop(number, None)
        if self._pending is not None and self._pending[0] == number:
            self._pending = None

    def _check(self, number: int, outcome: Outcome) -> None:
        """The same each time; nothing is said that is not durable; and what is refused as superseded never happens."""
        known = self.answers.setdefault(number, outcome)
        if known != outcome:
            raise Violation(f"request {number} of {self.name} was answered {known}, and then {outcome}")
        durable = self._journal.answers.get((self.name, number))
        if isinstance(outcome, Refused) and outcome.code is Refusal.REQUEST_SUPERSEDED:
            if durable is not None:
                raise Violation(f"request {number} of {self.name} was executed, and refused as superseded")
        elif durable != outcome:
            raise Violation(
                f"request {number} of {self.name} was answered {outcome}, and the journal says {durable}"
            )

    # ------------------------------------------------------------ what it asks

    def _body(self) -> rq.Body:
        chance = self._world.chance
        if self._habits.stages and chance.random() < self._habits.stages:
            return self._about_proposals()
        kind = chance.choices(
            ["submit", "cancel", "replace", "mass cancel", "level", "limit", "adjust"],
            [50, 15, 25, 1, 2, 1, 1],
        )[0]
        if kind in ("cancel", "replace") and self.orders:
            order_id = chance.choice(self.orders[-8:])
            return rq.Cancel(order_id) if kind == "cancel" else self._replacement(order_id)
        if kind == "mass cancel":
            return rq.MassCancel(owner=self.name.user, side=chance.choice([None, *Side]))
        if kind == "level" and self._habits.uses_levels:
            level = chance.choice([TradingLevel.CANCEL_ALL, TradingLevel.BLOCK_NEW, TradingLevel.FREEZE])
            node = chance.choice(["firm", "firm/alpha", "firm/beta", "firm/alpha/ACC1"])
            self._world.after(chance.randint(10, 200) * MS, lambda: self._enable(node))
            return rq.SetLevel(node, level, "a test of the plug")
        if kind == "limit":
            return rq.SetLimit("firm", "max_open_orders", chance.choice(["40", "60", None]), "a test")
        if kind == "adjust":
            return rq.AdjustPosition(
                "ACC2",
                self.name.user,
                chance.choice(self._habits.symbols),
                chance.choice([-10, 10]),
                10_000,
                "a test",
            )
        return rq.Submit(self._terms())

    def _about_proposals(self) -> rq.Body:
        """Of one's own proposals and of others', as they were or were never seen."""
        chance = self._world.chance
        kind = chance.choices(["stage", "release", "amend", "reject"], [40, 40, 15, 5])[0]
        if kind == "stage":
            return rq.Stage(self._terms(), "an idea", chance.choice([None, S, 2 * S]))
        # Ids count up, and what was proposed lately waits: whoever decides may come too late, or be the second.
        staged_id = chance.randint(1, max(1, self._world.counts["answered Proposed"]))
        revision = chance.choice([1, 1, 1, 2, 3])
        if kind == "release":
            quantity = chance.choice([None, None, chance.randint(1, 20) * 10])
            return rq.ReleaseStaged(staged_id, revision, quantity, may_release_own=chance.random() < 0.3)
        if kind == "amend":
            return rq.AmendStaged(staged_id, revision, chance.randint(1, 20) * 10, why="better")
        return rq.RejectStaged(staged_id, "no")

    def _enable(self, node: str) -> None:
        """Somebody sees to it that trading goes on; that is not this client's business."""
        fronts = self._fronts()
        operator = Client("operator", f"{self.name.session}{node}{self._world.now_ns}")
        body = rq.SetLevel(node, TradingLevel.NORMAL, "goes on")

        def again() -> None:
            if not done:
                self._world.chance.choice(self._fronts()).ask(operator, 1, body, heard)
                self._world.after(100 * MS, again)

        def heard(reply: Reply) -> None:
            if not isinstance(reply.outcome, Refused):
                done.append(reply)

        done: list[Reply] = []
        assert fronts
        again()

    def _replacement(self, order_id: int) -> rq.Replace:
        chance = self._world.chance
        quantity = chance.randint(1, 30) * 10 if self._habits.may_grow else chance.randint(1, 3)
        price = 10_000 + chance.randint(-60, 60) * 2
        return rq.Replace(order_id, chance.choice([None, quantity]), chance.choice([None, price]))

    def _terms(self) -> OrderTerms:
        chance = self._world.chance
        side = chance.choice(list(Side))
        is_market = chance.random() < 0.05
        time_in_force = chance.choice(
            [
                TimeInForce.GTC,
                TimeInForce.DAY,
                TimeInForce.DAY,
                TimeInForce.IOC,
                TimeInForce.FOK,
                TimeInForce.GTD,
            ]
        )
        return OrderTerms(
            account=chance.choice(["ACC1", "ACC2", "ACC3"]),
            symbol=chance.choice(self._habits.symbols),
            side=side,
            type=OrderType.MARKET if is_market else OrderType.LIMIT,
            time_in_force=TimeInForce.DAY if is_market else time_in_force,
            quantity=chance.randint(1, 20) * 10,
            price=None if is_market else 10_000 + chance.randint(-50, 50) * 2 - side.sign * 10,
            reduce_only=chance.random() < 0.05,
            expire_at_ns=self._world.now_ns + chance.randint(S // 2, 4 * S) if time_in_force is TimeInForce.GTD and not is_market else None,
        )  # fmt: skip
