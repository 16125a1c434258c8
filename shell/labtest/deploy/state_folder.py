"""The folder beside a spec in which its environment lives on when nobody is there: ``<spec>.lab/``.

``desired.json`` is what shall be, as changes of the spec; ``journal/`` is what was done; ``blobs/`` are contents of targets that can be gone
back to; ``lock`` is held by whoever changes something. Who may read the configuration files of the environment may read this folder, and nobody
else: it is made 0700.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from labtest.core.change_values import Change
from labtest.core.run_records import Record, Unfinished, unfinished
from labtest.core.target import Blobs, Target
from labtest.deploy.errors import StateDamaged, StateNewer
from labtest.deploy.files import make_folder, open_own, write_whole
from labtest.deploy.journal import JournalFile, journals, read_journal
from labtest.deploy.limits import DESIRED_BYTES_MAX, LOCK_HOLDER_BYTES_MAX, TARGETS_KEPT
from labtest.errors import EnvironmentLocked

__all__ = ["FORMAT", "Desired", "KeptTarget", "StateFolder"]

#: Of ``desired.json``. A higher one was written by somebody who knows more.
FORMAT = 1


class KeptTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A target that was reached, and can be gone back to."""

    #: Of its JSON, which is a blob.
    sha256: str
    changes: tuple[Change, ...]
    spec_sha256: str
    at_ns: int
    who: str


class Desired(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall be."""

    format: int = FORMAT
    environment: str
    #: Counts each time it is written, so that two who write at once notice.
    serial: int = 0
    #: Changes of the spec that are in effect.
    changes: tuple[Change, ...] = ()
    #: Changes that wait to be applied.
    pending: tuple[Change, ...] = ()
    #: Targets that were reached, the present one last.
    kept: tuple[KeptTarget, ...] = ()


class _Format(msgspec.Struct):
    format: int


class StateFolder:
    """The folder. It is made when something is written first, so looking at an environment leaves nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def beside(cls, spec: Path) -> StateFolder:
        """The folder of a spec."""
        return cls(spec.with_name(f"{spec.stem}.lab"))

    @property
    def audit_path(self) -> Path:
        """Where commands are recorded."""
        return self.path / "audit.jsonl"

    # ------------------------------------------------------------ desired state

    def read(self, environment: str) -> Desired:
        """The desired state; that of an environment nobody has touched, if there is none.

        Raises :class:`~labtest.deploy.errors.StateDamaged` and :class:`~labtest.deploy.errors.StateNewer`.
        """
        path = self.path / "desired.json"
        try:
            with path.open("rb") as stream:
                text = stream.read(DESIRED_BYTES_MAX + 1)
        except FileNotFoundError:
            return Desired(environment=environment)
        try:
            found = msgspec.json.decode(text, type=_Format).format
            if found > FORMAT:
                raise StateNewer(
                    f"{path} has format {found}, and this labtest knows {FORMAT}: it was written by a newer one; use that"
                )
            desired = msgspec.json.decode(text, type=Desired)
        except msgspec.DecodeError as error:
            raise StateDamaged(
                f"{path}: {error}. It is not what labtest wrote there; put it right, or move it away to start again from the spec alone"
            ) from error
        if desired.environment != environment:
            raise StateDamaged(
                f"{path} is of environment {desired.environment!r}, and the spec is of {environment!r}"
            )
        return desired

    def write(self, desired: Desired) -> Desired:
        """Writes the desired state, with the next serial. Whoever calls this holds the lock."""
        make_folder(self.path)
        following = msgspec.structs.replace(
            desired, serial=desired.serial + 1, kept=desired.kept[-TARGETS_KEPT:]
        )
        write_whole(
            self.path / "desired.json", msgspec.json.format(msgspec.json.encode(following), indent=1) + b"\n"
        )
        return following

    def mark(self) -> tuple[object, ...]:
        """Another one whenever somebody has written something here, be it one step of a run: cheap enough to be asked for each second."""
        paths = [self.path / "desired.json", *journals(self.path / "journal")[-1:]]
        return tuple(_mark_of(path) for path in paths)

    # ------------------------------------------------------------ lock

    @contextmanager
    def lock(self, holder: str) -> Iterator[None]:
        """Nobody else changes anything here meanwhile. Ends with the process at the latest.

        Raises :class:`~labtest.errors.EnvironmentLocked` at once if somebody has it.
        """
        make_folder(self.path)
        descriptor = open_own(self.path / "lock", os.O_RDWR)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                other = os.pread(descriptor, LOCK_HOLDER_BYTES_MAX, 0).decode("utf-8", "replace").strip()
                raise EnvironmentLocked(
                    f"the environment is locked by {other or 'somebody'}", other
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder.encode()[:LOCK_HOLDER_BYTES_MAX], 0)
            yield
        finally:
            os.close(descriptor)

    def holder(self) -> str:
        """Who holds the lock; empty: nobody."""
        try:
            with self.lock(""):
                return ""
        except EnvironmentLocked as error:
            return error.holder or "somebody"

    # ------------------------------------------------------------ blobs

    def keep(self, target: Target, blobs: Blobs) -> str:
        """Puts a target and its contents away; gives the checksum of the target's JSON."""
        folder = self.path / "blobs"
        make_folder(self.path)
        make_folder(folder)
        text = msgspec.json.encode(target, order="deterministic")
        digest = hashlib.sha256(text).hexdigest()
        for name in _contents_of(target):
            if name in blobs and not (folder / name).exists():
                write_whole(folder / name, blobs[name])
        write_whole(folder / digest, text)
        return digest

    def blob(self, sha256: str) -> bytes:
        """A content. Raises :class:`~labtest.deploy.errors.StateDamaged` if it is not there, or not what it was."""
        path = self.path / "blobs" / sha256
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise StateDamaged(f"{path} is not there: a content that is needed to go back is lost") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StateDamaged(
                f"{path} is not what was put there: the disk is bad, or somebody has changed it"
            )
        return content

    def target(self, sha256: str) -> Target:
        """A target that was kept."""
        return msgspec.json.decode(self.blob(sha256), type=Target)

    def forget_others(self, desired: Desired) -> None:
        """Removes contents that no kept target needs."""
        needed = {kept.sha256 for kept in desired.kept[-TARGETS_KEPT:]}
        for target in [self.target(digest) for digest in sorted(needed)]:
            needed |= _contents_of(target)
        folder = self.path / "blobs"
        for path in folder.iterdir() if folder.exists() else ():
            if path.name not in needed:
                path.unlink(missing_ok=True)

    # ------------------------------------------------------------ journals

    def new_journal(self) -> JournalFile:
        """Begins a journal."""
        make_folder(self.path)
        return JournalFile(self.path / "journal")

    def last_journal(self) -> list[Record]:
        """Records of the last run that began; none if there never was one."""
        for path in reversed(journals(self.path / "journal")):
            records = read_journal(path)
            if records:
                return records
        return []

    def history(self) -> list[list[Record]]:
        """Records of all runs that are kept, oldest first."""
        return [records for path in journals(self.path / "journal") if (records := read_journal(path))]

    def unfinished(self) -> Unfinished | None:
        """The last run, if it did not come to its end."""
        return unfinished(self.last_journal())


def _mark_of(path: Path) -> tuple[object, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return path.name, found.st_ino, found.st_size, found.st_mtime_ns


def _contents_of(target: Target) -> set[str]:
    files = {file.sha256 for host in target.hosts for file in host.files}
    return files | {
        file.sha256 for host in target.hosts for release in host.releases for file in release.source
    }
