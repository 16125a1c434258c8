"""The client library: reads of cached objects as memory views, without a message where the host already has the bytes.

Law: imports no daemon and no event loop library; what it needs is in the distribution's own dependencies. In reading order:
:mod:`~cashy.client.session_core` (the protocol, sans-I/O), :mod:`~cashy.client.reader` (shared memory: the hit path),
:mod:`~cashy.client.gather` (one read: which blocks, which request next), then the pumps around them:
:mod:`~cashy.client.connection` and :mod:`~cashy.client.cache` for threads, :mod:`~cashy.client.session` and :mod:`~cashy.client.aio` for asyncio.
"""

from __future__ import annotations

__all__: list[str] = []
