"""The engine as a process: what it does with orders, with front ends that come and go, and with a journal that is not as it left it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tests.toucan.engine.desk_client import TIMEOUT_S, DeskClient, desk_client, limit_order, until
from tests.toucan.engine.rig import LIMITS, Rig, rig_in

from shmipc.channel import ClientChannel
from shmipc.wire import FrameDecoder, encode_frame, receive
from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.core.outcomes import Accepted, Denied, MassCanceled, Refusal, Refused
from toucan.core.state import EngineState
from toucan.core.values import OrdStatus, Side, TradingLevel
from toucan.engine.handshake import Greeting, Hello
from toucan.engine.port import EngineAway
from toucan.engine.recovery import apply_records, recover
from toucan.engine.snapshotter import make_snapshot
from toucan.journal.reader import Follower, committed_seq
from toucan.limits import FRONT_BACKLOG_MAX, PROTOCOL_VERSION

pytestmark = pytest.mark.system


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rig_in(tmp_path) as rig:
        yield rig


def digest_of_journal(rig: Rig, up_to_seq: int) -> str:
    state, follower = recover(rig.data, up_to_seq)
    follower.close()
    return state.digest()


async def accepted(desk: DeskClient, **terms: object) -> int:
    outcome = await desk.ask(rq.Submit(limit_order(**terms)))  # type: ignore[arg-type]
    assert isinstance(outcome, Accepted), outcome
    return outcome.order_id


def test_orders_fills_positions_and_a_replay(rig: Rig) -> None:
    async def run() -> tuple[int, str]:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()
            state = desk.link.state
            buy = await accepted(desk, quantity=100)
            sell = await accepted(desk, side=Side.SELL, quantity=40, price=9_900)
            await until(lambda: state.orders[sell].status is OrdStatus.FILLED)
            assert (state.orders[buy].cum_quantity, state.orders[buy].leaves_quantity) == (40, 60)
            assert await desk.ask(rq.Cancel(buy)) == Accepted(buy)
            await until(lambda: state.orders[buy].status is OrdStatus.CANCELED)
            assert state.positions.position("ACC1", "AAPL").bought == 40
            assert not state.live
            return state.seq, state.digest()

    seq, digest = asyncio.run(run())
    assert rig.kill("engine", signal.SIGTERM) == 0
    assert digest_of_journal(rig, seq) == digest


def test_a_request_is_executed_once_however_often_it_is_sent(rig: Rig) -> None:
    async def run() -> None:
        async with desk_client(rig.socket) as desk, desk_client(rig.socket) as other:
            await desk.venue_ready()
            body = rq.Submit(limit_order())
            outcomes = {await one.ask(body, 1) for one in (desk, other, desk)}
            assert outcomes == {Accepted(1)}
            assert len(desk.link.state.orders) == 1

    asyncio.run(run())


def test_an_engine_that_is_killed_goes_on_where_it_was(rig: Rig) -> None:
    async def run() -> None:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()
            first = await accepted(desk)
            # Once it is at the venue: before that, a kill may leave it not received.
            await until(lambda: desk.link.state.orders[first].status is OrdStatus.NEW)
            await asyncio.to_thread(rig.kill, "engine")
            await until(lambda: desk.link.is_stale)
            with pytest.raises(EngineAway):
                await desk.ask(rq.Submit(limit_order()), 2)
            seq = desk.link.state.seq
            await asyncio.to_thread(rig.start, "engine")
            await desk.venue_ready()
            assert desk.link.state.epoch == 2
            assert next(at for at, _, _ in desk.link.history(seq) or []) == seq + 1, "no event is missing"
            assert desk.link.state.orders[first].status is OrdStatus.NEW
            assert await desk.ask(rq.Submit(limit_order()), 2) == Accepted(2)

    asyncio.run(run())


def test_orders_survive_the_venue_and_are_settled_when_it_is_back(rig: Rig) -> None:
    async def run() -> None:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()
            state = desk.link.state
            order = await accepted(desk)
            await until(lambda: state.orders[order].status is OrdStatus.NEW)
            await asyncio.to_thread(rig.kill, "exchange")
            await until(lambda: not state.venue("SIM").is_ready)
            refused = await desk.ask(rq.Submit(limit_order()))
            assert isinstance(refused, Refused)
            assert refused.code is Refusal.VENUE_NOT_READY
            assert await desk.ask(rq.Cancel(order)) == Accepted(order), (
                "a cancel is taken, and goes when it can"
            )
            await asyncio.to_thread(rig.start, "exchange")
            await desk.venue_ready()
            # The embedded exchange keeps nothing: its new life does not know the order.
            assert state.orders[order].status is OrdStatus.CANCELED
            assert state.orders[order].reason == "not-at-venue"

    asyncio.run(run())


def test_a_venue_that_is_away_for_long_is_told_once(rig: Rig) -> None:
    async def ready() -> None:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()

    asyncio.run(ready())
    rig.kill("exchange")
    path = rig.folder / "exchange.sock"
    path.unlink(missing_ok=True)
    before = rig.log("engine").count("venue disconnected")
    with socket.socket(socket.AF_UNIX) as venue:
        venue.settimeout(TIMEOUT_S)
        venue.bind(str(path))
        venue.listen()
        for _ in range(4):  # a gateway whose venue is not there
            venue.accept()[0].close()
    path.unlink()
    rig.start("exchange")
    asyncio.run(ready())
    told = rig.log("engine")
    assert told.count("the venue closes each connection at once") == 1
    assert told.count("venue disconnected") <= before + 4, "each reason once"
    assert told.count("venue connected") == 2


def test_busts_and_halts_by_the_venues_operator(rig: Rig) -> None:
    async def run() -> None:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()
            state = desk.link.state
            buy = await accepted(desk, quantity=10)
            await accepted(desk, side=Side.SELL, quantity=10, price=9_000, account="ACC2")
            await until(lambda: state.orders[buy].status is OrdStatus.FILLED)
            exec_id = next(iter(state.orders[buy].executions))
            answer = await asyncio.to_thread(rig.operate, action="bust", exec_id=exec_id)
            assert answer.get("ok"), answer
            await until(lambda: state.orders[buy].cum_quantity == 0)
            assert state.positions.quantity("ACC1", "AAPL") == state.positions.quantity("ACC2", "AAPL") == 0

    asyncio.run(run())


def test_kill_switch_cancels_and_blocks(rig: Rig) -> None:
    async def run() -> None:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()
            state = desk.link.state
            orders = [await accepted(desk, price=9_000 + number) for number in range(5)]
            outcome = await desk.ask(
                rq.SetLevel("firm/alpha", TradingLevel.CANCEL_ALL, "a test of the switch")
            )
            assert outcome == MassCanceled(tuple(orders))
            await until(lambda: all(state.orders[order].status is OrdStatus.CANCELED for order in orders))
            denied = await desk.ask(rq.Submit(limit_order()))
            assert isinstance(denied, Denied)
            assert (denied.denial.code, denied.denial.node) == ("TRADING_BLOCKED", "firm/alpha")
            await desk.ask(rq.SetLevel("firm/alpha", TradingLevel.NORMAL, "over"))
            assert isinstance(await desk.ask(rq.Submit(limit_order())), Accepted)

    asyncio.run(run())


def test_cancel_on_disconnect(rig: Rig) -> None:
    """The front end dies with the session's stream: the engine's own timer ends the grace time."""

    async def run() -> None:
        async with desk_client(rig.socket, user="watcher") as watcher:
            async with desk_client(rig.socket, session="strategy") as desk:
                await desk.venue_ready()
                await desk.ask(rq.OpenSession(grace_ns=200_000_000), 0)
                order = await accepted(desk)
                stays = Client("alice", "other")
                other = DeskClient(desk.link, stays)
                kept = await accepted(other)
                await desk.ask(rq.SessionBroken(), 0)
            state = watcher.link.state
            await until(lambda: state.orders[order].status is OrdStatus.CANCELED)
            assert state.orders[kept].is_open
            assert state.client(Client("alice", "strategy")).session is None

    asyncio.run(run())


# ---------------------------------------------------------------- front ends


class RawFront:
    """Says hello, gets a channel, and then does as it likes."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(str(path))

    def hello(self, protocol: int = PROTOCOL_VERSION) -> Greeting:
        self.socket.sendall(encode_frame(msgspec.msgpack.encode(Hello(protocol, "raw"))))
        descriptors: deque[int] = deque()
        frames: list[bytes] = []
        decoder = FrameDecoder()
        while not frames:
            frames = decoder.feed(receive(self.socket, descriptors))
        if descriptors:
            self.channel = ClientChannel.attach([descriptors.popleft() for _ in range(3)])
            self.doorbell = descriptors.popleft()
            for fd in descriptors:
                os.close(fd)
        return msgspec.msgpack.decode(frames[0], type=Greeting)

    def is_cut_off(self) -> bool:
        return self.socket.recv(1) == b""


