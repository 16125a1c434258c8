"""Whether an order may be sent: each limit against what it would lead to, in a fixed order.

Law: a check reads and answers; it changes nothing, so a preview is the same code. The order of checks is that of :data:`CHECKS`, and for each of them
the nearest node to the order comes first: the trader's, the account's, the team's, the firm's. The first one that fails is the answer.

1. whether anybody below the node may trade (account known, room, trading level);
2. what may be traded at all: order types, restricted symbols;
3. how often: message rate, duplicates;
4. the order by itself: reduce-only, quantity, notional, price collar;
5. the order beside others: self-trade, position, open orders, open and gross notional;
6. soft limits, which ask for a confirmation: last, so that what cannot pass anyway is not asked for.

A **replacement** is judged by what it adds: while it is in flight the old terms and the new ones may both come true, so a limit is only looked at
if the worst of both is worse than before, for that limit. So what reduces an order always passes the limits on size, and a block of new orders.

What is not known is not zero: where a limit is on money and the currency or the price is unknown, the order is denied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

from toucan.core.claims import is_more_aggressive
from toucan.core.controls import Controls
from toucan.core.instruments import NUMBER_MAX, Instrument
from toucan.core.outcomes import Denial
from toucan.core.risk_limits import DECIMALS_MAX, LIMITS, LimitKind
from toucan.core.risk_rules import Case, DenialCode, Rule, money_text
from toucan.core.risk_tree import MICROS_DECIMALS, LimitTree
from toucan.core.values import Side, TradingLevel

__all__ = ["CHECKS", "DenialCode", "control_denial", "denials", "rules_for"]

_PERCENT_SCALE: int = 10**DECIMALS_MAX


def denials(case: Case, rules: tuple[Rule, ...], is_confirmed: bool) -> Iterator[Denial]:
    """Every rule that is broken, in their order; the first one is the answer."""
    for rule in rules:
        if rule.is_soft and is_confirmed:
            return  # soft ones are the last
        denial = rule.check(case, rule)
        if denial is not None:
            yield denial


# ---------------------------------------------------------------- 1. whether to trade at all


def control_denial(controls: Controls, path: tuple[str, ...], is_reduction: bool) -> Denial | None:
    """What the trading level says to a new order, or a replacement."""
    node, control = controls.strictest(path)
    level = control.effective
    if level is TradingLevel.NORMAL or (is_reduction and level is not TradingLevel.FREEZE):
        return None
    if level is TradingLevel.FREEZE:
        text = f"{node} is frozen: neither orders nor cancels pass until somebody enables it"
        return Denial(DenialCode.TRADING_FROZEN.name, node, "", level.name, TradingLevel.NORMAL.name, text)
    if control.level is TradingLevel.NORMAL:
        text = f"{node} was blocked after too many denials; somebody must enable it once its cooling-off time is over"
        return Denial(DenialCode.AUTO_BLOCKED.name, node, "", level.name, TradingLevel.NORMAL.name, text)
    text = f"new orders of {node} are blocked ({level.name}); cancels and reductions pass"
    return Denial(DenialCode.TRADING_BLOCKED.name, node, "", level.name, TradingLevel.NORMAL.name, text)


# ---------------------------------------------------------------- 2. what


def _order_type(case: Case, rule: Rule) -> Denial | None:
    kind = case.terms.type.name
    if kind in rule.names or case.is_reduction:
        return None
    allowed = ", ".join(sorted(rule.names))
    text = f"{kind} orders are not allowed"
    return rule.denial(DenialCode.ORDER_TYPE_NOT_ALLOWED, kind, allowed, text)


def _restricted(case: Case, rule: Rule) -> Denial | None:
    symbol = case.terms.symbol
    if symbol not in rule.names or case.is_reduction:
        return None
    return rule.denial(DenialCode.RESTRICTED_SYMBOL, symbol, "", f"{symbol} is restricted")


# ---------------------------------------------------------------- 3. how often


def _rate(case: Case, rule: Rule) -> Denial | None:
    times, most, now_ns = case.usage(rule.node).requests, rule.maximum, case.now_ns
    if most and (len(times) < most or not 0 <= now_ns - times[-most] < rule.window_ns):
        return None
    count = sum(0 <= now_ns - at_ns < rule.window_ns for at_ns in times)
    text = f"{count} requests were sent within {rule.window_ns / 1e9:g} s"
    return rule.denial(DenialCode.MAX_REQUESTS, str(count + 1), str(most), text)


def _duplicate(case: Case, rule: Rule) -> Denial | None:
    if case.old is not None:
        return None
    at_ns = case.exposure.sent_at_ns(case.terms)
    if at_ns is None or not 0 <= case.now_ns - at_ns < rule.window_ns:
        return None
    age, window = f"{(case.now_ns - at_ns) / 1e9:.3f}", f"{rule.window_ns / 1e9:g}"
    text = f"the same order was sent {age} s ago; if it is meant, send it again after {window} s"
    return rule.denial(DenialCode.DUPLICATE_ORDER, age, window, text)


# ---------------------------------------------------------------- 4. the order by itself


def _reduce_only(case: Case, rule: Rule) -> Denial | None:
    terms, added = case.terms, case.quantity
    if not terms.reduce_only or added <= 0:
        return None
    room = max(0, -terms.side.sign * case.held)
    wanted = case.usage(rule.node).symbol(terms.symbol).side(terms.side).reducing + added
    if wanted <= room:
        return None
    shown = case.instrument.quantity_text
    text = f"with other open reduce-only orders {shown(wanted)} could be executed, but a {terms.side.name} can only reduce {shown(room)}"
    return rule.denial(DenialCode.REDUCE_ONLY, shown(wanted), shown(room), text)


def _order_quantity(case: Case, rule: Rule) -> Denial | None:
    quantity = case.terms.quantity
    if quantity <= rule.maximum or (case.old is not None and quantity <= case.old.quantity):
        return None
    value, maximum = map(case.instrument.quantity_text, (quantity, rule.maximum))
    text = f"the quantity {value} is above {maximum}"
    return rule.denial(DenialCode.MAX_ORDER_QUANTITY, value, maximum, text)


def _order_notional(case: Case, rule: Rule) -> Denial | None:
    quantity, price, old = case.terms.quantity, case.price, case.old
    # Where no price is known, the quantities say which is more.
    if old is not None and quantity * max(price, 1) <= old.quantity * max(case.price_of(old), 1):
        return None
    value = case.exposure.notional(case.terms.symbol, quantity, price)
    unknown = _unknown_money(case, rule)
    if unknown is not None or value <= rule.maximum:
        return unknown
    shown, maximum = money_text(value), money_text(rule.maximum)
    text = f"the order is worth {shown} {case.base_currency}, more than {maximum}"
    return rule.denial(DenialCode.MAX_ORDER_NOTIONAL, shown, maximum, text)


def _unknown_money(case: Case, rule: Rule) -> Denial | None:
    """What is missing to say what the order is worth. A soft limit asks about nothing that is unknown."""
    if rule.is_soft:
        return None
    if not case.has_rate:
        currency = case.instrument.currency
        text = f"nobody has said what {currency} is worth; set currency.{currency} of firm"
        return rule.denial(DenialCode.NO_CURRENCY_RATE, currency, case.base_currency, text)
    if not case.price:
        return rule.denial(DenialCode.NO_REFERENCE_PRICE, "", "", _NO_REFERENCE)
    return None


_NO_REFERENCE = "there is no market price to judge the order by; give it a price, or wait for one"


def _collar(case: Case, rule: Rule) -> Denial | None:
    prices = _prices_to_judge(case, rule.is_two_sided)
    if case.old is not None and not prices:
        return None
    market, sign = case.market, case.terms.side.sign
    if market is None:
        return None if rule.is_lenient else rule.denial(DenialCode.NO_REFERENCE_PRICE, "", "", _NO_REFERENCE)
    for price in prices:
        away = abs(price - market) if rule.is_two_sided else (price - market) * sign
        if away * 100 * _PERCENT_SCALE > rule.maximum * market:
            return _beyond_collar(case, rule, price, market, away)
    return None


def _prices_to_judge(case: Case, is_two_sided: bool) -> list[int]:
    """The order's prices; of a replacement those that are new, and (unless they can be too good) not better than before."""
    terms, old = case.terms, case.old
    if old is None:
        return [price for price in (terms.price, terms.stop_price) if price is not None]
    return [
        price
        for price, before in ((terms.price, old.price), (terms.stop_price, old.stop_price))
        if price is not None
        and price != before
        and (is_two_sided or is_more_aggressive(terms.side, price, before))
    ]


