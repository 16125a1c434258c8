"""The load on toucan's front end, as a process of its own: single calls by a real stub or over HTTP, and many clients at once by prepared bytes.

Commands are JSON lines on standard input, answers JSON lines on standard output.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import select
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import grpc

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp

from .toucan_http2 import SILENCE_S, Http2Connection, Http2Error

__all__ = ["SUBMIT", "main"]

_SERVICE = "/aviary.toucan.v1.OrderEntryService/"
SUBMIT = f"{_SERVICE}SubmitOrder"
_PRICES = 500
_names = itertools.count(1)


def _new_session() -> str:
    return f"load-{os.getpid()}-{next(_names)}"


def _submit(session: str, number: int) -> pb.SubmitOrderRequest:
    """A purchase that stays in the book."""
    terms = tp.OrderTerms(
        account="ACC1", symbol="AAPL", side=tp.SIDE_BUY, type=tp.ORDER_TYPE_LIMIT, time_in_force=tp.TIME_IN_FORCE_GTC,
        quantity=1, price=1000 + number % _PRICES,
    )  # fmt: skip
    return pb.SubmitOrderRequest(key=pb.RequestKey(session=session, number=number), terms=terms)


def _summary(samples_ns: list[int]) -> dict[str, float]:
    cuts = statistics.quantiles(samples_ns, n=100)
    return {"p50_us": cuts[49] / 1000, "p99_us": cuts[98] / 1000}


def _timed(calls: Iterable[Callable[[], Any]], pause_s: float) -> list[int]:
    """Nanoseconds of each; the pause before it is not in them."""
    clock = time.perf_counter_ns
    samples = []
    for call in calls:
        if pause_s:
            time.sleep(pause_s)
        began = clock()
        call()
        samples.append(clock() - began)
    return samples


class _Client:
    """One client with a channel that stays open, and a session of its own."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target)
        self._session = _new_session()
        self._numbers = itertools.count(1)
        self._submit_order = self._method("SubmitOrder", pb.SubmitOrderResponse)
        self._cancel_order = self._method("CancelOrder", pb.CancelOrderResponse)

    def _method(self, name: str, answer: Any) -> Any:
        return self._channel.unary_unary(
            f"{_SERVICE}{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    def submit(self) -> int:
        """An order's id."""
        answer = self._submit_order(_submit(self._session, next(self._numbers)), timeout=SILENCE_S)
        if answer.order_id <= 0:
            raise Http2Error("an order without an id")
        return int(answer.order_id)

    def cancel(self, order_id: int) -> None:
        """Cancels it."""
        key = pb.RequestKey(session=self._session, number=next(self._numbers))
        self._cancel_order(pb.CancelOrderRequest(key=key, order_id=order_id), timeout=SILENCE_S)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


class _WebClient:
    """One client of a gateway, with a connection that stays open, and a session of its own."""

    def __init__(self, target: str) -> None:
        self._connection = http.client.HTTPConnection(target, timeout=SILENCE_S)
        self._session = _new_session()
        self._numbers = itertools.count(1)

    def submit(self) -> int:
        """An order's id."""
        number = next(self._numbers)
        terms = {
            "account": "ACC1", "symbol": "AAPL", "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT", "timeInForce": "TIME_IN_FORCE_GTC",
            "quantity": 1, "price": 1000 + number % _PRICES,
        }  # fmt: skip
        body = json.dumps({"key": {"session": self._session, "number": number}, "terms": terms})
        self._connection.request("POST", SUBMIT, body, {"content-type": "application/json"})
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise Http2Error(f"the gateway answered {response.status}: {answer}")
        return int(answer["orderId"])


class _Load:
    """State between commands."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._web_clients: dict[str, _WebClient] = {}

    def _client(self, target: str) -> _Client:
        if target not in self._clients:
            self._clients[target] = _Client(target)
        return self._clients[target]

    def submits(self, target: str, count: int, pause_s: float) -> dict[str, Any]:
        """So many SubmitOrder, one after the other, with a pause before each; each gave another order."""
        client = self._client(target)
        ids: list[int] = []
        samples = _timed(((lambda: ids.append(client.submit())) for _ in range(count)), pause_s)
        if len(set(ids)) != count:
            raise Http2Error("two orders have the same id")
        return _summary(samples)

    def web_submits(self, target: str, count: int) -> dict[str, Any]:
        """So many SubmitOrder to a gateway, one after the other; each gave another order."""
        client = self._web_clients.setdefault(target, _WebClient(target))
        ids: list[int] = []
        samples = _timed(((lambda: ids.append(client.submit())) for _ in range(count)), 0)
        if len(set(ids)) != count:
            raise Http2Error("two orders have the same id")
        return _summary(samples)

    def cancels(self, target: str, count: int, pause_s: float) -> dict[str, Any]:
        """So many CancelOrder of orders that were entered before, one after the other with a pause."""
        client = self._client(target)
        ids = [client.submit() for _ in range(count)]
        return _summary(_timed((partial(client.cancel, order_id) for order_id in ids), pause_s))

    def rate(self, target: str, clients: int, count: int) -> dict[str, Any]:
        """So many SubmitOrder of so many clients, each with a connection and a session of its own and one call under way; the seconds it took."""
        runners = [_Runner(target, count // clients) for _ in range(clients)]
        try:
            seconds = _run(runners)
        finally:
            for one in runners:
                one.connection.close()
        ids = [
            pb.SubmitOrderResponse.FromString(answer).order_id for one in runners for answer in one.answers
        ]
        if len(set(ids)) != len(runners) * (count // clients) or min(ids) <= 0:
            raise Http2Error(f"{len(set(ids))} orders came to be of {count}")
        return {"seconds": seconds, "count": len(ids)}


class _Runner:
    """One of many clients: its calls, made beforehand, and the answers."""

    def __init__(self, target: str, count: int) -> None:
        self.connection = Http2Connection(target)
        session = _new_session()
        made = [
            self.connection.call(SUBMIT, _submit(session, number).SerializeToString())[1]
            for number in range(1, count + 1)
        ]
        self._calls = iter(made)
        self.answers: list[bytes] = []
        self.is_over = False
        self.connection.on_message = lambda stream, message: self.answers.append(message)
        self.connection.on_end = lambda stream: self.go_on()

    def go_on(self) -> None:
        """Sends the next call, if there is one."""
        call = next(self._calls, None)
        if call is None:
            self.is_over = True
        else:
            self.connection.send(call)


def _run(runners: list[_Runner]) -> float:
    by_fd = {one.connection.socket.fileno(): one for one in runners}
    with select.epoll() as poll:
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        began = time.perf_counter()
        for one in runners:
            one.go_on()
        left = len(runners)
        while left:
            events = poll.poll(SILENCE_S)
            if not events:
                raise Http2Error(f"nothing arrived for {SILENCE_S:.0f} s")
            for fd, _ in events:
                by_fd[fd].connection.receive()
                if by_fd[fd].is_over:
                    poll.unregister(fd)
                    left -= 1
        return time.perf_counter() - began


def main() -> None:
    """Serves commands until standard input ends."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    load = _Load()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(load, command.pop("do"))(**command)
        except (Http2Error, OSError, grpc.RpcError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
