"""One of three hosts answers 200 ms late: readers of the others hardly notice, hardly anything is asked twice, and the host comes back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import cashy

from .harness import DevHost, free_port, wait_until
from .slow_relay import SlowRelay, slow_relay

pytestmark = pytest.mark.system

PATIENCE_S = 120.0
BLOCK = 65_536
SLOW_BY_S = 0.1  # each way


class Floor:
    """Host a, home to nothing, reads from b and c, each behind a relay: a relay alone would be slower than none. That of b delays."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.files = folder / "files" / "bucket"
        self.files.mkdir(parents=True)
        key = folder / "cluster.key"
        key.write_bytes(os.urandom(32))
        key.chmod(0o600)
        listens = {name: f"127.0.0.1:{free_port()}" for name in "abc"}
        self.relay: SlowRelay = stack.enter_context(slow_relay(listens["b"]))
        addresses = listens | {
            "b": self.relay.address,
            "c": stack.enter_context(slow_relay(listens["c"])).address,
        }
        peers = "".join(
            f'[[peer]]\nname = "{name}"\naddress = "{address}"\nweight = {float(name != "a")}\n'
            for name, address in addresses.items()
        )
        self.hosts = {}
        for name, listen in listens.items():
            (folder / name).mkdir()
            cluster = (
                f'[cluster]\nhost = "{name}"\nlisten = "{listen}"\nkey_file = "{key}"\ninsecure = true\n'
            )
            config = f"[freshness]\nrevalidate_after_s = 600\n{cluster}{peers}"
            self.hosts[name] = stack.enter_context(
                DevHost(folder / name, f"file={folder / 'files'}", block="64KiB", workers=0, config=config)
            )
        wait_until(self._are_joined, PATIENCE_S, "all hosts know each other")
        self._made = 0

    def _are_joined(self) -> bool:
        for host in self.hosts.values():
            with host.connect() as cache:
                if any(other.error for other in cache.cluster().hosts):
                    return False
        return True

    def objects(self, count: int) -> dict[str, bytes]:
        """Fresh objects of one block, each in its home's memory."""
        made = {}
        for _ in range(count):
            data = os.urandom(BLOCK)
            path = self.files / f"object{self._made}"
            path.write_bytes(data)
            made[f"file://{path}"] = data
            self._made += 1
        with self.hosts["c"].connect() as cache:  # c's own from the origin, b's through b
            for url, data in made.items():
                assert bytes(cache.read(url)) == data
        return made

    def read(self, objects: dict[str, bytes]) -> list[float]:
        """Through a; seconds of each, in order of size."""
        took_s = []
        with self.hosts["a"].connect() as cache:
            for url, data in objects.items():
                began = time.perf_counter()
                view = cache.read(url)
                took_s.append(time.perf_counter() - began)
                assert bytes(view) == data
        return sorted(took_s)

    def counters(self) -> dict[str, int]:
        return self.hosts["a"].counters()

    def wait_until_all_are_asked(self) -> None:
        """Until a thinks no host slow."""
        with self.hosts["a"].connect() as cache:

            def comes_back() -> bool:
                before = self.counters().get("slow_peers_avoided", 0)
                for url in self.objects(4):
                    cache.read(url)
                return self.counters().get("slow_peers_avoided", 0) == before

            wait_until(lambda: all(comes_back() for _ in range(4)), PATIENCE_S, "the host being asked again")


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    with ExitStack() as stack:
        yield Floor(tmp_path_factory.mktemp("floor"), stack)


def test_a_slow_host_is_hardly_noticed_and_comes_back(floor: Floor) -> None:
    healthy = floor.read(floor.objects(150))
    fresh = floor.objects(150)
    floor.relay.delay(SLOW_BY_S)
    slow = floor.read(fresh)
    counters = floor.counters()
    for name, took_s in (("healthy", healthy), ("slow", slow)):
        print(f"{name}: p50 {1000 * took_s[75]:.1f} ms, p99 {1000 * took_s[148]:.1f} ms")
    extra = counters.get("hedges", 0) / counters["peer_reads"]
    print(f"asked twice: {extra:.1%}; not asked of their home: {counters.get('slow_peers_avoided', 0)}")
    assert counters.get("hedges", 0) <= 0.05 * counters["peer_reads"] + 1
    assert counters["slow_peers_avoided"] > 20, "half of the blocks are at home behind the relay"
    assert sum(took_s > 2 * SLOW_BY_S for took_s in slow) < 40, "only the first ones waited for it"
    floor.relay.delay(0.0)
    floor.wait_until_all_are_asked()
    for _ in range(2):
        if floor.counters().get("slow_peers_probed", 0):
            break
        # The machine stood still, all hosts seemed as slow, and so this one was asked again without a probe.
        floor.relay.delay(SLOW_BY_S)
        floor.read(floor.objects(60))
        floor.relay.delay(0.0)
        floor.wait_until_all_are_asked()
    assert floor.counters()["slow_peers_probed"] > 0


def test_a_read_ends_at_its_deadline_and_nobody_works_on(floor: Floor) -> None:
    floor.wait_until_all_are_asked()  # else it might read the origin itself
    ((url, data),) = floor.objects(1).items()
    with floor.hosts["a"].connect() as cache:
        with pytest.raises(ValueError, match="more than 0 seconds"):
            cache.read(url, timeout_s=0)
        assert bytes(cache.read(url, timeout_s=PATIENCE_S)) == data
        fresh = floor.files / "late"
        fresh.write_bytes(data)
        with floor.hosts["b"].hanging_master(), floor.hosts["c"].hanging_master():
            with pytest.raises(cashy.DeadlineExceeded, match=r"not there within 0\.2 s"):
                cache.read(f"file://{fresh}", timeout_s=0.2)
            wait_until(
                lambda: floor.counters()["fills_under_way"] == 0, PATIENCE_S, "nothing being under way"
            )
        assert bytes(cache.read(f"file://{fresh}", timeout_s=PATIENCE_S)) == data
