"""``toucan buy``, ``sell``, ``preview``, ``cancel``, ``replace``, ``orders``, ``order``."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from toucan.cli.command import (
    account_option,
    again_option,
    command,
    new_account_option,
    yes_option,
)
from toucan.cli.exits import Exit, advice, exit_of
from toucan.cli.limits import ORDERS_SHOWN, PROMPT_WAIT_S, WAIT_S
from toucan.cli.parameters import KEY, ORDER_ID, ORDER_WORDS, SYMBOL
from toucan.client.errors import Denied, ToucanError
from toucan.core.values import OrdStatus, Side, TimeInForce

if TYPE_CHECKING:
    from toucan.cli.caller import Caller
    from toucan.client import Order, RequestKey
    from toucan.client.terms import OrderOptions

__all__ = [
    "buy_command",
    "cancel_command",
    "order_command",
    "order_options",
    "orders_command",
    "preview_command",
    "replace_command",
    "sell_command",
    "show_entered",
    "terms_options",
    "wait_option",
]

_TIFS = [tif.name.lower() for tif in TimeInForce]
_SIDES = [side.name.lower() for side in Side]
_STATUSES = [status.name.lower().replace("_", "-") for status in OrdStatus]
#: Never rest in a book, so the venue's first word may also be its last.
_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)

_TERMS = (
    click.option("--tif", type=click.Choice(_TIFS, case_sensitive=False), help="Time in force. [default: day, or gtd with --expires]"),
    click.option("--stop", metavar="PRICE", help="Becomes a market order (with a price, a limit order) when a trade reaches it."),
    click.option("--post-only", is_flag=True, help="Rejected rather than executed on arrival."),
    click.option("--reduce-only", is_flag=True, help="Never does more than close the position."),
    click.option("--iceberg", metavar="QUANTITY", help="The most that is shown at a time."),
    click.option("--expires", metavar="TIME", help="When it expires (gtd): 2026-12-01T16:00+01:00."),
    click.option("--note", default="", metavar="TEXT", help="Kept with the order; at most 200 characters."),
    new_account_option,
)  # fmt: skip
wait_option = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help=f"How long to wait for the venue's word. [default: {WAIT_S:g}, at the prompt {PROMPT_WAIT_S:g}]",
)


def terms_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of a new order's terms."""
    for option in reversed(_TERMS):
        function = option(function)
    return function


def order_options(price: str | None, parameters: dict[str, Any]) -> OrderOptions:
    """The client's options from the command's parameters."""
    expires = parameters["expires"]
    tif = parameters["tif"] or (TimeInForce.GTD if expires else TimeInForce.DAY)
    return {
        "price": price,
        "stop_price": parameters["stop"],
        "account": parameters["account"],
        "tif": tif,
        "max_floor": parameters["iceberg"],
        "post_only": parameters["post_only"],
        "reduce_only": parameters["reduce_only"],
        "expire_at": None if expires is None else _time(expires),
        "note": parameters["note"],
    }


def _time(text: str) -> datetime.datetime:
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time; write 2026-12-01T16:00+01:00", param_hint="--expires"
        ) from None
    if at.tzinfo is None:
        raise click.BadParameter(
            f"{text!r} has no zone; write {text}Z for UTC, or {text}+01:00", param_hint="--expires"
        )
    return at


# --- new orders ---


@command("buy", short_help="Buy: toucan buy 100 AAPL @ 189.50 --tif ioc")
@click.argument("words", nargs=-1, type=ORDER_WORDS, metavar="QUANTITY SYMBOL [@] PRICE|market")
@terms_options
@yes_option
@wait_option
@again_option
def buy_command(caller: Caller, words: tuple[str, ...], **parameters: Any) -> int:
    """Buy QUANTITY of SYMBOL at PRICE or better, or "market" for whatever the market asks.

    Prints how the order stands when the venue has answered, or after --wait. Exit code 0 says that the order is durable
    and within all limits. With --json: an order.

    Examples: toucan buy 100 AAPL @ 189.50 --tif ioc; toucan buy 100 AAPL market; toucan buy 5 AAPL 191 --stop 190
    """
    return _enter(caller, Side.BUY, words, parameters)


