"""Grace over a real store that fails on purpose: what is served while it is away, what is not, and how it is asked when it is back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.cashy.origin.raw_store import ETAG, RawStore, Request, hang, head_of, raw_store

from aviary.cashy.v1.control_pb2 import Fetch
from cashy.core.names import parse_name
from cashy.core.reachability import ANSWER_S, FAILURES_TO_DOWN, PLACES
from cashy.errors import CashyError, OriginUnavailable, SlowDown
from cashy.master.host import Host, make_origins
from cashy.settings import load_settings
from shmipc.instance import Instance

from .answers import Answers

PATIENCE_S = 30.0
DATA = b"what is cached"


class Store:
    """The store's side: answers well, or as ``fault`` does; notes HEADs, and how many of them there were at a time."""

    def __init__(self) -> None:
        self.fault: Callable[[Request], Awaitable[None]] | None = None
        self.etag = ETAG
        self.heads: list[str] = []
        self.at_a_time_max = 0
        self._at_a_time = 0

    async def answer(self, request: Request) -> None:
        if request.method == "HEAD":
            self.heads.append(request.path)
            self._at_a_time += 1
            self.at_a_time_max = max(self.at_a_time_max, self._at_a_time)
        try:
            await asyncio.sleep(0)
            await (self.fault or self.good)(request)
        finally:
            self._at_a_time -= request.method == "HEAD"

    async def good(self, request: Request) -> None:
        await asyncio.sleep(0.001)
        about = (f"etag: {self.etag}", "last-modified: Wed, 21 Oct 2015 07:28:00 GMT")
        if request.method == "HEAD":
            request.writer.write(head_of(200, f"content-length: {len(DATA)}", *about))
            return
        first, end = request.span(len(DATA))
        place = f"content-range: bytes {first}-{end - 1}/{len(DATA)}"
        request.writer.write(head_of(206, place, f"content-length: {end - first}", *about) + DATA[first:end])


def says(status: int) -> Callable[[Request], Awaitable[None]]:
    async def answer(request: Request) -> None:
        request.writer.write(head_of(status, "content-length: 0"))

    return answer


async def breaks(request: Request) -> None:
    request.writer.transport.abort()


Story = Callable[[Host, Store, RawStore], Awaitable[None]]


def run(
    tmp_path: Path, instance: Instance, story: Story, *, freshness: str = "", of_origin: str = ""
) -> None:
    """Plays a story with a host whose objects are past their time as soon as they are learnt."""

    async def main() -> None:
        store = Store()
        async with raw_store(store.answer) as server:
            config = tmp_path / "cashy.toml"
            config.write_text(
                f"""[memory]\nsize = "16MiB"\nblock_size = "64KiB"\n[freshness]\nrevalidate_after_s = 0.0\n{freshness}
[[origin]]\nkind = "s3"\nname = "store"\nurl = "{server.url}"\nanonymous = true\nretries_max = 0\n{of_origin}\n"""
            )
            settings = load_settings(config)
            host = Host(settings, instance, await make_origins(settings.origins))
            try:
                await asyncio.wait_for(story(host, store, server), PATIENCE_S)
            finally:
                await host.close()
                host.store.close()

    asyncio.run(main())


async def read(host: Host, key: str = "k") -> Answers:
    answers = Answers(host)
    job = host.new_fetch(1, Fetch(name=f"s3://bucket/{key}", block_count=1), answers)
    try:
        await job.run(lambda known: None)
    finally:
        job.release()
    assert answers.content() == DATA
    return answers


async def staleness(host: Host, key: str = "k") -> int:
    info = (await read(host, key)).object
    assert info is not None
    assert info.age_ms >= info.stale_for_ms - 1
    return int(info.stale_for_ms)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def is_down(host: Host) -> bool:
    return host.all_counters()["reach.store.is_down"] == 1


