"""Commands that are read line by line: from a file, a pipe, or a terminal that can do no more than lines."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import click

from toucan.cli.caller import Caller
from toucan.cli.command import ConnectionOptions, Surroundings
from toucan.cli.exits import Exit

__all__ = ["END_WORDS", "run_dumb", "run_line", "run_lines", "words_of"]

#: What ends the prompt.
END_WORDS = ("exit", "quit")


def words_of(line: str) -> list[str]:
    """The words of a line, as a shell would read them; "#" begins a comment. Raises click.UsageError."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise click.UsageError(f"{error} in: {line.strip()[:80]}") from None
    # Whoever copies a command from the documentation copies the program's name, too.
    return words[1:] if words[:1] == ["toucan"] else words


def run_line(line: str, prompt: Caller) -> int | None:
    """Runs one line with the prompt's connection; None: it says that this was all."""
    from toucan.cli import run

    try:
        words = words_of(line)
    except click.UsageError as error:
        click.echo(f"toucan: error: {error.format_message()}", err=True)
        return Exit.USAGE
    if not words:
        return Exit.OK
    if words[0] in END_WORDS:
        return None
    if words[0] == "help":
        words = [*words[1:], "--help"]
    return run(words, Surroundings(prompt))


def run_lines(options: ConnectionOptions, lines: Iterable[str], *, keep_going: bool) -> int:
    """Runs all lines; stops at the first that fails unless ``keep_going``. Returns the exit code of the first that failed."""
    prompt = Caller(options, is_shared=True)
    first_failure = Exit.OK.value
    try:
        for number, line in enumerate(lines, 1):
            code = run_line(line, prompt)
            if code is None:
                break
            if code == Exit.OK:
                continue
            first_failure = first_failure or code
            if not keep_going or code == Exit.INTERRUPTED:
                click.echo(f"toucan: stopped at line {number}: {line.strip()[:80]}", err=True)
                break
    finally:
        prompt.close()
    return first_failure


def run_dumb(options: ConnectionOptions) -> int:
    """The prompt of a terminal that understands nothing but text: Ctrl-C drops a line, Ctrl-D ends it."""
    prompt = Caller(options, is_shared=True, read_line=input)
    try:
        while True:
            try:
                if run_line(input("toucan> "), prompt) is None:
                    break
            except KeyboardInterrupt:
                click.echo(err=True)
            except EOFError:
                click.echo()
                break
    finally:
        prompt.close()
    return Exit.OK
