"""Trading levels: who may trade at all, set by hand at a node or by itself after too many denials.

Law: the strictest level on an order's path counts, whoever set it. A level set by hand stays until another is set. A node that was blocked
automatically stays blocked after its cooling-off time too, until a person enables it: time alone never lets anybody trade again. Facts come in with
their times; whether a block is due is asked before it is made, so that it becomes an event of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from toucan.core.risk_tree import FIRM, LimitTree
from toucan.core.values import TradingLevel

__all__ = ["Block", "Controls", "NodeControl"]


class Block(msgspec.Struct, frozen=True, gc=False):
    """An automatic block that is due: ``denials`` within the node's window."""

    node: str
    until_ns: int
    denials: int


class NodeControl(msgspec.Struct, frozen=True, gc=False):
    """How a node is set, those above it left aside."""

    #: By hand.
    level: TradingLevel = TradingLevel.NORMAL
    #: Automatically: new orders are blocked, and nobody can enable them before this time; None: not blocked.
    blocked_until_ns: int | None = None

    @property
    def needs_enable(self) -> bool:
        """Whether somebody must set the level NORMAL before anybody below trades again."""
        return self.blocked_until_ns is not None or self.level is not TradingLevel.NORMAL

    @property
    def effective(self) -> TradingLevel:
        """What holds below the node."""
        return self.level if self.blocked_until_ns is None else max(self.level, TradingLevel.BLOCK_NEW)


_FREE = NodeControl()


class Controls:
    """The levels of all nodes, and the denials that are counted towards a block."""

    def __init__(self, tree: LimitTree) -> None:
        self._tree = tree
        self._controls: dict[str, NodeControl] = {}
        #: Times of denials, oldest first: as many as ``max_denials`` of the node.
        self._denials: dict[str, deque[int]] = {}

    # ------------------------------------------------------------ questions

    def control(self, node: str) -> NodeControl:
        """How a node is set."""
        return self._controls.get(node, _FREE)

    def strictest(self, path: tuple[str, ...]) -> tuple[str, NodeControl]:
        """The node of a path whose level is the strictest, the nearest one of several."""
        if not self._controls:
            return path[0], _FREE
        return max(((node, self.control(node)) for node in path), key=lambda pair: pair[1].effective)

    def level(self, path: tuple[str, ...]) -> TradingLevel:
        """What holds for an order with this path."""
        return self.strictest(path)[1].effective

    def __iter__(self) -> Iterator[tuple[str, NodeControl]]:
        """All nodes that are set otherwise than to trade freely, by name."""
        return iter(sorted(self._controls.items()))

    def cooling_off_ns(self, node: str, now_ns: int) -> int:
        """How long it still takes until the node can be enabled; 0: now."""
        until = self.control(node).blocked_until_ns
        return 0 if until is None else max(0, until - now_ns)

    def blocks_after_denial(self, path: tuple[str, ...], now_ns: int) -> list[Block]:
        """The blocks that one more denial now makes due."""
        blocks = []
        for node in path:
            most = self._tree.number(node, "max_denials", 0)
            if most is None or self.control(node).blocked_until_ns is not None:
                continue
            window_ns = self._tree.number(node, "denials_window_s", 9) or 0
            times = self._denials.get(node, ())
            count = 1 + sum(0 <= now_ns - at_ns < window_ns for at_ns in times)
            if count >= most:
                cooling_off_ns = self._tree.number(node, "cooling_off_s", 9) or 0
                blocks.append(Block(node, now_ns + cooling_off_ns, count))
        return blocks

    # ------------------------------------------------------------ facts

    def denied(self, path: tuple[str, ...], now_ns: int) -> None:
        """A request with this path was denied."""
        for node in path:
            most = self._tree.number(node, "max_denials", 0)
            if most is None:
                continue
            times = self._denials.setdefault(node, deque())
            times.append(now_ns)
            while len(times) > most:
                times.popleft()

    def blocked(self, node: str, until_ns: int) -> None:
        """The node is blocked automatically."""
        self._put(node, NodeControl(self.control(node).level, until_ns))

    def level_set(self, node: str, level: TradingLevel) -> None:
        """The level is set by hand. NORMAL also enables what was blocked automatically, and denials are counted anew."""
        if level is TradingLevel.NORMAL:
            self._denials.pop(node, None)
            self._put(node, _FREE)
        else:
            self._put(node, NodeControl(level, self.control(node).blocked_until_ns))

    def _put(self, node: str, control: NodeControl) -> None:
        if control == _FREE:
            self._controls.pop(node, None)
        else:
            self._controls[node] = control

    def use_tree(self, tree: LimitTree) -> None:
        """Another tree takes the place of this one. Levels stay, and follow an account into another team; those of teams that are gone go."""
        self._tree = tree
        self._denials = {}
        controls, self._controls = self._controls, {}
        for node, control in sorted(controls.items()):
            names = node.split("/")
            if len(names) > 2:
                node = "/".join([tree.account_node(names[2]), *names[3:]])
            elif node != FIRM and names[1] not in tree.teams:
                continue
            self._controls[node] = control

    # ------------------------------------------------------------ snapshots

    def dump(self) -> dict[str, Any]:
        """All of it in builtins, sorted."""
        return {
            "controls": [[node, int(control.level), control.blocked_until_ns] for node, control in self],
            "denials": [[node, list(times)] for node, times in sorted(self._denials.items())],
        }

    @classmethod
    def load(cls, tree: LimitTree, dumped: dict[str, Any]) -> Controls:
        """The opposite of :meth:`dump`; ``tree`` as it was then."""
        controls = cls(tree)
        for node, level, until_ns in dumped["controls"]:
            controls._controls[node] = NodeControl(TradingLevel(level), until_ns)
        controls._denials = {node: deque(times) for node, times in dumped["denials"]}
        return controls
