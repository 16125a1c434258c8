"""Commands that run something on hosts.

Law: declarations only (:mod:`labshell.core.declare`); :mod:`labshell.core.commands` puts all of them into the one table. All of these can do
anything, so all of them count as changes, however they are used.
"""

from __future__ import annotations

from labshell.core.declare import Command, Example, Group, Option, Parameter, ParameterKind

__all__ = ["DEBUGGERS", "HOSTS"]

#: What ``debug`` can look into a process with.
DEBUGGERS = ("py-spy", "gdb", "pdb", "strace")

_RUN = Command(
    name="run",
    group=Group.HOSTS,
    help="Runs a command on hosts, in parallel, and shows equal output once.",
    long_help="""As root, without a terminal, and without a shell in between: for pipes and variables say `run -- sh -c '…'`. Hosts whose output
and status are equal are shown together, the most first. Ctrl-C ends it everywhere, shows what has come, and names who has not answered.

Options of `run` stand before the command; all that follows belongs to the command.""",
    parameters=(Parameter(name="argv", kind=ParameterKind.ARGV, help="The command and its arguments."),),
    options=(
        Option(name="on", kind=ParameterKind.HOSTS, default="@all", help="On which hosts."),
        Option(
            name="timeout",
            short="t",
            kind=ParameterKind.DURATION,
            default="60",
            help="After how long it is ended, in seconds or as `5m`.",
        ),
    ),
    changes=True,
    examples=(
        Example("run uptime", "on all hosts"),
        Example("run --on cache[1-20] df -h /dev/shm", "on twenty"),
        Example("run --on @web -- sh -c 'ss -tn | wc -l'", "with a pipe"),
    ),
)

_BASH = Command(
    name="bash",
    group=Group.HOSTS,
    help="Opens bash on a host, as root.",
    long_help="""A whole terminal: editors, colours, Ctrl-C and the window's size are the host's. It goes the way that the host's agent goes, so it
needs no other login. The shell goes on in the background; leave bash to come back to the prompt.""",
    parameters=(Parameter(name="host", kind=ParameterKind.HOST, help="On which."),),
    changes=True,
    terminal=True,
    examples=(Example("bash cache1", "root on cache1"),),
)

_SSH = Command(
    name="ssh",
    group=Group.HOSTS,
    help="Opens an ssh session to a host, as you.",
    long_help="""The system's ssh with your own configuration, over the connection that is there already. Words after the host are run instead of a
login shell. For a host that is not reached by ssh, use `bash`.""",
    parameters=(
        Parameter(name="host", kind=ParameterKind.HOST, help="To which."),
        Parameter(
            name="argv", kind=ParameterKind.ARGV, optional=True, help="A command instead of a login shell."
        ),
    ),
    changes=True,
    terminal=True,
    examples=(Example("ssh cache1", "a login shell"), Example("ssh cache1 tmux attach", "a command")),
)

_DEBUG = Command(
    name="debug",
    group=Group.HOSTS,
    help="Looks into a running process.",
    long_help="""`py-spy` shows where a Python program is, again and again, without stopping it; `gdb` attaches and stops it; `strace`
shows its system calls; `pdb` connects to a debugger that the process itself offers. The process's number is looked up when it starts. What is not
installed on the host is said, with how to install it. When the debugger is left, the process goes on.""",
    parameters=(
        Parameter(
            name="instance",
            kind=ParameterKind.INSTANCE,
            help="`process@host`, or the process alone if it has one.",
        ),
    ),
    options=(
        Option(
            name="with",
            short="w",
            kind=ParameterKind.WORD,
            words=DEBUGGERS,
            help="What to look with. [default: what the spec says of the process]",
        ),
    ),
    changes=True,
    terminal=True,
    examples=(
        Example("debug toucan-engine", "with what the spec names"),
        Example("debug cashy-master@cache1 --with gdb", "attaches gdb"),
    ),
)

_TOOL = Command(
    name="tool",
    group=Group.HOSTS,
    help="Starts one of the environment's tools, with its addresses filled in.",
    long_help="""The spec says what the tools are, and where they run: on this machine or on a host. Words after the name are given to the tool. It
has the whole terminal until it ends.""",
    parameters=(
        Parameter(name="tool", kind=ParameterKind.TOOL, help="Which."),
        Parameter(
            name="arguments", kind=ParameterKind.ARGV, optional=True, help="Given to the tool as they are."
        ),
    ),
    changes=True,
    terminal=True,
    examples=(
        Example("tool toucan", "the prompt of toucan, at this environment's server"),
        Example("tool cashy stat", "one command"),
    ),
)

_RECONNECT = Command(
    name="reconnect",
    group=Group.HOSTS,
    help="Tries hosts again that could not be reached.",
    long_help="""Those that are lost are tried by themselves, so this only hurries. Those that refused (login, host key, sudo) are tried only when you
say so, after you have changed what was wrong. Processes are not touched.""",
    parameters=(
        Parameter(
            name="hosts",
            kind=ParameterKind.HOSTS,
            optional=True,
            help="Which; all that are not up, if none are named.",
        ),
    ),
    examples=(Example("reconnect cache2", "after its key was put into known_hosts"),),
)

HOSTS: tuple[Command, ...] = (_RUN, _BASH, _SSH, _DEBUG, _TOOL, _RECONNECT)
