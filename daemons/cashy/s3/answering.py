"""Answers that have to wait: cold objects, and bodies of several blocks.

Law: the head is written together with the first bytes of the body, so that whatever goes wrong before them is an S3 error with a code. From then on
the length and the version are promised: if a block cannot be had, the connection is cut off. Never is a body filled up, and never
is it continued with another version's bytes. A master that is restarted is waited for, before and after, and asked again.

A cold object costs one round trip: the fetch of the block with the first byte asked for brings the metadata too. Only HEAD and ``bytes=-n`` (whose
first byte is not known without the size) ask for the metadata alone.

What cannot be answered from memory goes to the store: where the daemon is refused, or gets what it cannot keep, the request itself is passed
on, signed as its caller, and what the store says to that is the answer. How long others may keep an object (``Cache-Control``) S3 does not
look at, and neither is it looked at here: freshness is the origin's version, asked for as configured.
"""

from __future__ import annotations

import asyncio
import re
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Protocol

from cashy.client.deadline import NO_DEADLINE, Deadline
from cashy.client.meta import Meta
from cashy.core.http_head import Request
from cashy.core.s3_errors import S3Error
from cashy.core.s3_request import ObjectRead
from cashy.errors import (
    AccessDenied,
    CashyError,
    InternalError,
    NotConnected,
    OriginInvalid,
    VersionChanged,
)
from cashy.s3.block_stream import BlockStream
from cashy.s3.limits import MASTER_AWAY_S, MASTER_LOSSES_MAX, VERSION_RESTARTS_MAX
from cashy.s3.log_fields import about
from cashy.s3.session import Fetch

if TYPE_CHECKING:
    from cashy.s3.connection import S3Connection
    from cashy.s3.worker import Plan

__all__ = ["DEADLINE_HEADER", "Answering", "PassedOn", "deadline_of"]

# At most 18 digits: the start of a range that could be of an object, and fits the protocol's 64 bits.
_RANGE_START = re.compile(rb"bytes=[ \t,]*([0-9]{1,18})-", re.IGNORECASE)
#: Seconds that the caller will wait for the whole answer; ours, and unsigned, so that any client can add it.
DEADLINE_HEADER = b"x-cashy-timeout"
_SECONDS = re.compile(rb"[0-9]{1,6}(\.[0-9]{1,3})?")

_SUFFIX_RANGE = re.compile(rb"bytes=[ \t,]*-|bytes=[ \t,]*[0-9]{19}", re.IGNORECASE)


# The daemon was refused what this caller may have, or the object is of a kind that is not cached (a customer's key, an archive, no strong ETag).
_THE_STORES_TO_ANSWER = (AccessDenied, OriginInvalid)


def deadline_of(field: bytes | None) -> Deadline:
    """The deadline that a request carries (:data:`DEADLINE_HEADER`); none if it carries none, or nothing that is a number above 0."""
    if field is None or not _SECONDS.fullmatch(field) or not float(field):
        return NO_DEADLINE
    return Deadline(float(field))


class PassedOn(Protocol):
    """The same request as the store gets it: :class:`cashy.s3.proxy.Proxying`, which itself begins some answers of this module."""

    async def run(self) -> None:
        """Answers; never raises but when it is cancelled."""
        ...


