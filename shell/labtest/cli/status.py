"""``labtest status``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import click
import msgspec

from labtest.cli.choosing import chosen_lab
from labtest.cli.commands import CONTEXT_SETTINGS
from labtest.namespaces import Lab, LabNotFound, LabStatus, all_labs, status_of

__all__ = ["json_text", "lines_of", "status_command"]


@click.command("status", context_settings=CONTEXT_SETTINGS)
@click.argument("spec", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status_command(spec: str | None, as_json: bool) -> None:
    """Which hosts are up, where, and what is wrong with them.

    SPEC is the spec's file, the environment's name, or the id of a lab; without it all labs of this machine are shown.

    With --json it is one object for a SPEC, else a list of them: {"id", "name", "is_detached", "maker_pid", "created_at_s" (since the epoch),
    "ssh_config", "hosts": [{"name", "address", "state" ("up", "frozen" or "off"), "pid" (of its systemd, or 0), "faults": [text]}]}.
    """
    if spec is not None:
        found = status_of(chosen_lab(spec))
        click.echo(json_text(found) if as_json else "\n".join(lines_of([found])))
        return
    statuses = [status for lab in all_labs() if (status := _status_if_up(lab)) is not None]
    if as_json:
        click.echo(json_text(statuses))
    else:
        click.echo("\n".join(lines_of(statuses)) if statuses else "no lab is up")


def json_text(value: LabStatus | Sequence[LabStatus]) -> str:
    """As ``--json`` prints it."""
    return msgspec.json.encode(value).decode()


def lines_of(statuses: Sequence[LabStatus]) -> Iterator[str]:
    """For people: a line for each lab, and one below for each of its hosts."""
    for status in statuses:
        minutes = max(0, int(time.time()) - status.created_at_s) // 60
        keeper = "left up" if status.is_detached else f"of process {status.maker_pid}"
        yield f"{status.id}: {keeper}, since {minutes} min; ssh -F {status.ssh_config}"
        width = max(len(host.name) for host in status.hosts)
        for host in status.hosts:
            faults = f"  {', '.join(host.faults)}" if host.faults else ""
            yield f"  {host.name:{width}}  {host.address:15}  {host.state:6}{faults}".rstrip()


def _status_if_up(lab: Lab) -> LabStatus | None:
    try:
        return status_of(lab)
    except LabNotFound:
        return None  # taken down since it was listed
