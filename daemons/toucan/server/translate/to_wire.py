"""Values of the core as messages of the public API; the one place where they are made.

Amounts need the instrument for their decimals. Of one that is no longer in the table nobody knows them: amounts are left out then, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable

from aviary.toucan.v1 import market_pb2 as mp
from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core import outcomes as oc
from toucan.core.events import Event, Reported
from toucan.core.instruments import Instrument
from toucan.core.life_cycle import Effect
from toucan.core.order import Order, PendingRequest
from toucan.core.positions import Position, unrealised_profit
from toucan.core.terms import OrderTerms
from toucan.core.values import ExecType, RequestKind
from toucan.core.venue_messages import Book, Level, Quote, Report
from toucan.market.core.messages import LineKind
from toucan.market.core.tape import Told
from toucan.server.translate.amounts import average_price_text, money_text
from toucan.server.translate.moment import OrderMoment

__all__ = [
    "denial",
    "execution",
    "instrument",
    "mark_price",
    "market_data",
    "market_trades",
    "order",
    "order_update",
    "position",
    "preview",
    "snapshot_line",
    "terms",
]

_EXECUTIONS = (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)


def terms(value: OrderTerms) -> tp.OrderTerms:
    """What an order shall do."""
    return tp.OrderTerms(
        account=value.account,
        symbol=value.symbol,
        side=int(value.side),  # type: ignore[arg-type]
        type=int(value.type),  # type: ignore[arg-type]
        time_in_force=int(value.time_in_force),  # type: ignore[arg-type]
        quantity=value.quantity,
        price=value.price,
        stop_price=value.stop_price,
        max_floor=value.max_floor,
        post_only=value.post_only,
        reduce_only=value.reduce_only,
        expire_at_ns=value.expire_at_ns,
        note=value.text,
    )


def _request(value: PendingRequest) -> tp.RequestInFlight:
    return tp.RequestInFlight(
        kind=int(value.kind),  # type: ignore[arg-type]
        cl_ord_id=value.cl_ord_id,
        is_acknowledged=value.is_acknowledged,
        terms=None if value.terms is None else terms(value.terms),
        by=value.by,
    )


def order(value: Order | OrderMoment, instrument: Instrument | None) -> tp.Order:
    """An order as it stands now, or stood then."""
    average = None
    if value.cum_quantity and instrument is not None:
        average = average_price_text(value.cum_notional, value.cum_quantity, instrument)
    return tp.Order(
        order_id=value.order_id,
        terms=terms(value.terms),
        owner=value.owner.user,
        session=value.owner.session,
        venue=value.venue,
        status=int(value.status),  # type: ignore[arg-type]
        cum_quantity=value.cum_quantity,
        leaves_quantity=value.leaves_quantity,
        average_price=average,
        requests=[_request(one) for one in value.requests],
        venue_order_id=value.venue_order_id,
        cl_ord_id=value.cl_ord_id,
        created_ns=value.created_ns,
        updated_ns=value.updated_ns,
        updated_seq=value.updated_seq,
        reason=value.reason,
        text=value.text,
        is_triggered=value.is_triggered,
        is_external=value.is_external,
    )


def order_update(
    seq: int,
    at_ns: int,
    event: Event,
    value: Order | OrderMoment,
    instrument: Instrument | None,
    effect: Effect | None,
) -> tp.OrderUpdate:
    """A change of an order. ``effect``: what its report did to positions, where that is known."""
    report = event.report if isinstance(event, Reported) else None
    return tp.OrderUpdate(
        seq=seq,
        execution_type=0 if report is None else int(report.kind),  # type: ignore[arg-type]
        event=type(event).__name__,
        order=order(value, instrument),
        execution=None if report is None else execution(report, effect),
        at_ns=at_ns,
    )


def snapshot_line(value: Order, instrument: Instrument | None) -> tp.OrderUpdate:
    """An order as it stands, told in a snapshot."""
    return tp.OrderUpdate(
        seq=value.updated_seq, event="Snapshot", order=order(value, instrument), at_ns=value.updated_ns
    )


def execution(report: Report, effect: Effect | None) -> tp.Execution | None:
    """What a report says was executed, is no more, or is otherwise; None if it is about something else."""
    if report.kind not in _EXECUTIONS:
        return None
    quantity, price = report.last_quantity, report.last_price or 0
    if effect is not None:
        is_bust = effect.kind is ExecType.TRADE_CANCEL
        quantity, price = (
            (effect.old_quantity, effect.old_price) if is_bust else (effect.quantity, effect.price)
        )
    return tp.Execution(
        exec_id=report.exec_id, exec_ref_id=report.exec_ref_id, quantity=quantity, price=price
    )


def mark_price(quote: Quote | None) -> int | None:
    """What positions are valued at: the last trade, or else the middle of the book, rounded down; None: nothing is known."""
    if quote is None:
        return None
    if quote.last_price is not None:
        return quote.last_price
    if quote.bid_price is None or quote.ask_price is None:
        return None
    return (quote.bid_price + quote.ask_price) // 2


def position(
    value: Position, instrument: Instrument | None, mark: int | None, updated_seq: int
) -> tp.Position:
    """A position; ``mark`` as :func:`mark_price` gives it."""
    wire = tp.Position(
        account=value.account,
        trader=value.trader or "",
        symbol=value.symbol,
        quantity=value.quantity,
        mark_price=mark,
        bought_quantity=value.bought,
        sold_quantity=value.sold,
        is_approximate=value.is_approximate,
        updated_seq=updated_seq,
    )
    if instrument is None:
        return wire
    wire.currency = instrument.currency
    wire.realised_profit = money_text(value.realised, instrument)
    if value.average_price is not None:
        wire.average_price = average_price_text(value.average_price, 1, instrument)
    if mark is not None:
        wire.unrealised_profit = money_text(unrealised_profit(value, mark), instrument)
    return wire


def instrument(value: Instrument, now_ns: int) -> tp.Instrument:
    """One line of the instrument table; ``now_ns`` since the epoch."""
    try:
        end_ns = value.session.ends_after_ns(now_ns)
    except ValueError:  # a calendar without a trading day within a year
        end_ns = 0
    return tp.Instrument(
        symbol=value.symbol,
        currency=value.currency,
        venue=value.venue,
        price_decimals=value.price_decimals,
        quantity_decimals=value.quantity_decimals,
        tick=value.tick,
        lot=value.lot,
        multiplier=value.multiplier,
        description=value.description,
        is_open=value.session.is_open(now_ns),
        session_end_ns=end_ns,
    )


def denial(value: oc.Denial) -> tp.Denial:
    """A limit that would be passed."""
    return tp.Denial(
        code=value.code,
        node=value.node,
        limit=value.limit,
        value=value.value,
        maximum=value.maximum,
        text=value.text,
        can_be_confirmed=value.can_be_confirmed,
    )


def preview(value: oc.Previewed) -> pb.PreviewOrderResponse:
    """What an order would lead to."""
    return pb.PreviewOrderResponse(
        denials=[denial(one) for one in value.denials],
        notional=value.notional,
        reference_price=value.reference_price,
        position=value.position_before,
    )


def market_data(symbol: str, quote: Quote | None, book: Book | None, depth: int) -> tp.MarketData:
    """Top of book and last trade, with so many levels of each side; of what was never heard of all is absent."""
    wire = tp.MarketData(symbol=symbol)
    if quote is not None:
        wire = tp.MarketData(
            symbol=symbol,
            bid_price=quote.bid_price,
            bid_quantity=quote.bid_quantity,
            ask_price=quote.ask_price,
            ask_quantity=quote.ask_quantity,
            last_price=quote.last_price,
            last_quantity=quote.last_quantity,
            volume=quote.volume,
            is_halted=quote.is_halted,
            at_ns=quote.at_ns,
        )
    if book is not None and depth:
        wire.bids.extend(_levels(book.bids[:depth]))
        wire.asks.extend(_levels(book.asks[:depth]))
        wire.at_ns = max(wire.at_ns, book.at_ns)
    return wire


def market_trades(symbol: str, life: str, told: Told) -> mp.MarketTrades:
    """Lines of a tape, and what was left out before them."""
    return mp.MarketTrades(
        symbol=symbol,
        life=life,
        trades=[
            mp.Trade(
                number=line.number,
                kind=int(line.kind),  # type: ignore[arg-type]
                trade_number=line.of if line.kind is not LineKind.TRADE else line.number,
                price=line.price,
                quantity=line.quantity,
                aggressor=int(line.aggressor or 0),  # type: ignore[arg-type]
                at_ns=line.at_ns,
            )
            for line in told.lines
        ],
        left_out=told.left_out,
        left_out_quantity=told.left_out_quantity,
        traded=told.place.total,
    )


def _levels(levels: Iterable[Level]) -> list[tp.Level]:
    return [tp.Level(price=level.price, quantity=level.quantity, orders=level.orders) for level in levels]


# The wire's numbers are the core's; see from_wire.
for _kind, _wire, _prefix in (
    (ExecType, tp.ExecutionType, "EXECUTION_TYPE_"),
    (RequestKind, tp.RequestKind, "REQUEST_KIND_"),
    (LineKind, mp.TradeKind, "TRADE_KIND_"),
):
    assert {_prefix + member.name: int(member) for member in _kind} == {
        name: number for name, number in _wire.items() if number
    }, f"{_prefix}: the API and the core number it differently"