class Answering:
    """One request on its way through :meth:`run`, which never raises but when it is cancelled (the connection is lost)."""

    def __init__(
        self,
        connection: S3Connection,
        request: Request,
        action: ObjectRead,
        name: str,
        request_id: str,
        keep_alive: bool,
        *,
        caller: str = "",
        proof: asyncio.Task[None] | None = None,
        passed_on: PassedOn | None = None,
    ) -> None:
        self._connection = connection
        self._proof = proof  # that the caller may read the object; None: it may
        self._passed_on = passed_on
        self._worker = connection.worker
        self._session = connection.worker.session
        self._request = request
        self._action = action
        self._name = name
        self._request_id = request_id
        self._keep_alive = keep_alive
        self._range = request.headers.get(b"range")
        self._caller = caller
        self._deadline = deadline_of(request.headers.get(DEADLINE_HEADER))
        self._has_begun = False
        self._sent_to = 0  # in the block under way
        self._wait_until = inf

    async def run(self, meta: Meta | None) -> None:
        """Answers, with the metadata if it is known."""
        self._wait_until = self._worker.loop.time() + MASTER_AWAY_S
        try:
            await self._run_over_changes(meta)
        except Exception as error:
            if self._has_begun:
                self._give_up(error)
            elif self._passed_on is not None and isinstance(error, _THE_STORES_TO_ANSWER):
                await self._passed_on.run()
            else:
                is_known = isinstance(error, (S3Error, CashyError))
                keep_alive = self._keep_alive and is_known
                self._connection.answer_error(error, self._request, self._request_id, keep_alive)

    def _give_up(self, error: Exception) -> None:
        self._connection.abort()
        if isinstance(error, NotConnected) and self._is_client_gone:
            return  # its client has left, which is no failure
        self._worker.counters["bodies_cut_off_total"] += 1
        is_bug = not isinstance(error, CashyError)
        self._worker.log.warning(
            "answer cut off",
            **about(self._request, self._request_id),
            reason=str(error),
            exc_info=error if is_bug else None,
        )

    async def _run_over_changes(self, meta: Meta | None) -> None:
        """Begins anew when the object was replaced, or the master lost, before the first byte was sent."""
        for _ in range(VERSION_RESTARTS_MAX):
            try:
                await self._answer(meta)
                return
            except (VersionChanged, NotConnected):
                if self._has_begun or not self._may_ask_again:
                    raise
                meta = None
        await self._answer(None)

    @property
    def _is_client_gone(self) -> bool:
        return self._connection not in self._worker.connections

    @property
    def _may_ask_again(self) -> bool:
        return not self._is_client_gone and self._worker.loop.time() < self._wait_until

    async def _answer(self, meta: Meta | None) -> None:
        opened: Fetch | None = None
        opened_index = -1
        try:
            try:
                if meta is None and self._needs_only_metadata():
                    self._worker.counters["misses_total"] += 1
                    meta = await self._session.stat(self._name, revalidate=True, may_be_stale=True)
                elif meta is None:
                    opened_index = self._first_block_guess()
                    opened = await self._open(opened_index)
                    meta = await opened.meta()
            except CashyError as error:
                await self._proven_before(error)
                raise
            await self._proven()
            if self._worker.lacks_checksums(self._request, meta):
                meta = await self._worker.checksums.ask(meta)
            plan = self._worker.plan(self._request, self._action, meta, self._request_id, self._keep_alive)
            if plan.start < plan.stop:
                taken = opened if opened_index == plan.start // meta.block_bytes else None
                if taken is not None:
                    opened = None
                await self._send(meta, plan, taken)
        finally:
            if opened is not None:
                await opened.__aexit__(None, None, None)
        if self._has_begun:
            self._connection.finish_request(self._keep_alive)
        else:
            self._has_begun = True
            self._connection.answer_bytes(plan.head, self._keep_alive)

    async def _proven(self) -> None:
        if self._proof is not None:
            await asyncio.shield(self._proof)

    async def _proven_before(self, error: CashyError) -> None:
        """Also who gets an error learns nothing that it has no right to. That there is nothing, the daemon knows more exactly."""
        try:
            await self._proven()
        except S3Error as refusal:
            if refusal.status != 404 or not isinstance(error, FileNotFoundError):
                raise

    def _needs_only_metadata(self) -> bool:
        return self._action.is_head or (
            self._range is not None and _SUFFIX_RANGE.match(self._range) is not None
        )

    def _first_block_guess(self) -> int:
        match = _RANGE_START.match(self._range) if self._range is not None else None
        return int(match[1]) // self._worker.block_bytes_guess if match else 0

    async def _open(self, index: int) -> Fetch:
        self._worker.counters["misses_total"] += 1
        fetch = self._session.fetch(
            self._name, index, 1, content_id=None, streaming=True, stream=self._stream, caller=self._caller,
            deadline_ms=self._deadline.left_ms(self._name),
        )  # fmt: skip
        await fetch.__aenter__()
        return fetch

    @property
    def _stream(self) -> int:
        """Ranges on one connection may be a reader going through an object; a whole object is read ahead here already."""
        return self._connection.number if self._range is not None else 0

    async def _send(self, meta: Meta, plan: Plan, opened: Fetch | None) -> None:
        block_bytes = meta.block_bytes
        stream = BlockStream(
            self._session,
            meta,
            plan.start // block_bytes,
            (plan.stop - 1) // block_bytes,
            opened=opened,
            patience_s=self._worker.options.send_timeout_s,
            ahead_bytes=self._worker.options.read_ahead_bytes,
            stream=self._stream,
            caller=self._caller,
            deadline=self._deadline,
            count_miss=self._count_miss,
        )
        try:
            at = plan.start
            while at < plan.stop:
                index, low = divmod(at, block_bytes)
                high = min(plan.stop - index * block_bytes, block_bytes)
                await self._send_block(stream, plan, index, low, high)
                at = index * block_bytes + high
        finally:
            await stream.close()

    async def _send_block(self, stream: BlockStream, plan: Plan, index: int, low: int, high: int) -> None:
        """Bytes ``low`` … ``high`` - 1 of a block, as they arrive; also if the master is restarted meanwhile."""
        self._sent_to = low
        for losses in count(1):
            try:
                await self._send_rest(stream, plan, index, high)
                break
            except NotConnected:
                await stream.finish(index)
                if losses > MASTER_LOSSES_MAX or not self._may_ask_again:
                    raise
        await stream.finish(index)

    async def _send_rest(self, stream: BlockStream, plan: Plan, index: int, high: int) -> None:
        """From where the last attempt stopped; the version is the same, so the bytes are."""
        connection, sender = self._connection, self._connection.sender
        connection.waiting()
        block = await stream.take(index, high - self._sent_to)
        pin = block.pin
        sender.adopt(pin)
        try:
            while self._sent_to < high:
                low = self._sent_to
                available = min(high, await block.wait_beyond(low))
                view = pin.view[low:available]
                if not view or len(view) != available - low:
                    raise InternalError(f"block {index} of {self._name} is shorter than its object says")
                head = b"" if self._has_begun else plan.head
                self._has_begun = True
                sender.write_pinned(head, view)
                self._worker.counters["bytes_sent_total"] += len(view)
                if head:
                    stream.begun(index)
                self._sent_to = available
                connection.sending()
                await sender.drained()
                connection.waiting()
        finally:
            sender.finish(pin)

    def _count_miss(self) -> None:
        self._worker.counters["misses_total"] += 1
