"""Each guard of rings, logs, wakers and channels is needed: with it a scenario holds, and without it the same scenario breaks.

The module's source is compiled once more with one guard taken out. A guard that could go without anybody noticing would be found here.
"""

from __future__ import annotations

import inspect
import os
import select
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from shmipc import broadcast, channel, ring, waker
from shmipc.errors import RingCorrupt
from shmipc.layout import (
    L_OLDEST,
    L_PUBLISHED,
    R_ACKNOWLEDGED,
    R_PUBLISHED,
    RING_HEADER_BYTES,
)
from shmipc.limits import RING_BYTES_MIN

CAPACITY = RING_BYTES_MIN


def _ring(module: Any) -> tuple[memoryview, memoryview, Any, Any]:
    memory = memoryview(bytearray(RING_HEADER_BYTES + CAPACITY))
    module.initialise(memory)
    words = memory[:RING_HEADER_BYTES].cast("Q")
    return memory, words, module.RingWriter(memory), module.RingReader(memory)


def _log(module: Any) -> tuple[memoryview, memoryview, Any, Any]:
    memory = memoryview(bytearray(RING_HEADER_BYTES + CAPACITY))
    module.initialise_log(memory)
    words = memory[:RING_HEADER_BYTES].cast("Q")
    return memory, words, module.LogWriter(memory), module.LogReader(memory, next_sequence=1)


class Watched:
    """Words or data of a writer, of whom somebody else runs whenever a store is half done."""

    def __init__(self, memory: memoryview, look: Callable[[], None]) -> None:
        self._memory, self._look = memory, look

    def __len__(self) -> int:
        return len(self._memory)

    def __getitem__(self, key: Any) -> Any:
        return self._memory[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, slice) and len(value) > 1:
            begin, half = key.start or 0, len(value) // 2
            self._memory[begin : begin + half] = value[:half]
            self._look()
            self._memory[begin + half : begin + len(value)] = value[half:]
        else:
            self._memory[key] = value
        self._look()


# --- scenarios ---


def a_reader_refuses_more_than_a_ring(module: Any) -> None:
    _, words, _, reader = _ring(module)
    words[R_PUBLISHED] = CAPACITY + 8
    with pytest.raises(RingCorrupt):
        reader.take(10_000)


def a_reader_refuses_a_message_that_runs_past(module: Any) -> None:
    memory, _, writer, reader = _ring(module)
    writer.put(b"1234")
    writer.publish()
    memory[RING_HEADER_BYTES] = 5
    with pytest.raises(RingCorrupt):
        reader.take(1)


def a_reader_refuses_half_a_length(module: Any) -> None:
    _, words, _, reader = _ring(module)
    words[R_PUBLISHED] = 3
    with pytest.raises(RingCorrupt):
        reader.take(1)


def a_writer_refuses_a_reader_that_is_ahead(module: Any) -> None:
    _, words, writer, _ = _ring(module)
    words[R_ACKNOWLEDGED] = 64
    with pytest.raises(RingCorrupt):
        writer.put(bytes(writer.message_bytes_max + 60))


def nothing_unread_is_overwritten(module: Any) -> None:
    _, _, writer, reader = _ring(module)
    put = [message for number in range(100) if writer.put(message := b"%0100d" % number)]
    writer.publish()
    put += [message for number in range(9) if writer.put(message := b"%0100d" % number)]
    writer.publish()
    assert reader.take(1000) == put
    assert put


def a_message_that_does_not_fit_stages_nothing(module: Any) -> None:
    _, _, writer, reader = _ring(module)
    assert writer.put(b"fits")
    assert not writer.put(bytes(CAPACITY))
    assert writer.put(b"fits too")
    writer.publish()
    assert reader.take(9) == [b"fits", b"fits too"]


def nothing_is_visible_before_it_is_whole(module: Any) -> None:
    _, _, writer, reader = _ring(module)
    seen: list[bytes] = []
    writer._data = Watched(writer._data, lambda: seen.extend(reader.take(9)))
    for text in (b"one", b"two"):
        writer.put(text)
    writer.publish()
    assert seen + reader.take(9) == [b"one", b"two"]


def what_is_not_acknowledged_comes_again(module: Any) -> None:
    memory, _, writer, reader = _ring(module)
    writer.put(b"one")
    writer.publish()
    assert reader.take(1) == [b"one"]
    assert module.RingReader(memory).take(1) == [b"one"]


def payloads_are_those_of_the_put(module: Any) -> None:
    _, _, writer, reader = _ring(module)
    payload = bytearray(b"before")
    writer.put(payload)
    payload[:] = b"after!"
    writer.publish()
    assert reader.take(1) == [b"before"]


