"""Trading levels, by hand and by themselves: who may trade, what still passes, how a block ends."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.toucan.core.risk_desk import ALICE, NOW_NS, RiskDesk, S, terms

from toucan.core import events as ev
from toucan.core.controls import Block, Controls, NodeControl
from toucan.core.order import Client
from toucan.core.risk_tree import LimitTree
from toucan.core.values import TradingLevel

PATH = (ALICE, "firm/alpha/ACC1", "firm/alpha", "firm")
LEVELS = list(TradingLevel)


def tree() -> LimitTree:
    return LimitTree("USD", {"alpha": ["ACC1", "ACC2"], "beta": ["ACC3"]})


# ---------------------------------------------------------------- by hand


@pytest.mark.parametrize(("near", "far"), list(itertools.product(LEVELS, LEVELS)))
def test_strictest_level_on_the_path_counts(near: TradingLevel, far: TradingLevel) -> None:
    controls = Controls(tree())
    controls.level_set("firm/alpha/ACC1", near)
    controls.level_set("firm", far)
    controls.level_set("firm/beta", TradingLevel.FREEZE)
    assert controls.level(PATH) is max(near, far)
    node, control = controls.strictest(PATH)
    if near is not TradingLevel.NORMAL and near >= far:
        assert node == "firm/alpha/ACC1"
    assert control.effective is max(near, far)


@pytest.mark.parametrize(
    ("level", "new", "reduction"),
    [
        (TradingLevel.NORMAL, "", ""),
        (TradingLevel.BLOCK_NEW, "TRADING_BLOCKED", ""),
        (TradingLevel.CANCEL_ALL, "TRADING_BLOCKED", ""),
        (TradingLevel.FREEZE, "TRADING_FROZEN", "TRADING_FROZEN"),
    ],
)
@pytest.mark.parametrize("node", PATH)
def test_what_passes_at_each_level(node: str, level: TradingLevel, new: str, reduction: str) -> None:
    desk = RiskDesk()
    order = desk.open(terms())
    desk.level(node, level)
    denial = desk.denial(terms())
    assert (denial.code if denial else "") == new
    if denial is not None:
        assert (denial.node, denial.value) == (node, level.name)
        assert node in denial.text
    assert desk.replace_code(order, quantity=50) == reduction
    assert desk.replace_code(order, quantity=150) == (reduction or new)
    assert desk.code(terms(account="ACC3")) == (new if node == "firm" else "")
    assert desk.risk.level("ACC1", "alice") is level


def test_normal_ends_a_level() -> None:
    controls = Controls(tree())
    controls.level_set("firm", TradingLevel.FREEZE)
    assert controls.control("firm").needs_enable
    controls.level_set("firm", TradingLevel.NORMAL)
    assert not controls.control("firm").needs_enable
    assert (controls.level(PATH), list(controls)) == (TradingLevel.NORMAL, [])


# ---------------------------------------------------------------- automatically


class Denier:
    """Sends orders of 11 where 10 are allowed, and tells what each one leads to."""

    def __init__(self, *limits: tuple[str, str, str]) -> None:
        self.desk = RiskDesk(
            ("firm", "max_order_quantity", "10"), ("firm", "soft_max_order_quantity", "5"), *limits
        )

    def deny(self, quantity: int = 11, trader: str = "alice") -> list[ev.NodeBlocked]:
        wanted = terms(quantity)
        denial = self.desk.denial(wanted, trader)
        assert denial is not None
        event = ev.OrderDenied(Client(trader, "desk"), wanted, denial)
        blocks = self.desk.risk.blocks_after(event, self.desk.now_ns)
        self.desk.risk.denied(event, self.desk.now_ns)
        for block in blocks:
            self.desk.risk.apply(block, self.desk.now_ns)
        return blocks


LIMITS = (
    ("firm/alpha/ACC1", "max_denials", "3"),
    ("firm/alpha/ACC1", "denials_window_s", "10"),
    ("firm/alpha/ACC1", "cooling_off_s", "30"),
)


def test_too_many_denials_block_the_node_until_somebody_enables_it() -> None:
    denier = Denier(*LIMITS)
    desk = denier.desk
    assert denier.deny() == denier.deny(trader="bob") == []
    assert denier.deny() == [ev.NodeBlocked("firm/alpha/ACC1", NOW_NS + 30 * S, 3)]
    denial = desk.denial(terms(1), "carol")
    assert denial is not None
    assert (denial.code, denial.node, denial.value) == ("AUTO_BLOCKED", "firm/alpha/ACC1", "BLOCK_NEW")
    assert desk.code(terms(1, account="ACC2")) == ""
    assert desk.risk.level("ACC1", "alice") is TradingLevel.BLOCK_NEW
    assert desk.risk.cooling_off_until_ns("firm/alpha/ACC1") == NOW_NS + 30 * S
    desk.now_ns += 3600 * S  # time alone lets nobody trade
    assert desk.code(terms(1)) == "AUTO_BLOCKED"
    desk.level("firm/alpha/ACC1", TradingLevel.NORMAL)
    assert desk.code(terms(1)) == ""


def test_cooling_off_runs_to_its_end() -> None:
    controls = Controls(tree())
    controls.blocked("firm", NOW_NS)
    assert controls.cooling_off_ns("firm", NOW_NS - 1) == 1
    assert controls.cooling_off_ns("firm", NOW_NS) == 0
    assert controls.cooling_off_ns("firm/alpha", NOW_NS - 1) == 0
    assert controls.control("firm").needs_enable


def test_denials_count_anew_after_an_enable() -> None:
    denier = Denier(*LIMITS)
    for _ in range(3):
        denier.deny()
    denier.desk.level("firm/alpha/ACC1", TradingLevel.NORMAL)
    assert denier.deny() == denier.deny() == []
    assert len(denier.deny()) == 1


def test_denials_outside_the_window_do_not_count() -> None:
    denier = Denier(*LIMITS)
    denier.deny()
    denier.desk.now_ns += 5 * S
    denier.deny()
    denier.desk.now_ns += 5 * S
    assert denier.deny() == []  # the first one is ten seconds old
    denier.desk.now_ns += 5 * S - 1
    assert len(denier.deny()) == 1


def test_questions_and_denials_of_a_block_do_not_count() -> None:
    denier = Denier(("firm", "max_denials", "2"))
    for _ in range(5):
        assert denier.deny(6) == []  # a soft limit
    denier.desk.level("firm", TradingLevel.BLOCK_NEW)
    for _ in range(5):
        assert denier.deny() == []
    denier.desk.level("firm", TradingLevel.NORMAL)
    assert denier.deny() == []
    assert len(denier.deny()) == 1
    for _ in range(5):
        assert denier.deny() == []  # one block, not one for each denial


def test_node_that_is_blocked_is_not_blocked_again() -> None:
    limits = tree()
    limits.set("firm", "max_denials", "1")
    controls = Controls(limits)
    assert controls.blocks_after_denial(PATH, NOW_NS) == [Block("firm", NOW_NS + 60 * S, 1)]
    controls.blocked("firm", NOW_NS + 60 * S)
    assert controls.blocks_after_denial(PATH, NOW_NS + S) == []


def test_every_node_counts_what_is_below_it() -> None:
    denier = Denier(("firm", "max_denials", "3"), (ALICE, "max_denials", "2"))
    assert denier.deny(trader="bob") == []
    assert denier.deny() == []
    assert [block.node for block in denier.deny()] == [ALICE, "firm"]


def test_block_stays_under_a_level_set_by_hand() -> None:
    controls = Controls(tree())
    controls.blocked("firm", NOW_NS)
    controls.level_set("firm", TradingLevel.FREEZE)
    assert controls.level(PATH) is TradingLevel.FREEZE
    controls.level_set("firm", TradingLevel.CANCEL_ALL)
    assert controls.control("firm") == NodeControl(TradingLevel.CANCEL_ALL, NOW_NS)


def test_levels_follow_an_account_into_another_team() -> None:
    controls = Controls(tree())
    for node in ("firm", "firm/alpha", "firm/alpha/ACC1", "firm/alpha/ACC2/alice"):
        controls.level_set(node, TradingLevel.BLOCK_NEW)
    controls.use_tree(LimitTree("USD", {"gamma": ["ACC1", "ACC2"]}))
    assert [node for node, _ in controls] == ["firm", "firm/gamma/ACC1", "firm/gamma/ACC2/alice"]


times = st.lists(st.integers(0, 40), max_size=40).map(lambda gaps: list(itertools.accumulate(gaps)))


@given(times, st.integers(1, 5), st.integers(1, 100))
def test_block_is_due_exactly_when_enough_denials_are_within_the_window(
    at: list[int], most: int, window: int
) -> None:
    limits = tree()
    limits.set("firm", "max_denials", str(most))
    limits.set("firm", "denials_window_s", f"0.{window:09d}")
    limits.set("firm", "cooling_off_s", "0.000000007")
    controls = Controls(limits)
    for index, now_ns in enumerate(at):
        within = [one for one in at[: index + 1] if now_ns - one < window]
        due = controls.blocks_after_denial(PATH, now_ns)
        if len(within) >= most:
            assert [(block.node, block.until_ns) for block in due] == [("firm", now_ns + 7)]
            assert most <= due[0].denials <= len(within)
        else:
            assert due == []
        controls.denied(PATH, now_ns)
        assert len(controls.dump()["denials"][0][1]) <= most
        assert Controls.load(limits, controls.dump()).dump() == controls.dump()


def test_loaded_controls_go_on_alike() -> None:
    limits = tree()
    limits.set("firm", "max_denials", "2")
    controls = Controls(limits)
    controls.denied(PATH, NOW_NS)
    controls.level_set("firm/beta", TradingLevel.CANCEL_ALL)
    controls.blocked("firm/alpha", NOW_NS)
    loaded = Controls.load(limits, msgspec.msgpack.decode(msgspec.msgpack.encode(controls.dump())))
    assert list(loaded) == list(controls)
    assert loaded.blocks_after_denial(PATH, NOW_NS) == [Block("firm", NOW_NS + 60 * S, 2)]
    assert loaded.dump() == controls.dump()
