"""Where an environment comes from: a spec on disk, or whatever a test makes up."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from labtest.core.environment import Environment
from labtest.core.resolve import Resolved, resolve
from labtest.spec import Sources, read_environment

__all__ = ["Source", "SpecSource", "who_is_here"]


class Source(Protocol):
    """Gives an environment, and renders those that were made of it."""

    def read(self) -> Environment:
        """The environment as its owner wrote it. Raises :class:`~labtest.errors.SpecError`."""

    def resolve(self, environment: Environment) -> Resolved:
        """What shall be on each host. Raises :class:`~labtest.core.problems.ResolveError`."""


class SpecSource:
    """A spec file, with the folder around it. ``addresses`` gives those of hosts that got one when they were booted."""

    def __init__(
        self,
        path: Path,
        *,
        overlays: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        addresses: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.path = path
        self._overlays = tuple(overlays)
        self._variables = dict(variables or {})
        self._addresses = addresses

    def read(self) -> Environment:
        """Reads the spec again."""
        return read_environment(self.path, overlays=self._overlays, variables=self._variables)

    def resolve(self, environment: Environment) -> Resolved:
        """Renders with the files that are beside the spec now."""
        return resolve(environment, Sources(self.path.parent), self._addresses())


def who_is_here() -> str:
    """Who this process works for, as a lock's holder and a journal name them: ``ada@desk, pid 4711``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{os.environ.get('SUDO_USER') or user}@{socket.gethostname()}, pid {os.getpid()}"
