"""The ``labtest`` command: hosts of an environment on this machine, booted, looked at, hurt, and taken down.

A failure is one line on standard error, ``labtest: error: …`` (more lines where a spec has several problems, or a journal is quoted), and an exit
code that says whose move it is (:mod:`labtest.errors`). Each command imports what it runs when it runs: the table is
:mod:`labtest.cli.commands`.
"""

from __future__ import annotations

import os
import sys

import click

from labtest.cli.commands import CONTEXT_SETTINGS, LazyGroup
from labtest.errors import LabError

__all__ = ["labtest_group", "main", "run"]

_ERROR, _USAGE, _INTERRUPTED = 1, 2, 130


def _print_version(context: click.Context, parameter: click.Parameter, is_given: bool) -> None:
    if is_given:
        import importlib.metadata  # costs more than all else that --help needs

        click.echo(f"labtest, version {importlib.metadata.version('aviary')}")
        context.exit()


@click.group("labtest", cls=LazyGroup, context_settings=CONTEXT_SETTINGS)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version.",
)
def labtest_group() -> None:
    """An environment of many processes on many hosts, from its spec: booted, tested, and taken down.

    SPEC is a TOML file. Hosts with  kind = "namespace"  are booted on this machine, each with a systemd, an address and an sshd of its own, which
    needs root and the Debian packages systemd, openssh-server and iproute2.
    """


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Runs one command, tells its errors, and returns its exit code."""
    try:
        return labtest_group.main(arguments, "labtest", standalone_mode=False) or 0
    except click.UsageError as error:
        place = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _fail(" ".join(error.format_message().split()) + place, _USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), _ERROR)
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has had enough (`labtest status | head`); do not complain again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _ERROR
    except LabError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:
        return _fail(str(error), _ERROR)


def _fail(message: str, exit_code: int) -> int:
    click.echo(f"labtest: error: {message}", err=True)
    return exit_code
