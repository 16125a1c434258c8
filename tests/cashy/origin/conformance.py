"""The conformance kit of origins: what every origin must do, whatever it reads from.

A test module brings a :class:`Place` (an origin and a way to put objects there) and runs each of ``CHECKS``
on it, under each of ``RUNNERS``. Sinks of the kit write down every call and fail on each breach of order;
buffers lie between guard zones.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

import uvloop

from cashy.errors import (
    ArenaFull,
    CashyError,
    InternalError,
    InvalidName,
    NoSuchBucket,
    NoSuchObject,
    OriginUnavailable,
    VersionChanged,
)
from cashy.origin.base import BlockRead, ObjectMeta, Origin

__all__ = [
    "CHECKS",
    "PATIENCE_S",
    "RUNNERS",
    "Place",
    "Reading",
    "RecordingSink",
    "Runner",
    "fails_with",
    "pattern",
    "reads",
]

PATIENCE_S = 15.0
"""Nothing here takes a second; a test that waits so long has hung."""

GUARD_BYTES = 64
GUARD = b"\xa5" * GUARD_BYTES

Runner = Callable[[Coroutine[Any, Any, None]], None]
RUNNERS: dict[str, Runner] = {"asyncio": asyncio.run, "uvloop": uvloop.run}


def pattern(seed: int, size: int) -> bytes:
    """``size`` bytes that differ from those of any other seed nearly everywhere."""
    return random.Random(seed).randbytes(size)


class Place(Protocol):
    """An origin under test, and its other side."""

    origin: Origin

    def make_bucket(self, bucket: str) -> None:
        """Makes an empty bucket."""

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Creates or replaces an object."""


@dataclass
class RecordingSink:
    """A sink that notes every call and every breach of the contract. Hooks run inside the calls."""

    on_begin: Callable[[], None] | None = None
    on_advanced: Callable[[], None] | None = None
    refusal: Exception | None = None
    calls: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    meta: ObjectMeta | None = None
    memory: bytearray = field(default_factory=bytearray)
    watermark: int = 0
    length: int = 0
    at_detach: bytes | None = None
    may_call: bool = True

    def _note(self, call: str) -> None:
        if not self.may_call:
            self.breaches.append(f"{call} from inside begin_read_block")
        self.calls.append(call)

    def begin(self, meta: ObjectMeta, length: int) -> memoryview:
        self._note("begin")
        if "begin" in self.calls[:-1]:
            self.breaches.append("begin twice")
        if self.on_begin is not None:
            self.on_begin()
        if self.refusal is not None:
            raise self.refusal
        self.meta, self.length = meta, length
        self.memory = bytearray(GUARD + bytes(length) + GUARD)
        return memoryview(self.memory)[GUARD_BYTES : GUARD_BYTES + length]

    def advanced(self, watermark: int, crc: int | None = None) -> None:
        self._note("advanced")
        if "begin" not in self.calls or "detached" in self.calls:
            self.breaches.append("advanced out of order")
        if not self.watermark <= watermark <= self.length:
            self.breaches.append(f"watermark from {self.watermark} to {watermark} of {self.length}")
        self.watermark = watermark
        if self.on_advanced is not None:
            self.on_advanced()

    def detached(self) -> None:
        self._note("detached")
        if "begin" not in self.calls or "detached" in self.calls[:-1]:
            self.breaches.append("detached out of order")
        self.at_detach = bytes(self.memory)

    @property
    def data(self) -> bytes:
        """The buffer's bytes."""
        return bytes(self.memory[GUARD_BYTES : GUARD_BYTES + self.length])

    def verify(self) -> None:
        """Fails if the contract was broken, also by a write after detach or beside the buffer."""
        assert self.breaches == []
        if "begin" in self.calls and self.refusal is None:
            assert self.calls.count("detached") == 1, self.calls
            assert bytes(self.memory) == self.at_detach, "written after it was detached"
            assert self.memory[:GUARD_BYTES] == GUARD, "written before the buffer"
            assert self.memory[GUARD_BYTES + self.length :] == GUARD, "written behind the buffer"


