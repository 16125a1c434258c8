"""Whatever is not answered from memory, passed on to the store behind and its answer passed back.

Law: what is passed on was admitted first (:meth:`cashy.s3.worker.Worker.admit`), is signed anew with what its caller is at the store, and streams
through bounded queues both ways. Three endings are held back, each until what makes it true is known:

* *The end of the request* leaves only when its body has come whole and passed its checks (:mod:`cashy.core.upload_body`). Before that every failure
  aborts the store's connection, and a store keeps nothing of a request without an end. The head is held back with a small body.
* *100 Continue* is said when the request is admitted and has its place at the store (DeleteObjects, which is read first, when it is admitted),
  and by us: the store is never asked.
* *The end of the answer* leaves only when the change it tells of has been made known (:mod:`cashy.s3.writing`). S3 reports the success of
  some actions at the end of a long body, so this is the last piece, not the head.

A store that answers before the body has come is believed if it refuses; the rest of the body is not asked for, and both connections end.
A request is sent again once, and only a reading one, if a kept-alive connection was closed before a byte of its answer; and one whose body is
not gone, to the region that a store names in place of an answer (:mod:`cashy.core.s3_regions`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cashy.core.aws_chunked import ChunkSigner
from cashy.core.delete_request import DELETE_BODY_BYTES_MAX, keys_to_delete
from cashy.core.http_head import Request
from cashy.core.post_form import is_form
from cashy.core.s3_errors import S3Error
from cashy.core.s3_forward import (
    CHUNKED,
    AnswerFraming,
    answer_framing,
    answer_head,
    copy_source,
    forwarded_headers,
    forwarded_query,
    is_delete_objects,
    names_written,
    request_head,
)
from cashy.core.s3_regions import REGION_HOPS_MAX, BucketPlace
from cashy.core.s3_request import Other
from cashy.core.sigv4 import EMPTY_SHA256, parse_claim, prepared_key
from cashy.core.upload_body import UploadPlan, content_of, plan_upload
from cashy.errors import CashyError, NotConnected, OriginInvalid, OriginTimeout, OriginUnavailable
from cashy.s3.answering import Answering
from cashy.s3.directory_bucket import PlainRead, answer_directory, list_buckets, whole_answer
from cashy.s3.directory_place import DirectoryPlace
from cashy.s3.limits import REFUSAL_BYTES_MAX, STORE_IDLE_S, STORE_JOIN_BYTES_MAX, STORE_REUSE_S
from cashy.s3.log_fields import about
from cashy.s3.posting import PostedForm, admit_form, read_form
from cashy.s3.store_link import StoreLink
from cashy.s3.store_questions import has_bucket
from cashy.s3.stores import Place, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cashy.s3.connection import S3Connection
    from cashy.s3.worker import Admitted

__all__ = ["Proxying"]

# Methods that read: safe to send again (RFC 9110 9.2.1).
_SAFE = (b"GET", b"HEAD", b"OPTIONS")

# Answers that may say that a bucket is in another region.
_REGION_STATUSES = (301, 302, 307, 308, 400)

# The second attempt wants a new connection: others may have been closed together with the first.
_NEVER_IDLE_S = -1.0


class Proxying:
    """One request on its way through :meth:`run`, which never raises but when it is cancelled (the connection is lost)."""

    def __init__(
        self,
        connection: S3Connection,
        request: Request,
        admitted: Admitted,
        request_id: str,
        keep_alive: bool,
    ) -> None:
        self._connection = connection
        self._worker = connection.worker
        self._request = request
        self._action = admitted.action
        self._key_id = admitted.key_id
        self._request_id = request_id
        self._keep_alive = keep_alive
        self._store: Store | None = None
        self._upload: UploadPlan | None = None
        self._form: PostedForm | None = None
        self._place: BucketPlace
        #: A body that had to be read before anything was sent.
        self._whole_body: list[bytes] | None = None
        self._has_begun = False
        self._held = b""

    async def run(self) -> None:
        """Passes the request on, and the answer back."""
        try:
            if is_form(self._request.method, self._action.key, self._request.headers):
                await self._take_form()
            if await self._answered_here():
                return
            await self._forward()
            self._end()
        except Exception as error:
            if self._has_begun:
                self._give_up(error)
            else:
                is_known = isinstance(error, (S3Error, CashyError))
                self._connection.answer_error(
                    error, self._request, self._request_id, self._keep_alive and is_known
                )

    def _give_up(self, error: Exception) -> None:
        self._connection.abort()
        if isinstance(error, NotConnected) and self._connection not in self._worker.connections:
            return  # its client has left, which is no failure
        self._worker.counters["bodies_cut_off_total"] += 1
        is_bug = not isinstance(error, (S3Error, CashyError))
        self._worker.log.warning(
            "answer of the store cut off",
            **about(self._request, self._request_id),
            reason=str(error),
            exc_info=error if is_bug else None,
        )

    def _end(self) -> None:
        """The last bytes of the answer."""
        if self._request.is_read:
            self._connection.answer_bytes(self._held, self._keep_alive)
        else:
            self._connection.answer_unread(self._held)

    async def _take_form(self) -> None:
        """What an upload by form asks for, and who asks, stands in its body."""
        request, bucket = self._request, self._action.bucket
        form = self._form = admit_form(
            self._worker, request.path, bucket, *await read_form(self._connection, request)
        )
        self._action, self._key_id = Other(bucket, form.key, "write"), form.key_id

    async def _answered_here(self) -> bool:
        """Answers what is no store's to answer: buckets that are directories, and the list of buckets with these among them."""
        worker, request, action = self._worker, self._request, self._action
        if not action.bucket and worker.stores.has_directories and request.method == b"GET":
            self._answer_with(await list_buckets(worker, self._key_id, request.query))
            return True
        place = await self._find_place()
        if not isinstance(place, DirectoryPlace):
            self._store = place
            return False
        answer = await answer_directory(worker, place, request, action)
        if isinstance(answer, PlainRead):
            plain, read = answer
            name = f"s3://{read.bucket}/{read.key}"
            await Answering(
                self._connection, plain, read, name, self._request_id, self._keep_alive and request.is_read
            ).run(None)
        else:
            self._answer_with(answer)
        return True

    def _answer_with(self, document: bytes | None) -> None:
        """A success of our own, with a document or without."""
        is_head, keep_alive = self._request.method == b"HEAD", self._keep_alive and self._request.is_read
        self._held = whole_answer(
            self._worker, document, self._request_id, is_head=is_head, keep_alive=keep_alive
        )
        self._end()

    async def _forward(self) -> None:
        request, action, store = self._request, self._action, self._store
        assert store is not None
        self._worker.counters["proxied_total"] += 1
        query = request.query
        if self._form is not None:
            self._upload, query = self._form.plan(), b""
        elif request.body is not None:
            self._upload = plan_upload(request.headers, self._chunk_signer())
        names = names_written(request.method, query, action.bucket, action.key)
        if is_delete_objects(request.method, request.query, action.key):
            names = tuple(f"s3://{action.bucket}/{key}" for key in keys_to_delete(await self._read_whole()))
        if not names:
            await self._exchange(store)
            return
        async with self._worker.writing.writing(names):
            await self._exchange(store)

    async def _find_place(self) -> Place:
        stores, action = self._worker.stores, self._action
        if not action.bucket:
            return stores.first()
        place = await stores.find(action.bucket, self._key_id, self._has_bucket)
        source = copy_source(self._request.headers)
        if source is None or isinstance(place, DirectoryPlace):
            return place
        if await stores.find(source, self._key_id, self._has_bucket) is not place:
            raise S3Error("NotImplemented", "Objects cannot be copied from one store to another.")
        return place

    async def _has_bucket(self, store: Store, bucket: str) -> bool:
        return await has_bucket(self._worker, store, self._key_id, bucket)

    def _chunk_signer(self) -> ChunkSigner | None:
        """The chain that the request's own signature begins."""
        claim = parse_claim(self._request.query, self._request.headers)
        secret = None if self._key_id is None else self._worker.credentials.secret_of(self._key_id)
        if claim is None or secret is None:
            return None
        scope = claim.scope
        key = prepared_key(secret, scope.date, scope.region)
        return ChunkSigner(key, claim.timestamp, scope.credential, claim.signature)

    # ------------------------------------------------------------ the exchange

    async def _exchange(self, store: Store) -> None:
        """Sends the request and passes the answer back, all but its last piece."""
        is_safe = self._request.method in _SAFE and self._upload is None
        idle_max_s = STORE_IDLE_S if is_safe else STORE_REUSE_S
        is_retry, hops = False, 0
        if self._upload is None and self._request.method in (b"PUT", b"POST"):
            self._connection.tell_to_continue(self._request)
        while True:
            self._place = store.place_of(self._action.bucket)
            async with self._link(store, _NEVER_IDLE_S if is_retry else idle_max_s) as link:
                try:
                    status, headers = await self._ask(store, link)
                except OriginUnavailable:
                    if not is_safe or is_retry or link.served < 2 or not link.is_unanswered:
                        raise
                    is_retry = True
                    continue
                refusal = await self._refusal(link, status)
                moved = store.moved(self._action.bucket, self._place, status, headers, b"".join(refusal))
                if moved and hops < REGION_HOPS_MAX:
                    hops += 1
                    self._check_repeatable()
                    continue
                await self._pass_back(link, status, headers, refusal)
                return

    async def _refusal(self, link: StoreLink, status: int) -> list[bytes]:
        """The first part of an answer that may tell another region, to be passed back if it does not."""
        pieces: list[bytes] = []
        if status in _REGION_STATUSES:
            timeout_s = self._worker.options.store_progress_s
            while sum(map(len, pieces)) < REFUSAL_BYTES_MAX and (piece := await link.piece(timeout_s)):
                pieces.append(piece)
        return pieces

    def _check_repeatable(self) -> None:
        """A body that streamed is gone, and only its sender can send it again: clients do on SlowDown."""
        if self._upload is not None and self._whole_body is None:
            raise S3Error(
                "SlowDown", "The bucket is in another region than it was. Please send the request again."
            )

    @asynccontextmanager
    async def _link(self, store: Store, idle_max_s: float) -> AsyncIterator[StoreLink]:
        async with store.leased(self._place, idle_max_s=idle_max_s) as link:
            link.begin(is_head=self._request.method == b"HEAD")
            yield link

    async def _ask(self, store: Store, link: StoreLink) -> tuple[int, dict[str, str]]:
        if self._upload is None:
            link.write(self._head(store, EMPTY_SHA256, self._length_without_body()))
            link.sent()
            return await link.head(self._worker.options.store_head_s)
        if self._request.is_read:  # nothing to wait for at the client's side
            return await self._ask_at_once(store, link, self._upload)
        sending = asyncio.create_task(self._send_upload(store, link, self._upload))
        answering = asyncio.create_task(link.head(None))
        try:
            await asyncio.wait((sending, answering), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() or isinstance(sending.exception(), OriginUnavailable):
                # Also a store that closes while it is written to may have said why.
                return _believed(await answering, link)
            sending.result()
            return await self._answer_to_whole(store, answering)
        finally:
            sending.cancel()
            answering.cancel()
            await asyncio.gather(sending, answering, return_exceptions=True)

    async def _ask_at_once(
        self, store: Store, link: StoreLink, plan: UploadPlan
    ) -> tuple[int, dict[str, str]]:
        try:
            await self._send_upload(store, link, plan)
        except OriginUnavailable:
            # Also a store that closes while it is written to may have said why.
            return _believed(await link.head(self._worker.options.store_head_s), link)
        return await link.head(self._worker.options.store_head_s)

    async def _answer_to_whole(
        self, store: Store, answering: asyncio.Task[tuple[int, dict[str, str]]]
    ) -> tuple[int, dict[str, str]]:
        timeout_s = self._worker.options.store_head_s
        try:
            async with asyncio.timeout(timeout_s):
                return await answering
        except TimeoutError:
            raise OriginTimeout(f"{store.name} gave no answer within {timeout_s:g} s") from None

    def _length_without_body(self) -> int | None:
        return 0 if self._request.method in (b"PUT", b"POST") else None

    def _head(self, store: Store, payload: bytes, length: int | None) -> bytes:
        request, address = self._request, store.address_of(self._place)
        key = None if store.is_anonymous else self._worker.credentials.at_store(self._key_id)
        if self._form is not None:
            return self._form.head(request, address, key)
        headers = forwarded_headers(request.headers)
        if self._upload is not None:
            headers |= self._upload.headers
            if length is None:
                headers |= CHUNKED
        return request_head(
            request.method,
            request.path,
            forwarded_query(request.query),
            headers,
            address=address,
            key=key,
            payload=payload,
            length=length,
            epoch_s=time.time(),
        )

    # ------------------------------------------------------------ the body

    async def _send_upload(self, store: Store, link: StoreLink, plan: UploadPlan) -> None:
        timeout_s = self._worker.options.store_progress_s
        held = self._head(store, plan.payload, plan.length)
        is_chunked = plan.length is None
        async for piece in self._outgoing(plan):
            piece = _chunk(piece) if is_chunked else piece
            if len(held) + len(piece) <= STORE_JOIN_BYTES_MAX:
                held += piece
                continue
            link.write(held)
            await link.drained(timeout_s)
            held = piece
        link.write(held + b"0\r\n\r\n" if is_chunked else held)
        link.sent()
        await link.drained(timeout_s)

    async def _outgoing(self, plan: UploadPlan) -> AsyncIterator[bytes]:
        """What is to be sent, its last piece only when the body has passed its checks."""
        if self._whole_body is not None:
            for piece in self._whole_body:
                yield piece
            return
        connection, body = self._connection, self._request.body
        assert body is not None
        if self._form is None:  # else it was told for its fields
            connection.tell_to_continue(self._request)
        while data := await connection.read_body(body):
            self._worker.counters["proxied_bytes_received_total"] += len(data)
            for piece in plan.upload.feed(data):
                yield piece
        for piece in plan.upload.finish():
            yield piece

    async def _read_whole(self) -> bytes:
        """The body of DeleteObjects, decoded and checked, kept for being sent."""
        plan = self._upload
        if plan is None:
            raise S3Error("MalformedXML")
        if plan.length is None:
            raise S3Error("MissingContentLength")
        if plan.length > DELETE_BODY_BYTES_MAX:
            raise S3Error("EntityTooLarge")
        sent = [piece async for piece in self._outgoing(plan)]
        self._whole_body = sent
        return content_of(plan, sent)

    # ------------------------------------------------------------ the answer

    async def _pass_back(
        self, link: StoreLink, status: int, headers: dict[str, str], begun: list[bytes]
    ) -> None:
        """Passes the answer back, all but its last piece; ``begun`` is what has been read of it."""
        request, timeout_s = self._request, self._worker.options.store_progress_s
        framing = answer_framing(request.method, status, headers, is_http_1_0=request.is_http_1_0)
        if framing.has_body and framing.length is None and not framing.is_chunked:
            self._keep_alive = False  # only the connection's end can say where the body ends
        self._keep_alive = self._keep_alive and request.is_read
        self._held = answer_head(
            status, headers, framing, request_id=self._request_id, keep_alive=self._keep_alive
        )
        pieces = deque(begun)
        while piece := pieces.popleft() if pieces else await link.piece(timeout_s):
            await self._send_held()
            self._worker.counters["proxied_bytes_sent_total"] += len(piece)
            self._held = _framed(piece, framing)
        if framing.is_chunked:
            self._held += b"0\r\n\r\n"

    async def _send_held(self) -> None:
        connection = self._connection
        self._has_begun = True
        connection.sender.write(self._held)
        connection.sending()
        await connection.sender.drained()
        connection.waiting()


def _believed(answer: tuple[int, dict[str, str]], link: StoreLink) -> tuple[int, dict[str, str]]:
    """An answer that came before the sender was done: only a refusal can be true before the end of the request was sent."""
    if answer[0] < 300 and not link.is_request_whole:
        raise OriginInvalid(f"the store answered {answer[0]} before the body had come")
    return answer


def _framed(piece: bytes, framing: AnswerFraming) -> bytes:
    return _chunk(piece) if framing.is_chunked else piece


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)
