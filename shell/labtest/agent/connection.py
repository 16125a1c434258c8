"""One connection to an agent: a child process whose standard input and output carry frames, whoever it is (ssh, sudo, Python itself).

Two tasks pump: one reads and hands each frame to the call it belongs to, one writes what waits. They never fail: when the connection is over for
whatever reason they say why (:meth:`Connection.lose`), and every call under way ends with that. Each side sends a sign of life every second, so
five seconds without one byte mean that the host hangs or is cut off, whatever TCP believes.
"""

from __future__ import annotations

import math
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import trio

from labtest.agent.limits import (
    CANCEL_TIMEOUT_S,
    CLOSE_TIMEOUT_S,
    HELLO_TIMEOUT_S,
    LAST_LINES,
    OUTGOING_BYTES_MAX,
    PREAMBLE_BYTES_MAX,
    READ_BYTES,
    STDERR_BYTES_MAX,
    STDERR_TIMEOUT_S,
)
from labtest.agent.messages import Hello, decode
from labtest.agent.payload import LOGIN_MARK, AgentOptions, Payload, build_payload, opening
from labtest.agent.program import frames
from labtest.agent.program.frames import Frame, FrameError, FrameReader, pack_frame
from labtest.agent.program.limits import BEAT_S, FRAME_BYTES_MAX, PROTOCOL_VERSION, SILENCE_S
from labtest.errors import ActionFailed, AgentFailed, HostUnreachable, LabError, NotPrivileged

__all__ = ["Call", "Connection", "Ended", "Explain", "Keep", "connection"]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended that should have become an agent."""

    status: int
    #: Whether the login has succeeded.
    is_logged_in: bool
    stderr: str


#: Says in the words of :mod:`labtest.errors` why there is no agent.
Explain = Callable[[Ended], Awaitable[LabError]]


#: Asked once about a process whose agent is lost, before that is ended: who answers True has taken it over.
Keep = Callable[[trio.Process], bool]


class Call:
    """A request under way: what has come for it, in order."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_over = False
        # Bounded by the protocol: a file's range is asked for, events are acknowledged, and outputs have a limit.
        self._arrived, self._coming = trio.open_memory_channel[Frame](math.inf)

    def deliver(self, frame: Frame) -> None:
        """From the reader."""
        self._arrived.send_nowait(frame)

    def end(self) -> None:
        """The connection is over."""
        self._arrived.close()

    async def receive(self) -> Frame | None:
        """The next frame; None when the connection is over."""
        try:
            frame = await self._coming.receive()
        except trio.EndOfChannel:
            self.is_over = True
            return None
        self.is_over = frame.kind in (frames.RESULT, frames.ERROR)
        return frame


