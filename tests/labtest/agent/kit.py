"""What a test of the conformance kit is made of: a :class:`World` to ask, and the table that :func:`case` writes."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from labtest.core.actual import FileActual, HostActual, UnitState
from labtest.core.steps import (
    PutFile,
)
from labtest.core.target import Blobs, FileTarget
from labtest.errors import ActionFailed
from labtest.hosts.interface import Agent

__all__ = ["CASES", "Case", "Need", "World", "case", "refused", "sha"]


class Need(enum.Enum):
    """What a host must offer for a case."""

    COMMANDS = "runs commands"
    RELEASES = "installs releases"
    UNITS = "has systemd, and its journal"


@dataclass
class World:
    """What a case has."""

    agent: Agent
    #: Connects another agent to the same host.
    other: Callable[[], AbstractAsyncContextManager[Agent]]
    environment: str
    #: A folder on the host that is the case's own.
    folder: str
    #: sha256 of what was asked for, in order.
    asked: list[str] = field(default_factory=list)
    blobs: Blobs = field(default_factory=dict)

    def content(self, sha256: str) -> bytes:
        """Gives blobs, and remembers that they were asked for."""
        self.asked.append(sha256)
        return self.blobs[sha256]

    def file(self, name: str, content: bytes, *, mode: int = 0o640, is_unit: bool = False) -> FileTarget:
        """A file in the case's folder, or at an absolute path."""
        digest = sha(content)
        self.blobs[digest] = content
        path = name if name.startswith("/") else f"{self.folder}/{name}"
        return FileTarget(
            path=path,
            sha256=digest,
            size_bytes=len(content),
            mode=mode,
            owner="root",
            group="root",
            is_unit=is_unit,
        )

    async def do(self, action: object) -> str:
        """Carries an action out."""
        return await self.agent.do(self.environment, action, content=self.content)  # type: ignore[arg-type]

    async def put(self, name: str, content: bytes, *, replaces: str = "", mode: int = 0o640) -> FileTarget:
        """Puts a file."""
        file = self.file(name, content, mode=mode)
        await self.do(PutFile(file=file, replaces_sha256=replaces))
        return file

    async def observe(self, *files: str, **units: str) -> HostActual:
        """What the host says of itself."""
        return await self.agent.observe(self.environment, files=files, units=units)

    async def seen(self, path: str) -> FileActual | None:
        """What the host says of a file."""
        actual = await self.observe(path)
        return next((file for file in actual.files if file.path == path), None)

    async def state(self, unit: str) -> UnitState:
        """What the host says of a unit."""
        actual = await self.observe(asked=unit)
        return next(process.state for process in actual.processes if process.state.unit == unit)


class Case(NamedTuple):
    """One test of the kit."""

    run: Callable[[World], Awaitable[None]]
    needs: frozenset[Need]

    @property
    def name(self) -> str:
        """As pytest shows it."""
        return self.run.__name__


CASES: list[Case] = []


def case(*needs: Need) -> Callable[[Callable[[World], Awaitable[None]]], Callable[[World], Awaitable[None]]]:
    """Adds a test to the table."""

    def add(run: Callable[[World], Awaitable[None]]) -> Callable[[World], Awaitable[None]]:
        CASES.append(Case(run, frozenset(needs)))
        return run

    return add


def sha(content: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(content).hexdigest()


async def refused(code: str, doing: Awaitable[object]) -> ActionFailed:
    """What is awaited is refused with ``code``."""
    with pytest.raises(ActionFailed) as caught:
        await doing
    assert caught.value.code == code, caught.value
    assert caught.value.problem
    return caught.value
