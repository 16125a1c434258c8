"""How far past its time something may be served, and how that is said.

Law. What counts as "the origin cannot be reached", what may stand in for its answer then, and the header fields that say so; no clock and no slot:
who keeps records passes on what they say. A stale answer is always marked, and never made of what a write through this cluster has ended: that
is gone from the records, and so cannot be passed on. What a host *doubts*, because it may not have heard of a change (:mod:`cashy.core.coherence`),
is stale only where the settings say so.

Header fields: ``x-cashy-stale`` has the whole seconds past the object's time; ``Age`` (RFC 9111 5.1) the whole seconds since the origin was asked
whose answer this is; ``Cache-Status`` (RFC 9211) is ``cashy; hit; ttl=-12; detail=origin-unreachable``. It is a hit, since a stale answer without
going forward counts as one (2.1), and *hit* and *fwd* exclude each other. ``Warning`` is obsolete (RFC 9111 5.5) and not sent.
"""

from __future__ import annotations

from typing import NamedTuple

from cashy.errors import CashyError, OriginTimeout, OriginUnavailable, SlowDown

__all__ = ["Staleness", "beyond_grace", "may_stand_in", "says_nothing", "stale_lines"]

_NS = 1_000_000_000

#: Errors that are no word of an origin's about the object. SlowDown is a store's 503 and 429, and our own full queue before it.
_NO_ANSWER = (OriginUnavailable, OriginTimeout, SlowDown)


class Staleness(NamedTuple):
    """How old an answer is: since its time was over, and since its origin was asked. Nanoseconds; the first is 0 while it is current."""

    past_ns: int
    age_ns: int


def says_nothing(error: BaseException) -> bool:
    """Whether an error means that the origin cannot be reached, and nothing about the object."""
    return isinstance(error, _NO_ANSWER)


def may_stand_in(
    *, now_ns: int, valid_until_ns: int, validated_ns: int, grace_ns: int, is_doubted: bool, when_doubted: bool
) -> Staleness | None:  # fmt: skip
    """What a record may be served as while its origin cannot be reached; None: not at all."""
    if is_doubted and not when_doubted:
        return None
    past_ns = max(0, now_ns - valid_until_ns)
    if past_ns >= grace_ns and (past_ns or is_doubted):
        return None
    if is_doubted:
        past_ns = max(1, past_ns)
    return Staleness(past_ns, max(past_ns, now_ns - validated_ns))


def stale_lines(past_s: float, age_s: float) -> bytes:
    """The header lines of a stale answer, each with its end."""
    whole_s = max(1, round(past_s))
    status = f"cashy; hit; ttl=-{whole_s}; detail=origin-unreachable"
    return f"x-cashy-stale: {whole_s}\r\nAge: {int(age_s)}\r\nCache-Status: {status}\r\n".encode()


def beyond_grace(error: CashyError, past_s: float, grace_s: float) -> CashyError:
    """The same error, which says as well why what is cached does not stand in."""
    return type(error)(
        f"{error.message}; what is cached has been past its time for {past_s:.0f} s, and freshness.grace_s allows {grace_s:g} s"
    )
