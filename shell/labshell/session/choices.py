"""What can be chosen while changes wait for ``apply``.

What acts on processes where they are (``restart``, ``logs``, …) is about those that are there: what is in effect. What plans further changes
(``move``, ``add``) is about what will be there: with all that waits. Hosts are those of both, since one that is to come can be looked at
already, and one that is to go still runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from labshell.core.candidates import Candidate
from labshell.core.choices import ViewChoices
from labshell.core.declare import ParameterKind
from labshell.core.nodeset import KnownHosts
from labshell.core.state import View
from labtest.core.environment import Environment

__all__ = ["SessionChoices"]

_OF_NOW = frozenset({ParameterKind.INSTANCE, ParameterKind.INSTANCES})
_OF_BOTH = frozenset({ParameterKind.HOST, ParameterKind.HOSTS})


class SessionChoices:
    """A :class:`~labshell.core.candidates.Choices` over a view, which has what waits, and what is in effect."""

    def __init__(self, view: View, in_effect: Environment) -> None:
        self._wanted = ViewChoices(view)
        self._now = ViewChoices(msgspec.structs.replace(view, environment=in_effect))
        both = in_effect if in_effect == view.environment else _joined(in_effect, view.environment)
        self._both = ViewChoices(msgspec.structs.replace(view, environment=both))

    def candidates(self, kind: ParameterKind, before: Mapping[str, str]) -> Sequence[Candidate]:
        """What a parameter can be."""
        of = self._now if kind in _OF_NOW else self._both if kind in _OF_BOTH else self._wanted
        return of.candidates(kind, before)

    def hosts(self) -> KnownHosts:
        """All hosts and groups."""
        return self._both.hosts()

    def instances(self) -> Mapping[str, tuple[str, ...]]:
        """Each process and its hosts."""
        return self._now.instances()


def _joined(now: Environment, then: Environment) -> Environment:
    """All hosts of two environments, in the order of the first."""
    known = {one.name: one for one in (*now.hosts, *then.hosts)}
    return msgspec.structs.replace(then, hosts=tuple(known.values()))
