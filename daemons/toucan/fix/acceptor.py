"""``toucan fix-acceptor``: FIX 4.4 sessions in front of the embedded exchange, so that whoever has an engine of his own can test it there.

Each firm has a connection to the exchange (:class:`FirmDesk`); what its session asks for goes there before QuickFIX counts it as taken, so a killed
process takes nothing with it that a client believes sent. Reports come from the exchange's log by their numbers, and each session knows how far it
is (:mod:`toucan.fix.position`). While the exchange is away nobody can be logged on: there is no other way to say it in FIX.
"""

from __future__ import annotations

import hmac
import os
import signal
import threading
from pathlib import Path

import msgspec

from hostkit.log import get_logger
from hostkit.notify import notify, watchdog_s
from toucan.core.instruments import Instrument
from toucan.fix.core.market import market_request_of
from toucan.fix.core.message import FaultKind, FixFault, FixMessage
from toucan.fix.core.reports import NOT_AVAILABLE, business_reject
from toucan.fix.core.requests import REQUESTS_FROM_FIX, request_from_fix
from toucan.fix.core.tags import MsgType, Tag
from toucan.fix.desk import Consumer, FirmDesk
from toucan.fix.limits import UNREAD_S_MAX
from toucan.fix.order_book import OrderBook
from toucan.fix.position import PositionFile
from toucan.fix.quickfix_session import (
    FixEngine,
    LogonRefused,
    SessionPlan,
    bound_unread,
    end_process,
    load_quickfix,
)
from toucan.fix.settings import DropCopySection, FixAcceptorSection, FixSessionSection, read_password
from toucan.venue.socket_link import SocketVenueLink

__all__ = ["Acceptor", "run_acceptor"]

_log = get_logger(program="toucan fix-acceptor")
#: How often the main thread says that the process lives.
_BEAT_S = 1.0
_MARKET_TYPES = (MsgType.MARKET_DATA_REQUEST, MsgType.SECURITY_STATUS_REQUEST)
_NOT_SENT_AGAIN = (MsgType.MARKET_DATA_SNAPSHOT, MsgType.SECURITY_STATUS, MsgType.MARKET_DATA_REQUEST_REJECT)


