"""What is QuickFIX's: sessions with their numbers, stores, resends and heartbeats, behind a small interface of our own.

QuickFIX calls back from threads of its own. A callback that raises what QuickFIX does not expect ends the process there and then, and one that
swallows it would let a message count as taken that was not; so what is unexpected in a message that has come is logged, and the process ends at
once without taking it: the other side sends it again. Objects of QuickFIX are never destroyed: its destructors join threads that may be in a
callback, so a process ends by :func:`end_process`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, Protocol

from hostkit.log import get_logger
from toucan.errors import ToucanError
from toucan.fix.core.groups import GROUPS, HEADER_TAGS, dictionary_xml
from toucan.fix.core.message import FaultKind, FixFault, FixMessage, masked
from toucan.fix.limits import ENDING_S_MAX, LOGON_PAUSE_S, LOGON_S_MAX, LOGOUT_S_MAX

__all__ = [
    "FixEngine",
    "LogonRefused",
    "SessionHandler",
    "SessionPlan",
    "bound_unread",
    "end_process",
    "fail",
    "load_quickfix",
]

_BEGIN_STRING = "FIX.4.4"
#: A bug, of EX_SOFTWARE of sysexits.h: a supervisor starts the process again.
_EXIT_BUG = 70

_log = get_logger(program="toucan fix")


class LogonRefused(Exception):
    """A client may not log on; it is told why."""


class SessionHandler(Protocol):
    """What QuickFIX tells, from its threads. ``session`` is the other side's CompID."""

    def logged_on(self, session: str) -> None:
        """The session is there; what was missed may still be under way."""

    def logged_out(self, session: str) -> None:
        """The session has ended, or the connection is lost, or could not be made."""

    def admin_in(self, session: str, message: FixMessage) -> None:
        """A message of the session itself has come. Raises :class:`LogonRefused` for a Logon."""

    def logon_fields(self, session: str, seq: int) -> Iterable[tuple[int, str]]:
        """What is to be added to a Logon of ours. ``seq``: its number, 1 if the numbers begin anew with it."""

    def app_in(self, session: str, message: FixMessage) -> None:
        """A message has come; it is taken when this returns. Raises :class:`FixFault` for one that cannot be used."""

    def app_out(self, session: str, message: FixMessage) -> bool:
        """A message has its number and will be stored and sent; False: it shall not be, and a gap fill takes its place."""


class SessionPlan:
    """A session as QuickFIX is told of it: names and QuickFIX's own settings."""

    def __init__(self, own: str, other: str, settings: dict[str, str]) -> None:
        self.own = own
        self.other = other
        self.settings = settings


def load_quickfix() -> Any:
    """The module. Raises :class:`~toucan.errors.ToucanError` if it is not installed."""
    try:
        import quickfix
    except ModuleNotFoundError as error:
        raise ToucanError("quickfix is missing: pip install 'aviary[fix]'") from error
    return quickfix


