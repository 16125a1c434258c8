"""The catalog: from names to current metadata, which lies in the arena for everybody to find.

A name's metadata is current for ``revalidate_after_s``; then the origin is asked again (HEAD), once however many ask. A name that is not known is
learnt by a HEAD (``stat``), or by reading its first wanted block outright (``learn``): then one round trip brings size, version and data. That is
done unless the block is likely on this host's SSD (:mod:`cashy.core.ask_first`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import crc32c

from aviary.cashy.v1.control_pb2 import Header, ObjectInfo, Tier
from cashy.core import meta_record
from cashy.core.names import ObjectName, OriginSpec, Resolved, S3Name, block_digest, meta_digest, resolve
from cashy.errors import ArenaFull, CashyError, NoSuchBucket
from cashy.limits import CHANGE_MARK_S, CHANGES_REMEMBERED_MAX, PEER_HEAD_TIMEOUT_S, PLACES_REMEMBERED_MAX
from cashy.master.counters import Counters
from cashy.master.fills import Content, Fill, FillTable, source_key
from cashy.master.grace import Grace, StandIn
from cashy.master.known import Known
from cashy.master.routes import Target
from cashy.master.store import BlockStore
from cashy.master.tracing import note_metadata
from cashy.origin.base import ObjectMeta

__all__ = ["Catalog", "Known"]


class _Asked(NamedTuple):
    """When a question was asked: after how many changes, of any object, and at what time."""

    change_count: int
    at_ns: int


class _Question(NamedTuple):
    """One that is under way, for whoever else asks the same."""

    at_ns: int
    answer: asyncio.Future[Known]


def _to_wire(content: Content, tier: Tier) -> ObjectInfo:
    meta = content.meta
    return ObjectInfo(
        content_id=content.content_id,
        size=meta.size_bytes,
        block_bytes=content.block_bytes,
        version=meta.version,
        last_modified=meta.last_modified,
        content_type=meta.content_type,
        headers=[Header(name=name, value=value) for name, value in meta.headers],
        user_metadata=[Header(name=name, value=value) for name, value in meta.user_metadata],
        tier=tier,
    )


def _meta_of(info: ObjectInfo) -> ObjectMeta:
    return ObjectMeta(
        version=info.version,
        size_bytes=info.size,
        last_modified=info.last_modified,
        content_type=info.content_type,
        headers=tuple((header.name, header.value) for header in info.headers),
        user_metadata=tuple((header.name, header.value) for header in info.user_metadata),
    )


class Catalog:
    """Names of one instance."""

    def __init__(
        self, store: BlockStore, fills: FillTable, specs: Sequence[OriginSpec], counters: Counters, *, revalidate_after_s: float,
        now_ns: Callable[[], int] = time.monotonic_ns, grace: Grace | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._grace = grace or Grace(fills.routes.origins, counters)
        self._fills = fills
        self._specs = specs
        self._routes = fills.routes
        self._counters = counters
        self.revalidate_after(revalidate_after_s)
        self._under_way: dict[tuple[str, bool], _Question] = {}
        self._now_ns = now_ns
        self._being_changed: Counter[str] = Counter()
        #: Objects that are being changed through other hosts: by the host's name, until when that is believed.
        self._marks: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._changes: OrderedDict[str, int] = OrderedDict()
        self._change_count = 0
        self._doubted_until = 0
        self._places: OrderedDict[str, Resolved] = OrderedDict()
        #: Names of which the origin has denied the version that others may still believe: the next question goes to the origin itself.
        self._replaced: OrderedDict[str, None] = OrderedDict()

    def revalidate_after(self, seconds: float) -> None:
        """From which age metadata is checked at the origin, for what is learnt from now on."""
        self._valid_ns = int(seconds * 1e9)

    # --- asking ---

    def fresh_for_s(self, known: Known) -> float:
        """For how long from now what is known counts as current; negative once it does not."""
        slot = self._store.find(meta_digest(known.name))
        if slot < 0 or not self._is_of(slot, known.content):
            return 0.0  # the record was given up meanwhile, or is of another version
        return (self._current_until(known.name, slot) - self._now_ns()) / 1e9

    def cached(self, name: ObjectName) -> Known | None:
        """What the arena knows of a name and is still current."""
        record = self._record(name)
        if record is None or record[1] <= self._now_ns():
            return None
        return record[0]

    def last_known(self, name: ObjectName) -> Known | None:
        """What the arena knows of a name, be it current or not."""
        record = self._record(name)
        return record[0] if record is not None else None

    def _record(self, name: ObjectName) -> tuple[Known, int] | None:
        """The arena's record of a name, current or not, and until when it is."""
        slot = self._store.find(meta_digest(name))
        if slot < 0:
            return None
        info = meta_record.decode(bytes(self._store.content(slot)))
        for place in self._candidates(name):
            content = Content(place, _meta_of(info), info.block_bytes)
            if content.content_id == info.content_id:
                self._store.touch(slot)
                return Known(name, content, info), self._current_until(name, slot)
        return None  # it came from an origin that is not configured any more

    def _current_until(self, name: ObjectName, slot: int) -> int:
        """Until when a record counts as current, by the same rule as for clients (:mod:`cashy.client.reader`); it may be over."""
        arena = self._store.arena
        fields = arena.fields(slot)
        if not isinstance(name, S3Name):
            return fields.valid_until_ns
        if arena.coherent_until <= self._now_ns() or fields.validated_ns < arena.doubted_before:
            return 0
        return fields.valid_until_ns

    async def stat(
        self, name: ObjectName, *, revalidate: bool = False, forward: bool = True, may_be_stale: bool = True
    ) -> Known:
        """The name's current metadata; asks its home or the origin where it must, without ``forward`` only the origin.

        ``may_be_stale``: while the origin cannot be reached, what is known will do within its grace (:mod:`cashy.master.grace`), marked as such.
        """
        revalidate = revalidate or name.url in self._replaced
        known = None if revalidate else self.cached(name)
        if known is not None:
            return known
        forward = forward and self._has_peers(name, 0)

        def ask() -> Awaitable[Known]:
            return self._once(name, forward, lambda: self._ask(name, revalidate, forward))

        return await (self._grace.answer(lambda: self._stand_in(name), ask) if may_be_stale else ask())

    def _stand_in(self, name: ObjectName) -> StandIn | None:
        """What could be served in place of the origin's answer; nothing of what was replaced there, or is being changed."""
        record = self._record(name)
        is_gone = name.url in self._replaced or self._is_outdated(name.url, self._change_count)
        if record is None or is_gone:
            return None
        fields = self._store.arena.fields(self._store.find(meta_digest(name)))
        return self._grace.weigh(record[0], fields, self._now_ns(), is_doubted=not record[1])

    async def learn(
        self, name: ObjectName, index: int, *, forward: bool = True, owner: str = "", is_copy: bool = False
    ) -> Known:
        """The same, for somebody who is about to read block ``index``: an unknown object is read rather than asked about. ``is_copy`` as of
        :meth:`~cashy.master.fills.FillTable.join`.
        """
        known = self.cached(name)
        if known is not None:
            return known
        if name.url in self._replaced or self._record(name) is not None:
            return await self.stat(name, forward=forward, may_be_stale=forward)
        is_elsewhere = forward and self._has_peers(name, index)
        if not is_elsewhere and self._fills.asks_first:
            known = await self.stat(name, forward=forward)
            self._fills.ask_first.found(self._fills.is_on_ssd(block_digest(known.content.content_id, index)))
            return known
        return await self._once(
            name, is_elsewhere, lambda: self._read_first(name, index, is_elsewhere, owner, is_copy)
        )

    def _has_peers(self, name: ObjectName, index: int) -> bool:
        """Whether somebody else would be asked: at its home, what this host's clients ask and what its peers ask is one question."""
        if self._routes.cluster is None:
            return False
        place = self._candidates(name)[0]
        return bool(self._routes.peers_for(Target(place, source_key(place), index, None)))

    async def _once(self, name: ObjectName, forward: bool, ask: Callable[[], Awaitable[Known]]) -> Known:
        """Singleflight: whoever asks while the origin is being asked gets the same answer."""
        key = (name.url, forward)  # one who must not ask third hosts does not wait for one who does
        question = self._under_way.get(key)
        if question is not None and self._may_join(name, question):
            self._counters.add("questions_joined")
        else:
            question = _Question(self._now_ns(), asyncio.ensure_future(ask()))
            self._under_way[key] = question
            question.answer.add_done_callback(lambda done: self._answered(key, done))
            question.answer.add_done_callback(_retrieve)
        return await asyncio.shield(question.answer)

    def _may_join(self, name: ObjectName, question: _Question) -> bool:
        """Not if this host might not have heard of a change since: a question from before it has an answer from before it."""
        arena = self._store.arena
        is_coherent = arena.coherent_until > self._now_ns() and question.at_ns >= arena.doubted_before
        return is_coherent or not isinstance(name, S3Name)

    def _answered(self, key: tuple[str, bool], answer: asyncio.Future[Known]) -> None:
        question = self._under_way.get(key)
        if question is not None and question.answer is answer:
            del self._under_way[key]

    async def _ask(self, name: ObjectName, revalidate: bool, forward: bool) -> Known:
        async with self._grace.place(self._stand_in(name)):
            return await self._ask_now(name, revalidate, forward)

    async def _ask_now(self, name: ObjectName, revalidate: bool, forward: bool) -> Known:
        fresh_until_ns: list[int | None] = []
        asked_at = self._asked_now()

        async def head(place: Resolved) -> Content:
            meta, until_ns = await self._head(place, name.url, revalidate=revalidate, forward=forward)
            fresh_until_ns.append(until_ns)
            return Content(place, meta, self._fills.block_bytes)

        try:
            content = await self._first_that_has(name, head)
        except FileNotFoundError:
            self._store.invalidate(meta_digest(name))
            raise
        if revalidate:  # the origin's own word, also if it has the version again that it denied
            self._replaced.pop(name.url, None)
        return self._learnt(name, content, fresh_until_ns[-1:], asked_at)

    async def _head(
        self, place: Resolved, url: str, *, revalidate: bool, forward: bool
    ) -> tuple[ObjectMeta, int | None]:
        """Metadata from the home of the object's first block, or from the origin, and until when it is vouched for (None: just asked)."""
        target = Target(place, source_key(place), 0, None, url)
        for peer in self._routes.peers_for(target) if forward else ():
            self._counters.add("peer_heads")
            note_metadata("asks", peer.name)
            asked_at_ns = self._now_ns()
            try:
                answer = await peer.head(
                    place.origin,
                    url,
                    place.bucket,
                    place.key,
                    revalidate=revalidate,
                    deadline_s=PEER_HEAD_TIMEOUT_S,
                )
            except CashyError as error:
                self._counters.add("peer_heads_failed")
                note_metadata("refused", peer.name, error.message)
                if isinstance(error, FileNotFoundError | PermissionError):
                    break  # only the origin's own word counts
            else:
                note_metadata("answers", peer.name)
                return answer.meta, asked_at_ns + int(answer.fresh_for_s * 1e9)
        self._counters.add("origin_heads")
        note_metadata("asks", place.origin)
        meta = await self._grace.head(place)
        note_metadata("answers", place.origin)
        return meta, None

    async def _read_first(
        self, name: ObjectName, index: int, forward: bool, owner: str, is_copy: bool
    ) -> Known:
        fresh_until_ns: list[int | None] = []
        asked_at = self._asked_now()

        async def read(place: Resolved) -> Content:
            waiter = _FirstRead()
            fill = self._fills.first(
                place, index, name.url, waiter.learnt, waiter, forward=forward, owner=owner, is_copy=is_copy
            )
            try:
                content = await waiter.content
            except CashyError as error:
                if fill.route.tier == Tier.TIER_ORIGIN:
                    self._grace.note(place, error)
                raise
            fresh_until_ns.append(fill.route.fresh_until_ns)
            return content

        return self._learnt(name, await self._first_that_has(name, read), fresh_until_ns[-1:], asked_at)

    async def _first_that_has(
        self, name: ObjectName, ask: Callable[[Resolved], Awaitable[Content]]
    ) -> Content:
        missing: NoSuchBucket | None = None
        for place in self._candidates(name):
            try:
                content = await ask(place)
            except NoSuchBucket as error:
                missing = error
                continue
            self._remember(name, place)
            return content
        assert missing is not None  # there is always a candidate
        raise missing

    def _candidates(self, name: ObjectName) -> Sequence[Resolved]:
        place = self._places.get(name.url)
        if place is not None:
            return (place, *(other for other in resolve(name, self._specs) if other != place))
        return resolve(name, self._specs)

    def _remember(self, name: ObjectName, place: Resolved) -> None:
        if len(self._specs) < 2:
            return
        self._places[name.url] = place
        self._places.move_to_end(name.url)
        while len(self._places) > PLACES_REMEMBERED_MAX:
            self._places.popitem(last=False)

    # --- remembering ---

    def _learnt(
        self, name: ObjectName, content: Content, fresh_until_ns: Sequence[int | None], asked: _Asked
    ) -> Known:  # fmt: skip
        """Puts what the origin said into the arena: the old record is prolonged where it still holds, else replaced.

        What a peer said is current for as long as the peer holds it to be, and never longer than if the origin had said it now.
        """
        digest = meta_digest(name)
        if self._is_outdated(name.url, asked.change_count):
            self._counters.add("answers_outdated")
            return Known(name, content, _to_wire(content, Tier.TIER_ORIGIN))
        valid_until_ns = self._now_ns() + self._valid_ns
        if fresh_until_ns and fresh_until_ns[0] is not None:
            valid_until_ns = min(valid_until_ns, fresh_until_ns[0])
        slot = self._store.find(digest)
        if slot >= 0:
            info = meta_record.decode(bytes(self._store.content(slot)))
            if info.content_id == content.content_id and _meta_of(info) == content.meta:
                self._store.arena.set_valid_until(slot, valid_until_ns, asked.at_ns)
                return Known(name, content, info)
            if info.content_id != content.content_id:
                self._counters.add("versions_replaced")
        record = meta_record.encode(_to_wire(content, Tier.TIER_LOCAL_MEMORY))
        try:
            self._store.put_meta(digest, record, crc32c.crc32c(record), valid_until_ns, asked.at_ns)
        except ArenaFull:  # whoever asks gets the answer all the same; the next one asks again
            self._store.invalidate(digest)
            self._counters.add("metadata_not_kept")
        from_peer = bool(fresh_until_ns) and fresh_until_ns[0] is not None
        return Known(name, content, _to_wire(content, Tier.TIER_PEER if from_peer else Tier.TIER_ORIGIN))

    # --- changes through this cluster ---

    def change_begins(self, name: ObjectName) -> None:
        """Until it is over, what is known or learnt of the object is current for nobody but who asked."""
        self._being_changed[name.url] += 1
        self.changed(name)

    def change_is_over(self, name: ObjectName) -> None:
        """The object may be another one now, whatever became of the change."""
        self._being_changed[name.url] -= 1
        if self._being_changed[name.url] <= 0:
            del self._being_changed[name.url]
        self.changed(name)

    def elsewhere_begins(self, name: ObjectName, by: str) -> None:
        """The same for a change through host ``by``; believed for a time, since that host may never say more."""
        marks = self._marks.setdefault(name.url, {})
        marks[by] = self._now_ns() + int(CHANGE_MARK_S * 1e9)
        self._marks.move_to_end(name.url)
        while len(self._marks) > CHANGES_REMEMBERED_MAX:
            self._marks.popitem(last=False)
        self.changed(name)

    def elsewhere_over(self, name: ObjectName, by: str) -> None:
        """It is over."""
        marks = self._marks.get(name.url)
        if marks is not None:
            marks.pop(by, None)
            if not marks:
                del self._marks[name.url]
        self.changed(name)

    def _is_marked(self, url: str) -> bool:
        marks = self._marks.get(url)
        if marks is None:
            return False
        now_ns = self._now_ns()
        for by in [by for by, until_ns in marks.items() if until_ns <= now_ns]:
            del marks[by]
        if not marks:
            del self._marks[url]
        return bool(marks)

    def _asked_now(self) -> _Asked:
        return _Asked(self._change_count, self._now_ns())

    def changed(self, name: ObjectName) -> None:
        """What was known of the object is not current any more, nor is any answer to a question asked before now."""
        url = name.url
        self._change_count += 1
        self._changes[url] = self._change_count
        self._changes.move_to_end(url)
        while len(self._changes) > CHANGES_REMEMBERED_MAX:
            self._doubted_until = self._changes.popitem(last=False)[1]
        for forward in (False, True):
            self._under_way.pop((url, forward), None)  # who asks from now on asks anew
        self._store.invalidate(meta_digest(name))
        self._counters.add("changes_noted")

    def _is_outdated(self, url: str, asked_at: int) -> bool:
        """Whether an answer to a question asked after ``asked_at`` changes, of any object, may be older than the object's last change."""
        if url in self._being_changed or self._is_marked(url):
            return True
        return self._changes.get(url, self._doubted_until) > asked_at

    def forget(self, name: ObjectName, content: Content) -> None:
        """The origin has another version by now: the next who asks will be told, by the origin, since other hosts may still believe this one."""
        digest = meta_digest(name)
        slot = self._store.find(digest)
        if slot >= 0 and not self._is_of(slot, content):
            return  # another one is known already
        if slot >= 0:
            self._store.invalidate(digest)
        self._replaced[name.url] = None
        self._replaced.move_to_end(name.url)
        while len(self._replaced) > CHANGES_REMEMBERED_MAX:
            self._replaced.popitem(last=False)
        for forward in (False, True):
            self._under_way.pop((name.url, forward), None)  # its answer may be of before

    def _is_of(self, slot: int, content: Content) -> bool:
        """Whether the record in a slot is of this version."""
        prefix = bytes(self._store.content(slot)[: meta_record.PREFIX_BYTES])
        return meta_record.decode_prefix(prefix)[0] == content.content_id


class _FirstRead:
    """Waits for what a first read learns; the bytes themselves nobody waits for yet."""

    def __init__(self) -> None:
        self.content: asyncio.Future[Content] = asyncio.get_running_loop().create_future()

    def learnt(self, content: Content) -> None:
        if not self.content.done():
            self.content.set_result(content)

    def check_room(self, fill: Fill) -> None:
        """Nobody keeps it for long."""

    def leased(self, fill: Fill) -> None:
        """Nothing to do: whoever reads joins the fill."""

    def progressed(self, fill: Fill) -> None:
        """Nothing to do."""

    def finished(self, fill: Fill) -> None:
        """The content was learnt before."""

    def failed(self, fill: Fill, error: CashyError) -> None:
        """An error before the head is the answer; a later one is whoever's who joined."""
        if not self.content.done():
            self.content.set_exception(error)


def _retrieve(future: asyncio.Future[Known]) -> None:
    """Looks at the outcome, so that an error nobody waits for any more is not reported as unhandled."""
    if not future.cancelled():
        future.exception()
