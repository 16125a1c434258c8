"""``toucan kill``, ``enable``, ``limits``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from toucan.cli.command import CONTEXT_SETTINGS, again_option, command, reason_option, yes_option
from toucan.cli.exits import Exit
from toucan.cli.parameters import KEY, NODE

if TYPE_CHECKING:
    from toucan.cli.caller import Caller

__all__ = ["LimitsGroup", "enable_command", "kill_command", "limits_group"]

#: What each level means, for the one who is about to set it.
_LEVELS = {
    "block-new": "no new orders, and nothing that adds exposure; cancels pass",
    "cancel-all": "no new orders, and every open order is cancelled now",
    "freeze": "nothing passes, cancels neither: open orders stay in the market",
}


@command("kill", short_help="Stop trading below a node of the risk tree.")
@click.argument("node", type=NODE, metavar="NODE")
@click.option(
    "--level",
    type=click.Choice(list(_LEVELS)),
    required=True,
    help="; ".join(f"{name}: {text}" for name, text in _LEVELS.items()) + ".",
)
@reason_option
@yes_option
@again_option
def kill_command(caller: Caller, node: str, level: str, reason: str, yes: bool, again: str | None) -> int:
    """Stop trading at NODE and everything below it, such as "firm", "firm/desk" or "firm/desk/ACC1".

    On a terminal it asks to type the node's name. `toucan enable` ends it. With --json:
    {"node": …, "level": …, "order_ids": [orders being cancelled], "staged_ids": [staged orders rejected], "seq": event}.

    Example: toucan kill firm/desk --level cancel-all --reason "runaway strategy"
    """
    if not yes:
        caller.confirm_by_name(f"{level} at {node} and below: {_LEVELS[level]}", node)
    return _set_level(caller, node, level, reason, again)


@command("enable", short_help="Let trading go on below a node.")
@click.argument("node", type=NODE, metavar="NODE")
@reason_option
@again_option
def enable_command(caller: Caller, node: str, reason: str, again: str | None) -> int:
    """Set NODE back to normal after a kill, or after it was blocked automatically and its cooling-off time is over.

    A parent of it that is not normal still counts. With --json: as kill.

    Example: toucan enable firm/desk --reason "strategy fixed"
    """
    return _set_level(caller, node, "normal", reason, again)


def _set_level(caller: Caller, node: str, level: str, reason: str, again: str | None) -> int:
    key = KEY.read(again)
    done = caller.changing(lambda: caller.client.set_trading_state(node, level, reason, key=key))
    caller.say(f"{node}: {level}")
    if done.order_ids:
        caller.say(f"cancels on their way: {' '.join(map(str, done.order_ids))}")
    if done.staged_ids:
        caller.say(f"proposals rejected: {' '.join(map(str, done.staged_ids))}")
    ids = {"order_ids": list(done.order_ids), "staged_ids": list(done.staged_ids)}
    caller.give({"node": node, "level": level, **ids, "seq": done.seq})
    return Exit.OK


class LimitsGroup(click.Group):
    """``limits [NODE]`` beside ``limits set`` and ``limits remove``: what is no subcommand is a node, and shown."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand, or ``show``."""
        if args and args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "show", self.commands["show"], args

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without a word, or with options first, it is ``show``."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(
    "limits",
    cls=LimitsGroup,
    context_settings=CONTEXT_SETTINGS,
    short_help="The risk tree: limits, what is used of them, kill levels.",
)
def limits_group() -> None:
    """Show the risk tree, or change a limit: toucan limits [NODE], toucan limits set NODE LIMIT VALUE --reason TEXT."""


@command("show", short_help="The limits from a node down, what is used of them, and kill levels.")
@click.argument("node", type=NODE, default="", metavar="[NODE]")
def _show_command(caller: Caller, node: str) -> int:
    """Show the limits of NODE and below (left out: all you may see), what is used of them, and trading levels.

    "show" may be left out. With --json: {"base_currency": …, "seq": event, "nodes": [nodes]}.

    Example: toucan limits firm/desk
    """
    limits = caller.client.limits(node)
    if caller.as_json:
        from toucan.cli.json_objects import NODE as NODE_FIELDS

        nodes = NODE_FIELDS.each(limits.nodes)
        caller.give({"base_currency": limits.base_currency, "seq": limits.seq, "nodes": nodes})
        return Exit.OK
    from toucan.cli.tables import limits_table, print_table

    print_table(
        limits_table(limits),
        caller.width(),
        f"there is no node {node!r} that you may see" if node else "no limits",
    )
    return Exit.OK


@command("set", short_help="Change one limit at run time.")
@click.argument("node", type=NODE, metavar="NODE")
@click.argument("limit", metavar="LIMIT")
@click.argument("value", metavar="VALUE")
@reason_option
@again_option
def _set_command(caller: Caller, node: str, limit: str, value: str, **parameters: Any) -> int:
    """Set LIMIT of NODE to VALUE, as they are written in the limits file, until that is read again.

    With --json: {"node": …, "limit": …, "value": …, "seq": event}.

    Example: toucan limits set firm/desk/ACC1 max_order_quantity 5000 --reason "smaller clips today"
    """
    return _set_limit(caller, node, limit, value, **parameters)


@command("remove", short_help="Take one limit away at run time.")
@click.argument("node", type=NODE, metavar="NODE")
@click.argument("limit", metavar="LIMIT")
@reason_option
@again_option
def _remove_command(caller: Caller, node: str, limit: str, **parameters: Any) -> int:
    """Take LIMIT of NODE away, until the limits file is read again. With --json: as set, with value null.

    Example: toucan limits remove firm/desk/ACC1 soft_max_order_notional --reason "asked too often"
    """
    return _set_limit(caller, node, limit, None, **parameters)


def _set_limit(
    caller: Caller, node: str, limit: str, value: str | None, *, reason: str, again: str | None
) -> int:
    key = KEY.read(again)
    done = caller.changing(lambda: caller.client.set_limit(node, limit, value, reason, key=key))
    caller.say(f"{node}: {limit} = {value}" if value is not None else f"{node}: {limit} is gone")
    caller.give({"node": node, "limit": limit, "value": value, "seq": done.seq})
    return Exit.OK


for _one in (_show_command, _set_command, _remove_command):
    limits_group.add_command(_one)
