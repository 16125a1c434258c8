"""A master that is killed and started again over the same memory: it is there at once, and what was damaged meanwhile is never served."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import cashy

from .harness import wait_until
from .lone import LoneMaster

pytestmark = pytest.mark.system

BLOCK = 64 << 10
BLOCKS = 64
LENGTH = BLOCKS * BLOCK


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files" / "bucket"
    folder.mkdir(parents=True)
    (folder / "x").write_bytes(os.urandom(LENGTH))
    return folder.parent


@pytest.fixture
def master(tmp_path: Path, files: Path) -> Iterator[LoneMaster]:
    origin = f'[[origin]]\nkind = "directory"\npath = "{files}"\n'
    with LoneMaster(tmp_path, f"[freshness]\nrevalidate_after_s = 3600.0\n{origin}") as made:
        yield made


def flip(segment: Path, near: bytes) -> None:
    """One bit of the arena, in the middle of where these bytes lie."""
    with segment.open("r+b") as file:
        at = file.read().index(near) + len(near) // 2
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


def test_a_byte_damaged_while_the_master_is_down_is_never_served(master: LoneMaster, files: Path) -> None:
    data = (files / "bucket" / "x").read_bytes()
    name = f"file://{files}/bucket/x"
    with cashy.connect(master.socket) as survivor:
        assert survivor.read(name) == data
        master.kill()
        for block in (3, 40):
            flip(master.segment(), data[block * BLOCK : (block + 1) * BLOCK])
        master.start()
        for block in range(BLOCKS):
            assert survivor.read(name, block * BLOCK, BLOCK) == data[block * BLOCK : (block + 1) * BLOCK], (
                block
            )
        with cashy.connect(master.socket) as newcomer:
            assert newcomer.read(name) == data
        counters = survivor.status().counters
        assert counters["slots_corrupt"] == counters["blocks_filled"] == 2, "and nothing else was read again"
        wait_until(lambda: not survivor.status().counters["slots_unverified"], what="all is verified")
        before = survivor.status().counters["hits_memory"]
        for block in range(BLOCKS):
            survivor.read(name, block * BLOCK, BLOCK)
        wait_until(
            lambda: survivor.status().counters["hits_memory"] - before >= BLOCKS, what="all are hits again"
        )


def test_readers_meet_no_error_while_their_master_is_killed_again_and_again(
    master: LoneMaster, files: Path
) -> None:
    data = (files / "bucket" / "x").read_bytes()
    name = f"file://{files}/bucket/x"
    wrong: list[str] = []
    reads = 0
    over = threading.Event()

    def read_on() -> None:
        nonlocal reads
        with cashy.connect(master.socket) as cache:
            while not over.is_set():
                try:
                    block = reads % BLOCKS
                    if cache.read(name, block * BLOCK, BLOCK) != data[block * BLOCK : (block + 1) * BLOCK]:
                        wrong.append(f"wrong bytes in block {block}")
                    if reads % 7 == 0:
                        cache.stat(name, revalidate=True)  # needs the master
                    reads += 1
                except cashy.CashyError as error:
                    wrong.append(f"{type(error).__name__}: {error}")

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        for number in range(3):
            seen = reads
            wait_until(lambda seen=seen: reads > seen + 50, what="reads")  # type: ignore[misc]
            if number == 2:
                master.stop()
            else:
                master.kill()
            time.sleep(0.05)  # down for a moment, as under a supervisor
            master.start()
    finally:
        over.set()
        reader.join(60)
    assert not wrong, wrong[:5]
