"""``toucan web``, also as ``python -m toucan.web``: one gateway in the foreground."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import click
import uvloop

from hostkit.log import configure_logging
from hostkit.notify import listen_sockets
from toucan.engine.link import EngineLink
from toucan.errors import ToucanError
from toucan.process_failure import failure_of
from toucan.server.feeds import differing_feeds, feeds_of
from toucan.server.front_end import FrontEnd
from toucan.server.main import serve
from toucan.settings import CONFIG_PATH, ToucanSettings, differing_settings, load_settings

__all__ = ["main"]


@click.command(name="web")
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
def main(config: Path, log_level: str, log_format: str) -> None:
    """Run a gateway until SIGTERM or SIGINT: calls and streams over HTTP, for browsers and scripts.

    SIGHUP has the users file, the certificate and the files of the page read again; settings that differ from those it runs with are
    named in the log.
    """
    configure_logging(log_level, log_format)
    try:
        file = load_settings(config)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(file, config))
    except ToucanError as error:
        raise failure_of(error) from error


async def _serve(file: ToucanSettings, config: Path) -> None:
    """Browsers may connect before there is an engine: they are told that it is away."""
    make_gateway = _make_gateway()
    link = EngineLink(Path(file.engine.socket), f"web {os.getpid()}")
    link.start()
    try:
        gateway = make_gateway(file.web, link, listen_sockets(), feeds=feeds_of(file))
        await serve(gateway, differing=lambda: _differing(file, config))
    finally:
        await link.stop()


def _make_gateway() -> Callable[..., FrontEnd]:
    """Found when it is run: its packages are an extra of their own, and `toucan web --help` needs none of them."""
    try:
        from toucan.web.gateway import make_gateway
    except ModuleNotFoundError as error:
        raise ToucanError(f"{error.name} is missing: install aviary[toucan-web]") from error
    return make_gateway


def _differing(running: ToucanSettings, config: Path) -> list[str]:
    fresh = load_settings(config)
    names = differing_settings("web", running.web, fresh.web)
    names += ["engine.socket"] * (running.engine.socket != fresh.engine.socket)
    return names + differing_feeds(running, fresh)


if __name__ == "__main__":
    main()
