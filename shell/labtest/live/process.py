"""One process of the environment, on all its hosts or on one: its state, its signals, its log."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from labtest.core.actual import UnitState
from labtest.core.ask import Ask
from labtest.core.change_values import Change, ChangeRefused, StartInstance, StopInstance
from labtest.core.names import nearest, spell_list
from labtest.core.target import ProcessTarget
from labtest.errors import AgentFailed, HostUnreachable, LabError
from labtest.hosts.interface import LogLine
from labtest.live.errors import CallLate
from labtest.live.host import LiveHost, Opened
from labtest.live.limits import APPLY_TIMEOUT_S, ASK_TIMEOUT_S, COMMAND_TIMEOUT_S, LAST_ASK_TIMEOUT_S, POLL_S

__all__ = ["LiveProcess"]

StatePredicate = Callable[[UnitState], bool]


class LiveProcess:
    """A process on some hosts. ``env.process("cache")`` is on all of its hosts, ``["a"]`` of it, or ``env.process("cache@a")``, on one.

    What changes it does so as a plan does: in order, in batches, under the environment's lock, and waiting until it is healthy.
    """

    def __init__(
        self, opened: Callable[[], Opened], host: Callable[[str], LiveHost], name: str, only: str = ""
    ) -> None:
        self.name = name
        self._opened = opened
        self._host = host
        self._only = only
        _ = self.hosts  # so that a misspelt name is told here

    def __repr__(self) -> str:
        return f"<process {self}>"

    def __str__(self) -> str:
        return f"{self.name}@{self._only}" if self._only else self.name

    def __getitem__(self, host: str) -> LiveProcess:
        return LiveProcess(self._opened, self._host, self.name, host)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the hosts on which it is meant."""
        environment = self._opened().session.environment
        found = {one.name: one for one in environment.processes}
        if self.name not in found:
            raise LabError(f"there is no process {self.name!r}{nearest(self.name, found)}")
        hosts = found[self.name].hosts
        if not self._only:
            return hosts
        if self._only not in hosts:
            raise LabError(f"{self.name} does not run on {self._only!r}; it runs on {spell_list(hosts)}")
        return (self._only,)

    @property
    def unit(self) -> str:
        """Name of its unit, if it is the same on all of its hosts."""
        units = {self._target(host).unit for host in self.hosts}
        if len(units) != 1:
            raise LabError(f"{self} has several units: {', '.join(sorted(units))}; choose a host")
        return units.pop()

    # ------------------------------------------------------------ how it is

    def state(self) -> UnitState:
        """How systemd sees it at this moment. It must be on one host; see :meth:`states`."""
        hosts = self.hosts
        if len(hosts) != 1:
            raise LabError(f"{self} runs on {', '.join(hosts)}: choose one, as in process(...)[{hosts[0]!r}]")
        return self._state(hosts[0])

    def states(self) -> dict[str, UnitState]:
        """The same for all of its hosts."""
        return {host: self._state(host) for host in self.hosts}

    def logs(self, *, since_ns: int | None = None) -> list[LogLine]:
        """What it has logged since the present test began (or since then), from all of its hosts in order of time.

        Works for a namespace host also while that is cut off.
        """
        lines = [
            line
            for host in self.hosts
            for line in self._host(host).logs(self._target(host).unit, since_ns=since_ns)
        ]
        return sorted(lines, key=lambda line: line.at_ns)

    def wait_for(
        self, wanted: str | StatePredicate = "active", timeout_s: float = COMMAND_TIMEOUT_S
    ) -> dict[str, UnitState]:
        """Waits until it is so on all of its hosts: in a state of systemd's, or as a function says of a state. Gives the states.

        A host that does not answer is waited for, too. Raises :class:`CallLate` with the last states.
        """
        deadline = time.monotonic() + timeout_s
        found: dict[str, UnitState] = {}
        for host in self.hosts:
            last = "nothing was known of it"
            while True:
                try:
                    left_s = deadline - time.monotonic()
                    found[host] = self._state(host, min(ASK_TIMEOUT_S, max(LAST_ASK_TIMEOUT_S, left_s)))
                    last = f"{found[host].active} ({found[host].sub}, {found[host].result})"
                    if found[host].active == wanted if isinstance(wanted, str) else wanted(found[host]):
                        break
                except (HostUnreachable, AgentFailed, CallLate) as error:
                    last = str(error)
                if time.monotonic() > deadline:
                    what = wanted if isinstance(wanted, str) else "as wanted"
                    raise CallLate(f"{self.name}@{host} is not {what} after {timeout_s:g} s: {last}")
                time.sleep(POLL_S)
        return found

    def wait_healthy(self) -> None:
        """Waits until its health check passes on all of its hosts, for as long as the spec gives it.

        Raises :class:`~labtest.errors.ActionFailed`; at once where the unit has failed.
        """
        opened = self._opened()
        for host in self.hosts:
            target = self._target(host)
            opened.thread.call(
                partial(opened.session.check_health, host, target),
                timeout_s=target.health.timeout_s + target.health.stable_s + ASK_TIMEOUT_S,
                what=f"{self.name}@{host}: its health",
            )

    # ------------------------------------------------------------ what is done to it

    def restart(self) -> None:
        """Restarts it, at most ``batch_size`` instances at a time. Raises :class:`~labtest.live.ApplyFailed`."""
        self._apply(Ask(processes=frozenset({self.name}), restart=self._instances()))

    def reload(self) -> None:
        """Has it read its configuration again."""
        self._apply(Ask(processes=frozenset({self.name}), reload=self._instances()))

    def stop(self) -> None:
        """Stops it; it shall stay stopped until :meth:`start` or the end of the test. Fine if it is so already."""
        self._change(StopInstance)

    def start(self) -> None:
        """Starts what was stopped, and waits until it is healthy. Fine if it runs already."""
        self._change(StartInstance)
        self._apply(Ask(processes=frozenset({self.name})))

    def kill(self, signal_name: str = "KILL") -> None:
        """Sends a signal to its main process, past systemd: ``"KILL"``, ``"TERM"``, ``"STOP"``…

        Raises :class:`~labtest.errors.ActionFailed` if it has none.
        """
        for host in self.hosts:
            unit = self._target(host).unit
            argv = ["systemctl", "kill", "--kill-whom=main", f"--signal={signal_name}", unit]
            self._host(host).run(argv, check=True)

    # ------------------------------------------------------------ how

    def _instances(self) -> frozenset[tuple[str, str]]:
        return frozenset((self.name, host) for host in self.hosts)

    def _target(self, host: str) -> ProcessTarget:
        opened = self._opened()
        found = opened.thread.call(
            lambda: opened.session.instance(self.name, host), timeout_s=ASK_TIMEOUT_S, what=str(self)
        )
        if found is None:
            raise LabError(f"{self.name} does not run on {host}")
        return found

    def _state(self, host: str, timeout_s: float = ASK_TIMEOUT_S) -> UnitState:
        opened, unit = self._opened(), self._target(host).unit
        return opened.thread.call(
            lambda: opened.session.unit_state(host, unit),
            timeout_s=timeout_s,
            what=f"{self.name}@{host}: its state",
        )

    def _change(self, kind: type[StopInstance] | type[StartInstance]) -> None:
        for host in self.hosts:
            try:
                self._apply(Ask(processes=frozenset({self.name})), (kind(self.name, host),))
            except ChangeRefused as refused:
                if not refused.already:
                    raise

    def _apply(self, ask: Ask, changes: tuple[Change, ...] = ()) -> None:
        opened = self._opened()
        opened.thread.call(
            lambda: opened.session.apply(ask, changes), timeout_s=APPLY_TIMEOUT_S, what=f"changing {self}"
        )
