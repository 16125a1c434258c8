"""People's numbers become integers exactly or not at all."""

from __future__ import annotations

import decimal
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toucan.client.errors import InvalidRequest
from toucan.client.exact import decimal_of, plain, units_of
from toucan.client.limits import NUMBER_MAX

_STEPS = st.sampled_from([1, 5, 25, 1000])
_DECIMALS = st.integers(0, 10)


@settings(deadline=None)
@given(st.integers(-(NUMBER_MAX // 1000), NUMBER_MAX // 1000), _DECIMALS, _STEPS)
def test_what_is_on_the_grid_comes_back_the_same(count: int, decimals: int, step: int) -> None:
    units = count * step
    number = decimal_of(units, decimals)
    assert units_of(number, decimals, step, "x", "tick") == units
    assert units_of(str(number), decimals, step, "x", "tick") == units
    assert units_of(plain(number), decimals, step, "x", "tick") == units


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False), _DECIMALS, _STEPS)
def test_a_number_is_exact_or_refused(number: Decimal, decimals: int, step: int) -> None:
    # The oracle works with as many digits as it takes.
    with decimal.localcontext(decimal.Context(prec=2000, Emax=10**6, Emin=-(10**6))):
        scaled = number * 10**decimals
        is_valid = scaled == scaled.to_integral_value() and scaled % step == 0 and abs(scaled) <= NUMBER_MAX
    if is_valid:
        assert units_of(number, decimals, step, "x", "tick") == scaled
    else:
        with pytest.raises(InvalidRequest):
            units_of(number, decimals, step, "x", "tick")


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12))
def test_the_threads_decimal_context_has_no_say(units: int) -> None:
    with decimal.localcontext(decimal.Context(prec=3)):
        number = decimal_of(units, 4)
        assert units_of(number, 4, 1, "x", "tick") == units
        assert units_of(plain(number), 4, 1, "x", "tick") == units


def test_a_number_with_a_long_tail_is_not_cut() -> None:
    with pytest.raises(InvalidRequest, match=r"not a multiple of the tick, 0.01"):
        units_of("189." + "5" + "0" * 40 + "1", 2, 1, "AAPL: price", "tick")


def test_largest_number_and_one_more() -> None:
    assert units_of(NUMBER_MAX, 0, 1, "x", "lot") == NUMBER_MAX
    with pytest.raises(InvalidRequest, match="too large: 9007199254740991 is the most"):
        units_of(NUMBER_MAX + 1, 0, 1, "x", "lot")


@pytest.mark.parametrize("number", [189.5, 100.0, float("nan")])
def test_a_float_is_refused_with_the_reason(number: float) -> None:
    with pytest.raises(
        TypeError, match=r"is a float, and floats cannot hold most decimal numbers: give it as text"
    ):
        units_of(number, 2, 1, "AAPL: price", "tick")  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [True, None, b"1", [1]])
def test_what_is_no_number_at_all_is_a_type_error(number: object) -> None:
    with pytest.raises(TypeError, match="give it as text, an int or a Decimal"):
        units_of(number, 2, 1, "AAPL: price", "tick")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "number", ["", "a", "1,000", "1.2.3", "nan", "inf", "-Infinity", "1" * 300, "1e999999"]
)
def test_text_that_is_no_number_is_named(number: str) -> None:
    with pytest.raises(InvalidRequest, match="AAPL: price"):
        units_of(number, 2, 1, "AAPL: price", "tick")


@pytest.mark.parametrize(
    ("number", "text"),
    [("100.00000000", "100"), ("0.00001000", "0.00001"), ("189.50", "189.5"), ("1000", "1000")],
)
def test_plain_numbers_have_no_zeros_that_say_nothing(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text
