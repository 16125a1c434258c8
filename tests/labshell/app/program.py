"""A small shell of its own, as a real program: commands that sleep, fail, flood, ask, attach, and behave badly.

``python -m tests.labshell.app.program [-c COMMANDS] [--json] …``; its files are in ``$SHELL_TEST_FOLDER``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import sniffio
import trio
from rich.table import Table

from labshell.app.audit import AuditFile
from labshell.app.context import Context, Handler
from labshell.app.exits import Exit
from labshell.app.language import Fragments, Proposal, TableLanguage
from labshell.app.own import OWN_HANDLERS
from labshell.app.script import split_commands
from labshell.app.settings import ShellSettings
from labshell.app.shell import Shell
from labshell.app.traces import Traces
from labshell.core.declare import Command, Group, Option, Parameter, ParameterKind
from labshell.core.parse import Bound
from labshell.core.words import quoted
from labtest.errors import LabError

FOLDER = Path(os.environ.get("SHELL_TEST_FOLDER", "/nonexistent"))
#: Shown in the bottom line, so that a test can see that the shell's own tasks go on.
LIVE: dict[str, Any] = {"ticks": 0, "bar": "all well", "threads": set(), "broken": False}
HANDLERS: dict[str, Handler] = {}
COMMANDS: dict[str, Command] = {}


def command(
    *parameters: Parameter, changes: bool = False, terminal: bool = False, asks: bool = False, name: str = ""
) -> Callable[[Handler], Handler]:
    def declared(handler: Handler) -> Handler:
        called = name or handler.__name__.rstrip("_")
        options = [Option(name="json", help="As JSON.")]
        if asks:
            options.append(Option(name="yes", short="y", help="Do not ask."))
        COMMANDS[called] = Command(
            name=called, group=Group.SHELL, help=f"The command {called}.", long_help="", examples=(),
            parameters=parameters, options=tuple(options), changes=changes, terminal=terminal, asks=asks,
        )  # fmt: skip
        HANDLERS[called] = handler
        return handler

    return declared


def text(name: str, *, optional: bool = False, default: str | None = None) -> Parameter:
    return Parameter(name=name, kind=ParameterKind.TEXT, help=name, optional=optional, default=default)


SECONDS = Parameter(name="time", kind=ParameterKind.DURATION, help="How long.", default="1s", optional=True)
WORDS = Parameter(name="words", kind=ParameterKind.ARGV, help="Words.", optional=True)
NUMBER = Parameter(name="number", kind=ParameterKind.NUMBER, help="How many.", default="10", optional=True)


@command(WORDS)
async def say(context: Context, bound: Bound) -> int:
    context.print(" ".join(bound.texts("words")))
    context.emit(list(bound.texts("words")))
    return Exit.OK


@command(SECONDS)
async def sleep(context: Context, bound: Bound) -> int:
    context.print("sleeping")
    context.emit_items(["sleeping"])
    await trio.sleep(bound.seconds("time") or 0)
    context.print("slept")
    return Exit.OK


@command(text("name"), SECONDS, changes=True)
async def change(context: Context, bound: Bound) -> int:
    context.print(f"changing {bound.text('name')}")
    for done in range(10):
        context.progress("steps", done, 10)
        await trio.sleep((bound.seconds("time") or 0) / 10)
    context.print(f"changed {bound.text('name')}")
    return Exit.OK


@command(text("how", optional=True), changes=True)
async def fail(context: Context, bound: Bound) -> int:
    how = bound.text("how")
    if how == "told":
        raise LabError("the lab is not there; start it")
    if how == "group":
        raise ExceptionGroup("several", [LabError("host a: away"), LabError("host b: away")])
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "exit":
        sys.exit(3)
    if how == "code":
        return 7
    raise KeyError("unexpected")


@command(NUMBER)
async def lines(context: Context, bound: Bound) -> int:
    for number in range(bound.number("number") or 0):
        context.print(f"line {number}")
    return Exit.OK


@command(NUMBER)
async def flood(context: Context, bound: Bound) -> int:
    """So many lines a second, in batches as agents send them, until it is cancelled."""
    rate = bound.number("number") or 0
    began_s, number = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began_s) * rate)
        while number < due:
            context.print(
                f"2026-11-28T18:00:00.{number % 1000:03} host{number % 7} cashy[312]: served block {number} in 0.312 ms"
            )
            number += 1
        LIVE["bar"] = f"printed {number}"
        await trio.sleep(0.02)


@command(text("question"), changes=True, asks=True)
async def ask(context: Context, bound: Bound) -> int:
    yes = await context.confirm(bound.text("question") or "")
    context.print("said yes" if yes else "said no")
    return Exit.OK if yes else Exit.NEEDS_CONFIRMATION


@command(WORDS, terminal=True)
async def attach(context: Context, bound: Bound) -> int:
    status = await context.attach(list(bound.texts("words")), {"LABSHELL_ATTACHED": "1"})
    context.print(f"status {status}")
    return Exit.OK if status == 0 else Exit.FAILED


@command()
async def stubborn(context: Context, bound: Bound) -> int:
    """Never answers, and does not end when it is told to."""
    context.print("never answering")
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()
    return Exit.OK


@command()
async def table(context: Context, bound: Bound) -> int:
    drawn = Table("host", "state", width=context.width)
    drawn.add_row("a", "run\x1b]0;evil\x07ning")
    drawn.add_row("b", "stopped")
    context.print(drawn)
    context.print(f"width {context.width}")
    return Exit.OK


@command()
async def foreign(context: Context, bound: Bound) -> int:
    """What a daemon that wants to steer the terminal would log."""
    context.print("a\x1b[2Jb\x1b]0;title\x07c\x1b[31mred\x1b[0m\rd\x9b5me\u202ef\udce9")
    context.warn("careful")
    context.error("wrong\x1b[6n")
    return Exit.OK


@command(text("what"))
async def crash(context: Context, bound: Bound) -> int:
    """Faults of the shell's own parts."""
    what = bound.text("what")
    if what == "bar":
        LIVE["broken"] = True
    elif what == "prompt":
        from prompt_toolkit.application.current import get_app

        get_app().exit(exception=RuntimeError("the prompt broke"))
    elif what == "loop":
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return Exit.OK


