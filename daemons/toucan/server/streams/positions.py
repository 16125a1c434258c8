"""WatchPositions: the feed of positions and what each watcher is told.

A position is told after each event that changes it, and a few times a second while the market moves what it is worth. Of what changes twice before
its watcher's turn only the last is told, so that nothing can pile up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.engine.port import Applied, EnginePort
from toucan.server.calls import Call
from toucan.server.identity import Identity
from toucan.server.limits import MARKS_INTERVAL_S, MESSAGE_BYTES_MAX, POSITIONS_PER_TURN
from toucan.server.streams.book import StreamBook
from toucan.server.streams.outlet import Outlet
from toucan.server.streams.position_book import PositionBook, PositionFilter, PositionKey
from toucan.server.translate.pieces import watch_positions_response

__all__ = ["PositionFeed", "PositionWatch", "WatchPositions"]


class PositionFeed:
    """Follows the engine for all watchers of positions; a :class:`toucan.engine.port.EventListener`."""

    def __init__(self, port: EnginePort) -> None:
        self.port = port
        self.book = PositionBook(port)
        self.seq = port.state.seq
        self._watches: set[PositionWatch] = set()
        self._by_account: dict[str, tuple[PositionWatch, ...]] = {}
        self._moved: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watch: PositionWatch) -> None:
        """From now on it is told."""
        self._watches.add(watch)
        self._by_account.clear()

    def remove(self, watch: PositionWatch) -> None:
        """Its stream is over."""
        self._watches.discard(watch)
        self._by_account.clear()

    def on_applied(self, applied: Applied) -> None:
        """See :class:`toucan.engine.port.EventListener`."""
        position = applied.change.position
        if position is not None:
            self._tell(self.book.changed(*position, applied.seq))
        self.seq = applied.seq

    def on_market(self, symbols: Sequence[str]) -> None:
        """Prices move all the time: what that means for positions is looked up a few times a second."""
        self._moved.update(dict.fromkeys(symbols))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(MARKS_INTERVAL_S, self._mark)

    def _mark(self) -> None:
        self._timer = None
        moved, self._moved = self._moved, {}
        self._tell(self.book.marked(moved))

    def _tell(self, keys: Iterable[PositionKey]) -> None:
        for key in keys:
            watches = self._by_account.get(key.account)
            if watches is None:
                watches = tuple(watch for watch in self._watches if watch.wanted.has_account(key.account))
                self._by_account[key.account] = watches
            for watch in watches:
                watch.offer(key)

    def on_resync(self) -> None:
        """The copy was replaced: everything is told again."""
        self.seq = self.port.state.seq
        self.book.rebuild()
        for watch in self._watches:
            watch.restart()

    def on_staleness(self, is_stale: bool) -> None:
        """Told to everybody at once."""
        for watch in self._watches:
            watch.tell()

    def stop(self) -> None:
        """No more marks."""
        if self._timer is not None:
            self._timer.cancel()


class PositionWatch(Outlet):
    """A stream of WatchPositions."""

    def __init__(
        self, book: StreamBook, identity: Identity, feed: PositionFeed, wanted: PositionFilter
    ) -> None:
        super().__init__(book.pump, identity)
        self._feed = feed
        self.wanted = wanted
        #: Positions to be told.
        self._changed: dict[PositionKey, None] = {}
        #: Those of the first message as far as they are encoded; None: it was sent.
        self._first: list[bytes] | None = []
        self._must_tell = False
        self.restart()

    def offer(self, key: PositionKey) -> None:
        """A position is another one."""
        if self.wanted.takes(key):
            self._changed[key] = None
            self.poke()

    def restart(self) -> None:
        """Everything is to be told."""
        self._changed = dict.fromkeys(self._feed.book.select(self.wanted))
        self.tell()

    def tell(self) -> None:
        """Something is to be said that is no position."""
        self._must_tell = True
        self.poke()

    @property
    def has_more(self) -> bool:
        """See :class:`Outlet`."""
        return bool(self._changed) or self._must_tell

    def next_message(self, *, is_heartbeat: bool) -> bytes | None:
        """See :class:`Outlet`. The first message has all positions, so they are collected over several turns, unless they would be too many bytes."""
        pieces = self._encoded()
        if self._first is not None:
            self._first += pieces
            if self._changed and sum(map(len, self._first)) < MESSAGE_BYTES_MAX:
                return None
            pieces, self._first = self._first, None
        if not pieces and not is_heartbeat and not self._must_tell:
            return None
        self._must_tell = False
        # While some are still to come nothing is said about how far this goes.
        return watch_positions_response(
            pieces, 0 if self._changed else self._feed.seq, self._feed.port.is_stale
        )

    def _encoded(self) -> list[bytes]:
        pieces = []
        for _ in range(min(POSITIONS_PER_TURN, len(self._changed))):
            key = next(iter(self._changed))
            del self._changed[key]
            pieces.append(self._feed.book.piece(key))
        return pieces


class WatchPositions:
    """The method."""

    def __init__(self, feed: PositionFeed, book: StreamBook) -> None:
        self._feed = feed
        self._book = book

    async def watch(self, call: Call, request: pb.WatchPositionsRequest) -> None:
        """WatchPositions."""
        call.user.require("view")
        wanted = PositionFilter.of(request.accounts, request.symbols, request.by_trader, call.user)
        with self._book.place(call):
            watch = PositionWatch(self._book, call.identity, self._feed, wanted)
            self._feed.add(watch)
            try:
                await watch.drive(call.context)
            finally:
                self._feed.remove(watch)
