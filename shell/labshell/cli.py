"""The ``labshell`` command: a prompt over an environment, or commands given on its line, in a file, or on standard input."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import click

from labtest.errors import LabError

__all__ = ["labshell_command", "main"]


@click.command("labshell", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("spec", type=click.Path(path_type=Path))
@click.argument("script", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "-c",
    "command",
    metavar="'CMD; CMD'",
    help="Run these commands and end, with the exit code of the first that fails.",
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each command.")
@click.option("-y", "--yes", is_flag=True, help="Answer every question with yes.")
@click.option("--read-only", is_flag=True, help="Refuse what changes anything.")
@click.option("--keep-going", is_flag=True, help="Go on after a command that has failed.")
@click.option(
    "--overlay", "overlays", multiple=True, metavar="NAME", help="A variant of the spec; repeatable."
)
@click.option(
    "--set",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable of the spec, for this run; repeatable.",
)
@click.option(
    "--ssh-config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File for ssh -F. [default: your own configuration]",
)
@click.version_option(importlib.metadata.version("aviary"), prog_name="labshell")
def labshell_command(
    spec: Path,
    script: Path | None,
    command: str | None,
    as_json: bool,
    yes: bool,
    read_only: bool,
    keep_going: bool,
    overlays: tuple[str, ...],
    variables: tuple[str, ...],
    ssh_config: Path | None,
) -> int:
    """A shell over the environment that SPEC (a TOML file) describes: what runs where, logs, restarts, changes, plans.

    Without SCRIPT and -c it is a prompt; `help` there lists all commands. Leaving it changes nothing.

    Exit codes: 0 done, 1 failed, 2 wrong usage or spec, 3 the plan is outdated, 4 locked by somebody else, 5 a host cannot be reached, 8 a question
    was not answered with yes, 130 interrupted.
    """
    if command is not None and script is not None:
        raise click.UsageError("-c and SCRIPT exclude each other")
    from labshell.program import Options, run_program

    options = Options(
        spec=spec,
        overlays=overlays,
        variables=_variables(variables),
        ssh_config=str(ssh_config or ""),
        as_json=as_json,
        yes=yes,
        read_only=read_only,
        keep_going=keep_going,
    )
    text = script.read_text(encoding="utf-8") if script else None
    return run_program(options, command=command, script=text)


def _variables(given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise click.UsageError(f"--set {one}: NAME=VALUE is meant")
        pairs[name] = value
    return pairs


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code."""
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    try:
        return labshell_command.main(arguments, "labshell", standalone_mode=False) or 0
    except click.UsageError as error:
        return _fail(f"{error.format_message()} (see labshell --help)", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 1)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except LabError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:
        return _fail(str(error), 1)


def _fail(message: str, exit_code: int) -> int:
    click.echo(f"labshell: error: {message}", err=True)
    return exit_code
