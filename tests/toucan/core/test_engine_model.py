"""The core against a model: any course of requests, reports, cuts and restarts leads to what follows from the bare history of each order.

The model keeps of each order a list of what happened to it, and works out from the beginning of that list how it stands, each time it is asked; of
positions the same. It has no state of its own that could go wrong in the same way.
"""

from __future__ import annotations

import inspect
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import Phase as Stage
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.toucan.core.desk import ALICE, BOB, Desk, terms
from tests.toucan.core.engine_model import ACCOUNTS, CLIENTS, LIVE, NODES, Model, ModelOrder, Now

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core.order import Client, Order
from toucan.core.outcomes import Accepted, Denied, MassCanceled, Outcome, Refused
from toucan.core.reconcile import Phase
from toucan.core.state import EngineState
from toucan.core.values import ExecType, Side, TimeInForce, TradingLevel
from toucan.core.venue_messages import CancelOrder, NewOrder, ReplaceOrder, Welcome


def code_of(outcome: Outcome) -> str:
    """ "" for what is carried out."""
    if isinstance(outcome, Refused):
        return outcome.code
    return outcome.denial.code if isinstance(outcome, Denied) else ""


quantities = st.integers(1, 12).map(lambda number: number * 10)
prices = st.integers(95, 105).map(lambda number: number * 100)
picks = st.integers(0, 10**6)


