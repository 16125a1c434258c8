"""What ``--json`` prints, as tables of fields: the same table makes the object and its documentation.

Law: stable. A field is never renamed, removed or given another meaning, only added. Prices, quantities and money are decimal numbers in text, times
are ISO 8601 in UTC in text, ids and event numbers are whole numbers. What is absent is null, and never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from toucan.cli.exits import Interrupted, kind_of
from toucan.cli.words import iso_time
from toucan.client.errors import Denied, OutcomeUnknown, ToucanError
from toucan.client.exact import plain

__all__ = [
    "DENIAL",
    "ERROR",
    "EVENT",
    "FILL",
    "IDENTITY",
    "INSTRUMENT",
    "LEVEL",
    "MARKET",
    "NODE",
    "ORDER",
    "POSITION",
    "PREVIEW",
    "REQUEST",
    "REVISION",
    "STAGED",
    "STAGED_UPDATE",
    "TRADE",
    "TRADES",
    "UPDATE",
    "Fields",
    "JsonField",
]


@dataclass(frozen=True, slots=True)
class JsonField:
    """One field: its type and meaning for people, and how it is had from a value."""

    name: str
    kind: str
    text: str
    of: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Fields:
    """An object: its title in the documentation and its fields in order."""

    title: str
    fields: tuple[JsonField, ...]

    def of(self, value: object) -> dict[str, object]:
        """The object of a value."""
        return {field.name: field.of(value) for field in self.fields}

    def each(self, found: Iterable[object]) -> list[dict[str, object]]:
        """The objects of several."""
        return [self.of(value) for value in found]


def _number(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


def _quantity(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else iso_time(at_ns)


def _word(member: Any) -> str | None:
    return None if member is None else str(member.name).lower().replace("_", "-")


def _text(name: str, text: str) -> JsonField:
    return JsonField(name, "text", text, lambda value: getattr(value, name))


def _flag(name: str, text: str) -> JsonField:
    return JsonField(name, "true or false", text, lambda value: getattr(value, name))


def _whole(name: str, text: str) -> JsonField:
    return JsonField(name, "whole number", text, lambda value: getattr(value, name))


_SIDE = 'Either "buy" or "sell".'

LEVEL = Fields(
    "Level",
    (
        JsonField("price", "number", "Price.", lambda level: _number(level.price)),
        JsonField("quantity", "number", "Quantity.", lambda level: _quantity(level.quantity)),
        JsonField(
            "orders",
            "whole number",
            "How many orders; 0: not said, or of a trade.",
            lambda level: level.orders,
        ),
    ),
)

_TERMS = (
    JsonField("account", "text", "The account that it is for.", lambda order: order.terms.account),
    JsonField("symbol", "text", "Instrument.", lambda order: order.terms.symbol),
    JsonField("side", "word", _SIDE, lambda order: _word(order.terms.side)),
    JsonField("type", "word", '"market", "limit", "stop" or "stop-limit".', lambda order: _word(order.terms.type)),
    JsonField("time_in_force", "word", '"day", "gtc", "ioc", "fok" or "gtd".', lambda order: _word(order.terms.time_in_force)),
    JsonField("quantity", "number", "All of it, also what is filled.", lambda order: _quantity(order.terms.quantity)),
    JsonField("price", "number or null", "Limit price.", lambda order: _number(order.terms.price)),
    JsonField("stop_price", "number or null", "Stop price.", lambda order: _number(order.terms.stop_price)),
    JsonField("max_floor", "number or null", "The most that is shown at a time.", lambda order: _quantity(order.terms.max_floor)),
    JsonField("post_only", "true or false", "Never executed on arrival.", lambda order: order.terms.post_only),
    JsonField("reduce_only", "true or false", "Never does more than close the position.", lambda order: order.terms.reduce_only),
    JsonField("expire_at", "time or null", "When it expires (gtd).", lambda order: _time(order.terms.expire_at_ns)),
    JsonField("note", "text", "The client's own note.", lambda order: order.terms.note),
)  # fmt: skip

REQUEST = Fields(
    "Request on its way",
    (
        JsonField("kind", "word", '"new", "cancel" or "replace".', lambda request: _word(request.kind)),
        _text("cl_ord_id", "FIX ClOrdID."),
        _flag("is_acknowledged", "Whether the venue works on it."),
        _text("by", "Who asked."),
    ),
)

ORDER = Fields(
    "Order",
    (
        _whole("order_id", "Its number, unique for ever."),
        *_TERMS,
        _text("owner", "The user who entered it."),
        _text("session", "His session."),
        _text("venue", "Where it is."),
        JsonField("status", "word", 'FIX 39, such as "new", "partially-filled", "filled", "rejected".', lambda order: _word(order.status)),
        _flag("is_open", "Whether something may still be executed."),
        JsonField("cum_quantity", "number", "What was executed.", lambda order: _quantity(order.cum_quantity)),
        JsonField("leaves_quantity", "number", "What can still be executed.", lambda order: _quantity(order.leaves_quantity)),
        JsonField("average_price", "number or null", "Of what was executed.", lambda order: _number(order.average_price)),
        JsonField("requests", "list of requests", "Sent to the venue and not answered for good.", lambda order: REQUEST.each(order.requests)),
        _text("venue_order_id", "The venue's own id."),
        _text("cl_ord_id", "FIX ClOrdID of the last request that the venue has accepted."),
        JsonField("created_at", "time", "When it was accepted.", lambda order: _time(order.created_ns)),
        JsonField("updated_at", "time", "When it changed last.", lambda order: _time(order.updated_ns)),
        _whole("updated_seq", "The event that changed it last."),
        _text("reason", "Why it ended or what was refused last, for programs."),
        _text("text", "The same in the venue's words."),
        _flag("is_triggered", "A stop order whose price was reached."),
        _flag("is_external", "Entered at the venue by other ways."),
    ),
)  # fmt: skip

FILL = Fields(
    "Fill",
    (
        _text("exec_id", "The venue's id."),
        _text("exec_ref_id", "Of the execution that is cancelled or corrected; empty for a trade."),
        JsonField("quantity", "number", "Quantity.", lambda fill: _quantity(fill.quantity)),
        JsonField("price", "number", "Price.", lambda fill: _number(fill.price)),
    ),
)

UPDATE = Fields(
    "Order update",
    (
        JsonField("type", "word", '"order".', lambda update: "order"),
        _whole("seq", "Position in the engine's history."),
        _text("event", 'What happened here, such as "OrderAccepted", or "Reported" for what the venue said.'),
        JsonField("execution_type", "word or null", 'FIX 150, such as "new", "trade", "canceled".', lambda update: _word(update.execution_type)),
        _flag("is_snapshot", "How the order stands, and no change."),
        JsonField("at", "time", "When.", lambda update: _time(update.at_ns)),
        JsonField("order", "order", "The order after it.", lambda update: ORDER.of(update.order)),
        JsonField("fill", "fill or null", "What was executed.", lambda update: update.fill and FILL.of(update.fill)),
    ),
)  # fmt: skip

POSITION = Fields(
    "Position",
    (
        JsonField("type", "word", '"position".', lambda position: "position"),
        _text("account", "Account."),
        _text("trader", "Trader within it; empty: the whole account."),
        _text("symbol", "Instrument."),
        JsonField("quantity", "number", "Negative: short.", lambda position: _quantity(position.quantity)),
        JsonField("average_price", "number or null", "Of what is open.", lambda position: _number(position.average_price)),
        JsonField("realised_profit", "number", "In the currency.", lambda position: _number(position.realised_profit)),
        JsonField("unrealised_profit", "number or null", "At the mark price.", lambda position: _number(position.unrealised_profit)),
        JsonField("mark_price", "number or null", "Last trade, or the middle of the book.", lambda position: _number(position.mark_price)),
        JsonField("bought_quantity", "number", "Bought in all.", lambda position: _quantity(position.bought_quantity)),
        JsonField("sold_quantity", "number", "Sold in all.", lambda position: _quantity(position.sold_quantity)),
        _text("currency", "Of prices and profits."),
        _flag("is_approximate", "A very old execution was cancelled."),
        _whole("updated_seq", "The event that changed it last."),
    ),
)  # fmt: skip


def _level_of(name: str) -> Callable[[Any], object]:
    return lambda data: None if getattr(data, name) is None else LEVEL.of(getattr(data, name))


MARKET = Fields(
    "Market data",
    (
        JsonField("type", "word", '"market".', lambda data: "market"),
        _text("symbol", "Instrument."),
        JsonField("bid", "level or null", "Best bid.", _level_of("bid")),
        JsonField("ask", "level or null", "Best offer.", _level_of("ask")),
        JsonField("last", "level or null", "Last trade.", _level_of("last")),
        JsonField("volume", "number", "Traded today.", lambda data: _quantity(data.volume)),
        _flag("is_halted", "Trading is halted."),
        JsonField("at", "time", "The venue's time of this.", lambda data: _time(data.at_ns)),
        JsonField(
            "bids",
            "list of levels",
            "Best first; if depth is asked for.",
            lambda data: LEVEL.each(data.book.bids),
        ),
        JsonField(
            "asks",
            "list of levels",
            "Best first; if depth is asked for.",
            lambda data: LEVEL.each(data.book.asks),
        ),
    ),
)

TRADE = Fields(
    "Trade",
    (
        _whole("number", "Counts the lines of the symbol's tape, within one life of the venue."),
        JsonField("kind", "word", '"trade", "bust" or "correction".', lambda trade: _word(trade.kind)),
        _whole("trade_number", "The line that said that the trade was made; 0: not known."),
        JsonField("price", "number", "Price.", lambda trade: _number(trade.price)),
        JsonField("quantity", "number", "Quantity.", lambda trade: _quantity(trade.quantity)),
        JsonField(
            "aggressor", "word or null", "Side of the order that met one that waited; null: there was none.",
            lambda trade: None if trade.aggressor is None else _word(trade.aggressor),
        ),
        JsonField("at", "time", "The venue's time.", lambda trade: _time(trade.at_ns)),
    ),
)  # fmt: skip

TRADES = Fields(
    "Trades",
    (
        JsonField("type", "word", '"trades".', lambda trades: "trades"),
        _text("symbol", "Instrument."),
        _text("life", "Names the count of the lines' numbers."),
        _whole("left_out", "Lines before these that were not told."),
        JsonField(
            "left_out_quantity",
            "number",
            "Traded in those.",
            lambda trades: _quantity(trades.left_out_quantity),
        ),
        JsonField("trades", "list of trades", "Oldest first.", lambda trades: TRADE.each(trades.trades)),
    ),
)

EVENT = Fields(
    "Event",
    (
        JsonField("type", "word", '"event".', lambda event: "event"),
        _whole("seq", "Position in the engine's history."),
        JsonField("at", "time", "When.", lambda event: _time(event.at_ns)),
        _text("event", 'Such as "OrderAccepted", "OrderDenied", "Reported", "LevelSet".'),
        _text("user", "Who caused it; empty: the venue."),
        _text("account", "Account, if it concerns one."),
        _whole("order_id", "Order; 0 if it concerns none."),
        JsonField("json", "text", "The whole event.", lambda event: event.json),
    ),
)

INSTRUMENT = Fields(
    "Instrument",
    (
        _text("symbol", "Symbol."),
        _text("description", "For people."),
        _text("currency", "Of its prices."),
        _text("venue", "Where orders for it go."),
        JsonField("tick", "number", "Prices are multiples of it.", lambda one: _number(one.tick)),
        JsonField("lot", "number", "Quantities are multiples of it.", lambda one: _quantity(one.lot)),
        _whole("multiplier", "What quantity 1 at price 1 is worth."),
        _flag("is_open", "Whether its session is on."),
        JsonField("session_end", "time", "When the session closes that is on or comes next.", lambda one: _time(one.session_end_ns)),
    ),
)  # fmt: skip

DENIAL = Fields(
    "Denial",
    (
        _text("code", 'Such as "MAX_ORDER_QUANTITY".'),
        _text("node", "Path of the node whose limit it is."),
        _text("limit", "Name of the limit."),
        _text("value", "What the order would lead to."),
        _text("maximum", "What is allowed."),
        _text("text", "For people."),
        _flag("can_be_confirmed", "A soft limit: `--yes` passes it."),
    ),
)

REVISION = Fields(
    "Revision",
    (
        _whole("revision", "From 1, the proposal."),
        JsonField("quantity", "number", "Quantity.", lambda one: _quantity(one.terms.quantity)),
        JsonField("price", "number or null", "Limit price.", lambda one: _number(one.terms.price)),
        JsonField("stop_price", "number or null", "Stop price.", lambda one: _number(one.terms.stop_price)),
        _text("by", "Who wrote it."),
        _text("why", "Why, in his words."),
        JsonField("at", "time", "When.", lambda one: _time(one.at_ns)),
    ),
)

STAGED = Fields(
    "Staged order",
    (
        _whole("staged_id", "Its number, unique for ever among staged orders."),
        *_TERMS,
        _text("proposer", "The user who proposed it, and owns the order that it becomes."),
        _text("session", "His session."),
        _text("why", "Why he proposes it."),
        JsonField("status", "word", '"proposed", "released", "rejected", "withdrawn" or "expired".', lambda one: _word(one.status)),
        _whole("revision", "The number of its last revision."),
        JsonField("revisions", "list of revisions", "All that it was, the oldest first.", lambda one: REVISION.each(one.revisions)),
        JsonField("denials", "list of denials", "What would be denied if it was released; empty: nothing.", lambda one: DENIAL.each(one.denials)),
        JsonField("notional", "number or null", "At its worst, in the base currency.", lambda one: _number(one.notional)),
        JsonField("reference_price", "number or null", "The market's price at its last revision.", lambda one: _number(one.reference_price)),
        JsonField("proposed_at", "time", "When it was proposed.", lambda one: _time(one.proposed_ns)),
        JsonField("expires_at", "time", "When it is over if nobody decides.", lambda one: _time(one.expires_ns)),
        JsonField("updated_at", "time", "When it changed last.", lambda one: _time(one.updated_ns)),
        _whole("updated_seq", "The event that changed it last."),
        _text("decided_by", 'Who released, rejected or withdrew it; "engine": nobody; empty: it waits.'),
        _text("decided_why", "Why."),
        JsonField("decided_at", "time or null", "When that was.", lambda one: _time(one.decided_ns)),
        JsonField("order_id", "whole number or null", "The order that it became.", lambda one: one.order_id),
    ),
)  # fmt: skip

STAGED_UPDATE = Fields(
    "Staged update",
    (
        JsonField("type", "word", '"staged".', lambda update: "staged"),
        _whole("seq", "Position in the engine's history."),
        _text("event", 'Such as "OrderStaged", "StagedAmended", "StagedReleased", "StagedRejected".'),
        _flag("is_snapshot", "How it stands, and no change."),
        JsonField("at", "time", "When.", lambda update: _time(update.at_ns)),
        JsonField("staged", "staged order", "The staged order after it.", lambda update: STAGED.of(update.staged)),
    ),
)  # fmt: skip

PREVIEW = Fields(
    "Preview",
    (
        JsonField("denials", "list of denials", "Empty: it would be accepted.", lambda one: DENIAL.each(one.denials)),
        JsonField("notional", "number or null", "At its worst, in the base currency.", lambda one: _number(one.notional)),
        JsonField("reference_price", "number or null", "What a price collar would be measured from.", lambda one: _number(one.reference_price)),
        JsonField("position", "number", "The account's position now.", lambda one: _quantity(one.position)),
    ),
)  # fmt: skip

NODE = Fields(
    "Node",
    (
        _text("node", 'Path, such as "firm/desk/ACC1".'),
        JsonField("level", "word", '"normal", "block-new", "cancel-all" or "freeze"; set here.', lambda node: _word(node.level)),
        JsonField("effective_level", "word", "The strictest from here up.", lambda node: _word(node.effective_level)),
        JsonField("blocked_until", "time or null", "Blocked automatically; nobody can enable it before.", lambda node: _time(node.blocked_until_ns)),
        JsonField("limits", "object", "Name and value of each limit.", lambda node: {one.name: one.value for one in node.limits}),
        _whole("open_orders", "Open orders below it."),
        JsonField("open_notional", "number", "Of open orders at their worst, in the base currency.", lambda node: _number(node.open_notional)),
    ),
)  # fmt: skip

IDENTITY = Fields(
    "Identity",
    (
        _text("user", "Name."),
        JsonField("accounts", "list of texts", "Accounts he may see.", lambda one: list(one.accounts)),
        JsonField("actions", "list of texts", "What he may do.", lambda one: list(one.actions)),
        JsonField(
            "symbols", "list of texts", "Symbols he may trade; empty: all.", lambda one: list(one.symbols)
        ),
    ),
)


def _key_of(error: ToucanError) -> str | None:
    return str(error.key) if isinstance(error, OutcomeUnknown | Interrupted) else None


ERROR = Fields(
    "Error",
    (
        JsonField("kind", "word", "The exit code's name, such as \"denied\".", kind_of),
        _text("code", 'Such as "MAX_ORDER_QUANTITY" or "UNKNOWN_ORDER".'),
        JsonField("text", "text", "For people.", lambda error: error.message),
        JsonField("denial", "denial or null", "Which limit.", lambda error: DENIAL.of(error.denial) if isinstance(error, Denied) else None),
        JsonField("again", "text or null", "Of an unknown outcome: what to give to `--again`.", _key_of),
    ),
)  # fmt: skip
