"""What the master of one host consists of, put together, and the work it does by itself: upkeep and loading ahead."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

import structlog

from aviary.cashy.v1.control_pb2 import ClusterReport, Fetch, HostStatus, LocateReport, StatusReport, Tier
from cashy.core.names import ObjectName, OriginSpec, block_digest, parse_name
from cashy.core.planner import ReadAhead
from cashy.errors import CashyError, ConfigError, TooLarge
from cashy.limits import (
    FETCH_WINDOW_BLOCKS_MAX,
    HARVEST_MARKS_MAX,
    LOCATE_BLOCKS_MAX,
    MAINTENANCE_INTERVAL_S,
    PREFETCH_CONCURRENCY,
    PREFETCH_NAMES_MAX,
    STALL_CHECK_S,
)
from cashy.master.catalog import Catalog, Known
from cashy.master.cluster import Cluster
from cashy.master.coherence import Coherence
from cashy.master.counters import Counters
from cashy.master.fetch import FetchAnswers, FetchJob
from cashy.master.fills import Fill, FillTable, source_key
from cashy.master.peer_service import BlocksForPeers
from cashy.master.routes import Routes
from cashy.master.store import BlockStore
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

#: Loading ahead by request never displaces more than this part of the arena for one object.
_PREFETCH_ARENA_SHARE = 2
#: Blocks that are looked for before the loop gets its turn again: to find a block's home takes some 10 us.
_LOCATED_PER_TURN = 256
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
        raise ConfigError(f"origin {settings.name!r}: {settings.path} is not a directory")
    return DirectoryOrigin(
        settings.name, settings.path, threads=settings.threads, read_timeout_s=settings.read_timeout_s
    )


async def _make_s3(settings: S3OriginSettings) -> Origin:
    credentials = None if settings.anonymous else await default_credentials()
    if credentials is None and not settings.anonymous:
        raise ConfigError(
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
        self.routes = Routes(
            origins,
            cluster,
            self.counters,
            block_bytes=memory.block_bytes,
            fills_max=settings.limits.fills_max,
        )
        #: Of blocks that others may ask for, from when they came.
        self.checksums = ChecksumMemory() if cluster is not None else None
        self.fills = FillTable(self.store, self.routes, self.counters, self.checksums)
        self.catalog = Catalog(
            self.store, self.fills, origin_specs(settings.origins), self.counters,
            revalidate_after_s=settings.freshness.revalidate_after_s,
        )  # fmt: skip
        self.for_peers = BlocksForPeers(
            self.store, self.fills, self.catalog, self.counters, lambda: self.status().SerializeToString()
        )
        self.coherence: Coherence | None = None
        if cluster is not None:
            self.coherence = self.for_peers.coherence = Coherence(
                cluster, self.catalog, self.store.arena, self.counters, lease_s=settings.cluster.lease_s
            )
        else:
            self.store.arena.set_coherent_until(NEVER_ENDS)
            self.store.arena.set_doubted_before(0)
        self.clients: Callable[[], int] = int
        self.peer_server: PeerServer | None = None
        self._wishes: deque[ObjectName] = deque()
        self._loaders = 0
        self.stall_max_us = 0
        self._started_at = time.monotonic()
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- requests ---

    async def stat(self, name: str, *, revalidate: bool) -> Known:
        """Current metadata of a name."""
        return await self.catalog.stat(parse_name(name), revalidate=revalidate)

    @property
    def _fetch_window(self) -> int:
        """Blocks of one range under way at a time: so many for each host that is home to some, or the links to most would stand idle."""
        homes = self.cluster.home_count if self.cluster is not None else 1
        return min(FETCH_WINDOW_BLOCKS_MAX, homes * self.settings.limits.fetch_window_blocks)

    def new_fetch(self, request_id: int, request: Fetch, answers: FetchAnswers) -> FetchJob:
        """A fetch, to be run."""
        return FetchJob(
            request_id, request, answers, self.store, self.fills, self.catalog,
            window=self._fetch_window, hold_bytes_max=self.settings.client_pin_bytes_max,
        )  # fmt: skip

    async def locate(self, name: str) -> LocateReport:
        """Where each block of an object lies."""
        known = await self.catalog.stat(parse_name(name))
        count = known.content.block_count
        if count > LOCATE_BLOCKS_MAX:
            raise TooLarge(f"{name} has {count:,} blocks, at most {LOCATE_BLOCKS_MAX:,} are reported")
        report = LocateReport(object=known.info)
        homes = _Homes(self.cluster, known, report) if self.cluster is not None else None
        for index in range(count):
            report.tiers.append(Tier.TIER_LOCAL_MEMORY if self._has(known, index) else Tier.TIER_UNSPECIFIED)
            if homes is not None:
                homes.add(index)
            if not index % _LOCATED_PER_TURN:
                await asyncio.sleep(0)
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
        )

    def all_counters(self) -> dict[str, int]:
        """Every figure of this master by name."""
        counters = (
            self.counters.totals()
            | self.store.levels
            | self.fills.levels
            | {"clients": self.clients(), "loop_stall_max_us": self.stall_max_us}
        )
        for name, origin in self.origins.items():
            counters |= {f"origin.{name}.{key}": value for key, value in origin.counters().items()}
        if self.cluster is not None:
            counters |= self.cluster.counters()
        if self.coherence is not None:
            counters |= self.coherence.levels()
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
                    await _Loaded(self.fills, known, index).wait()
                    self.counters.add("blocks_prefetched")
        except CashyError as error:
            self.counters.add("prefetches_failed")
            _log.info("prefetch_failed", name=name.url, error=error.message)

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
        self._spawn(self._maintain())
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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends all work and the origins; the arena stays."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.peer_server is not None:
            await self.peer_server.close()
        await self.for_peers.close()
        if self.coherence is not None:
            await self.coherence.close()
        if self.cluster is not None:
            await self.cluster.close()
        for origin in self.origins.values():
            await origin.close()


def _retrieve(task: asyncio.Task[None]) -> None:
    """Its error is for whoever waits for it, if somebody does."""
    if not task.cancelled():
        task.exception()


class _Homes:
    """Puts the home of each block of an object into a report."""

    def __init__(self, cluster: Cluster, known: Known, report: LocateReport) -> None:
        self._cluster = cluster
        self._place = known.content.place
        self._report = report
        self._numbers: dict[str, int] = {}
        report.host = cluster.own_name

    def add(self, index: int) -> None:
        """The next block's."""
        name = self._cluster.home_of(self._place.origin, source_key(self._place), index)
        number = self._numbers.setdefault(name, len(self._numbers))
        if number == len(self._report.hosts):
            self._report.hosts.append(name)
        self._report.homes.append(number)


class _Loaded:
    """Waits for one block that is loaded because a client wished for its object."""

    def __init__(self, fills: FillTable, known: Known, index: int) -> None:
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        fills.join(known.content, index, self, url=known.name.url)

    async def wait(self) -> None:
        """Returns when the block is READY; raises why it is not."""
        await self._done

    def leased(self, fill: Fill) -> None:
        """Nothing to do."""

    def progressed(self, fill: Fill) -> None:
        """Nothing to do."""

    def finished(self, fill: Fill) -> None:
        """It is here."""
        if not self._done.done():
            self._done.set_result(None)

    def failed(self, fill: Fill, error: CashyError) -> None:
        """It is not."""
        if not self._done.done():
            self._done.set_exception(error)
