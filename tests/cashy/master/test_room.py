"""Room in memory by user: who keeps much waits, who keeps little finds room, whatever the others have pinned."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from cashy.core.names import block_digest
from cashy.errors import ArenaFull
from cashy.master.fetch import FetchJob
from cashy.master.host import Host
from shmipc import fence
from shmipc.arena import ArenaReader
from shmipc.instance import Instance
from shmipc.pins import PinTable
from shmipc.segment import Segment

from .answers import Answers
from .test_fetch import BLOCK, Scene, fetch

#: Of an arena of 16 blocks one user may keep 14, and one is left empty.
ONE_USERS = 14


@pytest.fixture
def scene(tmp_path: Path, instance: Instance) -> Scene:
    root = tmp_path / "data"
    root.mkdir()
    return Scene(root, instance)


class Reads:
    """Fetches of one user, each held until it is let go."""

    def __init__(self, host: Host, owner: str, name: str) -> None:
        self.host = host
        self.owner = owner
        self.name = name
        self.answers: list[Answers] = []
        self.jobs: list[FetchJob] = []
        self.tasks: list[asyncio.Task[None]] = []

    def begin(self, first: int, count: int) -> asyncio.Task[None]:
        answers = Answers(self.host)
        job = self.host.new_fetch(len(self.jobs), fetch(self.name, first, count), answers, self.owner)
        task = asyncio.ensure_future(job.run(lambda known: None))
        self.answers.append(answers)
        self.jobs.append(job)
        self.tasks.append(task)
        return task

    async def close(self) -> None:
        for job in self.jobs:
            job.release()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def test_who_keeps_much_waits_and_another_reads_meanwhile(scene: Scene) -> None:
    data, other = os.urandom(BLOCK * 30), os.urandom(BLOCK * 8)
    names = scene.write("b/much", data), scene.write("b/little", other)

    async def story(host: Host) -> None:
        greedy, modest = Reads(host, "uid:1", names[0]), Reads(host, "uid:2", names[1])
        for first in (0, 7):
            await greedy.begin(first, 7)
        waiting = greedy.begin(14, 7)
        for number in range(8):
            await modest.begin(number, 1)
            modest.jobs[-1].release()
            assert modest.answers[-1].blocks[0 + number]
        assert not waiting.done()
        assert host.rooms.of("uid:1").kept_bytes == ONE_USERS * BLOCK
        greedy.jobs[0].release()
        await waiting
        blocks = greedy.answers[2]
        assert blocks.content() == data[14 * BLOCK : 21 * BLOCK]
        await greedy.close()
        await modest.close()
        assert not host.store.arena._held

    scene.run(story)


def test_what_is_in_memory_counts_too_when_it_is_asked_for(scene: Scene) -> None:
    name = scene.write("b/x", os.urandom(BLOCK * 15))

    async def story(host: Host) -> None:
        before = Reads(host, "uid:2", name)
        for number in range(15):
            await before.begin(number, 1)
            before.jobs[-1].release()
        greedy = Reads(host, "uid:1", name)
        for first in (0, 7):
            await greedy.begin(first, 7)
        again = greedy.begin(3, 4)
        await again  # what he keeps already costs nothing
        waiting = greedy.begin(14, 1)
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await greedy.close()
        await before.close()

    scene.run(story)


def test_pins_count_for_whose_they_are(scene: Scene) -> None:
    name = scene.write("b/x", os.urandom(BLOCK * 30))

    async def story(host: Host) -> None:
        fence.register_reader()
        arena = host.store.arena
        reader = ArenaReader(Segment.from_fd(arena.segment.read_only_fd()))
        pins = []
        greedy = Reads(host, "uid:1", name)
        known = None
        for first in (0, 7):
            await greedy.begin(first, 7)
            known = known or await host.stat(name, revalidate=False)
            serial, descriptor = arena.tables.create()  # of another client
            host.rooms.of("uid:1").has_table(serial)
            table = PinTable(descriptor, arena.arena_id, pin_bytes_max=1 << 40)
            for number in range(first, first + 7):
                hit = reader.pin(table, block_digest(known.content.content_id, number))
                assert hit is not None
                pins.append((table, hit.entry))
            greedy.jobs[-1].release()
        waiting = greedy.begin(14, 1)
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert host.rooms.of("uid:1").kept_bytes == ONE_USERS * BLOCK
        modest = Reads(host, "uid:2", name)
        await modest.begin(20, 1)
        for table, entry in pins:
            table.unpin(entry)
        await waiting
        for table in {table for table, _ in pins}:
            table.close_when_unused()
        await greedy.close()
        await modest.close()
        reader.close()

    scene.run(story)


def test_who_gets_no_further_is_told_why(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cashy.master.fetch.ARENA_WAIT_S", 0.2)
    name = scene.write("b/x", os.urandom(BLOCK * 30))

    async def story(host: Host) -> None:
        greedy = Reads(host, "uid:1", name)
        for first in (0, 7):
            await greedy.begin(first, 7)
        with pytest.raises(ArenaFull, match="one user may keep 917,504"):
            await greedy.begin(14, 1)
        await greedy.close()
        assert host.rooms.of("uid:3").is_idle
        assert set(host.rooms._rooms) == {"uid:3"}, "who keeps nothing is forgotten"

    scene.run(story)
