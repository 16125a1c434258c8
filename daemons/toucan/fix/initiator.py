"""``toucan fix NAME``: a venue behind FIX 4.4, served to the engine as if it were the embedded exchange.

Three threads. QuickFIX's takes what comes, translates it, writes it into the report log, and only then lets QuickFIX count it as taken. The loop has
the engine's connection, syncs the log a batch at a time and tells what is on the disk. The sender gives QuickFIX what the engine asks for, since
that writes files. Requests are never sent again by the session (``toApp`` refuses a PossDup, and a gap fill takes its place): whoever asked finds
out what became of them, and an order that comes minutes late is worse than none.
"""

from __future__ import annotations

import asyncio
import os
import queue
import re
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from hostkit.heartbeat import Heartbeat
from hostkit.log import get_logger
from hostkit.notify import notify
from toucan.core.instruments import Instrument
from toucan.core.venue_messages import (
    CancelOrder,
    MassStatusRequest,
    NewOrder,
    ReplaceOrder,
    Report,
    StatusRequest,
    ToVenue,
)
from toucan.errors import InvalidSettings
from toucan.fix.core.facts import facts_of_request
from toucan.fix.core.market import is_halted, market_from_fix, market_request, security_status_request
from toucan.fix.core.message import FixMessage
from toucan.fix.core.reports import not_sent_report, report_from_fix, status_report
from toucan.fix.core.requests import request_to_fix
from toucan.fix.core.tags import MsgType, Tag
from toucan.fix.core.words import NO_ORDER_ID
from toucan.fix.limits import SEND_QUEUE_MAX, SENT_KEPT_MAX, SILENT_HEARTBEATS
from toucan.fix.open_orders import OpenOrders
from toucan.fix.order_book import OrderBook
from toucan.fix.quickfix_session import (
    FixEngine,
    SessionPlan,
    bound_unread,
    end_process,
    fail,
    load_quickfix,
)
from toucan.fix.record_file import FixFileError
from toucan.fix.report_log import ReportLog
from toucan.fix.settings import FixSection, read_password
from toucan.fix.venue_server import VenueServer
from toucan.market.listening import unix_listener

__all__ = ["Initiator", "run_initiator"]

_log = get_logger(program="toucan fix")
#: Another one after each start of the host.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_REQUESTS = (
    MsgType.NEW_ORDER_SINGLE,
    MsgType.ORDER_CANCEL_REQUEST,
    MsgType.ORDER_CANCEL_REPLACE_REQUEST,
)


#: A MsgSeqNum that could be ours.
_SEQ = re.compile(r"\d{1,18}", re.ASCII)
#: BusinessRejectReason: unsupported message type, not authorized; and unknown id, which is an answer.
_NOT_SERVED = ("3", "6")
_UNKNOWN_ID = "1"


class _Sent(msgspec.Struct, frozen=True, gc=False):
    """What went out under a number."""

    type: str
    cl_ord_id: str
    orig_cl_ord_id: str
    question: str
    is_possible_resend: bool


