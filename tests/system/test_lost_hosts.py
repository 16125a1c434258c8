"""Writes through one host of a cluster, read through the others at once, while masters stand still or die, workers die, and answers of the
store are lost. What is cached may be believed for ten minutes, so whatever is right here is right by coherence.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.cashy.s3.signed_requests import signed_upload
from tests.system.harness import KEY, SECRET, DevCluster, RunningHost, s3_client, started_store, wait_until
from tests.system.reading import wait_until_joined

import cashy
from cashy.s3.credentials import Key

pytestmark = pytest.mark.system

LEASE_S = 2.0
NAME = "s3://bucket/key"
CONFIG = f"[freshness]\nrevalidate_after_s = 600\n[cluster]\nlease_s = {LEASE_S}\n"


class LosingRelay:
    """In front of the store. While ``holds`` is set no answer passes; while ``loses`` is set, connections end in its place."""

    def __init__(self, target: str) -> None:
        host, port = target.removeprefix("http://").split(":")
        self._target = host, int(port)
        self.holds = threading.Event()
        self.loses = threading.Event()
        self.held = threading.Event()  # an answer is being held, or was lost
        self.asked_bytes = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._sockets += near, far
            threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not is_answer:
                    self.asked_bytes += len(data)
                while is_answer and self.holds.is_set():
                    self.held.set()
                    time.sleep(0.01)
                if is_answer and self.loses.is_set():
                    self.held.set()
                    break
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        for one in self._sockets:
            one.close()


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with started_store() as url:
        yield url


@pytest.fixture(scope="module")
def relay(store: str) -> Iterator[LosingRelay]:
    made = LosingRelay(store)
    yield made
    made.close()


@pytest.fixture(scope="module")
def cluster(relay: LosingRelay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    with DevCluster(
        3, tmp_path_factory.mktemp("cluster"), f"s3={relay.url}", workers=1, config=CONFIG
    ) as cluster:
        wait_until_joined(cluster)
        yield cluster


@pytest.fixture
def hosts(cluster: DevCluster, store: str) -> list[RunningHost]:
    """All of them coherent, each with the old version at hand."""
    direct = s3_client(store)
    with suppress(ClientError):
        direct.create_bucket(Bucket="bucket")
    cluster.hosts[0].s3().put_object(Bucket="bucket", Key="key", Body=b"old")
    direct.close()
    for host in cluster.hosts:
        wait_until(lambda host=host: is_coherent(host), what=f"host {host.name} being coherent")  # type: ignore[misc]
    for host in cluster.hosts:
        # The first answer may come from a host that was not coherent yet when it was asked, and vouched for nothing.
        wait_until(lambda host=host: read(host) == b"old" and is_hit(host), what="a hit")  # type: ignore[misc]
    return cluster.hosts


def is_coherent(host: RunningHost) -> bool:
    try:
        return host.counters().get("coherent") == 1
    except (cashy.CashyError, OSError):
        return False


def is_hit(host: RunningHost) -> bool:
    """Whether a client of the host would use what is known without asking anybody."""
    with host.connect() as cache:
        assert cache._arena is not None
        return cache._arena.lookup(NAME) is not None


def read(host: RunningHost) -> bytes:
    with host.connect(timeout_s=30) as cache:
        return bytes(cache.read(NAME))


def through_s3(host: RunningHost) -> bytes:
    with host.s3().get_object(Bucket="bucket", Key="key")["Body"] as body:
        return bytes(body.read())


def put(host: RunningHost, data: bytes) -> float:
    """Writes; gives the seconds until it was acknowledged."""
    began = time.monotonic()
    host.s3().put_object(Bucket="bucket", Key="key", Body=data)
    return time.monotonic() - began


def all_see(hosts: list[RunningHost], data: bytes) -> None:
    for host in hosts:
        assert read(host) == data, host.name
        assert through_s3(host) == data, host.name


def pid_of_listener(port: int) -> int:
    """Who has the listening socket of a port."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1].endswith(f":{port:04X}") and columns[3] == "0A":
            wanted = f"socket:[{columns[9]}]"
            for link in Path("/proc").glob("[0-9]*/fd/*"):
                with suppress(OSError):
                    if os.readlink(link) == wanted and b"s3" in (
                        link.parents[1] / "cmdline"
                    ).read_bytes().split(b"\0"):
                        return int(link.parts[2])
    raise AssertionError(f"nobody listens on {port}")


