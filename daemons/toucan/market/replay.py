"""``toucan replay``: a recording plays the part of a venue's feed.

Whoever follows a feed follows this one in the same way, and is told each quote, depth and line as it was recorded, in the recorded order, at the
recorded pace times a factor. Its life is another one each time it begins, since lines are numbered anew. Files are read by a thread, some hundred
records ahead; the loop serves subscribers.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from toucan.core.instruments import Instrument
from toucan.core.venue_messages import Book, Quote
from toucan.market.core.messages import FeedBeat, FeedWelcome
from toucan.market.core.pace import Pace
from toucan.market.core.picture import MarketPicture
from toucan.market.core.recording import Ending, Record
from toucan.market.core.tape import Tape
from toucan.market.limits import REPEAT_PAUSE_S, REPLAY_RECORDS_PER_TURN
from toucan.market.publisher import FeedPublisher
from toucan.market.recording_files import UnusableRecording, read_recording

__all__ = ["Replay"]

_log = logging.getLogger("toucan.market")


class Replay:
    """Plays a recording; :attr:`publisher` serves it. It is the publisher's :class:`~toucan.market.publisher.FeedSource`.

    ``from_ns``: begins with the picture as it was at that time (ns since the epoch; None: at the beginning).
    """

    def __init__(self, path: Path, pace: Pace, *, from_ns: int | None = None, repeats: bool = False) -> None:
        self.publisher = FeedPublisher(self)
        self.pace = pace
        #: Records played so far, and the recording's time.
        self.played = 0
        self.at_ns = 0
        #: Files that could not be read to their end.
        self.endings: list[tuple[Path, Ending]] = []
        self._path = path
        self._from_ns = from_ns
        self._repeats = repeats
        self._picture = MarketPicture()
        self._life = ""
        self._is_over = False
        self._poked = asyncio.Event()
        #: Called when it has come to wait for a step, once for each place.
        self.on_held: Callable[[], None] = lambda: None
        self._held_at = -1
        self._is_told_stale = False

    async def run(self) -> None:
        """Plays until it is over; it goes on being served then, as one that is stale. Raises :class:`UnusableRecording`."""
        while True:
            await self._play_once()
            if not self._repeats:
                break
            await asyncio.sleep(REPEAT_PAUSE_S)
        self._is_over = True
        self._tell_staleness()
        _log.info("the recording is over: %s records", f"{self.played:,}")

    def poke(self) -> None:
        """The pace is another one."""
        self._poked.set()

    async def _play_once(self) -> None:
        self._picture, self._life = MarketPicture(), ""
        self.pace.begin_anew()
        is_behind = self._from_ns is not None
        played_before = self.played
        records = read_recording(self._path, self._tell)
        while batch := await asyncio.to_thread(_batch, records):
            for number, record in enumerate(batch):
                if is_behind and record.at_ns < (self._from_ns or 0):
                    self._picture.take(record.message)
                    continue
                if is_behind:
                    is_behind = False
                    self._show_all()
                await self._wait_for(record)
                self._play(record)
                if number % _RECORDS_PER_PAUSE == 0:
                    await asyncio.sleep(0)  # subscribers read in between
        if self.played == played_before:
            raise UnusableRecording(
                f"{self._path} has nothing to play" + (" from that time on" if is_behind else "")
            )

    async def _wait_for(self, record: Record) -> None:
        while True:
            now_ns = time.monotonic_ns()
            due_ns = self.pace.due_ns(record.at_ns, now_ns)
            if due_ns is not None and due_ns <= now_ns:
                return
            self._poked.clear()
            if due_ns is None and self._held_at != self.played:
                self._held_at = self.played
                self.on_held()
            try:
                async with asyncio.timeout(None if due_ns is None else (due_ns - now_ns) / 1e9):
                    await self._poked.wait()
            except TimeoutError:
                return

    def _play(self, record: Record) -> None:
        """Applies one record and tells what is other than before."""
        self.pace.played()
        self.played += 1
        self.at_ns = record.at_ns
        message, picture = record.message, self._picture
        if isinstance(message, FeedWelcome):
            life = picture.life
            picture.take(message)
            if picture.life != life:
                self._begin_anew()
        elif isinstance(message, Quote):
            if picture.quotes.get(message.symbol) != message and picture.take(message):
                self.publisher.publish([message.symbol], (), ())
        elif isinstance(message, Book):
            if picture.books.get(message.symbol) != message and picture.take(message):
                self.publisher.publish((), [message.symbol], ())
        elif isinstance(message, FeedBeat):
            picture.take(message)
        elif picture.take(message):
            self.publisher.publish((), (), [message.symbol])
        self._tell_staleness()

    def _begin_anew(self) -> None:
        self._life = f"{self._picture.life}~{secrets.token_hex(4)}"
        self.publisher.begin_anew()

    def _show_all(self) -> None:
        """The picture was made without anybody being told."""
        if self._picture.life:
            self._begin_anew()

    def _tell_staleness(self) -> None:
        if self.is_stale() is not self._is_told_stale:
            self._is_told_stale = self.is_stale()
            self.publisher.beat_now()

    def _tell(self, file: Path, ending: Ending) -> None:
        self.endings.append((file, ending))
        what = "is damaged there" if ending.is_damage else "is cut off there"
        _log.warning(
            "%s is played up to byte %s: it %s, and %s bytes are left out",
            file, f"{ending.read_bytes:,}", what, f"{ending.unread_bytes:,}",
        )  # fmt: skip

    # ------------------------------------------------------------ for subscribers

    def life(self) -> str:
        """Of this time that it is played."""
        return self._life

    def instruments(self) -> Iterable[Instrument]:
        """As recorded."""
        return self._picture.instruments.values()

    def quote(self, symbol: str) -> Quote | None:
        """As it was at the recording's time."""
        return self._picture.quotes.get(symbol)

    def book(self, symbol: str) -> Book | None:
        """As it was at the recording's time."""
        return self._picture.books.get(symbol)

    def tape(self, symbol: str) -> Tape:
        """As it was at the recording's time."""
        return self._picture.tapes[symbol]

    def is_stale(self) -> bool:
        """It is over, or the recorder had lost the feed."""
        return self._is_over or self._picture.is_stale


_RECORDS_PER_PAUSE = 50


def _batch(records: Iterator[Record]) -> list[Record]:
    return [*islice(records, REPLAY_RECORDS_PER_TURN)]
