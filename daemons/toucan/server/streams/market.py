"""WatchMarketData: the newest quote of each symbol, at a bounded rate.

Of what changes between two messages only the last is told. One timer for all streams looks which are due; a symbol is encoded once for all who
watch it at the same depth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.core.outcomes import Refusal
from toucan.engine.port import Applied, EnginePort
from toucan.server.calls import Call
from toucan.server.errors import InvalidRequest, NotFound
from toucan.server.identity import Identity
from toucan.server.limits import DEPTH_MAX, MARKET_RATE_MAX, MARKET_SYMBOLS_MAX
from toucan.server.streams.book import StreamBook
from toucan.server.streams.outlet import Outlet
from toucan.server.translate import fields, to_wire
from toucan.server.translate.pieces import market_data_piece, market_data_response

__all__ = ["MarketFeed", "MarketWatch", "WatchMarketData"]


class MarketFeed:
    """Follows the market for all watchers; a :class:`toucan.engine.port.Listener`."""

    def __init__(self, port: EnginePort) -> None:
        self.port = port
        self._of_symbol: dict[str, set[MarketWatch]] = {}
        #: Those with something to tell whose time has not come yet.
        self.waiting: set[MarketWatch] = set()
        #: By symbol and depth.
        self._pieces: dict[str, dict[int, bytes]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watch: MarketWatch) -> None:
        """From now on it is told."""
        for symbol in watch.symbols:
            self._of_symbol.setdefault(symbol, set()).add(watch)

    def remove(self, watch: MarketWatch) -> None:
        """Its stream is over."""
        self.waiting.discard(watch)
        for symbol in watch.symbols:
            watches = self._of_symbol[symbol]
            watches.discard(watch)
            if not watches:
                del self._of_symbol[symbol]

    def on_applied(self, applied: Sequence[Applied]) -> None:
        """The market is not part of the state."""

    def on_market(self, symbols: Sequence[str]) -> None:
        """See :class:`toucan.engine.port.Listener`."""
        for symbol in symbols:
            for watch in self._of_symbol.get(symbol, ()):
                watch.offer(symbol)
            self._pieces.pop(symbol, None)

    def wait(self, watch: MarketWatch) -> None:
        """Pokes a watch again when its time has come."""
        self.waiting.add(watch)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(1 / MARKET_RATE_MAX, self._look)

    def _look(self) -> None:
        self._timer = None
        now_s = asyncio.get_running_loop().time()
        waiting, self.waiting = self.waiting, set()
        for watch in waiting:
            watch.offer_turn(now_s)

    def on_resync(self) -> None:
        """The market is not part of the state."""

    def on_staleness(self, is_stale: bool) -> None:
        """Told to everybody at once."""
        for watch in {watch for watches in self._of_symbol.values() for watch in watches}:
            watch.tell()

    def piece(self, symbol: str, depth: int) -> bytes:
        """A symbol's market, encoded."""
        pieces = self._pieces.setdefault(symbol, {})
        if depth not in pieces:
            quote, book = self.port.quotes.get(symbol), self.port.books.get(symbol)
            pieces[depth] = market_data_piece(to_wire.market_data(symbol, quote, book, depth))
        return pieces[depth]

    def stop(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()


class MarketWatch(Outlet):
    """A stream of WatchMarketData."""

    has_heartbeat = False  # it has no seq to tell; the connection's own pings show that it stands

    def __init__(
        self,
        book: StreamBook,
        identity: Identity,
        feed: MarketFeed,
        symbols: frozenset[str],
        depth: int,
        rate: int,
    ) -> None:
        super().__init__(book.pump, identity)
        self.symbols = symbols
        self._feed = feed
        self._depth = depth
        self._interval_s = 1 / rate
        self._due_at_s = 0.0
        self._must_tell = True
        self._changed: dict[str, None] = dict.fromkeys(sorted(symbols))

    def offer(self, symbol: str) -> None:
        """There is something newer."""
        self._changed[symbol] = None
        self.offer_turn(asyncio.get_running_loop().time())

    def offer_turn(self, now_s: float) -> None:
        """Something waits: it is told now or when the stream's time has come."""
        if now_s >= self._due_at_s:
            self.poke()
        else:
            self._feed.wait(self)

    def tell(self) -> None:
        """Something is to be said that is no price."""
        self._must_tell = True
        self.poke()

    @property
    def has_more(self) -> bool:
        """See :class:`Outlet`."""
        return bool(self._changed) or self._must_tell

    def go_on(self) -> None:
        """See :class:`Outlet`. What has changed waits until another message is due."""
        if self._must_tell:
            self.poke()
        elif self._changed:
            self.offer_turn(asyncio.get_running_loop().time())

    def next_message(self, *, is_heartbeat: bool) -> bytes | None:
        """See :class:`Outlet`."""
        changed, self._changed = self._changed, {}
        if not changed and not self._must_tell:
            return None
        self._must_tell = False
        self._due_at_s = asyncio.get_running_loop().time() + self._interval_s
        pieces = (self._feed.piece(symbol, self._depth) for symbol in changed)
        return market_data_response(pieces, self._feed.port.is_stale)


class WatchMarketData:
    """The method. Market data are everybody's who may connect; whose symbols one may trade is another question."""

    def __init__(self, feed: MarketFeed, book: StreamBook) -> None:
        self._feed = feed
        self._book = book

    async def watch(self, call: Call, request: pb.WatchMarketDataRequest) -> None:
        """WatchMarketData."""
        symbols = fields.names(request.symbols, "symbols", MARKET_SYMBOLS_MAX)
        if symbols is None:
            raise InvalidRequest("symbols is empty; name at least one", field="symbols")
        unknown = sorted(symbols.difference(self._feed.port.instruments))
        if unknown:
            raise NotFound(f"there is no instrument {unknown[0]!r}", code=Refusal.UNKNOWN_INSTRUMENT)
        depth = fields.bounded(request.depth, 0, DEPTH_MAX, "depth")
        rate = fields.bounded(request.rate_max, 0, MARKET_RATE_MAX, "rate_max") or MARKET_RATE_MAX
        with self._book.place(call):
            watch = MarketWatch(self._book, call.identity, self._feed, symbols, depth, rate)
            self._feed.add(watch)
            try:
                await watch.drive(call.context)
            finally:
                self._feed.remove(watch)
