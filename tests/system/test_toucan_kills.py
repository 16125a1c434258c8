"""kill -9 of the engine, of front ends and of both, at random under load: nothing that was acknowledged is lost, nothing is done twice.

Clients send orders, replacements and cancels over gRPC to two front ends by the client library, which sends again what it has no answer to, under the
same key. Watchers follow. In the end the engine's journal, a replay of it, the venue, the clients' acknowledgements and the watchers' streams
must tell the same story. ``TOUCAN_KILL_ROUNDS`` sets the number of rounds, ``TOUCAN_KILL_SEED`` the seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.toucan.engine.desk_client import desk_client, until
from tests.toucan.engine.rig import Rig, rig_in

import toucan.client
from toucan.client.errors import Denied, Refused
from toucan.core.events import Event, OrderAccepted
from toucan.core.order import OrderState
from toucan.core.state import EngineState
from toucan.engine.recovery import apply_records
from toucan.journal.reader import Follower
from toucan.journal.verify import verify

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROUNDS = int(os.environ.get("TOUCAN_KILL_ROUNDS", "40"))
SEED = int(os.environ.get("TOUCAN_KILL_SEED", str(random.randrange(2**32))))
TRADERS = 3
#: How long a request may take with all its resends: some restarts.
PATIENCE_S = 60.0


class Trader(threading.Thread):
    """Sends one request after the other until it is told to stop, and writes down what was acknowledged."""

    def __init__(self, number: int, address: str, stop: threading.Event) -> None:
        super().__init__(name=f"trader {number}", daemon=True)
        self.number = number
        self.session = f"trader-{number}"
        self.chance = random.Random(f"{SEED}/{number}")
        self.stop = stop
        self.address = address
        self.orders: list[int] = []
        self.cancelled: list[int] = []
        self.refusals: list[str] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with toucan.client.connect(
                self.address, session=self.session, account="ACC1", timeout_s=PATIENCE_S,
                connect_timeout_s=PATIENCE_S,
            ) as client:  # fmt: skip
                while not self.stop.is_set():
                    self.act(client)
        except BaseException as error:
            self.failure = error

    def act(self, client: toucan.client.Toucan) -> None:
        try:
            price = f"{self.chance.randrange(9_500, 10_500) / 100:.2f}"
            side = self.chance.choice((client.buy, client.sell))
            action = self.chance.random()
            if action < 0.6 or not self.orders:
                self.orders.append(
                    side("AAPL", self.chance.randrange(1, 50), price=price, tif="gtc").order_id
                )
            elif action < 0.8:
                order_id = self.chance.choice(self.orders[-20:])
                client.cancel(order_id)
                self.cancelled.append(order_id)
            else:
                client.replace(self.chance.choice(self.orders[-20:]), quantity=self.chance.randrange(1, 80))
        except (Denied, Refused) as error:
            self.refusals.append(str(error))
        time.sleep(0.002)


class Watcher(threading.Thread):
    """Follows all orders over one front end after the other; every update exactly once, in order."""

    def __init__(self, address: str) -> None:
        super().__init__(name="watcher", daemon=True)
        self.address = address
        self.seen: list[tuple[int, int]] = []
        self.seq = 0
        self.failure: BaseException | None = None
        self.closed = threading.Event()

    def run(self) -> None:
        try:
            with toucan.client.connect(self.address) as client, client.watch_orders(after_seq=0) as watch:
                for batch in watch.batches():
                    self.seen += [
                        (update.seq, update.order.order_id) for update in batch.news if not update.is_snapshot
                    ]
                    self.seq = max(self.seq, batch.seq)
                    if self.closed.is_set():
                        return
        except BaseException as error:
            self.failure = error


def kill_round(rig: Rig, chance: random.Random) -> None:
    """Somebody dies, or stands still for a moment; whoever died is started again."""
    time.sleep(chance.uniform(0.02, 0.25))
    victims = chance.choice(
        [
            ["engine"],
            ["engine"],
            ["server1"],
            ["server2"],
            ["engine", "server1"],
            ["server1", "server2"],
            ["freeze"],
        ]
    )
    if victims == ["freeze"]:
        process = rig.processes[chance.choice(["server1", "engine"])]
        process.send_signal(signal.SIGSTOP)
        time.sleep(chance.uniform(0.05, 0.3))
        process.send_signal(signal.SIGCONT)
        return
    for name in victims:
        rig.kill(name)
    for name in chance.sample(victims, len(victims)):
        rig.start(name)


def test_nothing_acknowledged_is_lost_and_nothing_is_done_twice(tmp_path: Path) -> None:
    print(f"seed {SEED}: TOUCAN_KILL_SEED={SEED} TOUCAN_KILL_ROUNDS={ROUNDS}")
    chance = random.Random(SEED)
    stop = threading.Event()
    with rig_in(tmp_path) as rig:
        for name in rig.addresses:
            rig.start(name)
        one, two = rig.addresses.values()
        traders = [Trader(number, f"{one},{two}", stop) for number in range(TRADERS)]
        watchers = [Watcher(f"{one},{two}"), Watcher(f"{two},{one}")]
        for thread in (*traders, *watchers):
            thread.start()
        for _ in range(ROUNDS):
            kill_round(rig, chance)
        stop.set()
        for trader in traders:
            trader.join(PATIENCE_S)
            assert trader.failure is None, trader.failure
            assert not trader.is_alive()
        live = asyncio.run(settled(rig))
        wait_for_watchers(watchers, live.seq)
        rig.kill("engine")
        check(rig, live, traders, watchers)


async def settled(rig: Rig) -> EngineState:
    """The engine's state once its venue has answered everything, as a front end follows it."""
    async with desk_client(rig.socket) as desk:
        await desk.venue_ready()
        state = desk.link.state
        await until(lambda: not any(order.requests for order in state.live_orders()))
        return state