def test_a_front_end_that_takes_no_answers_is_cut_off_and_harms_nobody(rig: Rig) -> None:
    """Frozen with more answers waiting than are kept for it."""

    async def run() -> None:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()
            front = RawFront(rig.socket)
            await asyncio.to_thread(front.hello)
            client, sent = Client("mallory", "x"), 0
            # Each asks for a preview that is answered with a text; nobody reads the answers.
            message = msgspec.msgpack.encode(rq.Request(1, client, 0, rq.Preview(limit_order(price=1))))
            while sent < 40 * FRONT_BACKLOG_MAX and not front.channel.is_closed:
                if front.channel.send(message):
                    sent += 1
                    continue
                front.channel.flush()
                await asyncio.sleep(0.005)
                try:
                    front.socket.setblocking(False)
                    if front.socket.recv(1) == b"":
                        break
                except BlockingIOError:
                    pass
                if sent % 7 == 0:
                    assert isinstance(await desk.ask(rq.Submit(limit_order(price=5_000))), Accepted)
            front.socket.setblocking(True)
            assert await asyncio.to_thread(front.is_cut_off)
            assert isinstance(await desk.ask(rq.Submit(limit_order())), Accepted)
            front.socket.close()
            front.channel.close()
            os.close(front.doorbell)

    asyncio.run(run())


