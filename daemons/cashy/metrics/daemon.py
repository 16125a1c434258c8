"""A daemon's ``/metrics`` while it runs, if its settings ask for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from cashy.metrics.table import Daemon
from cashy.setting_values import Address

__all__ = ["metrics_served"]


@asynccontextmanager
async def metrics_served(
    listen: Address | None,
    daemon: Daemon,
    snapshot: Callable[[], Mapping[str, int]],
    *,
    instance: str,
    host: str,
    further_ports: int = 0,
) -> AsyncIterator[dict[str, str]]:
    """Serves ``/metrics`` on ``listen`` (None: not at all); gives what to tell the supervisor: the address as bound. Raises ``ConfigError``.

    With ``further_ports`` as many ports above the given one are tried where it is taken.
    """
    if listen is None:
        yield {}
        return
    # Their packages are imported only by those who want them.
    from cashy.metrics.exposition import Exposition
    from cashy.metrics.server import serve

    exposition = Exposition(daemon, snapshot, instance=instance, host=host)
    server = await serve((listen.host, listen.port), exposition.render, further_ports=further_ports)
    try:
        yield {"X_CASHY_METRICS": server.address}
    finally:
        await server.close()
