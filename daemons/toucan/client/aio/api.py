"""The client for asyncio: the methods of :class:`toucan.client.Toucan`, as coroutines."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Unpack

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.client import calls
from toucan.client.aio.connection import Connection
from toucan.client.aio.session import Opening
from toucan.client.aio.staged import StagedMethods
from toucan.client.aio.watch import Watch
from toucan.client.calls import OrderFilter, ReplaceOptions
from toucan.client.connection import random_session
from toucan.client.endpoints import access_from
from toucan.client.errors import OutcomeUnknown
from toucan.client.exact import Number
from toucan.client.instruments import Instrument, InstrumentTable
from toucan.client.keys import Keys
from toucan.client.limits import CONNECT_TIMEOUT_S, ORDERS_PAGE_MAX, STREAM_SILENCE_S, TIMEOUT_S
from toucan.client.session_core import SessionCore
from toucan.client.streams import (
    DropCopyBatch,
    DropCopyStream,
    MarketDataBatch,
    MarketDataStream,
    OrderBatch,
    OrderStream,
    PositionBatch,
    PositionStream,
)
from toucan.client.terms import OrderOptions
from toucan.client.trades import TradesBatch, TradesStream
from toucan.client.values import (
    Accepted,
    Done,
    DropCopyEvent,
    DropCopyGap,
    Identity,
    Limits,
    MarketData,
    MassCanceled,
    Order,
    OrderUpdate,
    Position,
    Preview,
    RequestKey,
    Trades,
)
from toucan.core.values import Side, TradingLevel

__all__ = ["Toucan", "connect"]


def connect(
    address: str | None = None,
    *,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    tls: bool | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    certificate_file: str | os.PathLike[str] | None = None,
    key_file: str | os.PathLike[str] | None = None,
    account: str | None = None,
    session: str | None = None,
    timeout_s: float = TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    stream_silence_s: float = STREAM_SILENCE_S,
) -> Toucan:
    """As :func:`toucan.client.connect`; nothing is sent before the first request, and no loop need run."""
    access = access_from(
        address,
        token=token,
        token_file=token_file,
        tls=tls,
        ca_file=ca_file,
        certificate_file=certificate_file,
        key_file=key_file,
    )
    keys = Keys(random_session()) if session is None else Keys(session, time.time_ns() // 1000)
    return Toucan(
        Connection(
            access,
            keys,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            stream_silence_s=stream_silence_s,
            account=account,
        )
    )


class Toucan(StagedMethods):
    """A client; made by :func:`connect`, of the loop that uses it first. As :class:`toucan.client.Toucan`, with coroutines.

    Requests that change something go one after the other, in the order in which they were begun.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # --- orders ---

    async def buy(
        self,
        symbol: str,
        quantity: Number,
        *,
        is_confirmed: bool = False,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **options: Unpack[OrderOptions],
    ) -> Accepted:
        """As :meth:`toucan.client.Toucan.buy`."""
        return await self.submit(
            Side.BUY, symbol, quantity, is_confirmed=is_confirmed, key=key, timeout_s=timeout_s, **options
        )

    async def sell(
        self,
        symbol: str,
        quantity: Number,
        *,
        is_confirmed: bool = False,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **options: Unpack[OrderOptions],
    ) -> Accepted:
        """As :meth:`toucan.client.Toucan.sell`."""
        return await self.submit(
            Side.SELL, symbol, quantity, is_confirmed=is_confirmed, key=key, timeout_s=timeout_s, **options
        )

    async def submit(
        self,
        side: Side | str,
        symbol: str,
        quantity: Number,
        *,
        is_confirmed: bool = False,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **options: Unpack[OrderOptions],
    ) -> Accepted:
        """As :meth:`toucan.client.Toucan.submit`."""
        request = await self._order_message(side, symbol, quantity, options, is_confirmed=is_confirmed)
        return await self._connection.ask(calls.submit(request), timeout_s=timeout_s, key=key)

    async def preview(
        self, side: Side | str, symbol: str, quantity: Number, **options: Unpack[OrderOptions]
    ) -> Preview:
        """As :meth:`toucan.client.Toucan.preview`."""
        request = await self._order_message(side, symbol, quantity, options)
        instrument = await self.instrument(symbol)
        return await self._connection.ask(calls.preview(request, instrument))

    async def _order_message(
        self,
        side: Side | str,
        symbol: str,
        quantity: Number,
        options: OrderOptions,
        *,
        is_confirmed: bool = False,
    ) -> pb.SubmitOrderRequest:
        account = await self._connection.account(options.get("account"))
        return await self._connection.with_table(
            lambda table: calls.order_message(
                table, account, side, symbol, quantity, options, is_confirmed=is_confirmed
            )
        )

    async def cancel(
        self, order_id: int, *, key: RequestKey | None = None, timeout_s: float | None = None
    ) -> Done:
        """As :meth:`toucan.client.Toucan.cancel`."""
        return await self._connection.ask(calls.cancel(order_id), timeout_s=timeout_s, key=key)

    async def replace(
        self,
        order_id: int,
        *,
        symbol: str | None = None,
        is_confirmed: bool = False,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **options: Unpack[ReplaceOptions],
    ) -> Done:
        """As :meth:`toucan.client.Toucan.replace`."""
        if symbol is None:
            symbol = (await self.order(order_id)).symbol
        request = calls.replace_message(
            await self.instrument(symbol), order_id, options, is_confirmed=is_confirmed
        )
        return await self._connection.ask(calls.replace(request), timeout_s=timeout_s, key=key)

    async def mass_cancel(
        self,
        *,
        account: str = "",
        symbol: str = "",
        side: Side | str | None = None,
        owner: str = "",
        key: RequestKey | None = None,
        timeout_s: float | None = None,
    ) -> MassCanceled:
        """As :meth:`toucan.client.Toucan.mass_cancel`."""
        call = calls.mass_cancel(account, symbol, side, owner)
        return await self._connection.ask(call, timeout_s=timeout_s, key=key)

    async def ask_again(self, error: OutcomeUnknown, *, timeout_s: float | None = None) -> Any:
        """As :meth:`toucan.client.Toucan.ask_again`."""
        assert isinstance(error.request, calls.Call)
        return await self._connection.ask(error.request, timeout_s=timeout_s, key=error.key)

    # --- state ---

    async def order(self, order_id: int) -> Order:
        """As :meth:`toucan.client.Toucan.order`."""
        return await self._connection.ask(calls.order(order_id))

    async def orders(self, *, limit: int | None = None, **wanted: Unpack[OrderFilter]) -> list[Order]:
        """As :meth:`toucan.client.Toucan.orders`."""
        found: list[Order] = []
        token = ""
        while limit is None or len(found) < limit:
            size = ORDERS_PAGE_MAX if limit is None else limit - len(found)
            page = await self._connection.ask(calls.orders_page(wanted, size, token))
            found += page.orders
            token = page.next_token
            if not token:
                break
        return found[:limit]

    async def positions(
        self, *, accounts: Iterable[str] = (), symbols: Iterable[str] = (), by_trader: bool = False
    ) -> tuple[Position, ...]:
        """As :meth:`toucan.client.Toucan.positions`."""
        return await self._connection.ask(calls.positions(accounts, symbols, by_trader=by_trader))

    async def instruments(self) -> InstrumentTable:
        """As :meth:`toucan.client.Toucan.instruments`."""
        return await self._connection.table()

    async def instrument(self, symbol: str) -> Instrument:
        """As :meth:`toucan.client.Toucan.instrument`."""
        return await self._connection.with_table(lambda table: table.find(symbol))

    async def identity(self) -> Identity:
        """As :meth:`toucan.client.Toucan.identity`."""
        return await self._connection.identity()

    async def account(self, account: str | None = None) -> str:
        """As :meth:`toucan.client.Toucan.account`."""
        return await self._connection.account(account)

    # --- streams ---

    def watch_orders(
        self,
        *,
        after_seq: int | None = None,
        snapshot: bool = True,
        timeout_s: float | None = None,
        patience_s: float | None = None,
        **wanted: Unpack[OrderFilter],
    ) -> Watch[OrderBatch, OrderUpdate]:
        """As :meth:`toucan.client.Toucan.watch_orders`."""
        stream = OrderStream(calls.filter_to_wire(wanted), after_seq=after_seq, with_snapshot=snapshot)
        return Watch(self._connection, stream, timeout_s=timeout_s, patience_s=patience_s)

    def watch_positions(
        self,
        *,
        accounts: Iterable[str] = (),
        symbols: Iterable[str] = (),
        by_trader: bool = False,
        timeout_s: float | None = None,
        patience_s: float | None = None,
    ) -> Watch[PositionBatch, Position]:
        """As :meth:`toucan.client.Toucan.watch_positions`."""
        request = pb.WatchPositionsRequest(
            accounts=list(accounts), symbols=list(symbols), by_trader=by_trader
        )
        return Watch(self._connection, PositionStream(request), timeout_s=timeout_s, patience_s=patience_s)

    def watch_market_data(
        self,
        symbols: Iterable[str],
        *,
        depth: int = 0,
        rate_max: int = 0,
        timeout_s: float | None = None,
        patience_s: float | None = None,
    ) -> Watch[MarketDataBatch, MarketData]:
        """As :meth:`toucan.client.Toucan.watch_market_data`."""
        request = pb.WatchMarketDataRequest(symbols=list(symbols), depth=depth, rate_max=rate_max)
        return Watch(self._connection, MarketDataStream(request), timeout_s=timeout_s, patience_s=patience_s)

    def watch_trades(
        self,
        symbols: Iterable[str],
        *,
        before: int = 0,
        rate_max: int = 0,
        timeout_s: float | None = None,
        patience_s: float | None = None,
    ) -> Watch[TradesBatch, Trades]:
        """As :meth:`toucan.client.Toucan.watch_trades`."""
        stream = TradesStream(list(symbols), before, rate_max)
        return Watch(self._connection, stream, timeout_s=timeout_s, patience_s=patience_s)

    def drop_copy(
        self,
        *,
        after_seq: int | None = None,
        accounts: Iterable[str] = (),
        timeout_s: float | None = None,
        patience_s: float | None = None,
    ) -> Watch[DropCopyBatch, DropCopyEvent | DropCopyGap]:
        """As :meth:`toucan.client.Toucan.drop_copy`."""
        stream = DropCopyStream(accounts, after_seq=after_seq)
        return Watch(self._connection, stream, timeout_s=timeout_s, patience_s=patience_s)

    def session(
        self,
        name: str | None = None,
        *,
        cancel_on_disconnect_s: float | None = None,
        after_seq: int | None = None,
        timeout_s: float | None = None,
    ) -> Opening:
        """As :meth:`toucan.client.Toucan.session`; ``await`` it, or use it with ``async with``."""
        grace_ms = None if cancel_on_disconnect_s is None else round(cancel_on_disconnect_s * 1000)
        core = SessionCore(
            random_session() if name is None else name, cancel_on_disconnect_ms=grace_ms, after_seq=after_seq
        )
        return Opening(
            self._connection, core, timeout_s=self._connection.timeout_s if timeout_s is None else timeout_s
        )

    # --- risk ---

    async def limits(self, node: str = "") -> Limits:
        """As :meth:`toucan.client.Toucan.limits`."""
        return await self._connection.ask(calls.limits(node))

    async def set_trading_state(
        self,
        node: str,
        level: TradingLevel | str,
        reason: str,
        *,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
    ) -> Done:
        """As :meth:`toucan.client.Toucan.set_trading_state`."""
        call = calls.set_trading_state(node, level, reason)
        return await self._connection.ask(call, timeout_s=timeout_s, key=key)

    async def set_limit(
        self,
        node: str,
        limit: str,
        value: str | None,
        reason: str,
        *,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
    ) -> Done:
        """As :meth:`toucan.client.Toucan.set_limit`."""
        call = calls.set_limit(node, limit, value, reason)
        return await self._connection.ask(call, timeout_s=timeout_s, key=key)

    async def adjust_position(
        self,
        account: str,
        symbol: str,
        quantity: Number,
        price: Number,
        reason: str,
        *,
        trader: str = "",
        key: RequestKey | None = None,
        timeout_s: float | None = None,
    ) -> Done:
        """As :meth:`toucan.client.Toucan.adjust_position`."""
        call = calls.adjust_position(await self.instrument(symbol), account, trader, quantity, price, reason)
        return await self._connection.ask(call, timeout_s=timeout_s, key=key)

    # --- the client itself ---

    @property
    def request_session(self) -> str:
        """As :attr:`toucan.client.Toucan.request_session`."""
        return self._connection.session

    @property
    def timeout_s(self) -> float:
        """As :attr:`toucan.client.Toucan.timeout_s`."""
        return self._connection.timeout_s

    @property
    def last_key(self) -> RequestKey | None:
        """As :attr:`toucan.client.Toucan.last_key`."""
        return self._connection.last_key

    async def close(self) -> None:
        """As :meth:`toucan.client.Toucan.close`."""
        await self._connection.close()

    async def __aenter__(self) -> Toucan:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
