"""Reads from the front end's copy: what is there, in pages, as of an event, within what the user may see."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.toucan.core.desk import ALICE, BOB, terms
from tests.toucan.server.support import World, failing, next_turns, run, write_users

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core.order import Client
from toucan.core.values import ExecType, Side
from toucan.core.venue_messages import Quote
from toucan.server.limits import ORDERS_PAGE_MAX, ORDERS_SCANNED_PER_TURN


def test_orders_come_newest_first_in_pages_without_gap_or_repeat() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            for number in range(25):
                world.engine.submit(terms(symbol="AAPL" if number % 2 else "MSFT"))
            found: list[int] = []
            token = ""
            while True:
                request = pb.ListOrdersRequest(
                    filter=pb.OrderFilter(symbols=["AAPL"]), page_size=5, page_token=token
                )
                page = await client.orders.ListOrders(request)
                found += [order.order_id for order in page.orders]
                token = page.next_page_token
                assert page.seq == world.engine.state.seq
                if not token:
                    break
                world.engine.submit(terms())  # newer ones do not move the pages
            assert found == [*range(24, 0, -2)]

    run(scenario())


def test_filters_of_orders_are_all_to_be_met() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            engine, client = world.engine, world.client()
            engine.working(terms(), ALICE)
            engine.working(terms(side=Side.SELL, account="ACC2"), BOB)
            done = engine.working(terms(), BOB)
            engine.fill(done, 100, 10_000, "e1")
            engine.submit(terms(), BOB)

            async def ids(**wanted: object) -> list[int]:
                request = pb.ListOrdersRequest(filter=pb.OrderFilter(**wanted))  # type: ignore[arg-type]
                return [order.order_id for order in (await client.orders.ListOrders(request)).orders]

            assert await ids() == [4, 3, 2, 1]
            assert await ids(accounts=["ACC2"]) == [2]
            assert await ids(side=tp.SIDE_BUY) == [4, 3, 1]
            assert await ids(owners=["bob"]) == [4, 3, 2]
            assert await ids(is_open=True) == [4, 2, 1]
            assert await ids(statuses=[tp.ORDER_STATUS_FILLED, tp.ORDER_STATUS_PENDING_NEW]) == [4, 3]
            assert await ids(owners=["bob"], is_open=True, side=tp.SIDE_SELL) == [2]
            assert await ids(symbols=["NONE"]) == []

    run(scenario())


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListOrdersRequest(page_size=-1), "page_size"),
        (pb.ListOrdersRequest(page_size=ORDERS_PAGE_MAX + 1), "page_size"),
        (pb.ListOrdersRequest(page_token="x"), "page_token"),
        (pb.ListOrdersRequest(page_token="9" * 100), "page_token"),
        (pb.ListOrdersRequest(min_seq=-1), "min_seq"),
        (pb.GetOrderRequest(order_id=0), "order_id"),
        (pb.GetOrderRequest(order_id=1, min_seq=-1), "min_seq"),
    ],
)
def test_what_cannot_be_asked_is_named(
    request_: pb.ListOrdersRequest | pb.GetOrderRequest, field: str
) -> None:
    async def scenario() -> None:
        async with World.open() as world:
            method = type(request_).__name__.removesuffix("Request")
            failure = await failing(getattr(world.client().orders, method)(request_))
            assert (failure.status, failure.field) == ("INVALID_ARGUMENT", field)

    run(scenario())


def test_largest_page_and_a_scan_over_several_turns() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            count = ORDERS_SCANNED_PER_TURN + ORDERS_PAGE_MAX // 2
            world.engine.submit(terms(account="ACC2"))
            for _ in range(count):
                world.engine.submit(terms())
            client = world.client()
            page = await client.orders.ListOrders(pb.ListOrdersRequest(page_size=ORDERS_PAGE_MAX))
            assert len(page.orders) == ORDERS_PAGE_MAX
            assert page.next_page_token
            request = pb.ListOrdersRequest(filter=pb.OrderFilter(accounts=["ACC2"]))
            oldest = await client.orders.ListOrders(request)
            assert [order.order_id for order in oldest.orders] == [1]

    run(scenario())


def test_read_waits_for_an_event_and_not_for_ever() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client = world.client()
            world.port.is_lagging = True
            order = world.engine.submit(terms())
            seq = world.engine.state.seq
            reading = asyncio.ensure_future(
                client.orders.GetOrder(pb.GetOrderRequest(order_id=order.order_id, min_seq=seq))
            )
            await next_turns(50)
            assert not reading.done()
            world.port.catch_up()
            assert (await reading).order.order_id == order.order_id
            late = await failing(
                client.orders.GetOrder(pb.GetOrderRequest(order_id=1, min_seq=2**62), timeout=0.2)
            )
            assert late.status == "DEADLINE_EXCEEDED"
            assert late.code in ("NOT_CAUGHT_UP", "")  # the client's clock may have been first
            world.port.go_away()
            away = await failing(
                client.orders.GetOrder(pb.GetOrderRequest(order_id=1, min_seq=2**62), timeout=0.2)
            )
            assert away.status in ("UNAVAILABLE", "DEADLINE_EXCEEDED")

    run(scenario())


def test_accounts_of_others_are_not_seen(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            for account in ("ACC1", "ACC2", "ACC3"):
                order = world.engine.working(terms(account=account), Client("alice", "x"))
                world.engine.fill(order, 1, 10_000, f"e{account}")
            for user, accounts in (
                ("alice", ["ACC1", "ACC2"]),
                ("carol", ["ACC3"]),
                ("firm-risk", ["ACC1", "ACC2", "ACC3"]),
            ):
                client = world.client(user)
                orders = await client.orders.ListOrders(pb.ListOrdersRequest())
                assert sorted(order.terms.account for order in orders.orders) == accounts
                positions = await client.orders.ListPositions(pb.ListPositionsRequest())
                assert sorted(position.account for position in positions.positions) == accounts
            carol = world.client("carol")
            for account in ("ACC1", "NONE"):
                named = pb.ListOrdersRequest(filter=pb.OrderFilter(accounts=["ACC3", account]))
                assert (await failing(carol.orders.ListOrders(named))).status == "PERMISSION_DENIED"
                failure = await failing(
                    carol.orders.ListPositions(pb.ListPositionsRequest(accounts=[account]))
                )
                assert (failure.status, failure.code) == ("PERMISSION_DENIED", "NOT_ENTITLED")
            nobody = world.client("nobody")
            for call in (
                nobody.orders.ListOrders(pb.ListOrdersRequest()),
                nobody.orders.GetOrder(pb.GetOrderRequest(order_id=1)),
                nobody.orders.ListPositions(pb.ListPositionsRequest()),
                nobody.risk.ListLimits(pb.ListLimitsRequest()),
            ):
                assert (await failing(call)).status == "PERMISSION_DENIED"
            assert len((await nobody.orders.ListInstruments(pb.ListInstrumentsRequest())).instruments) == 3

    run(scenario())


def test_positions_with_marks_and_amounts() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            client, engine = world.client(), world.engine
            order = engine.working(terms(quantity=3), BOB)
            engine.fill(order, 1, 10_000, "e1")
            engine.fill(order, 2, 10_001, "e2")
            sold = engine.working(terms(quantity=1, side=Side.SELL, price=10_100), BOB)
            engine.fill(sold, 1, 10_100, "e3")
            answer = await client.orders.ListPositions(
                pb.ListPositionsRequest(by_trader=True, min_seq=engine.state.seq)
            )
            whole, own = answer.positions
            assert (whole.trader, own.trader) == ("", "bob")
            assert (whole.quantity, whole.bought_quantity, whole.sold_quantity) == (2, 3, 1)
            assert whole.average_price == "100.006666666667"
            assert whole.currency == "USD"
            assert not whole.HasField("mark_price")
            assert not whole.HasField("unrealised_profit")
            assert whole.updated_seq == engine.state.seq
            engine.quote(Quote("AAPL", 1, bid_price=10_100, ask_price=10_300))
            (marked,) = (
                await client.orders.ListPositions(pb.ListPositionsRequest(symbols=["AAPL"]))
            ).positions
            assert (marked.mark_price, marked.unrealised_profit) == (10_200, "3.99")
            assert not (
                await client.orders.ListPositions(pb.ListPositionsRequest(symbols=["MSFT"]))
            ).positions
            engine.fill(engine.working(terms(quantity=2, side=Side.SELL, price=10_100), BOB), 2, 10_100, "e4")
            (flat,) = (await client.orders.ListPositions(pb.ListPositionsRequest())).positions
            assert not flat.HasField("average_price")
            assert flat.realised_profit == "2.98"

    run(scenario())


def test_amounts_of_an_instrument_that_is_gone_are_left_out() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            engine = world.engine
            order = engine.working(terms())
            engine.fill(order, 1, 10_000, "e1")
            del world.port.instruments["AAPL"]
            client = world.client()
            read = (await client.orders.GetOrder(pb.GetOrderRequest(order_id=1))).order
            assert (read.cum_quantity, read.HasField("average_price")) == (1, False)
            (position,) = (await client.orders.ListPositions(pb.ListPositionsRequest())).positions
            assert (position.quantity, position.realised_profit, position.currency) == (1, "", "")

    run(scenario())


def test_order_of_the_venues_own_and_its_words() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            order = world.engine.submit(terms())
            world.engine.report(
                kind=ExecType.REJECTED, cl_ord_id=order.cl_ord_id, reason="halted", text="no trading now"
            )
            read = (await world.client().orders.GetOrder(pb.GetOrderRequest(order_id=1))).order
            assert (read.status, read.reason, read.text) == (
                tp.ORDER_STATUS_REJECTED,
                "halted",
                "no trading now",
            )

    run(scenario())


def test_instrument_table() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            answer = await world.client().orders.ListInstruments(pb.ListInstrumentsRequest())
            table = {one.symbol: one for one in answer.instruments}
            assert set(table) == {"AAPL", "MSFT", "BTC-USD"}
            assert (table["BTC-USD"].quantity_decimals, table["BTC-USD"].is_open) == (8, True)
            assert table["AAPL"].session_end_ns > 1_700_000_000_000_000_000

    run(scenario())
