"""Kills ring writers and readers at random: ``python -m tests.shmipc.ring_kill_harness RING_KILLS [SEED]``, prints JSON.

Two pairs work on small memory: a ring (its reader is woken by a semaphore, its writer by an eventfd when there is room) and a log (its reader looks
when it likes). The parent kills a random one with SIGKILL after a random time and starts a successor, which goes on from what lies in shared
memory and from nothing else. A process of its own, so that forks are cheap and a hang can be killed.

Message *n* of the ring has a length that depends on n only, so position and number give each other, and both sides know from the ring alone where
they are. That the ring tells the truth is checked against a ledger: the reader notes, in memory of its own, up to where it is about to acknowledge,
acknowledges, and notes that it has. A successor must begin at one of the two.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from enum import IntEnum, auto
from itertools import accumulate

from shmipc.broadcast import Gap, LogReader, LogWriter, initialise_log
from shmipc.layout import R_ACKNOWLEDGED, R_PUBLISHED, RING_HEADER_BYTES, SEMAPHORE_BYTES
from shmipc.limits import RING_BYTES_MIN
from shmipc.ring import RingReader, RingWriter, initialise
from shmipc.waker import EventfdWaker, SemaphoreWaker

__all__ = ["run"]

#: A survivor that sleeps so long has lost a wake-up: a successor is there within milliseconds, and wakes once when it starts.
PATIENCE_S = 20.0

# Lengths of the ring's messages: message n has LENGTHS[n % PERIOD] bytes.
LENGTHS = (0, 8, 16, 9, 64, 200, 31, 1000, 1, 120, 48, 15, 333)
PERIOD = len(LENGTHS)
_ENDS = [0, *accumulate(4 + length for length in LENGTHS)]
PERIOD_BYTES = _ENDS[-1]
_NUMBER_OF = {end: number for number, end in enumerate(_ENDS[:-1])}


class Counter(IntEnum):
    """Words shared by all processes; each is written by one process at a time."""

    ABOUT_TO_ACKNOWLEDGE = 0
    ACKNOWLEDGED = auto()
    IS_STOPPING = auto()
    FULL = auto()
    ROOM_WAITS = auto()
    DATA_WAITS = auto()
    REDELIVERED = auto()
    STAGED_LOST = auto()
    STAGED = auto()
    ACKNOWLEDGEMENT_NOTED_LATE = auto()
    LOG_WRITTEN = auto()
    LOG_MESSAGES = auto()
    LOG_GAPS = auto()
    LOG_EXPECTED = auto()


def number_at(position: int) -> int:
    """Which message begins at a position; anything else than a message's beginning is an error."""
    rounds, rest = divmod(position, PERIOD_BYTES)
    return rounds * PERIOD + _NUMBER_OF[rest]


