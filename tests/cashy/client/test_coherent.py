"""On which terms metadata is current without asking: what other hosts may change, while the daemon would have heard of it; files, always."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tests.cashy.client.mini_master import MiniMaster

import cashy
from cashy.client.reader import LocalArena
from shmipc.layout import NEVER_ENDS

OBJECT = "s3://bucket/one"
FILE = "file:///folder/one"


@pytest.fixture
def arena(cache: cashy.Cache, master: MiniMaster) -> LocalArena:
    """As one process sees it that has read an object and a file."""
    for name in (OBJECT, FILE):
        master.put(name, 5000)
        cache.read(name)
    assert cache._arena is not None
    return cache._arena


def _later(seconds: float) -> int:
    return time.monotonic_ns() + int(seconds * 1e9)


def _all_ways(arena: LocalArena, name: str) -> set[bool]:
    """Whether it is current: as remembered by the process, and as learnt anew."""
    remembered = arena.read_hit(name, 0, 100) is not None, arena.lookup(name) is not None
    arena._metas.clear()
    arena._older_metas.clear()
    return {*remembered, arena.lookup(name) is not None}


def test_while_the_daemon_is_coherent_everything_is_current(arena: LocalArena, master: MiniMaster) -> None:
    master.arena.set_coherent_until(_later(60))
    assert _all_ways(arena, OBJECT) == {True}


@pytest.mark.parametrize("until", [lambda: 0, time.monotonic_ns], ids=["never", "until-now"])
def test_once_it_is_not_only_files_are(
    arena: LocalArena, master: MiniMaster, until: Callable[[], int]
) -> None:
    master.arena.set_coherent_until(until())
    assert _all_ways(arena, OBJECT) == {False}
    assert _all_ways(arena, FILE) == {True}


def test_what_was_validated_before_a_gap_stays_doubted(
    cache: cashy.Cache, arena: LocalArena, master: MiniMaster
) -> None:
    master.arena.set_doubted_before(_later(0))
    master.arena.set_coherent_until(NEVER_ENDS)
    assert _all_ways(arena, OBJECT) == {False}
    assert _all_ways(arena, FILE) == {True}
    master.revalidate(OBJECT)
    assert _all_ways(arena, OBJECT) == {True}
    assert bytes(cache.read(OBJECT, 0, 10)) == master.objects[OBJECT].data[:10]
