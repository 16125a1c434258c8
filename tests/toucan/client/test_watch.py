"""Streams over real sockets: they go on over kills, drops, silences and forgotten histories, and say how they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from tests.toucan.client.mini_engine import MiniEngine, User
from tests.toucan.client.mini_server import MiniServer

from toucan.client import (
    Blotter,
    DropCopyGap,
    ExecType,
    NotEntitled,
    OrderUpdate,
    OrdStatus,
    Refused,
    ServerUnavailable,
    Toucan,
    connect,
)


def until(is_true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Waits for something that another thread does."""
    deadline_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline_s, "it has not happened"
        time.sleep(0.002)


class Follower:
    """A thread that takes all updates."""

    def __init__(self, client: Toucan, **options: object) -> None:
        self.watch = client.watch_orders(**options)  # type: ignore[arg-type]
        self.updates: list[OrderUpdate] = []
        self.blotter = Blotter()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for batch in self.watch.batches():
                self.updates += self.blotter.apply(batch)
        except BaseException as error:
            self.error = error

    def join(self) -> None:
        self.watch.close()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def has(self, seq: int) -> bool:
        return any(update.seq >= seq for update in self.updates)


def test_a_snapshot_comes_first_and_then_every_change(client: Toucan) -> None:
    first = [client.buy("AAPL", 1, price="1").order_id for _ in range(3)]
    with client.watch_orders(is_open=True) as watch:
        snapshot = [next(watch) for _ in range(3)]
        assert [(one.order.order_id, one.is_snapshot, one.event) for one in snapshot] == [
            (order_id, True, "Snapshot") for order_id in first
        ]
        accepted = client.buy("AAPL", 5, price="189.50")
        changes = [next(watch) for _ in range(3)]
        assert [change.execution_type for change in changes] == [None, ExecType.NEW, ExecType.TRADE]
        assert [change.event for change in changes] == ["OrderAccepted", "Reported", "Reported"]
        fill = changes[-1].fill
        assert fill is not None
        assert (str(fill.quantity), str(fill.price), fill.exec_ref_id) == ("5", "189.50", "")
        assert changes[-1].order.order_id == accepted.order_id
        assert changes[-1].order.status is OrdStatus.FILLED


def test_resumes_after_an_event_that_another_life_has_seen(client: Toucan) -> None:
    seq = client.buy("AAPL", 1, price="1").seq
    client.buy("AAPL", 1, price="2")
    with client.watch_orders(after_seq=seq) as watch:
        assert [next(watch).seq for _ in range(3)] == [seq + 1, seq + 2, seq + 3]


def test_kills_and_drops_leave_no_gap_and_no_repeat(client: Toucan, server: MiniServer) -> None:
    follower = Follower(client)
    writer = connect(server.address)
    for round_number in range(6):
        for _ in range(5):
            writer.buy("AAPL", 1, price="189.50" if round_number % 2 else "1")
        if round_number % 3 == 0:
            server.drop_streams()
        elif round_number % 3 == 1:
            server.kill()
            server.start()
    until(lambda: follower.has(server.engine.seq))
    follower.join()
    writer.close()
    assert follower.error is None
    seqs = [update.seq for update in follower.updates if not update.is_snapshot]
    first = server.engine.seq - len(seqs) + 1
    assert seqs == list(range(first, server.engine.seq + 1))
    assert {order.order_id: order.status for order in follower.blotter} == {
        order_id: OrdStatus(order.status) for order_id, order in server.engine.orders.items()
    }


def test_a_forgotten_history_becomes_a_snapshot_of_what_changed(client: Toucan, server: MiniServer) -> None:
    kept, changed = client.buy("AAPL", 1, price="1").order_id, client.buy("AAPL", 1, price="1").order_id
    follower = Follower(client)
    until(lambda: len(follower.updates) == 2 and follower.watch.is_connected)
    until(lambda: follower.blotter.seq == server.engine.seq)
    server.kill()
    server.engine.fill(changed, 1, 100)
    server.engine.forget_history()
    server.start()
    until(lambda: len(follower.updates) == 3)
    follower.join()
    assert follower.updates[-1].is_snapshot
    assert follower.updates[-1].order.order_id == changed
    statuses = {order.order_id: order.status for order in follower.blotter}
    assert statuses == {kept: OrdStatus.NEW, changed: OrdStatus.FILLED}


def test_a_silent_stream_is_begun_anew(server: MiniServer) -> None:
    with connect(server.address, stream_silence_s=0.3) as client:
        follower = Follower(client)
        until(lambda: follower.watch.is_connected)
        server.is_mute = True
        until(lambda: "silent for 0.3 s" in follower.watch.trouble)
        server.is_mute = False
        client.buy("AAPL", 1, price="1")
        until(lambda: follower.has(2))
        follower.join()
    assert [update.seq for update in follower.updates] in ([1, 2], [2])
    assert server.requests.count("WatchOrdersRequest") >= 2


def test_a_slow_reader_is_not_a_silent_server(server: MiniServer) -> None:
    with connect(server.address, stream_silence_s=0.3) as client, client.watch_orders() as watch:
        assert watch.next_batch() is not None
        time.sleep(0.8)  # what is tested is that this time, which is the reader's own, does not count
        assert watch.next_batch() is not None
    assert server.requests.count("WatchOrdersRequest") == 1


