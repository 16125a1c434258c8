"""What the prompt knows: of the user, his open orders, positions, what is staged, kill levels, and how old that is; and what its bottom line says.

Pure: the feed (:mod:`toucan.cli.prompt.feed`) makes pictures, the terminal shows them; time is an argument.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from toucan.cli.limits import STALE_AFTER_S
from toucan.client.staged_values import StagedOrder
from toucan.client.values import Order, Position
from toucan.core.values import TradingLevel

__all__ = ["Fragments", "Picture", "bottom_line"]

#: Style and text, as prompt_toolkit wants them.
Fragments = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All of it at one moment; times are those of time.monotonic()."""

    server: str
    user: str = ""
    accounts: tuple[str, ...] = ()
    #: Symbols and what they are.
    symbols: Mapping[str, str] = field(default_factory=dict)
    #: His own that are open, the newest last.
    orders: tuple[Order, ...] = ()
    positions: tuple[Position, ...] = ()
    #: Those that wait for a decision, of all accounts that he may see, the newest last.
    staged: tuple[StagedOrder, ...] = ()
    #: Nodes that he may see, and their effective levels.
    levels: Mapping[str, TradingLevel] = field(default_factory=dict)
    is_connected: bool = False
    #: The server itself says that it does not follow the engine.
    is_stale: bool = False
    last_heard_s: float = 0.0
    trouble: str = ""

    def age_s(self, now_s: float) -> float:
        """How long ago the server said something; it does so every 5 s at least."""
        return max(0.0, now_s - self.last_heard_s)

    def profit(self) -> dict[str, tuple[Decimal, Decimal]]:
        """By currency: all profit, and the part of it that is not realised. Of whole accounts."""
        found: defaultdict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
        for position in self.positions:
            if not position.trader:
                unrealised = position.unrealised_profit or Decimal(0)
                found[position.currency][0] += position.realised_profit + unrealised
                found[position.currency][1] += unrealised
        return {currency: (total, unrealised) for currency, (total, unrealised) in sorted(found.items())}

    def stopped_nodes(self) -> dict[str, TradingLevel]:
        """Nodes that are not normal, without those that are so only because of one above them."""
        stopped = {node: level for node, level in self.levels.items() if level is not TradingLevel.NORMAL}
        return {
            node: level
            for node, level in stopped.items()
            if not any(
                node.startswith(f"{other}/") and other_level >= level
                for other, other_level in stopped.items()
            )
        }


def bottom_line(picture: Picture, now_s: float) -> Fragments:
    """The bottom line: in red from end to end when what it shows may be old."""
    age_s = picture.age_s(now_s)
    facts = f" {picture.user or '?'} @ {picture.server} | {_orders_text(picture)} | {_profit_text(picture)} "
    if not picture.is_connected:
        why = f": {picture.trouble}" if picture.trouble else ""
        return [("class:old", f" NOT CONNECTED for {age_s:.0f} s{why} | OLD:{facts}")]
    if picture.is_stale:
        return [("class:old", f" OLD: the server has lost its engine |{facts}")]
    if age_s > STALE_AFTER_S:
        return [("class:old", f" OLD: the server has said nothing for {age_s:.0f} s |{facts}")]
    fragments: Fragments = [("class:facts", facts)]
    for node, level in picture.stopped_nodes().items():
        fragments.append(("class:stopped", f" {level.name.replace('_', ' ')} {node} "))
    fragments.append(("class:facts", f"| {age_s:.1f} s ago "))
    return fragments


def _orders_text(picture: Picture) -> str:
    text = f"{len(picture.orders)} open" if picture.orders else "no open orders"
    return f"{text}, {len(picture.staged)} staged" if picture.staged else text


def _profit_text(picture: Picture) -> str:
    texts = [
        f"{total:+,.2f} {currency} ({unrealised:+,.2f} open)"
        for currency, (total, unrealised) in picture.profit().items()
    ]
    return f"P&L {', '.join(texts)}" if texts else "no positions"
