"""Which orders somebody wants to see, as far as he may. Pure.

An account, symbol, side and owner stay with an order for life; its status does not. Whoever watches orders of some statuses is told of an update
if the order is one of them *after or before* it: so he hears that it has left his view, and never keeps a line that is no longer true.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from toucan.core.order import Client, Order
from toucan.core.terms import OrderTerms
from toucan.core.values import OrdStatus, Side
from toucan.server.entitlements import User
from toucan.server.translate.from_wire import FilterTerms

__all__ = ["NOT_THERE", "OfOrder", "OrderFilter", "Standing", "filter_of"]


class Standing(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a filter looks at that changes in an order's life."""

    #: None: there was no such order yet.
    status: OrdStatus | None
    is_open: bool


#: How an order stood before it was there: no filter that looks at it takes it.
NOT_THERE = Standing(None, False)


class OfOrder(Protocol):
    """What stays with an order for life, and with whatever is told of it."""

    @property
    def terms(self) -> OrderTerms:
        """Its account, symbol and side."""

    @property
    def owner(self) -> Client:
        """Who entered it."""


class OrderFilter(msgspec.Struct, frozen=True):
    """None: everything matches. ``client``: only orders of this session."""

    accounts: frozenset[str] | None = None
    symbols: frozenset[str] | None = None
    side: Side | None = None
    owners: frozenset[str] | None = None
    is_open: bool = False
    statuses: frozenset[OrdStatus] | None = None
    client: Client | None = None

    @property
    def has_standing(self) -> bool:
        """Whether it looks at what changes in an order's life."""
        return self.is_open or self.statuses is not None

    def takes(self, order: Order) -> bool:
        """Whether an order matches as it stands."""
        return self.takes_for_life(order) and (
            not self.has_standing or self.takes_standing(Standing(order.status, order.is_open))
        )

    def takes_for_life(self, order: OfOrder) -> bool:
        """Whether an order matches in what never changes."""
        terms = order.terms
        return (
            (self.accounts is None or terms.account in self.accounts)
            and (self.symbols is None or terms.symbol in self.symbols)
            and (self.side is None or terms.side is self.side)
            and (self.owners is None or order.owner.user in self.owners)
            and (self.client is None or order.owner == self.client)
        )

    def takes_standing(self, standing: Standing) -> bool:
        """Whether an order matches in what does change."""
        if self.is_open and not standing.is_open:
            return False
        return self.statuses is None or standing.status in self.statuses


def filter_of(terms: FilterTerms, user: User) -> OrderFilter:
    """A filter within what the user may see. Raises :class:`~toucan.server.errors.NotEntitled` for an account named that is not his."""
    accounts = terms.accounts
    if accounts is None:
        accounts = user.accounts
    else:
        for account in sorted(accounts):
            user.require_account(account)
    return OrderFilter(accounts, terms.symbols, terms.side, terms.owners, terms.is_open, terms.statuses)
