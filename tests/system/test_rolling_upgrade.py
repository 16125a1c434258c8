"""Three hosts are restarted one by one, as by an upgrade: no read fails or is wrong, nobody waits for a time limit, and what was cached stays so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .harness import CountingStore, wait_until
from .load_over import Readers
from .lone import LoneHost, joined

pytestmark = pytest.mark.system

BLOCK = 64 << 10
OBJECTS = 18
BLOCKS = 4  # of each


@pytest.fixture
def store() -> Iterator[CountingStore]:
    with CountingStore(block_bytes=BLOCK) as made:
        yield made


@pytest.fixture
def hosts(tmp_path: Path, store: CountingStore) -> Iterator[list[LoneHost]]:
    config = f"""[freshness]\nrevalidate_after_s = 1.0\n[s3]\nanonymous = true
[[origin]]\nkind = "s3"\nname = "store"\nurl = "{store.url}"\nanonymous = true\n"""
    with ExitStack() as stack:
        made = [stack.enter_context(host) for host in joined(tmp_path, ("a", "b", "c"), config)]
        wait_until(lambda: all(is_well(host) for host in made), 30, "the hosts know each other")
        yield made


def is_well(host: LoneHost) -> bool:
    """It reaches all others, and believes what it knows."""
    counters = host.counters()
    return (
        counters["coherent"] == 1
        and sum(value for name, value in counters.items() if name.endswith(".is_up")) == 2
    )


def read_all(host: LoneHost, objects: dict[str, bytes]) -> None:
    with host.connect() as cache:
        for key, data in objects.items():
            assert cache.read(f"s3://{key}") == data


def restart(host: LoneHost) -> None:
    """What an upgrade of one host does: its worker, then its master, each ended in an orderly way."""
    host.stop_worker()
    host.stop()
    host.start_worker()  # which waits for the master
    host.start()


def test_hosts_are_restarted_one_after_the_other_under_load(
    hosts: list[LoneHost], store: CountingStore
) -> None:
    objects = {f"bucket/{number}": store.put(f"{number}", BLOCKS * BLOCK) for number in range(OBJECTS)}
    for host in hosts:
        read_all(host, objects)
    # Each block is read once by the cluster; where a home was slow, a reader has asked the store as well.
    read_before = len(store.gets)
    assert OBJECTS * BLOCKS <= read_before <= OBJECTS * BLOCKS * 9 // 8
    readers = Readers(objects)
    for host in hosts:
        readers.client(host)
        readers.kept(host.url)
        readers.fresh(host.url)
    with readers.reading():
        before = readers.reads.total()
        for host in hosts:
            restart(host)
            wait_until(lambda: all(is_well(one) for one in hosts), 30, "all are there again")
            readers.wait_for_more()
        meanwhile, reads = len(store.gets) - read_before, readers.reads.total() - before
    print(
        f"hit ratio 1.000 before, {1 - meanwhile / (reads * BLOCKS):.4f} during the restarts ({reads} reads)"
    )
    after = len(store.gets)
    for host in hosts:
        read_all(host, objects)
    assert len(store.gets) - after <= OBJECTS * BLOCKS // 8, "and all of it is still cached"
    for host in hosts:
        log = host.log_file.read_text()
        assert "peer_lost" not in log
        assert "peer_left" in log
        assert host.counters()["slots_restored"] > 0
