"""The cluster as one host sees it: who the others are, which of them is a block's home, and how they do.

The list of hosts may change while the host runs (:meth:`Cluster.adopt`). Placement follows the newest list at once. Connections are kept to whoever
is needed: hosts of the newest list, hosts whose word on a change of lists is still waited for, and for a time those that have left, since they
hold blocks. By which lists is *counted* is :class:`~cashy.core.membership.Counting`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from google.protobuf.message import DecodeError

from aviary.cashy.v1.control_pb2 import HostState, HostStatus, StatusReport
from cashy.cluster_key import load_cluster_key
from cashy.core.membership import Counting, Listed
from cashy.core.peer_greeting import PeerIdentity
from cashy.core.placement import Member, Ranking, place_key
from cashy.errors import CashyError
from cashy.hosts_file import HostList
from cashy.limits import PEER_LEAVING_S, PEER_READ_ROUNDS, PEER_STATUS_TIMEOUT_S
from cashy.master.cluster_tls import make_tls
from cashy.peer.client import Peer
from cashy.peer.errors import PeerTimeout
from cashy.peer.tls import PeerTls
from cashy.settings import OriginSettings, PeerSettings, S3OriginSettings, Settings

__all__ = ["Cluster", "listed_of", "make_cluster"]


def make_cluster(settings: Settings, hosts: HostList | None = None) -> Cluster | None:
    """This host's cluster as configured, None if it works alone; raises ``ConfigError``. ``hosts``: the list, if it does not stand in the
    settings.
    """
    cluster = settings.cluster
    if cluster.host is None:
        return None
    tls = make_tls(cluster)
    assert tls is not None or cluster.key_file is not None  # settings are checked
    identity = PeerIdentity(
        cluster=cluster.name,
        host=cluster.host,
        key=load_cluster_key(cluster.key_file) if cluster.key_file is not None else b"",
        block_bytes=settings.memory.block_bytes,
    )
    return Cluster(
        hosts or settings.peers,
        identity,
        tls=tls,
        peers_tried=cluster.peers_tried,
        read_timeout_s=cluster.read_timeout_s,
        block_timeout_s=max((_block_timeout_s(origin) for origin in settings.origins), default=0.0),
        handover_s=cluster.handover_s,
        drain_s=cluster.drain_s,
    )


def _block_timeout_s(origin: OriginSettings) -> float:
    """How long one block may take at an origin by its own limits."""
    return origin.block_timeout_s if isinstance(origin, S3OriginSettings) else origin.read_timeout_s


class Cluster:
    """The hosts of a list, with a connection to each of the others. To be made on the running loop.

    ``read_timeout_s``: for how long a host may give no sign of a block; ``block_timeout_s``: how long one may take at the slowest origin.
    ``handover_s``: for how long after a change of hosts a block's old home is asked before the origin; ``drain_s``: for how long hosts that have
    left are kept.
    """

    def __init__(
        self, hosts: HostList | Iterable[PeerSettings], identity: PeerIdentity, *, peers_tried: int, read_timeout_s: float,
        block_timeout_s: float = 0.0, handover_s: float = 0.0, drain_s: float = 0.0,
        tls: PeerTls | None = None,
    ) -> None:  # fmt: skip
        self.identity = identity
        #: What connections between hosts are secured with; None: nothing.
        self.tls = tls
        self.own_name = identity.host
        self.host_list = hosts if isinstance(hosts, HostList) else HostList.fixed(tuple(hosts))
        self.counting = Counting.begun_with(self.own_name, listed_of(self.host_list))
        self.hosts: dict[str, PeerSettings] = {}
        self.read_timeout_s = read_timeout_s
        #: How long a block of another host's may take in all. A merely slow origin does not reach it, or the next host would read the block again.
        self.read_total_s = max(read_timeout_s, PEER_READ_ROUNDS * block_timeout_s)
        #: Every other host that there is a connection to, or that one is sought to.
        self.peers: dict[str, Peer] = {}
        #: Called when the hosts have changed, of which some may connect.
        self.when_changed: list[Callable[[], None]] = []
        self._peers_tried = peers_tried
        self._handover_s = handover_s
        self._drain_s = drain_s
        self._is_started = False
        self._handed_over_at = 0.0
        self._ranking = self._old_ranking = Ranking(())
        #: Hosts that have left: where they were, and until when they are kept.
        self._leaving: dict[str, tuple[PeerSettings, float]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._take_up(self.host_list)
        if self.counting.forgot:
            # New here, or back without its memory: what is at home here was at home at the next in order, or is that one's who stood in.
            others = [peer for peer in self.host_list.peers if peer.name != self.own_name]
            self._old_ranking = Ranking(Member(peer.name, peer.weight) for peer in others)
            self._handed_over_at = time.monotonic() + handover_s
        self._connect_as_needed()

    def connect(self, settings: PeerSettings) -> Peer:
        """Makes the other side's representative."""
        address = (str(settings.address.host), settings.address.port)
        return Peer(settings.name, address, identity=self.identity, tls=self.tls)

    def start(self) -> None:
        """Begins to connect to the others."""
        self._is_started = True
        for peer in self.peers.values():
            peer.start()

    # --- the list ---

    def recall(self, counting: Counting, lists: Iterable[HostList]) -> None:
        """Before the start: what this host counted by when it ran last; ``lists`` are those."""
        self.counting = counting
        for each in lists:
            for peer in each.peers:
                if peer.name not in self.hosts:
                    self._leaving[peer.name] = peer, time.monotonic() + self._drain_s
        self._connect_as_needed()

    def adopt(self, hosts: HostList) -> None:
        """Goes by a newer list from now on."""
        now = time.monotonic()
        for name, settings in self.hosts.items():
            if name not in hosts.names and name != self.own_name:
                self._leaving[name] = settings, now + self._drain_s
        self._old_ranking = self._ranking
        self._handed_over_at = now + self._handover_s
        self.counting.learn(listed_of(hosts))
        self._take_up(hosts)
        self.refresh()

    def _take_up(self, hosts: HostList) -> None:
        self.host_list = hosts
        self.hosts = {peer.name: peer for peer in hosts.peers}
        #: Hosts that are home to blocks.
        self.home_count = max(1, sum(peer.weight > 0 for peer in hosts.peers))
        self._ranking = Ranking(Member(peer.name, peer.weight) for peer in hosts.peers)

    def refresh(self) -> None:
        """Lets go of whoever is not needed any more, and connects to whoever is; to be called when lists were settled, and now and then."""
        now, waited_for = time.monotonic(), set(self.counting.others())
        gone = frozenset(self.host_list.gone)
        for name, (_, until) in list(self._leaving.items()):
            if name in self.hosts or name in gone or (until <= now and name not in waited_for):
                del self._leaving[name]
        self._connect_as_needed()
        for tell in self.when_changed:
            tell()

    def _connect_as_needed(self) -> None:
        needed = {name: settings for name, (settings, _) in self._leaving.items()} | self.hosts
        needed.pop(self.own_name, None)
        for name, peer in list(self.peers.items()):
            settings = needed.get(name)
            if settings is None or peer.address != (str(settings.address.host), settings.address.port):
                del self.peers[name]
                self._retire(peer)
        for name, settings in needed.items():
            if name not in self.peers:
                peer = self.peers[name] = self.connect(settings)
                if self._is_started:
                    peer.start()

    def _retire(self, peer: Peer) -> None:
        if self._is_started:
            task = asyncio.get_running_loop().create_task(peer.finish(self.read_total_s))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    @property
    def draining(self) -> list[str]:
        """Hosts that have left the list and are still let in."""
        return sorted(self._leaving)

    # --- whom to ask ---

    def peers_for(self, origin: str, source_key: str, index: int) -> Sequence[Peer]:
        """Whom to ask for a block before the origin: its home, then the next hosts, up to this one itself.

        Hosts that do not answer at present are left out, so the next in order stands in for them, for all hosts alike.
        """
        key = place_key(origin, source_key, index)
        absent = sum(not self.peers[name].is_worth_trying() for name in self.hosts if name != self.own_name)
        chosen: list[Peer] = []
        for name in self._ranking.first(key, self._peers_tried + absent):
            if name == self.own_name or len(chosen) == self._peers_tried:
                break
            peer = self.peers[name]
            if peer.is_worth_trying():
                chosen.append(peer)
        return chosen

    def old_home_of(self, origin: str, source_key: str, index: int) -> str:
        """For a time after a change of hosts: name of the home that a block had before, if its home is here now; else empty."""
        if self._handed_over_at <= time.monotonic():
            return ""
        key = place_key(origin, source_key, index)
        if self._ranking.first(key, 1) != [self.own_name]:
            return ""
        return next(iter(self._old_ranking.first(key, 1)), "")

    def first(self, origin: str, source_key: str, index: int, count: int) -> list[str]:
        """The first hosts in a block's order, whether they answer or not."""
        return self._ranking.first(place_key(origin, source_key, index), count)

    def home_of(self, origin: str, source_key: str, index: int) -> str:
        """Name of a block's home, whether it answers or not."""
        first = self.first(origin, source_key, index, 1)
        return first[0] if first else self.own_name

    # --- how they do ---

    async def statuses(self) -> list[HostStatus]:
        """What the other hosts say of themselves, by name; one that does not answer is there with the reason."""
        # By the time that one is asked the list may have changed, and the host be gone.
        found = [(self.describe(name), peer) for name, peer in sorted(self.peers.items())]
        return list(await asyncio.gather(*(self._ask_status(status, peer) for status, peer in found)))

    async def _ask_status(self, status: HostStatus, peer: Peer) -> HostStatus:
        try:
            status.status.CopyFrom(StatusReport.FromString(await peer.status(PEER_STATUS_TIMEOUT_S)))
        except PeerTimeout:
            status.error = f"no answer within {PEER_STATUS_TIMEOUT_S:g} s"
        except CashyError as error:  # a message of the link's names the host, which stands before it already
            status.error = peer.last_error or error.message
        except DecodeError as error:
            status.error = f"its answer cannot be read: {error}"
        return status

    def describe(self, name: str) -> HostStatus:
        """A host as the list has it, or had it."""
        settings = self.hosts.get(name) or (self._leaving[name][0] if name in self._leaving else None)
        weights = sum(peer.weight for peer in self.host_list.peers) or 1.0
        weight = self.hosts[name].weight if name in self.hosts else 0.0
        return HostStatus(
            name=name,
            address=str(settings.address) if settings is not None else "",
            weight=weight,
            is_self=name == self.own_name,
            state=self._state(name),
            share=weight / weights,
            membership_version=self.host_list.version,
            has_list=name not in self.counting.unconfirmed(),
        )

    def _state(self, name: str) -> HostState:
        if name not in self.hosts:
            return HostState.HOST_DRAINING
        if name == self.own_name:
            return HostState.HOST_UP if self.counting.acts else HostState.HOST_JOINING
        is_unconfirmed = name in self.counting.unconfirmed()
        if self.peers[name].is_up:
            return HostState.HOST_JOINING if is_unconfirmed else HostState.HOST_UP
        return HostState.HOST_JOINING if is_unconfirmed and self._is_new(name) else HostState.HOST_DOWN

    def _is_new(self, name: str) -> bool:
        """Whether a host came with the newest list."""
        return len(self.counting.lists) > 1 and name not in self.counting.lists[-2].names

    def counters(self) -> dict[str, int]:
        """Figures of the connections, ``peer.<host>.<name>``, and of the list."""
        return {
            f"peer.{name}.{key}": value
            for name, peer in self.peers.items()
            for key, value in peer.counters().items()
        } | {
            "membership_version": self.host_list.version,
            "membership_hosts": len(self.hosts),
            "membership_lists_counted": len(self.counting.lists),
            "membership_unconfirmed": len(self.counting.unconfirmed()) if len(self.counting.lists) > 1 else 0,
            "membership_acts": int(self.counting.acts),
        }

    def peer_leaves(self, name: str) -> None:
        """A host says that it stops: nothing new is asked of it."""
        peer = self.peers.get(name)
        if peer is not None:
            peer.leaves()

    async def leave(self) -> None:
        """Tells the others that this host stops, as far as they can be reached."""
        telling = (peer.leave(PEER_LEAVING_S) for peer in self.peers.values())
        await asyncio.gather(*telling, return_exceptions=True)

    async def close(self) -> None:
        """Ends the connections."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(*(peer.close() for peer in self.peers.values()))


def listed_of(hosts: HostList) -> Listed:
    """A list as it is counted by."""
    return Listed(hosts.version, hosts.names, frozenset(hosts.gone))
