"""``toucan book`` on a terminal: a ladder of prices, offers above bids, that moves with the market and says when it may be old."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from toucan.cli.limits import LADDER_BAR_CHARACTERS, LADDER_RATE_MAX
from toucan.cli.words import clock_time
from toucan.client.exact import plain
from toucan.client.streams import MarketDataBatch
from toucan.client.values import Level, MarketData
from toucan.client.watch import Watch

__all__ = ["ladder", "show_ladder"]


def show_ladder(watch: Watch[MarketDataBatch, MarketData], depth: int) -> None:
    """Draws until the stream ends or Ctrl-C."""
    market: MarketData | None = None

    def draw() -> Group:
        trouble = (
            ""
            if watch.is_connected
            else f"not connected: {watch.trouble}; trying again"
            if watch.trouble
            else "connecting"
        )
        return ladder(
            market, depth, trouble or ("nothing is heard of it: this may be old" if watch.is_stale else "")
        )

    with Live(draw(), refresh_per_second=LADDER_RATE_MAX, auto_refresh=False, transient=False) as live:
        watch.on_state = lambda: live.update(draw(), refresh=True)
        try:
            for batch in watch.batches():
                market = batch.news[-1] if batch.news else market
                live.update(draw(), refresh=True)
        except KeyboardInterrupt:
            pass  # the usual way to leave


def ladder(market: MarketData | None, depth: int, trouble: str) -> Group:
    """The picture: always ``2 * depth + 3`` lines high, so that it stands still. ``trouble``: why it may be old; empty if it is not."""
    head = Text(trouble.upper(), style="bold white on red") if trouble else Text(_head(market), style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("orders", "bid", "price", "offer", "orders"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=LADDER_BAR_CHARACTERS)
    bids, asks = (market.book.bids, market.book.asks) if market is not None else ((), ())
    largest = max((one.quantity for one in (*bids, *asks)), default=Decimal(0))
    is_dim = bool(trouble)
    for ask in reversed(_padded(asks, depth)):
        table.add_row(*_row(ask, largest, is_bid=False), style="dim" if is_dim else "")
    for bid in _padded(bids, depth):
        table.add_row(*_row(bid, largest, is_bid=True), style="dim" if is_dim else "")
    return Group(head, table, Text(_foot(market), style="dim"))


def _padded(levels: Sequence[Level], depth: int) -> list[Level | None]:
    return [*levels[:depth], *[None] * (depth - len(levels))]


def _row(level: Level | None, largest: Decimal, *, is_bid: bool) -> list[Text]:
    if level is None:
        return [Text("")] * 6
    style = "green" if is_bid else "red"
    quantity, orders = (
        Text(plain(level.quantity)),
        Text(str(level.orders) if level.orders else "", style="dim"),
    )
    price = Text(f"{level.price:f}", style=style)
    length = max(1, int(level.quantity / largest * LADDER_BAR_CHARACTERS)) if largest else 0
    bar, nothing = Text("█" * length, style=style), Text("")
    return (
        [orders, quantity, price, nothing, nothing, bar]
        if is_bid
        else [nothing, nothing, price, quantity, orders, bar]
    )


def _head(market: MarketData | None) -> str:
    if market is None:
        return "nothing heard yet"
    last = (
        "no trade yet"
        if market.last is None
        else f"last {plain(market.last.quantity)} @ {market.last.price:f}"
    )
    halted = "  HALTED" if market.is_halted else ""
    return f"{market.symbol}  {last}  volume {plain(market.volume)}{halted}"


def _foot(market: MarketData | None) -> str:
    return "" if market is None else f"{clock_time(market.at_ns)}  Ctrl-C ends"