@command()
async def state(context: Context, bound: Bound) -> int:
    """Where a command runs."""
    threads = len(LIVE["threads"] | {threading.get_ident()})
    context.print(
        f"threads {threads}, in trio {trio.lowlevel.in_trio_task()}, library {sniffio.current_async_library()}"
    )
    context.print(
        f"loop {type(asyncio.get_running_loop()).__name__}, blocking {os.get_blocking(0)} {os.get_blocking(1)}"
    )
    return Exit.OK


@command()
async def spin(context: Context, bound: Bound) -> int:
    """Is busy without looking up, then waits."""
    (FOLDER / "spinning").touch()
    until_s = time.monotonic() + 0.5
    while time.monotonic() < until_s:
        pass
    context.print("spun to the end")
    await trio.sleep_forever()
    return Exit.OK


@command()
async def helper(context: Context, bound: Bound) -> int:
    """A child that is in our process group, as one that forgot to leave it."""
    process = await trio.lowlevel.open_process(["sleep", "60"], stdin=subprocess.DEVNULL)
    (FOLDER / "helper").write_text(str(process.pid))
    try:
        await trio.sleep_forever()
    finally:
        process.kill()
    return Exit.OK


@command(WORDS)
async def count(context: Context, bound: Bound) -> int:
    words = bound.texts("words")
    context.print(f"{len(words)} words, {len(' '.join(words))} characters")
    return Exit.OK


@command(WORDS)
async def later(context: Context, bound: Bound) -> int:
    """Another command, when a person has gone on typing."""
    await trio.sleep(2)
    words = " ".join(quoted(word) for word in bound.texts("words"))
    other = _language().bind(words, abbreviated=False)
    assert other is not None
    return await {**OWN_HANDLERS, **HANDLERS}[other.command.name](context, other)


class _Word(msgspec.Struct, frozen=True):
    text: str
    start: int
    display: str
    detail: str


def _complete(line: str, cursor: int) -> list[Proposal]:
    start = line.rfind(" ", 0, cursor) + 1
    if start:
        return []
    return [
        _Word(name, start, name, one.help)
        for name, one in COMMANDS.items()
        if name.startswith(line[start:cursor])
    ]


def _toolbar(width: int) -> Fragments:
    if LIVE["broken"]:
        raise ValueError("no bar")
    return [("class:bar", f" {LIVE['bar']} | ticks {LIVE['ticks']} | {width} columns")]


async def _tick() -> None:
    while True:
        LIVE["ticks"] += 1
        LIVE["threads"].add(threading.get_ident())
        await trio.sleep(0.05)


@contextlib.asynccontextmanager
async def _surround() -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tick)
        yield
        nursery.cancel_scope.cancel()
    (FOLDER / "left").write_text("in order")


class _NoChoices:
    """Nothing can be chosen by name here."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: ()


def _language() -> TableLanguage:
    for name in ("jobs", "quit"):
        COMMANDS[name] = Command(
            name=name,
            group=Group.SHELL,
            help=name,
            long_help="",
            examples=(),
            options=(Option(name="json", help="As JSON."),),
        )
    COMMANDS["cancel"] = Command(
        name="cancel", group=Group.SHELL, help="", long_help="", examples=(), parameters=(NUMBER_OF_JOB,)
    )
    choices: Any = _NoChoices()
    return TableLanguage(
        choices=lambda: choices, complete=_complete, prompt=lambda width: [("class:prompt", "test> ")], toolbar=_toolbar, commands=COMMANDS
    )  # fmt: skip


NUMBER_OF_JOB = Parameter(name="job", kind=ParameterKind.NUMBER, help="Which.")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", dest="commands")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--keep-going", action="store_true")
    given = parser.parse_args(arguments)
    settings = ShellSettings(
        language=_language(), handlers=HANDLERS, audit=AuditFile(FOLDER / "audit", environment="test"),
        traces=Traces(FOLDER / "traces"), history=FOLDER / "history", banner="Welcome.", read_only=given.read_only,
        assume_yes=given.yes, json=given.json, surround=_surround,
    )  # fmt: skip
    shell = Shell(settings)
    if given.commands is not None:
        return shell.run_script(split_commands(given.commands), keep_going=given.keep_going)
    return shell.run_interactive(keep_going=given.keep_going)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
