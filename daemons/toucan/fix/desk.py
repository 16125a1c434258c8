"""A firm's desk in the acceptor: its connection to the exchange, and the sessions that hear its reports.

Three threads come here. The connection's hands over what the exchange tells. QuickFIX's hands requests to the exchange, and says which sessions are
there. The desk's own does all the rest, one thing after the other, so a report goes to a session if it is the next one there, and else not. Reports
since the farthest that any session is behind are kept, so a session that logs on is told what it has missed, and the connection to the exchange,
over which others may have requests under way, stays as it is.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from hostkit.log import get_logger
from toucan.core.instruments import Instrument
from toucan.core.values import ExecType
from toucan.core.venue_messages import (
    Book,
    CancelOrder,
    MassStatusRequest,
    NewOrder,
    Quote,
    ReplaceOrder,
    Report,
    ResumeEnd,
    ToVenue,
    Welcome,
)
from toucan.exchange.core.firms import ReportLog
from toucan.fix.core.facts import facts_of_report, facts_of_request
from toucan.fix.core.market import MarketRequest, security_status, snapshot, unknown_symbol
from toucan.fix.core.message import FixMessage
from toucan.fix.core.reports import no_orders, report_to_fix
from toucan.fix.core.tags import MsgType, Tag
from toucan.fix.limits import (
    ACCEPTOR_WAIT_S,
    DESK_END_S_MAX,
    DESK_TURN_S_MAX,
    INBOX_MAX,
    QUESTIONS_MAX,
    REPORTS_KEPT_MAX,
)
from toucan.fix.order_book import OrderBook
from toucan.fix.position import PositionFile
from toucan.fix.quickfix_session import fail
from toucan.fix.record_file import FixFileError
from toucan.venue.events import Disconnected, VenueEvent
from toucan.venue.link import VenueLink

__all__ = ["Consumer", "FirmDesk"]

_log = get_logger(program="toucan fix-acceptor")

#: Gives a message to QuickFIX; False: it was not taken.
Send = Callable[[str, FixMessage], bool]


class Consumer:
    """A session that hears a firm's reports: the one that trades for it, or one that gets copies."""

    def __init__(self, session: str, firm: str, position: PositionFile, *, is_copy: bool) -> None:
        self.session = session
        self.firm = firm
        self.position = position
        self.is_copy = is_copy
        self.is_on = False
        #: QuickFIX's thread: the client has said that it leaves, or is gone.
        self.has_left = True
        #: Reports up to this one, of this life, may have been sent before, under numbers that are no more.
        self._repeats_until = ("", 0)
        #: Its subscriptions to quotes and depth, and to whether an instrument is traded.
        self.quotes: dict[str, MarketRequest] = {}
        self.statuses: dict[str, MarketRequest] = {}
        self._life = ""
        #: QuickFIX's thread moves the position, and the desk's.
        self._moving = threading.Lock()

    def seq_of(self, life: str) -> int:
        """The newest report of this life that it has."""
        place = self.position.place
        return place.venue_seq if place.life == life else 0

    def about_to_send(self, life: str) -> None:
        """What is sent next is of this life."""
        self._life = life

    def numbered(self, venue_seq: int, fix_seq: int) -> None:
        """QuickFIX has given a report its number, and stores it next."""
        with self._moving:
            self.position.write(self.position.place.numbered(self._life, venue_seq, fix_seq))

    def stored(self, venue_seq: int) -> None:
        """QuickFIX has stored it, and sent it if the client is there. Who has left in this moment may have it or not."""
        with self._moving:
            place = self.position.place
            if (place.life, place.venue_seq) == (self._life, venue_seq):  # else its numbers have begun anew
                self.position.write(place.stored(is_sent=not self.has_left))

    def begin_anew(self) -> None:
        """Its client has its numbers begin anew, and can ask for nothing that it missed."""
        with self._moving:
            life = self.position.place.life
            self._repeats_until = life, self.position.begin_anew()

    def welcomed(self, welcome: Welcome) -> None:
        """The exchange says how far it is. Who does not know how far he was may have had all of it."""
        if self.position.is_damaged:
            self.position.is_damaged = False
            self._repeats_until = welcome.life, welcome.venue_seq

    def may_have(self, life: str, venue_seq: int) -> bool:
        """Whether a report that it is told may have reached it before."""
        return self._repeats_until[0] == life and venue_seq <= self._repeats_until[1]


