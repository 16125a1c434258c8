"""The edge between the public API and the core: what goes over it is the same on both sides, and what makes no sense is named."""

from __future__ import annotations

import dataclasses
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.toucan.server.support import key, limit_order

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core import outcomes as oc
from toucan.core.instruments import NUMBER_MAX, Instrument
from toucan.core.life_cycle import Effect
from toucan.core.terms import OrderTerms
from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import Book, Level, Quote, Report
from toucan.server.errors import CallError, EngineSaid, InvalidRequest, OutcomeUnknown
from toucan.server.limits import ERROR_TEXT_CHARACTERS_MAX, FILTER_NAMES_MAX, REQUEST_NUMBER_MAX
from toucan.server.translate import fields, from_wire, pieces, statuses, to_wire
from toucan.server.translate.amounts import average_price_text, decimal_text, money_text

_NAMES = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=64)
_NUMBERS = st.integers(-NUMBER_MAX, NUMBER_MAX)
_TERMS = st.builds(
    OrderTerms,
    account=_NAMES,
    symbol=_NAMES,
    side=st.sampled_from(Side),
    type=st.sampled_from(OrderType),
    time_in_force=st.sampled_from(TimeInForce),
    quantity=_NUMBERS,
    price=st.none() | _NUMBERS,
    stop_price=st.none() | _NUMBERS,
    max_floor=st.none() | _NUMBERS,
    post_only=st.booleans(),
    reduce_only=st.booleans(),
    expire_at_ns=st.none() | st.integers(0, 2**63 - 1),
    text=st.text(st.characters(categories=["L", "N", "P"]), max_size=200),
)


@given(_TERMS, st.booleans())
def test_terms_are_the_same_on_both_sides(terms: OrderTerms, is_confirmed: bool) -> None:
    request = pb.SubmitOrderRequest(terms=to_wire.terms(terms), is_confirmed=is_confirmed)
    body = from_wire.submit(pb.SubmitOrderRequest.FromString(request.SerializeToString()))
    assert body.terms == terms
    assert body.is_confirmed is is_confirmed


@dataclasses.dataclass
class Wrong:
    field: str
    change: dict[str, Any]


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong("terms.account", {"account": ""}),
        Wrong("terms.account", {"account": "A" * 65}),
        Wrong("terms.account", {"account": "A\nB"}),
        Wrong("terms.symbol", {"symbol": ""}),
        Wrong("terms.side", {"side": 0}),
        Wrong("terms.side", {"side": 3}),
        Wrong("terms.side", {"side": -1}),
        Wrong("terms.type", {"type": 0}),
        Wrong("terms.type", {"type": 99}),
        Wrong("terms.time_in_force", {"time_in_force": 0}),
        Wrong("terms.time_in_force", {"time_in_force": 6}),
        Wrong("terms.quantity", {"quantity": NUMBER_MAX + 1}),
        Wrong("terms.quantity", {"quantity": -(2**63)}),
        Wrong("terms.price", {"price": 2**63 - 1}),
        Wrong("terms.stop_price", {"stop_price": -(2**63)}),
        Wrong("terms.max_floor", {"max_floor": NUMBER_MAX + 1}),
        Wrong("terms.expire_at_ns", {"expire_at_ns": -1}),
        Wrong("terms.note", {"note": "x" * 201}),
        Wrong("terms.note", {"note": "one\ntwo"}),
    ],
    ids=lambda wrong: f"{wrong.field} {str(wrong.change)[:30]}",
)
def test_what_is_wrong_with_terms_is_named(wrong: Wrong) -> None:
    with pytest.raises(InvalidRequest) as caught:
        from_wire.submit(pb.SubmitOrderRequest(terms=limit_order(**wrong.change)))
    assert caught.value.field == wrong.field
    assert caught.value.code == "INVALID_ORDER"
    assert caught.value.text.startswith(wrong.field)


