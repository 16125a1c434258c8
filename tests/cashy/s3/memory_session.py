"""The session contract over plain bytearrays, with an owner that refills a slot the moment nobody holds it.

Not a mock of the arena: it gives out views of real memory by reference, and its owner is crueller than the real one, which evicts only
under pressure. So a byte that leaves after its pin was dropped is a wrong byte, every time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.meta import Meta
from cashy.core.names import content_id, parse_name
from cashy.errors import CashyError, NoSuchBucket, NoSuchObject, VersionChanged

REFILL = b"\xee"  # what a freed slot is filled with: another object's bytes


@dataclass
class StoredObject:
    """What the "origin" has under a name. ``gates``: block index -> bytes of it that may arrive, and an error to end it with."""

    data: bytes
    version: str = '"v1"'
    content_type: str = "binary/octet-stream"
    last_modified: float = 1_700_000_000.0
    headers: tuple[tuple[str, str], ...] = ()
    user_metadata: tuple[tuple[str, str], ...] = ()
    #: Headers that only an answer to HEAD has: checksums.
    told_by_head: tuple[tuple[str, str], ...] = ()


class Slot:
    """Memory of one block. Refilled with other bytes as soon as no pin is left, if its owner is cruel."""

    def __init__(self, session: MemorySession, key: tuple[bytes, int], data: bytes) -> None:
        self.session = session
        self.key = key
        self.memory = bytearray(data)
        self.watermark = 0
        self.pins = 0
        self.changed = asyncio.Event()
        self.error: CashyError | None = None

    def advance(self, watermark: int) -> None:
        self.watermark = watermark
        self.wake()

    def wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class MemoryPin:
    def __init__(self, slot: Slot) -> None:
        self._slot: Slot | None = slot
        slot.pins += 1
        slot.session.pinned += 1
        slot.session.pinned_max = max(slot.session.pinned_max, slot.session.pinned)
        self.length = len(slot.memory)

    @property
    def view(self) -> memoryview:
        assert self._slot is not None, "view of a released pin"
        return memoryview(self._slot.memory).toreadonly()[: self._slot.watermark]

    def release(self) -> None:
        slot, self._slot = self._slot, None
        if slot is None:
            return
        slot.pins -= 1
        slot.session.pinned -= 1
        if slot.session.refills and slot.pins == 0:
            slot.session.slots.pop(slot.key, None)
            slot.memory[:] = REFILL * len(slot.memory)

    def __del__(self) -> None:
        self.release()


class MemoryBlock:
    def __init__(self, index: int, pin: MemoryPin, slot: Slot) -> None:
        self.index = index
        self.pin = pin
        self.length = pin.length
        self._slot = slot

    async def wait_beyond(self, count: int, /) -> int:
        slot = self._slot
        while slot.watermark <= count and slot.watermark < len(slot.memory):
            if slot.error is not None:
                raise slot.error
            await slot.changed.wait()
        return slot.watermark


class MemoryFetch:
    def __init__(
        self, session: MemorySession, name: str, first: int, count: int, content: bytes | None
    ) -> None:
        self._session = session
        self._name = name
        self._range = range(first, first + count)
        self._content = content
        self._is_entered = False

    async def __aenter__(self) -> MemoryFetch:
        self._is_entered = True
        self._session.open_fetches += 1
        self._session.calls["fetch"] += 1
        self._session.fetched.extend((self._name, index) for index in self._range)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._is_entered
        self._is_entered = False
        self._session.open_fetches -= 1

    async def meta(self) -> Meta:
        await asyncio.sleep(0)
        if self._session.fetch_error is not None:
            raise self._session.fetch_error
        meta = self._session.load(self._name)
        if self._content is not None and meta.content_id != self._content:
            raise VersionChanged("changed")
        return meta

    async def __aiter__(self) -> AsyncIterator[MemoryBlock]:
        meta = await self.meta()
        for index in self._range:
            if index < meta.block_count:
                slot = self._session.fill(meta, index)
                yield MemoryBlock(index, MemoryPin(slot), slot)


@dataclass
class MemorySession:
    """``refills``: released slots are overwritten at once. ``gated``: blocks stop at a watermark until :meth:`let_through`."""

    block_bytes: int = 4 << 20
    refills: bool = False
    objects: dict[str, StoredObject] = field(default_factory=dict)
    slots: dict[tuple[bytes, int], Slot] = field(default_factory=dict)
    metas: dict[str, Meta] = field(default_factory=dict)
    gates: dict[tuple[str, int], int] = field(default_factory=dict)
    fetch_error: CashyError | None = None
    calls: Counter[str] = field(default_factory=Counter)
    callers: list[str] = field(default_factory=list)
    deadlines_ms: list[int] = field(default_factory=list)
    fetched: list[tuple[str, int]] = field(default_factory=list)
    open_fetches: int = 0
    pinned: int = 0
    pinned_max: int = 0

    # --- what tests do ---

    def put(self, name: str, data: bytes, *, warm: bool = False, **about: object) -> None:
        self.objects[name] = StoredObject(data, **about)  # type: ignore[arg-type]
        if warm:
            meta = self.load(name)
            for index in range(meta.block_count):
                self.fill(meta, index)

    def let_through(self, name: str, index: int, watermark: int | None = None) -> None:
        """Lets bytes of a gated block arrive."""
        slot = self.slots[self.metas[name].content_id, index]
        slot.advance(len(slot.memory) if watermark is None else watermark)

    def fail(self, name: str, index: int, error: CashyError) -> None:
        slot = self.slots[self.metas[name].content_id, index]
        slot.error = error
        slot.wake()

    # --- what the master does ---

    def load(self, name: str, *, asks: bool = False) -> Meta:
        """``asks``: by a HEAD, whatever is known."""
        stored = self.objects.get(name)
        if stored is None:
            bucket = name.removeprefix("s3://").partition("/")[0]
            has_bucket = any(other.startswith(f"s3://{bucket}/") for other in self.objects)
            raise (NoSuchObject if has_bucket else NoSuchBucket)(f"secret path of {name}")
        known = self.metas.get(name)
        if known is not None and known.version == stored.version and not asks:
            return known
        info = pb.ObjectInfo(
            content_id=content_id("memory", name, stored.version, self.block_bytes), size=len(stored.data),
            block_bytes=self.block_bytes, version=stored.version, last_modified=stored.last_modified,
            content_type=stored.content_type,
            headers=[
                pb.Header(name=key, value=value)
                for key, value in (*stored.headers, *(stored.told_by_head if asks else ()))
            ],
            user_metadata=[pb.Header(name=key, value=value) for key, value in stored.user_metadata],
        )  # fmt: skip
        self.metas[name] = Meta.from_info(name, info)
        return self.metas[name]

    def fill(self, meta: Meta, index: int) -> Slot:
        key = (meta.content_id, index)
        slot = self.slots.get(key)
        if slot is None:
            start = index * meta.block_bytes
            slot = Slot(self, key, self.objects[meta.name].data[start : start + meta.block_bytes])
            self.slots[key] = slot
            slot.advance(min(self.gates.get((meta.name, index), len(slot.memory)), len(slot.memory)))
        return slot

    # --- the contract ---

    def lookup(self, name: str) -> Meta | None:
        return self.metas.get(parse_name(name).url)

    def pin(self, meta: Meta, index: int, wanted_bytes: int | None = None) -> MemoryPin | None:
        slot = self.slots.get((meta.content_id, index))
        return None if slot is None or slot.watermark < len(slot.memory) else MemoryPin(slot)

    async def stat(self, name: str, *, revalidate: bool = False, may_be_stale: bool = False) -> Meta:
        self.calls["stat"] += 1
        await asyncio.sleep(0)
        if self.fetch_error is not None:
            raise self.fetch_error
        return self.load(name, asks=revalidate)

    def fetch(
        self,
        name: str,
        first_block: int,
        block_count: int,
        *,
        content_id: bytes | None,
        streaming: bool,
        stream: int = 0,
        caller: str = "",
        deadline_ms: int = 0,
    ) -> MemoryFetch:
        assert streaming
        self.callers.append(caller)
        self.deadlines_ms.append(deadline_ms)
        return MemoryFetch(self, name, first_block, block_count, content_id)

    async def close(self) -> None:
        self.calls["close"] += 1
