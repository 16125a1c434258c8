"""What tools ask of any gRPC server: whether it serves (``grpc.health.v1``), and what it offers (server reflection).

Both need no user: a load balancer has none, and the API is public. Their streams are few, so that nobody can take the places of those who have one.
The whole server and each service are SERVING as long as the front end follows an engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from toucan.server.errors import Exhausted
from toucan.server.streams.book import StreamBook
from toucan.server.translate.statuses import metadata

__all__ = ["Health", "add_reflection"]


class _HealthServicer(health.aio.HealthServicer):
    def __init__(self, book: StreamBook) -> None:
        super().__init__()
        self._book = book

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - gRPC's name
        try:
            with self._book.anonymous_place():
                await super().Watch(request, context)
        except Exhausted as error:
            await context.abort(error.status, error.text, trailing_metadata=metadata(error))


class _ReflectionServicer(reflection.aio.ReflectionServicer):
    def __init__(self, services: Sequence[str], book: StreamBook) -> None:
        super().__init__(service_names=services)
        self._book = book

    async def ServerReflectionInfo(  # type: ignore[override]  # noqa: N802 - gRPC's name; the stub takes it for a coroutine
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[Any]:
        try:
            with self._book.anonymous_place():
                responses: Any = super().ServerReflectionInfo(request_iterator, context)
                async for response in responses:
                    yield response
        except Exhausted as error:
            await context.abort(error.status, error.text, trailing_metadata=metadata(error))


class Health:
    """Tells whether the front end serves; a :class:`toucan.engine.port.Listener`."""

    def __init__(self, services: Sequence[str], book: StreamBook) -> None:
        self._services = ("", *services)
        self._servicer = _HealthServicer(book)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serves it."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, is_serving: bool) -> None:
        """Tells it to all who ask and watch."""
        status = health_pb2.HealthCheckResponse
        for service in self._services:
            await self._servicer.set(service, status.SERVING if is_serving else status.NOT_SERVING)

    async def stop(self) -> None:
        """Says for good that it does not serve any more."""
        self._is_stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.set(False)

    def on_market(self, symbols: Sequence[str]) -> None:
        """Changes nothing."""

    def on_resync(self) -> None:
        """Changes nothing."""

    def on_staleness(self, is_stale: bool) -> None:
        """See :class:`toucan.engine.port.Listener`."""
        if not self._is_stopping:
            task = asyncio.get_running_loop().create_task(self.set(not is_stale))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def add_reflection(server: grpc.aio.Server, services: Sequence[str], book: StreamBook) -> None:
    """Serves server reflection for these services and itself."""
    names = [*services, health.SERVICE_NAME, reflection.SERVICE_NAME]
    add: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server  # untyped
    add(_ReflectionServicer(names, book), server)
