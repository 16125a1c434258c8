"""``cashy dev --hosts`` as the system tests use it: each host serves, falls and comes back by itself."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator

import pytest

import cashy

from .harness import DevCluster, wait_until

pytestmark = pytest.mark.system

HOSTS = 3
SIZE = 3 << 20


@pytest.fixture(scope="module")
def data() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture(scope="module")
def cluster(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    files = tmp_path_factory.mktemp("files")
    (files / "bucket").mkdir()
    (files / "bucket" / "key").write_bytes(data)
    folder = tmp_path_factory.mktemp("cluster")
    with DevCluster(HOSTS, folder, f"file={files}", memory="16MiB", block="1MiB") as cluster:
        yield cluster
    for event in (" ready ", " stopping ", " stopped "):  # written by daemons that share one terminal
        lines = [line for line in cluster.log().splitlines() if f"]{event}" in line]
        for host in cluster.hosts:
            assert any(f"host={host.name}" in line for line in lines), f"{event}of {host.name}: {lines}"


def test_every_host_serves_both_ways(cluster: DevCluster, data: bytes) -> None:
    assert [host.name for host in cluster.hosts] == ["host1", "host2", "host3"]
    for host in cluster.hosts:
        with host.connect() as cache:
            assert bytes(cache.read("s3://bucket/key")) == data
        assert host.s3().get_object(Bucket="bucket", Key="key")["Body"].read() == data
        assert host.counters()["blocks_filled"] == SIZE >> 20
    assert cluster.counters()["blocks_filled"] == HOSTS * (SIZE >> 20)


def test_every_line_of_the_log_names_its_host(cluster: DevCluster) -> None:
    def hosts_that_said(event: str) -> set[str]:
        lines = [line for line in cluster.log().splitlines() if f"] {event} " in line]
        return {host.name for host in cluster.hosts if any(f"host={host.name}" in line for line in lines)}

    every = {host.name for host in cluster.hosts}
    wait_until(lambda: hosts_that_said("coherent") == every, what="all coherent")
    assert hosts_that_said("ready") == hosts_that_said("serving S3") == hosts_that_said("peer_up") == every


def test_metrics_of_every_process(cluster: DevCluster) -> None:
    for host in cluster.hosts:
        for url in (host.metrics["master"], *host.metrics["s3"]):
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert b"# TYPE" in answer.read()


def test_a_killed_master_comes_back_and_the_others_go_on(cluster: DevCluster, data: bytes) -> None:
    first, *others = cluster.hosts
    pid = first.kill_master()
    for host in others:
        with host.connect() as cache:
            assert bytes(cache.read("s3://bucket/key")) == data
    first.wait_for_other_master(pid)
    with first.connect() as cache:
        assert bytes(cache.read("s3://bucket/key")) == data


def test_a_hanging_master_hangs_alone(cluster: DevCluster, data: bytes) -> None:
    *others, last = cluster.hosts
    with last.hanging_master():
        with pytest.raises(cashy.CashyError):
            last.connect(timeout_s=0.5)
        for host in others:
            with host.connect() as cache:
                assert bytes(cache.read("s3://bucket/key")) == data
    wait_until(lambda: last.master_pid() > 0, what="the master that went on")
