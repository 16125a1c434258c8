"""Strict files: every mistake is told with its line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hostkit.strict_toml import StrictTomlError, parse_toml, read_toml


class Venue(msgspec.Struct):
    address: str
    port: int = 1


class Shape(msgspec.Struct):
    name: str
    venue: dict[str, Venue] = {}
    hosts: list[Venue] = []
    nested: Venue | None = None


GOOD = """
name = "a"
[venue.SIM]
address = "x"
[[hosts]]
address = "y"
port = 2
[nested]
address = "z"
"""


def test_what_is_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(GOOD)
    assert read_toml(path, Shape) == Shape("a", {"SIM": Venue("x")}, [Venue("y", 2)], Venue("z"))


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('name = "a"', 'nmae = "a"', 2, ["'nmae'", "did you mean 'name'"]),
        ('address = "x"', 'adress = "x"', 4, ["venue.SIM.adress", "did you mean 'address'"]),
        ("port = 2", 'port = "2"', 7, ["hosts.0.port", "int", "str"]),
        ("port = 2", "prot = 2", 7, ["hosts.0.prot", "did you mean 'port'"]),
        ('address = "x"', "address = 5", 4, ["venue.SIM.address", "str", "int"]),
        ('address = "z"', "zzzzz = 1", 9, ["nested.zzzzz", "known are address, port"]),
        ('address = "z"', "address = 1", 9, ["nested.address"]),
        ('name = "a"', "", None, ["name"]),
        ('name = "a"', "name = ", 2, ["not TOML"]),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, line: int | None, words: list[str]) -> None:
    with pytest.raises(StrictTomlError) as caught:
        parse_toml(GOOD.replace(old, new), Shape, "a.toml")
    assert caught.value.line == line
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StrictTomlError, match="no such file"):
        read_toml(tmp_path / "none.toml", Shape)
