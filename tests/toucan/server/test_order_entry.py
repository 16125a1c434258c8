"""Requests that change orders: answered by the engine, once; in turn; and only for those who may."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.toucan.core.desk import NO_LIMITS, terms
from tests.toucan.server.local_engine import LocalEngine
from tests.toucan.server.support import (
    Client,
    World,
    failing,
    key,
    limit_order,
    next_turns,
    run,
    until,
    write_users,
)

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core import order as core
from toucan.core import requests as rq
from toucan.server.limits import REQUESTS_WAITING_MAX

_LIMITED = NO_LIMITS.replace("[firm]", '[firm]\nmax_order_quantity = "1000"\nsoft_max_order_quantity = "500"')


def _submit(number: int, session: str = "desk", **fields: Any) -> pb.SubmitOrderRequest:
    return pb.SubmitOrderRequest(key=key(number, session), terms=limit_order(**fields))


# ---------------------------------------------------------------- each method


def test_life_of_an_order_over_the_wire() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            entered = await client.submit(note="mine", max_floor=50)
            order = world.engine.state.orders[entered.order_id]
            assert (order.owner, order.terms.text, order.terms.max_floor) == (
                core.Client("local", "desk"),
                "mine",
                50,
            )
            world.engine.report(kind=3 - 1, cl_ord_id=order.cl_ord_id)  # NEW
            await client.orders.ReplaceOrder(
                pb.ReplaceOrderRequest(key=client.next_key(), order_id=order.order_id, price=9_900)
            )
            cancelled = await client.orders.CancelOrder(
                pb.CancelOrderRequest(key=client.next_key(), order_id=order.order_id)
            )
            assert [request.kind.name for request in order.requests] == ["REPLACE", "CANCEL"]
            read = await client.orders.GetOrder(
                pb.GetOrderRequest(order_id=order.order_id, min_seq=cancelled.seq)
            )
            assert [request.kind for request in read.order.requests] == [
                tp.REQUEST_KIND_REPLACE,
                tp.REQUEST_KIND_CANCEL,
            ]
            assert read.order.requests[0].terms.price == 9_900
            assert read.order.requests[1].by == "local"
            assert read.order.terms.note == "mine"

    run(scenario())


def test_mass_cancel_matches_all_that_is_given() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            for account, symbol, side in (
                ("ACC1", "AAPL", 1),
                ("ACC1", "MSFT", 1),
                ("ACC1", "AAPL", 2),
                ("ACC2", "AAPL", 1),
            ):
                await client.submit(account=account, symbol=symbol, side=side)
            request = pb.MassCancelRequest(
                key=client.next_key(), account="ACC1", symbol="AAPL", side=tp.SIDE_BUY, owner="local"
            )
            assert list((await client.orders.MassCancel(request)).order_ids) == [1]
            everything = await client.orders.MassCancel(pb.MassCancelRequest(key=client.next_key()))
            assert (list(everything.order_ids), everything.skipped) == ([2, 3, 4], 1)

    run(scenario())


def test_preview_tells_what_would_be_and_does_nothing() -> None:
    async def scenario() -> None:
        async with World.open(engine=LocalEngine(_LIMITED)) as world:
            client = world.client()
            seq = world.engine.state.seq
            good = await client.orders.PreviewOrder(pb.PreviewOrderRequest(terms=limit_order()))
            assert (list(good.denials), good.position) == ([], 0)
            assert not good.HasField("reference_price")
            soft = await client.orders.PreviewOrder(pb.PreviewOrderRequest(terms=limit_order(quantity=600)))
            assert [denial.can_be_confirmed for denial in soft.denials] == [True]
            assert world.engine.state.seq == seq
            wrong = await failing(
                client.orders.PreviewOrder(pb.PreviewOrderRequest(terms=limit_order(price=0)))
            )
            assert (wrong.status, wrong.code) == ("INVALID_ARGUMENT", "INVALID_ORDER")

    run(scenario())


# ---------------------------------------------------------------- answers


def test_limits_deny_with_the_limit_and_soft_ones_can_be_confirmed() -> None:
    async def scenario() -> None:
        async with World.open(engine=LocalEngine(_LIMITED)) as world:
            client = world.client()
            hard = await failing(client.orders.SubmitOrder(_submit(1, quantity=1001)))
            assert hard.status == "FAILED_PRECONDITION"
            assert hard.denial is not None
            assert (hard.denial.code, hard.denial.node, hard.denial.limit) == (
                "MAX_ORDER_QUANTITY",
                "firm",
                "max_order_quantity",
            )
            assert (hard.denial.value, hard.denial.maximum, hard.denial.can_be_confirmed) == (
                "1001",
                "1000",
                False,
            )
            soft = _submit(2, quantity=600)
            asked = await failing(client.orders.SubmitOrder(soft))
            assert asked.denial is not None
            assert asked.denial.can_be_confirmed
            soft.key.number, soft.is_confirmed = 3, True
            assert (await client.orders.SubmitOrder(soft)).order_id == 1

    run(scenario())


@pytest.mark.parametrize(
    ("request_of", "status", "code", "field"),
    [
        (lambda: _submit(9, price=0), "INVALID_ARGUMENT", "INVALID_ORDER", ""),
        (lambda: _submit(9, side=7), "INVALID_ARGUMENT", "INVALID_ORDER", "terms.side"),
        (lambda: _submit(0), "INVALID_ARGUMENT", "INVALID_REQUEST", "key.number"),
        (lambda: _submit(9, symbol="NONE"), "NOT_FOUND", "UNKNOWN_INSTRUMENT", ""),
        (lambda: _submit(9, account="NONE"), "NOT_FOUND", "UNKNOWN_ACCOUNT", ""),
        (lambda: pb.CancelOrderRequest(key=key(9), order_id=77), "NOT_FOUND", "UNKNOWN_ORDER", ""),
        (lambda: pb.CancelOrderRequest(key=key(9)), "INVALID_ARGUMENT", "INVALID_REQUEST", "order_id"),
        (lambda: pb.CancelOrderRequest(key=key(9), order_id=2), "FAILED_PRECONDITION", "CANCEL_IN_FLIGHT", ""),
        (lambda: pb.CancelOrderRequest(key=key(9), order_id=3), "FAILED_PRECONDITION", "ORDER_CLOSED", ""),
        (lambda: pb.ReplaceOrderRequest(key=key(9), order_id=1), "FAILED_PRECONDITION", "NOTHING_CHANGES", ""),
        (lambda: pb.ReplaceOrderRequest(key=key(9), order_id=1, quantity=-5), "INVALID_ARGUMENT", "INVALID_ORDER", ""),
        (lambda: pb.CancelOrderRequest(key=key(4), order_id=1), "ABORTED", "REQUEST_SUPERSEDED", ""),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_a_code(
    request_of: Any, status: str, code: str, field: str
) -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            for number in (1, 2, 3):
                await client.orders.SubmitOrder(_submit(number))
            orders = world.engine.state.orders
            world.engine.report(kind=10, cl_ord_id=orders[3].cl_ord_id)  # REJECTED
            await client.orders.CancelOrder(pb.CancelOrderRequest(key=key(5), order_id=2))
            request = request_of()
            method = type(request).__name__.removesuffix("Request")
            failure = await failing(getattr(client.orders, method)(request))
            assert (failure.status, failure.code, failure.field) == (status, code, field)
            assert failure.text

    run(scenario())


def test_bytes_that_are_no_message_are_an_invalid_argument() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            channel: Any = world.client().channel
            for method in ("SubmitOrder", "GetOrder", "ListOrders"):
                call = channel.unary_unary(f"/aviary.toucan.v1.OrderEntryService/{method}")
                failure = await failing(call(b"\x0a\xff\xff"))
                assert (failure.status, failure.code) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
            watch = channel.unary_stream("/aviary.toucan.v1.OrderEntryService/WatchOrders")
            assert (await failing(watch(b"\x0a\xff\xff").read())).status == "INVALID_ARGUMENT"

    run(scenario())


def test_request_too_large_is_refused_before_it_is_read() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            failure = await failing(world.client().orders.SubmitOrder(_submit(1, note="x" * 100_000)))
            assert failure.status == "RESOURCE_EXHAUSTED"
            assert world.port.asked == []

    run(scenario())


# ---------------------------------------------------------------- once


def test_same_key_gets_the_same_answer_and_is_executed_once() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client, other_front = world.client(), world.engine.port()
            first = await client.orders.SubmitOrder(_submit(1))
            again = await world.client().orders.SubmitOrder(_submit(1))
            assert again.order_id == first.order_id
            assert len(world.engine.state.orders) == 1
            cancel = pb.CancelOrderRequest(key=key(2), order_id=first.order_id)
            await client.orders.CancelOrder(cancel)
            await client.orders.CancelOrder(cancel)
            assert [type(body) for _, _, body in world.port.asked] == [
                rq.Submit,
                rq.Submit,
                rq.Cancel,
                rq.Cancel,
            ]
            assert sum(len(order.requests) for order in world.engine.state.orders.values()) == 2
            assert other_front.state.digest() == world.port.state.digest()

    run(scenario())


def test_key_of_another_request_gets_no_answer_that_is_not_its_own() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            for number in (1, 2):
                await client.orders.SubmitOrder(_submit(number))
            level = pb.SetTradingStateRequest(
                key=key(1), node="firm", level=tp.TRADING_LEVEL_BLOCK_NEW, reason="x"
            )
            for call in (
                client.orders.MassCancel(pb.MassCancelRequest(key=key(1))),
                client.orders.CancelOrder(pb.CancelOrderRequest(key=key(1), order_id=2)),
                client.risk.SetTradingState(level),
                client.risk.SetLimit(
                    pb.SetLimitRequest(key=key(1), node="firm", limit="max_position", value="1", reason="x")
                ),
            ):
                failure = await failing(call)
                assert (failure.status, failure.code, failure.field) == (
                    "INVALID_ARGUMENT",
                    "KEY_REUSED",
                    "key.number",
                )

    run(scenario())


def test_answer_lost_with_the_engine_is_told_when_the_key_is_sent_again() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            world.port.answers_flow.clear()
            call = client.orders.SubmitOrder(_submit(1))
            await until(lambda: bool(world.engine.state.orders))
            world.engine.restart()
            world.port.answers_flow.set()
            lost = await failing(call)
            assert (lost.status, lost.code) == ("UNAVAILABLE", "ENGINE_AWAY")
            again = await client.orders.SubmitOrder(_submit(1))
            assert again.order_id == 1
            assert len(world.engine.state.orders) == 1

    run(scenario())


def test_without_an_engine_nothing_is_sent_and_reads_go_on() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            await client.orders.SubmitOrder(_submit(1))
            world.port.go_away()
            for call in (
                client.orders.SubmitOrder(_submit(2)),
                client.orders.CancelOrder(pb.CancelOrderRequest(key=key(2), order_id=1)),
                client.orders.CancelOrder(pb.CancelOrderRequest(key=key(2), order_id=99)),
                client.orders.PreviewOrder(pb.PreviewOrderRequest(terms=limit_order())),
            ):
                failure = await failing(call)
                assert (failure.status, failure.code) == ("UNAVAILABLE", "ENGINE_AWAY")
            assert (await client.orders.GetOrder(pb.GetOrderRequest(order_id=1))).order.order_id == 1
            world.port.come_back()
            assert (await client.orders.SubmitOrder(_submit(2))).order_id == 2

    run(scenario())


def test_deadline_while_the_engine_is_asked_leaves_the_outcome_unknown() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            world.port.answers_flow.clear()
            late = await failing(client.orders.SubmitOrder(_submit(1), timeout=0.2))
            assert (late.status, late.code) == ("DEADLINE_EXCEEDED", "")
            world.port.answers_flow.set()
            assert (await client.orders.SubmitOrder(_submit(1))).order_id == 1
            assert len(world.engine.state.orders) == 1
            # The engine was told how long it has.
            assert len(world.port.asked) == 2

    run(scenario())


def test_deadline_while_it_waits_for_its_turn_says_that_nothing_was_sent() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            world.port.requests_flow.clear()
            first = asyncio.ensure_future(client.orders.SubmitOrder(_submit(1)))
            await until(lambda: world.port.under_way_max == 1)
            late = await failing(client.orders.SubmitOrder(_submit(2), timeout=0.2))
            assert late.status == "DEADLINE_EXCEEDED"
            # The client's own clock may have been first; then it has no details.
            assert late.code in ("DEADLINE_PASSED", "")
            world.port.requests_flow.set()
            await first
            assert [number for _, number, _ in world.port.asked] == [1]

    run(scenario())


# ---------------------------------------------------------------- in turn


def test_one_client_is_served_in_order_one_at_a_time_and_others_beside_it() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            world.port.answers_flow.clear()
            calls = [asyncio.ensure_future(client.orders.SubmitOrder(_submit(1)))]
            await until(lambda: len(world.port.asked) == 1)
            # gRPC keeps no order among calls: the numbers say it.
            calls += [
                asyncio.ensure_future(client.orders.SubmitOrder(_submit(number)))
                for number in range(20, 1, -1)
            ]
            await until(lambda: world.front.asking.turns.waiting_count == 19)
            other = asyncio.ensure_future(client.orders.SubmitOrder(_submit(1, "other")))
            await until(lambda: len(world.port.asked) == 2)
            assert world.port.asked[1][0].session == "other"
            world.port.answers_flow.set()
            answers = await asyncio.gather(*calls, other)
            assert world.port.under_way_max == 1
            numbers = [number for client, number, _ in world.port.asked if client.session == "desk"]
            assert numbers == [*range(1, 21)]
            assert len({answer.order_id for answer in answers}) == 21

    run(scenario())


def test_what_waits_is_bounded_and_what_is_refused_can_be_sent_again() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            world.port.requests_flow.clear()
            most = REQUESTS_WAITING_MAX + 1  # one is under way
            calls = [asyncio.ensure_future(client.orders.SubmitOrder(_submit(1)))]
            await until(lambda: world.port.under_way_max == 1)
            calls += [
                asyncio.ensure_future(client.orders.SubmitOrder(_submit(n))) for n in range(2, most + 1)
            ]
            await until(lambda: world.front.asking.turns.waiting_count == REQUESTS_WAITING_MAX)
            refused = await failing(client.orders.SubmitOrder(_submit(most + 1)))
            assert (refused.status, refused.code) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
            world.port.requests_flow.set()
            await asyncio.gather(*calls)
            assert (await client.orders.SubmitOrder(_submit(most + 1))).order_id == most + 1
            assert world.front.asking.turns.waiting_count == 0

    run(scenario())


def test_clients_that_go_while_they_wait_hold_up_nobody() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client, leaving = world.client(), world.client()
            world.port.requests_flow.clear()
            first = leaving.orders.SubmitOrder(_submit(1))
            await until(lambda: world.port.under_way_max == 1)
            waiting = [leaving.orders.SubmitOrder(_submit(number)) for number in range(2, 6)]
            stays = asyncio.ensure_future(client.orders.SubmitOrder(_submit(6)))
            await until(lambda: world.front.asking.turns.waiting_count == 5)
            for call in (*waiting, first):
                call.cancel()
            await until(lambda: world.front.asking.turns.waiting_count == 0)
            world.port.requests_flow.set()
            await stays
            assert [number for _, number, _ in world.port.asked] == [6]

    run(scenario())


# ---------------------------------------------------------------- who may


async def _cancel(client: Client, order_id: int) -> str:
    try:
        await client.orders.CancelOrder(pb.CancelOrderRequest(key=client.next_key(), order_id=order_id))
    except Exception as error:
        return _word(error)
    return "OK"


def _word(error: Any) -> str:
    return str(error.code().name)


async def _try(call: Any) -> str:
    try:
        await call
    except Exception as error:
        return _word(error)
    return "OK"


@pytest.mark.parametrize(
    ("user", "enters", "of_alice", "of_himself", "of_carol"),
    [
        ("alice", "OK", "OK", "OK", "NOT_FOUND"),
        ("bob", "OK", "PERMISSION_DENIED", "OK", "NOT_FOUND"),
        ("carol", "PERMISSION_DENIED", "NOT_FOUND", "NOT_FOUND", "OK"),
        ("viewer", "PERMISSION_DENIED", "PERMISSION_DENIED", "PERMISSION_DENIED", "PERMISSION_DENIED"),
        ("supervisor", "OK", "OK", "OK", "NOT_FOUND"),
        ("desk-risk", "PERMISSION_DENIED", "PERMISSION_DENIED", "PERMISSION_DENIED", "PERMISSION_DENIED"),
        ("firm-risk", "PERMISSION_DENIED", "OK", "OK", "OK"),
        ("nobody", "PERMISSION_DENIED", "PERMISSION_DENIED", "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ],
)
def test_who_may_enter_and_cancel_what(
    tmp_path: Path, user: str, enters: str, of_alice: str, of_himself: str, of_carol: str
) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            engine, client = world.engine, world.client(user)
            alices = engine.submit(terms(), core.Client("alice", "x"))
            his = engine.submit(terms(account="ACC1"), core.Client(user, "x"))
            carols = engine.submit(terms(account="ACC3"), core.Client("carol", "x"))
            assert await _try(client.orders.SubmitOrder(_submit(1, "other"))) == enters
            assert await _cancel(client, alices.order_id) == of_alice
            assert await _cancel(client, his.order_id) == of_himself
            assert await _cancel(client, carols.order_id) == of_carol

    run(scenario())


def test_accounts_and_symbols_bound_what_is_entered_whether_or_not_there_are_such(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            client = world.client("bob")
            for wrong in ({"account": "ACC2"}, {"account": "NONE"}, {"symbol": "MSFT"}, {"symbol": "NONE"}):
                failure = await failing(client.orders.SubmitOrder(_submit(1, **wrong)))
                assert (failure.status, failure.code) == ("PERMISSION_DENIED", "NOT_ENTITLED")
                assert (
                    await failing(
                        client.orders.PreviewOrder(pb.PreviewOrderRequest(terms=limit_order(**wrong)))
                    )
                ).text == failure.text
            assert world.port.asked == []

    run(scenario())


def test_other_peoples_orders_and_orders_that_do_not_exist_look_alike(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            client = world.client("carol")
            world.engine.submit(terms(), core.Client("alice", "x"))
            texts = set()
            for order_id in (1, 2):
                for call in (
                    client.orders.GetOrder(pb.GetOrderRequest(order_id=order_id)),
                    client.orders.CancelOrder(pb.CancelOrderRequest(key=key(1), order_id=order_id)),
                    client.orders.ReplaceOrder(
                        pb.ReplaceOrderRequest(key=key(1), order_id=order_id, quantity=1)
                    ),
                ):
                    failure = await failing(call)
                    assert (failure.status, failure.code) == ("NOT_FOUND", "UNKNOWN_ORDER")
                    texts.add(failure.text.replace(str(order_id), "N"))
            assert texts == {"there is no order N"}
            assert not world.engine.state.orders[1].is_asked_to_cancel()

    run(scenario())


def test_mass_cancel_stays_within_what_the_user_may_cancel(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            engine = world.engine
            for user, account in (("alice", "ACC1"), ("alice", "ACC2"), ("bob", "ACC1"), ("carol", "ACC3")):
                engine.submit(terms(account=account), core.Client(user, "x"))
            bob = world.client("bob")
            assert list((await bob.orders.MassCancel(pb.MassCancelRequest(key=key(1)))).order_ids) == [3]
            for wrong in ({"account": "ACC2"}, {"account": "NONE"}, {"owner": "alice"}):
                failure = await failing(bob.orders.MassCancel(pb.MassCancelRequest(key=key(2), **wrong)))
                assert failure.status == "PERMISSION_DENIED"
            supervisor = world.client("supervisor")
            assert list((await supervisor.orders.MassCancel(pb.MassCancelRequest(key=key(1)))).order_ids) == [
                1
            ]
            risk = world.client("firm-risk")
            assert list((await risk.orders.MassCancel(pb.MassCancelRequest(key=key(1)))).order_ids) == [2, 4]

    run(scenario())


def test_order_that_the_copy_has_not_heard_of_is_waited_for() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            world.port.is_lagging = True
            entered = await client.orders.SubmitOrder(_submit(1))
            cancel = asyncio.ensure_future(
                client.orders.CancelOrder(pb.CancelOrderRequest(key=key(2), order_id=entered.order_id))
            )
            await next_turns(50)
            assert not cancel.done()
            world.port.catch_up()
            await cancel
            assert world.engine.state.orders[1].is_asked_to_cancel()

    run(scenario())


def test_answered_number_is_asked_again_even_if_the_user_may_no_longer(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = write_users(tmp_path / "users")
        async with World.open(path) as world:
            client = world.client("alice")
            entered = await client.submit()
            cancel = pb.CancelOrderRequest(key=client.next_key(), order_id=entered.order_id)
            await client.orders.CancelOrder(cancel)
            write_users(path, {"alice": {"accounts": ["ACC2"], "actions": ["trade"]}})
            await world.front.authority.reload(is_asked=True)
            await client.orders.CancelOrder(cancel)
            cancel.key.number += 1
            assert (await failing(client.orders.CancelOrder(cancel))).status == "NOT_FOUND"

    run(scenario())
