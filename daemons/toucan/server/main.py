"""``toucan server`` and ``toucan web``: one front end, from its settings to its end."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Mapping, Sequence

import structlog

from hostkit.heartbeat import Heartbeat
from hostkit.notify import notify, notify_reloaded, notify_reloading
from toucan.engine.port import EnginePort
from toucan.errors import InvalidSettings
from toucan.market.link import FeedLink
from toucan.server.front_end import FrontEnd
from toucan.server.limits import ENGINE_LOOK_S, ENGINE_WAIT_S
from toucan.server.settings import ServerSection

__all__ = ["run", "serve"]

_log = structlog.get_logger("toucan.server")


async def run(
    section: ServerSection,
    port: EnginePort,
    *,
    feeds: Mapping[str, FeedLink] | None = None,
    ready: Callable[[FrontEnd], None] = lambda front_end: None,
    stop: asyncio.Event | None = None,
    differing: Callable[[], Sequence[str]] = tuple,
) -> None:
    """A front end over gRPC, as :func:`serve` serves it. ``port`` follows an engine, or will, and ``feeds`` the market data of venues, by name."""
    await serve(FrontEnd(section, port, feeds), ready=ready, stop=stop, differing=differing)


async def serve(
    front_end: FrontEnd,
    *,
    ready: Callable[[FrontEnd], None] = lambda front_end: None,
    stop: asyncio.Event | None = None,
    differing: Callable[[], Sequence[str]] = tuple,
) -> None:
    """Serves until ``stop`` is set, or, without one, until SIGTERM or SIGINT. Raises :class:`~toucan.errors.InvalidSettings` if it cannot begin.

    ``ready`` is told when clients can connect. SIGHUP has the users file and the certificates read again; ``differing`` names the settings that by
    then are others than those it runs with, or raises InvalidSettings.
    """
    loop = asyncio.get_running_loop()
    signals = []
    if stop is None:
        stop = asyncio.Event()
        signals = [signal.SIGTERM, signal.SIGINT]
    try:
        for number in signals:
            loop.add_signal_handler(number, stop.set)
        reloading = _Reloading(front_end, differing)
        loop.add_signal_handler(signal.SIGHUP, reloading)
        async with front_end:
            gc.collect()
            gc.freeze()  # what lives now lives until the end: keep it out of every collection
            ready(front_end)
            await _wait_for_engine(front_end.port, stop)
            notify(READY="1", STATUS=front_end.status_line())
            heartbeat = Heartbeat(lambda: front_end.status_line() + reloading.note())
            beating = loop.create_task(heartbeat.run())
            await stop.wait()
            beating.cancel()
            notify(STOPPING="1")
            _log.info("front end stops")
    finally:
        for number in (*signals, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _wait_for_engine(port: EnginePort, stop: asyncio.Event) -> None:
    """A supervisor is told that all is ready when orders can be sent, if that is soon; clients may connect before, and are told that it is away."""
    deadline = asyncio.get_running_loop().time() + ENGINE_WAIT_S
    while port.is_stale and not stop.is_set() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - a port has listeners for good only
        await asyncio.sleep(ENGINE_LOOK_S)


class _Reloading:
    """SIGHUP: what is read again, and what is only named."""

    def __init__(self, front_end: FrontEnd, differing: Callable[[], Sequence[str]]) -> None:
        self._front_end = front_end
        self._differing = differing
        self._tasks: set[asyncio.Task[None]] = set()
        self._need_restart: Sequence[str] = ()

    def __call__(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        notify_reloading()
        is_refused = True
        try:
            await self._front_end.authority.reload(is_asked=True)
            self._need_restart = self._differing()
            for setting in self._need_restart:
                _log.warning("this setting needs a restart", setting=setting)
            _log.info("settings read again", need_restart=list(self._need_restart))
            is_refused = False
        except InvalidSettings as error:
            _log.error("the settings were not read again, those before stay in force", reason=str(error))
        finally:
            notify_reloaded(is_refused=is_refused)

    def note(self) -> str:
        return f"; needs a restart: {', '.join(self._need_restart)}" if self._need_restart else ""
