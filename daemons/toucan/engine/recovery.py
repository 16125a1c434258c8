"""From the journal's files to a state: the newest snapshot that is whole, and every event after it.

Used by the engine at its start and after a failed commit, and by every front end for its copy. There is no other way to a state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from toucan.core.events import Event
from toucan.core.records import UnreadableRecord, decode
from toucan.core.state import Change, EngineState
from toucan.errors import UnusableJournal
from toucan.journal.core.frame import Record
from toucan.journal.reader import Follower
from toucan.journal.snapshots import SnapshotStore

__all__ = ["OnApplied", "apply_records", "recover"]

#: Called with each event after it was applied: its number, its time, itself, what it changed.
OnApplied = Callable[[int, int, Event, Change], None]


def apply_records(state: EngineState, records: Iterable[Record], on_applied: OnApplied | None = None) -> None:
    """Applies what comes after the state's own event; what it has already is passed over. Raises :class:`UnusableJournal`."""
    for record in records:
        if record.last_seq <= state.seq:
            continue
        state.skip(record.first_seq - 1)
        try:
            events = decode(record.payload)
        except UnreadableRecord as error:
            raise UnusableJournal(
                f"event {record.first_seq} of the journal cannot be read: {error}; it was written by a newer version, which must be used"
            ) from error
        for seq, event in enumerate(events, record.first_seq):
            if seq <= state.seq:
                continue
            change = state.apply(seq, record.at_ns, event)
            if on_applied is not None:
                on_applied(seq, record.at_ns, event, change)


def recover(
    folder: Path, up_to_seq: int, on_applied: OnApplied | None = None
) -> tuple[EngineState, Follower]:
    """The state after event ``up_to_seq``, and who has read the journal so far; close it.

    Raises :class:`UnusableJournal` and the journal's errors.
    """
    snapshot, follower = SnapshotStore(folder).resume(folder, up_to_seq)
    state = EngineState()
    if snapshot is not None:
        try:
            state = EngineState.load(snapshot.payload)
        except msgspec.MsgspecError:  # of another version: the events themselves say it all
            follower.close()
            follower = Follower(folder, 1)
    while records := follower.read(up_to_seq):
        apply_records(state, records, on_applied)
    state.skip(up_to_seq)
    return state, follower
