"""What clients do, each as the real client library or S3 worker does it, and what they saw, given to the reference model."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, cast

from cashy.client.aio import AsyncCache
from cashy.client.meta import Meta
from cashy.errors import CashyError, NoSuchObject, VersionChanged
from cashy.s3.block_stream import BlockStream
from cashy.s3.session import Fetch, Session

from .host import Client
from .model import ABSENT, Version, Violation
from .process import NS
from .scenario import KEYS, Event
from .store import BLOCK_BYTES, BUCKET, content_bytes

if TYPE_CHECKING:
    from .run import Run

__all__ = ["do", "url_of"]

#: What an S3 client waits for at most: then it does not know what became of its request.
_PATIENCE_S = 120.0
_RESTARTS_MAX = 8


def url_of(key: str) -> str:
    return f"s3://{BUCKET}/{key}"


async def do(run: Run, client: Client, event: Event) -> None:
    """One operation of one client, from its beginning to its end."""
    _, key, chance = cast("tuple[str, str, int]", event.args)
    draw = random.Random(chance)
    if client.session is None:
        return
    if event.kind in _WRITES:
        await _write(run, client, event.kind, key, draw)
    else:
        await _read(run, client, event.kind, key, draw)


# --- reads ---


async def _read(run: Run, client: Client, kind: str, key: str, draw: random.Random) -> None:
    run.counts[kind] += 1
    begin_ns = run.loop.true_ns
    doing = asyncio.ensure_future(_READS[kind](run, client, key, draw))
    if kind == "cancelled":
        await asyncio.sleep(draw.choice((0.0, 0.0005, 0.01, 0.2)))
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        return
    try:
        seen = await asyncio.wait_for(doing, _PATIENCE_S)
    except NoSuchObject:
        seen = _Seen(None, None)
    except (CashyError, TimeoutError) as error:
        run.counts[f"read failed: {type(error).__name__}"] += 1
        run.say(key, f"{client.process.name}: {kind} of {key} failed: {type(error).__name__} {error}")
        return
    if seen is not None:
        _check(run, client, kind, key, seen, begin_ns)


class _Seen:
    """What a read saw: the version by its metadata (None: that it is absent), or by its content alone; and the bytes."""

    def __init__(
        self, meta: Meta | None, data: bytes | None, offset: int = 0, length: int | None = None
    ) -> None:
        self.is_by_content = meta is None and data is not None
        self.number = None if meta is None else int(dict(meta.user_metadata)["number"])
        self.data = data
        self.offset = offset
        self.length = length


def _check(run: Run, client: Client, kind: str, key: str, seen: _Seen, begin_ns: int) -> None:
    history = run.store.history(key)
    end_ns = run.loop.true_ns
    if seen.is_by_content:
        assert seen.data is not None
        if len(seen.data) < 16:
            return
        content = int(seen.data[:7])
        fitting = [version.number for version in history.versions if version.content == content]
        numbers: list[int | None] = [*reversed(fitting)]
    else:
        numbers = [seen.number]
    what = "absent" if seen.number is None and not seen.is_by_content else f"v{numbers[0]}"
    run.say(key, f"{client.process.name}: {kind} of {key} from {begin_ns / NS:.6f} saw {what}")
    run.counts["reads seen"] += 1
    violation = None
    for number in numbers:
        try:
            history.check(number, begin_ns, end_ns)
            violation = None
            break
        except Violation as found:
            violation = found
    if violation is not None:
        raise violation
    if seen.data is not None and numbers[0] is not None:
        _check_bytes(history.versions[numbers[0]], seen)


def _check_bytes(version: Version, seen: _Seen) -> None:
    whole = content_bytes(version.content)
    stop = len(whole) if seen.length is None else seen.offset + seen.length
    if seen.data != whole[seen.offset : stop]:
        raise Violation(
            version.key, f"the bytes of {version} are not its own: {seen.data and seen.data[:64]!r}"
        )


async def _library_read(run: Run, client: Client, key: str, draw: random.Random) -> _Seen:
    assert client.session is not None
    cache = AsyncCache(client.session)
    offset, length = draw.choice(((0, None), (0, None), (0, 100), (160, 200_000), (BLOCK_BYTES, None)))
    read = cache.new_read(url_of(key), offset, length)
    await client.session.carry_out(read)
    view = read.view()
    return _Seen(read.meta, bytes(view), offset, length)


async def _read_hit(run: Run, client: Client, key: str, draw: random.Random) -> _Seen:
    assert client.session is not None
    return _Seen(None, bytes(await AsyncCache(client.session).read(url_of(key))))


async def _stat(run: Run, client: Client, key: str, draw: random.Random) -> _Seen:
    assert client.session is not None
    return _Seen(await client.session.stat(url_of(key)), None)


async def _head(run: Run, client: Client, key: str, draw: random.Random) -> _Seen:
    """As the S3 worker's HeadObject."""
    assert client.session is not None
    meta = client.session.lookup(url_of(key))
    if meta is None:
        meta = await client.session.stat(url_of(key), revalidate=True)
    return _Seen(meta, None)


