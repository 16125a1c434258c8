"""Programs that get the whole terminal: they have it as under any shell, and it is in order afterwards, whatever they did."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.labshell.app.person import Person, session_of
from tests.labshell.app.test_endings import MODES, command_of, is_sane

CTRL_C, CTRL_D, CTRL_Z = "\x03", "\x04", "\x1a"
Come = Callable[..., Person]

WRECK = r"""
import os, signal, sys, tty
tty.setraw(0)
sys.stdout.write('\x1b[?1049h\x1b[?25l\x1b[?1000h\x1b[?2004h\x1b[31;7m\x1b[5;10r\x1b(0wreck')
sys.stdout.flush()
if sys.argv[1] == 'kill':
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize(("how", "status"), [("0", "status 0"), ("3", "status 3"), ("kill", "status -9")])
def test_what_a_program_leaves_on_is_turned_off(person: Come, tmp_path: Path, how: str, status: str) -> None:
    (tmp_path / "wreck.py").write_text(WRECK)
    ann = person().ready()
    ann.enter(f"attach python3 wreck.py {how}")
    ann.sees(status)
    ann.enter("say typed as ever")
    ann.sees("\ntyped as ever")
    ann.waits(lambda: not ann.is_cursor_hidden, "the cursor stayed hidden")
    assert ann.scroll_region is None
    last = dict(MODES.findall(ann.raw))
    assert (last[b"1049"], last[b"1000"], last[b"2004"]) == (b"l", b"l", b"h")
    ann.type(CTRL_D)
    assert ann.ends() == 0
    is_sane(ann)


def test_an_interactive_shell_with_jobs_of_its_own(person: Come) -> None:
    ann = person().ready()
    ann.enter("attach bash --norc -i")
    ann.sees("bash-")
    ann.type("echo $((20 + 22)) $LABSHELL_ATTACHED\n")
    ann.sees("\n42 1")
    # It speaks itself, so it is in front: before that Ctrl-Z would be the shell's, which takes none.
    ann.type("sh -c 'echo going; exec sleep 600'\n")
    ann.sees("\ngoing")
    ann.type(CTRL_Z)
    ann.sees("Stopped")
    ann.type("fg\n")
    ann.sees("\nsh -c")
    ann.type(CTRL_C)
    ann.sees("^C")
    ann.type("exit 5\n")
    ann.sees("status 5")
    ann.enter("say back")
    ann.sees("\nback")


def test_when_the_shell_is_killed_its_job_in_front_goes_and_the_terminal_is_ours(person: Come) -> None:
    ann = person().ready()
    ann.enter("attach bash --norc -i")
    ann.sees("bash-")
    ann.type("sleep 600\n")
    ann.waits(lambda: "sleep" in map(command_of, session_of(ann.process.pid)), "no sleep")
    bash = next(pid for pid in session_of(ann.process.pid) if command_of(pid) == "bash")
    os.kill(bash, signal.SIGKILL)
    ann.sees("status -9")
    ann.waits(lambda: session_of(ann.process.pid) == [ann.process.pid], "its job is left")
    ann.enter("say ours")
    ann.sees("\nours")


def test_a_program_cannot_be_suspended_into_nowhere(person: Come, tmp_path: Path) -> None:
    ann = person().ready()
    ann.enter("attach bash -c 'echo reading; read -r word; echo got $word'")
    ann.sees("\nreading")
    ann.type(CTRL_Z)
    ann.type("something\n")
    ann.sees("got something")
    ann.sees("status 0")


def test_a_resize_reaches_the_program_and_us_afterwards(person: Come) -> None:
    ann = person().ready()
    ann.enter("attach bash -c 'trap \"stty size; exit\" WINCH; echo waiting; while :; do sleep 0.1; done'")
    ann.sees("\nwaiting")
    ann.resize(24, 70)
    ann.sees("24 70")
    ann.sees("70 columns")


def test_jobs_and_timers_go_on_and_write_nothing_meanwhile(person: Come) -> None:
    ann = person().ready()
    ann.enter("change thing 1s &")
    ann.enter("attach bash -c 'echo in front; read -r word'")
    ann.sees("\nin front")
    before = len(ann.raw)
    audit = ann.folder / "audit"
    ann.waits(lambda: '"ended"' in audit.read_text(), "the job did not go on")
    assert ann.raw[before:].strip() == b""
    ann.type("\n")
    ann.sees("[1] changed thing")
    ann.sees("status 0")


def test_a_program_that_cannot_be_started_is_told(person: Come) -> None:
    ann = person().ready()
    ann.enter("attach /no/such/program")
    ann.sees("error: /no/such/program cannot be started: [Errno 2] No such file or directory")
    ann.enter("attach true &")
    ann.sees("error: attach has the whole terminal, so it cannot run in the background; leave out the &")


def test_cancelling_one_from_elsewhere_ends_it(person: Come) -> None:
    """Another job does it; a person cannot, while the program has the keyboard."""
    ann = person().ready()
    ann.enter("later cancel 2 &")
    ann.enter("attach bash -c 'trap \"\" TERM; echo in front; sleep 600'")
    ann.sees("\nin front")
    ann.waits(lambda: "cancelled" in ann.screen, "not cancelled")
    assert session_of(ann.process.pid) == [ann.process.pid]
