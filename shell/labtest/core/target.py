"""What shall be on each host: paths with checksums, releases, units with what they are started from. Rendered, so nothing is left to decide.

Law: a :class:`Target` is data that two people can compare, and that a host's own report (:mod:`labtest.core.actual`) can be compared with word by
word. It holds checksums, never contents: contents are :class:`Blobs`, named by their sha256, so a target is small, can be journalled, and the
one before can be gone back to. The *inputs* of a process are what it was started with; whoever compares them with those of the running one
knows whether it must be restarted, without remembering what was changed when. Comparing times of files with that of the start was rejected:
clocks differ, and a file that is put back as it was needs no restart.
"""

from __future__ import annotations

import msgspec

from labtest.core.environment import Health, OnChange

__all__ = [
    "Blobs",
    "FileTarget",
    "HostTarget",
    "Input",
    "ProcessTarget",
    "ReleaseTarget",
    "SourceFile",
    "Target",
]

#: sha256 (lower-case hex) to contents.
Blobs = dict[str, bytes]


class FileTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One file."""

    path: str
    sha256: str
    size_bytes: int
    mode: int
    owner: str
    group: str
    #: Whether systemd must read its units again after a change.
    is_unit: bool = False


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a release, under the folder of its source."""

    #: Relative, without ``..``.
    path: str
    sha256: str
    size_bytes: int
    executable: bool = False


class ReleaseTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a release."""

    name: str
    version: str
    folder: str
    source: tuple[SourceFile, ...]
    install: tuple[str, ...]
    after_switch: tuple[tuple[str, ...], ...]
    install_timeout_s: float
    #: Digest of everything above: the same version with another source is another release.
    fingerprint: str


class Input(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One thing a process is started from."""

    #: ``file:PATH``, ``release:NAME`` or ``unit``.
    name: str
    #: sha256 of the file, fingerprint of the release, digest of the unit's file.
    fingerprint: str
    on_change: OnChange


class ProcessTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a process: it shall run."""

    process: str
    unit: str
    #: Names of processes that are healthy on all their hosts before.
    after: tuple[str, ...]
    #: In order of name.
    inputs: tuple[Input, ...]
    health: Health
    start_timeout_s: float
    stop_timeout_s: float
    batch_size: int = 1
    #: Whether it shall run; False after a ``stop`` at the prompt.
    running: bool = True


class HostTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One host. Each list is in order of path or name."""

    host: str
    files: tuple[FileTarget, ...] = ()
    releases: tuple[ReleaseTarget, ...] = ()
    processes: tuple[ProcessTarget, ...] = ()


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """All hosts, in order of name."""

    environment: str
    hosts: tuple[HostTarget, ...]
