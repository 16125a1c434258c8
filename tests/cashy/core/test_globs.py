"""Patterns of names: against a matcher that tries everything, and what is listed for each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cashy.core.globs import is_pattern, parse_pattern


def slow_match(pattern: str, name: str) -> bool:
    """The same, as simply as can be."""
    if not pattern:
        return not name
    if pattern.startswith("**/"):
        ends = [at + 1 for at, character in enumerate(name) if character == "/"]
        return any(slow_match(pattern[3:], name[at:]) for at in (0, *ends))
    if pattern.startswith("**"):
        return any(slow_match(pattern[2:], name[at:]) for at in range(len(name) + 1))
    if pattern.startswith("*"):
        here = name.partition("/")[0]
        return any(slow_match(pattern[1:], name[at:]) for at in range(len(here) + 1))
    if not name:
        return False
    if pattern[0] == "?":
        return name[0] != "/" and slow_match(pattern[1:], name[1:])
    return name[0] == pattern[0] and slow_match(pattern[1:], name[1:])


@given(st.text("ab/*?", max_size=8), st.text("ab/*", max_size=10))
def test_means_what_trying_everything_finds(pattern: str, name: str) -> None:
    spelled = f"s3://b/{pattern}"
    expected = f"{spelled}**" if spelled.endswith("/") else spelled
    assert parse_pattern(spelled).matches(f"s3://b/{name}") == slow_match(expected, f"s3://b/{name}")


@given(st.text("ab/*?[]!^-\\.", max_size=12), st.text("ab/", max_size=8))
def test_what_is_listed_holds_all_that_is_meant(pattern: str, name: str) -> None:
    parsed = parse_pattern(f"s3://b/{pattern}")
    full = f"s3://b/{name}"
    if parsed.matches(full):
        assert full.startswith(parsed.prefix)
        assert not parsed.is_flat or "/" not in full[len(parsed.prefix) :]


@given(st.text(max_size=20))
def test_a_name_without_anything_special_means_itself(key: str) -> None:
    name = f"s3://b/k{key}"
    parsed = parse_pattern(name)
    if not is_pattern(name):
        assert parsed.prefix == name
        assert parsed.matches(name)


def test_sets() -> None:
    def matching(pattern: str) -> str:
        parsed = parse_pattern(f"s3://b/{pattern}")
        return "".join(c for c in "abc-]^!*[/\\" if parsed.matches(f"s3://b/{c}"))

    assert matching("[ab]") == "ab"
    assert matching("[+--]") == "-"
    assert matching("[?--]") == ""
    assert matching("[a--]") == ""
    assert matching("[*--]") == "-*"
    assert matching("[a-c]") == "abc"
    assert matching("[!a-c]") == "-]^!*[\\"
    assert matching("[*]") == "*"
    assert matching("[]]") == "]"
    assert matching("[!]]") == "abc-^!*[\\"
    assert matching("[c-a]") == ""
    assert matching("[^]") == "^"
    assert matching("[") == "["
    assert matching("[a-]") == "a-"


def test_folders() -> None:
    assert parse_pattern("s3://b/data/").matches("s3://b/data/deep/er")
    assert parse_pattern("s3://b/data/").prefix == "s3://b/data/"
    assert parse_pattern("file:///mnt/*/x.csv").prefix == "file:///mnt/"
    assert not parse_pattern("file:///mnt/*/x.csv").is_flat
    assert parse_pattern("s3://b/data/2024-*.csv").is_flat
    assert not parse_pattern("s3://b/**/x").is_flat
    assert parse_pattern("s3://b/**/x").matches("s3://b/x")
