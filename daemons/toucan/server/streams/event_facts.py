"""Whom an event concerns: its account, order, user or node, and who may read of it in a drop copy. Pure.

| events | who reads them |
|---|---|
| about an order or a position | users with its account |
| about a staged order | users with its account |
| limits and levels of a node | users with an account at or below it |
| engine and venues (``EngineStarted``, ``VenueChanged``) | everybody with ``drop-copy`` |
| sessions and answers that name no order | who they are about, and users with all accounts |
| all else (``LimitsLoaded``, ``ClientsForgotten``, reports of unknown orders) | users with all accounts |

Who asks for some accounts only is told what concerns those.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from toucan.core import events as ev
from toucan.core.order import Order
from toucan.core.outcomes import Accepted
from toucan.core.staged import StagedOrder
from toucan.server.entitlements import User

__all__ = ["EventFacts", "facts_of"]


class EventFacts(msgspec.Struct, frozen=True, gc=False):
    """What a drop copy says beside the event itself; empty: it concerns none."""

    user: str = ""
    account: str = ""
    order_id: int = 0
    node: str = ""
    is_public: bool = False

    def seen_by(self, user: User, teams: Mapping[str, Collection[str]]) -> bool:
        """Whether a user may read of it; ``teams`` gives each team's accounts."""
        if self.is_public or user.accounts is None:
            return True
        if self.account:
            return user.has_account(self.account)
        if self.node:
            return user.concerned_by_node(self.node, teams)
        return bool(self.user) and self.user == user.name


def facts_of(
    event: ev.Event, orders: Mapping[int, Order], staged: Mapping[int, StagedOrder] | None = None
) -> EventFacts:
    """What an event is about; of an order that is no longer in ``orders`` (or ``staged``) the account is not known."""
    match event:
        case ev.OrderStaged():
            return EventFacts(event.owner.user, event.terms.account)
        case ev.StagedAmended():
            return EventFacts(event.by.user, event.terms.account)
        case ev.StagedReleased():
            return EventFacts(event.by.user, _account(event.order_id, orders), event.order_id)
        case ev.StagedRejected() | ev.StagedWithdrawn():
            return EventFacts(event.by.user, _staged_account(event.staged_id, staged or {}))
        case ev.StagedExpired():
            return EventFacts("", _staged_account(event.staged_id, staged or {}))
        case ev.EngineStarted() | ev.VenueChanged():
            return EventFacts(is_public=True)
        case ev.OrderAccepted() | ev.OrderAdopted() | ev.OrderDenied():
            return EventFacts(event.owner.user, event.terms.account, event.order_id or 0)
        case ev.CancelRequested() | ev.ReplaceRequested():
            return EventFacts(event.by.user, _account(event.order_id, orders), event.order_id)
        case ev.Reported() | ev.RequestNotReceived():
            return EventFacts("", _account(event.order_id, orders), event.order_id)
        case ev.ReportRefused():
            order_id = event.order_id or 0
            return EventFacts("", _account(order_id, orders) or event.report.account, order_id)
        case ev.Answered():
            order_id = event.outcome.order_id if isinstance(event.outcome, Accepted) else 0
            return EventFacts(event.client.user, _account(order_id, orders), order_id)
        case ev.PositionAdjusted():
            return EventFacts(event.by.user, event.account)
        case ev.LimitSet() | ev.LevelSet():
            return EventFacts(event.by.user, node=event.node)
        case ev.NodeBlocked():
            return EventFacts(node=event.node)
        case ev.SessionOpened() | ev.SessionLost() | ev.SessionEnded():
            return EventFacts(event.client.user)
        case ev.LimitsLoaded():
            return EventFacts()
        case _:
            return EventFacts()


def _staged_account(staged_id: int, staged: Mapping[int, StagedOrder]) -> str:
    found = staged.get(staged_id)
    return "" if found is None else found.terms.account


def _account(order_id: int, orders: Mapping[int, Order]) -> str:
    order = orders.get(order_id)
    return "" if order is None else order.terms.account