@pytest.mark.parametrize(
    "fault", [says(500), says(503), says(502), breaks], ids=["500", "503", "502", "break"]
)
def test_a_store_that_fails_is_stood_in_for_and_soon_not_asked_any_more(
    tmp_path: Path, instance: Instance, fault: Callable[[Request], Awaitable[None]]
) -> None:
    async def story(host: Host, store: Store, server: RawStore) -> None:
        assert await staleness(host) == 0
        store.fault = fault
        for _ in range(FAILURES_TO_DOWN):
            assert not is_down(host)
            assert await staleness(host) > 0
        assert is_down(host)
        for _ in range(200):
            assert await staleness(host) > 0
        assert len(store.heads) < 2 * FAILURES_TO_DOWN + 5, "nobody asks but the probe"
        assert host.counters.totals()["stale_answers"] == FAILURES_TO_DOWN + 200
        store.fault = None
        await until(lambda: not is_down(host))
        assert await staleness(host) == 0

    run(tmp_path, instance, story)


def test_a_store_that_hangs_costs_its_first_reader_a_moment_and_later_ones_nothing(
    tmp_path: Path, instance: Instance
) -> None:
    async def story(host: Host, store: Store, server: RawStore) -> None:
        await read(host)
        store.fault = hang
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await staleness(host) >= ANSWER_S * 1000 * 0.9
        assert loop.time() - began >= ANSWER_S * 0.9
        assert is_down(host)
        for _ in range(100):
            assert await staleness(host) > 0
        assert len(store.heads) <= 3

    run(tmp_path, instance, story)


