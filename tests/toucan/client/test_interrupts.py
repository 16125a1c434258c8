"""Ctrl-C at the worst moment: the request it hits is given up, and everything else goes on and can be closed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.toucan.client.mini_server import MiniServer

from toucan.client import Toucan, connect
from toucan.client.interrupts import uninterrupted

#: A close that never ends is the fault that is looked for.
CLOSE_S = 30.0


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_comes_after_what_must_not_be_torn() -> None:
    done: list[str] = []

    def act() -> None:
        with uninterrupted():
            interrupt()
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        act()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_comes() -> None:
    with uninterrupted():
        pass
    with pytest.raises(KeyError), uninterrupted():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_ignores_interrupts_still_does() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted():
        interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_change_nothing() -> None:
    seen: list[object] = []

    def look() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


class _Interrupting:
    """grpcio's channel of C, with Ctrl-C pressed right after it has begun a call."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.is_armed = True

    def integrated_call(self, *arguments: Any) -> Any:
        call = self._channel.integrated_call(*arguments)
        if self.is_armed:
            self.is_armed = False
            interrupt()
        return call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


def begun_and_interrupted(client: Toucan) -> None:
    state = client._connection.link(1.0).channel._call_state  # type: ignore[attr-defined]
    state.channel = _Interrupting(state.channel)


@pytest.mark.parametrize("what", ["request", "stream"])
def test_an_interrupt_while_a_call_begins_leaves_the_others_and_the_end(
    server: MiniServer, what: str
) -> None:
    client = connect(server.address)
    client.identity()
    orders = client.watch_orders()
    batches = orders.batches()
    next(batches)
    begun_and_interrupted(client)
    positions = client.watch_positions()
    with pytest.raises(KeyboardInterrupt):
        client.limits() if what == "request" else positions.next_batch()
    client.limits()  # the channel is counted down by one call that was never counted
    client.buy("AAPL", 1, price="1", account="ACC1")
    assert any(batch.news for batch in batches), "the stream goes on"
    closing = threading.Thread(target=client.close, daemon=True)
    closing.start()
    closing.join(CLOSE_S)
    assert not closing.is_alive(), "the client cannot be closed"
