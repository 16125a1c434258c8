"""Agents of hosts in memory, with faults: they fail, hang and get lost when they are told to.

For tests, and for trying a plan on a copy of what is there. They pass the conformance tests of real ones, as far as they claim to do what those
do: they run no commands and install nothing that could be run.
"""

from __future__ import annotations

import enum
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Generic, TypeVar

import msgspec
import trio

from labtest.core.actual import HostActual, UnitState
from labtest.core.steps import Action
from labtest.errors import EnvironmentLocked, HostUnreachable
from labtest.hosts.interface import LogBatch, LogLine, Ran
from labtest.hosts.memory_world import MemoryHost

__all__ = ["Fault", "FaultKind", "MemoryAgent", "MemoryHost"]


_T = TypeVar("_T")


class FaultKind(enum.StrEnum):
    """What goes wrong."""

    FAIL = "fail"
    #: It never ends; only cancelling or losing the host ends the call.
    HANG = "hang"
    #: The connection is lost, and so is every other call under way.
    LOSE = "lose"


class Fault(msgspec.Struct, kw_only=True):
    """One thing that goes wrong, ``times`` times."""

    kind: FaultKind = FaultKind.FAIL
    #: Which actions; None: any.
    action: type[Action] | None = None
    #: Whether the action is done all the same, and then nobody hears of it.
    is_done_first: bool = False
    code: str = "io"
    problem: str = "a fault of this test"
    times: int = 1
    #: How many actions it lets pass first.
    after: int = 0


