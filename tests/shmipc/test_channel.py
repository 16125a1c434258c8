"""Channels: both ways, both kinds of client, room, ends of either side, and clients that do what they should not."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import mmap
import os
import select
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from tests.readable import readable
from tests.shmipc.support import descriptor_count, in_child

from shmipc.channel import ClientChannel, ClientWaits, ServerChannel
from shmipc.errors import ArenaLayoutError, HandshakeError, OwnerDied, RingCorrupt
from shmipc.layout import (
    C_CLIENT_WAITS,
    C_CLIENT_WANTS_ROOM,
    C_LAYOUT_VERSION,
    C_MAGIC,
    C_RING_BYTES,
    CHANNEL_HEADER_BYTES,
    R_ACKNOWLEDGED,
    R_PUBLISHED,
    RING_HEADER_BYTES,
    WORD_BYTES,
)
from shmipc.limits import RING_BYTES_MAX, RING_BYTES_MIN
from shmipc.wire import receive, send_with_descriptors

RING_BYTES = RING_BYTES_MIN
PATIENCE_S = 30


class Pair:
    """Both sides in one process."""

    def __init__(self, waits: ClientWaits, ring_bytes: int = RING_BYTES) -> None:
        self.server = ServerChannel.create(ring_bytes=ring_bytes, client_waits=waits)
        #: The client's hold on the memory, to scribble on.
        self.memory = mmap.mmap(self.server.descriptors[0], 0)
        self.client = ClientChannel.attach([os.dup(fd) for fd in self.server.descriptors])
        self.server.descriptors_sent()

    def close(self) -> None:
        self.server.close()
        self.client.close()


@pytest.fixture(params=["thread", "loop"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(request.param)
    yield made
    made.close()


@pytest.fixture
def thread_pair() -> Iterator[Pair]:
    made = Pair("thread")
    yield made
    made.close()


def is_woken(side: ServerChannel | ClientChannel) -> bool:
    """Whether a wake-up is there; takes it."""
    poll = select.poll()
    poll.register(side.fileno(), select.POLLIN)
    woken = bool(poll.poll(0))
    side.drain()
    return woken


def test_messages_go_both_ways(pair: Pair) -> None:
    for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
        assert sender.send(b"one")
        assert sender.send(b"two")
        assert sender.has_staged
        assert receiver.receive() == []
        assert not is_woken(receiver)
        sender.flush()
        assert is_woken(receiver)
        assert not is_woken(receiver), "one flush, one wake-up"
        assert receiver.receive(1) == [b"one"]
        assert receiver.receive() == [b"two"]
        sender.flush()
        assert not is_woken(receiver), "nothing was staged"
        assert not sender.has_staged


def test_a_full_ring_asks_for_room_and_is_told(pair: Pair) -> None:
    for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
        size = sender.message_bytes_max // 2
        assert sender.send(b"a" * size)
        assert not sender.send(b"b" * (size + 1))
        sender.flush()
        sender.want_room()
        assert is_woken(receiver)
        assert not is_woken(sender)
        assert receiver.receive() == [b"a" * size]
        assert is_woken(sender)
        assert sender.send(b"b" * (size + 1))
        sender.flush()
        assert is_woken(receiver)
        assert len(receiver.receive()) == 1
        assert not is_woken(sender), "it asked once, it was told once"


def test_who_asks_late_is_told_as_well(pair: Pair) -> None:
    """The other side has already given the room back: only the request's own wake-up can make it look again."""
    assert pair.client.send(bytes(pair.client.message_bytes_max))
    pair.client.flush()
    assert not pair.client.send(b"more")
    assert is_woken(pair.server)
    assert len(pair.server.receive()) == 1
    pair.client.want_room()
    assert is_woken(pair.server)
    assert pair.server.receive() == []
    assert is_woken(pair.client)
    assert pair.client.send(b"more")


def test_what_never_fits_is_said_so(pair: Pair) -> None:
    assert pair.client.message_bytes_max == pair.server.message_bytes_max == RING_BYTES - 4
    assert not pair.client.send(bytes(RING_BYTES - 3))
    assert not pair.client.has_staged