def wait_for_watchers(watchers: list[Watcher], seq: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and any(watcher.seq < seq for watcher in watchers):
        assert [watcher.failure for watcher in watchers] == [None, None]
        time.sleep(0.02)
    for watcher in watchers:
        watcher.closed.set()


def check(rig: Rig, live: EngineState, traders: list[Trader], watchers: list[Watcher]) -> None:
    assert verify(rig.data).is_whole
    # What the last commit was, the next one would say; that it was one is known from who was told of it.
    last = live.seq
    replayed, changes, accepted = EngineState(), [], []

    def applied(seq: int, at_ns: int, event: Event, change: object) -> None:
        order = getattr(change, "order", None)
        if order is not None:
            changes.append((seq, order.order_id))
        if isinstance(event, OrderAccepted):
            accepted.append(event)
        if seq == live.seq:
            assert replayed.digest() == live.digest(), "a replay gives another state"

    with Follower(rig.data, 1) as follower:
        while records := follower.read(last):
            apply_records(replayed, records, applied)

    acknowledged = [order_id for trader in traders for order_id in trader.orders]
    print(
        f"{len(acknowledged)} orders acknowledged, {replayed.epoch} engines, {last} events, "
        f"{sum(len(trader.refusals) for trader in traders)} requests refused"
    )
    assert len(acknowledged) > ROUNDS
    assert len(acknowledged) == len(set(acknowledged)), "an order was acknowledged twice"
    assert {event.order_id for event in accepted} == set(acknowledged), (
        "every order has exactly one acknowledgement"
    )
    assert all(event.owner.session.startswith("trader-") for event in accepted)
    for trader in traders:
        for order_id in trader.cancelled:
            assert not replayed.orders[order_id].is_open, "a cancel that was acknowledged was lost"
    for watcher in watchers:
        assert watcher.failure is None
        check_stream([one for one in watcher.seen if one[0] <= live.seq], changes)
    check_venue(rig, replayed)


def check_stream(seen: list[tuple[int, int]], changes: list[tuple[int, int]]) -> None:
    """Every change exactly once, in order; what is wrong is told at its first place."""
    for index, (told, happened) in enumerate(zip(seen, changes, strict=False)):
        assert told == happened, (
            f"update {index}: around it {seen[index - 3 : index + 3]}, {changes[index - 3 : index + 3]} happened"
        )
    assert len(seen) == len(changes), "the end is missing, or too much was told"


def check_venue(rig: Rig, state: EngineState) -> None:
    """The venue has each order that is open here, once, and no other."""
    firm = rig.operate(action="status")["status"]["firms"]["FIRM"]
    assert firm["open_orders"] == sum(order.is_open for order in state.orders.values())
    assert firm["venue_seq"] == state.venue("SIM").venue_seq, "something that the venue said was not heard"
    for order in state.orders.values():
        if order.state is OrderState.REJECTED:
            assert order.reason == "not-received"
    bought = sum(order.cum_quantity * order.terms.side.sign for order in state.orders.values())
    assert bought == state.positions.quantity("ACC1", "AAPL") == 0, (
        "each fill has two sides, and both are ours"
    )
