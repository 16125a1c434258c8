"""What clients and front ends ask of the engine: the messages of the request ring.

Law: values only. A front end has verified who asks and what he is entitled to; the engine believes it, and checks everything else itself.
"""

from __future__ import annotations

import zlib

import msgspec

from toucan.core.order import Client
from toucan.core.outcomes import Outcome
from toucan.core.terms import OrderTerms
from toucan.core.values import Side, TradingLevel

__all__ = [
    "AdjustPosition",
    "AmendStaged",
    "Body",
    "Cancel",
    "CloseSession",
    "MassCancel",
    "OpenSession",
    "Preview",
    "RejectStaged",
    "ReleaseStaged",
    "Replace",
    "Reply",
    "Request",
    "SessionBroken",
    "SetLevel",
    "SetLimit",
    "Stage",
    "Submit",
    "fingerprint",
]


class _Body(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True):
    """Immutable, tagged with its name."""


class Submit(_Body, frozen=True):
    """A new order. ``is_confirmed``: a person has seen which soft limits it passes."""

    terms: OrderTerms
    is_confirmed: bool = False


class Cancel(_Body, frozen=True):
    """Cancels what is left of an order."""

    order_id: int


class Replace(_Body, frozen=True):
    """Changes an order; None: as it is. The quantity counts what is filled."""

    order_id: int
    quantity: int | None = None
    price: int | None = None
    stop_price: int | None = None
    is_confirmed: bool = False


class MassCancel(_Body, frozen=True):
    """Cancels all open orders that match everything given; empty: matches all. ``accounts``: those the caller is entitled to; None: all."""

    accounts: tuple[str, ...] | None = None
    symbol: str = ""
    side: Side | None = None
    owner: str = ""
    session: str = ""


class Preview(_Body, frozen=True):
    """What :class:`Submit` would be answered."""

    terms: OrderTerms


class SetLevel(_Body, frozen=True):
    """Sets a node's trading level."""

    node: str
    level: TradingLevel
    reason: str


class SetLimit(_Body, frozen=True):
    """Sets or (None) removes one limit of a node."""

    node: str
    limit: str
    value: str | None
    reason: str


class AdjustPosition(_Body, frozen=True):
    """Adds to a position at a price."""

    account: str
    trader: str
    symbol: str
    quantity: int
    price: int
    reason: str


class Stage(_Body, frozen=True):
    """Proposes an order. ``ttl_ns``: None: the default."""

    terms: OrderTerms
    why: str
    ttl_ns: int | None = None


class ReleaseStaged(_Body, frozen=True):
    """Sends a staged order, which is as the caller has seen it (``revision``), amended by what is not None.

    ``may_release_own``: he is entitled to release also what he proposed himself. ``is_confirmed`` as in :class:`Submit`.
    """

    staged_id: int
    revision: int
    quantity: int | None = None
    price: int | None = None
    stop_price: int | None = None
    why: str = ""
    is_confirmed: bool = False
    may_release_own: bool = False


class AmendStaged(_Body, frozen=True):
    """Changes a staged order, which is as the caller has seen it; None: as it is."""

    staged_id: int
    revision: int
    quantity: int | None = None
    price: int | None = None
    stop_price: int | None = None
    why: str = ""


class RejectStaged(_Body, frozen=True):
    """Ends a staged order; by its proposer, takes it back."""

    staged_id: int
    why: str


class OpenSession(_Body, frozen=True):
    """A session stream begins; see :class:`toucan.core.events.SessionOpened`."""

    grace_ns: int | None = None


class CloseSession(_Body, frozen=True):
    """An orderly logout. ``opened_seq`` as with :class:`SessionBroken`: one that comes late ends no session that was opened after it."""

    opened_seq: int = 0


class SessionBroken(_Body, frozen=True):
    """A front end lost the client's session stream. ``opened_seq``: the reply's ``seq`` when it was opened; a later one is not meant."""

    opened_seq: int = 0


Body = (
    Submit
    | Cancel
    | Replace
    | MassCancel
    | Preview
    | SetLevel
    | SetLimit
    | AdjustPosition
    | Stage
    | ReleaseStaged
    | AmendStaged
    | RejectStaged
    | OpenSession
    | CloseSession
    | SessionBroken
)


_encode = msgspec.msgpack.Encoder().encode


def fingerprint(body: Body) -> int:
    """By which a request that is sent again is told from another one under the same number; 32 bits, to notice mistakes and not malice."""
    return zlib.crc32(_encode(body))


class Request(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One message from a front end.

    ``number`` is the client's own, counting up within its session: a number that was answered gets the same answer again, one below the newest that
    was never seen is refused. 0 for what changes no order (Preview, sessions): then nothing is remembered.
    """

    #: The front end's, given back with the reply.
    tag: int
    client: Client
    number: int
    body: Body
    #: Not carried out later than this (ns, CLOCK_MONOTONIC of the host); None: whenever.
    deadline_ns: int | None = None


class Reply(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One message to a front end. ``seq``: the newest event when this was decided; whoever has applied it sees what the request did."""

    tag: int
    seq: int
    outcome: Outcome
