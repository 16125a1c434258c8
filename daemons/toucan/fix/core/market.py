"""Market data of the seam as FIX messages, and back: MarketDataRequest (35=V), its snapshots (35=W), and SecurityStatus (35=e, f).

Law: each snapshot is the whole of what is known (MDUpdateType 0), so one that is missed costs nothing and none is ever sent again. That trading is
halted is no part of it in FIX 4.4 and comes by SecurityStatus.
"""

from __future__ import annotations

from toucan.core.instruments import Instrument
from toucan.core.venue_messages import Book, Level, Quote
from toucan.fix.core.amounts import Scale, time_ns
from toucan.fix.core.message import FaultKind, FixFault, FixMessage, clean
from toucan.fix.core.tags import MsgType, Tag
from toucan.fix.limits import SUBSCRIPTIONS_MAX

__all__ = [
    "HALTED",
    "MarketRequest",
    "is_halted",
    "market_from_fix",
    "market_request",
    "market_request_of",
    "security_status",
    "security_status_request",
    "snapshot",
    "unknown_symbol",
]

_BID, _OFFER, _TRADE, _VOLUME = "0", "1", "2", "B"
_SNAPSHOT_AND_UPDATES, _UNSUBSCRIBE = "1", "2"
_FULL_REFRESH = "0"
#: SecurityTradingStatus: trading halt, and ready to trade.
HALTED, _READY = "2", "17"

_Pairs = list[tuple[int, str]]


# ---------------------------------------------------------------- requests


def market_request(symbol: str) -> FixMessage:
    """Subscribes to an instrument: bids, offers, the last trade and the day's volume."""
    kinds = (_BID, _OFFER, _TRADE, _VOLUME)
    return FixMessage(
        MsgType.MARKET_DATA_REQUEST,
        [
            (Tag.MD_REQ_ID, f"md-{symbol}"),
            (Tag.SUBSCRIPTION_REQUEST_TYPE, _SNAPSHOT_AND_UPDATES),
            (Tag.MARKET_DEPTH, "0"),
            (Tag.MD_UPDATE_TYPE, _FULL_REFRESH),
            (Tag.NO_MD_ENTRY_TYPES, str(len(kinds))),
            *((Tag.MD_ENTRY_TYPE, kind) for kind in kinds),
            (Tag.NO_RELATED_SYM, "1"),
            (Tag.SYMBOL, symbol),
        ],
    )


def security_status_request(symbol: str) -> FixMessage:
    """Subscribes to whether an instrument is traded."""
    return FixMessage(
        MsgType.SECURITY_STATUS_REQUEST,
        [
            (Tag.SECURITY_STATUS_REQ_ID, f"status-{symbol}"),
            (Tag.SYMBOL, symbol),
            (Tag.SUBSCRIPTION_REQUEST_TYPE, _SNAPSHOT_AND_UPDATES),
        ],
    )


class MarketRequest:
    """A client's subscription; ``depth``: levels of each side, 0 all there are."""

    def __init__(self, request_id: str, symbols: list[str], depth: int, kind: str) -> None:
        self.request_id = request_id
        self.symbols = symbols
        self.depth = depth
        self.ends = kind == _UNSUBSCRIBE
        self.goes_on = kind == _SNAPSHOT_AND_UPDATES


def market_request_of(message: FixMessage) -> MarketRequest:
    """What a MarketDataRequest or a SecurityStatusRequest asks for. Raises :class:`FixFault`."""
    is_status = message.type == MsgType.SECURITY_STATUS_REQUEST
    request_id = message.need(Tag.SECURITY_STATUS_REQ_ID if is_status else Tag.MD_REQ_ID)
    kind = message.need(Tag.SUBSCRIPTION_REQUEST_TYPE)
    if kind not in ("0", _SNAPSHOT_AND_UPDATES, _UNSUBSCRIBE):
        raise FixFault(FaultKind.VALUE, Tag.SUBSCRIPTION_REQUEST_TYPE, kind[:20])
    symbols = message.all(Tag.SYMBOL)
    if not symbols and kind != _UNSUBSCRIBE:
        raise FixFault(FaultKind.MISSING, Tag.SYMBOL)
    if len(symbols) > SUBSCRIPTIONS_MAX:
        raise FixFault(FaultKind.VALUE, Tag.NO_RELATED_SYM, f"at most {SUBSCRIPTIONS_MAX}")
    if message.get(Tag.MD_UPDATE_TYPE, _FULL_REFRESH) != _FULL_REFRESH:
        raise FixFault(FaultKind.VALUE, Tag.MD_UPDATE_TYPE, "only full refreshes are told")
    return MarketRequest(request_id, symbols, message.whole(Tag.MARKET_DEPTH), kind)


# ---------------------------------------------------------------- to FIX


