"""The send rule: stalled readers never see other bytes, and a test that this test can fail."""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import socket
import termios
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from tests.cashy.s3.conftest import Running, receive_answer
from tests.cashy.s3.memory_session import REFILL, MemorySession
from tests.system.harness import wait_until

from cashy.s3 import connection
from cashy.s3.send import PinnedSender

BLOCK_BYTES = 4 << 20
DATA = bytes(range(251)) * (2 * BLOCK_BYTES // 251)  # one block and a piece of the next


class HastySender(PinnedSender):
    """Drops pins when ``write`` has returned."""

    async def drained(self) -> None:
        await asyncio.sleep(0)

    def finish(self, pin: Any) -> None:
        self._held.remove(pin)
        pin.release()


def read_stalled(running: Running, path: str = "/b/k") -> bytes:
    """Asks, lets the worker's writes fill every buffer, and only then reads."""
    with running.connect(receive_buffer_bytes=16_384) as raw:
        raw.sendall(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
        deadline = time.monotonic() + 20
        while not running.session.pinned_max and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)  # the owner refills whatever it can meanwhile
        status, _, body = receive_answer(raw)
    assert status == 200
    return body


@pytest.fixture
def cruel_session() -> MemorySession:
    session = MemorySession(block_bytes=BLOCK_BYTES, refills=True)
    session.put("s3://b/k", DATA, warm=True)
    session.put("s3://b/one-block", DATA[:BLOCK_BYTES], warm=True)
    return session


@pytest.mark.parametrize("path", ["/b/k", "/b/one-block"])
def test_a_stalled_reader_gets_the_objects_bytes(
    start: Callable[..., Running], cruel_session: MemorySession, path: str
) -> None:
    running = start(cruel_session)
    assert read_stalled(running, path) == DATA[: BLOCK_BYTES if path == "/b/one-block" else None]


@pytest.mark.parametrize("path", ["/b/k", "/b/one-block"])
def test_without_the_rule_it_gets_other_bytes(
    start: Callable[..., Running], cruel_session: MemorySession, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(connection, "PinnedSender", HastySender)
    running = start(cruel_session)
    body = read_stalled(running, path)
    expected = DATA[: BLOCK_BYTES if path == "/b/one-block" else None]
    assert len(body) == len(expected)
    assert body != expected
    # How many depends on what the kernel had taken; the data itself has 17,000 such bytes in a block.
    assert body.count(REFILL) > 65_536


def test_a_stalled_reader_is_cut_off_and_others_are_not(
    start: Callable[..., Running], cruel_session: MemorySession
) -> None:
    running = start(cruel_session, send_timeout_s=0.6)
    with running.connect(receive_buffer_bytes=16_384) as stalled, running.connect() as other:
        stalled.sendall(b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n")
        deadline = time.monotonic() + 20
        while cruel_session.pinned or not cruel_session.pinned_max:
            assert time.monotonic() < deadline, "its block is still pinned"
            other.sendall(b"HEAD /b/k HTTP/1.1\r\nHost: h\r\n\r\n")
            assert receive_answer(other, has_body=False)[0] == 200
            time.sleep(0.05)
        with pytest.raises((ConnectionError, AssertionError)):
            receive_answer(stalled)
    assert running.counters["timeouts_send_total"] == 1


def test_a_slow_reader_that_makes_progress_is_not_cut_off(
    start: Callable[..., Running], cruel_session: MemorySession
) -> None:
    running = start(cruel_session, send_timeout_s=1.5)
    received = bytearray()
    with running.connect(receive_buffer_bytes=65_536) as raw:
        raw.sendall(b"GET /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        began = time.monotonic()
        while chunk := raw.recv(262_144):
            received += chunk
            if time.monotonic() - began < 3:
                time.sleep(0.05)
    assert received.partition(b"\r\n\r\n")[2] == DATA


def test_a_client_that_leaves_lets_its_blocks_go(
    start: Callable[..., Running], cruel_session: MemorySession
) -> None:
    running = start(cruel_session)
    with running.connect(receive_buffer_bytes=16_384) as raw:
        raw.sendall(b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n")
        assert raw.recv(100)
        assert running.on_loop(lambda: cruel_session.pinned) == 1
    deadline = time.monotonic() + 10
    while running.on_loop(lambda: cruel_session.pinned):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_stalled_readers_hold_one_block_each(start: Callable[..., Running]) -> None:
    """What was asked for ahead of them is let go when it is complete, so that others find room."""
    session = MemorySession(block_bytes=1 << 20)
    data = b"".join(bytes([number]) * (1 << 20) for number in range(32))
    session.put("s3://b/large", data)
    running = start(session)
    with ExitStack() as stack:
        stalled = [stack.enter_context(running.connect(receive_buffer_bytes=16_384)) for _ in range(4)]
        for raw in stalled:
            raw.sendall(b"GET /b/large HTTP/1.1\r\nHost: h\r\n\r\n")
        time.sleep(0.5)
        assert len(session.fetched) > 4
        assert running.on_loop(lambda: session.pinned) <= 4
        assert running.on_loop(lambda: session.open_fetches) <= 4
        for raw in stalled:
            assert receive_answer(raw)[2] == data


def test_why_sendfile_is_not_used() -> None:
    """On one host, bytes that the peer has acknowledged still lie in the sender's pages: what is written there afterwards is what it receives."""
    size = 256 << 10
    name = f"/dev/shm/cashytest-sendfile-{os.getpid()}"
    file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(name)
    try:
        os.ftruncate(file, size)
        with (
            mmap.mmap(file, size) as pages,
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.socket() as near,
        ):
            pages[:] = b"a" * size
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            near.connect(listener.getsockname())
            far, _ = listener.accept()
            with far:
                sent = os.sendfile(far.fileno(), file, 0, size)
                wait_until(lambda: fcntl.ioctl(far.fileno(), termios.TIOCOUTQ, b"\0" * 4) == b"\0" * 4)
                pages[:] = b"b" * size
                received = b""
                while len(received) < sent:
                    received += near.recv(1 << 20)
        assert received.count(b"b") > 0
    finally:
        os.close(file)
