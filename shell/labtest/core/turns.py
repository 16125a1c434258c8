"""Who acts in a plan, and what each waits for before its turn.

Law: questions with answers, no steps: who is started, restarted or reloaded; which of a host's processes a file or release is put there for;
what must be healthy before a running process may be touched. What is asked here depends on nothing that is planned later, so the rules can be
read one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

from labtest.core.ask import Ask
from labtest.core.comparison import Doing, HostWork, Instance, Retired, is_unit_path
from labtest.core.environment import HealthKind
from labtest.core.graph import Key
from labtest.core.held import Holds, is_asked
from labtest.core.order import Order

__all__ = ["NOBODY", "Turns", "reads"]

#: The group of what no acting process of a host reads.
NOBODY = ""
_ACTING = (Doing.START, Doing.RESTART, Doing.RELOAD)


def reads(one: Instance, name: str) -> bool:
    """Whether an instance is started from an input, or from its unit's file, which is an input under the name ``unit``."""
    if any(each.name == name for each in one.target.inputs):
        return True
    path = name.removeprefix("file:")
    return is_unit_path(path) and path.endswith(f"/{one.target.unit}")


class Turns:
    """What is known of a plan before its steps are."""

    def __init__(self, works: Mapping[str, HostWork], holds: Holds, order: Order, ask: Ask) -> None:
        self.works = works
        self.order = order
        self.ask = ask
        self._holds = holds
        self.instances = [one for work in works.values() for one in work.instances]
        #: Process to host to instance: those that are started, restarted or reloaded.
        self.acting: dict[str, dict[str, Instance]] = {}
        for one in sorted(self.instances, key=lambda one: (order.rank(one.process), one.process, one.host)):
            if one.doing in _ACTING and not holds.is_held(one):
                self.acting.setdefault(one.process, {})[one.host] = one
        #: Units that go.
        self.retired = [
            one
            for work in works.values()
            for one in work.retired
            if is_asked(one, ask) and not holds.is_held(one)
        ]

    def holds_anything(self, host: str) -> bool:
        """Whether something on this host is left as it is."""
        return any(held == host for held, _ in self._holds.reasons)

    def group(self, work: HostWork, name: str) -> str | None:
        """The first process on this host that acts and reads an input. None: all who would act are held back, so it stays as it is."""
        users = [one for one in work.instances if one.doing in _ACTING and reads(one, name)]
        acting = [one.process for one in users if not self._holds.is_held(one)]
        if acting:
            return min(acting, key=lambda process: (self.order.rank(process), process))
        return None if users else NOBODY

    def old_units(self, one: Instance) -> list[Retired]:
        """Units that must be stopped before it starts: on its own host, and all others for a process that is new there."""
        olds = [old for old in self.retired if old.process == one.process]
        is_new = one.doing is Doing.START
        return [old for old in olds if old.host == one.host or (is_new and not self.replaced(old))]

    def replaced(self, one: Instance | Retired) -> bool:
        """Whether an acting process takes over from a unit of another name on the same host."""
        host, process = one.host, one.process
        is_left = any((old.host, old.process) == (host, process) and old.is_up for old in self.retired)
        return is_left and host in self.acting.get(process, {})

    def has_turn(self, one: Instance) -> bool:
        """Whether it runs now, and will be down for a while."""
        return (one.doing is Doing.RESTART and one.is_up) or self.replaced(one)

    def gate(self, process: str, host: str) -> set[Key]:
        """What is healthy before this instance's turn; nothing for one that has no turn."""
        acting = self.acting.get(process, {})
        if host not in acting or not self.has_turn(acting[host]):
            return set()
        turns = [acting[name] for name in sorted(acting) if self.has_turn(acting[name])]
        size = max(self.ask.batch_size or min(one.target.batch_size for one in turns), 1)
        place = turns.index(acting[host])
        before = {("check", process, turns[place - size].host)} if place >= size else set()
        coming = {
            ("check", process, one.host)
            for one in acting.values()
            if one.doing is not Doing.RELOAD and not self.has_turn(one)
        }
        return before | coming | self.dependencies(acting[host])

    def dependencies(self, one: Instance) -> set[Key]:
        """Checks of all instances of what it comes after."""
        return {("check", other.process, other.host) for other in self.depended_on(one)}

    def depended_on(self, one: Instance) -> list[Instance]:
        """All instances of what it comes after."""
        after = set(one.target.after) - {one.process}
        return [other for other in self.instances if other.process in after and other.target.running]

    def must_be_asked(self, one: Instance) -> bool:
        """Whether one that runs and is not touched is asked for its health, as that is more than systemd's word."""
        is_touched = one.host in self.acting.get(one.process, {})
        is_more = one.target.health.kind is not HealthKind.UNIT or one.target.health.stable_s > 0
        return one.is_up and is_more and not is_touched and self.ask.has_host(one.host)
