"""The broadcast log: order, laps, gaps, successors, torn messages that never come out, and a writer that stores nonsense."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
import struct
import time

import pytest
from tests.shmipc.support import in_child

from shmipc import broadcast
from shmipc.broadcast import Gap, LogReader, LogWriter, Message, initialise_log
from shmipc.errors import ArenaLayoutError, RingCorrupt
from shmipc.layout import L_NEXT_SEQUENCE, L_OLDEST, L_PUBLISHED, RING_HEADER_BYTES
from shmipc.limits import LOG_ATTEMPTS_MAX, POSITION_MAX, RING_BYTES_MIN
from shmipc.ring import RingReader, initialise

CAPACITY = RING_BYTES_MIN
HEAD_BYTES = 12


def log_memory(capacity: int = CAPACITY) -> memoryview:
    memory = memoryview(bytearray(RING_HEADER_BYTES + capacity))
    initialise_log(memory)
    return memory


def words_of(memory: memoryview) -> memoryview[int]:
    return memory[:RING_HEADER_BYTES].cast("Q")


@pytest.fixture
def memory() -> memoryview:
    return log_memory()


@pytest.fixture
def writer(memory: memoryview) -> LogWriter:
    return LogWriter(memory)


def written(writer: LogWriter, *payloads: bytes) -> None:
    for payload in payloads:
        writer.put(payload)
    writer.publish()


def test_every_reader_gets_every_message(memory: memoryview, writer: LogWriter) -> None:
    readers = [LogReader(memory.toreadonly()) for _ in range(3)]
    assert writer.put(b"one") == 1
    assert writer.put(bytearray()) == 2
    assert readers[0].take(9) == []
    assert writer.publish() == 2
    assert writer.publish() == 0
    for reader in readers:
        assert reader.take(1) == [Message(1, b"one")]
    written(writer, b"three")
    for reader in readers:
        assert reader.take(9) == [Message(2, b""), Message(3, b"three")]
        assert reader.take(9) == []
        assert reader.next_sequence == 4


def test_a_late_reader_begins_with_the_oldest_that_is_there(memory: memoryview, writer: LogWriter) -> None:
    for number in range(100):
        written(writer, b"%0100d" % number)
    taken = LogReader(memory).take(1000)
    kept = CAPACITY // (100 + HEAD_BYTES)
    assert taken == [Message(number + 1, b"%0100d" % number) for number in range(100 - kept, 100)]


def test_a_lapped_reader_is_told_what_it_has_missed(memory: memoryview, writer: LogWriter) -> None:
    reader = LogReader(memory)
    written(writer, b"first")
    assert reader.take(9) == [Message(1, b"first")]
    for number in range(2, 101):
        written(writer, b"%0100d" % number)
    kept = CAPACITY // (100 + HEAD_BYTES)
    first = 101 - kept
    assert reader.take(2) == [Gap(2, first), Message(first, b"%0100d" % first)]
    assert len(reader.take(1000)) == kept - 1


def test_a_gap_counts_as_one(memory: memoryview, writer: LogWriter) -> None:
    reader = LogReader(memory, next_sequence=1)
    for _ in range(100):
        written(writer, bytes(100))
    (gap,) = reader.take(1)
    assert isinstance(gap, Gap)
    (message,) = reader.take(1)
    assert message[0] == gap.next_sequence


def test_a_reader_may_go_on_where_another_was(memory: memoryview, writer: LogWriter) -> None:
    written(writer, b"1", b"2", b"3")
    assert LogReader(memory, next_sequence=3).take(9) == [Message(3, b"3")]
    later = LogReader(memory, next_sequence=5)
    assert later.take(9) == []
    written(writer, b"4", b"5", b"6")
    assert later.take(9) == [Message(5, b"5"), Message(6, b"6")]


def test_the_writer_never_waits(memory: memoryview, writer: LogWriter) -> None:
    """A reader that is there and takes nothing changes nothing."""
    LogReader(memory)
    for _ in range(10 * CAPACITY // 100):
        writer.put(bytes(100))
    writer.publish()
    assert writer.next_sequence == 10 * CAPACITY // 100 + 1


def test_the_largest_message_fits_and_one_byte_more_does_not(memory: memoryview, writer: LogWriter) -> None:
    assert writer.message_bytes_max == CAPACITY // 4 - HEAD_BYTES
    with pytest.raises(ValueError, match="at most 1,012 bytes, this one 1,013"):
        writer.put(bytes(writer.message_bytes_max + 1))
    for _ in range(9):
        writer.put(bytes(writer.message_bytes_max))
    writer.publish()
    taken = LogReader(memory).take(9)
    assert taken == [Message(number, bytes(CAPACITY // 4 - HEAD_BYTES)) for number in range(6, 10)]


@pytest.mark.parametrize("first", range(60, 120))
def test_messages_run_over_the_end(first: int) -> None:
    """The cut falls into every byte of the head and of the message in turn."""
    memory = log_memory()
    writer, reader = LogWriter(memory), LogReader(memory)
    payloads = [bytes(first), *(b"%0500d" % number for number in range(40))]
    taken = []
    for payload in payloads:
        written(writer, payload)
        taken += reader.take(9)
    assert taken == [Message(number + 1, payload) for number, payload in enumerate(payloads)]


def test_a_log_is_no_ring_and_a_ring_no_log(memory: memoryview) -> None:
    with pytest.raises(ArenaLayoutError):
        RingReader(memory)
    initialise(memory)
    with pytest.raises(ArenaLayoutError):
        LogReader(memory)
    with pytest.raises(ArenaLayoutError):
        LogWriter(memory)


# --- successors of the writer ---


@pytest.mark.parametrize("count", [0, 1, 5, 200])
def test_a_new_writer_goes_on_with_the_numbers(memory: memoryview, count: int) -> None:
    first = LogWriter(memory)
    for _ in range(count):
        written(first, bytes(100))
    first.put(b"staged, and lost with its writer")
    second = LogWriter(memory)
    assert second.next_sequence == count + 1
    written(second, b"second")
    assert LogReader(memory).take(1000)[-1] == Message(count + 1, b"second")


class Killed(Exception):
    pass


class DyingWords:
    """The writer's words, whose owner dies before a chosen store."""

    def __init__(self, words: memoryview[int], stores_left: int) -> None:
        self._words = words
        self.stores_left = stores_left

    def __getitem__(self, word: int) -> int:
        return self._words[word]

    def __setitem__(self, word: int, value: int) -> None:
        if not self.stores_left:
            raise Killed
        self.stores_left -= 1
        self._words[word] = value


