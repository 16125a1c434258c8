"""Users take turns by bytes, within a user it is first come first served, and what leaves is gone from everybody's queue."""

from __future__ import annotations

import random
from collections import Counter, OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.fair_queue import FairQueue, Load
from cashy.core.pace import BURST_S, Pace
from cashy.core.shares import OVERFLOW, is_too_much

QUANTUM = 100


def test_one_block_waits_for_a_turn_and_not_for_ten_thousand() -> None:
    queue: FairQueue[str] = FairQueue(QUANTUM)
    for number in range(10_000):
        queue.push(f"many{number}", "many", QUANTUM)
    queue.push("one", "few", QUANTUM)
    assert "one" in [queue.pop(), queue.pop(), queue.pop()]
    assert len(queue) == 9_998


def test_small_reads_share_a_turn_with_a_large_one() -> None:
    queue: FairQueue[str] = FairQueue(QUANTUM)
    for number in range(50):
        queue.push(f"small{number}", "small", 10)
        queue.push(f"large{number}", "large", QUANTUM)
    order = [queue.pop() for _ in range(44)]
    assert Counter(item.rstrip("0123456789") for item in order) == {"small": 40, "large": 4}


def test_what_two_want_leaves_with_the_first_turn_and_is_gone_for_both() -> None:
    queue: FairQueue[str] = FairQueue(QUANTUM)
    for number in range(100):
        queue.push(f"a{number}", "a", QUANTUM)
    queue.push("shared", "a", QUANTUM)
    queue.push("shared", "b", QUANTUM)
    assert queue.load == Load(101, 101 * QUANTUM)
    assert "shared" in [queue.pop(), queue.pop()]
    assert queue.load_of("b") == Load(0, 0)
    assert queue.users == 1
    assert "shared" not in queue


def test_first_goes_before_everybody() -> None:
    queue: FairQueue[str] = FairQueue(QUANTUM)
    for owner in "abc":
        queue.push(f"{owner}0", owner, QUANTUM)
    queue.push("c1", "c", QUANTUM, first=True)
    assert queue.pop() == "c1"


def test_an_empty_queue_has_no_next() -> None:
    queue: FairQueue[str] = FairQueue(QUANTUM)
    with pytest.raises(IndexError):
        queue.pop()
    assert not queue.discard("x")


sizes = st.integers(1, QUANTUM)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), sizes), min_size=1, max_size=200),
    st.randoms(use_true_random=False),
)
def test_over_any_time_two_users_who_wait_get_the_same_but_for_one_turn(
    reads: list[tuple[str, int]], chance: random.Random
) -> None:
    queue: FairQueue[int] = FairQueue(QUANTUM)
    left: dict[str, OrderedDict[int, int]] = {}
    for item, (owner, size_bytes) in enumerate(reads):
        queue.push(item, owner, size_bytes)
        left.setdefault(owner, OrderedDict())[item] = size_bytes
    served: Counter[str] = Counter()
    while queue:
        assert queue.load == Load(
            sum(map(len, left.values())), sum(sum(each.values()) for each in left.values())
        )
        if chance.random() < 0.1:
            owner = chance.choice([name for name, items in left.items() if items])
            item = chance.choice(list(left[owner]))
            assert queue.discard(item)
            del left[owner][item]
            continue
        item = queue.pop()
        owner = reads[item][0]
        assert item == next(iter(left[owner])), "first come, first served"
        served[owner] += left[owner].pop(item)
        waiting = [name for name, items in left.items() if items]
        if len(waiting) == len(left):
            counts = [served[name] for name in waiting]
            assert max(counts) - min(counts) <= 2 * QUANTUM
    assert not any(left.values())
    assert (len(queue), queue.users, queue.load) == (0, 0, Load(0, 0))


# --- how much may wait ---

LIMIT = Load(100, 1000)


@pytest.mark.parametrize(
    ("waiting", "own", "users", "due"),
    [
        (Load(99, 999), Load(99, 999), 1, False),
        (Load(100, 100), Load(100, 100), 1, True),  # reads
        (Load(10, 1000), Load(10, 1000), 1, True),  # bytes
        (Load(100, 100), Load(0, 0), 1, False),  # a newcomer has a share
        (Load(150, 150), Load(49, 49), 2, False),
        (Load(150, 150), Load(50, 50), 2, True),
        (Load(OVERFLOW * 100 - 1, 100), Load(0, 0), 50, False),
        (Load(OVERFLOW * 100, 100), Load(0, 0), 50, True),  # names of users are cheap
        (Load(50, OVERFLOW * 1000), Load(0, 0), 50, True),
    ],
)
def test_who_has_most_is_refused_first(waiting: Load, own: Load, users: int, due: bool) -> None:
    assert is_too_much(waiting, own, users, LIMIT) == due


# --- pace ---


@given(st.floats(1e3, 1e9), st.lists(st.integers(1, 64 << 20), min_size=1, max_size=100))
def test_reads_let_through_are_never_more_than_the_rate_allows_and_a_burst(
    bytes_per_s: float, reads: list[int]
) -> None:
    pace, now_s, total = Pace(bytes_per_s), 0.0, 0
    for size_bytes in reads:
        # What was let through before this read has been paid for by time, but for the last read's debt.
        now_s += pace.wait_s(now_s)
        assert total <= bytes_per_s * (now_s + BURST_S) * (1 + 1e-9) + 1
        assert pace.wait_s(now_s) == 0.0
        pace.take(size_bytes, now_s)
        total += size_bytes
    assert now_s <= sum(reads) / bytes_per_s + 1e-3, "nobody waits longer than the bytes take"


def test_what_does_not_come_is_given_back() -> None:
    pace = Pace(1000.0)
    pace.take(1100, 0.0)
    assert pace.wait_s(0.0) == pytest.approx(1.0, rel=1e-3)
    pace.give_back(1050)
    assert pace.wait_s(0.0) == 0.0


def test_a_quiet_hour_saves_up_one_burst() -> None:
    pace = Pace(1000.0)
    pace.take(1, 0.0)
    assert pace.wait_s(3600.0) == 0.0
    pace.take(int(1000 * BURST_S) + 1, 3600.0)
    assert pace.wait_s(3600.0) > 0.0


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="lets nothing through"):
        Pace(0)
