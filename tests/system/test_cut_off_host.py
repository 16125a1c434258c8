"""A host that the others cannot reach, nor it them, while its clients and the store are where they were: it believes nothing old, and asks."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.cashy.cluster_certificates import certified
from tests.system.harness import DevHost, free_port, s3_client, started_store, wait_until
from tests.system.test_lost_hosts import CONFIG, LEASE_S, all_see, is_coherent, is_hit, put, read, through_s3

pytestmark = pytest.mark.system


class Cable:
    """Carries connections to a port; while it is cut, what it is given is lost, and nobody is told."""

    def __init__(self, target_port: int) -> None:
        self._target = "127.0.0.1", target_port
        self._is_cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._is_cut.set()

    def mend(self) -> None:
        """Bytes are missing in what was carried, so its connections end."""
        self._is_cut.clear()
        sockets, self._sockets = self._sockets, []
        _end(sockets)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.mend()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, 5)
            except OSError:
                near.close()
                continue
            self._sockets += near, far
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._is_cut.is_set():
                    sink.sendall(data)
        _end([source, sink])
        source.close()


def _end(sockets: list[socket.socket]) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@dataclass
class Cabled:
    """Three hosts, and a cable for each way from one to another."""

    hosts: dict[str, DevHost]
    cables: dict[tuple[str, str], Cable]

    @contextlib.contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Inside, a host is cut off, both ways."""
        cables = [cable for ends, cable in self.cables.items() if name in ends]
        for cable in cables:
            cable.cut()
        try:
            yield
        finally:
            for cable in cables:
                cable.mend()


@pytest.fixture
def cabled(tmp_path: Path) -> Iterator[Cabled]:
    certificates = certified(tmp_path / "ca", "abc")
    ports = {name: free_port() for name in "abc"}
    with ExitStack() as stack:
        store = stack.enter_context(started_store())
        direct = s3_client(store)
        direct.create_bucket(Bucket="bucket")
        direct.put_object(Bucket="bucket", Key="key", Body=b"old")
        direct.close()
        cables = {(one, other): Cable(ports[other]) for one in ports for other in ports if one != other}
        for cable in cables.values():
            stack.callback(cable.close)
        hosts = {}
        for name in ports:
            folder = tmp_path / name
            folder.mkdir()
            seen = {other: ports[other] if other == name else cables[name, other].port for other in ports}
            peers = "".join(
                f'[[peer]]\nname = "{other}"\naddress = "127.0.0.1:{port}"\n' for other, port in seen.items()
            )
            config = f'{CONFIG}host = "{name}"\n{certificates[name]}{peers}'
            hosts[name] = stack.enter_context(DevHost(folder, f"s3={store}", config=config))
        for host in hosts.values():
            wait_until(lambda host=host: is_coherent(host), 30, f"{host.name} being coherent")  # type: ignore[misc]
        yield Cabled(hosts, cables)


def test_a_host_that_is_cut_off_asks_the_store_once_a_write_is_acknowledged(cabled: Cabled) -> None:
    writer, other, lonely = cabled.hosts.values()
    for host in cabled.hosts.values():
        wait_until(lambda host=host: read(host) == b"old" and is_hit(host), what="a hit")  # type: ignore[misc]
    with lonely.connect(timeout_s=30) as cache:
        arena = cache._arena
        assert arena is not None
        with cabled.without("c"):
            assert put(writer, b"new") < 2 * LEASE_S, (
                "only the lease of the host that is cut off is waited for"
            )
            assert arena.lookup("s3://bucket/key") is None, "its client would have used the old version"
            all_see([lonely, writer, other], b"new")
            before = lonely.counters()["origin_heads"]
            for number in range(3):
                assert put(other, b"newer %d" % number) < LEASE_S, "a host without a lease is not waited for"
                assert read(lonely) == through_s3(lonely) == b"newer %d" % number
            assert lonely.counters()["origin_heads"] >= before + 3, "each time the store was asked"
            assert not is_coherent(lonely)
            with pytest.raises(ClientError) as caught:
                put(lonely, b"of a minority")
            assert caught.value.response["Error"]["Code"] == "SlowDown"
            all_see([writer, other, lonely], b"newer 2")
    wait_until(lambda: is_coherent(lonely), 30, "coherence")
    assert put(lonely, b"together again") < 2 * LEASE_S
    all_see([writer, other, lonely], b"together again")
    wait_until(lambda: read(lonely) == b"together again" and is_hit(lonely), what="a hit")
