"""Keeps the view of each host current: its link, its units as they change, its installed versions now and then.

One task for each host. It follows the host's units as long as the link is up, begins again when the link has come back or the environment has
changed what is to be looked at, and ends only with the host.
"""

from __future__ import annotations

import trio

from labshell.core.events import Heard, UnitsReported, VersionsReported
from labshell.session.store import Store
from labtest.core.actual import UnitState
from labtest.errors import LabError
from labtest.hosts.interface import Agent
from labtest.hosts.link import Link

__all__ = ["HostWatcher"]

#: Between two looks at the versions that a host has, and the longest without a sign of a host that has nothing new to say.
LOOK_INTERVAL_S = 5.0
#: After a stream of states has failed on a host whose link is up.
RETRY_INTERVAL_S = 1.0


class HostWatcher:
    """Watches one host. ``units`` is process to unit."""

    def __init__(self, link: Link, environment: str, store: Store) -> None:
        self._link = link
        self._environment = environment
        self._store = store
        self._units: dict[str, str] = {}
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        #: Set when states of the units that are wanted now have come in once.
        self.reported = trio.Event()

    def look_at(self, units: dict[str, str]) -> None:
        """Other units from now on."""
        if units != self._units:
            self._units = dict(units)
            self.reported = trio.Event()
            self._changed.set()

    def end(self) -> None:
        """Nobody wants the host any more."""
        self._scope.cancel()

    async def run(self) -> None:
        """Until cancelled, or :meth:`end`."""
        with self._scope:
            await self._watch()

    async def _watch(self) -> None:
        while True:
            self._changed = trio.Event()
            try:
                agent = await self._link.agent()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._end_when_changed, nursery.cancel_scope)
                    nursery.start_soon(self._follow_units, agent, dict(self._units))
                    nursery.start_soon(self._look_now_and_then, agent)
            except* LabError:
                # The link itself says why it is not up; what is left to do is to wait until it is.
                await trio.sleep(RETRY_INTERVAL_S)

    async def _end_when_changed(self, scope: trio.CancelScope) -> None:
        await self._changed.wait()
        scope.cancel()

    async def _follow_units(self, agent: Agent, units: dict[str, str]) -> None:
        processes: dict[str, list[str]] = {}
        for process, unit in units.items():
            processes.setdefault(unit, []).append(process)
        if not units:
            self._report({}, whole=True)
            return
        async with agent.units(tuple(processes)) as changes:
            whole = True
            async for states in changes:
                self._report(_by_process(states, processes), whole=whole)
                whole = False

    def _report(self, units: dict[str, UnitState], *, whole: bool) -> None:
        self.reported.set()
        self._store.feed(UnitsReported(self._link.host, units, Store.now_s(), whole=whole))

    async def _look_now_and_then(self, agent: Agent) -> None:
        while True:
            host = await agent.observe(self._environment, files=(), units={})
            versions = {
                one.name: tuple(sorted(one.installed, key=lambda version: version != one.current))
                for one in host.releases
            }
            now_s = Store.now_s()
            known = self._store.view.hosts.get(self._link.host)
            if known is None or versions != known.versions:
                self._store.feed(VersionsReported(self._link.host, versions, now_s))
            self._store.feed(Heard(self._link.host, now_s))
            await trio.sleep(LOOK_INTERVAL_S)


def _by_process(states: tuple[UnitState, ...], processes: dict[str, list[str]]) -> dict[str, UnitState]:
    return {process: state for state in states for process in processes.get(state.unit, ())}
