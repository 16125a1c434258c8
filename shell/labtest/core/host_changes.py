"""Hosts that are added and taken out at a prompt.

Law: the order of hosts is that of the spec, and lists of hosts that are no order of anything (groups, who has a file) follow it; so a host that is
taken out and put back leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from labtest.core.change_values import AddHost, ChangeRefused, RemoveHost
from labtest.core.checks import bad_value
from labtest.core.environment import Environment, HostSpec
from labtest.core.lookup import find_host, inserted
from labtest.core.names import bad_name, bad_variable_name, nearest, spell_list
from labtest.core.rendered_checks import bad_destination

__all__ = ["add_host", "remove_host"]


def add_host(environment: Environment, change: AddHost) -> Environment:
    """See :class:`AddHost`. Raises :class:`ChangeRefused`."""
    host = change.host
    names = [one.name for one in environment.hosts]
    if wrong := bad_name(host.name):
        raise ChangeRefused(wrong)
    if host.name in names:
        raise ChangeRefused(f"host {host.name} is there already", already=host in environment.hosts)
    for kind, wanted, known in (
        ("group", host.groups, tuple(environment.groups)),
        ("file", change.files, tuple(file.name for file in environment.files)),
        ("release", change.releases, tuple(release.name for release in environment.releases)),
    ):
        for name in wanted:
            if name not in known:
                raise ChangeRefused(f"there is no {kind} {name!r}{nearest(name, known)}")
    for text in filter(None, (host.ssh, host.address)):
        if wrong := bad_destination(text):
            raise ChangeRefused(wrong)
    for name, value in host.variables.items():
        if wrong := bad_variable_name(name) or bad_value(value):
            raise ChangeRefused(f"{name}: {wrong}")
    order = inserted(names, host.name, change.before)
    by_name = {one.name: one for one in (*environment.hosts, host)}
    return _with_host_lists(
        environment,
        tuple(by_name[name] for name in order),
        lambda kind, name, hosts: (
            (*hosts, host.name) if name in (change.files if kind == "file" else change.releases) else hosts
        ),
    )


def remove_host(environment: Environment, change: RemoveHost) -> Environment:
    """See :class:`RemoveHost`. Raises :class:`ChangeRefused`."""
    host = find_host(environment, change.name)
    running = [process.name for process in environment.processes if host.name in process.hosts]
    if running:
        raise ChangeRefused(
            f"{host.name} still has {spell_list(running)}; move or remove {'it' if len(running) == 1 else 'them'} first"
        )
    tools = [tool.name for tool in environment.tools if tool.host == host.name]
    if tools:
        raise ChangeRefused(f"tool {tools[0]} runs on {host.name}; give it another host in the spec first")
    if len(environment.hosts) == 1:
        raise ChangeRefused(f"{host.name} is the last host; `down` takes the whole environment away")
    return _with_host_lists(
        environment,
        tuple(one for one in environment.hosts if one is not host),
        lambda _kind, _name, hosts: tuple(name for name in hosts if name != host.name),
    )


def _with_host_lists(
    environment: Environment,
    hosts: tuple[HostSpec, ...],
    change: Callable[[str, str, tuple[str, ...]], tuple[str, ...]],
) -> Environment:
    """With other hosts; lists of hosts that are no order of anything follow theirs."""
    names = [host.name for host in hosts]
    return msgspec.structs.replace(
        environment,
        hosts=hosts,
        groups={
            group: tuple(host.name for host in hosts if group in host.groups) for group in environment.groups
        },
        files=tuple(
            msgspec.structs.replace(file, hosts=_sorted(change("file", file.name, file.hosts), names))
            for file in environment.files
        ),
        releases=tuple(
            msgspec.structs.replace(
                release, hosts=_sorted(change("release", release.name, release.hosts), names)
            )
            for release in environment.releases
        ),
    )


def _sorted(names: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    wanted = set(names)
    return tuple(name for name in order if name in wanted)
