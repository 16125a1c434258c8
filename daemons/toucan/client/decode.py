"""From the public API's messages to the client's values: the one place that reads protobuf fields of answers."""

from __future__ import annotations

import enum
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from aviary.toucan.v1 import market_pb2, toucan_pb2, types_pb2
from toucan.client import values
from toucan.client.errors import ServerFault
from toucan.client.instruments import Instrument
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
    "Find",
    "denial_of",
    "drop_copy_event_of",
    "identity_of",
    "limits_of",
    "market_data_of",
    "order_of",
    "position_of",
    "preview_of",
    "terms_of",
    "trades_of",
    "update_of",
]

#: Gives the instrument of a symbol; raises where there is none.
Find = Callable[[str], Instrument]
_Member = TypeVar("_Member", bound=enum.IntEnum)


def _member(kind: type[_Member], number: int) -> _Member:
    try:
        return kind(number)
    except ValueError:
        raise ServerFault(
            f"the server sent {kind.__name__} {number}, which this version of aviary does not know; update it"
        ) from None


def order_of(message: types_pb2.Order, find: Find) -> values.Order:
    """An order as it stands."""
    instrument = find(message.terms.symbol)
    return values.Order(
        order_id=message.order_id,
        terms=terms_of(message.terms, instrument),
        owner=message.owner,
        session=message.session,
        venue=message.venue,
        status=_member(OrdStatus, message.status),
        cum_quantity=instrument.quantity(message.cum_quantity),
        leaves_quantity=instrument.quantity(message.leaves_quantity),
        average_price=Decimal(message.average_price) if message.HasField("average_price") else None,
        requests=tuple(_request_of(request, instrument) for request in message.requests),
        venue_order_id=message.venue_order_id,
        cl_ord_id=message.cl_ord_id,
        created_ns=message.created_ns,
        updated_ns=message.updated_ns,
        updated_seq=message.updated_seq,
        reason=message.reason,
        text=message.text,
        is_triggered=message.is_triggered,
        is_external=message.is_external,
    )


def terms_of(message: types_pb2.OrderTerms, instrument: Instrument) -> values.OrderTerms:
    """What an order shall do."""
    return values.OrderTerms(
        account=message.account,
        symbol=message.symbol,
        side=_member(Side, message.side),
        type=_member(OrderType, message.type),
        time_in_force=_member(TimeInForce, message.time_in_force),
        quantity=instrument.quantity(message.quantity),
        price=instrument.price(message.price) if message.HasField("price") else None,
        stop_price=instrument.price(message.stop_price) if message.HasField("stop_price") else None,
        max_floor=instrument.quantity(message.max_floor) if message.HasField("max_floor") else None,
        post_only=message.post_only,
        reduce_only=message.reduce_only,
        expire_at_ns=message.expire_at_ns if message.HasField("expire_at_ns") else None,
        note=message.note,
    )


def _request_of(message: types_pb2.RequestInFlight, instrument: Instrument) -> values.RequestInFlight:
    return values.RequestInFlight(
        kind=_member(RequestKind, message.kind),
        cl_ord_id=message.cl_ord_id,
        is_acknowledged=message.is_acknowledged,
        terms=terms_of(message.terms, instrument) if message.HasField("terms") else None,
        by=message.by,
    )


def update_of(message: types_pb2.OrderUpdate, find: Find, *, is_snapshot: bool) -> values.OrderUpdate:
    """One change of one order."""
    fill = None
    if message.HasField("execution"):
        instrument, execution = find(message.order.terms.symbol), message.execution
        fill = values.Fill(
            exec_id=execution.exec_id,
            exec_ref_id=execution.exec_ref_id,
            quantity=instrument.quantity(execution.quantity),
            price=instrument.price(execution.price),
        )
    return values.OrderUpdate(
        seq=message.seq,
        execution_type=_member(ExecType, message.execution_type) if message.execution_type else None,
        event=message.event,
        order=order_of(message.order, find),
        fill=fill,
        at_ns=message.at_ns,
        is_snapshot=is_snapshot,
    )


def position_of(message: types_pb2.Position, find: Find) -> values.Position:
    """A position."""
    instrument = find(message.symbol)
    return values.Position(
        account=message.account,
        trader=message.trader,
        symbol=message.symbol,
        quantity=instrument.quantity(message.quantity),
        average_price=Decimal(message.average_price) if message.HasField("average_price") else None,
        realised_profit=Decimal(message.realised_profit or 0),
        unrealised_profit=Decimal(message.unrealised_profit)
        if message.HasField("unrealised_profit")
        else None,
        mark_price=instrument.price(message.mark_price) if message.HasField("mark_price") else None,
        bought_quantity=instrument.quantity(message.bought_quantity),
        sold_quantity=instrument.quantity(message.sold_quantity),
        currency=message.currency,
        is_approximate=message.is_approximate,
        updated_seq=message.updated_seq,
    )


