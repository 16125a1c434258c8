"""Answers to requests: what was decided, in codes for programs and words for people.

Law: *Denied* is risk's and ours, *Refused* is a request that makes no sense as things stand, and neither is ever called *rejected*: that word is the
venue's. Codes are names, never renumbered or reused: programs branch on them.
"""

from __future__ import annotations

import enum

import msgspec

__all__ = [
    "Accepted",
    "Anomaly",
    "Denial",
    "Denied",
    "Done",
    "MassCanceled",
    "Outcome",
    "Previewed",
    "Proposed",
    "Refusal",
    "Refused",
]


class Refusal(enum.StrEnum):
    """Why a request was not carried out, limits aside."""

    #: The terms break a rule of the instrument or of the order type; the text names the field and what it should be.
    INVALID_ORDER = "INVALID_ORDER"
    #: The instrument table has no such symbol.
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    #: The limits file has no such account.
    UNKNOWN_ACCOUNT = "UNKNOWN_ACCOUNT"
    #: There is no such order, or it ended so long ago that only the journal still has it.
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    #: Nothing of the order can be executed any more, so there is nothing to cancel or replace.
    ORDER_CLOSED = "ORDER_CLOSED"
    #: A cancel of the order is on its way; another request for it would come too late.
    CANCEL_IN_FLIGHT = "CANCEL_IN_FLIGHT"
    #: The venue has not answered several requests for the order; wait for it, or cancel the order.
    TOO_MANY_IN_FLIGHT = "TOO_MANY_IN_FLIGHT"
    #: The order, with the replacements in flight, is already as it would be.
    NOTHING_CHANGES = "NOTHING_CHANGES"
    #: The venue is not connected, or what was in flight there is not settled yet: try again in a moment.
    VENUE_NOT_READY = "VENUE_NOT_READY"
    #: The trading level is FREEZE: nothing passes, cancels neither.
    FROZEN = "FROZEN"
    #: The tree of limits has no such node.
    UNKNOWN_NODE = "UNKNOWN_NODE"
    #: No such limit, or a value that it cannot have.
    INVALID_LIMIT = "INVALID_LIMIT"
    #: A change of limits, levels or positions needs a reason, for the audit trail.
    REASON_MISSING = "REASON_MISSING"
    #: Blocked after too many denials; it cannot be enabled before the cooling-off time is over.
    STILL_COOLING_OFF = "STILL_COOLING_OFF"
    #: A request that changes something carries a number from 1 on, by which it is executed at most once.
    REQUEST_NUMBER_MISSING = "REQUEST_NUMBER_MISSING"
    #: This number was used for another request of the session.
    KEY_REUSED = "KEY_REUSED"
    #: A later request of the session was seen first; this one was not executed and never will be.
    REQUEST_SUPERSEDED = "REQUEST_SUPERSEDED"
    #: The session has gone on so far that the answer is no longer kept; the audit trail says whether it was executed.
    REQUEST_FORGOTTEN = "REQUEST_FORGOTTEN"
    #: It came after its deadline, and was not executed.
    DEADLINE_PASSED = "DEADLINE_PASSED"
    #: As many sessions are remembered as can be; use one of yours again. Cancels pass all the same.
    TOO_MANY_SESSIONS = "TOO_MANY_SESSIONS"
    #: As many orders are open as can be; cancel some.
    TOO_MANY_ORDERS = "TOO_MANY_ORDERS"
    #: There is no such staged order, or it was decided so long ago that only the journal still has it.
    UNKNOWN_STAGED_ORDER = "UNKNOWN_STAGED_ORDER"
    #: The staged order was released, rejected, withdrawn or has expired already; the text says by whom.
    STAGED_ORDER_DECIDED = "STAGED_ORDER_DECIDED"
    #: The staged order was amended since the revision that the request names; look at it again.
    STAGED_ORDER_CHANGED = "STAGED_ORDER_CHANGED"
    #: As many orders are staged as can be, of the account or of all; decide some.
    TOO_MANY_STAGED_ORDERS = "TOO_MANY_STAGED_ORDERS"
    #: Who proposed a staged order may not release it himself, unless he is entitled to release-own.
    FOUR_EYES = "FOUR_EYES"
    #: The journal cannot be written, so nothing was executed; the same request may be sent again.
    JOURNAL_UNAVAILABLE = "JOURNAL_UNAVAILABLE"
    #: More requests wait than the engine can take; it was not executed, try again in a moment.
    ENGINE_OVERLOADED = "ENGINE_OVERLOADED"


class Anomaly(enum.StrEnum):
    """What a venue said that cannot be."""

    #: About an order that was not sent from here, and that says too little to be taken over.
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    #: A fill beyond the order's quantity: either side's books are wrong.
    OVER_FILL = "OVER_FILL"
    #: Told before, and told again under a new number; it counts once.
    REPEATED = "REPEATED"
    #: The bust or correction of an execution that the order does not have.
    UNKNOWN_EXECUTION = "UNKNOWN_EXECUTION"
    #: The order cannot get there from the state that it is in.
    IMPOSSIBLE_NOW = "IMPOSSIBLE_NOW"
    #: Something is missing in the report, or a number in it cannot be.
    MALFORMED = "MALFORMED"
    #: More was filled than the venue has told of.
    MISSING_EXECUTIONS = "MISSING_EXECUTIONS"


class _Value(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True):
    """Immutable, tagged with its name."""


class Denial(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A limit that would be passed. ``code``: a name of :class:`toucan.core.risk_checks.DenialCode`."""

    code: str
    #: Path of the node whose limit it is, such as ``firm/alpha/ACC1``.
    node: str
    #: Name of the limit; empty where the code says it all.
    limit: str = ""
    #: What the order would lead to, and what is allowed; numbers as people write them.
    value: str = ""
    maximum: str = ""
    text: str = ""
    #: A soft limit: the same request with a confirmation passes.
    can_be_confirmed: bool = False


class Accepted(_Value, frozen=True):
    """Journalled and within all limits; what the venue says comes by the streams."""

    order_id: int


class MassCanceled(_Value, frozen=True):
    """Orders that are being cancelled; ``skipped``: those with a cancel in flight already."""

    order_ids: tuple[int, ...]
    skipped: int = 0
    #: Staged orders that were rejected, of a trading level CANCEL_ALL.
    staged_ids: tuple[int, ...] = ()


class Denied(_Value, frozen=True):
    """Not within limits."""

    denial: Denial


class Refused(_Value, frozen=True):
    """Not carried out."""

    code: Refusal
    text: str


class Done(_Value, frozen=True):
    """Carried out; there is nothing to tell."""


class Previewed(_Value, frozen=True):
    """What would be answered, without doing it: the denials (soft limits first asked for confirmation), and the order's notional."""

    denials: tuple[Denial, ...]
    #: In the base currency, decimal; empty if no price is known.
    notional: str = ""
    reference_price: int | None = None
    position_before: int = 0


class Proposed(_Value, frozen=True):
    """Staged, as this revision; nothing leaves before somebody releases it. ``denials``: what would be denied if that was now."""

    staged_id: int
    revision: int
    denials: tuple[Denial, ...] = ()


Outcome = Accepted | MassCanceled | Denied | Refused | Done | Previewed | Proposed
