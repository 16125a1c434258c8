"""The bench's end of the load generator, and the generator's own ceiling."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .machine import LOAD_CORE, SERVER_CORE, stopped_in_the_end

__all__ = [
    "CONNECTIONS",
    "Commanded",
    "Generator",
    "GeneratorFailed",
    "ceiling_requests_per_s",
    "commanded_process",
    "generator",
]

REPOSITORY = Path(__file__).resolve().parents[2]
#: Keep-alive connections of the load.
CONNECTIONS = 16

#: Answers whatever comes with one canned object. As small as a server can be, so that the generator is what is slow.
_TRIVIAL_RESPONDER = """
import os, select, socket, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: 4096\\r\\n\\r\\n" + bytes(4096)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
poll = select.epoll()
poll.register(listener, select.EPOLLIN)
peers = {}
while True:
    for fd, _ in poll.poll():
        if fd == listener.fileno():
            peer, _ = listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peers[peer.fileno()] = peer
            poll.register(peer, select.EPOLLIN)
        elif peers[fd].recv(65536):
            peers[fd].send(answer)
        else:
            poll.unregister(fd)
            peers.pop(fd).close()
"""


class GeneratorFailed(Exception):
    """A server did not give what was asked of it: the row has no figure."""


class Commanded:
    """A process that takes commands as JSON lines and answers each with one."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(
            self._process.stdout.readline() or '{"error": "the load generator died"}'
        )
        if "error" in answer:
            raise GeneratorFailed(answer["error"])
        return answer


class Generator(Commanded):
    """A load generator process aimed at one server."""

    def aim(self, host: str, port: int, bucket: str, access_key: str = "", secret: str = "") -> None:
        """Where requests go; without a key they are unsigned."""
        self._ask(do="target", host=host, port=port, bucket=bucket, access_key=access_key, secret=secret)

    def verify(self, digests: Mapping[str, str]) -> None:
        """Reads every object once and compares its bytes with what they must be."""
        keys = list(digests)
        for key, found in zip(keys, self.fetch(keys), strict=True):
            if found["digest"] != digests[key]:
                raise GeneratorFailed(f"wrong bytes for {key}")

    def fetch(self, keys: Sequence[str], warm_key: str | None = None) -> list[dict[str, Any]]:
        """Reads objects one after the other: digest, first_s, total_s, bytes of each."""
        objects: list[dict[str, Any]] = self._ask(do="fetch", keys=list(keys), warm_key=warm_key)["objects"]
        return objects

    def prepare(self, keys: Sequence[str], count: int) -> None:
        """Makes ``count`` requests of random keys, dated now; not part of what is timed."""
        self._ask(do="prepare", keys=list(keys), count=count)

    def run(self, *, connections: int = CONNECTIONS, buffer_bytes: int = 1 << 16) -> tuple[float, int]:
        """Replays them; returns seconds and body bytes."""
        answer = self._ask(do="run", connections=connections, buffer_bytes=buffer_bytes)
        return answer["seconds"], answer["bytes"]


@contextmanager
def commanded_process(module: str) -> Iterator[subprocess.Popen[bytes]]:
    """A module of this package as a process on the load's core, for a :class:`Commanded`."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.bench.{module}", str(LOAD_CORE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    with stopped_in_the_end(process):
        yield process


@contextmanager
def generator() -> Iterator[Generator]:
    """A load generator on the load's core."""
    with commanded_process("load") as process:
        yield Generator(process)


def ceiling_requests_per_s(count: int) -> float:
    """What the generator reaches against a server that does nothing: no server can be seen to be faster."""
    responder = subprocess.Popen(
        [sys.executable, "-c", _TRIVIAL_RESPONDER, str(SERVER_CORE)], stdout=subprocess.PIPE
    )
    with stopped_in_the_end(responder), generator() as load:
        assert responder.stdout is not None
        load.aim("127.0.0.1", int(responder.stdout.readline()), "bucket", "AKIDEXAMPLE", "secret")
        load.prepare(["key"], count)
        seconds, _ = load.run()
        return count / seconds
