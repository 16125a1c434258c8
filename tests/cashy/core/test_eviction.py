"""Eviction policies: hit ratios on traces, and the protocol under any order of calls."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable, Iterable
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cashy import traces

from cashy.core import eviction
from cashy.core.eviction import FREQUENCY_MAX, Lru, Policy, S3Fifo, make_policy

REQUESTS = 100_000
KEYS = 20_000

POLICIES = [Lru, S3Fifo]
PolicyMaker = Callable[[int, int], Policy]


def fingerprint(key: int) -> int:
    return int.from_bytes(blake2b(key.to_bytes(8, "little"), digest_size=8).digest(), "little")


def hit_ratio(
    policy: Policy, trace: Iterable[int], capacity: int, *, eviction_batch: int = 1, harvest: int = 1
) -> float:
    """Plays a trace: misses insert, at capacity ``eviction_batch`` victims go, hits are told every ``harvest`` requests, merged."""
    slot_of: dict[int, int] = {}
    key_of: dict[int, int] = {}
    free = list(range(capacity))
    marks: set[int] = set()
    hits = requests = 0
    for key in trace:
        requests += 1
        if (slot := slot_of.get(key)) is not None:
            hits += 1
            marks.add(slot)
        else:
            if not free:
                for victim in policy.victims(0, eviction_batch):
                    policy.removed(victim)
                    marks.discard(victim)
                    del slot_of[key_of.pop(victim)]
                    free.append(victim)
            slot = free.pop()
            slot_of[key], key_of[slot] = slot, key
            policy.inserted(slot, fingerprint(key), 0)
        if requests % harvest == 0:
            for mark in marks:
                policy.touched(mark)
            marks.clear()
    return hits / requests


def both(trace: list[int], capacity: int, **how: int) -> tuple[float, float]:
    lru = hit_ratio(Lru(capacity, 1), trace, capacity, **how)
    s3fifo = hit_ratio(S3Fifo(capacity, 1), trace, capacity, **how)
    print(f"capacity {capacity}: lru {lru:.4f}, s3fifo {s3fifo:.4f}")
    return lru, s3fifo


@pytest.mark.parametrize("share", [0.05, 0.10])
def test_on_plain_zipf_s3fifo_is_at_least_as_good_as_lru_and_no_better_than_possible(share: float) -> None:
    trace = list(traces.zipf(random.Random(1), keys=KEYS, requests=REQUESTS))
    lru, s3fifo = both(trace, int(KEYS * share))
    assert s3fifo >= lru + 0.02
    assert s3fifo < traces.hit_ratio_of_optimal(trace, int(KEYS * share))


@pytest.mark.parametrize("share", [0.05, 0.10])
def test_scans_of_the_whole_cache_do_not_push_out_what_is_read_again(share: float) -> None:
    capacity = int(KEYS * share)
    scans = {"scan_every": 4 * capacity, "scan_length": 2 * capacity}
    trace = list(traces.scan_polluted(random.Random(2), keys=KEYS, requests=REQUESTS, **scans))
    lru, s3fifo = both(trace, capacity)
    assert s3fifo >= lru + 0.05


def test_with_late_merged_touches_and_evictions_in_batches_it_still_resists_scans() -> None:
    capacity = KEYS // 10
    trace = list(
        traces.scan_polluted(
            random.Random(3), keys=KEYS, requests=REQUESTS, scan_every=8000, scan_length=4000
        )
    )
    lru, s3fifo = both(trace, capacity, eviction_batch=64, harvest=500)
    assert s3fifo >= lru + 0.05


def test_a_loop_larger_than_the_cache_is_nobodys_gain_and_a_smaller_one_is_served() -> None:
    lru, s3fifo = both(list(traces.loop(keys=2_000, rounds=10)), 1_000)
    assert lru == 0.0
    assert s3fifo < 0.5
    lru, s3fifo = both(list(traces.loop(keys=900, rounds=10)), 1_000)
    assert lru == s3fifo == 0.9


def test_the_ghost_brings_back_to_main_what_left_too_early() -> None:
    policy = S3Fifo(10, 1)
    for slot in range(10):
        policy.inserted(slot, fingerprint(slot), 0)
    assert policy.victims(0, 1) == [0]
    policy.removed(0)
    policy.inserted(0, fingerprint(0), 0)
    # Slot 0 is in main now, so all of the others go first.
    assert policy.victims(0, 10) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def replace_next_victim(policy: Policy, key: int) -> None:
    (victim,) = policy.victims(0, 1)
    policy.removed(victim)
    policy.inserted(victim, fingerprint(key), 0)


@pytest.mark.parametrize(("evictions", "remembered"), [(3, True), (4, False)])
def test_the_ghost_remembers_for_as_many_evictions_as_the_class_has_slots(
    evictions: int, remembered: bool
) -> None:
    policy = S3Fifo(100, 1)
    for slot in range(4):
        policy.inserted(slot, fingerprint(slot), 0)
    for key in range(4, 4 + evictions - 1):  # the first of these pushes out key 0
        replace_next_victim(policy, key)
    (slot,) = policy.victims(0, 1)
    replace_next_victim(policy, 0)
    replace_next_victim(policy, 50)
    # In main it goes last, as a newcomer before the one that came after it.
    assert policy.victims(0, 4).index(slot) == (3 if remembered else 2)


def test_the_ghost_keeps_classes_apart() -> None:
    policy = S3Fifo(100, 2)
    for key, class_index in [(7, 0), (8, 1)]:
        policy.inserted(0, fingerprint(key), class_index)
        policy.removed(0)
    for slot, key in enumerate([1, 7, 2]):
        policy.inserted(slot, fingerprint(key), 1)
    assert policy.victims(1, 3) == [0, 1, 2]


def test_the_ghost_never_takes_an_empty_place_for_a_fingerprint() -> None:
    policy = S3Fifo(100, 1)
    for slot, small_fingerprint in enumerate([1 << 20, 0, 1 << 21]):
        policy.inserted(slot, small_fingerprint, 0)
    assert policy.victims(0, 3) == [0, 1, 2]


@pytest.mark.parametrize("maker", POLICIES)
def test_victims_come_again_until_removed_spared_or_touched(maker: PolicyMaker) -> None:
    policy = maker(8, 1)
    for slot in range(8):
        policy.inserted(slot, fingerprint(slot), 0)
    assert policy.victims(0, 3) == [0, 1, 2]
    assert policy.victims(0, 2) == [0, 1]
    policy.spared(0)
    policy.touched(1)
    policy.removed(2)
    assert policy.victims(0, 2) == [3, 4]
    assert sorted(policy.victims(0, 100)) == [0, 1, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("maker", POLICIES)
def test_when_everything_is_pinned_every_slot_is_named_once_a_round(maker: PolicyMaker) -> None:
    policy = maker(100, 1)
    for slot in range(100):
        policy.inserted(slot, fingerprint(slot), 0)
    for _ in range(3):
        named: list[int] = []
        while len(named) < policy.tracked(0):
            batch = policy.victims(0, 10)
            named += batch
            for slot in batch:
                policy.spared(slot)
        assert sorted(named) == list(range(100))


def test_spared_slots_go_to_main_when_others_come() -> None:
    policy = S3Fifo(8, 1)
    for slot in range(4):
        policy.inserted(slot, fingerprint(slot), 0)
    for slot in policy.victims(0, 3):
        policy.spared(slot)
    policy.inserted(4, fingerprint(4), 0)
    # 3 and 4 are newcomers, 0 and 1 are in main now, and 2 is still parked.
    assert policy.victims(0, 8) == [3, 4, 0, 1, 2]


def test_victims_are_found_in_bounded_work_when_all_of_main_is_hot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eviction, "_PASSES_MIN", 50)
    slots = 10_000
    policy = S3Fifo(slots, 1)
    for slot in range(slots):
        policy.inserted(slot, fingerprint(slot), 0)
        for _ in range(FREQUENCY_MAX):
            policy.touched(slot)
    assert policy.victims(0, 1) == [50 + eviction._PASSES_PER_VICTIM]


@pytest.mark.parametrize("maker", POLICIES)
def test_a_slab_is_colder_only_if_all_of_it_was_used_longer_ago(maker: PolicyMaker) -> None:
    policy = maker(8, 2)
    for slot in range(8):
        policy.inserted(slot, fingerprint(slot), slot % 2)
    assert [policy.age(slot) for slot in range(8)] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert policy.is_slab_colder([0, 2, 4], victim=5)
    policy.touched(2)
    assert policy.age(2) == 0
    assert not policy.is_slab_colder([0, 2, 4], victim=5)
    assert not policy.is_slab_colder([5], victim=5)
    assert policy.is_slab_colder([], victim=5)


@pytest.mark.parametrize("maker", POLICIES)
def test_misuse_is_refused_and_late_news_ignored(maker: PolicyMaker) -> None:
    policy = maker(4, 2)
    policy.inserted(1, 7, 1)
    with pytest.raises(ValueError, match="inserted twice"):
        policy.inserted(1, 7, 1)
    with pytest.raises(ValueError, match="no size class 2"):
        policy.inserted(2, 7, 2)
    with pytest.raises(ValueError, match="at most 64"):
        maker(4, 65)
    for call in (policy.touched, policy.removed, policy.spared):
        call(3)
    assert policy.victims(0, 5) == []
    assert policy.victims(1, 5) == [1]
    assert (policy.tracked(0), policy.tracked(1)) == (0, 1)


def test_a_policy_is_chosen_by_name() -> None:
    assert isinstance(make_policy("s3fifo", 1, 1), S3Fifo)
    assert isinstance(make_policy("lru", 1, 1), Lru)
    with pytest.raises(ValueError, match="choose s3fifo or lru"):
        make_policy("fifo", 1, 1)


@pytest.mark.parametrize("maker", POLICIES)
def test_memory_is_at_most_forty_bytes_a_slot_in_few_objects(maker: PolicyMaker) -> None:
    slots = 100_000
    policy = maker(slots, 20)
    for slot in range(slots):
        policy.inserted(slot, fingerprint(slot), slot % 20)
    reachable = _reachable(policy)
    assert sum(map(sys.getsizeof, reachable)) < 40 * slots + 20_000
    assert len(reachable) < 200


def _reachable(root: object) -> list[object]:
    """Everything an object holds, without classes and functions; ints in arrays are not objects."""
    found, pending = {id(root): root}, [root]
    while pending:
        for referent in gc.get_referents(pending.pop()):
            if id(referent) not in found and not isinstance(referent, type):
                found[id(referent)] = referent
                pending.append(referent)
    return list(found.values())


CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("inserted"), st.integers(0, 11), st.integers(0, 15)),
        st.tuples(st.sampled_from(["touched", "removed", "spared"]), st.integers(0, 11), st.just(0)),
        st.tuples(st.just("victims"), st.integers(0, 2), st.integers(0, 14)),
    ),
    max_size=150,
)


@pytest.mark.parametrize("maker", POLICIES)
@settings(max_examples=150, deadline=None)
@given(calls=CALLS)
def test_under_any_calls_victims_are_tracked_slots_of_the_class_each_once(
    maker: PolicyMaker, calls: list[tuple[str, int, int]]
) -> None:
    policy = maker(12, 3)
    class_of: dict[int, int] = {}
    for call, first, second in calls:
        if call == "victims":
            members = {slot for slot, class_index in class_of.items() if class_index == first}
            named = policy.victims(first, second)
            assert len(named) == len(set(named)) == min(second, len(members))
            assert set(named) <= members
        elif call == "inserted":
            if first not in class_of:
                class_of[first] = second % 3
                policy.inserted(first, fingerprint(second), second % 3)
        else:
            getattr(policy, call)(first)
            if call == "removed":
                class_of.pop(first, None)
        for class_index in range(3):
            assert policy.tracked(class_index) == sum(each == class_index for each in class_of.values())


@pytest.mark.parametrize("make", POLICIES)
def test_uses_are_counted_but_for_the_first_and_begin_anew_with_the_block(make: PolicyMaker) -> None:
    policy = make(4, 1)
    policy.inserted(0, fingerprint(0), 0)
    counted = [policy.uses(0)]
    for _ in range(6):
        policy.touched(0)
        counted.append(policy.uses(0))
    assert counted[:4] == [0, 0, 1, 2]
    assert 2 <= counted[-1] <= FREQUENCY_MAX
    policy.removed(0)
    policy.inserted(0, fingerprint(1), 0)
    assert policy.uses(0) == 0


def test_what_has_come_back_from_the_ghost_was_used_more_than_once() -> None:
    policy = S3Fifo(2, 1)
    for key in range(2):
        policy.inserted(key, fingerprint(key), 0)
    policy.removed(0)
    policy.inserted(0, fingerprint(0), 0)
    assert policy.uses(0) == 1
