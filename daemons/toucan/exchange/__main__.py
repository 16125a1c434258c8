"""``python -m toucan.exchange``: the embedded exchange as a process of its own, in the foreground."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from toucan.errors import InvalidSettings
from toucan.exchange.limits import STALLED_S_MAX
from toucan.exchange.main import run
from toucan.exchange.settings import ExchangeSettings, ReplaySettings
from toucan.instrument_file import load_instruments
from toucan.process_failure import failure_of

__all__ = ["main"]

_PATH = click.Path(path_type=Path, dir_okay=False)


def _address(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[str, int] | None:
    if text is None:
        return None
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65_535:
        raise click.BadParameter("write HOST:PORT, such as 127.0.0.1:7000")
    return host.strip("[]"), int(port)


@click.command(name="toucan-exchange")
@click.option(
    "--listen", type=_PATH, required=True, help="Unix socket for firms; only this user can open it."
)
@click.option("--instruments", type=_PATH, required=True, help="TOML file with one [[instrument]] for each.")
@click.option(
    "--market-data", type=_PATH, help="Unix socket of its feed of market data, for front ends and recorders."
)
@click.option("--operator", type=_PATH, help="Unix socket for the operator's commands.")
@click.option(
    "--tcp", metavar="HOST:PORT", callback=_address, help="Also listen there; nobody is asked who he is."
)
@click.option("--replay", type=_PATH, help="CSV file (.gz) of recorded orders, played as background flow.")
@click.option("--replay-symbol", help="Instrument into which they are played.")
@click.option("--speed", type=float, default=1.0, show_default=True, help="2 plays them in half the time.")
@click.option("--repeat", is_flag=True, help="Begin the recording again when it is over.")
@click.option(
    "--stalled-after",
    type=float,
    default=STALLED_S_MAX,
    show_default=True,
    help="Seconds after which a firm that reads nothing is cut off.",
)
@click.option("--ready", is_flag=True, help="Print one line of JSON when it serves.")
def main(
    listen: Path,
    instruments: Path,
    market_data: Path | None,
    operator: Path | None,
    tcp: tuple[str, int] | None,
    replay: Path | None,
    replay_symbol: str | None,
    speed: float,
    repeat: bool,
    stalled_after: float,
    ready: bool,
) -> None:
    """Run the embedded exchange until SIGTERM or SIGINT. Its state is in memory alone: a restart is a new life of the venue."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if (replay is None) != (replay_symbol is None):
        raise click.UsageError("--replay and --replay-symbol go together")
    recording = None
    if replay is not None and replay_symbol is not None:
        recording = ReplaySettings(path=replay, symbol=replay_symbol, speed=speed, repeats=repeat)
    try:
        settings = ExchangeSettings(
            listen=listen,
            instruments=load_instruments(instruments),
            market_data=market_data,
            operator=operator,
            tcp=tcp,
            replay=recording,
            announces_ready=ready,
            stalled_s_max=stalled_after,
        )
        sys.exit(run(settings))
    except InvalidSettings as error:
        raise failure_of(error) from error


if __name__ == "__main__":
    main()
