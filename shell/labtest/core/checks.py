"""Whether the parts of an environment fit together: every name that is used is there, once, and no process waits for itself.

Law: what can be said of an environment without rendering it, and holds after every change too. A spec is checked by this before anybody sees it, and
a property test shows that no change at the prompt leads out of it.
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from labtest.core.environment import Environment, Value
from labtest.core.names import EVERY_HOST, bad_name, bad_variable_name, nearest
from labtest.core.problems import Place, Problem
from labtest.core.rendered_checks import bad_destination, bad_file_path

__all__ = ["bad_value", "check", "find_cycle"]

#: A value is shown in tables and typed at the prompt; what is longer belongs into a file.
VALUE_CHARACTERS_MAX = 4096

#: Numbers that TOML and JSON both have.
_WHOLE_NUMBERS = range(-(2**63), 2**63)

# useradd(8), with the digits that chown(1) takes too.
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}|\d{1,10}")


def check(environment: Environment) -> tuple[Problem, ...]:
    """All problems; none: it can be rendered."""
    return (
        *_names(environment),
        *_variables(environment),
        *_groups(environment),
        *_references(environment),
        *_order(environment),
        *_folders(environment),
        *_accounts(environment),
        *_destinations(environment),
    )


def _names(environment: Environment) -> Iterator[Problem]:
    if wrong := bad_name(environment.name):
        yield Problem(("name",), wrong)
    for table, entries in _tables(environment):
        seen: set[str] = set()
        for entry in entries:
            if wrong := bad_name(entry.name):
                yield Problem((table, entry.name), wrong)
            if entry.name in seen:
                yield Problem((table, entry.name), "it is there twice")
            seen.add(entry.name)
    for name in environment.groups:
        wrong = bad_name(name) or ("every host is in 'all' anyway" if name == EVERY_HOST else "")
        if wrong:
            yield Problem(("groups", name), wrong)


def _tables(environment: Environment) -> tuple[tuple[str, Sequence[Any]], ...]:
    return (
        ("hosts", environment.hosts),
        ("processes", environment.processes),
        ("files", environment.files),
        ("releases", environment.releases),
        ("tools", environment.tools),
    )


def _variables(environment: Environment) -> Iterator[Problem]:
    yield from _variables_of((), environment.variables)
    for host in environment.hosts:
        yield from _variables_of(("hosts", host.name), host.variables)
    for process in environment.processes:
        yield from _variables_of(("processes", process.name), process.variables)


def _variables_of(place: Place, variables: Mapping[str, Value]) -> Iterator[Problem]:
    for name, value in variables.items():
        if wrong := bad_variable_name(name) or bad_value(value):
            yield Problem((*place, "variables", name), wrong)


def bad_value(value: Value) -> str:
    """Why a variable cannot have this value; empty: it can."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f"{value} is not a number that a variable can have"
    if isinstance(value, int) and value not in _WHOLE_NUMBERS:
        return f"{value} does not fit into 64 bits; write it as text"
    if isinstance(value, str) and len(value) > VALUE_CHARACTERS_MAX:
        return f"it has {len(value):,} characters; {VALUE_CHARACTERS_MAX:,} are possible; put it into a file"
    return ""


def _groups(environment: Environment) -> Iterator[Problem]:
    for host in environment.hosts:
        for index, group in enumerate(host.groups):
            if host.name not in environment.groups.get(group, ()):
                yield Problem(("hosts", host.name, "groups", index), f"group {group!r} does not have it")
    groups_of = {host.name: host.groups for host in environment.hosts}
    for group, names in environment.groups.items():
        for name in names:
            if group not in groups_of.get(name, ()):
                yield Problem(("groups", group), f"host {name!r} is not there, or not in it")


def _references(environment: Environment) -> Iterator[Problem]:
    hosts = [host.name for host in environment.hosts]
    processes = [process.name for process in environment.processes]
    files = [file.name for file in environment.files]
    releases = [release.name for release in environment.releases]
    for process in environment.processes:
        place: Place = ("processes", process.name)
        yield from _known("host", process.hosts, hosts, (*place, "hosts"))
        yield from _known("process", process.after, processes, (*place, "after"))
        yield from _known("release", process.releases, releases, (*place, "releases"))
        yield from _known("file", [use.file for use in process.files], files, (*place, "files"))
        yield from _known("instance on", process.stopped_on, process.hosts, (*place, "stopped_on"))
    for file in environment.files:
        yield from _known("host", file.hosts, hosts, ("files", file.name, "hosts"))
    for release in environment.releases:
        yield from _known("host", release.hosts, hosts, ("releases", release.name, "hosts"))
    for tool in environment.tools:
        if tool.host:
            yield from _known("host", [tool.host], hosts, ("tools", tool.name, "host"), is_list=False)


def _known(
    kind: str, names: Iterable[str], known: Collection[str], place: Place, *, is_list: bool = True
) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        here = (*place, index) if is_list else place
        if name not in known:
            yield Problem(here, f"there is no {kind} {name!r}{nearest(name, known)}")
        elif name in seen:
            yield Problem(here, f"{name!r} is there twice")
        seen.add(name)


def _order(environment: Environment) -> Iterator[Problem]:
    after = {process.name: process.after for process in environment.processes}
    cycle = find_cycle(after)
    if cycle:
        chain = " -> ".join((*cycle, cycle[0]))
        yield Problem(
            ("processes", cycle[0], "after"),
            "it starts after itself" if len(cycle) == 1 else f"processes wait for each other: {chain}",
        )


def find_cycle(after: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Names that each wait for the next, and the last for the first, from the earliest in the mapping; empty: there is no such cycle."""
    try:
        graphlib.TopologicalSorter(after).prepare()
    except graphlib.CycleError as error:
        backwards: list[str] = error.args[1][1:]  # the first is there at the end too
        cycle = backwards[::-1]
        first = min(map(list(after).index, cycle))
        at = cycle.index(list(after)[first])
        return (*cycle[at:], *cycle[:at])
    return ()


def _folders(environment: Environment) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for release in environment.releases:
        place: Place = ("releases", release.name, "folder")
        if wrong := bad_file_path(release.folder):
            yield Problem(place, wrong)
        for folder, other in taken.items():
            if f"{release.folder}/".startswith(f"{folder}/") or folder.startswith(f"{release.folder}/"):
                yield Problem(
                    place,
                    f"{release.folder!r} and {folder!r} of release {other!r} lie in each other; each has a folder of its own",
                )
        taken[release.folder] = release.name


def _accounts(environment: Environment) -> Iterator[Problem]:
    for file in environment.files:
        for key, name in (("owner", file.owner), ("group", file.group)):
            if not _ACCOUNT.fullmatch(name):
                yield Problem(("files", file.name, key), f"{name!r} is not the name or number of an account")


def _destinations(environment: Environment) -> Iterator[Problem]:
    for host in environment.hosts:
        for key, text in (("ssh", host.ssh), ("address", host.address)):
            if text and (wrong := bad_destination(text)):
                yield Problem(("hosts", host.name, key), wrong)