def test_unspecified_enum_is_said_in_the_apis_words() -> None:
    with pytest.raises(
        InvalidRequest, match=r"terms\.side is SIDE_UNSPECIFIED; it must be one of SIDE_BUY, SIDE_SELL"
    ):
        from_wire.submit(pb.SubmitOrderRequest(terms=limit_order(side=0)))


def test_messages_that_must_be_there_are_missed() -> None:
    for parse, field in ((from_wire.submit, "terms"), (from_wire.key, "key")):
        with pytest.raises(InvalidRequest) as caught:
            parse(pb.SubmitOrderRequest())
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("number", "is_good"),
    [(0, False), (1, True), (REQUEST_NUMBER_MAX, True), (REQUEST_NUMBER_MAX + 1, False), (-1, False)],
)
def test_request_numbers_are_bounded(number: int, is_good: bool) -> None:
    request = pb.CancelOrderRequest(key=key(number))
    if is_good:
        assert from_wire.key(request) == from_wire.Key("desk", number)
    else:
        with pytest.raises(InvalidRequest) as caught:
            from_wire.key(request)
        assert caught.value.field == "key.number"


@pytest.mark.parametrize(
    ("session", "is_good"), [("", False), ("s", True), ("s" * 64, True), ("s" * 65, False), ("a\0", False)]
)
def test_session_names_are_bounded(session: str, is_good: bool) -> None:
    request = pb.CancelOrderRequest(key=key(1, session))
    if is_good:
        assert from_wire.key(request).session == session
    else:
        with pytest.raises(InvalidRequest) as caught:
            from_wire.key(request)
        assert caught.value.field == "key.session"


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="this is no SubmitOrderRequest"):
        from_wire.parse(pb.SubmitOrderRequest, b"\x0a\xff")


def test_unknown_fields_are_ignored() -> None:
    known = pb.CancelOrderRequest(order_id=7).SerializeToString()
    unknown = b"\xfa\x3f\x03abc"  # field 1023, of some later version
    assert from_wire.parse(pb.CancelOrderRequest, known + unknown).order_id == 7


def _statuses(*numbers: int) -> Any:
    return numbers


def test_filters_are_bounded_and_named() -> None:
    most = [f"A{number}" for number in range(FILTER_NAMES_MAX)]
    terms = from_wire.filter_terms(
        pb.OrderFilter(accounts=most, statuses=_statuses(1, 1, 12), side=tp.SIDE_BUY)
    )
    assert terms.accounts == frozenset(most)
    assert terms.statuses == frozenset((OrdStatus.PENDING_NEW, OrdStatus.PENDING_REPLACE))
    assert terms.side is Side.BUY
    assert from_wire.filter_terms(pb.OrderFilter()) == from_wire.FilterTerms()
    for wrong, field in (
        (pb.OrderFilter(accounts=[*most, "one more"]), "filter.accounts"),
        (pb.OrderFilter(symbols=["AAPL", ""]), "filter.symbols[1]"),
        (pb.OrderFilter(statuses=_statuses(1, 0)), "filter.statuses[1]"),
        (pb.OrderFilter(statuses=_statuses(*[1] * 100_000)), "filter.statuses"),
        (pb.OrderFilter(side=9), "filter.side"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidRequest) as caught:
            from_wire.filter_terms(wrong)
        assert caught.value.field == field


def test_grace_time_is_absent_zero_or_bounded() -> None:
    assert from_wire.open_session(pb.OpenSession(session="s"))[1].grace_ns is None
    assert from_wire.open_session(pb.OpenSession(session="s", cancel_on_disconnect_ms=0))[1].grace_ns == 0
    assert (
        from_wire.open_session(pb.OpenSession(session="s", cancel_on_disconnect_ms=1500))[1].grace_ns
        == 1_500_000_000
    )
    for wrong in (-1, 24 * 3600 * 1000 + 1):
        with pytest.raises(InvalidRequest):
            from_wire.open_session(pb.OpenSession(session="s", cancel_on_disconnect_ms=wrong))


def test_absent_and_zero_differ_in_replacements() -> None:
    assert from_wire.replace(pb.ReplaceOrderRequest(order_id=1)).price is None
    assert from_wire.replace(pb.ReplaceOrderRequest(order_id=1, price=0)).price == 0


# ---------------------------------------------------------------- amounts


@given(st.integers(-(10**40), 10**40), st.integers(0, 24), st.integers(0, 24))
def test_decimal_text_is_exact_and_has_no_useless_zeros(number: int, decimals: int, kept: int) -> None:
    text = decimal_text(number, decimals, kept)
    with localcontext(prec=100):
        assert Decimal(text) == Decimal(number).scaleb(-decimals)
    part = text.partition(".")[2]
    assert not part or len(part) <= max(kept, 0) or not part.endswith("0")
    assert len(part) >= min(kept, decimals)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12), st.integers(0, 12))
