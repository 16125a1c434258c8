"""``toucan engine``: the process that owns all order state.

One start path: take the journal's lock, replay what it holds, tell it that an engine has started, let venues and front ends in. At SIGTERM the loop
ends between two turns; nothing else has to be done, since everything that counts is in the journal already, and after kill -9 it is the same.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from hostkit.heartbeat import Heartbeat
from hostkit.notify import notify
from toucan.core import events as ev
from toucan.core.decide import Decider
from toucan.core.instruments import Instrument
from toucan.core.reconcile import VenueSession
from toucan.core.records import encode
from toucan.core.state import EngineState, limits_digest
from toucan.engine.clock import EngineClock
from toucan.engine.front_door import FrontDoor
from toucan.engine.handshake import Greeting
from toucan.engine.loop import EngineLoop, FromVenueLink
from toucan.engine.metrics import serve_metrics
from toucan.engine.recovery import recover
from toucan.engine.reloading import Reloading
from toucan.engine.settings import EngineSettings
from toucan.engine.shared import Doorbell, SharedLog
from toucan.errors import InvalidSettings
from toucan.instrument_file import load_instruments
from toucan.journal.writer import Journal
from toucan.limits import (
    EVENT_LOG_BYTES,
    FRONT_RING_BYTES,
    MARKET_LOG_BYTES,
    PATIENCE_S,
    PROTOCOL_VERSION,
    SNAPSHOT_EVENTS,
)
from toucan.risk_file import read_limits
from toucan.settings import ToucanSettings
from toucan.venue.events import VenueEvent
from toucan.venue.link import VenueLink
from toucan.venue.socket_link import SocketVenueLink

__all__ = ["run"]

_log = structlog.get_logger(__name__)
_JOURNAL_ID_BYTES = 16


def run(settings: EngineSettings, load_again: Callable[[], ToucanSettings] | None = None) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code. Raises :class:`InvalidSettings` and the journal's errors if it cannot begin.

    ``load_again`` reads the settings file once more, for SIGHUP; without it only the files that it names are looked at.
    """
    instruments = {one.symbol: one for one in load_instruments(Path(settings.engine.instruments))}
    _check_venues(instruments, settings)
    limits = read_limits(Path(settings.engine.limits), instruments)
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(
            Journal.open(
                settings.data,
                new_journal_id=secrets.token_bytes(_JOURNAL_ID_BYTES),
                at_ns=time.time_ns(),
                witness_path=Path(settings.engine.witness),
                segment_bytes=settings.engine.segment_bytes,
                accept_loss=settings.accept_loss,
            )
        )
        for note in journal.notes:
            _log.warning("journal", note=note)
        state = _replayed(settings.data, journal)
        engine = stack.enter_context(_engine(settings, journal, state, instruments))
        _begin(engine, journal, limits)
        running = ToucanSettings(settings.engine, settings.venues)
        return engine.serve(load_again or (lambda: running))


def _check_venues(instruments: dict[str, Instrument], settings: EngineSettings) -> None:
    for instrument in instruments.values():
        if instrument.venue not in settings.venues:
            raise InvalidSettings(
                f"{settings.engine.instruments}: {instrument.symbol} is traded at {instrument.venue!r}, and the settings have no "
                f"[venue.{instrument.venue}]"
            )


def _replayed(folder: Path, journal: Journal) -> EngineState:
    began = time.monotonic()
    state, follower = recover(folder, journal.committed_seq)
    follower.close()
    took = time.monotonic() - began
    _log.info("journal replayed", seq=state.seq, seconds=round(took, 3), digest=state.digest())
    return state


