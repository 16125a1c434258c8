"""A strategy's session: requests and answers in order, its own orders' updates, and what becomes of it when a side goes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.toucan.core.desk import NO_LIMITS, terms
from tests.toucan.server.local_engine import LocalEngine
from tests.toucan.server.support import (
    USERS,
    Failure,
    World,
    end_of,
    key,
    limit_order,
    run,
    until,
    write_users,
)

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core import events as ev
from toucan.core.order import Client
from toucan.server.limits import SESSION_ANSWERS_MAX

_ALGO = Client("local", "algo")


class Stream:
    """A client's end of a session's stream: tells answers from updates."""

    def __init__(self, world: World, user: str = "", options: Any = ()) -> None:
        self.call = world.client(user, options).orders.Session()
        self.answers: list[pb.SessionResponse] = []
        self.updates: list[tp.OrderUpdate] = []
        self.is_stale = False
        self._tag = 0

    async def open(self, session: str = "algo", **fields: Any) -> pb.SessionOpened:
        answer = await self.ask(open=pb.OpenSession(session=session, **fields))
        assert answer.WhichOneof("body") == "opened", answer
        return answer.opened

    async def send(self, **body: Any) -> int:
        self._tag += 1
        await self.call.write(pb.SessionRequest(tag=self._tag, **body))
        return self._tag

    async def ask(self, **body: Any) -> pb.SessionResponse:
        tag = await self.send(**body)
        while not any(answer.tag == tag for answer in self.answers):
            await self.read()
        return next(answer for answer in self.answers if answer.tag == tag)

    async def submit(self, number: int, **fields: Any) -> pb.SessionResponse:
        return await self.ask(
            submit=pb.SubmitOrderRequest(key=key(number, "algo"), terms=limit_order(**fields))
        )

    async def read(self) -> None:
        message = await self.call.read()
        assert message is not grpc.aio.EOF, "it ended with OK"
        if message.WhichOneof("body") == "updates":
            assert message.tag == 0
            self.updates += message.updates.updates
            self.is_stale = message.updates.is_stale
        else:
            self.answers.append(message)

    async def read_updates(self, count: int) -> list[tp.OrderUpdate]:
        while len(self.updates) < count:
            await self.read()
        return self.updates


def _happened(world: World, kind: type) -> list[Any]:
    return [event for _, _, event in world.engine.events if isinstance(event, kind)]


async def _hears(world: World, kind: type, count: int = 1) -> None:
    await until(lambda: len(_happened(world, kind)) >= count)


# ---------------------------------------------------------------- its life


def test_session_from_open_to_orderly_close() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = Stream(world)
            opened = await stream.open(cancel_on_disconnect_ms=250)
            assert (opened.last_number, opened.seq) == (0, world.engine.state.seq)
            assert world.engine.state.client(_ALGO).session.grace_ns == 250_000_000  # type: ignore[union-attr]
            entered = await stream.submit(1)
            order_id = entered.submit.order_id
            replaced = await stream.ask(
                replace=pb.ReplaceOrderRequest(key=key(2, "algo"), order_id=order_id, quantity=50)
            )
            cancelled = await stream.ask(cancel=pb.CancelOrderRequest(key=key(3, "algo"), order_id=order_id))
            mass = await stream.ask(mass_cancel=pb.MassCancelRequest(key=key(4, "algo")))
            bodies = [answer.WhichOneof("body") for answer in (entered, replaced, cancelled, mass)]
            assert bodies == ["submit", "replace", "cancel", "mass_cancel"]
            assert mass.mass_cancel.skipped == 1
            closed = await stream.ask(close=pb.CloseSession())
            assert closed.WhichOneof("body") == "closed"
            assert await stream.call.read() is grpc.aio.EOF
            assert await stream.call.code() is grpc.StatusCode.OK
            assert [event.is_orderly for event in _happened(world, ev.SessionEnded)] == [True]
            assert not _happened(world, ev.SessionLost)
            again = Stream(world)
            assert (await again.open()).last_number == 4

    run(scenario())


def test_answers_come_in_the_order_of_the_requests_however_many_are_sent_ahead() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = Stream(world)
            await stream.open()
            count = 3 * SESSION_ANSWERS_MAX

            async def send() -> None:
                for number in range(1, count + 1):
                    await stream.send(
                        submit=pb.SubmitOrderRequest(key=key(number, "algo"), terms=limit_order())
                    )

            sending = asyncio.ensure_future(send())
            while len(stream.answers) < count + 1:
                await stream.read()
            await sending
            assert [answer.tag for answer in stream.answers] == [*range(1, count + 2)]
            assert [answer.submit.order_id for answer in stream.answers[1:]] == [*range(1, count + 1)]
            assert world.port.under_way_max == 1
            await stream.read_updates(count)
            assert [update.order.order_id for update in stream.updates] == [*range(1, count + 1)]

    run(scenario())


def test_client_that_takes_no_answers_is_not_read_on() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = Stream(world)
            await stream.open()
            narrow = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16 * 1024))
            slow = Stream(world, options=narrow)
            await slow.call.write(pb.SessionRequest(tag=1, open=pb.OpenSession(session="slow")))
            text = "x" * 400  # each answer is an error that gives it back

            async def send() -> None:
                for tag in range(20_000):
                    wrong = pb.CancelOrderRequest(key=key(1, text[:64]), order_id=1)
                    await slow.call.write(pb.SessionRequest(tag=tag, cancel=wrong))

            sending = asyncio.ensure_future(send())
            outlets = world.front.pump.outlets
            await until(
                lambda: any(len(getattr(one, "_answers", ())) >= SESSION_ANSWERS_MAX for one in outlets)
            )
            assert max(len(getattr(one, "_answers", ())) for one in outlets) == SESSION_ANSWERS_MAX
            assert (await stream.submit(1)).submit.order_id == 1  # others are served
            sending.cancel()
            slow.call.cancel()

    run(scenario())


def test_own_orders_alone_are_told_also_those_entered_otherwise() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = Stream(world)
            await stream.open()
            world.engine.submit(terms(), Client("local", "other"))
            client = world.client()
            request = pb.SubmitOrderRequest(key=key(1, "algo"), terms=limit_order())
            entered = await client.orders.SubmitOrder(request)  # the same session, without the stream
            order = world.engine.state.orders[entered.order_id]
            world.engine.fill(order, 10, 10_000, "e1")
            updates = await stream.read_updates(2)
            assert [(update.order.order_id, update.event) for update in updates] == [
                (2, "OrderAccepted"),
                (2, "Reported"),
            ]

    run(scenario())


def test_resumed_session_hears_what_it_missed() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = Stream(world)
            await stream.open()
            await stream.submit(1)
            (update,) = await stream.read_updates(1)
            stream.call.cancel()
            await _hears(world, ev.SessionLost)
            world.engine.fill(world.engine.state.orders[1], 1, 10_000, "missed")
            again = Stream(world)
            assert (await again.open(after_seq=update.seq)).last_number == 1
            (missed,) = await again.read_updates(1)
            assert missed.execution.exec_id == "missed"

    run(scenario())


# ---------------------------------------------------------------- errors


def test_errors_are_answers_and_the_stream_goes_on() -> None:
    async def scenario() -> None:
        limits = NO_LIMITS.replace("[firm]", '[firm]\nmax_order_quantity = "1000"')
        async with World.open(engine=LocalEngine(limits)) as world:
            stream = Stream(world)
            await stream.open()
            denied = (await stream.submit(1, quantity=1001)).error
            assert (denied.code, denied.denial.code) == (
                grpc.StatusCode.FAILED_PRECONDITION.value[0],
                "MAX_ORDER_QUANTITY",
            )
            unknown = (await stream.ask(cancel=pb.CancelOrderRequest(key=key(2, "algo"), order_id=9))).error
            assert (unknown.code, unknown.refusal.code) == (
                grpc.StatusCode.NOT_FOUND.value[0],
                "UNKNOWN_ORDER",
            )
            wrong = (await stream.ask(cancel=pb.CancelOrderRequest(key=key(3, "other"), order_id=9))).error
            assert wrong.refusal.code == "INVALID_REQUEST"
            assert "'algo'" in wrong.message
            assert (await stream.ask()).error.refusal.code == "INVALID_REQUEST"
            second = (await stream.ask(open=pb.OpenSession(session="algo"))).error
            assert "open already" in second.message
            world.port.go_away()
            away = (await stream.submit(4)).error
            assert (away.code, away.refusal.code) == (grpc.StatusCode.UNAVAILABLE.value[0], "ENGINE_AWAY")
            world.port.come_back()
            assert (await stream.submit(4)).submit.order_id == 1

    run(scenario())


@pytest.mark.parametrize(
    ("first", "field"),
    [
        (pb.SessionRequest(close=pb.CloseSession()), "open"),
        (pb.SessionRequest(), "open"),
        (pb.SessionRequest(open=pb.OpenSession()), "open.session"),
        (pb.SessionRequest(open=pb.OpenSession(session="s" * 65)), "open.session"),
        (
            pb.SessionRequest(open=pb.OpenSession(session="s", cancel_on_disconnect_ms=-1)),
            "open.cancel_on_disconnect_ms",
        ),
        (pb.SessionRequest(open=pb.OpenSession(session="s", after_seq=-1)), "after_seq"),
    ],
)
def test_stream_that_begins_otherwise_is_refused(first: pb.SessionRequest, field: str) -> None:
    async def scenario() -> None:
        async with World.open() as world:
            call = world.client().orders.Session()
            await call.write(first)
            failure = await end_of(call)
            assert (failure.status, failure.field) == ("INVALID_ARGUMENT", field)
            assert not _happened(world, ev.SessionOpened)

    run(scenario())


def test_stream_that_ends_before_it_begins_and_one_of_bytes_that_are_no_message() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            call = world.client().orders.Session()
            await call.done_writing()
            assert (await end_of(call)).status == "INVALID_ARGUMENT"
            channel: Any = world.client().channel
            raw = channel.stream_stream("/aviary.toucan.v1.OrderEntryService/Session")()
            await raw.write(pb.SessionRequest(open=pb.OpenSession(session="raw")).SerializeToString())
            await raw.read()
            await raw.write(b"\xff\xff")
            assert (await end_of(raw)).status == "INVALID_ARGUMENT"
            await _hears(world, ev.SessionLost)

    run(scenario())


# ---------------------------------------------------------------- broken off, taken over


@pytest.mark.parametrize("how", ["cancelled", "half closed", "connection closed"])
def test_stream_that_breaks_off_is_told_to_the_engine(how: str) -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = Stream(world)
            await stream.open(cancel_on_disconnect_ms=1000)
            await stream.submit(1)
            if how == "cancelled":
                stream.call.cancel()
            elif how == "half closed":
                await stream.call.done_writing()
            else:
                await world._clients[0].channel.close()
            await _hears(world, ev.SessionLost)
            assert [event.client for event in _happened(world, ev.SessionLost)] == [_ALGO]
            world.engine.pass_time(1.5)
            assert world.engine.state.orders[1].is_asked_to_cancel()
            await until(lambda: len(world.front.sessions) == 0)

    run(scenario())


def test_second_stream_takes_over_and_the_first_is_not_counted_as_broken() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            first, second = Stream(world), Stream(world)
            await first.open()
            await first.submit(1)
            assert (await second.open()).last_number == 1
            ended = await end_of(first.call)
            assert (ended.status, ended.code) == ("ABORTED", "SESSION_TAKEN_OVER")
            assert (await second.submit(2)).submit.order_id == 2
            await until(lambda: len(world.front.pump.outlets) == 1)
            assert not _happened(world, ev.SessionLost)

    run(scenario())


def test_session_opened_over_another_front_end_ends_the_stream_here() -> None:
    async def scenario() -> None:
        engine = LocalEngine()
        async with World.open(engine=engine) as here, World.open(engine=engine) as there:
            first, second = Stream(here), Stream(there)
            await first.open()
            await second.open()
            assert (await end_of(first.call)).code == "SESSION_TAKEN_OVER"
            assert (await second.submit(1)).submit.order_id == 1
            await until(lambda: not here.front.pump.outlets)
            assert not _happened(here, ev.SessionLost)

    run(scenario())


def test_after_the_engine_was_restarted_standing_sessions_are_opened_again() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            streams = [Stream(world) for _ in range(3)]
            for number, stream in enumerate(streams):
                await stream.open(f"algo{number}", cancel_on_disconnect_ms=1000)
            world.engine.restart()
            await _hears(world, ev.SessionOpened, 6)
            for number in range(3):
                session = world.engine.state.client(Client("local", f"algo{number}")).session
                assert session is not None
                assert session.lost_at_ns is None
                assert session.grace_ns == 1_000_000_000
            streams[0].call.cancel()
            await _hears(world, ev.SessionLost)
            assert not world.engine.pass_time(0.5)

    run(scenario())


def test_session_that_the_engine_counts_as_lost_is_opened_again() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = Stream(world)
            await stream.open("algo")
            world.engine.apply([ev.SessionLost(_ALGO)])
            await _hears(world, ev.SessionOpened, 2)
            world.port.replace_copy(keeps_history=True)
            await _hears(world, ev.SessionOpened, 3)
            assert (await stream.submit(1)).submit.order_id == 1

    run(scenario())


def test_stopping_front_end_tells_that_its_sessions_have_broken_off() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = Stream(world)
            await stream.open()
            await world.front.stop()
            assert (await end_of(stream.call)).code == "STOPPING"
            assert len(_happened(world, ev.SessionLost)) == 1

    run(scenario())


# ---------------------------------------------------------------- who may


def test_requests_are_judged_by_what_the_user_may_now(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = write_users(tmp_path / "users")
        async with World.open(path) as world:
            stream = Stream(world, "alice")
            await stream.open()
            assert (await stream.submit(1)).submit.order_id == 1
            await stream.read_updates(1)
            write_users(path, {**USERS, "alice": {"accounts": ["ACC2"], "actions": ["trade"]}})
            await world.front.authority.reload(is_asked=True)
            refused = (await stream.submit(2)).error
            assert refused.refusal.code == "NOT_ENTITLED"
            world.engine.fill(world.engine.state.orders[1], 1, 10_000, "not his any more")
            await stream.submit(3, account="ACC2")
            await stream.read_updates(2)
            assert [update.order.order_id for update in stream.updates] == [1, 2]
            write_users(path, {"bob": USERS["bob"]})
            await world.front.authority.reload(is_asked=True)
            assert (await end_of(stream.call)).status == "UNAUTHENTICATED"

    run(scenario())


def test_session_needs_the_right_to_cancel(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            call = world.client("viewer").orders.Session()
            await call.write(pb.SessionRequest(open=pb.OpenSession(session="s")))
            failure: Failure = await end_of(call)
            assert (failure.status, failure.code) == ("PERMISSION_DENIED", "NOT_ENTITLED")

    run(scenario())
