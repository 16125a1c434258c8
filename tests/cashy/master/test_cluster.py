"""Whom a host asks for a block before the origin, and for how long: the same order for all, as each sees who is up."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from cashy.core.peer_greeting import PeerIdentity
from cashy.core.placement import Member, Ranking, place_key
from cashy.master.cluster import Cluster, make_cluster
from cashy.peer.client import Peer
from cashy.setting_values import Address
from cashy.settings import PeerSettings, load_settings

NAMES = [f"h{number}" for number in range(6)]


@dataclass
class Other:
    """Stands where the connection to a host does; all that counts here is whether it would answer."""

    name: str
    is_up: bool

    def is_worth_trying(self) -> bool:
        return self.is_up


def cluster_of(own: str, weights: dict[str, float], up: Iterable[str], peers_tried: int = 2) -> Cluster:
    peers = [
        PeerSettings(name=name, address=Address(f"127.0.0.1:{7000 + number}"), weight=weight)
        for number, (name, weight) in enumerate(weights.items())
    ]
    identity = PeerIdentity("floor", own, b"k" * 32, 65536)
    cluster = Cluster(peers, identity, peers_tried=peers_tried, read_timeout_s=10.0)
    stand_ins = {name: Other(name, name in up) for name in weights if name != own}
    cluster.peers = cast("dict[str, Peer]", stand_ins)
    return cluster


def asked(cluster: Cluster, index: int) -> list[str]:
    return [peer.name for peer in cluster.peers_for("store", "bucket/key", index)]


weights_of_hosts = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([0.0, 1.0, 1.0, 3.0]), min_size=1
).filter(lambda weights: any(weights.values()))


@given(
    weights_of_hosts, st.sets(st.sampled_from(NAMES)), st.integers(1, 4), st.integers(0, 1000), st.randoms()
)
def test_hosts_that_answer_are_asked_in_the_blocks_order_up_to_oneself(
    weights: dict[str, float], up: set[str], peers_tried: int, index: int, chance: random.Random
) -> None:  # fmt: skip
    own = chance.choice(sorted(weights))
    ranking = Ranking(Member(name, weight) for name, weight in weights.items())
    order = ranking.first(place_key("store", "bucket/key", index), len(weights))
    before_own = order[: order.index(own)] if own in order else order
    due = [name for name in before_own if name in up][:peers_tried]
    assert asked(cluster_of(own, weights, up, peers_tried), index) == due


@given(weights_of_hosts, st.sets(st.sampled_from(NAMES)), st.integers(0, 1000))
def test_all_hosts_that_see_the_same_hosts_up_agree_on_who_reads_a_block(
    weights: dict[str, float], down: set[str], index: int
) -> None:
    """Whoever asks nobody reads it from the origin himself: so there is one, unless all homes are down."""
    up = sorted(set(weights) - down)
    first = {own: (asked(cluster_of(own, weights, up), index) or [own])[0] for own in up}
    if any(weights[name] for name in up):
        assert len(set(first.values())) == 1
    else:
        assert all(own == reader for own, reader in first.items())


def test_a_block_may_take_ten_times_what_the_slowest_origin_allows_itself(tmp_path: Path) -> None:
    key_file = tmp_path / "cluster.key"
    key_file.write_bytes(b"k" * 32)
    key_file.chmod(0o600)
    settings_file = tmp_path / "cashy.toml"

    def cluster_over(*origins: str) -> Cluster:
        text = f'[cluster]\nhost = "a"\nkey_file = "{key_file}"\ninsecure = true\nread_timeout_s = 20.0\n'
        text += '[[peer]]\nname = "a"\naddress = "127.0.0.1:7000"\n'
        settings_file.write_text(text + "".join(origins))
        cluster = make_cluster(load_settings(settings_file))
        assert cluster is not None
        return cluster

    store = '[[origin]]\nkind = "s3"\nurl = "http://127.0.0.1:1"\nblock_timeout_s = 45.0\n'
    quick = '[[origin]]\nkind = "directory"\npath = "/tmp"\nread_timeout_s = 1.0\n'
    assert cluster_over(store, quick).read_total_s == 450.0
    assert cluster_over(quick).read_total_s == 20.0, "never less than the silence that is borne"