class _Engine:
    """Everything that the process consists of."""

    def __init__(
        self,
        settings: EngineSettings,
        journal: Journal,
        state: EngineState,
        instruments: dict[str, Instrument],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._instruments = instruments
        self._is_stopping = False
        self._snapshot_seq = state.seq
        self._snapshotter: subprocess.Popen[bytes] | None = None
        self.doorbell = Doorbell()
        self._event_log = SharedLog("toucan-events", EVENT_LOG_BYTES)
        self._market_log = SharedLog("toucan-market", MARKET_LOG_BYTES)
        self.clock = EngineClock(time.time_ns, time.monotonic_ns, state.at_ns)
        firm = settings.engine.firm
        self.sessions = {name: VenueSession(name, firm, state, instruments) for name in settings.venues}
        self.links: dict[str, VenueLink] = {
            name: SocketVenueLink(_address(venue.address), firm, without_depth=bool(venue.market_data))
            for name, venue in settings.venues.items()
        }
        self.decider = Decider(state, instruments, journal.journal_id.hex()[:8])
        self._door = FrontDoor(
            Path(settings.engine.socket),
            self._greeting,
            [self.doorbell.fd, self._event_log.read_only_fd, self._market_log.read_only_fd],
            self._deliver,
        )
        self.loop = EngineLoop(
            state, self.decider, self.sessions, self.links, journal, self._event_log, self._market_log, self.clock,
            recover=lambda: _replayed(settings.data, journal), drop_front=self._door.drop, patience_s=PATIENCE_S,
        )  # fmt: skip

    def _greeting(self) -> Greeting:
        return Greeting(
            PROTOCOL_VERSION, "", str(self._settings.data.absolute()), self._journal.journal_id.hex(),
            self.loop.state.epoch, self._journal.committed_seq, self.loop.state.risk.tree.base_currency,
            tuple(self._instruments.values()), FRONT_RING_BYTES,
        )  # fmt: skip

    def _deliver(self, item: object) -> None:
        self.loop.deliver(item)  # type: ignore[arg-type]
        self.doorbell.ring()

    def start(self) -> None:
        """Venues and front ends are let in."""
        for name, link in self.links.items():
            record = self.loop.state.venue(name)
            link.resume_from(record.life, record.venue_seq)
            link.start(self._from_venue(name))
        self._door.start()

    def _from_venue(self, name: str) -> Callable[[list[VenueEvent]], bool]:
        def deliver(messages: list[VenueEvent]) -> bool:
            is_taken = self.loop.deliver(FromVenueLink(name, messages))
            self.doorbell.ring()
            return is_taken

        return deliver

    def serve(self, load_again: Callable[[], ToucanSettings]) -> int:
        """The loop, until a signal."""
        reloading = Reloading(
            self._settings, self._instruments, load_again, self._deliver, self.doorbell.ring
        )
        signal.signal(signal.SIGHUP, reloading.ask)
        heartbeat = Heartbeat(lambda: self._status_line() + reloading.note())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        gc.collect()
        gc.freeze()  # what lives now lives until the end: keep it out of every collection
        loop, doorbell, figures = self.loop, self.doorbell, self.loop.figures
        notify(READY="1", STATUS=self._status_line())
        _log.info("engine ready", seq=loop.state.seq, epoch=loop.state.epoch)
        while not self._is_stopping:
            doorbell.wait(loop.rest_s)
            # Who rang and shares this core may have more to say: one turn for all of it. On a core of its own this returns at once.
            os.sched_yield()
            figures.woken()
            while loop.turn() and not self._is_stopping:
                heartbeat.beat()
            heartbeat.beat()
            self._keep_snapshots()
            reloading.step(loop.state.limits_digest)
        notify(STOPPING="1")
        _log.info("engine stops", seq=loop.state.seq)
        return 0

    def _status_line(self) -> str:
        loop = self.loop
        venues = "".join(
            f"; venue {name} {session.phase.value}" for name, session in sorted(self.sessions.items())
        )
        return f"serving; event {loop.state.seq}; {loop.figures.fronts} front ends{venues}"

    def _stop(self, number: int, frame: object) -> None:
        self._is_stopping = True
        self.doorbell.ring()

    def _keep_snapshots(self) -> None:
        """Has a snapshot made by another process, from the journal, so that the loop never pauses for one."""
        if self._snapshotter is not None and self._snapshotter.poll() is not None:
            if self._snapshotter.returncode:
                _log.error("no snapshot was made", exit_code=self._snapshotter.returncode)
            self._snapshotter = None
        committed = self._journal.committed_seq
        if self._snapshotter is None and committed >= self._snapshot_seq + SNAPSHOT_EVENTS:
            self._snapshot_seq = committed
            command = [
                sys.executable,
                "-m",
                "toucan.engine.snapshotter",
                str(self._settings.data),
                str(committed),
            ]
            self._snapshotter = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2)

    def close(self) -> None:
        """Lets go of everything."""
        self._door.stop()
        for link in self.links.values():
            link.stop()
        if self._snapshotter is not None:
            self._snapshotter.kill()
            self._snapshotter.wait()
        self._event_log.close()
        self._market_log.close()
        self.doorbell.close()


@contextlib.contextmanager
def _engine(
    settings: EngineSettings, journal: Journal, state: EngineState, instruments: dict[str, Instrument]
) -> Iterator[_Engine]:
    engine = _Engine(settings, journal, state, instruments)
    try:
        with serve_metrics(settings.engine.metrics, engine.loop, journal, engine.clock):
            yield engine
    finally:
        engine.close()


def _begin(engine: _Engine, journal: Journal, limits: str) -> None:
    """The first events of this engine, before anybody is let in."""
    state = engine.loop.state
    events: list[ev.Event] = [ev.EngineStarted(state.epoch + 1, importlib.metadata.version("aviary"))]
    if state.limits_digest != limits_digest(limits):
        events.append(ev.LimitsLoaded(limits, f"uid {os.geteuid()}"))
    at_ns = engine.clock.now_ns()
    journal.append(state.seq + 1, len(events), at_ns, encode(events))
    journal.commit()
    for event in events:
        change = state.apply(state.seq + 1, at_ns, event)
        engine.loop.began_with(event, change)
    engine.start()


def _address(text: str) -> Path | tuple[str, int]:
    host, separator, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if separator and port.isdigit() and "/" not in text else Path(text)