class MemoryAgent:
    """One connection to a host in memory."""

    def __init__(
        self, memory_host: MemoryHost, *, faults: list[Fault] | None = None, delay_s: float = 0.0
    ) -> None:
        self.host = memory_host.name
        self.memory_host = memory_host
        self.faults = faults if faults is not None else []
        self.delay_s = delay_s
        self.lost = trio.Event()
        #: All actions that were asked for, in order.
        self.asked: list[Action] = []

    async def observe(self, environment: str, *, files: Sequence[str], units: dict[str, str]) -> HostActual:
        """See :class:`labtest.hosts.interface.Agent`; so for all others."""
        await self._reach()
        return self.memory_host.observe(environment, list(files), dict(units))

    async def do(self, environment: str, action: Action, *, content: Callable[[str], bytes]) -> str:
        """Carries an action out, or does what the faults say."""
        await self._reach()
        self.asked.append(action)
        await trio.sleep(self.delay_s)
        fault = self._fault(action)
        if fault is None:
            self._check()
            return self.memory_host.perform(environment, action, content)
        if fault.is_done_first:
            self.memory_host.perform(environment, action, content)
        if fault.kind is FaultKind.FAIL:
            raise self.memory_host.fail(fault.code, fault.problem)
        if fault.kind is FaultKind.LOSE:
            self.lose()
        await self.lost.wait()
        raise self._unreachable()

    def lose(self) -> None:
        """The connection is gone: this agent answers nothing any more."""
        self.lost.set()
        self.memory_host.release_locks(self)

    def _fault(self, action: Action) -> Fault | None:
        for fault in self.faults:
            if fault.times and (fault.action is None or isinstance(action, fault.action)):
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _check(self) -> None:
        if self.lost.is_set():
            raise self._unreachable()

    def _unreachable(self) -> HostUnreachable:
        return HostUnreachable(self.host, "the connection was lost")

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check()

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
        """Refused: there is nothing that could run it."""
        await self._reach()
        raise self.memory_host.fail("not-allowed", f"{argv[0]} cannot be run on a host in memory")

    async def read_file(self, path: str, *, size_max: int = 16 * 2**20) -> bytes:
        """The contents of a file."""
        await self._reach()
        file = self.memory_host.state.files.get(path)
        if file is None:
            raise self.memory_host.fail("not-found", f"{path} is not there")
        if len(file.content) > size_max:
            raise self.memory_host.fail("too-large", f"{path} has more than {size_max} bytes")
        return file.content

    @asynccontextmanager
    async def units(self, units: Sequence[str]) -> AsyncIterator[AsyncIterator[tuple[UnitState, ...]]]:
        """States of units, and then changes."""
        await self._reach()
        patterns = [re.compile(_pattern(unit)) for unit in units]
        is_first = True
        changed: set[str] = {unit for unit in units if "*" not in unit}
        changed |= {
            unit for unit in self.memory_host.state.units if any(one.fullmatch(unit) for one in patterns)
        }
        news = _News()

        def note(unit: str) -> None:
            if any(one.fullmatch(unit) for one in patterns):
                changed.add(unit)
                news.tell()

        async def states() -> tuple[UnitState, ...]:
            nonlocal is_first
            if not is_first:
                await self._wait(news, lambda: bool(changed))
            is_first = False
            now = tuple(self.memory_host.unit_state(unit) for unit in sorted(changed))
            changed.clear()
            return now

        self.memory_host.on_change.append(note)
        try:
            yield _Stream(states)
        finally:
            self.memory_host.on_change.remove(note)

    @asynccontextmanager
    async def logs(
        self,
        units: Sequence[str],
        *,
        lines: int = 10,
        follow: bool = False,
        cursor: str = "",
        grep: str = "",
        since_ns: int = 0,
    ) -> AsyncIterator[AsyncIterator[LogBatch]]:
        """Messages that :meth:`MemoryHost.say` was given."""
        await self._reach()
        patterns = [re.compile(_pattern(unit)) for unit in units]
        wanted = self._search(grep)
        messages = self.memory_host.messages
        news = _News()

        def matching(first: int) -> list[LogLine]:
            return [
                line
                for line in messages[first:]
                if line.at_ns >= since_ns
                and wanted.search(line.text)
                and any(one.fullmatch(line.unit) for one in patterns)
            ]

        place = int(cursor) if cursor else 0
        found = matching(place) if cursor or since_ns else matching(0)[-lines:] if lines else []
        is_first = True

        async def batches() -> LogBatch:
            nonlocal place, found, is_first
            if not is_first:
                if not follow:
                    raise StopAsyncIteration
                await self._wait(news, partial(matching, place))
                found = matching(place)
            is_first, place = False, len(messages)
            return LogBatch(lines=tuple(found), cursor=str(place))

        self.memory_host.on_message.append(news.tell)
        try:
            yield _Stream(batches)
        finally:
            self.memory_host.on_message.remove(news.tell)

    def _search(self, grep: str) -> re.Pattern[str]:
        try:
            return re.compile(grep)
        except re.error as error:
            raise self.memory_host.fail("io", f"{grep!r} is no regular expression: {error}") from error

    async def _wait(self, news: _News, is_there: Callable[[], object]) -> None:
        while not is_there():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancelling, self.lost, nursery.cancel_scope)
                nursery.start_soon(_cancelling, news.event, nursery.cancel_scope)
            self._check()
            news.event = trio.Event()

    @asynccontextmanager
    async def lock(self, environment: str, holder: str) -> AsyncIterator[None]:
        """Holds the lock of an environment."""
        await self._reach()
        held = self.memory_host.locks.get(environment)
        if held is not None:
            raise EnvironmentLocked(f"{self.host}: environment {environment} is locked by {held[1]}", held[1])
        self.memory_host.locks[environment] = (self, holder)
        try:
            yield
        finally:
            if self.memory_host.locks.get(environment, (None,))[0] is self:
                del self.memory_host.locks[environment]

    async def aclose(self) -> None:
        """Ends the connection."""
        self.lose()
        await trio.lowlevel.checkpoint()


class _Stream(Generic[_T]):
    """What a stream yields. Not an async generator: those complain when they are left before their end, and this one is made to be left."""

    def __init__(self, following: Callable[[], Awaitable[_T]]) -> None:
        self._following = following

    def __aiter__(self) -> _Stream[_T]:
        return self

    async def __anext__(self) -> _T:
        return await self._following()


class _News:
    """Says that something has changed, to one who waits."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def tell(self) -> None:
        self.event.set()


async def _cancelling(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _pattern(unit: str) -> str:
    """A shell pattern as a regular expression: only ``*`` is one here."""
    return ".*".join(re.escape(part) for part in unit.split("*"))
