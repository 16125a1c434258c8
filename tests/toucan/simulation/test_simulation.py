"""Nothing acknowledged is lost and nothing done twice, whatever fails: seeds that never change, fresh ones, and proof that a broken engine is found.

A failing run prints its seed; ``python -m tests.toucan.simulation --seed N`` repeats it.
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

from toucan.core import events as ev
from toucan.core.order import Client
from toucan.core.outcomes import Done
from toucan.core.records import encode
from toucan.journal.errors import CommitTooLarge, JournalUnavailable

from .disk import COMMIT_RECORDS_MAX, MemoryJournal
from .mutations import MUTATIONS
from .run import Outcome, run_scenario, run_seed
from .scenario import FAULTS, SHAPES, draw_scenario
from .world import EngineDied, Violation, World

REPOSITORY = Path(__file__).resolve().parents[3]

#: Always played: each fault is among them, and each point at which the engine can die.
FIXED_SEEDS = range(1, 31)
#: For how long fresh seeds are played, and how many at least.
FRESH_S, FRESH_MIN = 10.0, 5
#: Each broken engine is found by one of so many short scenarios of a shape. To find it soon, one that is known to is tried first.
SCENARIOS_MAX, SHORT_S = 60, 2.0
FIND_IT = {
    "answered-before-durable": ("processes", 1),
    "away-is-not-said": ("lines", 1),
    "failed-commits-count": ("processes", 1),
    "front-ends-die-unnoticed": ("front ends", 9),
    "gaps-are-fine": ("venues", 1),
    "lost-cancels-stay-lost": ("lines", 3),
    "lost-replacements-stay": ("lines", 8),
    "new-orders-sent-again": ("lines", 1),
    "no-recall": ("processes", 1),
    "nothing-is-repeated": ("venues", 1),
    "orders-while-away": ("lines", 1),
    "over-fills-are-fine": ("venues", 1),
    "sent-before-durable": ("processes", 1),
    "sessions-survive": ("processes", 3),
    "silence-is-borne": ("lines", 14),
    "decided-twice": ("proposals", 0),
    "proposals-survive-their-session": ("proposals", 10),
}

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def _must_be_clean(outcome: Outcome) -> None:
    if outcome.violation:
        pytest.fail(outcome.report(), pytrace=False)


def test_fixed_seeds_are_clean() -> None:
    counts: Counter[str] = Counter()
    points: Counter[str] = Counter()
    for seed in FIXED_SEEDS:
        outcome = run_seed(seed)
        counts += outcome.counts
        points += outcome.points
        _must_be_clean(outcome)
    assert counts["answered Accepted"] > 1000
    assert counts["requests sent again"] > 500
    assert counts["requests lost on the way"] > 10
    assert counts["failed commits that came back"]
    assert [fault for fault in FAULTS if not counts[fault]] == []
    assert [point for point in points if not counts[f"died at: {point}"]] == []
    misbehaviour = [name for name in counts if name.startswith("venue: ")]
    assert len(misbehaviour) == 13


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "anything"])
def test_fixed_seeds_in_which_one_thing_goes_wrong_again_and_again_are_clean(shape: str) -> None:
    for seed in range(3):
        _must_be_clean(run_scenario(draw_scenario(seed, shape=shape, duration_s=SHORT_S)))


def test_fresh_seeds_are_clean() -> None:
    stop_at = time.monotonic() + FRESH_S
    played = 0
    while played < FRESH_MIN or time.monotonic() < stop_at:
        seed = secrets.randbits(32)
        print("seed", seed)
        _must_be_clean(run_seed(seed))
        played += 1


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_engine_is_found(name: str) -> None:
    shape, known = FIND_IT[name]
    for seed in (known, *range(1, SCENARIOS_MAX)):
        outcome = run_scenario(draw_scenario(seed, shape=shape, duration_s=SHORT_S), MUTATIONS[name])
        if outcome.violation:
            assert f"--seed {seed} --duration 2 --shape '{shape}'" in outcome.report()
            return
    pytest.fail(f"{SCENARIOS_MAX} scenarios did not find what is wrong with {name}")


def test_a_seed_gives_the_same_run_in_every_process() -> None:
    text = (
        "import logging, structlog; structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL));"
        "from tests.toucan.simulation.run import run_seed; o = run_seed(5); print(o.trace[-50:], sorted(o.counts.items()))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", text],
            cwd=REPOSITORY, env={"PYTHONHASHSEED": hash_seed, "PATH": ""}, capture_output=True, text=True, check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert "answered Accepted" in runs[0]


# --- the journal in memory ---

ALICE = Client("alice", "desk")


def _append(journal: MemoryJournal, seq: int, event: ev.Event) -> None:
    journal.append(seq, 1, 0, encode([event]))


def test_what_is_not_committed_is_gone() -> None:
    world = World(1, 0)
    journal = MemoryJournal(world)
    _append(journal, 1, ev.Answered(ALICE, 1, Done()))
    journal.commit()
    _append(journal, 2, ev.Answered(ALICE, 2, Done()))
    world.dies_in = 0
    with pytest.raises(EngineDied):
        journal.commit()
    journal.open()
    assert journal.committed_seq == 1
    assert journal.recover().client(ALICE).last_number == 1
    journal.is_failing = True
    _append(journal, 2, ev.Answered(ALICE, 2, Done()))
    with pytest.raises(JournalUnavailable):
        journal.commit()
    _append(journal, 2, ev.Answered(ALICE, 2, Done()))


def test_the_journal_notices_what_must_not_be() -> None:
    journal = MemoryJournal(World(1, 0))
    with pytest.raises(Violation, match="event 2 appended where 1 is due"):
        _append(journal, 2, ev.SessionLost(ALICE))
    for seq in (1, 2):
        _append(journal, seq, ev.Answered(ALICE, 1, Done()))
    with pytest.raises(Violation, match="executed twice"):
        journal.commit()


def test_a_commit_takes_so_many_records_and_no_more() -> None:
    journal = MemoryJournal(World(1, 0))
    for seq in range(1, COMMIT_RECORDS_MAX + 1):
        _append(journal, seq, ev.SessionLost(ALICE))
    with pytest.raises(CommitTooLarge):
        _append(journal, COMMIT_RECORDS_MAX + 1, ev.SessionLost(ALICE))
    assert journal.commit() == COMMIT_RECORDS_MAX
