"""Who else has a block in memory: hosts with copies of a hot one, the home that a block had before the hosts changed, the home of a copy.

What is hot and who is chosen is decided in :mod:`cashy.core.hot_blocks`; who is up and how busy is the cluster's to know.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from cashy.core.hot_blocks import Candidate, Hints, Hot, choose
from cashy.core.placement import place_key
from cashy.master.cluster import Cluster
from cashy.peer.client import Peer

__all__ = ["Ask", "Holders"]


class Ask(NamedTuple):
    """One host to be asked for a block; the rest as of :class:`~cashy.peer.service.PeerRead`."""

    peer: Peer
    only_here: bool = False
    copies: int = 1
    is_final: bool = False


class Holders:
    """For the reads of one host. ``origin``, ``source_key`` and ``index`` say which block, as in :mod:`cashy.core.placement`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.hints = Hints()

    def in_front(self, origin: str, source_key: str, index: int, peers: Sequence[Peer]) -> list[Ask]:
        """The hosts to be asked in their order; of a hot block one that holds a copy comes before them, unless this host is one itself."""
        asks = [Ask(peer) for peer in peers]
        copies = self.hints.copies(place_key(origin, source_key, index), time.monotonic_ns())
        if not asks or copies < 2:
            return asks
        order = self._choose(origin, source_key, index, copies)
        if not order:
            return asks
        chosen = order[0]
        return [chosen, *(ask._replace(is_final=True) for ask in asks if ask.peer is not chosen.peer)]

    def elsewhere(self, origin: str, source_key: str, index: int, hot: Hot, asked: str) -> list[Ask]:
        """Whom to ask for a hot block whose home, ``asked``, said so: another one that holds it, and the home itself if that comes to nothing."""
        self.note(origin, source_key, index, hot)
        others = [
            ask for ask in self._choose(origin, source_key, index, hot.copies) if ask.peer.name != asked
        ]
        home = self._cluster.peers.get(asked)
        return others[:1] + ([Ask(home, is_final=True)] if home is not None else [])

    def note(self, origin: str, source_key: str, index: int, hot: Hot) -> None:
        """A home has said how hot a block is."""
        self.hints.note(place_key(origin, source_key, index), hot, time.monotonic_ns())

    def _choose(self, origin: str, source_key: str, index: int, copies: int) -> list[Ask]:
        """The holders, first the one to ask; none where this host is one of them, which gets its copy from the home."""
        cluster = self._cluster
        names = cluster.first(origin, source_key, index, copies)
        if cluster.own_name in names:
            return []
        candidates = [
            Candidate(name, cluster.hosts[name].weight, cluster.peers[name].requests_under_way)
            for name in names
            if cluster.peers[name].is_worth_trying()
        ]
        order = choose(candidates, place_key(origin, source_key, index), cluster.own_name)
        return [Ask(cluster.peers[name], copies=copies) for name in order]

    def old_home_of(self, origin: str, source_key: str, index: int) -> list[Ask]:
        """For a block whose home is here, for a time after a change of hosts: the home it had before, which may still have it."""
        return self._only_of(self._cluster.old_home_of(origin, source_key, index))

    def home_of_copy(self, origin: str, source_key: str, index: int) -> list[Ask]:
        """For a hot block of which this host shall hold a copy: its home, which has it."""
        return self._only_of(self._cluster.home_of(origin, source_key, index))

    def _only_of(self, name: str) -> list[Ask]:
        peer = self._cluster.peers.get(name)
        return [Ask(peer, only_here=True)] if peer is not None and peer.is_worth_trying() else []
