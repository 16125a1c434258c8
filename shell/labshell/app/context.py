"""What the handler of a command has in its hands, whether it runs at the prompt, in a script or with ``--json``."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from labshell.app.limits import ITEMS_MAX
from labshell.app.render import Drawable
from labshell.core.parse import Bound
from labtest.errors import LabError

if TYPE_CHECKING:
    from labshell.app.jobs import Job, JobTable

__all__ = ["Context", "Handler", "Surface", "Writer"]


class Writer(Protocol):
    """Where the lines of one command go."""

    def write(self, text: str, style: str = "") -> None:
        """Lines of text; ``style`` is one of :data:`labshell.app.render.STYLES`."""

    def draw(self, what: Drawable) -> None:
        """A table, or anything else that rich can draw."""

    def close(self) -> None:
        """Nothing more comes."""


class Surface(Protocol):
    """What a front end can do for commands. ``interactive``: somebody can be asked."""

    interactive: bool

    def writer(self, tag: Callable[[], str]) -> Writer:
        """For one command; ``tag`` stands before each line."""

    def width(self) -> int:
        """Columns there are."""

    async def confirm(self, question: str, default: bool) -> bool:
        """Asks. Raises :class:`~labshell.app.exits.NeedsConfirmation` if nobody is there."""

    async def attach(self, argv: Sequence[str], env: Mapping[str, str] | None, folder: str | None) -> int:
        """Gives the terminal to a program until it ends. Raises :class:`~labshell.app.exits.NeedsTerminal`."""

    def changed(self) -> None:
        """Something that prompt or bottom line shows has changed."""

    def quit(self, code: int) -> None:
        """Ends the program with this exit code, after the command that says so."""


class Context:
    """One command that runs. ``json``: somebody reads :meth:`emit` and nobody what is printed."""

    def __init__(
        self, surface: Surface, job: Job, jobs: JobTable, writer: Writer, *, json: bool, assume_yes: bool
    ) -> None:
        self.interactive = surface.interactive
        self.json = json
        #: Questions are answered with yes beforehand (``--yes``).
        self.assume_yes = assume_yes
        #: This command, and all others.
        self.job = job
        self.jobs = jobs
        #: For ``--json``: what was printed and warned, and what was emitted. Kept when the command is cancelled.
        self.texts: list[str] = []
        self.warnings: list[str] = []
        self.errors: list[str] = []
        #: Those of the errors that programs can tell apart.
        self.raised: list[LabError] = []
        self.result: Any = None
        #: Values that did not fit into the result.
        self.dropped = 0
        self._surface = surface
        self._writer = writer

    @property
    def width(self) -> int:
        """Columns of the terminal; 120 where there is none."""
        return self._surface.width()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def print(self, what: Drawable = "") -> None:
        """Prints a line (a text: as it is, without markup; may have several) or a table, or what rich draws. Never waits."""
        if self.json:
            if isinstance(what, str) and len(self.texts) < ITEMS_MAX:
                self.texts.append(what)
        elif isinstance(what, str):
            self._writer.write(what)
        else:
            self._writer.draw(what)

    def warn(self, text: str) -> None:
        """Says what should be known, and goes on."""
        if self.json:
            self.warnings.append(text)
        else:
            self._writer.write(f"warning: {text}", "warn")

    def error(self, text: str) -> None:
        """Says what went wrong; the exit code is the handler's to give."""
        if self.json:
            self.errors.append(text)
        else:
            self._writer.write(f"error: {text}", "error")

    def emit(self, value: Any) -> None:
        """Gives the command's result for ``--json``, once; anything that msgspec can encode."""
        if self.result is not None:
            raise AssertionError("a command has one result; emit_items adds to a list of them")
        self.result = value

    def emit_items(self, values: Iterable[Any]) -> None:
        """Adds to a result that is a list. Over a bound values are counted and left out."""
        if self.result is None:
            self.result = []
        for value in values:
            if len(self.result) < ITEMS_MAX:
                self.result.append(value)
            else:
                self.dropped += 1

    async def confirm(self, question: str, default: bool = False) -> bool:
        """Asks a person; True at once with ``--yes``. Raises :class:`~labshell.app.exits.NeedsConfirmation` in a script."""
        if self.assume_yes:
            return True
        return await self._surface.confirm(question, default)

    async def attach(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, folder: str | None = None
    ) -> int:
        """Gives the terminal to a program; its exit status, or minus the signal that killed it. ``env`` is added to ours.

        Raises :class:`~labshell.app.exits.NotStarted`, and :class:`~labshell.app.exits.NeedsTerminal` without a terminal.
        """
        return await self._surface.attach(argv, env, folder)

    def progress(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Says how far it is: the bottom line shows it, with ``done`` of ``total`` if given. Any number of times."""
        self.job.progress = (text, done, total)
        self.jobs.changed(self.job)

    def quit(self, code: int = 0) -> None:
        """Ends the program after this command."""
        self._surface.quit(code)


#: What carries a command out, in trio: gives the exit code. Raises LabError for what a user is told, anything else is a fault of ours.
Handler = Callable[[Context, Bound], Awaitable[int]]
