"""Environments, views and tables of choices that the tests of the shell's core are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labshell.core.candidates import Candidate, Choices
from labshell.core.commands import COMMANDS
from labshell.core.declare import Command, Example, Group, Option, Parameter, ParameterKind
from labshell.core.errors import LineError
from labshell.core.events import EnvironmentChanged, LinkChanged, UnitsReported, VersionsReported
from labshell.core.nodeset import KnownHosts
from labshell.core.parse import Bound, parse
from labshell.core.reduce import reduce
from labshell.core.state import PendingChange, View, first_view
from labtest.core.actual import UnitState
from labtest.core.environment import Environment, HostKind, HostSpec, ProcessSpec, ReleaseSpec, ToolSpec
from labtest.hosts.interface import LinkState

FLOOR = Environment(
    name="floor",
    hosts=(
        HostSpec(name="a", groups=("web",), address="10.0.0.1"),
        HostSpec(name="b", groups=("web",), address="10.0.0.2", variables={"cache_size": "4GiB"}),
        HostSpec(name="c", kind=HostKind.NAMESPACE, address="10.0.0.3"),
    ),
    processes=(
        ProcessSpec(name="cashy-master", hosts=("a",), unit="cashy-master@1.service"),
        ProcessSpec(name="cashy-s3", hosts=("a", "b"), unit="cashy-s3@1.service", after=("cashy-master",)),
        ProcessSpec(name="toucan-engine", hosts=("c",), unit="toucan-engine.service", variables={"verbose": True}),
        ProcessSpec(name="toucan-web", hosts=("c",), unit="toucan-web.service", stopped_on=("c",)),
    ),
    releases=(ReleaseSpec(name="aviary", version="0.1.0", source=("*.whl",), folder="/opt/aviary"),),
    tools=(ToolSpec(name="toucan", run=("toucan",), help="order entry"), ToolSpec(name="cashy", run=("cashy",))),
    variables={"cache_size": "2GiB", "level": 3},
    groups={"web": ("a", "b")},
)  # fmt: skip


def unit(active: str = "active", sub: str = "running", *, load: str = "loaded", **more: object) -> UnitState:
    return UnitState(unit="x.service", load=load, active=active, sub=sub, **more)  # type: ignore[arg-type]


def floor_view(*, pending: int = 0) -> View:
    """All three hosts up at 10 s, everything that shall run runs, heard of at 20 s."""
    view = first_view(FLOOR, now_s=0.0)
    for host in "abc":
        view = reduce(view, LinkChanged(host, LinkState.UP, "", 10.0))
    view = reduce(view, UnitsReported("a", {"cashy-master": unit(), "cashy-s3": unit()}, 20.0))
    view = reduce(view, UnitsReported("b", {"cashy-s3": unit()}, 20.0))
    units = {"toucan-engine": unit(), "toucan-web": unit("inactive", "dead")}
    view = reduce(view, UnitsReported("c", units, 20.0))
    view = reduce(view, VersionsReported("a", {"aviary": ("0.1.0", "0.2.0")}, 20.0))
    changes = tuple(PendingChange(f"change {number}") for number in range(pending))
    return reduce(view, EnvironmentChanged(FLOOR, changes, 20.0))


class TableChoices:
    """Choices by the name of a parameter: a table of candidates, which may depend on one before it."""

    def __init__(
        self,
        words: Mapping[ParameterKind, Sequence[str]] | None = None,
        *,
        hosts: Sequence[str] = (),
        groups: Mapping[str, tuple[str, ...]] | None = None,
        instances: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._words = words or {}
        self._hosts = KnownHosts(tuple(hosts), groups or {})
        self._instances = instances or {}

    def candidates(self, kind: ParameterKind, before: Mapping[str, str]) -> Sequence[Candidate]:
        running = self._instances.get(before.get("process", ""), ())
        by_kind: dict[ParameterKind, Sequence[str]] = {
            ParameterKind.HOST: self._hosts.names,
            ParameterKind.HOST_WITH: running,
            ParameterKind.HOST_WITHOUT: [name for name in self._hosts.names if name not in running],
            ParameterKind.PROCESS: list(self._instances),
            ParameterKind.INSTANCE: list(self._instances),
            ParameterKind.INSTANCES: list(self._instances),
        }
        return [Candidate(text) for text in self._words.get(kind, by_kind.get(kind, ()))]

    def hosts(self) -> KnownHosts:
        return self._hosts

    def instances(self) -> Mapping[str, tuple[str, ...]]:
        return self._instances


def parsed(
    line: str, choices: Choices, commands: Mapping[str, Command] = COMMANDS
) -> Bound | LineError | None:
    """What a line is read as, or why it is refused."""
    try:
        return parse(line, choices, commands=commands)
    except LineError as error:
        return error


def word(
    name: str, *words: str, optional: bool = False, default: str | None = None, many: bool = False
) -> Parameter:
    """A parameter that can be one of some words."""
    return Parameter(
        name=name,
        kind=ParameterKind.WORD,
        help=f"{name}.",
        words=words,
        optional=optional,
        default=default,
        many=many,
    )


def text(name: str, *, optional: bool = False) -> Parameter:
    """A parameter that can be anything."""
    return Parameter(name=name, kind=ParameterKind.TEXT, help=f"{name}.", optional=optional)


def command(*parameters: Parameter, options: tuple[Option, ...] = (), changes: bool = False) -> Command:
    """A command called ``command``."""
    return Command(
        name="command",
        group=Group.LOOK,
        help="A command.",
        long_help="It does.",
        examples=(Example("command", "it"),),
        parameters=parameters,
        options=options,
        changes=changes,
    )