@pytest.mark.parametrize("waits", ["thread", "loop"])
def test_the_client_is_told_how_it_waits(waits: ClientWaits) -> None:
    made = Pair(waits)
    assert made.client.waits == waits
    made.close()


# --- waiting ---


def test_a_thread_waits_and_is_woken_by_the_server_or_its_own(thread_pair: Pair) -> None:
    server, client = thread_pair.server, thread_pair.client
    assert not client.wait(0.01)
    server.send(b"now")
    threading.Timer(0.05, server.flush).start()
    assert client.wait(PATIENCE_S)
    assert client.receive() == [b"now"]
    threading.Timer(0.05, client.wake_self).start()
    assert client.wait(PATIENCE_S)
    assert client.receive() == []


def test_closing_ends_a_wait_of_another_thread(thread_pair: Pair) -> None:
    client = thread_pair.client
    threading.Timer(0.05, client.close).start()
    assert client.wait(PATIENCE_S)
    assert client.wait(PATIENCE_S), "a closed channel waits for nothing"


def test_a_dead_server_ends_the_wait(thread_pair: Pair) -> None:
    with pytest.raises(OwnerDied):
        thread_pair.client.wait(PATIENCE_S, is_alive=lambda: False)


def test_closed_sides_do_nothing_more(pair: Pair) -> None:
    pair.client.send(b"staged")
    pair.close()
    pair.close()
    for side in (pair.client, pair.server):
        assert side.is_closed
        assert not side.send(b"more")
        side.flush()
        side.want_room()
        assert side.receive() == []
        side.drain()
        assert side.fileno() == -1


def test_what_was_sent_before_the_end_is_still_there(pair: Pair) -> None:
    pair.client.send(b"last words")
    pair.client.flush()
    pair.client.close()
    # The wake-up may have gone with the client: its end is seen on the socket, and then the server looks once more.
    assert pair.server.receive() == [b"last words"]
    pair.server.send(b"nobody hears it")
    pair.server.flush()
    pair.server.want_room()


def test_nothing_is_left_when_both_are_gone() -> None:
    gc.collect()
    before = descriptor_count()
    for waits in ("thread", "loop"):
        made = Pair(waits)
        made.close()
        del made
    gc.collect()
    assert descriptor_count() == before


def test_nothing_is_left_when_nobody_closed() -> None:
    gc.collect()
    before = descriptor_count()
    made = Pair("thread")
    del made
    gc.collect()
    assert descriptor_count() == before


# --- two processes ---


def attached_over_a_socket(sock: socket.socket) -> ClientChannel:
    descriptors: deque[int] = deque()
    assert receive(sock, descriptors) == b"channel"
    return ClientChannel.attach(list(descriptors))


def serve(
    waits: ClientWaits, work: Callable[[ServerChannel], None], client: Callable[[ClientChannel], None]
) -> None:
    """``work`` here, ``client`` in a process of its own."""
    ours, theirs = socket.socketpair()

    def child() -> None:
        ours.close()
        client(attached_over_a_socket(theirs))

    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(in_child(child)))
    server = ServerChannel.create(ring_bytes=RING_BYTES, client_waits=waits)
    with ours:
        send_with_descriptors(ours, b"channel", server.descriptors)
        server.descriptors_sent()
        thread.start()
        try:
            work(server)
        finally:
            thread.join()
            theirs.close()
            server.close()
    assert codes == [0]


MESSAGES = 30_000


def echo(server: ServerChannel) -> None:
    """Gives every message back, in batches, with a ring that is too small for what is under way."""
    waiting: deque[bytes] = deque()
    done = 0
    while done < MESSAGES:
        assert readable(server.fileno(), timeout_s=PATIENCE_S), "a wake-up was lost"
        server.drain()
        while True:
            got = server.receive()
            waiting.extend(got)
            while waiting and server.send(waiting[0]):
                waiting.popleft()
                done += 1
            server.flush()
            if len(got) < 64:
                break
        if waiting:
            server.want_room()


def _exchange(client: ClientChannel, wait: Callable[[], None]) -> None:
    sent = got = 0
    while got < MESSAGES:
        while sent < MESSAGES and client.send(b"%d" % sent):
            sent += 1
        client.flush()
        answers = client.receive()
        for answer in answers:
            assert answer == b"%d" % got
            got += 1
        if not answers:
            if sent < MESSAGES:
                client.want_room()
            wait()


