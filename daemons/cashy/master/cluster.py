"""The cluster as one host sees it: who the others are, which of them is a block's home, and how they do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from google.protobuf.message import DecodeError

from aviary.cashy.v1.control_pb2 import HostStatus, StatusReport
from cashy.cluster_key import load_cluster_key
from cashy.core.peer_greeting import PeerIdentity
from cashy.core.placement import Member, Ranking, place_key
from cashy.errors import CashyError
from cashy.limits import PEER_READ_ROUNDS, PEER_STATUS_TIMEOUT_S
from cashy.peer.client import Peer
from cashy.peer.errors import PeerTimeout
from cashy.settings import OriginSettings, PeerSettings, S3OriginSettings, Settings

__all__ = ["Cluster", "make_cluster"]


def make_cluster(settings: Settings) -> Cluster | None:
    """This host's cluster as configured, None if it works alone; raises ``ConfigError``."""
    cluster = settings.cluster
    if cluster.host is None:
        return None
    assert cluster.key_file is not None  # settings are checked
    identity = PeerIdentity(
        cluster=cluster.name,
        host=cluster.host,
        key=load_cluster_key(cluster.key_file),
        block_bytes=settings.memory.block_bytes,
    )
    return Cluster(
        settings.peers,
        identity,
        peers_tried=cluster.peers_tried,
        read_timeout_s=cluster.read_timeout_s,
        block_timeout_s=max((_block_timeout_s(origin) for origin in settings.origins), default=0.0),
    )


def _block_timeout_s(origin: OriginSettings) -> float:
    """How long one block may take at an origin by its own limits."""
    return origin.block_timeout_s if isinstance(origin, S3OriginSettings) else origin.read_timeout_s


class Cluster:
    """The hosts of ``[[peer]]``, with a connection to each of the others. To be made on the running loop.

    ``read_timeout_s``: for how long a host may give no sign of a block; ``block_timeout_s``: how long one may take at the slowest origin.
    """

    def __init__(
        self, peers: Iterable[PeerSettings], identity: PeerIdentity, *, peers_tried: int, read_timeout_s: float, block_timeout_s: float = 0.0
    ) -> None:  # fmt: skip
        self.identity = identity
        self.own_name = identity.host
        self.hosts = {peer.name: peer for peer in peers}
        self.read_timeout_s = read_timeout_s
        #: How long a block of another host's may take in all. A merely slow origin does not reach it, or the next host would read the block again.
        self.read_total_s = max(read_timeout_s, PEER_READ_ROUNDS * block_timeout_s)
        self.peers = {
            name: Peer(name, (str(peer.address.host), peer.address.port), identity=identity)
            for name, peer in self.hosts.items()
            if name != self.own_name
        }
        self._peers_tried = peers_tried
        #: Hosts that are home to blocks.
        self.home_count = max(1, sum(peer.weight > 0 for peer in self.hosts.values()))
        self._ranking = Ranking(Member(peer.name, peer.weight) for peer in self.hosts.values())

    def start(self) -> None:
        """Begins to connect to the others."""
        for peer in self.peers.values():
            peer.start()

    def peers_for(self, origin: str, source_key: str, index: int) -> Sequence[Peer]:
        """Whom to ask for a block before the origin: its home, then the next hosts, up to this one itself.

        Hosts that do not answer at present are left out, so the next in order stands in for them, for all hosts alike.
        """
        absent = sum(not peer.is_worth_trying() for peer in self.peers.values())
        chosen: list[Peer] = []
        for name in self._ranking.first(place_key(origin, source_key, index), self._peers_tried + absent):
            if name == self.own_name or len(chosen) == self._peers_tried:
                break
            peer = self.peers[name]
            if peer.is_worth_trying():
                chosen.append(peer)
        return chosen

    def home_of(self, origin: str, source_key: str, index: int) -> str:
        """Name of a block's home, whether it answers or not."""
        first = self._ranking.first(place_key(origin, source_key, index), 1)
        return first[0] if first else self.own_name

    async def statuses(self) -> list[HostStatus]:
        """What the other hosts say of themselves, by name; one that does not answer is there with the reason."""
        return list(await asyncio.gather(*(self._status(name) for name in sorted(self.peers))))

    async def _status(self, name: str) -> HostStatus:
        status = self.describe(name)
        try:
            status.status.CopyFrom(
                StatusReport.FromString(await self.peers[name].status(PEER_STATUS_TIMEOUT_S))
            )
        except PeerTimeout:
            status.error = f"no answer within {PEER_STATUS_TIMEOUT_S:g} s"
        except CashyError as error:  # a message of the link's names the host, which stands before it already
            status.error = self.peers[name].last_error or error.message
        except DecodeError as error:
            status.error = f"its answer cannot be read: {error}"
        return status

    def describe(self, name: str) -> HostStatus:
        """A host as the settings have it."""
        settings = self.hosts[name]
        return HostStatus(
            name=name, address=str(settings.address), weight=settings.weight, is_self=name == self.own_name
        )

    def counters(self) -> dict[str, int]:
        """Figures of the connections, ``peer.<host>.<name>``."""
        return {
            f"peer.{name}.{key}": value
            for name, peer in self.peers.items()
            for key, value in peer.counters().items()
        }

    async def close(self) -> None:
        """Ends the connections."""
        await asyncio.gather(*(peer.close() for peer in self.peers.values()))
