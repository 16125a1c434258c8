"""Sets of hosts: what texts mean, what is refused, and that a folded set is read as itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labshell.core.fold import fold_hosts, natural
from labshell.core.limits import SET_HOSTS_MAX
from labshell.core.nodeset import KnownHosts, NodeSetError, last_term, parse_hosts

KNOWN = KnownHosts(
    (*(f"cache{number}" for number in range(1, 21)), *(f"n{number:02d}" for number in range(1, 12)), "web1", "web2", "db"),
    {"web": ("web1", "web2"), "odd": ("cache1", "cache3", "gone")},
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("db", "db"),
        ("web2,web1", "web1 web2"),
        ("cache[2-4,7]", "cache2 cache3 cache4 cache7"),
        ("cache[9-10]", "cache9 cache10"),
        ("n[09-11]", "n09 n10 n11"),
        ("@web", "web1 web2"),
        ("@web!web1", "web2"),
        ("@odd", "cache1 cache3"),
        ("cache[1-5]&@odd", "cache1 cache3"),
        ("web*", "web1 web2"),
        ("we?1", "web1"),
        ("!cache*!n*", "web1 web2 db"),
        ("db,db", "db"),
        ("db!db", ""),
        # From left to right: what follows counts for all before it.
        ("cache1,web1&web1", "web1"),
    ],
)
def test_text_names_hosts_in_the_order_of_the_environment(text: str, names: str) -> None:
    assert parse_hosts(text, KNOWN) == tuple(names.split())


def test_all_is_every_host_unless_the_spec_has_such_a_group() -> None:
    assert parse_hosts("@all", KNOWN) == KNOWN.names
    assert parse_hosts("@all", KnownHosts(("a", "b"), {"all": ("a",)})) == ("a",)


@pytest.mark.parametrize(
    ("text", "problem", "place"),
    [
        ("", "missing here", (0, 0)),
        ("db,", "missing here", (3, 3)),
        ("db,,web1", "missing here", (3, 3)),
        ("db,cash1", "no host is called cash1", (3, 8)),
        ("cache[1-30]", "no host is called cache21, nor 9 more of these", (0, 11)),
        ("n[1-3]", "no host is called n1", (0, 6)),
        ("@wbe", "no group is called wbe", (0, 4)),
        ("zz*", "no host matches zz", (0, 3)),
        ("cache[1-", "bracket", (0, 8)),
        ("cache]1", "bracket", (0, 7)),
        ("cache[]", "nothing is no number", (6, 6)),
        ("cache[1,x]", "x is no number", (8, 9)),
        ("cache[5-2]", "goes down", (6, 9)),
        ("cache[1-3", "bracket", (0, 9)),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, problem: str, place: tuple[int, int]) -> None:
    with pytest.raises(NodeSetError) as caught:
        parse_hosts(text, KNOWN)
    assert problem in caught.value.problem
    assert (caught.value.start, caught.value.end) == place


def test_near_names_are_proposed() -> None:
    with pytest.raises(NodeSetError) as caught:
        parse_hosts("wbe1", KNOWN)
    assert caught.value.suggestions[0] == "web1"
    with pytest.raises(NodeSetError) as caught:
        parse_hosts("@wbe", KNOWN)
    assert caught.value.suggestions == ("@web",)


def test_set_has_a_limit() -> None:
    many = KnownHosts(tuple(f"x{number}" for number in range(SET_HOSTS_MAX)))
    assert len(parse_hosts(f"x[0-{SET_HOSTS_MAX - 1}]", many)) == SET_HOSTS_MAX
    for text in (f"x[0-{SET_HOSTS_MAX}]", "x[0-999999999]", "x[0-999]y[0-999]", f"x[0-{'9' * 30}]"):
        with pytest.raises(NodeSetError):
            parse_hosts(text, many)


@pytest.mark.parametrize(
    ("text", "start"), [("", 0), ("a", 0), ("a,b", 2), ("a,b!", 4), ("c[1,2", 0), ("a,c[1,2", 2), ("!x", 1)]
)
def test_last_term_is_what_is_being_typed(text: str, start: int) -> None:
    assert last_term(text) == start


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("", ""),
        ("db", "db"),
        ("cache1 cache2 cache3 cache7", "cache[1-3,7]"),
        ("cache20 cache3 cache2 cache1", "cache[1-3,20]"),
        ("n08 n09 n10 n11", "n[08-11]"),
        ("n8 n08 n9 n09 n07", "n[07-09],n8,n9"),
        ("a1 a2", "a1,a2"),
        ("rack1-node1 rack1-node2 rack2-node1 rack2-node2", "rack[1-2]-node[1-2]"),
        ("rack1-node1 rack2-node1 rack3-node1 rack1-node2", "rack[1-3]-node1,rack1-node2"),
        ("rack1-node1 rack1-node2 rack1-node3 rack2-node1", "rack1-node[1-3],rack2-node1"),
        ("web1 db cache1", "cache1,db,web1"),
        ("x12345678901 x12345678902", "x12345678901,x12345678902"),
    ],
)
def test_fold_is_short(names: str, text: str) -> None:
    assert fold_hosts(names.split()) == text


NAMES = st.from_regex(r"[a-c]{1,2}(0?[0-9]{1,2}|100|099)?(-[ab]?[0-3])?", fullmatch=True)


@given(st.sets(NAMES, max_size=30))
def test_folded_set_is_read_as_itself(names: set[str]) -> None:
    known = KnownHosts(tuple(sorted(names)))
    folded = fold_hosts(names)
    assert not names or set(parse_hosts(folded, known)) == names
    assert len(folded) <= len(",".join(names))
    assert fold_hosts(sorted(names, reverse=True)) == folded


def test_natural_order_puts_small_numbers_first() -> None:
    assert sorted(["c10", "c2", "c", "c1", "b20"], key=natural) == ["b20", "c", "c1", "c2", "c10"]


TERMS = st.sampled_from(["db", "cache[1-5]", "@web", "web*", "cache3", "@odd"])


@given(TERMS, st.lists(st.tuples(st.sampled_from(",!&"), TERMS), max_size=4))
def test_operators_are_those_of_sets(first: str, rest: list[tuple[str, str]]) -> None:
    expected = set(parse_hosts(first, KNOWN))
    for operator, term in rest:
        names = set(parse_hosts(term, KNOWN))
        expected = {",": expected | names, "!": expected - names, "&": expected & names}[operator]
    assert set(parse_hosts(first + "".join(map("".join, rest)), KNOWN)) == expected
