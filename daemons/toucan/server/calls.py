"""What all calls have in common: who asks, bytes in and out, one way to fail, a line in the log, a count.

Handlers get a :class:`Call` and a message and give a message or raise a :class:`~toucan.server.errors.CallError`. Messages are read here and not by
gRPC, whose own answer to what is no message is an internal error. Tokens are never logged: nothing of a call's metadata is.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import grpc
import structlog
from google.protobuf.message import Message

from toucan.core.order import Client
from toucan.server.entitlements import User
from toucan.server.errors import CallError
from toucan.server.identity import Authority, Identity
from toucan.server.limits import ASK_TIMEOUT_S, DEADLINE_MARGIN_S
from toucan.server.metrics import Metrics
from toucan.server.translate.from_wire import Key, parse
from toucan.server.translate.statuses import metadata

__all__ = ["Call", "Calls", "Lines", "StreamContext"]

_log = structlog.get_logger("toucan.server")
_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)


class StreamContext(Protocol):
    """What handlers of streams need of a ``grpc.aio.ServicerContext``."""

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        """Begins the answer."""

    async def write(self, message: bytes) -> None:
        """Sends a message; waits until the client's window has room for it."""

    async def read(self) -> Any:
        """The client's next message, or ``grpc.aio.EOF``."""


class Call:
    """One call. :attr:`facts` are for the log: what was asked for, never any secret."""

    def __init__(self, method: str, identity: Identity, context: Any) -> None:
        self.method = method
        self.identity = identity
        self.context: StreamContext = context
        self.facts: dict[str, object] = {}
        self._now = asyncio.get_running_loop().time
        remaining_s = context.time_remaining()
        self._ends_at = self._now() + (
            ASK_TIMEOUT_S if remaining_s is None else remaining_s - DEADLINE_MARGIN_S
        )

    @property
    def user(self) -> User:
        """Who asks."""
        return self.identity.user

    @property
    def timeout_s(self) -> float:
        """What is left of the deadline."""
        return max(0.0, self._ends_at - self._now())

    def client(self, key: Key) -> Client:
        """The client of a request, and a note of it for the log."""
        self.facts["session"], self.facts["number"] = key.session, key.number
        return Client(self.user.name, key.session)


class Lines(enum.Enum):
    """Which calls of a method are a line of the log, beside those that fail unexpectedly. All of them are counted."""

    #: None: they change nothing.
    NONE = enum.auto()
    #: What was not carried out; the rest at level debug. It is in the journal, with who and when, and they are thousands a second.
    FAILURES = enum.auto()
    #: Each.
    ALL = enum.auto()


class Calls:
    """Makes gRPC's handlers of ours."""

    def __init__(self, authority: Authority, metrics: Metrics) -> None:
        self._authority = authority
        self._metrics = metrics
        # Bound once: the logger of the module is bound anew for every line, written or not.
        self._log = _log.bind()
        self._is_verbose = self._log.is_enabled_for(logging.DEBUG)

    def unary(
        self,
        method: str,
        kind: type[_Request],
        handle: Callable[[Call, _Request], Awaitable[_Response]],
        *,
        lines: Lines = Lines.NONE,
    ) -> Any:
        """A call with one answer."""

        async def run(data: bytes, context: Any) -> bytes:
            loop = asyncio.get_running_loop()
            began = loop.time()
            outcome, call = "OK", None
            try:
                call = Call(method, self._authority.identify(context), context)
                answer = await handle(call, parse(kind, data))
                return answer.SerializeToString()
            except CallError as error:
                outcome = error.outcome
                await _abort(context, error)
            except asyncio.CancelledError:
                outcome = "CANCELLED"
                raise
            except Exception:
                outcome = "INTERNAL"
                _log.exception("a call failed", method=method)
                await _abort(context, _bug())
            finally:
                seconds = loop.time() - began
                self._metrics.answered(method, outcome, seconds)
                if self._has_line(lines, outcome):
                    facts = {} if call is None else {"user": call.user.name, **call.facts}
                    self._write_line(lines, method, facts, outcome, seconds)
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(run)

    def note(self, method: str, facts: dict[str, object], outcome: str, seconds: float) -> None:
        """Counts a request of a session's stream, and writes a line of the log if it was not carried out."""
        self._metrics.answered(method, outcome, seconds)
        if self._has_line(Lines.FAILURES, outcome):
            self._write_line(Lines.FAILURES, method, facts, outcome, seconds)

    def _has_line(self, lines: Lines, outcome: str) -> bool:
        return lines is Lines.ALL or (lines is Lines.FAILURES and (outcome != "OK" or self._is_verbose))

    def _write_line(
        self, lines: Lines, method: str, facts: dict[str, object], outcome: str, seconds: float
    ) -> None:
        is_news = lines is Lines.ALL or outcome != "OK"
        write = self._log.info if is_news else self._log.debug
        write(method, **facts, outcome=outcome, latency_ms=round(seconds * 1e3, 3))

    def server_stream(
        self, method: str, kind: type[_Request], handle: Callable[[Call, _Request], Awaitable[None]]
    ) -> Any:
        """A call whose answers are a stream; the handler writes bytes to the call's context."""

        async def run(data: bytes, context: Any) -> None:
            async def handle_parsed(call: Call) -> None:
                await handle(call, parse(kind, data))

            await self._stream(method, context, handle_parsed)

        return grpc.unary_stream_rpc_method_handler(run)

    def both_streams(self, method: str, handle: Callable[[Call], Awaitable[None]]) -> Any:
        """A call with a stream each way; the handler reads and writes bytes."""

        async def run(_: object, context: Any) -> None:
            await self._stream(method, context, handle)

        return grpc.stream_stream_rpc_method_handler(run)

    async def _stream(self, method: str, context: Any, handle: Callable[[Call], Awaitable[None]]) -> None:
        outcome, call = "OK", None
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._metrics.streams(method, 1)
        try:
            call = Call(method, self._authority.identify(context), context)
            await handle(call)
        except CallError as error:
            outcome = error.outcome
            await _abort(context, error)
        except asyncio.CancelledError:
            outcome = "CANCELLED"
            raise
        except Exception:
            outcome = "INTERNAL"
            _log.exception("a stream failed", method=method)
            await _abort(context, _bug())
        finally:
            self._metrics.streams(method, -1)
            self._metrics.stream_ended(method, outcome)
            facts = {} if call is None else {"user": call.user.name, **call.facts}
            _log.info(f"{method} ended", **facts, outcome=outcome, seconds=round(loop.time() - began, 3))


def _bug() -> CallError:
    return CallError("a bug in this front end; its log says more")


async def _abort(context: Any, error: CallError) -> None:
    await context.abort(error.status, error.text, trailing_metadata=metadata(error))
