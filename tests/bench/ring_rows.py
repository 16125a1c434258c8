"""Messages between two processes: a channel's rings against what the standard library has, small messages, one way and there and back."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import select
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from multiprocessing.process import BaseProcess

from shmipc.channel import ClientChannel, ServerChannel
from shmipc.layout import RING_HEADER_BYTES, SEMAPHORE_BYTES
from shmipc.limits import RING_BYTES_MIN
from shmipc.ring import RingReader, RingWriter, initialise
from shmipc.waker import SemaphoreWaker
from shmipc.wire import FrameDecoder, encode_frame

from .machine import LOAD_CORE, SERVER_CORE, pinned
from .row import Bench, Measurement, Unavailable, alternate

__all__ = ["round_trip_against_queue", "round_trip_against_socket", "throughput_against_queue", "throughput_against_socket"]  # fmt: skip

MESSAGE_BYTES = 64
RING_BYTES = 1 << 18
#: Messages of one publication, or of one send: what a loop's turn brings together under load.
BATCH = 64
PATIENCE_S = 60.0

_fork = multiprocessing.get_context("fork")


@contextmanager
def _other_process(work: Callable[[], None]) -> Iterator[BaseProcess]:
    """``work`` in a process on the load's core; ends with the block, however that ends."""
    with pinned(LOAD_CORE):
        process = _fork.Process(target=work)
        process.start()
    try:
        with pinned(SERVER_CORE):
            yield process
        process.join(PATIENCE_S)
        if process.exitcode != 0:
            raise Unavailable(f"the other process ended with {process.exitcode}")
    finally:
        process.kill()
        process.join()