class Connection:
    """A connection that is up, or was."""

    def __init__(self, host: str, process: trio.Process, keep: Keep) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.host = host
        self.hello = Hello(protocol=0, digest="", python="", user_id=-1, process_id=0, boot_id="")
        self.process = process
        #: Set once it is over; :attr:`reason` says why.
        self.lost = trio.Event()
        self.reason = ""
        self._keep = keep
        self._is_kept = False
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._reader = FrameReader()
        self._stderr_text = bytearray()
        self._stderr_ended = trio.Event()
        self._outgoing: deque[bytes] = deque()
        self._outgoing_bytes = 0
        self._posted = trio.Event()
        self._drained = trio.Event()
        self._calls: dict[int, Call] = {}
        self._number = 0

    # ------------------------------------------------------------ calls

    @asynccontextmanager
    async def call(self, payload: bytes) -> AsyncIterator[Call]:
        """Sends a request. One that is left before it is over is cancelled on the host, which is waited for.

        Raises :class:`HostUnreachable`, and :class:`ActionFailed` (``too-large``) for a request that is more than a frame.
        """
        self.check()
        if len(payload) > FRAME_BYTES_MAX:
            raise ActionFailed(
                self.host,
                "too-large",
                f"a request of {len(payload)} bytes: at most {FRAME_BYTES_MAX} are sent at once",
            )
        self._number += 1
        call = self._calls[self._number] = Call(self._number)
        is_sent = False
        try:
            await self.send(pack_frame(frames.REQUEST, call.number, payload))
            is_sent = True
            yield call
        finally:
            if is_sent and not call.is_over and not self.lost.is_set():
                await self._cancel(call)
            del self._calls[call.number]

    async def _cancel(self, call: Call) -> None:
        self.post(pack_frame(frames.CANCEL, call.number))
        with trio.move_on_after(CANCEL_TIMEOUT_S, shield=True):
            while not call.is_over:
                await call.receive()

    def check(self) -> None:
        """Raises :class:`HostUnreachable` if the connection is over."""
        if self.lost.is_set():
            raise HostUnreachable(self.host, self.reason)

    async def send(self, *parts: bytes | memoryview) -> None:
        """Sends a frame as soon as there is room. Raises :class:`HostUnreachable`."""
        while self._outgoing_bytes >= OUTGOING_BYTES_MAX:
            self.check()
            await self._drained.wait()
        self.check()
        self.post(b"".join(parts))

    def post(self, frame: bytes) -> None:
        """Sends a small frame, without waiting."""
        self._outgoing.append(frame)
        self._outgoing_bytes += len(frame)
        self._posted.set()

    def lose(self, reason: str) -> None:
        """The connection is over. Only the first reason counts."""
        if self.lost.is_set():
            return
        self.reason = reason
        self.lost.set()
        self._posted.set()
        self._drained.set()
        for call in self._calls.values():
            call.end()

    # ------------------------------------------------------------ greeting

    async def greet(
        self, payload: Payload, options: AgentOptions, explain: Explain, timeout_s: float
    ) -> None:
        """Sends the program and waits for its first words. Raises :class:`LabError` if they do not come, or are not what they should be."""
        try:
            with trio.fail_after(timeout_s):
                try:
                    await self._stdin.send_all(opening(options, payload))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass  # it has ended; why is read below
                rest, is_logged_in = await self._read_preamble()
                hello = await self._read_hello(rest) if rest is not None else None
                ended = await self._ended(is_logged_in) if hello is None else None
        except trio.TooSlowError:
            raise HostUnreachable(
                self.host, f"no agent within {timeout_s:g} s: {self.stderr() or 'no answer'}"
            ) from None
        if hello is None:
            assert ended is not None
            raise await explain(ended)
        self._check_hello(hello, payload)
        self.hello = hello

    async def _read_preamble(self) -> tuple[bytes | None, bool]:
        """What follows the agent's magic, None if it never came; and whether the login has succeeded."""
        preamble = b""
        while len(preamble) <= PREAMBLE_BYTES_MAX:
            data = await self._stdout.receive_some(READ_BYTES)
            preamble += data
            before, magic, rest = preamble.partition(frames.MAGIC)
            if magic:
                return rest, True
            if not data:
                return None, LOGIN_MARK.encode() in before
        raise AgentFailed(
            self.host, f"the login shell prints more than {PREAMBLE_BYTES_MAX} bytes: is it a shell at all?"
        )

    async def _read_hello(self, data: bytes | bytearray) -> Hello | None:
        try:
            while True:
                arrived = self._reader.feed(data)
                if arrived:
                    if arrived[0].kind != frames.HELLO:
                        raise FrameError("its first frame is no greeting")
                    self._dispatch(arrived[1:])
                    return decode(arrived[0].payload, Hello)
                data = await self._stdout.receive_some(READ_BYTES)
                if not data:
                    return None
        except (FrameError, msgspec.MsgspecError) as error:
            raise AgentFailed(self.host, f"the agent's greeting is not in the protocol: {error}") from error

    async def _ended(self, is_logged_in: bool) -> Ended:
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            await self.process.wait()
        if not self._pass_on():
            self._signal(signal.SIGKILL)
            await self.process.wait()
            with trio.move_on_after(STDERR_TIMEOUT_S):
                await self._stderr_ended.wait()
        return Ended(status=self.process.returncode or 0, is_logged_in=is_logged_in, stderr=self.stderr())

    def _check_hello(self, hello: Hello, payload: Payload) -> None:
        if hello.protocol != PROTOCOL_VERSION or hello.digest != payload.digest:
            raise AgentFailed(
                self.host,
                f"its agent is another one (protocol {hello.protocol}, program {hello.digest[:12]}) than was sent "
                f"(protocol {PROTOCOL_VERSION}, program {payload.digest[:12]})",
            )
        if hello.user_id != 0:
            raise NotPrivileged(
                self.host,
                f"the login has user number {hello.user_id}, and root is needed: log in as root, or set sudo = true for this host",
            )

    def stderr(self) -> str:
        """The last words on standard error."""
        return self._stderr_text.decode("utf-8", "replace").replace("\r", "").strip()

    # ------------------------------------------------------------ tasks

    async def read_stderr(self) -> None:
        """Keeps the last words."""
        try:
            while data := await self._stderr.receive_some(READ_BYTES):
                self._stderr_text += data
                del self._stderr_text[:-STDERR_BYTES_MAX]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self._stderr_ended.set()

    async def read(self) -> None:
        """Hands out frames until the connection is over."""
        try:
            while not self.lost.is_set():
                with trio.move_on_after(SILENCE_S) as silence:
                    data = await self._stdout.receive_some(READ_BYTES)
                if silence.cancelled_caught:
                    self._give_up(f"no sign of life for {SILENCE_S:g} s: it hangs, or is cut off")
                elif not data:
                    ended = await self._ended(is_logged_in=True)
                    self.lose(_last_lines(ended.stderr) or f"the connection ended ({_words(ended.status)})")
                else:
                    self._dispatch(self._reader.feed(data))
        except FrameError as error:
            self._give_up(f"what the agent sends is not in the protocol: {error}")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._give_up("the connection was closed")

    def _give_up(self, reason: str) -> None:
        """It does not end by itself; ssh takes its control socket away when it is asked to end, not when it is killed."""
        self.lose(reason)
        if not self._pass_on():
            self._signal(signal.SIGTERM)

    def _pass_on(self) -> bool:
        """Whether somebody else needs the process, which is theirs then."""
        if not self._is_kept and self.hello.digest and self.process.returncode is None:
            self._is_kept = self._keep(self.process)
        return self._is_kept

    def _signal(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            try:
                self.process.send_signal(number)
            except PermissionError:
                pass  # sudo has become root: it ends with its input

    def _dispatch(self, arrived: Sequence[Frame]) -> None:
        for frame in arrived:
            call = self._calls.get(frame.request)
            if call is not None:  # else it is a sign of life, or was cancelled and is not waited for any more
                call.deliver(frame)

    async def write(self) -> None:
        """Sends what waits; a sign of life if nothing does."""
        try:
            while not self.lost.is_set():
                if not self._outgoing:
                    with trio.move_on_after(BEAT_S) as silence:
                        await self._posted.wait()
                    if silence.cancelled_caught:
                        self.post(pack_frame(frames.BEAT))
                self._posted = trio.Event()
                data = b"".join(self._outgoing)
                self._outgoing.clear()
                await self._stdin.send_all(data)
                self._outgoing_bytes -= len(data)
                self._drained.set()
                self._drained = trio.Event()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the reader will know why

    async def close(self) -> None:
        """Ends the agent."""
        if not self.hello.digest:
            self._signal(signal.SIGTERM)  # whatever it is at, it does not read its input yet
        self.lose("it was closed")
        await self._stdin.aclose()
        if not self._is_kept:
            with trio.move_on_after(CLOSE_TIMEOUT_S):
                await self.process.wait()
            self._signal(signal.SIGKILL)
            with trio.move_on_after(CLOSE_TIMEOUT_S):
                await self.process.wait()
        await self._stdout.aclose()
        await self._stderr.aclose()


def _last_lines(text: str) -> str:
    """What was said last is why; before it may be a banner."""
    return "\n".join(text.splitlines()[-LAST_LINES:])


def _words(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


@asynccontextmanager
async def connection(
    host: str,
    argv: Sequence[str],
    *,
    explain: Explain,
    options: AgentOptions | None = None,
    env: dict[str, str] | None = None,
    connect_timeout_s: float = 0.0,
    keep: Keep = lambda process: False,
    payload: Payload | None = None,
) -> AsyncIterator[Connection]:
    """Starts ``argv``, makes an agent of it, and ends it at the end. Raises :class:`LabError` if that does not become one."""
    try:
        process = await trio.lowlevel.open_process(
            argv, stdin=-1, stdout=-1, stderr=-1, env=env, start_new_session=True
        )
    except OSError as error:
        raise AgentFailed(host, f"{argv[0]} cannot be started here: {error}") from error
    made = Connection(host, process, keep)
    problem: BaseException | None = None
    async with trio.open_nursery() as nursery:
        # An exception of the caller's own must reach it as it is, not in a group.
        try:
            nursery.start_soon(made.read_stderr)
            await made.greet(
                payload or build_payload(),
                options or AgentOptions(),
                explain,
                connect_timeout_s + HELLO_TIMEOUT_S,
            )
            nursery.start_soon(made.read)
            nursery.start_soon(made.write)
            yield made
        except BaseException as error:
            problem = error
        finally:
            with trio.CancelScope(shield=True):
                await made.close()
            nursery.cancel_scope.cancel()
    if problem is not None:
        raise problem
