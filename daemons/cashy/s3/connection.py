"""One connection of an S3 client: requests in order, one at a time, each within its time.

Law: no client costs more than its bounds, whatever it sends or does not read. Bytes are parsed in small steps, and what a client pipelines
beyond one waits unparsed, with reading paused, until the answers before it have left. Of a body that a request waits for, larger steps are
parsed, never beyond its end, and no faster than it is taken. Each state has a deadline: a head must be complete in time from its first byte,
an idle connection ends, a body has to go on, a reader without progress is cut off (only then are its blocks let go:
:mod:`cashy.s3.send`). While the answer waits for the daemon or the store, the deadlines are theirs.

A hit on one block is answered from within ``buffer_updated``, without a task; everything else runs in one task per request
(:mod:`cashy.s3.answering`, :mod:`cashy.s3.proxy`). After a last answer, and after an error that leaves the framing unsure, our half of the
connection ends and the other is read on for a moment (RFC 9112 9.6): closing with unread bytes would reset it and destroy the answer.
"""

from __future__ import annotations

import asyncio
import fcntl
import termios
import time
from collections.abc import Coroutine
from enum import Enum, auto
from math import inf
from typing import Any, cast

from cashy.client.meta import Meta
from cashy.core.http_head import Body, Request, RequestReader
from cashy.core.s3_errors import S3Error
from cashy.core.s3_request import Other
from cashy.core.s3_response import common_headers
from cashy.errors import CashyError, InternalError
from cashy.s3.answering import Answering
from cashy.s3.limits import (
    ANONYMOUS,
    BODY_PROGRESS_BYTES,
    BODY_QUEUE_BYTES_MAX,
    COPY_BYTES_MAX,
    LINGER_BYTES_MAX,
    LINGER_S,
    OUTGOING_BYTES_MAX,
    PARSE_STEP_BYTES,
    REFUSED_MAX,
    SWEEP_INTERVAL_S,
)
from cashy.s3.proxy import Proxying
from cashy.s3.send import PinnedSender
from cashy.s3.session import Pin
from cashy.s3.worker import Plan, Worker

__all__ = ["Phase", "S3Connection"]

# A reader's progress is looked at this many times within its time limit.
_PROGRESS_LOOKS = 4


class Phase(Enum):
    """What a connection waits for."""

    HANDSHAKE = auto()  # the end of TLS's greeting
    IDLE = auto()  # the first byte of a request
    HEAD = auto()  # the rest of one
    DAEMON = auto()  # the daemon or the store: no deadline of ours
    BODY = auto()  # more of a body
    SENDING = auto()  # its client to read
    LINGER = auto()  # its client to notice the end


