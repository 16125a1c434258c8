"""Fixtures of the client's tests. ``master`` is swappable: whatever offers MiniMaster's methods will do."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cashy.client.mini_master import MiniMaster

import cashy


@pytest.fixture
def make_master(tmp_path: Path) -> Iterator[Callable[..., MiniMaster]]:
    made: list[MiniMaster] = []

    def make(**options: int) -> MiniMaster:
        folder = tmp_path / f"m{len(made)}"
        folder.mkdir()
        master = MiniMaster(folder, **options)
        made.append(master)
        return master.start()

    yield make
    for master in made:
        master.remove()


@pytest.fixture
def master(make_master: Callable[..., MiniMaster]) -> MiniMaster:
    return make_master()


@pytest.fixture
def cache(master: MiniMaster) -> Iterator[cashy.Cache]:
    with cashy.connect(master.socket_path, timeout_s=10) as cache:
        yield cache
    gc.collect()