class FirmDesk:
    """``send`` is QuickFIX's. :attr:`when_away` and :attr:`when_back` are called when the exchange goes and comes."""

    def __init__(
        self,
        firm: str,
        link: VenueLink,
        orders: OrderBook,
        instruments: Mapping[str, Instrument],
        send: Send,
    ) -> None:
        self.consumers: list[Consumer] = []
        self.when_away: Callable[[str], None] = lambda reason: None
        self.when_back: Callable[[], None] = lambda: None
        self.is_there = False
        self._firm = firm
        self._link = link
        self._orders = orders
        self._instruments = instruments
        self._send = send
        self._inbox: queue.SimpleQueue[list[VenueEvent] | Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"desk-{firm}", daemon=True)
        #: Everything that was missed is told: requests may go.
        self._is_ready = threading.Event()
        # The connection's thread: how far it is, and how often it was lost.
        self._heard = ("", 0)
        self._losses = 0
        # The desk's thread.
        self._losses_taken = 0
        self._life = ""
        self._history = ReportLog(REPORTS_KEPT_MAX)
        self._is_first = False
        self._questions: deque[str] = deque()
        #: The last report for the oldest question, which may be its last one altogether.
        self._held: Report | None = None
        self._market: dict[str, Quote] = {}
        self._books: dict[str, Book] = {}
        self._dirty: dict[str, None] = {}
        self._turned_s = time.monotonic()

    def start(self) -> None:
        """Connects, from the farthest that any session is behind."""
        places = [one.position.place for one in self.consumers]
        life = next((place.life for place in places if place.life), "")
        seq = min((place.reached_seq if place.life == life else 0 for place in places), default=0)
        self._heard = (life, seq)
        self._life, self._history.newest_seq = life, seq
        self._link.resume_from(life, seq)
        self._thread.start()
        self._link.start(self._deliver)

    def is_turning(self) -> bool:
        """Whether its thread gets on with its work; asks it to show it until the next time."""
        is_turning = time.monotonic() - self._turned_s < DESK_TURN_S_MAX
        self._inbox.put(self._turn)
        return is_turning

    def _turn(self) -> None:
        self._turned_s = time.monotonic()

    def stop(self) -> None:
        """Ends the connection and closes the files."""
        self._link.stop()
        self._inbox.put(None)
        self._thread.join(DESK_END_S_MAX)
        self._orders.close()

    # ------------------------------------------------------------ QuickFIX's thread

    def joined(self, consumer: Consumer) -> None:
        """A session has logged on, and is told what it has missed."""
        consumer.has_left = False
        self._inbox.put(lambda: self._join(consumer))

    def left(self, consumer: Consumer) -> None:
        """A session has ended, and its subscriptions with it."""
        consumer.has_left = True
        self._inbox.put(lambda: self._leave(consumer))

    def take(self, request: ToVenue) -> bool:
        """Hands a request to the exchange; False: it cannot be reached, and the request was not sent."""
        if not self._is_ready.wait(ACCEPTOR_WAIT_S):
            return False
        is_noted = False
        match request:
            case NewOrder():
                is_noted = self._orders.note(facts_of_request(request, None))
            case CancelOrder() | ReplaceOrder():
                original = self._orders.get(request.orig_cl_ord_id)
                is_noted = self._orders.note(facts_of_request(request, original))
            case MassStatusRequest():
                if len(self._questions) >= QUESTIONS_MAX:
                    return False
                self._questions.append(request.request_id)
        is_sent = self._link.send([request])
        if not is_sent and isinstance(request, MassStatusRequest) and request.request_id in self._questions:
            self._questions.remove(request.request_id)  # or those behind it would wait for its end
        if not is_sent and is_noted and isinstance(request, (NewOrder, CancelOrder, ReplaceOrder)):
            self._orders.forget(request.cl_ord_id)
        return is_sent

    def subscribe(self, consumer: Consumer, wanted: MarketRequest, kind: str) -> None:
        """Market data for a session, or the end of it."""
        self._inbox.put(lambda: self._subscribe(consumer, wanted, kind))

    # ------------------------------------------------------------ the connection's thread

    def _deliver(self, events: list[VenueEvent]) -> bool:
        if self._inbox.qsize() >= INBOX_MAX:
            return False
        life, seq = self._heard
        for event in events:
            match event:
                case Report():
                    seq = event.venue_seq
                case Welcome():
                    life, seq = (life, seq) if event.life == life else (event.life, 0)
                case Disconnected():
                    self._losses += 1
                    self._is_ready.clear()
        self._heard = (life, seq)
        self._link.resume_from(life, seq)
        self._inbox.put(events)
        return True

    # ------------------------------------------------------------ the desk's thread

    def _run(self) -> None:
        while (item := self._inbox.get()) is not None:
            try:
                if callable(item):
                    item()
                    continue
                for event in item:
                    self._take(event)
                self._tell_market()
            except Exception as error:
                fail("a desk has failed; the process ends", error, firm=self._firm)

    def _take(self, event: VenueEvent) -> None:
        match event:
            case Report():
                self._report(event)
            case Quote():
                self._market[event.symbol] = event
                self._dirty[event.symbol] = None
            case Book():
                self._books[event.symbol] = event
                self._dirty[event.symbol] = None
            case Welcome():
                self._welcome(event)
            case ResumeEnd():
                self._end(event)
            case Disconnected():
                self._losses_taken += 1
                self._questions.clear()
                self._tell_held(is_last=False)
                if self.is_there:
                    self.is_there = False
                    self.when_away(event.reason)

    def _welcome(self, welcome: Welcome) -> None:
        if welcome.life != self._life:
            self._life, self._history = welcome.life, ReportLog(REPORTS_KEPT_MAX)
        for consumer in self.consumers:
            consumer.welcomed(welcome)
        self._is_first = True

    def _end(self, end: ResumeEnd) -> None:
        if end.request_id:
            self._end_question(end.request_id)
            return
        self._is_ready.set()
        if self._losses != self._losses_taken:  # it was of a connection that is lost meanwhile
            self._is_ready.clear()
        if not self.is_there:
            self.is_there = True
            self.when_back()

    def _join(self, consumer: Consumer) -> None:
        consumer.is_on = True
        missed = list(self._history.after(consumer.seq_of(self._life)))
        for number, report in enumerate(missed):
            if report is not self._held:
                self._tell(consumer, report, is_first=number == 0)

    def _leave(self, consumer: Consumer) -> None:
        consumer.is_on = False
        consumer.quotes.clear()
        consumer.statuses.clear()

    def _subscribe(self, consumer: Consumer, wanted: MarketRequest, kind: str) -> None:
        table = consumer.statuses if kind == MsgType.SECURITY_STATUS_REQUEST else consumer.quotes
        if wanted.ends:
            for symbol in [symbol for symbol, one in table.items() if one.request_id == wanted.request_id]:
                del table[symbol]
            return
        unknown = next((symbol for symbol in wanted.symbols if symbol not in self._instruments), None)
        if unknown is not None:
            self._send(consumer.session, unknown_symbol(wanted.request_id, unknown))
            return
        if not consumer.is_on:
            return
        for symbol in wanted.symbols:
            if wanted.goes_on:
                table[symbol] = wanted
            if kind == MsgType.SECURITY_STATUS_REQUEST:
                self._show_status(consumer, symbol, wanted)
            else:
                self._show_market(consumer, symbol, wanted)

    # ------------------------------------------------------------ reports

    def _report(self, report: Report) -> None:
        is_first, self._is_first = self._is_first, False
        if report.venue_seq <= self._history.newest_seq:
            return
        if report.venue_seq != self._history.newest_seq + 1:
            if not is_first:
                raise ValueError(f"report {report.venue_seq} behind {self._history.newest_seq}")
            _log.error("the exchange keeps no older reports", missing=self._history.newest_seq + 1, first=report.venue_seq)  # fmt: skip
            self._history = ReportLog(REPORTS_KEPT_MAX)
            self._history.newest_seq = report.venue_seq - 1
        self._history.append(report)
        if self._orders.get(report.cl_ord_id, report.orig_cl_ord_id) is None:
            facts = facts_of_report(report)
            if facts is not None:
                self._orders.note(facts)
        self._tell_held(is_last=False)
        if self._questions and report.kind is ExecType.ORDER_STATUS:
            self._held = report
        else:
            self._tell_all(report, is_first=is_first)

    def _tell_held(self, *, is_last: bool) -> None:
        held, self._held = self._held, None
        if held is not None:
            question = self._questions[0] if self._questions else ""
            self._tell_all(held, question=question, is_last=is_last)

    def _tell_all(
        self, report: Report, *, question: str = "", is_last: bool = False, is_first: bool = False
    ) -> None:
        for consumer in self.consumers:
            self._tell(consumer, report, question=question, is_last=is_last, is_first=is_first)

    def _tell(
        self, consumer: Consumer, report: Report, *, question: str = "", is_last: bool = False, is_first: bool
    ) -> None:
        have = consumer.seq_of(self._life)
        is_next = report.venue_seq == have + 1 or (is_first and report.venue_seq > have)
        if not consumer.is_on or consumer.has_left or not is_next:
            return
        facts = self._orders.get(report.cl_ord_id, report.orig_cl_ord_id) or facts_of_report(report)
        own_question = "" if consumer.is_copy else question
        message = report_to_fix(
            report, facts, self._instruments, question=own_question, is_last=is_last and bool(own_question)
        )
        header = [(Tag.ON_BEHALF_OF_COMP_ID, consumer.firm)] if consumer.is_copy else []
        if consumer.may_have(self._life, report.venue_seq):
            header.append((Tag.POSS_RESEND, "Y"))
        message = FixMessage(message.type, [*header, *message.fields])
        consumer.about_to_send(self._life)
        if not self._send(consumer.session, message):
            raise FixFileError("QuickFIX cannot store a report")  # the next start tells it again
        consumer.stored(report.venue_seq)

    def _end_question(self, question: str) -> None:
        if not self._questions or self._questions[0] != question:
            return  # of an earlier connection
        is_told = self._held is not None
        self._tell_held(is_last=True)
        self._questions.popleft()
        if not is_told:
            for consumer in self.consumers:
                if consumer.is_on and not consumer.is_copy:
                    self._send(consumer.session, no_orders(question, time.time_ns()))

    # ------------------------------------------------------------ market data

    def _tell_market(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for consumer in self.consumers:
            if consumer.is_on:
                for symbol in dirty:
                    self._show(consumer, symbol)

    def _show(self, consumer: Consumer, symbol: str) -> None:
        self._show_status(consumer, symbol, consumer.statuses.get(symbol))
        self._show_market(consumer, symbol, consumer.quotes.get(symbol))

    def _show_status(self, consumer: Consumer, symbol: str, wanted: MarketRequest | None) -> None:
        quote = self._market.get(symbol)
        if quote is not None and wanted is not None:
            self._send(consumer.session, security_status(wanted.request_id, symbol, quote.is_halted))

    def _show_market(self, consumer: Consumer, symbol: str, wanted: MarketRequest | None) -> None:
        quote = self._market.get(symbol)
        if quote is not None and wanted is not None:
            book, instrument = self._books.get(symbol), self._instruments.get(symbol)
            self._send(consumer.session, snapshot(wanted.request_id, quote, book, wanted.depth, instrument))
