"""``labtest ssh``."""

from __future__ import annotations

import os
import shlex
import sys

import click

from labtest.cli.choosing import lab_of_host, lab_option
from labtest.cli.commands import CONTEXT_SETTINGS

__all__ = ["ssh_command"]


@click.command(
    "ssh",
    context_settings=CONTEXT_SETTINGS | {"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@lab_option
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh_command(lab_name: str | None, host: str, command: tuple[str, ...]) -> None:
    """Log in to a host, or run a command on it.

    The words of COMMAND reach it as they are, as if typed on this machine; one word alone is read by the host's shell: `labtest ssh a 'ps | wc'`. The
    exit status is that of the command, or 255 if ssh failed.
    """
    chosen = lab_of_host(host, lab_name).hosts[host]
    terminal = ["-tt"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    words = list(command[1:] if command[:1] == ("--",) else command)
    argv = [*chosen.ssh_argv(*terminal), *([shlex.join(words)] if len(words) > 1 else words)]
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606 - ssh has the terminal to itself
