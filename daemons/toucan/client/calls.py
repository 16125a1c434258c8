"""The requests of the public API, one function each: from a caller's arguments to the message, and from the answer to a value.

Law: no channel, no time, no key. The pumps (:mod:`toucan.client.connection` for threads, :mod:`toucan.client.aio` for asyncio) give what changes
something its key, send it, and hand the answer to :attr:`Call.read`; both offer the same requests, since both get them from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar

from google.protobuf.message import Message

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.client import decode, values
from toucan.client.errors import InvalidRequest, OutcomeUnknown
from toucan.client.exact import Number
from toucan.client.instruments import Instrument, InstrumentTable
from toucan.client.limits import ORDERS_PAGE_MAX
from toucan.client.terms import OrderOptions, level_of, side_of, status_of, terms_to_wire, wire_number
from toucan.client.values import RequestKey
from toucan.core.values import OrdStatus, Side, TradingLevel

__all__ = [
    "NO_TABLE",
    "Call",
    "OrderFilter",
    "Page",
    "ReplaceOptions",
    "adjust_position",
    "cancel",
    "filter_to_wire",
    "identity",
    "instruments",
    "limits",
    "mass_cancel",
    "order",
    "order_message",
    "orders_page",
    "positions",
    "preview",
    "replace",
    "replace_message",
    "set_limit",
    "set_trading_state",
    "submit",
    "unknown_outcome",
]

_ORDER_ENTRY = "/aviary.toucan.v1.OrderEntryService/"
_RISK = "/aviary.toucan.v1.RiskService/"

_Answer = TypeVar("_Answer")
#: For answers that name no instrument.
NO_TABLE = InstrumentTable(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[_Answer]):
    """One request. If it changes something its message has a ``key``, which is not set yet."""

    #: Full name of the gRPC method.
    method: str
    request: Message
    response_type: type[Message]
    #: From the answer; the key is that which was sent (without meaning for reads).
    read: Callable[[Any, InstrumentTable, RequestKey], _Answer]
    is_mutating: bool = False
    #: Whether ``read`` looks at the instrument table.
    needs_table: bool = False

    @property
    def what(self) -> str:
        """For people: "submit order"."""
        name = self.method.rpartition("/")[2]
        return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def unknown_outcome(call: Call[Any], key: RequestKey, text: str) -> OutcomeUnknown:
    """The error of a request that may or may not have been carried out."""
    return OutcomeUnknown(
        f"it is not known whether the request to {call.what} was carried out (key {key}): {text or 'no answer came in time'}; "
        "asking again under the same key is safe",
        key,
        call,
    )


@dataclass(frozen=True, slots=True)
class Page:
    """Some orders; ``next_token`` empty: there are no more."""

    orders: tuple[values.Order, ...]
    next_token: str
    seq: int


class OrderFilter(TypedDict, total=False):
    """Which orders; they must match everything that is given."""

    accounts: Iterable[str]
    symbols: Iterable[str]
    side: Side | str | None
    owners: Iterable[str]
    #: Only those that can still be executed.
    is_open: bool
    statuses: Iterable[OrdStatus | str]


def _texts(texts: Iterable[str], what: str) -> list[str]:
    if isinstance(texts, str):
        raise TypeError(f"{what} is a list of texts, not one text: write [{texts!r}]")
    return list(texts)


def filter_to_wire(wanted: OrderFilter) -> pb.OrderFilter:
    """The message of a filter. Raises TypeError for unknown names, :class:`~toucan.client.errors.InvalidRequest` for unknown values."""
    unknown = set(wanted) - set(OrderFilter.__annotations__)
    if unknown:
        raise TypeError(
            f"orders have no {', '.join(sorted(unknown))}; filter by {', '.join(OrderFilter.__annotations__)}"
        )
    side = wanted.get("side")
    return pb.OrderFilter(
        accounts=_texts(wanted.get("accounts", ()), "accounts"),
        symbols=_texts(wanted.get("symbols", ()), "symbols"),
        side=None if side is None else wire_number(side_of(side)),
        owners=_texts(wanted.get("owners", ()), "owners"),
        is_open=wanted.get("is_open", False),
        statuses=[wire_number(status_of(status)) for status in wanted.get("statuses", ())],
    )


def _accepted(response: pb.SubmitOrderResponse, _: InstrumentTable, key: RequestKey) -> values.Accepted:
    return values.Accepted(order_id=response.order_id, seq=response.seq, key=key)


def _done(response: Any, _: InstrumentTable, key: RequestKey) -> values.Done:
    return values.Done(seq=response.seq, key=key)


def order_message(
    table: InstrumentTable,
    account: str,
    side: Side | str,
    symbol: str,
    quantity: Number,
    options: OrderOptions,
    *,
    is_confirmed: bool = False,
) -> pb.SubmitOrderRequest:
    """A new order without its key."""
    terms = terms_to_wire(table.find(symbol), account, side, quantity, options)
    return pb.SubmitOrderRequest(terms=terms, is_confirmed=is_confirmed)


def submit(request: pb.SubmitOrderRequest) -> Call[values.Accepted]:
    """A new order."""
    return Call(
        method=_ORDER_ENTRY + "SubmitOrder",
        request=request,
        response_type=pb.SubmitOrderResponse,
        read=_accepted,
        is_mutating=True,
    )


def preview(request: pb.SubmitOrderRequest, instrument: Instrument) -> Call[values.Preview]:
    """What :func:`submit` would be answered."""
    return Call(
        method=_ORDER_ENTRY + "PreviewOrder",
        request=pb.PreviewOrderRequest(terms=request.terms),
        response_type=pb.PreviewOrderResponse,
        read=lambda response, _table, _key: decode.preview_of(response, instrument),
    )


def cancel(order_id: int) -> Call[values.Done]:
    """Cancels what is left of an order."""
    return Call(
        method=_ORDER_ENTRY + "CancelOrder",
        request=pb.CancelOrderRequest(order_id=order_id),
        response_type=pb.CancelOrderResponse,
        read=_done,
        is_mutating=True,
    )


class ReplaceOptions(TypedDict, total=False):
    """What a replacement changes; what is left out stays as it is. ``quantity`` counts what is filled already."""

    quantity: Number | None
    price: Number | None
    stop_price: Number | None


def replace_message(
    instrument: Instrument, order_id: int, options: ReplaceOptions, *, is_confirmed: bool = False
) -> pb.ReplaceOrderRequest:
    """A replacement without its key."""
    unknown = set(options) - set(ReplaceOptions.__annotations__)
    if unknown:
        raise TypeError(
            f"a replacement has no {', '.join(sorted(unknown))}; it can change {', '.join(ReplaceOptions.__annotations__)}"
        )
    quantity, price, stop_price = (options.get(name) for name in ("quantity", "price", "stop_price"))
    if quantity is None and price is None and stop_price is None:
        raise InvalidRequest("a replacement changes something: give a quantity, a price or a stop price")
    return pb.ReplaceOrderRequest(
        order_id=order_id,
        quantity=None if quantity is None else instrument.quantity_units(_number(quantity)),
        price=None if price is None else instrument.price_units(_number(price)),
        stop_price=None if stop_price is None else instrument.price_units(_number(stop_price), "stop price"),
        is_confirmed=is_confirmed,
    )


def _number(value: object) -> Number:
    return value  # type: ignore[return-value]  # what it is, the conversion checks


def replace(request: pb.ReplaceOrderRequest) -> Call[values.Done]:
    """Changes quantity or prices of an open order."""
    return Call(
        method=_ORDER_ENTRY + "ReplaceOrder",
        request=request,
        response_type=pb.ReplaceOrderResponse,
        read=_done,
        is_mutating=True,
    )


def mass_cancel(account: str, symbol: str, side: Side | str | None, owner: str) -> Call[values.MassCanceled]:
    """Cancels every open order that matches; empty texts match all."""

    def read(response: pb.MassCancelResponse, _: InstrumentTable, key: RequestKey) -> values.MassCanceled:
        return values.MassCanceled(
            order_ids=tuple(response.order_ids), skipped=response.skipped, seq=response.seq, key=key
        )

    return Call(
        method=_ORDER_ENTRY + "MassCancel",
        request=pb.MassCancelRequest(
            account=account,
            symbol=symbol,
            side=None if side is None else wire_number(side_of(side)),
            owner=owner,
        ),
        response_type=pb.MassCancelResponse,
        read=read,
        is_mutating=True,
    )


def order(order_id: int) -> Call[values.Order]:
    """One order."""
    return Call(
        method=_ORDER_ENTRY + "GetOrder",
        request=pb.GetOrderRequest(order_id=order_id),
        response_type=pb.GetOrderResponse,
        read=lambda response, table, _key: decode.order_of(response.order, table.find),
        needs_table=True,
    )


def orders_page(wanted: OrderFilter, size: int, token: str) -> Call[Page]:
    """Some orders, the newest first."""

    def read(response: pb.ListOrdersResponse, table: InstrumentTable, _: RequestKey) -> Page:
        found = tuple(decode.order_of(message, table.find) for message in response.orders)
        return Page(found, response.next_page_token, response.seq)

    return Call(
        method=_ORDER_ENTRY + "ListOrders",
        request=pb.ListOrdersRequest(
            filter=filter_to_wire(wanted), page_size=min(size, ORDERS_PAGE_MAX), page_token=token
        ),
        response_type=pb.ListOrdersResponse,
        read=read,
        needs_table=True,
    )


def positions(
    accounts: Iterable[str], symbols: Iterable[str], *, by_trader: bool
) -> Call[tuple[values.Position, ...]]:
    """Positions of accounts, and of each trader within them if ``by_trader``."""
    return Call(
        method=_ORDER_ENTRY + "ListPositions",
        request=pb.ListPositionsRequest(
            accounts=_texts(accounts, "accounts"), symbols=_texts(symbols, "symbols"), by_trader=by_trader
        ),
        response_type=pb.ListPositionsResponse,
        read=lambda response, table, _key: tuple(
            decode.position_of(message, table.find) for message in response.positions
        ),
        needs_table=True,
    )


def instruments() -> Call[InstrumentTable]:
    """The instrument table."""
    return Call(
        method=_ORDER_ENTRY + "ListInstruments",
        request=pb.ListInstrumentsRequest(),
        response_type=pb.ListInstrumentsResponse,
        read=lambda response, _table, _key: InstrumentTable(map(Instrument.from_wire, response.instruments)),
    )


def identity() -> Call[values.Identity]:
    """Who the caller is and what he may do."""
    return Call(
        method=_ORDER_ENTRY + "GetIdentity",
        request=pb.GetIdentityRequest(),
        response_type=pb.GetIdentityResponse,
        read=lambda response, _table, _key: decode.identity_of(response),
    )


def limits(node: str) -> Call[values.Limits]:
    """The risk tree from ``node`` down; empty: all."""
    return Call(
        method=_RISK + "ListLimits",
        request=pb.ListLimitsRequest(node=node),
        response_type=pb.ListLimitsResponse,
        read=lambda response, _table, _key: decode.limits_of(response),
    )


def set_trading_state(node: str, level: TradingLevel | str, reason: str) -> Call[values.Done]:
    """The kill switch, and what turns it back."""

    def read(response: pb.SetTradingStateResponse, _: InstrumentTable, key: RequestKey) -> values.Done:
        ids = {"order_ids": tuple(response.order_ids), "staged_ids": tuple(response.staged_ids)}
        return values.Done(seq=response.seq, key=key, **ids)

    return Call(
        method=_RISK + "SetTradingState",
        request=pb.SetTradingStateRequest(node=node, level=wire_number(level_of(level)), reason=reason),
        response_type=pb.SetTradingStateResponse,
        read=read,
        is_mutating=True,
    )


def set_limit(node: str, limit: str, value: str | None, reason: str) -> Call[values.Done]:
    """Sets one limit, or (None) takes it away."""
    return Call(
        method=_RISK + "SetLimit",
        request=pb.SetLimitRequest(node=node, limit=limit, value=value, reason=reason),
        response_type=pb.SetLimitResponse,
        read=_done,
        is_mutating=True,
    )


def adjust_position(
    instrument: Instrument, account: str, trader: str, quantity: Number, price: Number, reason: str
) -> Call[values.Done]:
    """Adds to a position (negative: takes away) at a price."""
    return Call(
        method=_RISK + "AdjustPosition",
        request=pb.AdjustPositionRequest(
            account=account,
            trader=trader,
            symbol=instrument.symbol,
            quantity=instrument.quantity_units(quantity),
            price=instrument.price_units(price),
            reason=reason,
        ),
        response_type=pb.AdjustPositionResponse,
        read=_done,
        is_mutating=True,
    )
