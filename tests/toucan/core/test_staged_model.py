"""Staged orders against a model: any course of proposals, decisions, levels, sessions, cuts and restarts leads to what a list of facts says.

The model has of each proposal what was done to it, and works out from that how it stands. Whatever happens, exactly those that it counts as released
have left for the venue, once each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.toucan.core.desk import ALICE, BOB, INSTRUMENTS, Desk, terms

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.core.outcomes import Accepted, Denied, Done, MassCanceled, Outcome, Proposed, Refused
from toucan.core.state import EngineState
from toucan.core.values import StagedState, TradingLevel
from toucan.core.venue_messages import NewOrder

S = 1_000_000_000
BOT, BOT2 = Client("bot", "model"), Client("bot", "second")
CLIENTS = (ALICE, BOB, BOT, BOT2)
ACCOUNTS = ("ACC1", "ACC3")
TEAMS = {"ACC1": "firm/alpha", "ACC3": "firm/beta"}
NODES = ("firm", "firm/alpha", "firm/beta/ACC3", "firm/alpha/ACC1/bot")
DEFAULT_TTL_S = 900


@dataclass
class Idea:
    """A proposal as the model has it."""

    owner: Client
    account: str
    expires_ns: int
    quantities: list[int]
    end: StagedState | None = None
    by: str = ""
    order_id: int | None = None

    @property
    def state(self) -> StagedState:
        return self.end or StagedState.PROPOSED

    @property
    def path(self) -> list[str]:
        team = TEAMS[self.account]
        return ["firm", team, f"{team}/{self.account}", f"{team}/{self.account}/{self.owner.user}"]


@dataclass
class Facts:
    """All that the model knows."""

    ideas: dict[int, Idea] = field(default_factory=dict)
    levels: dict[str, TradingLevel] = field(default_factory=dict)
    #: Grace time, and since when it is lost; ns.
    sessions: dict[Client, tuple[int | None, int | None]] = field(default_factory=dict)
    is_connected: bool = True

    def level(self, idea: Idea) -> TradingLevel:
        return max(self.levels.get(node, TradingLevel.NORMAL) for node in idea.path)


def code_of(outcome: Outcome) -> str:
    if isinstance(outcome, Refused):
        return outcome.code
    return outcome.denial.code if isinstance(outcome, Denied) else ""


picks = st.integers(0, 10**6)
quantities = st.integers(1, 9).map(lambda number: number * 10)
revisions = st.sampled_from([0, 0, 0, 0, -1, 1])


class Staging(RuleBasedStateMachine):
    """The core beside the model."""

    @initialize()
    def begin(self) -> None:
        self.desk = Desk()
        self.facts = Facts()
        self.follower = EngineState()
        self.numbers: Counter[Client] = Counter()
        self.answers: dict[tuple[Client, int], tuple[rq.Body, Outcome]] = {}
        self.sent: list[str] = []

    def ask(self, body: rq.Body, client: Client) -> Outcome:
        self.numbers[client] += 1
        outcome = self.desk.ask(body, client, self.numbers[client])
        self.answers[client, self.numbers[client]] = (body, outcome)
        return outcome

    def pick(self, number: int) -> tuple[int, Idea | None]:
        waiting = [one for one, idea in self.facts.ideas.items() if idea.end is None]
        ids = waiting if waiting and number % 4 else [*self.facts.ideas][-5:]
        if not ids:
            return number + 1, None
        staged_id = ids[number % len(ids)]
        return staged_id, self.facts.ideas[staged_id]

    def decidable(self, idea: Idea | None) -> str:
        """What is in the way of any decision; one whose time is over has ended by being asked about."""
        if idea is None:
            return "UNKNOWN_STAGED_ORDER"
        if idea.end is None and idea.expires_ns <= self.desk.now_ns:
            idea.end, idea.by = StagedState.EXPIRED, "engine"
        return "" if idea.end is None else "STAGED_ORDER_DECIDED"

    def seen(self, idea: Idea | None, revision: int) -> str:
        code = self.decidable(idea)
        if code or idea is None:
            return code
        if revision == len(idea.quantities):
            return ""
        return "STAGED_ORDER_CHANGED" if 0 < revision < len(idea.quantities) else "INVALID_ORDER"

    # ------------------------------------------------------------ requests

    @rule(
        client=st.sampled_from(CLIENTS), account=st.sampled_from(ACCOUNTS), quantity=quantities,
        ttl_s=st.sampled_from([None, 1, 30, 10_000]),
    )  # fmt: skip
    def stage(self, client: Client, account: str, quantity: int, ttl_s: int | None) -> None:
        ttl_ns = None if ttl_s is None else ttl_s * S
        outcome = self.ask(rq.Stage(terms(quantity, account=account), "an idea", ttl_ns), client)
        assert isinstance(outcome, Proposed)
        end_ns = INSTRUMENTS["AAPL"].session.ends_after_ns(self.desk.now_ns)
        expires_ns = min(self.desk.now_ns + (ttl_s or DEFAULT_TTL_S) * S, end_ns)
        idea = Idea(client, account, expires_ns, [quantity])
        self.facts.ideas[outcome.staged_id] = idea
        assert bool(outcome.denials) == (self.facts.level(idea) is not TradingLevel.NORMAL)

    @rule(
        client=st.sampled_from(CLIENTS), number=picks, off=revisions, quantity=st.none() | quantities,
        is_entitled=st.integers(0, 3).map(lambda number: number == 0),
    )  # fmt: skip
    def release(self, client: Client, number: int, off: int, quantity: int | None, is_entitled: bool) -> None:
        staged_id, idea = self.pick(number)
        revision = (len(idea.quantities) if idea is not None else 1) + off
        body = rq.ReleaseStaged(staged_id, revision, quantity, may_release_own=is_entitled)
        expected = self.seen(idea, revision) or self.in_the_way(idea, client, is_entitled)
        outcome = self.ask(body, client)
        assert code_of(outcome) == expected
        if expected or idea is None:
            return
        assert isinstance(outcome, Accepted)
        if quantity is not None and quantity != idea.quantities[-1]:
            idea.quantities.append(quantity)
        idea.end, idea.by, idea.order_id = StagedState.RELEASED, client.user, outcome.order_id

    def in_the_way(self, idea: Idea | None, client: Client, is_entitled: bool) -> str:
        assert idea is not None
        if idea.owner.user == client.user and not is_entitled:
            return "FOUR_EYES"
        if not self.facts.is_connected:
            return "VENUE_NOT_READY"
        level = self.facts.level(idea)
        if level is TradingLevel.NORMAL:
            return ""
        return "TRADING_FROZEN" if level is TradingLevel.FREEZE else "TRADING_BLOCKED"

    @rule(client=st.sampled_from(CLIENTS), number=picks, off=revisions, quantity=quantities)
    def amend(self, client: Client, number: int, off: int, quantity: int) -> None:
        staged_id, idea = self.pick(number)
        revision = (len(idea.quantities) if idea is not None else 1) + off
        expected = self.seen(idea, revision)
        if not expected and idea is not None and quantity == idea.quantities[-1]:
            expected = "NOTHING_CHANGES"
        outcome = self.ask(rq.AmendStaged(staged_id, revision, quantity, why="better"), client)
        assert code_of(outcome) == expected
        if not expected and idea is not None:
            idea.quantities.append(quantity)
            assert isinstance(outcome, Proposed)
            assert outcome.revision == len(idea.quantities)

    @rule(client=st.sampled_from(CLIENTS), number=picks)
    def reject(self, client: Client, number: int) -> None:
        staged_id, idea = self.pick(number)
        expected = self.decidable(idea)
        outcome = self.ask(rq.RejectStaged(staged_id, "no"), client)
        assert code_of(outcome) == expected
        if not expected and idea is not None:
            is_own = client.user == idea.owner.user
            idea.end = StagedState.WITHDRAWN if is_own else StagedState.REJECTED
            idea.by = client.user

    @rule(node=st.sampled_from(NODES), level=st.sampled_from([TradingLevel.NORMAL, *TradingLevel]))
    def set_level(self, node: str, level: TradingLevel) -> None:
        outcome = self.ask(rq.SetLevel(node, level, "why"), ALICE)
        assert isinstance(outcome, MassCanceled)
        self.facts.levels[node] = level
        for idea in self.facts.ideas.values():
            if level is TradingLevel.CANCEL_ALL and idea.end is None and node in idea.path:
                idea.end, idea.by = StagedState.REJECTED, ALICE.user

    @rule(number=picks)
    def ask_again(self, number: int) -> None:
        """What was answered is answered the same, and nothing is done."""
        if self.answers:
            client, asked = [*self.answers][number % len(self.answers)]
            body, outcome = self.answers[client, asked]
            before = self.desk.state.seq
            assert self.desk.ask(body, client, asked) == outcome
            assert self.desk.state.seq == before

    # ------------------------------------------------------------ what else happens

    @rule(client=st.sampled_from([BOT, BOT2]), grace_s=st.sampled_from([None, 0, 5]))
    def open_session(self, client: Client, grace_s: int | None) -> None:
        grace_ns = None if grace_s is None else grace_s * S
        assert self.desk.ask(rq.OpenSession(grace_ns), client, number=0) == Done()
        self.facts.sessions[client] = (grace_ns, None)

    @rule(client=st.sampled_from([BOT, BOT2]))
    def break_session(self, client: Client) -> None:
        self.desk.ask(rq.SessionBroken(), client, number=0)
        grace_ns, lost_ns = self.facts.sessions.get(client, (None, None))
        if client in self.facts.sessions and lost_ns is None:
            self.facts.sessions[client] = (grace_ns, self.desk.now_ns)

    @rule(seconds=st.sampled_from([0.5, 5, 29, 901]))
    def pass_time(self, seconds: float) -> None:
        self.desk.pass_time(seconds)
        now_ns = self.desk.now_ns
        for idea in self.facts.ideas.values():
            if idea.end is None and idea.expires_ns <= now_ns:
                idea.end, idea.by = StagedState.EXPIRED, "engine"
        for client, (grace_ns, lost_ns) in [*self.facts.sessions.items()]:
            if grace_ns is None or lost_ns is None or lost_ns + grace_ns > now_ns or self.is_held(client):
                continue
            del self.facts.sessions[client]
            for idea in self.facts.ideas.values():
                if idea.end is None and idea.owner == client:
                    idea.end, idea.by = StagedState.WITHDRAWN, "engine"

    @rule(seconds=st.sampled_from([0.5, 29]))
    def clock_moves(self, seconds: float) -> None:
        """Time passes and nobody has looked yet what is due."""
        self.desk.now_ns += int(seconds * S)

    def is_held(self, client: Client) -> bool:
        """Whether its end waits, since an order of its cannot be cancelled before somebody thaws it."""
        return any(
            order.owner == client and order.may_execute and not order.is_asked_to_cancel()
            and self.desk.decider.is_frozen(order)
            for order in self.desk.state.live_orders()
        )  # fmt: skip

    @rule()
    def cut(self) -> None:
        if self.facts.is_connected:
            self.desk.disconnect()
            self.facts.is_connected = False

    @rule()
    def connect(self) -> None:
        if not self.facts.is_connected:
            self.desk.connect_again(*self.desk.state.live_orders())
            self.facts.is_connected = True

    @rule()
    def restart(self) -> None:
        self.take_sent()
        self.desk = self.desk.restarted()
        self.facts.is_connected = False
        for client, (grace_ns, lost_ns) in [*self.facts.sessions.items()]:
            self.facts.sessions[client] = (grace_ns, lost_ns or self.desk.now_ns)

    def take_sent(self) -> None:
        self.sent += [message.cl_ord_id for message in self.desk.sent if isinstance(message, NewOrder)]
        self.desk.sent.clear()

    # ------------------------------------------------------------ what is always so

    @invariant()
    def all_stand_as_the_model_says(self) -> None:
        book = self.desk.state.staged
        for staged_id, idea in self.facts.ideas.items():
            staged = book.orders[staged_id]
            assert staged.state is idea.state
            assert [one.terms.quantity for one in staged.revisions] == idea.quantities
            decision = staged.decision
            assert ("" if decision is None else decision.by.user) == idea.by
            assert (None if decision is None else decision.order_id) == idea.order_id
        waiting = [staged_id for staged_id, idea in self.facts.ideas.items() if idea.end is None]
        assert [*book.pending] == waiting
        for account in ACCOUNTS:
            assert book.count(account) == sum(self.facts.ideas[one].account == account for one in waiting)

    @invariant()
    def what_was_released_has_left_once_and_nothing_else(self) -> None:
        self.take_sent()
        released = [idea for idea in self.facts.ideas.values() if idea.order_id is not None]
        ids = {idea.order_id: idea for idea in released}
        assert len(ids) == len(released)
        assert {*self.desk.state.orders} == {*ids}
        assert sorted(self.sent) == sorted(f"T-{order_id}-1" for order_id in ids)
        for order_id, idea in ids.items():
            assert order_id is not None
            order = self.desk.state.orders[order_id]
            assert (order.owner, order.terms.quantity) == (idea.owner, idea.quantities[-1])

    @invariant()
    def followers_and_replays_are_the_same(self) -> None:
        for seq, at_ns, event in self.desk.events:
            if seq > self.follower.seq:
                self.follower.apply(seq, at_ns, event)
        digest = self.desk.state.digest()
        assert self.follower.digest() == digest
        loaded, book = EngineState.load(self.desk.state.dump()), self.desk.state.staged
        assert loaded.digest() == digest
        assert loaded.staged.orders == book.orders
        assert [loaded.staged.count(one) for one in ACCOUNTS] == [book.count(one) for one in ACCOUNTS]
        assert not any(isinstance(event, ev.ReportRefused) for _, _, event in self.desk.events[-3:])


TestStaging = Staging.TestCase
TestStaging.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)

#: What happens in a long course, how often, and with what; hypothesis draws few steps of each kind.
COURSE: dict[str, tuple[int, Callable[[Random], dict[str, Any]]]] = {
    "stage": (8, lambda chance: {
        "client": chance.choice(CLIENTS), "account": chance.choice(ACCOUNTS), "quantity": chance.randint(1, 9) * 10,
        "ttl_s": chance.choice([None, 1, 30, 10_000]),
    }),
    "release": (8, lambda chance: {
        "client": chance.choice(CLIENTS), "number": chance.randrange(1000), "off": chance.choice([0, 0, 0, 0, -1, 1]),
        "quantity": chance.choice([None, chance.randint(1, 9) * 10]), "is_entitled": chance.random() < 0.2,
    }),
    "amend": (4, lambda chance: {
        "client": chance.choice(CLIENTS), "number": chance.randrange(1000), "off": chance.choice([0, 0, 0, 0, -1, 1]),
        "quantity": chance.randint(1, 9) * 10,
    }),
    "reject": (2, lambda chance: {"client": chance.choice(CLIENTS), "number": chance.randrange(1000)}),
    "set_level": (2, lambda chance: {
        "node": chance.choice(NODES), "level": chance.choice([TradingLevel.NORMAL] * 6 + [*TradingLevel]),
    }),
    "ask_again": (2, lambda chance: {"number": chance.randrange(1000)}),
    "open_session": (2, lambda chance: {"client": chance.choice([BOT, BOT2]), "grace_s": chance.choice([None, 0, 5])}),
    "break_session": (2, lambda chance: {"client": chance.choice([BOT, BOT2])}),
    "pass_time": (3, lambda chance: {"seconds": chance.choice([0.5, 5, 29, 901])}),
    "clock_moves": (1, lambda chance: {"seconds": chance.choice([0.5, 29])}),
    "cut": (1, lambda chance: {}),
    "connect": (3, lambda chance: {}),
    "restart": (1, lambda chance: {}),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_a_long_course(seed: int) -> None:
    chance = Random(seed)
    machine = Staging()
    machine.begin()
    names, weights = [*COURSE], [weight for weight, _ in COURSE.values()]
    for _ in range(150):
        name = chance.choices(names, weights)[0]
        getattr(machine, name)(**COURSE[name][1](chance))
        machine.all_stand_as_the_model_says()
        machine.what_was_released_has_left_once_and_nothing_else()
        machine.followers_and_replays_are_the_same()
