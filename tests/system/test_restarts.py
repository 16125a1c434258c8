"""Daemons are restarted one by one under load, in an orderly way and by SIGKILL: no reader notices."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import DevHost, wait_until
from .load_over import Readers

pytestmark = pytest.mark.system

WORKERS = 2
OBJECTS = {f"bucket/{number}": os.urandom(40_000 + 90_000 * number) for number in range(6)}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[DevHost]:
    files = tmp_path / "files"
    for key, data in OBJECTS.items():
        (files / key).parent.mkdir(parents=True, exist_ok=True)
        (files / key).write_bytes(data)
    config = "[s3]\nanonymous = true\n[freshness]\nrevalidate_after_s = 0.5\n"
    with DevHost(
        tmp_path, f"file={files}", memory="32MiB", block="128KiB", workers=WORKERS, config=config
    ) as made:
        yield made


def processes(host: DevHost, command: str) -> list[int]:
    """Children of ``cashy dev`` that run this command."""
    parent = host.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return sorted(
        int(pid)
        for pid in children
        if command in Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    )


def replace(host: DevHost, command: str, pid: int, number: int) -> None:
    """Sends a signal to one process, and waits until its successor serves."""
    said = host.log().count("child is ready")
    os.kill(pid, number)
    wait_until(lambda: host.log().count("child is ready") > said, 30, f"the successor of {command} {pid}")
    assert pid not in processes(host, command)


def readers_of(host: DevHost) -> Readers:
    readers = Readers(OBJECTS)
    readers.client(host)
    readers.signed(host)
    for _ in range(2):
        readers.kept(host.url)
        readers.fresh(host.url)
    return readers


def test_s3_workers_are_restarted_one_after_the_other(host: DevHost) -> None:
    readers = readers_of(host)
    with readers.reading():
        workers = processes(host, "s3")
        assert len(workers) == WORKERS
        for pid in workers:
            replace(host, "s3", pid, signal.SIGTERM)
            readers.wait_for_more()
    assert host.log().count("stopped") >= WORKERS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["orderly", "killed"])
def test_the_master_is_restarted(host: DevHost, number: signal.Signals) -> None:
    readers = readers_of(host)
    with readers.reading():
        (master,) = processes(host, "master")
        replace(host, "master", master, number)
        readers.wait_for_more()
