"""The pinned objects of one host: loaded, held where eviction does not touch them, followed from version to version, let go of in time.

A pinned block is one that the master itself holds (:meth:`~shmipc.arena.ArenaOwner.hold`), so no rule of eviction knows of pins. What is held ranks
among the others all the same, and is spared each time its turn comes: at most ``memory.pinned_max`` of what the evictor looks at.

Which version is kept follows the catalog: every second what readers have brought word of, every minute the origin itself. An object that is gone,
that has grown beyond what may be pinned, or that cannot be read now keeps its pin, with the reason, and is tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import structlog

from aviary.cashy.v1.operate_pb2 import HostPins, PinnedObject
from cashy.core.names import ObjectName, block_digest, meta_digest, parse_name
from cashy.core.pins import PINS_MAX, Pin, check_share, merged
from cashy.errors import CashyError, NoSuchObject, TooLarge, VersionChanged
from cashy.master.catalog import Catalog, Known
from cashy.master.cluster import Cluster
from cashy.master.counters import Counters
from cashy.master.fills import Fill, FillTable, source_key
from cashy.master.limits import (
    OPERATE_BLOCKS_PER_TURN,
    PIN_ASK_S,
    PIN_LOADS,
    PIN_LOOK_S,
    PIN_REPORT_BYTES,
    PIN_RETRY_S,
)
from cashy.master.pin_file import PinFile
from cashy.master.store import BlockStore

__all__ = ["Pinboard"]

_log = structlog.get_logger("cashy.master")

_NS = 1_000_000_000


class _Pinned:
    """One pinned object: what is wanted of it, and what is held. ``held``: slot by block."""

    def __init__(self, pin: Pin) -> None:
        self.pin = pin
        self.name: ObjectName = parse_name(pin.url)
        self.known: Known | None = None
        self.wanted: Sequence[int] = ()
        self.wanted_bytes = 0
        self.held: dict[int, int] = {}
        self.held_bytes = 0
        self.error = ""
        self.logged_error = ""
        self.asked_at = 0.0
        self.tried_at = 0.0
        self.loading: asyncio.Task[None] | None = None

    def describe(self, now_ns: int) -> PinnedObject:
        """For those who ask."""
        return PinnedObject(
            name=self.pin.url,
            blocks=len(self.wanted),
            bytes=self.wanted_bytes,
            blocks_here=len(self.held),
            bytes_here=self.held_bytes,
            left_s=max(0.001, (self.pin.until_ns - now_ns) / _NS) if self.pin.until_ns else 0.0,
            homes_only=self.pin.homes_only,
            version=self.known.content.meta.version if self.known else "",
            error=self.error,
        )


class Pinboard:
    """All pins of a host. ``limit_bytes`` says how much may be pinned at the moment; ``cluster``: None for a host by itself."""

    def __init__(
        self, store: BlockStore, fills: FillTable, catalog: Catalog, cluster: Cluster | None, counters: Counters,
        *, limit_bytes: Callable[[], int],
    ) -> None:  # fmt: skip
        self._store = store
        self._fills = fills
        self._catalog = catalog
        self._cluster = cluster
        self._counters = counters
        self._limit_bytes = limit_bytes
        self._pinned: dict[str, _Pinned] = {}
        self._digests: set[bytes] = set()  # of their metadata
        self._slots: dict[int, int] = {}  # held for how many pins: two names of one object share their blocks
        self._places = asyncio.Semaphore(PIN_LOADS)
        self._file = PinFile(
            store.arena.instance.folder, lambda: [each.pin for each in self._pinned.values()]
        )
        self._keeper: asyncio.Task[None] | None = None

    # --- start and end ---

    def start(self) -> None:
        """Takes up what a predecessor kept; needs the running loop."""
        for pin in self._file.load():
            self._take_up(_Pinned(pin))
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def _hold_predecessors(self) -> None:
        """Holds what is there of the versions that it kept, before anybody is asked which are current. To look for a block verifies it.

        Of blocks whose home is elsewhere, which it did not keep, some may be held until the object is known again.
        """
        slot_count = self._store.arena.geometry.slot_count
        for each in list(self._pinned.values()):
            content_id = each.pin.content_id
            for index in range(min(each.pin.block_count, slot_count)):
                slot = self._store.find(block_digest(content_id, index))
                if self._pinned.get(each.pin.url) is not each or each.pin.content_id != content_id:
                    break
                if slot >= 0:
                    self._hold(each, index, slot)
                if self._store.turn_is_over() or not index % OPERATE_BLOCKS_PER_TURN:
                    await asyncio.sleep(0)

    async def close(self) -> None:
        """Ends the loading; what was held is the next master's to hold."""
        tasks = [self._keeper, *(each.loading for each in self._pinned.values())]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)

    # --- what operators ask ---

    async def pin(self, names: Sequence[ObjectName], for_s: float, *, homes_only: bool) -> int:
        """Pins objects, all of them or none; returns how many. Raises ``TooLarge`` where they are too many or too much, and what the origin says."""
        found = [await self._catalog.stat(name) for name in names]
        until_ns = time.monotonic_ns() + int(for_s * _NS) if for_s else 0
        fresh: list[tuple[_Pinned, Known, Sequence[int]]] = []
        for name, known in zip(names, found, strict=True):
            old = self._pinned.get(name.url)
            each = _Pinned(merged(old.pin if old else None, Pin(name.url, until_ns, homes_only)))
            fresh.append((each, known, await self._wanted_of(known, each.pin)))
        self._check_room(fresh)
        for each, known, wanted in fresh:
            there = self._pinned.get(each.pin.url) or self._take_up(each)
            there.pin = each.pin._replace(content_id=there.pin.content_id, block_count=there.pin.block_count)
            self._want(there, known, wanted)
        await self._file.save()
        return len(fresh)

    def _check_room(self, fresh: Sequence[tuple[_Pinned, Known, Sequence[int]]]) -> None:
        new = {each.pin.url for each, _, _ in fresh}
        others = [each for url, each in self._pinned.items() if url not in new]
        if len(others) + len(new) > PINS_MAX:
            raise TooLarge(f"at most {PINS_MAX:,} objects may be pinned on one host: unpin some")
        taken = sum(each.wanted_bytes for each in others)
        for each, known, wanted in fresh:
            size_bytes = _size_of(known, wanted)
            check_share(each.pin.url, size_bytes, taken, self._limit_bytes())
            taken += size_bytes

    async def unpin(self, names: Iterable[ObjectName] | None) -> int:
        """Lets go of objects, of all for None; returns how many of them were pinned."""
        urls = (
            list(self._pinned) if names is None else [name.url for name in names if name.url in self._pinned]
        )
        for url in dict.fromkeys(urls):
            self._let_go_of(self._pinned[url])
        if urls:
            await self._file.save()
        return len(dict.fromkeys(urls))

    def report(self, host: str, urls: Iterable[str] = (), changed: int = 0) -> HostPins:
        """What is pinned, of these names or altogether, as far as an answer has room."""
        report = HostPins(
            host=host, pinned_bytes=self.pinned_bytes, pinned_bytes_max=self._limit_bytes(), changed=changed
        )
        now_ns = time.monotonic_ns()
        wanted = list(urls) or list(self._pinned)
        room = PIN_REPORT_BYTES
        for url in wanted:
            each = self._pinned.get(url)
            if each is None:
                continue
            described = each.describe(now_ns)
            room -= described.ByteSize()
            if room < 0:
                report.left_out += 1
            else:
                report.objects.append(described)
        return report

    def of(self, name: ObjectName) -> PinnedObject | None:
        """What is pinned of one object; None: nothing."""
        each = self._pinned.get(name.url)
        return each.describe(time.monotonic_ns()) if each is not None else None

    def keeps(self, slot: int) -> bool:
        """Whether what is in a slot is pinned: a block, or the metadata of an object that is."""
        return slot in self._slots or (
            bool(self._pinned) and self._store.arena.fields(slot).digest in self._digests
        )

    @property
    def pinned_bytes(self) -> int:
        """Bytes of all that is to be kept, here already or not."""
        return sum(each.wanted_bytes for each in self._pinned.values())

    def levels(self) -> dict[str, int]:
        """Figures of the moment."""
        return {
            "pinned_objects": len(self._pinned),
            "pinned_objects_failing": sum(bool(each.error) for each in self._pinned.values()),
            "pinned_blocks_here": sum(len(each.held) for each in self._pinned.values()),
            "pinned_bytes_here": sum(each.held_bytes for each in self._pinned.values()),
            "pinned_bytes": self.pinned_bytes,
            "pinned_bytes_max": self._limit_bytes(),
        }

    # --- upkeep ---

    async def _keep(self) -> None:
        await self._hold_predecessors()
        while True:
            for each in list(self._pinned.values()):
                if each.pin.is_over(time.monotonic_ns()):
                    await self._expire(each)
                elif each.loading is None or each.loading.done():
                    await self._look_at(each)
            await asyncio.sleep(PIN_LOOK_S)

    async def _expire(self, each: _Pinned) -> None:
        if self._pinned.get(each.pin.url) is not each:
            return
        self._let_go_of(each)
        self._counters.add("pins_expired")
        _log.info("pin_expired", url=each.pin.url)
        try:
            await self._file.save()
        except CashyError:
            pass  # it was logged; a restarted master finds the pin over

    async def _look_at(self, each: _Pinned) -> None:
        """Begins what an object needs now, if anything."""
        now = time.monotonic()
        heard = self._catalog.last_known(each.name)
        has_news = (
            heard is not None and each.known is not None
            and heard.content.content_id != each.known.content.content_id
        )  # fmt: skip
        is_incomplete = len(each.held) < len(each.wanted) or each.known is None
        is_due = now - each.asked_at >= PIN_ASK_S or (is_incomplete and now - each.tried_at >= PIN_RETRY_S)
        if has_news or is_due:
            each.tried_at = now
            each.loading = asyncio.get_running_loop().create_task(self._follow(each))

    async def _follow(self, each: _Pinned) -> None:
        """Finds out which version is current, and loads what is missing of it."""
        each.asked_at = time.monotonic()
        try:
            known = await self._catalog.stat(each.name)
            wanted = await self._wanted_of(known, each.pin)
            is_other = each.known is not None and each.known.content.content_id != known.content.content_id
            others = self.pinned_bytes - each.wanted_bytes
            if is_other or each.known is None:
                check_share(each.pin.url, _size_of(known, wanted), others, self._limit_bytes())
        except CashyError as error:
            self._failed(each, error)
            return
        if self._pinned.get(each.pin.url) is not each:
            return
        if is_other:
            self._counters.add("pins_followed")
            _log.info("pin_follows", url=each.pin.url, version=known.content.meta.version)
        self._keep_only(each, known, wanted)
        await self._load(each)

    def _failed(self, each: _Pinned, error: CashyError) -> None:
        if error.message != each.logged_error:
            _log.warning("pin_failed", url=each.pin.url, code=error.code, error=error.message)
        each.error = each.logged_error = error.message
        if isinstance(error, NoSuchObject | TooLarge):  # nobody is served what is held
            self._let_go_of_blocks(each)
            each.known, each.wanted, each.wanted_bytes = None, (), 0

    async def _wanted_of(self, known: Known, pin: Pin) -> Sequence[int]:
        """Which blocks are to be kept here."""
        count = known.content.block_count
        if not pin.homes_only or self._cluster is None:
            return range(count)
        place = known.content.place
        key = source_key(place)
        wanted = []
        for index in range(count):
            if self._cluster.home_of(place.origin, key, index) == self._cluster.own_name:
                wanted.append(index)
            if not index % OPERATE_BLOCKS_PER_TURN:
                await asyncio.sleep(0)
        return wanted

    # --- loading and holding ---

    def _want(self, each: _Pinned, known: Known, wanted: Sequence[int]) -> None:
        """Takes up an object as it is now, and begins to load it."""
        self._keep_only(each, known, wanted)
        each.asked_at = each.tried_at = time.monotonic()
        if each.loading is not None:
            each.loading.cancel()
        each.loading = asyncio.get_running_loop().create_task(self._load(each))

    def _keep_only(self, each: _Pinned, known: Known, wanted: Sequence[int]) -> None:
        """Lets go of what does not belong to this version, or need not be kept here."""
        each.error = ""
        content_id = known.content.content_id
        if each.pin.content_id != content_id:
            self._let_go_of_blocks(each)
            each.pin = each.pin._replace(content_id=content_id, block_count=known.content.block_count)
        else:
            keep = set(wanted)
            for index in [index for index in each.held if index not in keep]:
                self._unhold(each, index)
        each.known, each.wanted, each.wanted_bytes = known, wanted, _size_of(known, wanted)

    async def _load(self, each: _Pinned) -> None:
        """Brings what is missing, a few blocks at a time."""
        known = each.known
        assert known is not None
        missing = [index for index in each.wanted if index not in each.held]
        waiting: set[asyncio.Task[None]] = set()
        try:
            for index in missing:
                await self._places.acquire()
                task = asyncio.get_running_loop().create_task(self._load_block(each, known, index))
                task.add_done_callback(lambda _: self._places.release())
                waiting.add(task)
                waiting = {task for task in waiting if not task.done()}
                if each.known is not known or each.error:
                    return
            if waiting:
                await asyncio.wait(waiting)
        finally:
            for task in waiting:
                task.cancel()
        if missing and not each.error and each.known is known:
            await self._save_version()

    async def _save_version(self) -> None:
        try:
            await self._file.save()
        except CashyError:
            pass  # it was logged: a restarted master looks the version up

    async def _load_block(self, each: _Pinned, known: Known, index: int) -> None:
        def arrived(slot: int) -> None:
            """A block is READY: held from this very moment, if it is still wanted."""
            if self._pinned.get(each.pin.url) is each and each.known is known:
                self._hold(each, index, slot)

        digest = block_digest(known.content.content_id, index)
        try:
            slot = self._store.find(digest)
            if slot < 0:
                await _Loading(self._fills, known, index, arrived).wait()
                slot = self._store.find(digest)  # it may have come under another name
            if slot >= 0:
                arrived(slot)
        except CashyError as error:
            if each.known is not known:
                return
            if isinstance(error, VersionChanged):
                self._catalog.forget(each.name, known.content)
                each.asked_at = 0.0
            self._failed(each, error)

    def _hold(self, each: _Pinned, index: int, slot: int) -> None:
        if index in each.held:
            return
        self._store.arena.hold(slot)
        self._slots[slot] = self._slots.get(slot, 0) + 1
        each.held[index] = slot
        each.held_bytes += self._store.arena.fields(slot).length

    def _unhold(self, each: _Pinned, index: int) -> None:
        slot = each.held.pop(index)
        each.held_bytes -= self._store.arena.fields(slot).length
        self._slots[slot] -= 1
        if not self._slots[slot]:
            del self._slots[slot]
        self._store.arena.unhold(slot)

    def _let_go_of_blocks(self, each: _Pinned) -> None:
        for index in list(each.held):
            self._unhold(each, index)

    def _take_up(self, each: _Pinned) -> _Pinned:
        self._pinned[each.pin.url] = each
        self._digests.add(meta_digest(each.name))
        return each

    def _let_go_of(self, each: _Pinned) -> None:
        del self._pinned[each.pin.url]
        self._digests.discard(meta_digest(each.name))
        self._let_go_of_blocks(each)
        if each.loading is not None:
            each.loading.cancel()


