"""What the master of one host consists of, put together, and the work it does by itself: upkeep and loading ahead."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

import structlog

from aviary.cashy.v1.control_pb2 import ClusterReport, Fetch, HostStatus, LocateReport, StatusReport
from cashy.core.names import ObjectName, OriginSpec, block_digest, parse_name
from cashy.core.pace import Pace
from cashy.core.planner import ReadAhead
from cashy.core.trace import TraceMemory
from cashy.disk.tier import DiskOptions, DiskTier
from cashy.errors import CannotStart, CashyError, ConfigError, TooLarge
from cashy.limits import (
    FETCH_WINDOW_BLOCKS_MAX,
    HARVEST_MARKS_MAX,
    MAINTENANCE_INTERVAL_S,
    MAPPED_SHARE,
    PEER_READS_END_S,
    PREFETCH_CONCURRENCY,
    PREFETCH_NAMES_MAX,
    STALL_CHECK_S,
)
from cashy.master.catalog import Catalog
from cashy.master.cluster import Cluster
from cashy.master.cluster_tls import watched_tls
from cashy.master.coherence import Coherence
from cashy.master.counters import Counters
from cashy.master.demoter import Demoter
from cashy.master.evicting import Evictor
from cashy.master.fetch import FetchAnswers, FetchJob
from cashy.master.fills import FillTable
from cashy.master.grace import Grace
from cashy.master.holders import Holders
from cashy.master.known import Known
from cashy.master.lanes import SourcePace
from cashy.master.listings import Listings
from cashy.master.locating import locate
from cashy.master.mapped_fetch import LoadedBlock, MappedFetchJob
from cashy.master.membership import Membership
from cashy.master.operating import Operating
from cashy.master.operators import Operators
from cashy.master.peer_service import BlocksForPeers
from cashy.master.pinboard import Pinboard
from cashy.master.room import Rooms
from cashy.master.routes import Routes
from cashy.master.store import BlockStore
from cashy.master.verifying import Verifier
from cashy.origin.base import Origin
from cashy.origin.credentials import default_credentials
from cashy.origin.directory import DirectoryOrigin
from cashy.origin.s3 import S3Origin
from cashy.peer.replies import ChecksumMemory
from cashy.peer.server import PeerServer
from cashy.settings import DirectoryOriginSettings, OriginSettings, S3OriginSettings, Settings
from shmipc.instance import Instance
from shmipc.layout import NEVER_ENDS

__all__ = ["Host", "make_origins", "origin_specs"]

_log = structlog.get_logger("cashy.master")

_VERSION = importlib.metadata.version("aviary")

#: Loading ahead by request never displaces more than this part of the arena for one object.
_PREFETCH_ARENA_SHARE = 2
#: More than any disk writes.
_UNLIMITED_BYTES_PER_S = 1 << 40
#: Names that are forgotten before the loop gets its turn again: about a millisecond.
_CHANGES_PER_TURN = 64


def origin_specs(origins: Iterable[OriginSettings]) -> tuple[OriginSpec, ...]:
    """What name resolution needs of the configured origins; raises ``ConfigError`` on a repeated name."""
    specs = []
    for origin in origins:
        if isinstance(origin, DirectoryOriginSettings):
            specs.append(OriginSpec(origin.name, "directory", root=str(origin.path)))
        else:
            specs.append(OriginSpec(origin.name, "s3", buckets=origin.buckets))
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"two origins have one name ({', '.join(names)}): give each [[origin]] its own name"
        )
    return tuple(specs)


async def make_origins(origins: Iterable[OriginSettings]) -> dict[str, Origin]:
    """Opens the configured origins, by name."""
    made: dict[str, Origin] = {}
    for origin in origins:
        made[origin.name] = (
            await _make_s3(origin) if isinstance(origin, S3OriginSettings) else _make_directory(origin)
        )
    return made


def _make_directory(settings: DirectoryOriginSettings) -> Origin:
    if not settings.path.is_dir():
        raise CannotStart(f"origin {settings.name!r}: {settings.path} is not a directory")
    return DirectoryOrigin(
        settings.name, settings.path, threads=settings.threads, read_timeout_s=settings.read_timeout_s
    )


async def _make_s3(settings: S3OriginSettings) -> Origin:
    credentials = None if settings.anonymous else await default_credentials()
    if credentials is None and not settings.anonymous:
        raise CannotStart(
            f"origin {settings.name!r}: no AWS credentials were found (environment, ~/.aws, container or instance role); "
            "provide them, or set anonymous = true in its [[origin]] table for a public store"
        )
    return S3Origin(
        settings.name,
        str(settings.url),
        region=settings.region,
        addressing=settings.addressing,
        credentials=credentials,
        connections_max=settings.connections_max,
        queue_max=settings.queue_max,
        connect_timeout_s=settings.connect_timeout_s,
        head_timeout_s=settings.head_timeout_s,
        read_timeout_s=settings.read_timeout_s,
        block_timeout_s=settings.block_timeout_s,
        retries_max=settings.retries_max,
    )


class Host:
    """Store, origins, fills and catalog of one instance. The instance must be acquired."""

    def __init__(
        self, settings: Settings, instance: Instance, origins: Mapping[str, Origin], cluster: Cluster | None = None
    ) -> None:  # fmt: skip
        self.settings = settings
        self.counters = Counters()
        self.origins = origins
        self.cluster = cluster
        memory = settings.memory
        self.store = BlockStore.open(
            instance,
            self.counters,
            arena_bytes=memory.size_bytes,
            block_bytes=memory.block_bytes,
            policy=memory.eviction,
            local_copies=settings.cluster.local_copies,
        )
        self.rooms = Rooms(self.store, pin_bytes_max=lambda: self.settings.client_pin_bytes_max)
        self.verifier = Verifier(self.store, self.counters)
        self.routes = Routes(
            origins,
            cluster,
            self.counters,
            block_bytes=memory.block_bytes,
            fills_max=settings.limits.fills_max,
            origin_paces=_paces((origin.name, origin.bandwidth_bytes_per_s) for origin in settings.origins),
            holders=Holders(cluster) if cluster is not None else None,
            hedge_budget=settings.cluster.hedge_budget if settings.cluster.hedge else 0.0,
        )
        #: Of blocks that others may ask for, from when they came.
        self.checksums = ChecksumMemory() if cluster is not None else None
        self.disk = _make_disks(settings)
        if self.disk is not None:
            Demoter(self.store, self.disk, self.counters)
        self.fills = FillTable(self.store, self.routes, self.counters, self.checksums, self.disk)
        self.grace = Grace(origins, self.counters)
        self._allow_grace(settings)
        self.catalog = Catalog(
            self.store, self.fills, origin_specs(settings.origins), self.counters,
            revalidate_after_s=settings.freshness.revalidate_after_s, grace=self.grace,
        )  # fmt: skip
        self.listings = Listings(origins, origin_specs(settings.origins), self.counters)
        self.for_peers = BlocksForPeers(
            self.store, self.fills, self.catalog, self.counters, lambda: self.status().SerializeToString()
        )
        self.operators = Operators(settings.instance.operators)
        self.pinboard = Pinboard(
            self.store, self.fills, self.catalog, cluster, self.counters,
            limit_bytes=lambda: int(self.settings.memory.pinned_max * self.store.arena.geometry.data_bytes),
        )  # fmt: skip
        evictor = Evictor(self.store, self.catalog, self.counters, self.pinboard.keeps, self.disk)
        self.traces = self.for_peers.traces = TraceMemory()
        self.operating = self.for_peers.operating = Operating(self, evictor, self.pinboard, self.traces)
        self.coherence = self._make_coherence(settings)
        self.clients: Callable[[], int] = int
        self.peer_server: PeerServer | None = None
        self.membership: Membership | None = None
        self.tls = watched_tls(cluster.tls if cluster is not None else None, self._trust_changed)
        self._wishes: deque[ObjectName] = deque()
        self._loaders = 0
        self.stall_max_us = 0
        self._started_at = time.monotonic()
        self._tasks: set[asyncio.Task[Any]] = set()

    def _make_coherence(self, settings: Settings) -> Coherence | None:
        if self.cluster is None:
            self.store.arena.set_coherent_until(NEVER_ENDS)
            self.store.arena.set_doubted_before(0)
            return None
        made = Coherence(
            self.cluster, self.catalog, self.store.arena, self.counters, lease_s=settings.cluster.lease_s
        )
        self.for_peers.coherence, self.for_peers.on_leaving = made, self.cluster.peer_leaves
        self.cluster.when_changed.append(self._hosts_changed)
        self._limit_peers(self.cluster)
        return made

    @property
    def name(self) -> str:
        """In its cluster; its instance's where there is none."""
        return self.cluster.own_name if self.cluster is not None else self.settings.instance.name

    def reload(self, settings: Settings) -> None:
        """As :meth:`apply`, at SIGHUP; the list of hosts is looked at, too."""
        self.apply(settings)
        if self.membership is not None:
            self.membership.look_again()

    def apply(self, settings: Settings) -> None:
        """Goes on with settings that differ from those of the start in what can be changed while running."""
        self.settings = settings
        self.routes.at_origins.resize(settings.limits.fills_max)
        self.routes.hedging.budget = settings.cluster.hedge_budget if settings.cluster.hedge else 0.0
        self.catalog.revalidate_after(settings.freshness.revalidate_after_s)
        if self.tls is not None:
            self._spawn(self.tls.reload(settings.cluster))
        self._allow_grace(settings)

    def _trust_changed(self, is_all: bool) -> None:
        """Some certificates are not accepted any more: connections that were made with them end."""
        if self.cluster is not None:
            for peer in self.cluster.peers.values():
                peer.trust_changed(is_all=is_all)
        if self.peer_server is not None:
            self.peer_server.trust_changed(is_all=is_all)

    def _allow_grace(self, settings: Settings) -> None:
        own_s = {origin.name: origin.grace_s for origin in settings.origins if origin.grace_s is not None}
        freshness = settings.freshness
        self.grace.allow(freshness.grace_s, own_s, when_doubted=freshness.grace_when_doubted)

    def _hosts_changed(self) -> None:
        assert self.cluster is not None
        if self.peer_server is not None:
            self.peer_server.let_in(self.cluster.peers)
        self._limit_peers(self.cluster)

    def _limit_peers(self, cluster: Cluster) -> None:
        limit = self.settings.cluster.peer_bandwidth_bytes_per_s
        for name in cluster.peers if limit else ():
            pace = SourcePace(Pace(limit))
            for lane in (self.routes.at_peers, self.routes.at_holders):
                lane.limit(name, pace)

    def status_line(self) -> str:
        """How it does, in a few words for a supervisor."""
        levels, size = self.store.levels, self.store.arena.geometry.data_bytes
        parts = [
            "serving",
            f"{levels['arena_used_bytes'] >> 20} MiB of {size >> 20} MiB",
            f"{self.clients()} clients",
        ]
        if self.disk is not None and (
            failed := [
                folder for folder, (state, _) in self.disk.states().items() if state in ("failed", "stuck")
            ]
        ):
            parts.append(f"disk out of service: {', '.join(sorted(failed))}")
        if self.cluster is not None:
            down = sorted(name for name, peer in self.cluster.peers.items() if not peer.is_up)
            parts.append(
                f"{len(self.cluster.peers)} peers, {len(down)} down"
                if down
                else f"{len(self.cluster.peers)} peers"
            )
        return "; ".join(parts)

    # --- requests ---

    async def stat(self, name: str, *, revalidate: bool, may_be_stale: bool = False) -> Known:
        """Current metadata of a name; while its origin cannot be reached perhaps stale, with ``revalidate`` only if ``may_be_stale``."""
        return await self.catalog.stat(
            parse_name(name), revalidate=revalidate, may_be_stale=may_be_stale or not revalidate
        )

    @property
    def _fetch_window(self) -> int:
        """Blocks of one range under way at a time: so many for each host that is home to some, or the links to most would stand idle."""
        homes = self.cluster.home_count if self.cluster is not None else 1
        return min(FETCH_WINDOW_BLOCKS_MAX, homes * self.settings.limits.fetch_window_blocks)

    def new_fetch(self, request_id: int, request: Fetch, answers: FetchAnswers, owner: str = "") -> FetchJob:
        """A fetch, to be run; ``owner``: the user on whose behalf. Raises ``TooLarge`` for one of files where there is no SSD."""
        if request.mapped and self.disk is None:
            raise TooLarge("this host has no SSD from which blocks could be mapped: read in smaller pieces")
        kind = MappedFetchJob if request.mapped else FetchJob
        job = kind(
            request_id, request, answers, self.store, self.fills, self.catalog,
            window=self._fetch_window, hold_bytes_max=self.settings.client_pin_bytes_max, owner=owner,
            room=self.rooms.of(owner),
        )  # fmt: skip
        if isinstance(job, MappedFetchJob):
            assert self.disk is not None
            job.disk = self.disk
        return job

    @property
    def client_mapped_bytes_max(self) -> int:
        """Bytes of files that one client may have mapped."""
        return sum(disk.size_bytes for disk in self.settings.disks) // MAPPED_SHARE

    async def locate(self, name: str) -> LocateReport:
        """Where each block of an object lies, here and at its home."""
        known = await self.catalog.stat(parse_name(name))
        report = await locate(self.fills, self.cluster, known)
        pin = self.pinboard.of(known.name)
        if pin is not None:
            report.pin.CopyFrom(pin)
        return report

    def _has(self, known: Known, index: int) -> bool:
        return self.store.find(block_digest(known.content.content_id, index)) >= 0

    def status(self) -> StatusReport:
        """Counters and levels."""
        return StatusReport(
            instance=self.settings.instance.name,
            pid=os.getpid(),
            arena_id=self.store.arena.arena_id,
            arena_bytes=self.store.arena.geometry.data_bytes,
            counters=self.all_counters(),
            host=self.cluster.own_name if self.cluster else "",
            uptime_s=time.monotonic() - self._started_at,
            version=_VERSION,
        )

    def all_counters(self) -> dict[str, int]:
        """Every figure of this master by name."""
        counters = (
            self.counters.totals()
            | self.store.levels
            | self.fills.levels
            | self.routes.sources.levels()
            | self.pinboard.levels()
            | {"clients": self.clients(), "loop_stall_max_us": self.stall_max_us}
        )
        for name, origin in self.origins.items():
            counters |= {f"origin.{name}.{key}": value for key, value in origin.counters().items()}
        counters |= self.grace.levels()
        if self.disk is not None:
            counters |= self.disk.counters() | self.disk.levels()
        if self.cluster is not None:
            counters |= self.cluster.counters()
        if self.tls is not None:
            counters |= self.tls.levels()
        if self.coherence is not None:
            counters |= self.coherence.levels() | self.for_peers.hot_spots.levels()
        if self.routes.holders is not None:
            counters |= {"hints_kept": len(self.routes.holders.hints)}
        if self.peer_server is not None:
            counters |= {f"peer_server.{key}": value for key, value in self.peer_server.counters().items()}
        return counters

    async def cluster_status(self) -> ClusterReport:
        """Status of every host of the cluster, this one first."""
        if self.cluster is None:
            own = HostStatus(name=self.settings.instance.name, is_self=True)
            others = []
        else:
            own = self.cluster.describe(self.cluster.own_name)
            others = await self.cluster.statuses()
        own.status.CopyFrom(self.status())
        return ClusterReport(hosts=[own, *others])

    # --- changes ---

    async def change_begins(self, names: Sequence[ObjectName]) -> None:
        """Objects are about to be changed through this host. Raises ``SlowDown`` where too few hosts of the cluster can be told."""
        await self._for_each(names, self.catalog.change_begins)
        if self.coherence is not None:
            await self.coherence.begin([name.url for name in names])

    def change_is_over(self, names: Sequence[ObjectName], *, had_begun: bool) -> asyncio.Task[None]:
        """They may have been; done when whoever believes what it knows knows this. Goes on whoever waits for it leaves; may raise ``SlowDown``."""
        task = asyncio.get_running_loop().create_task(self._end_change(names, had_begun=had_begun))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_retrieve)
        return task

    async def _end_change(self, names: Sequence[ObjectName], *, had_begun: bool) -> None:
        await self._for_each(names, self.catalog.change_is_over if had_begun else self.catalog.changed)
        if self.coherence is None:
            return
        await self.coherence.end([name.url for name in names])
        # As the others are: what was learnt from a host that did not know yet.
        await self._for_each(names, self.catalog.changed)

    async def _for_each(self, names: Iterable[ObjectName], tell: Callable[[ObjectName], None]) -> None:
        for count, name in enumerate(names, 1):
            tell(name)
            if not count % _CHANGES_PER_TURN:
                await asyncio.sleep(0)

    # --- loading ahead ---

    def new_read_ahead(self) -> ReadAhead:
        """Follows one reader of one object."""
        return ReadAhead(
            self.settings.limits.prefetch_window_blocks, block_bytes=self.settings.memory.block_bytes
        )

    def prefetch_blocks(self, known: Known, blocks: Iterable[int]) -> None:
        """Starts loading blocks nobody waits for; what finds no place is left."""
        for index in blocks:
            if not self._has(known, index) and self.fills.prefetch(known.content, index) is not None:
                self.counters.add("blocks_prefetched")

    def prefetch_names(self, names: list[str]) -> int:
        """Queues whole objects for loading; returns how many were accepted. Raises ``InvalidName``."""
        parsed = [parse_name(name) for name in names]
        accepted = parsed[: max(0, PREFETCH_NAMES_MAX - len(self._wishes))]
        self._wishes.extend(accepted)
        while self._loaders < min(PREFETCH_CONCURRENCY, len(self._wishes)):
            self._loaders += 1
            self._spawn(self._load_wishes())
        return len(accepted)

    async def _load_wishes(self) -> None:
        try:
            while self._wishes:
                await self._load(self._wishes.popleft())
        finally:
            self._loaders -= 1

    async def _load(self, name: ObjectName) -> None:
        try:
            known = await self.catalog.learn(name, 0)
            blocks = min(known.content.block_count, self._prefetch_blocks_max)
            for index in range(blocks):
                if not self._has(known, index):
                    await LoadedBlock(self.fills, known, index).wait()
                    self.counters.add("blocks_prefetched")
        except CashyError as error:
            self.counters.add("prefetches_failed")
            _log.info("prefetch_failed", url=name.url, code=error.code, error=error.message)

    @property
    def _prefetch_blocks_max(self) -> int:
        memory = self.settings.memory
        return max(1, memory.size_bytes // memory.block_bytes // _PREFETCH_ARENA_SHARE)

    # --- upkeep ---

    def start(self) -> None:
        """Starts the upkeep and connects to the other hosts; needs the running loop."""
        if self.cluster is not None and self.coherence is not None:
            self.cluster.start()
            self.coherence.start()
            if self.membership is not None:
                self.membership.start()
        self.pinboard.start()
        if self.disk is not None:
            self._spawn(self.disk.start())
        if self.tls is not None:
            self._spawn(self.tls.watch())
        self._spawn(self._maintain())
        self._spawn(self.verifier.run())
        self._spawn(self._watch_stalls())

    async def _watch_stalls(self) -> None:
        """Keeps the longest time by which the loop came late to a timer: whatever blocks it shows here."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + STALL_CHECK_S
            await asyncio.sleep(STALL_CHECK_S)
            self.stall_max_us = max(self.stall_max_us, int((loop.time() - due) * 1e6))

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(MAINTENANCE_INTERVAL_S)
            while self.store.harvest() >= HARVEST_MARKS_MAX:  # noqa: ASYNC110 - nobody could set an event: clients only leave marks
                await asyncio.sleep(0)
            self.store.maintain()
            self.fills.expire(time.monotonic())
            self.traces.expire(time.monotonic_ns())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def leave(self) -> None:
        """Before an orderly end: tells the other hosts, so that nobody waits for this one, and lets their reads under way end."""
        if self.cluster is None or self.coherence is None:
            return
        await self.coherence.leave()
        await self.cluster.leave()
        if self.peer_server is not None:
            await self.peer_server.reads_ended(PEER_READS_END_S)

    async def close(self) -> None:
        """Ends all work and the origins; the arena stays."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.verifier.close()
        await self.pinboard.close()
        if self.peer_server is not None:
            await self.peer_server.close()
        await self.for_peers.close()
        await self.grace.close()
        if self.disk is not None:
            await self.disk.close()
        if self.membership is not None:
            await self.membership.close()
        if self.coherence is not None:
            await self.coherence.close()
        if self.cluster is not None:
            await self.cluster.close()
        for origin in self.origins.values():
            await origin.close()


def _paces(limits: Iterable[tuple[str, int]]) -> dict[str, Pace]:
    """Those that have a limit (bytes per second; 0: none)."""
    return {name: Pace(bytes_per_s) for name, bytes_per_s in limits if bytes_per_s}


def _retrieve(task: asyncio.Task[None]) -> None:
    """Its error is for whoever waits for it, if somebody does."""
    if not task.cancelled():
        task.exception()


def _make_disks(settings: Settings) -> DiskTier | None:
    """The SSD tier; None where none is configured."""
    if not settings.disks:
        return None
    options = [
        DiskOptions(disk.path, disk.size_bytes, disk.write_bytes_per_s or _UNLIMITED_BYTES_PER_S)
        for disk in settings.disks
    ]
    return DiskTier(options, block_bytes=settings.memory.block_bytes)
