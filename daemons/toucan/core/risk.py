"""Risk as one part of the engine's state: the limits, how much of them is used, who may trade; and the questions that are asked of it.

Law: facts come from events and orders that were applied, and are never refused; questions change nothing. What is asked with (the time, the market,
the instrument) comes as arguments. Without a limits file nobody has an account, so nobody can trade.

The instrument table and market prices are not part of the state: :meth:`Risk.use_instruments` and :meth:`Risk.mark` give them to what is derived
from it, after every load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toucan.core import events as ev
from toucan.core.claims import Claim, own_price, worst_claim, worst_price
from toucan.core.controls import Controls
from toucan.core.exposure import NODES_MAX, Exposure
from toucan.core.instruments import Instrument
from toucan.core.order import Order, OrderState
from toucan.core.outcomes import Denial
from toucan.core.positions import Positions
from toucan.core.risk_checks import control_denial, denials, rules_for
from toucan.core.risk_document import tree_of
from toucan.core.risk_limits import InvalidLimit
from toucan.core.risk_rules import Case, DenialCode, Rule, money_text
from toucan.core.risk_tree import LimitTree, UnknownNode
from toucan.core.terms import OrderTerms
from toucan.core.values import RequestKind, TradingLevel
from toucan.core.venue_messages import Quote

__all__ = ["RULES_KEPT_MAX", "Risk", "claim_of", "reference_price"]

#: Ready rules of a trader, an account and a symbol that are kept; beyond that they are made again.
RULES_KEPT_MAX = 100_000

#: The states in which a replacement may still come true.
_REPLACEABLE = (OrderState.PENDING_NEW, OrderState.WORKING)

#: Denials that do not count towards an automatic block: a question, and what a block itself leads to.
_NOT_COUNTED = frozenset(
    code.name
    for code in (
        DenialCode.SOFT_LIMIT,
        DenialCode.TRADING_FROZEN,
        DenialCode.TRADING_BLOCKED,
        DenialCode.AUTO_BLOCKED,
        DenialCode.UNKNOWN_ACCOUNT,
    )
)


def reference_price(quote: Quote | None) -> int | None:
    """What the market pays: the last trade's price, moved into the spread if the book has left it; else the middle of the spread; else None.

    A book with one side only and no trade is no market: one order alone could name any price.
    """
    if quote is None:
        return None
    bid, ask, last = quote.bid_price, quote.ask_price, quote.last_price
    if last is None:
        return None if bid is None or ask is None else (bid + ask) // 2
    if bid is not None and last < bid:
        return bid
    return ask if ask is not None and last > ask else last


def claim_of(order: Order, wanted: OrderTerms | None = None) -> Claim:
    """What an order may still do at its worst, with everything in flight, and with one more replacement if it is ``wanted``."""
    replacements = []
    if order.requests and order.state in _REPLACEABLE:
        replacements = [request.terms for request in order.requests if request.terms is not None]
    if wanted is not None:
        replacements.append(wanted)
    return worst_claim(
        order.terms, order.leaves_quantity, order.cum_quantity, replacements, order.is_triggered
    )


class Risk:
    """The state; see the law above. ``tree`` is replaced by every limits file that is loaded."""

    def __init__(self, tree: LimitTree | None = None) -> None:
        self.tree = tree or LimitTree("USD", {})
        self.exposure = Exposure(self.tree)
        self.controls = Controls(self.tree)
        self._rules: dict[tuple[str, str, str], tuple[int, Instrument, tuple[Rule, ...]]] = {}

    # ------------------------------------------------------------ facts

    def requested(self, order: Order, at_ns: int) -> None:
        """The order's last request goes to its venue; nothing if it was entered there by another way."""
        if not order.requests:
            return
        account, trader = order.terms.account, order.owner.user
        self.exposure.request_sent(account, trader, at_ns)
        if order.requests[-1].kind is RequestKind.NEW:
            self.exposure.order_sent(trader, order.terms, at_ns)

    def order_changed(self, order: Order) -> None:
        """An order is new, or anything about it has changed, or it is over."""
        self.exposure.order_changed(order.order_id, order.owner.user, order.terms, claim_of(order))

    def position_changed(self, account: str, trader: str, symbol: str, positions: Positions) -> None:
        """A trader's position has changed."""
        quantity = positions.quantity(account, symbol, trader)
        self.exposure.position_changed(
            account, trader, symbol, quantity, positions.last_price(account, symbol)
        )

    def denied(self, event: ev.OrderDenied, at_ns: int) -> None:
        """A request was denied."""
        if event.denial.code not in _NOT_COUNTED:
            self.controls.denied(self.tree.path(event.terms.account, event.owner.user), at_ns)

    def apply(self, event: ev.LimitsLoaded | ev.LimitSet | ev.LevelSet | ev.NodeBlocked, at_ns: int) -> None:
        """Limits or levels have changed."""
        match event:
            case ev.LimitsLoaded():
                self.tree = tree_of(event.document)
                self._rules.clear()
                self.exposure.use_tree(self.tree)
                self.controls.use_tree(self.tree)
            case ev.LimitSet():
                self.tree.set(event.node, event.limit, event.value)
                if event.limit.startswith("currency."):
                    self.exposure.rebuild()
            case ev.LevelSet():
                self.controls.level_set(event.node, event.level)
            case ev.NodeBlocked():
                self.controls.blocked(event.node, event.until_ns)

    # ------------------------------------------------------------ what is not in the journal

    def use_instruments(self, instruments: Mapping[str, Instrument]) -> None:
        """Gives the table by which quantities are worth money; before, every order is denied where there is a limit on money."""
        self.exposure.use_instruments(instruments)

    def mark(self, symbol: str, price: int) -> None:
        """What the market pays for a symbol now."""
        self.exposure.mark(symbol, price)

    # ------------------------------------------------------------ may it be sent?

    def deny_new(
        self,
        terms: OrderTerms,
        trader: str,
        instrument: Instrument,
        quote: Quote | None,
        positions: Positions,
        now_ns: int,
        is_confirmed: bool,
    ) -> Denial | None:
        """Why a new order of ``trader`` may not be sent; None: it may. With ``is_confirmed`` soft limits are passed."""
        account = terms.account
        if not self.tree.knows_account(account):
            text = f"no team has the account {account[:64]}; add it to the limits file"
            return Denial(DenialCode.UNKNOWN_ACCOUNT.name, "firm", "", account[:64], "", text)
        if not self.exposure.has_room_for(account, trader):
            text = (
                f"more traders and accounts have sent orders than the {NODES_MAX:,} nodes that can be counted"
            )
            return Denial(DenialCode.TOO_MANY_TRADERS.name, "firm", "", "", str(NODES_MAX), text)
        case = self._case(
            terms, trader, instrument, quote, positions, now_ns, worst_claim(terms, terms.quantity)
        )
        return self._judge(case, trader, is_confirmed)

    def deny_replace(
        self,
        order: Order,
        terms: OrderTerms,
        trader: str,
        instrument: Instrument,
        quote: Quote | None,
        positions: Positions,
        now_ns: int,
        is_confirmed: bool,
    ) -> Denial | None:
        """Why an order may not be given other terms; None: it may. ``trader`` asks, but the order's owner's limits count."""
        owner = order.owner.user
        case = self._case(terms, owner, instrument, quote, positions, now_ns, claim_of(order, terms))
        pending = [request.terms for request in order.requests if request.terms is not None]
        case.old = pending[-1] if pending else order.terms
        case.before = claim_of(order)
        case.counted = self.exposure.open_notional(order.order_id)
        return self._judge(case, owner, is_confirmed)

    def _case(
        self,
        terms: OrderTerms,
        trader: str,
        instrument: Instrument,
        quote: Quote | None,
        positions: Positions,
        now_ns: int,
        after: Claim,
    ) -> Case:
        return Case(
            terms=terms,
            instrument=instrument,
            path=self.tree.path(terms.account, trader),
            exposure=self.exposure,
            base_currency=self.tree.base_currency,
            now_ns=now_ns,
            market=reference_price(quote),
            held=positions.quantity(terms.account, terms.symbol),
            after=after,
        )

    def _judge(self, case: Case, trader: str, is_confirmed: bool) -> Denial | None:
        denial = control_denial(self.controls, case.path, case.is_reduction)
        if denial is not None:
            return denial
        return next(denials(case, self._rules_for(case, trader), is_confirmed), None)

    def _rules_for(self, case: Case, trader: str) -> tuple[Rule, ...]:
        key = (case.terms.account, trader, case.terms.symbol)
        version, instrument, rules = self._rules.get(key, (-1, None, ()))
        if version != self.tree.version or instrument is not case.instrument:
            if len(self._rules) >= RULES_KEPT_MAX:
                self._rules.clear()
            rules = rules_for(self.tree, case.path, case.instrument)
            self._rules[key] = (self.tree.version, case.instrument, rules)
        return rules

    def notional_text(self, terms: OrderTerms, instrument: Instrument, quote: Quote | None) -> str:
        """What an order is worth in the base currency, decimal; empty if no price or no rate is known."""
        price = worst_price(terms.side, own_price(terms), reference_price(quote))
        if not price or not self.exposure.has_rate(instrument.symbol):
            return ""
        return money_text(self.exposure.notional(instrument.symbol, terms.quantity, price))

    # ------------------------------------------------------------ levels

    def level(self, account: str, trader: str) -> TradingLevel:
        """What holds for orders of a trader for an account: cancels pass unless it is FREEZE."""
        return self.controls.level(self.tree.path(account, trader))

    def blocks_after(self, denied: ev.OrderDenied, now_ns: int) -> list[ev.NodeBlocked]:
        """The automatic blocks that this denial makes due; ask before it is applied."""
        if denied.denial.code in _NOT_COUNTED:
            return []
        path = self.tree.path(denied.terms.account, denied.owner.user)
        return [
            ev.NodeBlocked(block.node, block.until_ns, block.denials)
            for block in self.controls.blocks_after_denial(path, now_ns)
        ]

    def cooling_off_until_ns(self, node: str) -> int:
        """Before when nobody can enable a node that was blocked automatically; 0 if it is not blocked."""
        return self.controls.control(node).blocked_until_ns or 0

    def reduce_only_excess(self, account: str, symbol: str) -> list[int]:
        """Reduce-only orders that should be cancelled, since the position is no longer large enough for them; the newest first."""
        return self.exposure.reduce_only_excess(account, symbol)

    # ------------------------------------------------------------ nodes

    def has_account(self, account: str) -> bool:
        """Whether a team has the account."""
        return self.tree.knows_account(account)

    def has_node(self, node: str) -> bool:
        """Whether there is, or can be, such a node."""
        try:
            self.tree.check_node(node)
        except UnknownNode:
            return False
        return True

    def is_below(self, account: str, trader: str, node: str) -> bool:
        """Whether orders of a trader for an account count for a node."""
        return node in self.tree.path(account, trader)

    def limit_problem(self, node: str, limit: str, value: str | None) -> str | None:
        """Why a limit cannot be set to this; None: it can."""
        try:
            self.tree.check(node, limit, value)
        except (UnknownNode, InvalidLimit) as error:
            return str(error)
        return None

    # ------------------------------------------------------------ snapshots

    def dump(self) -> dict[str, Any]:
        """All of it in builtins: equal histories give equal dumps."""
        return {
            "tree": self.tree.dump(),
            "exposure": self.exposure.dump(),
            "controls": self.controls.dump(),
        }

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Risk:
        """The opposite of :meth:`dump`. Instruments and market prices are to be given anew."""
        risk = cls(LimitTree.load(dumped["tree"]))
        risk.exposure = Exposure.load(risk.tree, dumped["exposure"])
        risk.controls = Controls.load(risk.tree, dumped["controls"])
        return risk
