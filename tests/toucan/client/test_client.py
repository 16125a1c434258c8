"""Requests with one answer over real sockets: what comes back, what is refused, and what a lost connection does to them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from decimal import Decimal as D  # noqa: N817

import pytest
from tests.toucan.client.mini_engine import MiniEngine, User
from tests.toucan.client.mini_server import MiniServer, crash, exhausted, lost

from toucan.client import (
    Denied,
    InvalidRequest,
    NotEntitled,
    OrderType,
    OrdStatus,
    OutcomeUnknown,
    Refused,
    RequestKey,
    ServerFault,
    ServerUnavailable,
    Side,
    TimeInForce,
    Toucan,
    TradingLevel,
    Unauthenticated,
    UnknownInstrument,
    connect,
)
from toucan.client.limits import ORDERS_PAGE_MAX


def test_an_order_is_what_was_asked_for(client: Toucan) -> None:
    accepted = client.buy(
        "AAPL", "100", price="189.45", account="ACC1", tif="gtc", max_floor=10, post_only=True, note="first"
    )
    order = client.order(accepted.order_id)
    assert (order.order_id, order.status, order.owner, order.is_open) == (1, OrdStatus.NEW, "local", True)
    terms = order.terms
    assert (terms.side, terms.type, terms.time_in_force) == (Side.BUY, OrderType.LIMIT, TimeInForce.GTC)
    assert (terms.quantity, str(terms.price), terms.stop_price, terms.max_floor) == (
        D(100),
        "189.45",
        None,
        D(10),
    )
    assert (terms.post_only, terms.reduce_only, terms.note) == (True, False, "first")
    assert order.session == client.request_session


def test_a_market_order_fills_and_makes_a_position(client: Toucan) -> None:
    accepted = client.sell("AAPL", 30, price="market")
    order = client.order(accepted.order_id)
    assert (order.status, order.cum_quantity, order.average_price) == (
        OrdStatus.FILLED,
        D(30),
        D("189.40"),
    )
    (position,) = client.positions()
    assert (position.symbol, position.quantity, position.sold_quantity) == ("AAPL", D(-30), D(30))
    assert position.unrealised_profit == D("-1.50")


def test_fractions_of_a_coin_are_exact(client: Toucan) -> None:
    accepted = client.buy("BTC-USD", "0.00012000", price="60001")
    order = client.order(accepted.order_id)
    assert order.quantity == D("0.00012")
    with pytest.raises(
        InvalidRequest, match=r"BTC-USD: quantity '0.000121' is not a multiple of the lot, 0.00001"
    ):
        client.buy("BTC-USD", "0.000121", price="60001")


def test_cancel_replace_and_what_is_over(client: Toucan) -> None:
    first = client.buy("AAPL", 100, price="189.00").order_id
    client.replace(first, price="189.10", quantity=50)
    assert (client.order(first).price, client.order(first).quantity) == (D("189.10"), D(50))
    client.cancel(first)
    assert client.order(first).status is OrdStatus.CANCELED
    with pytest.raises(Refused, match="order 1 is over") as error:
        client.cancel(first)
    assert error.value.code == "ORDER_CLOSED"
    with pytest.raises(InvalidRequest, match="a replacement changes something"):
        client.replace(first, symbol="AAPL")


def test_mass_cancel_matches_everything_given(client: Toucan) -> None:
    ids = [
        client.submit(side, "AAPL", 1, price=price).order_id
        for side, price in (("buy", "1"), ("sell", "900"))
    ]
    other = client.buy("MSFT", 10, price="1").order_id
    assert client.mass_cancel(symbol="AAPL", side="sell").order_ids == (ids[1],)
    done = client.mass_cancel()
    assert done.order_ids == (ids[0], other)
    assert client.orders(is_open=True) == []


def test_orders_come_in_pages_and_are_filtered(client: Toucan, server: MiniServer) -> None:
    for number in range(250):
        client.submit("buy" if number % 2 else "sell", "AAPL", 1, price="1" if number % 2 else "900")
    orders = client.orders()
    assert [order.order_id for order in orders] == list(range(250, 0, -1))
    assert server.requests.count("ListOrdersRequest") == 3
    assert len(client.orders(side="buy", limit=7)) == 7
    assert client.orders(symbols=["MSFT"]) == []
    assert (
        len(client.orders(statuses=["new"], accounts=["ACC1"], owners=["local"], limit=ORDERS_PAGE_MAX))
        == 250
    )
    with pytest.raises(TypeError, match=r"write \['AAPL'\]"):
        client.orders(symbols="AAPL")
    with pytest.raises(TypeError, match="orders have no symbol; filter by accounts"):
        client.orders(symbol="AAPL")  # type: ignore[call-arg]


def test_denied_says_which_limit_and_a_soft_one_can_be_confirmed(client: Toucan) -> None:
    with pytest.raises(Denied) as error:
        client.buy("AAPL", 10_001, price="1")
    denial = error.value.denial
    assert (denial.code, denial.node, denial.limit) == (
        "MAX_ORDER_QUANTITY",
        "firm/ACC1",
        "max_order_quantity",
    )
    assert (denial.value, denial.maximum, error.value.can_be_confirmed) == ("10001", "10000", False)
    with pytest.raises(Denied) as error:
        client.buy("AAPL", 1000, price="189")
    assert error.value.can_be_confirmed
    assert client.buy("AAPL", 1000, price="189", is_confirmed=True).order_id == 1


def test_preview_lists_every_limit_and_does_nothing(client: Toucan, server: MiniServer) -> None:
    preview = client.preview("buy", "AAPL", 20_000, price="189")
    assert [denial.code for denial in preview.denials] == ["MAX_ORDER_QUANTITY", "MAX_ORDER_NOTIONAL"]
    assert (preview.notional, preview.reference_price, preview.position) == (D(3_780_000), D("189.45"), D(0))
    assert server.engine.executed == []


def test_kill_switch_and_limits(client: Toucan) -> None:
    order_id = client.buy("AAPL", 1, price="1").order_id
    assert client.set_trading_state("firm", "cancel-all", "drill").order_ids == (order_id,)
    with pytest.raises(Denied, match="new orders are blocked"):
        client.buy("AAPL", 1, price="1")
    tree = client.limits("firm/ACC1")
    assert [(node.node, node.effective_level) for node in tree.nodes] == [
        ("firm/ACC1", TradingLevel.CANCEL_ALL)
    ]
    client.set_trading_state("firm", TradingLevel.NORMAL, "drill is over")
    client.set_limit("firm", "max_position", "500", "smaller")
    (node, _) = client.limits().nodes
    assert {limit.name: limit.value for limit in node.limits} == {
        "max_order_quantity": "10000",
        "max_position": "500",
    }
    client.set_limit("firm", "max_position", None, "gone")
    client.adjust_position("ACC1", "AAPL", -5, "189.40", "transfer")
    assert client.positions()[0].quantity == -5
    with pytest.raises(Refused, match="there is no node 'desk'"):
        client.set_trading_state("desk", "freeze", "why not")


def test_the_one_account_is_inferred_and_several_are_listed() -> None:
    users = {"one": User("ann", ("ACC1",)), "two": User("bob", ("ACC1", "ACC2")), "none": User("eve", ())}
    server = MiniServer(users=users)
    try:
        with connect(server.address, token="one") as client:
            assert client.order(client.buy("AAPL", 1, price="1").order_id).account == "ACC1"
            assert client.identity().user == "ann"
            with pytest.raises(NotEntitled, match="ann may not trade on 'ACC2'"):
                client.buy("AAPL", 1, price="1", account="ACC2")
        with connect(server.address, token="two") as client:
            with pytest.raises(InvalidRequest, match=r"which account\? bob has 2: ACC1, ACC2"):
                client.buy("AAPL", 1, price="1")
            assert client.buy("AAPL", 1, price="1", account="ACC2")
        with connect(server.address, token="two", account="ACC2") as client:
            assert client.order(client.buy("AAPL", 1, price="1").order_id).account == "ACC2"
        with (
            connect(server.address, token="none") as client,
            pytest.raises(InvalidRequest, match="eve has no account"),
        ):
            client.buy("AAPL", 1, price="1")
        with (
            connect(server.address, token="stolen") as client,
            pytest.raises(Unauthenticated, match="not known"),
        ):
            client.orders()
    finally:
        server.close()


def test_a_symbol_that_is_new_is_found(
    client: Toucan, server: MiniServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toucan.client.connection.REFRESH_S_MIN", 0.0)
    assert "NEW" not in client.instruments()
    added = type(server.engine.instruments["AAPL"])()
    added.CopyFrom(server.engine.instruments["AAPL"])
    added.symbol = "NEW"
    server.engine.instruments["NEW"] = added
    server.engine.quote("NEW", "1", "2", "1")
    assert client.order(client.buy("NEW", 1, price="1").order_id).symbol == "NEW"
    with pytest.raises(UnknownInstrument):
        client.buy("NEWER", 1, price="1")


def test_an_instrument_that_the_server_does_not_list_is_its_fault(client: Toucan, server: MiniServer) -> None:
    order_id = client.buy("AAPL", 1, price="1").order_id
    del server.engine.instruments["AAPL"]
    with connect(server.address) as other, pytest.raises(ServerFault, match="speaks of an instrument"):
        other.order(order_id)


# --- lost connections ---


@pytest.mark.parametrize("where", ["faults", "faults_after"])
@pytest.mark.parametrize("fault", [lost, exhausted, crash])
def test_a_request_that_got_no_answer_is_carried_out_once(
    client: Toucan, server: MiniServer, where: str, fault: Callable[[], None]
) -> None:
    getattr(server.engine, where).extend([fault] * 3)
    accepted = client.buy("AAPL", 1, price="1")
    assert accepted.order_id == 1
    assert [number for _, _, number, _ in server.engine.executed] == [accepted.key.number]


def test_a_server_that_comes_back_answers(client: Toucan, server: MiniServer) -> None:
    client.buy("AAPL", 1, price="1")
    server.kill()
    restart = threading.Timer(0.3, server.start)
    restart.start()
    assert client.buy("AAPL", 1, price="1").order_id == 2
    restart.join()
    assert len(server.engine.executed) == 2


def test_nothing_listens_is_unavailable_and_says_where(server: MiniServer) -> None:
    server.kill()
    with connect(server.address, timeout_s=0.2) as client:
        for request in (client.orders, lambda: client.cancel(1)):
            with pytest.raises(
                ServerUnavailable, match=f"nothing answers at {server.address}: Connection refused"
            ):
                request()
    server.start()


def test_no_answer_in_time_is_unknown_and_can_be_asked_again(client: Toucan, server: MiniServer) -> None:
    client.preview("buy", "AAPL", 1, price="1")
    server.engine.faults_after.extend([lost] * 100)
    with pytest.raises(
        OutcomeUnknown, match="the engine is away; asking again under the same key is safe"
    ) as error:
        client.buy("AAPL", 1, price="1", timeout_s=1)
    assert error.value.key == RequestKey(client.request_session, 1)
    server.engine.faults_after.clear()
    assert client.ask_again(error.value).order_id == 1
    assert client.buy("AAPL", 1, price="1", key=error.value.key).order_id == 1
    assert len(server.engine.executed) == 1


def test_a_request_that_never_arrived_is_dead_once_a_later_one_was_answered(
    client: Toucan, server: MiniServer
) -> None:
    server.engine.faults.extend([lost] * 100)
    with pytest.raises(OutcomeUnknown) as error:
        client.cancel(1, timeout_s=0.2)
    server.engine.faults.clear()
    client.buy("AAPL", 1, price="1")
    with pytest.raises(Refused) as refused:
        client.ask_again(error.value)
    assert refused.value.code == "REQUEST_SUPERSEDED"


def test_a_frozen_server_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toucan.client.connection.ATTEMPT_TIMEOUT_S", 0.2)
    engine = MiniEngine()
    frozen, lively = MiniServer(engine), MiniServer(engine)
    try:
        with connect(f"{frozen.address},{lively.address}") as client:
            client.instruments()
            frozen.running.clear()
            assert client.buy("AAPL", 1, price="1").order_id == 1
            assert "SubmitOrderRequest" in lively.requests
            assert len(engine.executed) == 1
    finally:
        frozen.close()
        lively.close()


def test_the_next_address_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = f"127.0.0.1:{unused.getsockname()[1]}"
    server = MiniServer()
    try:
        with connect(f"{dead},{server.address}") as client:
            assert client.buy("AAPL", 1, price="1").order_id == 1
    finally:
        server.close()


def test_a_host_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        address = deaf.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        begun_s = time.monotonic()
        with (
            connect(f"127.0.0.1:{address[1]}", connect_timeout_s=0.2) as client,
            pytest.raises(ServerUnavailable, match="timed out"),
        ):
            client.cancel(1)
        assert time.monotonic() - begun_s < 5
        for filler in fillers:
            filler.close()


# --- keys ---


def test_a_named_session_counts_on_after_a_restart(server: MiniServer) -> None:
    numbers = []
    for _ in range(2):
        with connect(server.address, session="desk") as client:
            numbers += [
                client.buy("AAPL", 1, price="1").key.number,
                client.buy("AAPL", 1, price="1").key.number,
            ]
    assert numbers == sorted(set(numbers))
    assert len(server.engine.orders) == 4


def test_a_number_that_was_overtaken_goes_out_in_a_fresh_session(server: MiniServer) -> None:
    server.engine.clients[("local", "desk")].last_number = 2**52  # as if this host's clock had been set back
    with connect(server.address, session="desk") as client:
        accepted = client.buy("AAPL", 1, price="1")
        assert accepted.key.session != "desk"
        assert accepted.key.number == 1
        assert client.request_session == accepted.key.session
        assert client.buy("AAPL", 1, price="1").key.number == 2
    assert len(server.engine.executed) == 2


def test_reads_ask_for_what_was_changed_before(client: Toucan, server: MiniServer) -> None:
    client.positions()
    accepted = client.buy("AAPL", 1, price="1")
    client.positions()
    client.order(accepted.order_id)
    client.orders()
    # The venue's answer came after the order's; what a read has seen, the next one sees as well, over any front end.
    assert server.min_seqs == [0, accepted.seq, accepted.seq + 1, accepted.seq + 1]


def test_a_closed_client_says_so(server: MiniServer) -> None:
    client = connect(server.address, timeout_s=0.1)
    client.instruments()
    client.close()
    with pytest.raises(ServerUnavailable, match="the client is closed"):
        client.orders()
