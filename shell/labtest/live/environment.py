"""A live environment for code that is not asynchronous: tests, and notebooks.

``with LiveEnvironment("trading.toml") as env: env.process("cashy-master@a").restart()``. Namespace hosts that are not up are booted, and taken down
at the end; everything is deployed as the spec says. All calls block, have a timeout, and raise what went wrong as it is; Ctrl-C cancels what is under
way on the hosts too.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from labtest.core.actual import Actual
from labtest.core.change_values import (
    AddInstance,
    Change,
    MoveProcess,
    RemoveInstance,
    SetVariable,
    SwapRelease,
    UnsetVariable,
)
from labtest.core.describe import describe
from labtest.core.environment import Environment, Value
from labtest.core.names import nearest
from labtest.core.plan import Planned
from labtest.core.resolve import ToolTarget
from labtest.deploy import Outcome, Prepared, SpecSource
from labtest.errors import LabError
from labtest.live.booting import UsedLab, heal, use_lab
from labtest.live.errors import EnvironmentClosed, EnvironmentDiffers
from labtest.live.host import LiveHost
from labtest.live.limits import (
    APPLY_TIMEOUT_S,
    ASK_TIMEOUT_S,
    COMMAND_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    OPEN_TIMEOUT_S,
)
from labtest.live.process import LiveProcess
from labtest.live.ran import Ran
from labtest.live.session import Session, has_hosts_of_others, is_empty, open_session
from labtest.live.trio_thread import TrioThread
from labtest.namespaces import Lab, addresses
from labtest.namespaces.limits import UP_TIMEOUT_S
from labtest.spec import read_environment

__all__ = ["LiveEnvironment"]

_R = TypeVar("_R")


@dataclass
class _Open:
    """What is there while an environment is open."""

    thread: TrioThread[Session]
    session: Session
    used: UsedLab | None
    #: Whether nothing of the environment was there before, so that all of it is this process's to take away.
    was_empty: bool = False
    #: Hosts that had faults since all of them were last seen to answer.
    suspects: set[str] = field(default_factory=set)
    began_ns: int = 0

    @property
    def lab(self) -> Lab | None:
        """The namespace hosts, if there are any."""
        return self.used.lab if self.used else None

    @property
    def is_own(self) -> bool:
        """Whether its namespace hosts go when it is closed."""
        return self.used is not None and self.used.is_own


class LiveEnvironment:
    """An environment under a test's hands.

    ``lab`` is the id of a lab (as `labtest status` shows it) whose hosts are to be used. What was changed at a prompt of labshell is not read: it
    begins as the spec says. ``fresh``: namespace hosts that are up already are left alone.
    """

    def __init__(
        self,
        spec: Path | str,
        *,
        overlays: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        lab: str = "",
        fresh: bool = False,
        ssh_config: str = "",
    ) -> None:
        self.spec = Path(spec)
        self._overlays = tuple(overlays)
        self._variables = dict(variables or {})
        self._lab_id = lab
        self._fresh = fresh
        self._ssh_config = ssh_config
        self._open: _Open | None = None
        self._hosts: dict[str, LiveHost] = {}

    def __enter__(self) -> Self:
        self.open()
        try:
            self.deploy()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------ open and closed

    @property
    def is_open(self) -> bool:
        """Whether hosts are connected."""
        return self._open is not None

    def open(self, timeout_s: float = UP_TIMEOUT_S) -> None:
        """Boots hosts where that is needed, and connects to all. Raises what keeps one from answering; then nothing is left."""
        if self._open is not None:
            return
        environment = read_environment(self.spec, overlays=self._overlays, variables=self._variables)
        used = use_lab(environment, self._lab_id, fresh=self._fresh, timeout_s=timeout_s)
        try:
            lab = used.lab if used else None
            if lab is not None and used is not None and not used.is_own:
                heal(lab)
            thread = self._thread(lab)
            session = thread.start(OPEN_TIMEOUT_S)
            opened = _Open(thread, session, used, began_ns=time.time_ns())
        except BaseException:
            if used is not None:
                used.leave()
            raise
        self._open, self._hosts = opened, {}
        atexit.register(self.close)
        try:
            self._connect(opened)
        except BaseException:
            self.close()
            raise

    def deploy(self) -> None:
        """Brings everything to what the spec says. Raises :class:`ApplyFailed`."""
        opened = self._opened()
        opened.was_empty = is_empty(self.observe())
        self._call(opened.session.apply, APPLY_TIMEOUT_S, "deploying")
        self._check(opened)

    def close(self, *, keep: bool = False) -> None:
        """Lets go of it, and takes down what was booted or deployed for it; with ``keep`` all stays as it is. Fine if it is closed."""
        opened = self._open
        if opened is None:
            return
        atexit.unregister(self.close)
        try:
            if not keep:
                self._leave_as_found(opened)
        finally:
            self._open = None
            try:
                opened.thread.close()
            finally:
                if opened.used is not None:
                    opened.used.leave(keep=keep)

    def remake(self) -> None:
        """Begins anew: new namespace hosts, and everything deployed. This object, and those it gave, go on being valid."""
        self._close_quietly()
        self._lab_id, self._fresh = "", True
        self.open()
        self.deploy()

    def _close_quietly(self) -> None:
        """Closes what may be in a state in which nothing can be taken back any more."""
        try:
            self.close()
        except LabError:
            pass

    # ------------------------------------------------------------ what is in it

    @property
    def environment(self) -> Environment:
        """As it is now: the spec, and all changes that were applied."""
        return self._opened().session.environment

    @property
    def name(self) -> str:
        """Of the environment."""
        return self.environment.name

    @property
    def lab(self) -> Lab | None:
        """The namespace hosts, if there are any."""
        return self._opened().lab

    @property
    def hosts(self) -> Mapping[str, LiveHost]:
        """All hosts, by name, in the order of the spec."""
        for spec in self.environment.hosts:
            if spec.name not in self._hosts:
                self._hosts[spec.name] = LiveHost(self._opened, spec)
        return {spec.name: self._hosts[spec.name] for spec in self.environment.hosts}

    def process(self, name: str) -> LiveProcess:
        """A process, on all of its hosts (``"cache"``) or on one (``"cache@a"``)."""
        process, _, host = name.partition("@")
        return LiveProcess(self._opened, lambda one: self.hosts[one], process, host)

    @property
    def processes(self) -> tuple[LiveProcess, ...]:
        """All instances of all processes, each on one host."""
        return tuple(
            self.process(f"{one.name}@{host}") for one in self.environment.processes for host in one.hosts
        )

    def tool(
        self,
        name: str,
        *words: str,
        stdin: bytes | str = b"",
        timeout_s: float = COMMAND_TIMEOUT_S,
        check: bool = False,
    ) -> Ran:
        """Runs a tool of the spec with further arguments, where the spec says, without a terminal."""
        tool = self._tool(name)
        argv = (*tool.argv, *words)
        if tool.host:
            return self.hosts[tool.host].run(
                argv, stdin=stdin, env=tool.env, timeout_s=timeout_s, check=check
            )
        given = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            done = subprocess.run(
                argv,
                input=given,
                capture_output=True,
                env={**os.environ, **tool.env},
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"tool {name}: not ended after {timeout_s:g} s") from None
        except OSError as error:
            raise LabError(f"tool {name}: {argv[0]}: {error.strerror}") from None
        ran = Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        return ran.checked("this machine", argv) if check else ran

    def _tool(self, name: str) -> ToolTarget:
        tools = {
            tool.name: tool for tool in self._call(self._opened().session.resolved, ASK_TIMEOUT_S, name).tools
        }
        if name not in tools:
            raise LabError(f"there is no tool {name!r}{nearest(name, tools)}")
        return tools[name]

    # ------------------------------------------------------------ changes

    def set(self, name: str, value: Value, *, host: str = "", process: str = "") -> None:
        """Gives a variable a value, for all or for one host or process. This, and what follows, waits for :meth:`apply`.

        Raises :class:`~labtest.core.change_values.ChangeRefused`.
        """
        self.change(SetVariable(name, value, _scope(host, process)))

    def unset(self, name: str, *, host: str = "", process: str = "") -> None:
        """Lets the wider value of a variable count again for one host or process."""
        self.change(UnsetVariable(name, _scope(host, process)))

    def swap(self, release: str, version: str) -> None:
        """Puts another version of a release in use."""
        self.change(SwapRelease(release, version))

    def move(self, process: str, from_host: str, to_host: str) -> None:
        """Lets an instance run on another host instead."""
        self.change(MoveProcess(process, from_host, to_host))

    def add(self, process: str, host: str) -> None:
        """Lets a process run on one more host."""
        self.change(AddInstance(process, host))

    def remove(self, process: str, host: str) -> None:
        """Takes a process from a host."""
        self.change(RemoveInstance(process, host))

    def change(self, *changes: Change) -> None:
        """Any changes (:mod:`labtest.core.change_values`); if one is refused, none is made."""

        async def collect() -> None:
            self._opened().session.deployment.collect(*changes)

        self._call(collect, ASK_TIMEOUT_S, "changing")

    def discard(self) -> None:
        """Drops the changes that wait."""

        async def drop() -> None:
            self._opened().session.deployment.discard()

        self._call(drop, ASK_TIMEOUT_S, "changing")

    def plan(self) -> Prepared:
        """What :meth:`apply` would do, pinned to how everything is at this moment: ``plan().plan.steps``."""
        return self._call(self._opened().session.deployment.plan, ASK_TIMEOUT_S * 3, "planning")

    def apply(self, prepared: Prepared | None = None) -> Outcome:
        """Carries out the changes that wait, and puts right what differs; or a plan that :meth:`plan` gave.

        Raises :class:`ApplyFailed`, after which all is as it was if that was possible; PlanOutdated for a given plan.
        """
        session = self._opened().session
        if prepared is None:
            self._connect(self._opened())
            return self._call(session.apply, APPLY_TIMEOUT_S, "applying")
        return self._call(lambda: session.carry_out(prepared), APPLY_TIMEOUT_S, "applying")

    # ------------------------------------------------------------ how it is

    def observe(self, timeout_s: float = ASK_TIMEOUT_S, *, without: Collection[str] = ()) -> Actual:
        """What is on all hosts; None for one that has not answered in time, and for those of ``without``, which are not asked."""
        session = self._opened().session
        return self._call(lambda: session.observe(timeout_s, without), timeout_s * 2, "observing")

    def differences(self, actual: Actual | None = None) -> list[str]:
        """How it differs from what is in effect, in lines for people; empty if it does not."""
        planned = self._planned(actual or self.observe())
        if planned.plan.steps:
            return describe(planned)
        return describe(planned)[:-1]  # which says that there is nothing to do

    # ------------------------------------------------------------ for test runners

    @property
    def began_ns(self) -> int:
        """When the present test began: logs are given from there on. Ns since the epoch."""
        return self._opened().began_ns

    def begin_test(self) -> None:
        """From now on is the present test."""
        self._opened().began_ns = time.time_ns()

    def lend(self) -> None:
        """Lets another process use the same namespace hosts, by the lab's id."""
        used = self._opened().used
        if used is not None:
            used.unlock()

    def heal(self) -> list[str]:
        """Undoes all faults of hosts that labtest booted. Gives the names of those that had one."""
        opened = self._opened()
        hurt = heal(opened.lab) if opened.lab is not None else []
        opened.suspects.update(hurt)
        return hurt

    def bring_back(self) -> list[str]:
        """Makes everything as the spec says again, whatever was done to it: faults, changes, stopped units, edited files.

        Gives what had to be put right, in lines for people. Raises what kept it from that.
        """
        opened = self._opened()
        done = [f"{host}: healed" for host in self.heal()]
        self._connect(opened)
        deployment = opened.session.deployment
        if deployment.desired.changes or deployment.desired.pending:
            self._call(opened.session.forget_changes, ASK_TIMEOUT_S, "taking changes back")
        differences = self.differences()
        if differences:
            self._call(opened.session.apply, APPLY_TIMEOUT_S, "bringing it back")
            self._check(opened)
        # What systemd has restarted is active before it serves, and no plan has a step for that.
        self._call(opened.session.check_all_health, APPLY_TIMEOUT_S, "waiting until all is healthy")
        return done + differences

    def _check(self, opened: _Open) -> None:
        """A plan leaves out what it cannot do: then it has not led where it should have."""
        differences = self.differences()
        if differences:
            raise EnvironmentDiffers(differences)

    def _leave_as_found(self, opened: _Open) -> None:
        is_ours = opened.was_empty and (has_hosts_of_others(self.environment) or not opened.is_own)
        if opened.is_own and not is_ours:
            return  # its hosts go, with all that is on them
        self.heal()
        self._connect(opened)
        if is_ours:
            self._call(opened.session.take_down, APPLY_TIMEOUT_S, "taking down")
        else:
            self.bring_back()

    def _connect(self, opened: _Open) -> None:
        suspects = tuple(opened.suspects)
        self._call(lambda: opened.session.connect(suspects=suspects), CONNECT_TIMEOUT_S * 2, "connecting")
        opened.suspects.clear()

    def _planned(self, actual: Actual) -> Planned:
        session = self._opened().session
        return self._call(lambda: session.differences(actual), ASK_TIMEOUT_S * 3, "comparing")

    def _thread(self, lab: Lab | None) -> TrioThread[Session]:
        source = SpecSource(
            self.spec,
            overlays=self._overlays,
            variables=self._variables,
            addresses=lambda: addresses(lab) if lab else {},
        )
        lab_config = str(lab.ssh_config) if lab else ""
        return TrioThread(lambda: open_session(source, lab_config=lab_config, ssh_config=self._ssh_config))

    def _opened(self) -> _Open:
        if self._open is None:
            raise EnvironmentClosed(f"the environment of {self.spec} is not open")
        return self._open

    def _call(self, function: Callable[[], Awaitable[_R]], timeout_s: float, what: str) -> _R:
        return self._opened().thread.call(function, timeout_s=timeout_s, what=f"{self.spec.name}: {what}")


def _scope(host: str, process: str) -> str:
    if host and process:
        raise ValueError("a variable is set for a host or for a process, not for both")
    return f"host:{host}" if host else f"process:{process}" if process else ""
