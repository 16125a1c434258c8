"""Staged orders: what somebody proposes and nobody has released yet; how one stands, and what happens to it.

Law: a staged order is an intention. It has no ClOrdID, counts for no limit, and no venue and no reconciliation ever hears of it; what leaves is an
order like any other, made when the proposal is released (:mod:`toucan.core.staging`). Its life is one table, :data:`TRANSITIONS`; what a state
has no step for cannot happen to it, so of two people who decide at once the second finds the step gone. What it was before stays: a change is
another :class:`Revision`, and who decides names the one that he has seen. Values are immutable and replaced as a whole, so that whoever has one
(a stream's snapshot) has it as it was.

Rejected: an order state "staged" in :mod:`toucan.core.life_cycle`, which would make every place that counts, cancels or reconciles orders ask
whether this one is real; and a status stored beside who decided, of which one could be wrong.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Any

import msgspec

from toucan.core.limits import STAGED_DECIDED_KEPT_MAX
from toucan.core.order import Client
from toucan.core.outcomes import Denial
from toucan.core.terms import OrderTerms
from toucan.core.values import StagedState

__all__ = [
    "TRANSITIONS",
    "Decision",
    "Revision",
    "StagedBook",
    "StagedDump",
    "StagedOrder",
    "StagedStep",
    "diagram",
    "sentence",
]


class StagedStep(enum.StrEnum):
    """What can happen to one."""

    #: It has other quantities or prices.
    AMEND = "amend"
    #: It was to be released, and a limit is in the way.
    DENY = "deny"
    #: It is an order now.
    RELEASE = "release"
    #: Somebody is against it, or stopped all trading above it.
    REJECT = "reject"
    #: Its proposer takes it back, or is gone.
    WITHDRAW = "withdraw"
    #: Nobody has decided in time.
    EXPIRE = "expire"


#: What each step leads to.
TRANSITIONS: dict[StagedState, dict[StagedStep, StagedState]] = {
    StagedState.PROPOSED: {
        StagedStep.AMEND: StagedState.PROPOSED,
        StagedStep.DENY: StagedState.PROPOSED,
        StagedStep.RELEASE: StagedState.RELEASED,
        StagedStep.REJECT: StagedState.REJECTED,
        StagedStep.WITHDRAW: StagedState.WITHDRAWN,
        StagedStep.EXPIRE: StagedState.EXPIRED,
    },
    StagedState.RELEASED: {},
    StagedState.REJECTED: {},
    StagedState.WITHDRAWN: {},
    StagedState.EXPIRED: {},
}


class Revision(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a staged order was from some time on: who wrote it, and why. ``denials``: what would have been denied then."""

    terms: OrderTerms
    by: Client
    why: str
    at_ns: int
    denials: tuple[Denial, ...] = ()
    #: At its worst, in the base currency; empty if no price was known.
    notional: str = ""
    reference_price: int | None = None


