"""What toucan's front end is compared with: a server of the same kind, grpc.aio on uvloop with the same messages, whose handler does nothing.

``python -m tests.bench.toucan_peer [FILE BYTES]`` prints where it listens. With a file, each call writes so many bytes into it, which has its
full size already, and waits for one fdatasync: the least that a server must do which says OK only to what it cannot lose.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import uvloop

from aviary.toucan.v1 import toucan_pb2 as pb

from .machine import SERVER_CORE, pinned, stopped_in_the_end
from .row import Unavailable

__all__ = ["Peer", "main", "started_peer"]

FILE_BYTES = 64 << 20


class Peer:
    """A running one."""

    def __init__(self, address: str, pid: int) -> None:
        self.address = address
        self.pid = pid


@contextmanager
def started_peer(sync: tuple[Path, int] | None = None) -> Iterator[Peer]:
    """On the server's core. ``sync``: a file that each call writes so many bytes into and syncs."""
    command = [sys.executable, "-m", "tests.bench.toucan_peer", *(map(str, sync) if sync else ())]
    with pinned(SERVER_CORE):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    with stopped_in_the_end(process):
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Unavailable("the empty server did not start")
        yield Peer(json.loads(line)["grpc"], process.pid)


def _synced_writes(path: Path, size_bytes: int) -> Callable[[], None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for at in range(0, FILE_BYTES, 1 << 20):
        os.pwrite(fd, bytes(1 << 20), at)
    os.fsync(fd)
    data = os.urandom(size_bytes)
    positions = itertools.cycle(range(0, FILE_BYTES - size_bytes, size_bytes))

    def write() -> None:
        os.pwrite(fd, data, next(positions))
        os.fdatasync(fd)

    return write


def _handlers(write: Callable[[], None]) -> Any:
    numbers = itertools.count(1)

    async def submit(request: pb.SubmitOrderRequest, context: Any) -> pb.SubmitOrderResponse:
        write()
        number = next(numbers)
        return pb.SubmitOrderResponse(order_id=number, seq=number)

    method = grpc.unary_unary_rpc_method_handler(
        submit,
        request_deserializer=pb.SubmitOrderRequest.FromString,
        response_serializer=pb.SubmitOrderResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler("aviary.toucan.v1.OrderEntryService", {"SubmitOrder": method})


async def _serve(write: Callable[[], None]) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_handlers(write),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print(json.dumps({"grpc": f"127.0.0.1:{port}"}), flush=True)
    await stopped.wait()
    await server.stop(0)


def main() -> None:
    """Serves until SIGTERM."""
    write = _synced_writes(Path(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 1 else lambda: None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(write))


if __name__ == "__main__":
    main()
