"""`cashy evict`, `pin`, `hosts` and `trace` on a real cluster: masters that are killed and masters that stand still among them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cashy.cli import main

from .harness import DevCluster, wait_until
from .reading import wait_until_joined

pytestmark = pytest.mark.system

KIB = 1 << 10
BLOCK = 64 * KIB
PATIENCE_S = 30.0


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    files = tmp_path_factory.mktemp("files")
    for name in ("a.csv", "b.csv", "c.bin"):
        (files / "data").mkdir(exist_ok=True)
        (files / "data" / name).write_bytes(os.urandom(10 * BLOCK + 5))
    config = '[freshness]\nrevalidate_after_s = 3600\n[log]\nlevel = "warning"\n[cluster]\nlease_s = 1.0\n'
    with DevCluster(
        2, tmp_path_factory.mktemp("hosts"), f"file={files}", memory="4MiB", block="64KiB", workers=0, config=config
    ) as made:  # fmt: skip
        wait_until_joined(made)  # else a host reads for itself what another is home to
        made.files = files / "data"  # type: ignore[attr-defined]
        yield made


class Commands:
    def __init__(self, cluster: DevCluster, capsys: pytest.CaptureFixture[str]) -> None:
        self._socket = str(cluster.hosts[0].socket)
        self._capsys = capsys
        self.files: Path = cluster.files  # type: ignore[attr-defined]

    def __call__(self, *arguments: object) -> Said:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--socket", self._socket])
        said = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, said.out, said.err)

    def url(self, name: str) -> str:
        return f"file://{self.files}/{name}"


@pytest.fixture
def run(cluster: DevCluster, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(cluster, capsys)


def blocks_here(run: Commands, name: str) -> int:
    stat = run("stat", "--json", run.url(name)).json
    return sum(tier == "local memory" for tier in stat["blocks"])


def test_patterns_and_lists_are_evicted_everywhere(
    cluster: DevCluster, run: Commands, tmp_path: Path
) -> None:
    with cluster.hosts[0].connect() as cache:
        for name in ("a.csv", "b.csv", "c.bin"):
            cache.read(run.url(name)).release()
    assert blocks_here(run, "a.csv") == 11
    said = run("evict", "--cluster", "--json", run.url("*.csv"))
    assert said.code == 0, said.err
    first, second = said.json["hosts"]
    assert (first["host"], first["objects"], first["blocks"], first["bytes"]) == (
        "host1",
        2,
        22,
        20 * BLOCK + 10,
    )
    assert 0 < second["blocks"] < 22
    assert (blocks_here(run, "a.csv"), blocks_here(run, "c.bin")) == (0, 11)
    names = tmp_path / "names"
    names.write_text(f"{run.url('c.bin')}\n{run.url('missing')}\n")
    said = run("evict", "--from", names)
    assert said.code == 3
    assert "host1: 11 blocks" in said.out
    assert f"cashy: failed: {run.url('missing')}: " in said.err
    assert run("evict").code == 2
    assert run("evict", "--all", run.url("c.bin")).code == 2


def test_what_a_job_holds_goes_when_it_lets_go(cluster: DevCluster, run: Commands) -> None:
    with cluster.hosts[0].connect() as cache:
        view = cache.read(run.url("c.bin"), 0, 2 * BLOCK)
        before = bytes(view)
        assert "2 of them (131,072 bytes) are in use" in run("evict", "--all", "--yes").out
        assert view == before == (run.files / "c.bin").read_bytes()[: 2 * BLOCK]
        assert cluster.hosts[0].counters()["slots_retired"] == 2
        view.release()
        wait_until(lambda: cluster.hosts[0].counters()["slots_retired"] == 0, PATIENCE_S)


def test_a_pin_outlives_its_master(cluster: DevCluster, run: Commands) -> None:
    host = cluster.hosts[0]
    said = run("pin", run.url("a.csv"), "--for", "1h")
    assert said.code == 0, said.err
    assert f"{run.url('a.csv')}  for " in said.out
    assert "11 of 11 blocks are in memory" in said.out
    stat = run("stat", "--json", run.url("a.csv")).json
    assert (stat["pinned"]["blocks_here"], stat["pinned"]["homes_only"]) == (11, False)
    assert "pinned" in run("stat", run.url("a.csv")).out
    host.wait_for_other_master(host.kill_master(), PATIENCE_S)
    wait_until(
        lambda: run("pin", "--list", "--json").json["hosts"][0]["objects"][0]["blocks"] == 11, PATIENCE_S
    )
    (own,) = run("pin", "--list", "--json").json["hosts"]
    assert [(pin["url"], pin["blocks_here"]) for pin in own["objects"]] == [(run.url("a.csv"), 11)]
    assert 3000 < own["objects"][0]["left_s"] < 3600
    assert "11 blocks are pinned and stay" in run("evict", "--all", "--yes").out
    reads = host.counters().get("origin_reads", 0)
    with host.connect() as cache:
        assert bytes(cache.read(run.url("a.csv"))) == (run.files / "a.csv").read_bytes()
    assert host.counters().get("origin_reads", 0) == reads
    assert "1 objects unpinned" in run("unpin", run.url("a.csv")).out
    assert run("pin", "--list").out.count("\n") == 1
    assert run("pin").code == 2
    assert run("pin", run.url("a.csv"), "--for", "soon").code == 2


def test_the_homes_of_a_cluster_keep_what_is_pinned(cluster: DevCluster, run: Commands) -> None:
    said = run("pin", "--cluster", "--json", run.url("b.csv"))
    assert said.code == 0, said.err
    pins = {host["host"]: host["objects"][0] for host in said.json["hosts"]}
    assert sum(pin["blocks"] for pin in pins.values()) == 11
    assert all(pin["blocks"] == pin["blocks_here"] and pin["homes_only"] for pin in pins.values())
    said = run("unpin", "--all", "--cluster")
    assert said.out == "host1: 1 objects unpinned\nhost2: 1 objects unpinned\n"


def test_a_trace_shows_every_block_and_who_brought_it(cluster: DevCluster, run: Commands) -> None:
    run("evict", "--all", "--yes", "--cluster")
    said = run("trace", run.url("b.csv"))
    assert said.code == 0, said.err
    assert all(f"\nblock {index} " in said.out for index in range(11))
    assert "\n  at host2" in said.out
    assert "known here" in run("trace", run.url("b.csv"), "--range", f"0-{BLOCK}").out
    made = run("trace", run.url("b.csv"), "--range", f"{BLOCK}-{BLOCK}", "--json").json
    assert [span["kind"] for span in made["hosts"][0]["spans"] if span["block"] == 1] == ["memory"]
    said = run("trace", run.url("missing"))
    assert said.code == 3
    assert "cashy: failed: NO_SUCH_OBJECT: " in said.err
    assert run("trace", run.url("b.csv"), "--range", "x").code == 2


def test_hosts_are_shown_quickly_also_when_one_stands_still(cluster: DevCluster, run: Commands) -> None:
    def knows_latency() -> bool:
        return run("hosts", "--json").json["hosts"][1]["latency_p50_s"] is not None

    wait_until(knows_latency, PATIENCE_S, "an answer of the other host")
    made = run("hosts", "--json").json
    assert (made["hosts_up"], [host["name"] for host in made["hosts"]]) == (2, ["host1", "host2"])
    assert sum(host["share"] for host in made["hosts"]) == 1.0
    assert all(host["version"] and host["arena_bytes"] == 4 << 20 for host in made["hosts"])
    with cluster.hosts[1].hanging_master():
        began = time.monotonic()
        said = run("hosts")
        assert said.code == 3
        assert "host2" in said.out
        assert "down: " in said.out
        said = run("evict", "--cluster", run.url("a.csv"))
        assert said.code == 3
        assert "cashy: failed: host host2: " in said.err
        assert time.monotonic() - began < PATIENCE_S
    wait_until(lambda: run("hosts").code == 0, PATIENCE_S, "the other host's return")
