"""The client for threads: what a program or the command line says to toucan, as methods."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Unpack

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.client import calls
from toucan.client.calls import OrderFilter, ReplaceOptions
from toucan.client.connection import Connection, random_session
from toucan.client.endpoints import access_from
from toucan.client.errors import OutcomeUnknown
from toucan.client.exact import Number
from toucan.client.instruments import Instrument, InstrumentTable
from toucan.client.keys import Keys
from toucan.client.limits import CONNECT_TIMEOUT_S, ORDERS_PAGE_MAX, STREAM_SILENCE_S, TIMEOUT_S
from toucan.client.session import Session
from toucan.client.session_core import SessionCore
from toucan.client.staged import StagedMethods
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
from toucan.client.watch import Watch
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
    """A client of the server at ``address``; nothing is sent before the first request.

    ``address`` is ``HOST:PORT``, ``unix:PATH``, or several separated by commas, which are tried one after the other (default ``$TOUCAN_SERVER``,
    else ``127.0.0.1:7070``). Who one is: ``token`` or ``token_file`` (default ``$TOUCAN_TOKEN_FILE``), or a client certificate (``certificate_file``
    and ``key_file``). TLS is used if ``ca_file`` (default ``$TOUCAN_TLS_CA``) or a certificate is given, or with ``tls=True`` (and the system's
    authorities).

    ``account`` is that of orders that name none. ``session`` names this program's requests; left out, it is random, see
    :mod:`toucan.client.keys`. ``timeout_s`` is how long a request may take with all its resends, ``connect_timeout_s`` how long of that a connection
    is tried while nothing was sent. A stream on which nothing comes for ``stream_silence_s`` is begun anew; the server sends a
    heartbeat every 5 s. Raises :class:`~toucan.client.errors.InvalidRequest`.
    """
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
    """A client; made by :func:`connect`. All methods may be called from any thread; close it, or use it with ``with``.

    Methods that change something send their request until it is answered, under one key, so that it is carried out once at most, and one after the
    other; for many in flight there is :meth:`session`. ``key`` is for a request whose outcome was unknown: it is sent again under that key, and must
    be the same. They raise :class:`~toucan.client.errors.Denied`, :class:`~toucan.client.errors.Refused`,
    :class:`~toucan.client.errors.OutcomeUnknown` and what else :mod:`toucan.client.errors` lists. Reads see what the same client has changed before.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # --- orders ---

    def buy(
        self,
        symbol: str,
        quantity: Number,
        *,
        is_confirmed: bool = False,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **options: Unpack[OrderOptions],
    ) -> Accepted:
        """A new order to buy: ``buy("AAPL", 100, price="189.50", tif="ioc")``; ``price="market"`` for a market order.

        Options are those of :class:`~toucan.client.terms.OrderOptions`. Numbers are text, int or Decimal, never float. ``is_confirmed``: a person
        has seen which soft limits are passed. Returns when the order is durable and within all limits; what the venue says comes by
        :meth:`watch_orders`.
        """
        return self.submit(
            Side.BUY, symbol, quantity, is_confirmed=is_confirmed, key=key, timeout_s=timeout_s, **options
        )

    def sell(
        self,
        symbol: str,
        quantity: Number,
        *,
        is_confirmed: bool = False,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **options: Unpack[OrderOptions],
    ) -> Accepted:
        """A new order to sell; as :meth:`buy`."""
        return self.submit(
            Side.SELL, symbol, quantity, is_confirmed=is_confirmed, key=key, timeout_s=timeout_s, **options
        )

    def submit(
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
        """A new order; as :meth:`buy`."""
        request = self._order_message(side, symbol, quantity, options, is_confirmed=is_confirmed)
        return self._connection.ask(calls.submit(request), timeout_s=timeout_s, key=key)

    def preview(
        self, side: Side | str, symbol: str, quantity: Number, **options: Unpack[OrderOptions]
    ) -> Preview:
        """What :meth:`submit` would be answered, without doing it."""
        request = self._order_message(side, symbol, quantity, options)
        instrument = self.instrument(symbol)
        return self._connection.ask(calls.preview(request, instrument))

    def _order_message(
        self,
        side: Side | str,
        symbol: str,
        quantity: Number,
        options: OrderOptions,
        *,
        is_confirmed: bool = False,
    ) -> pb.SubmitOrderRequest:
        account = self._connection.account(options.get("account"))
        return self._connection.with_table(
            lambda table: calls.order_message(
                table, account, side, symbol, quantity, options, is_confirmed=is_confirmed
            )
        )

    def cancel(self, order_id: int, *, key: RequestKey | None = None, timeout_s: float | None = None) -> Done:
        """Cancels what is left of an order; that it is cancelled, the venue says."""
        return self._connection.ask(calls.cancel(order_id), timeout_s=timeout_s, key=key)

    def replace(
        self,
        order_id: int,
        *,
        symbol: str | None = None,
        is_confirmed: bool = False,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **options: Unpack[ReplaceOptions],
    ) -> Done:
        """Changes ``quantity`` (what is filled included), ``price`` or ``stop_price`` of an open order.

        ``symbol``: the order's; left out, it is asked for first.
        """
        if symbol is None:
            symbol = self.order(order_id).symbol
        request = calls.replace_message(self.instrument(symbol), order_id, options, is_confirmed=is_confirmed)
        return self._connection.ask(calls.replace(request), timeout_s=timeout_s, key=key)

    def mass_cancel(
        self,
        *,
        account: str = "",
        symbol: str = "",
        side: Side | str | None = None,
        owner: str = "",
        key: RequestKey | None = None,
        timeout_s: float | None = None,
    ) -> MassCanceled:
        """Cancels every open order that matches everything given; nothing given: all that the caller may cancel."""
        call = calls.mass_cancel(account, symbol, side, owner)
        return self._connection.ask(call, timeout_s=timeout_s, key=key)

    def ask_again(self, error: OutcomeUnknown, *, timeout_s: float | None = None) -> Any:
        """Sends the request again whose outcome was unknown, under its key, and returns what it would have returned.

        :class:`~toucan.client.errors.Refused` with the code ``REQUEST_SUPERSEDED`` says that it never was and never will be carried out.
        """
        assert isinstance(error.request, calls.Call)
        return self._connection.ask(error.request, timeout_s=timeout_s, key=error.key)

    # --- state ---

    def order(self, order_id: int) -> Order:
        """One order as it stands."""
        return self._connection.ask(calls.order(order_id))

    def orders(self, *, limit: int | None = None, **wanted: Unpack[OrderFilter]) -> list[Order]:
        """Orders that match everything given, the newest first; at most ``limit``. :class:`~toucan.client.calls.OrderFilter` lists the filters."""
        found: list[Order] = []
        token = ""
        while limit is None or len(found) < limit:
            size = ORDERS_PAGE_MAX if limit is None else limit - len(found)
            page = self._connection.ask(calls.orders_page(wanted, size, token))
            found += page.orders
            token = page.next_token
            if not token:
                break
        return found[:limit]

    def positions(
        self, *, accounts: Iterable[str] = (), symbols: Iterable[str] = (), by_trader: bool = False
    ) -> tuple[Position, ...]:
        """Positions of the accounts (none given: all that the caller may see), each trader's beside them if ``by_trader``."""
        return self._connection.ask(calls.positions(accounts, symbols, by_trader=by_trader))

    def instruments(self) -> InstrumentTable:
        """The instrument table as it is now."""
        return self._connection.table()

    def instrument(self, symbol: str) -> Instrument:
        """One instrument; raises :class:`~toucan.client.errors.UnknownInstrument`."""
        return self._connection.with_table(lambda table: table.find(symbol))

    def identity(self) -> Identity:
        """Who the caller is and what he may do; asked for once."""
        return self._connection.identity()

    def account(self, account: str | None = None) -> str:
        """The account that is meant: the one given, or the client's, or the user's only one; raises :class:`~toucan.client.errors.InvalidRequest`."""
        return self._connection.account(account)

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
        """How the orders stand that match, and then every change, without a gap or a repeat.

        ``snapshot=False``: only changes from now on. ``after_seq``: only what came after that event, if the server still keeps it; else the
        snapshot. See :class:`~toucan.client.watch.Watch` for the rest.
        """
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
        """All positions, and then each that changes."""
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
        """Top of book and last trade; ``depth`` (at most 20) levels of each side; no more than ``rate_max`` (at most 20) messages a second."""
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
        """Trades, as they are made, busted and corrected; to begin with the newest ``before`` (at most 100) of each symbol.

        None is left out silently: what this client, or a connection that was lost, was too slow for is counted in ``left_out``.
        """
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
        """Everything that happens to the accounts, denials too, from now on or from after an event."""
        stream = DropCopyStream(accounts, after_seq=after_seq)
        return Watch(self._connection, stream, timeout_s=timeout_s, patience_s=patience_s)

    def session(
        self,
        name: str | None = None,
        *,
        cancel_on_disconnect_s: float | None = None,
        after_seq: int | None = None,
        timeout_s: float | None = None,
    ) -> Session:
        """Opens a strategy's session: many requests in flight, and updates of its own orders on the same stream.

        ``name``: the same again after a restart goes on where it stopped; left out, it is random. ``cancel_on_disconnect_s``: if the stream breaks
        off and is not back after so many seconds, the server cancels the session's orders; None: they stay. ``after_seq``: updates from
        after that event. ``timeout_s`` is for the opening and for each request. Raises what the server says to it.
        """
        timeout_s = self._connection.timeout_s if timeout_s is None else timeout_s
        grace_ms = None if cancel_on_disconnect_s is None else round(cancel_on_disconnect_s * 1000)
        core = SessionCore(
            random_session() if name is None else name, cancel_on_disconnect_ms=grace_ms, after_seq=after_seq
        )
        session = Session(self._connection, core, timeout_s=timeout_s)
        session.wait_until_open(timeout_s)
        return session

    # --- risk ---

    def limits(self, node: str = "") -> Limits:
        """The risk tree from ``node`` down with its limits and what is used of them; empty: all that the caller may see."""
        return self._connection.ask(calls.limits(node))

    def set_trading_state(
        self,
        node: str,
        level: TradingLevel | str,
        reason: str,
        *,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
    ) -> Done:
        """Sets a node's level: the kill switch ("block-new", "cancel-all", "freeze"), and "normal" to enable it again."""
        call = calls.set_trading_state(node, level, reason)
        return self._connection.ask(call, timeout_s=timeout_s, key=key)

    def set_limit(
        self,
        node: str,
        limit: str,
        value: str | None,
        reason: str,
        *,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
    ) -> Done:
        """Changes one limit at run time; None takes it away."""
        call = calls.set_limit(node, limit, value, reason)
        return self._connection.ask(call, timeout_s=timeout_s, key=key)

    def adjust_position(
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
        """Adds to a position (negative: takes away) at a price: a transfer, an opening balance."""
        call = calls.adjust_position(self.instrument(symbol), account, trader, quantity, price, reason)
        return self._connection.ask(call, timeout_s=timeout_s, key=key)

    # --- the client itself ---

    @property
    def request_session(self) -> str:
        """The session that this client's keys are of."""
        return self._connection.session

    @property
    def timeout_s(self) -> float:
        """How long a request may take unless it says otherwise; s."""
        return self._connection.timeout_s

    @property
    def last_key(self) -> RequestKey | None:
        """Of the last request that changes something, answered or not: what an interrupted program may want to ask again."""
        return self._connection.last_key

    def close(self) -> None:
        """Ends the connection and all streams."""
        self._connection.close()

    def __enter__(self) -> Toucan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
