"""A relay between cashy and a store that counts what is asked: the only witness of "the store was not asked" that is not cashy itself."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

__all__ = ["CountingRelay"]

_PIECE_BYTES = 64 << 10


class CountingRelay:
    """Carries connections to ``url`` on a loop in a thread of its own; a context manager."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = parts.hostname, parts.port
        #: Bytes that the store was sent so far: it only stands still if nothing is asked.
        self.asked_bytes = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._carry, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            store_reader, store_writer = await asyncio.open_connection(*self._target)
            try:
                await asyncio.gather(
                    self._pump(reader, store_writer, is_question=True),
                    self._pump(store_reader, writer, is_question=False),
                )
            finally:
                store_writer.close()
        except (OSError, asyncio.CancelledError):
            pass  # one end is gone, or the test is over
        finally:
            writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_question: bool
    ) -> None:
        while piece := await reader.read(_PIECE_BYTES):
            if is_question:
                self.asked_bytes += len(piece)
            writer.write(piece)
            await writer.drain()
        if is_question:
            writer.write_eof()
        else:
            writer.close()
