"""The connections to one store, and the requests that wait for one.

*Law.* At most ``connections_max`` connections exist, at most ``queue_max`` requests wait; more is SlowDown at
once, not memory. A request goes to the connection used last (others may grow cold and be closed), else a new
connection is made, else it waits in order. A connection that a store closed while it was kept alive is not
the request's fault: if no byte of an answer had come, the request gets one retry on a fresh connection. A
store that cannot be reached fails all that wait at once, unless some connection still works.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from dataclasses import dataclass

from cashy.errors import CashyError, InternalError, OriginTimeout, OriginUnavailable, SlowDown
from cashy.origin.s3_http import Exchange, StoreConnection
from cashy.origin.s3_sign import Endpoint

__all__ = ["PoolLimits", "StorePool"]


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


class StorePool:
    """Connections to one endpoint. All calls on the loop's thread."""

    def __init__(self, name: str, endpoint: Endpoint, limits: PoolLimits, tls: ssl.SSLContext | None) -> None:
        self._name = name
        self._endpoint = endpoint
        self.limits = limits
        self._tls = tls
        self._live: set[StoreConnection] = set()
        self._idle: dict[StoreConnection, None] = {}  # in the order of last use
        self._queue: OrderedDict[Exchange, None] = OrderedDict()
        self._connecting: set[asyncio.Task[None]] = set()
        self._sockets: set[StoreConnection] = set()  # until the loop has closed them, which is later than us
        self._all_closed = asyncio.Event()
        self._closed = False
        self.bytes_total = 0
        self.timeouts_total = 0
        self._requests_total = 0
        self._retries_total = 0
        self._opened_total = 0
        self._connect_failures_total = 0
        self._drained_total = 0
        self._cut_off_total = 0

    @property
    def timeouts(self) -> PoolLimits:
        """For the connections."""
        return self.limits

    def submit(self, exchange: Exchange) -> None:
        """Sends the request, now or when a connection is free. ``ended`` never comes from inside this call."""
        self._requests_total += 1
        if self._closed:
            self._end_later(exchange, OriginUnavailable(f"{self._name}: closed"))
        elif self._idle:
            connection, _ = self._idle.popitem()
            connection.send(exchange)
        elif self._can_connect() and len(self._connecting) <= len(self._queue):
            self._queue[exchange] = None
            self._grow()
        elif len(self._queue) - len(self._connecting) >= self.limits.queue_max:
            text = f"{self._name}: {self.limits.queue_max} requests are waiting already; try again later"
            self._end_later(exchange, SlowDown(text))
        else:
            self._queue[exchange] = None

    def cancel(self, exchange: Exchange) -> None:
        """Gives an exchange up: ``ended`` does not come, and its buffer is free when this returns."""
        if exchange.is_over:
            return
        exchange.is_over = True
        self._queue.pop(exchange, None)
        connection, exchange.connection = exchange.connection, None
        if connection is None:
            return
        if connection.let_go():
            self._drained_total += 1
        else:
            self._cut_off_total += 1

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

    def counters(self) -> dict[str, int]:
        """Totals since the start; connections, idle ones and queued requests are of the moment."""
        return {
            "requests_total": self._requests_total,
            "retries_total": self._retries_total,
            "bytes_total": self.bytes_total,
            "timeouts_total": self.timeouts_total,
            "connections_opened_total": self._opened_total,
            "connect_failures_total": self._connect_failures_total,
            "cancels_drained_total": self._drained_total,
            "cancels_closed_total": self._cut_off_total,
            "connections": len(self._live),
            "connections_idle": len(self._idle),
            "queued": len(self._queue),
        }

    # ------------------------------------------------------------ the connections' side

    def is_free(self, connection: StoreConnection) -> None:
        """Gives a free connection the next request, or keeps it."""
        if self._queue:
            exchange, _ = self._queue.popitem(last=False)
            connection.send(exchange)
        else:
            self._idle[connection] = None

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
        self._grow()

    def retry(self, exchange: Exchange) -> bool:
        """Puts an exchange at the head of the queue, for a fresh connection; once only."""
        if exchange.was_retried or self._closed:
            return False
        exchange.was_retried = True
        exchange.connection = None
        self._retries_total += 1
        self._queue[exchange] = None
        self._queue.move_to_end(exchange, last=False)
        self._grow()
        return True

    # ------------------------------------------------------------ growing

    def _can_connect(self) -> bool:
        return len(self._live) + len(self._connecting) < self.limits.connections_max

    def _grow(self) -> None:
        """Starts a connection for each waiting request that has none coming, as far as the limit goes."""
        while len(self._connecting) < len(self._queue) and self._can_connect() and not self._closed:
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        connection = StoreConnection(self, loop)
        endpoint = self._endpoint
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(self.limits.connect_s):
                await loop.create_connection(lambda: connection, endpoint.host, endpoint.port, ssl=self._tls)
        except asyncio.CancelledError:
            connection.discard()
            raise
        except TimeoutError:
            connection.discard()
            text = f"no connection to {endpoint.authority} within {self.limits.connect_s:g} s"
            self._fail_connect(task, OriginTimeout(f"{self._name}: {text}"))
        except OSError as error:  # refused, no route, no such host, a bad certificate
            text = f"no connection to {endpoint.authority}: {error.strerror or error}"
            self._fail_connect(task, OriginUnavailable(f"{self._name}: {text}"))
        except Exception as error:  # whatever it is, those who wait must hear of it
            self._fail_connect(task, InternalError(f"{self._name}: connecting failed: {error!r}"))
        else:
            self._connected(task, connection)
        finally:
            self._connecting.discard(task)

    def _connected(self, task: asyncio.Task[None], connection: StoreConnection) -> None:
        self._connecting.discard(task)
        self._opened_total += 1
        if connection.is_closed:
            text = f"{self._endpoint.authority} closes connections as soon as they are made"
            self._fail_connect(task, OriginUnavailable(f"{self._name}: {text}"))
            return
        self._live.add(connection)
        self.is_free(connection)

    def _fail_connect(self, task: asyncio.Task[None], error: CashyError) -> None:
        self._connecting.discard(task)
        self._connect_failures_total += 1
        if not self._live:
            self._fail_queue(error)

    def _fail_queue(self, error: CashyError) -> None:
        waiting, self._queue = self._queue, OrderedDict()
        for exchange in waiting:
            exchange.end(error=type(error)(error.message))

    def _end_later(self, exchange: Exchange, error: CashyError) -> None:
        asyncio.get_running_loop().call_soon(exchange.end, b"", error)
