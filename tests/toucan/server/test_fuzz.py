"""Whatever is sent, the answer is a status that the API promises, nothing is broken by it, and the engine gets only what makes sense."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import uvloop
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.toucan.core.desk import terms
from tests.toucan.server.support import World, limit_order

from aviary.toucan.v1 import staged_pb2 as sp
from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core import requests as rq
from toucan.core.instruments import NUMBER_MAX
from toucan.server import queries, staged
from toucan.server.streams import resume

_SERVICES = {
    "OrderEntryService": pb.DESCRIPTOR.services_by_name["OrderEntryService"],
    "RiskService": pb.DESCRIPTOR.services_by_name["RiskService"],
    "StagedOrderService": sp.DESCRIPTOR.services_by_name["StagedOrderService"],
}


def _class_of(descriptor: Any) -> Any:
    return descriptor._concrete_class


_UNARY = [
    (service, method.name, _class_of(method.input_type))
    for service, descriptor in _SERVICES.items()
    for method in descriptor.methods
    if not method.server_streaming
]
_STREAMS = [
    (service, method.name, _class_of(method.input_type))
    for service, descriptor in _SERVICES.items()
    for method in descriptor.methods
    if method.server_streaming and not method.client_streaming
]
#: What a request that makes no sense may be answered. INTERNAL and UNKNOWN would be bugs.
_ALLOWED = {
    "OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "ABORTED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"
}  # fmt: skip

_INT64 = st.sampled_from(
    [0, 1, -1, 100, 10_000, 2**31, NUMBER_MAX, NUMBER_MAX + 1, 2**63 - 1, -(2**63)]
) | st.integers(-(2**63), 2**63 - 1)
_INT32 = st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1)
_TEXT = (
    st.sampled_from(["", "ACC1", "AAPL", "firm", "firm/alpha", "max_position", "desk", "x" * 5000, "\0", "é\n", "‮", "1e999"])
    | st.text(max_size=70)
)  # fmt: skip
_SCALARS = {
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_STRING: _TEXT,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_ENUM: st.integers(0, 20) | _INT32,
}


@st.composite
def _messages(draw: st.DrawFn, kind: type[Message]) -> Message:
    """Any message of a kind: each field absent, sensible or absurd."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if not draw(st.sampled_from([True, True, True, False])):
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            inner = _messages(_class_of(field.message_type))
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(inner, max_size=3)))
            else:
                getattr(message, field.name).CopyFrom(draw(inner))
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(_SCALARS[field.type], max_size=3)))
        else:
            setattr(message, field.name, draw(_SCALARS[field.type]))
    return message


