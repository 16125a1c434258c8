"""A whole front end in the test's process, over loopback, with the local engine behind it; and how tests look at what comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc
import uvloop
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from tests.toucan.server.local_engine import LocalEngine, LocalPort

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from aviary.toucan.v1.staged_pb2_grpc import StagedOrderServiceStub
from aviary.toucan.v1.toucan_pb2_grpc import OrderEntryServiceStub, RiskServiceStub
from toucan.market.link import FeedLink
from toucan.server.front_end import FrontEnd
from toucan.server.settings import ServerSection
from toucan.server.users import hash_token

__all__ = [
    "USERS",
    "Client",
    "Failure",
    "World",
    "end_of",
    "failing",
    "key",
    "limit_order",
    "next_turns",
    "run",
    "until",
    "write_users",
]

_T = TypeVar("_T")

#: Who there is. ACC1 and ACC2 are team alpha's, ACC3 is team beta's (:data:`tests.toucan.core.desk.NO_LIMITS`).
USERS: dict[str, dict[str, Any]] = {
    "alice": {"accounts": ["ACC1", "ACC2"], "actions": ["trade"]},
    "bob": {"accounts": ["ACC1"], "actions": ["trade"], "symbols": ["AAPL"]},
    "carol": {"accounts": ["ACC3"], "actions": ["trade"]},
    "viewer": {"accounts": ["ACC1"], "actions": ["view"]},
    "supervisor": {"accounts": ["ACC1"], "actions": ["cancel-others", "trade"]},
    "desk-risk": {"accounts": ["ACC1", "ACC2"], "actions": ["limits", "kill", "adjust", "drop-copy"]},
    "firm-risk": {"accounts": "*", "actions": ["limits", "kill", "adjust", "drop-copy", "cancel-others"]},
    "nobody": {"accounts": [], "actions": []},
}


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Runs a test on the loop that front ends run on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(work, 60))


def write_users(path: Path, users: dict[str, dict[str, Any]] | None = None) -> Path:
    """A users file; the token of each is ``token-of-NAME``."""
    lines = []
    for name, entry in (USERS if users is None else users).items():
        lines.append(f"[user.{name}]")
        entry = {"token_sha256": hash_token(f"token-of-{name}"), **entry}
        lines += [f"{key} = {value!r}" for key, value in entry.items()]
    path.write_text("\n".join(lines) + "\n")
    os.chmod(path, 0o600)
    return path


class Client:
    """A user's connection."""

    def __init__(self, address: str, user: str = "", options: Sequence[tuple[str, int]] = ()) -> None:
        # Each with a connection of its own, as if it were another program.
        self.channel = grpc.aio.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1), *options]
        )
        self.metadata = (("authorization", f"Bearer token-of-{user}"),) if user else ()
        self.orders = _WithMetadata(OrderEntryServiceStub, self.channel, self.metadata)
        self.risk = _WithMetadata(RiskServiceStub, self.channel, self.metadata)
        self.staged = _WithMetadata(StagedOrderServiceStub, self.channel, self.metadata)
        self._number = 0

    def next_key(self, session: str = "desk") -> pb.RequestKey:
        """The next number of a session."""
        self._number += 1
        return pb.RequestKey(session=session, number=self._number)

    async def submit(self, **terms: Any) -> pb.SubmitOrderResponse:
        """A new order, which is accepted."""
        request = pb.SubmitOrderRequest(key=self.next_key(), terms=limit_order(**terms))
        answer: pb.SubmitOrderResponse = await self.orders.SubmitOrder(request)
        return answer


class _WithMetadata:
    def __init__(
        self, make_stub: Any, channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]]
    ) -> None:
        self._stub = make_stub(channel)
        self._metadata = metadata

    def __getattr__(self, method: str) -> Callable[..., Any]:
        call = getattr(self._stub, method)

        def with_metadata(*request: Any, **options: Any) -> Any:
            return call(*request, metadata=self._metadata, **options)

        return with_metadata


class World:
    """A front end that serves, and what is behind it."""

    def __init__(self, engine: LocalEngine, port: LocalPort, front: FrontEnd) -> None:
        self.engine = engine
        self.port = port
        self.front = front
        self._clients: list[Client] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        users: Path | None = None,
        engine: LocalEngine | None = None,
        feeds: Mapping[str, FeedLink] | None = None,
        **settings: Any,
    ) -> AsyncIterator[World]:
        """Without a users file everyone is ``local`` and may do everything; without ``feeds`` the market is what the engine tells."""
        engine = engine or LocalEngine()
        port = engine.port()
        who = {"local_user": "local"} if users is None else {"users": str(users)}
        section = ServerSection(**{"listen": "127.0.0.1:0", "share_port": False, **who, **settings})
        async with FrontEnd(section, port, feeds) as front:
            world = cls(engine, port, front)
            try:
                yield world
            finally:
                for client in world._clients:
                    await client.channel.close()

    def client(self, user: str = "", options: Sequence[tuple[str, int]] = ()) -> Client:
        """A connection that is closed in the end."""
        client = Client(self.front.address, user, options)
        self._clients.append(client)
        return client


class Failure:
    """A status that is not OK, with its details."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.status: str = error.code().name
        self.text: str = error.details() or ""
        self.refusal: tp.Refusal | None = None
        self.denial: tp.Denial | None = None
        #: Of google.rpc.BadRequest.
        self.field = ""
        for name, value in error.trailing_metadata() or ():
            if name == "grpc-status-details-bin":
                status = status_pb2.Status.FromString(value)
                assert status.code == error.code().value[0]
                assert status.message == self.text
                for detail in status.details:
                    self._take(detail)

    def _take(self, detail: Any) -> None:
        refusal, denial, request = tp.Refusal(), tp.Denial(), error_details_pb2.BadRequest()
        if detail.Unpack(refusal):
            self.refusal = refusal
        elif detail.Unpack(denial):
            self.denial = denial
        elif detail.Unpack(request):
            self.field = request.field_violations[0].field

    @property
    def code(self) -> str:
        """The refusal's code; empty: there is none."""
        return self.refusal.code if self.refusal is not None else ""


async def failing(call: Any) -> Failure:
    """Waits for a call (or a stream's next message) that fails."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return Failure(error)
    raise AssertionError(f"it did not fail: {answer}")


async def end_of(stream: Any) -> Failure:
    """Reads a stream to its end, which is a failure."""
    while True:
        try:
            message = await stream.read()
        except grpc.aio.AioRpcError as error:
            return Failure(error)
        assert message is not grpc.aio.EOF, "it ended with OK"


def key(number: int, session: str = "desk") -> pb.RequestKey:
    """A request's key."""
    return pb.RequestKey(session=session, number=number)


def limit_order(**fields: Any) -> tp.OrderTerms:
    """A limit order to buy 100 AAPL at 100.00 for ACC1, good till cancelled, where nothing else is said."""
    values: dict[str, Any] = {
        "account": "ACC1", "symbol": "AAPL", "side": tp.SIDE_BUY, "type": tp.ORDER_TYPE_LIMIT,
        "time_in_force": tp.TIME_IN_FORCE_GTC, "quantity": 100, "price": 10_000,
    }  # fmt: skip
    return tp.OrderTerms(**{**values, **fields})


async def next_turns(count: int = 3) -> None:
    """Lets the loop go on by some turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so; the test's own time limit bounds it."""
    while not condition():
        await asyncio.sleep(0.001)
