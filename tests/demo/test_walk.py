"""The page of the walk is what its steps would write: the same sections, and commands that the shell has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.demo.walk_screens import Screen, is_red, page, steady
from tests.demo.walk_steps import STEPS, Step

from labshell.core.commands import COMMANDS, find_command

PAGE = Path(__file__).resolve().parents[2] / "docs" / "labshell-walk.md"
GUIDE = PAGE.with_name("labshell.md")
#: What is typed at the prompt of a screen: ``floor> status``, ``floor [1 change]> plan``.
_TYPED = re.compile(r"^floor(?: \[[^]]*\])?> (\S+)(?: |$)", re.MULTILINE)


class Glyph(NamedTuple):
    """A character on a screen."""

    data: str
    bg: str


def test_page_has_the_sections_of_the_steps() -> None:
    assert re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == [
        step.title for step in STEPS
    ]


def test_page_says_what_the_steps_say() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert [step.title for step in STEPS if step.text not in text] == []


def test_page_shows_only_commands_that_exist() -> None:
    typed = set(_TYPED.findall(PAGE.read_text(encoding="utf-8")))
    assert typed >= {"status", "restart", "set", "move", "plan", "logs", "run", "tool", "history"}
    assert [word for word in typed if find_command(word) is None] == []


def test_guide_names_only_commands_that_exist() -> None:
    lines = re.findall(r"^(?:floor> |\S*> )(\S+)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [word for word in lines if find_command(word) is None] == []
    named = re.findall(
        r"\[`([a-z-]+)[^`]*`\]\(labshell-commands\.md#([a-z-]+)\)", GUIDE.read_text(encoding="utf-8")
    )
    assert named
    assert [
        pair for pair in named if pair[1] not in COMMANDS or find_command(pair[0]) is not COMMANDS[pair[1]]
    ] == []


@pytest.mark.parametrize("document", [PAGE, GUIDE])
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
    assert targets
    assert [one for one in targets if not (document.parent / one).exists()] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "cashy-master   a     running  50 s   95  serving; 0 clients",
            "cashy-master   a     running   9 s  481  serving; 1 clients",
        ),
        ("store          c     running  2 min  112", "store          c     running   36 s  108"),
        (
            "2026-11-28 19:13:41  root@here  apply  done in 4.8 s",
            "2027-01-01 00:00:00  root@there  apply  done in 3.1 s",
        ),
        ("13:01:02.123 cashy-master@a coherent", "09:59:59.999 cashy-master@a coherent"),
        (" w12ab | apply 46/64: start store on c", " w99ff | apply 17/64: start store on c"),
        ("serving on 10.213.2.11:7070; event 4", "serving on 10.213.9.11:7070; event 7"),
    ],
)
def test_what_differs_from_walk_to_walk_is_made_steady(one: str, other: str) -> None:
    assert one != other
    assert _steady(one) == _steady(other)


def test_what_says_something_stays() -> None:
    for text in (
        "floor [1 change]> plan",
        "apply: done, 64 steps",
        "a,c (2): status 3",
        "ACC1: 500 AAPL @ 189.50",
    ):
        assert steady(text, "w12ab", "floor") == text


def test_page_is_made_of_sections_and_screens() -> None:
    step = Step(title="Looking", text="One looks.", act=lambda walker: None)
    made = page([(step, [Screen(caption="", text="floor> status"), Screen(caption="Later:", text="floor>")])])
    assert made.endswith(
        "\n## Looking\n\nOne looks.\n\n```text\nfloor> status\n```\n\nLater:\n\n```text\nfloor>\n```\n"
    )


def test_red_is_told_from_other_colours() -> None:
    row = [("x", "default"), *((letter, "d70000") for letter in "b lost"), ("y", "303030")]
    rows = {0: dict(enumerate(Glyph(*one) for one in row))}
    assert is_red(rows, "b lost")
    assert not is_red(rows, "lost" + "y")
    assert not is_red(rows, "gone")


def _steady(text: str) -> str:
    name = re.search(r"\bw[0-9a-f]{4}\b", text)
    return steady(text, name.group() if name else "w0000", "floor")
