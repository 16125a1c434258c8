"""Staged orders in the core: their life, who may decide, what leaves and what does not, and when they are over."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.core.desk import ALICE, BOB, INSTRUMENTS, START_NS, Desk, terms

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core import staged as staged_module
from toucan.core import staging
from toucan.core import timers as timers_module
from toucan.core.limits import STAGED_REVISIONS_MAX, STAGED_TTL_NS_DEFAULT
from toucan.core.order import Client
from toucan.core.outcomes import Accepted, Denied, Done, MassCanceled, Outcome, Proposed, Refusal, Refused
from toucan.core.staged import TRANSITIONS, StagedOrder, StagedStep, diagram, sentence
from toucan.core.state import EngineState
from toucan.core.values import ExecType, OrderType, Side, StagedState, TimeInForce, TradingLevel
from toucan.core.venue_messages import NewOrder, Quote
from toucan.reference import pages

S = 1_000_000_000
BOT = Client("bot", "model")
LIMITED = """
base_currency = "USD"
[firm]
soft_max_order_quantity = "500"
[team.alpha]
accounts = ["ACC1", "ACC2"]
[account.ACC1]
max_order_quantity = "1000"
[team.beta]
accounts = ["ACC3"]
"""


def stage(desk: Desk, quantity: int = 100, client: Client = BOT, ttl_s: float | None = None, **more: object) -> StagedOrder:  # fmt: skip
    """A proposal that is taken."""
    ttl_ns = None if ttl_s is None else int(ttl_s * S)
    outcome = desk.ask(rq.Stage(terms(quantity, **more), "it is cheap", ttl_ns), client)  # type: ignore[arg-type]
    assert isinstance(outcome, Proposed), outcome
    return desk.state.staged.orders[outcome.staged_id]


def now(desk: Desk, staged: StagedOrder) -> StagedOrder:
    return desk.state.staged.orders[staged.staged_id]


def code_of(outcome: Outcome) -> str:
    return outcome.code if isinstance(outcome, Refused) else type(outcome).__name__


def sent_orders(desk: Desk) -> list[NewOrder]:
    return [message for message in desk.sent if isinstance(message, NewOrder)]


def is_replayed(desk: Desk) -> bool:
    """The same state from the journal, and from a snapshot of it."""
    digest = desk.state.digest()
    return desk.replayed().digest() == digest == EngineState.load(desk.state.dump()).digest()


# ---------------------------------------------------------------- the life cycle


def test_the_diagram_is_the_table() -> None:
    drawn: dict[StagedState, dict[StagedStep, StagedState]] = {state: {} for state in StagedState}
    for line in diagram().splitlines():
        edge = re.fullmatch(r" +(\w+) --> (\w+): (.+)", line)
        if edge:
            for step in edge[3].split(", "):
                drawn[StagedState[edge[1]]][StagedStep(step)] = StagedState[edge[2]]
    assert drawn == TRANSITIONS
    assert diagram() in pages()["toucan-staged-orders.md"]
    ends = re.findall(r"(\w+) --> \[\*\]", diagram())
    assert ends == [state.name for state in StagedState if state is not StagedState.PROPOSED]


_ENDS: dict[StagedState, Callable[[Desk, StagedOrder], object]] = {
    StagedState.RELEASED: lambda desk, one: desk.ask(rq.ReleaseStaged(one.staged_id, 1), BOB),
    StagedState.REJECTED: lambda desk, one: desk.ask(rq.RejectStaged(one.staged_id, "no"), BOB),
    StagedState.WITHDRAWN: lambda desk, one: desk.ask(rq.RejectStaged(one.staged_id, "no"), BOT),
    StagedState.EXPIRED: lambda desk, one: desk.pass_time(STAGED_TTL_NS_DEFAULT / S),
}
_STEPS: dict[StagedStep, Callable[[Desk, StagedOrder], object]] = {
    StagedStep.AMEND: lambda desk, one: desk.ask(
        rq.AmendStaged(one.staged_id, one.revision, quantity=7, why="less"), BOB
    ),
    StagedStep.RELEASE: _ENDS[StagedState.RELEASED],
    StagedStep.REJECT: _ENDS[StagedState.REJECTED],
    StagedStep.WITHDRAW: _ENDS[StagedState.WITHDRAWN],
    StagedStep.EXPIRE: lambda desk, one: desk.pass_time(2 * STAGED_TTL_NS_DEFAULT / S),
}


@pytest.mark.parametrize("state", StagedState)
@pytest.mark.parametrize("step", _STEPS)
def test_every_step_leads_where_the_table_says_or_nowhere(state: StagedState, step: StagedStep) -> None:
    desk = Desk()
    staged = stage(desk)
    if state in _ENDS:
        _ENDS[state](desk, staged)
    before = now(desk, staged)
    assert before.state is state
    _STEPS[step](desk, before)
    after = now(desk, staged)
    if step in TRANSITIONS[state]:
        assert after.state is TRANSITIONS[state][step]
        assert after != before
    else:
        assert after == before
    assert len(sent_orders(desk)) == (after.state is StagedState.RELEASED)
    assert is_replayed(desk)


def test_a_denied_release_leaves_it_waiting_and_says_why() -> None:
    desk = Desk(LIMITED)
    staged = stage(desk, 1001)
    outcome = desk.ask(rq.ReleaseStaged(staged.staged_id, 1, is_confirmed=True), BOB)
    assert isinstance(outcome, Denied)
    after = now(desk, staged)
    assert (after.state, after.denials) == (StagedState.PROPOSED, (outcome.denial,))
    denied = next(event for _, _, event in desk.events if isinstance(event, ev.OrderDenied))
    assert (denied.owner, denied.staged_id) == (BOB, staged.staged_id)
    assert desk.ask(rq.AmendStaged(staged.staged_id, 1, quantity=10, why="less"), BOB) == Proposed(1, 2)
    assert now(desk, staged).denials == ()
    assert is_replayed(desk)


# ---------------------------------------------------------------- proposing


def test_a_proposal_goes_nowhere_and_counts_for_nothing() -> None:
    desk = Desk(LIMITED.replace("[firm]", "[firm]\nmax_open_orders = 1"))
    for _ in range(3):
        stage(desk)
    assert desk.sent == []
    assert desk.state.orders == {}
    assert desk.state.risk.exposure.open_notional(1) == 0
    assert desk.submit(terms()).order_id == 1, "the one open order that there may be"


def test_what_would_be_denied_is_told_and_not_refused() -> None:
    desk = Desk(LIMITED)
    desk.decider.quote(Quote("AAPL", 0, 9_990, 10, 10_010, 10, 10_000))
    fine, soft, hard = stage(desk, 100), stage(desk, 501), stage(desk, 1001)
    assert fine.denials == ()
    assert [denial.can_be_confirmed for denial in soft.denials] == [True]
    assert [denial.code for denial in hard.denials] == ["MAX_ORDER_QUANTITY"]
    assert (fine.last.notional, fine.last.reference_price) == ("10000.00", 10_000)
    desk.ask(rq.SetLevel("firm", TradingLevel.BLOCK_NEW, "wait"))
    assert [denial.code for denial in stage(desk).denials] == ["TRADING_BLOCKED"]


def test_nothing_about_a_proposal_needs_the_venue() -> None:
    desk = Desk(is_ready=False)
    staged = stage(desk)
    desk.ask(rq.AmendStaged(staged.staged_id, 1, price=9_000, why="less"), BOB)
    assert now(desk, staged).revision == 2
    assert code_of(desk.ask(rq.ReleaseStaged(staged.staged_id, 2), BOB)) == Refusal.VENUE_NOT_READY
    assert now(desk, staged).is_pending


def test_staged_orders_up_to_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "STAGED_PER_ACCOUNT_MAX", 2)
    monkeypatch.setattr(staging, "STAGED_MAX", 3)
    desk = Desk()
    first = stage(desk)
    stage(desk)
    refused = desk.ask(rq.Stage(terms(), "one more"), BOT)
    assert isinstance(refused, Refused)
    assert refused.code is Refusal.TOO_MANY_STAGED_ORDERS
    assert "2 orders are staged for account ACC1" in refused.text
    stage(desk, account="ACC2")
    refused = desk.ask(rq.Stage(terms(account="ACC3"), "one more"), BOT)
    assert isinstance(refused, Refused)
    assert "3 orders are staged;" in refused.text
    desk.ask(rq.RejectStaged(first.staged_id, "no"), BOB)
    stage(desk)
    assert is_replayed(desk)


def test_decided_ones_are_forgotten_in_the_order_in_which_they_were_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(staged_module, "STAGED_DECIDED_KEPT_MAX", 2)
    desk = Desk()
    ids = [stage(desk).staged_id for _ in range(4)]
    for staged_id in reversed(ids[1:]):
        desk.ask(rq.RejectStaged(staged_id, "no"), BOB)
    assert list(desk.state.staged.orders) == [1, 2, 3]
    assert code_of(desk.ask(rq.ReleaseStaged(ids[3], 1), BOB)) == Refusal.UNKNOWN_STAGED_ORDER
    assert stage(desk).staged_id == 5
    assert is_replayed(desk)


# ---------------------------------------------------------------- releasing


def test_a_release_sends_what_was_proposed_once_for_its_proposer() -> None:
    desk = Desk()
    staged = stage(desk, text="my note")
    assert desk.ask(rq.ReleaseStaged(staged.staged_id, 1, why="good"), BOB) == Accepted(1)
    assert desk.again() == Accepted(1)
    (message,) = sent_orders(desk)
    assert (message.quantity, message.price, message.account) == (100, 10_000, "ACC1")
    order = desk.state.orders[1]
    assert (order.owner, order.terms) == (BOT, staged.terms)
    after = now(desk, staged)
    assert after.decision is not None
    assert (after.decision.by, after.decision.why, after.decision.order_id) == (BOB, "good", 1)
    desk.report(
        kind=ExecType.TRADE, cl_ord_id=order.cl_ord_id, exec_id="e", last_quantity=100, last_price=9_990
    )
    assert desk.state.positions.quantity("ACC1", "AAPL", "bot") == 100
    assert is_replayed(desk)


def test_a_release_and_its_order_are_one_record() -> None:
    desk = Desk()
    staged = stage(desk)
    request = rq.Request(0, BOB, 1, rq.ReleaseStaged(staged.staged_id, 1, quantity=50))
    events, _ = desk.decider.request(request, desk.now_ns, desk.now_ns)
    assert [type(event) for event in events] == [
        ev.StagedAmended,
        ev.OrderAccepted,
        ev.StagedReleased,
        ev.Answered,
    ]


def test_a_release_may_amend_and_the_history_tells_who() -> None:
    desk = Desk()
    staged = stage(desk)
    outcome = desk.ask(rq.ReleaseStaged(staged.staged_id, 1, quantity=40, price=9_990, why="half"), BOB)
    assert outcome == Accepted(1)
    assert [(message.quantity, message.price) for message in sent_orders(desk)] == [(40, 9_990)]
    history = [(one.terms.quantity, one.by.user, one.why) for one in now(desk, staged).revisions]
    assert history == [(100, "bot", "it is cheap"), (40, "bob", "half")]


def test_a_release_that_is_denied_amends_nothing() -> None:
    desk = Desk(LIMITED)
    staged = stage(desk)
    assert isinstance(desk.ask(rq.ReleaseStaged(staged.staged_id, 1, quantity=1001), BOB), Denied)
    after = now(desk, staged)
    assert (after.revision, after.denials) == (1, ()), "it was denied with other terms than it has"
    soft = desk.ask(rq.ReleaseStaged(staged.staged_id, 1, quantity=501), BOB)
    assert isinstance(soft, Denied)
    assert soft.denial.can_be_confirmed
    confirmed = rq.ReleaseStaged(staged.staged_id, 1, quantity=501, is_confirmed=True)
    assert desk.ask(confirmed, BOB) == Accepted(1)


def test_limits_are_those_of_the_proposer_and_of_now() -> None:
    limits = LIMITED + '[trader."ACC1/bot"]\nmax_order_quantity = "50"\n'
    desk = Desk(limits)
    staged = stage(desk)
    assert [denial.node for denial in staged.denials] == ["firm/alpha/ACC1/bot"]
    assert isinstance(desk.ask(rq.ReleaseStaged(staged.staged_id, 1), BOB), Denied)
    desk.ask(rq.SetLimit("firm/alpha/ACC1/bot", "max_order_quantity", None, "grown"))
    assert desk.ask(rq.ReleaseStaged(staged.staged_id, 1), BOB) == Accepted(1)


def test_of_two_people_who_release_at_once_one_wins_and_the_other_is_told_who() -> None:
    desk = Desk()
    staged = stage(desk)
    assert desk.ask(rq.ReleaseStaged(staged.staged_id, 1), BOB) == Accepted(1)
    second = desk.ask(rq.ReleaseStaged(staged.staged_id, 1), Client("carol", "desk"))
    assert second == Refused(Refusal.STAGED_ORDER_DECIDED, "staged order 1 was released by bob as order 1")
    assert len(sent_orders(desk)) == 1


def test_who_proposed_may_not_release_by_another_session_either() -> None:
    desk = Desk()
    staged = stage(desk)
    for session in ("model", "browser"):
        outcome = desk.ask(rq.ReleaseStaged(staged.staged_id, 1), Client("bot", session))
        assert code_of(outcome) == Refusal.FOUR_EYES
    amended = desk.ask(rq.AmendStaged(staged.staged_id, 1, quantity=5, why="less"), BOB)
    assert isinstance(amended, Proposed)
    assert code_of(desk.ask(rq.ReleaseStaged(staged.staged_id, 2), BOT)) == Refusal.FOUR_EYES
    entitled = rq.ReleaseStaged(staged.staged_id, 2, may_release_own=True)
    assert desk.ask(entitled, BOT) == Accepted(1)


def test_nobody_releases_or_amends_what_he_has_not_seen() -> None:
    desk = Desk()
    staged = stage(desk)
    desk.ask(rq.AmendStaged(staged.staged_id, 1, quantity=100_000, why="more"), BOT)
    for body in (
        rq.ReleaseStaged(staged.staged_id, 1),
        rq.AmendStaged(staged.staged_id, 1, price=9_000, why="less"),
    ):
        refused = desk.ask(body, BOB)
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.STAGED_ORDER_CHANGED
        assert "amended by bot (revision 2)" in refused.text
    assert sent_orders(desk) == []


def test_revisions_up_to_the_limit() -> None:
    desk = Desk()
    staged = stage(desk)
    for number in range(1, STAGED_REVISIONS_MAX):
        amended = desk.ask(rq.AmendStaged(staged.staged_id, number, quantity=100 + number, why="hm"), BOB)
        assert amended == Proposed(staged.staged_id, number + 1)
    last = STAGED_REVISIONS_MAX
    assert (
        code_of(desk.ask(rq.AmendStaged(1, last, quantity=1, why="hm"), BOB))
        == Refusal.TOO_MANY_STAGED_ORDERS
    )
    assert code_of(desk.ask(rq.ReleaseStaged(1, last, quantity=1), BOB)) == Refusal.TOO_MANY_STAGED_ORDERS
    assert desk.ask(rq.ReleaseStaged(1, last), BOB) == Accepted(1)


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("fields", "ttl_s", "after_s", "why"),
    [
        ({}, None, STAGED_TTL_NS_DEFAULT / S, "time-to-live"),
        ({}, 60, 60, "time-to-live"),
        ({"time_in_force": TimeInForce.GTD, "expire_at_ns": START_NS + 5 * S}, None, 5, "expire-time"),
    ],
)
def test_nobody_decides(fields: dict[str, Any], ttl_s: float | None, after_s: float, why: str) -> None:
    desk = Desk()
    staged = stage(desk, ttl_s=ttl_s, **fields)
    assert desk.pass_time(after_s - 0.001) == []
    assert desk.pass_time(0.001) == [ev.StagedExpired(staged.staged_id, why)]
    assert desk.pass_time(1) == []
    after = now(desk, staged)
    assert after.decision is not None
    assert (after.state, after.decision.by) == (StagedState.EXPIRED, ev.ENGINE)
    assert sentence(after) == f"staged order 1 has expired ({why})"
    assert is_replayed(desk)


def test_the_end_of_the_session_ends_it() -> None:
    desk = Desk()
    end_ns = INSTRUMENTS["AAPL"].session.ends_after_ns(START_NS)
    desk.now_ns = end_ns - 10 * S
    staged = stage(desk)
    assert (staged.expires_at_ns, staged.expires_why) == (end_ns, "session-end")
    assert desk.pass_time(10) == [ev.StagedExpired(staged.staged_id, "session-end")]


def test_a_decision_that_comes_before_the_timer_but_too_late_expires_it() -> None:
    desk = Desk()
    staged = stage(desk, ttl_s=60)
    desk.now_ns += 60 * S
    outcome = desk.ask(rq.ReleaseStaged(staged.staged_id, 1), BOB)
    assert code_of(outcome) == Refusal.STAGED_ORDER_DECIDED
    assert now(desk, staged).state is StagedState.EXPIRED
    assert sent_orders(desk) == []
    assert desk.pass_time(1) == []
    assert is_replayed(desk)


def test_a_restart_forgets_no_time_to_live() -> None:
    desk = Desk()
    staged = stage(desk, ttl_s=60)
    again = desk.restarted()
    assert again.pass_time(59) == []
    assert again.pass_time(1) == [ev.StagedExpired(staged.staged_id, "time-to-live")]


def test_timers_of_what_was_decided_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers_module, "STAGED_MAX", 5)
    desk = Desk()
    kept = stage(desk, ttl_s=600)
    for _ in range(50):
        desk.ask(rq.RejectStaged(stage(desk, ttl_s=3600).staged_id, "no"), BOB)
    assert len(desk.timers._staged) <= 11
    assert desk.pass_time(600) == [ev.StagedExpired(kept.staged_id, "time-to-live")]


# ---------------------------------------------------------------- kill levels, sessions


@pytest.mark.parametrize("level", [TradingLevel.BLOCK_NEW, TradingLevel.FREEZE])
def test_a_block_holds_what_is_staged(level: TradingLevel) -> None:
    desk = Desk()
    staged, other = stage(desk), stage(desk)
    desk.ask(rq.SetLevel("firm/alpha", level, "a look at the news"))
    assert isinstance(desk.ask(rq.ReleaseStaged(staged.staged_id, 1), BOB), Denied)
    assert now(desk, staged).is_pending
    assert desk.ask(rq.RejectStaged(other.staged_id, "no"), BOB) == Done(), (
        "to decide against it is not stopped"
    )
    desk.ask(rq.SetLevel("firm/alpha", TradingLevel.NORMAL, "go on"))
    assert desk.ask(rq.ReleaseStaged(staged.staged_id, 1), BOB) == Accepted(1)


def test_cancel_all_rejects_what_is_staged_below_the_node_and_nothing_else() -> None:
    desk = Desk()
    below, beside = stage(desk), stage(desk, account="ACC3")
    outcome = desk.ask(rq.SetLevel("firm/alpha", TradingLevel.CANCEL_ALL, "fire"), ALICE)
    assert outcome == MassCanceled((), staged_ids=(below.staged_id,))
    after = now(desk, below)
    assert after.decision is not None
    assert (after.state, after.decision.by, after.decision.why) == (
        StagedState.REJECTED,
        ALICE,
        "kill switch: fire",
    )
    assert now(desk, beside).is_pending
    assert is_replayed(desk)


def test_a_mass_cancel_is_for_orders_alone() -> None:
    desk = Desk()
    staged = stage(desk)
    desk.ask(rq.MassCancel(), ALICE)
    assert now(desk, staged).is_pending


@pytest.mark.parametrize(("grace_s", "is_withdrawn"), [(2.0, True), (0.0, True), (None, False)])
def test_a_session_that_is_gone_takes_its_proposals_with_it_as_it_does_its_orders(
    grace_s: float | None, is_withdrawn: bool
) -> None:
    desk = Desk()
    desk.ask(rq.OpenSession(None if grace_s is None else int(grace_s * S)), BOT, number=0)
    own, others = stage(desk), stage(desk, client=Client("bot", "another"))
    desk.ask(rq.SessionBroken(), BOT, number=0)
    if grace_s:
        assert desk.pass_time(grace_s - 0.001) == []
    desk.pass_time(0.001)
    after = now(desk, own)
    assert after.state is (StagedState.WITHDRAWN if is_withdrawn else StagedState.PROPOSED)
    if after.decision is not None:
        assert (after.decision.by, after.decision.why) == (ev.ENGINE, "disconnected")
    assert now(desk, others).is_pending
    assert is_replayed(desk)


def test_an_orderly_logout_leaves_proposals_and_a_return_in_time_too() -> None:
    desk = Desk()
    desk.ask(rq.OpenSession(2 * S), BOT, number=0)
    staged = stage(desk)
    desk.ask(rq.SessionBroken(), BOT, number=0)
    desk.ask(rq.OpenSession(2 * S), BOT, number=0)
    desk.pass_time(10)
    desk.ask(rq.CloseSession(), BOT, number=0)
    desk.pass_time(10)
    assert now(desk, staged).is_pending


def test_what_expires_and_is_withdrawn_at_once_ends_once() -> None:
    desk = Desk()
    desk.ask(rq.OpenSession(60 * S), BOT, number=0)
    staged = stage(desk, ttl_s=60)
    desk.ask(rq.SessionBroken(), BOT, number=0)
    desk.pass_time(60)
    assert now(desk, staged).state is StagedState.EXPIRED
    assert is_replayed(desk)


# ---------------------------------------------------------------- beside all else


def test_reconciliation_knows_nothing_of_proposals() -> None:
    desk = Desk()
    staged = stage(desk)
    order = desk.working(terms())
    desk.disconnect()
    desk.connect_again(order)
    assert now(desk, staged).is_pending
    assert list(desk.state.orders) == [order.order_id]


def test_a_released_order_that_never_arrived_is_settled_as_any_other() -> None:
    desk = Desk()
    staged = stage(desk)
    desk.ask(rq.ReleaseStaged(staged.staged_id, 1), BOB)
    again = desk.restarted()
    assert now(again, staged).state is StagedState.RELEASED
    again.connect_again()
    assert again.state.orders[1].reason == "not-received"
    assert sent_orders(again) == []
    assert code_of(again.ask(rq.ReleaseStaged(staged.staged_id, 1), BOB)) == Refusal.STAGED_ORDER_DECIDED


def test_a_snapshot_from_before_there_were_staged_orders_is_read() -> None:
    desk = Desk()
    dumped = msgspec.msgpack.decode(desk.state.dump())
    del dumped["staged"]
    loaded = EngineState.load(msgspec.msgpack.encode(dumped))
    assert loaded.digest() == desk.state.digest()


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 2000), st.sampled_from(Side), st.sampled_from(OrderType), st.none() | st.integers(-5, 20_000),
    st.none() | st.integers(-5, 20_000), st.text(max_size=5), st.none() | st.integers(-S, 2 * 24 * 3600 * S),
)  # fmt: skip
def test_any_proposal_is_taken_or_refused_and_never_breaks_the_core(
    quantity: int,
    side: Side,
    kind: OrderType,
    price: int | None,
    stop: int | None,
    why: str,
    ttl_ns: int | None,
) -> None:
    desk = Desk(LIMITED)
    wanted = terms(quantity, price, side=side, type=kind, stop_price=stop)
    outcome = desk.ask(rq.Stage(wanted, why, ttl_ns), BOT)
    assert isinstance(outcome, (Proposed, Refused))
    if isinstance(outcome, Proposed):
        released = desk.ask(rq.ReleaseStaged(1, 1, is_confirmed=True), BOB)
        assert isinstance(released, (Accepted, Denied))
        assert isinstance(released, Denied) == any(not one.can_be_confirmed for one in outcome.denials)
    assert is_replayed(desk)
