"""Links: each keeps one host connected for as long as somebody wants it, whatever happens to the host.

A link knows the wanted state (connected), so a reboot, a cut cable or a killed ssh is not the end of anything: it tries again, after growing
pauses, and says at each moment how it is and why. What does not get better by itself (a refused login, an unknown key) is tried again only when
somebody says that it may have.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import msgspec
import trio

from labtest.agent.client import AgentClient
from labtest.agent.payload import AgentOptions
from labtest.core.environment import HostKind, HostSpec
from labtest.errors import (
    AgentFailed,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    LoginRefused,
    NotPrivileged,
)
from labtest.hosts.backoff import pause_s
from labtest.hosts.interface import Agent, LinkState
from labtest.hosts.limits import CONNECTING_MAX, GOOD_CONNECTION_S
from labtest.hosts.local import connect_local
from labtest.hosts.ssh import Ssh, SshSettings, ssh_run_folder

__all__ = ["Link", "LinkChange", "Links", "open_links"]

#: They stay so until a person has done something.
_FINAL = (HostKeyChanged, HostKeyUnknown, LoginRefused, NotPrivileged, AgentFailed)

Connect = Callable[[], AbstractAsyncContextManager[AgentClient]]
LinkError = HostUnreachable | AgentFailed


class LinkChange(msgspec.Struct, frozen=True, kw_only=True):
    """A link is another way than before."""

    host: str
    state: LinkState
    #: Why, for people; empty when it is up.
    reason: str
    #: Since the epoch, on this machine's clock.
    at_ns: int
    #: When it is tried again; None: it is up, on its way, or waits for :meth:`Link.retry`.
    next_try_s: float | None = None


class Link:
    """One host, kept connected by :meth:`run`."""

    def __init__(
        self,
        host: str,
        connect: Connect,
        *,
        connecting: trio.CapacityLimiter,
        on_change: Callable[[LinkChange], None] | None = None,
        jitter: Callable[[], float] = random.random,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.host = host
        self.state = LinkState.CONNECTING
        self.reason = ""
        self.since_ns = now_ns()
        self.error: LinkError | None = None
        self._connect = connect
        self._connecting = connecting
        self._on_change = on_change or (lambda change: None)
        self._jitter = jitter
        self._now_ns = now_ns
        self._client: AgentClient | None = None
        self._changed = trio.Event()
        self._wanted = trio.Event()
        self._failures = 0

    # ------------------------------------------------------------ for those who want the host

    def current(self) -> Agent | None:
        """The live agent, if there is one at this moment."""
        return self._client

    async def agent(self) -> Agent:
        """The live agent. While the link is on its way this waits for how that ends; otherwise it raises at once why there is none."""
        while self.state is LinkState.CONNECTING:
            await self._changed.wait()
        if self._client is not None:
            return self._client
        assert self.error is not None
        raise type(self.error)(
            self.error.host, self.error.problem
        )  # one of its own for each: tracebacks grow

    async def wait_for(self, state: LinkState, timeout_s: float) -> None:
        """Waits until the link is so. Raises :class:`HostUnreachable` if that takes too long."""
        with trio.move_on_after(timeout_s):
            while self.state is not state:
                await self._changed.wait()
            return
        raise HostUnreachable(
            self.host, f"it is {self.state} after {timeout_s:g} s, not {state}: {self.reason or 'no reason'}"
        )

    async def wait_closed(self) -> None:
        """Waits until :meth:`run` has ended."""
        while self.state is not LinkState.CLOSED:
            await self._changed.wait()

    def retry(self) -> None:
        """Tries at once, also what was refused. Does nothing while it is up or on its way."""
        self._wanted.set()

    # ------------------------------------------------------------ keeping it

    async def run(self) -> None:
        """Keeps it connected until cancelled."""
        try:
            while True:
                self._wanted = trio.Event()
                error = await self._live()
                self._client = None
                self._failures += 1
                if isinstance(error, _FINAL):
                    self._become(LinkState.REFUSED, error)
                    await self._wanted.wait()
                else:
                    pause = pause_s(self._failures, self._jitter())
                    self._become(LinkState.LOST, error, next_try_s=pause)
                    with trio.move_on_after(pause):
                        await self._wanted.wait()
                if self._wanted.is_set():
                    self._failures = 0
                    self._become(LinkState.CONNECTING, None)
        finally:
            self._client = None
            self._become(LinkState.CLOSED, HostUnreachable(self.host, "nobody wants its connection any more"))

    async def _live(self) -> LinkError:
        """One connection, from the first try to its end; gives why it ended."""
        try:
            async with AsyncExitStack() as stack:
                async with self._connecting:
                    client = await stack.enter_async_context(self._connect())
                self._client = client
                self._become(LinkState.UP, None)
                began = trio.current_time()
                reason = await client.wait_lost()
                if trio.current_time() - began >= GOOD_CONNECTION_S:
                    self._failures = 0
                self._client = None
                return HostUnreachable(self.host, reason)
        except (HostUnreachable, AgentFailed) as error:
            return error
        except Exception as error:  # a fault of ours on the way to one host must not take the others along
            return AgentFailed(self.host, f"connecting failed in a way that nobody foresaw: {error!r}")

    def _become(self, state: LinkState, error: LinkError | None, next_try_s: float | None = None) -> None:
        self.state, self.error = state, error
        self.reason = error.problem if error else ""
        self.since_ns = self._now_ns()
        self._changed.set()
        self._changed = trio.Event()
        self._on_change(
            LinkChange(
                host=self.host, state=state, reason=self.reason, at_ns=self.since_ns, next_try_s=next_try_s
            )
        )


class Links(Mapping[str, Link]):
    """The links of an environment, by name of host. Hosts come and go with the environment."""

    def __init__(
        self,
        nursery: trio.Nursery,
        sessions: dict[HostKind, Ssh],
        options: AgentOptions,
        on_change: Callable[[LinkChange], None] | None,
        jitter: Callable[[], float],
    ) -> None:
        self._nursery = nursery
        self._sessions = sessions
        self._options = options
        self._on_change = on_change
        self._jitter = jitter
        self._connecting = trio.CapacityLimiter(CONNECTING_MAX)
        self._links: dict[str, Link] = {}
        self._hosts: dict[str, HostSpec] = {}
        self._scopes: dict[str, trio.CancelScope] = {}

    def __getitem__(self, host: str) -> Link:
        return self._links[host]

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)

    def ssh(self, host: str) -> Ssh | None:
        """What makes command lines for sessions on a host; None for this machine, which needs no ssh."""
        return self._sessions.get(self._hosts[host].kind)

    def add(self, host: HostSpec) -> Link:
        """Begins to keep a host connected."""
        assert host.name not in self._links
        link = self._links[host.name] = Link(
            host.name,
            self._way_to(host),
            connecting=self._connecting,
            on_change=self._on_change,
            jitter=self._jitter,
        )
        self._hosts[host.name] = host
        scope = self._scopes[host.name] = trio.CancelScope()

        async def keep() -> None:
            with scope:
                await link.run()

        self._nursery.start_soon(keep)
        return link

    async def remove(self, host: str) -> None:
        """Lets go of a host, and waits for that."""
        link = self._links.pop(host)
        self._scopes.pop(host).cancel()
        del self._hosts[host]
        await link.wait_closed()

    def _way_to(self, host: HostSpec) -> Connect:
        session = self._sessions.get(host.kind)
        if session is None:
            return lambda: connect_local(host.name, self._options)
        return lambda: session.connect(host, self._options)


@asynccontextmanager
async def open_links(
    hosts: Iterable[HostSpec],
    *,
    lab_config: str = "",
    ssh_config: str = "",
    options: AgentOptions | None = None,
    on_change: Callable[[LinkChange], None] | None = None,
    jitter: Callable[[], float] = random.random,
) -> AsyncIterator[Links]:
    """Keeps hosts connected while the block runs; it begins at once, connected or not.

    ``lab_config`` is the ssh configuration of namespace hosts, ``ssh_config`` that of others; empty: the operator's own. ``on_change`` is called
    in this thread.
    """
    problem: BaseException | None = None
    with ssh_run_folder() as folder:
        async with trio.open_nursery() as nursery:
            sessions = {
                HostKind.SSH: Ssh(folder, SshSettings(config_file=ssh_config)),
                HostKind.NAMESPACE: Ssh(folder, SshSettings(config_file=lab_config)),
            }
            links = Links(nursery, sessions, options or AgentOptions(), on_change, jitter)
            # An exception of the caller's own must reach it as it is, not in a group.
            try:
                for host in hosts:
                    links.add(host)
                yield links
            except BaseException as error:
                problem = error
            finally:
                nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            for session in sessions.values():
                await session.aclose()
        if problem is not None:
            raise problem
