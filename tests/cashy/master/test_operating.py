"""Evicting, pinning and tracing on several masters in one loop, joined by real sockets, over one folder."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from aviary.cashy.v1.control_pb2 import Fetch
from aviary.cashy.v1.operate_pb2 import (
    Evict,
    HostRequest,
    ListPins,
    Pin,
    TakeTrace,
    Trace,
    TraceReport,
    Unpin,
)
from cashy.core.names import block_digest, parse_name
from cashy.core.pins import Pin as KeptPin
from cashy.core.trace import METADATA
from cashy.errors import InvalidName, InvalidRequest, NoSuchObject, TooLarge
from cashy.master.cluster import make_cluster
from cashy.master.host import Host, make_origins
from cashy.master.limits import EVICT_NAMES_MAX, TRACE_BLOCKS_MAX
from cashy.master.pin_file import PinFile

from .answers import Answers
from .test_cluster_hosts import BLOCK, Rig, is_coherent, read, until


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, 3)
    yield made
    made.close()


@pytest.fixture
def hedging_rig(tmp_path: Path) -> Iterator[Rig]:
    """Three hosts that ask a second one beside a silent one."""
    made = Rig(tmp_path, 3, hedge=True)
    yield made
    made.close()


@pytest.fixture
def small_rig(tmp_path: Path) -> Iterator[Rig]:
    """One host with room for sixteen blocks, of which four may be pinned; versions are looked up at each read."""
    made = Rig(tmp_path, 1, size="1MiB", revalidate_after_s=0.0)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quick_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is pinned is looked at every second, and tried again every five; here sooner."""
    monkeypatch.setattr("cashy.master.pinboard.PIN_LOOK_S", 0.02)
    monkeypatch.setattr("cashy.master.pinboard.PIN_RETRY_S", 0.2)


def blocks_here(host: Host, name: str) -> list[int]:
    """Which blocks of the version that the host knows are in its memory."""
    known = host.catalog.last_known(parse_name(name))
    if known is None:
        return []
    found = range(known.content.block_count)
    return [index for index in found if host.store.find(block_digest(known.content.content_id, index)) >= 0]


def digests_of(host: Host, name: str) -> list[bytes]:
    known = host.catalog.last_known(parse_name(name))
    assert known is not None
    return [block_digest(known.content.content_id, index) for index in range(known.content.block_count)]


def count(host: Host, counter: str) -> int:
    return host.all_counters().get(counter, 0)


# --- evict ---


def test_what_is_evicted_is_read_anew(rig: Rig) -> None:
    data = os.urandom(BLOCK * 6 + 10)
    name, other = rig.write("bucket/x", data), rig.write("bucket/y", data)

    async def story() -> None:
        host = rig.hosts["a"]
        for each in (name, other):
            await read(host, each)
        used = count(host, "arena_used_bytes")
        report = await host.operating.evict(Evict(names=[name]))
        (evicted,) = report.hosts
        assert (evicted.host, evicted.objects, evicted.blocks, evicted.bytes) == ("a", 1, 7, len(data))
        assert (evicted.held_blocks, evicted.pinned_blocks, list(report.failed)) == (0, 0, [])
        assert count(host, "arena_used_bytes") <= used - len(data)
        assert blocks_here(host, name) == []
        assert blocks_here(host, other) == list(range(7))
        assert (await read(host, name))[0] == data
        assert count(host, "blocks_evicted_by_request") == 7

    rig.run(story)


def test_every_host_of_the_cluster_evicts_also_what_it_does_not_know_by_name(rig: Rig) -> None:
    data = os.urandom(BLOCK * 24)
    name = rig.write("bucket/x", data)

    async def story() -> None:
        await read(rig.hosts["a"], name)
        homes = [rig.home_of("bucket/x", index) for index in range(24)]
        digests = digests_of(rig.hosts["a"], name)
        report = await rig.hosts["b"].operating.evict(Evict(names=[name], cluster=True))
        went = {host.host: host.blocks for host in report.hosts}
        assert went == {"a": 24, "b": homes.count("b"), "c": homes.count("c")}
        assert [host.host for host in report.hosts] == ["b", "a", "c"]
        for host in rig.hosts.values():
            assert all(host.store.find(digest) < 0 for digest in digests)
        before = rig.total("blocks_from_origin")
        assert (await read(rig.hosts["c"], name))[0] == data
        assert rig.total("blocks_from_origin") - before == 24

    rig.run(story)


