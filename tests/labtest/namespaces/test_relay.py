"""What a bad cable does to frames, decided without a device or a clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtest.namespaces.relay import Cable, Direction

_HOST, _PEER, _OTHER = b"\x02host_", b"\x02peer_", b"\x02other"
#: A frame: its number, so that order shows, and when it is sent after the one before.
_SENDING = st.lists(st.tuples(st.integers(0, 1400), st.floats(0, 0.05)), max_size=60)


def frame(number: int, size: int = 60, *, to: bytes = _PEER, sender: bytes = _HOST) -> bytes:
    return (to + sender + number.to_bytes(4, "big")).ljust(size, b"\0")


def sent(direction: Direction, sending: list[tuple[int, float]]) -> list[float]:
    """Sends frames, and returns when each was sent."""
    now, times = 100.0, []
    for number, (size, pause_s) in enumerate(sending):
        now += pause_s
        direction.take(frame(number, size), now)
        times.append(now)
    return times


def arrivals(direction: Direction) -> list[tuple[float, bytes]]:
    """All that arrives, each at its time."""
    found = []
    while (due := direction.next_due) is not None:
        assert direction.arrived(due - 1e-6) == []
        found += [(due, each) for each in direction.arrived(due)]
    return found


@given(_SENDING, st.floats(0, 0.2), st.floats(0, 0.2), st.integers(0, 2**32))
def test_frames_arrive_in_order_after_the_delay(
    sending: list[tuple[int, float]], delay_s: float, jitter_s: float, seed: int
) -> None:
    direction = Direction(
        Cable(delay_s=delay_s, jitter_s=jitter_s, chance=random.Random(seed)), is_outbound=True
    )
    times = sent(direction, sending)
    found = arrivals(direction)
    assert [each for _, each in found] == [frame(number, size) for number, (size, _) in enumerate(sending)]
    latest = 0.0
    for (due, _), at in zip(found, times, strict=True):
        assert due >= at + max(0.0, delay_s - jitter_s) - 1e-9
        # Late because of its own delay, or of the frame before it, which it does not overtake.
        assert due <= max(latest, at + delay_s + jitter_s) + 1e-9
        latest = due


@given(_SENDING, st.floats(0, 1), st.integers(0, 2**32))
def test_every_frame_is_lost_or_passed(sending: list[tuple[int, float]], loss: float, seed: int) -> None:
    direction = Direction(Cable(loss=loss, chance=random.Random(seed)), is_outbound=True)
    sent(direction, sending)
    found = arrivals(direction)
    assert direction.passed == len(found)
    assert direction.passed + direction.lost == len(sending)
    if loss in (0, 1):
        assert direction.lost == loss * len(sending)


def test_so_many_of_a_hundred_are_lost() -> None:
    direction = Direction(Cable(loss=0.25, queue_bytes_max=10**9, chance=random.Random(1)), is_outbound=False)
    for number in range(10_000):
        direction.take(frame(number), 0.0)
    assert 2300 < direction.lost < 2700


@given(_SENDING, st.floats(1_000, 1e6))
def test_no_more_comes_through_than_the_rate(sending: list[tuple[int, float]], bytes_per_s: float) -> None:
    direction = Direction(Cable(bytes_per_s=bytes_per_s), is_outbound=True)
    times = sent(direction, sending)
    carried = 0
    for due, each in arrivals(direction):
        carried += len(each)
        assert due >= times[0] + carried / bytes_per_s - 0.002 - 1e-6  # what the relay may catch up on


@pytest.mark.parametrize(("frames", "lost"), [(10, 0), (11, 1)])
def test_a_full_queue_loses_what_comes_next(frames: int, lost: int) -> None:
    direction = Direction(Cable(delay_s=1, queue_bytes_max=1000), is_outbound=True)
    for number in range(frames):
        direction.take(frame(number, 100), 0.0)
    assert direction.lost == lost
    assert len(direction.arrived(2.0)) == 10
    direction.take(frame(99, 1000), 3.0)  # there is room again
    assert direction.lost == lost


def test_a_host_neither_reaches_nor_hears_whom_it_is_cut_from() -> None:
    cable = Cable(cut_from=frozenset({_PEER}))
    outbound, inbound = Direction(cable, is_outbound=True), Direction(cable, is_outbound=False)
    outbound.take(frame(1, to=_PEER), 0.0)
    outbound.take(frame(2, to=_OTHER), 0.0)
    inbound.take(frame(3, to=_HOST, sender=_PEER), 0.0)
    inbound.take(frame(4, to=_HOST, sender=_OTHER), 0.0)
    assert outbound.arrived(0.0) == [frame(2, to=_OTHER)]
    assert inbound.arrived(0.0) == [frame(4, to=_HOST, sender=_OTHER)]
    assert (outbound.lost, inbound.lost) == (1, 1)
