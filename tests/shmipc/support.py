"""An arena with a simple allocator, and clients of it, for tests: equal cells, one slot each."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.readable import readable

from shmipc.arena import ArenaOwner, ArenaReader, Hit, SlotFields
from shmipc.instance import Instance
from shmipc.layout import PAGE_BYTES
from shmipc.pins import PinTable
from shmipc.segment import SHM_FOLDER, Segment
from shmipc.view import Piece, slot_view, spanning_view

__all__ = [
    "FAMILY",
    "CellArena",
    "Client",
    "descriptor_count",
    "digest_of",
    "in_child",
    "leftovers",
    "pattern",
    "remove_instance",
    "run_harness",
]

#: Prefix of everything that these tests make in shared memory.
FAMILY = "shmipctest"


def digest_of(number: int) -> bytes:
    """A key, as an application would make one."""
    return hashlib.blake2b(number.to_bytes(8, "little"), digest_size=32).digest()


def pattern(digest: bytes, generation: int, length: int) -> bytes:
    """Contents of a block whose every word tells whose it is: 32 bytes of (digest, generation), repeated."""
    word = hashlib.blake2b(digest + generation.to_bytes(8, "little"), digest_size=32).digest()
    return (word * (length // len(word) + 1))[:length]


def leftovers() -> list[str]:
    """What tests have left in shared memory."""
    return sorted(name for name in os.listdir(SHM_FOLDER) if FAMILY in name)


def remove_instance(name: str) -> None:
    """Removes all that an instance of the test family has in shared memory, owned or not."""
    instance = Instance(FAMILY, name)
    if instance.folder.is_symlink():
        instance.folder.unlink()
    instance.remove()


def descriptor_count() -> int:
    """Open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def in_child(work: Callable[[], object], timeout_s: float = 60.0) -> int:
    """Forks, runs ``work`` in the child, and gives the exit code: 0, 1 if it raised (the traceback goes to stderr), -9 if it took too long."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    ended = os.pidfd_open(pid)
    try:
        if not readable(ended, timeout_s=timeout_s):
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(ended)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class CellArena:
    """An :class:`ArenaOwner` of ``cells`` cells of ``cell_bytes``, and ``spare_slots`` slots more than cells."""

    def __init__(
        self, instance: Instance, *, cells: int = 8, cell_bytes: int = PAGE_BYTES, spare_slots: int = 0
    ) -> None:
        self.instance = instance
        self.cell_bytes = cell_bytes
        self.owner, self.adopted = ArenaOwner.open(
            instance, data_bytes=cells * cell_bytes, slab_bytes=cell_bytes, slot_count=cells + spare_slots
        )
        first = self.owner.geometry.data_offset
        cells_all = [first + cell * cell_bytes for cell in range(cells)]
        in_use = [*self.owner.ready_slots(), *self.owner.retired_slots()]
        taken = {self.owner.fields(slot).offset for slot in in_use}
        assert len(taken) == len(in_use), "two slots share a cell"
        self.free_cells = [offset for offset in cells_all if offset not in taken]

    def lease(self, digest: bytes, length: int | None = None) -> int:
        """A FILLING slot."""
        length = self.cell_bytes if length is None else length
        return self.owner.lease(digest, self.free_cells.pop(), self.cell_bytes, length)

    def write(self, slot: int) -> None:
        """Fills a slot with its pattern."""
        fields = self.owner.fields(slot)
        with self.owner.content(slot) as content:
            content[:] = pattern(fields.digest, self.owner.generation(slot), fields.length)

    def fill(self, digest: bytes, length: int | None = None) -> int:
        """A READY slot with its pattern."""
        slot = self.lease(digest, length)
        self.write(slot)
        self.owner.publish(slot, crc=0)
        return slot

    def give_back(self, freed: list[SlotFields]) -> int:
        """Cells of freed slots may be used again; how many there were."""
        self.free_cells.extend(fields.offset for fields in freed)
        return len(freed)

    def evict(self, *slots: int) -> list[int]:
        """Tries to free READY slots; gives those that are held."""
        freed, held = self.owner.evict(slots)
        self.give_back(freed)
        return held

    def reclaim_retired(self) -> int:
        """How many RETIRED slots became free."""
        return self.give_back(self.owner.reclaim_retired())

    def refill_everything(self, first_number: int) -> list[int]:
        """Evicts all that can be evicted and fills every free cell anew."""
        self.evict(*self.owner.ready_slots())
        self.reclaim_retired()
        return [self.fill(digest_of(first_number + n)) for n in range(len(self.free_cells))]

    def client(self, **options: int) -> Client:
        """A client in this process."""
        return Client(self.owner, **options)

    def close(self) -> None:
        """As at the owner's end: the arena stays."""
        self.owner.close()


class Client:
    """A reader with its table, as after the handshake."""

    def __init__(self, owner: ArenaOwner, *, pin_bytes_max: int = 1 << 40) -> None:
        self.serial, fd = owner.tables.create()
        self.reader = ArenaReader(Segment.from_fd(owner.segment.read_only_fd()), owner.arena_id)
        self.table = PinTable(fd, owner.arena_id, pin_bytes_max=pin_bytes_max)

    def pin(self, digest: bytes) -> Hit | None:
        """A pinned slot, or None."""
        return self.reader.pin(self.table, digest)

    def view(self, digest: bytes) -> memoryview:
        """A view of a READY slot that keeps its pin."""
        hit = self.pin(digest)
        assert hit is not None
        fields, table = hit.fields, self.table
        return slot_view(
            self.reader.address + fields.offset,
            fields.capacity,
            fields.length,
            lambda: table.unpin(hit.entry),
            self.reader,
        )

    def spanning(self, digests: list[bytes]) -> memoryview:
        """One contiguous view of several READY slots."""
        hits = [self.pin(digest) for digest in digests]
        pieces = [Piece(hit.fields.offset, hit.fields.length) for hit in hits if hit is not None]
        assert len(pieces) == len(digests)
        table = self.table

        def release() -> None:
            for hit in hits:
                assert hit is not None
                table.unpin(hit.entry)

        return spanning_view(self.reader.segment.fd, pieces, release)

    def bytes_of(self, hit: Hit) -> bytes:
        """A copy of a pinned slot's bytes."""
        memory: mmap.mmap = self.reader.segment.memory
        return memory[hit.fields.offset : hit.fields.offset + hit.fields.length]

    def close(self) -> None:
        """Takes no more pins; the table goes with the last view."""
        self.table.close_when_unused()
        self.reader.close()


def run_harness(module: str, *arguments: str, timeout_s: float) -> dict[str, int]:
    """Runs a harness of this folder as a process group of its own and gives its result; an error or a hang fails the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.shmipc.{module}", *arguments],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    finally:
        for name in leftovers():
            if f".{process.pid}-" in name:
                remove_instance(name.split(".")[2])
    assert process.returncode == 0, errors
    result: dict[str, int] = json.loads(output)
    print(errors, result)  # the seed, shown by pytest on failure
    return result