def test_what_somebody_holds_stays_until_he_lets_go(rig: Rig) -> None:
    data = os.urandom(BLOCK * 4)
    name = rig.write("bucket/x", data)

    async def story() -> None:
        host = rig.hosts["a"]
        answers = Answers(host)
        job = host.new_fetch(1, Fetch(name=name, first_block=0, block_count=2), answers)
        await job.run(lambda known: None)
        await read(host, name)
        evicted = (await host.operating.evict(Evict(names=[name]))).hosts[0]
        assert (evicted.blocks, evicted.held_blocks, evicted.held_bytes) == (4, 2, 2 * BLOCK)
        assert answers.content() == data[: 2 * BLOCK]
        assert count(host, "slots_retired") == 2
        job.release()
        host.store.maintain()
        assert count(host, "slots_retired") == 0

    rig.run(story)


def test_everything_goes_but_what_is_pinned(rig: Rig) -> None:
    kept, gone = (
        rig.write("bucket/kept", os.urandom(BLOCK * 3)),
        rig.write("bucket/gone", os.urandom(BLOCK * 300)),
    )

    async def story() -> None:
        host = rig.hosts["a"]
        await host.operating.pin(Pin(names=[kept]))
        await read(host, gone, count=100)
        await until(lambda: blocks_here(host, kept) == [0, 1, 2])
        evicted = (await host.operating.evict(Evict(everything=True))).hosts[0]
        assert evicted.pinned_blocks == 3
        assert evicted.blocks >= 99  # of the first ones, a few may have been for the small queue
        assert 3 * BLOCK < count(host, "arena_used_bytes") < 4 * BLOCK, (
            "the metadata of what is pinned stays, too"
        )
        evicted = (await host.operating.evict(Evict(names=[kept]))).hosts[0]
        assert (evicted.objects, evicted.blocks, evicted.pinned_blocks) == (1, 0, 3)
        assert count(host, "pinned_blocks_here") == 3

    rig.run(story)


def test_names_that_lead_nowhere_are_told_and_the_rest_is_done(rig: Rig) -> None:
    name = rig.write("bucket/x", os.urandom(BLOCK))

    async def story() -> None:
        host = rig.hosts["a"]
        await read(host, name)
        report = await host.operating.evict(Evict(names=["nonsense", name, name + "-missing"]))
        assert [(each.name, each.code) for each in report.failed] == [
            ("nonsense", "INVALID_NAME"),
            (name + "-missing", "NO_SUCH_OBJECT"),
        ]
        assert report.hosts[0].blocks == 1
        for wrong in (Evict(), Evict(names=[name], everything=True)):
            with pytest.raises(InvalidRequest, match="either names, or everything"):
                await host.operating.evict(wrong)
        with pytest.raises(TooLarge, match="at most 1,000"):
            await host.operating.evict(Evict(names=[name] * (EVICT_NAMES_MAX + 1)))

    rig.run(story)


def test_a_host_that_is_down_is_named_and_the_others_are_done(rig: Rig) -> None:
    name = rig.write("bucket/x", os.urandom(BLOCK * 24))

    async def story() -> None:
        await read(rig.hosts["a"], name)
        await rig.hosts["c"].close()
        await until(lambda: not rig.hosts["a"].cluster.peers["c"].is_up)  # type: ignore[union-attr]
        began = time.monotonic()
        report = await rig.hosts["a"].operating.evict(Evict(names=[name], cluster=True))
        errors = {host.host: host.error for host in report.hosts}
        assert (errors["a"], errors["b"]) == ("", "")
        assert errors["c"].startswith("down: ")
        pins = await rig.hosts["a"].operating.list_pins(ListPins(cluster=True))
        assert [bool(host.error) for host in pins.hosts] == [False, False, True]
        assert time.monotonic() - began < 20

    rig.run(story)


# --- pin ---


def test_pinned_blocks_stay_whatever_else_is_read(small_rig: Rig) -> None:
    name = small_rig.write("bucket/x", os.urandom(BLOCK * 4))
    other = small_rig.write("bucket/y", os.urandom(BLOCK * 60))

    async def story() -> None:
        host = small_rig.hosts["a"]
        report = await host.operating.pin(Pin(names=[name]))
        assert (report.hosts[0].changed, report.hosts[0].objects[0].blocks) == (1, 4)
        await until(lambda: blocks_here(host, name) == [0, 1, 2, 3])
        for first in range(0, 60, 5):
            await read(host, other, first, 5)
        (pinned,) = (await host.operating.list_pins(ListPins())).hosts[0].objects
        assert (pinned.blocks_here, pinned.bytes_here, pinned.error) == (4, 4 * BLOCK, "")
        assert count(host, "origin_reads") == 64, "each block was read once"
        assert len(blocks_here(host, other)) <= 12
        assert (await host.operating.unpin(Unpin(names=[name]))).hosts[0].changed == 1
        for first in range(0, 60, 5):
            await read(host, other, first, 5)
            await read(host, other, first, 5)  # it had proven itself, and gives way to what does
        assert len(blocks_here(host, name)) < 4

    small_rig.run(story)


