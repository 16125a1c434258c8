"""The master's end of the rings: order, back-pressure, and clients that spoil what they share with it or die."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cashy.master.raw_client import Host, RawClient, RawRingClient, host

from aviary.cashy.v1.control_pb2 import (
    ClientFrame,
    Failure,
    Fetch,
    Hello,
    Locate,
    NewTable,
    Release,
    Stat,
    Status,
)
from cashy.master.client_wire import CHANNEL_RING_BYTES
from cashy.master.server import _channel_for
from shmipc.layout import (
    CHANNEL_HEADER_BYTES,
    R_ACKNOWLEDGED,
    R_PUBLISHED,
    RING_HEADER_BYTES,
    TABLE_BYTES,
)

pytestmark = pytest.mark.system

_TO_SERVER = CHANNEL_HEADER_BYTES
_TO_CLIENT = CHANNEL_HEADER_BYTES + RING_HEADER_BYTES + CHANNEL_RING_BYTES


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with host(tmp_path_factory.mktemp("host")) as running:
        yield running


@pytest.fixture
def good(dev: Host) -> Iterator[RawClient]:
    """A client that is to be served whatever the others do."""
    with RawClient(dev.path) as client:
        client.hello()
        yield client


@pytest.fixture
def ring(dev: Host) -> Iterator[RawRingClient]:
    with RawRingClient(dev.path) as client:
        client.hello()
        yield client


def read_for_ever(client: RawRingClient) -> None:
    """Until the daemon has closed."""
    while True:
        client.next()


def count(client: RawClient, counter: str) -> int:
    return client.counters().get(counter, 0)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_a_fetch_is_answered_in_order_and_held_until_release(ring: RawRingClient) -> None:
    for request_id in (7, 8, 7):
        ring.send(ClientFrame(request_id=request_id, fetch=Fetch(name="s3://b/x", block_count=100)))
        kinds: list[str | None] = []
        while not kinds or kinds[-1] != "fetch_done":
            kinds.append(ring.next().WhichOneof("body"))
        assert kinds == ["object", *["block_ready"] * 4, "fetch_done"]
        ring.send(ClientFrame(request_id=request_id, release=Release()))


def test_more_requests_than_are_taken_in_one_turn(ring: RawRingClient) -> None:
    assert ring.channel is not None
    for number in range(500):
        assert ring.channel.send(ClientFrame(request_id=number, status=Status()).SerializeToString())
    ring.channel.flush()
    assert [ring.next().request_id for _ in range(500)] == list(range(500))


def test_requests_over_both_ways_are_answered(ring: RawRingClient) -> None:
    for number in range(50):
        frame = ClientFrame(request_id=number, status=Status())
        (ring.send if number % 2 else ring.over_socket)(frame)
    assert sorted(ring.next().request_id for _ in range(50)) == list(range(50))


def no_failure_before(client: RawRingClient, request_id: int) -> None:
    while (frame := client.next()).request_id != request_id:
        assert not frame.HasField("failure"), frame


def test_a_release_over_the_socket_does_not_overtake_its_fetch(ring: RawRingClient) -> None:
    """The fetch is in the ring and the daemon was not woken for it; the release comes over the socket. 20 fetches may be open."""
    assert ring.channel is not None
    for number in range(100, 150):
        fetch = ClientFrame(request_id=number, fetch=Fetch(name="s3://b/x", block_count=1))
        assert ring.channel._writer.put(fetch.SerializeToString())
        ring.channel._writer.publish()
        ring.over_socket(ClientFrame(request_id=number, release=Release()))
        ring.over_socket(ClientFrame(request_id=1000, status=Status()))
        no_failure_before(ring, 1000)
    ring.send(ClientFrame(request_id=1001, status=Status()))
    no_failure_before(ring, 1001)


def test_what_brings_descriptors_or_is_too_large_comes_over_the_socket(
    dev: Host, ring: RawRingClient
) -> None:
    with (dev.folder / "b" / "large").open("wb") as file:
        file.truncate(70_000 * 64 * 1024)  # one byte in the report for each block
    ring.send(ClientFrame(request_id=1, stat=Stat(name="s3://b/large")))
    assert ring.next().WhichOneof("body") == "object"
    ring.send(ClientFrame(request_id=5, new_table=NewTable()))
    assert ring.next().WhichOneof("body") == "table_granted"
    assert os.fstat(ring.descriptors.pop()).st_size == TABLE_BYTES
    for number in range(6, 8):
        ring.send(ClientFrame(request_id=number, locate=Locate(name="s3://b/large")))
        ring.send(ClientFrame(request_id=100 + number, status=Status()))
    answers = [ring.next() for _ in range(4)]
    located = [answer.located for answer in answers if answer.HasField("located")]
    assert [len(report.tiers) for report in located] == [70_000] * 2
    assert sum(answer.HasField("status") for answer in answers) == 2


def test_a_full_ring_goes_on_when_there_is_room(ring: RawRingClient) -> None:
    """More answers than the ring holds, for a client that reads late."""
    for number in range(200):
        ring.send(ClientFrame(request_id=number, status=Status()))
    time.sleep(0.2)
    assert [ring.next().request_id for _ in range(200)] == list(range(200))


def test_a_client_that_never_reads_its_ring_is_dropped(ring: RawRingClient, good: RawClient) -> None:
    before = count(good, "clients_dropped")
    status = ClientFrame(request_id=1, status=Status()).SerializeToString()

    def is_dropped() -> bool:
        for _ in range(100):
            ring.put(status)
        return count(good, "clients_dropped") > before

    eventually(is_dropped)
    assert count(good, "clients_dropped") == before + 1
    with pytest.raises((EOFError, ConnectionResetError)):
        read_for_ever(ring)


def words(memory: memoryview, offset: int) -> memoryview[int]:
    return memory[offset : offset + RING_HEADER_BYTES].cast("Q")


def _published_too_far(memory: memoryview) -> None:
    words(memory, _TO_SERVER)[R_PUBLISHED] += CHANNEL_RING_BYTES + 8


def _published_backwards(memory: memoryview) -> None:
    words(memory, _TO_SERVER)[R_PUBLISHED] = 2**64 - 16


def _length_beyond_the_message(memory: memoryview) -> None:
    at = _TO_SERVER + RING_HEADER_BYTES + words(memory, _TO_SERVER)[R_PUBLISHED]
    memory[at : at + 4] = struct.pack("<I", 2**31)
    words(memory, _TO_SERVER)[R_PUBLISHED] += 16


def _no_protobuf(memory: memoryview) -> None:
    at = _TO_SERVER + RING_HEADER_BYTES + words(memory, _TO_SERVER)[R_PUBLISHED]
    memory[at : at + 8] = struct.pack("<I", 4) + b"\xff" * 4
    words(memory, _TO_SERVER)[R_PUBLISHED] += 8


def _acknowledged_too_far(memory: memoryview) -> None:
    """Noticed when the daemon looks for room."""
    words(memory, _TO_CLIENT)[R_ACKNOWLEDGED] = 2**40


def _noise(memory: memoryview) -> None:
    memory[:] = random.Random(1).randbytes(len(memory))


def _zeros(memory: memoryview) -> None:
    """All positions fall back to 0."""
    memory[:] = bytes(len(memory))


@pytest.mark.parametrize(
    "spoil",
    [
        _published_too_far,
        _published_backwards,
        _length_beyond_the_message,
        _no_protobuf,
        _acknowledged_too_far,
        _noise,
        _zeros,
    ],
)
def test_a_spoilt_ring_ends_its_client_only(
    dev: Host, ring: RawRingClient, good: RawClient, spoil: Callable[[memoryview], None]
) -> None:
    before = count(good, "protocol_errors")
    ring.send(ClientFrame(request_id=2, status=Status()))
    ring.next()
    status = ClientFrame(request_id=1, status=Status())
    with memoryview(ring.memory) as memory:
        spoil(memory)
    assert ring.channel is not None
    deadline = time.monotonic() + 20
    while count(good, "protocol_errors") == before and time.monotonic() < deadline:
        ring.channel._wake_other()
        with contextlib.suppress(OSError):
            ring.over_socket(status)  # answers want room
    assert count(good, "protocol_errors") == before + 1
    with RawRingClient(dev.path) as late:
        late.hello()
        late.send(status)
        assert late.next().HasField("status")


def test_memory_written_at_random_while_requests_run(dev: Host, good: RawClient) -> None:
    """Whatever a client scribbles into its channel, and whenever: it is served or dropped, and the others are served."""
    chance = random.Random(7)
    for _ in range(60):
        with RawRingClient(dev.path) as bad:
            bad.hello()
            with memoryview(bad.memory) as memory, contextlib.suppress(Exception):
                for number in range(chance.randrange(1, 30)):
                    bad.send(ClientFrame(request_id=number, stat=Stat(name="s3://b/x")))
                    at = chance.choice((_TO_SERVER, _TO_CLIENT, 0)) + chance.randrange(0, 2048, 8)
                    memory[at : at + 8] = struct.pack(
                        "<Q", chance.choice((0, 1, chance.getrandbits(17), chance.getrandbits(64)))
                    )
        good.counters()
    assert good.counters()["clients"] >= 1


def test_wake_ups_for_nothing_harm_nobody(ring: RawRingClient, good: RawClient) -> None:
    assert ring.channel is not None
    for _ in range(20_000):
        ring.channel._wake_other()
    assert good.counters()["clients"] >= 2
    ring.send(ClientFrame(request_id=3, status=Status()))
    assert ring.next().HasField("status")


def test_a_second_greeting_is_an_error(ring: RawRingClient) -> None:
    ring.send(ClientFrame(request_id=9, hello=Hello(protocol_version=1)))
    assert ring.next().failure.code == Failure.INVALID_REQUEST


# --- what is left behind ---


def held_by(pid: int) -> tuple[int, int]:
    """Descriptors, and mapped channels."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return len(os.listdir(f"/proc/{pid}/fd")), maps.count("shmipc-channel")


