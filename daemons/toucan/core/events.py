"""What has happened: everything that changes the engine's state, one kind of value each. The journal holds these and nothing else.

Law: an event is a fact with all that follows from it already decided: applying it looks at no clock, no limit and no market, so a replay gives the
same state whatever the settings are by then. A kind or a field is never removed or given another meaning; new fields have defaults. ``at_ns``
and the sequence number are the record's (:mod:`toucan.core.records`).
"""

from __future__ import annotations

import msgspec

from toucan.core.order import Client
from toucan.core.outcomes import Denial, Outcome
from toucan.core.terms import OrderTerms
from toucan.core.values import RequestKind, TradingLevel
from toucan.core.venue_messages import Report

__all__ = [
    "ENGINE",
    "Answered",
    "CancelRequested",
    "ClientsForgotten",
    "EngineStarted",
    "Event",
    "LevelSet",
    "LimitSet",
    "LimitsLoaded",
    "NodeBlocked",
    "OrderAccepted",
    "OrderAdopted",
    "OrderDenied",
    "OrderStaged",
    "PositionAdjusted",
    "ReplaceRequested",
    "ReportRefused",
    "Reported",
    "RequestNotReceived",
    "SessionEnded",
    "SessionLost",
    "SessionOpened",
    "StagedAmended",
    "StagedExpired",
    "StagedRejected",
    "StagedReleased",
    "StagedWithdrawn",
    "VenueChanged",
]

#: Who acts where nobody asked: expiry, cancel on disconnect, reconciliation.
ENGINE = Client("engine", "")


class _Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True):
    """Immutable, tagged with its name."""


class EngineStarted(_Event, frozen=True):
    """A process took the journal over; every session counts as lost from then on."""

    epoch: int
    version: str


class OrderAccepted(_Event, frozen=True):
    """Passed every check; goes to the venue as soon as this is durable."""

    order_id: int
    cl_ord_id: str
    owner: Client
    terms: OrderTerms
    venue: str
    #: When the venue shall end it (DAY, GTD), ns since the epoch.
    expire_at_ns: int | None = None


class OrderDenied(_Event, frozen=True):
    """Refused here, before any venue heard of it."""

    owner: Client
    terms: OrderTerms
    denial: Denial
    #: Of the order whose replacement was denied; None for a new one.
    order_id: int | None = None
    #: Of the staged order that was to be released; ``owner`` is who tried, whose denial it counts as.
    staged_id: int | None = None


class CancelRequested(_Event, frozen=True):
    """A cancel goes to the venue, now or as soon as it can be reached. ``why``: empty if a client asked for it."""

    order_id: int
    cl_ord_id: str
    orig_cl_ord_id: str
    by: Client
    why: str = ""


class ReplaceRequested(_Event, frozen=True):
    """A replacement goes to the venue; ``terms`` as they shall be then."""

    order_id: int
    cl_ord_id: str
    orig_cl_ord_id: str
    by: Client
    terms: OrderTerms


class Reported(_Event, frozen=True):
    """A venue said something about an order that is known here, and it counts."""

    venue: str
    order_id: int
    report: Report


class ReportRefused(_Event, frozen=True):
    """A venue said something that cannot be; nothing changes, a person must look. ``code`` is from :class:`toucan.core.outcomes.Anomaly`."""

    venue: str
    report: Report
    code: str
    text: str
    order_id: int | None = None


class OrderAdopted(_Event, frozen=True):
    """An order that was entered at the venue by another way, on one of our accounts; its first report follows as :class:`Reported`."""

    order_id: int
    owner: Client
    terms: OrderTerms
    venue: str
    cl_ord_id: str


class RequestNotReceived(_Event, frozen=True):
    """The venue, asked after a connection was lost, does not know this request: for a new order or a replacement, it will never have any effect."""

    order_id: int
    cl_ord_id: str
    kind: RequestKind


class VenueChanged(_Event, frozen=True):
    """How we stand with a venue. ``life`` is its own name for its state; ``is_ready``: everything in flight is reconciled, new orders may go."""

    venue: str
    life: str
    is_ready: bool
    why: str = ""


