"""``toucan server``: one front end, from its settings to its end."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable

import structlog

from hostkit.notify import notify
from toucan.engine.port import EnginePort
from toucan.server.front_end import FrontEnd
from toucan.server.settings import ServerSection

__all__ = ["run"]

_log = structlog.get_logger("toucan.server")


async def run(
    section: ServerSection,
    port: EnginePort,
    *,
    ready: Callable[[FrontEnd], None] = lambda front_end: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serves until ``stop`` is set, or, without one, until SIGTERM or SIGINT. Raises :class:`~toucan.errors.InvalidSettings` if it cannot begin.

    ``port`` follows an engine, or will; ``ready`` is told when clients can connect. SIGHUP has the users file and the certificates read again.
    """
    loop = asyncio.get_running_loop()
    signals = []
    if stop is None:
        stop = asyncio.Event()
        signals = [signal.SIGTERM, signal.SIGINT]
    front_end = FrontEnd(section, port)
    try:
        for number in signals:
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, front_end.authority.ask_for_reload)
        async with front_end:
            gc.collect()
            gc.freeze()  # what lives now lives until the end: keep it out of every collection
            ready(front_end)
            notify(READY="1", STATUS=f"serving on {front_end.address}")
            await stop.wait()
            notify(STOPPING="1")
            _log.info("front end stops")
    finally:
        for number in (*signals, signal.SIGHUP):
            loop.remove_signal_handler(number)
