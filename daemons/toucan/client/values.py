"""What the client gives back: orders, fills, positions and so on as small frozen values with decimal numbers.

Law: no protobuf message leaves the client library, so a program never depends on how things travel. Prices, quantities and money are
:class:`~decimal.Decimal` and exact; ``None`` is absent, which is never the same as zero. Times are nanoseconds since 1970-01-01T00:00:00Z. Names and
meanings are FIX 4.4's where it has them; the enumerations are those of :mod:`toucan.core.values`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

from toucan.core.values import (
    ExecType,
    OrderType,
    OrdStatus,
    RequestKind,
    Side,
    TimeInForce,
    TradingLevel,
)

__all__ = [
    "Accepted",
    "Book",
    "Denial",
    "Done",
    "DropCopyEvent",
    "DropCopyGap",
    "Fill",
    "Identity",
    "Level",
    "Limit",
    "Limits",
    "MarketData",
    "MassCanceled",
    "Order",
    "OrderTerms",
    "OrderUpdate",
    "Position",
    "Preview",
    "RequestInFlight",
    "RequestKey",
    "RiskNode",
    "Trade",
    "TradeKind",
    "Trades",
]


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Makes a request safe to send again: the session's name, and a number that counts up within it."""

    session: str
    number: int

    def __str__(self) -> str:
        return f"{self.session}/{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A limit that an order would pass."""

    #: For programs, such as ``MAX_ORDER_QUANTITY``.
    code: str
    #: Path of the node whose limit it is, such as ``firm/alpha/ACC1``.
    node: str
    #: Name of the limit; empty where the code says it all.
    limit: str
    #: What the order would lead to, and what is allowed; as people write numbers.
    value: str
    maximum: str
    text: str
    #: A soft limit.
    can_be_confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A new order that is durable and within all limits; what the venue says comes by the streams."""

    order_id: int
    #: Newest event when this was decided; reads of the same client see it.
    seq: int
    key: RequestKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A request that was carried out: the cancel or replacement is on its way, the level or limit is set."""

    seq: int
    key: RequestKey
    #: Orders whose cancel is on its way, of a kill level CANCEL_ALL.
    order_ids: tuple[int, ...] = ()
    #: Staged orders that were rejected by it.
    staged_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MassCanceled:
    """Orders whose cancel is on its way; ``skipped``: how many had one on its way already."""

    order_ids: tuple[int, ...]
    skipped: int
    seq: int
    key: RequestKey


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms:
    """What an order shall do, as it stands. ``quantity`` counts what is filled already."""

    account: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    price: Decimal | None
    stop_price: Decimal | None
    #: The most that is shown at a time; None: all of it.
    max_floor: Decimal | None
    post_only: bool
    reduce_only: bool
    expire_at_ns: int | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInFlight:
    """Something sent to the venue and not answered for good; ``terms``: those that the order shall have (replacements only)."""

    kind: RequestKind
    cl_ord_id: str
    is_acknowledged: bool
    terms: OrderTerms | None
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as it stands."""

    order_id: int
    terms: OrderTerms
    owner: str
    session: str
    venue: str
    status: OrdStatus
    #: FIX 14: what was executed.
    cum_quantity: Decimal
    #: FIX 151: what can still be executed.
    leaves_quantity: Decimal
    #: FIX 6; None before the first fill.
    average_price: Decimal | None
    requests: tuple[RequestInFlight, ...]
    venue_order_id: str
    cl_ord_id: str
    created_ns: int
    updated_ns: int
    #: The event that changed it last.
    updated_seq: int
    #: Why it ended or what was refused last: for programs, and in the venue's words.
    reason: str
    text: str
    is_triggered: bool
    is_external: bool

    @property
    def is_open(self) -> bool:
        """Whether something may still be executed."""
        return self.leaves_quantity > 0

    @property
    def account(self) -> str:
        """The account that it is for."""
        return self.terms.account

    @property
    def symbol(self) -> str:
        """What it is an order for."""
        return self.terms.symbol

    @property
    def side(self) -> Side:
        """Whether it buys or sells."""
        return self.terms.side

    @property
    def quantity(self) -> Decimal:
        """All of it, also what is filled."""
        return self.terms.quantity

    @property
    def price(self) -> Decimal | None:
        """Its limit price."""
        return self.terms.price


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """An execution: a trade, or the bust or correction of one (``exec_ref_id`` names that; empty for a trade)."""

    exec_id: str
    exec_ref_id: str
    #: Of a correction the new value.
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUpdate:
    """One change of one order; of a snapshot how it stands, which is no change."""

    #: Position in the engine's history.
    seq: int
    #: What the venue said; None for what happened here, see ``event``.
    execution_type: ExecType | None
    #: The engine's event behind it, such as ``OrderAccepted`` or ``Reported``.
    event: str
    #: The order after it.
    order: Order
    #: With TRADE, TRADE_CANCEL and TRADE_CORRECT.
    fill: Fill | None
    at_ns: int
    is_snapshot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A position of an account, or of one trader within it (``trader`` empty: the whole account's)."""

    account: str
    trader: str
    symbol: str
    #: Negative: short.
    quantity: Decimal
    #: Of what is open; None when flat.
    average_price: Decimal | None
    #: In ``currency``; unrealised at ``mark_price``, None if there is no mark.
    realised_profit: Decimal
    unrealised_profit: Decimal | None
    mark_price: Decimal | None
    bought_quantity: Decimal
    sold_quantity: Decimal
    currency: str
    #: A bust too old to be recomputed exactly has been taken in.
    is_approximate: bool
    updated_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One price of a book."""

    price: Decimal
    quantity: Decimal
    #: How many orders are there; 0: the venue does not say.
    orders: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Best levels of both sides, best first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketData:
    """Top of book and last trade; the book's levels if depth was asked for."""

    symbol: str
    bid: Level | None
    ask: Level | None
    last: Level | None
    #: Traded today.
    volume: Decimal
    is_halted: bool
    #: The venue's time of this.
    at_ns: int
    book: Book


