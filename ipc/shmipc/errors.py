"""Errors of shmipc, typed by cause; each message says what was found, where, and what to do.

Law: every error that a caller may want to tell apart is a class here, under :class:`ShmError`; those that stand for a builtin error are it, too.
"""

from __future__ import annotations

__all__ = [
    "ArenaLayoutError",
    "HandshakeError",
    "OutOfSharedMemory",
    "OwnerAlive",
    "OwnerDied",
    "PinTableFull",
    "QuotaExceeded",
    "RingCorrupt",
    "ShmError",
    "SquattedName",
    "StateError",
    "UnsupportedFence",
]


class ShmError(Exception):
    """Base of all errors of shmipc."""


class OutOfSharedMemory(ShmError, MemoryError):
    """The file system behind POSIX shared memory has no room for the segment; nothing was left allocated."""


class ArenaLayoutError(ShmError):
    """A segment or table has another magic, layout version, arena id or geometry than expected, or is cut short."""


class OwnerAlive(ShmError):
    """Another process already owns the instance of this name."""


class OwnerDied(ShmError, ConnectionError):
    """The process on the other side is gone."""


class SquattedName(ShmError, PermissionError):
    """The name exists but belongs to another user, or is not what it should be (a link, wrong mode)."""


class PinTableFull(ShmError):
    """The client's pin table has no free entry."""


class QuotaExceeded(ShmError, MemoryError):
    """The client holds as many pinned bytes, mappings or private bytes as it may."""


class RingCorrupt(ShmError):
    """The other side of a ring or log has stored a position or a length that cannot be: it is broken or hostile, give it up."""


class UnsupportedFence(ShmError, OSError):
    """The kernel or processor has no asymmetric fence (membarrier) that the pin protocol may rely on."""


class HandshakeError(ShmError, ConnectionError):
    """The peer sent something else than a frame, or too few descriptors, or is not who it should be."""


class StateError(ShmError, AssertionError):
    """A slot transition that the state table does not have: a bug of the caller."""
