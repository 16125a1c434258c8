"""The connections to one host of a store, and the requests that wait for one.

*Law.* At most ``connections_max`` connections exist, at most ``queue_max`` requests wait; more is SlowDown at
once, not memory. A request goes to the connection used last (others may grow cold and be closed), else a new
connection is made, else it waits in order. A host that answers SlowDown gets fewer requests at a time, and more
again as it answers (:class:`~cashy.core.backoff.Window`). One that answers nothing, several times in a row, is left alone for a moment, and
comes back by one request that tries (:mod:`cashy.core.breaker`).

A connection that a store closed while it was kept alive is not the request's fault: if no byte of an answer had
come, the request gets one retry at once, and the other idle connections, which were probably closed together
with it, are given up. A store that cannot be reached fails all that wait at once, unless some connection still works.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from cashy.core.backoff import Window
from cashy.core.breaker import ORIGIN_REST_MAX_S, Breaker
from cashy.errors import CashyError, InternalError, OriginTimeout, OriginUnavailable, SlowDown
from cashy.origin.dial import DialPlace, dial
from cashy.origin.s3_http import Exchange, StoreConnection

__all__ = ["PoolFigures", "PoolLimits", "StorePool"]

REFUSALS = (429, 503)
"""Answers that ask for fewer requests."""

CLOSE_GRACE_S = 1.0
"""How long ``close`` waits for the loop to close the sockets; it takes one turn of it."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Limits of a pool: counts, and times in seconds (see :class:`~cashy.origin.s3_http.Timeouts`)."""

    connections_max: int
    queue_max: int
    connect_s: float
    head_s: float
    read_s: float


@dataclass(slots=True)
class PoolFigures:
    """Totals since the start of all pools of one store: they outlive their pools."""

    requests_total: int = 0
    retries_total: int = 0
    slow_downs_total: int = 0
    bytes_total: int = 0
    timeouts_total: int = 0
    connections_opened_total: int = 0
    connect_failures_total: int = 0
    passed_over_total: int = 0
    cancels_drained_total: int = 0
    cancels_closed_total: int = 0