def test_a_front_end_that_sends_garbage_is_cut_off(rig: Rig) -> None:
    front = RawFront(rig.socket)
    front.hello()
    assert front.channel.send(b"no request")
    front.channel.flush()
    assert front.is_cut_off()
    front.socket.close()
    front.channel.close()
    os.close(front.doorbell)
    assert "sent what is no request" in rig.log("engine")


def test_a_front_end_of_another_version_is_told(rig: Rig) -> None:
    front = RawFront(rig.socket)
    assert "update the older one" in front.hello(PROTOCOL_VERSION + 1).error
    assert front.is_cut_off()
    front.socket.close()


def test_front_ends_that_are_killed_leave_nothing_behind(rig: Rig) -> None:
    pid = rig.processes["engine"].pid
    for _ in range(3):  # the first ones bring what stays
        front = RawFront(rig.socket)
        front.hello()
        front.socket.close()
        front.channel.close()
        os.close(front.doorbell)

    async def settled() -> int:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()
            return len(os.listdir(f"/proc/{pid}/fd"))

    before = asyncio.run(settled())
    for _ in range(20):
        front = RawFront(rig.socket)
        front.hello()
        front.socket.close()
        front.channel.close()
        os.close(front.doorbell)

    async def same() -> None:
        async with desk_client(rig.socket):
            await until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before + 5)  # of 20 fronts

    asyncio.run(same())


# ---------------------------------------------------------------- the journal


def some_orders(rig: Rig, count: int = 20) -> None:
    async def run() -> None:
        async with desk_client(rig.socket, session=f"some-{os.urandom(4).hex()}") as desk:
            await desk.venue_ready()
            for number in range(count):
                await accepted(desk, price=9_000 + number)

    asyncio.run(run())


def start_fails(rig: Rig) -> str:
    """Starts an engine that cannot start; gives its last words."""
    (rig.folder / "engine.log").unlink()
    rig.start("engine", wait=False)
    process = rig.processes.pop("engine")
    assert process.wait(timeout=TIMEOUT_S) != 0
    return rig.log("engine").rstrip().splitlines()[-1]


def test_two_engines_on_one_folder(rig: Rig) -> None:
    holder = rig.processes.pop("engine")
    words = start_fails(rig)
    assert str(holder.pid) in words
    assert "Traceback" not in rig.log("engine")
    rig.processes["engine"] = holder
    some_orders(rig)


def test_a_flipped_bit_inside_the_journal_stops_the_start_and_is_told(rig: Rig) -> None:
    some_orders(rig)
    rig.kill("engine")
    segment = next(iter(rig.data.glob("segment-*.journal")))
    data = bytearray(segment.read_bytes())
    data[4096 + 700] ^= 0x10
    segment.write_bytes(data)
    words = start_fails(rig)
    assert segment.name in words
    assert "Traceback" not in rig.log("engine")


