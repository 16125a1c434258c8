"""The table of commands: from a name to where the command is, and what the help says of it.

Law: nothing here imports a command. ``toucan --help`` is printed from this table alone, and ``toucan buy`` imports what it needs to buy. A new
command or group, of whatever part of toucan, is one line here; a test says if its summary is not the command's own.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass

import click

__all__ = ["COMMANDS", "CommandLine", "LazyGroup", "keep_grpc_quiet"]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A line of the table. ``target`` is "module:attribute" of a click command or group."""

    name: str
    target: str
    section: str
    summary: str


_ORDERS, _STAGED, _STATE, _RISK, _PROCESSES = (
    "Orders",
    "Staged orders",
    "State",
    "Risk and control",
    "Processes",
)

COMMANDS: tuple[CommandLine, ...] = (
    CommandLine("buy", "toucan.cli.orders:buy_command", _ORDERS, "Buy: toucan buy 100 AAPL @ 189.50 --tif ioc"),
    CommandLine("sell", "toucan.cli.orders:sell_command", _ORDERS, "Sell: toucan sell 100 AAPL @ 190.25"),
    CommandLine("cancel", "toucan.cli.orders:cancel_command", _ORDERS, "Cancel orders by number, or all that match."),
    CommandLine("replace", "toucan.cli.orders:replace_command", _ORDERS, "Change an open order's quantity or prices."),
    CommandLine("preview", "toucan.cli.orders:preview_command", _ORDERS, "What an order would be answered, without sending it."),
    CommandLine("stage", "toucan.cli.staged:stage_command", _STAGED, "Propose an order, for somebody else to release."),
    CommandLine("staged", "toucan.cli.staged:staged_command", _STAGED, "Proposals that wait for a decision, all, or one in full."),
    CommandLine("release", "toucan.cli.staged:release_command", _STAGED, "Send a proposal, as it is or amended."),
    CommandLine("amend", "toucan.cli.staged:amend_command", _STAGED, "Change a proposal's quantity or prices."),
    CommandLine("reject", "toucan.cli.staged:reject_command", _STAGED, "Turn proposals down, or take your own back."),
    CommandLine("orders", "toucan.cli.orders:orders_command", _STATE, "Open orders, or all."),
    CommandLine("order", "toucan.cli.orders:order_command", _STATE, "One order in full."),
    CommandLine("positions", "toucan.cli.positions:positions_command", _STATE, "Positions and their profit."),
    CommandLine("watch", "toucan.cli.watching:watch_command", _STATE, "Orders, positions, prices or everything, as it happens."),
    CommandLine("book", "toucan.cli.market:book_command", _STATE, "The order book of a symbol, live on a terminal."),
    CommandLine("trades", "toucan.cli.market:trades_command", _STATE, "What is traded, as it happens."),
    CommandLine("instruments", "toucan.cli.positions:instruments_command", _STATE, "What can be traded, and in which steps."),
    CommandLine("whoami", "toucan.cli.positions:whoami_command", _STATE, "Who the server takes you for, and what you may do."),
    CommandLine("limits", "toucan.cli.risk:limits_group", _RISK, "The risk tree: limits, what is used of them, kill levels."),
    CommandLine("kill", "toucan.cli.risk:kill_command", _RISK, "Stop trading below a node of the risk tree."),
    CommandLine("enable", "toucan.cli.risk:enable_command", _RISK, "Let trading go on below a node."),
    CommandLine("adjust", "toucan.cli.positions:adjust_command", _RISK, "Add to a position: a transfer, an opening balance."),
    CommandLine("audit", "toucan.audit:audit_group", _RISK, "Search and verify the engine's journal."),
    CommandLine("dev", "toucan.dev:main", _PROCESSES, "Engine, server and embedded exchange in the foreground."),
    CommandLine("server", "toucan.server.__main__:main", _PROCESSES, "A front end: gRPC for clients."),
    CommandLine("web", "toucan.web.__main__:main", _PROCESSES, "A gateway: calls and streams over HTTP, for browsers and scripts."),
    CommandLine("engine", "toucan.engine.__main__:main", _PROCESSES, "The order-entry engine."),
    CommandLine("exchange", "toucan.exchange.__main__:main", _PROCESSES, "The embedded exchange."),
    CommandLine("fix", "toucan.fix.commands:fix_command", _PROCESSES, "A venue behind FIX 4.4."),
    CommandLine("fix-acceptor", "toucan.fix.commands:fix_acceptor_command", _PROCESSES, "FIX 4.4 sessions in front of the embedded exchange."),
    CommandLine("record", "toucan.market.commands:record_command", _PROCESSES, "Write a venue's market data to a file."),
    CommandLine("replay", "toucan.market.commands:replay_command", _PROCESSES, "Play recorded market data as a venue's feed."),
)  # fmt: skip


def keep_grpc_quiet() -> None:
    """Before gRPC is imported: its own log would go over the prompt's screen and beside the one line that an error is."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


_BY_NAME = {line.name: line for line in COMMANDS}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the table's order."""
        return [line.name for line in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one."""
        line = _BY_NAME.get(cmd_name)
        if line is None:
            return None
        module, _, attribute = line.target.partition(":")
        if line.section != _PROCESSES:
            keep_grpc_quiet()
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One list for each section."""
        for section in dict.fromkeys(line.section for line in COMMANDS):
            with formatter.section(section):
                formatter.write_dl(
                    [(line.name, line.summary) for line in COMMANDS if line.section == section]
                )
