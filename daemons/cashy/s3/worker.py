"""What all connections of one S3 worker share, and the decisions about one request that need no waiting.

Law: :meth:`Worker.admit` comes before anything else is learnt about an object: who is not allowed gets the same answer whether it exists or not. The
heads of objects are rendered once per version and kept under the very metadata object that shared memory gave, so that new
metadata of the same content (S3's copy onto itself) is never answered with old headers.

Errors of the inside (paths, endpoints) go to the log with the request's id; the client gets S3's words (:mod:`cashy.core.s3_errors`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from cashy.client.meta import Meta
from cashy.core.conditions import (
    CONDITIONAL_HEADERS,
    evaluate_conditions,
    failed_condition,
    range_applies,
)
from cashy.core.http_head import Request, split_path
from cashy.core.post_form import is_form
from cashy.core.ranges import ByteRange, InvalidRange, parse_range
from cashy.core.s3_errors import S3Error, s3_error_of
from cashy.core.s3_forward import check_target, copy_source
from cashy.core.s3_request import Action, ObjectRead, Other, classify
from cashy.core.s3_response import (
    RenderedObject,
    common_headers,
    error_answer,
    not_modified_head,
    object_head,
    render_object,
    with_overrides,
)
from cashy.core.sigv4 import authenticate
from cashy.core.staleness import stale_lines
from cashy.core.virtual_host import VirtualHosts
from cashy.errors import CashyError, VersionChanged
from cashy.s3.checksums import Checksums
from cashy.s3.credentials import Credentials
from cashy.s3.limits import (
    BLOCK_BYTES_GUESS,
    BODY_BUFFER_BYTES,
    READ_AHEAD_BYTES,
    RECEIVE_BUFFER_BYTES,
    RENDERED_HEADS_MAX,
    STOP_FIRST_REQUEST_S,
    STOP_LOOK_S,
    STORE_HEAD_S,
    STORE_PROGRESS_S,
    SWEEP_INTERVAL_S,
)
from cashy.s3.log_fields import about
from cashy.s3.rights import Rights
from cashy.s3.session import Session
from cashy.s3.stores import Stores
from cashy.s3.writing import NothingShared, Writing
from hostkit.log import get_logger

if TYPE_CHECKING:
    from cashy.s3.connection import S3Connection

__all__ = ["Admitted", "Plan", "Worker", "WorkerOptions"]


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What an operator may change, see ``[s3]`` in ``cashy.settings``; ``regions`` empty: any. ``read_ahead_bytes`` is per answer."""

    connections_max: int = 4096
    head_timeout_s: float = 10.0
    idle_timeout_s: float = 75.0
    send_timeout_s: float = 30.0
    body_timeout_s: float = 30.0
    store_head_s: float = STORE_HEAD_S
    store_progress_s: float = STORE_PROGRESS_S
    read_ahead_bytes: int = READ_AHEAD_BYTES
    regions: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    rights: str = "store"
    rights_valid_s: float = 60.0
    rights_grace_s: float = 60.0
    last_request_s: float = STOP_FIRST_REQUEST_S


class Admitted(NamedTuple):
    """A request that may be done: what it asks for, and whose key signed it (None: nobody's)."""

    action: Action
    key_id: str | None


class Plan:
    """How one request about a known object is answered: its head, and bytes ``start`` … ``stop`` - 1 of the object."""

    __slots__ = ("head", "start", "stop")

    def __init__(self, head: bytes, start: int, stop: int) -> None:
        self.head = head
        self.start = start
        self.stop = stop


