"""Without a prompt: what scripts and other programs get."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labshell.app.person import environment

from labshell.app.limits import SCRIPT_LINE_BYTES_MAX
from labshell.app.script import split_commands

PROGRAM = [sys.executable, "-m", "tests.labshell.app.program"]


def run(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"stdin": subprocess.DEVNULL, **options} if "input" not in options else options
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, env=environment(folder), timeout=60, check=False, cwd=folder, **options
    )  # fmt: skip


def test_commands_run_in_order_and_the_first_failure_ends_it(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", "say 'one; two'; fail told; say three")
    assert (done.stdout, done.returncode) == ("one; two\n", 1)
    assert done.stderr == "error: the lab is not there; start it\nlabshell: stopped at line 2: fail told\n"
    assert (tmp_path / "left").exists()


def test_keep_going_gives_the_first_failures_code(tmp_path: Path) -> None:
    done = run(tmp_path, "--keep-going", "-c", "fail code; frob; say three")
    assert (done.stdout, done.returncode) == ("three\n", 7)
    assert "frob\n^^^^\nerror: no command is called frob" in done.stderr


@pytest.mark.parametrize(
    ("line", "code"),
    [("say x", 0), ("fail code", 7), ("fail told", 1), ("frob", 2), ("fail unexpected", 70), ("ask 'Sure?'", 8), ("ask 'Sure?' --yes", 0),
     ("attach true", 2), ("say x &", 2), ("quit", 0)],
)  # fmt: skip
def test_exit_codes(tmp_path: Path, line: str, code: int) -> None:
    done = run(tmp_path, "-c", line)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_it_never_asks(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", "ask 'Stop three?'", input="y\n")
    assert (
        done.stderr
        == "error: needs a yes and cannot ask here: Stop three? (--yes confirms it; nothing was done)\n"
    )
    assert run(tmp_path, "--yes", "-c", "ask 'Stop three?'").stdout == "said yes\n"


def test_each_command_is_one_json_line(tmp_path: Path) -> None:
    done = run(
        tmp_path, "--json", "--keep-going", "-c", "say a b; fail told; frob; foreign; fail unexpected; table"
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["command"], one["exit"], one["result"]) for one in found] == [
        ("say a b", 0, ["a", "b"]), ("fail told", 1, None), ("frob", 2, None), ("foreign", 0, None), ("fail unexpected", 70, None),
        ("table", 0, None),
    ]  # fmt: skip
    assert all(one.keys() == found[0].keys() for one in found)
    assert found[1]["error"] == "the lab is not there; start it"
    assert found[3]["warnings"] == ["careful"]


def test_lines_come_from_a_pipe_as_they_are_written(tmp_path: Path) -> None:
    with subprocess.Popen(
        PROGRAM,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
        cwd=tmp_path,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in ("first", "second"):
            process.stdin.write(f"say {word}\n\n# nothing\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{word}\n"
        process.stdin.write("say without an end")
        process.stdin.close()
        assert process.stdout.read() == "without an end\n"
    assert process.returncode == 0


def test_input_that_is_a_file_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("say from a file\nfail code\nsay never\n")
    with (tmp_path / "script").open() as file:
        done = run(tmp_path, stdin=file)
    assert (done.stdout, done.returncode) == ("from a file\n", 7)
    assert run(tmp_path).returncode == 0
    done = run(tmp_path, input="x" * (SCRIPT_LINE_BYTES_MAX + 2))
    assert done.returncode == 2
    assert "the line is too long" in done.stderr


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m tests.labshell.app.program -c 'flood 100000' | head -n 3; echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, env=environment(tmp_path), timeout=60, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 4
    assert done.stdout.endswith("\n141\n")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_in_order(tmp_path: Path, number: int, code: int) -> None:
    with subprocess.Popen(
        [*PROGRAM, "-c", "change thing 600; say never"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(tmp_path), cwd=tmp_path, stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        deadline_s = time.monotonic() + 30
        while not (tmp_path / "audit").exists() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "never" not in out
    assert "Traceback" not in err
    ended = json.loads((tmp_path / "audit").read_text().splitlines()[-1])
    assert (ended["event"], ended["result"]) == ("ended", "cancelled")
    assert (tmp_path / "left").exists()


def test_a_command_that_ignores_its_end_is_left_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*PROGRAM, "-c", "say begun; stubborn"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 143


def test_nothing_is_lost_and_nothing_is_coloured_in_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        subprocess.run(
            [*PROGRAM, "-c", "lines 30000; table"],
            stdout=file,
            env=environment(tmp_path),
            check=True,
            timeout=60,
            cwd=tmp_path,
        )
    text = (tmp_path / "out").read_text()
    assert text.count("line ") == 30_000
    assert "\x1b" not in text


def test_text_of_others_is_exact_in_a_file_and_its_half_characters_are_no_fault(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "-c", "foreign"],
        capture_output=True,
        env=environment(tmp_path),
        check=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.stdout.startswith(b"a\x1b[2Jb\x1b]0;title\x07c\x1b[31mred\x1b[0m\rd")
    assert b"Traceback" not in done.stderr


def test_read_only(tmp_path: Path) -> None:
    done = run(tmp_path, "--read-only", "-c", "say x; change thing")
    assert (done.stdout, done.returncode) == ("x\n", 2)
    assert "change changes something, and this shell was started with --read-only" in done.stderr


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("a; b\nc", ["a", "b", "c"]),
        ("a 'x;y' \"p\nq\"; b", ["a 'x;y' \"p\nq\"", "b"]),
        (r"a \; b; c", [r"a \; b", "c"]),
        ("a # not; this\nb#c; d", ["a", "b#c", "d"]),
        (" ;; \n", []),
    ],
)
def test_commands_are_told_apart(text: str, commands: list[str]) -> None:
    assert split_commands(text) == commands


@given(st.text(alphabet="ab '\"\\;#\n", max_size=30))
def test_no_text_breaks_the_splitting(text: str) -> None:
    found = split_commands(text)
    assert all(one == one.strip() and one for one in found)
    if not set("'\"\\#") & set(text):
        assert found == [one.strip() for one in text.replace("\n", ";").split(";") if one.strip()]
