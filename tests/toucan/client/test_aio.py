"""The client for asyncio does what the one for threads does: the same requests, the same resends, the same streams."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from decimal import Decimal
from typing import Any

import pytest
from tests.toucan.client.mini_engine import MiniEngine
from tests.toucan.client.mini_server import MiniServer, lost

from toucan.client import (
    Blotter,
    Denied,
    InvalidRequest,
    OrderUpdate,
    OrdStatus,
    OutcomeUnknown,
    Refused,
    ServerUnavailable,
    Toucan,
    aio,
)
from toucan.client.session import Session


def run(main: Coroutine[Any, Any, None]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(60):
            await main

    asyncio.run(within_time())


def test_it_has_the_same_methods_with_the_same_parameters() -> None:
    for threads, tasks in ((Toucan, aio.Toucan), (Session, aio.Session)):
        for name, method in vars(threads).items():
            if name.startswith("_") or not inspect.isfunction(method) or name == "check":
                continue
            assert (
                inspect.signature(method).parameters.keys()
                == inspect.signature(getattr(tasks, name)).parameters.keys()
            )


def test_requests_of_every_kind(server: MiniServer) -> None:
    async def main() -> None:
        async with aio.connect(server.address) as client:
            accepted = await client.buy("AAPL", 100, price="189.45", tif="gtc")
            assert (await client.order(accepted.order_id)).price == Decimal("189.45")
            await client.replace(accepted.order_id, price="189.40")
            assert [order.price for order in await client.orders(is_open=True)] == [Decimal("189.40")]
            await client.cancel(accepted.order_id)
            with pytest.raises(Refused, match="order 1 is over"):
                await client.cancel(accepted.order_id)
            with pytest.raises(Denied, match="above 10000"):
                await client.buy("AAPL", 20_000, price="1")
            with pytest.raises(InvalidRequest, match="multiple of the tick"):
                await client.buy("AAPL", 1, price="1.001")
            with pytest.raises(TypeError, match="is a float"):
                await client.buy("AAPL", 1, price=1.5)  # type: ignore[arg-type]
            await client.sell("AAPL", 10, price="market")
            assert [position.quantity for position in await client.positions()] == [-10]
            assert (await client.preview("buy", "AAPL", 1, price="1")).denials == ()
            assert (await client.identity()).accounts == ("ACC1",)
            assert len(await client.instruments()) == 3
            await client.set_limit("firm", "max_x", "1", "why")
            await client.set_trading_state("firm", "normal", "why")
            await client.adjust_position("ACC1", "AAPL", 1, "189", "why")
            assert len((await client.limits()).nodes) == 2
            assert (await client.mass_cancel()).order_ids == ()

    run(main())


def test_many_tasks_of_one_client(server: MiniServer) -> None:
    async def main() -> None:
        async with aio.connect(server.address) as client:
            answers = await asyncio.gather(*(client.buy("AAPL", 1, price="1") for _ in range(50)))
            assert sorted(answer.order_id for answer in answers) == list(range(1, 51))

    run(main())
    assert len(server.engine.executed) == 50


@pytest.mark.parametrize("where", ["faults", "faults_after"])
def test_a_request_that_got_no_answer_is_carried_out_once(server: MiniServer, where: str) -> None:
    async def main() -> None:
        async with aio.connect(server.address) as client:
            getattr(server.engine, where).extend([lost] * 3)
            assert (await client.buy("AAPL", 1, price="1")).order_id == 1

    run(main())
    assert len(server.engine.executed) == 1


def test_kill_unknown_and_unavailable(server: MiniServer) -> None:
    async def main() -> None:
        async with aio.connect(server.address, timeout_s=0.3) as client:
            await client.instruments()
            await client.identity()
            server.engine.faults_after.extend([lost] * 100)
            with pytest.raises(OutcomeUnknown) as error:
                await client.buy("AAPL", 1, price="1")
            server.engine.faults_after.clear()
            assert (await client.ask_again(error.value)).order_id == 1
            await asyncio.to_thread(server.kill)
            with pytest.raises(ServerUnavailable, match="nothing answers"):
                await client.orders()
            server.start()
            assert len(await client.orders()) == 1

    run(main())


def test_a_frozen_server_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toucan.client.aio.connection.ATTEMPT_TIMEOUT_S", 0.2)
    engine = MiniEngine()
    frozen, lively = MiniServer(engine), MiniServer(engine)

    async def main() -> None:
        async with aio.connect(f"{frozen.address},{lively.address}") as client:
            await client.instruments()
            frozen.running.clear()
            assert (await client.buy("AAPL", 1, price="1")).order_id == 1

    try:
        run(main())
        assert len(engine.executed) == 1
        assert "SubmitOrderRequest" in lively.requests
    finally:
        frozen.close()
        lively.close()


def test_a_cancelled_task_is_cancelled(server: MiniServer) -> None:
    async def main() -> None:
        async with aio.connect(server.address) as client:
            await client.instruments()
            await client.identity()
            server.running.clear()
            task = asyncio.create_task(client.buy("AAPL", 1, price="1"))
            await until(lambda: "SubmitOrderRequest" in server.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            server.running.set()
            # Its number may have been used: the next one is another.
            assert (await client.buy("AAPL", 1, price="1")).key.number == 2

    run(main())


async def until(is_true: Callable[[], bool]) -> None:
    while not is_true():
        await asyncio.sleep(0.002)


def test_kills_and_drops_leave_no_gap_and_no_repeat(server: MiniServer) -> None:
    updates: list[OrderUpdate] = []
    blotter = Blotter()

    async def follow(client: aio.Toucan) -> None:
        async with client.watch_orders() as watch:
            async for batch in watch.batches():
                updates.extend(blotter.apply(batch))

    async def main() -> None:
        async with aio.connect(server.address) as client, aio.connect(server.address) as writer:
            task = asyncio.create_task(follow(client))
            for round_number in range(6):
                for _ in range(5):
                    await writer.buy("AAPL", 1, price="189.50" if round_number % 2 else "1")
                if round_number % 2:
                    await asyncio.to_thread(server.kill)
                    server.start()
                else:
                    server.drop_streams()
            await until(lambda: any(update.seq == server.engine.seq for update in updates))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())
    seqs = [update.seq for update in updates if not update.is_snapshot]
    assert seqs == list(range(server.engine.seq - len(seqs) + 1, server.engine.seq + 1))
    assert {order.order_id: order.status for order in blotter} == {
        order_id: OrdStatus(order.status) for order_id, order in server.engine.orders.items()
    }


def test_streams_of_every_kind_and_their_ends(server: MiniServer) -> None:
    async def main() -> None:
        async with aio.connect(server.address) as client:
            await client.buy("AAPL", 5, price="market")
            positions = client.watch_positions()
            assert (await anext(positions)).quantity == 5
            positions.close()
            assert [position async for position in positions] == []
            assert (await anext(client.watch_market_data(["AAPL"], depth=2))).book.bids[0].price == Decimal(
                "189.40"
            )
            with pytest.raises(Refused, match="there is no XYZ"):
                await anext(client.watch_market_data(["XYZ"]))
            event = await anext(client.drop_copy(after_seq=0))
            assert getattr(event, "event", "") == "OrderAccepted"
            assert len([update async for update in client.watch_orders(timeout_s=0.3)]) == 1

    run(main())


def test_a_silent_stream_is_begun_anew(server: MiniServer) -> None:
    async def main() -> None:
        async with (
            aio.connect(server.address, stream_silence_s=0.3) as client,
            client.watch_orders() as watch,
        ):
            assert await watch.next_batch() is not None
            server.is_mute = True
            task = asyncio.create_task(anext(watch))
            await until(lambda: "silent for 0.3 s" in watch.trouble)
            server.is_mute = False
            await client.buy("AAPL", 1, price="1")
            assert (await task).order.order_id == 1

    run(main())


def test_an_instrument_table_that_cannot_be_had_is_waited_for(server: MiniServer) -> None:
    async def main() -> None:
        async with aio.connect(server.address) as writer, writer.session("mm") as session:
            seq = (await (await session.buy("AAPL", 1, price="1"))).seq
        server.has_no_table = True
        async with aio.connect(server.address, timeout_s=0.2) as client, client.watch_orders() as watch:
            task = asyncio.create_task(anext(watch))
            await until(lambda: "the engine is away" in watch.trouble)
            async with client.session("mm", after_seq=seq - 1, timeout_s=20) as session:
                await until(lambda: "the engine is away" in session.trouble)
                server.has_no_table = False
                assert (await anext(session.updates())).seq == seq
            assert (await task).order.order_id == 1

    run(main())


def test_a_session_over_kills(server: MiniServer) -> None:
    async def main() -> None:
        async with aio.connect(server.address) as client:
            async with client.session("mm", timeout_s=30) as session:
                futures: list[Awaitable[Any]] = []
                for _ in range(4):
                    futures += [await session.buy("AAPL", 1, price="1") for _ in range(40)]
                    await asyncio.to_thread(server.kill)
                    server.start()
                answers = await asyncio.gather(*futures)
                assert sorted(answer.order_id for answer in answers) == list(range(1, 161))
                updates = [update async for update in session.updates(timeout_s=0.3)]
                assert [update.seq for update in updates] == sorted({update.seq for update in updates})
                assert len(updates) == 320
                with pytest.raises(Refused, match="there is no order 999"):
                    await (await session.cancel(999))
            with pytest.raises(Refused, match="the session is closed"):
                await session.cancel(1)

    run(main())
    assert len(server.engine.executed) == 161


def test_a_session_left_by_an_exception_is_broken_off(server: MiniServer) -> None:
    async def main() -> None:
        async with aio.connect(server.address) as client:
            session = await client.session(cancel_on_disconnect_s=0.05)
            await (await session.buy("AAPL", 1, price="1"))
            with pytest.raises(ZeroDivisionError):
                async with session:
                    raise ZeroDivisionError
            await until(lambda: OrdStatus(server.engine.orders[1].status) is OrdStatus.CANCELED)

    run(main())


def test_a_session_without_an_answer_is_unknown(server: MiniServer) -> None:
    async def main() -> None:
        async with aio.connect(server.address) as client:
            await client.instruments()
            session = await client.session("mm", timeout_s=0.5)
            server.running.clear()
            with pytest.raises(OutcomeUnknown, match="mm/1"):
                await (await session.buy("AAPL", 1, price="1", account="ACC1"))
            server.running.set()
            await session.close()

    run(main())


def test_another_stream_takes_the_sessions_place(server: MiniServer) -> None:
    async def main() -> None:
        async with aio.connect(server.address) as client, aio.connect(server.address) as other:
            first, second = await client.session("mm"), await other.session("mm")
            with pytest.raises(Refused, match="has taken this session"):
                async for _ in first.updates():
                    pass
            await first.abort()
            await second.close()

    run(main())