class TradeKind(enum.IntEnum):
    """What a line of the tape says of a trade."""

    TRADE = 1
    BUST = 2
    CORRECTION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One line of a venue's tape: a trade that was made, or that was cancelled or given other numbers afterwards."""

    symbol: str
    #: Counts the lines of the symbol's tape without gaps, within one life of the venue.
    number: int
    kind: TradeKind
    #: The line that said that the trade was made; its own number for TRADE, 0 where it is not known.
    trade_number: int
    #: Of a bust what is cancelled, of a correction what is right now.
    price: Decimal
    quantity: Decimal
    #: Of the order that met one that waited; None: there was none, or the venue does not say.
    aggressor: Side | None
    #: The venue's time.
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trades:
    """What was traded of a symbol since it was told last: ``left_out`` lines that were not told, then ``trades``."""

    symbol: str
    #: Names the count of the lines' numbers.
    life: str
    trades: tuple[Trade, ...]
    left_out: int
    #: What was traded in those.
    left_out_quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of one node, as in the limits file."""

    node: str
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskNode:
    """A node of the risk tree as it stands."""

    node: str
    #: Set here, and the strictest from here up.
    level: TradingLevel
    effective_level: TradingLevel
    #: Blocked automatically; until then nobody can enable it.
    blocked_until_ns: int | None
    limits: tuple[Limit, ...]
    open_orders: int
    #: Of open orders at their worst, in the base currency.
    open_notional: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The risk tree, parents before children, as of event ``seq``."""

    nodes: tuple[RiskNode, ...]
    base_currency: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a new order would be answered: no ``denials``: it would be accepted."""

    denials: tuple[Denial, ...]
    #: At its worst, in the base currency; None if no price is known.
    notional: Decimal | None
    #: What a price collar would be measured from.
    reference_price: Decimal | None
    #: The account's position in the instrument.
    position: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the caller is. ``symbols`` empty: all."""

    user: str
    accounts: tuple[str, ...]
    actions: tuple[str, ...]
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DropCopyEvent:
    """One event of the engine; ``json`` is the whole of it."""

    seq: int
    at_ns: int
    event: str
    #: Who caused it; empty for the venue's doing.
    user: str
    account: str
    #: 0 if it concerns no order.
    order_id: int
    json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropCopyGap:
    """Events before ``until_seq`` are no longer kept by the front end and were left out; ``toucan audit`` has them."""

    until_seq: int