class FixEngine:
    """QuickFIX as initiator or acceptor. ``folder`` has its stores; ``is_acceptor`` makes it listen."""

    def __init__(
        self, handler: SessionHandler, plans: Iterable[SessionPlan], folder: Path, *, is_acceptor: bool
    ) -> None:
        self._fix = fix = load_quickfix()
        self._handler = handler
        kind = "acceptor" if is_acceptor else "initiator"
        dictionary = folder / "dictionary.xml"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        dictionary.write_text(dictionary_xml(is_strict=is_acceptor), encoding="utf-8")
        defaults = {
            "ConnectionType": kind,
            "FileStorePath": str(folder / "store"),
            "UseDataDictionary": "Y",
            "DataDictionary": str(dictionary),
            "AllowUnknownMsgFields": "Y",
            "ValidateUserDefinedFields": "N",
            "ValidateFieldsOutOfOrder": "N",
            "ValidateFieldsHaveValues": "N",
            "CheckLatency": "N",
            "LogonTimeout": str(LOGON_S_MAX),
            "LogoutTimeout": str(LOGOUT_S_MAX),
            "SocketNodelay": "Y",
        }
        self._settings = fix.SessionSettings()
        self._ids: dict[str, Any] = {}
        for plan in plans:
            values = fix.Dictionary()
            for key, value in (defaults | plan.settings).items():
                values.setString(key, value)
            session = fix.SessionID(_BEGIN_STRING, plan.own, plan.other)
            # A CompID may have a slash in it, and QuickFIX makes no folders for that.
            (folder / "store" / f"{_BEGIN_STRING}-{plan.own}-{plan.other}").parent.mkdir(
                0o700, parents=True, exist_ok=True
            )
            self._settings.set(session, values)
            self._ids[plan.other] = session
        try:
            self._application = _make_application(fix, handler)
            self._stores = fix.FileStoreFactory(self._settings)
            # Not SocketInitiator: a connection that is reset at the moment at which it times out is never made again. And a client that is kept
            # waiting keeps no other one waiting.
            make = fix.ThreadedSocketAcceptor if is_acceptor else fix.ThreadedSocketInitiator
            self._connector = make(self._application, self._stores, self._settings)
        except (fix.ConfigError, fix.RuntimeError, RuntimeError) as error:
            raise ToucanError(f"QuickFIX cannot begin: {error}") from error

    def start(self) -> None:
        """Connects or listens. Raises :class:`~toucan.errors.ToucanError`, such as for a port that is taken."""
        try:
            self._connector.start()
        except (self._fix.ConfigError, self._fix.RuntimeError, RuntimeError) as error:
            raise ToucanError(f"QuickFIX cannot begin: {error}") from error

    def session(self, other: str) -> Any:
        """QuickFIX's object of a session."""
        return self._fix.Session.lookupSession(self._ids[other])

    def next_sender_seq(self, other: str) -> int:
        """The number of the next message from here."""
        return int(self.session(other).getExpectedSenderNum())

    def next_target_seq(self, other: str) -> int:
        """The number of the next message from there."""
        return int(self.session(other).getExpectedTargetNum())

    def ask_from(self, other: str, seq: int) -> None:
        """What comes next must have this number: older ones are asked for again."""
        self.session(other).setNextTargetMsgSeqNum(seq)

    def set_numbers(self, other: str, sender: int, target: int) -> None:
        """The next message from here, and the next from there."""
        self.session(other).setNextSenderMsgSeqNum(sender)
        self.session(other).setNextTargetMsgSeqNum(target)

    def is_logged_on(self, other: str) -> bool:
        """Whether messages go out at once."""
        return bool(self.session(other).isLoggedOn())

    def log_out(self, other: str, reason: str) -> None:
        """Ends the session, soon, and lets nobody log on until :meth:`let_in`."""
        self.session(other).logout(reason)

    def let_in(self, other: str) -> None:
        """The session may begin again."""
        self.session(other).logon()

    def send(self, other: str, message: FixMessage) -> bool:
        """Numbers, stores and sends a message; False: it was not stored. Without a connection it is stored, and sent when it is asked for."""
        raw = _raw(self._fix, message)
        try:
            return bool(self._fix.Session.sendToTarget(raw, self._ids[other]))
        except self._fix.SessionNotFound:
            return False

    def log_everybody_out(self) -> None:
        """Logs all sessions out and waits for it, for a limited time."""
        sessions = [one for other in self._ids if (one := self.session(other)) is not None]
        for session in sessions:
            session.logout("the process ends")
        time.sleep(LOGON_PAUSE_S)  # one that is just logging on is logged on by then
        deadline = time.monotonic() + ENDING_S_MAX
        while any(session.isLoggedOn() for session in sessions) and time.monotonic() < deadline:
            time.sleep(0.02)


def end_process(code: int) -> NoReturn:
    """The end, without any destructor of QuickFIX's."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:  # on a disk that is full as well
        os._exit(code)


def fail(text: str, error: BaseException, code: int = 1, **values: str) -> NoReturn:
    """The end, because of an error; it is logged if it can be."""
    try:
        _log.critical(text, exc_info=error, **values)
    finally:
        end_process(code)


def bound_unread(seconds: float, port: int = 0) -> None:
    """Ends, from now on, a connection whose other side takes nothing for so long; of a listener, those that it accepts. ``port``: ours; 0: any.

    QuickFIX writes with a lock held and waits as long as it takes: whoever else has something for that session would wait with it, and its
    heartbeats too. It gives no access to its sockets.
    """
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            if stat.S_ISSOCK(os.stat(f"/proc/self/fd/{name}").st_mode):
                _bound_unread(os.dup(int(name)), seconds, port)


def _bound_unread(file: int, seconds: float, port: int) -> None:
    try:
        one = socket.socket(fileno=file)
    except OSError:
        os.close(file)
        return
    with one:
        is_tcp = one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM
        if is_tcp and port in (0, one.getsockname()[1]):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def _raw(fix: Any, message: FixMessage) -> Any:
    raw = fix.Message()
    header = raw.getHeader()
    header.setField(fix.StringField(35, message.type))
    fields = message.fields
    at = 0
    while at < len(fields):
        tag, value = fields[at]
        at += 1
        if tag in GROUPS:
            at = _add_group(fix, raw, fields, at, tag)
        else:
            (header if tag in HEADER_TAGS else raw).setField(fix.StringField(tag, _text(value)))
    return raw


def _add_group(fix: Any, raw: Any, fields: tuple[tuple[int, str], ...], at: int, count: int) -> int:
    """Adds a group's entries, which begin at ``at``; gives where they end."""
    members = GROUPS[count]
    group = None
    while at < len(fields) and fields[at][0] in members:
        tag, value = fields[at]
        if tag == members[0]:
            if group is not None:
                raw.addGroup(group)
            group = fix.Group(count, tag)
        assert group is not None, "an entry begins with its first field"
        group.setField(fix.StringField(tag, _text(value)))
        at += 1
    if group is not None:
        raw.addGroup(group)
    return at


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