class Decision(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How it ended: by whom (the engine: nobody), why, when; and the order that it became."""

    by: Client
    why: str
    at_ns: int
    order_id: int | None = None


class StagedOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """A staged order and all that it was. ``revisions``: the proposal first."""

    staged_id: int
    state: StagedState
    revisions: tuple[Revision, ...]
    expires_at_ns: int
    #: When that is because of something else than its time to live: "session-end" or "expire-time".
    expires_why: str
    updated_seq: int
    updated_ns: int
    #: Why the last try to release this revision was denied.
    denial: Denial | None = None
    decision: Decision | None = None

    @property
    def owner(self) -> Client:
        """Who proposed it, and will own the order that it becomes."""
        return self.revisions[0].by

    @property
    def last(self) -> Revision:
        """What it is now."""
        return self.revisions[-1]

    @property
    def revision(self) -> int:
        """The number of the last revision, from 1."""
        return len(self.revisions)

    @property
    def terms(self) -> OrderTerms:
        """What would be sent."""
        return self.revisions[-1].terms

    @property
    def is_pending(self) -> bool:
        """Whether it waits for somebody to decide."""
        return bool(TRANSITIONS[self.state])

    @property
    def denials(self) -> tuple[Denial, ...]:
        """What is in its way, as far as was found out last."""
        return self.last.denials if self.denial is None else (self.denial,)


class StagedBook:
    """All that wait, and the last ones that were decided."""

    def __init__(self) -> None:
        self.next_id = 1
        #: By id, in the order in which they came; those decided long ago are forgotten.
        self.orders: dict[int, StagedOrder] = {}
        #: Those that wait, in the order in which they came.
        self.pending: dict[int, None] = {}
        #: The one that was decided first comes first.
        self._decided: OrderedDict[int, None] = OrderedDict()
        self._by_account: Counter[str] = Counter()

    def get(self, staged_id: int) -> StagedOrder | None:
        """The staged order with this id; None: there is none, or it was decided long ago."""
        return self.orders.get(staged_id)

    def waiting(self) -> Iterator[StagedOrder]:
        """Those that wait, the oldest first."""
        return (self.orders[staged_id] for staged_id in self.pending)

    def count(self, account: str) -> int:
        """How many wait for an account."""
        return self._by_account[account]

    # ------------------------------------------------------------ facts

    def propose(self, order: StagedOrder) -> StagedOrder:
        """A new one, with the next id."""
        assert order.staged_id >= self.next_id
        self.next_id = order.staged_id + 1
        self.orders[order.staged_id] = order
        self.pending[order.staged_id] = None
        self._by_account[order.terms.account] += 1
        return order

    def step(
        self, staged_id: int, step: StagedStep, seq: int, at_ns: int, *,
        revision: Revision | None = None, denial: Denial | None = None, decision: Decision | None = None,
    ) -> StagedOrder:  # fmt: skip
        """What happens to one that waits; gives it as it is then."""
        old = self.orders[staged_id]
        new = StagedOrder(
            staged_id=staged_id,
            state=TRANSITIONS[old.state][step],
            revisions=old.revisions if revision is None else (*old.revisions, revision),
            expires_at_ns=old.expires_at_ns,
            expires_why=old.expires_why,
            updated_seq=seq,
            updated_ns=at_ns,
            denial=denial if denial is not None or revision is not None else old.denial,
            decision=decision,
        )
        self.orders[staged_id] = new
        if not new.is_pending:
            self._end(new)
        return new

    def _end(self, order: StagedOrder) -> None:
        account = order.terms.account
        del self.pending[order.staged_id]
        self._by_account[account] -= 1
        if not self._by_account[account]:
            del self._by_account[account]
        self._decided[order.staged_id] = None
        while len(self._decided) > STAGED_DECIDED_KEPT_MAX:
            forgotten, _ = self._decided.popitem(last=False)
            del self.orders[forgotten]

    # ------------------------------------------------------------ snapshots

    def dump(self) -> dict[str, Any]:
        """All of it: equal histories give equal dumps."""
        return {
            "next_id": self.next_id,
            "orders": list(self.orders.values()),
            "pending": list(self.pending),
            "decided": list(self._decided),
        }

    @classmethod
    def load(cls, dumped: StagedDump) -> StagedBook:
        """The opposite of :meth:`dump`."""
        book = cls()
        book.next_id = dumped.next_id
        book.orders = {order.staged_id: order for order in dumped.orders}
        book.pending = dict.fromkeys(dumped.pending)
        book._decided = OrderedDict.fromkeys(dumped.decided)
        book._by_account = Counter(order.terms.account for order in book.waiting())
        return book


class StagedDump(msgspec.Struct):
    """What :meth:`StagedBook.dump` gives, read again. A snapshot from before there were staged orders has none."""

    next_id: int = 1
    orders: list[StagedOrder] = []
    pending: list[int] = []
    decided: list[int] = []


def sentence(order: StagedOrder) -> str:
    """How it stands, for people: what the second of two is told who decide at once."""
    decision = order.decision
    if decision is None:
        return f"staged order {order.staged_id} waits for somebody to decide"
    if order.state is StagedState.RELEASED:
        return (
            f"staged order {order.staged_id} was released by {decision.by.user} as order {decision.order_id}"
        )
    why = f": {decision.why}" if decision.why else ""
    if order.state is StagedState.EXPIRED:
        return f"staged order {order.staged_id} has expired ({decision.why})"
    return f"staged order {order.staged_id} was {order.state.name.lower()} by {decision.by.user}{why}"


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {StagedState.PROPOSED.name}: propose"]
    for state, row in TRANSITIONS.items():
        by_next: dict[StagedState, list[str]] = {}
        for step, following in row.items():
            by_next.setdefault(following, []).append(step.value)
        lines += [f"    {state.name} --> {one.name}: {', '.join(steps)}" for one, steps in by_next.items()]
    lines += [f"    {state.name} --> [*]" for state, row in TRANSITIONS.items() if not row]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"
