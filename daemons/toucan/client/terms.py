"""What a caller asks for with a new order, and how it becomes the message that travels.

Law: no guess about money. A market order is asked for by name (``price="market"``), since a price that was forgotten must not become one; which of
several accounts is meant is never chosen here.
"""

from __future__ import annotations

import datetime
import enum
from typing import Any, Literal, TypedDict, TypeVar

from aviary.toucan.v1 import types_pb2 as pb
from toucan.client.errors import InvalidRequest
from toucan.client.exact import Number
from toucan.client.instruments import Instrument
from toucan.core.values import OrderType, OrdStatus, Side, TimeInForce, TradingLevel

__all__ = [
    "MARKET",
    "OrderOptions",
    "Price",
    "level_of",
    "ns_of",
    "side_of",
    "status_of",
    "terms_to_wire",
    "time_in_force_of",
    "wire_number",
]

MARKET: Literal["market"] = "market"
#: A limit price, or that there is none.
Price = Number | Literal["market"]

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_Named = TypeVar("_Named", bound=enum.IntEnum)


class OrderOptions(TypedDict, total=False):
    """What a new order may say beside side, symbol and quantity."""

    #: Limit price, or :data:`MARKET`. Must be given unless ``stop_price`` is.
    price: Price | None
    #: Becomes a market order (or with ``price`` a limit order) when a trade reaches it.
    stop_price: Number | None
    #: May be left out where the client was given one, or the user has just one.
    account: str | None
    #: "day" (the default), "gtc", "ioc", "fok", "gtd".
    tif: TimeInForce | str
    #: The most that is shown at a time (iceberg).
    max_floor: Number | None
    post_only: bool
    reduce_only: bool
    #: With "gtd": a time with its zone, or ns since the epoch.
    expire_at: datetime.datetime | int | None
    #: At most 200 characters, kept with the order.
    note: str


def terms_to_wire(
    instrument: Instrument, account: str, side: Side | str, quantity: Number, options: OrderOptions
) -> pb.OrderTerms:
    """The message for a new order. Raises :class:`~toucan.client.errors.InvalidRequest`, and TypeError for floats and unknown options."""
    unknown = set(options) - set(OrderOptions.__annotations__)
    if unknown:
        raise TypeError(
            f"an order has no {', '.join(sorted(unknown))}; it can have {', '.join(OrderOptions.__annotations__)}"
        )
    price, stop_price = options.get("price"), options.get("stop_price")
    max_floor, expire_at = options.get("max_floor"), options.get("expire_at")
    is_market = isinstance(price, str) and price.strip().lower() == MARKET
    return pb.OrderTerms(
        account=account,
        symbol=instrument.symbol,
        side=wire_number(side_of(side)),
        type=wire_number(_type_of(price, stop_price, is_market=is_market)),
        time_in_force=wire_number(time_in_force_of(options.get("tif", TimeInForce.DAY))),
        quantity=instrument.quantity_units(quantity),
        price=None if price is None or is_market else instrument.price_units(price),
        stop_price=None if stop_price is None else instrument.price_units(stop_price, "stop price"),
        max_floor=None if max_floor is None else instrument.quantity_units(max_floor, "shown quantity"),
        post_only=options.get("post_only", False),
        reduce_only=options.get("reduce_only", False),
        expire_at_ns=None if expire_at is None else ns_of(expire_at),
        note=options.get("note", ""),
    )  # fmt: skip


def wire_number(member: enum.IntEnum) -> Any:
    """The number of a member, which is the public API's too; protobuf's annotations want members of their own enumeration."""
    return int(member)


def _type_of(price: Price | None, stop_price: Number | None, *, is_market: bool) -> OrderType:
    if stop_price is not None:
        return OrderType.STOP if price is None or is_market else OrderType.STOP_LIMIT
    if price is None:
        raise InvalidRequest('the order has no price; give one, or price="market" for a market order')
    return OrderType.MARKET if is_market else OrderType.LIMIT


def ns_of(at: datetime.datetime | int) -> int:
    """A point in time in ns since the epoch. Raises :class:`~toucan.client.errors.InvalidRequest` for a time without a zone."""
    if isinstance(at, int):
        return at
    if at.tzinfo is None:
        raise InvalidRequest(f"the time {at.isoformat(' ')} has no zone; give one, such as datetime.UTC")
    return (at - _EPOCH) // datetime.timedelta(microseconds=1) * 1000


def side_of(side: Side | str) -> Side:
    """ "buy" or "sell", in any case."""
    return _named(Side, side, "side")


def time_in_force_of(tif: TimeInForce | str) -> TimeInForce:
    """ "day", "gtc", "ioc", "fok" or "gtd", in any case."""
    return _named(TimeInForce, tif, "time in force")


def level_of(level: TradingLevel | str) -> TradingLevel:
    """ "normal", "block-new", "cancel-all" or "freeze", in any case."""
    return _named(TradingLevel, level, "trading level")


def status_of(status: OrdStatus | str) -> OrdStatus:
    """A FIX order status such as "partially-filled", in any case."""
    return _named(OrdStatus, status, "status")


def _named(kind: type[_Named], value: _Named | str, what: str) -> _Named:
    if isinstance(value, kind):
        return value
    name = str(value).strip().upper().replace("-", "_").replace(" ", "_")
    if name not in kind.__members__:
        names = ", ".join(member.name.lower().replace("_", "-") for member in kind)
        raise InvalidRequest(f"{str(value)[:40]!r} is no {what}; it is one of: {names}")
    return kind[name]
