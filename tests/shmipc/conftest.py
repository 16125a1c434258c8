"""Instances that vanish after the test, whatever it did."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.shmipc.support import FAMILY, CellArena, leftovers, remove_instance

from shmipc.fence import register_reader
from shmipc.instance import Instance
from shmipc.segment import SHM_FOLDER


@pytest.fixture
def instance_name(request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"{os.getpid()}-{abs(hash(request.node.nodeid)):x}"
    remove_instance(name)
    yield name
    remove_instance(name)


@pytest.fixture
def instance(instance_name: str) -> Iterator[Instance]:
    made = Instance(FAMILY, instance_name)
    made.acquire()
    yield made
    made.close()


@pytest.fixture
def make_arena(instance: Instance) -> Iterator[Callable[..., CellArena]]:
    """Opens (or adopts) the test's arena."""
    register_reader()
    opened: list[CellArena] = []

    def make(**options: int) -> CellArena:
        opened.append(CellArena(instance, **options))
        return opened[-1]

    yield make
    gc.collect()
    for arena in opened:
        if arena.owner.segment.fd >= 0:
            arena.close()


@pytest.fixture
def arena(make_arena: Callable[..., CellArena]) -> CellArena:
    return make_arena()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """At the end of the session no shared memory with the tests' prefix is left by this process."""
    yield
    mine = [name for name in leftovers() if f".{os.getpid()}-" in name]
    for name in mine:
        path = Path(SHM_FOLDER, name)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    assert mine == []
