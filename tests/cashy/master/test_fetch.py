"""Host, catalog, fills and fetches over a real directory: what is announced, loaded once, held, refused."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aviary.cashy.v1.control_pb2 import Fetch, Tier
from cashy.core.names import block_digest
from cashy.errors import NoSuchObject, TooLarge, VersionChanged
from cashy.limits import MAPPED_BLOCKS_MAX, OVERFULL_RETRY_S
from cashy.master.fetch import FetchJob
from cashy.master.fills import Fill
from cashy.master.host import Host, make_origins
from cashy.setting_values import ByteSize
from cashy.settings import DiskSettings, Settings, load_settings
from shmipc.instance import Instance

from .answers import Answers

BLOCK = 64 << 10


def settings_for(root: Path, **sections: str) -> Settings:
    config = root.parent / "cashy.toml"
    extra = "\n".join(f"[{name}]\n{body}" for name, body in sections.items())
    config.write_text(
        f'[memory]\nsize = "1MiB"\nblock_size = "64KiB"\n[[origin]]\nkind = "directory"\npath = "{root}"\n{extra}\n'
    )
    return load_settings(config)


def fetch(name: str, first: int = 0, count: int = 1, **more: Any) -> Fetch:
    return Fetch(name=name, first_block=first, block_count=count, **more)


class Scene:
    """A host over a folder; ``run`` gives it an event loop."""

    def __init__(self, root: Path, instance: Instance) -> None:
        self.root = root
        self.instance = instance
        self.sections: dict[str, str] = {}
        self.disk: Path | None = None

    def write(self, name: str, data: bytes) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return f"file://{path}"

    def run(self, story: Callable[[Host], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            settings = settings_for(self.root, **self.sections)
            if self.disk is not None:
                disk = DiskSettings(path=self.disk, size_bytes=ByteSize(16 << 20))
                settings = msgspec.structs.replace(settings, disks=(disk,))
            host = Host(settings, self.instance, await make_origins(settings.origins))
            try:
                await asyncio.wait_for(story(host), 30)
            finally:
                await host.close()
                host.store.close()

        asyncio.run(main())


@pytest.fixture
def scene(tmp_path: Path, instance: Instance) -> Scene:
    root = tmp_path / "data"
    root.mkdir()
    return Scene(root, instance)


async def run_fetch(host: Host, request: Fetch) -> tuple[Answers, FetchJob]:
    answers = Answers(host)
    job = host.new_fetch(1, request, answers)
    await job.run(lambda known: None)
    return answers, job


def test_a_cold_fetch_brings_object_and_blocks_and_a_warm_one_asks_nobody(scene: Scene) -> None:
    data = os.urandom(BLOCK * 3 + 100)
    name = scene.write("bucket/x", data)

    async def story(host: Host) -> None:
        cold, job = await run_fetch(host, fetch(name, 0, 10))
        assert cold.object is not None
        assert cold.object.size == len(data)
        assert cold.content() == data
        assert {tier for *_, tier, _ in cold.blocks.values()} <= {Tier.TIER_ORIGIN, Tier.TIER_LOCAL_MEMORY}
        assert host.counters.totals()["fills_started"] == 4
        job.release()
        warm, job = await run_fetch(host, fetch(name, 0, 10))
        assert warm.content() == data
        assert {tier for *_, tier, _ in warm.blocks.values()} == {Tier.TIER_LOCAL_MEMORY}
        assert host.counters.totals()["fills_started"] == 4
        job.release()

    scene.run(story)


def test_many_readers_of_a_cold_object_load_each_block_once(scene: Scene) -> None:
    data = os.urandom(BLOCK * 4)
    name = scene.write("b/x", data)

    async def story(host: Host) -> None:
        results = await asyncio.gather(*(run_fetch(host, fetch(name, 0, 4)) for _ in range(20)))
        assert all(answers.content() == data for answers, _ in results)
        assert host.counters.totals()["fills_started"] == 4

    scene.run(story)


def test_a_bucket_name_and_a_path_share_the_blocks_of_a_file(scene: Scene) -> None:
    data = os.urandom(BLOCK * 2)
    name = scene.write("bucket/dir/x", data)

    async def story(host: Host) -> None:
        by_path, _ = await run_fetch(host, fetch(name, 0, 2))
        by_bucket, _ = await run_fetch(host, fetch("s3://bucket/dir/x", 0, 2))
        assert by_bucket.content() == by_path.content() == data
        assert by_bucket.blocks[1][:2] == by_path.blocks[1][:2]
        assert host.counters.totals()["bytes_filled"] == len(data)

    scene.run(story)


def test_an_empty_object_has_no_blocks(scene: Scene) -> None:
    name = scene.write("b/empty", b"")

    async def story(host: Host) -> None:
        answers, _ = await run_fetch(host, fetch(name))
        assert answers.object is not None
        assert (answers.object.size, answers.blocks) == (0, {})

    scene.run(story)


def test_a_missing_object_is_no_such_object_and_leaves_nothing(scene: Scene) -> None:
    scene.write("b/x", b"x")

    async def story(host: Host) -> None:
        for name in (f"file://{scene.root}/b/none", "s3://b/none"):
            with pytest.raises(NoSuchObject):
                await run_fetch(host, fetch(name))
            with pytest.raises(NoSuchObject):
                await host.stat(name, revalidate=False)
        assert host.fills.levels == {"fills_under_way": 0, "fills_waiting": 0}
        assert host.store.levels["slots_in_use"] == 0

    scene.run(story)


def test_a_held_block_survives_a_storm_and_may_go_after_release(scene: Scene) -> None:
    kept = os.urandom(BLOCK)
    name = scene.write("b/kept", kept)
    others = [scene.write(f"b/{number}", os.urandom(BLOCK)) for number in range(60)]

    async def story(host: Host) -> None:
        answers, job = await run_fetch(host, fetch(name))
        for other in others:
            _, passing = await run_fetch(host, fetch(other))
            passing.release()
        assert answers.content() == kept
        slot = host.store.find(block_digest(answers.object.content_id, 0))  # type: ignore[union-attr]
        assert host.store.arena.evict([slot]) == ([], [slot])
        job.release()
        freed, _ = host.store.arena.evict([slot])
        assert [fields.length for fields in freed] == [BLOCK]

    scene.run(story)


def test_a_replaced_file_shows_after_revalidation_and_is_never_mixed(scene: Scene) -> None:
    scene.sections["freshness"] = "revalidate_after_s = 0.0"
    old, new = os.urandom(BLOCK * 2), os.urandom(BLOCK * 2 + 7)
    name = scene.write("b/x", old)

    async def story(host: Host) -> None:
        first, job = await run_fetch(host, fetch(name, 0, 1))
        content = first.object.content_id  # type: ignore[union-attr]
        fresh = scene.root / "b" / "fresh"
        fresh.write_bytes(new)
        fresh.replace(scene.root / "b" / "x")
        with pytest.raises(VersionChanged):
            await run_fetch(host, fetch(name, 1, 1, content_id=content))
        second, _ = await run_fetch(host, fetch(name, 0, 3))
        assert second.content() == new
        assert first.content() == old[:BLOCK]
        job.release()

    scene.run(story)


def test_a_file_replaced_within_its_freshness_is_noticed_at_the_next_cold_block(scene: Scene) -> None:
    scene.sections["freshness"] = "revalidate_after_s = 1000.0"
    old, new = os.urandom(BLOCK * 2), os.urandom(BLOCK * 2)
    name = scene.write("b/x", old)

    async def story(host: Host) -> None:
        await run_fetch(host, fetch(name, 0, 1))
        fresh = scene.root / "b" / "fresh"
        fresh.write_bytes(new)
        fresh.replace(scene.root / "b" / "x")
        with pytest.raises(VersionChanged):
            await run_fetch(host, fetch(name, 0, 2))
        again, _ = await run_fetch(host, fetch(name, 0, 2))
        assert again.content() == new

    scene.run(story)


def test_more_than_a_client_may_hold_is_too_large(scene: Scene) -> None:
    name = scene.write("b/x", os.urandom(BLOCK * 12))

    async def story(host: Host) -> None:
        with pytest.raises(TooLarge, match="smaller pieces"):
            await run_fetch(host, fetch(name, 0, 12))
        with pytest.raises(TooLarge):
            await run_fetch(host, fetch(name, 0, 0))

    scene.run(story)


def test_a_prefetched_object_is_warm_and_a_missing_one_is_only_counted(scene: Scene) -> None:
    data = os.urandom(BLOCK * 3)
    name = scene.write("b/x", data)

    async def story(host: Host) -> None:
        assert host.prefetch_names([name, f"file://{scene.root}/b/none"]) == 2
        while host.counters.totals().get("prefetches_failed", 0) < 1 or host.fills.levels["fills_under_way"]:
            await asyncio.sleep(0.01)
        while host.counters.totals().get("blocks_from_origin", 0) < 3:
            await asyncio.sleep(0.01)
        started = host.counters.totals()["fills_started"]
        answers, _ = await run_fetch(host, fetch(name, 0, 3))
        assert answers.content() == data
        assert host.counters.totals()["fills_started"] == started
        report = await host.locate(name)
        assert list(report.tiers) == [Tier.TIER_LOCAL_MEMORY] * 3

    scene.run(story)


def test_a_released_fetch_cancels_what_nobody_else_waits_for(scene: Scene) -> None:
    name = scene.write("b/x", os.urandom(BLOCK * 8))

    async def story(host: Host) -> None:
        job = host.new_fetch(1, fetch(name, 0, 8), Answers(host))
        task = asyncio.ensure_future(job.run(lambda known: None))
        while host.fills.levels["fills_under_way"] == 0:
            await asyncio.sleep(0)
        job.release()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(200):
            await asyncio.sleep(0.01)
            if host.fills.levels == {"fills_under_way": 0, "fills_waiting": 0}:
                break
        assert host.fills.levels == {"fills_under_way": 0, "fills_waiting": 0}
        host.store.maintain()
        assert host.store.levels["slots_retired"] == 0

    scene.run(story)


def test_a_block_whose_last_reader_leaves_at_its_last_byte_is_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has seen by the watermark that all is there, before the origin has said so."""
    name = scene.write("bucket/x", os.urandom(BLOCK))
    as_it_was = Fill.advanced

    async def story(host: Host) -> None:
        known = await host.stat(name, revalidate=False)
        answers = Answers(host)
        job = host.new_fetch(1, fetch(name), answers)

        def advanced(fill: Fill, watermark: int, crc: int | None = None) -> None:
            as_it_was(fill, watermark, crc)
            assert fill.watermark == fill.length
            job.release()

        monkeypatch.setattr(Fill, "advanced", advanced)
        task = asyncio.ensure_future(job.run(lambda known: None))
        digest = block_digest(known.content.content_id, 0)
        async with asyncio.timeout(10):
            while host.store.find(digest) < 0:
                await asyncio.sleep(0.005)
        assert "fills_cancelled" not in host.counters.totals()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    scene.run(story)


