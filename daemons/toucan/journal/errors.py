"""Errors of the journal, typed by whose move it is; each message says what was found, where, and what to do.

* the engine's: :class:`CommitTooLarge` (commit first), :class:`JournalUnavailable` (nothing was kept of this batch: refuse it, try the next);
* the operator's: :class:`JournalLocked`, :class:`JournalDamaged`, :class:`JournalTruncated`, :class:`JournalUnsupported`;
* nobody's, the journal is whole without it: :class:`SnapshotNotStored`.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "CommitTooLarge",
    "JournalDamaged",
    "JournalError",
    "JournalLocked",
    "JournalTruncated",
    "JournalUnavailable",
    "JournalUnsupported",
    "SnapshotNotStored",
]


class JournalError(Exception):
    """Base of all errors that the journal raises on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CommitTooLarge(JournalError):
    """A record does not fit the batch that is staged; commit that first. Nothing was staged."""


class JournalUnavailable(JournalError):
    """The staged events could not be made durable, and are dropped. The journal is as it was before, and later commits may succeed.

    ``may_reappear``: the disk failed so badly that even the dropping could not be made durable. Until a later commit (or :meth:`Journal.recover`)
    succeeds, the batch may come back when the engine starts again; so its requests must be answered "outcome unknown", not "refused".
    """

    def __init__(self, message: str, *, may_reappear: bool = False) -> None:
        super().__init__(message)
        self.may_reappear = may_reappear


class JournalLocked(JournalError):
    """Another process has the journal open for writing. ``pid`` is its process id, None if it has not written it yet."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"{folder} is in use by {holder}: one engine writes one journal; stop that one, or use another data folder"
        )
        self.folder = folder
        self.pid = pid


class JournalDamaged(JournalError):
    """Bytes that were made durable are not what was written.

    ``path`` and ``offset`` say where; events ``first_seq`` to ``last_seq`` cannot be read (``last_seq`` may be ``first_seq - 1``: every event is
    there, but the chain of hashes is broken; None: it is not known up to where).
    """

    def __init__(
        self, path: Path, offset: int, first_seq: int, last_seq: int | None, reason: str, advice: str
    ) -> None:
        if last_seq is None:
            events = f"events from {first_seq} on"
        elif last_seq < first_seq:
            events = f"no event is missing before {first_seq}, but what follows is not what was written"
        else:
            events = f"events {first_seq} to {last_seq} cannot be read"
        super().__init__(f"{path} is damaged at byte {offset} ({reason}): {events}. {advice}")
        self.path = path
        self.offset = offset
        self.first_seq = first_seq
        self.last_seq = last_seq
        self.reason = reason


class JournalTruncated(JournalError):
    """Events at the end, which were made durable, are gone. ``missing_events`` is how many, None if that cannot be known."""

    def __init__(self, message: str, missing_events: int | None) -> None:
        super().__init__(message)
        self.missing_events = missing_events


class JournalUnsupported(JournalError):
    """A file was written by another version of toucan, whose format this one does not read."""


class SnapshotNotStored(JournalError):
    """A snapshot could not be written; the older ones are as they were."""
