"""The journal and the log of events in memory: what was committed stays, whatever dies; and a disk that fails."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from toucan.core import events as ev
from toucan.core.order import Client
from toucan.core.outcomes import Outcome
from toucan.core.records import decode
from toucan.core.state import EngineState
from toucan.engine.handshake import EVENT_HEAD
from toucan.engine.recovery import apply_records
from toucan.journal.core.frame import Record
from toucan.journal.errors import CommitTooLarge, JournalUnavailable

from .world import Violation, World

__all__ = ["EventLog", "MemoryJournal"]

#: Records of one commit; a small number, so that batches are divided now and then.
COMMIT_RECORDS_MAX = 40


class Snapshot(msgspec.Struct, frozen=True):
    """A state, dumped."""

    seq: int
    payload: bytes


class MemoryJournal:
    """A :class:`~toucan.engine.loop.JournalWriter`. It outlives engines; ``open`` begins another one's use."""

    def __init__(self, world: World) -> None:
        self.committed_seq = 0
        self.records: list[Record] = []
        #: What was answered to whom, for good.
        self.answers: dict[tuple[Client, int], Outcome] = {}
        self.order_ids: set[int] = set()
        self.cl_ord_ids: set[str] = set()
        self.is_failing = False
        #: Whether a venue takes new orders now, as far as the engine's connection goes.
        self.is_ready: Callable[[str], bool] = lambda venue: True
        self.snapshot: Snapshot | None = None
        self._world = world
        self._staged: list[Record] = []
        self._next_seq = 1
        #: A batch whose failure could not be undone on the disk: it may come back when the engine starts again.
        self._undead: list[Record] = []

    def open(self) -> None:
        """The next process opens it."""
        if self._undead and self._world.happens(0.5):
            self._world.counts["failed commits that came back"] += 1
            self._world.say("a failed commit has come back")
            self._keep(self._undead)
        self._undead, self._staged, self._next_seq = [], [], self.committed_seq + 1

    def append(self, first_seq: int, count: int, at_ns: int, payload: bytes) -> None:
        """Stages a record."""
        self._world.point("append")
        if first_seq != self._next_seq:
            raise Violation(f"event {first_seq} appended where {self._next_seq} is due")
        if len(self._staged) >= COMMIT_RECORDS_MAX:
            raise CommitTooLarge("commit first")
        self._staged.append(Record(first_seq, count, at_ns, bytes(payload), b"", self.committed_seq, 0))
        self._next_seq = first_seq + count

    def commit(self, *, is_urgent: bool = False, is_noted: bool = True) -> int:
        """Keeps what is staged, or nothing of it."""
        staged, self._staged = self._staged, []
        self._next_seq = self.committed_seq + 1
        self._world.point("commit")
        if self.is_failing and not (is_urgent and self._world.happens(0.5)):
            self._world.counts["failed commits"] += 1
            may_reappear = self._world.happens(0.3)
            self._undead = staged if may_reappear else []
            raise JournalUnavailable("the disk is full", may_reappear=may_reappear)
        self._undead = []
        for record in staged:
            for event in decode(record.payload):
                if isinstance(event, ev.OrderAccepted) and not self.is_ready(event.venue):
                    raise Violation(f"order {event.order_id} was accepted while {event.venue} was not ready")
        self._keep(staged)
        self._next_seq = self.committed_seq + 1
        self._world.point("committed")
        return self.committed_seq

    def note(self) -> None:
        """There is no witness."""

    def prepare(self) -> bool:
        """There is nothing to prepare."""
        return False

    def _keep(self, records: list[Record]) -> None:
        for record in records:
            self.records.append(record)
            self.committed_seq = record.last_seq
            for event in decode(record.payload):
                self._note(event)

    def _note(self, event: ev.Event) -> None:
        if isinstance(event, ev.Answered):
            key = (event.client, event.number)
            if key in self.answers:
                raise Violation(f"request {event.number} of {event.client} was executed twice")
            self.answers[key] = event.outcome
        elif isinstance(event, (ev.OrderAccepted, ev.OrderAdopted)):
            if event.order_id in self.order_ids:
                raise Violation(f"there are two orders {event.order_id}")
            self.order_ids.add(event.order_id)
        if isinstance(event, (ev.OrderAccepted, ev.CancelRequested, ev.ReplaceRequested)):
            if event.cl_ord_id in self.cl_ord_ids:
                raise Violation(f"the id {event.cl_ord_id} was given twice")
            self.cl_ord_ids.add(event.cl_ord_id)

    # ------------------------------------------------------------ reading

    def recover(self, *, from_snapshot: bool = False) -> EngineState:
        """The state as it was committed."""
        state = EngineState()
        if from_snapshot and self.snapshot is not None:
            state = EngineState.load(self.snapshot.payload)
        apply_records(state, self.records)
        return state

    def take_snapshot(self) -> None:
        """As the snapshotter does, from the journal."""
        self.snapshot = Snapshot(self.committed_seq, self.recover(from_snapshot=True).dump())


class EventLog:
    """A :class:`~toucan.engine.shared.SharedLog`: what is put is there for followers when it is published."""

    def __init__(self, world: World, deliver: Callable[[list[bytes]], None]) -> None:
        self.writer = self
        self._world = world
        self._deliver = deliver
        self._staged: list[bytes] = []

    def put(self, message: bytes) -> None:
        """Stages a message."""
        self._staged.append(message)

    def publish(self) -> None:
        """Makes what is staged visible."""
        self._world.point("publish")
        staged, self._staged = self._staged, []
        self._deliver(staged)


class Follower:
    """A front end's copy of the state: follows the log, and reads the journal where that has a gap."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.state = EngineState()
        self.gaps = 0
        self._journal = journal

    def take(self, messages: list[bytes]) -> None:
        """Messages of the log."""
        for message in messages:
            first_seq, count, at_ns = EVENT_HEAD.unpack_from(message)
            if first_seq > self.state.seq + 1:
                self.gaps += 1
                apply_records(self.state, [one for one in self._journal.records if one.last_seq < first_seq])
            record = Record(first_seq, count, at_ns, message[EVENT_HEAD.size :], b"", 0, 0)
            apply_records(self.state, [record])
