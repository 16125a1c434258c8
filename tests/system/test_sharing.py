"""Many users, one daemon: whoever asks for one block waits for a turn and not for a queue; an origin with a limit is read at its pace."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from .harness import CountingStore, DevCluster, DevHost, wait_until

pytestmark = pytest.mark.system

PATIENCE_S = 30.0
MIB = 1 << 20
OTHER_KEY = "AKIDOTHER"
OTHER_SECRET = "OTHEROTHEROTHEROTHEROTHEROTHEROTHEROTHER"
GREEDY = 40
PLACES = 2


@pytest.fixture(scope="module")
def store() -> Iterator[CountingStore]:
    with CountingStore() as store:
        yield store


@pytest.fixture(scope="module")
def cluster(store: CountingStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    other = f'[key.{OTHER_KEY}]\nsecret = "{OTHER_SECRET}"\nbuckets = ["*"]\n'
    config = f"[limits]\nfills_max = {PLACES}\n[s3]\nrights = 'here'\n[freshness]\nrevalidate_after_s = 600\n"
    with DevCluster(
        1, tmp_path_factory.mktemp("shared"), f"s3={store.url}", memory="96MiB", block="1MiB", config=config, more_keys=other
    ) as made:  # fmt: skip
        yield made


def test_one_block_of_another_user_is_read_before_a_greedy_users_queue(
    cluster: DevCluster, store: CountingStore
) -> None:
    """The greedy one is this process's user; the others are callers of the S3 endpoint, by their keys."""
    (host,) = cluster.hosts
    many = [f"many{number}" for number in range(GREEDY)]
    for key in (*many, "one", "other"):
        store.put(key, 1000)
    own, other = host.s3(), host.s3(key=OTHER_KEY, secret=OTHER_SECRET)

    def through_s3(client: object, key: str) -> bytes:
        with closing(client.get_object(Bucket="bucket", Key=key)["Body"]) as body:  # type: ignore[attr-defined]
            return bytes(body.read())

    store.hold()
    with host.connect() as cache, ThreadPoolExecutor(GREEDY + 2) as threads:
        try:
            greedy = [threads.submit(cache.read, f"s3://bucket/{key}") for key in many]
            waiting = GREEDY - PLACES
            wait_until(
                lambda: host.counters()["fills_waiting"] == waiting and len(store.gets) == PLACES,
                PATIENCE_S, "the greedy user's queue",
            )  # fmt: skip
            few = [
                threads.submit(through_s3, client, key) for client, key in ((own, "one"), (other, "other"))
            ]
            wait_until(
                lambda: host.counters()["fills_waiting"] == waiting + 2, PATIENCE_S, "the others' blocks"
            )
        finally:
            store.let_go()
        assert [each.result(PATIENCE_S) for each in few] == [store.objects["one"], store.objects["other"]]
        for key, each in zip(many, greedy, strict=True):
            assert bytes(each.result(PATIENCE_S)) == store.objects[key]
    order = [key for key, _ in store.gets]
    # Those that had places are not driven out, and each user has a turn.
    assert order.index("one") <= PLACES + 3, order
    assert order.index("other") <= PLACES + 3, order


def test_an_origin_with_a_limit_is_read_at_its_pace_and_the_others_are_not(tmp_path: Path) -> None:
    limited, free = tmp_path / "limited", tmp_path / "free"
    blocks, rate_mib = 10, 8
    for folder in (limited, free):
        (folder / folder.name).mkdir(parents=True)
        (folder / folder.name / "key").write_bytes(os.urandom(blocks * MIB))
    config = f'[[origin]]\nkind = "directory"\npath = "{limited}"\nbandwidth_bytes_per_s = "{rate_mib}MiB"\n'
    config += f'[[origin]]\nkind = "directory"\npath = "{free}"\n'
    (tmp_path / "host").mkdir()
    with DevHost(tmp_path / "host", memory="64MiB", block="1MiB", workers=0, config=config) as host:
        began = time.monotonic()
        took_s: list[float] = []

        def read_limited() -> None:
            with host.connect() as cache:
                assert (
                    bytes(cache.read(f"file://{limited}/limited/key"))
                    == (limited / "limited" / "key").read_bytes()
                )
            took_s.append(time.monotonic() - began)

        reader = threading.Thread(target=read_limited)
        reader.start()
        try:
            wait_until(
                lambda: host.counters()["fills_waiting"] > 0, PATIENCE_S, "a block that waits for its turn"
            )
            with host.connect() as cache:
                assert bytes(cache.read(f"file://{free}/free/key")) == (free / "free" / "key").read_bytes()
        finally:
            reader.join(PATIENCE_S)
        (took,) = took_s
        print(f"{blocks} MiB at {rate_mib} MiB/s took {took:.2f} s")
        # The last block begins when those before it are paid for, but for a tenth of a second.
        assert took >= (blocks - 1) / rate_mib - 0.1
        assert host.counters()["blocks_from_origin"] == 2 * blocks
