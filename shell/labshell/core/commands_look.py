"""Commands that look, and those about the shell itself.

Law: declarations only (:mod:`labshell.core.declare`); :mod:`labshell.core.commands` puts all of them into the one table.
"""

from __future__ import annotations

from labshell.core.declare import Command, Example, Group, Option, Parameter, ParameterKind

__all__ = ["JSON", "LOOK", "PRIORITIES", "SHELL", "YES"]

#: Of syslog(3), from the worst; their place is their number.
PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

JSON = Option(name="json", help="Print JSON (docs/labshell-commands.md says what).")
YES = Option(name="yes", short="y", help="Do not ask.")

_STATUS = Command(
    name="status",
    aliases=("st",),
    group=Group.LOOK,
    help="What runs where, and what does not.",
    long_help="""One row for each instance: its process and host, what it is doing, since when, and the daemon's own line about itself.

What is known comes from the hosts as it happens; nothing is asked when the command is typed, so it answers at once. Rows of a host that has not
answered for a while are marked as old: what they say was true when it was last heard of.""",
    parameters=(
        Parameter(
            name="instances",
            kind=ParameterKind.INSTANCES,
            many=True,
            optional=True,
            help="Only these; all, if none is named.",
        ),
    ),
    options=(Option(name="down", help="Only what should run and does not."), JSON),
    examples=(
        Example("status", "all of it"),
        Example("status --down", "what should run and does not"),
        Example("status cashy-s3 *@cache1", "all instances of cashy-s3, and everything on cache1"),
    ),
)

_HOSTS = Command(
    name="hosts",
    group=Group.LOOK,
    help="The hosts, and how the connection to each of them is.",
    long_help="""One row for each host: how it is reached, whether its agent answers, since when, why not, and how many of its processes run.

A host that is lost is tried again by itself until it is back. One that refuses (login, host key, sudo) is tried again only when somebody
says `reconnect`, since that does not get better by itself.""",
    parameters=(
        Parameter(
            name="hosts", kind=ParameterKind.HOSTS, optional=True, help="Only these; all, if none are named."
        ),
    ),
    options=(JSON,),
    examples=(
        Example("hosts", "all hosts"),
        Example("hosts cache[1-3],@web", "three hosts and a group"),
    ),
)

_LOGS = Command(
    name="logs",
    aliases=("log",),
    group=Group.LOOK,
    help="Messages of processes, from the journals of all their hosts.",
    long_help="""The last messages of each, put in the order of their times; with `-f`, also what comes until Ctrl-C. A line that several
hosts say at the same time is shown once, with the hosts that said it.

`--grep` is a regular expression and is used on the hosts, so that what does not match is never sent. Hosts that write more than can be
shown leave lines out, and how many is said. When a connection is lost, the messages go on from where they were once it is back.""",
    parameters=(
        Parameter(
            name="instances",
            kind=ParameterKind.INSTANCES,
            many=True,
            optional=True,
            help="Whose; of all processes, if none is named.",
        ),
    ),
    options=(
        Option(name="follow", short="f", help="Go on until Ctrl-C."),
        Option(
            name="grep",
            short="g",
            kind=ParameterKind.TEXT,
            help="Only messages that this regular expression matches.",
        ),
        Option(
            name="lines",
            short="n",
            kind=ParameterKind.NUMBER,
            default="20",
            help="How many of each instance to begin with.",
        ),
        Option(
            name="since",
            short="s",
            kind=ParameterKind.SINCE,
            help="Only messages since then: `10m`, `2h`, `2026-01-02T03:04`.",
        ),
        Option(
            name="priority",
            short="p",
            kind=ParameterKind.WORD,
            words=PRIORITIES,
            help="Only messages that are at least as bad.",
        ),
        JSON,
    ),
    examples=(
        Example("logs cashy-master", "the last 20 messages of each cashy-master"),
        Example(
            "logs -f --grep 'evict|spill' cashy-s3@cache[1-3]",
            "what three hosts say about it, as they say it",
        ),
        Example("logs --since 10m -p warning", "what went wrong anywhere in the last ten minutes"),
    ),
)

