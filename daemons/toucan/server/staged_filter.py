"""Which staged orders somebody wants to see, as far as he may. Pure.

Account, symbol and proposer stay for life (an amendment changes quantities and prices alone). Who watches those that wait for a decision is also
told of the change by which one stops waiting.
"""

from __future__ import annotations

import msgspec

from toucan.core.staged import StagedOrder
from toucan.server.entitlements import User
from toucan.server.translate.staged import StagedFilterTerms

__all__ = ["StagedFilter", "staged_filter_of"]


class StagedFilter(msgspec.Struct, frozen=True):
    """None: everything matches."""

    accounts: frozenset[str] | None = None
    symbols: frozenset[str] | None = None
    proposers: frozenset[str] | None = None
    is_pending: bool = False

    def takes(self, staged: StagedOrder) -> bool:
        """Whether a staged order matches as it stands."""
        return self.takes_change(staged) and (staged.is_pending or not self.is_pending)

    def takes_change(self, staged: StagedOrder) -> bool:
        """Whether a change is told; one that waits for a decision has waited until its last change."""
        terms = staged.terms
        return (
            (self.accounts is None or terms.account in self.accounts)
            and (self.symbols is None or terms.symbol in self.symbols)
            and (self.proposers is None or staged.owner.user in self.proposers)
        )


def staged_filter_of(terms: StagedFilterTerms, user: User) -> StagedFilter:
    """A filter within what the user may see. Raises :class:`~toucan.server.errors.NotEntitled` for an account named that is not his."""
    accounts = terms.accounts
    if accounts is None:
        accounts = user.accounts
    else:
        for account in sorted(accounts):
            user.require_account(account)
    return StagedFilter(accounts, terms.symbols, terms.proposers, terms.is_pending)
