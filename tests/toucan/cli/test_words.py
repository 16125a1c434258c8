"""How people say orders, read and written."""

from __future__ import annotations

from decimal import Decimal

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.cli.support import order

from toucan.cli.parameters import KEY, ORDER_ID
from toucan.cli.words import OrderWords, iso_time, order_words, status_words, terms_words
from toucan.client.values import RequestInFlight, RequestKey
from toucan.core.values import OrdStatus, RequestKind, Side, TimeInForce

_EXAMPLE = "toucan buy 100 AAPL @ 189.50"


@pytest.mark.parametrize(
    "text", ["100 AAPL @ 189.50", "100 AAPL @189.50", "100 AAPL 189.50", "100 AAPL at 189.50"]
)
def test_a_limit_order_is_said_in_several_ways(text: str) -> None:
    assert order_words(text.split(), _EXAMPLE) == OrderWords("100", "AAPL", "189.50")


@pytest.mark.parametrize("text", ["5 MSFT market", "5 MSFT MARKET", "5 MSFT mkt", "5 MSFT @ market"])
def test_a_market_order_is_named(text: str) -> None:
    assert order_words(text.split(), _EXAMPLE) == OrderWords("5", "MSFT", "market")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an order is a quantity, a symbol and a price: toucan buy 100 AAPL @ 189.50"),
        ("100", "an order is a quantity, a symbol and a price"),
        ("AAPL 100", "the quantity comes first: toucan buy 100 AAPL @ 189.50"),
        ("100 AAPL @", "a price follows the @"),
        ("100 AAPL at", "a price follows the at"),
        ("100 AAPL @ 189.50 now", "what is 'now'?"),
        ("100 AAPL 189 50", "what is '50'?"),
    ],
)
def test_what_is_wrong_is_said_with_an_example(text: str, message: str) -> None:
    with pytest.raises(click.UsageError) as error:
        order_words(text.split(), _EXAMPLE)
    assert message in error.value.format_message()


@settings(deadline=None)
@given(
    st.integers(1, 10**9),
    st.decimals("0.01", "99999.99", places=2),
    st.sampled_from(Side),
    st.booleans(),
)
def test_an_order_as_it_is_shown_is_read_the_same(
    quantity: int, price: Decimal, side: Side, is_market: bool
) -> None:
    shown = terms_words(
        order(side=side, quantity=Decimal(quantity), price=None if is_market else price).terms
    ).split()
    assert shown[0] == side.name.lower()
    said = order_words(shown[1 : shown.index("for")], _EXAMPLE)
    assert (int(said.quantity), said.symbol) == (quantity, "AAPL")
    assert said.price == "market" if is_market else Decimal(said.price or 0) == price


def test_all_that_is_unusual_about_an_order_is_shown() -> None:
    shown = order(
        time_in_force=TimeInForce.GTD, stop_price=Decimal("190.00"), max_floor=Decimal("10.0"), post_only=True,
        reduce_only=True, expire_at_ns=1_767_323_045_000_000_001,
    )  # fmt: skip
    assert terms_words(shown.terms) == (
        "buy 100 AAPL @ 189.50 stop 190.00 gtd until 2026-01-02T03:04:05.000000001Z showing 10 post-only reduce-only for ACC1"
    )


def test_status_says_what_is_filled_and_what_is_on_its_way_and_why() -> None:
    cancel = RequestInFlight(
        kind=RequestKind.CANCEL, cl_ord_id="", is_acknowledged=False, terms=None, by="ann"
    )
    partly = order(
        filled="40.00",
        status=OrdStatus.PARTIALLY_FILLED,
        average_price=Decimal("189.450"),
        requests=(cancel,),
    )
    assert status_words(partly) == "partially filled, 40 of 100 @ 189.45, cancel on its way"
    assert status_words(order(status=OrdStatus.REJECTED, reason="halted", text="no trading now")) == (
        "rejected (no trading now)"
    )
    assert status_words(order(status=OrdStatus.EXPIRED, reason="expired")) == "expired (expired)"


def test_times_have_all_their_nanoseconds() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00.000000000Z"
    assert iso_time(4_102_444_799_999_999_999) == "2099-12-31T23:59:59.999999999Z"


def test_keys_and_order_numbers() -> None:
    assert KEY.read(None) is None
    assert KEY.read("cli-host/3/17") == RequestKey("cli-host/3", 17)
    for wrong in ("17", "/17", "s/", "s/0", "s/x", f"s/{2**63}"):
        with pytest.raises(click.BadParameter, match="is no key; it is SESSION/NUMBER"):
            KEY.read(wrong)
    assert ORDER_ID.convert("#17", None, None) == 17
    for wrong in ("x", "0", "-1", "1.5", str(2**63)):
        with pytest.raises(click.BadParameter, match="is no order's number"):
            ORDER_ID.convert(wrong, None, None)
