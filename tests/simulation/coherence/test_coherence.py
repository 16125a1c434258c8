"""Read-after-write through any host, whatever fails: seeds that never change, fresh seeds, and proof that a broken protocol is found.

A failing run prints its seed; ``python -m tests.simulation.coherence --seed N`` repeats it.
"""

from __future__ import annotations

import logging
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from .model import ABSENT, KeyHistory, Violation
from .mutations import MUTATIONS
from .run import Outcome, run_scenario, run_seed, shrink
from .scenario import FAULTS, draw_scenario

REPOSITORY = Path(__file__).resolve().parents[3]

#: Always played: each fault is among them.
FIXED_SEEDS = (*range(1, 29), 50, 76)
#: For how long fresh seeds are played, and how many at least.
FRESH_S, FRESH_MIN = 8.0, 4
#: Each broken protocol is found by one of so many scenarios of a shape. To find it soon, one that is known to is tried first.
SCENARIOS_MAX = 60
FIND_IT = {
    "answered-early": ("anything", 1003),
    "counts-at-once": ("a broken link", 2004),
    "incarnations-are-alike": ("long deaths", 2114),
    "late-answers-are-kept": ("anything", 1002),
    "lease-from-the-answer": ("late answers", 1059),
    "leases-tell-nothing": ("a broken link", 1003),
    "master-believes-always": ("few friends", 1009),
    "messages-only": ("long deaths", 1001),
    "newcomers-act": ("changing lists", 1002),
    "newest-list-only": ("changing lists", 1026),
    "nobody-is-waited-for": ("changing lists", 1019),
    "nothing-is-doubted": ("long deaths", 1005),
    "one-lease-less": ("few friends", 1009),
    "without-waiting": ("long deaths", 1003),
}

# A task that is cancelled before its first step leaves what it was made of un-awaited: known, and of no consequence.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def _must_be_clean(outcome: Outcome) -> None:
    if outcome.violation:
        pytest.fail(
            outcome.report() + "\n\nwith fewer events:\n" + shrink(outcome).report(full=True), pytrace=False
        )


def test_fixed_seeds_are_clean() -> None:
    counts: Counter[str] = Counter()
    for seed in FIXED_SEEDS:
        outcome = run_seed(seed)
        counts += outcome.counts
        _must_be_clean(outcome)
    assert counts["reads seen"] > 5000
    assert counts["writes acknowledged"] > 400
    assert [fault for fault in FAULTS if not counts[fault]] == []
    assert counts["store requests"] < counts["reads seen"]  # it is a cache that is looked at


def test_hosts_come_and_leave() -> None:
    counts: Counter[str] = Counter()
    for seed in range(5):
        outcome = run_scenario(draw_scenario(seed, shape="changing lists"))
        counts += outcome.counts
        _must_be_clean(outcome)
    assert counts["lists"] > 50
    assert counts["settled at the end"] > 5
    assert counts["reads seen"] > 1000


def test_fresh_seeds_are_clean() -> None:
    stop_at = time.monotonic() + FRESH_S
    played = 0
    while played < FRESH_MIN or time.monotonic() < stop_at:
        seed = secrets.randbits(32)
        print("seed", seed)
        _must_be_clean(run_seed(seed))
        played += 1


def _find(name: str) -> Outcome:
    shape, known = FIND_IT[name]
    for seed in (known, *range(1000, 1000 + SCENARIOS_MAX)):
        outcome = run_scenario(draw_scenario(seed, shape=shape), MUTATIONS[name])
        if outcome.key:
            return outcome
    pytest.fail(f"{SCENARIOS_MAX} scenarios did not find what is wrong with {name}")


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_protocol_is_found(name: str) -> None:
    outcome = _find(name)
    assert "was acknowledged at" in outcome.violation
    assert f"--seed {outcome.scenario.seed}" in outcome.report()


def test_what_is_found_is_found_with_fewer_events() -> None:
    outcome = _find("without-waiting")
    fewer = shrink(outcome, MUTATIONS["without-waiting"], runs_max=15)
    assert fewer.key
    assert len(fewer.scenario.events) < len(outcome.scenario.events) / 2


def test_a_seed_gives_the_same_run_in_every_process() -> None:
    text = (
        "import logging, structlog; structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL));"
        "from tests.simulation.coherence.run import run_seed; o = run_seed(5); print(o.steps, sorted(o.counts.items()))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", text],
            cwd=REPOSITORY, env={"PYTHONHASHSEED": hash_seed, "PATH": ""}, capture_output=True, text=True, check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert "reads seen" in runs[0]


# --- the reference model itself ---


def _history() -> KeyHistory:
    """v1 applied at 10 and acknowledged at 20, v2 applied at 30 and acknowledged at 40, v3 (a deletion) applied at 50 and never acknowledged."""
    history = KeyHistory("k")
    for content, applied_ns, acknowledged_ns in ((7, 10, 20), (8, 30, 40), (ABSENT, 50, None)):
        version = history.begin(content, "w", applied_ns - 5)
        history.apply(version, applied_ns)
        version.acknowledged_ns = version.ended_ns = acknowledged_ns
    return history


@pytest.mark.parametrize(
    ("number", "begin_ns", "end_ns"),
    [(None, 0, 5), (None, 19, 21), (1, 5, 10), (1, 39, 60), (2, 25, 30), (2, 60, 70), (None, 45, 50)],
)
def test_the_model_allows(number: int | None, begin_ns: int, end_ns: int) -> None:
    _history().check(number, begin_ns, end_ns)


@pytest.mark.parametrize(
    ("number", "begin_ns", "end_ns"),
    [(1, 0, 9), (None, 20, 21), (1, 40, 60), (2, 25, 29), (None, 41, 49), (99, 60, 70)],
)
def test_the_model_forbids(number: int | None, begin_ns: int, end_ns: int) -> None:
    with pytest.raises(Violation):
        _history().check(number, begin_ns, end_ns)


def test_a_step_back_is_counted_when_nothing_is_written() -> None:
    history = _history()
    history.versions[3].ended_ns = 60
    history.check(None, 100, 110)
    history.check(2, 120, 130)
    assert history.steps_back == 1
