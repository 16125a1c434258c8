"""Commands that change what runs, what is wanted, and that make the one into the other.

Law: declarations only (:mod:`labshell.core.declare`); :mod:`labshell.core.commands` puts all of them into the one table.
"""

from __future__ import annotations

from labshell.core.commands_look import JSON, YES
from labshell.core.declare import Command, Example, Group, Option, Parameter, ParameterKind

__all__ = ["ENVIRONMENT", "PLAN", "PROCESSES"]

_TARGETS = Parameter(
    name="instances",
    kind=ParameterKind.INSTANCES,
    many=True,
    help="Which: `process`, `process@hosts`, `*@host`.",
)
_NO_HEALTH = Option(name="no-health", help="Do not wait until they are healthy.")
_BATCH = Option(
    name="batch",
    short="b",
    kind=ParameterKind.BATCH,
    help="How many at a time: a number, or a share as `25%`. [default: what the spec says of the process]",
)

_START = Command(
    name="start",
    group=Group.PROCESSES,
    help="Starts processes, and waits until they are healthy.",
    long_help="""Those that a process needs (`after` in the spec) must be healthy; if they are not, that is said and nothing is started. What was
stopped by `stop` is wanted again from now on.""",
    parameters=(_TARGETS,),
    options=(_NO_HEALTH,),
    changes=True,
    examples=(
        Example("start cashy-s3@cache2", "one instance"),
        Example("start *@cache2", "all that cache2 should run"),
    ),
)

_STOP = Command(
    name="stop",
    group=Group.PROCESSES,
    help="Stops processes; they stay stopped until somebody starts them.",
    long_help="""That they are stopped is remembered with the environment: no `apply` of anybody starts them, and `status` does not call them
down. What needs them is named, and goes on.""",
    parameters=(_TARGETS,),
    changes=True,
    examples=(Example("stop toucan-web", "all instances of toucan-web"),),
)

_RESTART = Command(
    name="restart",
    group=Group.PROCESSES,
    help="Restarts processes, a few at a time, and waits for each to be healthy.",
    long_help="""Batch by batch: the next begins when all of the one before are healthy, and `--wait` long after that, so that no more than one
batch is ever down. If one does not become healthy, the rest is left alone, and that is said.

It is systemd's restart, not a stop and a start: sockets that systemd holds stay open, and so does what a daemon has left with it.""",
    parameters=(_TARGETS,),
    options=(
        _BATCH,
        Option(
            name="wait",
            short="w",
            kind=ParameterKind.DURATION,
            words=("ask",),
            help="How long to wait between two batches, in seconds or as `2m`; `ask` asks before each. [default: 0]",
        ),
        _NO_HEALTH,
    ),
    changes=True,
    examples=(
        Example("restart cashy-master", "one after the other"),
        Example("restart cashy-s3 --batch 25% --wait 10", "a quarter at a time, with ten seconds between"),
        Example("restart toucan-server --wait ask", "asks before each"),
    ),
)

_RELOAD = Command(
    name="reload",
    group=Group.PROCESSES,
    help="Has processes read their configuration again, without a restart.",
    long_help="""It is systemd's reload. What a daemon cannot take over while it runs it names in its log, and those messages are shown.
A unit that has no reload is not restarted instead; that it has none is said.""",
    parameters=(_TARGETS,),
    changes=True,
    examples=(Example("reload cashy-s3@cache1", "one instance"),),
)

_SCOPE = (
    Option(name="host", kind=ParameterKind.HOST, help="Only for this host."),
    Option(name="process", kind=ParameterKind.PROCESS, help="Only for this process."),
)
_VARIABLE = Parameter(name="variable", kind=ParameterKind.VARIABLE, help="Its name.")

_SET = Command(
    name="set",
    group=Group.ENVIRONMENT,
    help="Changes a variable, at once.",
    long_help="""Files that are made from it are written again, and processes that read those files are restarted or reloaded, as the spec says;
nothing else is touched. What will be done is shown. It is remembered with the environment, over the value of the spec.

A value of a process goes before that of its host, and that before the environment's. A variable that is a number stays one, and one that is true
or false stays so; another value is refused.""",
    parameters=(
        _VARIABLE,
        Parameter(name="value", kind=ParameterKind.VALUE, help="What it shall be."),
    ),
    options=(*_SCOPE, Option(name="later", help="Not at once: with the next `apply`.")),
    changes=True,
    examples=(
        Example("set cache_size 2GiB", "everywhere"),
        Example("set cache_size 4GiB --host cache1", "on one host"),
        Example("set greeting 'good morning' --process toucan-web", "for one process; a value with spaces"),
    ),
)

