"""The table of commands: from a name to where the command is, and what the help says of it.

Law: nothing here imports a command. ``labtest --help`` is printed from this table alone, and ``labtest status`` imports what it needs to look. A new
command is one line here; a test says if its summary is not the command's own.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import click

__all__ = ["COMMANDS", "CONTEXT_SETTINGS", "CommandLine", "LazyGroup"]

#: Of every command and group: help by -h as well, and as wide as a terminal is.
CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A line of the table. ``target`` is "module:attribute" of a click command or group."""

    name: str
    target: str
    summary: str


COMMANDS: tuple[CommandLine, ...] = (
    CommandLine("up", "labtest.cli.up:up_command", "Boot the namespace hosts of a spec, and leave them up."),
    CommandLine("down", "labtest.cli.down:down_command", "Take hosts down, and remove all that they are on this machine."),
    CommandLine("status", "labtest.cli.status:status_command", "Which hosts are up, where, and what is wrong with them."),
    CommandLine("ssh", "labtest.cli.ssh:ssh_command", "Log in to a host, or run a command on it."),
    CommandLine("run", "labtest.cli.run:run_command", "Run tests once on an environment of their own, and take it down."),
    CommandLine("fault", "labtest.cli.fault:fault_group", "Hurt a host, and put it right again."),
)  # fmt: skip

_BY_NAME = {line.name: line for line in COMMANDS}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the table's order."""
        return [line.name for line in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one."""
        line = _BY_NAME.get(cmd_name)
        if line is None:
            return None
        module, _, attribute = line.target.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One list, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(line.name, line.summary) for line in COMMANDS])
