"""Who may what: a user's entitlements, and what follows from them for accounts, orders, nodes of the risk tree and events.

Pure: values in, yes or no out. Nobody learns of what he may not see that it exists: another account's order is *not found*, and an account that he is
not entitled to is refused in the same words whether or not there is one.

| action | what it allows on the user's accounts |
|---|---|
| ``view`` | to see orders, positions, limits and streams |
| ``cancel`` | to cancel what he entered himself; includes ``view`` |
| ``trade`` | to enter orders in his symbols, to replace and cancel his own; includes ``cancel`` |
| ``cancel-others`` | to cancel and, with ``trade``, to replace what other users entered; includes ``cancel`` |
| ``stage`` | to propose orders in his symbols, to amend and withdraw his own proposals; includes ``view`` |
| ``release`` | to release, in his symbols, what others have proposed, to amend and reject it; includes ``view`` |
| ``release-own`` | to release also what he has proposed himself; includes ``release`` |
| ``limits`` | to change limits of nodes below which there are only accounts of his; includes ``view`` |
| ``kill`` | to set trading levels of such nodes; includes ``view`` |
| ``adjust`` | to add to positions; includes ``view`` |
| ``drop-copy`` | to read along with everything that happens |

``stage`` is not part of ``trade``, nor the other way round: a strategy that may only propose can send nothing, and who may only release can propose
nothing. The firm's node has every account below it, so that limits and levels of the firm are for users with all accounts. To stop trading is
allowed to whoever may do it at all: symbols bound what is entered, never what is cancelled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from toucan.server.errors import NotEntitled

__all__ = ["ACTIONS", "User", "accounts_below", "expanded"]

#: Every action and those that it includes.
ACTIONS: dict[str, tuple[str, ...]] = {
    "view": (),
    "cancel": ("view",),
    "trade": ("cancel", "view"),
    "cancel-others": ("cancel", "view"),
    "stage": ("view",),
    "release": ("view",),
    "release-own": ("release", "view"),
    "limits": ("view",),
    "kill": ("view",),
    "adjust": ("view",),
    "drop-copy": (),
}


def expanded(actions: Collection[str]) -> frozenset[str]:
    """Actions with all that they include."""
    return frozenset(actions).union(*(ACTIONS[action] for action in actions))


class User(msgspec.Struct, frozen=True):
    """One user. ``accounts`` and ``symbols`` None: all. ``actions`` as :func:`expanded` gives them."""

    name: str
    accounts: frozenset[str] | None
    actions: frozenset[str]
    symbols: frozenset[str] | None = None

    def may(self, action: str) -> bool:
        """Whether he may do it at all."""
        return action in self.actions

    def has_account(self, account: str) -> bool:
        """Whether it is one of his."""
        return self.accounts is None or account in self.accounts

    def require(self, action: str) -> None:
        """Raises :class:`~toucan.server.errors.NotEntitled` if he may not do it at all."""
        if action not in self.actions:
            raise NotEntitled(f"{self.name} is not entitled to {action!r}")

    def require_account(self, account: str) -> None:
        """Raises :class:`~toucan.server.errors.NotEntitled` for an account that is not his, whether or not there is one."""
        if not self.has_account(account):
            raise NotEntitled(f"{self.name} is not entitled to account {account!r}")

    def require_symbol(self, symbol: str) -> None:
        """Raises :class:`~toucan.server.errors.NotEntitled` for a symbol that he may not trade, whether or not there is one."""
        if self.symbols is not None and symbol not in self.symbols:
            raise NotEntitled(f"{self.name} is not entitled to trade {symbol!r}")

    def sees_order(self, account: str) -> bool:
        """Whether he may see an order on this account."""
        return "view" in self.actions and self.has_account(account)

    def has_node(self, node: str, teams: Mapping[str, Collection[str]]) -> bool:
        """Whether there are only accounts of his below a node, and at least one; ``teams`` gives each team's accounts."""
        if self.accounts is None:
            return True
        below = accounts_below(node, teams)
        return bool(below) and self.accounts.issuperset(below)

    def concerned_by_node(self, node: str, teams: Mapping[str, Collection[str]]) -> bool:
        """Whether an account of his lies at or below a node, so that what happens to the node happens to him."""
        if self.accounts is None or "/" not in node:
            return True
        return not self.accounts.isdisjoint(accounts_below(node, teams))


def accounts_below(node: str, teams: Mapping[str, Collection[str]]) -> frozenset[str]:
    """The accounts at or below a node (``firm``, ``firm/TEAM``, ``firm/TEAM/ACCOUNT``, ``firm/TEAM/ACCOUNT/TRADER``); empty: there is none."""
    names = node.split("/")
    if len(names) == 1:
        return frozenset(account for accounts in teams.values() for account in accounts)
    if len(names) == 2:
        return frozenset(teams.get(names[1], ()))
    return frozenset(names[2:3])
