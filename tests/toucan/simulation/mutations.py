"""The engine broken on purpose, one guard at a time: proof that the simulation would find it. Each is a context manager."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest import mock

from toucan.core import events as ev
from toucan.core import life_cycle, reconcile, staging
from toucan.core import state as state_module
from toucan.core.clients import ClientRecord
from toucan.core.decide import Decider, Decision
from toucan.core.order import Order
from toucan.core.outcomes import Refusal, Refused
from toucan.core.reconcile import VenueSession
from toucan.core.staged import StagedOrder
from toucan.core.state import EngineState
from toucan.core.terms import OrderTerms
from toucan.core.values import RequestKind
from toucan.core.venue_messages import NewOrder, Report, ToVenue
from toucan.engine.batch import Batch
from toucan.engine.loop import EngineLoop
from toucan.journal.errors import JournalUnavailable

__all__ = ["MUTATIONS"]

_Mutation = Callable[[], AbstractContextManager[object]]


def _no_recall() -> AbstractContextManager[object]:
    """What was answered before is executed again."""
    return mock.patch.object(ClientRecord, "recall", return_value=None)


def _answered_before_durable() -> AbstractContextManager[object]:
    """Clients and venues hear of it before the commit."""

    def commit(self: EngineLoop, batch: Batch) -> None:
        self._broken_streams.clear()
        self._give_out(batch)
        try:
            self._make_durable(batch, is_urgent=False)
        except JournalUnavailable:
            self._rebuild()

    return mock.patch.object(EngineLoop, "_commit", commit)


def _sent_before_durable() -> AbstractContextManager[object]:
    """Orders leave before the commit; answers do not."""
    real = EngineLoop._commit

    def commit(self: EngineLoop, batch: Batch) -> None:
        for venue, messages in batch.messages.items():
            self._links[venue].send(messages)
        batch.messages = {}
        real(self, batch)

    return mock.patch.object(EngineLoop, "_commit", commit)


def _failed_commits_count() -> AbstractContextManager[object]:
    """A turn whose commit has failed is not undone."""

    def undo(self: EngineLoop, batch: Batch, error: JournalUnavailable) -> None:
        self._give_out(batch)

    return mock.patch.object(EngineLoop, "_undo", undo)


def _new_orders_sent_again() -> AbstractContextManager[object]:
    """A new order that has not arrived is sent again after the next connection."""
    real = VenueSession._reconciled

    def reconciled(self: VenueSession) -> tuple[list[ev.Event], list[ToVenue]]:
        events, messages = real(self)
        lost = [
            one for one in events if isinstance(one, ev.RequestNotReceived) and one.kind is RequestKind.NEW
        ]
        again = [_as_new(self._state.orders[one.order_id]) for one in lost]
        return [one for one in events if one not in lost], [*messages, *again]

    return mock.patch.object(VenueSession, "_reconciled", reconciled)


def _as_new(order: Order) -> ToVenue:
    terms = order.terms
    return NewOrder(
        order.first_cl_ord_id, terms.account, terms.symbol, terms.side, terms.type, terms.time_in_force, terms.quantity,
        terms.price, expire_at_ns=order.expire_at_ns,
    )  # fmt: skip


def _lost_cancels_stay_lost() -> AbstractContextManager[object]:
    """A cancel that has not arrived is not sent again."""
    return mock.patch.object(reconcile, "_cancels_again", return_value=[])


def _lost_replacements_stay() -> AbstractContextManager[object]:
    """A replacement that has not arrived stays in flight."""
    return mock.patch.object(VenueSession, "_lost_replacements", return_value=[])


def _orders_while_away() -> AbstractContextManager[object]:
    """New orders are taken before everything in flight is settled."""

    def unsendable(self: Decider, terms: OrderTerms, now_ns: int) -> Decision | None:
        return self.senseless(terms, now_ns)

    return mock.patch.object(Decider, "_unsendable", unsendable)


def _away_is_not_said() -> AbstractContextManager[object]:
    """That a venue is away is lost with a commit that fails."""
    return mock.patch.object(VenueSession, "unsaid", return_value=[])


def _nothing_is_repeated() -> AbstractContextManager[object]:
    """What is told again counts again."""
    return mock.patch.object(reconcile, "is_repeated", return_value=False)


def _gaps_are_fine() -> AbstractContextManager[object]:
    """Reports may be missing."""
    real = VenueSession.report

    def report(self: VenueSession, one: Report) -> tuple[list[ev.Event], list[ToVenue]]:
        self._is_welcomed = True
        return real(self, one)

    return mock.patch.object(VenueSession, "report", report)


def _over_fills_are_fine() -> AbstractContextManager[object]:
    """Whatever the venue fills counts."""
    return mock.patch.object(life_cycle, "_over_fill", return_value=None)


def _sessions_survive() -> AbstractContextManager[object]:
    """An engine that starts believes that everybody is still there."""

    def started(self: EngineState, event: ev.EngineStarted) -> None:
        self.epoch = event.epoch
        for venue in self.venues.values():
            venue.is_ready = False

    return mock.patch.dict(state_module._APPLY, {ev.EngineStarted: started})


def _front_ends_die_unnoticed() -> AbstractContextManager[object]:
    """Streams of a front end that was killed go on for ever."""
    real = EngineLoop._forget_front

    def forget_front(self: EngineLoop, number: int) -> None:
        self._streams.pop(number, None)
        real(self, number)

    return mock.patch.object(EngineLoop, "_forget_front", forget_front)


def _silence_is_borne() -> AbstractContextManager[object]:
    """A venue that does not answer is waited for, for ever."""
    return mock.patch.object(EngineLoop, "_hurry_venues", return_value=None)


def _decided_twice() -> AbstractContextManager[object]:
    """Who decides on a proposal second is let through."""

    def waiting(decider: Decider, staged_id: int, now_ns: int) -> tuple[StagedOrder | None, Decision]:
        staged = decider.state.staged.get(staged_id)
        return staged, ([], Refused(Refusal.UNKNOWN_STAGED_ORDER, "there is none"))

    return mock.patch.object(staging, "_waiting", waiting)


def _proposals_survive_their_session() -> AbstractContextManager[object]:
    """Proposals of a session that is gone stay."""
    return mock.patch.object(staging, "withdrawn", return_value=[])


#: By name; each must be found.
MUTATIONS: dict[str, _Mutation] = {
    "no-recall": _no_recall,
    "answered-before-durable": _answered_before_durable,
    "sent-before-durable": _sent_before_durable,
    "failed-commits-count": _failed_commits_count,
    "new-orders-sent-again": _new_orders_sent_again,
    "lost-cancels-stay-lost": _lost_cancels_stay_lost,
    "lost-replacements-stay": _lost_replacements_stay,
    "orders-while-away": _orders_while_away,
    "away-is-not-said": _away_is_not_said,
    "nothing-is-repeated": _nothing_is_repeated,
    "gaps-are-fine": _gaps_are_fine,
    "over-fills-are-fine": _over_fills_are_fine,
    "sessions-survive": _sessions_survive,
    "front-ends-die-unnoticed": _front_ends_die_unnoticed,
    "silence-is-borne": _silence_is_borne,
    "decided-twice": _decided_twice,
    "proposals-survive-their-session": _proposals_survive_their_session,
}
