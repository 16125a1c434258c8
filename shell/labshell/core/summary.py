"""How many of what are well, and which are not.

Law: counts follow from the view alone, so they are the same wherever they are shown. A host that is not connected makes its processes unknown, not
down: the host is named instead. :class:`Summarizer` gives what :func:`summarize` gives; it only remembers what it found for hosts that are
still the very same values, since a bar is drawn many times a second and most hosts have not changed.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from labshell.core.state import Condition, HostView, View, condition, instances_of, shown_hosts
from labtest.core.environment import Environment
from labtest.hosts.interface import LinkState

__all__ = ["Summarizer", "Summary", "summarize"]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Counts, and what is not well by its name, in the order of the environment."""

    hosts: int
    hosts_up: int
    #: Hosts that were up, or could not be had yet.
    lost: tuple[str, ...]
    refused: tuple[str, ...]
    connecting: tuple[str, ...]
    #: Instances of processes that shall run, and how many of them do; those that somebody has stopped count in neither.
    instances: int
    running: int
    #: As ``process@host``; they should run, on hosts that are connected.
    down: tuple[str, ...]
    #: All instances by what they are doing.
    conditions: Mapping[Condition, int]

    @property
    def is_down(self) -> bool:
        """Whether something is not as it should be, and not on its way there."""
        return bool(self.down or self.lost or self.refused)


class _OfHost(msgspec.Struct, frozen=True):
    """What one host adds to the counts."""

    conditions: Mapping[Condition, int]
    wanted: int
    running: int
    down: tuple[str, ...]


def summarize(view: View) -> Summary:
    """The summary of a view."""
    return Summarizer().of(view)


class Summarizer:
    """Makes summaries of views that follow each other."""

    def __init__(self) -> None:
        self._environment: Environment | None = None
        #: Host to its processes, and whether each shall run.
        self._placed: dict[str, list[tuple[str, bool]]] = {}
        self._known: dict[str, tuple[HostView, _OfHost]] = {}

    def of(self, view: View) -> Summary:
        """The summary of a view."""
        if view.environment is not self._environment:
            self._environment = view.environment
            self._placed = _placed(view.environment)
            self._known = {}
        links: dict[LinkState, list[str]] = {state: [] for state in LinkState}
        found: list[_OfHost] = []
        for name, host in shown_hosts(view):
            links[host.link].append(name)
            found.append(self._host(view, name, host))
        return Summary(
            hosts=sum(map(len, links.values())),
            hosts_up=len(links[LinkState.UP]),
            lost=tuple(links[LinkState.LOST]),
            refused=tuple(links[LinkState.REFUSED]),
            connecting=tuple(links[LinkState.CONNECTING]),
            instances=sum(one.wanted for one in found),
            running=sum(one.running for one in found),
            down=tuple(name for one in found for name in one.down),
            conditions={what: sum(one.conditions.get(what, 0) for one in found) for what in Condition},
        )

    def _host(self, view: View, name: str, host: HostView) -> _OfHost:
        known = self._known.get(name)
        if known is not None and known[0] is host:
            return known[1]
        conditions: dict[Condition, int] = {}
        down: list[str] = []
        wanted = running = 0
        for process, is_wanted in self._placed.get(name, []):
            what = condition(view, process, name, wanted=is_wanted)
            conditions[what] = conditions.get(what, 0) + 1
            wanted += is_wanted
            running += is_wanted and what is Condition.RUNNING
            if what is Condition.DOWN:
                down.append(f"{process}@{name}")
        found = _OfHost(conditions, wanted, running, tuple(down))
        self._known[name] = (host, found)
        return found


def _placed(environment: Environment) -> dict[str, list[tuple[str, bool]]]:
    placed: dict[str, list[tuple[str, bool]]] = {}
    for process, host, wanted in instances_of(environment):
        placed.setdefault(host, []).append((process, wanted))
    return placed
