"""The least a program can do to receive files over HTTP: what a host-to-host transfer costs the receiving side at best.

Started as ``python -m tests.bench.raw_receiver CORE PORT FILE_BYTES BUFFER_BYTES``. For each line on standard input it GETs the paths in it, one
after the other on one connection, straight into a buffer that was there before and holds them all, and answers with the bytes received. It looks at
nothing but the length.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import sys

__all__ = ["main"]

_HEAD_BYTES_MAX = 1024


def _receive(connection: socket.socket, path: str, target: memoryview, head: memoryview) -> int:
    """One file into ``target``; returns its length."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    count = connection.recv_into(head)
    answer = bytes(head[:count])
    end = answer.index(b"\r\n\r\n") + 4
    if not answer.startswith(b"HTTP/1.1 200 ") or f"Content-Length: {len(target)}\r\n".encode() not in answer:
        raise SystemExit(f"unexpected answer: {answer[:end]!r}")
    done = count - end
    target[:done] = answer[end:]  # the few bytes that came with the head
    while done < len(target):
        count = connection.recv_into(target[done:])
        if not count:
            raise SystemExit(f"{path} ended at {done} bytes")
        done += count
    return done


def main() -> None:
    """Serves standard input to its end."""
    core, port, file_bytes, buffer_bytes = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this ends it
    os.sched_setaffinity(0, {core})
    memory = mmap.mmap(-1, buffer_bytes, mmap.MAP_SHARED | mmap.MAP_POPULATE)  # shared memory, as an arena is
    buffer, head = memoryview(memory), memoryview(bytearray(_HEAD_BYTES_MAX))
    for line in sys.stdin:
        total = at = 0
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for path in line.split():
                total += _receive(connection, path, buffer[at : at + file_bytes], head)
                at += file_bytes
        print(total, flush=True)


if __name__ == "__main__":
    main()