def test_average_price_is_rounded_half_to_even(notional: int, quantity: int, price_decimals: int) -> None:
    instrument = Instrument("X", "USD", "SIM", price_decimals=price_decimals)
    exact = Fraction(notional, quantity) / 10**price_decimals
    expected = round(exact * 10**12)
    for given_as in (notional, Fraction(notional)):
        with localcontext(prec=100):
            assert Decimal(average_price_text(given_as, quantity, instrument)) == Decimal(expected).scaleb(
                -12
            )


def test_money_is_exact_where_a_decimal_context_would_round() -> None:
    instrument = Instrument("X", "USD", "SIM", price_decimals=2, quantity_decimals=8, multiplier=3)
    assert money_text(-(10**38 + 1), instrument) == "-30000000000000000000000000000.0000000003"


# ---------------------------------------------------------------- out


def test_bust_tells_what_was_executed_and_correction_the_new_values() -> None:
    bust = to_wire.execution(
        Report(ExecType.TRADE_CANCEL, "c", exec_id="e2", exec_ref_id="e1"),
        Effect(ExecType.TRADE_CANCEL, "e1", 0, 500, 30, 500),
    )
    assert bust == tp.Execution(exec_id="e2", exec_ref_id="e1", quantity=30, price=500)
    correction = to_wire.execution(
        Report(ExecType.TRADE_CORRECT, "c", exec_id="e3", exec_ref_id="e1", last_quantity=20, last_price=400),
        Effect(ExecType.TRADE_CORRECT, "e1", 20, 400, 30, 500),
    )
    assert correction == tp.Execution(exec_id="e3", exec_ref_id="e1", quantity=20, price=400)
    assert to_wire.execution(Report(ExecType.NEW, "c"), None) is None


def test_mark_is_the_last_trade_or_else_the_middle() -> None:
    assert to_wire.mark_price(None) is None
    assert to_wire.mark_price(Quote("X", 1, bid_price=10)) is None
    assert to_wire.mark_price(Quote("X", 1, bid_price=10, ask_price=13)) == 11
    assert to_wire.mark_price(Quote("X", 1, bid_price=10, ask_price=13, last_price=99)) == 99


def test_depth_is_cut_and_absent_prices_stay_absent() -> None:
    book = Book("X", 9, (Level(10, 1), Level(9, 2), Level(8, 3)), (Level(12, 4),))
    told = to_wire.market_data("X", Quote("X", 5, ask_price=12, ask_quantity=4), book, 2)
    assert [level.price for level in told.bids] == [10, 9]
    assert [level.price for level in told.asks] == [12]
    assert told.at_ns == 9
    assert not told.HasField("bid_price")
    assert told.ask_price == 12
    nothing = to_wire.market_data("X", None, None, 2)
    assert nothing == tp.MarketData(symbol="X")


# ---------------------------------------------------------------- pieces

_UPDATE_LISTS = st.lists(
    st.builds(tp.OrderUpdate, seq=st.integers(0, 2**63 - 1), event=st.text(max_size=300)), max_size=4
)
_COUNTS = st.integers(0, 2**63 - 1)


