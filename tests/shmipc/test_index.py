"""The index is a hint: it may miss or mislead after an overflow, and never crashes or lies to those who check."""

from __future__ import annotations

import mmap
import random
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.shmipc.support import digest_of

from shmipc.index import IndexReader, IndexWriter
from shmipc.layout import INDEX_WAYS, PAGE_BYTES, Geometry, geometry_for

SLOTS = 64
GEOMETRY = geometry_for(PAGE_BYTES, PAGE_BYTES, SLOTS)


def _small(buckets: int) -> Geometry:
    return GEOMETRY._replace(index_buckets=buckets)


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, GEOMETRY.total_bytes) as made:
        yield made


def _digest(tag: int, first: int, second: int, rest: int = 0) -> bytes:
    """A digest with chosen tag and buckets (see ``IndexReader.buckets``)."""
    return b"".join(
        part.to_bytes(size, "little") for part, size in ((tag, 8), (0, 8), (first, 4), (second, 4), (rest, 8))
    )


def test_half_full_finds_everything(memory: mmap.mmap) -> None:
    writer = IndexWriter(memory, GEOMETRY)
    displaced = [writer.insert(digest_of(number), number) for number in range(SLOTS)]
    assert displaced == [-1] * SLOTS
    reader = IndexReader(memory, GEOMETRY)
    assert [reader.find(digest_of(number)) for number in range(SLOTS)] == list(range(SLOTS))
    assert all(reader.find(digest_of(number)) == -1 for number in range(SLOTS, 4 * SLOTS))
    writer.clear()
    assert all(reader.find(digest_of(number)) == -1 for number in range(SLOTS))
    writer.release()


def test_bytes_that_straddle_two_tags_are_no_entry(memory: mmap.mmap) -> None:
    writer = IndexWriter(memory, GEOMETRY)
    left, right = bytes(range(1, 9)), bytes(range(11, 19))
    for tag in (left, right):
        writer.insert(_digest(int.from_bytes(tag, "little"), 1, 1), 5)
    for shift in range(1, 8):
        straddling = left[shift:] + right[:shift]
        assert memory.find(straddling) > 0, "the bytes are there"
        assert writer.find(straddling + _digest(0, 1, 1)[8:]) == -1
        real = int.from_bytes(straddling, "little")
        writer.insert(_digest(real, 1, 2), 7)
        assert writer.find(_digest(real, 1, 2)) == 7, "an entry behind a straddling look-alike is found"
        writer.remove(_digest(real, 1, 2), 7)
    writer.release()


def test_an_overflow_displaces_one_and_says_which(memory: mmap.mmap) -> None:
    writer = IndexWriter(memory, GEOMETRY)
    digests = [_digest(1 + number, 3, 4) for number in range(2 * INDEX_WAYS + 1)]
    displaced = [writer.insert(digest, slot) for slot, digest in enumerate(digests)]
    assert displaced[:-1] == [-1] * (2 * INDEX_WAYS)
    lost = displaced[-1]
    assert [writer.find(digest) for digest in digests] == [
        slot if slot != lost else -1 for slot in range(len(digests))
    ]
    writer.release()


def test_a_moved_entry_points_to_the_newest_and_is_removed_by_it_only(memory: mmap.mmap) -> None:
    writer = IndexWriter(memory, GEOMETRY)
    writer.insert(digest_of(1), 4)
    assert writer.insert(digest_of(1), 9) == -1
    assert not writer.remove(digest_of(1), 4)
    assert writer.find(digest_of(1)) == 9
    assert writer.remove(digest_of(1), 9)
    assert writer.find(digest_of(1)) == -1
    writer.release()


def test_a_random_index_gives_an_answer_and_no_crash(memory: mmap.mmap) -> None:
    noise = random.Random(1)
    memory[: GEOMETRY.slots_offset] = noise.randbytes(GEOMETRY.slots_offset)
    reader = IndexReader(memory, GEOMETRY)
    start = GEOMETRY.index_offset
    for _ in range(500):
        at = noise.randrange(start, start + 500)
        digest = memory[at : at + 8] + noise.randbytes(24)
        assert -1 <= reader.find(digest) < 1 << 32


class IndexModel(RuleBasedStateMachine):
    """Against a dict, on four buckets, so that they overflow. What was displaced may be missed, never anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = mmap.mmap(-1, GEOMETRY.total_bytes)
        self.writer = IndexWriter(self.memory, _small(4))
        self.reader = IndexReader(self.memory, _small(4))
        self.entries: dict[int, int] = {}
        self.slots: dict[int, int] = {}

    @rule(number=st.integers(0, 60), slot=st.integers(0, SLOTS - 1))
    def insert(self, number: int, slot: int) -> None:
        if slot in self.slots:  # a slot has one content
            return
        before = dict(self.entries)
        displaced = self.writer.insert(digest_of(number), slot)
        if number in before:
            assert displaced == -1
            self.slots.pop(before[number])
        if displaced >= 0:
            self.entries.pop(self.slots.pop(displaced))
        self.entries[number] = slot
        self.slots[slot] = number

    @rule(number=st.integers(0, 60), slot=st.integers(0, SLOTS - 1))
    def remove(self, number: int, slot: int) -> None:
        expected = self.entries.get(number) == slot
        assert self.writer.remove(digest_of(number), slot) is expected
        if expected:
            self.slots.pop(self.entries.pop(number))

    @rule(data=st.data())
    def remove_one_that_is_there(self, data: st.DataObject) -> None:
        if self.entries:
            number = data.draw(st.sampled_from(sorted(self.entries)))
            self.remove(number, self.entries[number])

    @rule()
    def clear(self) -> None:
        self.writer.clear()
        self.entries.clear()
        self.slots.clear()

    @invariant()
    def finds_what_is_there_and_nothing_else(self) -> None:
        found = {number: self.reader.find(digest_of(number)) for number in range(61)}
        assert {number: slot for number, slot in found.items() if slot >= 0} == self.entries

    def teardown(self) -> None:
        self.writer.release()
        self.memory.close()


IndexModel.TestCase.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)
TestIndexModel = IndexModel.TestCase
