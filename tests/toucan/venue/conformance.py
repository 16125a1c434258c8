"""What every venue behind :class:`~toucan.venue.link.VenueLink` must do, whatever it is and however it is reached.

A module of tests derives from these classes and gives the ``venue`` fixture. A case only says what the messages' documents say; what holds for
every report (numbers without gaps, unique ids, quantities that add up) is checked of all of them by the session. What an operator does is a class
of its own: not every venue has one who listens to tests.
"""

from __future__ import annotations

import pytest

from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import (
    Book,
    CancelOrder,
    MassStatusRequest,
    NewOrder,
    Quote,
    ReplaceOrder,
    Report,
    ResumeEnd,
    StatusRequest,
    Welcome,
)
from toucan.venue.events import Connected, Disconnected

from .harness import FirmSession, VenueUnderTest, order

__all__ = ["OperatorConformance", "VenueConformance"]

BUY, SELL = Side


def _replace(own: str, wanted: NewOrder, *, orig: str | None = None, **fields: int) -> ReplaceOrder:
    return ReplaceOrder(
        cl_ord_id=own,
        orig_cl_ord_id=orig or wanted.cl_ord_id,
        symbol=wanted.symbol,
        side=wanted.side,
        type=wanted.type,
        quantity=fields.get("quantity", wanted.quantity),
        price=fields.get("price", wanted.price),
        stop_price=fields.get("stop_price", wanted.stop_price),
    )


def _cancel(own: str, orig: str, side: Side = BUY) -> CancelOrder:
    return CancelOrder(own, orig, "ABC", side)


def _numbers(report: Report) -> tuple[int | None, int | None, int | None]:
    return report.quantity, report.cum_quantity, report.leaves_quantity


