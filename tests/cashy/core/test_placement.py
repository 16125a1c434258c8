"""Placement: the ranking against its definition, its statistics, what moves when members change, and values that may never change."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cashy.core.placement import MEMBERS_MAX, Member, Ranking, place_key

KEYS = [place_key("origin", "bucket/key", index) for index in range(30_000)]

names = st.text(min_size=1, max_size=8)
weights = st.sampled_from([0.0, 0.5, 1.0, 1.0, 1.0, 3.0]) | st.floats(1e-6, 1e12)
keys = st.integers(0, 2**64 - 1)
members = st.dictionaries(names, weights, max_size=40).map(
    lambda weight_of: [Member(name, weight) for name, weight in weight_of.items()]
)

GOLDEN_KEYS = (0xB620D8EABA957915, 0x77336A045C5BB3D9)
GOLDEN_HOMES = "ccbbcbacacbbacabcaaaacabaacbabca"
GOLDEN_ORDERS = ["dab", "dab", "bda", "dba", "dba", "dba", "dba", "dba"]
GOLDEN_OF_MANY = ["host199", "host78", "host271", "host209"]


def equal(count: int) -> list[Member]:
    return [Member(f"host{number}") for number in range(count)]


def chi_square(counts: Iterable[int], expected: Sequence[float]) -> float:
    return sum((count - mean) ** 2 / mean for count, mean in zip(counts, expected, strict=True))


def is_plausible(statistic: float, degrees: int) -> bool:
    """Within five standard deviations of what chance gives; the keys are fixed, so the verdict is too."""
    return abs(statistic - degrees) < 5 * math.sqrt(2 * degrees)


def ranked_by_definition(given_members: list[Member], key: int) -> list[str]:
    """One member at a time, with no lanes: the formulas of the module's docstring."""
    word = 2**64 - 1
    scored = []
    for member in given_members:
        if member.weight == 0:
            continue
        digest = blake2b(member.name.encode(), digest_size=16, person=b"cashy host 1").digest()
        product = key * (int.from_bytes(digest[:8], "little") | 1)
        product = (
            (product & word) ^ (product >> 64) ^ int.from_bytes(digest[8:], "little")
        ) * 0x9E3779B97F4A7C15
        hashed = ((product & word) ^ (product >> 64)) >> 16
        score = member.weight / -math.log((hashed + 0.5) / 2**48)
        scored.append((score, hashed, member.weight, member.name))
    return [name for *_, name in sorted(scored, reverse=True)]


@settings(max_examples=150, deadline=None)
@given(given_members=members, key=keys, count=st.integers(0, 45), is_one_by_one=st.booleans())
def test_both_ways_of_ranking_follow_the_definition(
    given_members: list[Member], key: int, count: int, is_one_by_one: bool
) -> None:
    ranking = Ranking(given_members)
    if any(member.weight for member in given_members):
        ranking._is_one_by_one = is_one_by_one
    assert ranking.first(key, count) == ranked_by_definition(given_members, key)[:count]


@pytest.mark.parametrize("kinds", [1, 3, 1000])
def test_a_thousand_hosts_follow_the_definition(kinds: int) -> None:
    hosts = [Member(f"host{number}", 1.0 + number % kinds) for number in range(1000)]
    ranking = Ranking(hosts)
    for key in (0, 1, 2**64 - 1, *KEYS[:20]):
        assert ranking.first(key, 5) == ranked_by_definition(hosts, key)[:5]


def test_these_values_never_change() -> None:
    """Hosts of different versions share blocks; whoever changes these makes every host fetch everything anew."""
    assert place_key("o", "k", 0) == GOLDEN_KEYS[0]
    assert place_key("store", "bucket/päth/ключ", 2**40) == GOLDEN_KEYS[1]
    three = Ranking([Member("a"), Member("b"), Member("c")])
    assert "".join(three.first(key, 1)[0] for key in KEYS[:32]) == GOLDEN_HOMES
    weighted = Ranking([Member("a", 1), Member("b", 2.5), Member("c", 0), Member("d", 7)])
    assert ["".join(weighted.first(key, 4)) for key in KEYS[:8]] == GOLDEN_ORDERS
    many = Ranking([Member(f"host{number}", 1 + number % 2) for number in range(300)])
    assert [many.first(key, 1)[0] for key in KEYS[:4]] == GOLDEN_OF_MANY


def test_a_key_is_of_its_fields_and_of_their_borders() -> None:
    triples = [
        ("ab", "c", 1),
        ("a", "bc", 1),
        ("a", "b", 1),
        ("a", "b", 2),
        ("", "ab", 1),
        ("1:a", "b", 1),
        ("a", "", 11),
        ("A", "b", 1),
        ("a", "B", 1),
    ]
    assert len({place_key(*each) for each in triples}) == len(triples)
    assert place_key("o", "a name that is no UTF-8: \udcff", 0) != place_key(
        "o", "a name that is no UTF-8: \udcfe", 0
    )


