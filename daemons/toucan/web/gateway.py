"""The gateway put together: a front end (:class:`toucan.server.front_end.FrontEnd`) whose calls come by HTTP.

It attaches to the engine as ``toucan server`` does and has its own copy of the state, so a call takes no way round another process, a gateway that is
killed harms nobody else, and streams, entitlements and errors are those of gRPC because they are the same code.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import structlog
import uvicorn

from toucan.engine.port import EnginePort, Listener
from toucan.errors import CannotListen
from toucan.market.link import FeedLink
from toucan.server.errors import NotAuthenticated
from toucan.server.front_end import FrontEnd
from toucan.server.limits import STOP_GRACE_S
from toucan.server.metrics import Metrics
from toucan.server.streams.book import StreamBook
from toucan.server.transport import Methods
from toucan.web.app import WebApplication
from toucan.web.errors import WebCode
from toucan.web.limits import IDLE_CONNECTION_S
from toucan.web.metrics import WebMetrics
from toucan.web.protocol import BoundedHttp
from toucan.web.sessions import WebAuthority
from toucan.web.settings import WebSection
from toucan.web.static_files import read_static_files
from toucan.web.tls import WebTls

__all__ = ["HttpTransport", "make_gateway"]

_log = structlog.get_logger("toucan.web")
_BACKLOG = 2048
_TICK_S = 1.0


def make_gateway(
    section: WebSection,
    port: EnginePort,
    sockets: Sequence[socket.socket] = (),
    *,
    feeds: Mapping[str, FeedLink] | None = None,
) -> FrontEnd:
    """A gateway, to be started. ``sockets``: those that a supervisor holds for it. Raises :class:`~toucan.errors.InvalidSettings`."""
    section.check()
    for one in sockets:
        section.check_reach(_address_of(one))
    tls = WebTls(section.tls_certificate, section.tls_key) if section.has_tls else None
    authority = WebAuthority(section, tls)
    static = read_static_files(section.static)

    def make(book: StreamBook, metrics: Metrics) -> HttpTransport:
        application = WebApplication(section, authority, port, static, WebMetrics(metrics))

        async def read_page_again() -> None:
            application.static = await asyncio.to_thread(read_static_files, section.static)

        authority.on_reload = read_page_again
        return HttpTransport(section, application, authority, tls, sockets, book, metrics)

    return FrontEnd(section, port, feeds, authority=authority, transport=make)


class _Server(uvicorn.Server):
    """uvicorn's, in a process that has its own way with signals, and stops at once when it is told to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends :meth:`serve`, when requests under way have ended."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Each second the date of answers is another one."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpTransport:
    """See :class:`toucan.server.transport.Transport`."""

    def __init__(
        self, section: WebSection, application: WebApplication, authority: WebAuthority, tls: WebTls | None,
        sockets: Sequence[socket.socket], book: StreamBook, metrics: Metrics,
    ) -> None:  # fmt: skip
        self.listeners: Sequence[Listener] = ()
        self._section = section
        self._application = application
        self._authority = authority
        self._tls = tls
        self._sockets = list(sockets)
        self._book = book
        self._server: _Server | None = None
        metrics.gauge(
            "toucan_web_connections", "Connections of browsers and programs.", self._connection_count
        )
        self._tasks: list[asyncio.Task[Any]] = []

    def _connection_count(self) -> int:
        return 0 if self._server is None else len(self._server.server_state.connections)

    async def start(self, methods: Methods, *, is_serving: bool) -> str:
        """See :class:`toucan.server.transport.Transport`."""
        if not self._sockets:
            self._sockets = [_bound(self._section.listen, share_port=self._section.share_port)]
        address = _address_of(self._sockets[0])
        self._application.begin(methods, address)
        _forward_log()
        server = self._server = _Server(self._config())
        loop = asyncio.get_running_loop()
        serving = loop.create_task(server.serve(self._sockets))
        while not server.started:
            if serving.done():
                serving.result()
                raise CannotListen(f"cannot serve on web.listen = {self._section.listen!r}")
            await asyncio.sleep(0.001)
        self._tasks = [serving, loop.create_task(self._authority.follow_ended(self._end_streams))]
        return address

    def _config(self) -> uvicorn.Config:
        tls = self._tls

        def context(*_: object) -> ssl.SSLContext:
            assert tls is not None
            return tls.context

        return uvicorn.Config(
            self._application,
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=IDLE_CONNECTION_S,
            timeout_graceful_shutdown=int(STOP_GRACE_S),
            ssl_context_factory=None if tls is None else context,
            ssl_certfile=None if tls is None else self._section.tls_certificate,
        )

    def _end_streams(self) -> None:
        """Ends the streams of sessions that have ended."""
        for outlet in [*self._book.pump.outlets]:
            if not self._authority.lasts(outlet.identity):
                outlet.end(
                    NotAuthenticated("this session has ended; log in again", code=WebCode.SESSION_ENDED)
                )

    async def refuse(self) -> None:
        """See :class:`toucan.server.transport.Transport`."""

    async def stop(self) -> None:
        """See :class:`toucan.server.transport.Transport`."""
        assert self._server is not None
        serving, following = self._tasks
        following.cancel()
        self._server.stop()
        await asyncio.wait([serving, following])


def _address_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(listen: str, *, share_port: bool) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(share_port))
        made.bind((host, int(port)))
    except OSError as error:
        made.close()
        raise CannotListen(f"cannot listen on web.listen = {listen!r}: {error.strerror}") from None
    return made


class _Forward(logging.Handler):
    """uvicorn's words on what went wrong, as lines of our log."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.error("uvicorn", reason=record.getMessage(), exc_info=record.exc_info)


def _forward_log() -> None:
    """Only errors: what a client does wrong is no line of the log."""
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.handlers = [_Forward()]
