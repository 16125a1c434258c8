"""How a command is declared: its name, its parameters with what each can be, its options, and its help.

Law: a declaration is data and says all there is to say about a command's line, so that parser, inference, completion, help and the reference page
can be derived and never disagree. It does not know what carries the command out: handlers are bound elsewhere, by name. Deriving
declarations from handlers' signatures (as click does) was rejected: the pure part could then not be tested, nor its page written, without
everything that the handlers import.
"""

from __future__ import annotations

import enum

import msgspec

__all__ = ["CLOSED", "Command", "Example", "Group", "Option", "Parameter", "ParameterKind"]


class ParameterKind(enum.StrEnum):
    """What a word can stand for."""

    #: One host of the environment.
    HOST = "host"
    #: A host on which the process of the parameter before runs.
    HOST_WITH = "host-with"
    #: A host on which the process of the parameter before does not run.
    HOST_WITHOUT = "host-without"
    #: A set of hosts: ``cache[1-3],@web!web2`` (:mod:`labshell.core.nodeset`).
    HOSTS = "hosts"
    #: A process by its name, wherever it runs.
    PROCESS = "process"
    #: One instance: ``process@host``, or the process alone if it has one.
    INSTANCE = "instance"
    #: Instances: ``process`` (all of its), ``process@hosts``, ``*@host``.
    INSTANCES = "instances"
    #: A variable of the environment, a host or a process.
    VARIABLE = "variable"
    #: What a variable shall be: any text.
    VALUE = "value"
    RELEASE = "release"
    #: A version of the release of the parameter before: any text; those that hosts have are proposed.
    VERSION = "version"
    TOOL = "tool"
    #: A file of the environment, by its name in the spec.
    FILE = "file"
    #: A systemd unit of the environment.
    UNIT = "unit"
    #: A job, by its number.
    JOB = "job"
    #: A command of this table.
    COMMAND = "command"
    #: One of the words that are listed.
    WORD = "word"
    #: Any text.
    TEXT = "text"
    #: A whole number, at least 1.
    NUMBER = "number"
    #: ``90``, ``90s``, ``1.5h``, ``2d``, ``500ms``; in seconds.
    DURATION = "duration"
    #: How many at a time: a number, or a share as ``25%``.
    BATCH = "batch"
    #: A duration back from now, or a time: ``10m``, ``2026-01-02T03:04``.
    SINCE = "since"
    #: All words that are left, just as they are.
    ARGV = "argv"


#: Kinds that can be nothing but one of their candidates. Only these are inferred: of a kind that takes any text, no value is the only one.
CLOSED = frozenset(
    {
        ParameterKind.HOST,
        ParameterKind.HOST_WITH,
        ParameterKind.HOST_WITHOUT,
        ParameterKind.HOSTS,
        ParameterKind.PROCESS,
        ParameterKind.INSTANCE,
        ParameterKind.INSTANCES,
        ParameterKind.VARIABLE,
        ParameterKind.RELEASE,
        ParameterKind.TOOL,
        ParameterKind.FILE,
        ParameterKind.UNIT,
        ParameterKind.JOB,
        ParameterKind.COMMAND,
        ParameterKind.WORD,
    }
)


class Group(enum.StrEnum):
    """Under which heading help lists a command."""

    LOOK = "Look"
    PROCESSES = "Processes"
    ENVIRONMENT = "Change the environment"
    PLAN = "Plan and apply"
    HOSTS = "On hosts"
    SHELL = "The shell"


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter: a word of the line, or several."""

    name: str
    kind: ParameterKind
    help: str
    #: Takes one word or more.
    many: bool = False
    #: May be left out even if it could be many things.
    optional: bool = False
    #: What it then is, as one would type it; None: nothing.
    default: str | None = None
    #: What it can be (``WORD``), or what it can be besides what its kind says (``ask`` instead of a duration).
    words: tuple[str, ...] = ()


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option. ``kind`` None: a flag, which has no value."""

    #: Without dashes: ``grep`` is ``--grep``.
    name: str
    help: str
    #: One letter, or empty.
    short: str = ""
    kind: ParameterKind | None = None
    #: What it is when it is not given, as one would type it; None: nothing.
    default: str | None = None
    words: tuple[str, ...] = ()

    @property
    def parameter(self) -> Parameter:
        """Its value, as a parameter. Raises ValueError for a flag."""
        if self.kind is None:
            raise ValueError(f"--{self.name} is a flag")
        return Parameter(
            name=self.name, kind=self.kind, help=self.help, default=self.default, words=self.words
        )


class Example(msgspec.Struct, frozen=True):
    """A line that somebody types, and what it does."""

    line: str
    text: str


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command."""

    name: str
    group: Group
    #: One sentence.
    help: str
    #: Paragraphs, separated by empty lines.
    long_help: str
    examples: tuple[Example, ...]
    aliases: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    options: tuple[Option, ...] = ()
    #: Can change hosts or the environment: refused with ``--read-only``, and takes no abbreviated values.
    changes: bool = False
    #: Is collected, and done by the next ``apply``.
    major: bool = False
    #: Asks before it acts, unless ``--yes`` is given.
    asks: bool = False
    #: Has the whole terminal while it runs, so it cannot run in the background.
    terminal: bool = False

    def option(self, word: str) -> Option | None:
        """The option that ``--name`` or ``-n`` stands for."""
        for one in self.options:
            if word in (f"--{one.name}", f"-{one.short}" if one.short else ""):
                return one
        return None

    @property
    def takes_argv(self) -> bool:
        """Whether its last parameter takes all words that are left: options then stand before the first word."""
        return bool(self.parameters) and self.parameters[-1].kind is ParameterKind.ARGV
