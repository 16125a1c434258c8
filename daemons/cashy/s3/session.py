"""What the worker needs of the host's cache, as types; ``cashy.client.session.AsyncSession`` has it.

Law: only shapes, so that the worker is written and tested against what it may rely on, and not against an implementation. All calls are
made on the worker's loop. The rule behind :class:`Pin` is the whole point: its bytes stay as they are until ``release``, and from then on
may be another object's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol

from cashy.client.meta import Meta

__all__ = ["Fetch", "FetchedBlock", "Pin", "Session"]


class Pin(Protocol):
    """A block held in shared memory. ``length`` is its final size."""

    @property
    def length(self) -> int:
        """Final size in bytes."""
        ...

    @property
    def view(self) -> memoryview:
        """The bytes that have arrived so far, read-only."""
        ...

    def release(self) -> None:
        """Lets go; again does nothing."""
        ...


class FetchedBlock(Protocol):
    """A block that was asked for; it may still be filling."""

    @property
    def index(self) -> int:
        """Number of the block in its object, from 0."""
        ...

    @property
    def pin(self) -> Pin:
        """Belongs to whoever takes the block."""
        ...

    async def wait_beyond(self, count: int, /) -> int:
        """Waits until more than ``count`` bytes are there, or all; gives how many. Raises ``CashyError``."""
        ...


class Fetch(Protocol):
    """A request for blocks; leaving it lets go of what was not taken and ends what is under way."""

    async def __aenter__(self) -> Fetch: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def meta(self) -> Meta:
        """The object's metadata; raises ``CashyError``."""
        ...

    def __aiter__(self) -> AsyncIterator[FetchedBlock]: ...


class Session(Protocol):
    """The cache of this host."""

    def lookup(self, name: str) -> Meta | None:
        """Fresh metadata from shared memory, None if there is none; the same object while nothing has changed."""
        ...

    def pin(self, meta: Meta, index: int, wanted_bytes: int | None = None) -> Pin | None:
        """Holds a complete block, None if it is not here; ``wanted_bytes`` as of :meth:`cashy.client.reader.LocalArena.pin_block`."""
        ...

    async def stat(self, name: str, *, revalidate: bool = False, may_be_stale: bool = False) -> Meta:
        """Metadata, asked of the daemon if need be; raises ``CashyError``. As :meth:`cashy.client.session.AsyncSession.stat`."""
        ...

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
    ) -> Fetch:
        """Blocks to be brought here; ``content_id`` None takes any version. To be entered.

        ``caller``: whose request it is for; callers take turns. ``deadline_ms``: it fails when so much time has passed, 0: never.
        """
        ...

    async def close(self) -> None:
        """Lets go of everything."""
        ...
