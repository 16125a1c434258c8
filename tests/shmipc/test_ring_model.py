"""Ring and log against models: lists, which cannot wrap, tear or lag."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shmipc.broadcast import Gap, LogReader, LogWriter, Message, initialise_log
from shmipc.layout import R_ACKNOWLEDGED, R_PUBLISHED, RING_HEADER_BYTES
from shmipc.limits import RING_BYTES_MIN
from shmipc.ring import RingReader, RingWriter, initialise

CAPACITY = RING_BYTES_MIN
LENGTH_BYTES = 4
HEAD_BYTES = 12
#: Few sizes matter: nothing, small, some that fill the ring quickly, the largest and one more.
SIZES = st.one_of(
    st.integers(0, 40), st.integers(500, 1500), st.sampled_from([CAPACITY - LENGTH_BYTES, CAPACITY - LENGTH_BYTES + 1])
)  # fmt: skip


def contents(number: int, size: int) -> bytes:
    return (b"%d." % number * (size // 2 + 1))[:size]


class RingModel(RuleBasedStateMachine):
    """What is staged, what is published, how much of that was taken and not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = memoryview(bytearray(RING_HEADER_BYTES + CAPACITY))
        initialise(self.memory)
        self.numbers = itertools.count()
        self.staged: list[bytes] = []
        self.published: list[bytes] = []
        self.taken = 0

    @initialize(begin=st.integers(0, 3 * CAPACITY))
    def begin_anywhere(self, begin: int) -> None:
        words = self.memory[:RING_HEADER_BYTES].cast("Q")
        words[R_PUBLISHED] = words[R_ACKNOWLEDGED] = begin
        self.writer, self.reader = RingWriter(self.memory), RingReader(self.memory)

    def used(self) -> int:
        return sum(LENGTH_BYTES + len(message) for message in self.published + self.staged)

    @rule(size=SIZES)
    def put(self, size: int) -> None:
        message = contents(next(self.numbers), size)
        fits = self.used() + LENGTH_BYTES + size <= CAPACITY
        assert self.writer.put(message) == fits
        if fits:
            self.staged.append(message)

    @rule()
    def publish(self) -> None:
        assert self.writer.publish() == len(self.staged)
        self.published += self.staged
        self.staged = []

    @rule(count=st.integers(0, 5))
    def take(self, count: int) -> None:
        assert self.reader.take(count) == self.published[self.taken : self.taken + count]
        self.taken = min(self.taken + count, len(self.published))

    @rule()
    def acknowledge(self) -> None:
        self.reader.acknowledge()
        del self.published[: self.taken]
        self.taken = 0

    @rule()
    def writer_dies(self) -> None:
        self.writer = RingWriter(self.memory)
        self.staged = []

    @rule()
    def reader_dies(self) -> None:
        self.reader = RingReader(self.memory)
        self.taken = 0

    @invariant()
    def both_sides_agree_on_the_room(self) -> None:
        if hasattr(self, "writer"):
            assert self.writer.free_bytes == CAPACITY - self.used()
            assert self.writer.staged_count == len(self.staged)
            assert self.reader.lag_bytes == sum(LENGTH_BYTES + len(message) for message in self.published)


class _Follower:
    """What a reader must do: how far it has copied (excluded), and what it expects."""

    def __init__(self, reader: LogReader, expected: int) -> None:
        self.reader, self.expected, self.copied = reader, expected, expected


class LogModel(RuleBasedStateMachine):
    """All messages ever published; those still there are as many of the last as fit."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = memoryview(bytearray(RING_HEADER_BYTES + CAPACITY))
        initialise_log(self.memory)
        self.writer = LogWriter(self.memory)
        self.staged: list[bytes] = []
        self.published: list[bytes] = []
        self.followers: list[_Follower] = []

    def oldest(self) -> int:
        """Sequence number of the oldest message that is there."""
        room, first = CAPACITY, len(self.published) + 1
        while first > 1 and room >= HEAD_BYTES + len(self.published[first - 2]):
            first -= 1
            room -= HEAD_BYTES + len(self.published[first - 1])
        return first

    @rule(size=st.one_of(st.integers(0, 40), st.integers(300, CAPACITY // 4 - HEAD_BYTES)))
    def put(self, size: int) -> None:
        staged_bytes = sum(HEAD_BYTES + len(message) for message in self.staged)
        if staged_bytes + HEAD_BYTES + size > CAPACITY // 4:  # it publishes by itself
            self.published += self.staged
            self.staged = []
        sequence = len(self.published) + len(self.staged) + 1
        message = contents(sequence, size)
        assert self.writer.put(message) == sequence
        self.staged.append(message)

    @rule()
    def publish(self) -> None:
        assert self.writer.publish() == len(self.staged)
        self.published += self.staged
        self.staged = []

    @rule()
    def writer_dies(self) -> None:
        self.writer = LogWriter(self.memory)
        self.staged = []
        assert self.writer.next_sequence == len(self.published) + 1

    @rule(back=st.integers(0, 30))
    def reader_comes(self, back: int) -> None:
        if len(self.followers) < 3:
            first = max(1, len(self.published) + 1 - back)
            self.followers.append(_Follower(LogReader(self.memory.toreadonly(), next_sequence=first), first))

    @rule(which=st.integers(0, 2), count=st.integers(0, 6))
    def take(self, which: int, count: int) -> None:
        if which >= len(self.followers):
            return
        follower = self.followers[which]
        expected: list[Message | Gap] = []
        while len(expected) < count:
            if follower.expected == follower.copied:
                if follower.copied == len(self.published) + 1:
                    break
                follower.copied = len(self.published) + 1
                oldest = self.oldest()
                if oldest > follower.expected:
                    expected.append(Gap(follower.expected, oldest))
                    follower.expected = oldest
                    continue
            expected.append(Message(follower.expected, self.published[follower.expected - 1]))
            follower.expected += 1
        assert follower.reader.take(count) == expected


RingModel.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
LogModel.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestRing = RingModel.TestCase
TestLog = LogModel.TestCase
