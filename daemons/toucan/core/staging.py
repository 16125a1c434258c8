"""What is decided about staged orders: who may propose how many, what a release leads to, when a proposal is over.

Law: functions of a :class:`~toucan.core.decide.Decider`, which read its state and change nothing; they are part of it, and a module of their own by
subject. A proposal is refused only where it could never become an order (a rule of its instrument, an account that nobody has) or where there are
too many; what a limit says is told with it and enforced at the release, by the very function that a new order goes through. Then the release
and the order are events of one record: there is no moment at which one is true without the other, so a crash between them loses and doubles nothing.

* *Four eyes*: who proposed may not release, whatever session he uses; that he is entitled to it all the same is said by the front end.
* *What was seen counts*: releasing and amending name the revision. If it was amended meanwhile nothing happens, so nobody sends what he has not read.
* *The proposer owns the order*: his limits count for it and his position has it, as if he had sent it. A denied release is a denial of who tried.
* *Kill levels*: BLOCK_NEW and FREEZE hold what is staged. The limit check denies the release, and a pause that threw away what people still want to
  read would be pressed too late. CANCEL_ALL rejects it: who wants nothing left in the market wants nothing to go there by one click later.
* *A session that is gone* takes its proposals with it where it would take its orders (cancel on disconnect), after the same grace time; else
  they stay.

Rejected: reserving limits for proposals, which would let one strategy's ideas deny another one's orders.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core.limits import (
    STAGED_MAX,
    STAGED_PER_ACCOUNT_MAX,
    STAGED_REVISIONS_MAX,
    STAGED_TTL_NS_DEFAULT,
    STAGED_TTL_NS_MAX,
    STAGED_TTL_NS_MIN,
    STAGED_WHY_CHARACTERS_MAX,
)
from toucan.core.order import Client
from toucan.core.outcomes import Accepted, Done, Outcome, Proposed, Refusal, Refused
from toucan.core.staged import StagedOrder, sentence
from toucan.core.terms import OrderTerms
from toucan.core.values import TradingLevel

if TYPE_CHECKING:
    from toucan.core.decide import Decider

__all__ = ["DISCONNECTED", "amend", "expired", "reject", "rejected_below", "release", "stage", "withdrawn"]

#: Why the engine withdraws a proposal whose session is gone.
DISCONNECTED = "disconnected"

_Decided = tuple[list[ev.Event], Outcome]


def stage(decider: Decider, client: Client, body: rq.Stage, now_ns: int) -> _Decided:
    """A proposal."""
    terms, book = body.terms, decider.state.staged
    refusal = decider.senseless(terms, now_ns) or _bad_reason(body.why) or _bad_ttl(body.ttl_ns)
    if refusal is not None:
        return refusal
    if book.count(terms.account) >= STAGED_PER_ACCOUNT_MAX:
        return _refused(
            Refusal.TOO_MANY_STAGED_ORDERS,
            f"{STAGED_PER_ACCOUNT_MAX} orders are staged for account {terms.account}; release or reject some",
        )
    if len(book.pending) >= STAGED_MAX:
        return _refused(
            Refusal.TOO_MANY_STAGED_ORDERS, f"{STAGED_MAX} orders are staged; release or reject some"
        )
    expires_at_ns, expires_why = _end_of(decider, terms, body.ttl_ns, now_ns)
    denials, notional, reference = decider.judged(terms, client.user, now_ns)
    staged = ev.OrderStaged(
        book.next_id, client, terms, body.why, expires_at_ns, expires_why, denials, notional, reference
    )
    return [staged], Proposed(book.next_id, 1, denials)


def _end_of(decider: Decider, terms: OrderTerms, ttl_ns: int | None, now_ns: int) -> tuple[int, str]:
    """When a proposal is over, and why if not for its time to live."""
    ends = [(now_ns + (STAGED_TTL_NS_DEFAULT if ttl_ns is None else ttl_ns), "")]
    try:
        ends.append((decider.session_end(terms.symbol, now_ns), "session-end"))
    except ValueError:  # a calendar without a trading day within a year
        pass
    if terms.expire_at_ns is not None:
        ends.append((terms.expire_at_ns, "expire-time"))
    return min(ends, key=lambda end: end[0])


def _bad_reason(why: str, is_needed: bool = True) -> _Decided | None:
    if is_needed and not why.strip():
        return _refused(Refusal.REASON_MISSING, "say why, for who decides and for the audit trail")
    if len(why) > STAGED_WHY_CHARACTERS_MAX:
        text = f"why: {len(why)} characters are too many; {STAGED_WHY_CHARACTERS_MAX} are the most"
        return _refused(Refusal.INVALID_ORDER, text)
    if not why.isprintable():
        return _refused(Refusal.INVALID_ORDER, "why: has characters that cannot be shown; send plain text")
    return None


def _bad_ttl(ttl_ns: int | None) -> _Decided | None:
    if ttl_ns is None or STAGED_TTL_NS_MIN <= ttl_ns <= STAGED_TTL_NS_MAX:
        return None
    least, most = STAGED_TTL_NS_MIN // 1_000_000, STAGED_TTL_NS_MAX // 1_000_000
    text = f"time_to_live_ms: is {ttl_ns // 1_000_000}; it must be from {least} to {most}"
    return _refused(Refusal.INVALID_ORDER, text)


# ---------------------------------------------------------------- decisions of people


def release(decider: Decider, client: Client, body: rq.ReleaseStaged, now_ns: int) -> _Decided:
    """Sends it: all that a new order has to pass, it passes now."""
    staged, refusal = _seen(decider, body.staged_id, body.revision, now_ns)
    if staged is None:
        return refusal
    if staged.owner.user == client.user and not body.may_release_own:
        text = (
            f"staged order {staged.staged_id} was proposed by {client.user}; somebody else has to release it"
        )
        return _refused(Refusal.FOUR_EYES, text)
    bad = _bad_reason(body.why, is_needed=False)
    if bad is not None:
        return bad
    terms = _amended(staged, body)
    before: list[ev.Event] = []
    if terms != staged.terms and staged.revision >= STAGED_REVISIONS_MAX:
        return _too_many_revisions(staged)
    events, outcome = decider.new_order(
        terms, client, staged.owner, now_ns, body.is_confirmed, staged.staged_id
    )
    if not isinstance(outcome, Accepted):
        return events, outcome  # not amended either: a release that fails changes no terms
    if terms != staged.terms:
        judged = decider.judged(terms, staged.owner.user, now_ns)
        before = [ev.StagedAmended(staged.staged_id, client, terms, body.why, *judged)]
    released = ev.StagedReleased(staged.staged_id, client, outcome.order_id, body.why)
    return [*before, *events, released], outcome


def amend(decider: Decider, client: Client, body: rq.AmendStaged, now_ns: int) -> _Decided:
    """Other quantities or prices; who decides sees them anew."""
    staged, refusal = _seen(decider, body.staged_id, body.revision, now_ns)
    if staged is None:
        return refusal
    terms = _amended(staged, body)
    if terms == staged.terms:
        return _refused(Refusal.NOTHING_CHANGES, f"staged order {staged.staged_id} is already as asked")
    bad = _bad_reason(body.why) or decider.senseless(terms, now_ns)
    if bad is not None:
        return bad
    if staged.revision >= STAGED_REVISIONS_MAX:
        return _too_many_revisions(staged)
    judged = decider.judged(terms, staged.owner.user, now_ns)
    amended = ev.StagedAmended(staged.staged_id, client, terms, body.why, *judged)
    return [amended], Proposed(staged.staged_id, staged.revision + 1, judged[0])


def reject(decider: Decider, client: Client, body: rq.RejectStaged, now_ns: int) -> _Decided:
    """Ends it."""
    staged, refusal = _waiting(decider, body.staged_id, now_ns)
    if staged is None:
        return refusal
    bad = _bad_reason(body.why)
    if bad is not None:
        return bad
    kind = ev.StagedWithdrawn if client.user == staged.owner.user else ev.StagedRejected
    return [kind(staged.staged_id, client, body.why)], Done()


def _waiting(decider: Decider, staged_id: int, now_ns: int) -> tuple[StagedOrder | None, _Decided]:
    """The staged order, if it waits for somebody to decide; else the refusal, which says who was first."""
    staged = decider.state.staged.get(staged_id)
    if staged is None:
        return None, _refused(Refusal.UNKNOWN_STAGED_ORDER, f"there is no staged order {staged_id}")
    if not staged.is_pending:
        return None, _refused(Refusal.STAGED_ORDER_DECIDED, sentence(staged))
    if staged.expires_at_ns <= now_ns:  # the clock was quicker than the timer
        over = _expiry(staged)
        text = f"staged order {staged_id} has expired ({over.why})"
        return None, ([over], Refused(Refusal.STAGED_ORDER_DECIDED, text))
    return staged, ([], Done())


def _seen(
    decider: Decider, staged_id: int, revision: int, now_ns: int
) -> tuple[StagedOrder | None, _Decided]:
    """The same, if it is as the caller has seen it."""
    staged, refusal = _waiting(decider, staged_id, now_ns)
    if staged is None or staged.revision == revision:
        return staged, refusal
    if not 0 < revision < staged.revision:
        text = f"revision: staged order {staged_id} has {staged.revision}, and no {revision}; name the one that was seen"
        return None, _refused(Refusal.INVALID_ORDER, text)
    by = staged.last.by.user
    text = f"staged order {staged_id} was amended by {by} (revision {staged.revision}); look at it again"
    return None, _refused(Refusal.STAGED_ORDER_CHANGED, text)


def _amended(staged: StagedOrder, body: rq.ReleaseStaged | rq.AmendStaged) -> OrderTerms:
    wanted = {"quantity": body.quantity, "price": body.price, "stop_price": body.stop_price}
    given = {name: value for name, value in wanted.items() if value is not None}
    return msgspec.structs.replace(staged.terms, **given)


def _too_many_revisions(staged: StagedOrder) -> _Decided:
    text = f"staged order {staged.staged_id} was amended {staged.revision - 1} times; reject it and stage another one"
    return _refused(Refusal.TOO_MANY_STAGED_ORDERS, text)


def _refused(code: Refusal, text: str) -> _Decided:
    return [], Refused(code, text)


# ---------------------------------------------------------------- what nobody asked for


def rejected_below(decider: Decider, by: Client, body: rq.SetLevel) -> list[ev.StagedRejected]:
    """What a trading level for a node does to staged orders below it."""
    if body.level is not TradingLevel.CANCEL_ALL:
        return []
    risk = decider.state.risk
    return [
        ev.StagedRejected(staged.staged_id, by, f"kill switch: {body.reason}"[:STAGED_WHY_CHARACTERS_MAX])
        for staged in decider.state.staged.waiting()
        if risk.is_below(staged.terms.account, staged.owner.user, body.node)
    ]


def withdrawn(decider: Decider, client: Client) -> list[ev.StagedWithdrawn]:
    """A session whose orders are cancelled on disconnect is gone."""
    return [
        ev.StagedWithdrawn(staged.staged_id, ev.ENGINE, DISCONNECTED)
        for staged in decider.state.staged.waiting()
        if staged.owner == client
    ]


def expired(decider: Decider, staged_ids: Iterable[int]) -> list[ev.StagedExpired]:
    """The time of these is over; those that were decided are left alone."""
    found = map(decider.state.staged.get, staged_ids)
    return [_expiry(staged) for staged in found if staged is not None and staged.is_pending]


def _expiry(staged: StagedOrder) -> ev.StagedExpired:
    return ev.StagedExpired(staged.staged_id, staged.expires_why or "time-to-live")
