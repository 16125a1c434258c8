"""One page of a bucket asked of a store, with the retries and redirects of any other question (:mod:`~cashy.origin.s3_calls`)."""

from __future__ import annotations

import asyncio

from cashy.core.s3_list_answer import ListAnswer, NotAListing, read_list_answer
from cashy.errors import CashyError, InternalError, OriginInvalid
from cashy.origin.s3_answer import AnswerHead
from cashy.origin.s3_calls import CallOwner, StoreCall
from cashy.origin.s3_http import Exchange

__all__ = ["LIST_BYTES_MAX", "ListCall"]

#: The text of one page: 500 keys of 1,024 bytes, each of them percent-encoded as three characters, with owners and checksums; real ones are
#: a tenth of it.
LIST_BYTES_MAX = 4 << 20


class ListCall(StoreCall):
    """ListObjectsV2 with a ready ``query``: :meth:`result` gives the page."""

    __slots__ = ("_document", "_keys_max", "_outcome", "_query")

    def __init__(self, origin: CallOwner, bucket: str, query: str, what: str, *, keys_max: int) -> None:
        super().__init__(origin, bucket, None, what)
        self._query = query
        self._keys_max = keys_max
        self._document = b""
        self._outcome: asyncio.Future[None] = self._loop.create_future()

    def make_exchange(self, path: str) -> Exchange:
        """GET of the bucket."""
        return _ListExchange(self, f"{path}?{self._query}")

    def arrived(self, document: bytes) -> None:
        """All of the page is here."""
        self._document = document
        self.answered()
        self.finish(None)

    def settle(self, error: CashyError | None) -> None:
        """Wakes :meth:`result`."""
        if self._outcome.done():
            return
        if error is not None:
            self._outcome.set_exception(error)
        else:
            self._outcome.set_result(None)

    async def result(self) -> ListAnswer:
        """Asks and waits. Raises a CashyError."""
        try:
            self.start()
            await self._outcome
        finally:
            self.give_up()
        try:
            return read_list_answer(self._document, keys_max=self._keys_max)
        except NotAListing as error:
            raise OriginInvalid(
                f"{self.what}: the store's listing cannot be used: {str(error)[:200]}"
            ) from None


class _ListExchange(Exchange):
    """The request and its text."""

    __slots__ = ("_call", "_head", "_path", "what")
    text_bytes_max = LIST_BYTES_MAX

    def __init__(self, call: ListCall, path: str) -> None:
        super().__init__()
        self._call = call
        self._path = path
        self._head: AnswerHead | None = None
        self.what = call.what

    def request(self) -> bytes:
        return self._call.origin.request("GET", self._path, {}, self._call.place)

    def head_arrived(self, head: AnswerHead) -> memoryview | None:
        self._head = head
        return None

    def received(self, watermark: int) -> None:
        raise AssertionError("a listing has no buffer")

    def ended(self, body: bytes, error: CashyError | None) -> None:
        if error is not None and self.is_broken:
            self._call.broke(error)
        elif error is not None or self._head is None:
            self._call.finish(error or InternalError(f"{self.what}: an answer without a head"))
        elif self._head.status == 200:
            self._call.arrived(body)
        else:
            self._call.refused(self._head, body)
