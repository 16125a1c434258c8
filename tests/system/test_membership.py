"""Hosts that join and leave a running cluster by its file of hosts, under readers that go on: no read fails, and blocks move without the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from aviary.cashy.v1.control_pb2 import HostState
from cashy.hosts_file import HostList, format_hosts
from cashy.setting_values import Address
from cashy.settings import PeerSettings

from .harness import CountingStore, DevHost, free_port, s3_client, wait_until
from .reading import MIB, Readers, digest, read_everywhere

pytestmark = pytest.mark.system

BLOCK = "1MiB"
PATIENCE_S = 30
#: A host knows each object for longer than a test takes, so a question about its version is one of coherence.
CONFIG = "[s3]\nrights = 'here'\n[freshness]\nrevalidate_after_s = 600\n"


class ListedHosts:
    """Hosts with a ``cashy dev`` each, whose cluster is what stands in a file; each host has its own copy of it."""

    def __init__(self, folder: Path, store: CountingStore, stack: ExitStack) -> None:
        self.folder = folder
        self.hosts: dict[str, DevHost] = {}
        self.version = 0
        self._store = store
        self._stack = stack
        self._addresses: dict[str, Address] = {}
        self._key_file = folder / "cluster.key"
        self._key_file.write_bytes(os.urandom(32))
        self._key_file.chmod(0o600)

    def file_of(self, name: str) -> Path:
        return self.folder / name / "hosts.toml"

    def write(self, name: str, text: str) -> None:
        """As whatever distributes the file should: a new file takes the place of the old one."""
        path = self.file_of(name)
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)

    def next_list(self, names: str, *, gone: str = "", weights: dict[str, float] | None = None) -> str:
        """The text of a list one number higher."""
        self.version += 1
        for name in names:
            self._addresses.setdefault(name, Address(f"127.0.0.1:{free_port()}"))
        peers = tuple(
            PeerSettings(name=name, address=self._addresses[name], weight=(weights or {}).get(name, 1.0))
            for name in names
        )
        return format_hosts(
            HostList(version=self.version, host_count=len(peers), peers=peers, gone=tuple(gone))
        )

    def start(self, name: str) -> DevHost:
        # What is asked of a second source while this machine is busy would be counted as read again.
        config = f'{CONFIG}[cluster]\nhost = "{name}"\nkey_file = "{self._key_file}"\nhosts_file = "{self.file_of(name)}"\nhedge = false\n'
        config += "insecure = true\nlease_s = 1.0\ndrain_s = 2.0\n"
        host = DevHost(
            self.folder / name, f"s3={self._store.url}", config=config, memory="64MiB", block=BLOCK
        )
        self.hosts[name] = self._stack.enter_context(host)
        return host

    def settled(self, names: str) -> None:
        """Waits until these hosts go by the newest list, and know it of each other."""
        for name in names:
            others = set(names) - {name}
            wait_until(
                partial(self._is_settled, name, others), PATIENCE_S, f"{name} knows that all have the list"
            )

    def _is_settled(self, name: str, others: set[str]) -> bool:
        counters = self.hosts[name].counters()
        if not all(counters.get(f"peer.{other}.is_up") for other in others):
            return False
        wanted = {
            "membership_version": self.version,
            "membership_lists_counted": 1,
            "membership_acts": 1,
            "coherent": 1,
        }
        return all(counters[key] == value for key, value in wanted.items())

    def states(self, name: str) -> dict[str, int]:
        with self.hosts[name].connect() as cache:
            return {host.name: host.state for host in cache.cluster().hosts}


@pytest.fixture
def store() -> Iterator[CountingStore]:
    with CountingStore() as store:
        yield store


@pytest.fixture
def listed(tmp_path: Path, store: CountingStore) -> Iterator[ListedHosts]:
    with ExitStack() as stack:
        yield ListedHosts(tmp_path, store, stack)


def _objects(store: CountingStore, prefix: str, count: int, blocks: int) -> dict[str, str]:
    keys = [f"{prefix}{number}" for number in range(count)]
    return {f"s3://bucket/{key}": digest(store.put(key, blocks * MIB)) for key in keys}


def _reads_again(store: CountingStore, before: int) -> int:
    """Blocks that were read from the store since, though they had been before."""
    seen = set(store.gets[:before])
    return sum(get in seen for get in store.gets[before:])


def test_three_hosts_become_four_and_three_again_and_no_reader_notices(
    store: CountingStore, listed: ListedHosts
) -> None:
    first = listed.next_list("abc")
    for name in "abc":
        listed.write(name, first)
        listed.start(name)
    listed.settled("abc")
    objects = _objects(store, "k", 4, 4)
    hosts = [listed.hosts[name] for name in "abc"]
    assert read_everywhere(hosts, objects) == []
    read_once = len(store.gets)
    assert read_once == 16, "each block once"
    with Readers(hosts, objects) as readers:
        second = listed.next_list("abcd")
        for name in "abcd":  # one after the other: for a while they disagree
            listed.write(name, second)
            assert readers.go_on()
        listed.start("d")
        listed.settled("abcd")
        everybody = [*hosts, listed.hosts["d"]]
        assert listed.states("a") == dict.fromkeys("abcd", HostState.HOST_UP)
        assert read_everywhere(everybody, objects) == []
        assert listed.hosts["d"].counters()["blocks_from_peer"] == 16, (
            "its own share came from the hosts that had it before"
        )
        assert _reads_again(store, read_once) == 0
        connects = {host.name: host.counters()["peer.a.connects_total"] for host in hosts[1:]}
        assert set(connects.values()) == {1}, "whoever stays keeps his connections"
        with Readers(everybody, objects) as more:
            third = listed.next_list("bcd")
            for name in "dcba":
                listed.write(name, third)
                assert more.go_on()
            listed.settled("bcd")
            assert more.go_on(2), "the one that has left goes on serving its own clients"
            wait_until(lambda: "a" not in listed.states("b"), PATIENCE_S, "a is let go of")
            assert more.go_on(2)
            assert more.stop() == []
        assert readers.stop() == []
    assert [get for get in store.gets[read_once:] if get[0].startswith("k")] == [], (
        "nothing was read from the store again"
    )


def _refuses_writes(host: DevHost) -> bool:
    client = s3_client(host.url)
    try:
        client.put_object(Bucket="bucket", Key="n", Body=b"x")
    except client.exceptions.ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 503)
    finally:
        client.close()
    return False


def test_a_list_that_cannot_be_right_changes_nothing_and_a_dead_host_is_replaced(
    store: CountingStore, listed: ListedHosts
) -> None:
    first = listed.next_list("abc")
    for name in "abc":
        listed.write(name, first)
        listed.start(name)
    listed.settled("abc")
    a = listed.hosts["a"]

    def refused(text: str, count: int) -> None:
        listed.write("a", text)
        wait_until(lambda: a.counters().get("membership_errors", 0) >= count, PATIENCE_S, "a refused list")

    refused("", 1)
    refused(first[: first.rindex("[[peer]]")], 2)  # cut off where it is still valid TOML
    refused(first.replace("weight = 1.0", "weight = 2.0", 1), 3)
    assert (a.counters()["membership_version"], a.counters()["membership_hosts"]) == (1, 3)
    assert a.log().count("list_of_hosts_not_taken") == 3

    objects = _objects(store, "k", 3, 4)
    listed.hosts["c"].kill_for_good()
    with Readers([a, listed.hosts["b"]], objects) as readers:
        second = listed.next_list("abd")  # without a word on c, which may live on somewhere
        for name in "abd":
            listed.write(name, second)
        listed.start("d")
        wait_until(lambda: a.counters()["membership_version"] == 2, PATIENCE_S)
        assert a.counters()["membership_unconfirmed"] >= 1
        assert readers.go_on(2)
        third = listed.next_list("abd", gone="c")
        for name in "abd":
            listed.write(name, third)
        listed.settled("abd")
        assert readers.go_on(2)
        assert readers.stop() == []
    assert read_everywhere([listed.hosts[name] for name in "abd"], objects) == []
    left_out = listed.next_list("bd")
    for name in "abd":
        listed.write(name, left_out)
    listed.settled("bd")
    wait_until(lambda: _refuses_writes(a), PATIENCE_S, "a host that has left changes nothing")
    assert read_everywhere([listed.hosts["a"]], objects) == []
