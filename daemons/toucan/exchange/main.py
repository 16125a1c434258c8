"""The exchange's process: start, serve until SIGTERM or SIGINT, end. Its state is in memory alone: each start is a new life."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from hostkit.heartbeat import Heartbeat
from hostkit.notify import notify
from toucan.exchange.core.background import BackgroundEvent
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.errors import ExchangeCannotListen, ExchangeConfigError
from toucan.exchange.limits import LISTEN_BACKLOG, OPERATOR_LINE_BYTES_MAX
from toucan.exchange.operator_channel import OperatorChannel
from toucan.exchange.replay_file import read_events
from toucan.exchange.server import ExchangeServer
from toucan.exchange.settings import ExchangeSettings
from toucan.market.listening import unix_listener

__all__ = ["run"]


def run(settings: ExchangeSettings) -> int:
    """Runs the exchange until it is told to stop; returns the exit code. Raises :class:`~toucan.errors.InvalidSettings` if it cannot start."""
    open_events = _replay_opener(settings)
    exchange = Exchange(
        settings.instruments,
        life=settings.life or secrets.token_hex(6),
        now_ns=time.time_ns(),
        reports_kept_max=settings.reports_kept_max,
    )
    server = ExchangeServer(
        exchange, stalled_s_max=settings.stalled_s_max, replay=settings.replay, open_events=open_events
    )
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(unix_listener(settings.listen))]
        if settings.tcp is not None:
            listeners.append(stack.enter_context(_tcp_listener(*settings.tcp)))
        feed = None
        if settings.market_data is not None:
            feed = stack.enter_context(unix_listener(settings.market_data))
        operator = None
        if settings.operator is not None:
            operator = stack.enter_context(unix_listener(settings.operator))
        return _run_loop(_serve(settings, server, listeners, feed, operator))


def _run_loop(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop where it is installed: it moves bytes in half the time."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


async def _serve(
    settings: ExchangeSettings,
    server: ExchangeServer,
    listeners: list[socket.socket],
    feed: socket.socket | None,
    operator: socket.socket | None,
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    channel = OperatorChannel(server)
    serving: list[asyncio.AbstractServer] = []
    for listener in listeners:
        make = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        serving.append(await make(server.accept, sock=listener, backlog=LISTEN_BACKLOG))
    if feed is not None:
        subscribers = server.market_data.accept
        serving.append(await loop.create_unix_server(subscribers, sock=feed, backlog=LISTEN_BACKLOG))
    if operator is not None:
        serving.append(
            await asyncio.start_unix_server(channel.serve, sock=operator, limit=OPERATOR_LINE_BYTES_MAX)
        )
    server.start()
    # What lives now lives until the end: keep it out of every collection.
    gc.collect()
    gc.freeze()
    notify(READY="1", STATUS=_status_line(server))
    beating = loop.create_task(Heartbeat(lambda: _status_line(server)).run())
    if settings.announces_ready:
        print(_ready_line(settings, server, listeners), flush=True)
    await stop.wait()
    notify(STOPPING="1")
    beating.cancel()
    for one in serving:
        one.close()
    await channel.close()
    await server.close()
    return 0


def _status_line(server: ExchangeServer) -> str:
    return f"serving; life {server.exchange.life}; {len(server.connections)} connections"


def _ready_line(settings: ExchangeSettings, server: ExchangeServer, listeners: list[socket.socket]) -> str:
    tcp = next(
        (listener.getsockname()[:2] for listener in listeners if listener.family != socket.AF_UNIX), None
    )
    return json.dumps(
        {
            "ready": True,
            "listen": str(settings.listen),
            "operator": None if settings.operator is None else str(settings.operator),
            "market_data": None if settings.market_data is None else str(settings.market_data),
            "tcp": None if tcp is None else f"{tcp[0]}:{tcp[1]}",
            "life": server.exchange.life,
            "pid": os.getpid(),
        }
    )


def _replay_opener(settings: ExchangeSettings) -> Callable[[], Iterator[BackgroundEvent]] | None:
    replay = settings.replay
    if replay is None:
        return None
    instrument = next((one for one in settings.instruments if one.symbol == replay.symbol), None)
    if instrument is None:
        known = ", ".join(one.symbol for one in settings.instruments)
        raise ExchangeConfigError(
            f"the recording's symbol {replay.symbol!r} is not traded; there are {known}"
        )
    if not 0 < replay.speed < float("inf"):
        raise ExchangeConfigError(f"a replay speed of {replay.speed}: it must be more than 0")
    path = replay.path
    read_events(path, instrument)  # a wrong file is noticed before anybody connects
    return lambda: read_events(path, instrument)


# ---------------------------------------------------------------- sockets


def _tcp_listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
    except OSError as error:
        raise ExchangeCannotListen(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another address"
        ) from error
