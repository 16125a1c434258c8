"""However it ends, it ends in time, leaves the terminal as it was, takes its children along, and the audit log says how far it came."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.labshell.app.person import Person, session_of

CTRL_C, CTRL_D = "\x03", "\x04"
Come = Callable[..., Person]
#: What a terminal is told to turn on, and how it is told to turn it off again.
MODES = re.compile(rb"\x1b\[\?(1049|2004|1000|1002|1003|1006|1004|1|25|7)([hl])")


def is_sane(ann: Person) -> None:
    """As it was found: modes, cursor, no alternate screen, no pastes in brackets, nothing left on."""
    assert ann.stty() == ann.modes
    last = dict(MODES.findall(ann.raw))
    assert last.pop(b"25") == b"h"
    assert last.pop(b"7") == b"h"
    assert set(last.values()) <= {b"l"}
    ann.waits(lambda: not ann.is_cursor_hidden, "the cursor stayed hidden")


def command_of(process_id: int) -> str:
    """A process's name; empty if it has just ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process_id}/comm").read_text().strip()
    return ""


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit").read_text().splitlines()]


def test_quit_leaves_the_terminal_sane(person: Come) -> None:
    ann = person().ready()
    ann.enter("quit")
    assert ann.ends() == 0
    is_sane(ann)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_in_order(person: Come, tmp_path: Path, number: int, code: int) -> None:
    ann = person().ready()
    ann.enter("change thing 600")
    ann.sees("changing thing")
    os.kill(ann.process.pid, number)
    assert ann.ends() == code
    is_sane(ann)
    assert (tmp_path / "left").exists()
    assert [(one["event"], one.get("result")) for one in records(tmp_path)] == [
        ("began", None),
        ("ended", "cancelled"),
    ]


@pytest.mark.parametrize("job", ["sleep 600", "(trap '' HUP; exec sleep 600)"])
def test_a_signal_while_a_program_is_attached_ends_that_too(person: Come, job: str) -> None:
    ann = person().ready()
    ann.enter("attach bash --norc -i")
    ann.sees("bash-")
    ann.type(f"stty -echo; tput smcup; {job}\n")
    ann.waits(lambda: "sleep" in map(command_of, session_of(ann.process.pid)), "nothing runs in it")
    os.kill(ann.process.pid, signal.SIGTERM)
    assert ann.ends() == 143
    is_sane(ann)
    deadline_s = time.monotonic() + ann.patience_s
    while session_of(ann.process.pid):
        assert time.monotonic() < deadline_s, "children are left"
        time.sleep(0.01)


def test_when_the_terminal_goes_away_all_goes(person: Come, tmp_path: Path) -> None:
    ann = person().ready()
    ann.enter("change thing 600")
    ann.sees("changing thing")
    ann.enter("attach sleep 600")
    ann.waits(lambda: len(session_of(ann.process.pid)) > 1, "nothing is attached")
    os.close(ann.inside)
    os.close(ann.terminal)
    assert ann.process.wait(20) == 129
    deadline_s = time.monotonic() + 5
    while session_of(ann.process.pid) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert session_of(ann.process.pid) == []
    found = records(tmp_path)
    assert {(one["command"], one["event"], one.get("result")) for one in found} == {
        ("change", "began", None), ("change", "ended", "cancelled"), ("attach", "ended", "cancelled"),
    }  # fmt: skip


def test_a_crash_of_the_prompt_begins_it_anew_and_at_last_ends_it_in_order(person: Come) -> None:
    ann = person().ready()
    for count in (1, 2):
        ann.enter("crash prompt")
        ann.sees("test> crash prompt", count)
        ann.waits(lambda: ann.lines[-2] == "test>", "no new prompt")
    ann.sees("internal error in the prompt: RuntimeError: the prompt broke")
    ann.enter("crash prompt")
    assert ann.ends() == 70
    is_sane(ann)


def test_faults_of_its_parts_are_told_once_and_do_not_end_it(person: Come, tmp_path: Path) -> None:
    ann = person().ready()
    ann.enter("crash bar")
    ann.sees("internal error in the bottom line: ValueError: no bar")
    ann.sees("(cannot be drawn; see the error above)")
    ann.enter("crash loop")
    ann.sees("ZeroDivisionError: division by zero")
    ann.enter("say alive")
    ann.sees("\nalive")
    assert ann.screen.count("no bar") == 1
    traces = sorted((tmp_path / "traces").iterdir())
    assert len(traces) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in traces)
    assert "Traceback" in traces[0].read_text()
    ann.type(CTRL_D)
    assert ann.ends() == 0


def test_a_command_that_never_answers_is_left_behind(person: Come) -> None:
    ann = person().ready()
    ann.enter("stubborn")
    ann.sees("never answering")
    ann.type(CTRL_C)
    ann.sees("(ends)")
    # Two within a time are asked for, which a slow screen may have used up before the second.
    ann.presses(CTRL_C, "[1] does not end; it is left to itself")
    ann.enter("say meanwhile")
    ann.sees("\nmeanwhile")
    ann.enter("jobs")
    ann.sees("does not end")
    ann.type(CTRL_D)
    assert ann.ends() == 0
    assert "left behind, since it does not end: [1] stubborn" in ann.screen
    is_sane(ann)


def test_quitting_while_a_change_runs_is_asked_for_twice(person: Come, tmp_path: Path) -> None:
    ann = person().ready()
    ann.enter("change thing 600")
    ann.sees("changing thing")
    ann.type(CTRL_D)
    ann.sees("is under way; Ctrl-D again cancels it and quits")
    ann.type(CTRL_D)
    assert ann.ends() == 0
    assert records(tmp_path)[-1]["result"] == "cancelled"


def test_kill_9_is_seen_in_the_audit_log_as_a_beginning_without_an_end(person: Come, tmp_path: Path) -> None:
    ann = person().ready()
    ann.enter("change thing 600")
    ann.sees("changing thing")
    os.kill(ann.process.pid, signal.SIGKILL)
    assert ann.ends() == -signal.SIGKILL
    assert [one["event"] for one in records(tmp_path)] == ["began"]


def test_when_it_was_stopped_and_goes_on_the_terminal_is_ours_again(person: Come) -> None:
    ann = person().ready()
    raw = ann.stty()
    os.kill(ann.process.pid, signal.SIGSTOP)
    subprocess.run(["stty", ann.modes.strip()], stdin=ann.inside, check=True)
    os.kill(ann.process.pid, signal.SIGCONT)
    ann.waits(lambda: ann.stty() == raw, "not in raw mode again")
    ann.enter("say on it goes")
    ann.sees("\non it goes")
    ann.type(CTRL_D)
    assert ann.ends() == 0
    is_sane(ann)
