"""What a parameter can be, as those say who know the environment.

Law: parsing, inference and completion ask through :class:`Choices` and know nothing else of the world; so they are tested with tables, and work over
any source. Answers are of one moment: a line is read against one snapshot, and nothing here waits for a host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from labshell.core.declare import ParameterKind
from labshell.core.nodeset import KnownHosts

__all__ = ["Candidate", "Choices"]


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One thing that a parameter can be."""

    text: str
    #: What it is, in a few words, for the menu.
    detail: str = ""
    #: Candidates with a higher one come before those that match as well; 0 is the rule.
    weight: float = 0.0


class Choices(Protocol):
    """What there is to choose from, at one moment."""

    def candidates(self, kind: ParameterKind, before: Mapping[str, str]) -> Sequence[Candidate]:
        """What a parameter of this kind can be, in the order in which to show it.

        ``before`` has what stands before it, options included: names of parameters to what they are, those of several words joined with commas. Of
        closed kinds these are all there are; of others, proposals. For ``INSTANCE`` and ``INSTANCES`` they are processes: hosts follow after an ``@``
        (there can be too many instances to list).
        """

    def hosts(self) -> KnownHosts:
        """All hosts and groups."""

    def instances(self) -> Mapping[str, tuple[str, ...]]:
        """Each process, and the hosts that it runs on; in the order of the environment."""
