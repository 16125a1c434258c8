"""RiskService: limits and trading levels, for those who may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.toucan.core.desk import NO_LIMITS, terms
from tests.toucan.server.local_engine import LocalEngine
from tests.toucan.server.support import World, failing, key, run, write_users

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core.order import Client

_LIMITS = (
    NO_LIMITS + '[account.ACC1]\nmax_order_quantity = "1000"\n[trader."ACC1/alice"]\nmax_position = "50"\n'
)


def test_kill_switch_cancels_and_says_which() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            order = world.engine.submit(terms())
            client = world.client()
            kill = pb.SetTradingStateRequest(
                key=key(1), node="firm/alpha", level=tp.TRADING_LEVEL_CANCEL_ALL, reason="enough"
            )
            answer = await client.risk.SetTradingState(kill)
            assert list(answer.order_ids) == [order.order_id]
            assert order.is_asked_to_cancel()
            (node,) = (await client.risk.ListLimits(pb.ListLimitsRequest(node="firm/alpha/ACC1"))).nodes[:1]
            assert (node.level, node.effective_level) == (
                tp.TRADING_LEVEL_NORMAL,
                tp.TRADING_LEVEL_CANCEL_ALL,
            )
            assert node.open_orders == 1
            denied = await failing(client.orders.SubmitOrder(pb.SubmitOrderRequest(key=key(2), terms=tp.OrderTerms(
                account="ACC1", symbol="AAPL", side=tp.SIDE_BUY, type=tp.ORDER_TYPE_MARKET,
                time_in_force=tp.TIME_IN_FORCE_DAY, quantity=1))))  # fmt: skip
            assert denied.denial is not None
            assert denied.denial.node == "firm/alpha"

    run(scenario())


def test_limits_are_listed_set_and_taken_away() -> None:
    async def scenario() -> None:
        async with World.open(engine=LocalEngine(_LIMITS)) as world:
            client = world.client()
            listed = await client.risk.ListLimits(pb.ListLimitsRequest())
            assert [node.node for node in listed.nodes] == [
                "firm", "firm/alpha", "firm/alpha/ACC1", "firm/alpha/ACC1/alice", "firm/alpha/ACC2", "firm/beta", "firm/beta/ACC3"
            ]  # fmt: skip
            assert listed.base_currency == "USD"
            account = listed.nodes[2]
            assert [(limit.name, limit.value) for limit in account.limits] == [("max_order_quantity", "1000")]
            request = pb.SetLimitRequest(
                key=key(1), node="firm/alpha/ACC1", limit="max_order_quantity", value="5", reason="less"
            )
            await client.risk.SetLimit(request)
            (changed, trader) = (
                await client.risk.ListLimits(pb.ListLimitsRequest(node="firm/alpha/ACC1"))
            ).nodes
            assert [limit.value for limit in changed.limits] == ["5"]
            assert trader.node == "firm/alpha/ACC1/alice"
            request = pb.SetLimitRequest(
                key=key(2), node="firm/alpha/ACC1", limit="max_order_quantity", reason="none"
            )
            await client.risk.SetLimit(request)
            (changed, _) = (await client.risk.ListLimits(pb.ListLimitsRequest(node="firm/alpha/ACC1"))).nodes
            assert not changed.limits

    run(scenario())


def test_position_is_adjusted_once() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            request = pb.AdjustPositionRequest(
                key=key(1), account="ACC1", trader="alice", symbol="AAPL", quantity=-7, price=10_000, reason="opening balance"
            )  # fmt: skip
            seq = (await client.risk.AdjustPosition(request)).seq
            assert (await client.risk.AdjustPosition(request)).seq >= seq
            (position,) = (await client.orders.ListPositions(pb.ListPositionsRequest(min_seq=seq))).positions
            assert (position.quantity, position.bought_quantity) == (-7, 0)

    run(scenario())


@pytest.mark.parametrize(
    ("request_", "status", "code", "field"),
    [
        (pb.SetTradingStateRequest(key=key(1), node="firm", level=tp.TRADING_LEVEL_FREEZE), "INVALID_ARGUMENT", "REASON_MISSING", ""),
        (pb.SetTradingStateRequest(key=key(1), node="firm", reason="x"), "INVALID_ARGUMENT", "INVALID_REQUEST", "level"),
        (pb.SetTradingStateRequest(key=key(1), level=tp.TRADING_LEVEL_FREEZE, reason="x"), "INVALID_ARGUMENT", "INVALID_REQUEST", "node"),
        (pb.SetTradingStateRequest(key=key(1), node="none", level=tp.TRADING_LEVEL_FREEZE, reason="x"), "NOT_FOUND", "UNKNOWN_NODE", ""),
        (pb.SetLimitRequest(key=key(1), node="firm", limit="no_limit", value="1", reason="x"), "INVALID_ARGUMENT", "INVALID_LIMIT", ""),
        (pb.SetLimitRequest(key=key(1), node="firm", limit="max_position", value="a", reason="x"), "INVALID_ARGUMENT", "INVALID_LIMIT", ""),
        (pb.SetLimitRequest(key=key(1), node="firm", reason="x"), "INVALID_ARGUMENT", "INVALID_REQUEST", "limit"),
        (pb.SetLimitRequest(node="firm", limit="max_position", reason="x"), "INVALID_ARGUMENT", "INVALID_REQUEST", "key"),
        (pb.AdjustPositionRequest(key=key(1), account="ACC1", trader="a", symbol="AAPL", quantity=2**62, reason="x"), "INVALID_ARGUMENT",
         "INVALID_REQUEST", "quantity"),
        (pb.AdjustPositionRequest(key=key(1), account="ACC1", trader="a", symbol="NONE", quantity=1, reason="x"), "NOT_FOUND",
         "UNKNOWN_INSTRUMENT", ""),
        (pb.ListLimitsRequest(node="firm/none"), "NOT_FOUND", "UNKNOWN_NODE", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_what_makes_no_sense_is_refused(request_: Any, status: str, code: str, field: str) -> None:
    async def scenario() -> None:
        async with World.open() as world:
            method = type(request_).__name__.removesuffix("Request")
            failure = await failing(getattr(world.client().risk, method)(request_))
            assert (failure.status, failure.code, failure.field) == (status, code, field)

    run(scenario())


def test_node_is_for_those_who_have_all_accounts_below_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users"), LocalEngine(_LIMITS)) as world:
            desk, firm, trader = (world.client(name) for name in ("desk-risk", "firm-risk", "alice"))
            for number, (node, may) in enumerate((
                ("firm", False), ("firm/beta", False), ("firm/beta/ACC3", False), ("firm/none", False),
                ("firm/alpha", True), ("firm/alpha/ACC1", True), ("firm/alpha/ACC2/bob", True),
            ), 1):  # fmt: skip
                kill = pb.SetTradingStateRequest(
                    key=key(2 * number), node=node, level=tp.TRADING_LEVEL_BLOCK_NEW, reason="x"
                )
                limit = pb.SetLimitRequest(
                    key=key(2 * number + 1), node=node, limit="max_position", value="9", reason="x"
                )
                if may:
                    await desk.risk.SetTradingState(kill)
                    await desk.risk.SetLimit(limit)
                else:
                    for call in (desk.risk.SetTradingState(kill), desk.risk.SetLimit(limit)):
                        assert (await failing(call)).status == "PERMISSION_DENIED"
                for call in (trader.risk.SetTradingState(kill), trader.risk.SetLimit(limit)):
                    assert (await failing(call)).status == "PERMISSION_DENIED"
            seen = await desk.risk.ListLimits(pb.ListLimitsRequest())
            assert {node.node.split("/")[1] for node in seen.nodes} == {"alpha"}
            assert await desk.risk.ListLimits(pb.ListLimitsRequest(node="firm")) == seen
            assert len((await firm.risk.ListLimits(pb.ListLimitsRequest())).nodes) == 8
            foreign = pb.AdjustPositionRequest(
                key=key(900), account="ACC3", trader="carol", symbol="AAPL", quantity=1, price=1, reason="x"
            )  # fmt: skip
            assert (await failing(desk.risk.AdjustPosition(foreign))).status == "PERMISSION_DENIED"
            await firm.risk.AdjustPosition(foreign)
            assert world.engine.state.positions.quantity("ACC3", "AAPL", "carol") == 1

    run(scenario())


def test_who_did_it_is_in_the_event() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            request = pb.SetLimitRequest(
                key=key(1, "window"), node="firm", limit="max_position", value="9", reason="calm"
            )
            await world.client().risk.SetLimit(request)
            event = next(
                event for _, _, event in reversed(world.engine.events) if type(event).__name__ == "LimitSet"
            )
            assert event.by == Client("local", "window")  # type: ignore[union-attr]
            assert event.reason == "calm"  # type: ignore[union-attr]

    run(scenario())
