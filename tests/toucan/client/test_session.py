"""Sessions over real sockets: many requests in flight, over kills, each with its one answer; and what happens to the orders at the end."""

from __future__ import annotations

import threading
import time

import pytest
from tests.toucan.client.mini_server import MiniServer, exhausted, lost
from tests.toucan.client.test_streams import Server, find
from tests.toucan.client.test_watch import until

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as types
from toucan.client import (
    Denied,
    InvalidRequest,
    OrdStatus,
    OutcomeUnknown,
    Refused,
    ServerUnavailable,
    Side,
    Toucan,
    connect,
)
from toucan.client.limits import SESSION_UPDATES_MAX
from toucan.client.session import UpdateQueue
from toucan.client.streams import OrderStream


def statuses(server: MiniServer) -> list[OrdStatus]:
    return [OrdStatus(order.status) for order in server.engine.orders.values()]


def test_many_in_flight_are_answered_in_order(client: Toucan, server: MiniServer) -> None:
    with client.session() as session:
        futures = [session.buy("AAPL", 1, price="1") for _ in range(300)]
        assert [future.result().order_id for future in futures] == list(range(1, 301))
    numbers = [number for _, name, number, _ in server.engine.executed if name == session.name]
    assert numbers == list(range(1, 301))


def test_errors_come_with_the_future_and_ours_at_once(client: Toucan) -> None:
    with client.session() as session:
        denied = session.buy("AAPL", 20_000, price="1")
        refused = session.cancel(99)
        with pytest.raises(Denied, match="above 10000"):
            denied.result()
        with pytest.raises(Refused, match="there is no order 99"):
            refused.result()
        with pytest.raises(InvalidRequest, match="multiple of the tick"):
            session.sell("AAPL", 1, price="1.001")
        with pytest.raises(TypeError, match="is a float"):
            session.sell("AAPL", 1, price=1.5)  # type: ignore[arg-type]
        assert session.buy("AAPL", 1000, price="189", is_confirmed=True).result().order_id == 1
        session.replace(1, "AAPL", price="1.01").result()
        assert str(client.order(1).price) == "1.01"
        assert session.mass_cancel(side=Side.BUY).result().order_ids == (1,)


def test_updates_are_of_its_own_orders(client: Toucan) -> None:
    with client.session() as session:
        client.buy("AAPL", 1, price="1")
        order_id = session.buy("AAPL", 1, price="189.50").result().order_id
        updates = session.updates()
        found = [next(updates) for _ in range(3)]
        assert [update.order.status for update in found] == [
            OrdStatus.PENDING_NEW,
            OrdStatus.NEW,
            OrdStatus.FILLED,
        ]
        assert {update.order.order_id for update in found} == {order_id}
        assert list(session.updates(timeout_s=0.05)) == []


def test_kills_lose_no_request_and_repeat_none(client: Toucan, server: MiniServer) -> None:
    updates = []
    with client.session("mm", timeout_s=30) as session:
        futures = []
        for _ in range(4):
            futures += [session.buy("AAPL", 1, price="1") for _ in range(40)]
            server.kill()
            server.start()
        order_ids = [future.result().order_id for future in futures]
        updates += list(session.updates(timeout_s=0.3))
    assert sorted(order_ids) == list(range(1, 161))
    assert len(server.engine.executed) == 160
    seqs = [update.seq for update in updates]
    assert seqs == sorted(set(seqs))
    assert len(seqs) == 320


@pytest.mark.parametrize("fault", [lost, exhausted])
def test_trouble_at_the_engine_is_waited_for(client: Toucan, server: MiniServer, fault: object) -> None:
    with client.session() as session:
        server.engine.faults.extend([fault] * 3)  # type: ignore[list-item]
        assert session.buy("AAPL", 1, price="1").result().order_id == 1
    assert len(server.engine.executed) == 1


def test_no_answer_in_time_is_unknown_with_the_key(client: Toucan, server: MiniServer) -> None:
    client.instruments()
    session = client.session("mm", timeout_s=0.5)
    server.running.clear()
    future = session.buy("AAPL", 1, price="1", account="ACC1")
    with pytest.raises(OutcomeUnknown) as error:
        future.result()
    assert str(error.value.key) == "mm/1"
    server.running.set()
    assert client.ask_again(error.value).order_id == 1
    session.close()
    assert len(server.engine.executed) == 1


def test_a_restarted_program_goes_on_with_its_numbers(server: MiniServer) -> None:
    keys = []
    for _ in range(2):
        with connect(server.address) as client, client.session("mm") as session:
            keys += [session.buy("AAPL", 1, price="1").result().key.number for _ in range(3)]
    assert keys == [1, 2, 3, 4, 5, 6]


