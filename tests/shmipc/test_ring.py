"""The ring: order, wrap, back-pressure, successors, and writers and readers that store nonsense."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from shmipc.errors import ArenaLayoutError, RingCorrupt
from shmipc.layout import (
    R_ACKNOWLEDGED,
    R_CAPACITY_BYTES,
    R_LAYOUT_VERSION,
    R_MAGIC,
    R_PUBLISHED,
    RING_HEADER_BYTES,
)
from shmipc.limits import POSITION_MAX, RING_BYTES_MAX, RING_BYTES_MIN
from shmipc.ring import RingReader, RingWriter, initialise

CAPACITY = RING_BYTES_MIN


def ring_memory(capacity: int = CAPACITY) -> memoryview:
    memory = memoryview(bytearray(RING_HEADER_BYTES + capacity))
    initialise(memory)
    return memory


def words_of(memory: memoryview) -> memoryview[int]:
    return memory[:RING_HEADER_BYTES].cast("Q")


@pytest.fixture
def memory() -> memoryview:
    return ring_memory()


@pytest.fixture
def writer(memory: memoryview) -> RingWriter:
    return RingWriter(memory)


@pytest.fixture
def reader(memory: memoryview) -> RingReader:
    return RingReader(memory)


def moved_to(memory: memoryview, position: int) -> None:
    """As if so many bytes had gone through."""
    words_of(memory)[R_PUBLISHED] = words_of(memory)[R_ACKNOWLEDGED] = position


def test_a_batch_becomes_visible_at_once_and_in_order(writer: RingWriter, reader: RingReader) -> None:
    assert writer.put(b"one")
    assert writer.put(b"")
    assert writer.put(bytearray(b"three"))
    assert writer.staged_count == 3
    assert reader.take(10) == []
    assert writer.publish() == 3
    assert writer.publish() == 0
    assert reader.take(2) == [b"one", b""]
    assert reader.take(2) == [b"three"]
    assert reader.take(2) == []


def test_what_is_put_is_what_it_was_then(writer: RingWriter, reader: RingReader) -> None:
    payload = bytearray(b"before")
    writer.put(memoryview(payload))
    payload[:] = b"after!"
    writer.publish()
    assert reader.take(1) == [b"before"]


def test_take_goes_on_with_what_was_published_since(writer: RingWriter, reader: RingReader) -> None:
    for text in (b"a", b"b"):
        writer.put(text)
    writer.publish()
    assert reader.take(1) == [b"a"]
    writer.put(b"c")
    writer.publish()
    assert reader.take(5) == [b"b", b"c"]


@pytest.mark.parametrize("begin", [*range(CAPACITY - 12, CAPACITY + 1), (1 << 33) - 3])
def test_messages_run_over_the_end(memory: memoryview, begin: int) -> None:
    """The cut falls into every byte of the length and of the message in turn."""
    moved_to(memory, begin)
    writer, reader = RingWriter(memory), RingReader(memory)
    for text in (b"12345678", b"abc"):
        assert writer.put(text)
    writer.publish()
    assert reader.take(9) == [b"12345678", b"abc"]


def test_a_full_ring_says_no_until_the_reader_gives_room_back(writer: RingWriter, reader: RingReader) -> None:
    count = 0
    while writer.put(b"x" * 60):
        count += 1
    assert count == CAPACITY // 64
    assert writer.free_bytes == 0
    assert not writer.put(b""), "a length needs room, too"
    writer.publish()
    assert len(reader.take(1)) == 1
    assert not writer.put(b"y" * 60), "taken is not acknowledged"
    reader.acknowledge()
    assert writer.free_bytes == 64
    assert writer.put(b"y" * 60)
    assert not writer.put(b"")
    writer.publish()
    assert reader.take(count + 1) == [b"x" * 60] * (count - 1) + [b"y" * 60]


def test_the_largest_message_fits_and_one_byte_more_does_not(writer: RingWriter, reader: RingReader) -> None:
    assert not writer.put(bytes(writer.message_bytes_max + 1))
    assert writer.put(bytes(writer.message_bytes_max))
    writer.publish()
    assert reader.take(1) == [bytes(CAPACITY - 4)]
    assert reader.lag_bytes == CAPACITY
    reader.acknowledge()
    assert (reader.lag_bytes, writer.free_bytes) == (0, CAPACITY)


def test_a_new_reader_gets_what_was_not_acknowledged(memory: memoryview, writer: RingWriter) -> None:
    for number in range(6):
        writer.put(b"%d" % number)
    writer.publish()
    first = RingReader(memory)
    assert first.take(2) == [b"0", b"1"]
    first.acknowledge()
    assert first.take(2) == [b"2", b"3"]
    assert RingReader(memory).take(9) == [b"2", b"3", b"4", b"5"]


def test_a_new_writer_goes_on_at_what_was_published(
    memory: memoryview, writer: RingWriter, reader: RingReader
) -> None:
    writer.put(b"published")
    writer.publish()
    writer.put(b"staged, and lost with its writer")
    second = RingWriter(memory)
    second.put(b"second")
    second.publish()
    assert reader.take(9) == [b"published", b"second"]


class Interrupted:
    """A writer's data area, during whose change a signal handler raises once."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self.is_armed = True

    def __setitem__(self, key: slice, value: bytes) -> None:
        if self.is_armed:
            self._memory[key.start : key.start + 3] = value[:3]
            self.is_armed = False
            raise KeyboardInterrupt
        self._memory[key] = value


