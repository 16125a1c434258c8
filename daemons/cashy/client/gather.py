"""One read: which blocks it needs, which of them are here, what to ask the daemon for next, and the bytes at the end. Sans-I/O.

Law: the rules of a read are here and nowhere else: that all its bytes are of one version; that a handle's version never changes;
that blocks which are here cost no message; that at most ``LocalArena.fetch_blocks_max`` blocks are asked for at once; that it gives
up instead of asking for ever. The pumps (threads: :mod:`cashy.client.cache`, asyncio: :mod:`cashy.client.aio`) only carry out::

    read.begin(arena)
    while (fetch := read.wanted()) is not None:
        # send fetch; for each answer: read.take(answer); at the end release it
    read.view()

If the connection breaks meanwhile, ``begin`` again with the arena of the new one.

Where the size is not known yet, the first request asks for the blocks of the range as if they were of the default size, at most one if the
range is open: the answer brings metadata and data in one round trip.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.deadline import NO_DEADLINE, Deadline
from cashy.client.limits import FETCH_ROUNDS_MAX, VERSION_RESTARTS_MAX
from cashy.client.meta import TIER_NAMES, Meta
from cashy.client.reader import LocalArena, Pin
from cashy.client.session_core import Answer, error_of
from cashy.client.tier_span import TierSpan
from cashy.core.names import parse_name
from cashy.errors import ArenaFull, InternalError, TooLarge, VersionChanged, ViewTooLarge
from cashy.limits import MAPPED_BLOCKS_MAX

__all__ = ["Gather", "GatherInto", "GatherView"]


class Gather(ABC):
    """A read of ``[offset, offset + length)`` of ``name``, cut at the object's end; ``length`` None = up to the end.

    ``meta`` with ``keep_version`` makes it a read of exactly that version (:class:`~cashy.errors.VersionChanged` if it cannot be had any more).
    With a ``deadline`` each request says how much of it is left.
    """

    def __init__(
        self,
        name: str,
        offset: int = 0,
        length: int | None = None,
        *,
        meta: Meta | None = None,
        keep_version: bool = False,
        stream: int = 0,
        deadline: Deadline = NO_DEADLINE,
    ) -> None:
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"offset and length must not be negative: {offset}, {length}")
        self.name = name
        self.meta = meta
        self.deadline = deadline
        self.tiers: Counter[str] = Counter()
        self._offset, self._length = offset, length
        self._keep_version = keep_version
        self._stream = stream
        self._version_restarts = 0
        self._rounds = 0
        self._got_any = False
        self._have: set[int] = set()

    # --- what the collectors below do ---

    @abstractmethod
    def _prepare(self, size_bytes: int) -> None:
        """The range is known to have ``size_bytes`` bytes."""

    @abstractmethod
    def _take_local(self, meta: Meta, index: int) -> bool:
        """Takes a block that is here; False if it is not."""

    @abstractmethod
    def _take_announced(self, meta: Meta, ready: pb.BlockReady) -> bool:
        """Takes a block that the daemon announced; False if it has gone since."""

    def _take_mapped(self, meta: Meta, ready: pb.BlockReady, descriptor: int) -> bool:
        """Takes a block out of a file of the SSD, which is the caller's to close; False if it was not wanted so."""
        return False

    @property
    def _is_mapped(self) -> bool:
        """Whether blocks are asked for as files of the SSD."""
        return False

    def drop(self) -> None:
        """Lets go of everything collected so far."""
        self._have.clear()
        self.tiers.clear()

    # --- the read ---

    def begin(self, arena: LocalArena) -> None:
        """Begins (again) on ``arena``."""
        self.drop()
        self.arena = arena
        if not self._keep_version:
            self.meta = arena.lookup(self.name)
        if self.meta is not None:
            self._prepare(self._size(self.meta))

    def wanted(self) -> pb.Fetch | None:
        """What to ask the daemon for next; None: the read is complete.

        Raises :class:`~cashy.errors.PinQuotaExceeded`, :class:`~cashy.errors.ViewTooLarge`, :class:`~cashy.client.reader.TableLost`.
        """
        if self.meta is None:
            return self._first_fetch()
        missing = self._missing(self.meta)
        if not missing:
            return None
        self._count_round()
        count = min(missing[-1] - missing[0] + 1, self._fetch_blocks_max)
        return pb.Fetch(
            name=self._canonical,
            first_block=missing[0],
            block_count=count,
            content_id=self.meta.content_id,
            stream=self._stream,
            deadline_ms=self.deadline.left_ms(self.name),
            mapped=self._is_mapped,
        )

    @property
    def _fetch_blocks_max(self) -> int:
        return MAPPED_BLOCKS_MAX if self._is_mapped else self.arena.fetch_blocks_max

    def _first_fetch(self) -> pb.Fetch:
        self._count_round()
        block_bytes = self.arena.block_bytes
        first = self._offset // block_bytes
        count = 1 if not self._length else -(-(self._offset + self._length) // block_bytes) - first
        return pb.Fetch(
            name=self._canonical,
            first_block=first,
            block_count=min(count, self.arena.fetch_blocks_max),
            stream=self._stream,
            deadline_ms=self.deadline.left_ms(self.name),
        )

    @property
    def _canonical(self) -> str:
        return parse_name(self.name).url

    def _count_round(self) -> None:
        self._rounds = 0 if self._got_any else self._rounds + 1
        self._got_any = False
        if self._rounds > FETCH_ROUNDS_MAX:
            raise ArenaFull(
                f"blocks of {self.name} were announced {FETCH_ROUNDS_MAX} times and were gone before they could be used: "
                "the daemon's memory is too small for what is read at present"
            )

    def _missing(self, meta: Meta) -> list[int]:
        missing: list[int] = []
        for index in self._range(meta):
            if index in self._have:
                continue
            if missing and index - missing[0] >= self._fetch_blocks_max:
                break
            if self._take_local(meta, index):
                self._note(index, pb.TIER_LOCAL_MEMORY)
            else:
                missing.append(index)
        return missing

    def take(self, answer: Answer) -> None:
        """Takes in one answer to the last request; raises what the daemon reports."""
        try:
            self._take(answer)
        finally:
            for descriptor in answer.descriptors:
                os.close(descriptor)

    def _take(self, answer: Answer) -> None:
        body = answer.body
        if isinstance(body, pb.BlockReady):
            meta = self.meta
            if meta is None:
                raise InternalError("the daemon announced a block before its object: a bug")
            if (
                body.block in self._range(meta)
                and body.block not in self._have
                and self._take_ready(meta, body, answer.descriptors)
            ):
                self._note(body.block, body.tier)
        elif isinstance(body, pb.ObjectInfo):
            self._meet(Meta.from_info(self._canonical, body))
        elif isinstance(body, pb.Failure):
            self._fail(body)

    def _take_ready(self, meta: Meta, ready: pb.BlockReady, descriptors: Sequence[int]) -> bool:
        if ready.mapped:
            return self._take_mapped(meta, ready, descriptors[0])
        return self._take_announced(meta, ready)

    def _meet(self, meta: Meta) -> None:
        """The daemon says which version it reads from."""
        if self.meta is None:
            self.meta = meta
            self._prepare(self._size(meta))
        elif self.meta.content_id != meta.content_id:
            raise InternalError(
                f"the daemon answered with another version of {self.name} than was asked for: a bug"
            )

    def _fail(self, failure: pb.Failure) -> None:
        error = error_of(failure)
        if self._is_mapped and isinstance(error, TooLarge):
            raise ViewTooLarge(f"{error}. Use blocks(), or read() in windows") from error
        if not isinstance(error, VersionChanged) or self._keep_version:
            raise error
        self._version_restarts += 1
        if self._version_restarts > VERSION_RESTARTS_MAX:
            raise error
        self.drop()  # nothing of the old version is mixed with the new one
        self.meta = None

    def _note(self, index: int, tier: int) -> None:
        self._have.add(index)
        self._got_any = True
        self.tiers[TIER_NAMES.get(tier, "elsewhere")] += 1

    def _bounds(self, meta: Meta) -> tuple[int, int]:
        start = min(self._offset, meta.size_bytes)
        stop = meta.size_bytes if self._length is None else min(start + self._length, meta.size_bytes)
        return start, stop

    def _size(self, meta: Meta) -> int:
        start, stop = self._bounds(meta)
        return stop - start

    def _bytes_in(self, meta: Meta, index: int) -> int:
        """How much of the range lies in a block."""
        start, stop = self._bounds(meta)
        block_at = index * meta.block_bytes
        return min(stop, block_at + meta.block_bytes) - max(start, block_at)

    @property
    def size_bytes(self) -> int:
        """How many bytes the range has; known when ``wanted`` has returned None."""
        assert self.meta is not None
        return self._size(self.meta)

    def _range(self, meta: Meta) -> range:
        start, stop = self._bounds(meta)
        if start == stop:
            return range(0)
        return range(start // meta.block_bytes, -(-stop // meta.block_bytes))


class GatherView(Gather):
    """A read that ends in one contiguous read-only view, without a copy where this process can pin.

    One that needs more memory pinned than this client may pin spans tiers, if the host has an SSD (:mod:`cashy.client.tier_span`).
    """

    _pins: dict[int, Pin]
    _span: TierSpan | None = None
    #: How much is wanted of the blocks that may be wanted in part: the first and the last.
    _cut: dict[int, int]

    def drop(self) -> None:
        """Drops the pins collected so far."""
        super().drop()
        for pin in getattr(self, "_pins", {}).values():
            pin.release()
        self._pins = {}
        if self._span is not None:
            self._span.drop()
            self._span = None

    def _prepare(self, size_bytes: int) -> None:
        meta = self.meta
        assert meta is not None
        indices = self._range(meta)
        pinned = len(indices) * meta.block_bytes
        if size_bytes > self.arena.pin_bytes_max or (pinned > self.arena.pin_bytes_max and len(indices) > 1):
            if not self.arena.mapped_bytes_max:
                raise ViewTooLarge(
                    f"a view of {size_bytes:,} bytes of {self.name} needs {pinned:,} bytes pinned at once, and this client may pin "
                    f"{self.arena.pin_bytes_max:,}: use blocks(), or read() in windows"
                )
            self._span = TierSpan(self.arena, meta, indices)
        self._cut = {index: self._bytes_in(meta, index) for index in {*indices[:1], *indices[-1:]}}

    @property
    def _is_mapped(self) -> bool:
        return self._span is not None

    def _take_local(self, meta: Meta, index: int) -> bool:
        if self._span is not None and not self._span.may_pin:
            return False
        return self._keep(index, self.arena.pin_block(meta, index, self._cut.get(index)))

    def _take_announced(self, meta: Meta, ready: pb.BlockReady) -> bool:
        if self._span is not None and not self._span.may_pin:
            return False
        return self._keep(
            ready.block, self.arena.pin_announced(meta, ready.block, ready.slot, ready.generation)
        )

    def _take_mapped(self, meta: Meta, ready: pb.BlockReady, descriptor: int) -> bool:
        if self._span is None:
            return False
        self._span.take_file(ready, descriptor)
        return True

    def _keep(self, index: int, pin: object) -> bool:
        if pin is None:
            return False
        assert isinstance(pin, Pin)
        if self._span is not None:
            self._span.take_pin(index, pin)
        else:
            self._pins[index] = pin
        return True

    def as_copy(self) -> GatherInto:
        """The same read as a copy, for where there can be no further mappings; this one lets go of everything."""
        self.drop()
        return GatherInto(
            self.name,
            self._offset,
            self._length,
            meta=self.meta,
            keep_version=self._keep_version,
            stream=self._stream,
            deadline=self.deadline,
        )

    def view(self) -> memoryview:
        """The bytes; the view takes over the pins. Call once, when ``wanted`` has returned None.

        Raises :class:`~cashy.errors.ViewTooLarge` where there can be no further mappings.
        """
        meta = self.meta
        assert meta is not None
        start, stop = self._bounds(meta)
        indices = self._range(meta)
        if not indices:
            return memoryview(b"")
        if self._span is not None:
            whole, self._span = self._span.view(), None
        else:
            whole = self.arena.export([self._pins[index] for index in indices])
        self._pins = {}
        at = start - indices.start * meta.block_bytes
        return whole[at : at + stop - start]


class GatherInto(Gather):
    """A read that ends in a verified copy: in ``target``, or in private memory that counts against the client's quota."""

    def __init__(
        self,
        name: str,
        offset: int = 0,
        length: int | None = None,
        *,
        target: memoryview | None = None,
        meta: Meta | None = None,
        keep_version: bool = False,
        stream: int = 0,
        deadline: Deadline = NO_DEADLINE,
    ) -> None:
        super().__init__(
            name, offset, length, meta=meta, keep_version=keep_version, stream=stream, deadline=deadline
        )
        self._given = target
        self._target: memoryview | None = target

    def _prepare(self, size_bytes: int) -> None:
        if self._given is None:
            self._target = memoryview(self.arena.private_bytes(size_bytes))

    def drop(self) -> None:
        """Lets go of private memory."""
        super().drop()
        self._target = self._given

    def _piece(self, meta: Meta, index: int) -> tuple[int, memoryview]:
        """From where in block ``index`` to copy, and whereto."""
        assert self._target is not None
        start, stop = self._bounds(meta)
        block_at = index * meta.block_bytes
        first, last = max(start, block_at), min(stop, block_at + meta.block_bytes)
        return first - block_at, self._target[first - start : last - start]

    def _take_local(self, meta: Meta, index: int) -> bool:
        start, piece = self._piece(meta, index)
        return self.arena.copy_block(meta, index, start, piece)

    def _take_announced(self, meta: Meta, ready: pb.BlockReady) -> bool:
        start, piece = self._piece(meta, ready.block)
        return self.arena.copy_announced(meta, ready.block, ready.slot, ready.generation, start, piece)

    def view(self) -> memoryview:
        """The copied bytes, read-only."""
        assert self._target is not None
        return self._target.toreadonly()[: self.size_bytes]
