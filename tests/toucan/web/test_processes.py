"""Gateways as processes, with a real engine behind them: kill -9 of one, of the other, of the engine; and what ``toucan dev --web`` serves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.toucan.engine.rig import Rig, rig_in
from tests.toucan.server.support import run
from tests.toucan.web.support import ORDERS, Browser, Stream, order_json

from toucan.core.events import OrderAccepted
from toucan.core.state import EngineState
from toucan.engine.recovery import apply_records
from toucan.journal.reader import Follower

pytestmark = pytest.mark.system

PATIENCE_S = 30.0
#: Of the whole story: nine starts of processes, on a machine that has other things to do as well.
SCENARIO_S = 200.0
#: What is not answered, or answered so, is sent again with the same key.
AGAIN = (429, 503, 504)


async def _answered(addresses: list[str], request: dict[str, Any]) -> Any:
    """Sends a request to one gateway after the other until it is known what has become of it."""
    async with asyncio.timeout(PATIENCE_S):
        for number in range(10_000):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with Browser(addresses[number % len(addresses)]) as browser:
                    answer = await browser.call(f"{ORDERS}SubmitOrder", request)
                if answer.status not in AGAIN:
                    assert answer.status == 200, answer.body
                    return answer.json()
            await asyncio.sleep(0.02)
    raise AssertionError


class _Trader:
    """One window of a person: an order after the other, each until it is answered."""

    def __init__(self, addresses: list[str], session: str) -> None:
        self.acknowledged: list[int] = []
        self.is_stopping = False
        self._addresses = addresses
        self._session = session

    async def run(self) -> None:
        number = 0
        while not self.is_stopping:
            number += 1
            request = order_json(number, self._session, quantity=1, price=1000 + number % 100)
            answer = await _answered(self._addresses, request)
            self.acknowledged.append(int(answer["orderId"]))


class _Watcher:
    """A blotter: it follows all orders, and goes on with the seq it was told last, at whichever gateway answers."""

    def __init__(self, addresses: list[str]) -> None:
        self.heard: list[tuple[int, int]] = []
        self.seq = 0
        self.connections = 0
        self._addresses = addresses

    async def run(self) -> None:
        while True:
            address = self._addresses[self.connections % len(self._addresses)]
            self.connections += 1
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with Browser(address) as browser:
                    await self._follow(await browser.watch("WatchOrders", {"afterSeq": self.seq}))
            await asyncio.sleep(0.02)

    async def _follow(self, stream: Stream) -> None:
        while True:
            message = await stream.read()
            self.heard += [
                (int(one["seq"]), int(one["order"]["orderId"])) for one in message.get("updates", ())
            ]
            self.seq = int(message.get("seq", self.seq))


async def _kill_and_start(rig: Rig, *names: str) -> None:
    for name in names:
        rig.kill(name)
    for name in names:
        await asyncio.to_thread(rig.start, name)


def test_kills_lose_nothing_and_streams_go_on_without_gap_or_repeat(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> tuple[list[_Trader], list[_Watcher]]:
        addresses = [*rig.web_addresses.values()]
        traders = [_Trader(addresses, "one"), _Trader(addresses[::-1], "two")]
        watchers = [_Watcher(addresses), _Watcher(addresses[::-1])]
        trading = [asyncio.create_task(one.run()) for one in traders]
        watching = [asyncio.create_task(one.run()) for one in watchers]
        for victims in (("web1",), ("engine",), ("web2",), ("engine", "web1")):
            wanted = [len(one.acknowledged) + 20 for one in traders]
            async with asyncio.timeout(PATIENCE_S):
                while any(len(one.acknowledged) < count for one, count in zip(traders, wanted, strict=True)):
                    await asyncio.sleep(0.005)
            await _kill_and_start(rig, *victims)
        for one in traders:
            one.is_stopping = True
        await asyncio.gather(*trading)
        async with asyncio.timeout(PATIENCE_S):
            async with Browser(addresses[0]) as browser:
                seq = int((await browser.call(f"{ORDERS}ListOrders", {"pageSize": 1})).json()["seq"])
            while any(one.seq < seq for one in watchers):
                await asyncio.sleep(0.01)
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
        return traders, watchers

    with rig_in(tmp_path) as rig:
        for name in rig.web_addresses:
            rig.start(name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            traders, watchers = runner.run(asyncio.wait_for(scenario(rig), SCENARIO_S))
        rig.kill("engine")
        _check(rig, traders, watchers)


def _check(rig: Rig, traders: list[_Trader], watchers: list[_Watcher]) -> None:
    changes: list[tuple[int, int]] = []
    accepted: list[int] = []

    def applied(seq: int, at_ns: int, event: object, change: object) -> None:
        order = getattr(change, "order", None)
        if order is not None:
            changes.append((seq, order.order_id))
        if isinstance(event, OrderAccepted):
            accepted.append(event.order_id)

    state = EngineState()
    with Follower(rig.data, 1) as follower:
        while records := follower.read(max(one.seq for one in watchers)):
            apply_records(state, records, applied)
    acknowledged = [order_id for one in traders for order_id in one.acknowledged]
    assert len(acknowledged) >= 160
    assert sorted(accepted) == sorted(acknowledged), "each order once, and none that nobody was told of"
    for one in watchers:
        assert one.connections >= 3
        assert one.heard == [change for change in changes if change[0] <= one.seq]


# ---------------------------------------------------------------- toucan dev


@contextlib.contextmanager
def _dev(tmp_path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "toucan.cli", "dev", "--listen", "127.0.0.1:0", *options]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (tmp_path / "log").read_text()
            yield process, json.loads(line)
        finally:
            process.kill()


def test_dev_serves_page_and_calls_and_starts_a_gateway_that_fell_again(tmp_path: Path) -> None:
    async def scenario(ready: dict[str, Any]) -> None:
        async with Browser(ready["web"]) as browser, Browser(ready["web"]) as again:
            await _ask_over_a_kill(ready, browser, again)

    async def _ask_over_a_kill(ready: dict[str, Any], browser: Browser, again: Browser) -> None:
        page = await browser.ask("GET", "/")
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        session = await browser.log_in()
        assert session.json()["user"] == os.environ.get("USER", session.json()["user"])
        first = (await _answered([ready["web"]], order_json(1, quantity=1)))["orderId"]
        os.kill(ready["processes"]["web"], signal.SIGKILL)
        assert (await _answered([ready["web"]], order_json(1, quantity=1)))["orderId"] == first
        # The session counts on: it is signed, and the key is in a folder that outlives the gateway.
        again.headers.update(browser.headers)
        assert (await again.ask("GET", "/session")).json() == session.json()

    with _dev(tmp_path, "--web", "127.0.0.1:0") as (process, ready):
        run(scenario(ready))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert not Path(ready["operator"]).exists()


def test_sockets_of_a_supervisor_are_taken_over_and_metrics_told(tmp_path: Path) -> None:
    with (
        rig_in(tmp_path) as rig,
        socket.create_server(("127.0.0.1", 0)) as held,
        socket.create_server(("127.0.0.1", 0)) as free,
    ):
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        port = held.getsockname()[1]
        config = tmp_path / "held.toml"
        section = f'[web]\nlisten = "127.0.0.1:{port}"\nlocal_user = "local"\nstate = "{tmp_path}/web"\nmetrics = "{metrics}"\n'
        config.write_text(rig.config.read_text() + section)
        # A process that becomes the gateway, so that LISTEN_PID is its own.
        start = (
            f"import os, sys; os.dup2({held.fileno()}, 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
            f"os.execv(sys.executable, [sys.executable, '-m', 'toucan.web', '--config', {str(config)!r}])"
        )
        with (tmp_path / "held.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", start], pass_fds=[3, held.fileno()], stderr=log, stdout=log
            )
        try:
            # It waits in the socket until the gateway serves.
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S) as answer:
                assert answer.status == 200
            with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=PATIENCE_S) as answer:
                assert b"toucan_web_connections" in answer.read()
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()
