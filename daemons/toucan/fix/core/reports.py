"""Reports of the seam as FIX messages, and back: ExecutionReport (35=8), OrderCancelReject (35=9), BusinessMessageReject (35=j).

Law: nothing is added to what a venue says. What FIX requires and nobody has said is FIX's word for that ("0", "NONE", "[N/A]"), and comes back as
absent. A number that cannot be an integer of its instrument is left out, and said in the text: of a fill that is a malformed report, which the
engine keeps and shows to people; nothing that a venue sends is lost for its form.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from toucan.core.values import ExecType, OrdStatus, RequestKind
from toucan.core.venue_messages import Report
from toucan.fix.core.amounts import Scale, time_ns, time_text
from toucan.fix.core.facts import OrderFacts
from toucan.fix.core.message import FixFault, FixMessage, clean
from toucan.fix.core.requests import Instruments
from toucan.fix.core.tags import MsgType, Tag
from toucan.fix.core.words import (
    CXL_REJ_REASONS,
    EXEC_TYPES,
    NO_EXEC_ID,
    NO_ORDER_ID,
    NO_SYMBOL,
    ORD_REJ_REASONS,
    ORD_STATUSES,
    RESTATEMENT_REASONS,
    SIDES,
    UNDISCLOSED_SIDE,
    exec_type_of,
    ord_status_of,
    reason_of,
)

__all__ = [
    "NOT_AVAILABLE",
    "business_reject",
    "no_orders",
    "not_sent_report",
    "report_from_fix",
    "report_to_fix",
    "status_report",
]

_Pairs = list[tuple[int, str]]
_Read = Callable[[FixMessage, int], int | None]
_OTHER = "99"
_EXECUTIONS = (ExecType.TRADE, ExecType.TRADE_CORRECT)
_SIDES_BACK = {text: side for side, text in SIDES.items()}

#: BusinessRejectReason: the application is not available.
NOT_AVAILABLE = "4"


# ---------------------------------------------------------------- to FIX


def report_to_fix(
    report: Report,
    facts: OrderFacts | None,
    instruments: Instruments,
    *,
    question: str = "",
    is_last: bool = False,
    average: str = "0",
) -> FixMessage:
    """The message for a client. ``facts``: of the order; ``question``: the OrderMassStatusRequest that it answers, ``is_last``: with its last
    report; ``average``: AvgPx."""
    if report.kind is ExecType.CANCEL_REJECT:
        return FixMessage(MsgType.ORDER_CANCEL_REJECT, _refusal(report, facts))
    symbol = report.symbol or (facts.symbol if facts else "")
    side = report.side or (facts.side if facts else None)
    account = report.account or (facts.account if facts else "")
    scale = Scale(instruments.get(symbol))
    fields: _Pairs = [
        (Tag.ORDER_ID, report.venue_order_id or NO_ORDER_ID),
        (Tag.CL_ORD_ID, report.cl_ord_id),
        (Tag.ORIG_CL_ORD_ID, report.orig_cl_ord_id),
        (Tag.EXEC_ID, report.exec_id or NO_EXEC_ID),
        (Tag.EXEC_REF_ID, report.exec_ref_id),
        (Tag.EXEC_TYPE, EXEC_TYPES[report.kind]),
        (Tag.ORD_STATUS, ORD_STATUSES[report.ord_status or OrdStatus.NEW]),
        (Tag.ACCOUNT, account),
        (Tag.SYMBOL, symbol or NO_SYMBOL),
        (Tag.SIDE, SIDES[side] if side else UNDISCLOSED_SIDE),
        *_numbers(report, scale),
        (Tag.AVG_PX, average),
        *_reasons(report),
        (Tag.TRANSACT_TIME, time_text(report.at_ns)),
    ]
    if question:
        fields.append((Tag.MASS_STATUS_REQ_ID, question))
        fields.append((Tag.LAST_RPT_REQUESTED, "Y" if is_last else "N"))
    fields.append((Tag.VENUE_SEQ, str(report.venue_seq)))
    return FixMessage(MsgType.EXECUTION_REPORT, [(tag, clean(value)) for tag, value in fields if value])


def _numbers(report: Report, scale: Scale) -> _Pairs:
    fields: _Pairs = []
    if report.kind in _EXECUTIONS or report.last_quantity:
        fields.append((Tag.LAST_QTY, scale.quantity_text(report.last_quantity)))
    for tag, price in (
        (Tag.LAST_PX, report.last_price),
        (Tag.PRICE, report.price),
        (Tag.STOP_PX, report.stop_price),
    ):
        if price is not None:
            fields.append((tag, scale.price_text(price)))
    if report.quantity is not None:
        fields.append((Tag.ORDER_QTY, scale.quantity_text(report.quantity)))
    fields.append((Tag.CUM_QTY, scale.quantity_text(report.cum_quantity or 0)))
    fields.append((Tag.LEAVES_QTY, scale.quantity_text(report.leaves_quantity or 0)))
    if report.day_cum_quantity is not None:
        fields.append((Tag.DAY_CUM_QTY, scale.quantity_text(report.day_cum_quantity)))
    return fields


def _reasons(report: Report) -> _Pairs:
    fields: _Pairs = []
    is_rejected = report.ord_status is OrdStatus.REJECTED and bool(report.reason)
    if report.kind is ExecType.REJECTED or is_rejected:
        fields.append((Tag.ORD_REJ_REASON, ORD_REJ_REASONS.get(report.reason, _OTHER)))
    elif report.kind is ExecType.RESTATED:
        fields.append((Tag.EXEC_RESTATEMENT_REASON, RESTATEMENT_REASONS.get(report.reason, _OTHER)))
    return [*fields, (Tag.TEXT, report.text), (Tag.REASON_CODE, report.reason)]


def _refusal(report: Report, facts: OrderFacts | None) -> _Pairs:
    is_replacement = facts is not None and facts.kind is RequestKind.REPLACE
    fields = [
        (Tag.ORDER_ID, report.venue_order_id or NO_ORDER_ID),
        (Tag.CL_ORD_ID, report.cl_ord_id),
        (Tag.ORIG_CL_ORD_ID, report.orig_cl_ord_id or "NONE"),
        (Tag.ORD_STATUS, ORD_STATUSES[report.ord_status or OrdStatus.REJECTED]),
        (Tag.TRANSACT_TIME, time_text(report.at_ns)),
        (Tag.CXL_REJ_RESPONSE_TO, "2" if is_replacement else "1"),
        (Tag.CXL_REJ_REASON, CXL_REJ_REASONS.get(report.reason, _OTHER)),
        (Tag.TEXT, report.text),
        (Tag.REASON_CODE, report.reason),
        (Tag.VENUE_SEQ, str(report.venue_seq)),
    ]
    return [(tag, clean(value)) for tag, value in fields if value]


def no_orders(question: str, at_ns: int) -> FixMessage:
    """The answer to an OrderMassStatusRequest of whoever has no open orders: a report of no order, the only one (TotNumReports 0)."""
    return FixMessage(
        MsgType.EXECUTION_REPORT,
        [
            (Tag.ORDER_ID, NO_ORDER_ID),
            (Tag.CL_ORD_ID, NO_ORDER_ID),
            (Tag.EXEC_ID, NO_EXEC_ID),
            (Tag.EXEC_TYPE, EXEC_TYPES[ExecType.ORDER_STATUS]),
            (Tag.ORD_STATUS, ORD_STATUSES[OrdStatus.REJECTED]),
            (Tag.SYMBOL, NO_SYMBOL),
            (Tag.SIDE, UNDISCLOSED_SIDE),
            (Tag.CUM_QTY, "0"),
            (Tag.LEAVES_QTY, "0"),
            (Tag.AVG_PX, "0"),
            (Tag.TRANSACT_TIME, time_text(at_ns)),
            (Tag.MASS_STATUS_REQ_ID, clean(question)),
            (Tag.TOT_NUM_REPORTS, "0"),
            (Tag.LAST_RPT_REQUESTED, "Y"),
            (Tag.TEXT, "no open orders"),
        ],
    )


def business_reject(message: FixMessage, reason: str, text: str) -> FixMessage:
    """That a request was not taken, though there is nothing wrong with it; ``reason``: BusinessRejectReason."""
    fields = [
        (Tag.REF_SEQ_NUM, message.get(Tag.MSG_SEQ_NUM)),
        (Tag.REF_MSG_TYPE, message.type),
        (Tag.BUSINESS_REJECT_REF_ID, message.get(Tag.CL_ORD_ID) or message.get(Tag.MASS_STATUS_REQ_ID)),
        (Tag.BUSINESS_REJECT_REASON, reason),
        (Tag.TEXT, clean(text)),
    ]
    return FixMessage(MsgType.BUSINESS_MESSAGE_REJECT, [(tag, value) for tag, value in fields if value])


# ---------------------------------------------------------------- from FIX


def report_from_fix(message: FixMessage, known: OrderFacts | None, instruments: Instruments) -> Report | None:
    """What a venue says, without a number of the log; None: nothing that is about an order.

    ``known``: of the order, if this side has sent it: then symbol, side and account are not repeated, except in a status report.
    """
    if message.type == MsgType.ORDER_CANCEL_REJECT:
        return _refusal_from(message)
    kind = exec_type_of(message)
    if kind is None:
        return None
    symbol = message.said(Tag.SYMBOL)
    if known is not None:
        symbol = known.symbol  # a venue may call it otherwise
    scale = Scale(instruments.get(symbol))
    last_quantity = _maybe(message, Tag.LAST_QTY, scale.quantity)
    last_price = _maybe(message, Tag.LAST_PX, scale.price)
    text = message.said(Tag.TEXT)
    if kind in _EXECUTIONS and (last_quantity is None or last_price is None):
        told = f"{message.said(Tag.LAST_QTY) or 'nothing'} at {message.said(Tag.LAST_PX) or 'no price'}"
        text = (
            f"the venue told an execution of {told}, which cannot be one in this instrument. {text}".strip()
        )
    is_repeated = known is None or kind is ExecType.ORDER_STATUS
    is_known_there = message.get(Tag.SYMBOL) != NO_SYMBOL and is_repeated
    exec_id = message.said(Tag.EXEC_ID)
    return Report(
        kind=kind,
        cl_ord_id=message.said(Tag.CL_ORD_ID),
        orig_cl_ord_id=message.said(Tag.ORIG_CL_ORD_ID),
        venue_order_id=message.said(Tag.ORDER_ID),
        exec_id="" if exec_id == NO_EXEC_ID else exec_id,
        exec_ref_id=message.said(Tag.EXEC_REF_ID),
        last_quantity=last_quantity or 0,
        last_price=last_price,
        ord_status=ord_status_of(message),
        quantity=_maybe(message, Tag.ORDER_QTY, scale.quantity),
        price=_maybe(message, Tag.PRICE, scale.price),
        stop_price=_maybe(message, Tag.STOP_PX, scale.price),
        cum_quantity=_maybe(message, Tag.CUM_QTY, scale.quantity),
        leaves_quantity=_maybe(message, Tag.LEAVES_QTY, scale.quantity),
        day_cum_quantity=_maybe(message, Tag.DAY_CUM_QTY, scale.quantity),
        symbol=symbol if is_known_there else "",
        side=_SIDES_BACK.get(message.get(Tag.SIDE)) if is_known_there else None,
        account=message.said(Tag.ACCOUNT) if is_known_there else "",
        reason=reason_of(message),
        text=text,
        at_ns=_at_ns(message),
    )


def _maybe(message: FixMessage, tag: int, read: _Read) -> int | None:
    try:
        return read(message, tag)
    except FixFault:
        return None


def _at_ns(message: FixMessage) -> int:
    for tag in (Tag.TRANSACT_TIME, Tag.SENDING_TIME):
        try:
            at_ns = time_ns(message, tag)
        except FixFault:
            continue
        if at_ns is not None:
            return at_ns
    return 0


def _refusal_from(message: FixMessage) -> Report:
    original = message.said(Tag.ORIG_CL_ORD_ID)
    return Report(
        kind=ExecType.CANCEL_REJECT,
        cl_ord_id=message.said(Tag.CL_ORD_ID),
        orig_cl_ord_id="" if original == "NONE" else original,
        venue_order_id=message.said(Tag.ORDER_ID),
        ord_status=ord_status_of(message),
        reason=reason_of(message),
        text=message.said(Tag.TEXT),
        at_ns=_at_ns(message),
    )


def not_sent_report(facts: OrderFacts, original: str, reason: str, text: str, at_ns: int) -> Report:
    """That a request was not taken in, as the seam says it: the venue has refused the message as such, or it was never sent.

    ``original``: OrigClOrdID of a cancel or a replacement.
    """
    if facts.kind is RequestKind.NEW:
        return Report(
            kind=ExecType.REJECTED, cl_ord_id=facts.cl_ord_id, ord_status=OrdStatus.REJECTED, venue_order_id=NO_ORDER_ID,
            quantity=facts.quantity, cum_quantity=0, leaves_quantity=0, reason=reason, text=text, at_ns=at_ns,
        )  # fmt: skip
    return Report(
        kind=ExecType.CANCEL_REJECT, cl_ord_id=facts.cl_ord_id, orig_cl_ord_id=original, reason=reason, text=text, at_ns=at_ns,
    )  # fmt: skip


def status_report(last: Report, cl_ord_id: str, at_ns: int) -> Report:
    """How an order stands after the last report of it, as an answer to a question about it."""
    return msgspec.structs.replace(
        last, kind=ExecType.ORDER_STATUS, cl_ord_id=cl_ord_id, orig_cl_ord_id="", venue_seq=0, exec_id="", exec_ref_id="",
        last_quantity=0, last_price=None, reason="", text="the last that the venue has told", at_ns=at_ns,
    )  # fmt: skip