class VenueConformance:
    """For every venue."""

    @pytest.fixture
    def one(self, venue: VenueUnderTest) -> FirmSession:
        """A firm that is connected."""
        return venue.session("one")

    @pytest.fixture
    def other(self, venue: VenueUnderTest) -> FirmSession:
        """Another one."""
        return venue.session("other")

    # ------------------------------------------------------------ connecting

    def test_a_connection_begins_with_welcome_and_tells_that_all_was_told(self, one: FirmSession) -> None:
        kinds = [type(event) for event in one.events if not isinstance(event, (Quote, Book))]
        assert kinds == [Connected, Welcome, ResumeEnd]
        assert one.life

    def test_before_the_start_and_after_the_end_nothing_can_be_sent(self, venue: VenueUnderTest) -> None:
        link = venue.link("one")
        assert link.send([StatusRequest("x")]) is False
        link.stop()
        session = venue.session("two")
        session.link.stop()
        assert session.link.send([StatusRequest("x")]) is False
        session.link.stop()

    def test_a_connection_that_is_made_anew_repeats_nothing_and_misses_nothing(
        self, one: FirmSession, other: FirmSession
    ) -> None:
        assert one.ask(order("x", BUY, 10, 50)).kind is ExecType.NEW
        one.link.reconnect()
        one.wait(lambda: one.count(Disconnected) == 1)
        other.tell(order("y", SELL, 4, 50))
        assert other.next_kinds(2) == [ExecType.NEW, ExecType.TRADE]
        one.wait(lambda: one.count(ResumeEnd) == 2)
        trade = one.next()
        assert (trade.kind, trade.last_quantity) == (ExecType.TRADE, 4)
        assert one.repeated == []
        assert one.ask(StatusRequest("x")).kind is ExecType.ORDER_STATUS

    def test_who_remembers_less_is_told_more(self, one: FirmSession) -> None:
        one.remembers = False
        one.link.resume_from(one.life, 0)
        for number in range(3):
            one.ask(order(f"x{number}", BUY, 10, 50))
        one.link.reconnect()
        one.wait(lambda: one.count(ResumeEnd) == 2)
        assert [report.cl_ord_id for report in one.repeated] == ["x0", "x1", "x2"]
        assert one.repeated == one.reports

    # ------------------------------------------------------------ orders

    def test_an_order_is_acknowledged_with_the_venues_id(self, one: FirmSession) -> None:
        report = one.ask(order("x", BUY, 10, 50))
        assert (report.kind, report.cl_ord_id, report.ord_status) == (ExecType.NEW, "x", OrdStatus.NEW)
        assert _numbers(report) == (10, 0, 10)
        assert report.venue_order_id
        assert report.exec_id
        assert report.at_ns > 0

    def test_two_orders_that_meet_are_executed_at_the_price_of_the_first(
        self, one: FirmSession, other: FirmSession
    ) -> None:
        one.ask(order("x", BUY, 10, 50))
        other.tell(order("y", SELL, 4, 49))
        assert other.next().kind is ExecType.NEW
        sold, bought = other.next(), one.next()
        assert (bought.kind, bought.last_quantity, bought.last_price) == (ExecType.TRADE, 4, 50)
        assert (bought.ord_status, _numbers(bought)) == (OrdStatus.PARTIALLY_FILLED, (10, 4, 6))
        assert (sold.kind, sold.last_quantity, sold.last_price) == (ExecType.TRADE, 4, 50)
        assert (sold.ord_status, _numbers(sold)) == (OrdStatus.FILLED, (4, 4, 0))

    def test_price_goes_before_time_and_time_before_everything_else(
        self, one: FirmSession, other: FirmSession
    ) -> None:
        for name, price in (("late", 50), ("later", 50), ("best", 51)):
            one.ask(order(name, BUY, 10, price))
        other.tell(order("y", SELL, 25, 50))
        assert [one.next().cl_ord_id for _ in range(3)] == ["best", "late", "later"]

    @pytest.mark.parametrize("time_in_force", [TimeInForce.GTC, TimeInForce.IOC])
    def test_what_is_left_of_a_market_order_is_cancelled(
        self, one: FirmSession, other: FirmSession, time_in_force: TimeInForce
    ) -> None:
        one.ask(order("x", SELL, 4, 50))
        other.tell(order("y", BUY, 10, time_in_force=time_in_force))
        assert other.next_kinds(2) == [ExecType.NEW, ExecType.TRADE]
        end = other.next()
        assert (end.kind, _numbers(end)) == (ExecType.CANCELED, (10, 4, 0))

    def test_what_is_left_of_an_immediate_order_is_cancelled(
        self, one: FirmSession, other: FirmSession
    ) -> None:
        one.ask(order("x", SELL, 4, 50))
        other.tell(order("y", BUY, 10, 50, time_in_force=TimeInForce.IOC))
        assert other.next_kinds(3) == [ExecType.NEW, ExecType.TRADE, ExecType.CANCELED]

    def test_a_fill_or_kill_order_is_cancelled_and_not_rejected(
        self, one: FirmSession, other: FirmSession
    ) -> None:
        one.ask(order("x", SELL, 4, 50))
        other.tell(order("y", BUY, 10, 50, time_in_force=TimeInForce.FOK))
        assert other.next_kinds(2) == [ExecType.NEW, ExecType.CANCELED]
        other.tell(order("z", BUY, 4, 50, time_in_force=TimeInForce.FOK))
        assert other.next_kinds(2) == [ExecType.NEW, ExecType.TRADE]

    def test_a_post_only_order_is_not_executed_on_arrival(self, one: FirmSession, other: FirmSession) -> None:
        one.ask(order("x", SELL, 4, 50))
        ended = other.ask(order("y", BUY, 10, 50, post_only=True))
        if ended.kind is ExecType.NEW:  # a venue may acknowledge before it ends it
            ended = other.next()
        assert ended.kind in (ExecType.REJECTED, ExecType.CANCELED)
        assert ended.cum_quantity == 0
        assert other.ask(order("z", BUY, 10, 49, post_only=True)).kind is ExecType.NEW

    def test_an_iceberg_shows_its_tip(self, one: FirmSession, other: FirmSession) -> None:
        one.ask(order("x", SELL, 30, 50, max_floor=10))
        other.wait(lambda: (quote := other.newest(Quote)) is not None and quote.ask_quantity == 10)
        other.tell(order("y", BUY, 25, 50))
        assert other.next().kind is ExecType.NEW
        executed = 0
        while executed < 25:
            executed += other.next().last_quantity
        assert executed == 25

    def test_a_stop_order_waits_for_its_price(self, one: FirmSession, other: FirmSession) -> None:
        one.ask(order("x", SELL, 5, 50))
        one.ask(order("z", SELL, 5, 52))
        other.ask(order("s", BUY, 5, type=OrderType.STOP, stop_price=50))
        other.tell(order("y", BUY, 5, 50))
        assert other.next_kinds(4) == [ExecType.NEW, ExecType.TRADE, ExecType.TRIGGERED, ExecType.TRADE]
        assert other.reports[-1].last_price == 52

    def test_an_order_that_makes_no_sense_is_rejected_with_a_reason(self, one: FirmSession) -> None:
        for number, wrong in enumerate(
            (
                order("x0", BUY, 0, 50),
                order("x1", BUY, 10, -5),
                order("x2", BUY, 10, 50, stop_price=5),
                NewOrder("x3", "a", "NIX", BUY, OrderType.LIMIT, TimeInForce.GTC, 10, 50),
            )
        ):
            report = one.ask(wrong)
            assert (report.kind, report.cl_ord_id) == (ExecType.REJECTED, f"x{number}")
            assert report.ord_status is OrdStatus.REJECTED
            assert report.reason

    def test_an_order_ends_at_its_time(self, venue: VenueUnderTest, one: FirmSession) -> None:
        soon_ns = venue.now_ns() + 200_000_000
        one.ask(order("x", BUY, 10, 50, time_in_force=TimeInForce.GTD, expire_at_ns=soon_ns))
        report = one.next()
        assert (report.kind, report.ord_status) == (ExecType.EXPIRED, OrdStatus.EXPIRED)
        assert report.at_ns >= soon_ns

    # ------------------------------------------------------------ cancels and replacements

    def test_a_cancel_ends_what_is_left(self, one: FirmSession) -> None:
        one.ask(order("x", BUY, 10, 50))
        report = one.ask(_cancel("c", "x"))
        assert (report.kind, report.cl_ord_id, report.orig_cl_ord_id) == (ExecType.CANCELED, "c", "x")
        assert (report.ord_status, _numbers(report)) == (OrdStatus.CANCELED, (10, 0, 0))

    def test_a_cancel_that_comes_too_late_is_refused(self, one: FirmSession, other: FirmSession) -> None:
        one.ask(order("x", BUY, 10, 50))
        other.tell(order("y", SELL, 10, 50))
        assert one.next().ord_status is OrdStatus.FILLED
        report = one.ask(_cancel("c", "x"))
        assert (report.kind, report.cl_ord_id) == (ExecType.CANCEL_REJECT, "c")
        assert (report.ord_status, report.reason) == (OrdStatus.FILLED, "too-late")

    def test_a_cancel_of_an_unknown_order_is_refused(self, one: FirmSession, other: FirmSession) -> None:
        other.ask(order("x", BUY, 10, 50))
        report = one.ask(_cancel("c", "x"))
        assert (report.kind, report.reason) == (ExecType.CANCEL_REJECT, "unknown-order")
        assert report.ord_status is OrdStatus.REJECTED

    def test_a_replacement_gives_the_order_other_numbers(self, one: FirmSession, other: FirmSession) -> None:
        wanted = order("x", BUY, 10, 50)
        one.ask(wanted)
        report = one.ask(_replace("r", wanted, quantity=20, price=49))
        assert (report.kind, report.cl_ord_id, report.orig_cl_ord_id) == (ExecType.REPLACED, "r", "x")
        assert (_numbers(report), report.price) == ((20, 0, 20), 49)
        other.tell(order("y", SELL, 5, 49))
        assert (one.next().cl_ord_id, one.reports[-1].last_price) == ("r", 49)
        assert one.ask(_cancel("c", "r")).kind is ExecType.CANCELED

    def test_less_quantity_keeps_the_place_in_time_and_more_does_not(
        self, one: FirmSession, other: FirmSession
    ) -> None:
        first, second = order("x", BUY, 10, 50), order("y", BUY, 10, 50)
        one.ask(first)
        one.ask(second)
        one.ask(_replace("x2", first, quantity=8))
        other.tell(order("s", SELL, 1, 50))
        assert one.next().cl_ord_id == "x2"
        one.ask(_replace("x3", first, orig="x2", quantity=12))
        other.tell(order("t", SELL, 1, 50))
        assert one.next().cl_ord_id == "y"

    def test_the_quantity_of_a_replacement_counts_what_is_executed(
        self, one: FirmSession, other: FirmSession
    ) -> None:
        wanted = order("x", BUY, 10, 50)
        one.ask(wanted)
        other.tell(order("y", SELL, 8, 50))
        assert one.next().cum_quantity == 8
        report = one.ask(_replace("r", wanted, quantity=7))
        assert (report.kind, report.ord_status) == (ExecType.REPLACED, OrdStatus.FILLED)
        assert _numbers(report) == (8, 8, 0)

    def test_a_replacement_that_makes_no_sense_changes_nothing(self, one: FirmSession) -> None:
        wanted = order("x", BUY, 10, 50)
        one.ask(wanted)
        report = one.ask(_replace("r", wanted, quantity=-1))
        assert (report.kind, report.cl_ord_id) == (ExecType.CANCEL_REJECT, "r")
        assert one.ask(_replace("r2", wanted, quantity=9)).kind is ExecType.REPLACED

    # ------------------------------------------------------------ the same twice, and questions

    def test_a_possible_resend_is_answered_with_the_first_ones_status(self, one: FirmSession) -> None:
        one.ask(order("x", BUY, 10, 50))
        report = one.ask(order("x", BUY, 10, 50, is_possible_resend=True))
        assert (report.kind, _numbers(report)) == (ExecType.ORDER_STATUS, (10, 0, 10))
        assert one.ask(order("z", BUY, 10, 50, is_possible_resend=True)).kind is ExecType.NEW
        assert self._open_ids(one, "q") == {"x", "z"}

    def test_a_known_id_that_is_not_marked_is_rejected_with_the_first_ones_status(
        self, one: FirmSession
    ) -> None:
        one.ask(order("x", BUY, 10, 50))
        report = one.ask(order("x", BUY, 99, 50))
        assert (report.kind, report.ord_status) == (ExecType.REJECTED, OrdStatus.NEW)
        assert self._open_ids(one, "q") == {"x"}

    def test_the_status_of_an_order_can_be_asked(self, one: FirmSession) -> None:
        wanted = order("x", BUY, 10, 50)
        one.ask(wanted)
        report = one.ask(StatusRequest("x"))
        assert (report.kind, report.ord_status) == (ExecType.ORDER_STATUS, OrdStatus.NEW)
        assert (report.symbol, report.side, report.account, report.price) == ("ABC", BUY, "a", 50)
        one.ask(_replace("r", wanted, quantity=11))
        assert one.ask(StatusRequest("x")).cl_ord_id == "r"

    def test_the_status_of_an_unknown_order_is_rejected(self, one: FirmSession) -> None:
        report = one.ask(StatusRequest("nix"))
        assert (report.kind, report.ord_status) == (ExecType.ORDER_STATUS, OrdStatus.REJECTED)
        assert (report.cum_quantity, report.leaves_quantity) == (0, 0)

    def test_what_is_open_is_told_with_its_end(self, one: FirmSession, other: FirmSession) -> None:
        for name in ("x", "y", "z"):
            one.ask(order(name, BUY, 10, 50))
        one.ask(_cancel("c", "y"))
        assert self._open_ids(one, "q") == {"x", "z"}
        assert self._open_ids(other, "q2") == set()

    def _open_ids(self, session: FirmSession, question: str) -> set[str]:
        session.tell(MassStatusRequest(question))
        session.wait(lambda: ResumeEnd(question) in session.events)
        told: set[str] = set()
        while not session.nothing_more():
            report = session.next()
            assert report.kind is ExecType.ORDER_STATUS
            told.add(report.cl_ord_id)
        return told

    # ------------------------------------------------------------ market data

    def test_the_best_prices_and_the_last_trade_are_told(self, one: FirmSession, other: FirmSession) -> None:
        one.ask(order("x", BUY, 10, 50))
        one.ask(order("y", BUY, 5, 49))
        other.ask(order("s", SELL, 7, 53))
        other.tell(order("t", SELL, 4, 50))
        wanted = (50, 6, 53, 7, 50, 4)

        def is_told() -> bool:
            quote = one.newest(Quote)
            return quote is not None and wanted == (
                quote.bid_price, quote.bid_quantity, quote.ask_price, quote.ask_quantity, quote.last_price, quote.last_quantity,
            )  # fmt: skip

        one.wait(is_told)
        depth = [(50, 6), (49, 5)], [(53, 7)]

        def is_deep() -> bool:
            book = one.newest(Book)
            return book is not None and depth == tuple(
                [(level.price, level.quantity) for level in side] for side in (book.bids, book.asks)
            )

        one.wait(is_deep)