def test_files_wait_for_an_ssd_that_is_being_read_in(scene: Scene, tmp_path: Path) -> None:
    data = os.urandom(BLOCK * 5 + 9)
    name = scene.write("bucket/x", data)
    scene.disk = tmp_path / "ssd"

    async def story(host: Host) -> None:
        assert host.disk is not None
        asked = asyncio.create_task(run_fetch(host, fetch(name, 0, 6, mapped=True)))
        while not host.counters.totals().get("blocks_filled"):  # the object is known then
            await asyncio.sleep(0)
        await asyncio.wait([asked], timeout=4 * OVERFULL_RETRY_S)
        assert not asked.done()
        await host.disk.start()
        answers, job = await asked
        assert b"".join(answers.files[block] for block in range(6)) == data
        assert host.disk.block_count == 6
        job.release()

    scene.run(story)


def test_files_are_refused_where_there_is_no_ssd_and_beyond_the_limit(scene: Scene, tmp_path: Path) -> None:
    name = scene.write("bucket/x", b"x")

    async def none(host: Host) -> None:
        with pytest.raises(TooLarge, match="no SSD"):
            await run_fetch(host, fetch(name, 0, 1, mapped=True))

    async def too_many(host: Host) -> None:
        assert host.disk is not None
        await host.disk.start()
        with pytest.raises(TooLarge, match="at most 64"):
            await run_fetch(host, fetch(name, 0, MAPPED_BLOCKS_MAX + 1, mapped=True))
        await run_fetch(host, fetch(name, 0, MAPPED_BLOCKS_MAX, mapped=True))

    scene.run(none)
    scene.disk = tmp_path / "ssd"
    scene.run(too_many)
