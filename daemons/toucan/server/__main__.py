"""``toucan server``, also as ``python -m toucan.server``: one front end in the foreground; and ``hash-token`` for its users file."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click
import uvloop

from hostkit.log import configure_logging
from toucan.engine.link import EngineLink
from toucan.errors import ToucanError
from toucan.process_failure import failure_of
from toucan.server.feeds import differing_feeds, feeds_of
from toucan.server.limits import TOKEN_BYTES_MAX
from toucan.server.main import run
from toucan.server.users import hash_token, new_token
from toucan.settings import CONFIG_PATH, ToucanSettings, differing_settings, load_settings

__all__ = ["hash_token_command", "main"]


@click.group(name="server", invoke_without_command=True)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=CONFIG_PATH,
    show_default=True,
    help="Settings file.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option("--log-format", type=click.Choice(["console", "json"]), default="console", show_default=True)
@click.pass_context
def main(context: click.Context, config: Path, log_level: str, log_format: str) -> None:
    """Run a gRPC front end until SIGTERM or SIGINT.

    SIGHUP has the users file and the certificates read again; settings that differ from those it runs with are named in the log.
    """
    if context.invoked_subcommand is not None:
        return
    configure_logging(log_level, log_format)
    try:
        file = load_settings(config)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(file, config))
    except ToucanError as error:
        raise failure_of(error) from error


async def _serve(file: ToucanSettings, config: Path) -> None:
    """Clients may connect before there is an engine: they are told that it is away."""
    link = EngineLink(Path(file.engine.socket), f"server {os.getpid()}")
    link.start()
    try:
        await run(file.server, link, feeds=feeds_of(file), differing=lambda: _differing(file, config))
    finally:
        await link.stop()


def _differing(running: ToucanSettings, config: Path) -> list[str]:
    fresh = load_settings(config)
    names = differing_settings("server", running.server, fresh.server)
    names += ["engine.socket"] * (running.engine.socket != fresh.engine.socket)
    return names + differing_feeds(running, fresh)


@main.command(name="hash-token")
@click.option("--new", "is_new", is_flag=True, help="Make a token that nobody can guess, and show it, too.")
def hash_token_command(is_new: bool) -> None:
    """Print what the users file says of a token; it is read from standard input, since others can see a command's arguments."""
    token = new_token() if is_new else sys.stdin.readline(TOKEN_BYTES_MAX + 1).strip()
    if not 0 < len(token) <= TOKEN_BYTES_MAX or not token.isascii() or not token.isprintable():
        raise click.ClickException(f"a token has 1 to {TOKEN_BYTES_MAX} plain characters")
    if is_new:
        click.echo(f"token: {token}")
    click.echo(f'token_sha256 = "{hash_token(token)}"')


if __name__ == "__main__":
    main()
