"""Traces: bounded, forgotten in time, and made into spans that a person can read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.trace import (
    DETAIL_CHARACTERS_MAX,
    EVENTS,
    EVENTS_MAX,
    METADATA,
    TRACE_ID_BYTES,
    TRACE_S_MAX,
    TRACES_MAX,
    Event,
    Span,
    Trace,
    TraceMemory,
    spans_of,
)

ID = bytes(range(16))


def seen(spans: list[Span]) -> list[tuple[int, str, str, int, int, str]]:
    return [(span.block, span.kind, span.where, span.begin_us, span.end_us, span.failure) for span in spans]


def test_a_trace_is_bounded_and_says_so() -> None:
    trace = Trace(ID, 1_000_000)
    for _ in range(EVENTS_MAX):
        trace.note(3_500_000, 0, "asked", "b", "x" * 10_000)
    assert not trace.is_cut
    trace.note(3_500_000, 0, "asked")
    assert (len(trace.events), trace.is_cut) == (EVENTS_MAX, True)
    assert trace.events[0] == Event(2500, 0, "asked", "b", "x" * DETAIL_CHARACTERS_MAX)


@pytest.mark.parametrize("trace_id", [b"", b"x" * (TRACE_ID_BYTES - 1), b"x" * (TRACE_ID_BYTES + 1)])
def test_another_length_is_no_id(trace_id: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Trace(trace_id, 0)


def test_only_so_many_traces_are_kept_and_the_oldest_go() -> None:
    memory = TraceMemory()
    ids = [number.to_bytes(16, "little") for number in range(TRACES_MAX + 1)]
    for number, trace_id in enumerate(ids):
        memory.of(trace_id, number)
    assert len(memory) == TRACES_MAX
    assert memory.take(ids[0]) is None
    assert memory.of(ids[1], 99) is memory.take(ids[1])
    assert memory.take(ids[1]) is None


def test_traces_that_nobody_takes_are_forgotten() -> None:
    memory = TraceMemory()
    memory.of(ID, 0)
    memory.of(bytes(16), 5)
    memory.expire(int(TRACE_S_MAX * 1e9))
    assert len(memory) == 2
    memory.expire(int(TRACE_S_MAX * 1e9) + 1)
    assert len(memory) == 1
    assert memory.take(ID) is None


def test_a_block_that_came_after_a_failure() -> None:
    events = [
        Event(0, 3, "waits", "peers"),
        Event(40, 3, "asked", "b"),
        Event(90, 3, "failed", "b", "ORIGIN_TIMEOUT: silent"),
        Event(90, 3, "waits", "origins"),
        Event(200, 3, "asked", "store"),
        Event(300, 3, "head", "store"),
        Event(310, 3, "first byte", "store"),
        Event(500, 3, "arrived"),
    ]
    assert seen(spans_of(events, 900)) == [
        (3, "queue", "peers", 0, 40, ""),
        (3, "wait", "b", 40, 90, "ORIGIN_TIMEOUT: silent"),
        (3, "queue", "origins", 90, 200, ""),
        (3, "wait", "store", 200, 310, ""),
        (3, "transfer", "store", 310, 500, ""),
    ]


def test_what_was_tried_again_is_told_of_the_wait_that_it_made_longer() -> None:
    events = [
        Event(0, 0, "asked", "store"), Event(5, 0, "retries", "store", "SLOW_DOWN: 503; again in 50 ms"), Event(9, 0, "first byte", "store"),
        Event(12, 0, "arrived"), Event(13, 0, "retries", "store", "of nothing"),
    ]  # fmt: skip
    wait, transfer = spans_of(events, 20)
    assert (wait.kind, wait.notes, transfer.notes) == ("wait", ["SLOW_DOWN: 503; again in 50 ms"], [])


def test_two_sources_of_one_block_may_overlap() -> None:
    events = [
        Event(0, 0, "asked", "b"), Event(50, 0, "hedges", "b"), Event(50, 0, "asked", "c"), Event(60, 0, "first byte", "c"),
        Event(70, 0, "dropped", "b"), Event(80, 0, "arrived"),
    ]  # fmt: skip
    spans = spans_of(events, 80)
    assert seen(spans) == [
        (0, "wait", "b", 0, 70, "dropped"),
        (0, "wait", "c", 50, 60, ""),
        (0, "transfer", "c", 60, 80, ""),
    ]
    assert [span.notes for span in spans] == [["hedges"], [], []]


def test_metadata_memory_and_what_is_not_over() -> None:
    events = [
        Event(0, METADATA, "asks", "b"),
        Event(5, METADATA, "refused", "b", "down"),
        Event(5, METADATA, "asks", "store"),
        Event(9, METADATA, "answers", "store"),
        Event(9, METADATA, "learnt"),
        Event(9, 0, "memory"),
        Event(10, 1, "asked", "b"),
        Event(11, 1, "something new", "b"),
        Event(10, 2, "joins", "b"),
        Event(30, 2, "gave up"),
    ]
    assert seen(spans_of(events, 50)) == [
        (METADATA, "metadata", "b", 0, 5, "down"),
        (METADATA, "metadata", "store", 5, 9, ""),
        (0, "memory", "", 9, 9, ""),
        (1, "wait", "b", 10, 50, ""),
        (2, "joined", "b", 10, 30, "gave up"),
    ]


def test_what_a_home_does_for_another_host() -> None:
    events = [
        Event(0, 0, "read", "a"), Event(1, 0, "asked", "store"), Event(3, 0, "head", "store"), Event(3, 0, "sends", "a"),
        Event(4, 0, "first byte", "store"), Event(6, 0, "arrived"), Event(8, 0, "sent", "a"),
    ]  # fmt: skip
    assert seen(spans_of(events, 8)) == [
        (0, "wait", "store", 1, 4, ""),
        (0, "send", "a", 3, 8, ""),
        (0, "transfer", "store", 4, 6, ""),
    ]


_events = st.builds(
    Event, st.integers(0, 1000), st.integers(-1, 3), st.sampled_from([*EVENTS, "unheard of"]), st.sampled_from(["", "a", "b"])
)  # fmt: skip


@given(events=st.lists(_events, max_size=30), until_us=st.integers(0, 2000))
def test_spans_of_anything_lie_within_the_trace(events: list[Event], until_us: int) -> None:
    spans = spans_of(events, until_us)
    last = max([until_us, *(event.at_us for event in events)])
    for span in spans:
        assert 0 <= span.begin_us <= span.end_us <= last
    assert [(span.block, span.begin_us) for span in spans] == sorted(
        (span.block, span.begin_us) for span in spans
    )
    begun = [event for event in events if event.what in ("asks", "waits", "joins", "asked", "first byte", "sends", "memory", "known")]  # fmt: skip
    assert len(spans) == len(begun)
