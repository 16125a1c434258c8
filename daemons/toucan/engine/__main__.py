"""``python -m toucan.engine --config FILE``: the engine in the foreground."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hostkit.log import configure_logging
from toucan.engine.main import run
from toucan.engine.settings import EngineSettings
from toucan.errors import ToucanError
from toucan.journal.errors import JournalError
from toucan.process_failure import failure_of
from toucan.settings import CONFIG_PATH, load_settings

__all__ = ["main"]


@click.command(name="engine")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=CONFIG_PATH,
    show_default=True,
    help="Settings file.",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Go on although the end of the journal is missing; what is lost is recorded as lost.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def main(config: Path, accept_loss: bool, log_level: str) -> None:
    """Run the order-entry engine until SIGTERM or SIGINT. SIGHUP has the limits file read again; what else has changed is named in the log."""
    configure_logging(log_level, "console")
    try:
        settings = load_settings(config)
        running = EngineSettings(settings.engine, settings.venue, accept_loss)
        sys.exit(run(running, lambda: load_settings(config)))
    except (ToucanError, JournalError) as error:
        raise failure_of(error) from error


if __name__ == "__main__":
    main()
