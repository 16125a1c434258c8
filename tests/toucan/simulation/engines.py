"""The engine's process: the real loop and everything in it, started from the journal, and killed at any point of its code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from toucan.core import events as ev
from toucan.core.decide import Decider
from toucan.core.instruments import Instrument
from toucan.core.reconcile import Phase, VenueSession
from toucan.core.records import encode
from toucan.core.state import limits_digest
from toucan.engine.clock import EngineClock
from toucan.engine.front_door import Front, FrontJoined, FrontLeft
from toucan.engine.loop import EngineLoop, FromVenueLink
from toucan.journal.errors import JournalUnavailable
from toucan.limits import PATIENCE_S, TICK_S
from toucan.venue.events import VenueEvent
from toucan.venue.link import Deliver

from .disk import EventLog, Follower, MemoryJournal
from .fronts import SimulatedFront
from .venues import FIRM, SimulatedVenue, SlowLink
from .world import MS, EngineDied, S, World

__all__ = ["SimulatedEngine"]


class _Market:
    """Market data goes to nobody here."""

    def put(self, message: bytes) -> None:
        pass

    def publish(self) -> None:
        pass


class SimulatedEngine:
    """One process after the other. ``wall_offset_ns``: how wrong the host's clock is."""

    def __init__(
        self,
        world: World,
        journal: MemoryJournal,
        venues: Mapping[str, SimulatedVenue],
        instruments: dict[str, Instrument],
        limits: str,
    ) -> None:
        self.world = world
        self.journal = journal
        self.venues = venues
        self.fronts: dict[int, SimulatedFront] = {}
        self.wall_offset_ns = 0
        self.loop: EngineLoop | None = None
        self.sessions: dict[str, VenueSession] = {}
        self.links: dict[str, SlowLink] = {}
        self.follower = Follower(journal)
        self.stalled_until_ns = 0
        self._instruments = instruments
        self._limits = limits
        self._is_rung = False
        self._process = 0

    # ------------------------------------------------------------ begin and end

    def start(self) -> None:
        """As ``toucan engine`` does: replay, say so, let venues and front ends in."""
        self.journal.open()
        self._process += 1
        self._is_rung = False
        state = self.journal.recover(from_snapshot=self.world.happens(0.5))
        clock = EngineClock(self._wall_ns, self.monotonic_ns, state.at_ns)
        self.sessions = {name: VenueSession(name, FIRM, state, self._instruments) for name in self.venues}
        self.links = {name: SlowLink(venue) for name, venue in self.venues.items()}
        self.journal.is_ready = lambda venue: self.sessions[venue].phase is Phase.READY
        self.decider = Decider(state, self._instruments, "T")
        log = cast(Any, EventLog(self.world, self.follower.take))
        market = cast(Any, type("MarketLog", (), {"writer": _Market()})())
        self.loop = EngineLoop(
            state, self.decider, self.sessions, self.links, self.journal, log, market, clock, recover=self.journal.recover,
            drop_front=self._drop_front, patience_s=PATIENCE_S,
        )  # fmt: skip
        self.world.say(f"engine {self._process} starts at event {state.seq}")
        try:
            self._begin(clock)
        except (EngineDied, JournalUnavailable) as died:
            self.die(str(died))

    def _begin(self, clock: EngineClock) -> None:
        loop = self.loop
        assert loop is not None
        state = loop.state
        events: list[ev.Event] = [ev.EngineStarted(state.epoch + 1, "simulated")]
        if state.limits_digest != limits_digest(self._limits):
            events.append(ev.LimitsLoaded(self._limits, "simulation"))
        at_ns = clock.now_ns()
        self.journal.append(state.seq + 1, len(events), at_ns, encode(events))
        self.journal.commit()
        for event in events:
            loop.began_with(event, state.apply(state.seq + 1, at_ns, event))
        for name, link in self.links.items():
            record = state.venue(name)
            link.resume_from(record.life, record.venue_seq)
            link.start(self._from_venue(name))
        for front in self.fronts.values():
            self.joined(front)
        self._tick(self._process)

    def _wall_ns(self) -> int:
        return self.world.now_ns + self.wall_offset_ns

    def monotonic_ns(self) -> int:
        """The host's; starts with the run."""
        return self.world.now_ns - self.world.start_ns

    def die(self, where: str) -> None:
        """kill -9, and some time later the next one starts."""
        if self.loop is None:
            return
        self.world.say(f"engine {self._process} dies at {where}")
        self.world.counts["engine deaths"] += 1
        self.world.dies_in = None
        self.loop = None
        for link in self.links.values():
            link.stop()
        for front in self.fronts.values():
            front.engine_is_gone()
        self.world.after(self.world.between(5 * MS, 300 * MS), self.start)

    # ------------------------------------------------------------ its surroundings

    def _from_venue(self, name: str) -> Deliver:
        process = self._process

        def deliver(messages: list[VenueEvent]) -> bool:
            if self.loop is None or process != self._process:
                return True
            is_taken = self.loop.deliver(FromVenueLink(name, messages))
            self.ring()
            return is_taken

        return deliver

    def joined(self, front: SimulatedFront) -> None:
        """A front end connects."""
        self.fronts[front.number] = front
        if self.loop is not None:
            channel = front.connected(self)
            self.loop.deliver(FrontJoined(Front(front.number, f"front {front.number}", cast(Any, channel))))
            self.ring()

    def left(self, front: SimulatedFront) -> None:
        """A front end has died."""
        self.fronts.pop(front.number, None)
        if self.loop is not None:
            self.loop.deliver(FrontLeft(front.number))
            self.ring()

    def _drop_front(self, number: int) -> None:
        self.world.counts["front ends dropped"] += 1
        front = self.fronts[number]
        front.engine_is_gone()
        self.left(front)
        self.joined(front)

    # ------------------------------------------------------------ turns

    def ring(self) -> None:
        """Somebody has something for it."""
        if not self._is_rung and self.loop is not None:
            self._is_rung = True
            process = self._process
            delay_ns = max(self.world.between(20_000, 400_000), self.stalled_until_ns - self.world.now_ns)
            self.world.after(delay_ns, lambda: self._turn(process))

    def _turn(self, process: int) -> None:
        if self.loop is None or process != self._process:
            return
        self._is_rung = False
        try:
            self.world.point("turn")
            has_more = self.loop.turn()
            self.world.point("turned")
        except EngineDied as died:
            self.die(str(died))
            return
        if has_more or self.loop.rest_s < TICK_S:
            self.ring()

    def _tick(self, process: int) -> None:
        if self.loop is None or process != self._process:
            return
        self.ring()
        self.world.after(S // 10, lambda: self._tick(process))

    @property
    def is_ready(self) -> bool:
        """Whether it trades everywhere."""
        return self.loop is not None and all(one.phase is Phase.READY for one in self.sessions.values())