def _whole(taken: list[Any]) -> None:
    for got in taken:
        if isinstance(got, broadcast.Message) or type(got).__name__ == "Message":
            assert set(got.payload) <= {got.sequence & 0xFF}


def _fill(writer: Any, count: int) -> None:
    for _ in range(count):
        writer.put(bytes([writer.next_sequence & 0xFF]) * 500)
        writer.publish()


def log_messages_are_whole_while_others_are_written(module: Any) -> None:
    memory, _, writer, _ = _log(module)
    _fill(writer, 8)
    data = writer._data
    writer._data = Watched(data, lambda: _whole(module.LogReader(memory).take(99)))
    writer._head = lambda at: module._HEAD.unpack(module._copied(data, at, module._HEAD_BYTES))
    _fill(writer, 20)


def log_messages_overwritten_during_the_copy_are_dropped(module: Any) -> None:
    _, _, writer, reader = _log(module)
    _fill(writer, 8)
    real: Callable[[memoryview, int, int], bytes] = module._copied

    def copied_slowly(data: memoryview, begin: int, length: int) -> bytes:
        module._copied = real
        half = length // 2
        first = real(data, begin, half)
        _fill(writer, 6)
        return first + real(data, begin + half, length - half)

    try:
        module._copied = copied_slowly
        _whole(reader.take(99))
    finally:
        module._copied = real


def a_lapped_reader_is_told(module: Any) -> None:
    _, _, writer, reader = _log(module)
    _fill(writer, 30)
    assert type(reader.take(1)[0]).__name__ == "Gap"


def a_log_reader_refuses_more_than_a_log(module: Any) -> None:
    _, words, _, reader = _log(module)
    words[L_PUBLISHED] = 1 << 40
    with pytest.raises(RingCorrupt, match="claims"):
        reader.take(9)


def a_log_reader_refuses_a_log_that_goes_back(module: Any) -> None:
    _, words, writer, reader = _log(module)
    _fill(writer, 1)
    reader.take(9)
    words[L_PUBLISHED] = 8
    with pytest.raises(RingCorrupt, match="went back"):
        reader.take(9)


def log_numbers_go_on_when_all_was_given_up(module: Any) -> None:
    memory, words, writer, _ = _log(module)
    _fill(writer, 2)
    words[L_OLDEST] = words[L_PUBLISHED]
    assert module.LogWriter(memory).next_sequence == 3


def log_numbers_go_on_when_the_last_one_was_not_noted(module: Any) -> None:
    memory, words, writer, _ = _log(module)
    _fill(writer, 2)
    words[module.L_NEXT_SEQUENCE] = 2  # killed between the two stores
    assert module.LogWriter(memory).next_sequence == 3


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def a_drained_waker_is_quiet(module: Any) -> None:
    made = module.EventfdWaker.create()
    made.wake()
    made.drain()
    assert not _readable(made.fileno())


def a_full_waker_does_not_raise(module: Any) -> None:
    made = module.EventfdWaker.create()
    os.eventfd_write(made.waking_fd, 2**64 - 2)
    made.wake()


def both_wake_ups_are_taken_at_once(module: Any) -> None:
    made = module.EventfdWaker.create()
    made.watch_self()
    made.wake()
    made.wake_self()
    made.drain()
    assert not _readable(made.fileno())


class _Channel:
    def __init__(self, module: Any) -> None:
        self.server = module.ServerChannel.create(ring_bytes=CAPACITY, client_waits="loop")
        self.client = module.ClientChannel.attach([os.dup(fd) for fd in self.server.descriptors])

    def woken(self, side: Any) -> bool:
        woken = _readable(side.fileno())
        side.drain()
        return woken


def a_flush_wakes(module: Any) -> None:
    made = _Channel(module)
    made.client.send(b"x")
    made.client.flush()
    assert made.woken(made.server)


def who_asks_late_for_room_is_told(module: Any) -> None:
    made = _Channel(module)
    made.server.receive()
    made.client.want_room()
    assert made.woken(made.server), "else nobody looks"
    made.server.receive()
    assert made.woken(made.client)


def received_messages_give_their_room_back(module: Any) -> None:
    made = _Channel(module)
    for _ in range(3):
        assert made.client.send(bytes(made.client.message_bytes_max))
        made.client.flush()
        assert len(made.server.receive()) == 1


def the_memory_cannot_be_cut_off(module: Any) -> None:
    made = _Channel(module)
    with pytest.raises(PermissionError):
        os.ftruncate(made.server.descriptors[0], 0)


class Guard(NamedTuple):
    """A piece of a module's source, and what is left when the guard in it is taken out."""

    module: types.ModuleType
    text: str
    without: str
    scenario: Callable[[Any], None]