class Reading:
    """One read begun on an origin, with its sink and outcome."""

    def __init__(
        self,
        origin: Origin,
        bucket: str,
        key: str,
        offset: int = 0,
        length: int = 1 << 20,
        expected: str | None = None,
        sink: RecordingSink | None = None,
    ) -> None:
        self.origin = origin
        self.sink = sink or RecordingSink()
        self.outcomes: list[CashyError | None] = []
        self.calls_at_done: list[str] = []
        self._done = asyncio.Event()
        self.read = BlockRead(bucket, key, offset, length, expected, self.sink, self._on_done)
        self.sink.may_call = False
        origin.begin_read_block(self.read)
        self.sink.may_call = True

    def _on_done(self, read: BlockRead, error: CashyError | None) -> None:
        assert read is self.read
        if not self.sink.may_call:
            self.sink.breaches.append("on_done from inside begin_read_block")
        self.outcomes.append(error)
        self.calls_at_done = list(self.sink.calls)
        self._done.set()

    def cancel(self) -> None:
        self.origin.cancel_read_block(self.read)

    async def wait(self) -> CashyError | None:
        """The outcome; the contract is checked."""
        await asyncio.wait_for(self._done.wait(), PATIENCE_S)
        self.sink.verify()
        assert len(self.outcomes) == 1
        return self.outcomes[0]

    async def data(self) -> bytes:
        """The bytes of a read that must succeed."""
        error = await self.wait()
        assert error is None, error
        assert self.sink.watermark == self.sink.length
        assert "detached" in self.calls_at_done
        return self.sink.data

    async def settle_cancelled(self) -> None:
        """Waits until a cancelled read's buffer is detached, and longer: nothing else may come."""
        for _ in range(2000):
            if self.sink.calls.count("begin") == self.sink.calls.count("detached"):
                break
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        assert self.outcomes == []
        self.sink.verify()


async def reads(
    origin: Origin, bucket: str, key: str, offset: int = 0, length: int = 1 << 20, **options: Any
) -> bytes:
    """Bytes of a read that must succeed."""
    return await Reading(origin, bucket, key, offset, length, **options).data()


async def fails_with(
    kind: type[CashyError], origin: Origin, bucket: str, key: str, *args: Any, **options: Any
) -> CashyError:
    """The error of a read that must fail with ``kind``, without having asked for a buffer."""
    reading = Reading(origin, bucket, key, *args, **options)
    error = await reading.wait()
    assert type(error) is kind, repr(error)
    assert str(error)
    return error


async def head_error(origin: Origin, bucket: str, key: str) -> CashyError:
    """The error of a head that must fail."""
    try:
        await origin.head(bucket, key)
    except CashyError as error:
        return error
    raise AssertionError(f"head of {bucket!r}/{key!r} succeeded")


# ---------------------------------------------------------------- the checks


async def check_whole_object(place: Place) -> None:
    data = pattern(1, 100_000)
    place.put("bucket", "folder/object.bin", data)
    reading = Reading(place.origin, "bucket", "folder/object.bin", length=4 << 20)
    assert await reading.data() == data
    meta = reading.sink.meta
    assert meta is not None
    assert meta.size_bytes == len(data)
    assert meta.version
    assert meta.last_modified > 1.7e9


async def check_ranges(place: Place) -> None:
    data = pattern(2, 70_001)
    place.put("bucket", "ranged", data)
    for offset, length in [
        (0, 1),
        (0, 70_001),
        (1, 65_536),
        (69_999, 4096),
        (70_000, 1),
        (4096, 4096),
        (0, 70_000),
    ]:
        assert await reads(place.origin, "bucket", "ranged", offset, length) == data[offset : offset + length]


async def check_beyond_the_end(place: Place) -> None:
    place.put("bucket", "short", b"12345")
    for offset in (5, 6, 1 << 40):
        reading = Reading(place.origin, "bucket", "short", offset, 4096)
        assert await reading.data() == b""
        assert reading.sink.meta is not None
        assert reading.sink.meta.size_bytes == 5


