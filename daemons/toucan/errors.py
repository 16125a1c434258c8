"""Errors of toucan's processes, by whose move it is. Refusals and denials of requests are values (:mod:`toucan.core.outcomes`), not errors."""

from __future__ import annotations

__all__ = [
    "CannotListen",
    "HandshakeFailed",
    "InvalidSettings",
    "ToucanError",
    "UnusableJournal",
]


class ToucanError(Exception):
    """The operator's move: the message says what is wrong and what to do."""


class InvalidSettings(ToucanError):
    """A settings, instruments, limits or users file that cannot be used."""


class CannotListen(InvalidSettings):
    """An address that cannot be had: of another host, or taken, which may pass."""


class UnusableJournal(ToucanError):
    """The journal does not fit this program: its events cannot be read, or its snapshot gives another state."""


class HandshakeFailed(ToucanError):
    """Engine and front end are of different versions or users."""
