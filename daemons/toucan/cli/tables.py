"""Tables for people; rich draws them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toucan.cli.words import clock_time, iso_time, staged_words, status_words, terms_words
from toucan.client.exact import plain
from toucan.client.instruments import Instrument
from toucan.client.staged_values import StagedOrder
from toucan.client.values import Identity, Level, Limits, MarketData, Order, Position
from toucan.core.values import TradingLevel

__all__ = [
    "book_table",
    "identity_table",
    "instruments_table",
    "limits_table",
    "order_table",
    "orders_table",
    "positions_table",
    "print_table",
    "signed",
    "staged_list_table",
    "staged_table",
]

_SIDE_STYLES = {"BUY": "green", "SELL": "red"}


def print_table(table: Table, width: int | None, if_empty: str) -> None:
    """Prints a table, or a line if it has no rows. ``width`` None: the terminal's."""
    if not table.row_count and if_empty:
        click.echo(if_empty)
        return
    Console(width=width, highlight=False, markup=False).print(table)


def _table(*columns: str) -> Table:
    """A table whose columns that begin with ">" hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        is_number = column.startswith(">")
        table.add_column(
            column.removeprefix(">"), justify="right" if is_number else "left", no_wrap=is_number
        )
    return table


def _pairs(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(name, Text(value))  # Text: nothing in a value is markup
    return table


def _number(number: Decimal | None) -> str:
    return "" if number is None else f"{number:f}"


def signed(number: Decimal | None) -> Text:
    """Money with its sign, red if it was lost."""
    if number is None:
        return Text("")
    return Text(f"{number:+,f}", style="red" if number < 0 else "green" if number > 0 else "")


def orders_table(orders: Iterable[Order]) -> Table:
    """Orders, one a line."""
    table = _table(
        ">id", "side", ">quantity", "symbol", ">price", "", "account", "status", "owner", "updated"
    )
    for order in orders:
        terms = order.terms
        price = "market" if terms.price is None else _number(terms.price)
        extras = [terms.time_in_force.name.lower()] if terms.time_in_force.name != "DAY" else []
        if terms.stop_price is not None:
            extras.append(f"stop {terms.stop_price:f}")
        if terms.post_only:
            extras.append("post-only")
        table.add_row(
            str(order.order_id),
            Text(terms.side.name.lower(), style=_SIDE_STYLES[terms.side.name]),
            plain(terms.quantity),
            terms.symbol,
            price,
            " ".join(extras),
            terms.account,
            Text(status_words(order)),
            order.owner,
            clock_time(order.updated_ns),
        )
    return table


def order_table(order: Order) -> Table:
    """One order, one field a line."""
    requests = [
        f"{request.kind.name.lower()} by {request.by}"
        + (", the venue works on it" if request.is_acknowledged else "")
        for request in order.requests
    ]
    return _pairs(
        [
            ("order", str(order.order_id)),
            ("terms", terms_words(order.terms)),
            ("status", status_words(order)),
            ("filled", f"{plain(order.cum_quantity)} of {plain(order.quantity)}"),
            ("average price", _number(order.average_price)),
            ("still open", plain(order.leaves_quantity)),
            ("on its way", "; ".join(requests)),
            ("owner", order.owner),
            ("session", order.session),
            ("note", order.terms.note),
            ("venue", order.venue),
            ("venue's id", order.venue_order_id),
            ("ClOrdID", order.cl_ord_id),
            ("created", iso_time(order.created_ns)),
            ("updated", f"{iso_time(order.updated_ns)} (event {order.updated_seq})"),
            ("reason", order.reason),
            ("venue says", order.text),
            ("triggered", "yes" if order.is_triggered else ""),
            ("entered elsewhere", "yes" if order.is_external else ""),
        ]
    )


def staged_list_table(staged: Iterable[StagedOrder]) -> Table:
    """Staged orders, one a line."""
    table = _table(">id", "side", ">quantity", "symbol", ">price", "account", "expires", "how it stands")
    for one in staged:
        terms = one.terms
        table.add_row(
            str(one.staged_id),
            Text(terms.side.name.lower(), style=_SIDE_STYLES[terms.side.name]),
            plain(terms.quantity),
            terms.symbol,
            "market" if terms.price is None else _number(terms.price),
            terms.account,
            clock_time(one.expires_ns)[:8] if one.is_pending else "",
            Text(staged_words(one), style="red" if one.is_pending and one.denials else ""),
        )
    return table


def staged_table(staged: StagedOrder) -> Table:
    """One staged order with all that it was, one field a line."""
    history = "\n".join(
        f"{one.revision}. {terms_words(one.terms)}, by {one.by} at {clock_time(one.at_ns)}"
        + (f": {one.why}" if one.why else "")
        for one in staged.revisions
    )
    denials = "\n".join(f"{one.text} ({one.code})" for one in staged.denials)
    return _pairs(
        [
            ("staged order", str(staged.staged_id)),
            ("terms", terms_words(staged.terms)),
            ("how it stands", staged_words(staged)),
            ("revisions", history),
            ("would be denied", denials if staged.is_pending else ""),
            ("worth at most", _number(staged.notional)),
            ("market then", _number(staged.reference_price)),
            ("session", staged.session),
            ("note", staged.terms.note),
            ("proposed", iso_time(staged.proposed_ns)),
            ("expires", iso_time(staged.expires_ns) if staged.is_pending else ""),
            ("updated", f"{iso_time(staged.updated_ns)} (event {staged.updated_seq})"),
        ]
    )


def positions_table(positions: Sequence[Position], *, by_trader: bool) -> Table:
    """Positions, one a line."""
    who = ["account", "trader"] if by_trader else ["account"]
    table = _table(
        *who, "symbol", ">position", ">average", ">mark", ">realised", ">unrealised", "currency", ""
    )
    for position in positions:
        table.add_row(
            position.account,
            *([position.trader] if by_trader else []),
            position.symbol,
            plain(position.quantity),
            _number(position.average_price),
            _number(position.mark_price),
            signed(position.realised_profit),
            signed(position.unrealised_profit),
            position.currency,
            "approximate" if position.is_approximate else "",
        )
    return table


def instruments_table(instruments: Iterable[Instrument]) -> Table:
    """The instrument table."""
    table = _table("symbol", "description", "currency", ">tick", ">lot", ">multiplier", "venue", "session")
    for one in instruments:
        session = (
            f"{'open, closes' if one.is_open else 'closed; next close'} {clock_time(one.session_end_ns)[:5]}"
        )
        table.add_row(
            one.symbol, one.description, one.currency, _number(one.tick), plain(one.lot), str(one.multiplier), one.venue, session
        )  # fmt: skip
    return table


def limits_table(limits: Limits) -> Table:
    """The risk tree with what is used of it."""
    table = _table("node", "level", ">open orders", f">open ({limits.base_currency})", "limits")
    for node in limits.nodes:
        level = node.effective_level.name.lower().replace("_", "-")
        if node.effective_level is not node.level:
            level += " (from above)"
        if node.blocked_until_ns is not None:
            level += f", blocked until {clock_time(node.blocked_until_ns)[:8]}"
        values = "\n".join(f"{limit.name} = {limit.value}" for limit in node.limits)
        is_normal = node.effective_level is TradingLevel.NORMAL
        table.add_row(
            node.node, Text(level, style="" if is_normal else "bold red"), str(node.open_orders), f"{node.open_notional:,f}", Text(values)
        )  # fmt: skip
    return table


def book_table(market: MarketData) -> Table:
    """Bids and offers, best first, beside each other."""
    table = _table(">bid size", ">bid", ">offer", ">offer size")
    bids: Sequence[Level | None] = market.book.bids
    asks: Sequence[Level | None] = market.book.asks
    for index in range(max(len(bids), len(asks))):
        bid = bids[index] if index < len(bids) else None
        ask = asks[index] if index < len(asks) else None
        table.add_row(
            plain(bid.quantity) if bid else "",
            Text(f"{bid.price:f}" if bid else "", style="green"),
            Text(f"{ask.price:f}" if ask else "", style="red"),
            plain(ask.quantity) if ask else "",
        )
    return table


def identity_table(identity: Identity) -> Table:
    """Who one is."""
    return _pairs(
        [
            ("user", identity.user),
            ("accounts", ", ".join(identity.accounts) or "none"),
            ("may", ", ".join(identity.actions) or "nothing"),
            ("symbols", ", ".join(identity.symbols) or "all"),
        ]
    )
