"""The simulator in small: what must hold whatever happens, that a seed says everything, and that real hosts count the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.simulation.placement import DOCS, with_tables

from .changing import Changing, play_changing
from .comparing import Trial, compare
from .report import tables
from .scenarios import NO_HEDGES, ONE_HOME, WITHOUT_HEDGES, Figures, Scenario, play, scenarios

HOSTS = 40
SECONDS = 17.0
JOB_BLOCKS = 64
SMALL = {each.name: each.at_size(HOSTS, SECONDS, JOB_BLOCKS) for each in scenarios()}


@pytest.fixture(scope="module")
def figures() -> dict[str, Figures]:
    """Each scenario, played once."""
    return {name: play(scenario) for name, scenario in SMALL.items()}


@pytest.mark.parametrize("name", SMALL)
def test_no_read_is_lost_or_fails(figures: dict[str, Figures], name: str) -> None:
    found = figures[name]
    assert found.reads > 2_500
    assert found.unfinished == 0
    assert found.counts.get("reads_failed", 0) == 0
    assert found.counts["reads"] == found.counts["reads_done"] + found.counts.get("reads_died", 0)


@pytest.mark.parametrize("name", SMALL)
def test_a_block_is_read_twice_at_once_only_where_a_second_host_was_asked_or_the_network_is_cut(
    figures: dict[str, Figures], name: str
) -> None:
    """Singleflight over all hosts."""
    counts = figures[name].counts
    bound = counts["peer_reads_failed"] if SMALL[name].fault == "partition" else 0
    assert (
        counts.get("origin_reads_doubled", 0)
        <= counts.get("hedges", 0) + counts.get("slow_peers_avoided", 0) + bound
    )


@pytest.mark.parametrize("name", SMALL)
def test_no_host_asks_twice_more_often_than_its_successes_have_earned(
    figures: dict[str, Figures], name: str
) -> None:
    assert figures[name].hedges_unearned <= 0
    assert figures[name].counts.get("hedges_won", 0) <= figures[name].counts.get("hedges", 0)


def test_hedges_shorten_the_tail(figures: dict[str, Figures]) -> None:
    for fault in WITHOUT_HEDGES:
        with_them, without = figures[fault].after, figures[fault + NO_HEDGES].after
        assert with_them is not None
        assert without is not None
        assert with_them[2] < without[2] / 4, fault
        assert figures[fault].counts["hedges"] > 0


@pytest.mark.parametrize("name", [name for name in SMALL if "start" in name])
def test_a_job_on_all_hosts_reads_each_block_from_the_origin_once(
    figures: dict[str, Figures], name: str
) -> None:
    found = figures[name]
    assert found.counts["origin_reads"] == JOB_BLOCKS
    assert found.job_ends_s is not None
    assert len(found.job_ends_s) == HOSTS


@pytest.mark.parametrize("name", ["hosts added", "hosts removed"])
def test_only_the_share_of_hosts_that_come_or_go_moves(figures: dict[str, Figures], name: str) -> None:
    found = figures[name]
    assert found.moved is not None
    assert found.moved == pytest.approx(found.moved_ideal, rel=0.35)
    blocks = HOSTS * SMALL[name].load.blocks_per_host
    assert found.counts["origin_reads"] <= found.moved * blocks * 1.05, "what did not move is not read anew"


@pytest.mark.parametrize("fault", ["", "rack off", "partition"])
def test_nobody_reads_a_version_older_than_what_was_acknowledged(fault: str) -> None:
    found = play_changing(Changing(24, fault, seconds=12.0))
    assert found.violations == ()
    assert found.unfinished == 0
    assert found.reads > 4_000
    assert found.acknowledged > 60


def test_the_same_seed_gives_the_same_run_in_another_process_and_another_seed_another(
    figures: dict[str, Figures],
) -> None:
    code = (
        "from tests.simulation.cluster.test_cluster import SMALL; from tests.simulation.cluster.scenarios import play;"
        "print(play(SMALL['rack off and on']).digest)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(DOCS.parent)}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    digest = figures["rack off and on"].digest
    assert said.stdout.strip() == digest
    other = Scenario(**{**vars(SMALL["rack off and on"]), "seed": 2})
    assert play(other).digest != digest


@pytest.mark.system
def test_real_hosts_count_what_simulated_ones_do(tmp_path: Path) -> None:
    compared = compare(Trial("short", "zipf", 3, 64, 640, 2_000, 0.03), tmp_path)
    print(compared)
    assert compared.agrees, compared


def test_every_table_has_a_place_in_the_page(figures: dict[str, Figures]) -> None:
    page = (DOCS / "cluster-simulation.md").read_text(encoding="utf-8")
    made = tables(figures, list(SMALL.values()), [], [])
    changed = with_tables(page, made)
    assert changed != page
    assert [name for name in SMALL if name not in page and not name.endswith((NO_HEDGES, ONE_HOME))] == [], (
        "the page has what is played today"
    )
    for picture in ("cluster-faults.svg", "cluster-jobs.svg"):
        assert picture in page
        assert (DOCS / picture).stat().st_size > 10_000