def test_with_everybody_there_a_write_is_seen_everywhere_at_once(hosts: list[RunningHost]) -> None:
    took_s = []
    for number in range(10):
        data = b"new %d" % number
        took_s.append(put(hosts[number % 3], data))
        all_see(hosts, data)
    # One that waits for a lease to end takes longer, and all would; a machine that stands still makes one late.
    assert sorted(took_s)[7] < LEASE_S


def test_a_host_that_stands_still_believes_nothing_old_once_a_write_is_acknowledged(
    hosts: list[RunningHost],
) -> None:
    writer, other, frozen = hosts
    with frozen.connect(timeout_s=30) as cache, ThreadPoolExecutor(1) as threads:
        arena = cache._arena
        assert arena is not None
        with frozen.hanging_master():
            took_s = put(writer, b"new")
            assert arena.lookup(NAME) is None, (
                "a client of the host that stands still would have used the old version"
            )
            assert took_s < 2 * LEASE_S, "only the lease is waited for"
            reading = threads.submit(lambda: bytes(cache.read(NAME)))
            all_see([writer, other], b"new")
            assert put(other, b"newer") < LEASE_S, "a host without a lease is not waited for"
            all_see([writer, other], b"newer")
            assert not reading.done()
        assert reading.result(30) in (b"new", b"newer")
    all_see(hosts, b"newer")


def test_while_one_host_stands_still_the_others_have_their_hits(hosts: list[RunningHost]) -> None:
    one, other, frozen = hosts
    with frozen.hanging_master():
        time.sleep(LEASE_S * 1.2)
        for host in (one, other):
            before = host.counters()
            for _ in range(20):
                assert through_s3(host) == b"old"
                assert is_hit(host)
                time.sleep(LEASE_S / 20)
            after = host.counters()
            assert after.get("origin_heads", 0) - before.get("origin_heads", 0) <= 1
            assert after["coherence_gained"] == before["coherence_gained"], "it was never lost"


def test_a_master_that_dies_and_comes_back_believes_nothing_of_before(hosts: list[RunningHost]) -> None:
    writer, other, dying = hosts
    pid = dying.kill_master()
    put(writer, b"new")
    all_see([writer, other], b"new")
    dying.wait_for_other_master(pid)
    all_see(hosts, b"new")
    wait_until(lambda: is_coherent(dying), what="coherence")
    # As in the fixture: what was asked before it was coherent is vouched for by nobody, and has to be asked again.
    wait_until(lambda: read(dying) == b"new" and is_hit(dying), what="a hit")


def test_the_writers_own_master_dies_in_the_middle(hosts: list[RunningHost], relay: LosingRelay) -> None:
    writer = hosts[0]
    relay.held.clear()
    relay.holds.set()
    try:
        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(put, writer, b"new")
            assert relay.held.wait(20)
            pid = writer.kill_master()
            relay.holds.clear()
            writing.result(60)
        all_see(hosts, b"new")
        assert writer.master_pid() != pid
    finally:
        relay.holds.clear()


def _lose_answer(relay: LosingRelay, writer: RunningHost) -> None:
    relay.loses.set()
    try:
        with pytest.raises((ClientError, BotoCoreError)):
            put(writer, b"new")
    finally:
        relay.loses.clear()


def _kill_worker(relay: LosingRelay, writer: RunningHost) -> None:
    relay.holds.set()
    try:
        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(put, writer, b"new")
            assert relay.held.wait(20)
            os.kill(pid_of_listener(port_of(writer)), signal.SIGKILL)
            assert isinstance(writing.exception(30), BotoCoreError)
    finally:
        relay.holds.clear()