def _size_of(known: Known, wanted: Sequence[int]) -> int:
    """Bytes of some blocks of an object."""
    content = known.content
    if isinstance(wanted, range):
        return content.size_bytes
    return sum(content.block_length(index) for index in wanted)


class _Loading:
    """Waits for one block; ``arrived`` is called with its slot as soon as it is READY, before anything else can happen to it."""

    def __init__(self, fills: FillTable, known: Known, index: int, arrived: Callable[[int], None]) -> None:
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrived = arrived
        self._fills = fills
        self._fill = fills.join(known.content, index, self, url=known.name.url)

    async def wait(self) -> None:
        """Returns when it is here; raises why it did not come."""
        try:
            await self._done
        finally:
            self._fills.leave(self._fill, self)

    def check_room(self, fill: Fill) -> None:
        """Nobody keeps it for long."""

    def leased(self, fill: Fill) -> None:
        """Nothing to do."""

    def progressed(self, fill: Fill) -> None:
        """Nothing to do."""

    def finished(self, fill: Fill) -> None:
        """It is here."""
        if fill.slot >= 0:
            self._arrived(fill.slot)
        if not self._done.done():
            self._done.set_result(None)

    def failed(self, fill: Fill, error: CashyError) -> None:
        """It is not."""
        if not self._done.done():
            self._done.set_exception(error)
