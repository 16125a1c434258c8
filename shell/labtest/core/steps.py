"""What a plan consists of: actions, each on one host, and what must be done before each.

Law: an action says all that doing it needs, so that a plan can be shown, journalled and carried out by somebody who does not know why. Every action
can be done twice, with the same end as done once: after a kill in the middle nobody knows which of those under way were done. Undoing is not here:
going back is a plan to the target before, made by the same planner, which looks at what is really there.
"""

from __future__ import annotations

import msgspec

from labtest.core.target import FileTarget, ProcessTarget, ReleaseTarget

__all__ = [
    "Action",
    "CheckHealth",
    "Forget",
    "InstallRelease",
    "Plan",
    "PutFile",
    "Reload",
    "ReloadManager",
    "RemoveFile",
    "RemoveRelease",
    "Restart",
    "Start",
    "Step",
    "Stop",
    "SwitchRelease",
]


class PutFile(msgspec.Struct, frozen=True, tag="put-file"):
    """Writes a file whole, by its checksum, and renames it into place."""

    file: FileTarget
    #: Of what is there now; empty: nothing. Another one there when it is done: the host has changed since, which is an error.
    replaces_sha256: str = ""


class RemoveFile(msgspec.Struct, frozen=True, tag="remove-file"):
    """Removes a file of the manifest."""

    path: str
    is_unit: bool = False


class InstallRelease(msgspec.Struct, frozen=True, tag="install-release"):
    """Copies the source, and installs it beside the version in use."""

    release: ReleaseTarget


class SwitchRelease(msgspec.Struct, frozen=True, tag="switch-release"):
    """Makes ``current`` lead to a version, at one instant."""

    release: ReleaseTarget
    #: Version in use now; empty: none.
    replaces: str = ""


class RemoveRelease(msgspec.Struct, frozen=True, tag="remove-release"):
    """Removes a version, and with an empty ``version`` the whole folder."""

    name: str
    folder: str
    version: str = ""


class ReloadManager(msgspec.Struct, frozen=True, tag="reload-manager"):
    """``systemctl daemon-reload``."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Stops a unit and waits for it."""

    process: str
    unit: str
    timeout_s: float


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Starts a unit, waits until it is active, and notes in the manifest what it was started from."""

    process: ProcessTarget


class Restart(msgspec.Struct, frozen=True, tag="restart"):
    """``systemctl restart``, never stop and start: descriptors that systemd keeps, and its sockets, stay. Else as :class:`Start`."""

    process: ProcessTarget


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """``systemctl reload``; else as :class:`Start`."""

    process: ProcessTarget


class CheckHealth(msgspec.Struct, frozen=True, tag="check-health"):
    """Waits until the process is healthy."""

    process: ProcessTarget


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """Takes a stopped process out of the manifest."""

    process: str
    unit: str


Action = (
    PutFile
    | RemoveFile
    | InstallRelease
    | SwitchRelease
    | RemoveRelease
    | ReloadManager
    | Stop
    | Start
    | Restart
    | Reload
    | CheckHealth
    | Forget
)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One action on one host. ``id`` is its place in the plan, from 0."""

    id: int
    host: str
    action: Action
    #: Ids of steps that are done before; all are smaller than ``id``.
    needs: tuple[int, ...] = ()
    #: Why, for people: e.g. ``/etc/aviary/cashy.toml changed``.
    reason: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Steps in an order in which they could be done one by one."""

    environment: str
    steps: tuple[Step, ...]
    #: Digest of what the plan was made from (:func:`labtest.core.plan.index_of`): it is carried out only where that still holds.
    index: str
    #: Whether it only restarts, reloads, stops or starts processes where they are, or changes files: such a change acts at once.
    minor: bool
    #: Hosts that do not answer and would have had steps: those are left out, and this says so.
    unreachable: tuple[str, ...] = ()
