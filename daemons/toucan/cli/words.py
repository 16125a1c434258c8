"""Orders and numbers as a person says them: "buy 100 AAPL @ 189.50 ioc", and back."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import click

from toucan.client.exact import plain
from toucan.client.staged_values import StagedOrder
from toucan.client.terms import MARKET
from toucan.client.values import Fill, Order, OrderTerms, TradeKind, Trades
from toucan.core.values import OrdStatus, StagedState, TimeInForce

__all__ = [
    "OrderWords",
    "clock_time",
    "fill_words",
    "iso_time",
    "order_words",
    "staged_words",
    "status_words",
    "terms_words",
    "trade_lines",
]

_MARKET_WORDS = ("market", "mkt")
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class OrderWords:
    """What the words after "buy" say. ``price`` None: it was not said."""

    quantity: str
    symbol: str
    price: str | None


def order_words(words: Sequence[str], example: str) -> OrderWords:
    """Reads ``QUANTITY SYMBOL [@] PRICE`` or ``QUANTITY SYMBOL market``. Raises click.UsageError that shows ``example``."""
    rest = [part for word in words for part in _parted(word)]
    if len(rest) < 2:
        raise click.UsageError(f"an order is a quantity, a symbol and a price: {example}")
    quantity, symbol, *price = rest
    if not _is_number(quantity) and _is_number(symbol):
        raise click.UsageError(f"the quantity comes first: {example}")
    if price and price[0] in ("@", "at"):
        price = price[1:]
        if not price:
            raise click.UsageError(f"a price follows the {rest[2]}: {example}")
    if len(price) > 1:
        raise click.UsageError(
            f"what is {' '.join(price[1:])!r}? An order is a quantity, a symbol and a price: {example}"
        )
    if not price:
        return OrderWords(quantity, symbol, None)
    return OrderWords(quantity, symbol, MARKET if price[0].lower() in _MARKET_WORDS else price[0])


def _parted(word: str) -> list[str]:
    """ "@189.50" is two words."""
    return ["@", word[1:]] if word.startswith("@") and len(word) > 1 else [word]


def _is_number(word: str) -> bool:
    return word[:1].isdigit() or word[:1] in ".-+"


def terms_words(terms: OrderTerms) -> str:
    """ "buy 100 AAPL @ 189.50 ioc for ACC1", with what else is said."""
    words = [terms.side.name.lower(), plain(terms.quantity), terms.symbol]
    words.append(MARKET if terms.price is None else f"@ {terms.price:f}")
    if terms.stop_price is not None:
        words.append(f"stop {terms.stop_price:f}")
    if terms.time_in_force is not TimeInForce.DAY:
        words.append(terms.time_in_force.name.lower())
    if terms.expire_at_ns is not None:
        words.append(f"until {iso_time(terms.expire_at_ns)}")
    if terms.max_floor is not None:
        words.append(f"showing {plain(terms.max_floor)}")
    words += [
        name for name, is_on in (("post-only", terms.post_only), ("reduce-only", terms.reduce_only)) if is_on
    ]
    return " ".join([*words, "for", terms.account])


def status_words(order: Order) -> str:
    """ "partially filled, 40 of 100 @ 189.45"."""
    words = order.status.name.lower().replace("_", " ")
    if order.cum_quantity:
        done = f"{plain(order.cum_quantity)} of {plain(order.quantity)}"
        words += f", {done}" if order.average_price is None else f", {done} @ {plain(order.average_price)}"
    if order.requests and order.status is not OrdStatus.PENDING_NEW:
        words += f", {' and '.join(request.kind.name.lower() for request in order.requests)} on its way"
    why = order.text or order.reason
    return f"{words} ({why})" if why else words


def staged_words(staged: StagedOrder) -> str:
    """ "proposed by bot: below its mean", or how it was decided."""
    if staged.is_pending:
        words = f"proposed by {staged.proposer}: {staged.why}"
        if staged.revision > 1:
            last = staged.revisions[-1]
            words += f"; amended by {last.by}: {last.why}" if last.why else f"; amended by {last.by}"
        if staged.denials:
            words += f" (would be denied now: {staged.denials[0].text})"
        return words
    status, why = staged.status.name.lower(), f": {staged.decided_why}" if staged.decided_why else ""
    if staged.order_id is not None:
        return f"{status} by {staged.decided_by} as order {staged.order_id}{why}"
    if staged.status is StagedState.EXPIRED:
        return f"{status} ({staged.decided_why})"
    return f"{status} by {staged.decided_by}{why}"


def fill_words(order: Order, fill: Fill) -> str:
    """ "bought 40 AAPL @ 189.45 for ACC1"."""
    did = "bought" if order.side.sign > 0 else "sold"
    return f"{did} {plain(fill.quantity)} {order.symbol} @ {fill.price:f} for {order.account}"


def trade_lines(trades: Trades) -> list[str]:
    """A line for each, such as "14:05:01.123  AAPL  100 @ 189.50  buy", and before them one for what was left out."""
    lines = []
    if trades.left_out:
        quantity = plain(trades.left_out_quantity)
        lines.append(f"{trades.symbol}: {trades.left_out} trades left out, with {quantity} traded in them")
    for one in trades.trades:
        side = "" if one.aggressor is None else f"  {one.aggressor.name.lower()}"
        about = "" if one.kind is TradeKind.TRADE else f"  {one.kind.name} of trade {one.trade_number or '?'}"
        lines.append(
            f"{clock_time(one.at_ns)}  {one.symbol}  {plain(one.quantity)} @ {one.price:f}{side}{about}"
        )
    return lines


def iso_time(at_ns: int) -> str:
    """UTC, with all nanoseconds: "2026-01-02T03:04:05.123456789Z"."""
    seconds, rest = divmod(at_ns, _NS)
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def clock_time(at_ns: int) -> str:
    """The local time of day: "14:05:01.123"."""
    seconds, rest = divmod(at_ns, _NS)
    return f"{datetime.datetime.fromtimestamp(seconds):%H:%M:%S}.{rest // 1_000_000:03d}"