class S3Connection(asyncio.BufferedProtocol):
    """The protocol of one connection; ``worker`` is shared by all."""

    sender: PinnedSender
    transport: asyncio.Transport

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.number = next(worker.connection_numbers)
        self.deadline = inf
        self.phase = Phase.IDLE
        self._reader = RequestReader()
        self._pending: bytes | memoryview = b""
        self._is_busy = False
        self._is_reading_paused = False
        self._is_last_request = False
        self._has_eof = False
        self._is_ending = False  # nothing more is served, what comes is thrown away
        self._task: asyncio.Task[None] | None = None
        self._lingered_bytes = 0
        self._unsent_bytes = 0
        self._progress_at = 0.0
        self._body: Body | None = None  # of the request that is being answered
        self._body_arrival: asyncio.Future[None] | None = None
        # Since the last progress that counted: bytes of the body, and for how much longer it may be waited for.
        self._body_progress_bytes = 0
        self._body_patience_s = 0.0

    # ------------------------------------------------------------ called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        transport = cast(asyncio.Transport, transport)  # uvloop's transports are not subclasses
        worker = self.worker
        self.transport = transport
        self.sender = PinnedSender(transport, worker.loop)
        over = worker.joined(self)
        if over > REFUSED_MAX:
            transport.abort()
        elif over > 0:
            worker.counters["connections_refused_total"] += 1
            self._end_with_error(S3Error("SlowDown"))
        else:
            self._enter(Phase.IDLE)
            if worker.is_stopping:  # the kernel had it ready for us when we stopped to listen
                self.stop_when_idle()

    def get_buffer(self, size_hint: int) -> memoryview:  # noqa: D102
        worker = self.worker
        return worker.receive_buffer if self._body is None else worker.body_buffer

    def buffer_updated(self, byte_count: int) -> None:  # noqa: D102
        worker = self.worker
        received = (worker.receive_buffer if self._body is None else worker.body_buffer)[:byte_count]
        if self._is_ending:
            self._lingered_bytes += byte_count
            if self._lingered_bytes > LINGER_BYTES_MAX:
                self.abort()
        elif self._is_body_due and not self._pending:
            self._consume_body(received)
        elif self._is_busy or self._pending:
            self._pending = bytes(self._pending) + received
            self._pause_reading()
        else:
            self._consume(received)

    def eof_received(self) -> bool:  # noqa: D102
        # A client may close its half and still read the answers to all it has sent; one that is gone shows itself when we write.
        self._has_eof = True
        self._wake_body()
        return self._is_busy

    def pause_writing(self) -> None:  # noqa: D102
        self.sender.paused()

    def resume_writing(self) -> None:  # noqa: D102
        self.sender.resumed()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        self.deadline = inf
        self.worker.left(self)
        self.sender.lost()
        if self._task is not None:
            self._task.cancel()
        self._pending = b""
        self._body = None

    # ------------------------------------------------------------ called by TLS, if there is any

    def handshake_begun(self) -> None:
        """Nothing can be read yet; what is written waits."""
        if self.phase is not Phase.LINGER:
            self._enter(Phase.HANDSHAKE)

    def handshake_done(self) -> None:
        """From here on it is a connection like any other."""
        if self.phase is Phase.HANDSHAKE:
            self._enter(Phase.IDLE)

    # ------------------------------------------------------------ requests

    def _consume(self, data: bytes | memoryview) -> None:
        reader = self._reader
        at = 0
        while at < len(data) and not reader.is_over:
            reader.feed(data[at : at + PARSE_STEP_BYTES])
            at += PARSE_STEP_BYTES
            self._serve_parsed()
            if self._is_ending:
                return
            if self._is_busy:
                if at < len(data) and not reader.is_over:
                    self._pending = bytes(data[at:])
                    self._pause_reading()
                return
        if self.phase is Phase.IDLE and reader.in_request:
            self._enter(Phase.HEAD)

    def _serve_parsed(self) -> None:
        reader = self._reader
        while not self._is_busy and not self._is_ending:
            if reader.requests:
                self._serve(reader.requests.popleft())
            elif reader.error is not None:
                self._end_with_error(reader.error)
            else:
                return

    def _serve(self, request: Request) -> None:
        worker = self.worker
        worker.counters["requests_total"] += 1
        keep_alive = request.keep_alive and not self._is_last_request and not worker.is_stopping
        request_id = worker.next_request_id()
        try:
            if request.path == b"*":
                self._answer_options(request, request_id, keep_alive)
                return
            admitted = worker.admit(request)
            action = admitted.action
            if isinstance(action, Other):
                proxying = Proxying(self, request, admitted, request_id, keep_alive)
                self._body = None if request.is_read else request.body
                self._body_patience_s = worker.options.body_timeout_s
                self._body_progress_bytes = 0
                self._start(proxying.run())
                return
            name = f"s3://{action.bucket}/{action.key}"
            meta = worker.session.lookup(name)
            proof = worker.rights.proof(admitted.key_id, action, request.path, name)
            if meta is not None and proof is None and not worker.lacks_checksums(request, meta):
                plan = worker.plan(request, action, meta, request_id, keep_alive)
                if self._answer_hit(meta, plan, keep_alive):
                    return
            passed_on = None
            if worker.may_pass_on(request, action):
                passed_on = Proxying(self, request, admitted, request_id, keep_alive)
            answering = Answering(
                self, request, action, name, request_id, keep_alive,
                caller=admitted.key_id or ANONYMOUS, proof=proof, passed_on=passed_on,
            )  # fmt: skip
            self._start(answering.run(meta))
        except (S3Error, CashyError) as error:
            self.answer_error(error, request, request_id, keep_alive)
        except Exception as error:  # a bug must not take other clients' worker with it
            self.answer_error(error, request, request_id, keep_alive=False)

    def _answer_hit(self, meta: Meta, plan: Plan, keep_alive: bool) -> bool:
        """Answers at once if all bytes lie in one block that is here."""
        start, stop = plan.start, plan.stop
        if start == stop:
            self.worker.counters["hits_total"] += 1
            self.answer_bytes(plan.head, keep_alive)
            return True
        index, low = divmod(start, meta.block_bytes)
        if stop > (index + 1) * meta.block_bytes:
            return False
        pin = self.worker.session.pin(meta, index, stop - start)
        if pin is None:
            return False
        self.worker.counters["hits_total"] += 1
        self.worker.counters["bytes_sent_total"] += stop - start
        view = pin.view[low : low + stop - start]
        if len(view) != stop - start:
            pin.release()
            raise InternalError(f"block {index} of {meta.name} is shorter than its object says")
        if stop - start <= COPY_BYTES_MAX:
            answer = b"".join((plan.head, view))
            pin.release()
            self.answer_bytes(answer, keep_alive)
        else:
            self._answer_pinned(plan.head, view, pin, keep_alive)
        return True

    def _answer_pinned(self, head: bytes, view: memoryview, pin: Pin, keep_alive: bool) -> None:
        sender = self.sender
        sender.adopt(pin)
        sender.write_pinned(head, view)
        sender.finish(pin)
        if not sender.unsent_bytes:
            self._settle(keep_alive)
            return
        self._is_busy = True
        self.sending()
        sender.when_drained(lambda: self.finish_request(keep_alive))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._is_busy = True
        self.waiting()
        self._task = self.worker.start_task(work)

    # ------------------------------------------------------------ answers

    def answer_bytes(self, answer: bytes, keep_alive: bool) -> None:
        """Writes a whole answer of our own bytes and ends the request."""
        sender = self.sender
        sender.write(answer)
        if sender.unsent_bytes > OUTGOING_BYTES_MAX:
            self._is_busy = True
            self.sending()
            sender.when_drained(lambda: self.finish_request(keep_alive))
        elif self._is_busy:
            self.finish_request(keep_alive)
        else:
            self._settle(keep_alive)

    def answer_error(self, error: Exception, request: Request, request_id: str, keep_alive: bool) -> None:
        """Answers with what ``error`` means to an S3 client; to be called before any byte of the answer was written."""
        keep_alive = keep_alive and request.is_read
        answer = self.worker.error_answer(error, request, request_id, keep_alive=keep_alive)
        if keep_alive:
            self.answer_bytes(answer, keep_alive)
        else:
            self._end_with(answer)

    def _answer_options(self, request: Request, request_id: str, keep_alive: bool) -> None:
        """``OPTIONS *`` asks about the server as a whole (RFC 9110 9.3.7), no object and no right: a ping."""
        keep_alive = keep_alive and request.is_read
        common = common_headers(request_id, int(time.time()), keep_alive=keep_alive)
        answer = (
            b"HTTP/1.1 200 OK\r\nAllow: GET, HEAD, PUT, POST, DELETE, OPTIONS\r\nContent-Length: 0\r\n"
            + common
        )
        if keep_alive:
            self.answer_bytes(answer, keep_alive)
        else:
            self._end_with(answer)

    def answer_unread(self, answer: bytes) -> None:
        """Writes the end of an answer to a request whose body was not read to its end, and ends the connection."""
        self._end_with(answer)

    def finish_request(self, keep_alive: bool) -> None:
        """The answer has left, or nearly: goes on with the next request."""
        self._task = None
        self._body = None
        self._is_busy = False
        self._settle(keep_alive)
        if self._is_ending or self.transport.is_closing():
            return
        self._serve_parsed()
        if not self._is_busy and self._pending:
            pending, self._pending = self._pending, b""
            self._consume(pending)
        if self._is_busy or self._is_ending:
            return
        if self._has_eof:  # and all of it is answered
            self._settle(keep_alive=False)
        else:
            self._resume_reading()

    def _settle(self, keep_alive: bool) -> None:
        if not keep_alive:
            self._is_ending = True
            self._pending = b""
            self._enter(Phase.SENDING)
            if self._has_eof:
                self.transport.close()  # after what was written
            elif self.sender.unsent_bytes:
                self.sender.when_drained(self._linger)
            else:
                self._linger()
        else:
            self._enter(Phase.HEAD if self._reader.in_request else Phase.IDLE)
            if self._is_last_request:  # the answer did not say so yet
                self.stop_when_idle()

    def _end_with_error(self, error: S3Error) -> None:
        request_id = self.worker.next_request_id()
        self._end_with(self.worker.error_answer(error, None, request_id, keep_alive=False))

    def _end_with(self, answer: bytes) -> None:
        """Sends a last answer, reads on for a moment what the client is still sending, and closes."""
        self._task = None
        self._body = None
        self._is_busy = False
        self._is_ending = True
        self._pending = b""
        self._reader.requests.clear()
        self.sender.write(answer)
        self._linger()

    def _linger(self) -> None:
        if self.transport.is_closing():
            return
        if self._has_eof:  # nothing is coming that would reset the connection
            self._enter(Phase.SENDING)
            self.transport.close()  # after what was written
            return
        self._enter(Phase.LINGER)
        self.transport.write_eof()
        self._resume_reading()

    # ------------------------------------------------------------ bodies

    @property
    def _is_body_due(self) -> bool:
        """Whether what arrives belongs to the body of the request that is being answered."""
        body = self._body
        return body is not None and not body.is_complete and not self._reader.is_over

    def tell_to_continue(self, request: Request) -> None:
        """Answers ``Expect: 100-continue`` (RFC 9110 10.1.1), unless the body is coming already.

        Also where the body is empty, which leaves it open: botocore takes an answer without it for the one to its next request, too.
        """
        body = request.body
        if request.is_http_1_0 or (
            body is not None and (body.is_complete or body.waiting_bytes or self._pending)
        ):
            return
        if request.headers.get(b"expect", b"").lower() == b"100-continue":
            self.sender.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def read_body(self, body: Body) -> bytes:
        """What has come of the body of the request that is being answered, waiting for it; empty at its end.

        Raises :class:`S3Error` if it does not come to its end: it is malformed, too slow, or the client has stopped.
        """
        while not body.waiting_bytes and not body.is_complete:
            if self._pending:
                pending, self._pending = self._pending, b""
                self._consume_body(pending)
            elif self._reader.error is not None:
                raise self._reader.error
            elif self._has_eof:
                raise S3Error("IncompleteBody")
            else:
                await self._wait_for_body()
        data = body.take()
        if not body.is_complete and not self._pending:
            self._resume_reading()
        return data

    async def _wait_for_body(self) -> None:
        loop = self.worker.loop
        self._resume_reading()
        self._body_arrival = loop.create_future()
        began_at = loop.time()
        self._enter(Phase.BODY)
        try:
            await self._body_arrival
        finally:
            self._body_arrival = None
            self._body_patience_s -= loop.time() - began_at
            self.waiting()

    def _consume_body(self, data: bytes | memoryview) -> None:
        """Parses bytes of the body, and not beyond it: what follows may be a request, which waits."""
        reader, body = self._reader, self._body
        assert body is not None
        at = 0
        while at < len(data) and self._is_body_due and body.waiting_bytes <= BODY_QUEUE_BYTES_MAX:
            step = PARSE_STEP_BYTES if body.due is None else body.due
            reader.feed(data[at : at + step])
            at += step
        if at < len(data) and not reader.is_over:
            self._pending = bytes(data[at:])
            self._pause_reading()
        elif body.waiting_bytes > BODY_QUEUE_BYTES_MAX:
            self._pause_reading()
        self._body_progress_bytes += len(data)
        if self._body_progress_bytes >= BODY_PROGRESS_BYTES:
            self._body_progress_bytes = 0
            self._body_patience_s = self.worker.options.body_timeout_s
        if body.is_complete:
            self._body = None
        self._wake_body()

    def _wake_body(self) -> None:
        arrival = self._body_arrival
        if arrival is not None and not arrival.done():
            arrival.set_result(None)

    # ------------------------------------------------------------ time

    def waiting(self) -> None:
        """The answer waits for the daemon."""
        self._enter(Phase.DAEMON)

    def sending(self) -> None:
        """The answer waits for its client."""
        self._enter(Phase.SENDING)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        options, now = self.worker.options, self.worker.loop.time()
        if phase is Phase.IDLE:
            self.deadline = now + options.idle_timeout_s
        elif phase is Phase.SENDING:
            self._progress_at = now
            self._unsent_bytes = self.sender.unsent_bytes
            self.deadline = now + options.send_timeout_s / _PROGRESS_LOOKS
        elif phase in (Phase.HEAD, Phase.HANDSHAKE):
            self.deadline = now + options.head_timeout_s
        elif phase is Phase.BODY:
            self.deadline = now + self._body_patience_s
        else:
            self.deadline = now + LINGER_S if phase is Phase.LINGER else inf

    def on_deadline(self, now: float) -> None:
        """Called by the worker's sweep when :attr:`deadline` has passed."""
        if self.phase is Phase.SENDING:
            self._look_at_progress(now)
        elif self.phase is Phase.HEAD:
            self.worker.counters["timeouts_head_total"] += 1
            self._end_with_error(S3Error("RequestTimeout"))
        elif self.phase is Phase.BODY and self._body_arrival is not None:
            self.deadline = inf
            if not self._body_arrival.done():  # once: what arrives until it is looked at begins the time anew
                self.worker.counters["timeouts_body_total"] += 1
                self._body_arrival.set_exception(S3Error("RequestTimeout"))
        elif self.phase is Phase.IDLE and self._has_unread_bytes():
            self.deadline = now + SWEEP_INTERVAL_S  # its request is here, and would be lost
        elif self.phase is Phase.IDLE and not self.sender.unsent_bytes:
            self.worker.counters["timeouts_idle_total"] += 1
            self.deadline = inf
            self.transport.close()
        else:
            self.worker.counters["timeouts_handshake_total"] += self.phase is Phase.HANDSHAKE
            self.abort()

    def _has_unread_bytes(self) -> bool:
        """Whether the kernel has bytes that the loop has not come to."""
        sock = self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0 or self._is_reading_paused:
            return False
        return fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)) != bytes(4)

    def _look_at_progress(self, now: float) -> None:
        unsent_bytes = self.sender.unsent_bytes
        timeout_s = self.worker.options.send_timeout_s
        if unsent_bytes != self._unsent_bytes:
            self._unsent_bytes = unsent_bytes
            self._progress_at = now
        if now - self._progress_at >= timeout_s:
            self.worker.counters["timeouts_send_total"] += 1
            self.abort()
        else:
            self.deadline = min(now + timeout_s / _PROGRESS_LOOKS, self._progress_at + timeout_s)

    # ------------------------------------------------------------ the end

    def stop_when_idle(self) -> None:
        """The worker stops: this request is the last. One that may be on its way is waited for, for a moment."""
        self._is_last_request = True
        if not self._is_busy and self.phase in (Phase.IDLE, Phase.HANDSHAKE, Phase.HEAD):
            self.deadline = min(self.deadline, self.worker.loop.time() + self.worker.options.last_request_s)

    def abort(self) -> None:
        """Cuts the connection off; what was not sent is lost, and pins are released once the loop says so."""
        self.deadline = inf
        self.transport.abort()

    def _pause_reading(self) -> None:
        if not self._is_reading_paused and not self.transport.is_closing():
            self._is_reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._is_reading_paused and not self.transport.is_closing():
            self._is_reading_paused = False
            self.transport.resume_reading()
