"""Links keep hosts connected: through kills, an sshd that is not up, refused logins, cut cables, power cuts."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.labtest.agent.hosts import SSHD, Sshd, children, ends, key, sshd

from labtest.agent.client import AgentClient
from labtest.agent.payload import AgentOptions
from labtest.agent.program.limits import SILENCE_S
from labtest.core.environment import HostKind, HostSpec
from labtest.errors import HostKeyChanged, HostKeyUnknown, HostUnreachable, LoginRefused
from labtest.hosts.backoff import pause_s
from labtest.hosts.interface import LinkState
from labtest.hosts.limits import PAUSE_MAX_S, PAUSE_MIN_S
from labtest.hosts.link import Link, LinkChange, Links, open_links
from labtest.namespaces import Lab

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="an agent is root")
needs_sshd = pytest.mark.skipif(SSHD is None, reason="no sshd: apt-get install openssh-server")

TARGET = HostSpec(name="rack1", ssh="target")
#: From a host that is back to a link that is up: the longest pause, and a start of Python on a busy machine.
BACK_S = PAUSE_MAX_S + 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with sshd(tmp_path / "sshd") as running:
        yield running


def play(
    server: Sshd, scenario: Callable[[Link, list[LinkChange]], Awaitable[None]], *, timeout_s: float = 90.0
) -> list[LinkChange]:
    """Runs a scenario with a link to an sshd, and gives how the link was, in order."""
    changes: list[LinkChange] = []
    options = AgentOptions(state_folder=str(server.folder / "state"), run_folder=str(server.folder / "run"))

    async def main() -> None:
        with trio.fail_after(timeout_s):
            async with open_links(
                [TARGET],
                ssh_config=str(server.ssh_config),
                options=options,
                on_change=changes.append,
                jitter=lambda: 0.5,
            ) as links:
                await scenario(links["rack1"], changes)

    trio.run(main)
    return changes


def states(changes: list[LinkChange]) -> list[LinkState]:
    """Without what is tried again in vain."""
    told = [change.state for change in changes]
    return [state for index, state in enumerate(told) if index == 0 or told[index - 1] is not state]


UP, LOST, REFUSED, CONNECTING, CLOSED = (
    LinkState.UP,
    LinkState.LOST,
    LinkState.REFUSED,
    LinkState.CONNECTING,
    LinkState.CLOSED,
)


@pytest.mark.system
@needs_root
@needs_sshd
class TestOneHost:
    def test_a_link_is_up_until_nobody_wants_it(self, server: Sshd) -> None:
        async def scenario(link: Link, changes: list[LinkChange]) -> None:
            assert link.state is CONNECTING
            agent = await link.agent()
            assert (await agent.run(["echo", "hi"])).stdout == b"hi\n"
            assert link.current() is agent
            assert link.error is None
            assert not link.reason

        changes = play(server, scenario)
        assert states(changes) == [UP, CLOSED]
        assert [change.host for change in changes] == ["rack1", "rack1"]
        assert 0 < changes[0].at_ns <= changes[1].at_ns

    def test_a_host_that_is_not_up_yet_is_tried_until_it_is(self, server: Sshd) -> None:
        server.stop()

        async def scenario(link: Link, changes: list[LinkChange]) -> None:
            with pytest.raises(HostUnreachable, match=r"rack1: .*Connection refused"):
                await link.agent()
            assert link.state is LOST
            assert changes[0].next_try_s == pytest.approx(PAUSE_MIN_S * 0.75)
            await trio.to_thread.run_sync(server.start)
            await link.wait_for(UP, BACK_S)
            await link.agent()

        assert states(play(server, scenario)) == [LOST, UP, CLOSED]

    def test_a_killed_ssh_and_a_killed_agent_are_replaced(self, server: Sshd) -> None:
        async def scenario(link: Link, changes: list[LinkChange]) -> None:
            for kill in (_kill_ssh, _kill_agent):
                agent = await link.agent()
                assert isinstance(agent, AgentClient)
                kill(agent)
                await link.wait_for(LOST, 10)
                assert link.reason
                with pytest.raises(HostUnreachable):
                    await agent.run(["true"])
                await link.wait_for(UP, BACK_S)
                assert await link.agent() is not agent
                assert ends(agent.hello.process_id)

        assert states(play(server, scenario)) == [UP, LOST, UP, LOST, UP, CLOSED]

    def test_a_lost_sshd_is_noticed_and_found_again(self, server: Sshd) -> None:
        async def scenario(link: Link, changes: list[LinkChange]) -> None:
            await link.agent()
            server.stop()
            await link.wait_for(LOST, 10)
            await trio.to_thread.run_sync(server.start)
            await link.wait_for(UP, BACK_S)

        assert states(play(server, scenario)) == [UP, LOST, UP, CLOSED]

    def test_a_refused_login_waits_for_somebody_to_say_that_it_may_work_now(
        self, server: Sshd, tmp_path: Path
    ) -> None:
        server.configure_client(identity=key(tmp_path / "stranger"))

        async def scenario(link: Link, changes: list[LinkChange]) -> None:
            for _ in range(2):
                with pytest.raises(LoginRefused):
                    await link.agent()
            assert link.state is REFUSED
            assert changes[-1].next_try_s is None
            server.configure_client()
            link.retry()
            await link.wait_for(UP, BACK_S)

        assert states(play(server, scenario)) == [REFUSED, CONNECTING, UP, CLOSED]

    def test_an_unknown_key_and_a_changed_one_are_refused(self, server: Sshd, tmp_path: Path) -> None:
        server.known_hosts.write_text("")

        async def scenario(link: Link, changes: list[LinkChange]) -> None:
            with pytest.raises(HostKeyUnknown, match="SHA256"):
                await link.agent()
            server.trust(key(tmp_path / "another"))
            link.retry()
            await link.wait_for(CONNECTING, 10)
            with pytest.raises(HostKeyChanged, match="HAS CHANGED"):
                await link.agent()

        assert states(play(server, scenario)) == [REFUSED, CONNECTING, REFUSED, CLOSED]

    def test_an_error_of_the_callers_own_reaches_it_as_it_is(self, server: Sshd) -> None:
        async def scenario(link: Link, changes: list[LinkChange]) -> None:
            await link.agent()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            play(server, scenario)


def _kill_ssh(agent: AgentClient) -> None:
    ours = [
        process for process in children(os.getpid()) if Path(f"/proc/{process}/comm").read_text() == "ssh\n"
    ]
    assert ours
    for process in ours:
        os.kill(process, signal.SIGKILL)


def _kill_agent(agent: AgentClient) -> None:
    os.kill(agent.hello.process_id, signal.SIGKILL)


# ---------------------------------------------------------------- several hosts


@pytest.mark.system
@needs_root
def test_hosts_come_and_go_and_this_machine_is_one(tmp_path: Path) -> None:
    options = AgentOptions(state_folder=str(tmp_path / "state"), run_folder=str(tmp_path / "run"))

    async def main() -> None:
        with trio.fail_after(60):
            async with open_links([HostSpec(name="one", kind=HostKind.LOCAL)], options=options) as links:
                assert links.ssh("one") is None
                links.add(HostSpec(name="two", kind=HostKind.LOCAL))
                agents = [await links[name].agent() for name in ("one", "two")]
                assert list(links) == ["one", "two"]
                link = links["one"]
                await links.remove("one")
                assert list(links) == ["two"]
                assert link.state is CLOSED
                with pytest.raises(HostUnreachable, match="nobody wants"):
                    await link.agent()
                with pytest.raises(HostUnreachable):
                    await agents[0].run(["true"])
                assert (await agents[1].run(["true"])).status == 0

    trio.run(main)


def test_few_hosts_are_connected_to_at_a_time() -> None:
    at_once = most = 0

    @asynccontextmanager
    async def connect() -> AsyncIterator[AgentClient]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            raise HostUnreachable("a", "not today")
            yield
        finally:
            at_once -= 1

    async def main() -> None:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                limiter = trio.CapacityLimiter(3)
                links = [Link(f"h{number}", connect, connecting=limiter) for number in range(20)]
                for link in links:
                    nursery.start_soon(link.run)
                for link in links:
                    await link.wait_for(LOST, 10)
                nursery.cancel_scope.cancel()

    trio.run(main)
    assert most == 3


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_to_a_bound_and_chance_takes_at_most_half(failures: int, chance: float) -> None:
    pause = pause_s(failures, chance)
    longest = pause_s(failures, 0.0)
    assert PAUSE_MIN_S / 2 <= pause <= PAUSE_MAX_S
    assert longest / 2 <= pause <= longest <= pause_s(failures + 1, 0.0)


# ---------------------------------------------------------------- hosts that break


@pytest.mark.system
@needs_root
def test_a_cut_cable_a_frozen_host_and_a_power_cut_are_noticed_and_the_link_comes_back() -> None:
    with Lab("agent-links", ["a", "b"]) as lab:
        hosts = [HostSpec(name=name, kind=HostKind.NAMESPACE) for name in lab.hosts]

        async def main() -> None:
            with trio.fail_after(200):
                async with open_links(hosts, lab_config=str(lab.ssh_config)) as links:
                    await links["b"].agent()
                    boots = [await _boot_id(links)]
                    for breaking, mending in (
                        (lab.partition, lab.heal),
                        (lab.freeze, lab.thaw),
                        (lab.power_cut, lab.boot),
                    ):
                        await trio.to_thread.run_sync(breaking, "a")
                        await links["a"].wait_for(LOST, 3 * SILENCE_S)
                        with pytest.raises(HostUnreachable):
                            await links["a"].agent()
                        assert links["b"].state is UP
                        await trio.to_thread.run_sync(mending, "a")
                        await links["a"].wait_for(UP, 2 * BACK_S)
                        boots.append(await _boot_id(links))
                    assert links["b"].state is UP
                    assert boots[0] == boots[1] == boots[2] != boots[3]

        trio.run(main)


async def _boot_id(links: Links) -> str:
    actual = await (await links["a"].agent()).observe("kit", files=(), units={})
    return actual.boot_id
