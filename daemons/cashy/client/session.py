"""The asyncio session with the daemon: what the S3 worker and :mod:`cashy.aio` stand on. Works under any asyncio event loop.

Law: hits never await: :meth:`AsyncSession.lookup` and :meth:`AsyncSession.pin` touch shared memory only. Everything else goes over one socket,
watched by the loop's reader and writer callbacks. Queues are bounded: what the daemon does not read beyond
:data:`~cashy.client.limits.OUTPUT_BYTES_MAX` is a SlowDown.

When the daemon goes away, what is under way fails with :class:`~cashy.errors.NotConnected`, blocks that are pinned stay valid, and a task of the
session connects anew until it is closed; requests made meanwhile wait for it as long as their timeout.

A fetch that is left (``async with``), cancelled or forgotten is released. A block's pin is its own: it outlives the fetch until released.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from itertools import count
from types import TracebackType

from google.protobuf.message import Message

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client import forking
from cashy.client.cache import can_pin
from cashy.client.connection import adopt_welcome, cannot_connect
from cashy.client.gather import Gather
from cashy.client.limits import (
    ANSWER_TIMEOUT_S,
    CONNECT_RETRY_S_MAX,
    CONNECT_RETRY_S_MIN,
    OUTPUT_BYTES_MAX,
    RECONNECTS_MAX,
    SOCKET_PATH_BYTES_MAX,
)
from cashy.client.meta import Meta
from cashy.client.reader import AnyPin, LocalArena, Pin, TableLost
from cashy.client.session_core import Answer, SessionCore, error_of
from cashy.core.names import parse_name
from cashy.errors import ArenaFull, CashyError, InternalError, NotConnected, SlowDown
from shmipc.errors import HandshakeError, ShmError
from shmipc.wire import receive

__all__ = ["AsyncSession", "Fetch", "FetchedBlock"]


class _Link:
    """One connection: socket, protocol state, and whom its answers go to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, core: SessionCore) -> None:
        self.core = core
        self.sinks: dict[int, asyncio.Queue[Answer | CashyError]] = {}
        self.lost: asyncio.Future[str] = loop.create_future()
        self._loop = loop
        self._socket = sock
        self._descriptors: deque[int] = deque()
        self._output = bytearray()
        loop.add_reader(sock.fileno(), self._on_readable)

    def send(self, data: bytes) -> None:
        """Sends, or queues; raises :class:`SlowDown` where the daemon does not read."""
        if self.lost.done():
            raise NotConnected(self.lost.result())
        if len(self._output) + len(data) > OUTPUT_BYTES_MAX:
            raise SlowDown("the cashy daemon does not read its requests: it is overloaded or stopped")
        if not self._output:
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
        self._output += data
        self._on_writable()

    def request(self, body: Message) -> tuple[int, asyncio.Queue[Answer | CashyError]]:
        """Sends a request; returns its number and where its answers come."""
        request_id, data = self.core.request(body)
        queue: asyncio.Queue[Answer | CashyError] = asyncio.Queue()
        self.send(data)
        self.sinks[request_id] = queue
        return request_id, queue

    def release(self, request_id: int) -> None:
        """Lets the daemon drop what it holds for a fetch."""
        self.sinks.pop(request_id, None)
        if not self.lost.done():
            try:
                self.send(self.core.release(request_id))
            except SlowDown:
                self.close("the daemon does not read")

    def _on_writable(self) -> None:
        if not self._output:
            return
        try:
            sent = self._socket.send(self._output)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.close(error.strerror or str(error))
            return
        del self._output[:sent]
        if not self._output:
            self._loop.remove_writer(self._socket.fileno())

    def _on_readable(self) -> None:
        try:
            data = receive(self._socket, self._descriptors)
            if not data:
                self.close("the daemon closed the connection")
                return
            for answer in self.core.feed(data, self._descriptors):
                self._deliver(answer)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, HandshakeError, CashyError) as error:
            self.close(str(error))

    def _deliver(self, answer: Answer) -> None:
        queue = self.sinks.get(answer.request_id)
        if queue is None:
            for fd in answer.descriptors:
                os.close(fd)
            return
        queue.put_nowait(answer)
        if answer.is_last:
            self.sinks.pop(answer.request_id, None)

    def close(self, reason: str) -> None:
        """Ends the connection; who waits is told."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
        for queue in self.sinks.values():
            queue.put_nowait(NotConnected(f"the connection to the cashy daemon was lost: {reason}"))
        self.sinks.clear()

    def forget_in_child(self) -> None:
        """In a forked child: only the descriptor is ours (the loop and its poll set are the parent's)."""
        self._socket.close()


class AsyncSession:
    """A session with the host's daemon, of the loop it was made in; made by :meth:`connect`."""

    def __init__(self, socket_path: str, *, program: str, timeout_s: float) -> None:
        self.socket_path = socket_path
        self.timeout_s = timeout_s
        self._program = program
        self._loop = asyncio.get_running_loop()
        self._link: _Link | None = None
        self._arena: LocalArena | None = None
        self._is_closed = False
        self._pid = os.getpid()
        self._connected = asyncio.Event()
        self._granting: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        forking.watch(self)

    @classmethod
    async def connect(
        cls, socket_path: str, *, program: str, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> AsyncSession:
        """Connects; raises :class:`NotConnected`. The session connects anew by itself when the daemon restarts."""
        session = cls(socket_path, program=program, timeout_s=timeout_s)
        await session._connect()
        session._keeper = asyncio.create_task(session._keep_connected())
        return session

    # --- hits ---

    @property
    def arena(self) -> LocalArena | None:
        """Shared memory as it is at present; None after :meth:`close`."""
        return self._arena

    def lookup(self, name: str) -> Meta | None:
        """Fresh metadata from shared memory; no message. Raises :class:`~cashy.errors.InvalidName`."""
        return None if self._arena is None else self._arena.lookup(name)

    def pin(self, meta: Meta, index: int) -> AnyPin | None:
        """Pins a READY block; no message. None: it is not here. Raises :class:`~cashy.errors.PinQuotaExceeded`."""
        if self._arena is None:
            return None
        try:
            return self._arena.pin_block(meta, index)
        except TableLost:
            self._want_table()
            return None

    # --- requests ---

    async def stat(self, name: str, *, revalidate: bool = False) -> Meta:
        """Metadata of an object, from shared memory if that is fresh."""
        if not revalidate and (meta := self.lookup(name)) is not None:
            return meta
        canonical = parse_name(name).url
        body = await self.ask(pb.Stat(name=canonical, revalidate=revalidate))
        assert isinstance(body, pb.ObjectInfo)
        return Meta.from_info(canonical, body)

    def fetch(
        self,
        name: str,
        first_block: int,
        block_count: int,
        *,
        content_id: bytes | None = None,
        streaming: bool = False,
        stream: int = 0,
    ) -> Fetch:
        """Blocks to be brought into shared memory; use it with ``async with``."""
        request = pb.Fetch(
            name=parse_name(name).url, first_block=first_block, block_count=block_count, content_id=content_id or b"",
            streaming=streaming, stream=stream,
        )  # fmt: skip
        return Fetch(self, request)

    async def ask(self, body: Message) -> Message:
        """A request with one answer; raises what the daemon reports. Asked again once if the connection breaks under it."""
        try:
            return await self._ask_once(body)
        except NotConnected:
            return await self._ask_once(body)

    async def _ask_once(self, body: Message) -> Message:
        link = await self.live_link()
        request_id, queue = link.request(body)
        try:
            answer = await self.next_answer(queue)
        finally:
            link.sinks.pop(request_id, None)
        if isinstance(answer.body, pb.Failure):
            raise error_of(answer.body)
        return answer.body

    async def next_answer(self, queue: asyncio.Queue[Answer | CashyError]) -> Answer:
        """The next answer of a request, within the session's timeout."""
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await queue.get()
        except TimeoutError:
            raise NotConnected(
                f"the cashy daemon on {self.socket_path} has not answered for {self.timeout_s:g} s: see its log, or give a longer timeout_s"
            ) from None
        if isinstance(answer, CashyError):
            raise answer
        return answer

    async def carry_out(self, read: Gather) -> None:
        """Collects what a read needs, over restarts of the daemon. A read of what is here does not wait."""
        for losses in count(1):
            try:
                await self._attempt(read)
                return
            except TableLost:
                await self.live_link()
            except NotConnected:
                read.drop()
                if losses > RECONNECTS_MAX:
                    raise
                await self.live_link()
            except BaseException:
                read.drop()
                raise

    async def _attempt(self, read: Gather) -> None:
        if self._arena is None:
            await self.live_link()
        assert self._arena is not None
        read.begin(self._arena)
        while (fetch := read.wanted()) is not None:
            link = await self.live_link()
            if self._arena is not read.arena:
                raise NotConnected("the daemon has another arena now")
            request_id, queue = link.request(fetch)
            try:
                while True:
                    answer = await self.next_answer(queue)
                    read.take(answer)
                    if answer.is_last:
                        break
            finally:
                link.release(request_id)

    # --- connection ---

    async def live_link(self) -> _Link:
        """The connection, with a pin table; waits while the daemon is being restarted."""
        if self._pid != os.getpid():
            raise NotConnected("this session belongs to the parent process: connect anew in the child")
        if self._is_closed:
            raise NotConnected("this session was closed: connect anew")
        if self._link is None or self._link.lost.done():
            self._connected.clear()  # the task that connects anew has not come to it yet
            try:
                async with asyncio.timeout(self.timeout_s):
                    await self._connected.wait()
            except TimeoutError:
                raise cannot_connect(self.socket_path, f"not within {self.timeout_s:g} s") from None
        link, arena = self._link, self._arena
        if link is None or arena is None:
            raise NotConnected("this session was closed: connect anew")
        if arena.can_pin and arena.table is None:
            self._want_table()
            assert self._granting is not None
            await asyncio.shield(self._granting)
        return link

    async def _connect(self) -> None:
        path = self.socket_path
        if len(path.encode()) > SOCKET_PATH_BYTES_MAX:
            raise cannot_connect(path, f"a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await self._loop.sock_connect(sock, path)
        except OSError as error:
            sock.close()
            raise cannot_connect(path, error.strerror or str(error)) from error
        core = SessionCore(can_pin=can_pin(), program=self._program)
        link = _Link(self._loop, sock, core)
        queue: asyncio.Queue[Answer | CashyError] = asyncio.Queue()
        link.sinks[1] = queue
        try:
            link.send(core.hello())
            self._arena = adopt_welcome(await self.next_answer(queue), self._arena)
        except BaseException as error:
            link.close("it was not greeted")
            if isinstance(error, ShmError):
                raise NotConnected(f"the daemon on {path} cannot be used: {error}") from error
            raise
        self._link = link
        self._connected.set()

    async def _keep_connected(self) -> None:
        """Connects anew whenever the connection is lost."""
        while self._link is not None:
            await self._link.lost
            self._connected.clear()
            pause_s = CONNECT_RETRY_S_MIN
            while True:
                try:
                    await self._connect()
                    break
                except CashyError:
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, CONNECT_RETRY_S_MAX)

    def _want_table(self) -> None:
        if self._granting is None or self._granting.done():
            self._granting = self._loop.create_task(self._grant_table())
            self._granting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _grant_table(self) -> None:
        link, arena = self._link, self._arena
        if link is None or arena is None or arena.table is not None or link.lost.done():
            return
        request_id, queue = link.request(pb.NewTable())
        try:
            answer = await self.next_answer(queue)
        finally:
            link.sinks.pop(request_id, None)
        if isinstance(answer.body, pb.Failure):
            raise error_of(answer.body)
        arena.replace_table(answer.descriptors[0])

    def before_fork(self) -> None:
        """Nothing: the arena sees to its table."""

    def after_fork_in_child(self) -> None:
        """The connection and the loop are the parent's; this session is of no further use in the child."""
        if self._link is not None:
            self._link.forget_in_child()

    async def close(self) -> None:
        """Ends the connection; pinned blocks and views stay valid."""
        if self._is_closed:
            return
        self._is_closed = True
        for task in (self._keeper, self._granting):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._link is not None:
            self._link.close("the session was closed")
        if self._arena is not None:
            self._arena.drop_table()
        self._arena = None


class FetchedBlock:
    """A block of a fetch, pinned; perhaps still filling. ``pin`` is the caller's to release, also after the fetch has ended."""

    __slots__ = ("_changed", "_error", "_is_complete", "index", "length", "pin", "tier")

    def __init__(self, ready: pb.BlockReady, pin: AnyPin) -> None:
        self.index = ready.block
        self.length = ready.length
        self.tier = ready.tier
        self.pin = pin
        self._is_complete = not ready.filling
        self._error: CashyError | None = None
        self._changed: asyncio.Future[None] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are there and verified."""
        return self._is_complete

    @property
    def available(self) -> int:
        """How many of its first bytes are there."""
        return self.length if self._is_complete else min(self.pin.available, self.length)

    async def wait_beyond(self, size_bytes: int) -> int:
        """Waits until more than ``size_bytes`` are available or the block is complete; returns how many are.

        Raises the fetch's :class:`~cashy.errors.CashyError` if the rest will not come.
        """
        while not self._is_complete and self.available <= size_bytes:
            if self._error is not None:
                raise self._error
            if self._changed is None or self._changed.done():
                self._changed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._changed)
        return self.available

    def progress(self, *, is_complete: bool = False, error: CashyError | None = None) -> None:
        """For the fetch: something changed."""
        self._is_complete = self._is_complete or is_complete
        self._error = self._error or error
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


class Fetch:
    """A range of blocks on its way: ``async with session.fetch(...) as fetch``, then :meth:`meta`, and ``async for block in fetch``.

    Blocks come in any order, each once, those that fill at once when streaming. Leaving it gives up what is under way. Progress of a filling
    block is taken in while the fetch is entered, whoever iterates.
    """

    def __init__(self, session: AsyncSession, request: pb.Fetch) -> None:
        self._session = session
        self._request = request
        self._link: _Link | None = None
        self._request_id = 0
        self._pump: asyncio.Task[None] | None = None
        self._meta: asyncio.Future[Meta] = asyncio.get_running_loop().create_future()
        self._ready: asyncio.Queue[FetchedBlock | CashyError | None] = asyncio.Queue()
        self._filling: dict[int, FetchedBlock] = {}
        self._is_over = False

    async def __aenter__(self) -> Fetch:
        self._link = await self._session.live_link()
        arena = self._session.arena
        assert arena is not None
        self._arena = arena
        if not arena.can_pin:
            self._request.streaming = False  # a copy of a block that still fills cannot be verified
        self._request_id, self._queue = self._link.request(self._request)
        self._pump = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        assert self._pump is not None
        await asyncio.gather(self._pump, return_exceptions=True)
        while not self._ready.empty():
            block = self._ready.get_nowait()
            if isinstance(block, FetchedBlock):
                block.pin.release()

    def release(self) -> None:
        """Gives up what is under way, and lets the daemon drop what it holds for this fetch; blocks already given stay pinned."""
        link, self._link = self._link, None
        if link is None:
            return
        if self._pump is not None:
            self._pump.cancel()
        if not self._meta.done():
            self._meta.cancel()
        for block in self._filling.values():
            block.progress(error=NotConnected("the fetch of this block was given up"))
        link.release(self._request_id)

    async def meta(self) -> Meta:
        """The object's metadata; raises the fetch's error."""
        return await asyncio.shield(self._meta)

    def __aiter__(self) -> Fetch:
        return self

    async def __anext__(self) -> FetchedBlock:
        if self._is_over and self._ready.empty():
            raise StopAsyncIteration
        block = await self._ready.get()
        if block is None:
            self._is_over = True
            raise StopAsyncIteration
        if isinstance(block, CashyError):
            self._is_over = True
            raise block
        return block

    async def _run(self) -> None:
        """Takes answers in until the last."""
        try:
            while True:
                answer = await self._session.next_answer(self._queue)
                self._take(answer)
                if answer.is_last:
                    self._ready.put_nowait(None)
                    return
        except CashyError as error:
            self._fail(error)

    def _fail(self, error: CashyError) -> None:
        if not self._meta.done():
            self._meta.set_exception(error)
            self._meta.exception()  # it may be that nobody asks for the metadata
        for block in self._filling.values():
            block.progress(error=error)
        self._ready.put_nowait(error)

    def _take(self, answer: Answer) -> None:
        body = answer.body
        if isinstance(body, pb.Failure):
            raise error_of(body)
        if isinstance(body, pb.ObjectInfo):
            if not self._meta.done():
                self._meta.set_result(Meta.from_info(self._request.name, body))
        elif isinstance(body, pb.BlockReady):
            self._take_block(body)
        elif isinstance(body, pb.BlockProgress):
            block = self._filling.get(body.block)
            if block is not None:
                block.progress(is_complete=body.complete)
                if body.complete:
                    del self._filling[body.block]

    def _take_block(self, ready: pb.BlockReady) -> None:
        if not self._meta.done():
            raise InternalError("the daemon announced a block before its object: a bug")
        try:
            pin = self._arena.pin_announced(
                self._meta.result(), ready.block, ready.slot, ready.generation, filling=ready.filling
            )
        except TableLost:
            pin = None
        if pin is None:
            raise ArenaFull(
                f"block {ready.block} of {self._request.name} was gone before it could be used: try again"
            )
        block = FetchedBlock(ready, pin)
        if ready.filling and isinstance(pin, Pin):
            self._filling[ready.block] = block
        self._ready.put_nowait(block)
