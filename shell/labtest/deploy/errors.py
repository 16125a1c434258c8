"""What can be wrong with an environment's own folder."""

from __future__ import annotations

from labtest.errors import LabError

__all__ = ["JournalFailed", "NothingToGoBackTo", "StateDamaged", "StateNewer"]


class StateDamaged(LabError):
    """A file of the state folder is not what was written there. Nothing is guessed, and nothing is done until a person has looked."""


class StateNewer(LabError):
    """The state folder was written by a newer labtest."""


class NothingToGoBackTo(LabError):
    """There is no run to go back from, or what it came from is not kept any more."""


class JournalFailed(LabError):
    """A record could not be written. What cannot be written down is not done."""