@pytest.mark.parametrize("stores", range(30))
def test_a_writer_that_dies_between_two_stores_leaves_whole_messages(stores: int) -> None:
    """Whichever store was its last, numbers go on, nothing is torn and nothing is published twice."""
    memory = log_memory()
    writer, reader = LogWriter(memory), LogReader(memory, next_sequence=1)
    writer._words = DyingWords(writer._words, stores)  # type: ignore[assignment]
    published = 0
    try:
        for number in range(1, 20):
            writer.put(b"%d" % number * (900 // len(str(number))))
            writer.publish()
            published = number
    except Killed:
        pass
    second = LogWriter(memory)
    assert published + 1 <= second.next_sequence <= published + 2
    written(second, b"end")
    expected = 1
    for got in reader.take(100):
        if isinstance(got, Gap):
            assert got.first_missing == expected
            expected = got.next_sequence
        else:
            assert got.sequence == expected
            assert got.payload in (b"end", b"%d" % expected * (900 // len(str(expected))))
            expected += 1
    assert expected == second.next_sequence


def test_numbers_go_on_when_everything_was_given_up(memory: memoryview) -> None:
    """The writer dies after it said that all may be overwritten: only L_NEXT_SEQUENCE knows."""
    writer = LogWriter(memory)
    written(writer, b"1", b"2")
    words = words_of(memory)
    assert words[L_NEXT_SEQUENCE] == 3
    words[L_OLDEST] = words[L_PUBLISHED]
    assert LogWriter(memory).next_sequence == 3


# --- torn messages ---


class LappingWords:
    """A reader's view of the words, between whose two looks the writer goes on."""

    def __init__(self, words: memoryview[int], writer: LogWriter, batches: int, laps: int) -> None:
        self._words, self._writer, self._batches, self._laps = words, writer, batches, laps
        self._looks = 0

    def __getitem__(self, word: int) -> int:
        if word == L_OLDEST:
            self._looks += 1
            if self._looks % 2 == 0 and self._laps:  # the look after the copy
                self._laps -= 1
                for _ in range(self._batches):
                    written(self._writer, bytes([self._writer.next_sequence & 0xFF]) * 500)
        return self._words[word]


@pytest.mark.parametrize("batches", range(1, 9))
def test_what_was_overwritten_while_it_was_copied_is_dropped(
    memory: memoryview, writer: LogWriter, batches: int
) -> None:
    reader = LogReader(memory, next_sequence=1)
    for _ in range(8):
        written(writer, bytes([writer.next_sequence]) * 500)
    reader._words = LappingWords(reader._words, writer, batches, 1)  # type: ignore[assignment]
    taken = reader.take(100)
    assert taken[0] == Gap(1, batches + 1), "eight messages fill the log: one went for each that came"
    assert taken[1:] == [Message(number, bytes([number]) * 500) for number in range(batches + 1, 9 + batches)]


def test_a_reader_that_is_always_lapped_comes_back_empty_handed(
    memory: memoryview, writer: LogWriter
) -> None:
    reader = LogReader(memory, next_sequence=1)
    written(writer, b"x")
    words = reader._words
    reader._words = LappingWords(words, writer, 9, LOG_ATTEMPTS_MAX)  # type: ignore[assignment]
    assert reader.take(100) == []
    assert writer.next_sequence == 2 + 9 * LOG_ATTEMPTS_MAX
    taken = reader.take(100)
    assert taken[-1] == Message(writer.next_sequence - 1, bytes([writer.next_sequence - 1]) * 500)


def _payload(sequence: int) -> bytes:
    """Contents that tell whose they are, of a length that varies."""
    word = hashlib.blake2b(sequence.to_bytes(8, "little"), digest_size=16).digest()
    return word * (1 + sequence % 60)


def test_readers_of_a_fast_writer_see_whole_messages_and_true_gaps() -> None:
    """Two processes; the log is small, so that the reader is lapped again and again, also while it copies."""
    shared = mmap.mmap(-1, RING_HEADER_BYTES + 4 * CAPACITY)
    memory = memoryview(shared)
    initialise_log(memory)
    last = 40_000

    def write() -> None:
        writer = LogWriter(memory)
        while writer.next_sequence <= last:
            for _ in range(random.randrange(1, 20)):
                writer.put(_payload(writer.next_sequence))
            writer.publish()

    child = os.fork()
    if child == 0:
        try:
            write()
        finally:
            os._exit(0)
    reader = LogReader(memory.toreadonly(), next_sequence=1)
    expected, messages, gaps = 1, 0, 0
    deadline = time.monotonic() + 60
    try:
        while expected <= last:
            assert time.monotonic() < deadline
            for got in reader.take(random.randrange(1, 200)):
                if isinstance(got, Gap):
                    assert got.first_missing == expected
                    assert got.next_sequence > expected
                    expected = got.next_sequence
                    gaps += 1
                else:
                    assert got == Message(expected, _payload(expected))
                    expected += 1
                    messages += 1
            if random.random() < 0.05:
                time.sleep(0.002)
    finally:
        os.waitpid(child, 0)
    assert messages > 100
    assert gaps > 10


# --- why each guard is there ---


def test_without_the_look_after_the_copy_torn_messages_come_out(
    memory: memoryview, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same lap as above, with the second look answered as the first one was."""
    reader = LogReader(memory, next_sequence=1)
    for _ in range(8):
        written(writer, bytes([writer.next_sequence]) * 500)
    real = broadcast._copied

    def lapped_half_way(data: memoryview, begin: int, length: int) -> bytes:
        monkeypatch.setattr(broadcast, "_copied", real)
        half = length // 2
        first = real(data, begin, half)
        for _ in range(5):
            written(writer, bytes([writer.next_sequence]) * 500)
        return first + real(data, begin + half, length - half)

    frozen = {L_OLDEST: words_of(memory)[L_OLDEST], L_PUBLISHED: words_of(memory)[L_PUBLISHED]}
    monkeypatch.setattr(broadcast, "_copied", lapped_half_way)
    taken = reader.take(100)
    assert all(set(got.payload) == {got.sequence} for got in taken if isinstance(got, Message))
    blind = LogReader(memory, next_sequence=1)
    blind._words = frozen  # type: ignore[assignment]
    monkeypatch.setattr(broadcast, "_copied", lapped_half_way)
    try:
        wrong = [
            got for got in blind.take(100) if isinstance(got, Message) and set(got.payload) != {got.sequence}
        ]
    except RingCorrupt:
        wrong = [Message(0, b"")]
    assert wrong


# --- a writer that stores nonsense ---


@pytest.mark.parametrize("published", [CAPACITY + 13, 1 << 40, (1 << 64) - 1])
def test_readers_refuse_impossible_positions(memory: memoryview, writer: LogWriter, published: int) -> None:
    reader = LogReader(memory)
    written(writer, b"x")
    words_of(memory)[L_PUBLISHED] = published
    with pytest.raises(RingCorrupt, match="claims"):
        reader.take(9)


def test_readers_refuse_a_log_that_goes_back(memory: memoryview, writer: LogWriter) -> None:
    reader = LogReader(memory)
    written(writer, b"x")
    assert len(reader.take(9)) == 1
    words_of(memory)[L_PUBLISHED] = 5
    with pytest.raises(RingCorrupt, match="went back"):
        reader.take(9)


@pytest.mark.parametrize(
    ("at", "head", "match"),
    [
        (13, (2, 2), "runs past"),
        (13, (2, 1 << 31), "runs past"),
        (13, (1, 1), "should"),
        (0, (1, 100), "runs past"),
    ],
)
def test_readers_refuse_impossible_heads(
    memory: memoryview, writer: LogWriter, at: int, head: tuple[int, int], match: str
) -> None:
    written(writer, b"a", b"b")
    struct.pack_into("<QI", memory, RING_HEADER_BYTES + at, *head)
    with pytest.raises(RingCorrupt, match=match):
        LogReader(memory).take(9)


def test_readers_refuse_half_a_head(memory: memoryview) -> None:
    reader = LogReader(memory)
    words_of(memory)[L_PUBLISHED] = HEAD_BYTES - 1
    with pytest.raises(RingCorrupt, match="runs past"):
        reader.take(9)


@pytest.mark.parametrize(
    ("oldest", "published"), [(8, 0), (0, CAPACITY + 1), (POSITION_MAX + 8, POSITION_MAX + 8), (0, 3)]
)
def test_successors_refuse_impossible_positions(memory: memoryview, oldest: int, published: int) -> None:
    words = words_of(memory)
    words[L_OLDEST], words[L_PUBLISHED] = oldest, published
    with pytest.raises(RingCorrupt):
        LogWriter(memory)


def test_a_reader_cannot_store_into_what_it_maps_read_only() -> None:
    """The mapping says so, not only the code."""
    fd = os.memfd_create("log", os.MFD_CLOEXEC)
    os.ftruncate(fd, RING_HEADER_BYTES + CAPACITY)
    with mmap.mmap(fd, 0) as memory, memoryview(memory) as view:
        initialise_log(view)
    mapped = mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ)
    os.close(fd)
    reader = LogReader(memoryview(mapped))
    assert reader.take(1) == []
    with pytest.raises(TypeError):
        reader._words[L_OLDEST] = 1
    assert in_child(lambda: LogReader(memoryview(mapped)).take(1)) == 0
