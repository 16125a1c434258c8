"""DropCopy: everything that happens, in order and without anything left out, for those who keep books of their own.

A stream that resumes is served from the events that the port keeps; what is older is told as a gap, which `toucan audit` can fill. What waits for a
slow client is never conflated: over its bound the stream is cut off, and can go on where it was.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.core.events import Event
from toucan.engine.port import Applied, EnginePort
from toucan.server.calls import Call
from toucan.server.entitlements import User
from toucan.server.identity import Identity
from toucan.server.limits import DROP_COPIES_PER_MESSAGE, DROP_COPIES_WAITING_MAX
from toucan.server.streams.book import StreamBook
from toucan.server.streams.event_facts import EventFacts, facts_of
from toucan.server.streams.outlet import Outlet
from toucan.server.streams.resume import resume_point
from toucan.server.translate import fields
from toucan.server.translate.pieces import drop_copy_event, drop_copy_response

__all__ = ["DropCopy", "DropCopyFeed", "DropCopyWatch", "Happening"]

_json = msgspec.json.Encoder().encode


class Happening:
    """An event on its way to all drop copies; encoded when the first one sends it."""

    __slots__ = ("_at_ns", "_event", "_piece", "facts", "seq")

    def __init__(self, seq: int, at_ns: int, event: Event, facts: EventFacts) -> None:
        self.seq = seq
        self.facts = facts
        self._at_ns = at_ns
        self._event = event
        self._piece: bytes | None = None

    @property
    def piece(self) -> bytes:
        """For :func:`toucan.server.translate.pieces.drop_copy_response`."""
        if self._piece is None:
            self._piece = drop_copy_event(
                pb.DropCopyEvent(
                    seq=self.seq,
                    at_ns=self._at_ns,
                    event=type(self._event).__name__,
                    user=self.facts.user,
                    account=self.facts.account,
                    order_id=self.facts.order_id,
                    json=_json(self._event).decode(),
                )
            )
        return self._piece


class DropCopyFeed:
    """Follows the engine for all drop copies; a :class:`toucan.engine.port.EventListener`."""

    def __init__(self, port: EnginePort) -> None:
        self.port = port
        self.seq = port.state.seq
        self.watches: set[DropCopyWatch] = set()

    def on_applied(self, applied: Applied) -> None:
        """See :class:`toucan.engine.port.EventListener`."""
        self.seq = applied.seq
        if self.watches:
            self._offer(applied.seq, applied.at_ns, applied.event)

    def _offer(self, seq: int, at_ns: int, event: Event) -> None:
        happening = self.happening(seq, at_ns, event)
        for watch in self.watches:
            watch.offer(happening)

    def happening(self, seq: int, at_ns: int, event: Event) -> Happening:
        """An event with what it is about."""
        return Happening(
            seq, at_ns, event, facts_of(event, self.port.state.orders, self.port.state.staged.orders)
        )

    def on_market(self, symbols: Sequence[str]) -> None:
        """The market is no event."""

    def on_resync(self) -> None:
        """The copy was replaced: what was missed is told if it is kept, else that there is a gap."""
        events = self.port.history(self.seq) if self.port.state.seq >= self.seq else None
        self.seq = self.port.state.seq
        if events is None:
            for watch in self.watches:
                watch.gap()
        else:
            for seq, at_ns, event in events:
                self._offer(seq, at_ns, event)

    def on_staleness(self, is_stale: bool) -> None:
        """Told to everybody at once."""
        for watch in self.watches:
            watch.tell()


class DropCopyWatch(Outlet):
    """A stream of DropCopy. ``scope``: the user, with the accounts that he asks for."""

    def __init__(
        self, book: StreamBook, identity: Identity, feed: DropCopyFeed, scope: User, after_seq: int | None
    ) -> None:
        super().__init__(book.pump, identity)
        self._feed = feed
        self._scope = scope
        #: While it catches up: everything up to here was told.
        self._cursor = after_seq
        self._backlog: Iterator[tuple[int, int, Event]] | None = None
        self._waiting: deque[Happening] = deque()
        self._gap_until_seq: int | None = None
        self._must_tell = True

    def offer(self, happening: Happening) -> None:
        """Something has happened."""
        if self._cursor is not None or not self._sees(happening):
            return
        self._waiting.append(happening)
        if len(self._waiting) > DROP_COPIES_WAITING_MAX:
            self.cut_off(f"{len(self._waiting)} events are waiting for it")
        self.poke()

    def _sees(self, happening: Happening) -> bool:
        return happening.facts.seen_by(self._scope, self._feed.port.state.risk.tree.teams)

    def tell(self) -> None:
        """Something is to be said that is no event."""
        self._must_tell = True
        self.poke()

    def gap(self) -> None:
        """What comes next does not follow what was told."""
        self._waiting.clear()
        self._cursor = self._backlog = None
        self._gap_until_seq = self._feed.seq + 1
        self.tell()

    @property
    def has_more(self) -> bool:
        """See :class:`Outlet`."""
        return self._cursor is not None or bool(self._waiting) or self._must_tell

    def next_message(self, *, is_heartbeat: bool) -> bytes | None:
        """See :class:`Outlet`."""
        if self._cursor is not None:
            happenings, seq = self._caught_up_with(self._cursor)
        else:
            happenings, seq = self._taken()
        if not happenings and not is_heartbeat and not self._must_tell:
            return None
        self._must_tell = False
        gap_until_seq, self._gap_until_seq = self._gap_until_seq, None
        pieces = (one.piece for one in happenings)
        return drop_copy_response(pieces, seq, gap_until_seq, self._feed.port.is_stale)

    def _taken(self) -> tuple[list[Happening], int]:
        count = min(DROP_COPIES_PER_MESSAGE, len(self._waiting))
        taken = [self._waiting.popleft() for _ in range(count)]
        return taken, taken[-1].seq if self._waiting else self._feed.seq

    def _caught_up_with(self, cursor: int) -> tuple[list[Happening], int]:
        if self._backlog is None:
            events = self._feed.port.history(cursor)
            if events is None:
                self.gap()
                return [], self._feed.seq
            self._backlog = iter(events)
        taken = [*itertools.islice(self._backlog, DROP_COPIES_PER_MESSAGE)]
        if taken:
            self._cursor = cursor = taken[-1][0]
        else:
            self._backlog = None
        if cursor >= self._feed.seq:
            self._cursor = self._backlog = None
        happenings = (self._feed.happening(*one) for one in taken)
        return [one for one in happenings if self._sees(one)], cursor


class DropCopy:
    """The method."""

    def __init__(self, feed: DropCopyFeed, book: StreamBook) -> None:
        self._feed = feed
        self._book = book

    async def watch(self, call: Call, request: pb.DropCopyRequest) -> None:
        """DropCopy."""
        call.user.require("drop-copy")
        accounts = fields.names(request.accounts, "accounts")
        for account in sorted(accounts or ()):
            call.user.require_account(account)
        scope = call.user if accounts is None else msgspec.structs.replace(call.user, accounts=accounts)
        after_seq = await resume_point(self._feed.port, request)
        with self._book.place(call):
            watch = DropCopyWatch(self._book, call.identity, self._feed, scope, after_seq)
            self._feed.watches.add(watch)
            try:
                await watch.drive(call.context)
            finally:
                self._feed.watches.discard(watch)
