"""One way of sending blocks out of shared memory, and what it costs the sender: ``python -m tests.bench.sending WAY TOTAL_BYTES``.

The sender (a child, on the server's core) sends blocks of 4 MiB to a receiver (this process, on the load's) over loopback, with ``write``, as
the S3 endpoint does, or with ``sendfile``, which copies nothing in user space. It prints the sender's CPU-seconds, kernel time included.
"""

from __future__ import annotations

import mmap
import os
import socket
import sys

from .machine import LOAD_CORE, SERVER_CORE

__all__ = ["BLOCK_BYTES", "WAYS", "main"]

BLOCK_BYTES = 4 << 20
_BLOCKS = 16
WAYS = ("write", "sendfile")


def _send(way: str, sink: socket.socket, total_bytes: int) -> None:
    file = os.memfd_create("blocks")
    os.ftruncate(file, _BLOCKS * BLOCK_BYTES)
    with mmap.mmap(file, _BLOCKS * BLOCK_BYTES) as memory:
        memory[:] = os.urandom(BLOCK_BYTES) * _BLOCKS
        view = memoryview(memory)
        for number in range(total_bytes // BLOCK_BYTES):
            at = number % _BLOCKS * BLOCK_BYTES
            if way == "write":
                sink.sendall(view[at : at + BLOCK_BYTES])
                continue
            stop = at + BLOCK_BYTES
            while at < stop:
                at += os.sendfile(sink.fileno(), file, at, stop - at)
        view.release()


def _child(way: str, port: int, total_bytes: int, report: int) -> None:
    os.sched_setaffinity(0, {SERVER_CORE})
    with socket.create_connection(("127.0.0.1", port)) as sink:
        before = os.times()
        _send(way, sink, total_bytes)
        after = os.times()
    os.write(report, repr(after.user - before.user + after.system - before.system).encode())


def main() -> None:
    """Sends, receives, reports."""
    way, total_bytes = sys.argv[1], int(sys.argv[2])
    os.sched_setaffinity(0, {LOAD_CORE})
    listener = socket.create_server(("127.0.0.1", 0))
    reading, report = os.pipe()
    child = os.fork()
    if not child:
        _child(way, listener.getsockname()[1], total_bytes, report)
        os._exit(0)
    source, _ = listener.accept()
    buffer, received = bytearray(1 << 20), 0
    while count := source.recv_into(buffer):
        received += count
    os.waitpid(child, 0)
    assert received == total_bytes, f"{received} bytes came"
    print(os.read(reading, 100).decode())


if __name__ == "__main__":
    main()