def snapshot(
    request_id: str, quote: Quote, book: Book | None, depth: int, instrument: Instrument | None
) -> FixMessage:
    """A whole picture of an instrument."""
    scale = Scale(instrument)
    levels = depth or None
    bids, asks = (book.bids, book.asks) if book is not None and depth != 1 else _top(quote)
    entries: list[_Pairs] = []
    for kind, side in ((_BID, bids[:levels]), (_OFFER, asks[:levels])):
        entries += [_level(kind, number, level, scale) for number, level in enumerate(side, 1)]
    if quote.last_price is not None:
        entries.append(
            [
                (Tag.MD_ENTRY_TYPE, _TRADE),
                (Tag.MD_ENTRY_PX, scale.price_text(quote.last_price)),
                (Tag.MD_ENTRY_SIZE, scale.quantity_text(quote.last_quantity)),
            ]
        )
    entries.append([(Tag.MD_ENTRY_TYPE, _VOLUME), (Tag.MD_ENTRY_SIZE, scale.quantity_text(quote.volume))])
    return FixMessage(
        MsgType.MARKET_DATA_SNAPSHOT,
        [
            (Tag.MD_REQ_ID, clean(request_id)),
            (Tag.SYMBOL, quote.symbol),
            (Tag.NO_MD_ENTRIES, str(len(entries))),
            *(field for entry in entries for field in entry),
        ],
    )


def _top(quote: Quote) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
    bids = () if quote.bid_price is None else (Level(quote.bid_price, quote.bid_quantity),)
    asks = () if quote.ask_price is None else (Level(quote.ask_price, quote.ask_quantity),)
    return bids, asks


def _level(kind: str, number: int, level: Level, scale: Scale) -> _Pairs:
    fields: _Pairs = [
        (Tag.MD_ENTRY_TYPE, kind),
        (Tag.MD_ENTRY_PX, scale.price_text(level.price)),
        (Tag.MD_ENTRY_SIZE, scale.quantity_text(level.quantity)),
    ]
    if level.orders:
        fields.append((Tag.NUMBER_OF_ORDERS, str(level.orders)))
    return [*fields, (Tag.MD_ENTRY_POSITION_NO, str(number))]


def security_status(request_id: str, symbol: str, is_halted: bool) -> FixMessage:
    """Whether an instrument is traded."""
    return FixMessage(
        MsgType.SECURITY_STATUS,
        [
            (Tag.SECURITY_STATUS_REQ_ID, clean(request_id)),
            (Tag.SYMBOL, symbol),
            (Tag.SECURITY_TRADING_STATUS, HALTED if is_halted else _READY),
        ],
    )


def unknown_symbol(request_id: str, symbol: str) -> FixMessage:
    """That there is no such instrument (MarketDataRequestReject)."""
    return FixMessage(
        MsgType.MARKET_DATA_REQUEST_REJECT,
        [
            (Tag.MD_REQ_ID, clean(request_id)),
            (Tag.MD_REQ_REJ_REASON, "0"),
            (Tag.TEXT, clean(f"{symbol[:40]} is not traded here")),
        ],
    )


# ---------------------------------------------------------------- from FIX


def is_halted(message: FixMessage) -> bool:
    """What a SecurityStatus says."""
    return message.get(Tag.SECURITY_TRADING_STATUS) == HALTED


def market_from_fix(message: FixMessage, instrument: Instrument, halted: bool) -> tuple[Quote, Book]:
    """A snapshot as quote and depth; an entry with a number that cannot be one of the instrument's is left out."""
    scale = Scale(instrument)
    at_ns = _sent_ns(message)
    sides: dict[str, list[Level]] = {_BID: [], _OFFER: []}
    last_price: int | None = None
    last_quantity = volume = 0
    for entry in _entries(message):
        kind = entry.get(Tag.MD_ENTRY_TYPE)
        try:
            price, quantity = (
                scale.price(entry, Tag.MD_ENTRY_PX),
                scale.quantity(entry, Tag.MD_ENTRY_SIZE) or 0,
            )
            orders = entry.whole(Tag.NUMBER_OF_ORDERS)
        except FixFault:
            continue
        if kind in sides and price is not None:
            sides[kind].append(Level(price, quantity, orders))
        elif kind == _TRADE:
            last_price, last_quantity = price, quantity
        elif kind == _VOLUME:
            volume = quantity
    bids = tuple(sorted(sides[_BID], key=lambda level: -level.price))
    asks = tuple(sorted(sides[_OFFER], key=lambda level: level.price))
    quote = Quote(
        symbol=instrument.symbol,
        at_ns=at_ns,
        bid_price=bids[0].price if bids else None,
        bid_quantity=bids[0].quantity if bids else 0,
        ask_price=asks[0].price if asks else None,
        ask_quantity=asks[0].quantity if asks else 0,
        last_price=last_price,
        last_quantity=last_quantity,
        volume=volume,
        is_halted=halted,
    )
    return quote, Book(instrument.symbol, at_ns, bids, asks)


def _sent_ns(message: FixMessage) -> int:
    try:
        return time_ns(message, Tag.SENDING_TIME) or 0
    except FixFault:
        return 0


def _entries(message: FixMessage) -> list[FixMessage]:
    """The entries of the group: each begins with its type."""
    entries: list[_Pairs] = []
    is_inside = False
    for tag, value in message.fields:
        if tag == Tag.NO_MD_ENTRIES:
            is_inside = True
        elif is_inside and tag == Tag.MD_ENTRY_TYPE:
            entries.append([(tag, value)])
        elif is_inside and entries:
            entries[-1].append((tag, value))
    return [FixMessage(message.type, entry) for entry in entries]
