"""Our enums and FIX 4.4's characters for them, both ways; and the reasons for which something is refused.

Law: tables. What has no line here is not understood: in a request it is a fault of its field, in a report it is left out. A reason goes over our
own tag (5801) as it is; of other venues it is what FIX's number says, and the words of Text (58) stay theirs.
"""

from __future__ import annotations

from typing import TypeVar

from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.fix.core.message import FaultKind, FixFault, FixMessage
from toucan.fix.core.tags import Tag

__all__ = [
    "CXL_REJ_REASONS",
    "EXEC_TYPES",
    "NO_EXEC_ID",
    "NO_ORDER_ID",
    "NO_SYMBOL",
    "ORDER_TYPES",
    "ORD_REJ_REASONS",
    "ORD_STATUSES",
    "POST_ONLY",
    "RESTATEMENT_REASONS",
    "SIDES",
    "TIMES_IN_FORCE",
    "UNDISCLOSED_SIDE",
    "exec_type_of",
    "ord_status_of",
    "order_type_of",
    "reason_of",
    "side_of",
    "time_in_force_of",
]

_T = TypeVar("_T")

#: FIX 54.
SIDES = {Side.BUY: "1", Side.SELL: "2"}
#: FIX 40.
ORDER_TYPES = {OrderType.MARKET: "1", OrderType.LIMIT: "2", OrderType.STOP: "3", OrderType.STOP_LIMIT: "4"}
#: FIX 59.
TIMES_IN_FORCE = {
    TimeInForce.DAY: "0", TimeInForce.GTC: "1", TimeInForce.IOC: "3", TimeInForce.FOK: "4", TimeInForce.GTD: "6",
}  # fmt: skip
#: FIX 39.
ORD_STATUSES = {
    OrdStatus.NEW: "0", OrdStatus.PARTIALLY_FILLED: "1", OrdStatus.FILLED: "2", OrdStatus.DONE_FOR_DAY: "3",
    OrdStatus.CANCELED: "4", OrdStatus.PENDING_CANCEL: "6", OrdStatus.STOPPED: "7", OrdStatus.REJECTED: "8",
    OrdStatus.SUSPENDED: "9", OrdStatus.PENDING_NEW: "A", OrdStatus.EXPIRED: "C", OrdStatus.PENDING_REPLACE: "E",
}  # fmt: skip
#: FIX 150. L is of FIX 5.0; 4.4 has no word for a stop order that was triggered.
EXEC_TYPES = {
    ExecType.NEW: "0", ExecType.DONE_FOR_DAY: "3", ExecType.CANCELED: "4", ExecType.REPLACED: "5",
    ExecType.PENDING_CANCEL: "6", ExecType.STOPPED: "7", ExecType.REJECTED: "8", ExecType.SUSPENDED: "9",
    ExecType.PENDING_NEW: "A", ExecType.EXPIRED: "C", ExecType.RESTATED: "D", ExecType.PENDING_REPLACE: "E",
    ExecType.TRADE: "F", ExecType.TRADE_CORRECT: "G", ExecType.TRADE_CANCEL: "H", ExecType.ORDER_STATUS: "I",
    ExecType.TRIGGERED: "L",
}  # fmt: skip

#: FIX 18: participate, don't initiate.
POST_ONLY = "6"
#: FIX 37 where no order is known, 17 where nothing was executed, 55 and 54 where they are not known.
NO_ORDER_ID = "NONE"
NO_EXEC_ID = "0"
NO_SYMBOL = "[N/A]"
UNDISCLOSED_SIDE = "7"