class StorePool:
    """Connections to one host. All calls on the loop's thread. ``on_unused`` is called whenever it has neither
    connections nor requests.
    """

    def __init__(
        self,
        name: str,
        place: DialPlace,
        limits: PoolLimits,
        figures: PoolFigures,
        on_unused: Callable[[StorePool], None] = lambda pool: None,
    ) -> None:
        self._name = name
        self.place = place
        self.limits = limits
        self.figures = figures
        self._on_unused = on_unused
        self._window = Window(limits.connections_max)
        self.breaker = Breaker(ORIGIN_REST_MAX_S)
        self._live: set[StoreConnection] = set()
        self._idle: dict[StoreConnection, None] = {}  # in the order of last use
        self._queue: OrderedDict[Exchange, None] = OrderedDict()
        self._connecting: set[asyncio.Task[None]] = set()
        self._sockets: set[StoreConnection] = set()  # until the loop has closed them, which is later than us
        self._all_closed = asyncio.Event()
        self._closed = False
        self._is_pumping = False

    @property
    def timeouts(self) -> PoolLimits:
        """For the connections."""
        return self.limits

    @property
    def is_idle(self) -> bool:
        """Nothing is under way or waits; there may be connections."""
        return not self._queue and not self._connecting and len(self._idle) == len(self._live)

    @property
    def connections(self) -> int:
        """Open ones."""
        return len(self._live)

    @property
    def connections_idle(self) -> int:
        """Of these, those that nobody uses."""
        return len(self._idle)

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    def submit(self, exchange: Exchange) -> None:
        """Sends the request, now or when a connection is free. ``ended`` never comes from inside this call."""
        self.figures.requests_total += 1
        if self._closed:
            self._end_later(exchange, OriginUnavailable(f"{self._name}: closed"))
            return
        if not self.breaker.ask(asyncio.get_running_loop().time()):
            self.figures.passed_over_total += 1
            text = f"{self.place.host} is left alone for a moment: it has not answered the last requests"
            self._end_later(exchange, OriginUnavailable(f"{self._name}: {text}"))
            return
        has_place = self._can_send() or (self._can_connect() and len(self._connecting) <= len(self._queue))
        if not has_place and len(self._queue) - len(self._connecting) >= self.limits.queue_max:
            text = (
                f"{self.limits.queue_max} requests to {self.place.host} are waiting already; try again later"
            )
            self._end_later(exchange, SlowDown(f"{self._name}: {text}"))
            return
        self._queue[exchange] = None
        self._pump()
        self._grow()

    def cancel(self, exchange: Exchange) -> None:
        """Gives an exchange up: ``ended`` does not come, and its buffer is free when this returns."""
        if exchange.is_over:
            return
        exchange.is_over = True
        self.breaker.given_up()
        self._queue.pop(exchange, None)
        connection, exchange.connection = exchange.connection, None
        if connection is None:
            return
        if connection.let_go():
            self.figures.cancels_drained_total += 1
        else:
            self.figures.cancels_closed_total += 1

    def close_idle(self) -> None:
        """Closes the connections that nobody uses."""
        for connection in tuple(self._idle):
            connection.close()

    async def close(self) -> None:
        """Closes all connections; what is under way or waits ends with OriginUnavailable."""
        self._closed = True
        closed = OriginUnavailable(f"{self._name}: closed")
        for task in tuple(self._connecting):
            task.cancel()
        for connection in tuple(self._live):
            exchange = connection.exchange
            connection.close()
            if exchange is not None:
                exchange.end(error=closed)
        self._fail_queue(closed)
        await asyncio.gather(*self._connecting, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_GRACE_S):
                while self._sockets:
                    self._all_closed.clear()
                    await self._all_closed.wait()
        except TimeoutError:
            pass  # the loop itself will close them

    # ------------------------------------------------------------ the connections' side

    def is_free(self, connection: StoreConnection) -> None:
        """Gives a free connection the next request, or keeps it."""
        self._idle[connection] = None
        self._pump()

    def is_made(self, connection: StoreConnection) -> None:
        """Counts a socket."""
        self._sockets.add(connection)

    def is_lost(self, connection: StoreConnection) -> None:
        """The loop has closed a socket."""
        self._sockets.discard(connection)
        self._all_closed.set()

    def is_gone(self, connection: StoreConnection) -> None:
        """Forgets a connection; a new one takes its place if requests wait."""
        self._live.discard(connection)
        self._idle.pop(connection, None)
        self._pump()  # of the window, a place has become free
        self._grow()
        self._tell_if_unused()

    def answered(self, status: int) -> None:
        """The head of an answer has come. Whatever it says, the host answers."""
        self.breaker.succeeded()
        if status in REFUSALS:
            self.figures.slow_downs_total += 1
            self._window.refused(self._busy, asyncio.get_running_loop().time())
        else:
            self._window.succeeded()

    def timed_out(self) -> None:
        """A request had no answer in time, or not all of it."""
        self.figures.timeouts_total += 1
        self.breaker.failed(asyncio.get_running_loop().time())

    def retry(self, exchange: Exchange) -> bool:
        """Puts an exchange at the head of the queue, for a fresh connection; once only."""
        if exchange.was_retried or self._closed:
            return False
        exchange.was_retried = True
        exchange.connection = None
        self.figures.retries_total += 1
        self.close_idle()
        self._queue[exchange] = None
        self._queue.move_to_end(exchange, last=False)
        self._grow()
        return True

    # ------------------------------------------------------------ sending and growing

    @property
    def _busy(self) -> int:
        return len(self._live) - len(self._idle)

    def _can_send(self) -> bool:
        return bool(self._idle) and self._busy < self._window.limit

    def _pump(self) -> None:
        """Sends what waits as far as connections are free. A connection that frees itself meanwhile is taken by the loop under way."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while self._queue and self._can_send():
                exchange, _ = self._queue.popitem(last=False)
                connection, _ = self._idle.popitem()
                connection.send(exchange)
        finally:
            self._is_pumping = False

    def _can_connect(self) -> bool:
        count = len(self._live) + len(self._connecting)
        return count < self.limits.connections_max and self._busy + len(self._connecting) < self._window.limit

    def _grow(self) -> None:
        """Starts a connection for each waiting request that has none coming, as far as the limit goes."""
        while len(self._connecting) < len(self._queue) and self._can_connect() and not self._closed:
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        where = f"{self.place.host}:{self.place.port}"
        try:
            connection = await dial(
                lambda: StoreConnection(self, loop),
                StoreConnection.discard,
                self.place,
                self.limits.connect_s,
            )
        except TimeoutError:
            text = f"no connection to {where} within {self.limits.connect_s:g} s"
            self._fail_connect(task, OriginTimeout(f"{self._name}: {text}"))
        except OSError as error:  # refused, no route, no such host, a bad certificate
            text = f"no connection to {where}: {error.strerror or error}"
            self._fail_connect(task, OriginUnavailable(f"{self._name}: {text}"))
        except Exception as error:  # whatever it is, those who wait must hear of it
            self._fail_connect(task, InternalError(f"{self._name}: connecting failed: {error!r}"))
        else:
            self._connected(task, connection)
        finally:
            self._connecting.discard(task)

    def _connected(self, task: asyncio.Task[None], connection: StoreConnection) -> None:
        self._connecting.discard(task)
        self.figures.connections_opened_total += 1
        if connection.is_closed:
            text = f"{self.place.host}:{self.place.port} closes connections as soon as they are made"
            self._fail_connect(task, OriginUnavailable(f"{self._name}: {text}"))
            return
        self._live.add(connection)
        self.is_free(connection)

    def _fail_connect(self, task: asyncio.Task[None], error: CashyError) -> None:
        self._connecting.discard(task)
        self.figures.connect_failures_total += 1
        self.breaker.failed(asyncio.get_running_loop().time())
        if not self._live:
            self._fail_queue(error)
        self._tell_if_unused()

    def _fail_queue(self, error: CashyError) -> None:
        waiting, self._queue = self._queue, OrderedDict()
        for exchange in waiting:
            exchange.end(error=type(error)(error.message))

    def _tell_if_unused(self) -> None:
        """In the loop's next turn: who lost the last connection may send its request again."""
        if not self._live:
            asyncio.get_running_loop().call_soon(self._check_unused)

    def _check_unused(self) -> None:
        if not self._live and not self._connecting and not self._queue:
            self._on_unused(self)

    def _end_later(self, exchange: Exchange, error: CashyError) -> None:
        asyncio.get_running_loop().call_soon(exchange.end, b"", error)
