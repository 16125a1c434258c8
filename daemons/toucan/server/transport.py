"""The way by which calls reach a front end: gRPC of its own, or another server's in front of the same methods.

A method is one of ``grpc``'s handlers over bytes (:class:`toucan.server.calls.Calls` makes them), whatever carries it: a transport calls
``unary_unary(bytes, context)`` or ``unary_stream(bytes, context)`` with a context of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from toucan.engine.port import Listener
from toucan.errors import CannotListen
from toucan.server.health import Health, add_reflection
from toucan.server.limits import (
    KEEPALIVE_TIME_S,
    KEEPALIVE_TIMEOUT_S,
    PING_INTERVAL_MIN_S,
    REQUEST_BYTES_MAX,
    RPCS_MAX,
    STOP_GRACE_S,
    STREAMS_PER_CONNECTION_MAX,
)
from toucan.server.tls import Tls

if TYPE_CHECKING:
    from toucan.server.metrics import Metrics
    from toucan.server.streams.book import StreamBook

__all__ = ["FrontSection", "GrpcTransport", "MakeTransport", "Methods", "Transport"]

#: The handler of each method, by service and method.
Methods = Mapping[str, Mapping[str, Any]]


class FrontSection(Protocol):
    """What every front end's section of the settings says."""

    @property
    def listen(self) -> str:
        """Address, host:port."""

    @property
    def share_port(self) -> bool:
        """Whether several may have it."""

    @property
    def metrics(self) -> str:
        """Address of /metrics; empty: none."""

    @property
    def local_user(self) -> str:
        """Whose every call is; empty: users are asked who they are."""

    @property
    def users_file(self) -> Path | None:
        """Where the users are; None with a local user."""

    @property
    def tls_client_ca(self) -> str:
        """The roots of clients' certificates; empty: a token says who somebody is."""

    def check(self) -> None:
        """Raises :class:`~toucan.errors.InvalidSettings`."""


class Transport(Protocol):
    """One way in. It is made with the front end and before anything is served."""

    #: What it wants to hear of the engine.
    listeners: Sequence[Listener]

    async def start(self, methods: Methods, *, is_serving: bool) -> str:
        """Serves from now on; gives the address as bound. ``is_serving``: an engine is followed. Raises :class:`~toucan.errors.CannotListen`."""

    async def refuse(self) -> None:
        """The front end is about to stop: whoever asks how it does is told so."""

    async def stop(self) -> None:
        """Lets calls under way end for a moment, and is gone."""


#: Makes a front end's transport; the book has its streams.
MakeTransport = Callable[["StreamBook", "Metrics"], Transport]


class GrpcTransport:
    """gRPC, with health and reflection."""

    def __init__(
        self, listen: str, *, share_port: bool, tls: Tls | None, services: Sequence[str], book: StreamBook
    ) -> None:
        self._listen = listen
        self._share_port = share_port
        self._tls = tls
        self._services = services
        self._book = book
        self._server: grpc.aio.Server | None = None
        self.health = Health(services, book)
        self.listeners: Sequence[Listener] = [self.health]

    async def start(self, methods: Methods, *, is_serving: bool) -> str:
        """See :class:`Transport`."""
        server = grpc.aio.server(options=_options(self._share_port), maximum_concurrent_rpcs=RPCS_MAX)
        server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(service, dict(table))
                for service, table in methods.items()
            )
        )
        self.health.add_to(server)
        add_reflection(server, self._services, self._book)
        try:
            port = self._bind(server)
        except RuntimeError as error:
            raise CannotListen(f"cannot listen on server.listen = {self._listen!r}: {error}") from None
        await self.health.set(is_serving)
        await server.start()
        self._server = server
        return f"{self._listen.rpartition(':')[0]}:{port}"

    def _bind(self, server: grpc.aio.Server) -> int:
        if self._tls is None:
            return server.add_insecure_port(self._listen)
        return server.add_secure_port(self._listen, self._tls.credentials)

    async def refuse(self) -> None:
        """See :class:`Transport`."""
        await self.health.stop()

    async def stop(self) -> None:
        """See :class:`Transport`."""
        assert self._server is not None
        await self._server.stop(STOP_GRACE_S)


def _options(share_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
        ("grpc.max_send_message_length", -1),  # what is sent is bounded by what makes it
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MIN_S * 1000),
        ("grpc.so_reuseport", int(share_port)),
    ]
