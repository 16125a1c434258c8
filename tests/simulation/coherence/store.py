"""A model of an S3 store: strongly consistent, slow at times, answers lost at times; and the origin interface to it.

A request is worked on at one instant, in between it travels. Its answer may be lost, and so may it; it may also arrive long after its sender has
given up. A body comes in pieces, of the version that there was at that instant.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from cashy.errors import (
    AccessDenied,
    CashyError,
    NoSuchObject,
    OriginTimeout,
    OriginUnavailable,
    SlowDown,
    VersionChanged,
)
from cashy.origin.base import BlockRead, ListedPage, ObjectMeta, Origin

from .loop import SimulatedLoop
from .model import KeyHistory, Version
from .process import NS, Process, current_process

__all__ = [
    "BLOCK_BYTES",
    "BUCKET",
    "ModelStore",
    "SimulatedOrigin",
    "StoreFaults",
    "content_bytes",
    "size_of",
]

BUCKET = "bucket"
#: The smallest there are.
BLOCK_BYTES = 64 << 10
_TIMEOUT_S = 6.0
_PIECE_BYTES = 16_384
_SIZES = (0, 40, 700, 5000, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES + 900)


def size_of(content: int) -> int:
    """Bytes of a content: sizes come round."""
    return _SIZES[content % len(_SIZES)]


@lru_cache(maxsize=512)
def content_bytes(content: int) -> bytes:
    """The bytes of one content: every 16 of them say of which, and where they belong."""
    size_bytes = size_of(content)
    head = b"%07d" % content
    return b"".join(head + b"%09d" % at for at in range(0, size_bytes + 16, 16))[:size_bytes]


@dataclass
class StoreFaults:
    """How the store behaves at present; shares are of requests."""

    latency_ms: float = 4.0
    #: Share of requests that take up to ``slow_s`` longer, on the way there, or back, or between pieces.
    slow_share: float = 0.02
    slow_s: float = 3.0
    error_share: float = 0.0
    #: Share of writes whose answer is lost though they are applied, now or later.
    lost_share: float = 0.02


class ModelStore:
    """One store, of all hosts."""

    def __init__(self, loop: SimulatedLoop, seed: int, say: Callable[[str, str], None]) -> None:
        self.loop = loop
        self.faults = StoreFaults()
        self.histories: dict[str, KeyHistory] = {}
        self.requests = 0
        #: Writes that have been sent and have not arrived.
        self.under_way = 0
        self._draw = random.Random(f"store {seed}")
        self.say = say

    def history(self, key: str) -> KeyHistory:
        if key not in self.histories:
            self.histories[key] = KeyHistory(key)
        return self.histories[key]

    def meta(self, key: str) -> ObjectMeta:
        """What a HEAD says now. Raises ``NoSuchObject``."""
        self.requests += 1
        version = self.history(key).current
        if version.is_absent:
            raise NoSuchObject(f"no object {key}")
        return ObjectMeta(
            version=f'"{version.content}"',
            size_bytes=size_of(version.content),
            last_modified=float(version.number),
            user_metadata=(("number", str(version.number)),),
        )

    def travel_ns(self) -> int:
        """How long a message to or from the store takes."""
        faults = self.faults
        seconds = faults.latency_ms / 1000 * (0.2 + self._draw.random() * 1.6)
        if self._draw.random() < faults.slow_share:
            seconds += self._draw.random() * faults.slow_s
        return int(seconds * NS)

    def refusal(self) -> CashyError | None:
        """The error that a request ends with by chance."""
        if self._draw.random() >= self.faults.error_share:
            return None
        return self._draw.choice((SlowDown, OriginUnavailable, OriginTimeout))("the store fails for a while")

    # --- writes ---

    async def write(self, versions: list[Version], copy_of: str | None = None) -> None:
        """Sends a write; returns when the store says it is done. Raises ``OriginTimeout`` where nobody knows, ``SlowDown`` where it was refused."""
        process = current_process()
        assert process is not None
        done = self.loop.create_future()
        is_lost = self._draw.random() < self.faults.lost_share
        there_ns = self.travel_ns()
        if is_lost and self._draw.random() < 0.5:  # it lingers somewhere, and its sender gives up before
            there_ns += int(self._draw.random() * 10 * NS)
        self.under_way += 1
        self.loop.call_in(self.loop.world, there_ns, self._apply, process, versions, copy_of, done, is_lost)
        timer = self.loop.call_later(_TIMEOUT_S, _set_error, done, OriginTimeout("the store does not answer"))
        try:
            await done
        finally:
            timer.cancel()

    def _apply(
        self, process: Process, versions: list[Version], copy_of: str | None, done: Any, is_lost: bool
    ) -> None:
        self.under_way -= 1
        refusal = self.refusal()
        if copy_of is not None and self.history(copy_of).current.is_absent:
            refusal = refusal or NoSuchObject(f"no object {copy_of}")
        if refusal is None:
            for version in versions:
                self._apply_one(version, copy_of)
        if not is_lost:
            self.loop.call_in(process, self.travel_ns(), _set_error, done, refusal)

    def _apply_one(self, version: Version, copy_of: str | None) -> None:
        if copy_of is not None:
            version.content = self.history(copy_of).current.content
        self.history(version.key).apply(version, self.loop.true_ns)
        self.say(version.key, f"store: applies {version} of {version.writer}")


def _set_error(done: Any, error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


class _Get:
    """A read on its way, as the origin's client sees it."""

    def __init__(self, read: BlockRead) -> None:
        self.read = read
        self.is_over = False
        self.buffer: memoryview | None = None
        self.heard_ns = 0

    def end(self, error: CashyError | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        self.detach()
        self.read.on_done(self.read, error)

    def detach(self) -> None:
        if self.buffer is not None:
            self.buffer = None
            self.read.sink.detached()


class SimulatedOrigin(Origin):
    """The model store as one master's origin."""

    def __init__(self, name: str, store: ModelStore, process: Process) -> None:
        self.name = name
        self._store = store
        self._loop = store.loop
        self._process = process

    def begin_read_block(self, read: BlockRead) -> None:
        get = read.state = _Get(read)
        self._loop.call_in(self._loop.world, self._store.travel_ns(), self._work_on, get)
        self._loop.call_later(3 * _TIMEOUT_S, self._give_up, get)

    def _give_up(self, get: _Get) -> None:
        get.end(OriginTimeout("the store is silent"))

    def _work_on(self, get: _Get) -> None:
        """At the store, at one instant."""
        read, store = get.read, self._store
        error: CashyError | None = store.refusal()
        try:
            meta = store.meta(read.key)
            if read.expected_version not in (None, meta.version):
                error = error or VersionChanged("the precondition failed")
        except NoSuchObject as missing:
            error = error or missing
        if error is not None:
            self._loop.call_in(self._process, store.travel_ns(), get.end, error)
            return
        version = store.history(read.key).current
        data = content_bytes(version.content)[read.offset : read.offset + read.length]
        self._loop.call_in(self._process, store.travel_ns(), self._begin, get, meta, data)

    def _begin(self, get: _Get, meta: ObjectMeta, data: bytes) -> None:
        if get.is_over:
            return
        try:
            get.buffer = get.read.sink.begin(meta, len(data))
        except CashyError as error:
            get.end(error)
            return
        if get.is_over:  # cancelled from inside
            get.detach()
            return
        self._arrive(get, data, 0)

    def _arrive(self, get: _Get, data: bytes, at: int) -> None:
        if get.is_over:
            return
        if at < len(data) and self._store.faults.error_share and self._store.refusal():
            get.end(OriginUnavailable("the connection to the store broke"))
            return
        assert get.buffer is not None
        end = min(len(data), at + _PIECE_BYTES)
        get.buffer[at:end] = data[at:end]
        if end > at:
            get.read.sink.advanced(end)
        if get.is_over:
            return
        if end == len(data):
            get.end(None)
        else:
            self._loop.call_in(self._process, self._store.travel_ns() // 4, self._arrive, get, data, end)

    def cancel_read_block(self, read: BlockRead) -> None:
        get = read.state
        if isinstance(get, _Get) and not get.is_over:
            get.is_over = True
            get.detach()

    async def list_page(
        self, bucket: str, prefix: str, *, folds: bool, token: str, entries_max: int
    ) -> ListedPage:
        raise AccessDenied("the model store has no listing: coherence says nothing of them")

    async def head(self, bucket: str, key: str) -> ObjectMeta:
        done = self._loop.create_future()
        self._loop.call_in(self._loop.world, self._store.travel_ns(), self._head, key, done)
        timer = self._loop.call_later(
            _TIMEOUT_S, _set_error, done, OriginTimeout("the store does not answer")
        )
        try:
            await done
        finally:
            timer.cancel()
        result: ObjectMeta = done.result()
        return result

    def _head(self, key: str, done: Any) -> None:
        answer: Callable[[], None]
        try:
            refusal = self._store.refusal()
            if refusal is not None:
                raise refusal
            answer = partial(_set_result, done, self._store.meta(key))
        except CashyError as error:
            answer = partial(_set_error, done, error)
        self._loop.call_in(self._process, self._store.travel_ns(), answer)

    async def close(self) -> None:
        """There is nothing to close."""

    def counters(self) -> dict[str, int]:
        return {}


def _set_result(done: Any, result: object) -> None:
    if not done.done():
        done.set_result(result)
