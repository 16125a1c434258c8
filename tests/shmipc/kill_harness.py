"""Kills owners and readers at random and looks at what is left: ``python -m tests.shmipc.kill_harness ROUNDS [SEED]``, prints JSON.

One owner leases, fills, publishes, aborts, invalidates and evicts as fast as it can on a tiny arena. Readers connect, find, pin, verify
every word, hold and unpin; one of them, the *keeper*, is never killed and holds pins across restarts of the owner. The parent, which holds
nothing of the arena, kills a random one with SIGKILL after a random time and starts another. A process of its own, so that forks are cheap
and a hang can be killed.
"""

from __future__ import annotations

import itertools
import json
import mmap
import os
import random
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable
from enum import IntEnum, auto
from pathlib import Path

from tests.shmipc.support import FAMILY, CellArena, digest_of, pattern, remove_instance

from shmipc.arena import ArenaReader, Hit
from shmipc.fence import register_reader
from shmipc.instance import Instance
from shmipc.layout import S_WATERMARK, S_WORD, SLOT_WORDS, STATE_BITS, STATE_MASK
from shmipc.pins import PinTable
from shmipc.segment import Segment
from shmipc.states import State
from shmipc.wire import receive, send_with_descriptors

__all__ = ["run"]

CELLS = 24
SPARE_SLOTS = 8
DIGESTS = [digest_of(number) for number in range(40)]
READERS = 2
_HELLO = struct.Struct("<Q")


class Counter(IntEnum):
    """Words of the counters shared by all processes; each is written by one process at a time."""

    FILLED = 0
    ABORTED = auto()
    INVALIDATED = auto()
    FREED = auto()
    SPARED = auto()
    STARTS = auto()
    ADOPTED = auto()
    LIVE_TABLES_ADOPTED = auto()
    PINS_ADOPTED = auto()
    TABLES_RETIRED = auto()
    READS = auto()
    FILLING_READS = auto()
    KEEPER_READS = auto()
    KEEPER_HELD_ACROSS = auto()


class Shared:
    """What the harness's processes share: counters, where clients knock, where errors go."""

    def __init__(self, instance: str, folder: str) -> None:
        self.instance = instance
        self.counters = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
        self.parent = os.getpid()
        self.path = f"{folder}/socket"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.errors, self.error_write = os.pipe()
        os.set_blocking(self.errors, False)

    def goes_on(self) -> bool:
        """In a child: whether the parent lives, so that a killed harness leaves no process."""
        return os.getppid() == self.parent

    def count(self, which: Counter, by: int = 1) -> None:
        """Adds to a counter; a kill may lose one."""
        self.counters[which] += by


# --- owner ---


def _serve_one(shared: Shared, arena: CellArena) -> None:
    """Hands a table and the segment to one client, if one knocks."""
    try:
        sock, _ = shared.listener.accept()
    except BlockingIOError:
        return
    owner = arena.owner
    _, table_fd = owner.tables.create()
    segment_fd = owner.segment.read_only_fd()
    with sock:
        try:
            send_with_descriptors(sock, _HELLO.pack(owner.arena_id), [segment_fd, table_fd])
        except BrokenPipeError:
            pass  # the client was killed meanwhile
        finally:
            os.close(table_fd)
            os.close(segment_fd)


def _fill_one(shared: Shared, arena: CellArena, choose: random.Random) -> None:
    digest = choose.choice(DIGESTS)
    owner = arena.owner
    if not arena.free_cells or not owner.free_slots or owner.find(digest) >= 0:
        return
    slot = arena.lease(digest)
    owner.attach(slot)
    fields = owner.fields(slot)
    whole = pattern(digest, owner.generation(slot), fields.length)
    half = fields.length // 2
    with owner.content(slot) as content:
        content[:half] = whole[:half]
        owner.advance(slot, half)
        content[half:] = whole[half:]
    owner.detach(slot)
    if choose.random() < 0.15:
        owner.abort(slot)
        shared.count(Counter.ABORTED)
        return
    owner.publish(slot, crc=0)
    shared.count(Counter.FILLED)


def _make_room(shared: Shared, arena: CellArena, choose: random.Random) -> None:
    owner = arena.owner
    ready = list(owner.ready_slots())
    choose.shuffle(ready)
    if ready and choose.random() < 0.3:
        owner.invalidate(ready.pop())
        shared.count(Counter.INVALIDATED)
    chosen = ready[:6]
    held = arena.evict(*chosen)
    shared.count(Counter.SPARED, len(held))
    shared.count(Counter.FREED, len(chosen) - len(held) + arena.reclaim_retired())


