"""Calls by Connect, gRPC-Web and JSON: the front end's methods behind connectrpc (https://connectrpc.com/docs/protocol).

The methods are those of :class:`toucan.server.front_end.FrontEnd`, called as gRPC calls them: with bytes, and a context of which they want little. So
there is one implementation of each, and what is new in ``toucan server`` is new here. A session's stream has both directions at once, which browsers
cannot have over HTTP; it is left to gRPC.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NoReturn

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from protobuf.wkt import Any as WireAny
from protobuf.wkt import Struct

from aviary.toucan.v1 import types_pb2 as tp
from toucan.server.translate.statuses import DETAILS_KEY
from toucan.server.transport import Methods
from toucan.web.codecs import Answer, BinaryCodec, JsonCodec
from toucan.web.exchange import Exchange
from toucan.web.limits import ABORT_GRACE_S, BODY_BYTES_MAX

__all__ = ["CallContext", "connect_application", "exchange_of_this_call"]

#: Of the task that answers a request: connectrpc hands on its headers, and not the request.
exchange_of_this_call: contextvars.ContextVar[Exchange] = contextvars.ContextVar("exchange_of_this_call")

_KNOWN_DETAILS = (tp.Refusal, tp.Denial, error_details_pb2.BadRequest)


class CallContext:
    """What the methods need of a ``grpc.aio.ServicerContext``."""

    def __init__(self, exchange: Exchange, request: RequestContext[Any, Any]) -> None:
        self.exchange = exchange
        self._request = request
        #: What was written and not yet taken; what tells that it has left; and what wakes the one who takes.
        self._message: bytes | None = None
        self._has_left: asyncio.Future[None] | None = None
        self._looking: asyncio.Future[None] | None = None

    def time_remaining(self) -> float | None:
        """Until the client's deadline (``connect-timeout-ms``, ``grpc-timeout``); None: it has none."""
        timeout_ms = self._request.timeout_ms
        return None if timeout_ms is None else timeout_ms / 1000

    def auth_context(self) -> Mapping[str, list[bytes]]:
        """Browsers show no certificates."""
        return {}

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The one header that says who somebody is."""
        header = self.exchange.headers.get("authorization")
        return () if header is None else (("authorization", header),)

    async def abort(
        self, status: grpc.StatusCode, text: str, trailing_metadata: tuple[tuple[str, bytes], ...] = ()
    ) -> NoReturn:
        """Ends the call with an error."""
        raise ConnectError(_CODES[status], text, _details(trailing_metadata))

    # ------------------------------------------------------------ streams

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        """The answer begins with its first message, which comes at once."""

    async def write(self, message: bytes) -> None:
        """Sends a message; waits until it has left, as far as the client's window lets it."""
        self._message = message
        self._has_left = asyncio.get_running_loop().create_future()
        self._wake()
        await self._has_left

    def _wake(self, _: object = None) -> None:
        if self._looking is not None and not self._looking.done():
            self._looking.set_result(None)

    async def messages(self, running: asyncio.Task[None]) -> AsyncIterator[bytes]:
        """What a method writes, until it has ended. Each has left when the next one is asked for."""
        running.add_done_callback(self._wake)
        while True:
            if self._message is None and not running.done():
                self._looking = asyncio.get_running_loop().create_future()
                await self._looking
            message, self._message = self._message, None
            if message is None or running.done():
                return
            yield message
            if self._has_left is not None and not self._has_left.done():
                self._has_left.set_result(None)


def _details(trailing_metadata: tuple[tuple[str, bytes], ...]) -> list[ErrorDetail]:
    found: list[ErrorDetail] = []
    for key, value in trailing_metadata:
        if key == DETAILS_KEY:
            found += [_Readable(detail) for detail in status_pb2.Status.FromString(value).details]
    return found


class _Readable(ErrorDetail):
    """A detail that is in JSON answers as JSON, too (``debug``), for clients without protobuf."""

    def __init__(self, detail: Any) -> None:
        super().__init__(WireAny(type_url=detail.type_url, value=detail.value))
        self._text = _json_of_detail(detail)

    def value(self, *_: object) -> Any:
        """See ErrorDetail."""
        return None if self._text is None else Struct.from_json(self._text)


def _json_of_detail(detail: Any) -> str | None:
    for kind in _KNOWN_DETAILS:
        if detail.Is(kind.DESCRIPTOR):
            return json_format.MessageToJson(kind.FromString(detail.value))
    return None


_CODES: dict[grpc.StatusCode, Code] = {
    status: Code.CANCELED if status is grpc.StatusCode.CANCELLED else Code(status.name.lower())
    for status in grpc.StatusCode
    if status is not grpc.StatusCode.OK
}


def _break_off_later(exchange: Exchange) -> None:
    """A stream is over: if its client does not take even that, its connection is."""

    def break_off() -> None:
        if not exchange.is_over:
            exchange.break_off()

    asyncio.get_running_loop().call_later(ABORT_GRACE_S, break_off)


# ---------------------------------------------------------------- endpoints


class _Application(ConnectASGIApplication[Methods]):
    @property
    def path(self) -> str:
        return "/"


def connect_application(files: Sequence[FileDescriptor], methods: Methods) -> tuple[Any, frozenset[str]]:
    """The ASGI application of all methods of these files' services, and their paths."""
    endpoints: dict[str, Any] = {}
    for service in itertools.chain.from_iterable(file.services_by_name.values() for file in files):
        handlers = methods.get(service.full_name, {})
        for method in service.methods:
            handler = handlers.get(method.name)
            if handler is not None and not method.client_streaming:
                endpoints[f"/{service.full_name}/{method.name}"] = _endpoint(method, handler)
    application = _Application(
        service=methods,
        endpoints=lambda _: endpoints,
        read_max_bytes=BODY_BYTES_MAX,
        # Not compressed: a secret beside text that somebody else chooses must not be (BREACH), and messages are small.
        compressions=(),
        codecs=(BinaryCodec(), JsonCodec()),
    )
    return application, frozenset(endpoints)


def _endpoint(method: MethodDescriptor, handler: Any) -> Any:
    kind = message_factory.GetMessageClass(method.output_type)
    info = MethodInfo(
        name=method.name,
        service_name=method.containing_service.full_name,
        input=message_factory.GetMessageClass(method.input_type),
        output=kind,
        # Calls by GET could be made by any link.
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM if method.server_streaming else StreamType.UNARY,
    )

    async def unary(data: Any, request: RequestContext[Any, Any]) -> Any:
        context = CallContext(exchange_of_this_call.get(), request)
        return Answer(kind, await handler.unary_unary(data, context), is_shared=False)

    async def stream(data: Any, request: RequestContext[Any, Any]) -> AsyncIterator[Any]:
        context = CallContext(exchange_of_this_call.get(), request)
        running = asyncio.ensure_future(handler.unary_stream(data, context))
        running.add_done_callback(lambda _: _break_off_later(context.exchange))
        try:
            async for message in context.messages(running):
                yield Answer(kind, message, is_shared=True)
            await running
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await running

    return Endpoint.server_stream(info, stream) if method.server_streaming else Endpoint.unary(info, unary)
