"""``labtest down``."""

from __future__ import annotations

import click

from labtest.cli.choosing import chosen_lab
from labtest.cli.commands import CONTEXT_SETTINGS
from labtest.namespaces import all_labs

__all__ = ["down_command"]


@click.command("down", context_settings=CONTEXT_SETTINGS)
@click.argument("spec", required=False)
@click.option(
    "--all", "is_all", is_flag=True, help="All labs of this machine that were left up, whatever their spec."
)
def down_command(spec: str | None, is_all: bool) -> None:
    """Take hosts down, and remove all that they are on this machine.

    SPEC is the spec's file, the environment's name, or the id of a lab. Labs that lost their maker are removed in any case; one that belongs to a
    running test is left to it by --all.
    """
    if (spec is None) == (not is_all):
        raise click.UsageError("say which: a SPEC, or --all", click.get_current_context())
    labs = [chosen_lab(spec)] if spec is not None else [lab for lab in all_labs() if lab.state().is_detached]
    for lab in labs:
        lab_id = lab.id
        lab.down()
        click.echo(f"{lab_id} is down")
    if not labs:
        click.echo("no lab was left up")
