"""Several masters in one loop while their list of hosts changes, and while many ask for the same block: what is read from the origin, and from
whom.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from aviary.cashy.v1.operate_pb2 import ListPins
from cashy.core import hot_blocks
from cashy.core.names import block_digest, parse_name
from cashy.core.placement import place_key
from cashy.hosts_file import HostList
from cashy.master.cluster import Cluster
from cashy.master.host import Host
from cashy.setting_values import Address
from cashy.settings import PeerSettings

from .test_cluster_hosts import BLOCK, Rig, is_coherent, read, until

BLOCKS = 40


def change(rig: Rig, version: int, weights: dict[str, float], *, on: str = "abcd") -> None:
    """Some hosts go by a list of these from now on."""
    for name in on:
        host = rig.hosts[name]
        assert host.cluster is not None
        assert host.coherence is not None
        addresses = {each: settings.address for each, settings in host.cluster.hosts.items()}
        peers = tuple(
            PeerSettings(name=each, address=addresses[each], weight=weight)
            for each, weight in weights.items()
        )
        host.cluster.adopt(HostList(version=version, host_count=len(peers), peers=peers))
        host.coherence.hosts_changed()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, 4, revalidate_after_s=600.0)
    yield made
    made.close()


def cluster_of(host: Host) -> Cluster:
    assert host.cluster is not None
    return host.cluster


def set_handover(rig: Rig, seconds: float) -> None:
    for host in rig.hosts.values():
        cluster_of(host)._handover_s = seconds


def forget_guests(rig: Rig, reader: Host, key: str) -> None:
    """What the one that has read an object keeps of blocks that are at home elsewhere goes, as it would with time."""
    known = reader.catalog.cached(parse_name(f"file://{rig.root}/{key}"))
    assert known is not None
    for index in range(BLOCKS):
        if rig.home_of(key, index) != cluster_of(reader).own_name:
            reader.store.invalidate(block_digest(known.content.content_id, index))


@pytest.mark.parametrize(("handover_s", "read_again"), [(600.0, False), (0.0, True)])
def test_a_new_home_gets_its_blocks_from_the_old_one_and_not_from_the_origin(
    rig: Rig, handover_s: float, read_again: bool
) -> None:
    data = os.urandom(BLOCK * BLOCKS)
    name = rig.write("bucket/x", data)

    async def story() -> None:
        set_handover(rig, 0.0)
        change(rig, 1, {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.0})
        set_handover(rig, handover_s)
        old_homes = [rig.home_of("bucket/x", index) for index in range(BLOCKS)]
        assert (await read(rig.hosts["a"], name))[0] == data
        assert rig.total("origin_reads") == BLOCKS
        forget_guests(rig, rig.hosts["a"], "bucket/x")
        change(rig, 2, {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0})
        at_d = [index for index in range(BLOCKS) if rig.home_of("bucket/x", index) == "d"]
        assert 0 < len(at_d) < BLOCKS / 2
        moved = sum(old_homes[index] != "b" for index in at_d)  # what b was home to it still has
        assert (await read(rig.hosts["b"], name))[0] == data
        assert rig.total("origin_reads") == BLOCKS + (moved if read_again else 0)
        assert rig.total("holder_reads") == (0 if read_again else moved)
        assert rig.total("holder_reads_missed") == 0
        assert rig.hosts["d"].counters.totals().get("blocks_from_peer", 0) == (0 if read_again else moved)

    rig.run(story)


def test_hosts_that_disagree_serve_right_bytes_and_the_old_home_that_has_nothing_costs_one_question(
    rig: Rig,
) -> None:
    data = os.urandom(BLOCK * BLOCKS)
    name = rig.write("bucket/x", data)

    async def story() -> None:
        change(rig, 1, {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.0}, on="ab")
        change(rig, 1, {"a": 0.0, "b": 1.0, "c": 1.0, "d": 1.0}, on="cd")
        found = await asyncio.gather(*(read(host, name) for host in rig.hosts.values()))
        assert all(content == data for content, _ in found)
        assert rig.total("fills_failed") == 0
        assert rig.total("holder_reads_missed") > 0

    rig.run(story)


def test_a_changed_address_is_gone_to_and_other_connections_stay(rig: Rig) -> None:
    async def story() -> None:
        a = cluster_of(rig.hosts["a"])
        before = dict(a.peers)
        elsewhere = Address("127.0.0.2:1")
        settings = [
            PeerSettings(name=each, address=elsewhere if each == "c" else of.address)
            for each, of in a.hosts.items()
        ]
        a.adopt(HostList(version=1, host_count=4, peers=tuple(settings)))
        assert {each for each in before if a.peers[each] is not before[each]} == {"c"}
        assert a.peers["c"].address == ("127.0.0.2", 1)
        await until(lambda: not before["c"].is_up)
        assert before["b"].is_up

    rig.run(story)


def test_a_host_that_is_let_go_of_while_all_are_asked_costs_no_answer(rig: Rig) -> None:
    name = rig.write("bucket/o", os.urandom(BLOCKS * BLOCK))

    async def story() -> None:
        for host in rig.hosts.values():
            cluster_of(host)._drain_s = 0.3
        host, cluster = rig.hosts["a"], cluster_of(rig.hosts["a"])
        await host.locate(name)
        change(rig, 1, {"a": 1.0, "b": 1.0, "c": 1.0})
        await until(lambda: cluster.counting.is_settled)
        await asyncio.sleep(0.3)
        report_asked = asyncio.ensure_future(host.cluster_status())
        pins_asked = asyncio.ensure_future(host.operating.list_pins(ListPins(cluster=True)))
        located = asyncio.ensure_future(host.locate(name))
        await asyncio.sleep(0)  # they have begun: each is about to ask
        cluster.refresh()
        assert "d" not in cluster.peers
        report, pins = await report_asked, await pins_asked
        await located
        assert [each.name for each in report.hosts] == list("abcd")
        assert [each.host for each in pins.hosts] == list("abcd")

    rig.run(story)


def test_a_host_that_leaves_is_home_to_nothing_reads_on_and_is_let_in_until_its_time_is_over(
    rig: Rig,
) -> None:
    data = os.urandom(BLOCK * 8)
    name = rig.write("bucket/x", data)

    async def story() -> None:
        for host in rig.hosts.values():
            cluster_of(host)._drain_s = 0.3
        change(rig, 1, {"a": 1.0, "b": 1.0, "c": 1.0})
        d = cluster_of(rig.hosts["d"])
        assert not d.counting.acts
        assert not is_coherent(rig.hosts["d"])
        assert {d.home_of("data", "bucket/x", index) for index in range(8)} <= {"a", "b", "c"}
        assert cluster_of(rig.hosts["a"]).draining == ["d"]
        assert (await read(rig.hosts["d"], name))[0] == data
        await until(lambda: cluster_of(rig.hosts["a"]).counting.is_settled)
        await asyncio.sleep(0.3)
        cluster_of(rig.hosts["a"]).refresh()
        assert cluster_of(rig.hosts["a"]).draining == []
        assert rig.hosts["a"].peer_server is not None
        assert "d" not in rig.hosts["a"].peer_server.hosts
        await until(lambda: is_coherent(rig.hosts["a"]))
        assert (await read(rig.hosts["d"], name))[0] == data

    rig.run(story)


def test_of_a_block_that_many_ask_for_others_hold_copies_which_they_get_from_its_home(rig: Rig) -> None:
    data = os.urandom(BLOCK)
    name = rig.write("bucket/x", data)

    async def story() -> None:
        cluster = cluster_of(rig.hosts["a"])
        order = cluster.first("data", "bucket/x", 0, 4)
        home, outsider = rig.hosts[order[0]], rig.hosts[order[3]]
        await read(home, name)
        key = place_key("data", "bucket/x", 0)
        with (
            mock.patch.object(hot_blocks, "HOT_COUNT", 5.0),
            mock.patch("cashy.master.hot_spots.is_sent_on", return_value=True),
        ):
            for number in range(8):  # half of the hosts should hold it
                home.for_peers.hot_spots._heat.asked(key, f"x{number}", 0, 4, time.monotonic_ns())
            content, _ = await read(outsider, name)
        assert content == data
        assert outsider.counters.totals()["peer_reads_sent_on"] == 1
        assert home.counters.totals()["hot_reads_sent_on"] == 1
        holders = [rig.hosts[each].counters.totals() for each in order[1:2]]
        assert sum(each.get("holder_reads", 0) for each in holders) == 1
        assert sum(each.get("peer_reads_served", 0) for each in holders) == 1
        assert rig.total("origin_reads") == 1
        assert outsider.routes.holders is not None
        assert outsider.routes.holders.hints.copies(key, time.monotonic_ns()) == 2
        assert rig.total("peer_reads_failed") == 0

    rig.run(story)
