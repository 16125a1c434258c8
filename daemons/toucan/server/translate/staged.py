"""Staged orders between the public API (``staged.proto``) and :mod:`toucan.core`: requests in, values out."""

from __future__ import annotations

import msgspec

from aviary.toucan.v1 import staged_pb2 as sp
from toucan.core import requests as rq
from toucan.core.events import Event
from toucan.core.limits import STAGED_TTL_NS_MAX, STAGED_TTL_NS_MIN, STAGED_WHY_CHARACTERS_MAX
from toucan.core.staged import Revision, StagedOrder
from toucan.core.values import StagedState
from toucan.server.translate import fields, from_wire, to_wire

__all__ = [
    "StagedFilterTerms",
    "amend",
    "filter_terms",
    "reject",
    "release",
    "snapshot_line",
    "stage",
    "staged_id",
    "staged_order",
    "staged_update",
]

_NS_PER_MS = 1_000_000
#: Revisions count up from 1; no staged order has so many.
_REVISION_MAX = 2**31 - 1


class StagedFilterTerms(msgspec.Struct, frozen=True):
    """A StagedFilter that was checked; None: everything matches."""

    accounts: frozenset[str] | None = None
    symbols: frozenset[str] | None = None
    proposers: frozenset[str] | None = None
    is_pending: bool = False


def staged_id(value: int) -> int:
    """The engine's id of a staged order."""
    return fields.bounded(value, 1, 2**63 - 1, "staged_id")


def _why(text: str) -> str:
    return fields.printable(text, STAGED_WHY_CHARACTERS_MAX, "why")


def stage(request: sp.StageOrderRequest) -> rq.Stage:
    """A proposal."""
    ttl_ns = None
    if request.HasField("time_to_live_ms"):
        least, most = STAGED_TTL_NS_MIN // _NS_PER_MS, STAGED_TTL_NS_MAX // _NS_PER_MS
        ttl_ns = fields.bounded(request.time_to_live_ms, least, most, "time_to_live_ms") * _NS_PER_MS
    return rq.Stage(from_wire.order_terms(request), _why(request.why), ttl_ns)


def release(request: sp.ReleaseStagedOrderRequest, may_release_own: bool) -> rq.ReleaseStaged:
    """A release."""
    return rq.ReleaseStaged(
        staged_id=staged_id(request.staged_id),
        revision=fields.bounded(request.revision, 1, _REVISION_MAX, "revision"),
        quantity=fields.optional_number(request, "quantity"),
        price=fields.optional_number(request, "price"),
        stop_price=fields.optional_number(request, "stop_price"),
        why=_why(request.why),
        is_confirmed=request.is_confirmed,
        may_release_own=may_release_own,
    )


def amend(request: sp.AmendStagedOrderRequest) -> rq.AmendStaged:
    """An amendment."""
    return rq.AmendStaged(
        staged_id=staged_id(request.staged_id),
        revision=fields.bounded(request.revision, 1, _REVISION_MAX, "revision"),
        quantity=fields.optional_number(request, "quantity"),
        price=fields.optional_number(request, "price"),
        stop_price=fields.optional_number(request, "stop_price"),
        why=_why(request.why),
    )


def reject(request: sp.RejectStagedOrderRequest) -> rq.RejectStaged:
    """A rejection or withdrawal."""
    return rq.RejectStaged(staged_id(request.staged_id), _why(request.why))


def filter_terms(wire: sp.StagedFilter) -> StagedFilterTerms:
    """A filter; an absent one matches everything."""
    return StagedFilterTerms(
        accounts=fields.names(wire.accounts, "filter.accounts"),
        symbols=fields.names(wire.symbols, "filter.symbols"),
        proposers=fields.names(wire.proposers, "filter.proposers"),
        is_pending=wire.is_pending,
    )


# ---------------------------------------------------------------- out


def staged_order(value: StagedOrder) -> sp.StagedOrder:
    """A staged order as it stands."""
    last, first, decision = value.last, value.revisions[0], value.decision
    wire = sp.StagedOrder(
        staged_id=value.staged_id,
        terms=to_wire.terms(last.terms),
        proposer=value.owner.user,
        session=value.owner.session,
        why=first.why,
        status=int(value.state),  # type: ignore[arg-type]
        revision=value.revision,
        revisions=[_revision(number, one) for number, one in enumerate(value.revisions, 1)],
        denials=[to_wire.denial(one) for one in value.denials],
        notional=last.notional,
        reference_price=last.reference_price,
        proposed_ns=first.at_ns,
        expires_ns=value.expires_at_ns,
        updated_ns=value.updated_ns,
        updated_seq=value.updated_seq,
    )
    if decision is not None:
        wire.decided_by, wire.decided_why, wire.decided_ns = decision.by.user, decision.why, decision.at_ns
        if decision.order_id is not None:
            wire.order_id = decision.order_id
    return wire


def _revision(number: int, value: Revision) -> sp.StagedRevision:
    return sp.StagedRevision(
        revision=number, terms=to_wire.terms(value.terms), by=value.by.user, why=value.why, at_ns=value.at_ns
    )


def staged_update(seq: int, at_ns: int, event: Event, value: StagedOrder) -> sp.StagedUpdate:
    """A change of a staged order."""
    return sp.StagedUpdate(seq=seq, event=type(event).__name__, staged=staged_order(value), at_ns=at_ns)


def snapshot_line(value: StagedOrder) -> sp.StagedUpdate:
    """A staged order as it stands, told in a snapshot."""
    return sp.StagedUpdate(
        seq=value.updated_seq, event="Snapshot", staged=staged_order(value), at_ns=value.updated_ns
    )


# The wire's numbers are the core's.
assert {"STAGED_STATUS_" + member.name: int(member) for member in StagedState} == {
    name: number for name, number in sp.StagedStatus.items() if number
}, "STAGED_STATUS_: the API and the core number it differently"
