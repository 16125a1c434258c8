"""Output: bounded, fair, harmless, and never in the way of a key."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
import tty
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table as RichTable
from tests.labshell.app.latency import measure
from tests.labshell.app.person import Person
from tests.readable import readable

from labshell.app.harmless import harmless, harmless_line
from labshell.app.limits import (
    FLOOD_LINES_MAX,
    FLUSH_INTERVAL_S,
    FLUSH_LINES_MAX,
    LINE_CHARACTERS_MAX,
    RING_LINES_MAX,
    TERMINAL_PENDING_BYTES_MAX,
)
from labshell.app.output import Output
from labshell.app.render import Renderer
from labshell.app.terminal import Terminal
from labshell.core.tables import Cell, Column, Table

PLAIN = Renderer(color=False)


def silent() -> Output:
    async def write(take: Callable[[], str]) -> None: ...

    return Output(PLAIN, write, lambda: True)


def all_of(output: Output) -> list[str]:
    lines = []
    while taken := output.take():
        lines += taken.splitlines()
    return lines


def test_at_the_bound_nothing_is_lost_and_one_past_it_the_oldest_is() -> None:
    for extra in (0, 1):
        output = silent()
        channel = output.channel()
        for number in range(RING_LINES_MAX + extra):
            channel.write(f"line {number}")
        lines = all_of(output)
        if not extra:
            assert lines == [f"line {number}" for number in range(RING_LINES_MAX)]
        else:
            # Once something is lost the newest are what is wanted.
            lost = int(re.findall(r"[\d,]+", lines[0])[0].replace(",", ""))
            assert "lines are left out" in lines[0]
            assert lines[1:] == [f"line {number}" for number in range(lost, RING_LINES_MAX + 1)]


def test_who_has_lost_lines_shows_its_newest_until_it_stands_still() -> None:
    output = silent()
    channel = output.channel()
    for number in range(RING_LINES_MAX + 1):
        channel.write(f"line {number}")
    output.take()
    for number in range(FLUSH_LINES_MAX):
        channel.write(f"later {number}")
    taken = output.take().splitlines()
    assert taken[-1] == f"later {FLUSH_LINES_MAX - 1}"
    assert len(taken) == FLOOD_LINES_MAX + 1
    channel.write("at rest")
    assert output.take() == "at rest\n"
    for number in range(FLUSH_LINES_MAX):
        channel.write(f"again {number}")
    assert len(output.take().splitlines()) == FLUSH_LINES_MAX


def test_a_flood_does_not_drown_others() -> None:
    output = silent()
    flood, quiet = output.channel(), output.channel(lambda: "[2]")
    quiet.write("before")
    for number in range(5 * RING_LINES_MAX):
        flood.write(str(number))
    quiet.write("after")
    taken = output.take().splitlines()
    assert taken[0] == "[2] before"
    assert taken[-1] == "[2] after"
    assert len(taken) <= FLUSH_LINES_MAX + 1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.text(st.characters(codec="utf-8"), max_size=5)), max_size=60),
    st.integers(1, 7),
)
def test_lines_come_in_the_order_in_which_they_were_written(
    written: list[tuple[int, str]], most: int
) -> None:
    output = silent()
    channels = [output.channel() for _ in range(4)]
    for number, (channel, text) in enumerate(written):
        channels[channel].write(f"{number} {harmless(text).replace(chr(10), ' ')}")
    taken: list[str] = []
    while part := output.take(most):
        taken += part.splitlines()
    by_channel: list[list[int]] = [[], [], [], []]
    for line in taken:
        by_channel[written[int(line.split(" ")[0])][0]].append(int(line.split(" ")[0]))
    assert all(numbers == sorted(numbers) for numbers in by_channel)
    assert len(taken) == len(written)
    assert output.take() == ""


def test_writes_are_few_and_what_is_drawn_keeps_its_place() -> None:
    async def main() -> None:
        written: list[str] = []
        times: list[float] = []

        async def write(take: Callable[[], str]) -> None:
            times.append(asyncio.get_running_loop().time())
            written.append(take())

        output = Output(PLAIN, write, lambda: True)
        channel = output.channel()
        output.start()
        with ThreadPoolExecutor(1) as executor:
            table = RichTable("a")
            table.add_row("drawn")
            channel.write("first")
            channel.draw(table, executor, PLAIN, 40)
            channel.write("last")
            while "last" not in "".join(written):
                channel.write("more")
                await asyncio.sleep(0.001)
        text = "".join(written)
        assert text.index("first") < text.index("drawn") < text.index("last")
        assert all(later - sooner > FLUSH_INTERVAL_S * 0.9 for sooner, later in itertools.pairwise(times))

    asyncio.run(main())


def test_a_drawing_that_fails_is_a_line() -> None:
    output = silent()
    channel = output.channel()

    class Broken:
        def __rich_console__(self, console: object, options: object) -> object:
            raise ValueError("no")

    with ThreadPoolExecutor(1) as executor:
        channel.draw(Broken(), executor, PLAIN, 40)  # type: ignore[arg-type]
    assert all_of(output) == ["error: cannot be drawn: ValueError('no')"]


@given(st.text())
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    made = harmless(text)
    assert all(
        character.isprintable() or character == "\n" or character == "\u3000" or character.isspace()
        for character in made
    )
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", made)
    made.encode()


def test_colours_of_others_are_left_out_and_endless_lines_cut() -> None:
    assert harmless("\x1b[1;31mred\x1b[0m \x1b]0;t\x07") == "red ?]0;t?"
    assert harmless_line("x" * LINE_CHARACTERS_MAX) == "x" * LINE_CHARACTERS_MAX
    assert harmless_line("x" * (LINE_CHARACTERS_MAX + 1)).endswith("x… (1 characters more)")


@pytest.mark.parametrize("color", [False, True])
def test_tables_fit_and_carry_colour_only_where_it_is_wanted(
    color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    table = Table(
        columns=(Column(title="HOST"), Column(title="TEXT", rank=1, narrowest=5)), empty="none",
        rows=((Cell("a"), Cell("running " * 20, "good")), (Cell("b\x1b[2J"), Cell("down", "down"))),
    )  # fmt: skip
    lines = Renderer(color=color).lines(table, 30)
    bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert bare[0].rstrip() == "HOST   TEXT"
    assert all(len(line) <= 30 for line in bare)
    assert (lines != bare) is color
    assert "\x1b[2J" not in "".join(lines)
    assert Renderer(color=color).lines(Table(columns=(), rows=(), empty="none"), 30) == ["none"]


def test_keys_are_shown_while_a_hundred_thousand_lines_a_second_come(tmp_path: Path) -> None:
    """Every key is; how soon is for the benchmark (python -m tests.labshell.app.latency)."""
    found = measure(tmp_path, keys=60)
    assert found.keys == 60
    assert found.rate > 10_000
    assert found.shown < 10_000


def test_a_flood_says_what_it_left_out_and_ends_when_told(person: Callable[..., Person]) -> None:
    ann = person().ready()
    ann.enter("flood 100000")
    ann.waits(lambda: b"lines are left out: more than can be shown" in ann.raw, "nothing is said")
    ann.enter("say a word in between")
    ann.waits(lambda: b"a word in between\n" in ann.raw.replace(b"\r", b""), "it was drowned")
    ann.type("\x03")
    ann.sees("cancelled")
    ann.enter("lines 3000")
    ann.sees("line 2999")
    assert all(f"line {number}\r\n".encode() in ann.raw for number in range(3000))
    assert len(ann.lines) <= 30


def test_a_terminal_that_takes_nothing_stops_nobody(person: Callable[..., Person]) -> None:
    """A laptop asleep behind ssh: jobs go on, and when it wakes up the screen is right again."""
    ann = person().ready()
    ann.enter("flood 20000 &")
    ann.enter("change thing 1s")
    audit = ann.folder / "audit"
    # Nothing is read meanwhile.
    deadline_s = time.monotonic() + 20
    while not (audit.exists() and '"ended"' in audit.read_text()) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert '"ended"' in audit.read_text()
    # The flood goes on, so it is soon off the screen again.
    ann.waits(lambda: b"changed thing" in ann.raw, "not shown")
    ann.enter("cancel 1")
    ann.sees("[1] cancelled")
    ann.enter("say awake")
    ann.sees("\nawake")


def test_what_a_stuck_terminal_does_not_take_is_bounded_and_drawn_anew() -> None:
    outside, inside = os.openpty()
    tty.setraw(inside)
    torn: list[bool] = []

    async def main() -> None:
        terminal = Terminal(inside, inside)
        terminal.on_torn = lambda: torn.append(True)
        try:
            while terminal.pending_bytes <= TERMINAL_PENDING_BYTES_MAX:
                terminal.write("x" * 1000)
            before = terminal.pending_bytes
            terminal.write("lost")
            assert terminal.pending_bytes == before
            assert not torn
            taken = b""
            while not torn:
                # Nothing may be there before the loop has written more, which it does between two looks.
                if readable(outside, timeout_s=0):
                    taken += os.read(outside, 65536)
                await asyncio.sleep(0.001)
            assert terminal.pending_bytes == 0
            terminal.write("again")
            await terminal.drained()
            while not taken.endswith(b"again"):
                taken += os.read(outside, 65536)
            assert b"lost" not in taken
            assert os.get_blocking(inside)
        finally:
            terminal.close()

    try:
        asyncio.run(main())
    finally:
        os.close(outside)
        os.close(inside)


def test_what_is_held_back_by_somebody_who_waits_is_taken_before_the_terminal_is_lent() -> None:
    outside, inside = os.openpty()
    tty.setraw(inside)

    async def main() -> None:
        terminal = Terminal(inside, inside)
        try:
            with terminal.corked():  # until it is his turn, which comes when the terminal is given back
                terminal.write("the prompt goes")
                assert await terminal.drained(timeout_s=0)
                assert os.read(outside, 65536) == b"the prompt goes"
        finally:
            terminal.close()

    try:
        asyncio.run(main())
    finally:
        os.close(outside)
        os.close(inside)


def test_what_waits_is_written_once_and_not_what_comes_meanwhile() -> None:
    written: list[str] = []

    async def write(take: Callable[[], str]) -> None:
        written.append(take())
        own.write("more")

    async def main() -> None:
        await output.caught_up()
        assert written == []
        own.write("first")
        await output.caught_up()
        assert written == ["first\n"]

    output = Output(silent().renderer, write, lambda: True)
    own = output.channel()
    asyncio.run(main())
