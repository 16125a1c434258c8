"""One turn of the engine's loop: what it took in, what it decided, and what is to be done once that is durable."""

from __future__ import annotations

import msgspec

from toucan.core.events import Event
from toucan.core.requests import (
    Cancel,
    CloseSession,
    MassCancel,
    OpenSession,
    Reply,
    Request,
    SessionBroken,
    SetLevel,
)
from toucan.core.values import TradingLevel
from toucan.core.venue_messages import ToVenue
from toucan.limits import RECORD_EVENTS_MAX

__all__ = ["Batch", "Staged", "is_urgent"]

_URGENT = (Cancel, MassCancel, SessionBroken, OpenSession, CloseSession)


def is_urgent(request: Request) -> bool:
    """Whether a request takes exposure away, and so may use the space that is kept back for when the disk is full."""
    body = request.body
    if isinstance(body, SetLevel):
        return body.level is not TradingLevel.NORMAL
    return isinstance(body, _URGENT)


class Staged(msgspec.Struct, frozen=True):
    """Events that one request or report led to: one record of the journal."""

    first_seq: int
    at_ns: int
    events: list[Event]


class Batch:
    """Collects a turn."""

    def __init__(self) -> None:
        self.records: list[Staged] = []
        #: Replies by the front end's number, in order.
        self.replies: list[tuple[int, Reply]] = []
        #: Messages by venue, in order.
        self.messages: dict[str, list[ToVenue]] = {}
        #: What was asked by whom, for the case that nothing of it can be kept.
        self.requests: list[tuple[int, Request]] = []
        #: Whether somebody waits for it; what a venue only acknowledges is in no hurry.
        self.is_hurried = False

    def stage(self, first_seq: int, at_ns: int, events: list[Event]) -> None:
        """Events that are applied already; many become several records."""
        if len(events) <= RECORD_EVENTS_MAX:  # nearly always
            self.records.append(Staged(first_seq, at_ns, events))
            return
        for start in range(0, len(events), RECORD_EVENTS_MAX):
            self.records.append(Staged(first_seq + start, at_ns, events[start : start + RECORD_EVENTS_MAX]))

    def send(self, venue: str, message: ToVenue) -> None:
        """For a venue, once all is durable."""
        self.messages.setdefault(venue, []).append(message)