async def _prefetch(run: Run, client: Client, key: str, draw: random.Random) -> None:
    assert client.session is not None
    await AsyncCache(client.session).prefetch([url_of(key)])


async def _get(run: Run, client: Client, key: str, draw: random.Random) -> _Seen:
    """As the S3 worker's GetObject (:mod:`cashy.s3.answering`)."""
    session = client.session
    assert session is not None
    meta = session.lookup(url_of(key))
    for _ in range(_RESTARTS_MAX):
        try:
            return await _get_once(cast(Session, session), key, meta, draw)
        except VersionChanged:
            meta = None
    raise VersionChanged("too often")


async def _get_once(session: Session, key: str, meta: Meta | None, draw: random.Random) -> _Seen:
    opened: Fetch | None = None
    if meta is None:
        opened = session.fetch(url_of(key), 0, 1, content_id=None, streaming=True)
        await opened.__aenter__()
    try:
        if meta is None:
            assert opened is not None
            meta = await opened.meta()
        if not meta.size_bytes:
            return _Seen(meta, b"")
        taken, opened = opened, None
        return _Seen(meta, await _stream(session, meta, taken, draw))
    finally:
        if opened is not None:
            await opened.__aexit__(None, None, None)


async def _stream(session: Session, meta: Meta, opened: Fetch | None, draw: random.Random) -> bytes:
    last = (meta.size_bytes - 1) // meta.block_bytes
    stream = BlockStream(
        session,
        meta,
        0,
        last,
        opened=opened,
        patience_s=5.0,
        ahead_bytes=1 << 20,
        count_miss=lambda: None,
    )
    data = bytearray()
    try:
        for index in range(last + 1):
            block = await stream.take(index)
            sent, length = 0, min(meta.block_bytes, meta.size_bytes - index * meta.block_bytes)
            try:
                while sent < length:
                    available = await block.wait_beyond(sent)
                    data += block.pin.view[sent:available]
                    if not sent:
                        stream.begun(index)
                    sent = available
                    await asyncio.sleep(draw.choice((0.0, 0.0, 0.001, 0.1)))
            finally:
                block.pin.release()
            await stream.finish(index)
    finally:
        await stream.close()
    return bytes(data)


_READS = {
    "read": _library_read,
    "cancelled": _library_read,
    "read-hit": _read_hit,
    "get": _get,
    "stat": _stat,
    "head": _head,
    "prefetch": _prefetch,
}


# --- writes ---


async def _write(run: Run, client: Client, kind: str, key: str, draw: random.Random) -> None:
    """As the S3 worker's proxy: inside :meth:`ToldToMaster.writing`, and answered when that was left."""
    assert client.session is not None
    versions, copy_of = _versions(run, client, kind, key, draw)
    now_ns = run.loop.true_ns
    run.counts[kind] += 1
    for version in versions:
        run.say(version.key, f"{client.process.name}: {kind} {version} begins")
    told = run.told_by(client)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            async with told.writing([url_of(version.key) for version in versions]):
                await run.store.write(versions, copy_of)
    except (CashyError, TimeoutError) as error:
        run.counts[f"write failed: {type(error).__name__}"] += 1
        outcome = f"fails: {type(error).__name__} {error}"
    else:
        outcome = "is acknowledged"
        run.counts["writes acknowledged"] += 1
        run.counts["write wait ms"] += (run.loop.true_ns - now_ns) // 1_000_000
        for version in versions:
            version.acknowledged_ns = run.loop.true_ns
    for version in versions:
        version.ended_ns = run.loop.true_ns
        run.say(version.key, f"{client.process.name}: {kind} {version} {outcome}")


def _versions(
    run: Run, client: Client, kind: str, key: str, draw: random.Random
) -> tuple[list[Version], str | None]:
    """What a write makes, and what it copies."""
    keys = [key, *(other for other in KEYS if other != key)][: 3 if kind.endswith("many") else 1]
    copy_of = key if kind == "touch" else draw.choice(KEYS) if kind == "copy" else None
    made = []
    for each in keys:
        history = run.store.history(each)
        content = ABSENT
        if not kind.startswith("delete"):
            content = next(run.contents)
            if draw.random() < 0.1:
                content = draw.randrange(1, content + 1)  # perhaps the same bytes as before, so the same ETag
        made.append(history.begin(content, client.process.name, run.loop.true_ns))
    return made, copy_of


_WRITES = frozenset(("put", "put-many", "delete", "delete-many", "copy", "touch"))
