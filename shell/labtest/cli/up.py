"""``labtest up``."""

from __future__ import annotations

from pathlib import Path

import click

from labtest.cli.commands import CONTEXT_SETTINGS
from labtest.cli.status import json_text, lines_of
from labtest.core.environment import Environment, HostKind
from labtest.namespaces import Lab, LabNotFound, find, status_of
from labtest.namespaces.errors import LabsNotPossible
from labtest.namespaces.limits import UP_TIMEOUT_S

__all__ = ["bring_up", "up_command"]


@click.command("up", context_settings=CONTEXT_SETTINGS)
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--overlay", "overlays", multiple=True, metavar="NAME", help="An overlay of the spec; may be repeated."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=UP_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="By when all hosts answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def up_command(spec: Path, overlays: tuple[str, ...], timeout_s: float, as_json: bool) -> None:
    """Boot the namespace hosts of a spec, and leave them up.

    They stay until `labtest down`. Where they are up already, those without power are booted, and nothing else is done.

    The JSON object is that of `labtest status` for one lab.
    """
    from labtest.spec import read_environment

    lab = bring_up(read_environment(spec, overlays=overlays), timeout_s)
    status = status_of(lab)
    click.echo(json_text(status) if as_json else "\n".join(lines_of([status])))


def bring_up(environment: Environment, timeout_s: float = UP_TIMEOUT_S) -> Lab:
    """The lab with an environment's namespace hosts, all with power: the one that is up, or a new one that outlives this process.

    Raises LabsNotPossible if there are none, or if it is up with other hosts.
    """
    hosts = [host.name for host in environment.hosts if host.kind is HostKind.NAMESPACE]
    if not hosts:
        raise LabsNotPossible(
            f'{environment.name} has no host with  kind = "namespace", so there is nothing to boot'
        )
    try:
        lab = find(environment.name)
    except LabNotFound:
        lab = Lab(environment.name, hosts)
        lab.up(timeout_s)
        lab.detach()
        return lab
    if set(lab.hosts) != set(hosts):
        raise LabsNotPossible(
            f"lab {lab.id} is up with {', '.join(lab.hosts)}, and the spec wants {', '.join(hosts)}: labtest down {lab.id}  first"
        )
    for host in lab.hosts.values():
        if not host.pid:
            lab.boot(host.name, timeout_s)
    return lab