class Initiator:
    """The session's handler (:class:`~toucan.fix.quickfix_session.SessionHandler`) and everything around it."""

    def __init__(self, name: str, section: FixSection, instruments: Iterable[Instrument]) -> None:
        self._name = name
        self._section = section
        self._instruments = {one.symbol: one for one in instruments if section.venue in ("", one.venue)}
        self._password = section.password or read_password(f"fix.{name}.password_file", section.password_file)
        folder = section.store_path(name)
        self._orders = OrderBook(folder / "orders.log")
        self._reports = ReportLog(folder / "reports.log")
        self._open = OpenOrders(self._orders.all(), self._reports.all_kept())
        if self._reports.flaw:
            _log.warning("the report log was repaired", flaw=self._reports.flaw, life=self._reports.life)
        self._server = VenueServer(self._reports, self._take)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine = FixEngine(self, [self._plan()], folder, is_acceptor=False)
        self._requests: queue.SimpleQueue[tuple[int, ToVenue | FixMessage]] = queue.SimpleQueue()
        self._waiting = 0
        #: Counts the sessions: what was asked for in an earlier one is not sent in a later one.
        self._session = 0
        self._is_up = False
        self._sent: OrderedDict[int, _Sent] = OrderedDict()
        #: How many answers each has.
        self._questions: dict[str, int] = {}
        self._halted: dict[str, bool] = {}
        self._has_mass_status = section.mass_status
        self._is_syncing = False
        self._unsaid: list[tuple[str, int]] = []

    def _plan(self) -> SessionPlan:
        section = self._section
        settings = {
            "SocketConnectHost": section.host,
            "SocketConnectPort": str(section.port),
            "HeartBtInt": str(section.heartbeat_s),
            "ReconnectInterval": str(section.reconnect_s),
            "ResetOnLogon": "Y" if section.reset_on_logon else "N",
            "StartTime": section.start_time or "00:00:00",
            "EndTime": section.end_time or "00:00:00",
        }
        if not section.start_time:
            settings["NonStopSession"] = "Y"
        if section.start_day:
            settings |= {"StartDay": section.start_day, "EndDay": section.end_day}
        if section.data_dictionary:
            settings["DataDictionary"] = section.data_dictionary
        return SessionPlan(section.sender_comp_id, section.target_comp_id, settings)

    # ------------------------------------------------------------ QuickFIX's threads

    def logged_on(self, session: str) -> None:
        """See :class:`~toucan.fix.quickfix_session.SessionHandler`."""
        bound_unread(SILENT_HEARTBEATS * self._section.heartbeat_s)
        self._on_loop(self._up)

    def logged_out(self, session: str) -> None:
        """See :class:`~toucan.fix.quickfix_session.SessionHandler`."""
        self._on_loop(self._down)

    def logon_fields(self, session: str, seq: int) -> list[tuple[int, str]]:
        """Who we are, for those who ask."""
        if seq == 1:
            self._sent.clear()  # a reject that names a number means a message of this session
        fields = [(Tag.USERNAME, self._section.username), (Tag.PASSWORD, self._password)]
        return [(tag, value) for tag, value in fields if value]

    def admin_in(self, session: str, message: FixMessage) -> None:
        """A Logon may begin the numbers anew, a Logout says why, a Reject is about one of our messages."""
        if message.type == MsgType.LOGON:
            if (
                message.flag(Tag.RESET_SEQ_NUM_FLAG)
                or message.whole(Tag.MSG_SEQ_NUM) <= self._reports.fix_seq
            ):
                self._reports.numbers_begin_anew()
        elif message.type == MsgType.LOGOUT:
            _log.info("the venue logs out", text=message.said(Tag.TEXT))
        elif message.type == MsgType.REJECT:
            self._refused(message, "message-rejected")

    def app_out(self, session: str, message: FixMessage) -> bool:
        """Nothing is sent twice; what is sent is remembered by its number."""
        if message.is_possible_duplicate:
            return False
        self._sent[message.whole(Tag.MSG_SEQ_NUM)] = _Sent(
            message.type, message.get(Tag.CL_ORD_ID), message.get(Tag.ORIG_CL_ORD_ID),
            message.get(Tag.MASS_STATUS_REQ_ID), message.is_possible_resend,
        )  # fmt: skip
        if len(self._sent) > SENT_KEPT_MAX:
            self._sent.popitem(last=False)
        return True

    def app_in(self, session: str, message: FixMessage) -> None:
        """Reports and market data; what else a venue says is logged."""
        match message.type:
            case MsgType.EXECUTION_REPORT | MsgType.ORDER_CANCEL_REJECT:
                self._reported(message)
            case MsgType.BUSINESS_MESSAGE_REJECT:
                self._refused(message, "not-available")
            case MsgType.MARKET_DATA_SNAPSHOT | MsgType.SECURITY_STATUS:
                self._market(message)
            case _:
                _log.warning("a message is not read", type=message.type, text=message.said(Tag.TEXT))

    def _reported(self, message: FixMessage) -> None:
        question = message.get(Tag.MASS_STATUS_REQ_ID)
        is_about_no_order = bool(question) and message.get(Tag.CL_ORD_ID) in ("", NO_ORDER_ID)
        if not is_about_no_order:
            self._take_report(message)
        count = self._questions.get(question)
        if count is None:
            return
        self._questions[question] = count + 1
        if _is_last(message, count + 1):
            self._questions.pop(question, None)
            self._end_question(question)

    def _take_report(self, message: FixMessage) -> None:
        seq = message.whole(Tag.MSG_SEQ_NUM)
        known = self._orders.get(message.get(Tag.CL_ORD_ID), message.get(Tag.ORIG_CL_ORD_ID))
        report = report_from_fix(message, known, self._instruments)
        if report is None:
            _log.error("a report of an unknown kind is not told", exec_type=message.said(Tag.EXEC_TYPE))
            return
        may_be_repeated = message.is_possible_duplicate or message.is_possible_resend
        if may_be_repeated and self._reports.is_repeated(report, seq):
            return
        self._tell(report, seq)
        self._end_questions(self._open.told(report))

    def _tell(self, report: Report, seq: int = 0) -> None:
        """Into the log, and then to the loop. A log that cannot be written raises, which ends the process: nothing counts as taken."""
        self._reports.append(report, seq)
        self._on_loop(self._heard)

    def _end_questions(self, questions: list[str]) -> None:
        """Of orders that were asked for one by one."""
        for question in questions:
            self._end_question(question)
        more = self._open.more()
        if more:
            self._on_loop(lambda: self._ask_for(more))

    def _end_question(self, question: str) -> None:
        newest = self._reports.newest_seq
        self._on_loop(lambda: self._answered(question, newest))

    def _refused(self, message: FixMessage, reason: str) -> None:
        """The venue has not taken one of our messages."""
        sent = self._sent_of(message)
        text = message.said(Tag.TEXT)
        _log.warning(
            "the venue has refused a message", type=message.said(Tag.REF_MSG_TYPE), seq=message.said(Tag.REF_SEQ_NUM),
            tag=message.said(Tag.REF_TAG_ID), text=text,
        )  # fmt: skip
        if sent is None:
            return  # of an earlier process: asking for the status of all orders tells
        # Of a question that the venue cannot answer now nothing follows: the engine waits for a while and asks again.
        business = message.get(Tag.BUSINESS_REJECT_REASON)
        if sent.type == MsgType.ORDER_MASS_STATUS_REQUEST:
            if message.type == MsgType.REJECT or business in _NOT_SERVED:
                self._ask_one_by_one(sent.question)
        elif sent.type == MsgType.ORDER_STATUS_REQUEST:
            if business == _UNKNOWN_ID:
                self._end_questions(self._open.unanswered(sent.cl_ord_id))
            elif message.type == MsgType.REJECT or business in _NOT_SERVED:
                self._answer_as_told(sent.cl_ord_id)
        facts = self._orders.get(sent.cl_ord_id)
        if sent.type not in _REQUESTS or facts is None or sent.is_possible_resend:
            return  # of a resend the first one may stand
        seq = message.whole(Tag.MSG_SEQ_NUM)
        report = not_sent_report(facts, sent.orig_cl_ord_id, reason, text, time.time_ns())
        if not (message.is_possible_duplicate and self._reports.is_repeated(report, seq)):
            self._tell(report, seq)
            self._open.told(report)

    def _sent_of(self, message: FixMessage) -> _Sent | None:
        """What a reject is about: it names the number, or else the id."""
        seq, name = message.get(Tag.REF_SEQ_NUM), message.get(Tag.BUSINESS_REJECT_REF_ID)
        if seq or not name:
            return self._sent.get(int(seq)) if _SEQ.fullmatch(seq) else None
        kind = message.get(Tag.REF_MSG_TYPE)
        named = (one for one in list(self._sent.values()) if name in (one.cl_ord_id, one.question))
        return next((one for one in named if one.type == kind), None)

    def _answer_as_told(self, cl_ord_id: str) -> None:
        """The venue answers no questions, as over a drop-copy session. It sends all reports: the last one says how the order stands."""
        last = self._open.last(cl_ord_id)
        if last is not None:  # of an order that it has not told of only the venue knows
            report = status_report(last, cl_ord_id, time.time_ns())
            self._tell(report)
            self._end_questions(self._open.told(report))

    def _ask_one_by_one(self, question: str) -> None:
        if self._has_mass_status:
            _log.warning("the venue has no OrderMassStatusRequest: open orders are asked for one by one")
        self._has_mass_status = False
        self._on_loop(lambda: self._take(MassStatusRequest(question)))

    def _market(self, message: FixMessage) -> None:
        symbol = message.get(Tag.SYMBOL)
        instrument = self._instruments.get(symbol)
        if instrument is None:
            return
        if message.type == MsgType.SECURITY_STATUS:
            self._halted[symbol] = is_halted(message)
            self._on_loop(lambda: self._server.halted(symbol, is_halted(message)))
            return
        quote, book = market_from_fix(message, instrument, self._halted.get(symbol, False))
        self._on_loop(lambda: self._server.market(quote, book))

    def _on_loop(self, call: Any) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            pass  # the loop is closed: the process ends

    # ------------------------------------------------------------ the loop

    def _up(self) -> None:
        self._down()  # a venue may log on once more, to have the numbers begin anew: what was under way cannot be asked for any more
        self._is_up = True
        self._session += 1
        self._questions.clear()
        _log.info("logged on", venue=self._name)
        if self._section.market_data:
            for symbol in self._instruments:
                self._enqueue(market_request(symbol))
                self._enqueue(security_status_request(symbol))
        self._server.up()

    def _down(self) -> None:
        if not self._is_up:
            return
        self._is_up = False
        self._session += 1
        _log.info("logged out", venue=self._name)
        self._server.down("the FIX session with the venue has ended")

    def _take(self, message: ToVenue) -> None:
        """From the engine."""
        if isinstance(message, MassStatusRequest) and not self._has_mass_status:
            ids = self._open.ask(message.request_id)
            self._ask_for(ids)
            if not ids:
                self._answered(message.request_id, self._reports.newest_seq)
            return
        self._enqueue(message)

    def _ask_for(self, ids: list[str]) -> None:
        for cl_ord_id in ids:
            self._enqueue(StatusRequest(cl_ord_id))

    def _enqueue(self, message: ToVenue | FixMessage) -> None:
        if self._requests.qsize() >= SEND_QUEUE_MAX:
            self._server.down("the engine asks for more than can be sent")
            self._server.up()
            return
        self._requests.put((self._session, message))

    def _heard(self) -> None:
        if not self._is_syncing:
            self._is_syncing = True
            assert self._loop is not None
            self._loop.create_task(self._sync())

    async def _sync(self) -> None:
        while self._reports.synced_seq < self._reports.newest_seq:
            try:
                await asyncio.to_thread(self._reports.sync)
            except Exception as error:
                fail("the report log cannot be synced; the process ends", error)
            self._server.settle()
        self._is_syncing = False
        unsaid, self._unsaid = self._unsaid, []
        for question, seq in unsaid:
            self._answered(question, seq)

    def _answered(self, question: str, venue_seq: int) -> None:
        if venue_seq > self._reports.synced_seq:
            self._unsaid.append((question, venue_seq))
            self._heard()
            return
        self._server.answered(question, venue_seq)
        self._server.settle()

    # ------------------------------------------------------------ the sender's thread

    def _send_all(self) -> None:
        while True:
            session, message = self._requests.get()
            if session != self._session:
                continue
            try:
                self._send(message)
            except Exception as error:
                fail("a request cannot be sent; the process ends", error)

    def _send(self, message: ToVenue | FixMessage) -> None:
        fix = message if isinstance(message, FixMessage) else self._as_fix(message)
        target = self._section.target_comp_id
        if fix is not None and not self._engine.send(target, fix) and self._engine.is_logged_on(target):
            raise FixFileError("QuickFIX cannot store a message")

    def _as_fix(self, message: ToVenue) -> FixMessage | None:
        facts = None
        if isinstance(message, (NewOrder, CancelOrder, ReplaceOrder)):
            facts = self._orders.get(getattr(message, "orig_cl_ord_id", ""))
            noted = facts_of_request(message, facts)
            if message.symbol not in self._instruments:
                text = f"{message.symbol} is no instrument of {self._section.venue or self._name}"
                original = getattr(message, "orig_cl_ord_id", "")
                self._tell(not_sent_report(noted, original, "unknown-symbol", text, time.time_ns()))
                return None
            self._orders.note(noted)
            self._open.sent(noted)
        elif isinstance(message, StatusRequest):
            facts = self._orders.get(message.cl_ord_id)
        elif isinstance(message, MassStatusRequest):
            self._questions[message.request_id] = 0
        return request_to_fix(message, facts, self._instruments, time.time_ns())

    # ------------------------------------------------------------ begin and end

    async def serve(self, announces_ready: bool) -> None:
        """Until SIGTERM or SIGINT."""
        self._loop = loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        path = self._section.socket_path(self._name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidSettings(
                f"fix.{self._name}.socket: cannot make {path.parent}: {error.strerror}"
            ) from error
        with unix_listener(path) as listener:
            server = await loop.create_unix_server(self._server.accept, sock=listener)
            self._catch_up()
            threading.Thread(target=self._send_all, name="fix-sender", daemon=True).start()
            self._engine.start()
            notify(READY="1", STATUS=self._status())
            beating = loop.create_task(Heartbeat(self._status).run())
            if announces_ready:
                print(
                    msgspec.json.encode(
                        {"ready": True, "pid": os.getpid(), "life": self._reports.life}
                    ).decode(),
                    flush=True,
                )
            await stop.wait()
            notify(STOPPING="1")
            beating.cancel()
            self._session += 1  # nothing more is sent
            await asyncio.to_thread(self._engine.log_everybody_out)
            server.close()
            await self._server.close()
            await asyncio.to_thread(self._close_files)

    def _catch_up(self) -> None:
        """After a start of the host: its power may have been cut, so what QuickFIX counts as taken and is not in the log is asked for again."""
        mark = self._section.store_path(self._name) / "boot"
        try:
            boot = _BOOT_ID.read_text()
        except OSError:
            boot = ""  # a sandbox hides it: then each start is like the first one
        if boot and mark.exists() and mark.read_text() == boot:
            return
        target = self._section.target_comp_id
        known, taken = self._reports.fix_seq, self._engine.next_target_seq(target)
        # A larger number is of a session before this one, of which no report has reached the disk.
        first = known + 1 if known < taken else 1
        if first < taken:
            self._engine.ask_from(target, first)
        mark.write_text(boot)  # not before: who is killed between the two asks once more

    def _close_files(self) -> None:
        self._reports.close()
        self._orders.close()

    def _status(self) -> str:
        there = "logged on" if self._is_up else "not logged on"
        engine = "an engine" if self._server.has_engine else "no engine"
        return f"{there} at {self._section.target_comp_id}; {engine}; {self._reports.newest_seq} reports"


def _is_last(message: FixMessage, number: int) -> bool:
    """Whether it is the last answer: a venue says so, or only how many there are."""
    total = message.get(Tag.TOT_NUM_REPORTS)
    is_all = _SEQ.fullmatch(total) is not None and number >= int(total)
    return is_all or message.flag(Tag.LAST_RPT_REQUESTED)


def run_initiator(
    name: str, section: FixSection, instruments: Iterable[Instrument], *, announces_ready: bool
) -> None:
    """Serves until it is told to stop; ends the process. Raises :class:`~toucan.errors.ToucanError` if it cannot begin."""
    load_quickfix()
    os.umask(0o077)  # QuickFIX stores every message, passwords of Logons included
    initiator = Initiator(name, section, instruments)
    asyncio.run(initiator.serve(announces_ready))
    end_process(0)
