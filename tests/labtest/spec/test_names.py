"""Names, ranges, and words that name hosts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtest.core.names import (
    NAME_CHARACTERS_MAX,
    RANGE_MAX,
    NameProblem,
    bad_name,
    bad_variable_name,
    expand_range,
    nearest,
    select_hosts,
    spell_list,
)

HOSTS = ["b", "a", "cache1", "cache2", "cache10"]
GROUPS = {"cache": ["cache1", "cache2", "cache10"], "odd": ["a", "cache1"]}


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        (["a", "b", "a"], ("a", "b")),
        (["@all"], tuple(HOSTS)),
        (["@odd", "@cache"], ("a", "cache1", "cache2", "cache10")),
        (["cache[1-2]"], ("cache1", "cache2")),
        (["cache?"], ("cache1", "cache2")),
        (["*"], tuple(HOSTS)),
        (["@all", "!@cache"], ("b", "a")),
        (["!a", "a"], ("a",)),
        (["a", "!a"], ()),
        ([], ()),
    ],
)
def test_words_name_hosts(words: list[str], hosts: tuple[str, ...]) -> None:
    assert select_hosts(words, HOSTS, GROUPS) == hosts


@pytest.mark.parametrize(
    ("words", "index", "problem"),
    [
        (["a", "c"], 1, "there is no host 'c'; there are a, b, cache1, cache10, cache2"),
        (["cache"], 0, "there is no host 'cache'; did you mean '@cache'?"),
        (["cache[1-3]"], 0, "there is no host 'cache3'; did you mean 'cache2'?"),
        (["@cahce"], 0, "there is no group 'cahce'; did you mean 'cache'?"),
        (["!@cahce"], 0, "there is no group 'cahce'; did you mean 'cache'?"),
        (["d*"], 0, "no host matches 'd*'; there are a, b, cache1, cache10, cache2"),
        (["@all", "!d"], 1, "there is no host 'd'; there are a, b, cache1, cache10, cache2"),
    ],
)
def test_word_that_names_nobody(words: list[str], index: int, problem: str) -> None:
    with pytest.raises(NameProblem) as caught:
        select_hosts(words, HOSTS, GROUPS)
    assert (str(caught.value), caught.value.index) == (problem, index)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "@cache", "@odd", "@all", "cache?", "!a", "!@odd", "!cache*"])))
def test_hosts_are_there_once_each(words: list[str]) -> None:
    chosen = select_hosts(words, HOSTS, GROUPS)
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(HOSTS)


@settings(deadline=None)
@given(st.integers(0, 9999), st.integers(0, RANGE_MAX - 1), st.integers(1, 4))
def test_range_counts_up_with_as_many_digits(first: int, more: int, digits: int) -> None:
    names = expand_range(f"h[{first:0{digits}}-{first + more}]x")
    assert [int(number) for _, number in names] == list(range(first, first + more + 1))
    assert all(name == f"h{number}x" and len(number) >= digits for name, number in names)


def test_range_at_its_limit_and_one_past_it() -> None:
    assert len(expand_range(f"h[1-{RANGE_MAX}]")) == RANGE_MAX
    assert len(expand_range(f"h[1-{RANGE_MAX // 2},1-{RANGE_MAX // 2}]")) == RANGE_MAX
    for word in (f"h[0-{RANGE_MAX}]", f"h[1-{RANGE_MAX},1]"):
        with pytest.raises(NameProblem, match=f"{RANGE_MAX} are possible"):
            expand_range(word)


@pytest.mark.parametrize("word", ["h[]", "h[a]", "h[1-]", "h[-1]", "h[1,]", "h[1:3]", "h[3-1]", "h[1][2]"])
def test_range_that_is_none(word: str) -> None:
    with pytest.raises(NameProblem):
        expand_range(word)


@pytest.mark.parametrize("name", ["a", "0", "cache-1", "a" * NAME_CHARACTERS_MAX])
def test_good_name(name: str) -> None:
    assert bad_name(name) == ""


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Cache 1", "'cache-1'"),
        ("-a", "'a'"),
        ("a_b", "'a-b'"),
        ("a.b", "'a-b'"),
        ("", "begin with a letter or digit"),
        ("a\n", "'a'"),
        ("a" * (NAME_CHARACTERS_MAX + 1), "at most 63 characters"),
    ],
)
def test_bad_name(name: str, hint: str) -> None:
    assert hint in bad_name(name)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=20))
def test_name_that_is_proposed_is_good(name: str) -> None:
    _, found, hint = bad_name(name).partition("; how about '")
    assert not found or bad_name(hint.removesuffix("'?")) == ""
    _, found, hint = bad_variable_name(name).partition("; how about '")
    assert not found or "letters, digits" not in bad_variable_name(hint.removesuffix("'?"))


@pytest.mark.parametrize("name", ["host", "true", "loop", "instances", "1a", "_a", "a-b", "", "é"])
def test_bad_variable_name(name: str) -> None:
    assert bad_variable_name(name)


@pytest.mark.parametrize("name", ["a", "A_1", "memory", "hostname", "version", "name"])
def test_good_variable_name(name: str) -> None:
    assert bad_variable_name(name) == ""


def test_nearest_name_or_all() -> None:
    assert nearest("stor", ["store", "cache"]) == "; did you mean 'store'?"
    assert nearest("x", ["store", "cache"]) == "; there are cache, store"
    assert nearest("x", []) == "; there are none"


def test_long_list_is_cut_and_counted() -> None:
    assert spell_list(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"
    assert spell_list(map(str, range(14))).endswith(", 11 and 2 more")
