"""Snapshots: states of the engine, kept so that a start need not replay the whole journal.

They are a convenience. The journal is the truth and its old segments stay, so a snapshot that is damaged, of another journal or of another history is
passed over, for the one before or for a replay from the first event.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from toucan.journal.core.snapshot_frame import Snapshot, decode_snapshot, encode_snapshot
from toucan.journal.disk import Disk
from toucan.journal.errors import SnapshotNotStored
from toucan.journal.folder import quarantine_folder, write_whole_file
from toucan.journal.limits import SNAPSHOT_BYTES_MAX, SNAPSHOTS_KEPT
from toucan.journal.reader import Follower

__all__ = ["SnapshotStore"]

_NAME = re.compile(r"snapshot-(\d{20})\.snapshot")


class SnapshotStore:
    """The snapshots in one folder (mostly the journal's own). The process that holds the journal stores; any process may resume."""

    def __init__(self, folder: Path, *, kept: int = SNAPSHOTS_KEPT, disk: Disk | None = None) -> None:
        """``kept``: how many of the newest are kept, at least 1."""
        if kept < 1:
            raise ValueError(f"{kept} snapshots are to be kept: at least 1")
        self.folder = folder
        self._kept = kept
        self._disk = disk or Disk()
        #: What was passed over when one was looked for, and why: sentences, for the log.
        self.notes: list[str] = []

    def paths(self) -> list[Path]:
        """All of them, the newest first."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return [self.folder / name for name in sorted(names, reverse=True) if _NAME.fullmatch(name)]

    def store(self, snapshot: Snapshot) -> Path:
        """Writes it, durable when this returns, and removes the oldest ones; returns where it is.

        Raises :class:`SnapshotNotStored` (the older ones are as they were), and ``ValueError`` if it is too large.
        """
        if len(snapshot.payload) > SNAPSHOT_BYTES_MAX:
            raise ValueError(f"a snapshot of {len(snapshot.payload):,} bytes: at most {SNAPSHOT_BYTES_MAX:,}")
        path = self.folder / f"snapshot-{snapshot.seq:020d}.snapshot"
        try:
            write_whole_file(path, encode_snapshot(snapshot), self._disk)
            for old in [*self.paths()[self._kept :], *self.folder.glob(".snapshot-*.new")]:
                old.unlink()  # the second kind was left by a process that was killed while it wrote
        except OSError as error:
            raise SnapshotNotStored(f"{path} cannot be written: {error.strerror}") from error
        return path

    def resume(self, journal_folder: Path, up_to_seq: int) -> tuple[Snapshot | None, Follower]:
        """Where to begin a replay: the newest snapshot that fits the journal (None: there is none), and a follower that goes on behind it.

        ``up_to_seq``: what is committed. Reads the segment in which the snapshot ends up to there. Close the follower. Errors are
        those of :class:`Follower`, for what lies behind the snapshot only.
        """
        for path in self.paths():
            snapshot = self._load(path)
            if snapshot is None:
                continue
            if snapshot.seq > up_to_seq:
                self.notes.append(f"{path} is of event {snapshot.seq}, the journal ends at {up_to_seq}")
                continue
            follower = Follower(journal_folder, snapshot.seq + 1)
            try:
                if self._fits(path, snapshot, follower):
                    return snapshot, follower
            except BaseException:
                follower.close()
                raise
            follower.close()
        return None, Follower(journal_folder, 1)

    def _load(self, path: Path) -> Snapshot | None:
        try:
            snapshot = decode_snapshot(path.read_bytes())
        except FileNotFoundError:
            return None  # a newer one was stored meanwhile, or another process has set it aside
        if snapshot is None:
            self._set_aside(path)
            return None
        if isinstance(snapshot, int):
            self.notes.append(f"{path} has format version {snapshot}, which this program does not read")
            return None
        return snapshot

    def _set_aside(self, path: Path) -> None:
        quarantine = quarantine_folder(self.folder)
        try:
            quarantine.mkdir(mode=0o750, exist_ok=True)
            path.replace(quarantine / path.name)
            self.notes.append(f"{path} is damaged and was set aside in {quarantine}")
        except OSError as error:  # a front end may have no right to; the engine will do it
            self.notes.append(f"{path} is damaged and cannot be set aside: {error.strerror}")

    def _fits(self, path: Path, snapshot: Snapshot, follower: Follower) -> bool:
        """Whether the journal has, at the snapshot's event, the history that the snapshot was made of."""
        chain = follower.chain_before()
        if follower.journal_id != snapshot.journal_id:
            self.notes.append(f"{path} belongs to journal {snapshot.journal_id.hex()}")
            return False
        if follower.next_seq != snapshot.seq + 1 or chain not in (None, snapshot.chain):
            self.notes.append(f"{path} was made of another history than the journal has")
            return False
        return True
