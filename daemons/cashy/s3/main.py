"""``cashy s3``: one worker process, from its settings to its end.

Several workers share one address: each has a listening socket of its own (SO_REUSEPORT), and the kernel deals connections out evenly. A supervisor
may keep these sockets and pass them on (socket activation): then what waits in one is served by the worker's successor, and not refused, as
it is when a worker closes a socket of its own. One socket for all workers was tried and rejected: who wakes first takes all that waits.

At SIGTERM a worker tells its clients with each answer that it is the last, goes on accepting until those that were there are gone, and then stops
accepting, ends the answers under way, and leaves; nothing of it needs cleaning up, since what it holds dies with it. A socket that is passed on keeps
what waits in it. One of the worker's own is first closed to new connections and emptied: the kernel resets what waits in a socket that closes, also
where others share its address.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

import uvloop

from cashy.client.session import AsyncSession
from cashy.errors import CannotStart, ConfigError, NotConnected
from cashy.metrics.daemon import metrics_served
from cashy.reloading import Reloading
from cashy.s3.connection import S3Connection
from cashy.s3.credentials import Credentials, load_credentials
from cashy.s3.limits import (
    LISTEN_BACKLOG,
    MASTER_START_LOOK_S,
    MASTER_START_S,
    READ_AHEAD_SHARES,
    STOP_GRACE_S,
    STOP_LAST_SHARE,
    STOP_LOOK_S,
)
from cashy.s3.stores import Stores
from cashy.s3.tls import ServerTls
from cashy.s3.tls_transport import TlsTransport
from cashy.s3.worker import Worker, WorkerOptions
from cashy.s3.writing import ToldToMaster
from cashy.settings import Settings
from hostkit.heartbeat import Heartbeat
from hostkit.log import get_logger
from hostkit.notify import listen_sockets, notify

__all__ = ["format_address", "open_listener", "run", "serve"]

# Descriptors that are not connections: arena, pin table, sockets, standard streams, the loop's own.
_OTHER_DESCRIPTORS = 64

#: Further ports that are tried for /metrics where the wanted one is taken: the most workers that a host is expected to have.
METRICS_FURTHER_PORTS = 64


def run(settings: Settings, load_again: Callable[[], Settings] | None = None) -> int:
    """Runs a worker until SIGTERM or SIGINT; gives the exit status. Raises CashyError if it cannot begin.

    ``load_again`` reads the settings once more, for SIGHUP; without it only files are read again that they name.
    """
    credentials = load_credentials(settings.s3.credentials, anonymous=settings.s3.anonymous)
    options = _options(settings)
    tls = _load_tls(settings)
    passed = listen_sockets()
    listeners = passed or [open_listener(settings.s3.listen.host, settings.s3.listen.port)]
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            serving = _Serving(settings, load_again or (lambda: settings), credentials, options, tls)
            runner.run(serving.until_signal(listeners, are_own=not passed))
    finally:
        for listener in listeners:
            listener.close()
    return 0


def _options(settings: Settings) -> WorkerOptions:
    s3 = settings.s3
    return WorkerOptions(
        connections_max=_allow_connections(s3.connections_max),
        head_timeout_s=s3.head_timeout_s,
        idle_timeout_s=s3.idle_timeout_s,
        send_timeout_s=s3.send_timeout_s,
        body_timeout_s=s3.body_timeout_s,
        regions=frozenset([s3.region] if s3.region else []),
        rights=s3.rights,
        rights_valid_s=s3.rights_valid_s,
        rights_grace_s=s3.rights_grace_s,
        domains=s3.domains,
    )


def _load_tls(settings: Settings) -> ServerTls | None:
    certificate, key = settings.s3.tls_certificate, settings.s3.tls_key
    return None if certificate is None or key is None else ServerTls(certificate, key)


class _Serving:
    """One worker's life on the loop, and what SIGHUP changes of it."""

    def __init__(
        self,
        settings: Settings,
        load_again: Callable[[], Settings],
        credentials: Credentials,
        options: WorkerOptions,
        tls: ServerTls | None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._options = options
        self._tls = tls
        self._log = get_logger(program="cashy s3")
        self._reloading = Reloading("s3", settings, load_again, self._apply, self._log)
        self._session: AsyncSession | None = None
        self._worker: Worker | None = None
        self._address = ""
        self._end_beating: Callable[[], object] = lambda: None

    async def until_signal(self, listeners: Sequence[socket.socket], *, are_own: bool) -> None:
        """Serves until SIGTERM or SIGINT."""
        settings, log = self._settings, self._log
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if not len(self._credentials) and not self._credentials.anonymous:
            log.warning("no request can be allowed: there are no credentials, and anonymous reads are off")
        stores = Stores(settings.origins)
        if not stores:
            log.warning(
                "only reads are answered: no origin is configured that other requests could be passed on to"
            )
        self._session = session = await self._connected(stop)
        try:
            worker = self._worker = Worker(
                session, self._credentials, self._fitted(self._options), stores=stores, writing=ToldToMaster(session)
            )  # fmt: skip
            async with metrics_served(
                settings.metrics.s3, "s3", worker.all_counters,
                instance=settings.instance.name, host=settings.cluster.host or "", further_ports=METRICS_FURTHER_PORTS,
            ) as metrics_at:  # fmt: skip
                loop.add_signal_handler(signal.SIGHUP, self._reloading)
                await serve(
                    worker, listeners, ready=lambda address: self._ready(address, metrics_at), stop=stop, tls=self._tls,
                    owns_listeners=are_own,
                )  # fmt: skip
                self._end_beating()
            log.info("stopped", **worker.counters)
        finally:
            await stores.close()
            await session.close()

    async def _connected(self, stop: asyncio.Event) -> AsyncSession:
        """A session with the master, which may be starting as well: host and daemons are often started, and upgraded, together."""
        give_up_at = asyncio.get_running_loop().time() + MASTER_START_S
        while True:
            try:
                return await AsyncSession.connect(str(self._settings.instance.socket), program="cashy s3")
            except NotConnected:
                if stop.is_set() or asyncio.get_running_loop().time() > give_up_at:
                    raise
            await asyncio.sleep(MASTER_START_LOOK_S)

    def _fitted(self, options: WorkerOptions) -> WorkerOptions:
        """Several readers at a time must find room in what this worker may pin."""
        if self._session is None or self._session.arena is None:
            return options
        share = self._session.arena.pin_bytes_max // READ_AHEAD_SHARES
        return replace(options, read_ahead_bytes=min(options.read_ahead_bytes, share))

    def _ready(self, address: str, metrics_at: dict[str, str]) -> None:
        self._address = address
        self._log.info(
            "serving S3",
            address=address,
            tls=self._tls is not None,
            keys=len(self._credentials),
            anonymous=self._credentials.anonymous,
            **({"metrics": metrics_at["X_CASHY_METRICS"]} if metrics_at else {}),
        )
        notify(READY="1", X_CASHY_S3=address, STATUS=f"serving S3 on {address}", **metrics_at)
        beating = asyncio.get_running_loop().create_task(Heartbeat(self._status_line).run())
        self._end_beating = beating.cancel

    def _status_line(self) -> str:
        count = len(self._worker.connections) if self._worker is not None else 0
        is_away = self._session is None or not self._session.is_connected
        master = "; the master is away" if is_away else ""
        return f"serving S3 on {self._address}; {count} connections{master}{self._reloading.note()}"

    # ------------------------------------------------------------ SIGHUP

    def _apply(self, settings: Settings) -> None:
        """Each file is read for itself: a slip in one does not keep another from being renewed."""
        assert self._worker is not None
        try:
            self._credentials = load_credentials(settings.s3.credentials, anonymous=settings.s3.anonymous)
        except ConfigError as error:
            self._log.error(
                "the credentials were not read again, those before stay in force", reason=error.message
            )
        self._worker.apply(self._credentials, self._fitted(_options(settings)))
        if self._tls is None:
            return
        try:
            self._tls.reload()
        except ConfigError as error:
            self._log.error(
                "the certificate was not read again, the one before stays in use", reason=error.message
            )
        else:
            self._log.info("the certificate was read again")


async def serve(
    worker: Worker,
    listeners: Sequence[socket.socket],
    *,
    ready: Callable[[str], None],
    stop: asyncio.Event,
    grace_s: float = STOP_GRACE_S,
    tls: ServerTls | None = None,
    owns_listeners: bool = True,
) -> None:
    """Serves S3 on ``listeners`` until ``stop`` is set, and closes them; ``ready`` is told ``HOST:PORT`` of the first.

    ``owns_listeners``: nobody else keeps them open.
    """
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
        give_up_at = loop.time() + grace_s
        await worker.see_off(grace_s * (1 - STOP_LAST_SHARE))
        if owns_listeners:
            for listener in listeners:
                listener.listen(0)  # what comes from now on goes to other workers' sockets
            await asyncio.sleep(STOP_LOOK_S)  # and what came before is taken in
        for server in servers:
            server.close()
        await worker.stop(give_up_at - loop.time())


def open_listener(host: str, port: int) -> socket.socket:
    """Binds ``host`` (a name or an address) and ``port`` (0: any free one), shared with other workers. Raises CannotStart."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotStart(f"cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setblocking(False)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise CannotStart(f"cannot listen on {host}:{port}: {error.strerror}") from None
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