def test_left_in_order_its_orders_stay(client: Toucan, server: MiniServer) -> None:
    with client.session(cancel_on_disconnect_s=0.0) as session:
        session.buy("AAPL", 1, price="1").result()
    with pytest.raises(Refused, match="the session is closed"):
        session.cancel(1)
    assert all(update.order.order_id == 1 for update in session.updates())  # and it ends
    assert statuses(server) == [OrdStatus.NEW]


def test_left_by_an_exception_its_orders_are_cancelled(client: Toucan, server: MiniServer) -> None:
    session = client.session(cancel_on_disconnect_s=0.05)
    session.buy("AAPL", 1, price="1").result()
    with pytest.raises(ZeroDivisionError), session:
        raise ZeroDivisionError
    until(lambda: statuses(server) == [OrdStatus.CANCELED])


def test_a_break_shorter_than_the_grace_cancels_nothing(client: Toucan, server: MiniServer) -> None:
    with client.session(cancel_on_disconnect_s=20) as session:
        session.buy("AAPL", 1, price="1").result()
        server.kill()
        server.start()
        assert session.buy("AAPL", 1, price="1").result().order_id == 2
        assert statuses(server) == [OrdStatus.NEW, OrdStatus.NEW]


def test_a_silent_stream_is_made_anew(server: MiniServer) -> None:
    with connect(server.address, stream_silence_s=0.3) as client, client.session() as session:
        server.is_mute = True
        until(lambda: "silent" in session.trouble)
        server.is_mute = False
        assert session.buy("AAPL", 1, price="1").result().order_id == 1


def test_an_instrument_table_that_cannot_be_had_is_waited_for(server: MiniServer) -> None:
    with connect(server.address) as first, first.session("mm") as session:
        seq = session.buy("AAPL", 1, price="1").result().seq
    server.has_no_table = True
    with (
        connect(server.address, timeout_s=0.2) as client,
        client.session("mm", after_seq=seq - 1, timeout_s=20) as session,
    ):
        until(lambda: "the engine is away" in session.trouble)
        server.has_no_table = False
        assert next(session.updates()).seq == seq


def test_another_stream_of_the_same_session_takes_its_place(server: MiniServer) -> None:
    with connect(server.address) as client, connect(server.address) as other:
        first = client.session("mm")
        with other.session("mm") as second:
            with pytest.raises(Refused, match="another stream has taken this session"):
                list(first.updates())
            with pytest.raises(Refused, match="another stream has taken this session"):
                first.cancel(1)
            assert second.buy("AAPL", 1, price="1").result().order_id == 1
        first.abort()


def test_an_orderly_end_that_cannot_be_told_is_an_error(client: Toucan, server: MiniServer) -> None:
    session = client.session()
    server.kill()
    with pytest.raises(ServerUnavailable, match="could not be told"):
        session.close(timeout_s=0.2)
    server.start()


def test_no_server_no_session(server: MiniServer) -> None:
    server.kill()
    with (
        connect(server.address) as client,
        pytest.raises(ServerUnavailable, match=r"was not opened within 0.2 s: nothing"),
    ):
        client.session(timeout_s=0.2)
    server.start()


def test_futures_of_a_closed_client_do_not_hang(server: MiniServer) -> None:
    client = connect(server.address)
    client.instruments()
    session = client.session(timeout_s=30)
    server.running.clear()
    future = session.buy("AAPL", 1, price="1", account="ACC1")
    until(lambda: session._core.unanswered == 1 and session._core.next_message(time.monotonic()) is None)
    client.close()
    with pytest.raises((OutcomeUnknown, ServerUnavailable)):
        future.result(timeout=20)
    session.abort()
    server.running.set()


def test_requests_from_many_threads_each_get_their_own_answer(client: Toucan, server: MiniServer) -> None:
    client.instruments()
    found: list[int] = []
    with client.session() as session:

        def work() -> None:
            futures = [session.buy("AAPL", 1, price="1") for _ in range(30)]
            found.extend(future.result().order_id for future in futures)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == list(range(1, 181))
    assert len(server.engine.executed) == 180


def test_updates_that_nobody_takes_are_conflated_per_order() -> None:
    server, queue, stream = Server(), UpdateQueue(), OrderStream(pb.OrderFilter(), after_seq=0)
    assert SESSION_UPDATES_MAX == 10_000
    for number in range(SESSION_UPDATES_MAX):
        server.change(number % 3, types.ORDER_STATUS_NEW)
    for response in server.stream(stream.request(), 5000):
        queue.put(stream.take(response, find).news)
    assert (len(queue), queue.conflated) == (SESSION_UPDATES_MAX, 0)
    server.change(0, types.ORDER_STATUS_FILLED)
    for response in server.stream(stream.request(), 5000):
        queue.put(stream.take(response, find).news)
    assert (len(queue), queue.conflated) == (3, SESSION_UPDATES_MAX - 2)
    assert [queue.take().seq for _ in range(3)] == [9998, 9999, 10_001]