def test_what_is_replaced_while_the_store_is_silent_is_waited_for(
    tmp_path: Path, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cashy.master.grace.ANSWER_S", 0.2)

    async def story(host: Host, store: Store, server: RawStore) -> None:
        await read(host)
        is_over = asyncio.Event()

        async def answers_late(request: Request) -> None:
            await is_over.wait()
            await store.good(request)

        store.fault = answers_late
        reading = asyncio.create_task(read(host))
        await until(lambda: len(store.heads) == 1)
        host.catalog.changed(parse_name("s3://bucket/k"))
        await asyncio.sleep(0.5)
        assert not reading.done()
        is_over.set()
        await reading

    run(tmp_path, instance, story)


@pytest.mark.parametrize(("status", "error"), [(404, FileNotFoundError), (403, PermissionError)])
def test_what_the_store_does_say_is_the_answer(
    tmp_path: Path, instance: Instance, status: int, error: type[OSError]
) -> None:
    async def story(host: Host, store: Store, server: RawStore) -> None:
        await read(host)
        store.fault = says(status)
        for _ in range(2 * FAILURES_TO_DOWN):
            with pytest.raises(error):
                await read(host)
        assert not is_down(host)

    run(tmp_path, instance, story)


def test_beyond_its_grace_there_is_a_clear_error(tmp_path: Path, instance: Instance) -> None:
    async def story(host: Host, store: Store, server: RawStore) -> None:
        await read(host)
        store.fault = says(500)
        error: CashyError | None = None
        while error is None:
            try:
                await read(host)
            except CashyError as failure:
                error = failure
        assert isinstance(error, OriginUnavailable)
        assert "past its time for" in error.message
        assert "grace_s allows 0.3 s" in error.message

    run(tmp_path, instance, story, of_origin="grace_s = 0.3")


def test_without_grace_nothing_is_served_past_its_time(tmp_path: Path, instance: Instance) -> None:
    async def story(host: Host, store: Store, server: RawStore) -> None:
        await read(host)
        store.fault = says(503)
        for _ in range(2 * FAILURES_TO_DOWN):
            with pytest.raises(SlowDown):
                await read(host)
        store.fault = None
        assert await staleness(host) == 0, (
            "who has nothing that could stand in asks himself, and waits for no probe"
        )

    run(tmp_path, instance, story, freshness="grace_s = 0")


def test_what_is_not_cached_fails_with_the_stores_error(tmp_path: Path, instance: Instance) -> None:
    async def story(host: Host, store: Store, server: RawStore) -> None:
        await read(host)
        store.fault = says(500)
        for _ in range(FAILURES_TO_DOWN):
            await read(host)
        with pytest.raises(OriginUnavailable):
            await read(host, "never read")

    run(tmp_path, instance, story)


def test_what_a_write_has_ended_is_never_served_again(tmp_path: Path, instance: Instance) -> None:
    name = parse_name("s3://bucket/k")

    async def story(host: Host, store: Store, server: RawStore) -> None:
        await read(host)
        store.fault = says(500)
        assert await staleness(host) > 0
        await host.change_begins([name])
        with pytest.raises(OriginUnavailable):
            await read(host)
        await host.change_is_over([name], had_begun=True)
        for _ in range(2 * FAILURES_TO_DOWN):
            with pytest.raises(OriginUnavailable):
                await read(host)
        assert is_down(host)
        store.fault = None
        await until(lambda: not is_down(host))
        assert await staleness(host) == 0

    run(tmp_path, instance, story)


def test_nor_is_what_is_changed_while_its_reader_waits(tmp_path: Path, instance: Instance) -> None:
    async def story(host: Host, store: Store, server: RawStore) -> None:
        await read(host)
        gate = asyncio.Event()

        async def late(request: Request) -> None:
            await gate.wait()
            await says(500)(request)

        store.fault = late
        reader = asyncio.ensure_future(read(host))
        await until(lambda: len(store.heads) == 1)
        await host.change_is_over([parse_name("s3://bucket/k")], had_begun=False)
        gate.set()
        with pytest.raises(OriginUnavailable):
            await reader

    run(tmp_path, instance, story)


@pytest.mark.parametrize("when_doubted", [False, True])
def test_what_is_doubted_is_stale_only_where_the_settings_say_so(
    tmp_path: Path, instance: Instance, when_doubted: bool
) -> None:
    async def story(host: Host, store: Store, server: RawStore) -> None:
        await read(host)
        store.fault = says(500)
        host.store.arena.set_coherent_until(0)  # as on a host that holds too few leases
        if when_doubted:
            assert await staleness(host) > 0
        else:
            with pytest.raises(OriginUnavailable):
                await read(host)

    run(tmp_path, instance, story, freshness=f"grace_when_doubted = {str(when_doubted).lower()}")


def test_whoever_wants_the_origins_word_gets_no_other(tmp_path: Path, instance: Instance) -> None:
    async def story(host: Host, store: Store, server: RawStore) -> None:
        await read(host)
        store.fault = says(500)
        with pytest.raises(OriginUnavailable):
            await host.stat("s3://bucket/k", revalidate=True)
        known = await host.stat("s3://bucket/k", revalidate=True, may_be_stale=True)
        assert known.info.stale_for_ms > 0

    run(tmp_path, instance, story)


def test_a_store_that_is_back_is_asked_once_for_each_object_and_by_few_at_a_time(
    tmp_path: Path, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cashy.reachability", "cashy.master.grace"):
        monkeypatch.setattr(f"{module}.ANSWER_S", PATIENCE_S)  # a slow machine is not a silent store
    keys = [f"object-{number}" for number in range(1000)]

    async def story(host: Host, store: Store, server: RawStore) -> None:
        for start in range(0, len(keys), 200):
            await asyncio.gather(*(read(host, key) for key in keys[start : start + 200]))
        store.fault = says(503)
        for _ in range(FAILURES_TO_DOWN):
            await read(host, keys[0])
        await asyncio.gather(*(read(host, key) for key in keys))
        assert is_down(host)
        assert set(store.heads) == {"/bucket/object-0"}, "nobody asks but the probe"
        store.fault, store.at_a_time_max = None, 0
        await until(lambda: not is_down(host))
        asked_before = len(store.heads)
        # Each of them twice at a time: one question.
        answers = await asyncio.gather(*(read(host, key) for key in keys for _ in range(2)))
        assert store.at_a_time_max <= PLACES
        assert Counter(store.heads[asked_before:]) == Counter(f"/bucket/{key}" for key in keys)
        assert not any(answer.object.stale_for_ms for answer in answers if answer.object is not None)

    run(tmp_path, instance, story)
