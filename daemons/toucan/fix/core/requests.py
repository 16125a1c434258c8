"""Requests of the seam as FIX messages, and back.

Law: both directions stand side by side, so that each field is named twice in one file and a test sends each there and back. What a request leaves
out stays out; what FIX requires and the seam does not have (HandlInst, TransactTime) is added here and ignored on the way back. A DAY order's
end is each venue's own: ExpireTime goes with GTD alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from toucan.core.instruments import Instrument
from toucan.core.values import TimeInForce
from toucan.core.venue_messages import (
    CancelOrder,
    MassStatusRequest,
    NewOrder,
    ReplaceOrder,
    StatusRequest,
    ToVenue,
)
from toucan.fix.core.amounts import Scale, time_ns, time_text
from toucan.fix.core.facts import OrderFacts
from toucan.fix.core.message import FaultKind, FixFault, FixMessage, clean
from toucan.fix.core.tags import MsgType, Tag
from toucan.fix.core.words import (
    NO_SYMBOL,
    ORDER_TYPES,
    POST_ONLY,
    SIDES,
    TIMES_IN_FORCE,
    UNDISCLOSED_SIDE,
    order_type_of,
    side_of,
    time_in_force_of,
)

__all__ = ["REQUESTS_FROM_FIX", "Instruments", "request_from_fix", "request_to_fix"]

Instruments = Mapping[str, Instrument]

#: HandlInst: automated, private. Brokers that require it mean this one.
_AUTOMATED = "1"
#: What of a client's message is kept, goes on, and comes back in reports.
_TEXTS = (Tag.CL_ORD_ID, Tag.ORIG_CL_ORD_ID, Tag.ACCOUNT, Tag.SYMBOL, Tag.MASS_STATUS_REQ_ID)
#: MassStatusReqType: all orders.
_ALL_ORDERS = "7"

_Pairs = list[tuple[int, str]]


# ---------------------------------------------------------------- to FIX


def request_to_fix(
    message: ToVenue, facts: OrderFacts | None, instruments: Instruments, now_ns: int
) -> FixMessage:
    """The message for a venue. ``facts``: of the order that a cancel, a replacement or a question is about; ``now_ns``: TransactTime.

    Raises :class:`KeyError` for an order in an instrument that is not in the table: its prices could not be written.
    """
    match message:
        case NewOrder():
            return FixMessage(
                MsgType.NEW_ORDER_SINGLE, _new(message, Scale(instruments[message.symbol]), now_ns)
            )
        case CancelOrder():
            return FixMessage(MsgType.ORDER_CANCEL_REQUEST, _cancel(message, facts, instruments, now_ns))
        case ReplaceOrder():
            scale = Scale(instruments[message.symbol])
            return FixMessage(MsgType.ORDER_CANCEL_REPLACE_REQUEST, _replace(message, facts, scale, now_ns))
        case StatusRequest():
            return FixMessage(MsgType.ORDER_STATUS_REQUEST, _status(message, facts))
        case MassStatusRequest():
            return FixMessage(
                MsgType.ORDER_MASS_STATUS_REQUEST,
                [
                    (Tag.MASS_STATUS_REQ_ID, clean(message.request_id)),
                    (Tag.MASS_STATUS_REQ_TYPE, _ALL_ORDERS),
                ],
            )
    raise TypeError(f"{type(message).__name__} is no message to a venue behind FIX")


def _new(message: NewOrder, scale: Scale, now_ns: int) -> _Pairs:
    fields: _Pairs = [(Tag.POSS_RESEND, "Y")] if message.is_possible_resend else []
    fields += [
        (Tag.CL_ORD_ID, clean(message.cl_ord_id)),
        (Tag.ACCOUNT, clean(message.account)),
        (Tag.HANDL_INST, _AUTOMATED),
        (Tag.SYMBOL, message.symbol),
        (Tag.SIDE, SIDES[message.side]),
        (Tag.TRANSACT_TIME, time_text(now_ns)),
        (Tag.ORDER_QTY, scale.quantity_text(message.quantity)),
        (Tag.ORD_TYPE, ORDER_TYPES[message.type]),
        (Tag.TIME_IN_FORCE, TIMES_IN_FORCE[message.time_in_force]),
        *_prices(message, scale),
    ]
    if message.max_floor is not None:
        fields.append((Tag.MAX_FLOOR, scale.quantity_text(message.max_floor)))
    if message.post_only:
        fields.append((Tag.EXEC_INST, POST_ONLY))
    if message.expire_at_ns is not None and message.time_in_force is TimeInForce.GTD:
        # An order never ends before the time that it was given.
        fields.append((Tag.EXPIRE_TIME, time_text(message.expire_at_ns, is_rounded_up=True)))
    return [(tag, value) for tag, value in fields if value]


def _prices(message: NewOrder | ReplaceOrder, scale: Scale) -> _Pairs:
    fields: _Pairs = []
    if message.price is not None:
        fields.append((Tag.PRICE, scale.price_text(message.price)))
    if message.stop_price is not None:
        fields.append((Tag.STOP_PX, scale.price_text(message.stop_price)))
    return fields


def _request(message: CancelOrder | ReplaceOrder, now_ns: int) -> _Pairs:
    return [
        (Tag.ORIG_CL_ORD_ID, clean(message.orig_cl_ord_id)),
        (Tag.CL_ORD_ID, clean(message.cl_ord_id)),
        (Tag.SYMBOL, message.symbol),
        (Tag.SIDE, SIDES[message.side]),
        (Tag.TRANSACT_TIME, time_text(now_ns)),
    ]


def _cancel(message: CancelOrder, facts: OrderFacts | None, instruments: Instruments, now_ns: int) -> _Pairs:
    fields = _request(message, now_ns)
    if facts is not None and facts.quantity is not None:
        quantity = Scale(instruments.get(message.symbol)).quantity_text(facts.quantity)
        fields.append((Tag.ORDER_QTY, quantity))
    return fields


def _replace(message: ReplaceOrder, facts: OrderFacts | None, scale: Scale, now_ns: int) -> _Pairs:
    fields = _request(message, now_ns)
    if facts is not None and facts.account:
        fields.append((Tag.ACCOUNT, clean(facts.account)))
    fields += [
        (Tag.HANDL_INST, _AUTOMATED),
        (Tag.ORDER_QTY, scale.quantity_text(message.quantity)),
        (Tag.ORD_TYPE, ORDER_TYPES[message.type]),
        *_prices(message, scale),
    ]
    return fields


def _status(message: StatusRequest, facts: OrderFacts | None) -> _Pairs:
    return [
        (Tag.CL_ORD_ID, clean(message.cl_ord_id)),
        (Tag.SYMBOL, facts.symbol if facts else NO_SYMBOL),
        (Tag.SIDE, SIDES[facts.side] if facts else UNDISCLOSED_SIDE),
    ]


# ---------------------------------------------------------------- from FIX


def request_from_fix(message: FixMessage, instruments: Instruments) -> ToVenue:
    """What a client asks for. Raises :class:`FixFault`.

    What the session may have sent before (PossDup) counts as a possible resend: it was taken in if it has arrived, and must not be twice.
    """
    make = REQUESTS_FROM_FIX.get(message.type)
    if make is None:
        raise FixFault(FaultKind.UNSUPPORTED, Tag.MSG_TYPE, message.type)
    for tag in _TEXTS:
        message.check_text(tag)
    return make(message, instruments)


def _scale(message: FixMessage, instruments: Instruments) -> Scale:
    return Scale(instruments.get(message.need(Tag.SYMBOL)))


def _new_from(message: FixMessage, instruments: Instruments) -> NewOrder:
    scale = _scale(message, instruments)
    instructions = message.get(Tag.EXEC_INST).split()
    unknown = [one for one in instructions if one != POST_ONLY]
    if unknown:
        raise FixFault(FaultKind.VALUE, Tag.EXEC_INST, f"{unknown[0]!r} is not done here; {POST_ONLY} is")
    time_in_force = time_in_force_of(message)
    return NewOrder(
        cl_ord_id=message.need(Tag.CL_ORD_ID),
        account=message.get(Tag.ACCOUNT),
        symbol=message.need(Tag.SYMBOL),
        side=side_of(message),
        type=order_type_of(message),
        time_in_force=time_in_force,
        quantity=_needed_quantity(message, scale),
        price=scale.price(message, Tag.PRICE),
        stop_price=scale.price(message, Tag.STOP_PX),
        max_floor=scale.quantity(message, Tag.MAX_FLOOR),
        post_only=bool(instructions),
        expire_at_ns=time_ns(message, Tag.EXPIRE_TIME),
        is_possible_resend=message.is_possible_resend or message.is_possible_duplicate,
    )


def _needed_quantity(message: FixMessage, scale: Scale) -> int:
    message.need(Tag.ORDER_QTY)
    quantity = scale.quantity(message, Tag.ORDER_QTY)
    assert quantity is not None
    return quantity


def _cancel_from(message: FixMessage, _: Instruments) -> CancelOrder:
    return CancelOrder(
        cl_ord_id=message.need(Tag.CL_ORD_ID),
        orig_cl_ord_id=message.need(Tag.ORIG_CL_ORD_ID),
        symbol=message.need(Tag.SYMBOL),
        side=side_of(message),
    )


def _replace_from(message: FixMessage, instruments: Instruments) -> ReplaceOrder:
    scale = _scale(message, instruments)
    return ReplaceOrder(
        cl_ord_id=message.need(Tag.CL_ORD_ID),
        orig_cl_ord_id=message.need(Tag.ORIG_CL_ORD_ID),
        symbol=message.need(Tag.SYMBOL),
        side=side_of(message),
        type=order_type_of(message),
        quantity=_needed_quantity(message, scale),
        price=scale.price(message, Tag.PRICE),
        stop_price=scale.price(message, Tag.STOP_PX),
    )


def _status_from(message: FixMessage, _: Instruments) -> StatusRequest:
    return StatusRequest(message.need(Tag.CL_ORD_ID))


def _mass_status_from(message: FixMessage, _: Instruments) -> MassStatusRequest:
    kind = message.need(Tag.MASS_STATUS_REQ_TYPE)
    if kind != _ALL_ORDERS:
        raise FixFault(
            FaultKind.VALUE, Tag.MASS_STATUS_REQ_TYPE, f"{kind[:20]!r}; only 7, all orders, is answered"
        )
    return MassStatusRequest(message.need(Tag.MASS_STATUS_REQ_ID))


#: The messages of a client that become messages of the seam.
REQUESTS_FROM_FIX: dict[str, Callable[[FixMessage, Instruments], ToVenue]] = {
    MsgType.NEW_ORDER_SINGLE: _new_from,
    MsgType.ORDER_CANCEL_REQUEST: _cancel_from,
    MsgType.ORDER_CANCEL_REPLACE_REQUEST: _replace_from,
    MsgType.ORDER_STATUS_REQUEST: _status_from,
    MsgType.ORDER_MASS_STATUS_REQUEST: _mass_status_from,
}
