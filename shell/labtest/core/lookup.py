"""Finds the parts of an environment by name, and puts changed ones in their place.

Law: who looks for something by a name that somebody typed gets it, or a :class:`~labtest.core.change_values.ChangeRefused` that says what was
probably meant; nobody else decides how an unknown name is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from labtest.core.change_values import ChangeRefused
from labtest.core.environment import Environment, HostSpec, ProcessSpec, ReleaseSpec
from labtest.core.names import nearest, spell_list

__all__ = [
    "find_host",
    "find_process",
    "find_process_on",
    "find_release",
    "inserted",
    "next_of",
    "replaced",
    "with_process",
]

_Entry = TypeVar("_Entry", HostSpec, ProcessSpec, ReleaseSpec)


def find_host(environment: Environment, name: str) -> HostSpec:
    """A host. Raises :class:`ChangeRefused`."""
    return _find("host", environment.hosts, name)


def find_process(environment: Environment, name: str) -> ProcessSpec:
    """A process. Raises :class:`ChangeRefused`."""
    return _find("process", environment.processes, name)


def find_release(environment: Environment, name: str) -> ReleaseSpec:
    """A release. Raises :class:`ChangeRefused`."""
    return _find("release", environment.releases, name)


def _find(kind: str, entries: Sequence[_Entry], name: str) -> _Entry:
    for entry in entries:
        if entry.name == name:
            return entry
    raise ChangeRefused(f"there is no {kind} {name!r}{nearest(name, [entry.name for entry in entries])}")


def find_process_on(environment: Environment, name: str, host: str) -> ProcessSpec:
    """A process that has an instance on the host. Raises :class:`ChangeRefused`."""
    process = find_process(environment, name)
    if host not in process.hosts:
        find_host(environment, host)
        there = f"; it is on {spell_list(process.hosts)}" if process.hosts else "; it is on no host"
        raise ChangeRefused(f"{name} is not on {host}{there}")
    return process


def inserted(names: Sequence[str], name: str, before: str) -> tuple[str, ...]:
    """Names with one more, before another; at the end, if that is not there."""
    at = list(names).index(before) if before in names else len(names)
    return (*names[:at], name, *names[at:])


def next_of(names: Sequence[str], name: str) -> str:
    """What comes after a name; empty: it is the last."""
    at = list(names).index(name) + 1
    return names[at] if at < len(names) else ""


def replaced(entries: tuple[_Entry, ...], changed: _Entry) -> tuple[_Entry, ...]:
    """Entries, of which the one of this name is another."""
    return tuple(changed if entry.name == changed.name else entry for entry in entries)


def with_process(environment: Environment, process: ProcessSpec) -> Environment:
    """The environment with another process of this name."""
    return msgspec.structs.replace(environment, processes=replaced(environment.processes, process))