#: Made before the clock runs, so that it shows the way and not the making.
_MESSAGES = [number.to_bytes(8, "little") * (MESSAGE_BYTES // 8) for number in range(4096)]


def _message(number: int) -> bytes:
    return _MESSAGES[number & 4095]


def _is(message: bytes, number: int) -> None:
    if message != _message(number):
        raise Unavailable(f"message {number} is {message!r}")


# --- one way: the clock runs from the first message's arrival to the last one's ---


def _rate(count: int, arrivals: Iterator[bytes]) -> float:
    """Messages per second; each is looked at."""
    _is(next(arrivals), 0)
    began = time.perf_counter()
    for number, message in enumerate(islice(arrivals, count - 1), 1):
        if message != _MESSAGES[number & 4095]:
            _is(message, number)
    return (count - 1) / (time.perf_counter() - began)


def _send_by_channel(client: ClientChannel, count: int) -> None:
    for number in range(count):
        message = _message(number)
        while not client.send(message):
            client.flush()
            client.want_room()
            client.wait(PATIENCE_S)
            client.receive()
        if number % BATCH == BATCH - 1:
            client.flush()
    client.flush()


def _from_channel(server: ServerChannel) -> Iterator[bytes]:
    while True:
        if not select.select([server], [], [], PATIENCE_S)[0]:
            raise Unavailable("a channel stands still")
        server.drain()
        while messages := server.receive(BATCH):
            yield from messages


def _channel_rate(count: int) -> float:
    server = ServerChannel.create(ring_bytes=RING_BYTES, client_waits="thread")
    given = server.descriptors
    try:
        with _other_process(lambda: _send_by_channel(ClientChannel.attach(given), count)):
            return _rate(count, _from_channel(server))
    finally:
        server.close()


def _queue_rate(count: int) -> float:
    queue: multiprocessing.Queue[bytes] = _fork.Queue()

    def send() -> None:
        for number in range(count):
            queue.put(_message(number))

    def arrivals() -> Iterator[bytes]:
        while True:
            yield queue.get(timeout=PATIENCE_S)

    try:
        with _other_process(send):
            return _rate(count, arrivals())
    finally:
        queue.close()
        queue.join_thread()


def _socket_rate(count: int) -> float:
    """Frames as in the control protocol, as many per call as a channel publishes at once."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_S)

    def send() -> None:
        for first in range(0, count, BATCH):
            frames = [encode_frame(_message(number)) for number in range(first, min(first + BATCH, count))]
            theirs.sendall(b"".join(frames))

    def arrivals() -> Iterator[bytes]:
        decoder = FrameDecoder()
        while True:
            yield from decoder.feed(ours.recv(1 << 16))

    with ours, theirs, _other_process(send):
        return _rate(count, arrivals())


# --- there and back: median microseconds ---


def _median_us(count: int, ask: Callable[[bytes], bytes]) -> float:
    samples = []
    clock = time.perf_counter_ns
    for number in range(count):
        message = _message(number)
        began = clock()
        answer = ask(message)
        samples.append(clock() - began)
        _is(answer, number)
    return statistics.median(samples) / 1000


def _answer_by_channel(client: ClientChannel, count: int) -> None:
    for _ in range(count):
        while not (messages := client.receive()):
            client.wait(PATIENCE_S)
        client.send(messages[0])
        client.flush()


def _channel_round_trip(count: int) -> float:
    """The server waits in a selector, as its loop does; the client with a thread."""
    server = ServerChannel.create(ring_bytes=RING_BYTES, client_waits="thread")
    given = server.descriptors
    poll = select.epoll()
    poll.register(server.fileno(), select.EPOLLIN)

    def ask(message: bytes) -> bytes:
        server.send(message)
        server.flush()
        while not (messages := server.receive()):
            poll.poll(PATIENCE_S)
            server.drain()
        return messages[0]

    try:
        with poll, _other_process(lambda: _answer_by_channel(ClientChannel.attach(given), count)):
            return _median_us(count, ask)
    finally:
        server.close()


class _SemaphoreRing:
    """A ring between two processes that trust each other: its reader is woken by a semaphore."""

    def __init__(self) -> None:
        fd = os.memfd_create("ring", os.MFD_CLOEXEC)
        try:
            size_bytes = RING_HEADER_BYTES + RING_BYTES_MIN
            os.ftruncate(fd, size_bytes + SEMAPHORE_BYTES)
            memory = memoryview(mmap.mmap(fd, size_bytes + SEMAPHORE_BYTES))
        finally:
            os.close(fd)
        initialise(memory[:size_bytes])
        self._writer, self._reader = RingWriter(memory[:size_bytes]), RingReader(memory[:size_bytes])
        self._waker = SemaphoreWaker.create(memory[size_bytes:])

    def put(self, message: bytes) -> None:
        self._writer.put(message)
        self._writer.publish()
        self._waker.wake()

    def get(self) -> bytes:
        while not (messages := self._reader.take(1)):
            self._waker.wait(PATIENCE_S)
        self._reader.acknowledge()
        return messages[0]


def _semaphore_round_trip(count: int) -> float:
    there, back = _SemaphoreRing(), _SemaphoreRing()

    def answer() -> None:
        for _ in range(count):
            back.put(there.get())

    def ask(message: bytes) -> bytes:
        there.put(message)
        return back.get()

    with _other_process(answer):
        return _median_us(count, ask)


def _queue_round_trip(count: int) -> float:
    there: multiprocessing.Queue[bytes] = _fork.Queue()
    back: multiprocessing.Queue[bytes] = _fork.Queue()

    def answer() -> None:
        for _ in range(count):
            back.put(there.get(timeout=PATIENCE_S))

    def ask(message: bytes) -> bytes:
        there.put(message)
        return back.get(timeout=PATIENCE_S)

    try:
        with _other_process(answer):
            return _median_us(count, ask)
    finally:
        there.close()
        there.join_thread()


def _socket_round_trip(count: int) -> float:
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_S)

    def answer() -> None:
        for _ in range(count):
            theirs.sendall(theirs.recv(MESSAGE_BYTES, socket.MSG_WAITALL))

    def ask(message: bytes) -> bytes:
        ours.sendall(message)
        return ours.recv(MESSAGE_BYTES, socket.MSG_WAITALL)

    with ours, theirs, _other_process(answer):
        return _median_us(count, ask)


# --- rows ---


def throughput_against_queue(bench: Bench) -> Measurement:
    """Messages per second through a channel, and through ``multiprocessing.Queue``."""
    count = bench.scaled(200_000, 5_000)
    return alternate(bench, lambda: _channel_rate(count), lambda: _queue_rate(count // 8))


def throughput_against_socket(bench: Bench) -> Measurement:
    """The same, and as many frames per call through a unix socket."""
    count = bench.scaled(200_000, 5_000)
    return alternate(bench, lambda: _channel_rate(count), lambda: _socket_rate(count))


def round_trip_against_queue(bench: Bench) -> Measurement:
    """A message there and its answer back through a channel, and through two ``multiprocessing.Queue``."""
    count = bench.scaled(10_000, 300)
    return alternate(bench, lambda: _channel_round_trip(count), lambda: _queue_round_trip(count))


def round_trip_against_socket(bench: Bench) -> Measurement:
    """The same, and through a unix socket with blocking calls."""
    count = bench.scaled(10_000, 300)
    measured = alternate(bench, lambda: _channel_round_trip(count), lambda: _socket_round_trip(count))
    by_semaphore = statistics.median(_semaphore_round_trip(count) for _ in range(bench.runs))
    measured.notes["us_with_semaphores_on_both_sides"] = round(by_semaphore, 2)
    return measured