@pytest.mark.parametrize("count", [2, 3, 10, 100, 1000])
def test_shares_are_equal(count: int) -> None:
    ranking = Ranking(equal(count))
    asked = KEYS[:10_000] if count > 100 else KEYS
    homes = Counter(ranking.first(key, 1)[0] for key in asked)
    statistic = chi_square((homes[f"host{number}"] for number in range(count)), [len(asked) / count] * count)
    assert is_plausible(statistic, count - 1)


@pytest.mark.parametrize("hosts", [4, 40])
def test_shares_are_as_the_weights(hosts: int) -> None:
    given_members = [Member(f"host{number}", 1.0 + number % 4) for number in range(hosts)]
    ranking = Ranking([*given_members, Member("none", 0.0)])
    homes = Counter(ranking.first(key, 1)[0] for key in KEYS)
    total = sum(member.weight for member in given_members)
    expected = [len(KEYS) * member.weight / total for member in given_members]
    assert is_plausible(chi_square((homes[member.name] for member in given_members), expected), hosts - 1)
    assert homes["none"] == 0


def test_the_second_choice_is_uniform_given_the_first() -> None:
    ranking = Ranking(equal(10))
    pairs = Counter(tuple(ranking.first(key, 2)) for key in KEYS)
    assert len(pairs) == 90
    assert is_plausible(chi_square(pairs.values(), [len(KEYS) / 90] * 90), 89)


def test_all_orders_of_four_are_equally_likely() -> None:
    ranking = Ranking(equal(4))
    orders = Counter(tuple(ranking.first(key, 4)) for key in KEYS)
    assert len(orders) == 24
    assert is_plausible(chi_square(orders.values(), [len(KEYS) / 24] * 24), 23)


@pytest.mark.parametrize("bit", range(0, 64, 7))
def test_homes_of_keys_that_differ_in_one_bit_are_independent(bit: int) -> None:
    ranking = Ranking(equal(5))
    pairs = Counter((ranking.first(key, 1)[0], ranking.first(key ^ 1 << bit, 1)[0]) for key in KEYS[:10_000])
    assert len(pairs) == 25
    assert is_plausible(chi_square(pairs.values(), [10_000 / 25] * 25), 24)


def test_homes_under_two_lists_of_similar_names_are_independent() -> None:
    one = Ranking([Member(name) for name in ("a1", "a2", "a3")])
    other = Ranking([Member(name) for name in ("b1", "b2", "b3")])
    pairs = Counter((one.first(key, 1)[0], other.first(key, 1)[0]) for key in KEYS)
    assert is_plausible(chi_square(pairs.values(), [len(KEYS) / 9] * 9), 8)


@settings(max_examples=100, deadline=None)
@given(given_members=members, key=keys, data=st.data())
def test_only_names_and_weights_count_and_a_leaver_leaves_the_others_order(
    given_members: list[Member], key: int, data: st.DataObject
) -> None:
    order = Ranking(given_members).first(key, 40)
    shuffled = data.draw(st.permutations(given_members))
    assert Ranking(shuffled).first(key, 40) == order
    if given_members:
        leaver = data.draw(st.sampled_from(given_members))
        rest = Ranking(member for member in shuffled if member != leaver)
        assert rest.first(key, 40) == [name for name in order if name != leaver.name]


def test_a_grown_weight_moves_blocks_to_that_host_only() -> None:
    before = Ranking(equal(30))
    after = Ranking([Member("host7", 2.0), *(member for member in equal(30) if member.name != "host7")])
    moved = 0
    for key in KEYS[:5000]:
        old, new = before.first(key, 1)[0], after.first(key, 1)[0]
        assert new in (old, "host7")
        moved += new != old
    assert 0.5 < moved / (5000 * (2 / 31 - 1 / 30)) < 1.5


def test_members_of_no_weight_are_never_named_and_nobody_is_no_error() -> None:
    assert Ranking([]).first(1, 3) == []
    assert Ranking([Member("a", 0.0)]).first(1, 3) == []
    assert Ranking([Member("a", 0.0), Member("b")]).first(1, 3) == ["b"]
    assert Ranking([Member("b")]).first(1, 0) == []


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_impossible_members_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="'a': the weight is"):
        Member("a", weight)
    with pytest.raises(ValueError, match="needs a name"):
        Member("")
    with pytest.raises(ValueError, match="two hosts are called 'a'"):
        Ranking([Member("a"), Member("b"), Member("a", 2.0)])


def test_the_number_of_members_is_limited() -> None:
    assert len(Ranking(equal(MEMBERS_MAX)).first(5, 2)) == 2
    with pytest.raises(ValueError, match="10,001 hosts: a cluster may have 10,000"):
        Ranking(equal(MEMBERS_MAX + 1))
