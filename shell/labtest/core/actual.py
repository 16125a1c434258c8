"""What is on each host, as its agent reports it.

Law: facts only, as found: nothing here was wanted, guessed or remembered from before. What a host has of this environment it knows itself: its
agent keeps a *manifest* there (paths, releases, units that labtest put there, and what each unit was last started from), so that another
shell, another operator, or the same one after a kill, sees the same. A host that does not answer is ``None`` in :class:`Actual`, never an
empty host: what is not known is not absent.
"""

from __future__ import annotations

import msgspec

__all__ = ["Actual", "FileActual", "HostActual", "ProcessActual", "ReleaseActual", "UnitState"]


class FileActual(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the manifest or the question names. Not there: not in the list."""

    path: str
    sha256: str
    mode: int
    owner: str
    group: str
    #: Whether the manifest says that labtest put it there.
    managed: bool


class ReleaseActual(msgspec.Struct, frozen=True, kw_only=True):
    """A release that the manifest names."""

    name: str
    folder: str
    #: Version to fingerprint: those that are installed in full.
    installed: dict[str, str]
    #: Version that ``current`` leads to; empty: none.
    current: str


class UnitState(msgspec.Struct, frozen=True, kw_only=True):
    """A unit as systemd sees it; the words are systemd's own (org.freedesktop.systemd1(5))."""

    unit: str
    #: ``loaded``, ``not-found``, ``masked``, ``bad-setting``, ``error``.
    load: str
    #: ``active``, ``inactive``, ``failed``, ``activating``, ``deactivating``, ``reloading``.
    active: str
    #: E.g. ``running``, ``dead``, ``auto-restart``.
    sub: str
    #: E.g. ``success``, ``exit-code``, ``signal``, ``watchdog``.
    result: str = ""
    #: The daemon's own line, from ``STATUS=``.
    status: str = ""
    #: 0: none.
    main_pid: int = 0
    restarts: int = 0
    #: When the unit became active, on the host's own clock; ns since the epoch, 0: it is not.
    active_since_ns: int = 0
    #: Tells one start from another.
    invocation: str = ""
    memory_bytes: int = 0


class ProcessActual(msgspec.Struct, frozen=True, kw_only=True):
    """An instance of a process that the manifest names, or that the question asks for."""

    process: str
    state: UnitState
    #: Input name to fingerprint at the last start (or reload) by labtest; empty: it never started it.
    started_from: dict[str, str]
    #: Whether the manifest says that labtest runs it.
    managed: bool


class HostActual(msgspec.Struct, frozen=True, kw_only=True):
    """One host. Lists are in order of path or name."""

    host: str
    #: Changes with each boot.
    boot_id: str
    files: tuple[FileActual, ...] = ()
    releases: tuple[ReleaseActual, ...] = ()
    processes: tuple[ProcessActual, ...] = ()


class Actual(msgspec.Struct, frozen=True, kw_only=True):
    """All hosts asked; None: no answer."""

    environment: str
    hosts: dict[str, HostActual | None]
