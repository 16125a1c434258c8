"""Readers against an owner that evicts and refills as fast as it can: ``python -m tests.shmipc.race_harness READS [sound|unchecked]``, prints JSON.

``unchecked`` leaves the re-check out (step 3 of the pin protocol), to show that the test sees what it looks for; it stops at the first wrong read.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import sys
import traceback

from tests.shmipc.support import FAMILY, CellArena, digest_of, pattern, remove_instance

from shmipc.arena import ArenaReader, Hit
from shmipc.fence import register_reader
from shmipc.instance import Instance
from shmipc.pins import PinTable
from shmipc.segment import Segment

__all__ = ["Unchecked", "run"]

CELLS = 4
DIGESTS = [digest_of(number) for number in range(6)]
READERS = 2

READS, WRONG, FINISHED, FREED, FAILED = range(5)
WORDS_PER_READER = 8


class Unchecked(ArenaReader):
    """A reader that believes its first look at the slot's word: wrong, on purpose."""

    def _recheck(self, slot: int, word: int) -> bool:
        return True


def _is_whole(reader: ArenaReader, hit: Hit, digest: bytes) -> bool:
    fields = hit.fields
    found = reader.segment.memory[fields.offset : fields.offset + fields.length]
    return found == pattern(digest, hit.generation, fields.length)


def _read(
    arena: CellArena, table_fd: int, reads: int, words: memoryview[int], kind: type[ArenaReader]
) -> None:
    owner = arena.owner
    table = PinTable(table_fd, owner.arena_id, pin_bytes_max=1 << 30)
    reader = kind(Segment.from_fd(owner.segment.read_only_fd()), owner.arena_id)
    choose = random.Random(table_fd)
    parent = os.getppid()
    while words[READS] < reads and not (kind is Unchecked and words[WRONG]):
        assert os.getppid() == parent
        digest = choose.choice(DIGESTS)
        hit = reader.pin(table, digest)
        if hit is None:
            continue
        # twice: at once, and after the owner had time
        words[WRONG] += not (_is_whole(reader, hit, digest) and _is_whole(reader, hit, digest))
        words[READS] += 1
        table.unpin(hit.entry)


def _fork_reader(arena: CellArena, reads: int, words: memoryview[int], kind: type[ArenaReader]) -> int:
    _, table_fd = arena.owner.tables.create()
    pid = os.fork()
    if pid:
        os.close(table_fd)
        return pid
    try:
        _read(arena, table_fd, reads, words, kind)
    except BaseException:
        words[FAILED] = 1
        traceback.print_exc()
    finally:
        words[FINISHED] = 1
        os._exit(0)


def _churn(arena: CellArena, words: memoryview[int]) -> int:
    """Evicts and refills until every reader has finished; how many blocks were freed."""
    owner, freed = arena.owner, 0
    choose = random.Random(0)
    while not all(words[reader * WORDS_PER_READER + FINISHED] for reader in range(READERS)):
        for digest in choose.sample(DIGESTS, len(DIGESTS)):
            if owner.find(digest) < 0 and arena.free_cells:
                arena.fill(digest)
        ready = list(owner.ready_slots())
        freed += len(ready) - len(arena.evict(*ready))
    return freed


def run(reads: int, kind: type[ArenaReader], name: str) -> dict[str, int]:
    """``reads`` verified reads, shared by the readers; how many were wrong, and what the owner did meanwhile."""
    register_reader()
    words = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
    parts = [words[WORDS_PER_READER * reader : WORDS_PER_READER * (reader + 1)] for reader in range(READERS)]
    instance = Instance(FAMILY, name)
    instance.acquire()
    arena = CellArena(instance, cells=CELLS)
    pids = [_fork_reader(arena, -(-reads // READERS), part, kind) for part in parts]
    freed = _churn(arena, words)
    for pid in pids:
        os.waitpid(pid, 0)
    held = arena.evict(*arena.owner.ready_slots())
    return {
        "reads": sum(part[READS] for part in parts),
        "wrong": sum(part[WRONG] for part in parts),
        "failed": sum(part[FAILED] for part in parts),
        "freed": freed,
        "still_held": len(held),
    }


def main() -> None:
    """Command line."""
    name = f"{os.getpid()}-race"
    kind = Unchecked if sys.argv[2:] == ["unchecked"] else ArenaReader
    try:
        print(json.dumps(run(int(sys.argv[1]), kind, name)))
    finally:
        remove_instance(name)


if __name__ == "__main__":
    main()
