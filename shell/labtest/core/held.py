"""What a plan leaves as it is, though it differs, since doing it would break something else.

Law: nothing is started whose dependencies are known to be down, and nothing is stopped for a move that cannot be finished. What is not known
does not count against anybody: a dependency that has instances on hosts that answer and on others that do not is judged by the former; one that
has none that answer is not there to be depended on. A move off a host that does not answer goes on, since that is when people move things:
nobody can stop the old one, so the plan names the host, and the old one is stopped as soon as it is seen again. A start after a stop was
rejected as too clever where old and new could be up together: a planner cannot know who shares what, so a process that moves has one owner at a
time.
"""

from __future__ import annotations

from collections.abc import Mapping

from labtest.core.ask import Ask
from labtest.core.comparison import Doing, HostWork, Instance, Retired
from labtest.core.order import Order
from labtest.core.target import Target

__all__ = ["Holds", "is_asked"]

_STARTS = (Doing.START, Doing.RESTART)


def is_asked(one: Instance | Retired, ask: Ask) -> bool:
    """Whether it may be touched."""
    return ask.has_instance(one.process, one.host)


class Holds:
    """Units by host, with the reason for which nothing is done about them."""

    def __init__(self, target: Target, works: Mapping[str, HostWork], order: Order, ask: Ask) -> None:
        self._works = works
        self._ask = ask
        self._order = order
        #: Host and unit to why; of what runs and shall not, or shall run otherwise.
        self.reasons: dict[tuple[str, str], str] = {}
        #: Process to the hosts where it shall run.
        self._wanted: dict[str, list[str]] = {}
        for host in target.hosts:
            for one in host.processes:
                if one.running:
                    self._wanted.setdefault(one.process, []).append(host.host)
        self._instances = {(one.process, one.host): one for work in works.values() for one in work.instances}
        self._retired = [one for work in works.values() for one in work.retired]
        self._available: dict[tuple[str, str], bool] = {}
        names = {one.process for one in self._instances.values()} | {one.process for one in self._retired}
        for process in sorted(names, key=lambda name: (order.rank(name), name)):
            self._judge(process)

    def is_held(self, one: Instance | Retired) -> bool:
        """Whether nothing is done about it."""
        return (one.host, one.unit if isinstance(one, Retired) else one.target.unit) in self.reasons

    def _judge(self, process: str) -> None:
        here = [one for (name, _), one in sorted(self._instances.items()) if name == process]
        for one in here:
            why = self._why_not(one) if one.doing in _STARTS else ""
            if why:
                self.reasons[one.host, one.target.unit] = why
            if one.is_up or self._replaced(one) or (one.doing in _STARTS and not why):
                self._available[process, one.host] = True
        self._judge_retired(process)

    def _why_not(self, one: Instance) -> str:
        for dependency in one.target.after:
            why = self._why_down(dependency) if dependency != one.process else ""
            if why:
                return why
        if one.doing is not Doing.START:
            return ""
        owners = [
            *(old.host for old in self._retired if old.process == one.process and old.is_up),
            *(
                host
                for (name, host), other in self._instances.items()
                if name == one.process and _should_stop(other)
            ),
        ]
        left = [host for host in owners if not self._ask.has_instance(one.process, host)]
        return (
            f"{one.process} still runs on {', '.join(left)}, which this plan is not to touch" if left else ""
        )

    def _why_down(self, dependency: str) -> str:
        wanted = self._wanted.get(dependency, [])
        reached = [host for host in wanted if host in self._works]
        if wanted and not reached:
            return f"{dependency}, which it comes after, is only on {', '.join(wanted)}, not answering"
        down = [host for host in reached if not self._available.get((dependency, host))]
        return f"{dependency}, which it comes after, does not run on {', '.join(down)}" if down else ""

    def _replaced(self, one: Instance) -> bool:
        """Whether it runs under another unit's name on its own host."""
        return any(old.is_up and old.process == one.process and old.host == one.host for old in self._retired)

    def _judge_retired(self, process: str) -> None:
        wanted = self._wanted.get(process, [])
        is_anywhere = any(self._available.get((process, host)) for host in wanted)
        for old in self._retired:
            if old.process != process or not old.is_up or not is_asked(old, self._ask):
                continue
            new = self._instances.get((process, old.host))
            if new is not None and self.is_held(new):
                self.reasons[old.host, old.unit] = self.reasons[new.host, new.target.unit]
            elif wanted and not is_anywhere:
                self.reasons[old.host, old.unit] = f"it could not be started on {', '.join(wanted)} instead"


def _should_stop(one: Instance) -> bool:
    return one.is_up and not one.target.running
