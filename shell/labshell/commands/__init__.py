"""What each command of :data:`labshell.core.commands.COMMANDS` does, over a live :class:`~labshell.session.session.Session`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from labshell.app.context import Context
from labshell.commands import environment, leaving, logs, look, on_hosts, plans, processes
from labshell.core.parse import Bound
from labshell.session.session import Session

__all__ = ["HANDLERS", "SessionHandler"]

#: Carries a command out; gives its exit code.
SessionHandler = Callable[[Session, Context, Bound], Awaitable[int]]

#: By name of command. `jobs`, `cancel` and `quit` are the shell's own (:mod:`labshell.app.own`).
HANDLERS: Mapping[str, SessionHandler] = {
    "status": look.status,
    "hosts": look.hosts,
    "logs": logs.logs,
    "diff": plans.diff,
    "history": look.history,
    "help": look.show_help,
    "start": processes.start,
    "stop": processes.stop,
    "restart": processes.restart,
    "reload": processes.reload,
    "set": environment.set_variable,
    "unset": environment.unset_variable,
    "swap": environment.swap,
    "move": environment.move,
    "add": environment.add,
    "remove": environment.remove,
    "add-host": environment.add_host,
    "remove-host": environment.remove_host,
    "plan": plans.plan,
    "apply": plans.apply,
    "discard": plans.discard,
    "rollback": plans.rollback,
    "resume": plans.resume,
    "run": on_hosts.run,
    "bash": on_hosts.bash,
    "ssh": on_hosts.ssh,
    "debug": on_hosts.debug,
    "tool": on_hosts.tool,
    "reconnect": on_hosts.reconnect,
    "down": leaving.down,
}
