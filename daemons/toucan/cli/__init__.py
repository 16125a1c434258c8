"""The ``toucan`` command: orders, state and control for people, and the programs that serve them.

A failure is one line on standard error, ``toucan: error: …``, and an exit code that says whose move it is (:mod:`toucan.cli.exits`); with ``--json``
an object ``{"error": …}`` on standard output as well. Each command imports what it runs when it runs: the table is :mod:`toucan.cli.commands`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from toucan.cli.command import CONTEXT_SETTINGS, Surroundings, connection_options, taken_options
from toucan.cli.commands import LazyGroup, keep_grpc_quiet

__all__ = ["main", "run", "toucan_group"]

_ERROR, _USAGE, _INTERRUPTED = 1, 2, 130


def _print_version(context: click.Context, parameter: click.Parameter, is_given: bool) -> None:
    if is_given:
        import importlib.metadata  # costs more than all else that --help needs

        click.echo(f"toucan, version {importlib.metadata.version('aviary')}")
        context.exit()


@click.group("toucan", cls=LazyGroup, invoke_without_command=True, context_settings=CONTEXT_SETTINGS)
@connection_options
@click.option(
    "--keep-going", is_flag=True, help="Of commands that are read from standard input: go on after an error."
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version.",
)
@click.pass_context
def toucan_group(context: click.Context, /, keep_going: bool, **parameters: Any) -> int | None:
    """Order entry: send orders, see what becomes of them, and stop them.

    Without a command it is an interactive prompt, with the same commands; or, if standard input is no terminal, it runs the commands that it reads
    there, one a line, and stops at the first that fails.
    """
    if context.invoked_subcommand is None:
        keep_grpc_quiet()
    options = taken_options(parameters)
    around = context.ensure_object(Surroundings)
    around.take_options(options)
    if context.invoked_subcommand is not None:
        return None
    if around.prompt is not None:
        raise click.UsageError("say a command; `help` lists them")
    if sys.stdin.isatty() and sys.stdout.isatty():
        from toucan.cli.prompt import run_prompt

        return run_prompt(options)
    from toucan.cli.lines import run_lines

    return run_lines(options, sys.stdin, keep_going=keep_going)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str], around: Surroundings | None = None) -> int:
    """Runs one command, tells its errors, and returns its exit code. ``around``: of a command that is typed at the prompt."""
    around = around or Surroundings()
    try:
        return toucan_group.main(arguments, "toucan", standalone_mode=False, obj=around) or 0
    except click.UsageError as error:
        place = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _fail(error.format_message() + place, _USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except click.Abort:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has had enough (`toucan orders | head`); do not complain again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _ERROR
    except Exception as error:
        return _tell(error, around)


def _tell(error: Exception, around: Surroundings) -> int:
    """Errors of toucan's own; everything else is a bug and is raised."""
    from toucan.cli.exits import advice, exit_of
    from toucan.client.errors import ToucanError

    caller = around.caller
    if isinstance(error, OSError) and not isinstance(error, ToucanError):
        return _fail(str(error), _ERROR)
    if not isinstance(error, ToucanError):
        return _tell_of_process(error)
    if caller is not None and caller.as_json:
        from toucan.cli.json_objects import ERROR

        caller.give({"error": ERROR.of(error)})
    return _fail(advice(error, caller.options.server_text if caller is not None else ""), exit_of(error))


def _tell_of_process(error: Exception) -> int:
    """Errors of the daemons, which are run from here as well; everything else is a bug and is raised."""
    from hostkit.supervisor import ChildFailed
    from toucan.errors import ToucanError

    if not isinstance(error, ToucanError | ChildFailed):
        raise error
    return _fail(str(error), _ERROR)


def _fail(message: str, exit_code: int) -> int:
    """Prints the one line that an error is; what has several lines is joined."""
    click.echo(f"toucan: error: {' '.join(message.split())}", err=True)
    return exit_code