@command("sell", short_help="Sell: toucan sell 100 AAPL @ 190.25")
@click.argument("words", nargs=-1, type=ORDER_WORDS, metavar="QUANTITY SYMBOL [@] PRICE|market")
@terms_options
@yes_option
@wait_option
@again_option
def sell_command(caller: Caller, words: tuple[str, ...], **parameters: Any) -> int:
    """Sell QUANTITY of SYMBOL at PRICE or better, or "market" for whatever the market pays. As buy.

    Examples: toucan sell 100 AAPL @ 190.25; toucan sell 100 AAPL market --stop 185
    """
    return _enter(caller, Side.SELL, words, parameters)


def _enter(caller: Caller, side: Side, words: tuple[str, ...], parameters: dict[str, Any]) -> int:
    from toucan.cli.words import order_words

    said = order_words(words, f"toucan {side.name.lower()} 100 AAPL @ 189.50")
    options = order_options(said.price, parameters)
    if said.price is None and parameters["stop"] is None:
        raise click.UsageError(
            'the order has no price; say "@ 189.50", or "market" for whatever the market gives'
        )
    client = caller.client
    symbol = caller.instrument(said.symbol).symbol
    key: RequestKey | None = KEY.read(parameters["again"])

    def submit(is_confirmed: bool) -> Order:
        accepted = caller.changing(
            lambda: client.submit(side, symbol, said.quantity, is_confirmed=is_confirmed, key=key, **options)
        )
        return client.order(accepted.order_id)

    try:
        order = submit(parameters["yes"])
    except Denied as denied:
        if not denied.can_be_confirmed:
            raise
        texts = [one.text for one in client.preview(side, symbol, said.quantity, **options).denials] or [
            denied.message
        ]
        caller.confirm("\n".join(texts), "Send it anyway?")
        key = None  # the denied request has its answer; this is another one
        order = submit(True)
    wait_s = parameters["wait_s"]
    return show_entered(caller, order, caller.wait_s if wait_s is None else wait_s)


def show_entered(caller: Caller, order: Order, wait_s: float) -> int:
    """Prints a new order when its venue has said its first word, or after ``wait_s``; gives the exit code."""
    order = _awaited(caller, order, wait_s)
    _show(caller, order)
    return Exit.REJECTED if order.status is OrdStatus.REJECTED else Exit.OK


def _awaited(caller: Caller, order: Order, wait_s: float) -> Order:
    """The order when the venue has said its first word, or of one that does not rest its last; or as it is after ``wait_s``."""

    def is_answered(order: Order) -> bool:
        if order.terms.time_in_force in _AT_ONCE or order.terms.price is None:
            return not order.is_open or (
                order.terms.stop_price is not None and order.status is not OrdStatus.PENDING_NEW
            )
        return order.status is not OrdStatus.PENDING_NEW

    if wait_s == 0 or is_answered(order):
        return order
    watch = caller.client.watch_orders(
        accounts=[order.account], symbols=[order.symbol], after_seq=order.updated_seq, timeout_s=wait_s
    )
    with watch:
        for update in watch:
            if update.order.order_id == order.order_id:
                order = update.order
                if is_answered(order):
                    break
    return order


def _show(caller: Caller, order: Order) -> None:
    from toucan.cli.words import status_words, terms_words

    caller.say(f"order {order.order_id}: {terms_words(order.terms)}: {status_words(order)}")
    if caller.as_json:
        from toucan.cli.json_objects import ORDER

        caller.give(ORDER.of(order))