def _beyond_collar(case: Case, rule: Rule, price: int, market: int, away: int) -> Denial:
    shown = case.instrument.price_text
    # Rounded up: what is above a limit is never shown as the limit itself.
    value = f"{Decimal(-(-away * 10**6 // market)).scaleb(-4):f}"
    maximum = f"{Decimal(rule.maximum).scaleb(-DECIMALS_MAX).normalize():f}"
    direction = "away from" if rule.is_two_sided else "worse than"
    text = f"the price {shown(price)} is {value} % {direction} the market's {shown(market)}, more than {maximum} %"
    return rule.denial(DenialCode.PRICE_COLLAR, value, maximum, text)


# ---------------------------------------------------------------- 5. the order beside others


def _self_trade(case: Case, rule: Rule) -> Denial | None:
    side, own = case.terms.side, case.after.rest_price
    if own is None or not is_more_aggressive(side, own, case.before.rest_price):
        return None
    others = case.usage(rule.node).symbol(case.terms.symbol).side(side.opposite).prices
    if not others:
        return None
    best = others[0] if side is Side.BUY else others[-1]
    if is_more_aggressive(side, best, own):
        return None
    text = f"a {side.name} at {_at(case, own)} would be executed against an open {side.opposite.name} at {_at(case, best)}"
    return rule.denial(DenialCode.SELF_TRADE, _at(case, own), _at(case, best), text)


def _at(case: Case, price: int) -> str:
    return case.instrument.price_text(price) if 0 < price < NUMBER_MAX else "any price"


