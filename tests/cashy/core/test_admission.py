"""Guests: how they enter, what promotes them, and that cold ones push out nobody's home blocks."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulation.copies import Cluster, Host, Outcome, fingerprint, play
from tests.simulation.workloads import WORKLOADS

from cashy.core.admission import NORMAL, PASSING, TRANSIENT, Entry, make_admission
from cashy.core.eviction import FREQUENCY_MAX, Lru, Policy, S3Fifo

POLICIES = [Lru, S3Fifo]
PolicyMaker = Callable[[int, int], Policy]
GUESTS = range(100, 110)


def filled(maker: PolicyMaker, entry: Entry = TRANSIENT) -> Policy:
    """A hundred blocks of this host, and ten guests that came after them; of these 110 three may stay as the youngest."""
    policy = maker(400, 2)
    for slot in range(100):
        policy.inserted(slot, fingerprint(slot), 0)
    for slot in GUESTS:
        policy.inserted(slot, fingerprint(slot), 0, **entry._asdict())
    return policy


@pytest.mark.parametrize(
    ("name", "guest"), [("always", NORMAL), ("second-read", TRANSIENT), ("never", PASSING)]
)
def test_a_rule_is_chosen_by_name_and_is_for_guests_only(name: str, guest: Entry) -> None:
    admission = make_admission(name)
    for has_room in (False, True):
        assert admission.entry(7, is_guest=True, has_room=has_room) == guest
        assert admission.entry(7, is_guest=False, has_room=has_room) == NORMAL
    with pytest.raises(ValueError, match="choose always, second-read, never"):
        make_admission("sometimes")


@pytest.mark.parametrize("entry", [TRANSIENT, PASSING])
@pytest.mark.parametrize("maker", POLICIES)
def test_transients_go_first_oldest_first_except_the_youngest_few(maker: PolicyMaker, entry: Entry) -> None:
    policy = filled(maker, entry)
    assert policy.victims(0, 9) == [*GUESTS[:7], 0, 1]
    everything = policy.victims(0, 200)
    assert sorted(everything) == list(range(110))
    assert policy.tracked(0) == 110


@pytest.mark.parametrize("maker", POLICIES)
def test_the_second_touch_makes_a_transient_one_of_the_others(maker: PolicyMaker) -> None:
    policy = filled(maker)
    for slot in (100, 101, 101):
        policy.touched(slot)
    assert policy.victims(0, 7) == [100, *GUESTS[2:7], 0]
    order = policy.victims(0, 200)
    assert order.index(101) > order.index(99), "it came last"


@pytest.mark.parametrize("maker", POLICIES)
def test_nothing_makes_a_passing_block_stay(maker: PolicyMaker) -> None:
    policy = filled(maker, PASSING)
    for _ in range(FREQUENCY_MAX):
        policy.touched(100)
    assert policy.victims(0, 1) == [100]
    policy.removed(100)
    policy.inserted(100, fingerprint(100), 0, **PASSING._asdict())
    assert policy.victims(0, 7) == [*GUESTS[1:8]]


def evict_guests(policy: Policy, count: int) -> None:
    """``count`` new guests push each other out."""
    for number in range(count):
        (victim,) = policy.victims(0, 1)
        policy.removed(victim)
        policy.inserted(victim, fingerprint(1000 + number), 0, **TRANSIENT._asdict())


@pytest.mark.parametrize(("evictions", "stays"), [(9, True), (10, False)])
def test_a_transient_that_is_back_within_a_tenth_of_the_ghosts_memory_stays(
    evictions: int, stays: bool
) -> None:
    policy = filled(S3Fifo)
    assert policy.victims(0, 1) == [100]
    policy.removed(100)
    evict_guests(policy, evictions)
    policy.inserted(200, fingerprint(100), 0, **TRANSIENT._asdict())
    assert (policy.victims(0, 200)[-1] == 200) == stays


def test_the_ghost_takes_no_passing_blocks_in_and_lets_none_out() -> None:
    policy = filled(S3Fifo, PASSING)
    policy.removed(100)
    policy.inserted(100, fingerprint(100), 0)
    policy.inserted(200, fingerprint(200), 0)
    assert policy.victims(0, 200)[-1] == 200, "both are new; had the ghost known the other, it would go last"
    policy = filled(S3Fifo)
    policy.removed(100)
    policy.inserted(100, fingerprint(100), 0, **PASSING._asdict())
    assert policy.victims(0, 8) == [*GUESTS[1:8], 0]


@pytest.mark.parametrize("entry", [TRANSIENT, PASSING])
@pytest.mark.parametrize("maker", POLICIES)
def test_pinned_transients_do_not_hide_what_could_go(maker: PolicyMaker, entry: Entry) -> None:
    policy = maker(400, 1)
    policy.inserted(0, fingerprint(0), 0)
    for slot in range(1, 300):
        policy.inserted(slot, fingerprint(slot), 0, **entry._asdict())
    for _ in range(300 // 16 + 1):
        named = policy.victims(0, 16)
        if 0 in named:
            return
        for slot in named:
            policy.spared(slot)
    pytest.fail("the one block that is not pinned was never named")


@pytest.mark.parametrize("entry", [TRANSIENT, PASSING])
def test_spared_transients_are_transients_again_when_others_come(entry: Entry) -> None:
    policy = filled(S3Fifo, entry)
    for slot in policy.victims(0, 7):
        policy.spared(slot)
    for slot in range(200, 204):
        policy.inserted(slot, fingerprint(slot), 0)
    assert policy.victims(0, 8) == [*GUESTS[7:], *GUESTS[:4], 0]


@pytest.mark.parametrize("entry", [TRANSIENT, PASSING])
def test_a_touch_gives_a_named_or_parked_transient_another_round(entry: Entry) -> None:
    policy = filled(S3Fifo, entry)
    assert policy.victims(0, 2) == [100, 101]
    policy.spared(100)
    policy.touched(100)
    policy.touched(101)
    assert policy.victims(0, 10) == [*GUESTS[2:9], 0, 1, 2]


@pytest.mark.parametrize("maker", POLICIES)
def test_a_transient_victim_gives_its_class_no_claim_on_memory_of_another(maker: PolicyMaker) -> None:
    policy = maker(20, 2)
    for slot in range(5):
        policy.inserted(slot, fingerprint(slot), 1)
    for slot in (10, 11, 12):
        policy.inserted(slot, fingerprint(slot), 0, **TRANSIENT._asdict())
    (victim,) = policy.victims(0, 1)
    assert not policy.is_slab_colder(range(5), victim), "there are only transients in its class"
    policy.inserted(13, fingerprint(13), 0)
    policy.touched(2)
    assert policy.is_slab_colder([0, 1], victim), "they are colder than the block that is no transient"
    assert not policy.is_slab_colder([0, 1, 2], victim)


CALLS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([NORMAL, TRANSIENT, PASSING]), st.integers(0, 11), st.integers(0, 15)),
        st.tuples(st.sampled_from(["touched", "removed", "spared"]), st.integers(0, 11), st.just(0)),
        st.tuples(st.just("victims"), st.integers(0, 1), st.integers(0, 14)),
    ),
    max_size=200,
)


@pytest.mark.parametrize("maker", POLICIES)
@settings(max_examples=200, deadline=None)
@given(calls=CALLS)
def test_under_any_calls_victims_are_tracked_slots_of_the_class_each_once(
    maker: PolicyMaker, calls: list[tuple[Entry | str, int, int]]
) -> None:
    policy = maker(12, 2)
    class_of: dict[int, int] = {}
    for call, first, second in calls:
        if call == "victims":
            held = {slot for slot, class_index in class_of.items() if class_index == first}
            named = policy.victims(first, second)
            assert len(named) == len(set(named)) == min(second, len(held))
            assert set(named) <= held
        elif isinstance(call, Entry):
            if first not in class_of:
                class_of[first] = second % 2
                policy.inserted(first, fingerprint(second), second % 2, **call._asdict())
        else:
            getattr(policy, call)(first)
            if call == "removed":
                class_of.pop(first, None)
        for class_index in range(2):
            assert policy.tracked(class_index) == sum(each == class_index for each in class_of.values())


@pytest.mark.parametrize("name", ["second-read", "never"])
@pytest.mark.parametrize("policy", ["s3fifo", "lru"])
def test_a_scan_of_guests_pushes_out_no_home_block(policy: str, name: str) -> None:
    host = Host(1000, policy=policy, admission=make_admission(name))
    for block in range(900):
        host.insert(block, is_guest=False)
    for block in range(10_000, 40_000):
        host.insert(block, is_guest=True)
        host.touch(block)
    assert sum(block in host for block in range(900)) >= 890


def test_with_every_guest_kept_the_same_scan_pushes_them_all_out() -> None:
    host = Host(1000, policy="lru", admission=make_admission("always"))
    for block in range(900):
        host.insert(block, is_guest=False)
    for block in range(10_000, 40_000):
        host.insert(block, is_guest=True)
    assert not any(block in host for block in range(900))


def outcome(workload_name: str, local_copies: str) -> Outcome:
    (workload,) = [each for each in WORKLOADS if each.name == workload_name]
    requests = workload.requests(random.Random(5), hosts=3, room=900, count=20_000)
    return play(Cluster(3, 300, local_copies=local_copies), requests, warm_up=7_000)


def test_hot_blocks_end_up_near_and_cold_copies_cost_no_reads_of_the_origin() -> None:
    always, second, never = (outcome("epochs and hot", name) for name in ("always", "second-read", "never"))
    assert second.local > never.local + 0.05
    assert second.origin < 0.03 < 0.1 < always.origin


def test_on_plain_zipf_a_second_read_is_nearly_as_near_and_spares_the_origin() -> None:
    always, second, never = (outcome("zipf", name) for name in ("always", "second-read", "never"))
    assert never.local + 0.1 < second.local
    assert always.local - 0.03 < second.local
    assert second.origin < always.origin - 0.01