#: FIX 103 of our reasons; 99 is "other".
ORD_REJ_REASONS = {
    "unknown-symbol": "1",
    "closed": "2",
    "halted": "2",
    "too-many-orders": "3",
    "unknown-order": "5",
    "duplicate-id": "6",
    "unknown-resend": "6",
    "quantity-not-positive": "13",
    "quantity-not-on-lot": "13",
    "account-missing": "15",
    "bad-account": "15",
}
#: FIX 102 of our reasons.
CXL_REJ_REASONS = {"too-late": "0", "unknown-order": "1", "duplicate-id": "6"}
#: FIX 378 of our reasons: 1 is a renewal of an order of several days, 5 a partial decline; 99 is "other".
RESTATEMENT_REASONS = {"new-day": "1"}

#: What other venues' numbers are called here.
_ORD_REJ_WORDS = {
    "0": "venue-option", "1": "unknown-symbol", "2": "closed", "3": "order-exceeds-limit", "4": "too-late",
    "5": "unknown-order", "6": "duplicate-id", "7": "duplicate-of-verbal", "8": "stale-order", "11": "not-supported",
    "13": "bad-quantity", "15": "bad-account",
}  # fmt: skip
_CXL_REJ_WORDS = {"0": "too-late", "1": "unknown-order", "2": "venue-option", "3": "pending", "6": "duplicate-id"}  # fmt: skip
_RESTATEMENT_WORDS = {"0": "corporate-action", "1": "new-day", "2": "operator", "3": "repriced", "5": "declined-in-part"}  # fmt: skip

_SIDES_BACK = {text: side for side, text in SIDES.items()}
_ORDER_TYPES_BACK = {text: one for one, text in ORDER_TYPES.items()}
_TIMES_BACK = {text: one for one, text in TIMES_IN_FORCE.items()}
_STATUSES_BACK = {text: one for one, text in ORD_STATUSES.items()}
#: Venues that still speak FIX 4.2's execution types say 1 and 2 for fills.
_EXEC_TYPES_BACK = {text: one for one, text in EXEC_TYPES.items()} | {
    "1": ExecType.TRADE,
    "2": ExecType.TRADE,
}


def side_of(message: FixMessage) -> Side:
    """FIX 54 of a request. Raises :class:`FixFault`."""
    return _value(message, Tag.SIDE, _SIDES_BACK)


def order_type_of(message: FixMessage) -> OrderType:
    """FIX 40 of a request. Raises :class:`FixFault`."""
    return _value(message, Tag.ORD_TYPE, _ORDER_TYPES_BACK)


def time_in_force_of(message: FixMessage) -> TimeInForce:
    """FIX 59 of a request; absent is Day. Raises :class:`FixFault`."""
    if not message.has(Tag.TIME_IN_FORCE):
        return TimeInForce.DAY
    return _value(message, Tag.TIME_IN_FORCE, _TIMES_BACK)


def _value(message: FixMessage, tag: int, table: dict[str, _T]) -> _T:
    text = message.need(tag)
    found = table.get(text)
    if found is None:
        raise FixFault(FaultKind.VALUE, tag, f"{text[:20]!r} is not traded here; {', '.join(table)} are")
    return found


def ord_status_of(message: FixMessage) -> OrdStatus | None:
    """FIX 39 of a report; None: not said, or with a word that is not known."""
    return _STATUSES_BACK.get(message.get(Tag.ORD_STATUS))


def exec_type_of(message: FixMessage) -> ExecType | None:
    """FIX 150 of a report; None: a kind that is not known."""
    return _EXEC_TYPES_BACK.get(message.get(Tag.EXEC_TYPE))


def reason_of(message: FixMessage) -> str:
    """Why: our own code if the venue is one of ours, else what FIX's number is called here."""
    own = message.said(Tag.REASON_CODE)
    if own:
        return own
    for tag, table in (
        (Tag.ORD_REJ_REASON, _ORD_REJ_WORDS),
        (Tag.CXL_REJ_REASON, _CXL_REJ_WORDS),
        (Tag.EXEC_RESTATEMENT_REASON, _RESTATEMENT_WORDS),
    ):
        if message.has(tag):
            return table.get(message.get(tag), "other")
    return ""