class Acceptor:
    """The sessions' handler (:class:`~toucan.fix.quickfix_session.SessionHandler`)."""

    def __init__(self, section: FixAcceptorSection, instruments: tuple[Instrument, ...]) -> None:
        self._section = section
        self._instruments = {one.symbol: one for one in instruments}
        folder = Path(section.store)
        sessions: dict[str, FixSessionSection | DropCopySection] = {**section.session, **section.drop_copy}
        self._credentials = {
            comp_id: (
                one.username,
                read_password(f"fix_acceptor.….{comp_id}.password_file", one.password_file),
            )
            for comp_id, one in sessions.items()
        }
        plans = [SessionPlan(section.comp_id, comp_id, self._plan()) for comp_id in sessions]
        self._engine = FixEngine(self, plans, folder, is_acceptor=True)
        #: Of a session that trades, its firm's; of one that gets copies, those of its firms.
        self._consumers: dict[str, list[Consumer]] = {comp_id: [] for comp_id in sessions}
        self.desks: dict[str, FirmDesk] = {}
        #: The next numbers, from here and from there, of sessions that are not logged on.
        self._numbers: dict[str, tuple[int, int]] = {}
        for comp_id, session in section.session.items():
            self._add(folder, comp_id, session.firm, is_copy=False)
        for comp_id, copy in section.drop_copy.items():
            for firm in copy.firms:
                self._add(folder, comp_id, firm, is_copy=True)

    def _plan(self) -> dict[str, str]:
        return {
            "SocketAcceptPort": str(self._section.port),
            "SocketReuseAddress": "Y",
            "StartTime": "00:00:00",
            "EndTime": "00:00:00",
            "NonStopSession": "Y",
        }

    def _add(self, folder: Path, comp_id: str, firm: str, *, is_copy: bool) -> None:
        desk = self.desks.get(firm)
        if desk is None:
            address = _address(self._section.exchange)
            orders = OrderBook(folder / "firms" / f"{firm}.orders")
            link = SocketVenueLink(address, firm)
            desk = self.desks[firm] = FirmDesk(firm, link, orders, self._instruments, self._engine.send)
            desk.when_away = lambda reason: self._exchange_away(firm, reason)
            desk.when_back = lambda: self._exchange_back(firm)
        position = PositionFile(folder / "positions" / f"{comp_id.replace('/', '%')}@{firm}")
        consumer = Consumer(comp_id, firm, position, is_copy=is_copy)
        desk.consumers.append(consumer)
        self._consumers[comp_id].append(consumer)

    def start(self) -> None:
        """Settles how far each session is, connects to the exchange, and listens."""
        for comp_id, consumers in self._consumers.items():
            for consumer in consumers:
                if consumer.position.is_damaged:
                    _log.error("a position was damaged: everything is told again", session=comp_id)
                consumer.position.settle(self._engine.next_sender_seq(comp_id))
            self._note_numbers(comp_id)
            self._engine.log_out(comp_id, "")
        for desk in self.desks.values():
            desk.start()
        self._engine.start()
        bound_unread(UNREAD_S_MAX, self._section.port)

    # ------------------------------------------------------------ the exchange comes and goes

    def _exchange_away(self, firm: str, reason: str) -> None:
        _log.warning("the exchange is away", firm=firm, reason=reason)
        for comp_id in self._sessions_of(firm):
            self._engine.log_out(comp_id, "the exchange is away")

    def _exchange_back(self, firm: str) -> None:
        for comp_id in self._sessions_of(firm):
            # Who is not logged out yet must be first: what he has sent may be lost, and only a new session makes him ask.
            if not self._engine.is_logged_on(comp_id):
                self._let_in(comp_id)

    def _let_in(self, comp_id: str) -> None:
        if all(self.desks[one.firm].is_there for one in self._consumers[comp_id]):
            self._engine.let_in(comp_id)

    def _sessions_of(self, firm: str) -> list[str]:
        return [comp_id for comp_id, all_ in self._consumers.items() if any(one.firm == firm for one in all_)]

    # ------------------------------------------------------------ QuickFIX's threads

    def logged_on(self, session: str) -> None:
        """See :class:`~toucan.fix.quickfix_session.SessionHandler`."""
        _log.info("logged on", session=session)
        for consumer in self._consumers[session]:
            self.desks[consumer.firm].joined(consumer)

    def _note_numbers(self, comp_id: str) -> None:
        self._numbers[comp_id] = self._engine.next_sender_seq(comp_id), self._engine.next_target_seq(comp_id)

    def logged_out(self, session: str) -> None:
        """See :class:`~toucan.fix.quickfix_session.SessionHandler`."""
        self._note_numbers(session)
        for consumer in self._consumers[session]:
            if consumer.is_on:
                _log.info("logged out", session=session, firm=consumer.firm)
            self.desks[consumer.firm].left(consumer)
        self._let_in(session)

    def logon_fields(self, session: str, seq: int) -> list[tuple[int, str]]:
        """None: we are asked, and do not ask."""
        return []

    def admin_in(self, session: str, message: FixMessage) -> None:
        """Who logs on must be who he says. Who says that he leaves reads nothing any more."""
        if message.type == MsgType.LOGOUT:
            for consumer in self._consumers[session]:
                consumer.has_left = True
        if message.type != MsgType.LOGON:
            return
        username, password = self._credentials[session]
        given = message.get(Tag.USERNAME), message.get(Tag.PASSWORD)
        if not (_is_right(username, given[0]) and _is_right(password, given[1])):
            _log.warning("a logon was refused", session=session)
            if message.flag(Tag.RESET_SEQ_NUM_FLAG):
                # QuickFIX has begun anew before it asked: its client goes on where he was, and is told what he may not have read.
                self._engine.set_numbers(session, *self._numbers[session])
                for consumer in self._consumers[session]:
                    consumer.begin_anew()
            raise LogonRefused("wrong username or password")
        if message.flag(Tag.RESET_SEQ_NUM_FLAG):
            for consumer in self._consumers[session]:
                consumer.begin_anew()

    def app_in(self, session: str, message: FixMessage) -> None:
        """A client asks for something."""
        consumer = self._consumers[session][0]
        desk = self.desks[consumer.firm]
        if message.type in _MARKET_TYPES:
            desk.subscribe(consumer, market_request_of(message), message.type)
            return
        if message.type in REQUESTS_FROM_FIX and consumer.is_copy:
            raise FixFault(FaultKind.UNSUPPORTED, Tag.MSG_TYPE, "this session gets copies alone")
        request = request_from_fix(message, self._instruments)
        if not desk.take(request):
            text = "the exchange cannot be reached; nothing was sent there"
            self._engine.send(session, business_reject(message, NOT_AVAILABLE, text))

    def app_out(self, session: str, message: FixMessage) -> bool:
        """Market data is never sent again. A report's place is written down under the number that it has got."""
        if message.is_possible_duplicate:
            return message.type not in _NOT_SENT_AGAIN
        seq = message.whole(Tag.MSG_SEQ_NUM)
        self._numbers[session] = seq + 1, self._numbers[session][1]
        venue_seq = message.whole(Tag.VENUE_SEQ)
        if venue_seq:
            firm = message.get(Tag.ON_BEHALF_OF_COMP_ID)
            for consumer in self._consumers[session]:
                if firm in ("", consumer.firm):
                    consumer.numbered(venue_seq, seq)
        return True

    # ------------------------------------------------------------ the main thread

    def serve(self, announces_ready: bool) -> None:
        """Until SIGTERM or SIGINT."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        self.start()
        notify(READY="1", STATUS=self._status())
        if announces_ready:
            print(msgspec.json.encode({"ready": True, "pid": os.getpid(), "port": self._section.port}).decode(), flush=True)  # fmt: skip
        beat_s = min(_BEAT_S, (watchdog_s() or 4 * _BEAT_S) / 4)
        while not stop.wait(beat_s):
            turning = [desk.is_turning() for desk in self.desks.values()]
            if all(turning):
                notify(WATCHDOG="1", STATUS=self._status())
        notify(STOPPING="1")
        self._engine.log_everybody_out()
        for desk in self.desks.values():
            desk.stop()

    def _status(self) -> str:
        on = sum(any(one.is_on for one in all_) for all_ in self._consumers.values())
        there = all(desk.is_there for desk in self.desks.values())
        return f"{on} of {len(self._consumers)} sessions logged on; the exchange is {'there' if there else 'away'}"


def _is_right(due: str, given: str) -> bool:
    """Whether it is what is asked for, if anything is; how long that takes says nothing of how much is right."""
    return not due or hmac.compare_digest(due.encode(), given.encode("utf-8", "surrogateescape"))


def _address(text: str) -> Path | tuple[str, int]:
    host, colon, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if colon and port.isdigit() and "/" not in text else Path(text)


def run_acceptor(
    section: FixAcceptorSection, instruments: tuple[Instrument, ...], *, announces_ready: bool
) -> None:
    """Serves until it is told to stop; ends the process. Raises :class:`~toucan.errors.ToucanError` if it cannot begin."""
    load_quickfix()
    os.umask(0o077)  # QuickFIX stores every message, passwords of Logons included
    Acceptor(section, instruments).serve(announces_ready)
    end_process(0)