def test_a_cut_tail_is_noticed_and_has_to_be_acknowledged(rig: Rig) -> None:
    some_orders(rig)
    rig.kill("engine")
    before = committed_seq(rig.data)
    segment = next(iter(rig.data.glob("segment-*.journal")))
    data = segment.read_bytes()
    end = len(data.rstrip(b"\0"))
    with segment.open("r+b") as file:  # the last kilobyte was never written, as it were
        file.seek(end - 1000)
        file.write(bytes(1000))
    words = start_fails(rig)
    assert "--accept-loss" in words
    command = [*_engine_command(rig), "--accept-loss"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:

        async def run() -> int:
            async with desk_client(rig.socket) as desk:
                await desk.venue_ready()
                return desk.link.state.seq

        assert asyncio.run(run()) > before, "numbers are never used twice"
        process.kill()


def _engine_command(rig: Rig) -> list[str]:
    import sys

    return [sys.executable, "-m", "toucan.engine", "--config", str(rig.config)]


def test_a_snapshot_shortens_the_replay_and_changes_nothing(rig: Rig) -> None:
    some_orders(rig)
    rig.kill("engine", signal.SIGTERM)
    first = committed_seq(rig.data)
    make_snapshot(rig.data, first)
    rig.start("engine")
    some_orders(rig)
    rig.kill("engine", signal.SIGTERM)
    last = committed_seq(rig.data)
    read: list[int] = []
    state, follower = recover(rig.data, last, lambda at, *_: read.append(at))
    follower.close()
    assert read == [*range(first + 1, last + 1)]
    whole, follower = EngineState(), Follower(rig.data, 1)
    while records := follower.read(last):
        apply_records(whole, records)
    follower.close()
    assert whole.digest() == state.digest()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_refuses_orders_and_lets_cancels_pass(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(data)], check=True)
    try:
        with rig_in(tmp_path) as rig:

            async def run() -> None:
                async with desk_client(rig.socket) as desk:
                    await desk.venue_ready()
                    state = desk.link.state
                    order = await accepted(desk)
                    await until(lambda: state.orders[order].status is OrdStatus.NEW)
                    _fill(data)
                    outcome = Accepted(0)
                    for _ in range(200_000):  # until the segment that there was room for is full
                        outcome = await desk.ask(rq.Submit(limit_order(price=100)))  # type: ignore[assignment]
                        if not isinstance(outcome, Accepted):
                            break
                        await desk.ask(rq.MassCancel(symbol="AAPL", session="nobody"))
                    assert isinstance(outcome, Refused), outcome
                    assert outcome.code is Refusal.JOURNAL_UNAVAILABLE
                    assert await desk.ask(rq.Cancel(order)) == Accepted(order)
                    (data / "filler").unlink()
                    await until(lambda: state.orders[order].status is OrdStatus.CANCELED)
                    assert isinstance(await desk.ask(rq.Submit(limit_order())), Accepted)

            asyncio.run(run())
            assert rig.kill("engine", signal.SIGTERM) == 0
    finally:
        subprocess.run(["umount", "--lazy", str(data)], check=True)


def _fill(folder: Path) -> None:
    fd = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    os.write(fd, bytes(size))
    finally:
        os.close(fd)


def test_limits_file_is_loaded_when_it_has_changed(rig: Rig) -> None:
    async def set_limit() -> None:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()
            await desk.ask(rq.SetLimit("firm/alpha", "max_order_quantity", "5", "less for today"))
            assert isinstance(await desk.ask(rq.Submit(limit_order(quantity=6))), Denied)

    async def outcome(number: int) -> object:
        async with desk_client(rig.socket, session=f"s{number}") as desk:
            await desk.venue_ready()
            return await desk.ask(rq.Submit(limit_order(quantity=6)))

    asyncio.run(set_limit())
    rig.kill("engine")
    rig.start("engine")
    assert isinstance(asyncio.run(outcome(1)), Denied), "what was set at run time outlives a restart"
    (rig.folder / "limits.toml").write_text(LIMITS + "# reviewed\n")
    rig.kill("engine")
    rig.start("engine")
    assert isinstance(asyncio.run(outcome(2)), Accepted), "a changed file takes the place of all"


def test_what_is_asked_together_wakes_the_engine_once(rig: Rig) -> None:
    async def run() -> None:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()
            connection = cast(Any, desk.link)._connection
            wake, wakes = connection.channel._wake_other, []
            connection.channel._wake_other = lambda: wakes.append(wake())
            bodies = [rq.Submit(limit_order(price=9_000 + number)) for number in range(10)]
            replies = await asyncio.gather(
                *(
                    desk.link.ask(Client("alice", body.terms.symbol + str(number)), 1, body, TIMEOUT_S)
                    for number, body in enumerate(bodies)
                )
            )
            assert len(wakes) == 1
            assert sorted(reply.outcome.order_id for reply in replies) == [*range(1, 11)]  # type: ignore[union-attr]
            # Each answer says which event the copy must have seen; waiting for it is all that it takes.
            assert await desk.link.wait_for(max(reply.seq for reply in replies), TIMEOUT_S)
            assert len(desk.link.state.orders) == 10

    asyncio.run(run())


def test_an_engine_that_stands_still_is_not_waited_for(rig: Rig) -> None:
    async def run() -> None:
        async with desk_client(rig.socket) as desk:
            await desk.venue_ready()
            rig.processes["engine"].send_signal(signal.SIGSTOP)
            body = rq.Submit(limit_order())
            with pytest.raises(TimeoutError):
                await desk.link.ask(desk.client, 1, body, 0.05)
            rig.processes["engine"].send_signal(signal.SIGCONT)
            # The deadline was over when it was decided, and that is what is remembered.
            outcome = await desk.ask(body, 1)
            assert isinstance(outcome, Refused)
            assert outcome.code is Refusal.DEADLINE_PASSED

    asyncio.run(run())
