"""``make walk``: a walk through labshell over the documented example, at a real terminal, written down in ``docs/labshell-walk.md``.

Three hosts are booted, what ``tests/system/lab.toml`` describes is deployed on them, and somebody types. What is on the screen after each step goes
into the page as it is, but for numbers of processes, times, addresses and identifiers, in whose places steady ones stand
(:mod:`tests.demo.walk_screens`), so that two walks differ only where the shell does. Needs root, as all hosts of namespaces do.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from tests.demo.walk_screens import Cell, Screen, is_red, page, steady
from tests.demo.walk_steps import STEPS
from tests.labshell.app.person import Person

from labtest.namespaces import Lab

__all__ = ["Operator", "Walker", "main", "walk"]

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "tests" / "system" / "lab.toml"
PAGE = REPOSITORY / "docs" / "labshell-walk.md"
HOSTS = ("a", "b", "c")
#: What the example is called, and what the hosts of this walk are called while it lasts: as long, so that nothing moves, and nobody else's.
NAME = "floor"
ROWS, COLUMNS = 30, 100
#: A first deployment installs releases on three hosts.
PATIENCE_S = 90.0
#: A screen that has not changed for so long stands still.
STILL_S = 0.4


class Operator(Person):
    """A person at labshell, who has patience, and sees colours."""

    patience_s = PATIENCE_S

    @property
    def cells(self) -> Mapping[int, Mapping[int, Cell]]:
        """All characters by row and column."""
        return cast("Mapping[int, Mapping[int, Cell]]", self._screen.buffer)


@dataclass
class Walker:
    """Types, waits, and keeps what is to be shown. ``name``: of the hosts and of the environment."""

    folder: Path
    name: str
    screens: list[Screen] = field(default_factory=list)
    _operator: Operator | None = None
    _commands: Path = Path(sys.executable).parent

    @property
    def operator(self) -> Operator:
        """Whoever sits before the shell."""
        assert self._operator is not None, "the shell is not open"
        return self._operator

    # --- doing ---

    def opens(self) -> None:
        """Starts the shell, and waits until it has a prompt and knows all hosts."""
        command = (str(self._commands / "labshell"), "lab.toml")
        self._operator = Operator(self.folder, command=command, rows=ROWS, columns=COLUMNS)
        self.sees(f"hosts {len(HOSTS)}/{len(HOSTS)}")

    def leaves(self) -> None:
        """Waits until the shell is over."""
        code = self.operator.ends()
        assert code == 0, f"labshell ended with {code}:\n{self.operator.screen}"
        self.close()

    def close(self) -> None:
        """Ends whatever is left of it."""
        if self._operator is not None:
            self._operator.close()
        self._operator = None

    def types(self, keys: str) -> None:
        """Presses keys."""
        self.operator.type(keys)

    def clears(self) -> None:
        """Begins on an empty screen, on an empty line."""
        self.waits(lambda: not self.is_busy, "the command before does not end")
        self.types("\x0c")
        self.waits(
            lambda: self.operator.lines[:1] and ">" in self.operator.lines[0], "the screen was not cleared"
        )
        self.is_still()

    def enters(self, line: str, *, sees: str = "") -> None:
        """Types a line on an empty screen, and waits for what it says, and until it is done."""
        self.begins(line, sees=sees)
        self.waits(lambda: not self.is_busy, f"{line!r} does not end")
        self.is_still()

    def begins(self, line: str, *, sees: str = "") -> None:
        """The same, without waiting for its end."""
        self.clears()
        self.operator.enter(line)
        if sees:
            self.sees(sees)

    def answers(self, keys: str, *, sees: str) -> None:
        """Answers a question, and waits until all that follows from it is done."""
        self.operator.enter(keys)
        self.sees(sees)
        self.waits(lambda: not self.is_busy, "it does not end")
        self.is_still()

    def elsewhere(self, *arguments: str) -> None:
        """Runs ``labtest`` in another terminal."""
        subprocess.run(
            [str(self._commands / "labtest"), *arguments, "--lab", self.name],
            check=True,
            capture_output=True,
            timeout=60,
        )

    # --- looking ---

    def sees(self, text: str) -> None:
        """Waits until a text is on the screen; ``{name}`` in it is the environment's."""
        self.operator.sees(text.replace("{name}", self.name))

    def waits(self, is_true: Callable[[], object], complaint: str) -> None:
        """Waits until something is so."""
        self.operator.waits(is_true, complaint)

    def is_still(self) -> None:
        """Waits until the screen stands still, but for times that run in its bottom lines."""
        last, since_s = "", time.monotonic()

        def has_stood() -> bool:
            nonlocal last, since_s
            now = steady(self.operator.screen, self.name, NAME)
            if now != last:
                last, since_s = now, time.monotonic()
            return time.monotonic() - since_s > STILL_S

        self.waits(has_stood, "the screen does not stand still")

    @property
    def is_busy(self) -> bool:
        """Whether a command runs in front: its line is above the bottom line."""
        return any("(Ctrl-C cancels)" in line for line in self.operator.lines[-2:])

    def is_red(self, text: str) -> bool:
        """Whether a text in the bottom line stands on red."""
        return is_red(self.operator.cells, text)

    def shows(self, caption: str = "", *, last: int = 0) -> None:
        """Puts what is on the screen now into the page, after a sentence about it; only its ``last`` lines, if that is given."""
        text = steady(self.operator.screen, self.name, NAME)
        if last:
            text = "\n".join(["…", *text.splitlines()[-last:]])
        self.screens.append(Screen(caption=caption, text=text))


def walk(folder: Path, name: str) -> str:
    """Takes all steps; the page."""
    walker = Walker(folder, name)
    sections = []
    try:
        for step in STEPS:
            began_s = time.monotonic()
            walker.screens = []
            step.act(walker)
            sections.append((step, walker.screens))
            print(
                f"{step.title}: {len(walker.screens)} screens, {time.monotonic() - began_s:.0f} s", flush=True
            )
    finally:
        walker.close()
    return page(sections)


def main() -> int:
    """Boots hosts, walks, writes the page, and takes the hosts down; the exit code."""
    name = f"w{secrets.token_hex(2)}"
    with tempfile.TemporaryDirectory(prefix="labshell-walk-") as temporary:
        folder = Path(temporary)
        shutil.copytree(EXAMPLE.parent / "lab", folder / "lab")
        text = EXAMPLE.read_text(encoding="utf-8")
        (folder / "lab.toml").write_text(
            text.replace(f'name = "{NAME}"', f'name = "{name}"'), encoding="utf-8"
        )
        with Lab(name, HOSTS):
            PAGE.write_text(walk(folder, name), encoding="utf-8")
    print(f"written: {PAGE.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
