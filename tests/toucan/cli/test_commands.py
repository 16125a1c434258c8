"""The table of commands, what importing costs, and the generated page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.toucan.cli.support import Shell

from hostkit.generated_pages import stale_pages
from toucan.cli import toucan_group
from toucan.cli.commands import COMMANDS
from toucan.cli.exits import EXIT_MEANINGS, Exit
from toucan.cli.reference import pages

DOCS = Path(__file__).resolve().parents[3] / "docs"
_OURS = [line for line in COMMANDS if line.target.startswith("toucan.cli.")]


@pytest.fixture
def toucan(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.name)
def test_each_line_of_the_table_is_a_command(line: object, toucan: Shell) -> None:
    name = line.name  # type: ignore[attr-defined]
    command = toucan_group.get_command(click.Context(toucan_group), name)
    assert command is not None
    done = toucan(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"Usage: toucan {name}" in done.out


@pytest.mark.parametrize("line", _OURS, ids=lambda line: line.name)
def test_the_table_says_what_the_command_says(line: object) -> None:
    command = toucan_group.get_command(click.Context(toucan_group), line.name)  # type: ignore[attr-defined]
    assert command is not None
    assert command.short_help == line.summary  # type: ignore[attr-defined]


def test_the_page_is_fresh() -> None:
    assert stale_pages(pages(), DOCS) == []


def test_every_exit_code_is_explained() -> None:
    assert set(EXIT_MEANINGS) == set(Exit)
    (page,) = pages().values()
    for code in Exit:
        assert f"| {code.value} |" in page


def after(arguments: tuple[str, ...], expression: str) -> set[str]:
    """Words that an expression gives in a process that has run a command."""
    program = f"import os, sys; from toucan.cli import run; run(sys.argv[1:]); print(); print(*{expression})"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "TOUCAN_SERVER": "127.0.0.1:1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.splitlines()[-1].split())


def modules_after(*arguments: str) -> set[str]:
    return after(arguments, "{name.partition('.')[0] for name in sys.modules}")


def test_help_imports_nothing_that_it_does_not_need() -> None:
    assert (
        modules_after("--help") & {"grpc", "google", "rich", "prompt_toolkit", "msgspec", "uvloop"} == set()
    )


def test_a_command_imports_no_prompt_and_no_daemon() -> None:
    found = modules_after("cancel", "1", "--timeout", "0.01")
    assert found & {"rich", "prompt_toolkit", "msgspec", "uvloop", "structlog"} == set()
    assert "grpc" in found


def test_grpc_writes_nothing_beside_the_answer() -> None:
    for arguments in (("cancel", "1", "--timeout", "0.01"), ()):
        assert after(arguments, "[os.environ['GRPC_VERBOSITY']]") == {"NONE"}


def test_completion_of_shells_knows_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from toucan.cli import main; main()"],
        env={**os.environ, "_TOUCAN_COMPLETE": "bash_complete", "COMP_WORDS": "toucan ca", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "cancel" in done.stdout
