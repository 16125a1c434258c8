"""At a home: notices which of its blocks very many hosts ask for, tells them, and sends some on. What is hot is :mod:`cashy.core.hot_blocks`'s."""

from __future__ import annotations

import time

from cashy.core.hot_blocks import Heat, is_sent_on
from cashy.core.names import Resolved
from cashy.core.placement import place_key
from cashy.master.cluster import Cluster
from cashy.master.counters import Counters
from cashy.master.fills import source_key
from cashy.peer.errors import PeerElsewhere
from cashy.peer.service import BlockReply, ReadRequest

__all__ = ["HotSpots"]


class HotSpots:
    """What other hosts ask of this one."""

    def __init__(self, cluster: Cluster | None, counters: Counters) -> None:
        self._cluster = cluster
        self._counters = counters
        self._heat = Heat()

    def take_note(self, request: ReadRequest, place: Resolved, index: int, reply: BlockReply) -> None:
        """Counts a read that another host asks for, and puts into the answer how hot its block is. Raises
        :class:`~cashy.peer.errors.PeerElsewhere`.
        """
        cluster = self._cluster
        if cluster is None or request.only_here or request.is_final:
            return
        key_name = source_key(place)
        if request.copies > 1 and cluster.home_of(place.origin, key_name, index) != cluster.own_name:
            return  # its home counts for it
        key = place_key(place.origin, key_name, index)
        hot = self._heat.asked(key, request.peer, request.copies, cluster.home_count, time.monotonic_ns())
        if not hot.copies:
            return
        holders = cluster.first(place.origin, key_name, index, hot.copies)
        if holders[:1] != [cluster.own_name]:
            return
        reply.hot = hot
        self._counters.add("hot_reads")
        if request.copies == 1 and request.peer not in holders and is_sent_on(key, request.peer, hot.copies):
            self._counters.add("hot_reads_sent_on")
            raise PeerElsewhere(f"{hot.copies} hosts hold this block: ask another one of them", hot)

    def is_home(self, request: ReadRequest, index: int) -> bool:
        """Whether this host is home to what is asked for."""
        cluster = self._cluster
        place = Resolved(request.origin, request.bucket, request.key)
        return (
            cluster is not None
            and cluster.home_of(place.origin, source_key(place), index) == cluster.own_name
        )

    def levels(self) -> dict[str, int]:
        """Figures of the moment."""
        homes = self._cluster.home_count if self._cluster is not None else 1
        return {
            "hot_blocks": self._heat.hot_blocks(homes, time.monotonic_ns()),
            "hot_blocks_watched": len(self._heat),
        }
