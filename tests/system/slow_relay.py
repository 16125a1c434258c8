"""A TCP relay of its own process that holds back what it carries: a host behind it is slow, and nothing else.

Started as ``python -m tests.system.slow_relay TARGET_HOST TARGET_PORT``. It says its port, and takes the delay (seconds, each way) from standard
input, a line each time; the end of that is its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["SlowRelay", "slow_relay"]

REPOSITORY = Path(__file__).resolve().parents[2]
_PIECE_BYTES = 256 << 10
#: Bytes on their way in one direction; a link of 200 ms would hold as many.
_HELD_PIECES = 256


class SlowRelay:
    """A running relay, by its address ``HOST:PORT``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.address = f"127.0.0.1:{int(process.stdout.readline())}"

    def delay(self, each_way_s: float) -> None:
        """From now on what comes is held back for so long, either way."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{each_way_s}\n")
        stdin.flush()
        assert stdout.readline() == "ok\n"


@contextmanager
def slow_relay(target: str) -> Iterator[SlowRelay]:
    """A relay to ``HOST:PORT``, which need not be there yet; without a delay at first."""
    command = [sys.executable, "-m", "tests.system.slow_relay", *target.rsplit(":", 1)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    try:
        yield SlowRelay(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(10)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class _Relay:
    """The process's side."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._tasks: set[asyncio.Task[None]] = set()
        self.delay_s = 0.0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_HELD_PIECES)
        delivering = asyncio.create_task(self._deliver(held, sink))
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await source.read(_PIECE_BYTES):
                await held.put((loop.time() + self.delay_s, data))
        await held.put((0.0, b""))
        await delivering

    async def _deliver(self, held: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                due_at, data = await held.get()
                if not data:
                    break
                await asyncio.sleep(max(0.0, due_at - loop.time()))
                sink.write(data)
                await sink.drain()
        sink.close()


async def _run(host: str, port: int) -> None:
    relay = _Relay(host, port)
    server = await asyncio.start_server(relay.connected, "127.0.0.1", 0, limit=_PIECE_BYTES)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        relay.delay_s = float(line)
        print("ok", flush=True)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2])))
