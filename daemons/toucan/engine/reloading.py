"""SIGHUP (``systemctl reload``): the limits file is read again and put in force; what else has changed is named, as it needs a restart.

Files are read and checked by a thread, as a large limits file takes longer than an order may wait; the loop is only handed the result, and journals
it like everything that changes its state. Limits that were set at run time since the file was last loaded are given up if, and only if, the
file has changed since: the rule of a start.

The loop's thread calls :meth:`Reloading.step` between two turns; the signal handler calls :meth:`Reloading.ask`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog

from hostkit.notify import notify_reloaded, notify_reloading
from toucan.core import events as ev
from toucan.core.instruments import Instrument
from toucan.core.state import limits_digest
from toucan.engine.loop import LimitsRead
from toucan.engine.settings import EngineSettings
from toucan.errors import InvalidSettings
from toucan.instrument_file import load_instruments
from toucan.risk_file import read_limits
from toucan.settings import ToucanSettings, differing_settings

__all__ = ["Reloading"]

_log = structlog.get_logger(__name__)


class _Found(msgspec.Struct, frozen=True):
    """What the thread has read."""

    need_restart: list[str]
    document: str = ""
    problem: str = ""


class Reloading:
    """``load_again`` reads ``toucan.toml``; ``deliver`` hands something to the loop and rings for it."""

    def __init__(
        self,
        settings: EngineSettings,
        instruments: Mapping[str, Instrument],
        load_again: Callable[[], ToucanSettings],
        deliver: Callable[[LimitsRead], None],
        ring: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._instruments = instruments
        self._load_again = load_again
        self._deliver = deliver
        self._ring = ring
        self._is_asked = False
        self._is_reading = False
        self._found: _Found | None = None
        self._wanted_digest = ""
        self.need_restart: list[str] = []

    def ask(self, number: int, frame: object) -> None:
        """The signal handler."""
        self._is_asked = True
        self._ring()

    def step(self, digest: str) -> None:
        """Goes on with what was asked for; ``digest`` is that of the limits in force."""
        if self._wanted_digest:
            self._tell_end(digest)
        elif self._found is not None:
            self._take(self._found, digest)
        elif self._is_asked and not self._is_reading:
            self._is_asked, self._is_reading = False, True
            notify_reloading()
            threading.Thread(target=self._read, name="reload", daemon=True).start()

    def note(self) -> str:
        """For a line of status: empty, or what needs a restart."""
        return f"; needs a restart: {', '.join(self.need_restart)}" if self.need_restart else ""

    # ------------------------------------------------------------ the thread

    def _read(self) -> None:
        try:
            self._found = self._looked()
        except InvalidSettings as error:
            self._found = _Found([], problem=str(error))
        except Exception as error:
            self._found = _Found([], problem=f"a bug: {error!r}")
        self._ring()

    def _looked(self) -> _Found:
        fresh, running = self._load_again(), self._settings
        names = differing_settings("engine", running.engine, fresh.engine)
        names += [
            f"venue.{name}"
            for name in sorted({*running.venues, *fresh.venue})
            if running.venues.get(name) != fresh.venue.get(name)
        ]
        table = {one.symbol: one for one in load_instruments(Path(running.engine.instruments))}
        if table != self._instruments:
            names.append(f"instruments ({running.engine.instruments})")
        return _Found(names, read_limits(Path(running.engine.limits), self._instruments))

    # ------------------------------------------------------------ the loop's thread

    def _take(self, found: _Found, digest: str) -> None:
        self._found = None
        if found.problem:
            _log.error("nothing was read again, what was before stays in force", reason=found.problem)
            self._end(is_refused=True)
            return
        self.need_restart = found.need_restart
        for setting in found.need_restart:
            _log.warning("this setting needs a restart", setting=setting)
        if limits_digest(found.document) == digest:
            _log.info("settings read again", limits="as before")
            self._end()
            return
        self._wanted_digest = limits_digest(found.document)
        self._deliver(LimitsRead(ev.LimitsLoaded(found.document, f"uid {os.geteuid()}")))

    def _tell_end(self, digest: str) -> None:
        is_loaded = digest == self._wanted_digest
        if is_loaded:
            _log.info("settings read again", limits="loaded")
        else:
            _log.error(
                "the limits could not be put in force: the journal cannot be written; reload again later"
            )
        self._wanted_digest = ""
        self._end(is_refused=not is_loaded)

    def _end(self, *, is_refused: bool = False) -> None:
        self._is_reading = False
        notify_reloaded(is_refused=is_refused)
