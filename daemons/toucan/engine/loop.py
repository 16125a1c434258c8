"""The order-entry loop: one thread that owns all order state, alone.

Each turn: wait on the one semaphore; take in what venues and front ends have sent, a bounded number of each; decide and apply, one by one; make it
durable with one sync; and only then let anybody know: followers by the log of events, clients by their answers, venues by their orders. So nobody
ever acts on what a crash could undo.

A commit that fails undoes the turn: the state is built again from the journal, requests are answered JOURNAL_UNAVAILABLE (cancels are tried again
with the space kept back for them), and venues are asked to tell again what they told.

What a venue says that has executed and refused nothing may wait a moment for company (:data:`~toucan.limits.PATIENCE_S`): a request that comes then
shares its sync instead of waiting behind it.

Nothing here waits for a front end or a venue: whoever does not take what he is sent is dropped, and comes back.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec
import structlog

from shmipc.errors import ShmError
from toucan.core import events as ev
from toucan.core.decide import Decider
from toucan.core.order import Client
from toucan.core.outcomes import Done, Refusal, Refused
from toucan.core.reconcile import Phase, VenueSession, message_of
from toucan.core.records import encode
from toucan.core.requests import OpenSession, Reply, Request, SessionBroken
from toucan.core.state import Change, EngineState
from toucan.core.timers import Timers
from toucan.core.values import ExecType
from toucan.core.venue_messages import Book, Quote, Report, Resume, ResumeEnd, ToVenue, Welcome
from toucan.engine.batch import Batch, is_urgent
from toucan.engine.clock import EngineClock
from toucan.engine.figures import Figures
from toucan.engine.front_door import Front, FrontJoined, FrontLeft
from toucan.engine.handshake import EVENT_HEAD, encode_market
from toucan.engine.shared import SharedLog
from toucan.journal.errors import CommitTooLarge, JournalUnavailable
from toucan.limits import (
    BATCH_ITEMS_MAX,
    FRONT_BACKLOG_MAX,
    INBOX_ITEMS_MAX,
    PATIENT_RECORDS_MAX,
    TICK_S,
    VENUE_SILENCE_S_MAX,
)
from toucan.venue.events import Connected, VenueEvent
from toucan.venue.link import VenueLink

__all__ = ["EngineLoop", "FromVenueLink", "JournalWriter", "LimitsRead"]

_log = structlog.get_logger(__name__)
_encode_reply = msgspec.msgpack.Encoder().encode
_requests = msgspec.msgpack.Decoder(Request)
_TICK_NS = int(TICK_S * 1e9)
_SILENCE_NS_MAX = int(VENUE_SILENCE_S_MAX * 1e9)
#: Where the answer goes that nobody waits for.
_NOBODY = 0
#: A request has arrived, or was carried out: nobody was filled, and nothing has to be done because of it.
_PATIENT = frozenset(
    (
        ExecType.PENDING_NEW,
        ExecType.NEW,
        ExecType.PENDING_REPLACE,
        ExecType.REPLACED,
        ExecType.PENDING_CANCEL,
        ExecType.CANCELED,
    )
)


class JournalWriter(Protocol):
    """What the loop needs of :class:`toucan.journal.writer.Journal`."""

    committed_seq: int

    def append(self, first_seq: int, count: int, at_ns: int, payload: bytes) -> None:
        """Stages a record."""

    def commit(self, *, is_urgent: bool = False, is_noted: bool = True) -> int:
        """Makes what is staged durable, or raises and keeps nothing of it."""

    def note(self) -> None:
        """Tells the witness how far it is: no answer depends on that, so it comes behind them."""

    def prepare(self) -> bool:
        """Does a little work ahead, when there is nothing else to do."""


class FromVenueLink(msgspec.Struct, frozen=True):
    """What a venue's link has delivered."""

    venue: str
    messages: list[VenueEvent]


class LimitsRead(msgspec.Struct, frozen=True):
    """The limits file was read again while the engine runs, and has changed."""

    event: ev.LimitsLoaded


_Item = FrontJoined | FrontLeft | FromVenueLink | LimitsRead


