"""Commands that run something on hosts: run, bash, ssh, debug, tool, reconnect."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import trio

from labshell.app.context import Context
from labshell.core.fold import fold_hosts
from labshell.core.folding import HostOutput, fold_outputs
from labshell.core.json_objects import outputs_json
from labshell.core.json_results import reached_json
from labshell.core.parse import Bound
from labshell.session.session import Session
from labshell.session.terminal_commands import as_user, on_host
from labtest.core.environment import HostKind, ProcessSpec
from labtest.errors import ActionFailed, AgentFailed, HostUnreachable, LabError
from labtest.hosts.interface import LinkState

__all__ = ["bash", "debug", "reconnect", "run", "ssh", "tool"]

#: How long ``reconnect`` waits for the outcome.
RECONNECT_S = 15.0
#: Exit statuses of commands that were ended since they were late, and that could not be started: those of timeout(1) and of shells.
TIMED_OUT, NOT_STARTED = 124, 127


async def run(session: Session, context: Context, bound: Bound) -> int:
    """Runs a command on hosts and folds what is equal. Exit code 1 if it failed anywhere, 5 if a host did not answer."""
    runner = _Run(session, context, bound)
    try:
        async with trio.open_nursery() as nursery:
            for host in runner.hosts:
                nursery.start_soon(runner.on, host)
    finally:
        # Also when it is cancelled: what has come is shown, and who has not answered is named.
        runner.show()
    return runner.exit_code()


class _Run:
    """One run of the command."""

    def __init__(self, session: Session, context: Context, bound: Bound) -> None:
        self._session = session
        self._context = context
        self._argv = bound.texts("argv")
        self._timeout_s = bound.seconds("timeout") or 60.0
        self.hosts = bound.texts("on")
        self._outputs: dict[str, HostOutput] = {}

    async def on(self, host: str) -> None:
        """One host."""
        try:
            agent = await self._session.agent(host)
            ran = await agent.run(self._argv, timeout_s=self._timeout_s)
        except (HostUnreachable, AgentFailed) as error:
            output = HostOutput(host=host, status=None, output=error.problem.encode())
        except ActionFailed as error:
            status = TIMED_OUT if error.code == "timeout" else NOT_STARTED
            output = HostOutput(host=host, status=status, output=error.problem.encode())
        else:
            cut = f"\n… {ran.dropped_bytes} bytes were left out".encode() if ran.dropped_bytes else b""
            output = HostOutput(host=host, status=ran.status, output=ran.stdout + ran.stderr + cut)
        self._outputs[host] = output
        self._context.progress("run", len(self._outputs), len(self.hosts))

    def show(self) -> None:
        """What has come so far."""
        folded = fold_outputs(self._outputs.values())
        missing = [host for host in self.hosts if host not in self._outputs]
        self._context.emit(outputs_json(folded))
        only_one = len(folded) == 1 and not missing and len(self.hosts) == 1
        for one in folded:
            if not (only_one and one.status == 0):
                self._context.print(one.header)
            self._context.print(one.output.decode("utf-8", "replace"))
        if missing:
            self._context.warn(f"no answer yet from {fold_hosts(missing)} ({len(missing)})")

    def exit_code(self) -> int:
        """Of the whole command."""
        statuses = {one.status for one in self._outputs.values()}
        return 5 if None in statuses else int(statuses != {0})


async def bash(session: Session, context: Context, bound: Bound) -> int:
    """A root shell on a host."""
    host = session.host_spec(bound.text("host") or "")
    return await context.attach(on_host(session.links, host, ["bash", "-l"]))


async def ssh(session: Session, context: Context, bound: Bound) -> int:
    """An ssh session as its own user."""
    host = session.host_spec(bound.text("host") or "")
    if host.kind is HostKind.LOCAL:
        raise LabError(f"{host.name} is this machine, and not reached by ssh; use `bash {host.name}`")
    return await context.attach(as_user(session.links, host, bound.texts("argv")))


async def debug(session: Session, context: Context, bound: Bound) -> int:
    """A debugger on a running process."""
    process_name, _, host_name = (bound.text("instance") or "").rpartition("@")
    process = session.process_spec(process_name)
    pid = await _main_pid(session, process_name, host_name)
    script = _debug_script(bound.text("with") or process.debug, pid, _program_folders(session, process))
    argv = on_host(session.links, session.host_spec(host_name), ["sh", "-c", script])
    return await context.attach(argv)


async def _main_pid(session: Session, process: str, host: str) -> int:
    agent = await session.agent(host)
    unit = session.units_of((f"{process}@{host}",))[host][process]
    found = await agent.observe(session.environment.name, files=(), units={process: unit})
    pid = next((one.state.main_pid for one in found.processes if one.process == process), 0)
    if not pid:
        raise LabError(
            f"{process}@{host} does not run, so there is nothing to look into; `logs {process}@{host}` says why"
        )
    return pid


def _program_folders(session: Session, process: ProcessSpec) -> list[str]:
    """Where debuggers may be that came with a release."""
    return [
        f"{one.folder}/current/bin" for one in session.environment.releases if one.name in process.releases
    ]


def _debug_script(tool: str, pid: int, folders: Sequence[str]) -> str:
    commands = {
        "py-spy": f"exec py-spy top --pid {pid}",
        "gdb": f"exec gdb -q -p {pid}",
        "strace": f"exec strace -f -p {pid}",
        # The interpreter of the process itself, for both must be of one version (PEP 768, Python 3.14 and later).
        "pdb": f"exec $(readlink /proc/{pid}/exe) -m pdb -p {pid}",
    }
    path = shlex.quote(":".join(folders))
    missing = {
        "py-spy": "pip install py-spy, into a release or for the whole host",
        "gdb": "apt-get install gdb",
        "strace": "apt-get install strace",
    }
    lines = [f"PATH=$PATH:{path}"]
    if tool in missing:
        hint = f"{tool} is not on this host: {missing[tool]}"
        lines.append(f"command -v {tool} >/dev/null || {{ echo {shlex.quote(hint)} >&2; exit 127; }}")
    else:
        hint = "this process runs on a Python older than 3.14, which offers no debugger; use --with py-spy or gdb"
        version = f"$(readlink /proc/{pid}/exe) -c 'import sys; sys.exit(sys.version_info < (3, 14))'"
        lines.append(f"{version} 2>/dev/null || {{ echo {shlex.quote(hint)} >&2; exit 127; }}")
    return "\n".join([*lines, commands[tool]])


async def tool(session: Session, context: Context, bound: Bound) -> int:
    """One of the environment's tools."""
    found = session.tool(bound.text("tool") or "")
    argv = [*found.argv, *bound.texts("arguments")]
    if not found.host:
        return await context.attach(argv, env=found.env)
    return await context.attach(on_host(session.links, session.host_spec(found.host), argv, env=found.env))


async def reconnect(session: Session, context: Context, bound: Bound) -> int:
    """Tries hosts again. Exit code 5 if one of them is still not up."""
    chosen = bound.texts("hosts") or [
        host for host, link in session.links.items() if link.state is not LinkState.UP
    ]
    if not chosen:
        context.print("all hosts are connected")
    failed, reached = 0, []
    for host in chosen:
        session.links[host].retry()
    for host in chosen:
        try:
            with trio.fail_after(RECONNECT_S):
                await session.links[host].agent()
            context.print(f"{host}: connected")
            reached.append(reached_json(host, ""))
        except (LabError, trio.TooSlowError) as error:
            problem = str(error) or f"{host}: no answer within {RECONNECT_S:.0f} s"
            context.error(problem)
            reached.append(reached_json(host, problem))
            failed += 1
    context.emit(reached)
    return 5 if failed else 0
