"""``toucan fix NAME`` and ``toucan fix-acceptor``: each one process in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hostkit.log import configure_logging
from toucan.errors import InvalidSettings, ToucanError
from toucan.instrument_file import load_instruments
from toucan.process_failure import failure_of
from toucan.settings import CONFIG_PATH, load_settings

__all__ = ["fix_acceptor_command", "fix_command"]


def _options(function: Any) -> Any:
    for option in (
        click.option("--ready", is_flag=True, help="Print one line of JSON when it serves."),
        click.option(
            "--log-format", type=click.Choice(["console", "json"]), default="console", show_default=True
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default="info",
            show_default=True,
            help="debug has every message, without passwords.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            default=CONFIG_PATH,
            show_default=True,
            help="Settings file.",
        ),
    ):
        function = option(function)
    return function


@click.command(name="fix")
@click.argument("name")
@_options
def fix_command(name: str, config: Path, log_level: str, log_format: str, ready: bool) -> None:
    """Run the FIX 4.4 session with the venue NAME, of the section [fix.NAME], until SIGTERM or SIGINT.

    The engine reaches the venue by the process's socket, as it would the embedded exchange.
    """
    configure_logging(log_level, log_format)
    try:
        settings = load_settings(config)
        section = settings.fix.get(name)
        if section is None:
            known = ", ".join(settings.fix) or "none"
            raise InvalidSettings(f"{config}: there is no section [fix.{name}]; there is {known}")
        from toucan.fix.initiator import run_initiator

        instruments = load_instruments(Path(settings.engine.instruments))
        run_initiator(name, section, instruments, announces_ready=ready)
    except ToucanError as error:
        raise failure_of(error) from error


@click.command(name="fix-acceptor")
@_options
def fix_acceptor_command(config: Path, log_level: str, log_format: str, ready: bool) -> None:
    """Run FIX 4.4 sessions in front of the embedded exchange, of the section [fix_acceptor], until SIGTERM or SIGINT."""
    configure_logging(log_level, log_format)
    try:
        settings = load_settings(config)
        section = settings.fix_acceptor
        if not section.session:
            raise InvalidSettings(
                f"{config}: fix_acceptor.session: nobody may log on; add [fix_acceptor.session.COMPID]"
            )
        from toucan.fix.acceptor import run_acceptor

        instruments = load_instruments(Path(settings.engine.instruments))
        run_acceptor(section, instruments, announces_ready=ready)
    except ToucanError as error:
        raise failure_of(error) from error