def test_nothing_is_left_of_clients_that_end(dev: Host, good: RawClient) -> None:
    good.counters()
    before = held_by(dev.pid)
    for number in range(30):
        with RawRingClient(dev.path) as client:
            client.hello()
            client.send(ClientFrame(request_id=2, fetch=Fetch(name="s3://b/x", block_count=4)))
            if number % 2:
                client.next()
    eventually(lambda: held_by(dev.pid) <= before)


_READER = """
import sys, itertools, cashy
with cashy.connect(sys.argv[1]) as cache:
    print("ready", flush=True)
    for number in itertools.count():
        cache.read("s3://b/x", number % 4 * 65536, 65536)
        cache.stat("s3://b/x", revalidate=True)
"""


def test_clients_killed_at_any_moment(dev: Host, good: RawClient) -> None:
    good.counters()
    before = held_by(dev.pid)
    chance = random.Random(3)
    for _ in range(8):
        reader = subprocess.Popen([sys.executable, "-c", _READER, str(dev.path)], stdout=subprocess.PIPE)
        assert reader.stdout is not None
        try:
            assert reader.stdout.readline() == b"ready\n"
            time.sleep(chance.random() * 0.05)
        finally:
            reader.send_signal(signal.SIGKILL)
            reader.wait()
            reader.stdout.close()
        good.counters()
    eventually(lambda: held_by(dev.pid)[1] <= before[1])
    # their pin tables are retired every half second
    eventually(lambda: held_by(dev.pid)[0] <= before[0])


def test_without_descriptors_there_is_no_channel_and_nothing_is_left() -> None:
    hello = Hello(wants_channel=True)
    assert _channel_for(Hello()) == (None, [])
    before = sorted(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    outcomes = set()
    try:
        for limit in range(lowest_free, max(map(int, before)) + 12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            channel, descriptors = _channel_for(hello)
            outcomes.add(channel is not None)
            for descriptor in descriptors:
                os.close(descriptor)
            if channel is not None:
                channel.close()
            del channel
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert sorted(os.listdir("/proc/self/fd")) == before, limit
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert outcomes == {False, True}