_UNSET = Command(
    name="unset",
    group=Group.ENVIRONMENT,
    help="Takes away what a variable is for one host or process alone: the wider value counts again.",
    long_help="Say which by `--host` or `--process`. Does at once what that needs, as `set` does.",
    parameters=(_VARIABLE,),
    options=(*_SCOPE, Option(name="later", help="Not at once: with the next `apply`.")),
    changes=True,
    examples=(Example("unset cache_size --host cache1", "cache1 is like the others again"),),
)

_SWAP = Command(
    name="swap",
    group=Group.ENVIRONMENT,
    help="Changes which version of a release is used, with the next `apply`.",
    long_help="""The new version is installed beside the old one, then the link `current` is switched at one instant, and the processes that run
from it are restarted, a few at a time. The old version stays, so that going back is quick.""",
    parameters=(
        Parameter(name="release", kind=ParameterKind.RELEASE, help="Its name."),
        Parameter(
            name="version",
            kind=ParameterKind.VERSION,
            help="Any that can be installed; those that hosts have are proposed.",
        ),
    ),
    changes=True,
    major=True,
    examples=(Example("swap aviary 0.2.0", "then `apply`"),),
)

_MOVE = Command(
    name="move",
    group=Group.ENVIRONMENT,
    help="Moves a process from one host to another, with the next `apply`.",
    long_help="""It is stopped where it is before it is started where it shall be, so it never runs twice. Files of other processes that name its
address are made again, and those processes are restarted or reloaded.""",
    parameters=(
        Parameter(name="process", kind=ParameterKind.PROCESS, help="Which."),
        Parameter(
            name="from",
            kind=ParameterKind.HOST_WITH,
            help="Where it is; may be left out if it is on one host only.",
        ),
        Parameter(name="to", kind=ParameterKind.HOST_WITHOUT, help="Where it shall be."),
    ),
    changes=True,
    major=True,
    examples=(
        Example("move toucan-engine c", "from the only host that it is on"),
        Example("move cashy-s3 cache1 cache4", "one of several instances"),
    ),
)

_ADD = Command(
    name="add",
    group=Group.ENVIRONMENT,
    help="Has a process run on one more host, with the next `apply`.",
    long_help="What it needs there (files, releases) comes with it.",
    parameters=(
        Parameter(name="process", kind=ParameterKind.PROCESS, help="Which."),
        Parameter(name="host", kind=ParameterKind.HOST_WITHOUT, help="Where it does not run yet."),
    ),
    changes=True,
    major=True,
    examples=(Example("add cashy-s3 cache4", "one more instance"),),
)

_REMOVE = Command(
    name="remove",
    group=Group.ENVIRONMENT,
    help="Takes a process away from a host, with the next `apply`.",
    long_help="""It is stopped, and what only it needed there is removed. The last instance can be removed only if nothing that needs the process
still runs. To stop it and keep it, use `stop`.""",
    parameters=(
        Parameter(name="process", kind=ParameterKind.PROCESS, help="Which."),
        Parameter(name="host", kind=ParameterKind.HOST_WITH, help="From where."),
    ),
    changes=True,
    major=True,
    examples=(Example("remove cashy-s3 cache4", "one instance less"),),
)

