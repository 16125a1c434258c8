"""The stream of trades without its socket: where on each tape it stands, so that it goes on there over another connection.

Law: as :mod:`toucan.client.streams`: no channel, no clock, no thread. What was told is not told again; what is no longer kept when a connection is
back is counted in ``left_out``. A new life of the venue counts from its own beginning.
"""

from __future__ import annotations

from google.protobuf.message import Message

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1.market_pb2 import TradePlace
from toucan.client import decode
from toucan.client.decode import Find
from toucan.client.streams import Batch
from toucan.client.values import Trades

__all__ = ["TradesBatch", "TradesStream"]

TradesBatch = Batch[Trades]


class TradesStream:
    """WatchMarketData for trades alone. ``before``: how many of the newest are told to begin with."""

    method = "/aviary.toucan.v1.OrderEntryService/WatchMarketData"
    response_type: type[Message] = pb.WatchMarketDataResponse

    def __init__(self, symbols: list[str], before: int, rate_max: int) -> None:
        self._wanted = pb.WatchMarketDataRequest(
            symbols=symbols, rate_max=rate_max, with_trades=True, without_prices=True, trades_before=before
        )
        self._places: dict[str, TradePlace] = {}

    def request(self) -> pb.WatchMarketDataRequest:
        """Begins a connection: what to ask for."""
        request = pb.WatchMarketDataRequest(after=self._places.values())
        request.MergeFrom(self._wanted)
        return request

    def take(self, response: pb.WatchMarketDataResponse, find: Find) -> TradesBatch:
        """What a message says."""
        news = tuple(decode.trades_of(message, find) for message in response.trades)
        for message in response.trades:
            newest = message.trades[-1].number if message.trades else 0
            self._places[message.symbol] = TradePlace(
                symbol=message.symbol, life=message.life, number=newest, traded=message.traded
            )
        return Batch(news=news, is_stale=response.is_stale)