_PUBLISH = "        self._words[R_PUBLISHED] = published\n"
_COPY = "        begin = self._published & (self._capacity - 1)\n        end = begin + len(batch)\n"
_STAGE = "        self._parts += (_pack_length"
_NOTE = "        self._words[L_NEXT_SEQUENCE] = self.next_sequence\n        return count"
_SEAL = "fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, _SEALS)"
_NO_SEAL = "globals().update(_SEALS=0)"
_ROOM = "        self._make_room(end - self._capacity)\n"

GUARDS = [
    Guard(ring, "if not begin < published <= self._acknowledged + self._capacity:", "if False:", a_reader_refuses_more_than_a_ring),
    Guard(ring, "if at > end:", "if False:", a_reader_refuses_a_message_that_runs_past),
    Guard(ring, "if begin > end:", "if False:", a_reader_refuses_half_a_length),
    Guard(ring, "if not self._acknowledged <= found <= self._published:", "if False:", a_writer_refuses_a_reader_that_is_ahead),
    Guard(ring, "self._look()\n            if staged >", "self._look()\n            if False and staged >", nothing_unread_is_overwritten),
    Guard(ring, "                return False\n" + _STAGE, "                pass\n" + _STAGE, a_message_that_does_not_fit_stages_nothing),
    Guard(ring, _COPY, _COPY + "        self._words[R_PUBLISHED] = self._published + len(batch)\n", nothing_is_visible_before_it_is_whole),
    Guard(ring, _PUBLISH, "", nothing_is_visible_before_it_is_whole),
    Guard(ring, "        return messages\n", "        self.acknowledge()\n        return messages\n", what_is_not_acknowledged_comes_again),
    Guard(ring, "payload = bytes(payload)", "pass", payloads_are_those_of_the_put),
    Guard(broadcast, _ROOM, "", log_messages_are_whole_while_others_are_written),
    Guard(broadcast, "        self._words[L_OLDEST] = oldest\n", "", log_messages_are_whole_while_others_are_written),
    Guard(broadcast, "oldest = self._words[L_OLDEST]  #", "oldest = begin  #", log_messages_overwritten_during_the_copy_are_dropped),
    Guard(broadcast, "if expected is None or sequence == expected:", "if True:", a_lapped_reader_is_told),
    Guard(broadcast, "if published - begin > self._capacity:", "if False:", a_log_reader_refuses_more_than_a_log),
    Guard(broadcast, "if published < position:", "if False:", a_log_reader_refuses_a_log_that_goes_back),
    Guard(broadcast, _NOTE, "        return count", log_numbers_go_on_when_all_was_given_up),
    Guard(broadcast, "while at < self._published:", "while False:", log_numbers_go_on_when_the_last_one_was_not_noted),
    Guard(waker, "_EDGE = select.EPOLLIN | select.EPOLLET", "_EDGE = select.EPOLLIN", a_drained_waker_is_quiet),
    Guard(waker, "except BlockingIOError:", "except ZeroDivisionError:", a_full_waker_does_not_raise),
    Guard(waker, "_ENDS = 2", "_ENDS = 1", both_wake_ups_are_taken_at_once),
    Guard(channel, "if not self._is_closed and self._writer.publish():\n            self._wake_other()", "self._writer.publish()", a_flush_wakes),
    Guard(channel, "= self._asked\n            self._wake_other()", "= self._asked", who_asks_late_for_room_is_told),
    Guard(channel, "self._answered = asked\n            self._wake_other()", "self._answered = asked", who_asks_late_for_room_is_told),
    Guard(channel, "            self._reader.acknowledge()\n", "            pass\n", received_messages_give_their_room_back),
    Guard(channel, _SEAL, _NO_SEAL, the_memory_cannot_be_cut_off),
]  # fmt: skip


def _without(guard: Guard) -> types.ModuleType:
    source = inspect.getsource(guard.module)
    assert source.count(guard.text) == 1, f"the guard is written differently now: {guard.text!r}"
    made = types.ModuleType(f"{guard.module.__name__}_without_a_guard")
    exec(compile(source.replace(guard.text, guard.without), made.__name__, "exec"), made.__dict__)
    return made


@pytest.mark.parametrize(
    "guard", GUARDS, ids=lambda guard: f"{guard.scenario.__name__}-{GUARDS.index(guard)}"
)
def test_the_scenario_holds_with_the_guard_and_breaks_without(guard: Guard) -> None:
    guard.scenario(guard.module)
    broken = _without(guard)
    with pytest.raises((Exception, pytest.fail.Exception)):
        guard.scenario(broken)
