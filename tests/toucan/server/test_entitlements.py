"""Who may what, as pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toucan.core import events as ev
from toucan.core.order import Client
from toucan.core.outcomes import Accepted, Denial, Done, MassCanceled
from toucan.core.terms import OrderTerms
from toucan.core.values import ExecType, OrderType, Side, TimeInForce, TradingLevel
from toucan.core.venue_messages import Report
from toucan.server.entitlements import ACTIONS, User, accounts_below, expanded
from toucan.server.errors import NotEntitled
from toucan.server.streams.event_facts import EventFacts, facts_of

_TEAMS = {"alpha": ["ACC1", "ACC2"], "beta": ["ACC3"]}
_NODES = [
    "firm",
    "firm/alpha",
    "firm/beta",
    "firm/alpha/ACC1",
    "firm/alpha/ACC2/alice",
    "firm/beta/ACC3",
    "firm/none",
    "firm/none/ACC9",
]
_ALICE = Client("alice", "desk")


def _user(*accounts: str, actions: tuple[str, ...] = ("view",), name: str = "u") -> User:
    return User(name, frozenset(accounts), expanded(actions))


def test_to_propose_to_release_and_to_trade_are_three_things() -> None:
    assert expanded(["stage"]) == {"stage", "view"}
    assert expanded(["release"]) == {"release", "view"}
    assert expanded(["release-own"]) == {"release-own", "release", "view"}
    assert not expanded(["trade", "cancel-others"]) & {"stage", "release", "release-own"}


def test_to_trade_includes_to_cancel_and_to_see() -> None:
    assert expanded(["trade"]) == {"trade", "cancel", "view"}
    assert expanded([]) == frozenset()
    assert expanded(ACTIONS) == frozenset(ACTIONS)


@pytest.mark.parametrize(
    ("node", "accounts"),
    [
        ("firm", {"ACC1", "ACC2", "ACC3"}),
        ("firm/alpha", {"ACC1", "ACC2"}),
        ("firm/alpha/ACC1", {"ACC1"}),
        ("firm/alpha/ACC1/bob", {"ACC1"}),
        ("firm/none", set()),
    ],
)
def test_accounts_below_a_node(node: str, accounts: set[str]) -> None:
    assert accounts_below(node, _TEAMS) == accounts


@given(st.sets(st.sampled_from(["ACC1", "ACC2", "ACC3", "ACC9"])), st.sampled_from(_NODES))
def test_node_is_a_users_if_all_below_is_and_concerns_him_if_any_is(accounts: set[str], node: str) -> None:
    user = _user(*accounts)
    below = accounts_below(node, _TEAMS)
    assert user.has_node(node, _TEAMS) == (bool(below) and below <= accounts)
    assert user.concerned_by_node(node, _TEAMS) == (node == "firm" or bool(below & accounts))
    assert User("all", None, frozenset()).has_node(node, _TEAMS)


def test_what_is_refused_names_user_and_what_for() -> None:
    user = User("bob", frozenset({"ACC1"}), expanded(["trade"]), frozenset({"AAPL"}))
    user.require("cancel")
    user.require_account("ACC1")
    user.require_symbol("AAPL")
    with pytest.raises(NotEntitled, match="bob is not entitled to 'kill'"):
        user.require("kill")
    with pytest.raises(NotEntitled, match="bob is not entitled to account 'ACC2'"):
        user.require_account("ACC2")
    with pytest.raises(NotEntitled, match="bob is not entitled to trade 'MSFT'"):
        user.require_symbol("MSFT")
    assert user.sees_order("ACC1")
    assert not user.sees_order("ACC2")
    assert not _user("ACC1", actions=()).sees_order("ACC1")


# ---------------------------------------------------------------- whom events concern

_ORDER = OrderTerms("ACC1", "AAPL", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, 1, 1)
_EVENTS: dict[str, ev.Event] = {
    "order": ev.OrderAccepted(7, "c", _ALICE, _ORDER, "SIM"),
    "denial": ev.OrderDenied(_ALICE, _ORDER, Denial("CODE", "firm")),
    "position": ev.PositionAdjusted("ACC1", "alice", "AAPL", 1, 1, _ALICE, "why"),
    "team": ev.LevelSet("firm/alpha", TradingLevel.FREEZE, _ALICE, "why"),
    "trader": ev.NodeBlocked("firm/alpha/ACC1/alice", 1, 1),
    "other team": ev.LimitSet("firm/beta", "max_position", "1", _ALICE, "why"),
    "engine": ev.EngineStarted(1, "v"),
    "session": ev.SessionOpened(_ALICE),
    "answer": ev.Answered(_ALICE, 1, Done()),
    "limits": ev.LimitsLoaded("", "somebody"),
    "unknown report": ev.ReportRefused("SIM", Report(ExecType.TRADE, "x"), "UNKNOWN_ORDER", "?"),
    "report with account": ev.ReportRefused(
        "SIM", Report(ExecType.TRADE, "x", account="ACC1"), "UNKNOWN_ORDER", "?"
    ),
}


@pytest.mark.parametrize(
    ("user", "seen"),
    [
        (_user("ACC1"), {"order", "denial", "position", "team", "trader", "engine", "report with account"}),
        (_user("ACC2"), {"team", "engine"}),
        (_user("ACC3"), {"other team", "engine"}),
        (_user(), {"engine"}),
        (_user("ACC2", name="alice"), {"team", "other team", "engine", "session", "answer"} - {"other team"}),
        (User("all", None, frozenset()), set(_EVENTS)),
    ],
    ids=["its account", "another of its team", "another team", "no account", "himself", "all accounts"],
)
def test_who_reads_what_in_a_drop_copy(user: User, seen: set[str]) -> None:
    assert {name for name, event in _EVENTS.items() if facts_of(event, {}).seen_by(user, _TEAMS)} == seen


def test_facts_name_user_account_and_order() -> None:
    assert facts_of(_EVENTS["order"], {}) == EventFacts("alice", "ACC1", 7)
    assert facts_of(ev.Answered(_ALICE, 1, Accepted(7)), {}) == EventFacts("alice", "", 7)
    assert facts_of(ev.Answered(_ALICE, 1, MassCanceled(())), {}) == EventFacts("alice")
    assert facts_of(_EVENTS["team"], {}).node == "firm/alpha"
