"""A block that all hosts want again and again, on real hosts: others than its home send it, all bytes are right, and it cools down."""

from __future__ import annotations

import threading
from itertools import count
from pathlib import Path

import pytest

from cashy.core.hot_blocks import is_sent_on
from cashy.core.placement import Member, Ranking, place_key

from .harness import CountingStore, DevCluster, RunningHost, wait_until
from .reading import MIB, digest, digest_of, total, wait_until_joined

pytestmark = pytest.mark.system

PATIENCE_S = 60
#: Four blocks are kept at a time, and none of other hosts' for long: so each host asks again and again.
CONFIG = "[freshness]\nrevalidate_after_s = 600\n[cluster]\nlocal_copies = 'never'\nhedge = false\n"


def _hot_key(cluster: DevCluster) -> str:
    """One whose block the last two hosts in its order are not given by the home once that is hot: the first three hold it then."""
    names = [host.name for host in cluster.hosts]
    origin = next(key.split(".")[1] for key in cluster.hosts[0].counters() if key.startswith("origin."))
    ranking = Ranking(map(Member, names))
    for number in count():
        place = place_key(origin, f"bucket/hot{number}", 0)
        if all(is_sent_on(place, name, 3) for name in ranking.first(place, 5)[3:]):
            return f"hot{number}"
    raise AssertionError


def test_many_hosts_ask_for_one_block(tmp_path: Path) -> None:
    with CountingStore() as store, DevCluster(
        5, tmp_path, f"s3={store.url}", workers=0, config=CONFIG, memory="4MiB", block="1MiB"
    ) as cluster:  # fmt: skip
        wait_until_joined(cluster)
        key = _hot_key(cluster)
        hot, due = f"s3://bucket/{key}", digest(store.put(key, MIB))
        others = {f"s3://bucket/cold{number}": digest(store.put(f"cold{number}", MIB)) for number in range(8)}
        is_over, wrong = threading.Event(), list[str]()

        def read(host: RunningHost) -> None:
            with host.connect(timeout_s=60) as cache:
                while not is_over.is_set():
                    for name, expected in [(hot, due), *others.items()]:
                        if digest_of(cache, name) != expected:
                            wrong.append(f"{host.name}: {name}")

        threads = [threading.Thread(target=read, args=(host,)) for host in cluster.hosts]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: total(cluster, "hot_reads_sent_on") > 0, PATIENCE_S, "a reader is sent on")
            wait_until(lambda: total(cluster, "peer_reads_sent_on") > 0, PATIENCE_S, "it goes there")
        finally:
            is_over.set()
            for thread in threads:
                thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
        assert total(cluster, "hints_kept") > 0
        wait_until(lambda: total(cluster, "hot_blocks") == 0, PATIENCE_S, "nothing is hot any more")