class EngineLoop:
    """Everything that happens in the loop's thread. ``recover`` builds the state from the journal again.

    ``patience_s``: how long what may wait does; 0: not at all.
    """

    def __init__(
        self,
        state: EngineState,
        decider: Decider,
        sessions: Mapping[str, VenueSession],
        links: Mapping[str, VenueLink],
        journal: JournalWriter,
        event_log: SharedLog,
        market_log: SharedLog,
        clock: EngineClock,
        recover: Callable[[], EngineState],
        drop_front: Callable[[int], None],
        patience_s: float = 0.0,
    ) -> None:
        self.state = state
        self.figures = Figures()
        self._decider = decider
        self._timers = Timers(decider)
        self._sessions = sessions
        self._links = links
        self._journal = journal
        self._event_log = event_log
        self._market_log = market_log
        self._clock = clock
        self._recover = recover
        self._drop_front = drop_front
        self._patience_ns = int(patience_s * 1e9)
        #: What is decided and applied, and neither durable nor told: what waits is kept here from turn to turn.
        self._batch = Batch()
        #: Until when it may wait; 0: nothing waits.
        self._waits_until_ns = 0
        self._inbox: collections.deque[_Item] = collections.deque()
        self._fronts: dict[int, Front] = {}
        self._quotes: dict[str, Quote] = {}
        self._market: list[Quote | Book] = []
        self._next_tick_ns = 0
        #: Session streams by the front end that keeps them: their clients, and the events that opened them.
        self._streams: dict[int, dict[Client, int]] = {}
        #: Those of front ends that are gone, until that is durable.
        self._broken_streams: list[tuple[Client, int]] = []
        #: Since when a venue that is not ready has said nothing.
        self._silent_since_ns: dict[str, int] = {}
        #: Venues that are away, and the reason that is in the log.
        self._told_lost: dict[str, str] = {}

    def deliver(self, item: _Item) -> bool:
        """Hands something to the loop, from any thread; ring the doorbell after it. False: too much is waiting, it was not taken."""
        if isinstance(item, FromVenueLink) and len(self._inbox) >= INBOX_ITEMS_MAX:
            return False
        self._inbox.append(item)
        return True

    def began_with(self, event: ev.Event, change: Change) -> None:
        """Told of the events that were applied before the first turn."""
        self._timers.applied(event, change)

    @property
    def rest_s(self) -> float:
        """How long the doorbell may be waited for before the next turn."""
        if not self._waits_until_ns:
            return TICK_S
        return max(0.0, (self._waits_until_ns - self._clock.monotonic_ns()) / 1e9)

    def turn(self) -> bool:
        """One turn; True: more may be waiting, so do not wait for the doorbell before the next."""
        batch = self._batch
        has_more = self._take_inbox(batch)
        self._take_losses(batch)
        has_more |= self._take_requests(batch)
        now_ns = self._clock.now_ns()
        if now_ns >= self._next_tick_ns:
            self._next_tick_ns = now_ns + _TICK_NS
            self._apply(batch, self._timers.tick(now_ns), now_ns)
            self._hurry_venues()
            batch.is_hurried = True
        if self._may_wait(batch):
            return has_more
        self._batch, self._waits_until_ns = Batch(), 0
        self._commit(batch)
        if not has_more:
            self._journal.prepare()
        self.figures.turn(len(batch.records))
        return has_more

    def _may_wait(self, batch: Batch) -> bool:
        """Whether a batch may wait for company, and has not waited for long."""
        if batch.is_hurried or not 0 < len(batch.records) <= PATIENT_RECORDS_MAX:
            return False
        now_ns = self._clock.monotonic_ns()
        if not self._waits_until_ns:
            self._waits_until_ns = now_ns + self._patience_ns
        return now_ns < self._waits_until_ns

    # ------------------------------------------------------------ taking in

    def _take_inbox(self, batch: Batch) -> bool:
        for _ in range(BATCH_ITEMS_MAX):
            try:
                item = self._inbox.popleft()
            except IndexError:
                return False
            if isinstance(item, FromVenueLink):
                for message in item.messages:
                    batch.is_hurried |= not (isinstance(message, Report) and message.kind in _PATIENT)
                    self._take_venue_message(batch, item.venue, message)
            elif isinstance(item, FrontJoined):
                self._fronts[item.front.number] = item.front
                # It was greeted before it is known here: what was published in between woke it not.
                item.front.channel.wake()
                self.figures.fronts = len(self._fronts)
            elif isinstance(item, LimitsRead):
                batch.is_hurried = True
                self._apply(batch, [item.event], self._clock.now_ns())
            else:
                self._forget_front(item.number)
        return True

    def _take_losses(self, batch: Batch) -> None:
        """What nobody else says: a venue is away (in a turn that was undone), and streams have ended with their front end."""
        for session in self._sessions.values():
            unsaid = session.unsaid()
            if unsaid:
                batch.is_hurried = True
                self._apply(batch, unsaid, self._clock.now_ns())
        for client, opened_seq in self._broken_streams:
            self._take_request(batch, _NOBODY, Request(0, client, 0, SessionBroken(opened_seq)))

    def _hurry_venues(self) -> None:
        """A venue that does not answer while everything waits for it is asked over another connection."""
        now_ns = self._clock.monotonic_ns()
        for venue, session in self._sessions.items():
            if session.phase not in (Phase.RESUMING, Phase.ASKING):
                self._silent_since_ns.pop(venue, None)
            elif now_ns - self._silent_since_ns.setdefault(venue, now_ns) > _SILENCE_NS_MAX:
                _log.warning("venue does not answer; connecting anew", venue=venue, phase=session.phase.value)
                del self._silent_since_ns[venue]
                self._links[venue].reconnect()

    def _forget_front(self, number: int) -> None:
        self._broken_streams += self._streams.pop(number, {}).items()
        front = self._fronts.pop(number, None)
        if front is not None:
            front.channel.close()
            self.figures.fronts = len(self._fronts)

    def _take_venue_message(self, batch: Batch, venue: str, message: VenueEvent) -> None:
        session = self._sessions[venue]
        if isinstance(message, Quote):
            self._quotes[message.symbol] = message
            self._decider.quote(message)
            self._market.append(message)
            return
        if isinstance(message, Book):
            self._market.append(message)
            return
        self._silent_since_ns.pop(venue, None)
        events: list[ev.Event] = []
        answers: list[ToVenue] = []
        if isinstance(message, Report):
            events, answers = session.report(message)
            self.figures.reports += 1
            if events and message.kind is ExecType.CANCEL_REJECT:
                self._note_refusal(message)
        elif isinstance(message, ResumeEnd):
            events, answers = session.resume_end(message)
        elif isinstance(message, Welcome):
            events = session.welcome(message)
            self._told_lost.pop(venue, None)
            _log.info("venue connected", venue=venue)
        elif isinstance(message, Connected):
            session.connected()
        else:
            events = session.disconnected(message.reason)
            # A gateway lets the engine in when its venue is there, and the engine tries all night.
            if self._told_lost.get(venue) != message.reason:
                self._told_lost[venue] = message.reason
                _log.warning("venue disconnected", venue=venue, reason=message.reason)
        self._apply(batch, events, self._clock.now_ns())
        for answer in answers:
            if isinstance(answer, Resume):
                self._links[venue].reconnect()  # a connection begins with it, and only there
            else:
                batch.send(venue, answer)

    def _note_refusal(self, report: Report) -> None:
        """Tells the operator of a cancel that nobody but the engine has asked for, and so nobody else is told of."""
        order = self.state.order_of(report.cl_ord_id)
        request = None if order is None else order.request(report.cl_ord_id)
        if order is None or request is None or request.by != ev.ENGINE.user:
            return
        self.figures.cancels_refused += 1
        _log.warning(
            "a venue has refused the engine's own cancel; it is asked for again",
            order_id=order.order_id, venue=order.venue, why=request.why, reason=report.reason, text=report.text,
        )  # fmt: skip

    def _take_requests(self, batch: Batch) -> bool:
        has_more = False
        for front in [*self._fronts.values()]:
            try:
                messages = front.channel.receive(BATCH_ITEMS_MAX)
                requests = [_requests.decode(message) for message in messages]
            except (ShmError, msgspec.MsgspecError) as error:
                _log.error(
                    "front end dropped: it sent what is no request", front=front.name, error=str(error)
                )
                self._drop(front)
                continue
            has_more |= len(messages) == BATCH_ITEMS_MAX
            for request in requests:
                batch.requests.append((front.number, request))
                self._take_request(batch, front.number, request)
        return has_more

    def _take_request(self, batch: Batch, front: int, request: Request) -> None:
        batch.is_hurried = True
        now_ns = self._clock.now_ns()
        events, outcome = self._decider.request(request, now_ns, self._clock.monotonic_ns())
        self._apply(batch, events, now_ns)
        batch.replies.append((front, Reply(request.tag, self.state.seq, outcome)))
        if isinstance(request.body, OpenSession) and isinstance(outcome, Done):
            self._streams.setdefault(front, {})[request.client] = self.state.seq
        self.figures.requests += 1

    def _apply(self, batch: Batch, events: list[ev.Event], now_ns: int) -> None:
        """Applies events and what follows from them by itself."""
        while events:
            first_seq = self.state.seq + 1
            following: list[ev.Event] = []
            for event in events:
                change = self.state.apply(self.state.seq + 1, now_ns, event)
                message = message_of(event, self.state)
                # What cannot be sent now is settled when the venue is back (toucan.core.reconcile).
                if message is not None and self._sessions[message[0]].phase is Phase.READY:
                    batch.send(*message)
                self._timers.applied(event, change)
                following += self._decider.following(change)
            batch.stage(first_seq, now_ns, events)
            events = following

    # ------------------------------------------------------------ giving out

    def _commit(self, batch: Batch) -> None:
        if batch.records:
            try:
                self._make_durable(batch, is_urgent=False)
            except JournalUnavailable as error:
                self._undo(batch, error)
                return
        self._broken_streams.clear()
        self._give_out(batch)
        if batch.records:
            self._journal.note()

    def _make_durable(self, batch: Batch, *, is_urgent: bool) -> None:
        payloads = [encode(record.events) for record in batch.records]
        for record, payload in zip(batch.records, payloads, strict=True):
            what = (record.first_seq, len(record.events), record.at_ns, payload)
            try:
                self._journal.append(*what)
            except CommitTooLarge:
                self._journal.commit(is_urgent=is_urgent)
                self._journal.append(*what)
        self._journal.commit(is_urgent=is_urgent, is_noted=False)
        for record, payload in zip(batch.records, payloads, strict=True):
            head = EVENT_HEAD.pack(record.first_seq, len(record.events), record.at_ns)
            self._event_log.writer.put(head + payload)
        self._event_log.writer.publish()

    def _give_out(self, batch: Batch) -> None:
        encoded: dict[int, list[bytes]] = {}
        for number, reply in batch.replies:
            encoded.setdefault(number, []).append(_encode_reply(reply))
        # Before anybody is woken: who looks and finds nothing is not woken for it again.
        has_news = self._publish_market() or bool(batch.records)
        for front in [*self._fronts.values()]:
            self._send(front, encoded.get(front.number, ()), must_wake=has_news)
        for venue, messages in batch.messages.items():
            if not self._links[venue].send(messages):
                self._links[venue].reconnect()
        if batch.records:
            for venue, link in self._links.items():
                record = self.state.venue(venue)
                link.resume_from(record.life, record.venue_seq)

    def _send(self, front: Front, replies: Iterable[bytes], *, must_wake: bool) -> None:
        front.backlog += replies
        channel = front.channel
        try:
            sent = 0
            while sent < len(front.backlog) and channel.send(front.backlog[sent]):
                sent += 1
            del front.backlog[:sent]
            if channel.has_staged:
                channel.flush()
            elif must_wake:
                channel.wake()
            if front.backlog:
                channel.want_room()
        except ShmError as error:
            _log.error("front end dropped: its ring is broken", front=front.name, error=str(error))
            self._drop(front)
            return
        if len(front.backlog) > FRONT_BACKLOG_MAX:
            _log.error("front end dropped: it does not take its answers", front=front.name)
            self._drop(front)

    def _drop(self, front: Front) -> None:
        self.figures.fronts_dropped += 1
        self._forget_front(front.number)
        self._drop_front(front.number)

    def _publish_market(self) -> bool:
        """Whether there was anything."""
        if not self._market:
            return False
        for message in self._market:
            self._market_log.writer.put(encode_market(message))
        self._market_log.writer.publish()
        self._market = []
        return True

    # ------------------------------------------------------------ when the journal cannot be written

    def _undo(self, batch: Batch, error: JournalUnavailable) -> None:
        _log.error(
            "the journal cannot be written; this turn is undone", error=str(error), records=len(batch.records)
        )
        self.figures.commits_failed += 1
        self._rebuild()
        # Whatever its front end makes of the answer: a stream that has broken off stays broken.
        self._broken_streams += [
            (request.client, request.body.opened_seq)
            for _, request in batch.requests
            if isinstance(request.body, SessionBroken)
        ]
        urgent = Batch()
        refused: list[tuple[int, Reply]] = []
        sorry = Refused(
            Refusal.JOURNAL_UNAVAILABLE, f"not executed as far as is known; send it again later: {error}"
        )
        for front, request in batch.requests:
            if is_urgent(request) or self.state.client(request.client).recall(request.number) is not None:
                self._take_request(urgent, front, request)
                urgent.requests.append((front, request))
            else:
                refused.append((front, Reply(request.tag, self.state.seq, sorry)))
        if urgent.records:
            try:
                self._make_durable(urgent, is_urgent=True)
            except JournalUnavailable as second:
                _log.error("not even cancels can be written", error=str(second))
                self._rebuild()
                refused += [
                    (front, Reply(request.tag, self.state.seq, sorry)) for front, request in urgent.requests
                ]
                urgent = Batch()
        urgent.replies += refused
        self._give_out(urgent)
        self._journal.note()

    def _rebuild(self) -> None:
        """The state as the journal has it; venues tell again what was lost with the turn."""
        self.state = self._recover()
        self._decider.rebind(self.state)
        self._timers.rebuild()
        for venue, session in self._sessions.items():
            session.rebind(self.state)
            record = self.state.venue(venue)
            self._links[venue].resume_from(record.life, record.venue_seq)
            if session.phase is not Phase.DOWN:
                self._links[venue].reconnect()
