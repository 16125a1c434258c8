"""Three hosts over a store that is slow: each block is read from it once, as the store itself counts, and its first bytes arrive before its last.

The hosts bear less silence than one block takes, and have fewer places at the store than there are blocks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from .harness import CountingStore, DevCluster
from .reading import wait_until_joined

pytestmark = pytest.mark.system

MIB = 1 << 20
BLOCK_S = 1.3
"""How long the store takes for a block once it sends, and before it sends an object's first; more than ``CONFIG`` lets a host be silent."""
CONFIG = (
    "[cluster]\nread_timeout_s = 1.0\nhedge = false\n[limits]\nfills_max = 2\n[s3]\nrights = 'here'\n[freshness]\nrevalidate_after_s = 600\n"
    "[log]\nlevel = 'info'\n"
)


@pytest.fixture(scope="module")
def store() -> Iterator[CountingStore]:
    with CountingStore(block_s=BLOCK_S) as store:
        yield store


@pytest.fixture(scope="module")
def cluster(store: CountingStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    folder = tmp_path_factory.mktemp("slow")
    with DevCluster(3, folder, f"s3={store.url}", memory="48MiB", block="1MiB", config=CONFIG) as cluster:
        wait_until_joined(cluster)
        yield cluster


def test_blocks_that_trickle_or_wait_for_a_place_are_read_once_by_the_cluster(
    store: CountingStore, cluster: DevCluster
) -> None:
    blocks = 9
    data = store.put("object", blocks * MIB)

    def read(number: int) -> bytes:
        with cluster.hosts[number].connect(timeout_s=60) as cache:
            return bytes(cache.read("s3://bucket/object"))

    with ThreadPoolExecutor(2) as readers:
        assert list(readers.map(read, range(2))) == [data, data]
    assert sorted(store.gets) == [("object", index) for index in range(blocks)]
    counters = cluster.counters()
    assert counters["origin_reads"] == counters["blocks_from_origin"] == blocks
    assert counters.get("peer_reads_failed", 0) == 0
    waits = sum(host.counters()["peer_server.waits_total"] for host in cluster.hosts)
    assert waits > 0, "nobody was silent for as long as the hosts bear: the store was not slow"


def test_a_blocks_first_bytes_reach_every_reader_before_its_home_has_the_whole_block(
    store: CountingStore, cluster: DevCluster
) -> None:
    data = store.put("single", MIB)
    before = cluster.counters()

    def read(number: int) -> tuple[list[tuple[str, int]], bytes]:
        answer = cluster.hosts[number].s3().get_object(Bucket="bucket", Key="single")
        with contextlib.closing(answer["Body"]) as body:
            first = body.read(1)
            given = [get for get in store.given if get[0] == "single"]
            return given, first + body.read()

    with ThreadPoolExecutor(3) as readers:
        assert list(readers.map(read, range(3))) == [([], data)] * 3
    assert store.gets.count(("single", 0)) == store.given.count(("single", 0)) == 1
    after = cluster.counters()
    assert after["blocks_from_peer"] - before["blocks_from_peer"] == 2
