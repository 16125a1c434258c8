"""WatchMarketData: the newest quote, depth and trades of each symbol, at a bounded rate.

Of prices that change between two messages only the last are told. Trades are all told, as far as a message holds them and the tape keeps them; what
is left out is counted. A stream costs the symbols that have changed and a place on each tape, however slow its client is. One timer for all streams
looks which are due; a symbol is encoded once for all who watch it at the same depth, and a tape once for all who stand at the same place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import msgspec

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.core.outcomes import Refusal
from toucan.engine.port import EnginePort
from toucan.market.core.tape import TOTAL_MODULUS, Place
from toucan.server.calls import Call
from toucan.server.errors import InvalidRequest, NotFound
from toucan.server.identity import Identity
from toucan.server.limits import (
    DEPTH_MAX,
    LIFE_CHARACTERS_MAX,
    MARKET_RATE_MAX,
    MARKET_SYMBOLS_MAX,
    MESSAGE_BYTES_MAX,
    TRADES_PER_MESSAGE_MAX,
)
from toucan.server.market import Market
from toucan.server.streams.book import StreamBook
from toucan.server.streams.outlet import Outlet
from toucan.server.translate import fields, to_wire
from toucan.server.translate.pieces import market_data_piece, market_data_response, market_trades_piece

__all__ = ["MarketFeed", "MarketWatch", "MarketWish", "WatchMarketData"]


class MarketFeed:
    """Follows the market for all watchers; a :class:`toucan.engine.port.Listener`."""

    def __init__(self, port: EnginePort, market: Market) -> None:
        self.port = port
        self.market = market
        self._of_symbol: dict[str, set[MarketWatch]] = {}
        #: Those with something to tell whose time has not come yet.
        self.waiting: set[MarketWatch] = set()
        #: By symbol and depth.
        self._pieces: dict[str, dict[int, bytes]] = {}
        #: By symbol and the place behind which they follow, with the place that they lead to.
        self._trades: dict[str, dict[tuple[str, Place], tuple[bytes, Place]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        market.on_change = self._changed
        market.on_staleness = self._tell_everybody

    def add(self, watch: MarketWatch) -> None:
        """From now on it is told."""
        for symbol in watch.wish.symbols:
            self._of_symbol.setdefault(symbol, set()).add(watch)

    def remove(self, watch: MarketWatch) -> None:
        """Its stream is over."""
        self.waiting.discard(watch)
        for symbol in watch.wish.symbols:
            watches = self._of_symbol[symbol]
            watches.discard(watch)
            if not watches:
                del self._of_symbol[symbol]

    def on_market(self, symbols: Sequence[str]) -> None:
        """See :class:`toucan.engine.port.Listener`. Of a symbol that a feed has told of the feed tells."""
        self._changed([symbol for symbol in symbols if not self.market.is_fed(symbol)])

    def _changed(self, symbols: Sequence[str]) -> None:
        for symbol in symbols:
            self._pieces.pop(symbol, None)
            self._trades.pop(symbol, None)
            for watch in self._of_symbol.get(symbol, ()):
                watch.offer(symbol)

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
        self._tell_everybody()

    def _tell_everybody(self) -> None:
        for watch in {watch for watches in self._of_symbol.values() for watch in watches}:
            watch.tell()

    def piece(self, symbol: str, depth: int) -> bytes:
        """A symbol's market, encoded."""
        pieces = self._pieces.setdefault(symbol, {})
        if depth not in pieces:
            quote, book = self.market.quote(symbol), self.market.book(symbol)
            pieces[depth] = market_data_piece(to_wire.market_data(symbol, quote, book, depth))
        return pieces[depth]

    def trades(self, symbol: str, life: str, place: Place) -> tuple[bytes, Place]:
        """What somebody at this place of the tape of this life has not been told, encoded (b"": nothing), and where he stands then."""
        encoded = self._trades.setdefault(symbol, {})
        if (life, place) not in encoded:
            found = self.market.tape(symbol)
            assert found is not None
            told = found[1].since(place, TRADES_PER_MESSAGE_MAX)
            is_news = bool(told.lines or told.left_out)
            piece = market_trades_piece(to_wire.market_trades(symbol, life, told)) if is_news else b""
            encoded[life, place] = piece, told.place
        return encoded[life, place]

    def stop(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()


class MarketWish(msgspec.Struct, frozen=True):
    """What a stream shall tell; checked."""

    symbols: frozenset[str]
    depth: int = 0
    rate: int = MARKET_RATE_MAX
    with_prices: bool = True
    with_trades: bool = False
    trades_before: int = 0
    #: By symbol: the life, and the place in it.
    after: dict[str, tuple[str, Place]] = {}


class MarketWatch(Outlet):
    """A stream of WatchMarketData."""

    def __init__(self, book: StreamBook, identity: Identity, feed: MarketFeed, wish: MarketWish) -> None:
        super().__init__(book.pump, identity)
        self.wish = wish
        self._feed = feed
        self._interval_s = 1 / wish.rate
        self._due_at_s = 0.0
        self._must_tell = True
        self._changed: dict[str, None] = dict.fromkeys(sorted(wish.symbols))
        #: By symbol: the life, and what of its tape is told.
        self._places = dict(wish.after)

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
        pieces, size = [], 0
        while self._changed and size < MESSAGE_BYTES_MAX:
            symbol = next(iter(self._changed))
            del self._changed[symbol]
            for piece in self._pieces_of(symbol):
                pieces.append(piece)
                size += len(piece)
        if not pieces and not self._must_tell and not is_heartbeat:
            return None
        self._must_tell = False
        self._due_at_s = asyncio.get_running_loop().time() + self._interval_s
        return market_data_response(pieces, self._feed.market.stale(self.wish.symbols))

    def _pieces_of(self, symbol: str) -> Iterator[bytes]:
        if self.wish.with_prices:
            yield self._feed.piece(symbol, self.wish.depth)
        found = self._feed.market.tape(symbol) if self.wish.with_trades else None
        if found is None:
            return
        life, tape = found
        known_life, place = self._places.get(symbol) or (life, tape.newest(self.wish.trades_before))
        if known_life != life:
            place = Place()  # another count: all of it is news
        piece, place = self._feed.trades(symbol, life, place)
        self._places[symbol] = life, place
        if piece:
            yield piece


class WatchMarketData:
    """The method. Market data are everybody's who may connect; whose symbols one may trade is another question."""

    def __init__(self, feed: MarketFeed, book: StreamBook) -> None:
        self._feed = feed
        self._book = book

    async def watch(self, call: Call, request: pb.WatchMarketDataRequest) -> None:
        """WatchMarketData."""
        wish = self._wish(request)
        with self._book.place(call):
            watch = MarketWatch(self._book, call.identity, self._feed, wish)
            self._feed.add(watch)
            try:
                await watch.drive(call.context)
            finally:
                self._feed.remove(watch)

    def _wish(self, request: pb.WatchMarketDataRequest) -> MarketWish:
        symbols = fields.names(request.symbols, "symbols", MARKET_SYMBOLS_MAX)
        if symbols is None:
            raise InvalidRequest("symbols is empty; name at least one", field="symbols")
        unknown = sorted(symbols.difference(self._feed.port.instruments))
        if unknown:
            raise NotFound(f"there is no instrument {unknown[0]!r}", code=Refusal.UNKNOWN_INSTRUMENT)
        if request.without_prices and not request.with_trades:
            raise InvalidRequest(
                "without_prices leaves nothing to tell; set with_trades", field="without_prices"
            )
        return MarketWish(
            symbols=symbols,
            depth=fields.bounded(request.depth, 0, DEPTH_MAX, "depth"),
            rate=fields.bounded(request.rate_max, 0, MARKET_RATE_MAX, "rate_max") or MARKET_RATE_MAX,
            with_prices=not request.without_prices,
            with_trades=request.with_trades,
            trades_before=fields.bounded(request.trades_before, 0, TRADES_PER_MESSAGE_MAX, "trades_before"),
            after=dict(_places(request, symbols)),
        )


def _places(
    request: pb.WatchMarketDataRequest, symbols: frozenset[str]
) -> Iterator[tuple[str, tuple[str, Place]]]:
    if len(request.after) > MARKET_SYMBOLS_MAX:
        raise InvalidRequest(
            f"after has {len(request.after)} places; {MARKET_SYMBOLS_MAX} are the most", field="after"
        )
    for index, one in enumerate(request.after):
        path = f"after[{index}]"
        if one.symbol not in symbols:
            raise InvalidRequest(f"{path}.symbol is not among symbols", field=f"{path}.symbol")
        life = fields.name(one.life, f"{path}.life", LIFE_CHARACTERS_MAX)
        number = fields.bounded(one.number, 0, TOTAL_MODULUS - 1, f"{path}.number")
        total = fields.bounded(one.traded, 0, TOTAL_MODULUS - 1, f"{path}.traded")
        yield one.symbol, (life, Place(number, total))
