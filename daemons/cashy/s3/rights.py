"""May this caller read this object at the store? Asked before bytes are given out of memory, and remembered for a short, configured time.

Law: the key's table here decides first, the store second, and both must allow it; only the store's own answer to a HEAD that is signed with the
caller's credentials *there* counts, since policies of buckets and users are known to nobody else. While it is asked, the daemon is asked for the
object, so a first read costs the longer of both and no more; whoever asks the same meanwhile waits for the same answer. A store that
does not answer is no permission, but where it gave one before: that counts ``rights_grace_s`` longer while it cannot be reached, and not a moment
longer once it has refused. So an outage lets nobody in whom the store has not let in.

Who has no key is nobody at the store as well, and asks unsigned: to let nobody in here says who may ask, not what. Nothing is asked where the
store has no say: objects of directories, stores that the daemon itself reads unsigned (``anonymous``), and ``rights = "here"``.

A write proves nothing about reading. A withdrawn right ends here at most ``rights_valid_s`` later; a refusal is remembered for a moment only, so that
whoever is given the right need not wait, and a client that tries again and again does not reach the store each time.

An answer that is neither (the object needs its customer's key, or a delete marker hides it) is the store's to explain: it is an
OriginInvalid, upon which the request itself is passed on, as its caller's own.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from math import inf
from typing import TYPE_CHECKING

from cashy.core.reachability import ANSWER_S
from cashy.core.s3_errors import S3Error
from cashy.core.s3_request import ObjectRead
from cashy.core.staleness import says_nothing
from cashy.errors import CashyError, OriginInvalid, OriginUnavailable, SlowDown
from cashy.reachability import Reachability
from cashy.s3.limits import RIGHTS_REFUSED_S, RIGHTS_REMEMBERED_MAX
from cashy.s3.store_questions import has_bucket, object_head
from cashy.s3.stores import Store

if TYPE_CHECKING:
    from cashy.s3.worker import Worker

__all__ = ["Rights"]

_Case = tuple[str | None, str]  # the key's id (None: nobody's), and the object's name


class Rights:
    """What one worker knows of its callers' rights at the stores; of its loop's thread."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._asks = worker.options.rights == "store" and any(
            isinstance(origin, Store) and not origin.is_anonymous for origin in worker.stores.origins
        )
        # What has run out is kept for its grace. In two generations: a full younger one becomes the older one, whose unused half is forgotten
        # with it, without a search.
        self._until: dict[_Case, float] = {}
        self._older_until: dict[_Case, float] = {}
        self._refused_until: dict[_Case, float] = {}
        self._under_way: dict[_Case, asyncio.Task[None]] = {}
        self._reach = {
            origin.name: Reachability(origin.name)
            for origin in worker.stores.origins
            if isinstance(origin, Store)
        }

    def proof(
        self, key_id: str | None, action: ObjectRead, path: bytes, name: str
    ) -> asyncio.Task[None] | None:
        """None if the caller may read the object, as far as is known and still counts; else what to await, shielded, before anything is answered.

        ``path`` is the request's, path style, as sent. The task raises :class:`S3Error` (AccessDenied, NoSuchKey) or a CashyError.
        """
        if not self._asks:
            return None
        case = key_id, name
        now = self._worker.loop.time()
        if self._until.get(case, 0.0) > now:
            return None
        older = self._older_until.get(case, 0.0)
        if older > now:
            self._remember(case, older)
            return None
        task = self._under_way.get(case)
        if task is None:
            task = self._under_way[case] = self._worker.start_task(self._prove(case, action, path))
            task.add_done_callback(lambda done: self._answered(case, done))
        return task

    def _answered(self, case: _Case, task: asyncio.Task[None]) -> None:
        del self._under_way[case]
        if not task.cancelled():
            task.exception()  # is for whoever waits for it

    def _remember(self, case: _Case, until: float) -> None:
        if len(self._until) >= RIGHTS_REMEMBERED_MAX // 2:
            self._until, self._older_until = {}, self._until
        self._until[case] = until

    async def _prove(self, case: _Case, action: ObjectRead, path: bytes) -> None:
        if self._refused_until.get(case, 0.0) > self._worker.loop.time():
            raise S3Error("AccessDenied")
        asked_at = self._worker.loop.time()
        had_it = self._counted_until(case) + self._worker.options.rights_grace_s > asked_at
        try:
            async with asyncio.timeout(ANSWER_S if had_it else None):
                await self._prove_now(case, action, path, had_it)
        except (TimeoutError, CashyError) as error:
            if not had_it or (isinstance(error, CashyError) and not says_nothing(error)):
                raise
            self._worker.counters["rights_in_grace_total"] += 1
        else:
            self._remember(case, asked_at + self._worker.options.rights_valid_s)

    def _counted_until(self, case: _Case) -> float:
        """Until when a permission counts, or counted; minus infinity: there was none, or a refusal came later."""
        return max(self._until.get(case, -inf), self._older_until.get(case, -inf))

    def _forget(self, case: _Case) -> None:
        self._until.pop(case, None)
        self._older_until.pop(case, None)

    async def _prove_now(self, case: _Case, action: ObjectRead, path: bytes, had_it: bool) -> None:
        key_id, name = case
        place = await self._worker.stores.find(
            action.bucket, key_id, lambda store, bucket: has_bucket(self._worker, store, key_id, bucket)
        )
        if not isinstance(place, Store) or place.is_anonymous:
            return
        async with self._reach[place.name].place() if had_it else nullcontext():
            await self._ask(place, case, action.bucket, path, name)

    async def _ask(self, store: Store, case: _Case, bucket: str, path: bytes, name: str) -> None:
        counters = self._worker.counters
        counters["rights_asked_total"] += 1
        status, headers = await self._reach[store.name].ask(
            lambda: self._answer_of(store, case, bucket, path, name)
        )
        if status in (200, 206, 304):
            if status == 200:
                self._worker.checksums.learn(name, headers)
            return
        if status < 401 or headers.get("x-amz-delete-marker") == "true":
            raise OriginInvalid(
                f"{store.name} answers {status} to the question whether a caller may read {name}"
            )
        if status == 404:
            if self._worker.session.lookup(name) is not None:
                self._worker.start_task(self._look_again(name))
            self._forget(case)
            raise S3Error("NoSuchKey")  # or the bucket, which an answer to HEAD does not tell
        counters["rights_refused_total"] += 1
        self._forget(case)
        if len(self._refused_until) >= RIGHTS_REMEMBERED_MAX // 2:
            self._refused_until.clear()
        self._refused_until[case] = self._worker.loop.time() + RIGHTS_REFUSED_S
        raise S3Error("AccessDenied")

    async def _answer_of(
        self, store: Store, case: _Case, bucket: str, path: bytes, name: str
    ) -> tuple[int, dict[str, str]]:
        """Status and headers of the store's answer; raises a CashyError where it says nothing of the object."""
        status, headers = await object_head(self._worker, store, case[0], bucket, path)
        if status in (429, 503):
            raise SlowDown(f"{store.name} answers {status} to the question whether a caller may read {name}")
        if status >= 500:
            raise OriginUnavailable(
                f"{store.name} answers {status} to the question whether a caller may read {name}"
            )
        return status, headers

    async def close(self) -> None:
        """Asks nobody any more."""
        for reach in self._reach.values():
            await reach.close()

    async def _look_again(self, name: str) -> None:
        """The store does not have it, so what is cached is old; or it hides it from this caller."""
        try:
            await self._worker.session.stat(name, revalidate=True)
        except CashyError:
            pass