async def check_empty_object(place: Place) -> None:
    place.put("bucket", "empty", b"")
    for offset in (0, 4096):
        reading = Reading(place.origin, "bucket", "empty", offset, 4096)
        assert await reading.data() == b""
        assert reading.sink.meta is not None
        assert reading.sink.meta.size_bytes == 0
    assert (await place.origin.head("bucket", "empty")).size_bytes == 0


async def check_missing(place: Place) -> None:
    place.make_bucket("bucket")
    await fails_with(NoSuchObject, place.origin, "bucket", "nowhere")
    await fails_with(NoSuchObject, place.origin, "bucket", "no/where")
    await fails_with(NoSuchBucket, place.origin, "no-such-bucket", "key")
    assert type(await head_error(place.origin, "bucket", "nowhere")) is NoSuchObject
    assert type(await head_error(place.origin, "no-such-bucket", "nowhere")) is NoSuchBucket


async def check_versions(place: Place) -> None:
    old, new = pattern(3, 50_000), pattern(4, 50_000)
    place.put("bucket", "changing", old)
    before = await place.origin.head("bucket", "changing")
    assert await reads(place.origin, "bucket", "changing", 10, 20, expected=before.version) == old[10:30]
    place.put("bucket", "changing", new)
    reading = Reading(place.origin, "bucket", "changing", 0, 4096, before.version)
    assert type(await reading.wait()) is VersionChanged
    assert reading.sink.calls == []
    after = await place.origin.head("bucket", "changing")
    assert after.version != before.version
    assert await reads(place.origin, "bucket", "changing", 0, 50_000, expected=after.version) == new


async def check_head_agrees_with_read(place: Place) -> None:
    place.put("bucket", "both", b"x" * 1000)
    head = await place.origin.head("bucket", "both")
    reading = Reading(place.origin, "bucket", "both")
    await reading.data()
    meta = reading.sink.meta
    assert meta is not None
    assert (head.version, head.size_bytes, head.last_modified) == (
        meta.version,
        meta.size_bytes,
        meta.last_modified,
    )
    assert head.content_type == meta.content_type


async def check_names_are_literal(place: Place) -> None:
    keys = [
        "a b c", "a+b+c", "a%20b%20c", "a%2Fb", "a/b", "ü/é/日本語.bin", "dots.../..x/.hidden", "tilde~and'quotes\"",
        "semi;colon&amp=?query#fragment", "back\\slash", "brackets[]{}<>|^`", "e\u0301", "\u00e9", "x" * 200, "%", "%zz", "new:@,$!*()",
    ]  # fmt: skip
    for index, key in enumerate(keys):
        place.put("bucket", key, f"content {index}".encode())
    for index, key in enumerate(keys):
        assert await reads(place.origin, "bucket", key, 0, 4096) == f"content {index}".encode(), key
        assert (await place.origin.head("bucket", key)).size_bytes == len(f"content {index}")


async def check_bad_names(place: Place) -> None:
    place.make_bucket("bucket")
    for bucket, key in [
        ("bucket", ""),
        ("..", "key"),
        ("a/b", "key"),
        ("bucket", "\ud800"),
        ("bucket", "k" * 5000),
    ]:
        await fails_with(InvalidName, place.origin, bucket, key)
        assert type(await head_error(place.origin, bucket, key)) is InvalidName


async def check_refusal(place: Place) -> None:
    """A sink that gives no buffer ends the read with its own error, and the origin goes on."""
    data = pattern(5, 300_000)
    place.put("bucket", "refused", data)
    for refusal, kind in ((ArenaFull("full"), ArenaFull), (RuntimeError("bug"), InternalError)):
        sink = RecordingSink(refusal=refusal)
        reading = Reading(place.origin, "bucket", "refused", sink=sink)
        assert type(await reading.wait()) is kind
        assert sink.calls == ["begin"]
    assert await reads(place.origin, "bucket", "refused") == data


async def check_cancel_at_once(place: Place) -> None:
    data = pattern(6, 2_000_000)
    place.put("bucket", "cancelled", data)
    readings = [Reading(place.origin, "bucket", "cancelled", length=4 << 20) for _ in range(20)]
    for reading in readings:
        reading.cancel()
        reading.cancel()
    for reading in readings:
        await reading.settle_cancelled()
    assert await reads(place.origin, "bucket", "cancelled", length=4 << 20) == data