def contents(number: int, length: int) -> bytes:
    """A message that tells which it is, in every 16 bytes."""
    word = hashlib.blake2b(number.to_bytes(8, "little"), digest_size=16).digest()
    return (word * (length // 16 + 1))[:length]


def message(number: int) -> bytes:
    """Message ``number`` of the ring."""
    return contents(number, LENGTHS[number % PERIOD])


def log_message(sequence: int) -> bytes:
    """Message ``sequence`` of the log."""
    return contents(sequence, 16 * (sequence % 40))


class Shared:
    """What all processes map, made before the first fork."""

    def __init__(self) -> None:
        self.parent = os.getpid()
        self.ring = memoryview(mmap.mmap(-1, RING_HEADER_BYTES + RING_BYTES_MIN))
        self.log = memoryview(mmap.mmap(-1, RING_HEADER_BYTES + 4 * RING_BYTES_MIN))
        initialise(self.ring)
        initialise_log(self.log)
        page = memoryview(mmap.mmap(-1, mmap.PAGESIZE))
        self.data_there = SemaphoreWaker.create(page[-SEMAPHORE_BYTES:])
        self.room_there = EventfdWaker.create()
        self.counters = page[: mmap.PAGESIZE // 2].cast("Q")
        self.counters[Counter.LOG_EXPECTED] = 1
        self.errors, self.error_write = os.pipe()
        os.set_blocking(self.errors, False)

    def ring_word(self, word: int) -> int:
        """A word of the ring's header."""
        return self.ring[:RING_HEADER_BYTES].cast("Q")[word]

    def goes_on(self) -> bool:
        """In a child: whether the parent lives, so that a killed harness leaves no process."""
        return os.getppid() == self.parent

    def is_stopping(self) -> bool:
        """Whether writers should end."""
        return bool(self.counters[Counter.IS_STOPPING])


# --- ring ---


def write_ring(shared: Shared, seed: int) -> None:
    """A writer's life: goes on with the message after the last published one, until it is killed or all is over."""
    choose = random.Random(seed)
    counters = shared.counters
    writer = RingWriter(shared.ring)
    number = number_at(shared.ring_word(R_PUBLISHED))
    # The predecessor may have been killed between its publication and its wake-up.
    shared.data_there.wake()
    if counters[Counter.STAGED]:
        counters[Counter.STAGED_LOST] += 1
    while shared.goes_on() and not shared.is_stopping():
        counters[Counter.STAGED] = 1
        is_full = False
        for _ in range(choose.randrange(1, 30)):
            if not writer.put(message(number)):
                is_full = True
                break
            number += 1
        writer.publish()
        shared.data_there.wake()
        counters[Counter.STAGED] = 0
        if is_full:
            counters[Counter.FULL] += 1
            wait_for_room(shared, writer, 4 + len(message(number)))


def wait_for_room(shared: Shared, writer: RingWriter, size: int) -> None:
    """Drains before it looks, so no wake-up is lost."""
    shared.room_there.drain()
    while writer.free_bytes < size and shared.goes_on():
        shared.counters[Counter.ROOM_WAITS] += 1
        assert shared.room_there.wait(PATIENCE_S), "the writer's wake-up was lost"


def read_ring(shared: Shared, seed: int) -> None:
    """A reader's life: every message once, but for those that its predecessor had not acknowledged."""
    choose = random.Random(seed)
    counters = shared.counters
    reader = RingReader(shared.ring)
    number = number_at(shared.ring_word(R_ACKNOWLEDGED))
    about, done = counters[Counter.ABOUT_TO_ACKNOWLEDGE], counters[Counter.ACKNOWLEDGED]
    assert number in (about, done), f"begins at message {number}; {done} acknowledged, perhaps {about}"
    counters[Counter.ACKNOWLEDGEMENT_NOTED_LATE] += number != done
    counters[Counter.REDELIVERED] += about > number
    counters[Counter.ACKNOWLEDGED] = counters[Counter.ABOUT_TO_ACKNOWLEDGE] = number
    shared.room_there.wake()  # the predecessor may not have come to it
    while shared.goes_on():
        taken = reader.take(choose.randrange(1, 40))
        for found in taken:
            assert found == message(number), f"message {number} is not what it was"
            number += 1
        counters[Counter.ABOUT_TO_ACKNOWLEDGE] = number
        if choose.random() < 0.1:
            time.sleep(0.0005)  # taken and not acknowledged: a good moment to be killed
        if choose.random() < 0.7:
            reader.acknowledge()
            counters[Counter.ACKNOWLEDGED] = number
            shared.room_there.wake()
        if not taken:
            reader.acknowledge()
            counters[Counter.ACKNOWLEDGED] = number
            shared.room_there.wake()
            if not reader.lag_bytes:
                counters[Counter.DATA_WAITS] += 1
                assert shared.data_there.wait(PATIENCE_S), "the reader's wake-up was lost"


# --- log ---


def write_log(shared: Shared, seed: int) -> None:
    """A log writer's life: it never waits; a pause now and then leaves the core to others."""
    choose = random.Random(seed)
    writer = LogWriter(shared.log)
    while shared.goes_on() and not shared.is_stopping():
        for _ in range(choose.randrange(1, 30)):
            writer.put(log_message(writer.next_sequence))
        writer.publish()
        shared.counters[Counter.LOG_WRITTEN] = writer.next_sequence - 1
        if choose.random() < 0.3:
            time.sleep(0.001)


def read_log(shared: Shared, seed: int) -> None:
    """A log reader's life: whole messages in order, and gaps that tell the truth."""
    choose = random.Random(seed)
    counters = shared.counters
    reader = LogReader(shared.log.toreadonly(), next_sequence=counters[Counter.LOG_EXPECTED])
    while shared.goes_on():
        expected = counters[Counter.LOG_EXPECTED]
        for got in reader.take(choose.randrange(1, 100)):
            if isinstance(got, Gap):
                assert got.first_missing == expected < got.next_sequence
                expected = got.next_sequence
                counters[Counter.LOG_GAPS] += 1
            else:
                assert got.sequence == expected
                assert got.payload == log_message(expected), f"message {expected} is torn"
                expected += 1
                counters[Counter.LOG_MESSAGES] += 1
        counters[Counter.LOG_EXPECTED] = expected
        if choose.random() < 0.2:
            time.sleep(0.002)


# --- parent ---

ROLES: tuple[Callable[[Shared, int], None], ...] = (write_ring, read_ring, write_log, read_log)


class Harness:
    """Forks, kills and restarts."""

    def __init__(self, shared: Shared, seed: int) -> None:
        self.shared = shared
        self.choose = random.Random(seed)
        self.kills = [0] * len(ROLES)
        self.pids = [self._start(role) for role in range(len(ROLES))]

    def _start(self, role: int) -> int:
        seed = self.choose.getrandbits(32)
        pid = os.fork()
        if pid:
            return pid
        try:
            ROLES[role](self.shared, seed)
            os._exit(0)
        except BaseException:
            os.write(self.shared.error_write, traceback.format_exc().encode())
        finally:
            os._exit(1)

    def round(self) -> None:
        """Kills one (ring roles more often), and of the ring often both ends at once."""
        time.sleep(self.choose.choice((0.0, 0.001, 0.002, 0.004)) * self.choose.random())
        role = self.choose.choice((0, 0, 0, 1, 1, 1, 2, 3))
        victims = {0, 1} if role < 2 and self.choose.random() < 0.4 else {role}
        for victim in victims:
            _kill(self.pids[victim])
        for victim in victims:
            self.kills[victim] += 1
            self.pids[victim] = self._start(victim)
        self.check_errors()

    def check_errors(self) -> None:
        """Raises what a child has reported."""
        try:
            report = os.read(self.shared.errors, 65536)
        except BlockingIOError:
            return
        raise AssertionError(report.decode())

    def progressed(self) -> None:
        """Survivors go on: acknowledgements and log messages move; an error if they do not within 60 s."""
        which = (Counter.ACKNOWLEDGED, Counter.LOG_WRITTEN, Counter.LOG_MESSAGES)
        before = {counter: self.shared.counters[counter] for counter in which}
        deadline = time.monotonic() + 60
        while any(self.shared.counters[counter] <= count for counter, count in before.items()):
            self.check_errors()
            if time.monotonic() > deadline:
                raise AssertionError(f"no progress of {before}")
            time.sleep(0.002)

    def finish(self) -> None:
        """Writers end by themselves; the readers come to the end of what was published."""
        shared = self.shared
        shared.counters[Counter.IS_STOPPING] = 1
        shared.room_there.wake()
        for role in (0, 2):
            assert os.waitstatus_to_exitcode(os.waitpid(self.pids[role], 0)[1]) == 0
        self.pids = [self.pids[1], self.pids[3]]
        last = number_at(shared.ring_word(R_PUBLISHED))
        deadline = time.monotonic() + 60
        while shared.counters[Counter.ACKNOWLEDGED] != last:
            self.check_errors()
            if time.monotonic() > deadline:
                raise AssertionError(f"of {last} messages {shared.counters[Counter.ACKNOWLEDGED]} arrived")
            time.sleep(0.002)

    def kill_all(self) -> None:
        """The end, however it came."""
        for pid in self.pids:
            _kill(pid)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) in (-signal.SIGKILL, 0, 1), status


def run(ring_kills: int, seed: int) -> dict[str, int]:
    """As many kills of ring ends, and some of the log's; what happened, and what was left."""
    shared = Shared()
    harness = Harness(shared, seed)
    try:
        harness.progressed()
        rounds = 0
        while sum(harness.kills[:2]) < ring_kills:
            harness.round()
            rounds += 1
            if not rounds % 50:
                harness.progressed()
        harness.finish()
        harness.check_errors()
    finally:
        harness.kill_all()
    result = {counter.name.lower(): shared.counters[counter] for counter in Counter}
    names = (f"{role.__name__}_kills" for role in ROLES)
    return result | dict(zip(names, harness.kills, strict=True)) | {"lag": RingReader(shared.ring).lag_bytes}


def main() -> None:
    """Command line."""
    ring_kills = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int.from_bytes(os.urandom(4), "little")
    print(f"seed {seed}", file=sys.stderr, flush=True)
    print(json.dumps(run(ring_kills, seed)))


if __name__ == "__main__":
    main()
