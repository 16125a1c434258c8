"""The way to an exchange in the same process."""

from __future__ import annotations

from tests.toucan.exchange.script import START_NS

from toucan.core.values import ExecType, Side
from toucan.core.venue_messages import Book, Quote, ResumeEnd, StatusRequest, Welcome
from toucan.exchange.core.exchange import Exchange
from toucan.venue.events import Connected, Disconnected, VenueEvent
from toucan.venue.limits import RECONNECT_NS
from toucan.venue.local_link import LocalVenue, LocalVenueLink

from .harness import INSTRUMENT, FirmSession, LocalUnderTest, order


def _kinds(session: FirmSession) -> list[type[object]]:
    return [type(event) for event in session.events if not isinstance(event, (Quote, Book))]


def test_answers_are_there_when_send_returns() -> None:
    session = LocalUnderTest().session("one")
    session.tell(order("x", Side.BUY, 10, 50))
    assert [report.kind for report in session.reports] == [ExecType.NEW]


def test_a_lost_connection_is_made_anew_in_the_time_that_is_passed_in() -> None:
    under_test = LocalUnderTest()
    session = under_test.session("one")
    session.link.reconnect()
    assert session.link.send([StatusRequest("x")]) is False
    assert under_test.venue.next_at_ns() == START_NS + RECONNECT_NS
    under_test.venue.advance(START_NS + RECONNECT_NS - 1)
    assert _kinds(session) == [Connected, Welcome, ResumeEnd, Disconnected]
    under_test.venue.advance(START_NS + RECONNECT_NS)
    assert _kinds(session)[4:] == [Connected, Welcome, ResumeEnd]
    assert session.link.send([StatusRequest("x")])


def test_a_venue_that_is_restarted_is_another_life() -> None:
    under_test = LocalUnderTest()
    session = under_test.session("one")
    session.ask(order("x", Side.BUY, 10, 50))
    under_test.venue.restart(Exchange([INSTRUMENT], life="M", now_ns=START_NS))
    session.wait(lambda: session.count(ResumeEnd) == 2)
    assert session.life == "M"
    assert session.ask(StatusRequest("x")).reason == "unknown-order"


def test_what_is_not_taken_costs_the_connection_and_is_told_again() -> None:
    under_test = LocalUnderTest()
    session = under_test.session("one")
    session.is_refusing = True
    assert session.link.send([order("x", Side.BUY, 10, 50)])
    assert session.link.send([order("y", Side.BUY, 10, 50)]) is False
    under_test.venue.advance(START_NS + 10 * RECONNECT_NS)
    assert session.reports == []
    session.is_refusing = False
    session.wait(lambda: session.count(ResumeEnd) == 2)
    assert [report.cl_ord_id for report in session.reports] == ["x"]
    assert _kinds(session)[3:6] == [Disconnected, Connected, Welcome]


def test_a_connection_that_is_lost_in_the_middle_of_a_batch_sends_no_more_of_it() -> None:
    under_test = LocalUnderTest()
    session = under_test.session("one")
    session.is_refusing = True
    assert session.link.send([order("x", Side.BUY, 10, 50), order("y", Side.BUY, 10, 50)])
    assert list(under_test.exchange.firm("one").ids) == ["x"]


def test_a_name_that_is_no_firm_gets_no_connection() -> None:
    venue = LocalVenue(Exchange([INSTRUMENT], life="L", now_ns=START_NS), START_NS)
    link = LocalVenueLink(venue, "background")
    events: list[VenueEvent] = []

    def deliver(told: list[VenueEvent]) -> bool:
        events.extend(told)
        return True

    link.start(deliver)
    assert [type(event) for event in events] == [Connected, Disconnected]
    assert link.send([StatusRequest("x")]) is False


def test_a_new_firm_sees_the_market_at_once() -> None:
    under_test = LocalUnderTest()
    under_test.session("one").tell(order("x", Side.BUY, 10, 50))
    other = under_test.session("other")
    quote, book = other.newest(Quote), other.newest(Book)
    assert quote is not None
    assert quote.bid_price == 50
    assert book is not None
    assert book.bids[0].quantity == 10
