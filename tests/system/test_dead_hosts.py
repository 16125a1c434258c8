"""Hosts of a cluster that are killed, frozen or gone for good while others read from them: no read fails, and each later block is read once.

The store is held back just before, so that the blow always falls on reads that are under way.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial

import pytest

from .harness import NOT_HEDGED, CountingStore, DevCluster, RunningHost, lone_hosts, wait_until
from .reading import MIB, Readers, digest, read_everywhere, wait_until_joined

pytestmark = pytest.mark.system

#: Much less memory than data, also than any one host's share of it: blocks are always on their way, from the store to their homes and from there to
#: the readers.
MEMORY, BLOCK = "24MiB", "1MiB"
#: What was read last is what is kept, so that it is known which blocks are.
CONFIG = "[memory]\neviction = 'lru'\n[s3]\nrights = 'here'\n[freshness]\nrevalidate_after_s = 600\n"


def objects_in(store: CountingStore, prefix: str, count: int, blocks: int) -> dict[str, str]:
    """Objects of the store, by name, with the digests of their bytes."""
    keys = [f"{prefix}{number}" for number in range(count)]
    return {f"s3://bucket/{key}": digest(store.put(key, blocks * MIB)) for key in keys}


@pytest.fixture(scope="module")
def store() -> Iterator[CountingStore]:
    with CountingStore() as store:
        yield store


@pytest.fixture(scope="module")
def cluster(store: CountingStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with DevCluster(
        3, folder, f"s3={store.url}", workers=0, config=CONFIG + NOT_HEDGED, memory=MEMORY, block=BLOCK
    ) as cluster:
        wait_until_joined(cluster)
        yield cluster


def is_without(host: RunningHost, victim: str) -> bool:
    return host.counters()[f"peer.{victim}.is_up"] == 0


@contextlib.contextmanager
def reads_held(
    store: CountingStore, readers: Readers, hosts: Sequence[RunningHost], victim: str
) -> Iterator[None]:
    """Inside, readers wait for blocks that each of their hosts has asked of the victim; afterwards the store goes on."""
    wait_until(lambda: holds_reads(store, hosts, victim), 30, "reads of the victim")
    try:
        assert readers.are_reading, readers.problems
        yield
    finally:
        store.let_go()


def holds_reads(store: CountingStore, hosts: Sequence[RunningHost], victim: str) -> bool:
    """Holds the store back; lets it go again where the readers of some host turn out to wait for others only."""
    store.hold()
    time.sleep(0.1)  # what is in its home's memory arrives meanwhile, and is not meant
    if all(host.counters()[f"peer.{victim}.requests_under_way"] for host in hosts):
        return True
    store.let_go()
    return False


def assert_hit(hosts: Sequence[RunningHost], victim: str) -> None:
    """The others have lost their connection to the victim, and reads with it."""
    for host in hosts:
        counters = host.counters()
        assert counters[f"peer.{victim}.connections_lost_total"] >= 1
        assert counters[f"peer.{victim}.reads_failed_total"] >= 1
        assert counters["peer_reads_failed"] >= 1


def test_a_master_that_is_killed_fails_nobodys_read_and_is_used_again(
    store: CountingStore, cluster: DevCluster
) -> None:
    *others, victim = cluster.hosts
    with Readers(others, objects_in(store, "k", 8, 16)) as readers:
        with reads_held(store, readers, others, victim.name):
            pid = victim.kill_master()
        assert readers.go_on()
        assert_hit(others, victim.name)
        victim.wait_for_other_master(pid)
        with reads_held(store, readers, others, victim.name):
            pass
        assert readers.go_on()
        assert readers.stop() == []


def test_a_master_that_freezes_fails_nobodys_read_and_is_used_again(
    store: CountingStore, cluster: DevCluster
) -> None:
    victim, *others = cluster.hosts
    with Readers(others, objects_in(store, "f", 8, 16)) as readers:
        with contextlib.ExitStack() as stack:
            with reads_held(store, readers, others, victim.name):
                stack.enter_context(victim.hanging_master())
            assert readers.go_on()
            for host in others:
                wait_until(partial(is_without, host, victim.name))
            assert_hit(others, victim.name)
        with reads_held(store, readers, others, victim.name):
            pass
        assert readers.go_on()
        assert readers.stop() == []


def test_a_host_that_is_gone_for_good_costs_no_read_and_the_others_read_each_block_once(
    tmp_path_factory: pytest.TempPathFactory, store: CountingStore
) -> None:
    """Readers through the client library, and a body on its way through S3 whose blocks are at home there."""
    folder = tmp_path_factory.mktemp("gone")
    with lone_hosts(
        folder, 3, f"s3={store.url}", config=CONFIG, cluster=NOT_HEDGED, memory="64MiB", block=BLOCK
    ) as hosts:
        *others, victim = hosts
        data = store.put("long", 30 * MIB)
        with Readers(others, objects_in(store, "g", 16, 8)) as readers:
            answer = others[0].s3().get_object(Bucket="bucket", Key="long")
            with contextlib.closing(answer["Body"]) as body:
                first = body.read(MIB)
                with reads_held(store, readers, others, victim.name):
                    victim.kill_for_good()
                assert first + body.read() == data
            assert readers.go_on()
            assert_hit(others, victim.name)
            assert readers.stop() == []
        fresh = objects_in(store, "n", 2, 6)
        before = [host.counters()["blocks_from_peer"] for host in others]
        assert read_everywhere(others, fresh) == []
        due = [(f"n{number}", block) for number in range(2) for block in range(6)]
        assert sorted(get for get in store.gets if get[0].startswith("n")) == due
        after = [host.counters()["blocks_from_peer"] for host in others]
        assert sum(after) - sum(before) == len(due), "each block goes from the one that reads it to the other"