def market_data_of(message: types_pb2.MarketData, find: Find) -> values.MarketData:
    """Top of book and last trade."""
    instrument = find(message.symbol)

    def level(name: str, units: int, quantity: int) -> values.Level | None:
        if not message.HasField(name):
            return None
        return values.Level(price=instrument.price(units), quantity=instrument.quantity(quantity))

    def side(levels: list[types_pb2.Level]) -> tuple[values.Level, ...]:
        return tuple(
            values.Level(
                price=instrument.price(one.price),
                quantity=instrument.quantity(one.quantity),
                orders=one.orders,
            )
            for one in levels
        )

    return values.MarketData(
        symbol=message.symbol,
        bid=level("bid_price", message.bid_price, message.bid_quantity),
        ask=level("ask_price", message.ask_price, message.ask_quantity),
        last=level("last_price", message.last_price, message.last_quantity),
        volume=instrument.quantity(message.volume),
        is_halted=message.is_halted,
        at_ns=message.at_ns,
        book=values.Book(bids=side(list(message.bids)), asks=side(list(message.asks))),
    )


def trades_of(message: market_pb2.MarketTrades, find: Find) -> values.Trades:
    """Lines of a tape, and what was left out before them."""
    instrument = find(message.symbol)
    return values.Trades(
        symbol=message.symbol,
        life=message.life,
        trades=tuple(
            values.Trade(
                symbol=message.symbol,
                number=one.number,
                kind=_member(values.TradeKind, one.kind),
                trade_number=one.trade_number,
                price=instrument.price(one.price),
                quantity=instrument.quantity(one.quantity),
                aggressor=_member(Side, one.aggressor) if one.aggressor else None,
                at_ns=one.at_ns,
            )
            for one in message.trades
        ),
        left_out=message.left_out,
        left_out_quantity=instrument.quantity(message.left_out_quantity),
    )


def denial_of(message: types_pb2.Denial) -> values.Denial:
    """A limit that would be passed."""
    return values.Denial(
        code=message.code,
        node=message.node,
        limit=message.limit,
        value=message.value,
        maximum=message.maximum,
        text=message.text,
        can_be_confirmed=message.can_be_confirmed,
    )


def preview_of(message: toucan_pb2.PreviewOrderResponse, instrument: Instrument) -> values.Preview:
    """What a new order would be answered."""
    has_reference = message.HasField("reference_price")
    return values.Preview(
        denials=tuple(denial_of(denial) for denial in message.denials),
        notional=Decimal(message.notional) if message.notional else None,
        reference_price=instrument.price(message.reference_price) if has_reference else None,
        position=instrument.quantity(message.position),
    )


def limits_of(message: toucan_pb2.ListLimitsResponse) -> values.Limits:
    """The risk tree."""
    return values.Limits(
        nodes=tuple(_node_of(node) for node in message.nodes),
        base_currency=message.base_currency,
        seq=message.seq,
    )


def _node_of(message: types_pb2.RiskNode) -> values.RiskNode:
    return values.RiskNode(
        node=message.node,
        level=_member(TradingLevel, message.level or TradingLevel.NORMAL),
        effective_level=_member(TradingLevel, message.effective_level or TradingLevel.NORMAL),
        blocked_until_ns=message.blocked_until_ns if message.HasField("blocked_until_ns") else None,
        limits=tuple(values.Limit(node=one.node, name=one.name, value=one.value) for one in message.limits),
        open_orders=message.open_orders,
        open_notional=Decimal(message.open_notional or 0),
    )


def identity_of(message: toucan_pb2.GetIdentityResponse) -> values.Identity:
    """Who the caller is."""
    return values.Identity(
        user=message.user,
        accounts=tuple(message.accounts),
        actions=tuple(message.actions),
        symbols=tuple(message.symbols),
    )


def drop_copy_event_of(message: toucan_pb2.DropCopyEvent) -> values.DropCopyEvent:
    """One event of the engine."""
    return values.DropCopyEvent(
        seq=message.seq,
        at_ns=message.at_ns,
        event=message.event,
        user=message.user,
        account=message.account,
        order_id=message.order_id,
        json=message.json,
    )