def _note_adoption(shared: Shared, arena: CellArena) -> None:
    shared.count(Counter.STARTS)
    shared.count(Counter.ADOPTED, arena.adopted)
    shared.count(Counter.LIVE_TABLES_ADOPTED, len(arena.owner.tables))
    shared.count(Counter.PINS_ADOPTED, len(arena.owner.tables.scan() - {0}))


def run_owner(shared: Shared, seed: int) -> None:
    """An owner's life: until it is killed."""
    choose = random.Random(seed)
    instance = Instance(FAMILY, shared.instance)
    instance.acquire()
    arena = CellArena(instance, cells=CELLS, spare_slots=SPARE_SLOTS)
    _note_adoption(shared, arena)
    while shared.goes_on():
        _serve_one(shared, arena)
        for _ in range(CELLS):
            _fill_one(shared, arena, choose)
        _make_room(shared, arena, choose)
        shared.count(Counter.TABLES_RETIRED, len(arena.owner.tables.retire_abandoned()))


# --- readers ---


class Reader:
    """A client process: pins, verifies, holds."""

    def __init__(self, shared: Shared, seed: int, *, is_keeper: bool) -> None:
        self.shared = shared
        self.choose = random.Random(seed)
        self.is_keeper = is_keeper
        self.arena, self.table = self._connect()
        self.memory = self.arena.segment.memory
        self.held: deque[tuple[Hit, bytes, int]] = deque()

    def _connect(self) -> tuple[ArenaReader, PinTable]:
        while True:
            descriptors: deque[int] = deque()
            with socket.socket(socket.AF_UNIX) as sock:
                try:
                    sock.connect(self.shared.path)
                    hello = receive(sock, descriptors)
                except ConnectionError:
                    hello = b""
            if hello:
                break  # else the owner was killed between accept and send: knock again
        (arena_id,) = _HELLO.unpack(hello)
        reader = ArenaReader(Segment.from_fd(descriptors.popleft()), arena_id)
        return reader, PinTable(descriptors.popleft(), arena_id, pin_bytes_max=1 << 30)

    def _check(self, hit: Hit, digest: bytes, length: int) -> None:
        start = hit.fields.offset
        found = self.memory[start : start + length]
        if found != pattern(digest, hit.generation, hit.fields.length)[:length]:
            raise AssertionError(f"slot {hit.slot} generation {hit.generation} changed while pinned")

    def _read_ready(self) -> None:
        digest = self.choose.choice(DIGESTS)
        hit = self.arena.pin(self.table, digest)
        if hit is None:
            return
        self._check(hit, digest, hit.fields.length)
        self.shared.count(Counter.KEEPER_READS if self.is_keeper else Counter.READS)
        self.held.append((hit, digest, self.shared.counters[Counter.STARTS]))

    def _read_filling(self) -> None:
        """Pins a slot that is being filled, as one the owner has announced; it may be aborted at any time."""
        slot = self.choose.randrange(self.arena.geometry.slot_count)
        words = self.arena._words
        word = words[slot * SLOT_WORDS + S_WORD]
        if word & STATE_MASK != State.FILLING:
            return
        digest = self.arena._slots.digest(slot)
        hit = self.arena.pin_slot(self.table, digest, slot, word >> STATE_BITS, filling=True)
        if hit is not None:
            self._check(hit, digest, words[slot * SLOT_WORDS + S_WATERMARK])
            self.table.unpin(hit.entry)
            self.shared.count(Counter.FILLING_READS)

    def _drop_some(self) -> None:
        while len(self.held) > (6 if self.is_keeper else 3):
            hit, digest, starts = self.held.popleft()
            self._check(hit, digest, hit.fields.length)
            if self.is_keeper and starts != self.shared.counters[Counter.STARTS]:
                self.shared.count(Counter.KEEPER_HELD_ACROSS)
            self.table.unpin(hit.entry)

    def run(self) -> None:
        """A reader's life: until it is killed."""
        while self.shared.goes_on():
            for _ in range(20):
                self._read_filling()
            self._read_ready()
            for hit, digest, _ in self.held:
                self._check(hit, digest, hit.fields.length)
            if not self.is_keeper or self.choose.random() < 0.01:
                self._drop_some()
            elif len(self.held) > 6:
                self.table.unpin(self.held.pop()[0].entry)  # the keeper keeps its oldest


# --- parent ---


