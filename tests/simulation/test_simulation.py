"""The simulations at a small size: what the page in docs says of placement holds here too, and the page has a place for every table."""

from __future__ import annotations

from pathlib import Path

import pytest

from cashy.core.placement import place_key

from . import demotion
from .balance import SCHEMES, measure, modulo, rendezvous, ring, shares_by_weight
from .placement import DOCS, RULES, Size, simulate, tables, with_tables
from .plot import draw
from .workloads import WORKLOADS

KEYS = [place_key("store", "bucket/key", index) for index in range(20_000)]
SMALL = Size(blocks=2_000, host_counts=(3, 30), cluster_sizes=(3,), room=300, reads=3_000, timed_keys=100)


@pytest.mark.parametrize("hosts", [3, 10, 30])
def test_rendezvous_is_as_even_as_chance_and_moves_what_it_must(hosts: int) -> None:
    ours = measure(rendezvous, hosts, KEYS)
    chance = ((hosts - 1) / len(KEYS)) ** 0.5
    assert ours.deviation < 2 * chance
    assert 1 - 4 * chance < ours.least <= 1 <= ours.greatest < 1 + 4 * chance
    assert ours.moved_between_others == 0
    assert ours.moved_by_join == pytest.approx(ours.ideal_join, rel=0.1)
    assert ours.moved_by_leave == pytest.approx(ours.ideal_leave, rel=0.1)


def test_a_ring_is_less_even_and_modulo_moves_nearly_all() -> None:
    assert measure(ring, 30, KEYS).deviation > 2 * measure(rendezvous, 30, KEYS).deviation
    assert measure(ring, 30, KEYS).moved_between_others == 0
    assert measure(modulo, 30, KEYS).moved_by_join > 0.9
    assert measure(modulo, 30, KEYS).moved_between_others > 0.8


def test_shares_follow_the_weights() -> None:
    assert shares_by_weight([1.0, 2.0, 5.0], KEYS) == pytest.approx([1, 1, 1], abs=0.05)


def test_the_same_size_gives_the_same_figures_and_all_of_them_have_a_place_in_the_page(
    tmp_path: Path,
) -> None:
    figures, again = simulate(SMALL), simulate(SMALL)
    assert (figures.balance, figures.clusters) == (again.balance, again.clusters)
    assert all(0.99 < each.cluster + each.origin < 1.01 for each in figures.clusters.values())
    page = (DOCS / "placement.md").read_text(encoding="utf-8")
    changed = with_tables(page, tables(figures))
    assert changed != page
    assert with_tables(changed, tables(figures)) == changed
    with pytest.raises(ValueError, match="no place for the table 'other'"):
        with_tables(page, {"other": ""})


def test_the_page_shows_what_is_simulated_today() -> None:
    page = (DOCS / "placement.md").read_text(encoding="utf-8")
    assert "placement.svg" in page
    assert (DOCS / "placement.svg").stat().st_size > 10_000
    for workload in WORKLOADS:
        assert f"| {workload.name} | {workload.meaning} |" in page
    for name in (*SCHEMES, *RULES):
        assert f"| {name} |" in page
    for hosts in Size.host_counts:
        assert f"\n| {hosts:,} |" in page


def test_the_plot_is_a_picture_and_always_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs `pip install --group plots`")
    balance = {
        name: [measure(scheme, hosts, KEYS[:500]) for hosts in (3, 10)] for name, scheme in SCHEMES.items()
    }
    for name in ("one.svg", "two.svg"):
        draw(balance, 500, tmp_path / name)
    picture = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert "<svg" in picture
    assert picture == (tmp_path / "two.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("workload", demotion.WORKLOADS[:2])
def test_blocks_written_before_they_go_are_found_as_if_the_arena_had_waited_for_the_disk(
    workload: str,
) -> None:
    def play(rule: str, per_insertion: float) -> demotion.Outcome:
        return demotion.play(workload, rule, slots=100, count=8_000, per_insertion=per_insertion)

    ahead, waiting = play("before it goes", 1.0), play("as it goes", 1.0)
    assert ahead.stalls == 0
    assert ahead.origin < waiting.origin + 0.02
    assert ahead.unoffered < 0.05
    # A disk that cannot keep up costs no hit in memory: what it holds too long goes when it is written.
    assert play("before it goes", 0.1).memory > waiting.memory - 0.02
