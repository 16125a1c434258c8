"""The asyncio session with the daemon: what the S3 worker and :mod:`cashy.aio` stand on. Works under any asyncio event loop.

Law: hits never await: :meth:`AsyncSession.lookup` and :meth:`AsyncSession.pin` touch shared memory only. Everything else goes over one
connection (socket and rings), watched by the loop's reader and writer callbacks. Queues are bounded: what the daemon does not read beyond
:data:`~cashy.client.limits.OUTPUT_BYTES_MAX` is a SlowDown.

When the daemon goes away, what is under way fails with :class:`~cashy.errors.NotConnected`, blocks that are pinned stay valid, and a task of the
session connects anew until it is closed; requests made meanwhile wait for it as long as their timeout.
"""

from __future__ import annotations

import asyncio
import os
import socket
from itertools import count

from google.protobuf.message import Message

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client import forking
from cashy.client.cache import can_pin
from cashy.client.connection import adopt_welcome, cannot_connect, may_have_channel
from cashy.client.fetch import Fetch, FetchedBlock
from cashy.client.gather import Gather
from cashy.client.limits import (
    ANSWER_TIMEOUT_S,
    CONNECT_RETRY_S_MAX,
    CONNECT_RETRY_S_MIN,
    RECONNECTS_MAX,
    SOCKET_PATH_BYTES_MAX,
)
from cashy.client.link import AnswerQueue, Link
from cashy.client.meta import Meta
from cashy.client.reader import AnyPin, LocalArena, TableLost
from cashy.client.session_core import Answer, SessionCore, error_of
from cashy.core.names import parse_name
from cashy.errors import CashyError, NotConnected
from shmipc.errors import ShmError

__all__ = ["AsyncSession", "Fetch", "FetchedBlock"]


class AsyncSession:
    """A session with the host's daemon, of the loop it was made in; made by :meth:`connect`."""

    def __init__(self, socket_path: str, *, program: str, timeout_s: float) -> None:
        self.socket_path = socket_path
        self.timeout_s = timeout_s
        self._program = program
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
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

    @property
    def is_connected(self) -> bool:
        """Whether the daemon is there at this moment."""
        return self._link is not None and not self._link.lost.done()

    def lookup(self, name: str) -> Meta | None:
        """Fresh metadata from shared memory; no message. Raises :class:`~cashy.errors.InvalidName`."""
        return None if self._arena is None else self._arena.lookup(name)

    def pin(self, meta: Meta, index: int, wanted_bytes: int | None = None) -> AnyPin | None:
        """Pins a READY block; no message. None: it is not here. As :meth:`~cashy.client.reader.LocalArena.pin_block`, but asks for a lost table."""
        if self._arena is None:
            return None
        try:
            return self._arena.pin_block(meta, index, wanted_bytes)
        except TableLost:
            self._want_table()
            return None

    # --- requests ---

    async def stat(self, name: str, *, revalidate: bool = False, may_be_stale: bool = False) -> Meta:
        """Metadata of an object, from shared memory if that is fresh. ``may_be_stale``: what is past its time will do for ``revalidate``, too, while
        the origin cannot be reached.
        """
        if not revalidate and (meta := self.lookup(name)) is not None:
            return meta
        canonical = parse_name(name).url
        body = await self.ask(pb.Stat(name=canonical, revalidate=revalidate, may_be_stale=may_be_stale))
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
        caller: str = "",
        deadline_ms: int = 0,
    ) -> Fetch:
        """Blocks to be brought into shared memory; use it with ``async with``.

        ``caller`` and ``deadline_ms``: on whose behalf, and for how long it is wanted (``control.proto``).
        """
        request = pb.Fetch(
            name=parse_name(name).url, first_block=first_block, block_count=block_count, content_id=content_id or b"",
            streaming=streaming, stream=stream, caller=caller, deadline_ms=deadline_ms,
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

    async def next_answer(self, queue: AnswerQueue) -> Answer:
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
        """Collects what a read needs, over restarts of the daemon, up to its deadline. A read of what is here does not wait."""
        if not read.deadline.is_set:
            await self._carry_out(read)
            return
        try:
            async with asyncio.timeout(read.deadline.left_s(read.name)):
                await self._carry_out(read)
        except TimeoutError as error:
            if isinstance(error, CashyError):
                raise
            raise read.deadline.exceeded(read.name) from None

    async def _carry_out(self, read: Gather) -> None:
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

    async def live_link(self) -> Link:
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
        core = SessionCore(can_pin=can_pin(), program=self._program, wants_channel=may_have_channel())
        link = Link(self._loop, sock, core)
        try:
            self._arena, channel = adopt_welcome(await self.next_answer(link.hello()), self._arena)
            if channel is not None:
                link.use_channel(channel)
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
            await asyncio.shield(self._link.lost)  # the end of this task is not the end of the connection
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
