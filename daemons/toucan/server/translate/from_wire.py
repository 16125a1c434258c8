"""Requests of the public API as the engine's; the one place where they are read.

``note`` on the wire is ``text`` in the core: FIX has a Text of its own on reports, and the API's readers know the word note. Everything raised is
:class:`~toucan.server.errors.InvalidRequest`; what is wrong with an order's terms has the engine's own code for it, ``INVALID_ORDER``.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from google.protobuf.message import DecodeError, Message

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core import requests as rq
from toucan.core.outcomes import Refusal
from toucan.core.terms import TEXT_CHARACTERS_MAX, OrderTerms
from toucan.core.values import OrderType, OrdStatus, Side, TimeInForce, TradingLevel
from toucan.server.errors import InvalidRequest
from toucan.server.limits import (
    GRACE_MS_MAX,
    LIMIT_NAME_CHARACTERS_MAX,
    LIMIT_VALUE_CHARACTERS_MAX,
    NODE_CHARACTERS_MAX,
    REASON_CHARACTERS_MAX,
    REQUEST_NUMBER_MAX,
)
from toucan.server.translate import fields

__all__ = [
    "FilterTerms",
    "Key",
    "adjust_position",
    "filter_terms",
    "key",
    "mass_cancel",
    "open_session",
    "order_terms",
    "parse",
    "replace",
    "session_name",
    "set_level",
    "set_limit",
    "submit",
]

_Request = TypeVar("_Request", bound=Message)


class Key(msgspec.Struct, frozen=True, gc=False):
    """A RequestKey that was checked."""

    session: str
    number: int


class FilterTerms(msgspec.Struct, frozen=True):
    """An OrderFilter that was checked; None: everything matches."""

    accounts: frozenset[str] | None = None
    symbols: frozenset[str] | None = None
    side: Side | None = None
    owners: frozenset[str] | None = None
    is_open: bool = False
    statuses: frozenset[OrdStatus] | None = None


def parse(kind: type[_Request], data: bytes) -> _Request:
    """A message from its bytes."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidRequest(f"this is no {kind.DESCRIPTOR.name}: {error}") from None


def key(request: Message) -> Key:
    """The key that a request which changes something must have."""
    given = fields.message(request, "key")
    number = given.number
    if not 1 <= number <= REQUEST_NUMBER_MAX:
        raise InvalidRequest(
            f"key.number is {number}; the requests of a session are numbered from 1 up to {REQUEST_NUMBER_MAX}",
            field="key.number",
        )
    return Key(session_name(given.session, "key.session"), number)


def session_name(text: str, field: str) -> str:
    """A session's name."""
    return fields.name(text, field)


def order_terms(request: Message) -> OrderTerms:
    """The field ``terms`` of a request."""
    try:
        return _order_terms(fields.message(request, "terms"))
    except InvalidRequest as error:
        raise InvalidRequest(error.text, field=error.field, code=Refusal.INVALID_ORDER) from None


def _order_terms(wire: tp.OrderTerms) -> OrderTerms:
    path = "terms."
    return OrderTerms(
        account=fields.name(wire.account, "terms.account"),
        symbol=fields.name(wire.symbol, "terms.symbol"),
        side=fields.enum_member(wire.side, Side, "SIDE_", "terms.side"),
        type=fields.enum_member(wire.type, OrderType, "ORDER_TYPE_", "terms.type"),
        time_in_force=fields.enum_member(
            wire.time_in_force, TimeInForce, "TIME_IN_FORCE_", "terms.time_in_force"
        ),
        quantity=fields.number(wire.quantity, "terms.quantity"),
        price=fields.optional_number(wire, "price", path),
        stop_price=fields.optional_number(wire, "stop_price", path),
        max_floor=fields.optional_number(wire, "max_floor", path),
        post_only=wire.post_only,
        reduce_only=wire.reduce_only,
        expire_at_ns=fields.point_in_time(wire, "expire_at_ns", path),
        text=fields.printable(wire.note, TEXT_CHARACTERS_MAX, "terms.note"),
    )


def submit(request: pb.SubmitOrderRequest) -> rq.Submit:
    """A new order."""
    return rq.Submit(order_terms(request), request.is_confirmed)


