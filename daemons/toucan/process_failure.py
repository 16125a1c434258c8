"""How a process of toucan ends that cannot begin: one line on standard error, and an exit code that tells a supervisor whether a restart may help."""

from __future__ import annotations

import click

from toucan.errors import CannotListen, InvalidSettings

__all__ = ["EXIT_CONFIG", "WrongSettings", "failure_of"]

#: EX_CONFIG of sysexits.h, as systemd.exec(5) has it: it will be the same when it is tried again.
EXIT_CONFIG = 78


class WrongSettings(click.ClickException):
    """Something in a file is wrong."""

    exit_code = EXIT_CONFIG


def failure_of(error: Exception) -> click.ClickException:
    """What to raise from a command because of ``error``."""
    text = " ".join(str(error).split())
    is_lasting = isinstance(error, InvalidSettings) and not isinstance(error, CannotListen)
    return WrongSettings(text) if is_lasting else click.ClickException(text)