def test_an_instrument_table_that_cannot_be_had_is_waited_for(server: MiniServer) -> None:
    with connect(server.address) as writer:
        writer.buy("AAPL", 1, price="1")
    server.has_no_table = True
    with connect(server.address, timeout_s=0.2) as client:
        follower = Follower(client)
        until(lambda: "the engine is away" in follower.watch.trouble)
        server.has_no_table = False
        until(lambda: len(follower.updates) == 1)
        follower.join()
    assert follower.error is None


def test_it_says_how_it_is(client: Toucan, server: MiniServer) -> None:
    follower = Follower(client)
    until(lambda: follower.watch.is_connected)
    server.is_stale = True
    until(lambda: follower.watch.is_stale)
    server.kill()
    until(lambda: not follower.watch.is_connected and "Connection refused" in follower.watch.trouble)
    server.is_stale = False
    server.start()
    until(lambda: follower.watch.is_connected and not follower.watch.is_stale and not follower.watch.trouble)
    follower.join()
    assert follower.error is None


def test_it_ends_when_its_time_is_over(client: Toucan) -> None:
    client.buy("AAPL", 1, price="1")
    assert len(list(client.watch_orders(timeout_s=0.3))) == 1


def test_closing_the_client_ends_it(server: MiniServer) -> None:
    client = connect(server.address)
    follower = Follower(client)
    until(lambda: follower.watch.is_connected)
    client.close()
    follower.join()
    assert follower.error is None


def test_patience_has_an_end(server: MiniServer) -> None:
    with connect(server.address) as client:
        watch = client.watch_orders(patience_s=0.2)
        assert watch.next_batch() is not None
        server.kill()
        with pytest.raises(ServerUnavailable, match=r"no connection for .* s: nothing answers at"):
            list(watch)
    server.start()


def test_what_the_server_refuses_is_raised(client: Toucan) -> None:
    with pytest.raises(Refused, match="there is no XYZ"):
        next(client.watch_market_data(["XYZ"]))


def test_drop_copy_is_for_those_who_may(server: MiniServer) -> None:
    server.users = {"t": User("ann", ("ACC1",), ("trade",))}
    with (
        connect(server.address, token="t") as client,
        pytest.raises(NotEntitled, match="ann may not: drop-copy"),
    ):
        next(client.drop_copy())


def test_drop_copy_tells_everything_and_its_gaps(client: Toucan, server: MiniServer) -> None:
    for _ in range(3):
        client.buy("AAPL", 1, price="1")
    server.engine.forget_history()
    client.buy("AAPL", 1, price="1")
    with client.drop_copy(after_seq=1) as watch:
        assert [next(watch) for _ in range(1)] == [DropCopyGap(until_seq=7)]
        events = [next(watch), next(watch)]
    assert [getattr(event, "event", "") for event in events] == ["OrderAccepted", "Reported"]
    with client.drop_copy(after_seq=6) as watch:
        event = next(watch)
        server.drop_streams()
        assert (getattr(event, "seq", 0), getattr(next(watch), "seq", 0)) == (7, 8)


def test_positions_are_told_again_only_if_they_changed(client: Toucan, server: MiniServer) -> None:
    client.buy("AAPL", 5, price="market")
    client.buy("MSFT", 10, price="market")
    with client.watch_positions() as watch:
        assert sorted(next(watch).symbol for _ in range(2)) == ["AAPL", "MSFT"]
        server.drop_streams()
        client.buy("AAPL", 5, price="market")
        position = next(watch)
        assert (position.symbol, str(position.quantity)) == ("AAPL", "10")


def test_market_data_has_depth_if_asked(client: Toucan, server: MiniServer) -> None:
    with client.watch_market_data(["AAPL"], depth=3) as watch:
        data = next(watch)
        assert data.bid is not None
        assert data.last is not None
        assert (str(data.bid.price), str(data.last.price), str(data.volume)) == ("189.40", "189.45", "5000")
        assert [str(level.price) for level in data.book.asks] == ["189.50", "189.55", "189.60"]
        server.engine.quote("AAPL", "190.00", "190.10", "190.05")
        assert str(next(watch).last) != str(data.last)


def test_a_quiet_market_is_no_reason_to_begin_anew(server: MiniServer) -> None:
    with connect(server.address, stream_silence_s=1.0) as client, client.watch_market_data(["AAPL"]) as watch:
        next(watch)
        # After longer than a silence may last: heartbeats come meanwhile, every tenth of a second.
        threading.Timer(1.5, lambda: server.engine.quote("AAPL", "190.00", "190.10", "190.05")).start()
        assert str(getattr(next(watch).bid, "price", "")) == "190.00"
    assert server.requests.count("WatchMarketDataRequest") == 1


def test_a_market_of_which_not_even_a_heartbeat_comes_is_begun_anew(server: MiniServer) -> None:
    with connect(server.address, stream_silence_s=0.3) as client, client.watch_market_data(["AAPL"]) as watch:
        next(watch)
        server.is_mute = True
        threading.Timer(1.0, lambda: setattr(server, "is_mute", False)).start()
        next(watch)
    assert server.requests.count("WatchMarketDataRequest") > 1


def test_two_front_ends_take_turns() -> None:
    engine = MiniEngine()
    one, other = MiniServer(engine), MiniServer(engine)
    try:
        with connect(f"{one.address},{other.address}") as client:
            follower = Follower(client)
            until(lambda: follower.watch.is_connected)
            one.kill()
            client.buy("AAPL", 1, price="1")
            until(lambda: follower.has(2))
            follower.join()
            assert "WatchOrdersRequest" in other.requests
    finally:
        other.close()
