"""``cashy s3``: one worker process, from its settings to its end.

Several workers share one address (SO_REUSEPORT: the kernel deals connections out), or take over a supervisor's listening sockets. At SIGTERM a worker
stops accepting, ends the answers under way, and leaves; nothing of it needs cleaning up, since what it holds dies with it.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import uvloop

from cashy.client.session import AsyncSession
from cashy.errors import ConfigError
from cashy.metrics.daemon import metrics_served
from cashy.s3.connection import S3Connection
from cashy.s3.credentials import Credentials, load_credentials
from cashy.s3.limits import LISTEN_BACKLOG, READ_AHEAD_SHARES, STOP_GRACE_S
from cashy.s3.stores import Stores
from cashy.s3.tls import ServerTls
from cashy.s3.tls_transport import TlsTransport
from cashy.s3.worker import Worker, WorkerOptions
from cashy.s3.writing import ToldToMaster
from cashy.settings import Settings
from hostkit.log import get_logger
from hostkit.notify import listen_sockets, notify

__all__ = ["format_address", "open_listener", "run", "serve"]

# Descriptors that are not connections: arena, pin table, sockets, standard streams, the loop's own.
_OTHER_DESCRIPTORS = 64

#: Further ports that are tried for /metrics where the wanted one is taken: the most workers that a host is expected to have.
METRICS_FURTHER_PORTS = 64


def run(settings: Settings) -> int:
    """Runs a worker until SIGTERM or SIGINT; gives the exit status. Raises CashyError if it cannot begin."""
    credentials = load_credentials(settings.s3.credentials, anonymous=settings.s3.anonymous)
    options = WorkerOptions(
        connections_max=_allow_connections(settings.s3.connections_max),
        head_timeout_s=settings.s3.head_timeout_s,
        idle_timeout_s=settings.s3.idle_timeout_s,
        send_timeout_s=settings.s3.send_timeout_s,
        body_timeout_s=settings.s3.body_timeout_s,
        regions=frozenset([settings.s3.region] if settings.s3.region else []),
        rights=settings.s3.rights,
        rights_valid_s=settings.s3.rights_valid_s,
        domains=settings.s3.domains,
    )
    tls = _load_tls(settings)
    listeners = listen_sockets() or [open_listener(settings.s3.listen.host, settings.s3.listen.port)]
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run_until_signal(settings, listeners, credentials, options, tls))
    finally:
        for listener in listeners:
            listener.close()
    return 0


def _load_tls(settings: Settings) -> ServerTls | None:
    certificate, key = settings.s3.tls_certificate, settings.s3.tls_key
    return None if certificate is None or key is None else ServerTls(certificate, key)


async def _run_until_signal(
    settings: Settings,
    listeners: Sequence[socket.socket],
    credentials: Credentials,
    options: WorkerOptions,
    tls: ServerTls | None,
) -> None:
    log = get_logger(program="cashy s3")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if tls is not None:
        loop.add_signal_handler(signal.SIGHUP, _reload, tls, log)
    if not len(credentials) and not credentials.anonymous:
        log.warning("no request can be allowed: there are no credentials, and anonymous reads are off")

    stores = Stores(settings.origins)
    if not stores:
        log.warning(
            "only reads are answered: no origin is configured that other requests could be passed on to"
        )
    session = await AsyncSession.connect(str(settings.instance.socket), program="cashy s3")
    try:
        if session.arena is not None:  # several readers at a time must find room in what this worker may pin
            share = session.arena.pin_bytes_max // READ_AHEAD_SHARES
            options = replace(options, read_ahead_bytes=min(options.read_ahead_bytes, share))
        worker = Worker(session, credentials, options, stores=stores, writing=ToldToMaster(session))
        async with metrics_served(
            settings.metrics.s3, "s3", worker.all_counters,
            instance=settings.instance.name, host=settings.cluster.host or "", further_ports=METRICS_FURTHER_PORTS,
        ) as metrics_at:  # fmt: skip

            def ready(address: str) -> None:
                log.info(
                    "serving S3",
                    address=address,
                    tls=tls is not None,
                    keys=len(credentials),
                    anonymous=credentials.anonymous,
                    **({"metrics": metrics_at["X_CASHY_METRICS"]} if metrics_at else {}),
                )
                notify(READY="1", X_CASHY_S3=address, STATUS=f"serving S3 on {address}", **metrics_at)

            await serve(worker, listeners, ready=ready, stop=stop, tls=tls)
        log.info("stopped", **worker.counters)
    finally:
        await stores.close()
        await session.close()


def _reload(tls: ServerTls, log: Any) -> None:
    try:
        tls.reload()
    except ConfigError as error:
        log.error("the certificate was not read again, the one before stays in use", reason=error.message)
    else:
        log.info("the certificate was read again")


async def serve(
    worker: Worker,
    listeners: Sequence[socket.socket],
    *,
    ready: Callable[[str], None],
    stop: asyncio.Event,
    grace_s: float = STOP_GRACE_S,
    tls: ServerTls | None = None,
) -> None:
    """Serves S3 on ``listeners`` until ``stop`` is set, and closes them; ``ready`` is told ``HOST:PORT`` of the first."""
    loop = asyncio.get_running_loop()

    def connect() -> asyncio.BufferedProtocol:
        connection = S3Connection(worker)
        return connection if tls is None else TlsTransport(tls.context, connection)

    servers = [
        await loop.create_server(connect, sock=listener, backlog=LISTEN_BACKLOG) for listener in listeners
    ]
    try:
        ready(format_address(servers[0].sockets[0].getsockname()))
        await stop.wait()
    finally:
        notify(STOPPING="1")
        for server in servers:
            server.close()
        await worker.stop(grace_s)


def open_listener(host: str, port: int) -> socket.socket:
    """Binds ``host`` (a name or an address) and ``port`` (0: any free one), shared with other workers. Raises ConfigError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setblocking(False)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def format_address(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """``HOST:PORT`` of a socket's address, IPv6 in brackets."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _allow_connections(wanted: int) -> int:
    """Raises this process's limit of descriptors as far as needed and allowed; gives how many connections that leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + _OTHER_DESCRIPTORS
    if soft < need:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = min(wanted, soft - _OTHER_DESCRIPTORS)
    if allowed < wanted:
        get_logger(program="cashy s3").warning(
            "fewer connections than configured: the limit of open files is too low",
            connections_max=allowed,
            configured=wanted,
            limit_of_open_files=soft,
        )
    return allowed