@command("preview", short_help="What an order would be answered, without sending it.")
@click.argument("side", type=click.Choice(_SIDES, case_sensitive=False), metavar="buy|sell")
@click.argument("words", nargs=-1, type=ORDER_WORDS, metavar="QUANTITY SYMBOL [@] PRICE|market")
@terms_options
def preview_command(caller: Caller, side: str, words: tuple[str, ...], **parameters: Any) -> int:
    """Say what an order would be answered, without sending it: the limits it would pass, what it is worth.

    Exit code 0 if it would be accepted, 3 if it would be denied, 8 if it would only need --yes. With --json: a preview.

    Example: toucan preview buy 100 AAPL @ 189.50
    """
    from toucan.cli.words import order_words

    said = order_words(words, f"toucan preview {side} 100 AAPL @ 189.50")
    options = order_options(said.price, parameters)
    instrument = caller.instrument(said.symbol)
    preview = caller.client.preview(side, instrument.symbol, said.quantity, **options)
    if caller.as_json:
        from toucan.cli.json_objects import PREVIEW

        caller.give(PREVIEW.of(preview))
    for denial in preview.denials:
        caller.say(
            f"{'asks for --yes' if denial.can_be_confirmed else 'denied'}: {denial.text} ({denial.code})"
        )
    if not preview.denials:
        caller.say("would be accepted")
    if preview.notional is not None:
        caller.say(f"worth at most {preview.notional:f} in the base currency")
    if preview.reference_price is not None:
        caller.say(f"reference price {preview.reference_price:f}")
    caller.say(f"position now {preview.position.normalize():f}")
    if not preview.denials:
        return Exit.OK
    is_soft = all(denial.can_be_confirmed for denial in preview.denials)
    return Exit.NEEDS_CONFIRMATION if is_soft else Exit.DENIED


# --- changes ---


@command("cancel", short_help="Cancel orders by number, or all that match.")
@click.argument("order_ids", nargs=-1, type=ORDER_ID, metavar="[ID]...")
@click.option(
    "--all",
    "is_all",
    is_flag=True,
    help="Every open order that you may cancel and that matches what else is given.",
)
@account_option
@click.option("--symbol", type=SYMBOL, metavar="SYMBOL", help="With --all: only this symbol.")
@click.option("--side", type=click.Choice(_SIDES, case_sensitive=False), help="With --all: only this side.")
@click.option("--owner", metavar="USER", help="With --all: only what this user has entered.")
@again_option
def cancel_command(
    caller: Caller,
    order_ids: tuple[int, ...],
    is_all: bool,
    account: str | None,
    symbol: str | None,
    side: str | None,
    owner: str | None,
    again: str | None,
) -> int:
    """Cancel what is left of the orders with these numbers, or with --all of every order that matches.

    Asks nothing. That a cancel is on its way does not say that it comes in time: the venue does. With --json:
    {"order_ids": [cancels on their way], "skipped": how many were on their way already, "errors": [errors]}; each error
    has its order_id beside what an error has.

    Examples: toucan cancel 17 18; toucan cancel --all --symbol AAPL --side buy
    """
    filters = (account, symbol, side, owner)
    if is_all == bool(order_ids):
        raise click.UsageError(
            "say which orders: their numbers, or --all (with --account, --symbol, --side, --owner)"
        )
    if not is_all and any(filters):
        raise click.UsageError("--account, --symbol, --side and --owner go with --all")
    key = KEY.read(again)
    if key is not None and len(order_ids) > 1:
        raise click.UsageError("--again repeats one request: give the one number that it was for")
    if order_ids:
        return _cancel_each(caller, order_ids, key)
    if symbol is not None:
        symbol = caller.instrument(symbol).symbol
    done = caller.changing(
        lambda: caller.client.mass_cancel(
            account=account or "", symbol=symbol or "", side=side, owner=owner or "", key=key
        )
    )
    _show_cancelled(caller, list(done.order_ids), done.skipped, [])
    return Exit.OK


def _cancel_each(caller: Caller, order_ids: tuple[int, ...], key: RequestKey | None) -> int:
    cancelled: list[int] = []
    errors: list[tuple[int, ToucanError]] = []
    for order_id in order_ids:
        try:
            caller.changing(lambda order_id=order_id: caller.client.cancel(order_id, key=key))  # type: ignore[misc]
        except ToucanError as error:
            if len(order_ids) == 1:
                raise
            errors.append((order_id, error))
        else:
            cancelled.append(order_id)
    _show_cancelled(caller, cancelled, 0, errors)
    return exit_of(errors[0][1]) if errors else Exit.OK


