"""What can go wrong with hosts that labtest boots itself."""

from __future__ import annotations

from labtest.errors import LabError

__all__ = ["BootFailed", "FaultNotPossible", "LabNotFound", "LabsNotPossible"]


class LabsNotPossible(LabError):
    """This machine cannot have such hosts: no root, a program or a part of the kernel is missing. The message names each, and its cure."""


class BootFailed(LabError):
    """A host did not come up. ``host`` is its name; the message ends with what its journal says."""

    def __init__(self, host: str, problem: str) -> None:
        self.host = host
        self.problem = problem
        super().__init__(f"{host}: {problem}")


class FaultNotPossible(LabError):
    """A fault that this kernel cannot bring about, or that makes no sense in the state the host is in."""


class LabNotFound(LabError):
    """No lab, or no host, of that name is up; or more than one lab is."""