class OperatorConformance:
    """For venues whose operator can be asked."""

    @pytest.fixture
    def one(self, venue: VenueUnderTest) -> FirmSession:
        """A firm that is connected."""
        return venue.session("one")

    def test_a_halt_keeps_what_waits_and_ends_with_an_uncross(
        self, venue: VenueUnderTest, one: FirmSession
    ) -> None:
        one.ask(order("x", BUY, 10, 50))
        venue.operate("halt", symbol="ABC")
        assert one.ask(order("m", SELL, 10)).reason == "halted"
        assert one.ask(order("y", SELL, 4, 50)).kind is ExecType.NEW
        one.wait(lambda: (quote := one.newest(Quote)) is not None and quote.is_halted)
        venue.operate("resume", symbol="ABC")
        assert one.next_kinds(2) == [ExecType.TRADE, ExecType.TRADE]
        one.wait(lambda: (quote := one.newest(Quote)) is not None and not quote.is_halted)

    def test_a_trade_can_be_cancelled_afterwards(self, venue: VenueUnderTest, one: FirmSession) -> None:
        one.ask(order("x", BUY, 10, 50))
        one.tell(order("y", SELL, 10, 50))
        one.next()
        trades = [one.next(), one.next()]
        venue.operate("bust", exec_id=trades[1].exec_id)
        busts = [one.next(), one.next()]
        assert [bust.kind for bust in busts] == [ExecType.TRADE_CANCEL] * 2
        assert {bust.exec_ref_id for bust in busts} == {trade.exec_id for trade in trades}
        assert [bust.cum_quantity for bust in busts] == [0, 0]
        assert one.next_kinds(2) == [ExecType.CANCELED] * 2

    def test_an_order_can_be_cancelled_that_nobody_asked_to_cancel(
        self, venue: VenueUnderTest, one: FirmSession
    ) -> None:
        one.ask(order("x", BUY, 10, 50))
        venue.operate("cancel", firm="one", cl_ord_id="x")
        report = one.next()
        assert (report.kind, report.cl_ord_id, report.orig_cl_ord_id) == (ExecType.CANCELED, "x", "")

    def test_what_the_day_leaves_is_done_and_restated_on_the_next(
        self, venue: VenueUnderTest, one: FirmSession
    ) -> None:
        one.ask(order("x", BUY, 10, 50))
        one.ask(order("d", BUY, 10, 49, time_in_force=TimeInForce.DAY))
        venue.operate("done_for_day", symbol="ABC")
        done = {report.cl_ord_id: report for report in (one.next(), one.next())}
        assert [report.kind for report in done.values()] == [ExecType.DONE_FOR_DAY] * 2
        assert (done["x"].leaves_quantity, done["d"].leaves_quantity) == (10, 0)
        venue.operate("advance", by_s=86_400)
        expired, restated = one.next(), one.next()
        assert (expired.kind, expired.cl_ord_id) == (ExecType.EXPIRED, "d")
        assert (restated.kind, restated.cl_ord_id, restated.leaves_quantity) == (ExecType.RESTATED, "x", 10)
