"""One client used by many threads: each gets its own answer, numbers reach the server in order, streams and reads run beside them."""

from __future__ import annotations

import threading

from tests.toucan.client.mini_server import MiniServer
from tests.toucan.client.test_watch import Follower, until

from toucan.client import RequestKey, Toucan


def test_requests_reach_the_server_in_the_order_of_their_numbers(client: Toucan, server: MiniServer) -> None:
    keys: list[RequestKey] = []
    errors: list[BaseException] = []
    follower = Follower(client)

    def work(number: int) -> None:
        try:
            for _ in range(15):
                accepted = client.buy("AAPL", number + 1, price="1")
                keys.append(accepted.key)
                order = client.order(accepted.order_id)
                assert (order.order_id, int(order.quantity)) == (accepted.order_id, number + 1)
                assert len(client.orders(limit=3)) <= 3
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    server.kill()
    server.start()
    for thread in threads:
        thread.join()
    assert errors == []
    numbers = [number for _, _, number, _ in server.engine.executed]
    assert numbers == sorted(numbers)
    assert len(set(keys)) == len(keys) == 90
    until(lambda: follower.has(server.engine.seq))
    follower.join()
    assert follower.error is None
    seqs = [update.seq for update in follower.updates if not update.is_snapshot]
    assert seqs == sorted(set(seqs))