class _Bench:
    """One front end for all examples of a test, on a loop of its own."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._context = World.open()
        self.world: World = self.run(self._context.__aenter__())
        self.channel: Any = self.run(self._connect())
        for _ in range(3):
            self.world.engine.working(terms())
            self.world.engine.ask(rq.Stage(terms(), "an idea"))

    async def _connect(self) -> Any:
        return self.world.client().channel  # belongs to the loop on which it is made

    def run(self, work: Any) -> Any:
        return self.runner.run(asyncio.wait_for(work, 30))

    def status(self, service: str, method: str, data: bytes) -> str:
        return str(self.run(self._status(f"/aviary.toucan.v1.{service}/{method}", data)))

    async def _status(self, path: str, data: bytes) -> str:
        try:
            await self.channel.unary_unary(path)(data, timeout=0.5)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    async def first(self, service: str, method: str, data: bytes) -> str:
        call = self.channel.unary_stream(f"/aviary.toucan.v1.{service}/{method}")(data, timeout=5)
        try:
            await call.read()
        except grpc.aio.AioRpcError as error:
            return error.code().name
        call.cancel()
        return "OK"

    def close(self) -> None:
        self.run(self._context.__aexit__(None, None, None))
        self.runner.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[_Bench]:
    with pytest.MonkeyPatch.context() as patch:  # absurd numbers of events are waited for
        patch.setattr(resume, "AHEAD_WAIT_S", 0.01)
        patch.setattr(queries, "MIN_SEQ_WAIT_S", 0.01)
        patch.setattr(staged, "MIN_SEQ_WAIT_S", 0.01)
        made = _Bench()
        yield made
        made.close()


def _said(code: grpc.StatusCode, text: str | None) -> str:
    """What the server has said; a client of grpcio that writes to a stream which has ended calls that an internal error of its own."""
    return "OK" if text == "Internal error from Core" else code.name


_settings = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize(("service", "method", "kind"), _UNARY, ids=[method for _, method, _ in _UNARY])
@_settings
@given(data=st.data())
def test_any_message_gets_a_sensible_status(
    bench: _Bench, service: str, method: str, kind: type[Message], data: st.DataObject
) -> None:
    message = data.draw(_messages(kind))
    status = bench.status(service, method, message.SerializeToString())
    assert status in _ALLOWED, message


@pytest.mark.parametrize(("service", "method", "kind"), _STREAMS, ids=[method for _, method, _ in _STREAMS])
@_settings
@given(data=st.data())
def test_any_stream_begins_or_is_refused_sensibly(
    bench: _Bench, service: str, method: str, kind: type[Message], data: st.DataObject
) -> None:
    message = data.draw(_messages(kind))
    assert bench.run(bench.first(service, method, message.SerializeToString())) in _ALLOWED, message


@_settings
@given(st.binary(max_size=200), st.sampled_from(_UNARY))
@example(b"\x12\xff\xff\xff\xff\x0f", _UNARY[0])
def test_any_bytes_get_a_sensible_status(bench: _Bench, data: bytes, method: tuple[str, str, Any]) -> None:
    assert bench.status(method[0], method[1], data) in _ALLOWED


@_settings
@given(st.data())
def test_any_messages_on_a_session_are_answered_or_end_it(bench: _Bench, data: st.DataObject) -> None:
    messages = data.draw(st.lists(_messages(pb.SessionRequest), max_size=5))

    async def session() -> str:
        call = bench.channel.stream_stream("/aviary.toucan.v1.OrderEntryService/Session")(timeout=5)
        try:
            for message in messages:
                await call.write(message.SerializeToString())
            await call.done_writing()
            while await call.read() is not grpc.aio.EOF:
                pass
        except asyncio.InvalidStateError:  # it ended while it was written to
            pass
        except grpc.aio.AioRpcError as error:
            return _said(error.code(), error.details())
        return _said(await call.code(), await call.details())

    assert bench.run(session()) in _ALLOWED


@_settings
@given(st.data())
def test_engine_is_asked_only_for_what_its_own_values_can_be(bench: _Bench, data: st.DataObject) -> None:
    """Good orders with one field made absurd: what gets through is within the core's bounds."""
    wire = limit_order()
    field: Any = data.draw(st.sampled_from([*tp.OrderTerms.DESCRIPTOR.fields]))
    setattr(wire, field.name, data.draw(_SCALARS[field.type]))
    before = len(bench.world.port.asked)
    request = pb.PreviewOrderRequest(terms=wire)
    assert bench.status("OrderEntryService", "PreviewOrder", request.SerializeToString()) in _ALLOWED
    for _, _, body in bench.world.port.asked[before:]:
        assert isinstance(body, rq.Preview)
        asked = body.terms
        for number in (asked.quantity, asked.price, asked.stop_price, asked.max_floor):
            assert number is None or abs(number) <= NUMBER_MAX
        assert len(asked.text) <= 200
        assert 0 < len(asked.account) <= 64
        assert 0 < len(asked.symbol) <= 64


def _good_requests(number: int) -> dict[str, Message]:
    key = pb.RequestKey(session="fuzz", number=number)
    return {
        "StageOrder": sp.StageOrderRequest(key=key, terms=limit_order(), why="an idea"),
        "ReleaseStagedOrder": sp.ReleaseStagedOrderRequest(key=key, staged_id=1, revision=1, why="well"),
        "AmendStagedOrder": sp.AmendStagedOrderRequest(key=key, staged_id=2, revision=1, price=1, why="less"),
        "RejectStagedOrder": sp.RejectStagedOrderRequest(key=key, staged_id=3, why="no"),
    }


_fuzz_numbers = itertools.count(1)


@_settings
@given(st.data())
def test_good_requests_about_proposals_with_one_absurd_field(bench: _Bench, data: st.DataObject) -> None:
    method, message = data.draw(st.sampled_from([*_good_requests(next(_fuzz_numbers)).items()]))
    scalars = [field for field in message.DESCRIPTOR.fields if field.type in _SCALARS]
    field: Any = data.draw(st.sampled_from(scalars))
    setattr(message, field.name, data.draw(_SCALARS[field.type]))
    assert bench.status("StagedOrderService", method, message.SerializeToString()) in _ALLOWED, message
    for found in bench.world.port.state.staged.orders.values():
        assert all(len(one.why) <= 400 and one.why.isprintable() for one in found.revisions)
        assert all(0 < one.terms.quantity <= NUMBER_MAX for one in found.revisions)


def test_front_end_is_well_after_all_that(bench: _Bench) -> None:
    assert bench.world.engine.replayed().digest() == bench.world.port.state.digest()
    assert bench.status("OrderEntryService", "GetIdentity", b"") == "OK"
    assert bench.world.front.asking.turns.waiting_count == 0
