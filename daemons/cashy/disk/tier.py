"""The SSD tier: several disks as one. All methods are for the master's loop, and none blocks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cashy.core.disk_health import DiskState
from cashy.core.disk_index import Place
from cashy.disk.disk import Disk
from cashy.disk.errors import DiskError
from cashy.disk.options import DiskOptions
from cashy.disk.task import Task
from cashy.errors import CashyError

__all__ = ["DiskBlock", "DiskOptions", "DiskRead", "DiskTier"]

_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class DiskBlock:
    """A block that was on a disk a moment ago; to be read soon or not at all."""

    digest: bytes
    length: int
    disk: Disk
    place: Place


class DiskRead:
    """A read under way."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def cancel(self) -> None:
        """``done`` is not called any more; ``detached`` still is, when no thread will write into the buffer."""
        self._task.is_dropped = self._task.is_cancelled = True


class DiskTier:
    """Of one host. A block lies on one disk at most, chosen by its digest and the disks' sizes."""

    def __init__(
        self, disks: Sequence[DiskOptions], *, block_bytes: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.disks = [Disk(options, block_bytes=block_bytes, now=now) for options in disks]
        self._size_bytes = sum(options.size_bytes for options in disks)
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the disks; returns at once, blocks are there when a disk has recovered. Needs the running loop."""
        self._keeper = asyncio.get_running_loop().create_task(self._keep())
        for disk in self.disks:
            disk._spawn(disk.open())

    async def close(self) -> None:
        """Ends all work; what hangs is left behind."""
        if self._keeper is not None:
            self._keeper.cancel()
        await asyncio.gather(*(disk.close() for disk in self.disks))

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            for disk in self.disks:
                disk.look_after()

    def find(self, digest: bytes) -> DiskBlock | None:
        """Looks in memory alone: whether a disk in use holds the block."""
        for disk in self.disks:
            place = disk.find(digest)
            if place is not None:
                return DiskBlock(digest, place.length, disk, place)
        return None

    def read(
        self,
        block: DiskBlock,
        buffer: memoryview,
        done: Callable[[CashyError | None, int], None],
        detached: Callable[[], None],
    ) -> DiskRead:
        """Reads a block into ``buffer``, which has its length. ``done(None, crc32c)``: name, length and checksum were right.

        Any error means: ask the next tier. It comes within ``READ_S_MAX``, also of a disk that hangs; only then ``detached`` comes after it, when the
        thread has come back (perhaps never). Neither is called before this returns.
        """
        return DiskRead(block.disk.read(block.place, block.digest, buffer, done, detached))

    async def open(self, block: DiskBlock) -> int:
        """A read-only descriptor, the caller's to close, whose first ``length`` bytes are the block's: checked just now, never changed.

        Raises a CashyError: ask the next tier.
        """
        return await block.disk.open_block(block.place, block.digest)

    def wants(self, digest: bytes, length: int, *, uses: int) -> bool:
        """Whether the block should be written now; ``uses``: how often it was read since it came. To be asked once for each time it may go."""
        return (
            bool(self.disks) and self.find(digest) is None and self._home(digest).wants(digest, length, uses)
        )

    def write(
        self, digest: bytes, length: int, crc: int, data: memoryview, done: Callable[[bool], None]
    ) -> None:
        """Writes a block that is wanted. ``data`` is needed until ``done``, which is called once, later, and says whether it is there."""
        self._home(digest).write(digest, length, crc, data, done)

    def forget(self, digest: bytes) -> None:
        """The block goes, if it is here; if it is being written, when it is written (its ``done`` says False)."""
        for disk in self.disks:
            disk.forget_block(digest)

    def is_recovering(self, digest: bytes) -> bool:
        """Whether the disk a block belongs to is being read in: it has no blocks, and takes none, until that is over."""
        return bool(self.disks) and self._home(digest).health.state is DiskState.RECOVERING

    def _home(self, digest: bytes) -> Disk:
        """The disk a block belongs to: by its digest, in proportion to their sizes."""
        at = int.from_bytes(digest[12:16], "little") * self._size_bytes >> 32
        for disk in self.disks:
            at -= disk.options.size_bytes
            if at < 0:
                return disk
        raise DiskError("there is no disk")

    # --- figures ---

    @property
    def block_count(self) -> int:
        """Blocks on all disks in use."""
        return sum(disk.block_count for disk in self.disks)

    def counters(self) -> dict[str, int]:
        """Totals, ``disk.<folder>.<name>_total``."""
        return {
            f"disk.{disk.folder}.{key}": value
            for disk in self.disks
            for key, value in disk.counters().items()
        }

    def levels(self) -> dict[str, int]:
        """Figures of the moment, ``disk.<folder>.<name>``."""
        return {
            f"disk.{disk.folder}.{key}": value for disk in self.disks for key, value in disk.levels().items()
        }

    def states(self) -> dict[str, tuple[str, str]]:
        """By folder: the state's name, and what went wrong last."""
        return {str(disk.folder): (disk.health.state.value, disk.health.reason) for disk in self.disks}
