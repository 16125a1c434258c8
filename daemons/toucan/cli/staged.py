"""``toucan stage``, ``staged``, ``release``, ``amend``, ``reject``: what is proposed, and what people decide about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from toucan.cli.command import account_option, again_option, command, yes_option
from toucan.cli.exits import Exit, advice, exit_of
from toucan.cli.limits import ORDERS_SHOWN
from toucan.cli.orders import order_options, show_entered, terms_options, wait_option
from toucan.cli.parameters import KEY, ORDER_WORDS, STAGED_ID, SYMBOL
from toucan.client.errors import Denied, Refused, ToucanError
from toucan.core.values import Side

if TYPE_CHECKING:
    from toucan.cli.caller import Caller
    from toucan.client import Order, StagedOrder

__all__ = ["amend_command", "reject_command", "release_command", "stage_command", "staged_command"]

_SIDES = [side.name.lower() for side in Side]
_why_option = click.option("--why", required=True, metavar="TEXT", help="Why, for who decides and for the audit trail.")  # fmt: skip
_revision_option = click.option(
    "--revision",
    type=click.IntRange(min=1),
    metavar="N",
    help="As which revision you have seen it; refused if it was amended since. [default: as it is now]",
)


@command("stage", short_help="Propose an order, for somebody else to release.")
@click.argument("side", type=click.Choice(_SIDES, case_sensitive=False), metavar="buy|sell")
@click.argument("words", nargs=-1, type=ORDER_WORDS, metavar="QUANTITY SYMBOL [@] PRICE|market")
@_why_option
@click.option(
    "--ttl",
    "ttl_s",
    type=click.FloatRange(min=1, max=24 * 3600),
    metavar="SECONDS",
    help="It expires after so long, and with the session of its instrument in any case. [default: 900]",
)
@terms_options
@again_option
def stage_command(
    caller: Caller, side: str, words: tuple[str, ...], why: str, ttl_s: float | None, again: str | None, **parameters: Any
) -> int:  # fmt: skip
    """Propose an order and say why; nothing is sent before somebody releases it.

    Says what would be denied if it was released now; that is told to who decides, and no error. With --json: a staged
    order.

    Example: toucan stage buy 100 AAPL @ 189.50 --why "below its mean of 20 days"
    """
    from toucan.cli.words import order_words

    said = order_words(words, f"toucan stage {side} 100 AAPL @ 189.50 --why TEXT")
    options = order_options(said.price, parameters)
    if said.price is None and parameters["stop"] is None:
        raise click.UsageError(
            'the order has no price; say "@ 189.50", or "market" for whatever the market gives'
        )
    client, key = caller.client, KEY.read(again)
    symbol = caller.instrument(said.symbol).symbol
    staged = caller.changing(
        lambda: client.stage(side, symbol, said.quantity, why=why, time_to_live_s=ttl_s, key=key, **options)
    )
    _show(caller, client.staged_order(staged.staged_id))
    return Exit.OK


def _show(caller: Caller, staged: StagedOrder) -> None:
    from toucan.cli.words import staged_words, terms_words

    caller.say(f"staged {staged.staged_id}: {terms_words(staged.terms)}: {staged_words(staged)}")
    if caller.as_json:
        from toucan.cli.json_objects import STAGED

        caller.give(STAGED.of(staged))


@command("staged", short_help="Proposals that wait for a decision, all, or one in full.")
@click.argument("staged_id", type=STAGED_ID, required=False, metavar="[ID]")
@click.option("--all", "is_all", is_flag=True, help="Also those that were decided.")
@account_option
@click.option("--symbol", type=SYMBOL, metavar="SYMBOL", help="Only this symbol.")
@click.option("--proposer", metavar="USER", help="Only what this user has proposed.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    default=ORDERS_SHOWN,
    show_default=True,
    help="No more than so many, the newest.",
)
def staged_command(
    caller: Caller,
    staged_id: int | None,
    is_all: bool,
    account: str | None,
    symbol: str | None,
    proposer: str | None,
    limit: int,
) -> int:
    """List the proposals that wait for a decision, the newest first; or show ID with all that it was.

    With --json: a list of staged orders, or one.
    """
    from toucan.cli.json_objects import STAGED
    from toucan.cli.tables import print_table, staged_list_table, staged_table

    if staged_id is not None:
        one = caller.client.staged_order(staged_id)
        if caller.as_json:
            caller.give(STAGED.of(one))
        else:
            print_table(staged_table(one), caller.width(), "")
        return Exit.OK
    found = caller.client.staged_orders(
        limit=limit,
        accounts=[account] if account else [],
        symbols=[caller.instrument(symbol).symbol] if symbol else [],
        proposers=[proposer] if proposer else [],
        is_pending=not is_all,
    )
    if caller.as_json:
        caller.give(STAGED.each(found))
        return Exit.OK
    print_table(staged_list_table(found), caller.width(), "nothing is staged")
    if len(found) == limit:
        click.echo(f"the newest {limit}; --limit shows more", err=True)
    return Exit.OK


# --- decisions ---


def _seen(caller: Caller, staged_id: int, revision: int | None) -> StagedOrder:
    """The staged order as the person has seen it. Raises :class:`~toucan.client.errors.Refused` if it is another one by now."""
    staged = caller.client.staged_order(staged_id)
    if revision is not None and revision != staged.revision and staged.is_pending:
        last = staged.revisions[-1]
        raise Refused(
            f"staged order {staged_id} was amended by {last.by} (revision {staged.revision}); look at it again",
            "STAGED_ORDER_CHANGED",
        )
    return staged


@command("release", short_help="Send a proposal, as it is or amended.")
@click.argument("staged_id", type=STAGED_ID, metavar="ID")
@click.option("--quantity", metavar="QUANTITY", help="Another quantity than was proposed.")
@click.option("--price", metavar="PRICE", help="Another limit price.")
@click.option("--stop", metavar="PRICE", help="Another stop price.")
@click.option("--why", default="", metavar="TEXT", help="A comment, for the audit trail.")
@_revision_option
@yes_option
@wait_option
@again_option
def release_command(
    caller: Caller,
    staged_id: int,
    quantity: str | None,
    price: str | None,
    stop: str | None,
    why: str,
    revision: int | None,
    yes: bool,
    wait_s: float | None,
    again: str | None,
) -> int:
    """Send the proposal ID, as it is or with another quantity or price. All limits are checked now, as for a new order.

    One that was amended since it was proposed is shown and asked for, unless --revision says which one you have seen.
    Prints how the order stands when the venue has answered, or after --wait. With --json: an order.

    Example: toucan release 7 --quantity 50
    """
    client, key = caller.client, KEY.read(again)
    seen = _seen(caller, staged_id, revision)
    if seen.is_pending and seen.revision > 1 and revision is None and not yes:
        _confirm_amended(caller, seen)

    def release(is_confirmed: bool) -> Order:
        accepted = caller.changing(
            lambda: client.release_staged(
                seen, quantity=quantity, price=price, stop_price=stop, why=why, is_confirmed=is_confirmed, key=key
            )
        )  # fmt: skip
        return client.order(accepted.order_id)

    try:
        order = release(yes)
    except Denied as denied:
        if not denied.can_be_confirmed:
            raise
        caller.confirm(denied.message, "Send it anyway?")
        key = None  # the denied request has its answer; this is another one
        order = release(True)
    return show_entered(caller, order, caller.wait_s if wait_s is None else wait_s)


def _confirm_amended(caller: Caller, seen: StagedOrder) -> None:
    from toucan.cli.words import staged_words, terms_words

    text = f"staged {seen.staged_id} is now: {terms_words(seen.terms)}: {staged_words(seen)}"
    caller.confirm(text, "Send it so?")


@command("amend", short_help="Change a proposal's quantity or prices.")
@click.argument("staged_id", type=STAGED_ID, metavar="ID")
@click.option("--quantity", metavar="QUANTITY", help="Quantity.")
@click.option("--price", metavar="PRICE", help="Limit price.")
@click.option("--stop", metavar="PRICE", help="Stop price.")
@_why_option
@_revision_option
@again_option
def amend_command(
    caller: Caller,
    staged_id: int,
    quantity: str | None,
    price: str | None,
    stop: str | None,
    why: str,
    revision: int | None,
    again: str | None,
) -> int:
    """Change quantity or prices of the proposal ID; it still waits for a decision, and what it was stays in its history.

    With --json: a staged order.

    Example: toucan amend 7 --price 189.40 --why "the market has moved"
    """
    client, key = caller.client, KEY.read(again)
    seen = _seen(caller, staged_id, revision)
    caller.changing(
        lambda: client.amend_staged(
            seen, quantity=quantity, price=price, stop_price=stop, why=why, key=key
        )
    )  # fmt: skip
    _show(caller, client.staged_order(staged_id))
    return Exit.OK


@command("reject", short_help="Turn proposals down, or take your own back.")
@click.argument("staged_ids", nargs=-1, required=True, type=STAGED_ID, metavar="ID...")
@_why_option
@again_option
def reject_command(caller: Caller, staged_ids: tuple[int, ...], why: str, again: str | None) -> int:
    """End the proposals with these numbers, so that they are never sent; your own are withdrawn.

    With --json: {"staged_ids": [that have ended], "errors": [errors]}; each error has its staged_id beside what an
    error has.

    Example: toucan reject 7 8 --why "not before the announcement"
    """
    key = KEY.read(again)
    if key is not None and len(staged_ids) > 1:
        raise click.UsageError("--again repeats one request: give the one number that it was for")
    ended: list[int] = []
    errors: list[tuple[int, ToucanError]] = []
    for staged_id in staged_ids:
        try:
            caller.changing(lambda number=staged_id: caller.client.reject_staged(number, why, key=key))  # type: ignore[misc]
        except ToucanError as error:
            if len(staged_ids) == 1:
                raise
            errors.append((staged_id, error))
        else:
            ended.append(staged_id)
    if ended:
        caller.say(f"ended, and never sent: {' '.join(map(str, ended))}")
    _tell_errors(caller, errors)
    if caller.as_json:
        from toucan.cli.json_objects import ERROR

        failed = [{"staged_id": number, **ERROR.of(one)} for number, one in errors]
        caller.give({"staged_ids": ended, "errors": failed})
    return exit_of(errors[0][1]) if errors else Exit.OK


def _tell_errors(caller: Caller, errors: list[tuple[int, ToucanError]]) -> None:
    for staged_id, error in errors:
        if not caller.as_json:
            text = advice(error, caller.options.server_text)
            click.echo(f"toucan: error: staged order {staged_id}: {text}", err=True)
