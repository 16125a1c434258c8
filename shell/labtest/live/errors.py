"""What can go wrong with an environment that a test or a notebook holds."""

from __future__ import annotations

from labtest.deploy import Outcome
from labtest.errors import LabError

__all__ = ["ApplyFailed", "CallLate", "EnvironmentClosed", "EnvironmentDiffers"]


class CallLate(LabError):
    """A call was not answered in its time. What was under way on hosts has been cancelled."""


class EnvironmentClosed(LabError):
    """The environment is not open: not yet, or not any more."""


class ApplyFailed(LabError):
    """A plan could not be carried out. ``outcome`` says what was done, what failed and what it left."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__("\n".join(outcome.lines()))


class EnvironmentDiffers(LabError):
    """After all was done that could be done, the environment is not what its spec says. ``differences`` are lines for people."""

    def __init__(self, differences: list[str]) -> None:
        self.differences = differences
        super().__init__("the environment is not as its spec says:\n" + "\n".join(differences))