async def check_cancel_after_a_while(place: Place) -> None:
    data = pattern(7, 3_000_000)
    place.put("bucket", "cancelled", data)
    for turns in range(0, 40, 3):
        reading = Reading(place.origin, "bucket", "cancelled", length=4 << 20)
        for _ in range(turns):
            await asyncio.sleep(0.0003)
        was_done = bool(reading.outcomes)
        reading.cancel()
        if not was_done:
            await reading.settle_cancelled()
        assert len(reading.outcomes) == was_done
    assert await reads(place.origin, "bucket", "cancelled", length=4 << 20) == data


async def check_cancel_from_callbacks(place: Place) -> None:
    data = pattern(8, 3_000_000)
    place.put("bucket", "cancelled", data)
    for hook in ("on_begin", "on_advanced"):
        sink = RecordingSink()
        readings: list[Reading] = []
        setattr(sink, hook, lambda readings=readings: readings[0].cancel())
        readings.append(Reading(place.origin, "bucket", "cancelled", length=4 << 20, sink=sink))
        while "begin" not in sink.calls:
            await asyncio.sleep(0.001)
        await readings[0].settle_cancelled()
    assert await reads(place.origin, "bucket", "cancelled", length=4 << 20) == data


async def check_cancel_when_done(place: Place) -> None:
    place.put("bucket", "done", b"done")
    reading = Reading(place.origin, "bucket", "done")
    assert await reading.data() == b"done"
    reading.cancel()
    await asyncio.sleep(0.01)
    assert reading.outcomes == [None]
    reading.sink.verify()


async def check_many_at_a_time(place: Place) -> None:
    data = pattern(9, 1_000_003)
    place.put("bucket", "large", data)
    ranges = [(offset * 15_000, 15_000 + offset * 997) for offset in range(64)]
    readings = [Reading(place.origin, "bucket", "large", offset, length) for offset, length in ranges]
    for reading, (offset, length) in zip(readings, ranges, strict=True):
        assert await reading.data() == data[offset : offset + length]
    assert all(reading.outcomes == [None] for reading in readings)


async def check_begin_from_done(place: Place) -> None:
    """A new read may be begun from inside ``on_done``, and is not called back before begin returned."""
    place.put("bucket", "again", b"again")
    origin, sinks, outcomes = place.origin, [RecordingSink() for _ in range(20)], []
    finished = asyncio.Event()

    def go_on(read: BlockRead | None, error: CashyError | None) -> None:
        outcomes.append(error)
        if len(outcomes) > len(sinks):
            finished.set()
            return
        sink = sinks[len(outcomes) - 1]
        sink.may_call = False
        origin.begin_read_block(BlockRead("bucket", "again", 0, 4096, None, sink, go_on))
        sink.may_call = True

    go_on(None, None)
    await asyncio.wait_for(finished.wait(), PATIENCE_S)
    assert outcomes == [None] * 21
    for sink in sinks:
        sink.verify()
        assert sink.data == b"again"


async def check_close(place: Place) -> None:
    data = pattern(10, 2_000_000)
    place.put("bucket", "closing", data)
    readings = [Reading(place.origin, "bucket", "closing", length=4 << 20) for _ in range(8)]
    await asyncio.sleep(0.002)
    await place.origin.close()
    for reading in readings:
        error = await reading.wait()
        assert error is None or type(error) is OriginUnavailable, repr(error)
    await fails_with(OriginUnavailable, place.origin, "bucket", "closing")
    await place.origin.close()


async def check_counters(place: Place) -> None:
    place.put("bucket", "counted", b"12345")
    await reads(place.origin, "bucket", "counted")
    counters = place.origin.counters()
    assert counters["reads_total"] == 1
    assert all(type(value) is int and value >= 0 for value in counters.values())


Check = Callable[[Place], Awaitable[None]]
CHECKS: dict[str, Check] = {
    name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")
}
