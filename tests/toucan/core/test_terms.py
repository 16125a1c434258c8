"""What terms may say: each rule at its edge, the code and the field that are told, and that what passes fits everything it is written into."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toucan.core.instruments import NUMBER_MAX, Instrument
from toucan.core.terms import AT_NS_MAX, NOTIONAL_MAX, TEXT_CHARACTERS_MAX, OrderTerms, ProblemCode
from toucan.core.values import OrderType, Side, TimeInForce

NOW_NS = 1_700_000_000_000_000_000
INSTRUMENT = Instrument("AAPL", "USD", "SIM", tick=5, lot=10)
FUTURE = Instrument("ES", "USD", "SIM", multiplier=50)


def order(**more: Any) -> OrderTerms:
    values: dict[str, Any] = {
        "account": "ACC1", "symbol": "AAPL", "side": Side.BUY, "type": OrderType.LIMIT, "time_in_force": TimeInForce.DAY,
        "quantity": 100, "price": 1000,
    }  # fmt: skip
    return OrderTerms(**{**values, **more})


MARKET: dict[str, Any] = {"type": OrderType.MARKET, "price": None}
STOP: dict[str, Any] = {"type": OrderType.STOP, "price": None, "stop_price": 900}
STOP_LIMIT: dict[str, Any] = {"type": OrderType.STOP_LIMIT, "stop_price": 900}
GTD: dict[str, Any] = {"time_in_force": TimeInForce.GTD, "expire_at_ns": NOW_NS + 1}


@pytest.mark.parametrize(
    "more",
    [
        {},
        MARKET,
        STOP,
        STOP_LIMIT,
        GTD,
        {"side": Side.SELL, "time_in_force": TimeInForce.FOK},
        {"quantity": 10},
        {"quantity": NUMBER_MAX // 10 * 10, "price": 5},
        {"price": 5},
        {"price": NUMBER_MAX // 5 * 5},
        {"max_floor": 10},
        {"max_floor": 100},
        {**STOP_LIMIT, "max_floor": 10},
        {"post_only": True, "time_in_force": TimeInForce.GTC},
        {"reduce_only": True, **MARKET},
        {"time_in_force": TimeInForce.GTD, "expire_at_ns": AT_NS_MAX},
        {"text": "x" * TEXT_CHARACTERS_MAX},
        {"text": "Grüße, 好"},
    ],
)
def test_sound_terms_have_no_problem(more: dict[str, Any]) -> None:
    assert order(**more).validate(INSTRUMENT, NOW_NS) is None


@pytest.mark.parametrize(
    ("more", "code", "field"),
    [
        ({"quantity": 0}, ProblemCode.QUANTITY_NOT_POSITIVE, "quantity"),
        ({"quantity": -10}, ProblemCode.QUANTITY_NOT_POSITIVE, "quantity"),
        ({"quantity": 15}, ProblemCode.QUANTITY_NOT_ON_LOT, "quantity"),
        ({"quantity": NUMBER_MAX + 1}, ProblemCode.QUANTITY_TOO_LARGE, "quantity"),
        ({"price": None}, ProblemCode.PRICE_MISSING, "price"),
        ({**STOP_LIMIT, "price": None}, ProblemCode.PRICE_MISSING, "price"),
        ({"type": OrderType.MARKET}, ProblemCode.PRICE_NOT_ALLOWED, "price"),
        ({**STOP, "price": 1000}, ProblemCode.PRICE_NOT_ALLOWED, "price"),
        ({"price": 0}, ProblemCode.PRICE_NOT_POSITIVE, "price"),
        ({"price": -5}, ProblemCode.PRICE_NOT_POSITIVE, "price"),
        ({"price": 1001}, ProblemCode.PRICE_NOT_ON_TICK, "price"),
        ({"price": NUMBER_MAX + 1}, ProblemCode.PRICE_TOO_LARGE, "price"),
        ({**STOP, "stop_price": None}, ProblemCode.STOP_PRICE_MISSING, "stop_price"),
        ({"stop_price": 900}, ProblemCode.STOP_PRICE_NOT_ALLOWED, "stop_price"),
        ({**STOP, "stop_price": 0}, ProblemCode.STOP_PRICE_NOT_POSITIVE, "stop_price"),
        ({**STOP, "stop_price": 901}, ProblemCode.STOP_PRICE_NOT_ON_TICK, "stop_price"),
        ({**STOP, "stop_price": NUMBER_MAX + 1}, ProblemCode.STOP_PRICE_TOO_LARGE, "stop_price"),
        ({"max_floor": 10, **MARKET}, ProblemCode.MAX_FLOOR_NOT_ALLOWED, "max_floor"),
        ({"max_floor": 10, "time_in_force": TimeInForce.IOC}, ProblemCode.MAX_FLOOR_NOT_ALLOWED, "max_floor"),
        ({"max_floor": 10, "time_in_force": TimeInForce.FOK}, ProblemCode.MAX_FLOOR_NOT_ALLOWED, "max_floor"),
        ({"max_floor": 0}, ProblemCode.MAX_FLOOR_NOT_POSITIVE, "max_floor"),
        ({"max_floor": 15}, ProblemCode.MAX_FLOOR_NOT_ON_LOT, "max_floor"),
        ({"max_floor": 110}, ProblemCode.MAX_FLOOR_ABOVE_QUANTITY, "max_floor"),
        ({"post_only": True, **MARKET}, ProblemCode.POST_ONLY_NOT_ALLOWED, "post_only"),
        ({"post_only": True, **STOP_LIMIT}, ProblemCode.POST_ONLY_NOT_ALLOWED, "post_only"),
        (
            {"post_only": True, "time_in_force": TimeInForce.IOC},
            ProblemCode.POST_ONLY_NOT_ALLOWED,
            "post_only",
        ),
        ({"time_in_force": TimeInForce.GTD}, ProblemCode.EXPIRE_TIME_MISSING, "expire_at_ns"),
        ({"expire_at_ns": NOW_NS + 1}, ProblemCode.EXPIRE_TIME_NOT_ALLOWED, "expire_at_ns"),
        ({**GTD, "expire_at_ns": NOW_NS}, ProblemCode.EXPIRE_TIME_PASSED, "expire_at_ns"),
        ({**GTD, "expire_at_ns": AT_NS_MAX + 1}, ProblemCode.EXPIRE_TIME_TOO_LATE, "expire_at_ns"),
        ({"account": ""}, ProblemCode.ACCOUNT_MISSING, "account"),
        ({"text": "x" * (TEXT_CHARACTERS_MAX + 1)}, ProblemCode.TEXT_TOO_LONG, "text"),
        ({"text": "two\nlines"}, ProblemCode.TEXT_NOT_PRINTABLE, "text"),
    ],
)
def test_problem_names_code_and_field(more: dict[str, Any], code: ProblemCode, field: str) -> None:
    problem = order(**more).validate(INSTRUMENT, NOW_NS)
    assert problem is not None
    assert (problem.code, problem.field) == (code, field)
    assert problem.text[0].islower()
    assert not problem.text.endswith(".")


def test_every_code_has_a_case() -> None:
    cases = test_problem_names_code_and_field.pytestmark[0].args[1]
    assert {code for _, code, _ in cases} | {ProblemCode.NOTIONAL_TOO_LARGE} == set(ProblemCode)


def test_notional_with_multiplier_is_bounded_to_an_int64() -> None:
    price = 2**40
    most = NOTIONAL_MAX // (price * FUTURE.multiplier)
    assert order(symbol="ES", price=price, quantity=most).validate(FUTURE, NOW_NS) is None
    problem = order(symbol="ES", price=price, quantity=most + 1).validate(FUTURE, NOW_NS)
    assert problem is not None
    assert (problem.code, problem.field) == (ProblemCode.NOTIONAL_TOO_LARGE, "quantity")
    assert str(most) in problem.text


def test_first_problem_in_the_order_of_the_fields_is_told() -> None:
    problem = order(quantity=0, price=0, text="\n").validate(INSTRUMENT, NOW_NS)
    assert problem is not None
    assert problem.code is ProblemCode.QUANTITY_NOT_POSITIVE


numbers = st.none() | st.integers(-10, 2**70) | st.integers(0, 2000).map(lambda n: n * 10)


@settings(deadline=None)
@given(
    st.builds(
        OrderTerms, account=st.sampled_from(["", "A"]), symbol=st.just("AAPL"), side=st.sampled_from(Side),
        type=st.sampled_from(OrderType), time_in_force=st.sampled_from(TimeInForce), quantity=numbers.filter(lambda n: n is not None),
        price=numbers, stop_price=numbers, max_floor=numbers, post_only=st.booleans(), reduce_only=st.booleans(),
        expire_at_ns=st.none() | st.integers(NOW_NS - 5, NOW_NS + 5) | st.integers(0, 2**70), text=st.text(max_size=5),
    )
)  # fmt: skip
def test_what_passes_is_whole_and_fits_64_bits(terms: OrderTerms) -> None:
    if terms.validate(INSTRUMENT, NOW_NS) is not None:
        return
    assert terms.quantity > 0 == terms.quantity % INSTRUMENT.lot
    assert (terms.price is not None) == terms.type.has_price
    assert (terms.stop_price is not None) == terms.type.has_stop_price
    assert (terms.expire_at_ns is not None) == (terms.time_in_force is TimeInForce.GTD)
    assert terms.quantity * max(terms.price or 0, terms.stop_price or 0) <= NOTIONAL_MAX
    packed = msgspec.msgpack.encode(terms)  # raises above 64 bits
    assert msgspec.msgpack.decode(packed, type=OrderTerms) == terms
