"""Makes a plan: the steps that lead from what is there to what shall be.

Law: a plan follows from values alone, so it can be shown, pinned, made again and compared. It is made of three layers, each its own module: what
differs (:mod:`~labtest.core.comparison`), what of that is left as it is (:mod:`~labtest.core.held`), and, here, what comes before what:

* a release is installed before anything stops; what a process reads is put there before it starts, and not before its turn if it runs: should
  the first of three instances not come up, the other two still have the files they run from;
* systemd reads its units again after one was put there, and before a process starts that was not started from it;
* a process starts, or is restarted, after all instances of what it comes after are healthy, on all hosts. One that runs and is not touched is
  asked once more if its health is more than systemd's word;
* at most ``batch_size`` instances of a process are down at a time. Those that are down already come up first, then the others take turns in the
  order of hosts;
* stops go in the reverse order. A process that moves starts when it has been stopped where it was; what it will need there is ready by then;
* what nobody wants any more goes last on each host, when the processes of that host are healthy.

Restarted are processes whose own inputs differ from what they were started from; those that come after them are not. Nothing is ever undone by
the planner: going back is a plan to the target before.
"""

from __future__ import annotations

import hashlib

import msgspec

from labtest.core.actual import Actual, HostActual, ProcessActual
from labtest.core.ask import EVERYTHING, Ask
from labtest.core.comparison import HostWork, compare, is_up
from labtest.core.held import Holds
from labtest.core.order import Order
from labtest.core.ordering import ordered_steps
from labtest.core.steps import (
    Action,
    Forget,
    InstallRelease,
    Plan,
    PutFile,
    RemoveRelease,
    Restart,
    Start,
    Step,
    SwitchRelease,
)
from labtest.core.target import HostTarget, Target
from labtest.core.turns import Turns

__all__ = ["Planned", "index_of", "make_plan", "plan_in_full"]


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, with what it leaves out on purpose."""

    plan: Plan
    #: Host and unit to the reason for which nothing is done about it.
    held: dict[tuple[str, str], str]


def make_plan(target: Target, actual: Actual, *, ask: Ask = EVERYTHING, before: Target | None = None) -> Plan:
    """The steps to ``target``. ``before`` is the target that was carried out last: it tells the order and the timeouts of what is to be stopped.

    Raises :class:`~labtest.errors.SpecError` where no plan could lead to the target.
    """
    return plan_in_full(target, actual, ask=ask, before=before).plan


def plan_in_full(
    target: Target, actual: Actual, *, ask: Ask = EVERYTHING, before: Target | None = None
) -> Planned:
    """As :func:`make_plan`, with the reasons for what is left as it is."""
    order = Order(target, before)
    works = _compare_all(target, actual, ask)
    holds = Holds(target, works, order, ask)
    refused = _refused_restarts(works, holds, ask)
    if refused:
        # What is due without the wish is done all the same, such as a file that no process has to be restarted for.
        unasked = msgspec.structs.replace(ask, restart=ask.restart - refused.keys())
        works = _compare_all(target, actual, unasked)
        holds = Holds(target, works, order, unasked)
    steps = ordered_steps(Turns(works, holds, order, ask))
    plan = Plan(
        environment=target.environment,
        steps=steps,
        index=index_of(target, actual, ask=ask),
        minor=_is_minor(steps, works, actual),
        unreachable=_unreachable(target, actual, ask),
    )
    held = {(host, unit): why for (_, host), (unit, why) in refused.items()}
    return Planned(plan=plan, held={**held, **holds.reasons})


def _refused_restarts(
    works: dict[str, HostWork], holds: Holds, ask: Ask
) -> dict[tuple[str, str], tuple[str, str]]:
    """Instances that somebody wants restarted and that are held: their units, and why."""
    return {
        (one.process, one.host): (one.target.unit, holds.reasons[one.host, one.target.unit])
        for work in works.values()
        for one in work.instances
        if (one.process, one.host) in ask.restart and holds.is_held(one)
    }


def _compare_all(target: Target, actual: Actual, ask: Ask) -> dict[str, HostWork]:
    wanted = {host.host: host for host in target.hosts}
    works = {}
    for name in sorted({*wanted, *actual.hosts}):
        found = actual.hosts.get(name)
        if found is not None:
            works[name] = compare(wanted.get(name, HostTarget(host=name)), found, ask)
    return works


def _unreachable(target: Target, actual: Actual, ask: Ask) -> tuple[str, ...]:
    """Hosts without an answer about which something was asked: whatever is there may be other than it should be."""
    names = {host.host for host in target.hosts} | set(actual.hosts)
    return tuple(sorted(name for name in names if ask.has_host(name) and actual.hosts.get(name) is None))


def _is_minor(steps: tuple[Step, ...], works: dict[str, HostWork], actual: Actual) -> bool:
    ours = {(one.host, one.target.unit) for work in works.values() for one in work.instances if one.is_ours}
    taken = {
        (work.host, file.target.path) for work in works.values() for file in work.files if file.is_takeover
    }
    return all(_is_minor_step(step.host, step.action, ours, taken) for step in steps)


def _is_minor_step(
    host: str, action: Action, ours: set[tuple[str, str]], taken: set[tuple[str, str]]
) -> bool:
    if isinstance(action, (Start, Restart)):
        return (host, action.process.unit) in ours
    if isinstance(action, PutFile):
        return (host, action.file.path) not in taken
    return not isinstance(action, (InstallRelease, SwitchRelease, RemoveRelease, Forget))


# ---------------------------------------------------------------- index


def index_of(target: Target, actual: Actual, *, ask: Ask = EVERYTHING) -> str:
    """Digest of all that a plan follows from (lower-case hex): the target, what is there, and what was asked for.

    Process ids, memory, status lines and times are not in it; nor are processes that are not asked for, so that a crash elsewhere does not outdate a
    restart here. Whether those that *are* down elsewhere hold something back is a matter of the plan, which is made again before it is carried out.
    """
    wanted = {host.host: host for host in target.hosts}
    hosts = {
        name: _essence(found, wanted.get(name, HostTarget(host=name)), ask)
        for name, found in actual.hosts.items()
        if ask.has_host(name)
    }
    text = msgspec.json.encode([target, hosts, ask], order="deterministic")
    return hashlib.sha256(text).hexdigest()


def _essence(found: HostActual | None, wanted: HostTarget, ask: Ask) -> list[object] | None:
    if found is None:
        return None
    paths = {file.path for file in wanted.files}
    units = {process.unit for process in wanted.processes}
    processes = [
        _process_essence(one)
        for one in sorted(found.processes, key=lambda one: one.state.unit)
        if ask.has_instance(one.process, wanted.host) and (one.managed or one.state.unit in units)
    ]
    files = sorted(
        (file for file in found.files if file.managed or file.path in paths), key=lambda file: file.path
    )
    releases = sorted(found.releases, key=lambda release: (release.name, release.folder))
    return [files, releases, processes]


def _process_essence(found: ProcessActual) -> list[object]:
    active = found.state.active
    is_looping = active == "activating" and found.state.sub == "auto-restart"
    state = "up" if is_up(active) else "looping" if is_looping else active
    return [found.process, found.state.unit, state, found.started_from, found.managed]
