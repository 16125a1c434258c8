"""The twelve traps of one thread with two loops, each on a real pseudo-terminal.

The ninth (clocks of trio's that jump see trio's tasks only) is no matter of a terminal: test_jobs.py runs jobs in plain trio for its sake.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.labshell.app.person import Person, session_of

CTRL_C, CTRL_D = "\x03", "\x04"
Come = Callable[..., Person]


def interrupt(ann: Person) -> None:
    """Ctrl-C as a signal, as it comes when the terminal is not raw, or from `kill`."""
    os.kill(ann.process.pid, signal.SIGINT)


def test_1_the_prompt_leaves_our_handler_of_sigint_alone(person: Come) -> None:
    ann = person().ready()
    ann.enter("attach true")  # prompt_toolkit hands the terminal over and takes it back
    ann.sees("status 0")
    for count in (1, 2):
        ann.enter("sleep 600")
        ann.sees("sleeping", count)
        interrupt(ann)
        ann.sees("cancelled: sleep", count)
    ann.type(CTRL_D)
    assert ann.ends() == 0


def test_2_a_signal_does_not_end_the_main_task(person: Come) -> None:
    ann = person().ready()
    ann.type("half a line")
    ann.sees("test> half a line")
    interrupt(ann)
    ann.waits(lambda: "half" not in ann.screen, "the line was not cleared")
    interrupt(ann)
    interrupt(ann)
    ann.enter("say still here")
    ann.sees("\nstill here")
    ann.type(CTRL_D)
    assert ann.ends() == 0


def test_3_keyboard_interrupt_and_system_exit_of_a_command_are_its_result(person: Come) -> None:
    ann = person().ready()
    ann.enter("fail interrupt")
    ann.sees("internal error: KeyboardInterrupt")
    ann.enter("fail exit")
    ann.sees("internal error: SystemExit: 3")
    ann.enter("say still here")
    ann.sees("\nstill here")
    ann.type(CTRL_D)
    assert ann.ends() == 0


def test_4_a_resize_leaves_signals_and_timers_alone(person: Come) -> None:
    ann = person().ready()
    ann.resize(24, 80)
    os.kill(ann.process.pid, signal.SIGWINCH)
    ann.sees("80 columns")
    ann.enter("sleep 600")
    ann.sees("sleeping")
    interrupt(ann)
    ann.sees("cancelled: sleep")
    ticks = ann.screen.rpartition("ticks ")[2].split()[0]
    ann.waits(lambda: f"ticks {ticks} " not in ann.screen, "trio's timers stand still")
    assert b"Warning" not in ann.raw
    # The loop's own handlers are still told of signals, too.
    os.kill(ann.process.pid, signal.SIGTERM)
    assert ann.ends() == 143


def test_5_trio_does_not_make_keyboard_interrupt_of_a_signal(person: Come, tmp_path: Path) -> None:
    ann = person().ready()
    ann.enter("spin")
    ann.waits((tmp_path / "spinning").exists, "it did not begin")
    interrupt(ann)
    ann.sees("spun to the end")  # not interrupted in the middle of a step
    ann.sees("cancelled")
    assert "error" not in ann.screen


def test_6_the_guest_ends_before_its_host(person: Come, tmp_path: Path) -> None:
    ann = person().ready()
    ann.enter("sleep 600")
    ann.sees("sleeping")
    ann.type(CTRL_D)
    assert ann.ends() == 0
    assert (tmp_path / "left").read_text() == "in order"
    assert "Error" not in ann.screen
    assert "Traceback" not in ann.screen


def test_7_one_guest_on_one_thread_even_when_the_prompt_begins_anew(person: Come) -> None:
    ann = person().ready()
    ann.enter("crash prompt")
    ann.sees("internal error in the prompt: RuntimeError: the prompt broke")
    ann.enter("state")
    ann.sees("threads 1, ")
    ann.type(CTRL_D)
    assert ann.ends() == 0


def test_8_commands_are_trio_tasks_whatever_they_have_asked_of_asyncio(person: Come) -> None:
    ann = person().ready()
    ann.enter("ask 'Go on?'")
    ann.sees("Go on? [y/N]")
    ann.enter("y")
    ann.sees("said yes")
    ann.enter("state")
    ann.sees("in trio True, library trio")


CHILD = """
import os, signal, time
heard = []
def hear(*_):
    heard.append(1)
    os.write(1, b'child interrupted\\n')
signal.signal(signal.SIGINT, hear)
print('child', os.isatty(0), os.get_blocking(0), os.get_blocking(1), flush=True)
while len(heard) < 2:
    time.sleep(0.02)
"""


def test_10_ctrl_c_is_the_attached_programs_own(person: Come, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    ann = person().ready()
    ann.enter("helper &")
    ann.waits((tmp_path / "helper").exists, "no helper")
    ann.enter("sleep 600 &")
    ann.sees("[2] sleeping")
    ann.enter("attach python3 child.py")
    ann.sees("child True")
    ann.type(CTRL_C)
    ann.sees("child interrupted")
    interrupt(ann)  # not even a signal to us disturbs
    ann.type(CTRL_C)
    ann.sees("status 0")
    assert int((tmp_path / "helper").read_text()) in session_of(ann.process.pid)
    assert "cancelled" not in ann.screen


def test_11_an_attached_program_has_the_keyboard(person: Come) -> None:
    ann = person().ready()
    ann.enter("attach bash -c 'test -t 0 && echo ready && read -r word && echo \"got $word\"'")
    ann.sees("\nready")
    assert "columns" not in ann.screen, "the prompt is still there"
    ann.type("through\n")
    ann.sees("got through")
    ann.sees("status 0")


def test_12_the_terminal_stays_blocking_for_others(person: Come, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    ann = person().ready()
    ann.enter("state")
    ann.sees("loop _UnixSelectorEventLoop, blocking True True")
    ann.enter("attach python3 child.py")
    ann.sees("child True True True")
    ann.type(CTRL_C)
    ann.sees("child interrupted")
    ann.type(CTRL_C)
    ann.sees("status 0")
