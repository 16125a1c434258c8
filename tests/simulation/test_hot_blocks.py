"""The simulation of hot blocks at a small size: what docs/membership.md says of it holds here, too."""

from __future__ import annotations

import random

import pytest

from .hot_blocks import Outcome, Size, burst, play, zipf

SMALL = Size(hosts=120, blocks=2_000, kept=20, asks=15_000, asks_per_s=3_000.0)


def both(make: object) -> tuple[Outcome, Outcome]:
    without, with_copies = (
        play(SMALL, make(SMALL, random.Random(3)), spreads=spreads)  # type: ignore[operator]
        for spreads in (False, True)
    )
    return without, with_copies


@pytest.mark.parametrize(("make", "better"), [(zipf, 1.5), (burst, 1.7)], ids=["zipf", "burst"])
def test_the_busiest_host_sends_far_less_and_all_together_hardly_more(make: object, better: float) -> None:
    without, with_copies = both(make)
    assert with_copies.hottest_share < without.hottest_share / better
    assert sum(with_copies.sent.values()) < 1.1 * sum(without.sent.values())
    assert with_copies.asks == without.asks
    assert without.redirects == 0 < with_copies.redirects


def test_when_the_rush_is_over_nothing_is_hot() -> None:
    outcome = play(SMALL, zipf(SMALL, random.Random(3)), spreads=True)
    assert outcome.hot_at_peak > 3
    assert outcome.hot_at_end == 0


def test_what_few_ask_for_is_left_alone() -> None:
    size = Size(hosts=120, blocks=2_000, kept=0, asks=3_000, asks_per_s=20.0)
    asks = ((number / 100, f"h{number % 3}", number % 2) for number in range(2_000))
    outcome = play(size, asks, spreads=True)
    assert (outcome.redirects, outcome.hot_at_peak) == (0, 0)
