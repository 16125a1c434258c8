"""The hosts of one store, each with its pool of connections.

*Law.* Path-style there is one host, and one per region; virtual-host style one per bucket. A pool exists while its host is used: with its
last connection it goes, and over ``HOSTS_MAX`` the one that was used least recently and has nothing under way. If all have, the
request is SlowDown. Limits of connections and waiting requests are per host, totals are counted over all.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict

from cashy.core.s3_address import BucketAddress
from cashy.errors import OriginUnavailable, SlowDown
from cashy.origin.dial import DialPlace
from cashy.origin.s3_http import Exchange
from cashy.origin.s3_pool import PoolFigures, PoolLimits, StorePool

__all__ = ["HOSTS_MAX", "StoreHosts"]

HOSTS_MAX = 64
"""Hosts of one store with connections at a time: with the default limits 2,048 sockets at most."""


class StoreHosts:
    """All pools of one store. ``tls`` is None for http."""

    def __init__(self, name: str, limits: PoolLimits, tls: ssl.SSLContext | None) -> None:
        self._name = name
        self.limits = limits
        self._tls = tls
        self._pools: OrderedDict[tuple[str, int], StorePool] = OrderedDict()
        self._closed = False
        self.figures = PoolFigures()

    def submit(self, address: BucketAddress, exchange: Exchange) -> None:
        """To the pool of the address's host. ``ended`` never comes from inside this call."""
        pool = self._pool_of(address)
        if pool is None:
            kind = OriginUnavailable if self._closed else SlowDown
            text = (
                "closed" if self._closed else f"requests to {HOSTS_MAX} hosts are under way; try again later"
            )
            asyncio.get_running_loop().call_soon(exchange.end, b"", kind(f"{self._name}: {text}"))
            return
        exchange.pool = pool
        pool.submit(exchange)

    def cancel(self, exchange: Exchange) -> None:
        """Gives an exchange up, wherever it is: ``ended`` does not come, and its buffer is free when this returns."""
        if exchange.pool is not None:
            exchange.pool.cancel(exchange)
        exchange.is_over = True

    async def close(self) -> None:
        """Closes all connections; what is under way or waits ends with OriginUnavailable."""
        self._closed = True
        await asyncio.gather(*[pool.close() for pool in tuple(self._pools.values())])

    def counters(self) -> dict[str, int]:
        """Totals since the start; connections, idle ones, queued requests and hosts are of the moment."""
        pools, totals = self._pools.values(), self.figures
        return {
            "requests_total": totals.requests_total,
            "retries_total": totals.retries_total,
            "slow_downs_total": totals.slow_downs_total,
            "bytes_total": totals.bytes_total,
            "timeouts_total": totals.timeouts_total,
            "connections_opened_total": totals.connections_opened_total,
            "connect_failures_total": totals.connect_failures_total,
            "passed_over_total": totals.passed_over_total,
            "hosts_resting": sum(not pool.breaker.is_closed for pool in pools),
            "cancels_drained_total": totals.cancels_drained_total,
            "cancels_closed_total": totals.cancels_closed_total,
            "connections": sum(pool.connections for pool in pools),
            "connections_idle": sum(pool.connections_idle for pool in pools),
            "queued": sum(pool.queued for pool in pools),
            "hosts": len(pools),
        }

    def _pool_of(self, address: BucketAddress) -> StorePool | None:
        key = address.host, address.port
        pool = self._pools.get(key)
        if pool is not None:
            self._pools.move_to_end(key)
            return pool
        if self._closed or not self._make_room():
            return None
        place = DialPlace(address.host, address.port, self._tls)
        pool = self._pools[key] = StorePool(self._name, place, self.limits, self.figures, self._drop)
        return pool

    def _make_room(self) -> bool:
        if len(self._pools) < HOSTS_MAX:
            return True
        unused = next((pool for pool in self._pools.values() if pool.is_idle), None)
        if unused is None:
            return False
        unused.close_idle()
        self._drop(unused)
        return True

    def _drop(self, pool: StorePool) -> None:
        key = pool.place.host, pool.place.port
        if self._pools.get(key) is pool and not self._closed:
            del self._pools[key]
