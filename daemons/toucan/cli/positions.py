"""``toucan positions``, ``instruments``, ``whoami``, ``adjust``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toucan.cli.command import account_option, again_option, command, new_account_option, reason_option
from toucan.cli.exits import Exit
from toucan.cli.parameters import KEY, SYMBOL

if TYPE_CHECKING:
    from toucan.cli.caller import Caller

__all__ = ["adjust_command", "instruments_command", "positions_command", "whoami_command"]


@command("positions", short_help="Positions and their profit.")
@account_option
@click.option("--symbol", type=SYMBOL, metavar="SYMBOL", help="Only this symbol.")
@click.option("--by-trader", is_flag=True, help="Each trader's beside the accounts'.")
def positions_command(caller: Caller, account: str | None, symbol: str | None, by_trader: bool) -> int:
    """List positions with realised and unrealised profit. With --json: a list of positions."""
    positions = caller.client.positions(
        accounts=[account] if account else [],
        symbols=[caller.instrument(symbol).symbol] if symbol else [],
        by_trader=by_trader,
    )
    if caller.as_json:
        from toucan.cli.json_objects import POSITION

        caller.give(POSITION.each(positions))
        return Exit.OK
    from toucan.cli.tables import positions_table, print_table

    print_table(positions_table(positions, by_trader=by_trader), caller.width(), "no positions")
    return Exit.OK


@command("instruments", short_help="What can be traded, and in which steps.")
def instruments_command(caller: Caller) -> int:
    """List the instrument table. With --json: a list of instruments."""
    table = caller.client.instruments()
    if caller.as_json:
        from toucan.cli.json_objects import INSTRUMENT

        caller.give(INSTRUMENT.each(table))
        return Exit.OK
    from toucan.cli.tables import instruments_table, print_table

    print_table(instruments_table(table), caller.width(), "no instruments")
    return Exit.OK


@command("whoami", short_help="Who the server takes you for, and what you may do.")
def whoami_command(caller: Caller) -> int:
    """Say who the server takes you for, your accounts and what you may do. With --json: an identity."""
    identity = caller.client.identity()
    if caller.as_json:
        from toucan.cli.json_objects import IDENTITY

        caller.give(IDENTITY.of(identity))
        return Exit.OK
    from toucan.cli.tables import identity_table, print_table

    print_table(identity_table(identity), caller.width(), "")
    return Exit.OK


@command("adjust", short_help="Add to a position: a transfer, an opening balance.")
@click.argument("quantity", metavar="QUANTITY")
@click.argument("symbol", type=SYMBOL, metavar="SYMBOL")
@click.argument("price", metavar="PRICE")
@new_account_option
@click.option("--trader", default="", metavar="USER", help="Whose part of the account's position it is.")
@click.option("--take-away", is_flag=True, help="Takes QUANTITY away instead.")
@reason_option
@again_option
def adjust_command(
    caller: Caller,
    quantity: str,
    symbol: str,
    price: str,
    account: str | None,
    trader: str,
    take_away: bool,
    reason: str,
    again: str | None,
) -> int:
    """Add QUANTITY of SYMBOL to a position at PRICE, without an order: a transfer, an opening balance.

    With --json: {"account": …, "symbol": …, "seq": event}.

    Example: toucan adjust 100 AAPL 189.50 --account ACC1 --reason "opening balance"
    """
    client = caller.client
    symbol = caller.instrument(symbol).symbol
    account = client.account(account)
    signed = f"-{quantity}" if take_away else quantity
    done = caller.changing(
        lambda: client.adjust_position(
            account, symbol, signed, price, reason, trader=trader, key=KEY.read(again)
        )
    )
    caller.say(f"position of {account} in {symbol} adjusted by {signed} @ {price}")
    caller.give({"account": account, "symbol": symbol, "seq": done.seq})
    return Exit.OK
