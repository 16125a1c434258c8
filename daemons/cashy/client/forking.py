"""What a fork does to whoever holds pins or a connection.

Law: one registration with the interpreter, whatever the number of caches. Before a fork every live pin table is frozen (both processes will
share its pins, see :mod:`shmipc.pins`): also one whose cache is closed, since arrays may outlive their cache. Afterwards the parent asks for a new
table at its next pin, and the child, which must not speak on its parent's connection, closes its copy of the descriptor (no shutdown: that
would end the parent's) and connects anew when it first needs to.

The registry is weak: nothing is kept alive by it.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Protocol

from shmipc.pins import PinTable

__all__ = ["ForkAware", "watch", "watch_table"]


class ForkAware(Protocol):
    """Whoever wants to hear of forks."""

    def before_fork(self) -> None:
        """In the parent, about to fork; other threads still run."""

    def after_fork_in_child(self) -> None:
        """In the child, whose only thread this is; locks may be held by threads that do not exist here."""


class _Registry:
    """Weak references by address; finalizers take no lock, they only leave the address behind."""

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[Any]] = {}
        self._gone: list[int] = []

    def add(self, thing: Any) -> None:
        """With the module's lock held."""
        while self._gone:
            key = self._gone.pop()
            reference = self._references.get(key)
            if reference is not None and reference() is None:  # the address may have a new tenant
                del self._references[key]
        key, gone = id(thing), self._gone
        self._references[key] = weakref.ref(thing, lambda _: gone.append(key))

    def living(self) -> list[Any]:
        """All that are still there."""
        return [thing for reference in list(self._references.values()) if (thing := reference()) is not None]


_lock = threading.Lock()
_holders = _Registry()
_tables = _Registry()


def watch(holder: ForkAware) -> None:
    """Tells ``holder`` of forks for as long as it lives."""
    with _lock:
        _holders.add(holder)


def watch_table(table: PinTable) -> None:
    """Freezes ``table`` before a fork."""
    with _lock:
        _tables.add(table)


def _before() -> None:
    _lock.acquire()  # held over the fork, so that the registry is whole on both sides
    for holder in _holders.living():
        holder.before_fork()
    for table in _tables.living():
        table.freeze()


def _after_in_parent() -> None:
    _lock.release()


def _after_in_child() -> None:
    _lock.release()
    for table in _tables.living():
        table.freeze()  # again: the child gets locks of its own by it
    for holder in _holders.living():
        holder.after_fork_in_child()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