@pytest.mark.parametrize("lose", [_lose_answer, _kill_worker])
def test_a_change_of_unknown_outcome_is_seen_everywhere(
    hosts: list[RunningHost], relay: LosingRelay, store: str, lose: Callable[[LosingRelay, RunningHost], Any]
) -> None:
    relay.held.clear()
    lose(relay, hosts[0])
    assert relay.held.is_set()
    direct = s3_client(store)
    with direct.get_object(Bucket="bucket", Key="key")["Body"] as body:
        assert body.read() == b"new", "the store did it"
    direct.close()
    for host in hosts:
        wait_until(lambda host=host: read(host) == b"new", what=f"{host.name} seeing it")  # type: ignore[misc]
    wait_until(lambda: _serves(hosts[0]), what="a new worker")
    all_see(hosts, b"new")


def test_a_worker_that_is_killed_within_an_upload_leaves_the_old_object(
    hosts: list[RunningHost], relay: LosingRelay, store: str
) -> None:
    writer = hosts[0]
    content = b"new" * (1 << 20)
    head, body = signed_upload(writer.url, "/bucket/key", content, key=Key(KEY, SECRET))
    before = relay.asked_bytes
    with socket.create_connection(("127.0.0.1", port_of(writer))) as raw:
        raw.sendall(head + body[: len(body) // 2])
        wait_until(lambda: relay.asked_bytes > before + (1 << 20), what="half of it at the store")
        os.kill(pid_of_listener(port_of(writer)), signal.SIGKILL)
        with suppress(ConnectionError):
            assert raw.recv(1) == b"", "nobody says that it is done"
    wait_until(lambda: _serves(writer), what="a new worker")
    direct = s3_client(store)
    with direct.get_object(Bucket="bucket", Key="key")["Body"] as found:
        assert found.read() == b"old"
    direct.close()
    all_see(hosts, b"old")


def port_of(host: RunningHost) -> int:
    return int(host.url.rsplit(":", 1)[1])


def _serves(host: RunningHost) -> bool:
    try:
        return bool(through_s3(host))
    except (ClientError, BotoCoreError):
        return False


def test_no_acknowledged_write_is_missed_while_masters_die_and_stand_still(hosts: list[RunningHost]) -> None:
    """Three seconds of trouble each round; every read that begins after an acknowledgement sees it."""
    stop = threading.Event()
    acknowledged = [0]
    wrong: list[str] = []

    def reader(host: RunningHost) -> None:
        while not stop.is_set():
            floor = acknowledged[0]
            try:
                seen = read(host)
            except (cashy.CashyError, OSError):
                continue
            if (0 if seen == b"old" else int(seen)) < floor:
                wrong.append(f"{host.name} saw {seen!r} after {floor} was acknowledged")

    readers = [threading.Thread(target=reader, args=(host,)) for host in hosts]
    for one in readers:
        one.start()
    try:
        number = 0
        for round_number in range(4):
            victim = hosts[1 + round_number % 2]
            ends_at = time.monotonic() + 3
            with victim.hanging_master():
                if round_number >= 2:
                    with suppress(ProcessLookupError):
                        os.kill(victim_pid(victim), signal.SIGKILL)
                while time.monotonic() < ends_at or acknowledged[0] < 2 * round_number:
                    number += 1
                    with suppress(ClientError, BotoCoreError):
                        put(hosts[0], b"%d" % number)
                        acknowledged[0] = number
            wait_until(lambda victim=victim: is_coherent(victim), 30, "coherence")  # type: ignore[misc]
    finally:
        stop.set()
        for one in readers:
            one.join(60)
    assert not wrong, wrong[:5]
    assert acknowledged[0] >= 6


def victim_pid(host: RunningHost) -> int:
    """The master's process, which stands still and cannot be asked: the one that holds the lock of its instance."""
    listener = str(host.socket)
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        columns = line.split()
        if len(columns) == 8 and columns[7] == listener and columns[3] == "00010000":
            wanted = f"socket:[{columns[6]}]"
            for link in Path("/proc").glob("[0-9]*/fd/*"):
                with suppress(OSError):
                    if os.readlink(link) == wanted:
                        return int(link.parts[2])
    raise AssertionError(f"nobody listens on {listener}")
