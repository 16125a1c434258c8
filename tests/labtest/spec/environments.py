"""Environments and changes for property tests: small, so that names meet often, and valid, so that changes have something to act on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

from labtest.core.changes import (
    AddHost,
    AddInstance,
    Change,
    MoveProcess,
    RemoveHost,
    RemoveInstance,
    SetVariable,
    StartInstance,
    StopInstance,
    SwapRelease,
    UnsetVariable,
)
from labtest.core.environment import (
    Environment,
    FileKind,
    FileSpec,
    FileUse,
    Health,
    HealthKind,
    HostKind,
    HostSpec,
    OnChange,
    ProcessSpec,
    ReleaseSpec,
    ToolSpec,
    Value,
)
from labtest.core.folder import FolderContents
from labtest.core.pending import rebase

__all__ = ["CONTENTS", "FOLDER", "change_lists", "environments", "histories"]

_T = TypeVar("_T")

HOSTS = ["h1", "h2", "h3", "h4", "h5"]
GROUPS = ["red", "blue"]
PROCESSES = ["p1", "p2", "p3", "p4"]
VERSIONS = ["1.0", "1.1", "2.0"]
VARIABLES: dict[str, Value] = {"size": 1, "label": "x", "ratio": 0.5, "loud": True}

#: What all these environments are rendered from.
CONTENTS = {"t.j2": b"{{ host }} {{ size }}\n", "c.csv": b"a,b\n", "r.whl": b"wheel", "u.j2": b"[Service]\n"}
FOLDER = FolderContents(CONTENTS)

_VALUES: dict[str, st.SearchStrategy[Value]] = {
    "size": st.integers(-(2**63), 2**63 - 1),
    "label": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "loud": st.booleans(),
}

# Strategies are made once: making them costs more than drawing from them.
_OWN = st.fixed_dictionaries({}, optional=_VALUES)
_VARIABLE = st.tuples(*(st.tuples(st.just(name), values) for name, values in _VALUES.items()))
_NUMBER = st.integers(0, 2**16 - 1)
_MASK = st.integers(0, 31)
_BOOL = st.booleans()
_PARTS = st.tuples(_NUMBER, _NUMBER, _NUMBER, _NUMBER, _VARIABLE)
_ORDERS = st.permutations(HOSTS)
_CHANGES = st.lists(_PARTS, min_size=1, max_size=16)


def _masked(names: Sequence[str], mask: int) -> tuple[str, ...]:
    """The names whose bits are set."""
    return tuple(name for index, name in enumerate(names) if mask >> index & 1)


def _one(names: Sequence[_T], number: int) -> _T:
    return names[number % len(names)]


def _hosts(draw: st.DrawFn) -> list[HostSpec]:
    names = draw(_ORDERS)[: 2 + draw(_NUMBER) % 4]
    return [
        HostSpec(
            name=name,
            kind=_one(list(HostKind), draw(_MASK)),
            ssh=_one(["", "ops@rack1", "10.0.0.1"], draw(_MASK)),
            address=_one(["", "10.0.0.1", "rack1.example.com"], draw(_MASK)),
            groups=_masked(GROUPS, draw(_MASK)),
            variables=draw(_OWN),
            sudo=draw(_BOOL),
        )
        for name in names
    ]


def _process(draw: st.DrawFn, name: str, hosts: list[str], earlier: list[str], *, stops: bool) -> ProcessSpec:
    order = [host for host in draw(_ORDERS) if host in hosts]
    chosen = _masked(order, draw(_MASK)) or tuple(order[:1])
    uses = [
        (),
        (FileUse(file="conf"),),
        (FileUse(file="data", on_change=OnChange.RELOAD), FileUse(file="conf")),
    ]
    checks = [
        Health(),
        Health(kind=HealthKind.TCP, target="{{ host.address }}:80", timeout_s=5.0),
        Health(kind=HealthKind.COMMAND, command=("true", "{{ label }}"), stable_s=1.5),
    ]
    return ProcessSpec(
        name=name,
        hosts=chosen,
        unit=_one([f"{name}.service", f"{name}@{{{{ host.name }}}}.service"], draw(_MASK)),
        template=_one(["", "u.j2"], draw(_MASK)),
        after=_masked(earlier, draw(_MASK)),
        releases=_masked(["app"], draw(_MASK)),
        files=_one(uses, draw(_MASK)),
        health=_one(checks, draw(_MASK)),
        variables=draw(_OWN),
        batch_size=1 + draw(_MASK) % 3,
        stopped_on=_masked(chosen, draw(_MASK)) if stops else (),
        debug=_one(["py-spy", "gdb"], draw(_MASK)),
    )


@st.composite
def environments(draw: st.DrawFn, *, stops: bool = True) -> Environment:
    """Environments that :data:`FOLDER` has everything for. ``stops``: some instances are stopped, which a spec cannot say."""
    hosts = _hosts(draw)
    names = [host.name for host in hosts]
    processes: list[ProcessSpec] = []
    for name in PROCESSES[: 1 + draw(_MASK) % len(PROCESSES)]:
        processes.append(_process(draw, name, names, [process.name for process in processes], stops=stops))
    groups = {group: tuple(host.name for host in hosts if group in host.groups) for group in GROUPS}
    return Environment(
        name="lab",
        description=_one(["", 'two "hosts"\nand a \\ desk'], draw(_MASK)),
        hosts=tuple(hosts),
        processes=tuple(processes[::-1] if draw(_BOOL) else processes),
        files=(
            FileSpec(name="conf", kind=FileKind.TEMPLATE, source="t.j2", path="/etc/{{ environment }}/{{ process }}.conf", mode=0o640),
            FileSpec(
                name="data", kind=FileKind.COPY, source="c.csv", path="/srv/data", owner="7", hosts=_masked(names, draw(_MASK))
            ),
        ),
        releases=(
            ReleaseSpec(
                name="app", version=_one(VERSIONS, draw(_MASK)), source=("r.whl",), install=("sh", "{target}"),
                folder="/opt/app", after_switch=(("true",),), hosts=_masked(names, draw(_MASK)),
            ),
        ),
        tools=(ToolSpec(name="top", run=("top", "{{ size }}"), env={"A": "{{ label }}"}, help="what runs"),),
        variables=VARIABLES,
        groups={group: members for group, members in groups.items() if members},
    )  # fmt: skip


_Parts = tuple[int, int, int, int, tuple[tuple[str, Value], ...]]


def _change(environment: Environment, parts: _Parts) -> Change:
    """A change with names that mostly are in the environment."""
    kind, first, second, third, variables = parts
    here = [one.name for one in environment.hosts]
    process = _one([*[one.name for one in environment.processes] * 3, "p9"], first)
    host, other = _one([*here, *here, *HOSTS], second), _one([*here, *here, *HOSTS], third)
    scope = _one(["", f"host:{host}", f"process:{process}"], third)
    name, value = _one(variables, second)
    match kind % 10:
        case 0:
            return SetVariable(name, value, scope)
        case 1:
            return UnsetVariable(name, scope)
        case 2:
            return SwapRelease("app", _one(VERSIONS, second))
        case 3:
            return MoveProcess(process, host, other)
        case 4:
            return AddInstance(process, host, _one(["", other], first))
        case 5:
            return RemoveInstance(process, host)
        case 6:
            return StopInstance(process, host)
        case 7:
            return StartInstance(process, host)
        case 8:
            added = HostSpec(
                name=_one([*HOSTS, "h6"], second), groups=_masked(GROUPS, third), variables={name: value}
            )
            return AddHost(added, _one(["", other], first), _masked(["data"], third), _masked(["app"], first))
        case _:
            return RemoveHost(host)


@st.composite
def change_lists(draw: st.DrawFn) -> tuple[Change, ...]:
    """Changes, many of them impossible."""
    environment = draw(environments())
    return tuple(_change(environment, parts) for parts in draw(_CHANGES))


@st.composite
def histories(draw: st.DrawFn) -> tuple[Environment, tuple[Change, ...]]:
    """An environment and changes that can be made to it, one after the other."""
    environment = draw(environments())
    made: list[Change] = []
    now = environment
    for parts in draw(_CHANGES):
        moved = rebase([_change(now, parts)], now)
        made += moved.changes
        now = moved.environment
    return environment, tuple(made)