def _show_cancelled(
    caller: Caller, order_ids: list[int], skipped: int, errors: list[tuple[int, ToucanError]]
) -> None:
    if order_ids:
        caller.say(f"cancels on their way: {' '.join(map(str, order_ids))}")
    elif not errors:
        caller.say("there was nothing to cancel")
    if skipped:
        caller.say(f"{skipped} more had a cancel on its way already")
    for order_id, error in errors:
        if not caller.as_json:
            click.echo(
                f"toucan: error: order {order_id}: {advice(error, caller.options.server_text)}", err=True
            )
    if caller.as_json:
        from toucan.cli.json_objects import ERROR

        failed = [{"order_id": order_id, **ERROR.of(error)} for order_id, error in errors]
        caller.give({"order_ids": order_ids, "skipped": skipped, "errors": failed})


@command("replace", short_help="Change an open order's quantity or prices.")
@click.argument("order_id", type=ORDER_ID, metavar="ID")
@click.option("--quantity", metavar="QUANTITY", help="All of it, also what is filled already.")
@click.option("--price", metavar="PRICE", help="Limit price.")
@click.option("--stop", metavar="PRICE", help="Stop price.")
@yes_option
@again_option
def replace_command(
    caller: Caller,
    order_id: int,
    quantity: str | None,
    price: str | None,
    stop: str | None,
    yes: bool,
    again: str | None,
) -> int:
    """Change quantity or prices of the open order ID; what is not given stays as it is.

    Prints how the order stands then; the venue may still refuse the change. With --json: an order.

    Example: toucan replace 17 --price 189.60
    """
    client, key = caller.client, KEY.read(again)

    def replace(is_confirmed: bool) -> Order:
        caller.changing(
            lambda: client.replace(
                order_id, quantity=quantity, price=price, stop_price=stop, is_confirmed=is_confirmed, key=key
            )
        )
        return client.order(order_id)

    try:
        order = replace(yes)
    except Denied as denied:
        if not denied.can_be_confirmed:
            raise
        caller.confirm(denied.message, "Send it anyway?")
        key = None
        order = replace(True)
    _show(caller, order)
    return Exit.OK


# --- state ---


@command("orders", short_help="Open orders, or all.")
@click.option("--all", "is_all", is_flag=True, help="Also those that are over.")
@account_option
@click.option("--symbol", type=SYMBOL, metavar="SYMBOL", help="Only this symbol.")
@click.option("--side", type=click.Choice(_SIDES, case_sensitive=False), help="Only this side.")
@click.option("--owner", metavar="USER", help="Only what this user has entered.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(_STATUSES, case_sensitive=False),
    help="Only this status; repeatable; implies --all.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    default=ORDERS_SHOWN,
    show_default=True,
    help="No more than so many, the newest.",
)
def orders_command(
    caller: Caller,
    is_all: bool,
    account: str | None,
    symbol: str | None,
    side: str | None,
    owner: str | None,
    statuses: tuple[str, ...],
    limit: int,
) -> int:
    """List open orders, the newest first. With --json: a list of orders."""
    orders = caller.client.orders(
        limit=limit,
        accounts=[account] if account else [],
        symbols=[caller.instrument(symbol).symbol] if symbol else [],
        side=side,
        owners=[owner] if owner else [],
        is_open=not is_all and not statuses,
        statuses=statuses,
    )
    if caller.as_json:
        from toucan.cli.json_objects import ORDER

        caller.give(ORDER.each(orders))
        return Exit.OK
    from toucan.cli.tables import orders_table, print_table

    print_table(orders_table(orders), caller.width(), "no orders" if is_all or statuses else "no open orders")
    if len(orders) == limit:
        click.echo(f"the newest {limit}; --limit shows more", err=True)
    return Exit.OK


@command("order", short_help="One order in full.")
@click.argument("order_id", type=ORDER_ID, metavar="ID")
def order_command(caller: Caller, order_id: int) -> int:
    """Show all that is known of the order ID. With --json: an order."""
    order = caller.client.order(order_id)
    if caller.as_json:
        from toucan.cli.json_objects import ORDER

        caller.give(ORDER.of(order))
        return Exit.OK
    from toucan.cli.tables import order_table, print_table

    print_table(order_table(order), caller.width(), "")
    return Exit.OK
