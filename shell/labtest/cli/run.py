"""``labtest run``."""

from __future__ import annotations

from pathlib import Path

import click

from labtest.cli.commands import CONTEXT_SETTINGS

__all__ = ["run_command"]

_BEHIND = "labtest.cli.run.behind"


class _WithMoreBehind(click.Command):
    """Keeps what stands behind ``--`` for itself: click would mix it with the arguments before."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before, behind = (
            (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])
        )
        ctx.meta[_BEHIND] = tuple(behind)
        return super().parse_args(ctx, before)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- PYTEST ARGUMENTS]"]


@click.command("run", cls=_WithMoreBehind, context_settings=CONTEXT_SETTINGS)
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("tests", nargs=-1)
@click.option(
    "--overlay", "overlays", multiple=True, metavar="NAME", help="An overlay of the spec; may be repeated."
)
@click.option(
    "--set", "variables", multiple=True, metavar="NAME=VALUE", help="A variable of the spec; may be repeated."
)
@click.option("--keep", is_flag=True, help="Leave everything up if a test fails, as it was then.")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    default="lab-report",
    show_default=True,
    metavar="DIR",
    help="Where the report goes; what a report of before has left there goes.",
)
@click.pass_context
def run_command(
    context: click.Context,
    spec: Path,
    tests: tuple[str, ...],
    overlays: tuple[str, ...],
    variables: tuple[str, ...],
    keep: bool,
    report: Path,
) -> int:
    """Run tests once on an environment of their own, and take it down.

    TESTS are files, folders or ids of tests, as pytest takes them; further arguments of pytest come behind `--`: `labtest run SPEC tests -- -x -k
    orders`. Hosts are booted, everything is deployed, the tests run, all journals are collected, and nothing is left, also after Ctrl-C.

    DIR/report.txt is for people, report.json and junit.xml are for programs; each failed test has a folder with its journals.

    Exit codes: 0 all passed, 1 some failed, 2 wrong usage or spec, or no tests, 5 a host cannot be reached, 70 pytest crashed, 130 interrupted.
    """
    from labtest.testing.closed_loop import ClosedLoop, run_closed_loop
    from labtest.testing.wanted import Wanted

    wanted = Wanted(spec.resolve(), overlays, tuple(sorted(_variables(variables, context).items())))
    loop = ClosedLoop(
        wanted=wanted,
        tests=tests,
        report=report.absolute(),
        keep=keep,
        pytest_arguments=context.meta[_BEHIND],
    )
    return run_closed_loop(loop, lambda text: click.echo(text, err=True))


def _variables(given: tuple[str, ...], context: click.Context) -> dict[str, str]:
    found = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise click.UsageError(f"--set {one}: NAME=VALUE is meant", context)
        found[name] = value
    return found