def ask_by_thread(client: ClientChannel) -> None:
    def wait() -> None:
        assert client.wait(PATIENCE_S), "a wake-up was lost"

    _exchange(client, wait)


def ask_by_loop(client: ClientChannel) -> None:
    def wait() -> None:
        assert readable(client.fileno(), timeout_s=PATIENCE_S), "a wake-up was lost"
        client.drain()

    _exchange(client, wait)


@pytest.mark.parametrize(("waits", "ask"), [("thread", ask_by_thread), ("loop", ask_by_loop)])
def test_two_processes_exchange_more_than_the_rings_hold(
    waits: ClientWaits, ask: Callable[[ClientChannel], None]
) -> None:
    serve(waits, echo, ask)


def test_an_event_loop_serves_a_waiting_thread() -> None:
    """As the daemons do it: add_reader, drain, receive; the client asks one question after the other."""
    count = 2000

    def work(server: ServerChannel) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            done = loop.create_future()

            def look() -> None:
                server.drain()
                for message in server.receive():
                    assert server.send(message + b"!")
                    if message == b"%d" % (count - 1):
                        done.set_result(None)
                server.flush()

            loop.add_reader(server.fileno(), look)
            await asyncio.wait_for(done, PATIENCE_S)
            loop.remove_reader(server.fileno())

        asyncio.run(main())

    def ask(client: ClientChannel) -> None:
        for number in range(count):
            assert client.send(b"%d" % number)
            client.flush()
            while not (answers := client.receive()):
                assert client.wait(PATIENCE_S)
            assert answers == [b"%d!" % number]

    serve("thread", work, ask)


def test_a_killed_client_leaves_what_it_had_flushed() -> None:
    ours, theirs = socket.socketpair()
    server = ServerChannel.create(ring_bytes=RING_BYTES, client_waits="thread")

    def child() -> None:
        ours.close()
        client = attached_over_a_socket(theirs)
        client.send(b"flushed")
        client.flush()
        client.send(b"not flushed")
        os.kill(os.getpid(), signal.SIGKILL)

    with ours, theirs:
        send_with_descriptors(ours, b"channel", server.descriptors)
        assert in_child(child) == -signal.SIGKILL
    assert server.receive() == [b"flushed"]
    server.close()


# --- what is refused ---


