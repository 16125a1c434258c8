"""The same on hosts with a real systemd, over ssh: up, a rolling change, a move, a change that fails, down."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
import trio
from tests.labtest.namespaces.support import need_labs

from labtest.core.changes import MoveProcess, SetVariable, SwapRelease
from labtest.core.environment import (
    Environment,
    FileKind,
    FileSpec,
    FileUse,
    Health,
    HealthKind,
    HostKind,
    HostSpec,
    ProcessSpec,
    ReleaseSpec,
)
from labtest.core.folder import FolderContents
from labtest.core.resolve import Resolved, resolve
from labtest.deploy import Ending, StateFolder, open_deployment
from labtest.hosts.interface import Agent
from labtest.hosts.ssh import Ssh, SshSettings, ssh_run_folder
from labtest.namespaces import Lab

pytestmark = [pytest.mark.system, pytest.mark.skipif(os.geteuid() != 0, reason="labs need root")]

TIMEOUT_S = 120.0
HOSTS = ("a", "b")
UNIT = b"""[Unit]
StartLimitIntervalSec=0
[Service]
Type=exec
ExecStart=/bin/sh /opt/deploy-kit/current/serve.sh
TimeoutStopSec=5
"""
#: Serves until it is stopped, unless it is told to fail.
SERVE = b"""#!/bin/sh
. /etc/deploy-kit/settings
test "$LEVEL" != bad || { echo 'cannot serve at this level' >&2; exit 3; }
exec sleep 7000
"""
FOLDER = {
    "kit.service": UNIT,
    "settings.j2": b"LEVEL={{ level }}\n",
    "v1/serve.sh": SERVE,
    "v2/serve.sh": SERVE.replace(b"7000", b"7001"),
}


def environment() -> Environment:
    health = Health(
        kind=HealthKind.COMMAND,
        command=("test", "-e", "/etc/deploy-kit/settings"),
        stable_s=0.2,
        timeout_s=10,
    )
    return Environment(
        name="deploy-kit",
        hosts=tuple(HostSpec(name=name, kind=HostKind.NAMESPACE) for name in HOSTS),
        processes=(
            ProcessSpec(
                name="store", hosts=HOSTS, unit="kit-store.service", template="kit.service", releases=("kit",),
                files=(FileUse(file="settings"),), health=health,
            ),
            ProcessSpec(
                name="worker", hosts=("a",), unit="kit-worker.service", template="kit.service", releases=("kit",), after=("store",)
            ),
        ),
        files=(FileSpec(name="settings", kind=FileKind.TEMPLATE, source="settings.j2", path="/etc/deploy-kit/settings"),),
        releases=(ReleaseSpec(name="kit", version="v1", source=("{{ release.version }}/serve.sh",), folder="/opt/deploy-kit"),),
        variables={"level": "info"},
    )  # fmt: skip


class Source:
    def read(self) -> Environment:
        return environment()

    def resolve(self, environment: Environment) -> Resolved:
        return resolve(environment, FolderContents(FOLDER))


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Lab, Ssh]]:
    need_labs()
    with ExitStack() as stack:
        made = stack.enter_context(Lab("deploy-kit", HOSTS))
        folder = stack.enter_context(ssh_run_folder())
        yield made, Ssh(folder, SshSettings(config_file=str(made.ssh_config)))


def is_active(lab: Lab, host: str, unit: str) -> bool:
    return lab.hosts[host].run(["systemctl", "is-active", unit], check=False).stdout.strip() == "active"


def main_pid(lab: Lab, host: str, unit: str) -> str:
    return lab.hosts[host].run(["systemctl", "show", "-p", "MainPID", "--value", unit]).stdout.strip()


def read(lab: Lab, host: str, path: str) -> str:
    return lab.hosts[host].run(["cat", path]).stdout


def test_an_environment_lives_and_changes(lab: tuple[Lab, Ssh], tmp_path: Path) -> None:
    made, ssh = lab

    async def main() -> None:
        with trio.fail_after(TIMEOUT_S):
            async with AsyncExitStack() as stack:
                agents: dict[str, Agent | None] = {}
                for name in HOSTS:
                    agents[name] = await stack.enter_async_context(
                        ssh.connect(HostSpec(name=name, kind=HostKind.NAMESPACE))
                    )
                await live(made, tmp_path, agents)

    trio.run(main)


async def live(lab: Lab, folder: Path, agents: dict[str, Agent | None]) -> None:
    async with open_deployment(StateFolder(folder / "kit.lab"), Source(), lambda: agents) as d:
        outcome = await d.apply(await d.plan())
        assert outcome.ending is Ending.DONE, outcome.lines()
        assert (await d.drift()).plan.steps == ()
        assert all(is_active(lab, host, "kit-store.service") for host in HOSTS)
        worker = main_pid(lab, "a", "kit-worker.service")

        await d.apply(await d.plan(changes=(SetVariable(name="level", value="debug"),)))
        assert all(read(lab, host, "/etc/deploy-kit/settings") == "LEVEL=debug\n" for host in HOSTS)
        assert main_pid(lab, "a", "kit-worker.service") == worker  # nothing it was started from has changed
        assert (await d.drift()).plan.steps == ()

        outcome = await d.apply(await d.plan(changes=(SetVariable(name="level", value="bad"),)))
        assert outcome.ending is Ending.ROLLED_BACK, outcome.lines()
        assert "result exit-code" in outcome.lines()[1]
        assert all(read(lab, host, "/etc/deploy-kit/settings") == "LEVEL=debug\n" for host in HOSTS)
        assert all(is_active(lab, host, "kit-store.service") for host in HOSTS)
        assert (await d.drift()).plan.steps == ()

        d.collect(
            SwapRelease(release="kit", version="v2"),
            MoveProcess(process="worker", from_host="a", to_host="b"),
        )
        outcome = await d.apply(await d.plan())
        assert outcome.ending is Ending.DONE, outcome.lines()
        assert not is_active(lab, "a", "kit-worker.service")
        assert is_active(lab, "b", "kit-worker.service")
        assert lab.hosts["b"].run(["readlink", "/opt/deploy-kit/current"]).stdout.strip() == "v2"
        assert (await d.drift()).plan.steps == ()

        lab.hosts["b"].run(["systemctl", "kill", "-s", "KILL", "kit-store.service"])
        while is_active(lab, "b", "kit-store.service"):
            await trio.sleep(0.02)
        drifted = (await d.drift()).plan
        assert {step.host for step in drifted.steps} == {"b"}
        await d.apply(await d.plan())
        assert is_active(lab, "b", "kit-store.service")

        outcome = await d.apply(await d.plan_down())
        assert outcome.ending is Ending.DONE, outcome.lines()
        for host in HOSTS:
            left = lab.hosts[host].run(
                ["sh", "-c", "ls -d /etc/deploy-kit/* /opt/deploy-kit /etc/systemd/system/kit-*"], check=False
            )
            assert left.stdout == ""
