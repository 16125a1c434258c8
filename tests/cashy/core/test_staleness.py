"""What may be served past its time, and how it is marked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.staleness import Staleness, beyond_grace, may_stand_in, says_nothing, stale_lines
from cashy.errors import (
    AccessDenied,
    NoSuchObject,
    OriginInvalid,
    OriginTimeout,
    OriginUnavailable,
    SlowDown,
    VersionChanged,
)

S = 1_000_000_000


def stand_in(
    past_s: float, grace_s: float = 60, *, is_doubted: bool = False, when_doubted: bool = False
) -> Staleness | None:
    return may_stand_in(
        now_ns=1000 * S, valid_until_ns=int((1000 - past_s) * S), validated_ns=int((995 - past_s) * S), grace_ns=int(grace_s * S),
        is_doubted=is_doubted, when_doubted=when_doubted,
    )  # fmt: skip


def test_it_may_up_to_its_grace_and_not_beyond() -> None:
    assert stand_in(12) == Staleness(12 * S, 17 * S)
    assert stand_in(59.999) is not None
    assert stand_in(60) is None
    assert stand_in(0.001, grace_s=0) is None, "no grace, nothing stale"
    assert stand_in(-3, grace_s=0) == Staleness(0, 2 * S), "its time is not over"


def test_what_is_doubted_may_only_where_the_settings_say_so_and_is_always_marked() -> None:
    assert stand_in(12, is_doubted=True) is None
    assert stand_in(-3, is_doubted=True) is None
    assert stand_in(12, is_doubted=True, when_doubted=True) == Staleness(12 * S, 17 * S)
    fresh = stand_in(-3, is_doubted=True, when_doubted=True)
    assert fresh is not None
    assert fresh.past_ns > 0
    assert stand_in(-3, grace_s=0, is_doubted=True, when_doubted=True) is None


@given(st.integers(-100, 10_000), st.integers(0, 1000), st.booleans(), st.booleans())
def test_nothing_is_served_beyond_its_grace_or_unmarked(
    past_s: int, grace_s: int, is_doubted: bool, when_doubted: bool
) -> None:
    found = stand_in(past_s, grace_s, is_doubted=is_doubted, when_doubted=when_doubted)
    if found is None:
        return
    assert found.past_ns < grace_s * S or found.past_ns == 0
    assert (found.past_ns > 0) == (past_s > 0 or is_doubted)
    assert found.age_ns >= found.past_ns


@pytest.mark.parametrize("error", [OriginUnavailable, OriginTimeout, SlowDown])
def test_no_answer(error: type[Exception]) -> None:
    assert says_nothing(error("x"))


@pytest.mark.parametrize("error", [NoSuchObject, AccessDenied, VersionChanged, OriginInvalid, ValueError])
def test_an_answer(error: type[Exception]) -> None:
    assert not says_nothing(error("x"))


def test_the_header_says_it_in_the_standards_words() -> None:
    assert stale_lines(12.4, 17.9) == (
        b"x-cashy-stale: 12\r\nAge: 17\r\nCache-Status: cashy; hit; ttl=-12; detail=origin-unreachable\r\n"
    )
    assert stale_lines(0.001, 0.5).startswith(b"x-cashy-stale: 1\r\nAge: 0\r\n"), (
        "never 0: that would be fresh"
    )


def test_beyond_its_grace_the_error_says_why() -> None:
    error = beyond_grace(OriginTimeout("store: no answer"), 75.2, 60)
    assert isinstance(error, OriginTimeout)
    assert error.message == (
        "store: no answer; what is cached has been past its time for 75 s, and freshness.grace_s allows 60 s"
    )
