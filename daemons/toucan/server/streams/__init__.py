"""Streams: what happens, sent to whoever watches, at a bounded cost whatever their number.

* :mod:`~toucan.server.streams.pump` lets a bounded number of streams write in each turn of the loop, so that a thousand of them delay no request;
* :mod:`~toucan.server.streams.outlet` is one stream's way out: its turn, its heartbeat, its end when its client is too slow;
* each topic has a feed, which follows the engine and keeps what was encoded once for all, and a stream, which is one watcher's part of it:
  :mod:`~toucan.server.streams.orders`, :mod:`~toucan.server.streams.positions`, :mod:`~toucan.server.streams.market`,
  :mod:`~toucan.server.streams.drop_copy`; a strategy's session is in :mod:`~toucan.server.streams.session`.
"""

from __future__ import annotations

__all__: list[str] = []
