"""What the FIX processes are told when they start: the sections ``[fix.NAME]`` and ``[fix_acceptor]`` of ``toucan.toml``."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from toucan.core.risk_tree import is_name
from toucan.errors import InvalidSettings

__all__ = ["DropCopySection", "FixAcceptorSection", "FixSection", "FixSessionSection", "read_password"]

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d", re.ASCII)
_DAYS = ("", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_COMP_ID = re.compile(r"[A-Za-z0-9._/@-]{1,64}", re.ASCII)


class FixSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[fix.NAME]``: a venue behind FIX 4.4, reached by ``toucan fix NAME``; the engine's ``[venue.X]`` has the ``socket`` as its ``address``."""

    #: The venue's address, or that of the tunnel to it (TLS: docs/toucan-fix.md).
    host: str
    #: Its port.
    port: int
    #: Who we are there (FIX 49).
    sender_comp_id: str
    #: Who the venue is (FIX 56).
    target_comp_id: str
    #: FIX 553; empty: not sent.
    username: str = ""
    #: FIX 554; empty: not sent. Better in a file.
    password: str = ""
    #: File with it, for this user alone.
    password_file: str = ""
    #: FIX 108, in seconds.
    heartbeat_s: int = 30
    #: Seconds between two attempts to connect.
    reconnect_s: int = 5
    #: When the session begins each day, in UTC, such as "22:00:00"; empty, with end_time: it never ends.
    start_time: str = ""
    #: When it ends; then sequence numbers begin anew.
    end_time: str = ""
    #: For sessions of a week: the day on which it begins, such as "Sunday".
    start_day: str = ""
    #: And on which it ends.
    end_day: str = ""
    #: Sequence numbers begin anew at each logon (FIX 141). Reports that were missed are then not sent again: use it only if the venue demands it.
    reset_on_logon: bool = False
    #: Whether to subscribe to market data of the venue's instruments in this session (35=V).
    market_data: bool = False
    #: Whether the venue answers OrderMassStatusRequest (35=AF); else each open order is asked for (35=H), also where it turns out that it does not.
    mass_status: bool = True
    #: Name of the venue in the instruments file; empty: all instruments.
    venue: str = ""
    #: Data dictionary of the venue in QuickFIX's format, for groups of its own; empty: FIX 4.4's groups.
    data_dictionary: str = ""
    #: Folder of sequence numbers, reports and orders; empty: /var/lib/toucan-fix/NAME.
    store: str = ""
    #: Unix socket for the engine; empty: /run/toucan-fix/NAME/venue.sock.
    socket: str = ""

    def store_path(self, name: str) -> Path:
        """Where its files are."""
        return Path(self.store or f"/var/lib/toucan-fix/{name}")

    def socket_path(self, name: str) -> Path:
        """Where the engine comes in."""
        return Path(self.socket or f"/run/toucan-fix/{name}/venue.sock")

    def check(self, name: str) -> None:
        """What no setting can say alone. Raises :class:`~toucan.errors.InvalidSettings`."""
        section = f"fix.{name}"
        if not is_name(name):
            raise InvalidSettings(f"[{section}]: {name!r} cannot be the name of a venue")
        _check_port(section, self.port)
        if not self.host:
            raise InvalidSettings(f"{section}.host is empty")
        for key in ("sender_comp_id", "target_comp_id"):
            _check_comp_id(f"{section}.{key}", getattr(self, key))
        if self.password and self.password_file:
            raise InvalidSettings(
                f"{section}.password and {section}.password_file are both given; leave one out"
            )
        for key, most in (("heartbeat_s", 3600), ("reconnect_s", 3600)):
            if not 1 <= getattr(self, key) <= most:
                raise InvalidSettings(f"{section}.{key} = {getattr(self, key)} is not between 1 and {most}")
        self._check_schedule(section)

    def _check_schedule(self, section: str) -> None:
        for key in ("start_time", "end_time"):
            value = getattr(self, key)
            if value and not _TIME.fullmatch(value):
                raise InvalidSettings(
                    f'{section}.{key} = {value!r} is no time of day in UTC, such as "22:00:00"'
                )
        for key in ("start_day", "end_day"):
            if getattr(self, key) not in _DAYS:
                raise InvalidSettings(f'{section}.{key} = {getattr(self, key)!r} is no day, such as "Sunday"')
        for one, other in (("start_time", "end_time"), ("start_day", "end_day"), ("start_day", "start_time")):
            if getattr(self, one) and not getattr(self, other):
                raise InvalidSettings(f"{section}.{one} needs {section}.{other} beside it")
        for one, other in (("end_time", "start_time"), ("end_day", "start_day")):
            if getattr(self, one) and not getattr(self, other):
                raise InvalidSettings(f"{section}.{one} needs {section}.{other} beside it")


class FixSessionSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[fix_acceptor.session.COMPID]``: a client that may log on as COMPID (FIX 49) and trade."""

    #: For which firm of the exchange it trades; each firm has one session.
    firm: str
    #: FIX 553 that it must send; empty: none is asked for.
    username: str = ""
    #: File with the password that it must send (FIX 554); empty: none is asked for.
    password_file: str = ""


class DropCopySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[fix_acceptor.drop_copy.COMPID]``: a client that may log on as COMPID and gets a copy of every report of some firms."""

    #: Of which firms.
    firms: tuple[str, ...]
    #: FIX 553 that it must send; empty: none is asked for.
    username: str = ""
    #: File with the password that it must send (FIX 554); empty: none is asked for.
    password_file: str = ""


class FixAcceptorSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[fix_acceptor]``: FIX sessions in front of the embedded exchange, served by ``toucan fix-acceptor``."""

    #: TCP port. QuickFIX listens on all of the host's addresses: close it to others with a firewall, or with IPAddressAllow= of the unit.
    port: int = 7090
    #: Who we are (FIX 56 of what clients send).
    comp_id: str = "AVIARY"
    #: The exchange's unix socket, or host:port.
    exchange: str = "/run/toucan-exchange/exchange.sock"
    #: Folder of sequence numbers and positions.
    store: str = "/var/lib/toucan-fix-acceptor"
    #: Clients that trade, by their CompID.
    session: dict[str, FixSessionSection] = {}
    #: Clients that get copies, by their CompID.
    drop_copy: dict[str, DropCopySection] = {}

    def check(self) -> None:
        """What no setting can say alone. Raises :class:`~toucan.errors.InvalidSettings`."""
        _check_port("fix_acceptor", self.port)
        _check_comp_id("fix_acceptor.comp_id", self.comp_id)
        firms: dict[str, str] = {}
        for comp_id, session in self.session.items():
            key = f"fix_acceptor.session.{comp_id}"
            _check_comp_id(key, comp_id)
            _check_firm(f"{key}.firm", session.firm)
            if session.firm in firms:
                raise InvalidSettings(
                    f"{key}.firm: {session.firm!r} has the session {firms[session.firm]!r} already; a firm has one"
                )
            firms[session.firm] = comp_id
        for comp_id, copy in self.drop_copy.items():
            key = f"fix_acceptor.drop_copy.{comp_id}"
            _check_comp_id(key, comp_id)
            if comp_id in self.session:
                raise InvalidSettings(
                    f"{key}: {comp_id!r} is a session that trades; give the copies a CompID of their own"
                )
            if not copy.firms:
                raise InvalidSettings(f"{key}.firms is empty")
            for firm in copy.firms:
                _check_firm(f"{key}.firms", firm)


def _check_port(section: str, port: int) -> None:
    if not 0 < port <= 65_535:
        raise InvalidSettings(f"{section}.port = {port} is no TCP port")


def _check_comp_id(key: str, comp_id: str) -> None:
    if not _COMP_ID.fullmatch(comp_id):
        raise InvalidSettings(f"{key}: {comp_id!r} is no CompID: letters, digits and . _ / @ -, at most 64")


def _check_firm(key: str, firm: str) -> None:
    if not 0 < len(firm) <= 64 or not firm.isprintable() or "/" in firm:
        raise InvalidSettings(f"{key}: {firm!r} cannot be the name of a firm")


def read_password(key: str, path: str) -> str:
    """A password out of its file; "" for no file. Raises :class:`~toucan.errors.InvalidSettings`."""
    if not path:
        return ""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{key}: cannot read {path}: {error}") from None
    if not text or not text.isprintable():
        raise InvalidSettings(f"{key}: {path} must hold the password on one line")
    return text
