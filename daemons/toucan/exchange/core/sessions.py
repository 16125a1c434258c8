"""Opening and closing of a market: the end of a day for its orders, and the beginning of the next.

Law: DAY orders expire by themselves at the close (their ``expire_at_ns`` says so), before the market closes at the same nanosecond; here is what
happens to the others, and to those of a day that the operator has ended early. An order done for the day stays where it lies in the book, with its
place in time; a DAY order does not, since it has nothing left that could be executed (FIX 4.4 Appendix D, A.1.b and H.1.a).
"""

from __future__ import annotations

from toucan.core.values import ExecType, TimeInForce
from toucan.exchange.core.calendar import session_span
from toucan.exchange.core.market import Market
from toucan.exchange.core.matching import Matching

__all__ = ["change_session", "end_day"]


def change_session(matching: Matching, market: Market, at_ns: int) -> None:
    """The market's calendar says that it opens or closes now; enters its next change into the agenda."""
    if at_ns < market.span.closes_ns:
        _open(matching, market)
    else:
        following = session_span(market.instrument.session, at_ns)
        is_continuous = following.opens_ns <= at_ns
        if not is_continuous and not market.is_closed:
            end_day(matching, market)
        market.span = following
        if is_continuous:
            _open(matching, market)
    is_before = at_ns < market.span.opens_ns
    matching.agenda.add_market(market, market.span.opens_ns if is_before else market.span.closes_ns)


def end_day(matching: Matching, market: Market) -> None:
    """Closes the market until its next session opens: what is open is reported as done for the day."""
    market.is_closed = True
    for order in list(market.orders()):
        if order.time_in_force is TimeInForce.DAY:
            matching.withdraw(market, order)
        order.is_done_for_day = True
        matching.scribe.tell(order, ExecType.DONE_FOR_DAY, reason="done-for-day")
    matching.note(market)


def _open(matching: Matching, market: Market) -> None:
    """A new day: it trades, and what was done for the day is open again."""
    market.day += 1
    market.volume = 0
    market.is_closed = False
    for order in list(market.orders()):
        order.begin_day(market.day)
        if order.is_done_for_day:
            order.is_done_for_day = False
            matching.scribe.tell(order, ExecType.RESTATED, reason="new-day")
    matching.begin(market)
    matching.note(market)
