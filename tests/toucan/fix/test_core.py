"""Messages of the seam as FIX and back, and what is wrong with a message, in FIX's words."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toucan.core.instruments import Instrument
from toucan.core.values import ExecType, OrderType, OrdStatus, RequestKind, Side, TimeInForce
from toucan.core.venue_messages import (
    Book,
    CancelOrder,
    Level,
    MassStatusRequest,
    NewOrder,
    Quote,
    ReplaceOrder,
    Report,
    StatusRequest,
)
from toucan.fix.core.amounts import Scale, time_ns, time_text
from toucan.fix.core.facts import OrderFacts, facts_of_request
from toucan.fix.core.groups import GROUPS, dictionary_xml
from toucan.fix.core.market import market_from_fix, market_request, market_request_of, snapshot
from toucan.fix.core.message import SOH, FaultKind, FixFault, FixMessage, clean, masked
from toucan.fix.core.records import RecordEnd, encode_record, read_records
from toucan.fix.core.reports import no_orders, not_sent_report, report_from_fix, report_to_fix
from toucan.fix.core.requests import request_from_fix, request_to_fix
from toucan.fix.core.tags import MESSAGE_TYPES, MsgType, Tag
from toucan.fix.core.words import EXEC_TYPES, ORD_STATUSES
from toucan.fix.limits import RECORD_BYTES_MAX

_MS = 1_000_000
INSTRUMENTS = {
    "ABC": Instrument(symbol="ABC", currency="USD", venue="v"),
    "BTC-USD": Instrument(symbol="BTC-USD", currency="USD", venue="v", price_decimals=4, quantity_decimals=8),
}
_ids = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, categories=("L", "N", "P")), min_size=1, max_size=40
)
_texts = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=60)
_symbols = st.sampled_from(sorted(INSTRUMENTS))
_numbers = st.integers(-(2**53), 2**53)
_some = st.none() | _numbers
_times = st.integers(0, 4_000_000_000_000).map(lambda ms: ms * _MS)
_sides = st.sampled_from(Side)


@st.composite
def _new_orders(draw: st.DrawFn) -> NewOrder:
    time_in_force = draw(st.sampled_from(TimeInForce))
    is_gtd = time_in_force is TimeInForce.GTD
    return NewOrder(
        draw(_ids), draw(_texts), draw(_symbols), draw(_sides), draw(st.sampled_from(OrderType)), time_in_force,
        draw(_numbers), draw(_some), draw(_some), draw(_some), draw(st.booleans()),
        draw(_times) if is_gtd else None, draw(st.booleans()),
    )  # fmt: skip


_requests: st.SearchStrategy[Any] = st.one_of(
    _new_orders(),
    st.builds(CancelOrder, _ids, _ids, _symbols, _sides),
    st.builds(ReplaceOrder, _ids, _ids, _symbols, _sides, st.sampled_from(OrderType), _numbers, _some, _some),
    st.builds(StatusRequest, _ids),
    st.builds(MassStatusRequest, _ids),
)


def wire(message: FixMessage) -> FixMessage:
    """A message as it comes out of its text."""
    pairs = [(35, message.type), *message.fields]
    return FixMessage.parse("".join(f"{int(tag)}={value}{SOH}" for tag, value in pairs))


def fix(kind: str, *pairs: tuple[int, str]) -> FixMessage:
    return FixMessage(kind, pairs)


# ---------------------------------------------------------------- requests


@given(_requests)
def test_a_request_is_the_same_after_its_way_through_fix(message: Any) -> None:
    assert request_from_fix(wire(request_to_fix(message, None, INSTRUMENTS, 0)), INSTRUMENTS) == message


def test_a_cancel_and_a_question_say_what_fix_wants_repeated() -> None:
    facts = OrderFacts("x", "ABC", Side.SELL, RequestKind.NEW, "acc", 12)
    cancel = request_to_fix(CancelOrder("c", "x", "ABC", Side.SELL), facts, INSTRUMENTS, 0)
    assert (cancel.get(Tag.ORDER_QTY), cancel.get(Tag.TRANSACT_TIME)) == ("12", "19700101-00:00:00.000")
    status = request_to_fix(StatusRequest("x"), facts, INSTRUMENTS, 0)
    assert (status.get(Tag.SYMBOL), status.get(Tag.SIDE)) == ("ABC", "2")
    unknown = request_to_fix(StatusRequest("x"), None, INSTRUMENTS, 0)
    assert (unknown.get(Tag.SYMBOL), unknown.get(Tag.SIDE)) == ("[N/A]", "7")


def test_a_day_order_ends_when_its_venue_says_and_a_gtd_order_not_before_its_time() -> None:
    order = NewOrder("x", "a", "ABC", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, 1, 1, expire_at_ns=1)
    assert not request_to_fix(order, None, INSTRUMENTS, 0).has(Tag.EXPIRE_TIME)
    gtd = msgspec.structs.replace(order, time_in_force=TimeInForce.GTD)
    assert request_to_fix(gtd, None, INSTRUMENTS, 0).get(Tag.EXPIRE_TIME) == "19700101-00:00:00.001"


def test_what_the_session_sends_again_counts_as_a_possible_resend() -> None:
    order = NewOrder("x", "a", "ABC", Side.BUY, OrderType.MARKET, TimeInForce.IOC, 1)
    there = request_to_fix(order, None, INSTRUMENTS, 0)
    again = FixMessage(there.type, [(Tag.POSS_DUP_FLAG, "Y"), *there.fields])
    received = request_from_fix(again, INSTRUMENTS)
    assert received == msgspec.structs.replace(order, is_possible_resend=True)


_ORDER: dict[int, str] = {
    Tag.CL_ORD_ID: "x", Tag.SYMBOL: "ABC", Tag.SIDE: "1", Tag.ORDER_QTY: "10", Tag.ORD_TYPE: "2", Tag.PRICE: "1.5",
}  # fmt: skip


@pytest.mark.parametrize(
    ("tag", "value", "kind"),
    [
        (Tag.CL_ORD_ID, None, FaultKind.MISSING),
        (Tag.CL_ORD_ID, "", FaultKind.MISSING),
        (Tag.CL_ORD_ID, "x" * 1001, FaultKind.VALUE),
        (Tag.CL_ORD_ID, "x\udce9", FaultKind.FORMAT),
        (Tag.ACCOUNT, "\udce9", FaultKind.FORMAT),
        (Tag.SYMBOL, None, FaultKind.MISSING),
        (Tag.ORDER_QTY, None, FaultKind.MISSING),
        (Tag.ORDER_QTY, "ten", FaultKind.FORMAT),
        (Tag.ORDER_QTY, "1e3", FaultKind.FORMAT),
        (Tag.ORDER_QTY, "NaN", FaultKind.FORMAT),
        (Tag.ORDER_QTY, "٣", FaultKind.FORMAT),
        (Tag.ORDER_QTY, "1" * 41, FaultKind.FORMAT),
        (Tag.ORDER_QTY, "0.5", FaultKind.VALUE),
        (Tag.ORDER_QTY, "1" * 40, FaultKind.VALUE),
        (Tag.PRICE, "1.505", FaultKind.VALUE),
        (Tag.PRICE, "-", FaultKind.FORMAT),
        (Tag.SIDE, "5", FaultKind.VALUE),
        (Tag.ORD_TYPE, "P", FaultKind.VALUE),
        (Tag.TIME_IN_FORCE, "2", FaultKind.VALUE),
        (Tag.EXEC_INST, "6 G", FaultKind.VALUE),
        (Tag.EXPIRE_TIME, "tomorrow", FaultKind.FORMAT),
        (Tag.EXPIRE_TIME, "20260231-00:00:00", FaultKind.VALUE),
        (Tag.EXPIRE_TIME, "99991231-23:59:59", FaultKind.VALUE),
        (Tag.EXPIRE_TIME, "00010101-00:00:00", FaultKind.VALUE),
    ],
)
def test_a_field_that_is_wrong_is_named(tag: int, value: str | None, kind: FaultKind) -> None:
    fields: dict[int, str | None] = {**_ORDER, tag: value}
    message = FixMessage("D", [(one, text) for one, text in fields.items() if text is not None])
    with pytest.raises(FixFault) as caught:
        request_from_fix(message, INSTRUMENTS)
    assert (caught.value.tag, caught.value.kind) == (tag, kind)


def test_a_whole_number_has_as_many_digits_as_can_be_counted() -> None:
    assert fix("V", (Tag.MARKET_DEPTH, "9" * 18)).whole(Tag.MARKET_DEPTH) == 10**18 - 1
    for wrong in ("1" * 19, "1" * 5000, "", "-1", "²"):
        with pytest.raises(FixFault):
            fix("V", (Tag.MARKET_DEPTH, wrong)).whole(Tag.MARKET_DEPTH)


def test_what_stands_in_a_message_without_a_tag_is_left_out() -> None:
    text = SOH.join(("35=8", "354=9", "355=a", "b=c", "d", "-5=e", "²=f", "1" * 5000 + "=g", "58=h", ""))
    assert FixMessage.parse(text).fields == ((35, "8"), (354, "9"), (355, "a"), (58, "h"))


def test_a_symbol_that_is_not_known_is_for_the_exchange_to_refuse() -> None:
    order = request_from_fix(FixMessage("D", {**_ORDER, Tag.SYMBOL: "NIX"}.items()), INSTRUMENTS)
    assert isinstance(order, NewOrder)
    assert (order.symbol, order.price) == ("NIX", 150_000_000)


def test_what_is_no_request_is_unsupported() -> None:
    with pytest.raises(FixFault) as caught:
        request_from_fix(fix("B"), INSTRUMENTS)
    assert caught.value.kind is FaultKind.UNSUPPORTED
    with pytest.raises(FixFault) as caught:
        request_from_fix(
            fix("AF", (Tag.MASS_STATUS_REQ_ID, "q"), (Tag.MASS_STATUS_REQ_TYPE, "1")), INSTRUMENTS
        )
    assert caught.value.tag == Tag.MASS_STATUS_REQ_TYPE


# ---------------------------------------------------------------- reports


@st.composite
def _reports(draw: st.DrawFn) -> Report:
    kind = draw(st.sampled_from([one for one in ExecType if one is not ExecType.CANCEL_REJECT]))
    is_execution = kind in (ExecType.TRADE, ExecType.TRADE_CORRECT)
    return Report(
        kind=kind, cl_ord_id=draw(_ids), venue_seq=draw(st.integers(1, 2**40)), orig_cl_ord_id=draw(st.just("") | _ids),
        venue_order_id=draw(_ids), exec_id=draw(_ids.filter(lambda text: text != "0")), exec_ref_id=draw(st.just("") | _ids),
        last_quantity=draw(_numbers) if is_execution else 0, last_price=draw(_numbers) if is_execution else None,
        ord_status=draw(st.sampled_from(OrdStatus)), quantity=draw(_some), price=draw(_some), stop_price=draw(_some),
        cum_quantity=draw(_numbers), leaves_quantity=draw(_numbers), day_cum_quantity=draw(_some),
        symbol=draw(_symbols), side=draw(_sides), account=draw(_texts), reason=draw(_ids), text=draw(_texts), at_ns=draw(_times),
    )  # fmt: skip


@given(_reports())
def test_a_report_is_the_same_after_its_way_through_fix(report: Report) -> None:
    here = report_from_fix(wire(report_to_fix(report, None, INSTRUMENTS)), None, INSTRUMENTS)
    assert here == msgspec.structs.replace(report, venue_seq=0)


@given(_reports())
def test_of_an_own_order_only_a_status_repeats_what_it_is(report: Report) -> None:
    facts = OrderFacts(report.cl_ord_id, report.symbol, report.side or Side.BUY)
    here = report_from_fix(wire(report_to_fix(report, facts, INSTRUMENTS)), facts, INSTRUMENTS)
    assert here is not None
    is_status = report.kind is ExecType.ORDER_STATUS
    assert (here.symbol, here.side) == ((report.symbol, report.side) if is_status else ("", None))


@given(_ids, _ids, _ids, st.sampled_from(OrdStatus), _ids, _texts, _times)
def test_a_refusal_is_the_same_after_its_way_through_fix(
    own: str, orig: str, order: str, status: OrdStatus, reason: str, text: str, at_ns: int
) -> None:
    if orig == "NONE":
        return
    report = Report(
        kind=ExecType.CANCEL_REJECT, cl_ord_id=own, orig_cl_ord_id=orig, venue_order_id=order, ord_status=status,
        reason=reason, text=text, at_ns=at_ns,
    )  # fmt: skip
    message = wire(report_to_fix(report, None, INSTRUMENTS))
    assert message.type == MsgType.ORDER_CANCEL_REJECT
    assert report_from_fix(message, None, INSTRUMENTS) == report


def test_a_refusal_says_what_it_refuses() -> None:
    report = Report(kind=ExecType.CANCEL_REJECT, cl_ord_id="r", reason="too-late")
    for kind, told in ((RequestKind.CANCEL, "1"), (RequestKind.REPLACE, "2")):
        message = report_to_fix(report, OrderFacts("r", "ABC", Side.BUY, kind), INSTRUMENTS)
        assert (message.get(Tag.CXL_REJ_RESPONSE_TO), message.get(Tag.CXL_REJ_REASON)) == (told, "0")


def test_a_fill_that_cannot_be_counted_is_told_as_malformed_and_in_words() -> None:
    message = fix(
        "8", (Tag.CL_ORD_ID, "x"), (Tag.EXEC_TYPE, "F"), (Tag.ORD_STATUS, "1"), (Tag.SYMBOL, "ABC"), (Tag.EXEC_ID, "e"),
        (Tag.LAST_QTY, "5"), (Tag.LAST_PX, "50.125"),
    )  # fmt: skip
    report = report_from_fix(message, None, INSTRUMENTS)
    assert report is not None
    assert (report.last_quantity, report.last_price) == (5, None)
    assert "5 at 50.125" in report.text


def test_whatever_a_venue_writes_a_report_of_it_can_be_kept() -> None:
    texts = [(tag, "\udce9\U0001f426" * 3000) for tag in (1, 11, 17, 19, 31, 32, 37, 41, 55, 58, 5801)]
    for kind in ("8", "9"):
        report = report_from_fix(fix(kind, (Tag.EXEC_TYPE, "F"), *texts), None, INSTRUMENTS)
        assert report is not None
        assert report.cl_ord_id.startswith("\ufffd\U0001f426")
        assert len(msgspec.msgpack.encode(report)) < RECORD_BYTES_MAX


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([(Tag.ORD_REJ_REASON, "1")], "unknown-symbol"),
        ([(Tag.CXL_REJ_REASON, "0")], "too-late"),
        ([(Tag.ORD_REJ_REASON, "77")], "other"),
        ([(Tag.ORD_REJ_REASON, "1"), (Tag.REASON_CODE, "fok")], "fok"),
        ([], ""),
    ],
)
def test_reasons_of_other_venues_have_our_words(pairs: list[tuple[int, str]], reason: str) -> None:
    report = report_from_fix(fix("8", (Tag.EXEC_TYPE, "8"), *pairs), None, INSTRUMENTS)
    assert report is not None
    assert report.reason == reason


def test_what_a_venue_says_in_its_own_way() -> None:
    old_fill = fix("8", (Tag.EXEC_TYPE, "1"), (Tag.LAST_QTY, "5"), (Tag.LAST_PX, "1"), (Tag.SYMBOL, "ABC"))
    report = report_from_fix(old_fill, None, INSTRUMENTS)
    assert report is not None
    assert (report.kind, report.last_quantity, report.last_price) == (ExecType.TRADE, 5, 100)
    assert report_from_fix(fix("8", (Tag.EXEC_TYPE, "Z")), None, INSTRUMENTS) is None
    odd = report_from_fix(
        fix("8", (Tag.EXEC_TYPE, "0"), (Tag.PRICE, "a lot"), (Tag.ORD_STATUS, "B")), None, INSTRUMENTS
    )
    assert odd is not None
    assert (odd.price, odd.ord_status) == (None, None)


def test_every_word_has_one_character_and_no_two_the_same() -> None:
    assert set(EXEC_TYPES) == set(ExecType) - {ExecType.CANCEL_REJECT}
    assert set(ORD_STATUSES) == set(OrdStatus)
    for table in (EXEC_TYPES, ORD_STATUSES):
        assert len(set(table.values())) == len(table)


def test_no_open_orders_is_an_answer_and_the_last_one() -> None:
    message = no_orders("q", 0)
    assert message.get(Tag.TOT_NUM_REPORTS) == "0"
    assert message.flag(Tag.LAST_RPT_REQUESTED)


def test_a_message_that_was_not_taken_ends_a_new_order_and_refuses_everything_else() -> None:
    order = NewOrder("x", "a", "ABC", Side.BUY, OrderType.MARKET, TimeInForce.IOC, 7)
    new = not_sent_report(facts_of_request(order, None), "", "r", "t", 5)
    assert (new.kind, new.ord_status, new.quantity, new.leaves_quantity) == (
        ExecType.REJECTED,
        OrdStatus.REJECTED,
        7,
        0,
    )
    cancel = facts_of_request(CancelOrder("c", "x", "ABC", Side.BUY), facts_of_request(order, None))
    refusal = not_sent_report(cancel, "x", "r", "t", 5)
    assert (refusal.kind, refusal.orig_cl_ord_id) == (ExecType.CANCEL_REJECT, "x")


# ---------------------------------------------------------------- numbers, times, text


@given(_numbers, st.integers(0, 12))
def test_numbers_are_exact(number: int, decimals: int) -> None:
    scale = Scale(
        Instrument(symbol="X", currency="USD", venue="v", price_decimals=decimals, quantity_decimals=decimals)
    )
    message = fix("D", (Tag.PRICE, scale.price_text(number)), (Tag.ORDER_QTY, scale.quantity_text(number)))
    assert (scale.price(message, Tag.PRICE), scale.quantity(message, Tag.ORDER_QTY)) == (number, number)


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_times_are_in_milliseconds(at_ns: int) -> None:
    for text, wanted in (
        (time_text(at_ns), at_ns // _MS * _MS),
        (time_text(at_ns, is_rounded_up=True), -(-at_ns // _MS) * _MS),
    ):
        assert time_ns(fix("D", (Tag.TRANSACT_TIME, text)), Tag.TRANSACT_TIME) == wanted


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("19700101-00:00:01", 1_000_000_000),
        ("19700101-00:00:00.000000001", 1),
        ("19700101-00:00:00.000000000001", 0),
        ("19700101-00:00:60", 60_000_000_000),
    ],
)
def test_times_of_others_may_have_more_or_fewer_digits(text: str, at_ns: int) -> None:
    assert time_ns(fix("8", (Tag.TRANSACT_TIME, text)), Tag.TRANSACT_TIME) == at_ns


def test_text_never_ends_a_field_and_passwords_are_never_shown() -> None:
    assert clean(f"a{SOH}58=b\n") == "a 58=b "
    logon = [(35, "A"), (553, "me"), (554, "secret"), (96, "secret"), (925, "secret")]
    assert masked(logon) == "35=A|553=***|554=***|96=***|925=***"
    assert "secret" not in repr(fix("A", (554, "secret")))


# ---------------------------------------------------------------- market data


_levels = st.lists(
    st.tuples(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(0, 99)), max_size=8, unique_by=lambda one: one[0]
)  # fmt: skip


@given(_levels, _levels, st.none() | st.integers(1, 10**9), st.integers(0, 10**9), st.booleans())
def test_a_picture_of_the_market_is_the_same_after_its_way_through_fix(
    bids: list[tuple[int, int, int]],
    asks: list[tuple[int, int, int]],
    last: int | None,
    volume: int,
    halted: bool,
) -> None:
    book = Book(
        "ABC",
        0,
        tuple(Level(*one) for one in sorted(bids, reverse=True)),
        tuple(Level(*one) for one in sorted(asks)),
    )
    best_bid, best_ask = (book.bids or (None,))[0], (book.asks or (None,))[0]
    quote = Quote(
        "ABC", 0, best_bid.price if best_bid else None, best_bid.quantity if best_bid else 0, best_ask.price if best_ask else None,
        best_ask.quantity if best_ask else 0, last, 5 if last else 0, volume, halted,
    )  # fmt: skip
    message = wire(snapshot("r", quote, book, 0, INSTRUMENTS["ABC"]))
    assert market_from_fix(message, INSTRUMENTS["ABC"], halted) == (quote, book)


def test_a_subscription_is_understood_as_it_is_made() -> None:
    wanted = market_request_of(wire(market_request("ABC")))
    assert (wanted.symbols, wanted.depth, wanted.goes_on, wanted.ends) == (["ABC"], 0, True, False)
    with pytest.raises(FixFault):
        market_request_of(fix("V", (Tag.MD_REQ_ID, "m"), (Tag.SUBSCRIPTION_REQUEST_TYPE, "9")))


# ---------------------------------------------------------------- files and dictionary


@given(st.lists(st.binary(max_size=50)), st.data())
def test_records_end_clean_torn_or_damaged_and_never_wrong(
    payloads: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(map(encode_record, payloads))
    *read, end = read_records(whole)
    assert ([one[0] for one in read if not isinstance(one, RecordEnd)], end) == (payloads, RecordEnd.CLEAN)
    if not whole:
        return
    *read, end = read_records(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert end in (RecordEnd.CLEAN, RecordEnd.TORN)
    assert [one[0] for one in read if not isinstance(one, RecordEnd)] == payloads[: len(read)]
    place = data.draw(st.integers(0, len(whole) - 1))
    broken = bytearray(whole)
    broken[place] ^= data.draw(st.integers(1, 255))
    *read, end = read_records(bytes(broken))
    assert end is not RecordEnd.CLEAN
    assert [one[0] for one in read if not isinstance(one, RecordEnd)] == payloads[: len(read)]


@pytest.mark.parametrize("is_strict", [True, False])
def test_the_dictionary_has_every_message_and_group(is_strict: bool) -> None:
    root = ElementTree.fromstring(dictionary_xml(is_strict=is_strict))
    messages = {one.get("msgtype"): one for one in root.iter("message")}
    assert set(messages) == set(MESSAGE_TYPES)
    assert len(MESSAGE_TYPES) == 93
    required = [one for one in messages["D"].findall("field") if one.get("required") == "Y"]
    assert bool(required) == is_strict
    names = {one.get("name") for one in root.find("fields") or ()}
    assert {one.get("name") for one in root.iter("group")} <= names
    assert {f"Tag{count}" for count in GROUPS} <= names


def test_an_entry_off_the_grid_is_left_out_and_the_others_count() -> None:
    message = wire(
        fix(
            "W", (Tag.SYMBOL, "ABC"), (Tag.SENDING_TIME, "now"), (Tag.NO_MD_ENTRIES, "4"),
            (Tag.MD_ENTRY_TYPE, "0"), (Tag.MD_ENTRY_PX, "0.505"), (Tag.MD_ENTRY_SIZE, "7"),
            (Tag.MD_ENTRY_TYPE, "0"), (Tag.MD_ENTRY_PX, "0.50"), (Tag.MD_ENTRY_SIZE, "8"),
            (Tag.MD_ENTRY_TYPE, "1"), (Tag.MD_ENTRY_PX, "0.51"), (Tag.MD_ENTRY_SIZE, "0.5"),
            (Tag.MD_ENTRY_TYPE, "2"), (Tag.MD_ENTRY_PX, "0.5001"), (Tag.MD_ENTRY_SIZE, "1"),
        )
    )  # fmt: skip
    quote, book = market_from_fix(message, INSTRUMENTS["ABC"], halted=False)
    assert (book.bids, book.asks) == ((Level(50, 8),), ())
    assert (quote.bid_price, quote.ask_price, quote.last_price) == (50, None, None)
