"""``toucan watch``: what happens, as it happens."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import click

from toucan.cli.command import account_option, command
from toucan.cli.exits import Exit
from toucan.cli.limits import DEPTH_MAX
from toucan.cli.parameters import SYMBOL, WATCH_WORDS

if TYPE_CHECKING:
    from toucan.cli.caller import Caller
    from toucan.client import MarketData, OrderUpdate, Position, StagedUpdate, Watch

__all__ = ["market_line", "print_all", "staged_line", "update_line", "watch_command"]

_KINDS = ("orders", "positions", "market", "events", "staged")


@command("watch", short_help="Orders, positions, prices or everything, as it happens.")
@click.argument(
    "words", nargs=-1, type=WATCH_WORDS, metavar="[orders|positions|market SYMBOL...|events|staged]"
)
@click.option("--staged", "is_staged", is_flag=True, help="Staged orders; the same as the word.")
@account_option
@click.option("--symbol", type=SYMBOL, metavar="SYMBOL", help="Only this symbol (orders, positions, staged).")
@click.option("--owner", metavar="USER", help="Only what this user has entered or proposed (orders, staged).")
@click.option(
    "--depth",
    type=click.IntRange(0, DEPTH_MAX),
    default=0,
    metavar="N",
    help="Levels of each side as well (market; shown with --json, `toucan book` draws them).",
)
@click.option(
    "--all",
    "is_all",
    is_flag=True,
    help="Begin with orders that are over, and proposals that were decided, too.",
)
@click.option(
    "--after",
    "after_seq",
    type=click.IntRange(min=0),
    metavar="SEQ",
    help="Go on after this event (orders, events, staged).",
)
@click.option(
    "--for", "for_s", type=click.FloatRange(min=0), metavar="SECONDS", help="End by itself after so long."
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End by itself after so many.")
def watch_command(
    caller: Caller,
    words: tuple[str, ...],
    is_staged: bool,
    account: str | None,
    symbol: str | None,
    owner: str | None,
    depth: int,
    is_all: bool,
    after_seq: int | None,
    for_s: float | None,
    count: int | None,
) -> int:
    """Print what happens to orders (the default), positions, prices, staged orders, or (events) everything with denials, until Ctrl-C.

    It goes on by itself when the connection was lost, without a gap or a repeat, and says so on standard error. With
    --json: a line each: order updates, positions, market data, staged updates or events; beside them {"type": "state",
    "is_connected": …, "is_stale": …, "trouble": …} when the connection is lost or back, and {"type": "gap",
    "until_seq": …} where the server no longer keeps all events.

    Examples: toucan watch; toucan watch market AAPL MSFT --depth 5; toucan watch events --after 0 --json
    """
    kind, symbols = _kind_of(("staged", *words) if is_staged else words)
    if depth and kind != "market":
        raise click.UsageError("--depth goes with market: toucan watch market AAPL --depth 5")
    accounts, only = [account] if account else [], caller.symbols([symbol] if symbol else [])
    client = caller.client
    watch: Watch[Any, Any]
    if kind == "orders":
        watch = client.watch_orders(
            accounts=accounts,
            symbols=only,
            owners=[owner] if owner else [],
            is_open=not is_all,
            after_seq=after_seq,
            timeout_s=for_s,
        )
    elif kind == "staged":
        watch = client.watch_staged(
            accounts=accounts,
            symbols=only,
            proposers=[owner] if owner else [],
            is_pending=not is_all,
            after_seq=after_seq,
            timeout_s=for_s,
        )
    elif kind == "positions":
        watch = client.watch_positions(accounts=accounts, symbols=only, timeout_s=for_s)
    elif kind == "market":
        watch = client.watch_market_data(caller.symbols(symbols), depth=depth, timeout_s=for_s)
    else:
        watch = client.drop_copy(accounts=accounts, after_seq=after_seq, timeout_s=for_s)
    return print_all(caller, watch, count)


def _kind_of(words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    kind, *rest = words or ("orders",)
    if kind not in _KINDS:
        raise click.UsageError(f"what is {kind!r}? It is one of: {', '.join(_KINDS)}")
    if kind == "market" and not rest:
        raise click.UsageError("say which prices: toucan watch market AAPL")
    if kind != "market" and rest:
        raise click.UsageError(f"nothing follows {kind!r}; --account and --symbol narrow it down")
    return kind, tuple(rest)


def print_all(caller: Caller, watch: Watch[Any, Any], count: int | None) -> int:
    """Prints what a stream tells, at most so many items, until it ends or Ctrl-C; the exit code."""
    was_well = True

    def print_state() -> None:
        nonlocal was_well
        is_well = watch.is_connected and not watch.is_stale
        if caller.as_json or not (is_well and was_well):
            _print_state(caller, watch)
        was_well = is_well

    watch.on_state = print_state
    try:
        with watch:
            for item in itertools.islice(watch, count):
                _print_one(caller, item)
    except KeyboardInterrupt:
        pass  # the usual way to leave
    return Exit.OK


def _print_state(caller: Caller, watch: Watch[Any, Any]) -> None:
    caller.give(
        {
            "type": "state",
            "is_connected": watch.is_connected,
            "is_stale": watch.is_stale,
            "trouble": watch.trouble,
        }
    )
    if caller.as_json:
        return
    if not watch.is_connected:
        click.secho(f"not connected: {watch.trouble}; trying again", fg="red", err=True)
    elif watch.is_stale:
        click.secho("the server does not follow its engine: what follows may be old", fg="red", err=True)
    else:
        click.secho("connected", fg="green", err=True)


def _print_one(caller: Caller, item: Any) -> None:
    from toucan.cli import json_objects
    from toucan.cli.words import trade_lines
    from toucan.client import DropCopyGap, MarketData, OrderUpdate, Position, StagedUpdate, Trades

    match item:
        case OrderUpdate():
            caller.say(update_line(item))
            fields = json_objects.UPDATE
        case StagedUpdate():
            caller.say(staged_line(item))
            fields = json_objects.STAGED_UPDATE
        case Position():
            caller.say(_position_line(item))
            fields = json_objects.POSITION
        case MarketData():
            caller.say(market_line(item))
            fields = json_objects.MARKET
        case Trades():
            for line in trade_lines(item):
                caller.say(line)
            fields = json_objects.TRADES
        case DropCopyGap():
            caller.say(
                f"events before {item.until_seq} are no longer kept by the server; `toucan audit` has them"
            )
            caller.give({"type": "gap", "until_seq": item.until_seq})
            return
        case _:
            caller.say(_event_line(item))
            fields = json_objects.EVENT
    if caller.as_json:
        caller.give(fields.of(item))


def update_line(update: OrderUpdate) -> str:
    """ "14:05:01.123  order 12: buy 100 AAPL @ 189.50 for ACC1: filled …"."""
    from toucan.cli.words import clock_time, fill_words, status_words, terms_words

    order = update.order
    line = f"{clock_time(update.at_ns)}  order {order.order_id}: {terms_words(order.terms)}: {status_words(order)}"
    if update.fill is None or update.execution_type is None:
        return line
    kind = update.execution_type.name.lower().replace("_", " ")
    return f"{line}; {kind}: {fill_words(order, update.fill)}"


def staged_line(update: StagedUpdate) -> str:
    """ "14:05:01.123  staged 7: buy 100 AAPL @ 189.50 for ACC1: proposed by bot: …"."""
    from toucan.cli.words import clock_time, staged_words, terms_words

    staged = update.staged
    return f"{clock_time(update.at_ns)}  staged {staged.staged_id}: {terms_words(staged.terms)}: {staged_words(staged)}"


def _position_line(position: Position) -> str:
    from toucan.client.exact import plain

    who = f"{position.account} {position.trader}".strip()
    line = f"{who} {position.symbol}: {plain(position.quantity)}"
    if position.average_price is not None:
        line += f" @ {position.average_price:f}"
    line += f", realised {position.realised_profit:+f}"
    if position.unrealised_profit is not None:
        line += f", unrealised {position.unrealised_profit:+f}"
    return f"{line} {position.currency}"


def market_line(data: MarketData) -> str:
    """ "14:05:01.123  AAPL  bid 100 @ 189.50  offer …"."""
    from toucan.cli.words import clock_time
    from toucan.client.exact import plain

    def level(one: Any) -> str:
        return "-" if one is None else f"{plain(one.quantity)} @ {one.price:f}"

    line = f"{clock_time(data.at_ns)}  {data.symbol}  bid {level(data.bid)}  offer {level(data.ask)}  last {level(data.last)}"
    return f"{line}  volume {plain(data.volume)}" + ("  HALTED" if data.is_halted else "")


def _event_line(event: Any) -> str:
    from toucan.cli.words import clock_time

    about = [
        event.account,
        f"order {event.order_id}" if event.order_id else "",
        event.user and f"by {event.user}",
    ]
    return f"{clock_time(event.at_ns)}  {event.seq}  {event.event}  {' '.join(filter(None, about))}".rstrip()
