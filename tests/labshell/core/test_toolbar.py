"""The bottom line and the prompt: what they say, and that they fit."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labshell.core.worlds import FLOOR, floor_view, unit

from labshell.core import events
from labshell.core.reduce import reduce
from labshell.core.state import JobState, PendingChange, View
from labshell.core.text import width_of
from labshell.core.toolbar import BAD, Fragments, prompt, toolbar
from labtest.hosts.interface import LinkState


def shown(fragments: Fragments) -> str:
    return "".join(text for _, text in fragments)


def after(view: View, *happened: events.Event) -> View:
    for event in happened:
        view = reduce(view, event)
    return view


DOWN = events.UnitsReported("b", {"cashy-s3": unit("failed", "failed")}, 21.0)
LOST = events.LinkChanged("c", LinkState.LOST, "connection reset", 15.0)
PLAN = (events.PlanStarted("apply", 40, 22.0), events.StepStarted(3, "a", "restart cashy-s3", 22.0))


@pytest.mark.parametrize(
    ("happened", "line"),
    [
        ((), " floor | hosts 3/3 | processes 4/4"),
        ((DOWN,), " floor | DOWN cashy-s3@b | hosts 3/3 | processes 3/4"),
        ((LOST,), " floor | hosts 2/3, c lost 10 s | processes 3/4"),
        (
            (events.LinkChanged("c", LinkState.CONNECTING, "", 24.0),),
            " floor | hosts 2/3, c connecting | processes 3/4",
        ),
        (PLAN, " floor | hosts 3/3 | processes 4/4 | apply 0/40: restart cashy-s3 on a"),
        (
            (*PLAN, events.StepEnded(3, False, "x", 23.0)),
            " floor | hosts 3/3 | processes 4/4 | apply 0/40, 1 FAILED",
        ),
        ((*PLAN, events.PlanEnded(True, "done", 23.0)), " floor | hosts 3/3 | processes 4/4"),
        (
            (events.JobStarted(1, "restart cashy-s3", 22.0, 5), events.JobProgress(1, 3, 5, "", 23.0)),
            " floor | hosts 3/3 | processes 4/4 | restart cashy-s3 3/5",
        ),
        (
            (events.JobStarted(1, "x", 22.0), events.JobStarted(2, "y", 22.0)),
            " floor | hosts 3/3 | processes 4/4 | 2 jobs",
        ),
        (
            (events.JobStarted(1, "x", 22.0), events.JobEnded(1, JobState.DONE, "", 23.0)),
            " floor | hosts 3/3 | processes 4/4",
        ),
        (
            (events.LockChanged("anna@desk", 22.0),),
            " floor | hosts 3/3 | processes 4/4 | locked by anna@desk",
        ),
        (
            (events.InterruptedChanged("apply", 22.0),),
            " floor | hosts 3/3 | processes 4/4 | interrupted: resume or rollback",
        ),
        (
            (events.EnvironmentChanged(FLOOR, (PendingChange("x"), PendingChange("y")), 22.0),),
            " floor | hosts 3/3 | processes 4/4 | 2 changes pending",
        ),
    ],
)
def test_bar_says_what_is_so(happened: tuple[events.Event, ...], line: str) -> None:
    assert shown(toolbar(after(floor_view(), *happened), 200, 25.0)) == line


def test_silent_host_is_named() -> None:
    view = after(floor_view(), events.Heard("a", 50.0), events.Heard("b", 50.0))
    assert "c silent 31 s" in shown(toolbar(view, 200, 51.0))


def test_many_that_are_down_are_counted() -> None:
    happened = [
        events.UnitsReported(host, {name: unit("failed", "failed") for name in names}, 21.0)
        for host, names in (
            ("a", ("cashy-master", "cashy-s3")),
            ("b", ("cashy-s3",)),
            ("c", ("toucan-engine",)),
        )
    ]
    assert "DOWN cashy-master@a cashy-s3@a cashy-s3@b +1 |" in shown(
        toolbar(after(floor_view(), *happened), 200, 25.0)
    )


WORST = after(
    floor_view(pending=2), DOWN, LOST, *PLAN, events.LockChanged("anna@desk", 22.0), events.InterruptedChanged("apply", 22.0)
)  # fmt: skip


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (80, " DOWN cashy-s3@b | hosts 2/3, 1 lost | proc 2/4 | 2 changes | interrupted | 0/40"),
        (60, " 1 DOWN | hosts 2/3 | proc 2/4 | 2 changes | ! | 0/40"),
        (40, " 1 DOWN | hosts 2/3 | 2 changes | !"),
        (20, " 1 DOWN | 2/3 | +2"),
        (8, " 1 DOWN"),
    ],
)
def test_what_is_wrong_leaves_last_when_it_is_narrow(width: int, line: str) -> None:
    assert shown(toolbar(WORST, width, 25.0)) == line


VIEWS = st.builds(
    lambda happened, name, pending, read_only: msgspec.structs.replace(
        after(floor_view(pending=pending), *happened),
        environment=msgspec.structs.replace(FLOOR, name=name),
        read_only=read_only,
    ),
    st.lists(
        st.sampled_from([DOWN, LOST, *PLAN, events.JobStarted(1, "über 漢字 " * 5, 22.0, 3), events.LockChanged("漢字" * 20, 22.0)]),
        max_size=6,
    ),
    st.sampled_from(["floor", "漢字漢字漢字漢字", "x" * 60]),
    st.integers(0, 12),
    st.booleans(),
)  # fmt: skip


@given(VIEWS, st.integers(0, 140), st.sampled_from([20.0, 25.0, 1_000.0]))
def test_bar_is_never_wider_than_the_terminal(view: View, width: int, now_s: float) -> None:
    fragments = toolbar(view, width, now_s)
    assert width_of(shown(fragments)) <= width
    assert all(text for _, text in fragments)
    is_down = any(state.active == "failed" for state in view.hosts["b"].units.values())
    if is_down and width >= len(" 1 DOWN"):
        assert any(style == BAD and "DOWN" in text for style, text in fragments)


@given(VIEWS, st.integers(0, 140))
def test_wider_bars_do_not_say_less(view: View, width: int) -> None:
    narrow, wide = (shown(toolbar(view, columns, 25.0)) for columns in (width, 200))
    assert width_of(narrow) <= width_of(wide)


@pytest.mark.parametrize(
    ("view", "style", "text"),
    [
        (floor_view(), "class:prompt", "floor> "),
        (floor_view(pending=1), "class:prompt", "floor [1 change]> "),
        (floor_view(pending=2), "class:prompt", "floor [2 changes]> "),
        (after(floor_view(), DOWN), "class:prompt.down", "floor> "),
        (after(floor_view(), LOST), "class:prompt.down", "floor> "),
        (msgspec.structs.replace(floor_view(), read_only=True), "class:prompt", "floor (read-only)> "),
        (
            after(floor_view(pending=2), events.InterruptedChanged("x", 1.0)),
            "class:prompt",
            "floor [2 changes, interrupted]> ",
        ),
    ],
)
def test_prompt_says_what_differs(view: View, style: str, text: str) -> None:
    assert prompt(view, 100) == [(style, text)]


@given(VIEWS, st.integers(0, 140))
def test_prompt_leaves_room_to_type(view: View, width: int) -> None:
    text = shown(prompt(view, width))
    assert text.endswith("> ")
    assert width_of(text) <= max(width // 3, 8)