def _make_application(fix: Any, handler: SessionHandler) -> Any:
    """The class can only be made when the module is there."""

    class Application(fix.Application):  # type: ignore[misc]
        def onCreate(self, session: Any) -> None:  # noqa: N802
            pass

        def onLogon(self, session: Any) -> None:  # noqa: N802
            _guarded(lambda: handler.logged_on(_other(session)))

        def onLogout(self, session: Any) -> None:  # noqa: N802
            _guarded(lambda: handler.logged_out(_other(session)))

        def toAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
            def add() -> None:
                header = message.getHeader()
                if header.getField(35) == "A":
                    for tag, value in handler.logon_fields(_other(session), int(header.getField(34))):
                        message.setField(fix.StringField(tag, _text(value)))
                _log.debug("sent", session=_other(session), message=_shown(message))

            _guarded(add)

        def fromAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
            refusal = _guarded(lambda: _admin_in(handler, message, session))
            if refusal is not None:
                raise fix.RejectLogon(refusal)

        def toApp(self, message: Any, session: Any) -> None:  # noqa: N802
            if not _guarded(lambda: _app_out(handler, message, session)):
                raise fix.DoNotSend()

        def fromApp(self, message: Any, session: Any) -> None:  # noqa: N802
            fault = _guarded(lambda: _app_in(handler, message, session))
            if fault is not None:
                raise _fault(fix, fault)

    return Application()


def _other(session: Any) -> str:
    return str(session.getTargetCompID().getString())


def _shown(message: Any) -> str:
    return masked(FixMessage.parse(message.toString()).fields)


def _admin_in(handler: SessionHandler, message: Any, session: Any) -> str | None:
    parsed = FixMessage.parse(message.toString())
    _log.debug("received", session=_other(session), message=masked(parsed.fields))
    try:
        handler.admin_in(_other(session), parsed)
    except LogonRefused as refusal:
        return str(refusal)
    return None


def _app_out(handler: SessionHandler, message: Any, session: Any) -> bool:
    parsed = FixMessage.parse(message.toString())
    is_sent = handler.app_out(_other(session), parsed)
    _log.debug("sent", session=_other(session), message=masked(parsed.fields), is_sent=is_sent)
    return is_sent


def _app_in(handler: SessionHandler, message: Any, session: Any) -> FixFault | None:
    try:
        parsed = FixMessage.parse(message.toString())
        _log.debug("received", session=_other(session), message=masked(parsed.fields))
        handler.app_in(_other(session), parsed)
    except FixFault as fault:
        _log.warning("a message was refused", session=_other(session), fault=str(fault))
        return fault
    return None


def _fault(fix: Any, fault: FixFault) -> Exception:
    made: Exception
    match fault.kind:
        case FaultKind.MISSING:
            made = fix.FieldNotFound(fault.tag, str(fault))
        case FaultKind.FORMAT:
            made = fix.IncorrectDataFormat(fault.tag, str(fault))
        case FaultKind.VALUE:
            made = fix.IncorrectTagValue(fault.tag, str(fault))
        case FaultKind.UNSUPPORTED:
            made = fix.UnsupportedMessageType(str(fault))
    return made


def _guarded(call: Callable[[], Any]) -> Any:
    """A callback's work. What it raises is a bug: the process ends before the message counts as taken."""
    try:
        return call()
    except BaseException as error:
        fail("a callback has failed; the process ends, and nothing is taken", error, _EXIT_BUG)