_ADD_HOST = Command(
    name="add-host",
    group=Group.ENVIRONMENT,
    help="Takes a host into the environment, with the next `apply`.",
    long_help="""It is reached by the system's ssh with your own configuration, and connected to at once, so that an unknown host key or a
refused login shows now and not in the middle of a plan. It runs nothing until `add` or `move` says so.""",
    parameters=(
        Parameter(name="name", kind=ParameterKind.TEXT, help="What it is called here: a-z, 0-9 and dashes."),
    ),
    options=(
        Option(
            name="ssh",
            kind=ParameterKind.TEXT,
            help="What ssh is called with, e.g. `ops@rack1`. [default: the name]",
        ),
        Option(
            name="address", kind=ParameterKind.TEXT, help="Where other hosts reach it. [default: the name]"
        ),
        Option(
            name="groups",
            kind=ParameterKind.TEXT,
            help="Groups of the spec that it joins, separated by commas.",
        ),
        Option(name="sudo", help="Its agent becomes root by `sudo -n`."),
    ),
    changes=True,
    major=True,
    examples=(
        Example("add-host cache4 --ssh ops@rack7 --address 10.0.0.7 --sudo", "then `add cashy-s3 cache4`"),
    ),
)

_REMOVE_HOST = Command(
    name="remove-host",
    group=Group.ENVIRONMENT,
    help="Takes a host out of the environment, with the next `apply`.",
    long_help="""It is refused while something runs there: `move` or `remove` that first, so that nothing is stopped by the way. What was put there
for this environment is removed. If the host cannot be reached, `apply` says so, and what it has stays there.""",
    parameters=(Parameter(name="host", kind=ParameterKind.HOST, help="Which."),),
    changes=True,
    major=True,
    examples=(Example("remove-host cache4", "then `apply`"),),
)

_PLAN = Command(
    name="plan",
    group=Group.PLAN,
    help="What `apply` would do, step by step, and why. Changes nothing.",
    long_help="""Made from what the environment says (with all pending changes) and from what is on the hosts now, which are asked. If nothing
differs, the plan is empty. Hosts that do not answer are named; they have no part in it.""",
    options=(JSON,),
    examples=(Example("plan", "the steps, in their order"),),
)

_APPLY = Command(
    name="apply",
    group=Group.PLAN,
    help="Does the plan: pending changes, and whatever else differs.",
    long_help="""Shows the plan and asks. Then each step is done when those that it needs are done, on all hosts in parallel; a process counts as
started when it is healthy. If a step fails, what was done is taken back by a plan to the state before, and it is said what is how.

The plan belongs to the state that it was made from: if a host has changed since, nothing is done. While it runs the environment is locked on all
its hosts, and others are told by whom. Every step is journalled, so that after a shell was killed `resume` or `rollback` goes on.""",
    options=(
        YES,
        Option(name="no-rollback", help="If a step fails, leave everything as it then is."),
    ),
    changes=True,
    asks=True,
    examples=(
        Example("apply", "shows the plan, asks, does it"),
        Example("apply --yes", "does not ask; for scripts"),
    ),
)

_DISCARD = Command(
    name="discard",
    group=Group.PLAN,
    help="Forgets all pending changes.",
    long_help="What runs is not touched: the environment is wanted again as it was last applied.",
    options=(YES,),
    changes=True,
    asks=True,
    examples=(Example("discard", "after it has shown them and asked"),),
)

_ROLLBACK = Command(
    name="rollback",
    group=Group.PLAN,
    help="Goes back to the state before the last `apply`, also one that was interrupted.",
    long_help="""It is a plan like any other, made from what is on the hosts now: shown, asked about, health-gated and journalled. What was set,
moved or swapped since is forgotten.""",
    options=(YES,),
    changes=True,
    asks=True,
    examples=(Example("rollback", "shows the way back, asks, goes it"),),
)

_RESUME = Command(
    name="resume",
    group=Group.PLAN,
    help="Goes on with an `apply` that was interrupted.",
    long_help="""After a shell was killed or cut off, its journal says what was wanted. A new plan is made from what is on the hosts now, and leads to
the same end; what is done already is not done again.""",
    options=(
        YES,
        Option(name="no-rollback", help="If a step fails, leave everything as it then is."),
    ),
    changes=True,
    asks=True,
    examples=(Example("resume", "shows what is left to do, asks, does it"),),
)

PROCESSES: tuple[Command, ...] = (_START, _STOP, _RESTART, _RELOAD)
ENVIRONMENT: tuple[Command, ...] = (_SET, _UNSET, _SWAP, _MOVE, _ADD, _REMOVE, _ADD_HOST, _REMOVE_HOST)
PLAN: tuple[Command, ...] = (_PLAN, _APPLY, _DISCARD, _ROLLBACK, _RESUME)