def test_no_more_than_the_share_can_be_pinned_and_nothing_is_by_half(small_rig: Rig) -> None:
    names = [small_rig.write(f"bucket/{number}", os.urandom(BLOCK * 2)) for number in range(3)]

    async def story() -> None:
        host = small_rig.hosts["a"]
        with pytest.raises(TooLarge, match=r"memory\.pinned_max"):
            await host.operating.pin(Pin(names=names))
        with pytest.raises(NoSuchObject):
            await host.operating.pin(Pin(names=[names[0], names[0] + "-missing"]))
        with pytest.raises(InvalidName):
            await host.operating.pin(Pin(names=["nonsense"]))
        assert count(host, "pinned_objects") == 0
        await host.operating.pin(Pin(names=names[:2]))
        report = (await host.operating.list_pins(ListPins())).hosts[0]
        assert report.pinned_bytes == report.pinned_bytes_max == 4 * BLOCK
        await host.operating.pin(Pin(names=names[:2], for_s=60))  # anew: no more bytes
        with pytest.raises(TooLarge):
            await host.operating.pin(Pin(names=names[2:]))

    small_rig.run(story)


def test_a_pin_ends_with_its_time(small_rig: Rig) -> None:
    name = small_rig.write("bucket/x", os.urandom(BLOCK * 2))

    async def story() -> None:
        host = small_rig.hosts["a"]
        pinned = (await host.operating.pin(Pin(names=[name], for_s=0.2))).hosts[0].objects[0]
        assert 0 < pinned.left_s <= 0.2
        await until(lambda: count(host, "pinned_objects") == 0)
        assert (count(host, "pins_expired"), count(host, "pinned_blocks_here")) == (1, 0)

    small_rig.run(story)


def test_a_pin_follows_its_object(small_rig: Rig) -> None:
    name = small_rig.write("bucket/x", os.urandom(BLOCK * 2))

    async def story() -> None:
        host = small_rig.hosts["a"]
        await host.operating.pin(Pin(names=[name]))
        await until(lambda: count(host, "pinned_blocks_here") == 2)
        old = digests_of(host, name)
        small_rig.write("bucket/x", os.urandom(BLOCK * 3))
        await read(host, name, 0, 1)  # brings word of it
        await until(lambda: count(host, "pinned_blocks_here") == 3)
        assert count(host, "pins_followed") == 1
        assert blocks_here(host, name) == [0, 1, 2]
        assert host.pinboard.keeps(host.store.find(digests_of(host, name)[2]))
        assert not any(host.pinboard.keeps(slot) for slot in map(host.store.find, old) if slot >= 0)

    small_rig.run(story)