class Engine(RuleBasedStateMachine):
    """The core beside the model."""

    @initialize()
    def begin(self) -> None:
        self.desk = Desk()
        self.model = Model()
        self.follower = EngineState()
        self.followed = 0
        self.numbers: Counter[Client] = Counter()
        self.answers: dict[tuple[Client, int], tuple[rq.Body, Outcome]] = {}
        for account in ACCOUNTS:
            self.submit(ALICE, account, Side.BUY, 100, 10_000, account == "ACC3", False)

    def pick(self, number: int, orders: list[ModelOrder] | None = None) -> ModelOrder | None:
        among = list(self.model.orders.values())[-6:] if orders is None else orders
        return among[number % len(among)] if among else None

    def ask(self, body: rq.Body, client: Client) -> Outcome:
        self.numbers[client] += 1
        outcome = self.desk.ask(body, client, self.numbers[client])
        self.answers[client, self.numbers[client]] = (body, outcome)
        return outcome

    # ------------------------------------------------------------ clients

    @rule(
        client=st.sampled_from(CLIENTS), account=st.sampled_from(ACCOUNTS), side=st.sampled_from(Side), quantity=quantities,
        price=prices, is_day=st.booleans(), reduces=st.integers(0, 3).map(lambda number: number == 0),
    )  # fmt: skip
    def submit(
        self, client: Client, account: str, side: Side, quantity: int, price: int, is_day: bool, reduces: bool
    ) -> None:
        time_in_force = TimeInForce.DAY if is_day else TimeInForce.GTC
        wanted = terms(
            quantity, price, account=account, side=side, time_in_force=time_in_force, reduce_only=reduces
        )
        order = ModelOrder(len(self.model.orders) + 1, client, wanted)
        expected = self.model.submit_code(order, quantity)
        outcome = self.ask(rq.Submit(wanted), client)
        assert code_of(outcome) == expected
        if not expected:
            assert outcome == Accepted(order.order_id)
            self.model.orders[order.order_id] = order

    @rule(
        client=st.sampled_from(CLIENTS),
        number=picks,
        quantity=st.one_of(st.none(), quantities),
        price=st.one_of(st.none(), prices),
    )
    def replace(self, client: Client, number: int, quantity: int | None, price: int | None) -> None:
        order = self.pick(number)
        if order is None:
            assert code_of(self.ask(rq.Replace(number, quantity), client)) == "UNKNOWN_ORDER"
            return
        base = order.now().possible()[-1]
        wanted = (quantity or base[0], price or base[1])
        expected = self.model.replace_code(order, *wanted)
        assert code_of(self.ask(rq.Replace(order.order_id, quantity, price), client)) == expected
        if not expected:
            order.asked("replace", *wanted)

    @rule(client=st.sampled_from(CLIENTS), number=picks)
    def cancel(self, client: Client, number: int) -> None:
        order = self.pick(number)
        if order is None:
            return
        expected = self.model.cancel_code(order)
        assert code_of(self.ask(rq.Cancel(order.order_id), client)) == expected
        if not expected:
            order.asked("cancel")

    @rule(
        side=st.one_of(st.none(), st.sampled_from(Side)),
        accounts=st.sampled_from([None, ("ACC1",), ACCOUNTS, ()]),
        owner=st.sampled_from(["", "bob"]),
    )
    def mass_cancel(self, side: Side | None, accounts: tuple[str, ...] | None, owner: str) -> None:
        hit = [
            one
            for one in self.model.cancellable()
            if side in (None, one.side)
            and (accounts is None or one.account in accounts)
            and owner in ("", one.owner.user)
        ]
        self._all_cancelled(hit, "", self.ask(rq.MassCancel(accounts, "", side, owner), ALICE))

    def _all_cancelled(self, hit: list[ModelOrder], besides: str, outcome: Outcome) -> None:
        hit = [one for one in hit if not self.model.is_frozen(one, besides)]
        assert isinstance(outcome, MassCanceled)
        assert sorted(outcome.order_ids) == [one.order_id for one in hit]
        for order in hit:
            order.asked("cancel")

    @rule(number=picks, body=st.sampled_from([rq.Submit(terms(10)), rq.MassCancel()]))
    def resend(self, number: int, body: rq.Body) -> None:
        """After a crash of a front end, say; and a confused client that uses a number again for something else."""
        if self.answers:
            client, which = list(self.answers)[number % len(self.answers)]
            known, outcome = self.answers[client, which]
            events = len(self.desk.events)
            again = self.desk.ask(known if number % 2 else body, client, which)
            if number % 2 or body == known:
                assert again == outcome
            else:
                assert code_of(again) == "KEY_REUSED"
            assert len(self.desk.events) == events

    @rule(
        node=st.sampled_from(NODES),
        level=st.sampled_from((*TradingLevel, *3 * (TradingLevel.NORMAL,))),
    )
    def set_level(self, node: str, level: TradingLevel) -> None:
        outcome = self.ask(rq.SetLevel(node, level, "test"), BOB)
        below = [one for one in self.model.cancellable() if node in one.path()]
        self._all_cancelled(below if level is TradingLevel.CANCEL_ALL else [], node, outcome)
        self.model.levels[node] = level

    @rule(
        client=st.sampled_from(CLIENTS),
        what=st.sampled_from(["open", "open", "lose", "lose", "close"]),
        grace_s=st.sampled_from([None, 0, 2]),
    )
    def session(self, client: Client, what: str, grace_s: int | None) -> None:
        grace_ns = None if grace_s is None else grace_s * 10**9
        bodies: dict[str, rq.Body] = {
            "open": rq.OpenSession(grace_ns),
            "lose": rq.SessionBroken(),
            "close": rq.CloseSession(),
        }
        self.desk.ask(bodies[what], client, 0)
        if what == "open":
            self.model.sessions[client] = (grace_ns, None)
        elif what == "close":
            self.model.sessions.pop(client, None)
        elif client in self.model.sessions and self.model.sessions[client][1] is None:
            self.model.sessions[client] = (self.model.sessions[client][0], self.desk.now_ns)

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0]))
    def wait(self, seconds: float) -> None:
        self.desk.pass_time(seconds)
        self.model.time_passed(self.desk.now_ns)

    # ------------------------------------------------------------ the venue

    def _venue_tell(self, order: ModelOrder, number: int, quantity: int, price: int) -> None:
        """It is there, or done for the day, or restated."""
        now = order.now()
        if now.state not in LIVE:
            return
        kind = (ExecType.NEW, ExecType.DONE_FOR_DAY, ExecType.RESTATED)[number % 3]
        if kind is ExecType.RESTATED:
            self.desk.report(kind=kind, cl_ord_id=order.id(1), quantity=max(quantity, now.cum))
            order.history.append(("restated", max(quantity, now.cum)))
        else:
            self.desk.report(kind=kind, cl_ord_id=order.id(1))
            order.history.append(("told", "new" if kind is ExecType.NEW else "done-for-day"))

    def _venue_trade(self, order: ModelOrder, number: int, quantity: int, price: int) -> None:
        """Up to what may be in force, whatever the state: fills cross everything on the wire."""
        now = order.now()
        most = max(one for one, _ in now.possible()) - now.cum
        if most <= 0:
            return
        self.model.executions += 1
        exec_id, traded = f"e{self.model.executions}", min(quantity, most)
        self.desk.report(
            kind=ExecType.TRADE,
            cl_ord_id=order.id(1),
            exec_id=exec_id,
            last_quantity=traded,
            last_price=price,
        )
        order.history.append(("traded", exec_id, traded, price))
        self.model.position_changed(order.account)

    def _venue_end(self, order: ModelOrder, number: int, quantity: int, price: int) -> None:
        """It ends without having been asked to."""
        kind = (ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED)[number % 3]
        if order.now().state in LIVE and (number % 4 == 0 or kind is not ExecType.REJECTED):
            self.desk.report(kind=kind, cl_ord_id=order.id(1))
            order.history.append(("ended", kind.name.lower()))

    def _venue_answer(self, order: ModelOrder, number: int, quantity: int, price: int) -> None:
        """To the oldest request in flight: confirmed, accepted or refused."""
        now = order.now()
        name, (kind, *_) = next(iter(now.in_flight.items()), ("", ("", 0, 0)))
        if not name:
            return
        if number % 4 == 0 and kind != "new":
            pending = ExecType.PENDING_CANCEL if kind == "cancel" else ExecType.PENDING_REPLACE
            self.desk.report(kind=pending, cl_ord_id=name)
            order.history.append(("confirmed", name))
        elif number % 4 == 1:
            self._refuse(order, name, kind)
        elif kind == "new":
            self.desk.report(kind=ExecType.NEW, cl_ord_id=name)
            order.history.append(("told", "new"))
        elif kind == "cancel":
            self.desk.report(kind=ExecType.CANCELED, cl_ord_id=name)
            order.history.append(("ended", "canceled"))
        else:
            self.desk.report(kind=ExecType.REPLACED, cl_ord_id=name)
            order.history.append(("replaced", name))

    def _refuse(self, order: ModelOrder, name: str, kind: str) -> None:
        if kind == "new":
            self.desk.report(kind=ExecType.REJECTED, cl_ord_id=name)
            order.history.append(("ended", "rejected"))
        else:
            self.desk.report(kind=ExecType.CANCEL_REJECT, cl_ord_id=name)
            order.history.append(("refused", name))

    def _venue_undo(self, order: ModelOrder, number: int, quantity: int, price: int) -> None:
        """A bust or a correction of one of its trades."""
        now = order.now()
        if not now.trades:
            return
        exec_id = list(now.trades)[number % len(now.trades)]
        self.model.executions += 1
        own = f"e{self.model.executions}"
        if number % 2:
            self.desk.report(
                kind=ExecType.TRADE_CANCEL, cl_ord_id=order.id(1), exec_id=own, exec_ref_id=exec_id
            )
            order.history.append(("busted", exec_id))
        else:
            most = max(one for one, _ in now.possible()) - now.cum + now.trades[exec_id][0]
            if most <= 0:
                return
            self.desk.report(
                kind=ExecType.TRADE_CORRECT, cl_ord_id=order.id(1), exec_id=own, exec_ref_id=exec_id,
                last_quantity=min(quantity, most), last_price=price,
            )  # fmt: skip
            order.history.append(("corrected", exec_id, min(quantity, most), price))
        self.model.position_changed(order.account)

    def _venue_nonsense(self, order: ModelOrder, number: int, quantity: int, price: int) -> None:
        """Nothing of it counts."""
        now = order.now()
        most = max(one for one, _ in now.possible()) - now.cum
        known = list(now.trades) or ["e?"]
        reports: list[dict[str, Any]] = [
            {
                "kind": ExecType.TRADE,
                "exec_id": "too much",
                "last_quantity": max(0, most) + quantity,
                "last_price": price,
            },
            {"kind": ExecType.TRADE, "exec_id": "malformed", "last_quantity": 0, "last_price": price},
            {"kind": ExecType.TRADE_CANCEL, "exec_id": "unknown", "exec_ref_id": "never"},
            {"kind": ExecType.RESTATED, "quantity": -5},
        ]
        if now.trades:
            reports.append(
                {"kind": ExecType.TRADE, "exec_id": known[0], "last_quantity": 10, "last_price": price}
            )
        (event,) = self.desk.report(**{"cl_ord_id": order.id(1), **reports[number % len(reports)]})
        assert isinstance(event, ev.ReportRefused)

    @rule(is_restart=st.booleans())
    def cut(self, is_restart: bool) -> None:
        """The connection breaks, or the engine dies and starts again."""
        if not is_restart:
            self.desk.disconnect()
        else:
            self.desk = self.desk.restarted()
            for client, (grace_ns, lost_ns) in self.model.sessions.items():
                self.model.sessions[client] = (grace_ns, self.desk.now_ns if lost_ns is None else lost_ns)
        self.model.is_connected = False

    @precondition(lambda self: not self.model.is_connected)
    @rule(
        acts=st.lists(st.tuples(picks, st.sampled_from(["trade", "end", "answer", "undo"])), max_size=3),
        is_new_life=st.integers(0, 4).map(lambda one: one == 0),
    )
    def connect(self, acts: list[tuple[int, str]], is_new_life: bool) -> None:
        """The venue tells what happened meanwhile, and what is open; a new life of it knows nothing."""
        desk, model = self.desk, self.model
        record = desk.state.venue("SIM")
        desk.session.connected()
        desk.sent.clear()
        life = f"{record.life}+" if is_new_life else record.life
        desk.apply(desk.session.welcome(Welcome(life, 0)))
        at_venue: set[int] = set()
        if is_new_life:
            desk.begins_anew()
        else:
            for number, act in acts:
                order = self.pick(number)
                if order is not None:
                    getattr(self, f"_venue_{act}")(order, number // 7, 10, 10_000)
            at_venue = {one.order_id for one in model.orders.values() if self._is_at_venue(one.now())}
        desk.resume_end("")
        desk.reconcile(*(desk.state.orders[order_id] for order_id in at_venue))
        model.reconciled(at_venue)
        model.is_connected = True
        assert desk.session.phase is Phase.READY
        assert not any(isinstance(message, (NewOrder, ReplaceOrder)) for message in desk.sent)

    def _is_at_venue(self, now: Now) -> bool:
        return now.state == "working" and (now.quantity > now.cum or now.is_done)

    def _act(self, act: str, number: int, quantity: int, price: int) -> None:
        """At one of the orders that were there last."""
        order = self.pick(number, list(self.model.orders.values())[-4:])
        if order is not None and self.model.is_connected:
            getattr(self, f"_venue_{act}")(order, number // 7, quantity, price)

    @rule(number=picks, quantity=quantities, price=prices)
    def told(self, number: int, quantity: int, price: int) -> None:
        self._act("tell", number, quantity, price)

    @rule(number=picks, quantity=quantities, price=prices)
    def traded(self, number: int, quantity: int, price: int) -> None:
        self._act("trade", number, quantity, price)

    @rule(number=picks, quantity=quantities, price=prices)
    def traded_more(self, number: int, quantity: int, price: int) -> None:
        self._act("trade", number, quantity, price)

    @rule(number=picks)
    def ended(self, number: int) -> None:
        self._act("end", number, 0, 0)

    @rule(number=picks)
    def answered(self, number: int) -> None:
        self._act("answer", number, 0, 0)

    @rule(number=picks)
    def answered_as_well(self, number: int) -> None:
        self._act("answer", number, 0, 0)

    @rule(number=picks, quantity=quantities, price=prices)
    def undone(self, number: int, quantity: int, price: int) -> None:
        self._act("undo", number, quantity, price)

    @rule(number=picks, quantity=quantities, price=prices)
    def nonsense(self, number: int, quantity: int, price: int) -> None:
        self._act("nonsense", number, quantity, price)

    # ------------------------------------------------------------ what always holds

    @invariant()
    def state_is_what_the_history_says(self) -> None:
        state = self.desk.state
        assert list(state.orders) == list(self.model.orders)
        for order_id, expected in self.model.orders.items():
            self._check(state.orders[order_id], expected)
        for account in ACCOUNTS:
            assert state.positions.quantity(account, "AAPL") == self.model.held(account)
            for user in ("alice", "bob"):
                assert state.positions.quantity(account, "AAPL", user) == self.model.held(account, user)

    def _check(self, order: Order, expected: ModelOrder) -> None:
        now = expected.now()
        assert order.status is now.status()
        assert (order.terms.quantity, order.terms.price) == (now.quantity, now.price)
        assert (order.cum_quantity, order.leaves_quantity) == (now.cum, now.leaves(expected.is_day))
        assert order.cum_notional == sum(quantity * price for quantity, price in now.trades.values())
        assert [one.cl_ord_id for one in order.requests] == list(now.in_flight)
        assert [one.kind.name.lower() for one in order.requests] == [
            kind for kind, _, _ in now.in_flight.values()
        ]
        # However the venue answers, never more than somebody has asked for, or the venue has said.
        said = [one[-2] for one in expected.history if one[0] == "asked"]
        assert order.cum_quantity <= max(said + [one[1] for one in expected.history if one[0] == "restated"])

    @invariant()
    def exposure_covers_every_outcome(self) -> None:
        for node in ("firm", "firm/alpha/ACC1", "firm/beta/ACC3", "firm/alpha/ACC1/alice"):
            usage = self.desk.state.risk.exposure.node(node).symbol("AAPL")
            below = [one for one in self.model.orders.values() if node in one.path()]
            for side in Side:
                worst = sum(one.now().worst(one.is_day) for one in below if one.side is side)
                assert usage.side(side).quantity == worst
            assert usage.position == sum(one.side.sign * one.now().cum for one in below)

    @invariant()
    def followers_and_snapshots_are_the_same(self) -> None:
        for seq, at_ns, event in self.desk.events[self.followed :]:
            self.follower.apply(seq, at_ns, event)
        self.followed = len(self.desk.events)
        digest = self.desk.state.digest()
        assert self.follower.digest() == digest
        self.follower = EngineState.load(self.follower.dump())
        assert self.follower.digest() == digest

    def teardown(self) -> None:
        if not hasattr(self, "desk"):
            return
        assert self.desk.replayed().digest() == self.desk.state.digest()
        answered = Counter(
            (event.client, event.number) for _, _, event in self.desk.events if isinstance(event, ev.Answered)
        )
        assert not [one for one, count in answered.items() if count > 1]
        sent = Counter(
            message.cl_ord_id
            for message in self.desk.sent
            if isinstance(message, (NewOrder, ReplaceOrder, CancelOrder))
        )
        assert not [one for one, count in sent.items() if count > 1]


# A course that fails is told as it is: to look for a shorter one takes minutes.
_STAGES = (Stage.explicit, Stage.reuse, Stage.generate)
Engine.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=50, phases=_STAGES)
TestEngine = Engine.TestCase


# ---------------------------------------------------------------- the same, denser

#: How often each rule's turn comes, and what it is called with.
WEIGHTS: dict[str, tuple[int, dict[str, tuple[Any, ...]]]] = {
    "submit": (8, {"client": CLIENTS, "account": ACCOUNTS, "side": tuple(Side), "is_day": (True, False), "reduces": (True, False, False)}),
    "replace": (10, {"client": CLIENTS}),
    "cancel": (3, {"client": CLIENTS}),
    "mass_cancel": (1, {"side": (None, *Side), "accounts": (None, ("ACC1",)), "owner": ("", "bob")}),
    "resend": (2, {"body": (rq.Submit(terms(10)), rq.MassCancel())}),
    "set_level": (2, {"node": NODES, "level": (*TradingLevel, *8 * (TradingLevel.NORMAL,))}),
    "session": (3, {"client": CLIENTS, "what": ("open", "open", "lose", "close"), "grace_s": (None, 0, 2)}),
    "wait": (3, {"seconds": (0.0, 0.5, 3.0)}),
    "told": (3, {}), "traded": (6, {}), "ended": (1, {}), "answered": (12, {}), "undone": (3, {}), "nonsense": (2, {}),
    "cut": (1, {"is_restart": (True, False)}),
}  # fmt: skip


def drive(seed: int, steps: int) -> None:
    """One long course; prints how to repeat it."""
    print(f"repeat it with: drive({seed}, {steps})")
    chance, machine = Random(seed), Engine()
    machine.begin()
    names = [name for name, (weight, _) in WEIGHTS.items() for _ in range(weight)]
    for _ in range(steps):
        name = chance.choice(names)
        if not machine.model.is_connected and chance.random() < 0.4:
            acts = [
                (chance.randrange(1000), chance.choice(["trade", "end", "answer", "undo"])) for _ in range(3)
            ]
            machine.connect(acts=acts[: chance.randrange(4)], is_new_life=chance.random() < 0.2)
        elif name != "cut" or machine.model.is_connected:
            _call(machine, name, chance)
        machine.state_is_what_the_history_says()
        machine.exposure_covers_every_outcome()
        machine.followers_and_snapshots_are_the_same()
    machine.teardown()


def _call(machine: Engine, name: str, chance: Random) -> None:
    arguments = {key: chance.choice(values) for key, values in WEIGHTS[name][1].items()}
    drawn: dict[str, Any] = {
        "number": chance.randrange(10**6), "quantity": chance.randrange(10, 130, 10), "price": chance.randrange(9_500, 10_600, 100),
    }  # fmt: skip
    method = getattr(machine, name)
    wanted = inspect.signature(method).parameters
    method(**arguments, **{key: value for key, value in drawn.items() if key in wanted})


@pytest.mark.parametrize("seed", range(24))
def test_a_long_course(seed: int) -> None:
    drive(seed, 150)
