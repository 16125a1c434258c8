"""Reads through the synchronous client, against a real arena."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cashy.client.mini_master import BLOCK, MiniMaster

import cashy
from aviary.cashy.v1 import control_pb2 as pb

ONE = "s3://bucket/one block"
BIG = "file:///data/ä+%2F/big"
BIG_BYTES = 10 * BLOCK + 123


def evict(cache: cashy.Cache, master: MiniMaster) -> int:
    """Evicts what nobody holds, after the daemon has read all releases; returns how many slots stayed."""
    cache.status()
    return master.evict_all()


@pytest.fixture
def big(master: MiniMaster) -> bytes:
    return master.put(BIG, BIG_BYTES)


def test_a_cold_read_costs_one_request_and_a_warm_one_none(cache: cashy.Cache, master: MiniMaster) -> None:
    data = master.put(ONE, 5000)
    assert cache.read(ONE) == data
    cache.status()
    assert master.log == ["hello", "fetch", "release", "status"]
    assert cache.read(ONE, 10, 100) == data[10:110]
    assert cache.stat(ONE).size_bytes == 5000
    assert master.requests("fetch") == 1
    assert master.requests("stat") == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offset=st.integers(0, BIG_BYTES + 10),
    length=st.none() | st.integers(0, BIG_BYTES + 10),
    evict=st.booleans(),
)
def test_any_range_gives_what_slicing_gives(
    cache: cashy.Cache, master: MiniMaster, big: bytes, offset: int, length: int | None, evict: bool
) -> None:
    if evict:
        master.evict_all()
    expected = big[offset:] if length is None else big[offset : offset + length]
    view = cache.read(BIG, offset, length)
    assert view == expected
    assert view.readonly
    assert view.contiguous
    buffer = bytearray(len(expected) + 3)
    assert cache.readinto(BIG, buffer, offset) == min(len(buffer), len(big[offset:]))
    assert buffer[: len(expected)] == expected
    with cache.open(BIG) as obj:
        assert b"".join(obj.blocks(offset, length)) == expected


def test_a_view_is_not_a_copy(cache: cashy.Cache, master: MiniMaster, big: bytes) -> None:
    cache.read(BIG)
    with cache.open(BIG) as obj:
        views = [obj.view(), obj.view(), obj.view(3 * BLOCK, 10)]
    assert all(view == big[:BIG_BYTES] for view in views[:2])
    meta = cache.stat(BIG)
    arena = cache._arena
    assert arena is not None
    assert arena._mappings > 0
    assert arena._private_bytes == 0
    assert arena.table is not None
    assert arena.table.pinned_entries == 2 * 11 + 1
    del views
    assert arena.table.pinned_entries == 0
    assert meta.block_count == 11


def test_an_object_says_what_it_is(cache: cashy.Cache, master: MiniMaster) -> None:
    master.put(ONE, 77)
    for _ in range(2):  # from the daemon, then from shared memory
        with cache.open(ONE) as obj:
            assert (obj.name, obj.size, obj.version, obj.last_modified) == (ONE, 77, '"1"', 1.5)
            assert obj.content_type == "application/x-numbers"
            assert obj.user_metadata == {"colour": "blue"}
            obj.view()
    assert obj.tiers == {"local memory": 1}
    with pytest.raises(ValueError, match="closed"):
        obj.view()


def test_an_empty_object(cache: cashy.Cache, master: MiniMaster) -> None:
    master.put(ONE, 0)
    assert bytes(cache.read(ONE)) == b""
    with cache.open(ONE) as obj:
        assert obj.size == 0
        assert bytes(obj.view()) == b""
        assert list(obj.blocks()) == []
    assert cache.readinto(ONE, bytearray(5)) == 0


def test_negative_ranges_are_the_callers_fault(cache: cashy.Cache, master: MiniMaster) -> None:
    master.put(ONE, 100)
    for warm in (False, True):
        for arguments in ((-1, None), (0, -1), (-5, 10), (50, -10)):
            with pytest.raises(ValueError, match="negative"):
                cache.read(ONE, *arguments)
        if not warm:
            cache.read(ONE)


def test_a_failure_arrives_as_its_error(cache: cashy.Cache, master: MiniMaster) -> None:
    with pytest.raises(cashy.NoSuchObject, match="does not exist"):
        cache.read("s3://bucket/none")
    with pytest.raises(FileNotFoundError):
        cache.open("s3://bucket/none")
    with pytest.raises(cashy.InvalidName):
        cache.read("http://elsewhere/x")
    for name in list(pb.Failure.Code.keys()):
        master.refuse["stat"] = pb.Failure(code=name, message="because")
        with pytest.raises(cashy.CashyError, match="because") as caught:
            cache.stat("s3://bucket/none")
        assert caught.value.code in (name, "INTERNAL")
    master.refuse.clear()
    assert cache.status().instance == "mini"


def test_a_handle_reads_one_version_and_a_name_the_present_one(
    cache: cashy.Cache, master: MiniMaster
) -> None:
    old = master.put(BIG, BIG_BYTES)
    obj = cache.open(BIG)
    assert obj.view(0, BLOCK) == old[:BLOCK]
    new = master.put(BIG, BIG_BYTES, version=2)
    assert obj.view(5, 10) == old[5:15], "the block is still here, of the version that was opened"
    with pytest.raises(cashy.VersionChanged):
        obj.view()
    with pytest.raises(cashy.VersionChanged):
        list(obj.blocks())
    assert cache.read(BIG) == new
    assert cache.open(BIG).view() == new


def test_a_read_that_meets_a_new_version_begins_anew(cache: cashy.Cache, master: MiniMaster) -> None:
    master.put(BIG, BIG_BYTES)
    cache.read(BIG, 0, BLOCK)
    meta = cache.stat(BIG)
    new = master.put(BIG, BIG_BYTES - 9, version=2)
    read = cache.new_read(BIG, 0, None)
    arena = cache._arena
    assert arena is not None
    arena._metas.clear()
    arena_lookup = arena.lookup
    answers = [meta]  # as if the metadata had still been fresh
    arena.lookup = lambda name: answers.pop() if answers else arena_lookup(name)  # type: ignore[method-assign]
    assert cache.view_of(read) == new


def test_stale_metadata_is_asked_for_again(cache: cashy.Cache, master: MiniMaster) -> None:
    master.put(ONE, 100)
    cache.read(ONE)
    master.expire(ONE)
    assert cache.read(ONE) == master.objects[ONE].data
    assert master.requests("fetch") == 2
    cache.stat(ONE, revalidate=True)
    assert master.requests("stat") == 1


def test_pinned_blocks_stay_and_others_go(cache: cashy.Cache, master: MiniMaster, big: bytes) -> None:
    view = cache.read(BIG, BLOCK, 2 * BLOCK)
    cache.read(BIG)
    assert evict(cache, master) == 2
    assert view == big[BLOCK : 3 * BLOCK]
    assert cache.read(BIG) == big
    part = view[5:10]
    view.release()
    with pytest.raises(ValueError, match="released"):
        view[0]
    assert evict(cache, master) == 2, "the slice holds both"
    del part
    assert evict(cache, master) == 0


def test_what_the_daemon_held_is_released(cache: cashy.Cache, master: MiniMaster, big: bytes) -> None:
    cache.read(BIG)
    blocks = cache.open(BIG).blocks()
    assert next(blocks) == big[:BLOCK]
    blocks.close()  # type: ignore[attr-defined]
    assert evict(cache, master) == 0
    assert master.requests("fetch") == master.requests("release")


def test_blocks_reads_an_object_larger_than_memory(make_master: Callable[..., MiniMaster]) -> None:
    master = make_master(blocks=16, pin_blocks=8)
    data = master.put(BIG, 100 * BLOCK)
    with cashy.connect(master.socket_path) as cache, cache.open(BIG) as obj:
        at = 0
        for view in obj.blocks():
            assert view == data[at : at + len(view)]
            at += len(view)
        assert at == len(data)
        del view
        assert sum(obj.tiers.values()) == 100
        with pytest.raises(cashy.ViewTooLarge, match=r"blocks\(\).*read\(\) in windows"):
            obj.view()
        with pytest.raises(cashy.ViewTooLarge):
            cache.read(BIG)
        assert cache.read(BIG, 50 * BLOCK, 4 * BLOCK) == data[50 * BLOCK : 54 * BLOCK]
        everything = bytearray(len(data))
        assert obj.readinto(everything) == len(data)
        assert everything == data


def test_over_quota_is_an_error_and_dropping_views_helps(make_master: Callable[..., MiniMaster]) -> None:
    master = make_master(blocks=64, pin_blocks=4)
    data = master.put(BIG, 16 * BLOCK)
    with cashy.connect(master.socket_path) as cache, cache.open(BIG) as obj:
        held = [obj.view(i * BLOCK, BLOCK) for i in range(4)]
        for warm in (False, True):
            with pytest.raises(cashy.PinQuotaExceeded, match="drop views"):
                obj.view(4 * BLOCK, BLOCK)
            if not warm:
                buffer = bytearray(BLOCK)
                obj.readinto(buffer, 4 * BLOCK)
                assert buffer == data[4 * BLOCK : 5 * BLOCK], "a copy needs no pin"
        held.pop()
        assert obj.view(4 * BLOCK, BLOCK) == data[4 * BLOCK : 5 * BLOCK]


def test_views_of_too_many_mappings_become_copies_and_then_errors(
    make_master: Callable[..., MiniMaster],
) -> None:
    master = make_master()
    data = master.put(BIG, 8 * BLOCK)
    master.mappings_max, master.private_bytes_max = 3, 9 * BLOCK
    with cashy.connect(master.socket_path) as cache, cache.open(BIG) as obj:
        for index in (5, 1, 7, 3, 0, 6, 2, 4):  # scattered over the arena
            obj.view(index * BLOCK, BLOCK)
        copy = obj.view()
        assert copy == data
        arena = cache._arena
        assert arena is not None
        assert arena._private_bytes == len(data)
        with pytest.raises(cashy.ViewTooLarge, match="private copy"):
            obj.view()
        del copy
        assert obj.view() == data


def test_threads_share_a_cache(cache: cashy.Cache, master: MiniMaster, big: bytes) -> None:
    wrong: list[object] = []

    def work(seed: int) -> None:
        try:
            for step in range(60):
                at = (seed * 7919 + step * 104729) % BIG_BYTES
                if cache.read(BIG, at, 90_000) != big[at : at + 90_000]:
                    wrong.append((seed, step))
                if step % 10 == seed % 10:
                    master.evict_all()
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert evict(cache, master) == 0


def test_prefetch_and_locate(cache: cashy.Cache, master: MiniMaster, big: bytes) -> None:
    assert set(cache.locate(BIG).tiers) == {"not on this host"}
    assert cache.prefetch([BIG, "s3://bucket/none"]) == 2
    assert set(cache.locate(BIG).tiers) == {"local memory"}
    assert cache.locate(BIG).meta.size_bytes == BIG_BYTES
    many = [f"s3://bucket/{'k' * 900}{i}" for i in range(600)]
    assert cache.prefetch(many) == 600
    assert master.requests("prefetch") == 4, "more names than fit one frame"
    with pytest.raises(cashy.InvalidName):
        cache.prefetch(["nonsense"])


def test_without_pins_reads_are_verified_copies(
    make_master: Callable[..., MiniMaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASHY_NO_PINS", "1")
    master = make_master()
    data = master.put(BIG, 8 * BLOCK + 5)
    master.private_bytes_max = 10 * BLOCK
    with cashy.connect(master.socket_path) as cache, cache.open(BIG) as obj:
        arena = cache._arena
        assert arena is not None
        assert arena.table is None
        view = obj.view()
        assert view == data
        assert view.readonly
        assert evict(cache, master) == 0
        assert view == data
        with pytest.raises(cashy.ViewTooLarge, match="private copy"):
            obj.view()
        del view
        assert cache.read(BIG, 3, 2 * BLOCK) == data[3 : 3 + 2 * BLOCK]
        assert b"".join(bytes(v) for v in obj.blocks()) == data


def test_a_copy_that_does_not_match_its_checksum_is_a_miss(
    cache: cashy.Cache, master: MiniMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cashy.client.reader._LOADS_IN_ORDER", False)  # as on processors that reorder loads
    data = master.put(ONE, 3000)
    buffer = bytearray(3000)
    assert cache.readinto(ONE, buffer) == 3000
    assert buffer == data
    arena = cache._arena
    assert arena is not None
    meta = cache.stat(ONE)
    with master._lock:
        slot = next(s for s in master.arena.ready_slots() if master.arena.fields(s).kind == 2)
        master.arena.content(slot)[7] ^= 1
    assert not arena.copy_block(meta, 0, 0, memoryview(buffer))


def test_an_iterator_collected_at_the_worst_moment(
    cache: cashy.Cache, master: MiniMaster, big: bytes
) -> None:
    """The collector may end it in a thread that holds the connection's locks: the release waits for the next request."""
    blocks = cache.open(BIG).blocks()
    next(blocks)
    connection = cache._connection
    assert connection is not None
    with connection._send_lock, connection._turn:
        del blocks
        time.sleep(0.05)
        assert master.requests("release") < master.requests("fetch")
    assert evict(cache, master) == 0
    assert master.requests("release") == master.requests("fetch")


def test_mappings_that_are_kept_for_later_give_way_to_views_that_are_wanted(
    make_master: Callable[..., MiniMaster],
) -> None:
    master = make_master()
    data = master.put(BIG, 8 * BLOCK)
    master.mappings_max = 4
    with cashy.connect(master.socket_path) as cache, cache.open(BIG) as obj:
        for index in (5, 1, 7, 3, 0, 6, 2, 4):  # scattered over the arena
            obj.view(index * BLOCK, BLOCK)
        arena = cache._arena
        assert arena is not None
        for first in (0, 2, 4, 0):
            view = obj.view(first * BLOCK, 3 * BLOCK)
            assert view == data[first * BLOCK : (first + 3) * BLOCK]
            del view
            assert arena._private_bytes == 0, "it is no copy"
