"""The line that is typed on, on a real pseudo-terminal: what a person types, and what is on the screen then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.labshell.app.person import Person

CTRL_C, CTRL_D, TAB, UP, RIGHT = "\x03", "\x04", "\t", "\x1b[A", "\x1b[C"
Come = Callable[..., Person]


def paste(text: str) -> str:
    """As a terminal gives it when pastes are in brackets."""
    return f"\x1b[200~{text}\x1b[201~"


def test_a_session_of_a_person(person: Come, tmp_path: Path) -> None:
    ann = person().ready()
    ann.sees("Welcome.\ntest>")
    ann.enter("say hello")
    ann.sees("\nhello")
    ann.enter("frob 1")
    ann.sees("test> frob 1\n      ^^^^\nerror: no command is called frob")
    ann.enter("fail told")
    ann.sees("error: the lab is not there; start it")
    ann.enter("# a comment")
    ann.enter("")
    ann.enter(" say secret")
    ann.sees("\nsecret")
    ann.enter("quit")
    assert ann.ends() == 0
    history = tmp_path / "history"
    assert [json.loads(line) for line in history.read_text().splitlines()] == [
        "say hello", "frob 1", "fail told", "# a comment", "quit",
    ]  # fmt: skip
    assert history.stat().st_mode & 0o077 == 0
    ben = person().ready()
    ben.type("say h")
    ben.sees("say hello")  # suggested
    ben.type(RIGHT + "\r")
    ben.sees("\nhello")
    ben.type(UP + UP)
    ben.sees("test> quit")


def test_completion_comes_while_typing_and_goes_with_the_line(person: Come) -> None:
    ann = person(rows=24, columns=80).ready()
    ann.type("st")
    ann.sees("state")
    ann.sees("The command state.")
    ann.type("a" + TAB)
    ann.type("\r")
    ann.sees("threads 1")
    ann.waits(lambda: "The command" not in ann.screen, "the menu stays")
    assert max(map(len, ann.lines)) <= 80


def test_output_comes_above_what_is_being_typed(person: Come) -> None:
    ann = person().ready()
    ann.enter("sleep 300ms")
    ann.sees("\nsleeping")
    ann.type("say while it ")
    ann.sees("test> say while it")
    ann.sees("\nslept")
    assert ann.lines[ann.lines.index("slept") + 1] == "test> say while it"
    ann.type("runs\r")
    ann.sees("\nwhile it runs")


def test_ctrl_c_is_for_the_command_in_front_and_then_for_the_line(person: Come) -> None:
    ann = person().ready()
    ann.enter("sleep 600")
    ann.sees("\nsleeping")
    ann.type("kept")
    ann.sees("test> kept")
    ann.type(CTRL_C)
    ann.sees("cancelled: sleep")
    ann.sees("test> kept")
    ann.type(CTRL_C)
    ann.waits(lambda: "kept" not in ann.screen, "the line was not cleared")
    ann.type(CTRL_C)
    ann.enter("say well")
    ann.sees("\nwell")


def test_looking_runs_beside_changes_and_changes_wait_their_turn(person: Come) -> None:
    ann = person().ready()
    ann.enter("change one 600")
    ann.sees("\nchanging one")
    ann.enter("change two 1ms")
    ann.sees("[2] waits until [1] change one 600 has ended")
    ann.enter("say meanwhile")
    ann.sees("\nmeanwhile")
    ann.sees("[1] change one 600")
    ann.sees("(Ctrl-C cancels) and 1 more")
    ann.enter("jobs")
    ann.sees("waiting")
    ann.sees("after 1")
    ann.enter("cancel 1")
    ann.sees("[1] is told to end: change one 600")
    ann.sees("error: not run, since `change one 600` before it was cancelled")
    assert "changing two" not in ann.screen


def test_background_jobs_are_tagged_and_ctrl_c_does_not_mean_them(person: Come) -> None:
    ann = person().ready()
    ann.enter("sleep 400ms &")
    ann.sees("[1] sleeping")
    ann.type(CTRL_C)
    ann.sees("[1] slept")
    ann.sees("[1] done after 0.4 s: sleep")


def test_a_question_is_asked_on_the_line_and_the_line_comes_back(person: Come) -> None:
    ann = person().ready()
    ann.enter("later ask 'Really now?' &")
    ann.type("say half")
    ann.sees("Really now? [y/N]")
    ann.waits(lambda: "test> say half" not in ann.screen, "the line was not put aside")
    ann.type(" typed ahead\r")
    ann.sees("please answer with y or n")
    ann.type("yes\r")
    ann.sees("said yes")
    ann.sees("test> say half")
    ann.type(" of it\r")
    ann.sees("\nhalf of it")
    for key, outcome, times in (("\r", "said no", 1), (CTRL_D, "said no", 2), (CTRL_C, "cancelled: ask", 1)):
        ann.enter("ask 'Sure?'")
        ann.waits(lambda: ann.lines[-2].startswith("Sure? [y/N]"), "not asked")
        ann.type(key)
        ann.sees(outcome, times)
    ann.enter("ask 'Sure?' --yes")
    ann.sees("said yes", 2)
    assert "typed ahead" not in (ann.folder / "history").read_text()


def test_a_paste_of_lines_waits_for_enter_and_stops_at_the_first_failure(person: Come) -> None:
    ann = person().ready()
    ann.type(paste("say first\r\nsleep 50ms\nfail told\nsay never\nsay ever\n"))
    ann.sees(". say ever")
    assert "\nfirst" not in ann.screen
    ann.type("\r")
    ann.sees("\nfirst")
    ann.sees("\nslept")
    ann.sees("error: the lab is not there; start it")
    ann.sees("stopped: 2 more lines are not run")
    assert "\nnever" not in ann.screen
    ann.type(paste("change one 50ms\nchange two 1ms\n") + "\r")
    ann.sees("\nchanged two")
    assert ann.screen.index("changed one") < ann.screen.index("changing two")


def test_a_paste_of_ten_thousand_characters(person: Come) -> None:
    ann = person().ready()
    words = "word " * 2000
    ann.type(paste(f"count {words}"))
    ann.waits(lambda: ann.screen.count("word") > 100, "not shown")
    ann.type("last\r")
    ann.sees("2001 words, 10004 characters")
    ann.type(f"count {words}last\r")  # by a terminal that has no brackets
    ann.waits(lambda: ann.raw.count(b"2001 words, 10004 characters") == 2, "not read")
    ann.type(paste("x" * 70_000))
    ann.sees("a paste of 70,000 characters is too long; 65,536 are taken at most")


def test_what_others_write_cannot_steer_the_terminal(person: Come) -> None:
    ann = person().ready()
    ann.enter("foreign")
    ann.sees("a?[2Jb?]0;title?cred?d?5me?f?")
    ann.sees("error: wrong?[6n")
    for evil in (b"\x1b[2J", b"\x1b]0", b"\x1b[6n", b"\x9b5m"):
        assert evil not in ann.raw


def test_tables_are_drawn_in_the_width_there_is(person: Come) -> None:
    ann = person(rows=24, columns=80).ready()
    ann.enter("table")
    ann.sees("width 80")
    ann.resize(24, 60)
    ann.sees("60 columns")
    ann.enter("table")
    ann.sees("width 60")
    ann.sees("test>")


def test_no_color_draws_without_colours(person: Come) -> None:
    ann = person(env={"NO_COLOR": "1"}).ready()
    ann.enter("fail told")
    ann.sees("error: the lab is not there; start it")
    assert b"\x1b[31m" not in ann.raw
    assert b"38;5" not in ann.raw


def test_the_bottom_line_is_alive(person: Come) -> None:
    ann = person().ready()
    seen: list[str] = []

    def sees_another() -> bool:
        ticks = ann.screen.rpartition("ticks ")[2]
        if ticks not in seen:
            seen.append(ticks)
        return len(seen) > 3

    ann.waits(sees_another, "it stands still")


def test_a_dumb_terminal_does_lines(person: Come) -> None:
    ann = person(term="dumb")
    ann.sees("labshell>")
    ann.enter("ask 'Sure?'")
    ann.sees("Sure? [y/N]")
    ann.enter("what")
    ann.sees("Sure? [y/N]", 2)
    ann.enter("y")
    ann.sees("said yes\nlabshell>")
    ann.enter("sleep 600")
    ann.sees("\nsleeping")
    ann.type(CTRL_C)
    ann.sees("cancelled: sleep 600\nlabshell>")
    ann.type("half")
    ann.sees("labshell> half")
    ann.type(CTRL_C)
    ann.waits(lambda: ann.lines[-1] == "labshell>", "no new prompt")
    ann.enter("say whole")
    ann.sees("\nwhole\nlabshell>")
    ann.enter("attach bash -c 'test -t 0 && echo attached'")
    ann.sees("\nattached")
    ann.type(CTRL_D)
    assert ann.ends() == 0
    assert b"\x1b" not in ann.raw
    assert ann.stty() == ann.modes