def test_an_interrupted_publication_is_made_up_for_by_the_next(memory: memoryview) -> None:
    writer, reader = RingWriter(memory), RingReader(memory)
    writer._data = Interrupted(writer._data)  # type: ignore[assignment]
    writer.put(b"one")
    with pytest.raises(KeyboardInterrupt):
        writer.publish()
    assert reader.take(9) == []
    writer.put(b"two")
    assert writer.publish() == 2
    assert reader.take(9) == [b"one", b"two"]


def test_random_traffic_comes_out_as_it_went_in(memory: memoryview) -> None:
    choose = random.Random(1)
    writer, reader = RingWriter(memory), RingReader(memory)
    put, got = [], []
    for _ in range(20_000):
        message = choose.randbytes(choose.choice((0, 1, 7, 64, 300, 1500)))
        if choose.random() < 0.6:
            if writer.put(message):
                put.append(message)
        elif choose.random() < 0.5:
            writer.publish()
        else:
            got += reader.take(choose.randrange(1, 9))
            reader.acknowledge()
    writer.publish()
    got += reader.take(len(put))
    assert got == put
    assert len(put) > 5000


@pytest.mark.parametrize("capacity", [0, RING_BYTES_MIN // 2, RING_BYTES_MIN + 8, 3 * RING_BYTES_MIN])
def test_odd_sizes_are_refused(capacity: int) -> None:
    with pytest.raises(ArenaLayoutError, match="power of two"):
        initialise(memoryview(bytearray(RING_HEADER_BYTES + capacity)))


def test_sizes_over_the_limit_are_refused() -> None:
    memory = memoryview(bytearray(RING_HEADER_BYTES + 2 * RING_BYTES_MAX))
    with pytest.raises(ArenaLayoutError, match="power of two"):
        initialise(memory)
    initialise(memory[: RING_HEADER_BYTES + RING_BYTES_MAX])


@pytest.mark.parametrize("word", [R_MAGIC, R_LAYOUT_VERSION, R_CAPACITY_BYTES])
@pytest.mark.parametrize("side", [RingReader, RingWriter])
def test_other_headers_are_refused(
    memory: memoryview, word: int, side: Callable[[memoryview], object]
) -> None:
    words_of(memory)[word] += 1
    with pytest.raises(ArenaLayoutError, match="not a ring"):
        side(memory)


# --- the other side stores nonsense ---


@pytest.mark.parametrize("position", [0, 8, 15, CAPACITY + 9, 1 << 40, (1 << 64) - 1])
def test_a_reader_refuses_impossible_positions(memory: memoryview, position: int) -> None:
    moved_to(memory, 8)
    writer, reader = RingWriter(memory), RingReader(memory)
    writer.put(b"1234")
    writer.publish()
    assert reader.take(9) == [b"1234"]
    words_of(memory)[R_PUBLISHED] = position
    with pytest.raises(RingCorrupt, match="published"):
        reader.take(9)
    with pytest.raises(RingCorrupt, match="published"):
        _ = reader.lag_bytes


@pytest.mark.parametrize("length", [5, CAPACITY, 1 << 31, (1 << 32) - 1])
def test_a_reader_refuses_lengths_past_what_was_published(
    memory: memoryview, writer: RingWriter, reader: RingReader, length: int
) -> None:
    writer.put(b"fine")
    writer.put(b"1234")
    writer.publish()
    struct.pack_into("<I", memory, RING_HEADER_BYTES + 8, length)
    with pytest.raises(RingCorrupt, match="runs past"):
        reader.take(9)


def test_a_reader_refuses_half_a_length(memory: memoryview, reader: RingReader) -> None:
    words_of(memory)[R_PUBLISHED] = 3
    with pytest.raises(RingCorrupt, match="runs past"):
        reader.take(9)


def test_what_is_taken_does_not_change_with_the_ring(memory: memoryview, writer: RingWriter) -> None:
    """Lengths are looked at in a private copy: a writer that changes them after the look changes nothing."""
    for text in (b"first", b"second"):
        writer.put(text)
    writer.publish()
    reader = RingReader(memory)
    assert reader.take(1) == [b"first"]
    memory[RING_HEADER_BYTES:] = b"\xff" * CAPACITY
    assert reader.take(1) == [b"second"]


@pytest.mark.parametrize("position", [0, 7, 17, CAPACITY, (1 << 64) - 1])
def test_a_writer_refuses_impossible_positions(memory: memoryview, position: int) -> None:
    moved_to(memory, 8)
    writer = RingWriter(memory)
    writer.put(b"1234")
    writer.publish()
    words_of(memory)[R_ACKNOWLEDGED] = position
    with pytest.raises(RingCorrupt, match="acknowledges"):
        _ = writer.free_bytes
    with pytest.raises(RingCorrupt, match="acknowledges"):
        writer.put(bytes(writer.message_bytes_max))


def test_each_side_believes_only_itself_about_itself(memory: memoryview) -> None:
    """The other side can store into our words as well; they are written, never read again."""
    writer, reader = RingWriter(memory), RingReader(memory)
    words = words_of(memory)
    writer.put(b"one")
    words[R_PUBLISHED] = 1 << 50
    words[R_CAPACITY_BYTES] = 1 << 50
    writer.publish()
    assert reader.take(1) == [b"one"]
    words[R_ACKNOWLEDGED] = 1 << 50
    reader.acknowledge()
    writer.put(bytes(writer.message_bytes_max - 7))
    writer.publish()
    assert reader.take(1) == [bytes(writer.message_bytes_max - 7)]


@pytest.mark.parametrize(
    ("published", "acknowledged"), [(0, 8), (CAPACITY + 1, 0), (POSITION_MAX + 8, POSITION_MAX + 8)]
)
def test_successors_refuse_impossible_positions(
    memory: memoryview, published: int, acknowledged: int
) -> None:
    words = words_of(memory)
    words[R_PUBLISHED], words[R_ACKNOWLEDGED] = published, acknowledged
    with pytest.raises(RingCorrupt):
        RingWriter(memory)
    with pytest.raises(RingCorrupt):
        RingReader(memory)


def test_random_garbage_neither_hangs_nor_reads_outside() -> None:
    """Whatever is in words and data: messages or RingCorrupt, at most a ring's worth of bytes."""
    choose = random.Random(2)
    outcomes = {"messages": 0, "refused": 0}
    for _ in range(3000):
        memory = ring_memory()
        reader = RingReader(memory)
        memory[RING_HEADER_BYTES : RING_HEADER_BYTES + 64] = bytes(choose.choices(range(4), k=64))
        words_of(memory)[R_PUBLISHED] = choose.choice((0, 4, 8, 64, CAPACITY, CAPACITY + 1, 1 << 63))
        try:
            taken = reader.take(10_000)
        except RingCorrupt:
            outcomes["refused"] += 1
        else:
            assert sum(4 + len(message) for message in taken) <= CAPACITY
            outcomes["messages"] += 1
    assert min(outcomes.values()) > 100