class Harness:
    """Forks, kills and restarts."""

    def __init__(self, shared: Shared, seed: int) -> None:
        self.shared = shared
        self.choose = random.Random(seed)
        self.owner = self._start_owner()
        self.readers = [self._start_reader() for _ in range(READERS)]
        self.keeper = self._start_reader(is_keeper=True)
        self.owner_kills = self.reader_kills = 0

    def _fork(self, work: Callable[[], None]) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            work()
        except BaseException:
            os.write(self.shared.error_write, traceback.format_exc().encode())
        finally:
            os._exit(1)

    def _start_owner(self) -> int:
        seed = self.choose.getrandbits(32)
        return self._fork(lambda: run_owner(self.shared, seed))

    def _start_reader(self, *, is_keeper: bool = False) -> int:
        seed = self.choose.getrandbits(32)
        return self._fork(lambda: Reader(self.shared, seed, is_keeper=is_keeper).run())

    def check_errors(self) -> None:
        """Raises what a child has reported."""
        try:
            report = os.read(self.shared.errors, 65536)
        except BlockingIOError:
            return
        raise AssertionError(report.decode())

    def round(self) -> None:
        """Kills one at a random time, or two at once, and starts it again."""
        time.sleep(self.choose.choice((0.0, 0.001, 0.003, 0.008, 0.02)) * self.choose.random())
        victim = self.choose.randrange(-1, READERS)
        if victim < 0 or self.choose.random() < 0.1:
            _kill(self.owner)
            self.owner = self._start_owner()
            self.owner_kills += 1
        if victim >= 0:
            _kill(self.readers[victim])
            self.readers[victim] = self._start_reader()
            self.reader_kills += 1
        self.check_errors()

    def progressed(self, *which: Counter) -> None:
        """Survivors go on: waits until every counter has moved; an error if they do not within 60 s."""
        before = {counter: self.shared.counters[counter] for counter in which}
        deadline = time.monotonic() + 60
        while any(self.shared.counters[counter] <= count for counter, count in before.items()):
            self.check_errors()
            if time.monotonic() > deadline:
                raise AssertionError(f"no progress of {before}")
            time.sleep(0.002)

    def kill_all(self) -> None:
        """The end."""
        for pid in (self.owner, self.keeper, *self.readers):
            _kill(pid)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) in (-signal.SIGKILL, 1), status


def _final_accounting(shared: Shared) -> dict[str, int]:
    """Everybody is gone; a last owner takes over and every slot must be accounted for."""
    instance = Instance(FAMILY, shared.instance)
    instance.acquire()
    arena = CellArena(instance, cells=CELLS, spare_slots=SPARE_SLOTS)
    owner = arena.owner
    arena.reclaim_retired()
    states = [owner.state(slot) for slot in range(owner.geometry.slot_count)]
    ready = list(owner.ready_slots())
    ranges = sorted((owner.fields(slot).offset, owner.fields(slot).capacity) for slot in ready)
    for slot in ready:
        fields = owner.fields(slot)
        assert bytes(owner.content(slot)) == pattern(fields.digest, owner.generation(slot), fields.length)
    result = {
        "adopted": int(arena.adopted),
        "slots": len(states),
        "free": states.count(State.FREE),
        "ready": len(ready),
        "leasable": owner.free_slots,
        "free_cells": len(arena.free_cells),
        "overlaps": sum(a + size > b for (a, size), (b, _) in itertools.pairwise(ranges)),
        "tables": len(owner.tables),
        "table_files": len(list(instance.tables_folder.iterdir())),
        "not_evicted": len(arena.evict(*ready)),
    }
    owner.close()
    instance.close()
    return result


def run(rounds: int, seed: int, instance: str, folder: str) -> dict[str, int]:
    """``rounds`` kills; what happened, and what was left."""
    register_reader()
    shared = Shared(instance, folder)
    harness = Harness(shared, seed)
    try:
        harness.progressed(Counter.KEEPER_READS, Counter.READS, Counter.FREED)
        for done in range(rounds):
            harness.round()
            if done % 50 == 49:
                harness.progressed(Counter.READS, Counter.KEEPER_READS, Counter.FILLED, Counter.FREED)
        harness.check_errors()
    finally:
        harness.kill_all()
    result = {counter.name.lower(): shared.counters[counter] for counter in Counter}
    result |= {"owner_kills": harness.owner_kills, "reader_kills": harness.reader_kills}
    return result | _final_accounting(shared)


def main() -> None:
    """Command line."""
    rounds = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int.from_bytes(os.urandom(4), "little")
    print(f"seed {seed}", file=sys.stderr, flush=True)
    name = sys.argv[3] if len(sys.argv) > 3 else f"{os.getpid()}-kill"
    with tempfile.TemporaryDirectory() as folder:
        try:
            print(json.dumps(run(rounds, seed, name, str(Path(folder)))))
        finally:
            remove_instance(name)


if __name__ == "__main__":
    main()