def _position(case: Case, rule: Rule) -> Denial | None:
    added, side = case.quantity, case.terms.side
    if added <= 0:
        return None
    usage = case.usage(rule.node).symbol(case.terms.symbol)
    reached = side.sign * usage.position + usage.side(side).quantity + added
    if reached <= rule.maximum:
        return None
    value, maximum = map(case.instrument.quantity_text, (reached, rule.maximum))
    direction = "long" if side is Side.BUY else "short"
    text = f"with all open orders the position could become {value} {direction}, more than {maximum}"
    return rule.denial(DenialCode.MAX_POSITION, value, maximum, text)


def _open_orders(case: Case, rule: Rule) -> Denial | None:
    count = case.usage(rule.node).open_orders + 1
    if case.before.quantity or count <= rule.maximum:
        return None
    text = f"{count} orders would be open, more than {rule.maximum}"
    return rule.denial(DenialCode.MAX_OPEN_ORDERS, str(count), str(rule.maximum), text)


def _open_notional(case: Case, rule: Rule) -> Denial | None:
    used = case.usage(rule.node).open_notional
    return _notional(case, rule, used, DenialCode.MAX_OPEN_NOTIONAL, "all open orders")


def _gross_notional(case: Case, rule: Rule) -> Denial | None:
    usage = case.usage(rule.node)
    used = usage.open_notional + usage.gross_notional
    denial = _notional(case, rule, used, DenialCode.MAX_GROSS_NOTIONAL, "all positions and open orders")
    # What can only reduce passes: who is over the limit must be able to get out.
    return None if denial is None or _can_only_reduce(case) else denial


def _can_only_reduce(case: Case) -> bool:
    side = case.terms.side
    others = case.usage(_account_of(case.path)).symbol(case.terms.symbol).side(side).quantity
    return others + case.quantity <= -side.sign * case.held


def _account_of(path: tuple[str, ...]) -> str:
    return path[1]


def _notional(case: Case, rule: Rule, used: int, code: DenialCode, what: str) -> Denial | None:
    if case.is_reduction:
        return None
    unknown, added = _unknown_money(case, rule), case.notional
    if unknown is not None or added <= 0 or used + added <= rule.maximum:
        return unknown
    value, maximum = money_text(used + added), money_text(rule.maximum)
    text = f"{what} would be worth {value} {case.base_currency}, more than {maximum}"
    return rule.denial(code, value, maximum, text)


# ---------------------------------------------------------------- the rules of a path

_Check = Callable[[Case, Rule], Denial | None]

#: Which limit is checked by what, in this order; the one without a name is what reduce-only orders ask for themselves.
CHECKS: tuple[tuple[str, _Check], ...] = (
    ("allowed_order_types", _order_type),
    ("restricted_symbols", _restricted),
    ("max_requests", _rate),
    ("duplicate_window_s", _duplicate),
    ("", _reduce_only),
    ("max_order_quantity", _order_quantity),
    ("max_order_notional", _order_notional),
    ("price_collar_percent", _collar),
    ("prevent_self_trade", _self_trade),
    ("max_position", _position),
    ("max_open_orders", _open_orders),
    ("max_open_notional", _open_notional),
    ("max_gross_notional", _gross_notional),
    ("soft_max_order_quantity", _order_quantity),
    ("soft_max_order_notional", _order_notional),
    ("soft_collar_percent", _collar),
)


#: How many decimals of a limit count, where that does not depend on the instrument.
_DECIMALS = {LimitKind.MONEY: MICROS_DECIMALS, LimitKind.PERCENT: DECIMALS_MAX, LimitKind.SECONDS: 9}


def rules_for(tree: LimitTree, path: tuple[str, ...], instrument: Instrument) -> tuple[Rule, ...]:
    """What is to be checked for orders with this path in this instrument, in the order of the checks."""
    rules = []
    for limit, check in CHECKS:
        if not limit:
            rules.append(Rule(check, _account_of(path), ""))
            continue
        found = (_rule(tree, node, limit, check, instrument) for node in path)
        rules.extend(rule for rule in found if rule is not None)
    return tuple(rules)


def _rule(tree: LimitTree, node: str, limit: str, check: _Check, instrument: Instrument) -> Rule | None:
    value = tree.value(node, limit, instrument.symbol)
    if value is None or value is False:
        return None
    is_soft = limit.startswith("soft_")
    if isinstance(value, tuple):
        return Rule(check, node, limit, names=frozenset(value))
    kind = LIMITS[limit].kind
    if kind is LimitKind.FLAG:
        return Rule(check, node, limit)
    decimals = instrument.quantity_decimals if kind is LimitKind.QUANTITY else _DECIMALS.get(kind, 0)
    maximum = tree.number(node, limit, decimals, instrument.symbol) or 0
    return Rule(
        check,
        node,
        limit,
        maximum=maximum,
        window_ns=maximum if kind is LimitKind.SECONDS else tree.number(node, "requests_window_s", 9) or 0,
        is_lenient=is_soft or tree.value(node, "collar_without_reference") == "allow",
        is_two_sided=not is_soft and tree.value(node, "collar_side") == "both",
        is_soft=is_soft,
    )
