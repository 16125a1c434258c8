"""Whether a request can be carried out as things stand.

Law: judges, and changes nothing. Of several faults the first is told, the firm's own faults before those of the moment, so that the same request in
the same state always has the same answer. What can be judged from the terms alone is :meth:`toucan.core.terms.OrderTerms.validate`'s: the same
rules for whoever sends and for whoever receives.
"""

from __future__ import annotations

from toucan.core.terms import OrderTerms, Problem
from toucan.core.values import OrderType, OrdStatus, TimeInForce
from toucan.core.venue_messages import NewOrder, ReplaceOrder
from toucan.exchange.core.firms import Firm
from toucan.exchange.core.market import Market
from toucan.exchange.core.orders import NEVER_RESTS, VenueOrder
from toucan.exchange.core.reasons import reason_of
from toucan.exchange.limits import ACCOUNT_CHARACTERS_MAX, ID_CHARACTERS_MAX

__all__ = ["Refusal", "is_id", "new_order_refusal", "replace_refusal"]

#: Reason and text; the text is "" where the reason has words of its own.
Refusal = tuple[str, str]


def is_id(text: str) -> bool:
    """Whether something can be the id of a request."""
    return 0 < len(text) <= ID_CHARACTERS_MAX


def new_order_refusal(
    firm: Firm, market: Market | None, message: NewOrder, now_ns: int, open_orders_max: int
) -> Refusal | None:
    """Why a new order is rejected; None: it is not. ``market`` is the one of its symbol."""
    if message.is_possible_resend and firm.has_forgotten:
        return "unknown-resend", ""
    if len(message.account) > ACCOUNT_CHARACTERS_MAX:
        return "bad-account", ""
    if market is None:
        return "unknown-symbol", ""
    problem = _problem(market, message, now_ns)
    if problem is not None:
        return reason_of(problem.code), problem.text
    if len(firm.open_orders) >= open_orders_max:
        return "too-many-orders", ""
    if not market.is_matching:
        is_immediate = message.type is OrderType.MARKET or message.time_in_force in NEVER_RESTS
        if is_immediate and not message.type.has_stop_price:
            return ("halted" if market.is_halted else "closed"), ""
    elif message.post_only and market.opposite_of(message.side).accepts(message.price):
        return "post-only", ""
    return None


def replace_refusal(market: Market, order: VenueOrder, message: ReplaceOrder, now_ns: int) -> Refusal | None:
    """Why a replacement is refused; None: it is not. ``market`` is the order's."""
    if (order.symbol, order.side, order.type) != (message.symbol, message.side, message.type):
        return "order-mismatch", ""
    if not (order.is_open or _can_reopen(order, message.quantity, now_ns)):
        return "too-late", ""
    floor = order.max_floor
    wanted = NewOrder(
        cl_ord_id=message.cl_ord_id,
        account=order.account,
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        time_in_force=order.time_in_force,
        quantity=message.quantity,
        price=message.price,
        # Once it is triggered, whatever is said of the stop price has no meaning any more.
        stop_price=order.stop_price if order.is_triggered else message.stop_price,
        max_floor=None if floor is None else min(floor, message.quantity),
        post_only=order.post_only,
        expire_at_ns=order.expire_at_ns,
    )
    problem = _problem(market, wanted, now_ns)
    if problem is not None:
        return reason_of(problem.code), problem.text
    crosses = market.is_matching and market.opposite_of(order.side).accepts(message.price)
    return ("post-only", "") if order.post_only and crosses else None


def _can_reopen(order: VenueOrder, quantity: int, now_ns: int) -> bool:
    """Whether a filled order may get more and so be open again (C.1.c): not after its time, and not if it cannot rest."""
    is_filled = order.status is OrdStatus.FILLED
    is_in_time = order.expire_at_ns is None or order.expire_at_ns > now_ns
    return is_filled and is_in_time and order.can_rest and quantity > order.cum_quantity


def _problem(market: Market, message: NewOrder, now_ns: int) -> Problem | None:
    terms = OrderTerms(
        account=message.account,
        symbol=message.symbol,
        side=message.side,
        type=message.type,
        time_in_force=message.time_in_force,
        quantity=message.quantity,
        price=message.price,
        stop_price=message.stop_price,
        max_floor=message.max_floor,
        post_only=message.post_only,
        # Engines say when a DAY order ends, too; people do not.
        expire_at_ns=message.expire_at_ns if message.time_in_force is TimeInForce.GTD else None,
    )
    return terms.validate(market.instrument, now_ns)