@pytest.mark.parametrize("ring_bytes", [0, -4096, 5000, RING_BYTES_MIN // 2, RING_BYTES_MAX * 2])
def test_odd_ring_sizes_are_refused(ring_bytes: int) -> None:
    before = descriptor_count()
    with pytest.raises(ArenaLayoutError, match="power of two"):
        ServerChannel.create(ring_bytes=ring_bytes, client_waits="thread")
    assert descriptor_count() == before


@pytest.fixture
def server() -> Iterator[ServerChannel]:
    made = ServerChannel.create(ring_bytes=RING_BYTES, client_waits="thread")
    yield made
    made.close()


def refused(descriptors: list[int], error: type[Exception], match: str) -> None:
    """Attaching raises, and has closed what it was given."""
    given = [os.dup(fd) for fd in descriptors]
    with pytest.raises(error, match=match):
        ClientChannel.attach(given)
    gc.collect()
    for fd in given:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_other_numbers_of_descriptors_are_refused(server: ServerChannel) -> None:
    for given in ([], server.descriptors[:2], [*server.descriptors, server.descriptors[1]]):
        refused(given, HandshakeError, f"3 descriptors, not {len(given)}")


@pytest.mark.parametrize(
    ("word", "value", "match"),
    [
        (C_MAGIC, 0, "not a channel"),
        (C_LAYOUT_VERSION, 99, "layout 99"),
        (C_RING_BYTES, 2 * RING_BYTES, "cannot have rings of 8,192"),
        (C_RING_BYTES, 0, "cannot have rings of 0"),
        (C_CLIENT_WAITS, 3, "way 3"),
    ],
)
def test_other_headers_are_refused(server: ServerChannel, word: int, value: int, match: str) -> None:
    with mmap.mmap(server.descriptors[0], 0) as memory:
        memory[word * WORD_BYTES : (word + 1) * WORD_BYTES] = value.to_bytes(8, "little")
    refused(server.descriptors, ArenaLayoutError, match)


def test_a_memfd_that_is_not_sealed_is_refused(server: ServerChannel) -> None:
    fd = os.memfd_create("unsealed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    size_bytes = os.fstat(server.descriptors[0]).st_size
    os.ftruncate(fd, size_bytes)
    os.pwrite(fd, os.pread(server.descriptors[0], size_bytes, 0), 0)
    refused([fd, *server.descriptors[1:]], ArenaLayoutError, "sealed")
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    ClientChannel.attach([os.dup(fd), *(os.dup(other) for other in server.descriptors[1:])]).close()
    os.close(fd)


def test_other_files_are_refused(server: ServerChannel, tmp_path: object) -> None:
    reading, writing = os.pipe()
    refused([reading, *server.descriptors[1:]], ArenaLayoutError, "none")
    os.close(reading)
    os.close(writing)
    fd = os.memfd_create("small", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    refused([fd, *server.descriptors[1:]], ArenaLayoutError, "at least")
    os.close(fd)


# --- clients that do what they should not ---


def test_the_memory_cannot_be_cut_off_under_the_server(server: ServerChannel) -> None:
    """Else the server dies of SIGBUS at its next look."""
    for size_bytes in (0, 4096, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(server.descriptors[0], size_bytes)
    with pytest.raises(PermissionError):
        fcntl.fcntl(server.descriptors[0], fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def _store(memory: mmap.mmap, offset: int, word: int, value: int) -> None:
    at = offset + word * WORD_BYTES
    memory[at : at + WORD_BYTES] = value.to_bytes(WORD_BYTES, "little")


TO_SERVER = CHANNEL_HEADER_BYTES
TO_CLIENT = CHANNEL_HEADER_BYTES + RING_HEADER_BYTES + RING_BYTES


def sent_until_full(server: ServerChannel) -> None:
    while server.send(b"x" * 1000):
        server.flush()


def test_impossible_positions_end_in_ring_corrupt(pair: Pair) -> None:
    _store(pair.memory, TO_SERVER, R_PUBLISHED, 1 << 30)
    with pytest.raises(RingCorrupt):
        pair.server.receive()
    _store(pair.memory, TO_CLIENT, R_ACKNOWLEDGED, 1 << 30)
    with pytest.raises(RingCorrupt):
        sent_until_full(pair.server)


def test_a_memory_full_of_ones_does_not_make_the_server_hang_or_die(pair: Pair) -> None:
    pair.memory[:] = b"\xff" * len(pair.memory)
    begin = time.monotonic()
    with pytest.raises(RingCorrupt):
        pair.server.receive()
    pair.server.send(b"x")
    pair.server.flush()
    pair.server.want_room()
    with pytest.raises(RingCorrupt):
        pair.server.send(bytes(RING_BYTES - 4))
    pair.server.close()
    assert time.monotonic() - begin < PATIENCE_S


def test_a_client_that_asks_for_room_for_ever_is_answered_once_per_look(pair: Pair) -> None:
    for number in range(1, 100):
        _store(pair.memory, 0, C_CLIENT_WANTS_ROOM, number * 7 % 1000)
        assert pair.server.receive() == []
        assert is_woken(pair.client)
        assert pair.server.receive() == []
        assert not is_woken(pair.client)


def test_a_client_that_meddles_with_the_wakers_blocks_nobody() -> None:
    server = ServerChannel.create(ring_bytes=RING_BYTES, client_waits="loop")
    _, waking_fd, waiting_fd = [os.dup(fd) for fd in server.descriptors]
    client = ClientChannel.attach([os.dup(fd) for fd in server.descriptors])
    server.descriptors_sent()
    os.set_blocking(waking_fd, True)
    os.set_blocking(waiting_fd, True)
    os.eventfd_write(waking_fd, 2**64 - 3)
    assert is_woken(server)
    assert not is_woken(server)
    os.eventfd_read(waking_fd)
    server.drain()
    for _ in range(100):
        server.send(b"x")
        server.flush()
    assert is_woken(client)
    os.close(waking_fd)
    os.close(waiting_fd)
    server.close()
    client.close()