_DIFF = Command(
    name="diff",
    group=Group.LOOK,
    help="How hosts differ from what the environment says, down to the lines of files.",
    long_help="""Compares what each host has with what it should have: files by their contents, releases by their version, units by whether
they run and what they were started from. Changes that are pending count as said.

`plan` shows what would be done about it; `diff` shows the difference itself. It changes nothing.""",
    parameters=(
        Parameter(
            name="hosts", kind=ParameterKind.HOSTS, optional=True, help="Only these; all, if none are named."
        ),
    ),
    options=(JSON,),
    examples=(Example("diff", "all differences"), Example("diff cache1", "those of one host")),
)

_HISTORY = Command(
    name="history",
    aliases=("audit",),
    group=Group.LOOK,
    help="Who did what to this environment, when, and how it ended.",
    long_help="""Reads the audit log that is kept with the environment: every command that changes something, of every operator, also of those
that ran from a script. The latest comes last.""",
    options=(
        Option(name="lines", short="n", kind=ParameterKind.NUMBER, default="20", help="How many."),
        JSON,
    ),
    examples=(Example("history -n 50", "the last fifty"),),
)

_JOBS = Command(
    name="jobs",
    group=Group.SHELL,
    help="What runs in the background, and what has ended.",
    long_help="""Commands that take time are jobs; the prompt stays free while they run. A job that fails says so and ends; the shell and the
other jobs go on.""",
    options=(JSON,),
    examples=(Example("jobs", "all jobs of this shell"),),
)

_CANCEL = Command(
    name="cancel",
    group=Group.SHELL,
    help="Ends a job.",
    long_help="""As Ctrl-C does for the command in front: the job ends, what it has so far is kept, and who has not answered is named. An
`apply` that is cancelled finishes the steps that are under way, and then goes back, unless it was told not to.""",
    parameters=(Parameter(name="job", kind=ParameterKind.JOB, help="Its number."),),
    examples=(Example("cancel", "the only job that runs"), Example("cancel 3", "job 3")),
)

_HELP = Command(
    name="help",
    aliases=("?",),
    group=Group.SHELL,
    help="All commands, or one of them in full.",
    long_help="""The keys: Tab proposes what may come next, Ctrl-R searches what was typed before, Ctrl-C ends the command in front, Ctrl-D
leaves.

A parameter that can be only one thing may be left out; what was filled in is shown. If there is more than one way to read a line it is
refused, and all of them are listed.""",
    parameters=(
        Parameter(
            name="command", kind=ParameterKind.COMMAND, optional=True, help="Which; all, if none is named."
        ),
    ),
    examples=(Example("help restart", "all about restart"),),
)

_QUIT = Command(
    name="quit",
    aliases=("exit",),
    group=Group.SHELL,
    help="Leaves the shell. Everything goes on running.",
    long_help="""Processes belong to systemd, so they stay; what was changed, and what is pending, is kept with the environment and is there
for the next shell. Jobs of this shell are cancelled: if there are some, it asks. To stop and remove everything, see `down`.""",
    options=(YES,),
    asks=True,
    examples=(Example("quit", "leaves; what runs keeps running"),),
)

_DOWN = Command(
    name="down",
    group=Group.SHELL,
    help="Stops and removes everything of this environment from all hosts.",
    long_help="""Processes are stopped in the reverse order of their dependencies; then the files and releases that were put on hosts for this
environment are removed, and nothing else. Hosts that cannot be reached are named, and keep what they have. The spec stays as it is,
so `apply` puts everything back.

It asks for the name of the environment, unless `--yes` is given.""",
    options=(YES,),
    changes=True,
    asks=True,
    examples=(Example("down", "removes all of it, after it has asked"),),
)

LOOK: tuple[Command, ...] = (_STATUS, _HOSTS, _LOGS, _DIFF, _HISTORY)
SHELL: tuple[Command, ...] = (_JOBS, _CANCEL, _HELP, _QUIT, _DOWN)