class Answered(_Event, frozen=True):
    """The answer to a client's request, kept so that the same request is answered the same again and never executed twice."""

    client: Client
    number: int
    outcome: Outcome
    #: Of the request (:func:`toucan.core.requests.fingerprint`).
    fingerprint: int = 0


class ClientsForgotten(_Event, frozen=True):
    """Idle for long and without open orders: their answers are no longer kept, and their numbers begin anew."""

    clients: tuple[Client, ...]


class LimitsLoaded(_Event, frozen=True):
    """The limits file as it was read: takes the place of the whole tree and of changes made at run time."""

    document: str
    by: str


class LimitSet(_Event, frozen=True):
    """One limit, changed at run time; ``value`` None takes it away."""

    node: str
    limit: str
    value: str | None
    by: Client
    reason: str


class LevelSet(_Event, frozen=True):
    """A trading level, set by somebody; NORMAL also enables what was blocked automatically."""

    node: str
    level: TradingLevel
    by: Client
    reason: str


class NodeBlocked(_Event, frozen=True):
    """Too many denials: no new orders here until the time is over *and* somebody has enabled it again."""

    node: str
    until_ns: int
    denials: int


class PositionAdjusted(_Event, frozen=True):
    """A position changed otherwise than by an execution: a transfer, a split, an opening balance."""

    account: str
    trader: str
    symbol: str
    quantity: int
    price: int
    by: Client
    reason: str


class SessionOpened(_Event, frozen=True):
    """A session stream began. With ``grace_ns`` its orders are cancelled so long after it was lost; None: they stay."""

    client: Client
    grace_ns: int | None = None


class SessionLost(_Event, frozen=True):
    """A session stream broke off without a logout; the grace time begins."""

    client: Client


class SessionEnded(_Event, frozen=True):
    """An orderly logout (orders stay), or the grace time is over (``is_orderly`` False: its orders are being cancelled)."""

    client: Client
    is_orderly: bool


class OrderStaged(_Event, frozen=True):
    """Somebody proposes an order; it goes nowhere. ``denials``: what would be denied now, which is told and not enforced."""

    staged_id: int
    owner: Client
    terms: OrderTerms
    why: str
    expires_at_ns: int
    #: What ends it then, if not its time to live: "session-end" or "expire-time".
    expires_why: str = ""
    denials: tuple[Denial, ...] = ()
    notional: str = ""
    reference_price: int | None = None


class StagedAmended(_Event, frozen=True):
    """A staged order has other terms from now on; the old ones stay in its history."""

    staged_id: int
    by: Client
    terms: OrderTerms
    why: str = ""
    denials: tuple[Denial, ...] = ()
    notional: str = ""
    reference_price: int | None = None


class StagedReleased(_Event, frozen=True):
    """A staged order has become an order, which was accepted in the same record."""

    staged_id: int
    by: Client
    order_id: int
    why: str = ""


class StagedRejected(_Event, frozen=True):
    """Somebody is against a staged order, or has stopped all trading above it."""

    staged_id: int
    by: Client
    why: str


class StagedWithdrawn(_Event, frozen=True):
    """Taken back by its proposer; by the engine where his session is gone."""

    staged_id: int
    by: Client
    why: str


class StagedExpired(_Event, frozen=True):
    """Nobody has decided on a staged order in time; ``why``: "time-to-live", "session-end" or "expire-time"."""

    staged_id: int
    why: str


Event = (
    EngineStarted
    | OrderAccepted
    | OrderDenied
    | CancelRequested
    | ReplaceRequested
    | Reported
    | ReportRefused
    | OrderAdopted
    | RequestNotReceived
    | VenueChanged
    | Answered
    | ClientsForgotten
    | LimitsLoaded
    | LimitSet
    | LevelSet
    | NodeBlocked
    | PositionAdjusted
    | SessionOpened
    | SessionLost
    | SessionEnded
    | OrderStaged
    | StagedAmended
    | StagedReleased
    | StagedRejected
    | StagedWithdrawn
    | StagedExpired
)
