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
    "Refusal",
    "Refused",
]


class Refusal(enum.StrEnum):
    """Why a request was not carried out, limits aside."""

    INVALID_ORDER = "INVALID_ORDER"
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    UNKNOWN_ACCOUNT = "UNKNOWN_ACCOUNT"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    ORDER_CLOSED = "ORDER_CLOSED"
    CANCEL_IN_FLIGHT = "CANCEL_IN_FLIGHT"
    TOO_MANY_IN_FLIGHT = "TOO_MANY_IN_FLIGHT"
    NOTHING_CHANGES = "NOTHING_CHANGES"
    VENUE_NOT_READY = "VENUE_NOT_READY"
    FROZEN = "FROZEN"
    UNKNOWN_NODE = "UNKNOWN_NODE"
    INVALID_LIMIT = "INVALID_LIMIT"
    REASON_MISSING = "REASON_MISSING"
    STILL_COOLING_OFF = "STILL_COOLING_OFF"
    REQUEST_NUMBER_MISSING = "REQUEST_NUMBER_MISSING"
    REQUEST_SUPERSEDED = "REQUEST_SUPERSEDED"
    REQUEST_FORGOTTEN = "REQUEST_FORGOTTEN"
    DEADLINE_PASSED = "DEADLINE_PASSED"
    TOO_MANY_SESSIONS = "TOO_MANY_SESSIONS"
    TOO_MANY_ORDERS = "TOO_MANY_ORDERS"
    JOURNAL_UNAVAILABLE = "JOURNAL_UNAVAILABLE"
    ENGINE_OVERLOADED = "ENGINE_OVERLOADED"


class Anomaly(enum.StrEnum):
    """What a venue said that cannot be."""

    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    OVER_FILL = "OVER_FILL"
    REPEATED = "REPEATED"
    UNKNOWN_EXECUTION = "UNKNOWN_EXECUTION"
    IMPOSSIBLE_NOW = "IMPOSSIBLE_NOW"
    MALFORMED = "MALFORMED"


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


Outcome = Accepted | MassCanceled | Denied | Refused | Done | Previewed