@given(_UPDATE_LISTS, _COUNTS, st.booleans(), st.booleans(), _COUNTS, st.booleans())
def test_joined_pieces_are_the_message(
    updates: list[tp.OrderUpdate], seq: int, is_snapshot: bool, is_end: bool, conflated: int, is_stale: bool
) -> None:
    joined = pieces.watch_orders_response(
        map(pieces.order_update_piece, updates), seq,
        is_snapshot=is_snapshot, is_snapshot_end=is_end, conflated=conflated, is_stale=is_stale,
    )  # fmt: skip
    expected = pb.WatchOrdersResponse(
        updates=updates, seq=seq, is_snapshot=is_snapshot, is_snapshot_end=is_end, conflated=conflated, is_stale=is_stale
    )  # fmt: skip
    assert pb.WatchOrdersResponse.FromString(joined) == expected
    in_session = pb.SessionResponse.FromString(pieces.session_updates(joined))
    assert in_session == pb.SessionResponse(updates=expected)


@given(_COUNTS, st.booleans(), st.none() | _COUNTS, st.text(max_size=300))
def test_joined_pieces_of_the_other_streams(seq: int, is_stale: bool, gap: int | None, text: str) -> None:
    position, market = tp.Position(account=text), tp.MarketData(symbol=text)
    event = pb.DropCopyEvent(json=text)
    assert pb.WatchPositionsResponse.FromString(
        pieces.watch_positions_response([pieces.position_piece(position)] * 2, seq, is_stale)
    ) == pb.WatchPositionsResponse(positions=[position] * 2, seq=seq, is_stale=is_stale)
    assert pb.WatchMarketDataResponse.FromString(
        pieces.market_data_response([pieces.market_data_piece(market)], ["X"] * is_stale)
    ) == pb.WatchMarketDataResponse(market_data=[market], is_stale=is_stale, stale_symbols=["X"] * is_stale)
    assert pb.DropCopyResponse.FromString(
        pieces.drop_copy_response([pieces.drop_copy_event(event)], seq, gap, is_stale)
    ) == pb.DropCopyResponse(events=[event], seq=seq, gap_until_seq=gap, is_stale=is_stale)


# ---------------------------------------------------------------- statuses


@pytest.mark.parametrize("code", oc.Refusal)
def test_every_refusal_has_a_status_and_its_code(code: oc.Refusal) -> None:
    error = statuses.engine_error(oc.Refused(code, "why"))
    assert isinstance(error, EngineSaid)
    assert error.status is not grpc.StatusCode.OK
    assert statuses.details(error) == [tp.Refusal(code=code, text="why")]
    assert statuses.session_error(error).refusal.code == code


def test_denial_is_a_failed_precondition_and_carries_all() -> None:
    denial = oc.Denial(
        "MAX_ORDER_QUANTITY", "firm/alpha", "max_order_quantity", "101", "100", "too many", True
    )
    error = statuses.engine_error(oc.Denied(denial))
    assert isinstance(error, EngineSaid)
    assert error.status is grpc.StatusCode.FAILED_PRECONDITION
    assert error.outcome == "DENIED"
    (told,) = statuses.details(error)
    assert told == tp.Denial(
        code="MAX_ORDER_QUANTITY", node="firm/alpha", limit="max_order_quantity", value="101", maximum="100",
        text="too many", can_be_confirmed=True,
    )  # fmt: skip
    assert statuses.session_error(error).denial == told


def test_carried_out_is_no_error() -> None:
    assert statuses.engine_error(oc.Done()) is None
    assert statuses.engine_error(oc.Accepted(1)) is None


def test_unknown_outcome_has_no_refusal_that_would_say_it_was_not_done() -> None:
    assert statuses.details(OutcomeUnknown("who knows")) == []


def test_error_texts_are_bounded() -> None:
    error = CallError("x" * 100_000)
    assert len(error.text) == ERROR_TEXT_CHARACTERS_MAX
    assert sum(len(value) for _, value in statuses.metadata(error)) < 8192


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_taken_or_refused_but_never_changed(value: int) -> None:
    try:
        assert fields.number(value, "x") == value
        assert abs(value) <= NUMBER_MAX
    except InvalidRequest:
        assert abs(value) > NUMBER_MAX
