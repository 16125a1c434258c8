"""Why the exchange refuses or ends an order: codes for programs and words for people.

Law: a code is a name that never gets another meaning; the words may change. What is wrong with the terms of an order has
the code of :class:`toucan.core.terms.ProblemCode`, in lower case with hyphens ("price-not-on-tick"), and that module's words.
"""

from __future__ import annotations

from toucan.core.terms import ProblemCode

__all__ = ["REASONS", "reason_of"]

REASONS: dict[str, str] = {
    "": "",
    # New orders that are rejected.
    "bad-id": "an id must have 1 to 128 characters",
    "bad-account": "an account must have at most 128 characters",
    "duplicate-id": "a request with this id was received before, and this one is not marked as a possible resend",
    "unknown-resend": "this may be a resend of an order so old that it is forgotten, so it is not taken as a new one",
    "unknown-symbol": "no such instrument is traded here",
    "too-many-orders": "this firm has as many open orders as it may have",
    "halted": "trading is halted: only orders that can wait in the book are accepted",
    "closed": "the market is closed: only orders that can wait in the book are accepted",
    "post-only": "it would be executed on arrival, and is post-only",
    # Cancels and replacements that are rejected.
    "unknown-order": "no order of this firm has this id",
    "too-late": "the order has ended",
    "order-mismatch": "the request names another symbol, side or type than the order has",
    "too-many-requests": "this order has had as many requests as it may have; cancel it and send a new one",
    # Why an order has ended or was changed.
    "fok": "it could not be filled at once and completely",
    "ioc": "what could not be filled at once is cancelled",
    "no-liquidity": "nobody was left to trade with at the market",
    "expired": "its time was over",
    "done-for-day": "the market has closed for today",
    "new-day": "the market has opened for a new day",
    "operator": "by the exchange's operator",
    "busted": "a trade of it was cancelled or corrected, and that part is not executed anew",
    # Status.
    "nothing-done": "nothing of it was executed so far",
}


def reason_of(code: ProblemCode) -> str:
    """The code of a fault in an order's terms."""
    return code.name.lower().replace("_", "-")
