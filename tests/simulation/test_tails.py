"""Tails in virtual time, by the real routes: one host slow, stalling or dead, and more load than anybody can bear. ``tails.py`` prints the table."""

from __future__ import annotations

import pytest

from .tails import SCENARIOS, Outcome, Scenario, simulate

pytestmark = pytest.mark.slow

_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
#: When something is wrong and has been found out, and the last of it.
LATER = 5.0, 8.0
EXTRA_MAX = 0.05


@pytest.fixture(scope="module")
def healthy() -> Outcome:
    return simulate(_BY_NAME["healthy"])


def test_with_everybody_well_nobody_is_asked_twice_and_the_origin_not_at_all(healthy: Outcome) -> None:
    assert healthy.extra < 0.002
    assert healthy.counts["origin_reads_of_all"] == 0
    assert not healthy.failed


@pytest.mark.parametrize("name", ["slow by 200 ms", "dead"])
def test_a_bad_host_is_found_out_in_a_second_and_readers_are_as_before(name: str, healthy: Outcome) -> None:
    found = simulate(_BY_NAME[name])
    assert not found.failed
    assert found.extra <= EXTRA_MAX
    assert found.percentile_ms(0.99, 8.0, 11.0) <= 1.3 * healthy.percentile_ms(0.99, 8.0, 11.0)
    assert found.percentile_ms(0.95, 3.0, 4.0) < 200, "from the first second on"
    # Each block of the bad host's is read once by the next in order, and not again and again.
    assert found.counts["origin_reads_of_all"] < 150


def test_reads_that_get_no_answer_are_asked_elsewhere_in_time() -> None:
    found, without = simulate(_BY_NAME["stalls at 5 %"]), simulate(_BY_NAME["stalls at 5 %, not hedged"])
    assert found.percentile_ms(0.99, *LATER) < 100
    assert without.percentile_ms(0.99, *LATER) > 1000
    assert found.extra <= EXTRA_MAX
    assert found.counts["hedges_won"] > 0.5 * found.counts["hedges"] > 0


def test_load_that_nobody_can_bear_is_over_when_it_is_over(healthy: Outcome) -> None:
    """No more work is made of it, so there is nothing that keeps the overload up once its cause is gone."""
    scenario = _BY_NAME["overload"]
    found = simulate(scenario)
    before = found.percentile_ms(0.99, 0.5, scenario.from_s)
    assert found.percentile_ms(0.99, scenario.from_s, scenario.until_s) > 10 * before, "it was an overload"
    assert found.percentile_ms(0.99, scenario.seconds - 3, scenario.seconds) <= 2 * before
    assert not found.failures(scenario.seconds - 3, scenario.seconds)
    assert found.extra <= EXTRA_MAX


def test_a_seed_gives_the_same_run() -> None:
    short = Scenario("short", slow_by_s=0.2, from_s=0.2, until_s=1.0, seconds=1.0)
    assert simulate(short, 7) == simulate(short, 7)
    assert simulate(short, 7) != simulate(short, 8)
