"""Staged orders as callers see them: small frozen values, as in :mod:`toucan.client.values`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from toucan.client.values import Denial, OrderTerms, RequestKey
from toucan.core.values import Side, StagedState

__all__ = ["Staged", "StagedOrder", "StagedRevision", "StagedUpdate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRevision:
    """What a staged order was at some time, and who made it so."""

    #: From 1, the proposal.
    revision: int
    terms: OrderTerms
    by: str
    #: In his words.
    why: str
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedOrder:
    """A staged order as it stands. It has left for no venue; released, it is the order ``order_id``."""

    staged_id: int
    terms: OrderTerms
    #: Who proposed it, and owns the order that it becomes.
    proposer: str
    session: str
    #: Why, in his words.
    why: str
    status: StagedState
    #: The number of the last one of ``revisions``.
    revision: int
    revisions: tuple[StagedRevision, ...]
    #: What would be denied if it was released, as of its last revision or the last try; empty: nothing.
    denials: tuple[Denial, ...]
    #: At its worst, in the base currency; None if no price was known.
    notional: Decimal | None
    #: The market's price at its last revision; None: there was none.
    reference_price: Decimal | None
    proposed_ns: int
    #: When it is over if nobody decides.
    expires_ns: int
    updated_ns: int
    #: The event that changed it last.
    updated_seq: int
    #: Who released, rejected or withdrew it: "engine" where nobody did; empty: it waits.
    decided_by: str
    decided_why: str
    decided_ns: int | None
    #: The order that it became; None: it was not released.
    order_id: int | None

    @property
    def is_pending(self) -> bool:
        """Whether it waits for somebody to decide."""
        return self.status is StagedState.PROPOSED

    @property
    def account(self) -> str:
        """The account that it is for."""
        return self.terms.account

    @property
    def symbol(self) -> str:
        """What it is a proposal for."""
        return self.terms.symbol

    @property
    def side(self) -> Side:
        """Whether it would buy or sell."""
        return self.terms.side

    @property
    def quantity(self) -> Decimal:
        """How much."""
        return self.terms.quantity

    @property
    def price(self) -> Decimal | None:
        """Its limit price."""
        return self.terms.price


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedUpdate:
    """One change of one staged order; of a snapshot how it stands, which is no change."""

    #: Position in the engine's history.
    seq: int
    #: The engine's event behind it, such as ``OrderStaged`` or ``StagedReleased``.
    event: str
    #: The staged order after it.
    staged: StagedOrder
    at_ns: int
    is_snapshot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A proposal or an amendment that is durable; ``denials``: what would be denied if it was released now."""

    staged_id: int
    denials: tuple[Denial, ...]
    #: Newest event when this was decided; reads of the same client see it.
    seq: int
    key: RequestKey
    revision: int = 1