def replace(request: pb.ReplaceOrderRequest) -> rq.Replace:
    """A replacement."""
    return rq.Replace(
        order_id=fields.order_id(request.order_id),
        quantity=fields.optional_number(request, "quantity"),
        price=fields.optional_number(request, "price"),
        stop_price=fields.optional_number(request, "stop_price"),
        is_confirmed=request.is_confirmed,
    )


def mass_cancel(request: pb.MassCancelRequest) -> rq.MassCancel:
    """What is to be cancelled, as it was asked for; whose accounts these may be is for :mod:`toucan.server.entitlements`."""
    account = request.account and fields.name(request.account, "account")
    return rq.MassCancel(
        accounts=(account,) if account else None,
        symbol=request.symbol and fields.name(request.symbol, "symbol"),
        side=_side_or_both(request.side, "side"),
        owner=request.owner and fields.name(request.owner, "owner"),
    )


def _side_or_both(value: int, field: str) -> Side | None:
    return fields.enum_member(value, Side, "SIDE_", field) if value else None


def filter_terms(wire: pb.OrderFilter) -> FilterTerms:
    """An order filter; an absent one matches everything."""
    statuses = [
        fields.enum_member(value, OrdStatus, "ORDER_STATUS_", f"filter.statuses[{index}]")
        for index, value in enumerate(wire.statuses[: len(OrdStatus) + 1])
    ]
    if len(statuses) > len(OrdStatus):
        raise InvalidRequest("filter.statuses has more entries than there are", field="filter.statuses")
    return FilterTerms(
        accounts=fields.names(wire.accounts, "filter.accounts"),
        symbols=fields.names(wire.symbols, "filter.symbols"),
        side=_side_or_both(wire.side, "filter.side"),
        owners=fields.names(wire.owners, "filter.owners"),
        is_open=wire.is_open,
        statuses=frozenset(statuses) or None,
    )


def open_session(request: pb.OpenSession) -> tuple[str, rq.OpenSession]:
    """A session's name and how its stream begins."""
    session = session_name(request.session, "open.session")
    if not request.HasField("cancel_on_disconnect_ms"):
        return session, rq.OpenSession(None)
    grace_ms = fields.bounded(
        request.cancel_on_disconnect_ms, 0, GRACE_MS_MAX, "open.cancel_on_disconnect_ms"
    )
    return session, rq.OpenSession(grace_ms * 1_000_000)


def set_level(request: pb.SetTradingStateRequest) -> rq.SetLevel:
    """A trading level for a node."""
    return rq.SetLevel(
        node=fields.name(request.node, "node", NODE_CHARACTERS_MAX),
        level=fields.enum_member(request.level, TradingLevel, "TRADING_LEVEL_", "level"),
        reason=fields.printable(request.reason, REASON_CHARACTERS_MAX, "reason"),
    )


def set_limit(request: pb.SetLimitRequest) -> rq.SetLimit:
    """A limit for a node."""
    has_value = request.HasField("value")
    return rq.SetLimit(
        node=fields.name(request.node, "node", NODE_CHARACTERS_MAX),
        limit=fields.name(request.limit, "limit", LIMIT_NAME_CHARACTERS_MAX),
        value=fields.printable(request.value, LIMIT_VALUE_CHARACTERS_MAX, "value") if has_value else None,
        reason=fields.printable(request.reason, REASON_CHARACTERS_MAX, "reason"),
    )


def adjust_position(request: pb.AdjustPositionRequest) -> rq.AdjustPosition:
    """An addition to a position."""
    return rq.AdjustPosition(
        account=fields.name(request.account, "account"),
        trader=fields.name(request.trader, "trader"),
        symbol=fields.name(request.symbol, "symbol"),
        quantity=fields.number(request.quantity, "quantity"),
        price=fields.number(request.price, "price"),
        reason=fields.printable(request.reason, REASON_CHARACTERS_MAX, "reason"),
    )


# The wire's numbers are the core's: what is checked here once need not be looked up in a table each time.
for _kind, _wire, _prefix in (
    (Side, tp.Side, "SIDE_"),
    (OrderType, tp.OrderType, "ORDER_TYPE_"),
    (TimeInForce, tp.TimeInForce, "TIME_IN_FORCE_"),
    (OrdStatus, tp.OrderStatus, "ORDER_STATUS_"),
    (TradingLevel, tp.TradingLevel, "TRADING_LEVEL_"),
):
    assert {_prefix + member.name: int(member) for member in _kind} == {
        name: number for name, number in _wire.items() if number
    }, f"{_prefix}: the API and the core number it differently"