def test_a_new_master_holds_what_was_pinned_before_it_asks_anybody(
    small_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = small_rig.write("bucket/x", os.urandom(BLOCK * 2))

    async def story() -> None:
        host = small_rig.hosts["a"]
        await host.operating.pin(Pin(names=[name], for_s=1000))
        await until(lambda: count(host, "pinned_blocks_here") == 2)
        digests = digests_of(host, name)
        await host.close()
        settings = host.settings
        again = Host(
            settings, host.store.arena.instance, await make_origins(settings.origins), make_cluster(settings)
        )
        small_rig.hosts["a"] = again
        asked = asyncio.Event()

        async def stat(*_: object, **__: object) -> NoReturn:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(again.catalog, "stat", stat)
        again.start()
        await asyncio.wait_for(asked.wait(), 10)
        assert count(again, "pinned_blocks_here") == 2
        assert all(again.pinboard.keeps(again.store.find(digest)) for digest in digests)
        (pinned,) = again.pinboard.report("a").objects
        assert 900 < pinned.left_s <= 1000

    small_rig.run(story)


def test_an_object_that_is_gone_or_too_large_keeps_its_pin_and_says_why(small_rig: Rig) -> None:
    name = small_rig.write("bucket/x", os.urandom(BLOCK * 2))

    def error_of(host: Host) -> str:
        return host.pinboard.report("a").objects[0].error

    async def story() -> None:
        host = small_rig.hosts["a"]
        await host.operating.pin(Pin(names=[name]))
        await until(lambda: count(host, "pinned_blocks_here") == 2)
        small_rig.write("bucket/x", os.urandom(BLOCK * 5))
        await read(host, name, 0, 1)
        await until(lambda: "memory.pinned_max" in error_of(host))
        assert count(host, "pinned_blocks_here") == count(host, "pinned_bytes") == 0
        assert count(host, "pinned_objects_failing") == 1
        small_rig.write("bucket/x", os.urandom(BLOCK))
        async with asyncio.timeout(20):
            while count(host, "pinned_blocks_here") != 1:
                await asyncio.sleep(0.05)
        assert error_of(host) == ""

    small_rig.run(story)


def test_in_a_cluster_each_host_keeps_the_blocks_it_is_home_to(rig: Rig) -> None:
    name = rig.write("bucket/x", os.urandom(BLOCK * 24))

    async def story() -> None:
        report = await rig.hosts["a"].operating.pin(Pin(names=[name], cluster=True))
        homes = [rig.home_of("bucket/x", index) for index in range(24)]
        assert {host.host: host.objects[0].blocks for host in report.hosts} == {
            host: homes.count(host) for host in "abc"
        }
        for host in rig.hosts.values():
            await until(lambda host=host: count(host, "pinned_blocks_here") == homes.count(host.name))  # type: ignore[misc]
        assert rig.total("blocks_from_origin") == 24
        assert rig.total("blocks_from_peer") == 0
        listed = await rig.hosts["c"].operating.list_pins(ListPins(names=[name], cluster=True))
        assert [host.host for host in listed.hosts] == ["c", "a", "b"]
        assert sum(host.objects[0].bytes_here for host in listed.hosts) == 24 * BLOCK
        report = await rig.hosts["b"].operating.unpin(Unpin(everything=True, cluster=True))
        assert [host.changed for host in report.hosts] == [1, 1, 1]

    rig.run(story)


# --- trace ---


def whats(report: TraceReport, host: int, block: int) -> list[str]:
    return [event.what for event in report.hosts[host].events if event.block == block]


def test_a_trace_tells_of_memory_origin_and_homes(rig: Rig) -> None:
    name = rig.write("bucket/x", os.urandom(BLOCK * 12))

    async def story() -> None:
        host = rig.hosts["a"]
        homes = [rig.home_of("bucket/x", index) for index in range(12)]
        report = await host.operating.trace(Trace(name=name, offset=0, length=12 * BLOCK))
        assert (report.first_block, report.block_count, report.object_blocks) == (0, 12, 12)
        assert (report.failure_code, report.size) == ("", 12 * BLOCK)
        assert [told.host for told in report.hosts] == [
            "a",
            *dict.fromkeys(home for home in homes if home != "a"),
        ]
        assert not any(told.error or told.is_cut for told in report.hosts)
        positions = {told.host: number for number, told in enumerate(report.hosts)}
        for index, home in enumerate(homes):
            mine = [what for what in whats(report, 0, index) if what != "memory"]
            assert mine == ["waits", "asked", "head", "first byte", "arrived"], (index, mine)
            (asked,) = [
                event.where
                for event in report.hosts[0].events
                if event.block == index and event.what == "asked"
            ]
            assert asked == ("data" if home == "a" else home)
            if home != "a":
                theirs = whats(report, positions[home], index)
                assert theirs[0] == "read"
                assert set(theirs) >= {"read", "asked", "sends", "sent", "arrived"}
        assert report.took_us >= max(event.at_us for event in report.hosts[0].events)
        again = await host.operating.trace(Trace(name=name, length=12 * BLOCK))
        assert whats(again, 0, METADATA) == ["known", "learnt"]
        assert all(whats(again, 0, index) == ["memory"] for index in range(12))
        assert len(again.hosts) == 1
        assert all(len(each.traces) == 0 for each in rig.hosts.values()), "what was told is forgotten"

    rig.run(story)


def test_reads_that_nobody_traces_leave_nothing(rig: Rig) -> None:
    name = rig.write("bucket/x", os.urandom(BLOCK * 12))

    async def story() -> None:
        for host in rig.hosts.values():
            await read(host, name)
        assert all(len(host.traces) == 0 for host in rig.hosts.values())
        cluster = rig.hosts["a"].cluster
        assert cluster is not None
        unknown = HostRequest(take_trace=TakeTrace(trace_id=bytes(16)))
        answer = await cluster.peers["b"].operate(unknown, 10)
        assert list(answer.trace.events) == []

    rig.run(story)


def test_a_home_that_is_gone_shows_with_the_reason(rig: Rig) -> None:
    name = rig.write("bucket/x", os.urandom(BLOCK * 24))

    async def story() -> None:
        host = rig.hosts["a"]
        await host.stat(name, revalidate=False)
        away = rig.hosts["b"]
        assert away.peer_server is not None
        await until(lambda: is_coherent(host))

        def refuse(*_: object) -> None:
            raise TooLarge("not today")

        away.for_peers.read = refuse  # type: ignore[method-assign, assignment]
        report = await host.operating.trace(Trace(name=name, length=24 * BLOCK))
        assert report.failure_code == ""
        refused = [index for index in range(24) if rig.home_of("bucket/x", index) == "b"]
        assert refused
        for index in refused:
            events = [event for event in report.hosts[0].events if event.block == index]
            (failed,) = [event for event in events if event.what == "failed"]
            assert (failed.where, failed.detail) == ("b", "TOO_LARGE: host 'b': not today")
            assert events[-1].what == "arrived"

    rig.run(story)


def test_a_source_that_is_asked_beside_a_silent_one_shows(hedging_rig: Rig) -> None:
    rig = hedging_rig
    name = rig.write("bucket/x", os.urandom(BLOCK * 24))

    async def story() -> None:
        host = rig.hosts["a"]
        for number in range(2):  # good answers earn what asking beside costs
            await read(host, rig.write(f"bucket/{number}", os.urandom(BLOCK * 60)))
        await host.stat(name, revalidate=False)
        silent: list[
            str
        ] = []  # whoever is asked first, which need not be the home where a loop has stood still

        def reads(peer: str) -> Callable[..., None]:
            answer = rig.hosts[peer].for_peers.read

            def read_or_not(*arguments: Any) -> None:
                if not silent:
                    silent.append(peer)
                if peer not in silent:
                    answer(*arguments)

            return read_or_not

        for peer in ("b", "c"):
            rig.hosts[peer].for_peers.read = reads(peer)  # type: ignore[method-assign]
        for index in range(24):
            if rig.home_of("bucket/x", index) == "a":
                continue
            report = await host.operating.trace(Trace(name=name, offset=index * BLOCK, length=BLOCK))
            events = [(event.what, event.where) for event in report.hosts[0].events if event.block == index]
            if silent:  # else both have stood still, and the origin was asked at once
                break
        (first,) = silent
        found = [events.index((what, first)) for what in ("asked", "hedges", "dropped")]
        assert found == sorted(found)
        assert events[-1] == ("arrived", "")

    rig.run(story)


def test_a_read_that_fails_is_told_as_far_as_it_came(rig: Rig) -> None:
    name = rig.write("bucket/x", b"")

    async def story() -> None:
        host = rig.hosts["a"]
        report = await host.operating.trace(Trace(name=name + "-missing"))
        assert report.failure_code == "NO_SUCH_OBJECT"
        assert report.hosts[0].host == "a"
        assert any(event.what == "gave up" for event in report.hosts[0].events)
        report = await host.operating.trace(Trace(name=name))
        assert (report.failure_code, report.block_count) == ("", 0)
        with pytest.raises(InvalidRequest, match="at most 256 blocks"):
            await host.operating.trace(Trace(name=name, length=BLOCK * TRACE_BLOCKS_MAX + 1))

    rig.run(story)


def test_who_waits_for_somebody_elses_read_sees_that(rig: Rig) -> None:
    name = rig.write("bucket/x", os.urandom(BLOCK * 8))

    async def story() -> None:
        host = rig.hosts["a"]
        await host.stat(name, revalidate=False)
        reading = asyncio.ensure_future(read(host, name, 0, 8))
        await asyncio.sleep(0)  # it has begun
        report = await host.operating.trace(Trace(name=name, length=8 * BLOCK))
        await reading
        joined = [index for index in range(8) if "joins" in whats(report, 0, index)]
        assert joined
        assert all(whats(report, 0, index)[-1] == "arrived" for index in joined)

    rig.run(story)


def test_saves_that_are_given_up_leave_the_newest_list_in_the_file(tmp_path: Path) -> None:
    pins: list[KeptPin] = []
    file = PinFile(tmp_path, lambda: pins)

    async def story() -> None:
        saves = []
        for number in range(200):
            pins.append(KeptPin(f"s3://bucket/{number}", 0, homes_only=False))
            saves.append(asyncio.create_task(file.save()))
            await asyncio.sleep(0)
            if number % 2:
                saves[-2].cancel()
        done = await asyncio.gather(*saves, return_exceptions=True)
        assert {type(each) for each in done} == {type(None), asyncio.CancelledError}

    asyncio.run(story())
    assert len(PinFile(tmp_path, list).load()) == 200
