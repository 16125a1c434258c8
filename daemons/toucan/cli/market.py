"""``toucan book`` and ``toucan trades``: what others want, and what was traded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from toucan.cli.command import command
from toucan.cli.exits import Exit
from toucan.cli.limits import DEPTH_DEFAULT, DEPTH_MAX, TRADES_BEFORE_DEFAULT, TRADES_BEFORE_MAX
from toucan.cli.parameters import SYMBOL

if TYPE_CHECKING:
    from toucan.cli.caller import Caller

__all__ = ["book_command", "trades_command"]


@command("book", short_help="The order book of a symbol, live on a terminal.")
@click.argument("symbol", type=SYMBOL, metavar="SYMBOL")
@click.option(
    "--depth",
    type=click.IntRange(1, DEPTH_MAX),
    metavar="N",
    default=DEPTH_DEFAULT,
    show_default=True,
    help="Levels of each side.",
)
@click.option("--once", is_flag=True, help="Show it once and end, on a terminal too.")
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="End by itself after so long (live).",
)
def book_command(caller: Caller, symbol: str, depth: int, once: bool, for_s: float | None) -> int:
    """Show the best bids and offers of SYMBOL and its last trade.

    On a terminal it is a ladder that moves, until Ctrl-C; piped, at the prompt and with --json (market data) it is shown once. `toucan watch market
    SYMBOL --depth N --json` tells programs each change.
    """
    symbol = caller.instrument(symbol).symbol
    client = caller.client
    if sys.stdout.isatty() and not (once or caller.as_json or caller.is_at_prompt):
        from toucan.cli.ladder import show_ladder

        with client.watch_market_data([symbol], depth=depth, timeout_s=for_s) as live:
            show_ladder(live, depth)
        return Exit.OK
    with client.watch_market_data([symbol], depth=depth, patience_s=client.timeout_s) as watch:
        data = next(watch)
    if caller.as_json:
        from toucan.cli.json_objects import MARKET

        caller.give(MARKET.of(data))
        return Exit.OK
    from toucan.cli.tables import book_table, print_table
    from toucan.cli.watching import market_line

    print_table(book_table(data), caller.width(), f"nobody bids for or offers {symbol}")
    caller.say(market_line(data))
    return Exit.OK


@command("trades", short_help="What is traded, as it happens.")
@click.argument("symbols", nargs=-1, required=True, type=SYMBOL, metavar="SYMBOL...")
@click.option(
    "--before",
    type=click.IntRange(0, TRADES_BEFORE_MAX),
    metavar="N",
    default=TRADES_BEFORE_DEFAULT,
    show_default=True,
    help="Begin with so many of the newest of each symbol.",
)
@click.option(
    "--for", "for_s", type=click.FloatRange(min=0), metavar="SECONDS", help="End by itself after so long."
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="End by itself after so many messages of trades."
)
def trades_command(
    caller: Caller, symbols: tuple[str, ...], before: int, for_s: float | None, count: int | None
) -> int:
    """Print everybody's trades in SYMBOLs, with busts and corrections, until Ctrl-C.

    What a connection is too slow for is left out, and it is said how many trades that were and how much was traded in them. With --json: trades,
    a line for what came together; beside them the states that `toucan watch` tells.

    Examples: toucan trades AAPL; toucan trades AAPL MSFT --before 0 --json
    """
    from toucan.cli.watching import print_all

    watch = caller.client.watch_trades(caller.symbols(symbols), before=before, timeout_s=for_s)
    return print_all(caller, watch, count)