class Worker:
    """State of one worker; all calls on its loop's thread."""

    def __init__(
        self,
        session: Session,
        credentials: Credentials,
        options: WorkerOptions,
        *,
        stores: Stores | None = None,
        writing: Writing | None = None,
    ) -> None:
        self.session = session
        self.credentials = credentials
        self.options = options
        self.stores = stores if stores is not None else Stores()
        self.writing = writing if writing is not None else NothingShared()
        self.loop = asyncio.get_running_loop()
        self.connections: set[S3Connection] = set()
        self.connection_numbers = count(1)
        self.receive_buffer = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        self.body_buffer = memoryview(bytearray(BODY_BUFFER_BYTES))
        self.counters: Counter[str] = Counter()
        self.is_stopping = False
        self._virtual_hosts = VirtualHosts(options.domains)
        self.rights = Rights(self)
        self.checksums = Checksums(session, self.loop.time)
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.block_bytes_guess = BLOCK_BYTES_GUESS
        self.log: Any = get_logger(program="cashy s3")
        self._rendered: OrderedDict[bytes, tuple[Meta, RenderedObject]] = OrderedDict()
        self._request_numbers = count(secrets.randbits(32) << 24)
        self._sweep = self.loop.call_later(SWEEP_INTERVAL_S, self._sweep_deadlines)

    def apply(self, credentials: Credentials, options: WorkerOptions) -> None:
        """Goes on with other keys, limits and names; requests under way end as they began."""
        self.credentials = credentials
        self.options = options
        self._virtual_hosts = VirtualHosts(options.domains)

    # ------------------------------------------------------------ one request

    def next_request_id(self) -> str:
        """16 hexadecimal digits, different for every answer of this worker."""
        return f"{next(self._request_numbers):016X}"

    def admit(self, request: Request) -> Admitted:
        """Who asks, for what, and may they? Raises :class:`S3Error`."""
        path_as_signed = request.path
        request.path = self._virtual_hosts.path_style(request.path, request.headers.get(b"host"))
        key_id = authenticate(
            request.method,
            path_as_signed,
            request.query,
            request.headers,
            now_s=time.time(),
            secret_of=self.credentials.secret_of,
            regions=self.options.regions,
            body_sha256=request.body_sha256,
        )
        if b"x-amz-security-token" in request.headers or (
            request.query and b"X-Amz-Security-Token=" in request.query
        ):
            raise S3Error(
                "InvalidToken"
            )  # the keys here are static: what the token promises cannot be checked
        action = classify(request)
        if isinstance(action, Other):
            if is_form(request.method, action.key, request.headers):
                self._admit_unread_form(key_id)
            else:
                self._admit_other(request, action, key_id)
        elif not self.credentials.authorise(key_id, action.bucket, "read"):
            raise S3Error("AccessDenied")
        return Admitted(action, key_id)

    def _admit_unread_form(self, key_id: str | None) -> None:
        """Who uploads by a form stands in its fields (:func:`cashy.s3.posting.admit_form`)."""
        if key_id is not None:
            raise S3Error("NotImplemented", "A form is signed by its own fields, and not by its request.")
        if not self.stores:
            raise S3Error("MethodNotAllowed")

    def _admit_other(self, request: Request, action: Other, key_id: str | None) -> None:
        credentials = self.credentials
        if not self.stores and (key_id is not None or credentials.anonymous):
            # Nothing would be done whatever the rights are; those are asked when it can be.
            raise S3Error(
                "NotImplemented",
                "This operation is not implemented; GetObject and HeadObject are. (This worker knows no S3 origin.)",
            )
        if not (key_id is None and _is_preflight(request)) and not credentials.authorise(
            key_id, action.bucket, action.right
        ):
            raise S3Error("AccessDenied")
        check_target(request.method, request.path, request.query, action.bucket, action.key)
        if request.headers.get(b"content-md5") == b"":  # is not passed on, so the store could not refuse it
            raise S3Error("InvalidDigest")
        # A list that is made here shows what the key's patterns allow; a store's own shows all.
        if not action.bucket and not self.stores.has_directories and not credentials.may_list_buckets(key_id):
            raise S3Error("AccessDenied")
        source = copy_source(request.headers)
        if source is not None and not credentials.authorise(key_id, source, "read"):
            raise S3Error("AccessDenied")

    def plan(
        self, request: Request, action: ObjectRead, meta: Meta, request_id: str, keep_alive: bool
    ) -> Plan:
        """How to answer, from the object's metadata. Raises :class:`S3Error` (412), :class:`InvalidRange` (416)."""
        rendered = self._render(meta)
        headers = request.headers
        if action.overrides:
            rendered = with_overrides(rendered, action.overrides)
        common = common_headers(request_id, int(time.time()), keep_alive=keep_alive)
        if meta.stale_for_s:
            self.counters["stale_answers_total"] += 1
            common = stale_lines(meta.stale_for_s, meta.age_s) + common
        if not CONDITIONAL_HEADERS.isdisjoint(headers):
            status = evaluate_conditions(headers, rendered.etag, rendered.last_modified_s)
            if status == 304:
                return Plan(not_modified_head(rendered, common), 0, 0)
            if status == 412:
                raise S3Error("PreconditionFailed", details=(("Condition", failed_condition(headers)),))
        byte_range = self._range(headers, rendered)
        checksums = b""
        if byte_range is None and _wants_checksums(headers):
            checksums = self.checksums.find(meta, rendered) or b""
        head = object_head(rendered, byte_range, common, checksums)
        if action.is_head:
            return Plan(head, 0, 0)
        if byte_range is None:
            return Plan(head, 0, meta.size_bytes)
        return Plan(head, byte_range.start, byte_range.stop)

    def lacks_checksums(self, request: Request, meta: Meta) -> bool:
        """Whether checksums are wanted and it is not known whether there are any (:meth:`Checksums.ask`)."""
        headers = request.headers
        if b"range" in headers or meta.stale_for_s or not _wants_checksums(headers):
            return False
        return self.checksums.find(meta, self._render(meta)) is None

    def may_pass_on(self, request: Request, action: ObjectRead) -> bool:
        """Whether the store may be asked for an object itself, in the caller's own words."""
        if not self.stores:
            return False
        try:
            check_target(request.method, request.path, request.query, action.bucket, action.key)
        except S3Error:
            return False
        return True

    def _range(self, headers: dict[bytes, bytes], rendered: RenderedObject) -> ByteRange | None:
        field = headers.get(b"range")
        if field is None or not range_applies(
            headers.get(b"if-range"), rendered.etag, rendered.last_modified_s
        ):
            return None
        return parse_range(field.decode("latin-1"), rendered.size_bytes)

    def _render(self, meta: Meta) -> RenderedObject:
        key = meta.content_id
        known = self._rendered.get(key)
        if known is not None and known[0] is meta:
            self._rendered.move_to_end(key)
            return known[1]
        self.block_bytes_guess = meta.block_bytes
        rendered = render_object(meta)
        self._rendered[key] = (meta, rendered)
        if len(self._rendered) > RENDERED_HEADS_MAX:
            self._rendered.popitem(last=False)
        return rendered

    def error_answer(
        self, error: Exception, request: Request | None, request_id: str, *, keep_alive: bool
    ) -> bytes:
        """The whole answer that ``error`` means. What is nobody's fault but ours is logged."""
        size_bytes = error.size_bytes if isinstance(error, InvalidRange) else None
        s3_error = self._as_s3_error(error, about(request, request_id))
        if request is not None and not s3_error.details:
            s3_error.details = _details(s3_error.code, request, size_bytes)
        self.counters[f"errors_{s3_error.code}"] += 1
        path = request.path.decode("latin-1") if request is not None else "/"
        return error_answer(
            s3_error,
            resource=path,
            request_id=request_id,
            common=common_headers(request_id, int(time.time()), keep_alive=keep_alive),
            is_head=request is not None and request.method == b"HEAD",
            size_bytes=size_bytes,
        )

    def _as_s3_error(self, error: Exception, fields: dict[str, str]) -> S3Error:
        if isinstance(error, S3Error):
            return error
        if isinstance(error, InvalidRange):
            return S3Error("InvalidRange")
        if not isinstance(error, CashyError):
            self.log.error("request failed: a bug", **fields, exc_info=error)
            return S3Error("InternalError")
        s3_error = s3_error_of(error)
        if s3_error.status >= 500 and not isinstance(error, VersionChanged):
            self.log.warning("request failed", **fields, code=s3_error.code, reason=error.message)
        return s3_error

    def all_counters(self) -> dict[str, int]:
        """Counters and levels by name."""
        return {**self.counters, **self.stores.counters(), "connections": len(self.connections)}

    def start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs what one request waits for; :meth:`stop` waits for it."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ------------------------------------------------------------ all connections

    def joined(self, connection: S3Connection) -> int:
        """A connection was made; gives how many there are over the limit (negative: under it)."""
        self.connections.add(connection)
        self._all_gone.clear()
        self.counters["connections_total"] += 1
        return len(self.connections) - self.options.connections_max

    def left(self, connection: S3Connection) -> None:
        """A connection was lost."""
        self.connections.discard(connection)
        if not self.connections:
            self._all_gone.set()

    def _look_at_deadlines(self) -> None:
        now = self.loop.time()
        for connection in [one for one in self.connections if one.deadline <= now]:
            connection.on_deadline(now)

    def _sweep_deadlines(self) -> None:
        self._look_at_deadlines()
        self._sweep = self.loop.call_later(SWEEP_INTERVAL_S, self._sweep_deadlines)

    async def see_off(self, patience_s: float) -> None:
        """Answers each connection that is there once more, at most, and waits until they are gone; who comes meanwhile is answered once, too."""
        self.is_stopping = True
        leaving = list(self.connections)
        for connection in leaving:
            connection.stop_when_idle()
        give_up_at = self.loop.time() + patience_s
        while self.loop.time() < give_up_at and not self.connections.isdisjoint(leaving):
            await asyncio.sleep(STOP_LOOK_S)
            self._look_at_deadlines()

    async def stop(self, grace_s: float) -> None:
        """Lets answers under way end for ``grace_s`` seconds, then cuts them off. No new connection must come any more."""
        self.is_stopping = True
        for connection in list(self.connections):
            connection.stop_when_idle()
        try:
            async with asyncio.timeout(grace_s):
                await self._all_gone.wait()
        except TimeoutError:
            for connection in list(self.connections):
                connection.abort()
            await self._all_gone.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.rights.close()
        self._sweep.cancel()


def _is_preflight(request: Request) -> bool:
    """Whether it is a browser's question which sites may read (CORS): never signed, without a body, and it tells of no object."""
    is_question = b"origin" in request.headers and b"access-control-request-method" in request.headers
    return request.method == b"OPTIONS" and is_question and request.body is None and request.path != b"/"


def _wants_checksums(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"x-amz-checksum-mode", b"").upper() == b"ENABLED"


def _details(code: str, request: Request, size_bytes: int | None) -> tuple[tuple[str, str], ...]:
    """What S3 says besides code and message of an error about a request's own values."""
    if code == "InvalidRange" and size_bytes is not None:
        asked = request.headers.get(b"range", b"").decode("latin-1")
        return ("RangeRequested", asked), ("ActualObjectSize", str(size_bytes))
    if code in ("NoSuchKey", "NoSuchBucket"):
        bucket, key = split_path(request.path)
        return (("Key", key),) if code == "NoSuchKey" else (("BucketName", bucket),)
    return ()
