"""What can be asked of a host, whatever kind it is. Every kind passes the same conformance tests.

An :class:`Agent` is one live connection to a program that runs on the host as root. All methods may run at the same time; a
cancelled call is cancelled on the host too. Whatever a host cannot do raises :class:`~labtest.errors.ActionFailed` with one of these
codes: ``not-found``, ``no-space``, ``not-allowed``, ``checksum`` (what arrived, or what was to be replaced, is not what it should
be), ``unit-failed``, ``timeout``, ``locked``, ``too-large``, ``command-failed``, ``exists``, ``io``. A connection that is lost
raises :class:`~labtest.errors.HostUnreachable` from every call that is under way.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from labtest.core.actual import HostActual, UnitState
from labtest.core.steps import Action

__all__ = ["Agent", "LinkState", "LogBatch", "LogLine", "Ran"]


class LinkState(enum.StrEnum):
    """How the connection to a host is."""

    #: On its way, for the first time or again.
    CONNECTING = "connecting"
    #: The agent answers.
    UP = "up"
    #: It was up and has been lost, or could not be had yet; it is being tried again.
    LOST = "lost"
    #: It will not get better by itself: login refused, unknown or changed host key, no sudo. Tried again only when somebody asks.
    REFUSED = "refused"
    #: Nobody wants it any more.
    CLOSED = "closed"


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended. ``status`` is its exit status, or minus the signal that killed it."""

    status: int
    stdout: bytes
    stderr: bytes
    #: Bytes that were left out since ``output_bytes_max`` was reached.
    dropped_bytes: int = 0


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One message of the host's journal."""

    at_ns: int  # since the epoch, on the host's clock
    unit: str
    pid: int
    priority: int  # of syslog(3): 0 is the worst
    text: str


class LogBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What has arrived since the last batch; at most one every 20 ms."""

    lines: tuple[LogLine, ...]
    #: Lines that were left out at the source, since there were too many.
    dropped: int = 0
    #: Where to go on from after a lost connection.
    cursor: str = ""


class Agent(Protocol):
    """A host's agent. ``host`` is its name in the spec."""

    host: str

    async def observe(self, environment: str, *, files: Sequence[str], units: dict[str, str]) -> HostActual:
        """What the manifest of ``environment`` names, and the files (paths) and units (process to unit) asked for."""

    async def do(self, environment: str, action: Action, *, content: Callable[[str], bytes]) -> str:
        """Carries an action out; ``content`` gives the bytes of a sha256. Gives a line for people, empty if there is nothing to say."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        folder: str = "/",
        timeout_s: float = 60.0,
        output_bytes_max: int = 4 * 2**20,
    ) -> Ran:
        """Runs a command as root, without a terminal; ends it with all its children when cancelled or late."""

    async def read_file(self, path: str, *, size_max: int = 16 * 2**20) -> bytes:
        """The contents of a file."""

    def units(
        self, units: Sequence[str]
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[UnitState, ...]]]:
        """States of units (names, or shell patterns): all of them at first, then those that have changed, as they change."""

    def logs(
        self,
        units: Sequence[str],
        *,
        lines: int = 10,
        follow: bool = False,
        cursor: str = "",
        grep: str = "",
        since_ns: int = 0,
    ) -> AbstractAsyncContextManager[AsyncIterator[LogBatch]]:
        """The last ``lines`` messages of units, or those after ``cursor`` or ``since_ns``, and then new ones.

        ``grep`` is a regular expression, used at the source.
        """

    def lock(self, environment: str, holder: str) -> AbstractAsyncContextManager[None]:
        """Holds the environment's lock on this host, which ends with this connection at the latest.

        Raises :class:`~labtest.errors.EnvironmentLocked`.
        """

    async def aclose(self) -> None:
        """Ends the agent."""
