"""The one way to the screen above the prompt: lines wait in bounded rings, one for each command, and are written together, at most 20 times a second.

What floods loses its own oldest lines, never those of others, and it is said how many. Nothing else writes while the prompt is drawn.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future

from labshell.app.harmless import harmless
from labshell.app.limits import FLOOD_LINES_MAX, FLUSH_INTERVAL_S, FLUSH_LINES_MAX, RING_LINES_MAX
from labshell.app.render import Drawable, Renderer

__all__ = ["Channel", "Output"]


class _Block:
    """Something that a thread draws; what comes after it in its channel waits for it."""

    __slots__ = ("future",)

    def __init__(self, future: Future[list[str]]) -> None:
        self.future = future


class _Drawn(str):
    """A line that is harmless and styled already."""

    __slots__ = ()


_Entry = tuple[int, str, str, "str | _Block"]  # number, tag, style, line


class Channel:
    """The lines of one command. ``tag`` gives what stands before a line that is written now; empty: nothing."""

    def __init__(self, output: Output, tag: Callable[[], str]) -> None:
        self._output = output
        self._ring: deque[_Entry] = deque()
        self._lost = 0
        #: It has lost lines, and has not stood still since: only its newest are shown.
        self._is_flood = False
        self.tag = tag
        #: Nothing more comes: it goes when it is empty.
        self.is_closed = False

    def write(self, text: str, style: str = "") -> None:
        """Lines of text. Never waits: over the bound the oldest are lost."""
        if "\n" in text:
            for line in text.split("\n"):
                self._append(style, line)
        else:
            self._append(style, text)

    def write_whole(self, text: str) -> None:
        """One line, however long it is: a JSON text that is cut is none."""
        self._append("", _Drawn(harmless(text)))

    def draw(self, what: Drawable, executor: Executor, renderer: Renderer, width: int) -> None:
        """Lines of a table or of what rich draws, in a thread, for that takes longer than a key may wait."""
        block = _Block(executor.submit(renderer.lines, what, width))
        self._append("", block)
        block.future.add_done_callback(lambda _: self._output.wake_from_thread())

    def _append(self, style: str, entry: str | _Block) -> None:
        ring = self._ring
        ring.append((self._output.next_number(), self.tag(), style, entry))
        if len(ring) > RING_LINES_MAX:
            ring.popleft()
            self._lost += 1
        self._output.wake()

    def __len__(self) -> int:
        return len(self._ring)

    def take(self, most: int, renderer: Renderer) -> list[tuple[int, str]]:
        """At most about ``most`` lines with their numbers: the oldest, or after a loss the newest, and how many were lost before them."""
        ring = self._ring
        if self._lost or self._is_flood:
            most = min(most, FLOOD_LINES_MAX)
            surplus = max(0, len(ring) - most)
            self._is_flood = surplus > 0
            self._lost += surplus
            newest = list(itertools.islice(ring, surplus, None))
            ring.clear()
            ring.extend(newest)
        taken: list[tuple[int, str]] = []
        most += bool(self._lost)
        if self._lost and ring:
            text = f"… {self._lost:,} lines are left out: more than can be shown"
            taken.append((ring[0][0], _before(ring[0][1], renderer) + renderer.line(text, "warn")))
            self._lost = 0
        while ring and len(taken) < most:
            number, tag, style, entry = ring[0]
            if isinstance(entry, _Block):
                if not entry.future.done():
                    break
                self._unfold(number, tag, entry.future)
                continue
            ring.popleft()
            line = entry if isinstance(entry, _Drawn) else renderer.line(entry, style)
            taken.append((number, _before(tag, renderer) + line if tag else line))
        return taken

    def _unfold(self, number: int, tag: str, future: Future[list[str]]) -> None:
        self._ring.popleft()
        error = future.exception()
        lines = [f"error: cannot be drawn: {error!r}"] if error is not None else future.result()
        self._ring.extendleft((number, tag, "", _Drawn(line)) for line in reversed(lines))

    def is_stalled(self) -> bool:
        """Whether its next line is still being drawn."""
        return (
            bool(self._ring) and isinstance(self._ring[0][3], _Block) and not self._ring[0][3].future.done()
        )


def _before(tag: str, renderer: Renderer) -> str:
    return f"{renderer.line(tag, 'note')} " if tag else ""


class Output:
    """All channels. ``write(take)`` gets what ``take()`` returns above the prompt, at once; it may be awaited until that is done."""

    def __init__(
        self,
        renderer: Renderer,
        write: Callable[[Callable[[], str]], Awaitable[None]],
        is_ready: Callable[[], bool],
    ) -> None:
        self.renderer = renderer
        self._write = write
        self._is_ready = is_ready
        self._channels: list[Channel] = []
        self._numbers = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_scheduled = False
        self._next_flush_s = 0.0
        self._flushing: asyncio.Task[None] | None = None
        self.next_number = self._numbers.__next__

    def start(self) -> None:
        """Begins to write; in asyncio. What came before is kept until then."""
        self._loop = asyncio.get_running_loop()
        self.wake()

    def channel(self, tag: Callable[[], str] = lambda: "") -> Channel:
        """A new channel."""
        made = Channel(self, tag)
        self._channels.append(made)
        return made

    def wake(self) -> None:
        """There is something to write; from either loop, any number of times."""
        if self._is_scheduled or self._loop is None:
            return
        self._is_scheduled = True
        self._loop.call_at(max(self._loop.time(), self._next_flush_s), self._flush)

    def wake_from_thread(self) -> None:
        """The same from a thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.wake)

    def _flush(self) -> None:
        assert self._loop is not None
        self._is_scheduled = False
        self._next_flush_s = self._loop.time() + FLUSH_INTERVAL_S
        if self._flushing is not None and not self._flushing.done():
            self.wake()  # the terminal is slow
            return
        if not self._is_ready():
            self.wake()
            return
        if any(map(len, self._channels)):
            self._flushing = self._loop.create_task(self._flush_once())

    async def _flush_once(self) -> None:
        await self._write(self.take)
        self._channels = [one for one in self._channels if len(one) or not one.is_closed]
        if any(len(one) and not one.is_stalled() for one in self._channels):
            self.wake()

    def take(self, most: int = FLUSH_LINES_MAX) -> str:
        """The next lines of all channels, in the order in which they came; a flood gets no more than its share."""
        parts, left = [], most
        waiting = sorted((one for one in self._channels if len(one)), key=len)
        for index, channel in enumerate(waiting):
            lines = channel.take(max(1, left // (len(waiting) - index)), self.renderer)
            left = max(0, left - len(lines))
            parts.append(lines)
        return "".join(f"{line}\n" for _, line in heapq.merge(*parts, key=lambda one: one[0]))

    async def caught_up(self) -> None:
        """Writes what waits now, once; a flood goes on afterwards."""
        if any(map(len, self._channels)):
            await self._write(self.take)

    async def flushed(self) -> None:
        """Writes all that waits; for the end."""
        while any(map(len, self._channels)) and self._is_ready():
            await self._write(self.take)
            await asyncio.sleep(0.001)  # a table may still be drawn
