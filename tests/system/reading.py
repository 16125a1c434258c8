"""Objects whose every block differs, and readers of many hosts that go on in the background and say what went wrong."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import crc32c

import cashy

from .harness import DevCluster, RunningHost, wait_until

__all__ = [
    "MIB",
    "Readers",
    "digest",
    "digest_of",
    "read_everywhere",
    "total",
    "wait_until_joined",
    "write_objects",
]

MIB = 1 << 20


def write_objects(folder: Path, count: int, size: int) -> dict[str, str]:
    """Objects of a directory origin, by name, with the digest of their bytes; no two blocks are alike."""
    bucket = folder / "bucket"
    bucket.mkdir(exist_ok=True)
    made = {}
    piece = os.urandom(MIB)
    for number in range(count):
        crc = 0
        with (bucket / f"object-{number}").open("wb") as file:
            for at in range(0, size, MIB):
                head = b"%d %d " % (number, at)
                block = (head + piece[: MIB - len(head)])[: size - at]
                file.write(block)
                crc = crc32c.crc32c(block, crc)
        made[f"file://{bucket}/object-{number}"] = f"{crc:08x}"
    return made


def digest(data: Any) -> str:
    """What stands for an object's bytes, in one quick pass: hashing took longer than reading."""
    return f"{crc32c.crc32c(data):08x}"


def digest_of(cache: cashy.Cache, name: str) -> str:
    """Reads an object to its end, block by block."""
    crc = 0
    with cache.open(name) as item:
        for block in item.blocks():
            crc = crc32c.crc32c(block, crc)
    return f"{crc:08x}"


def _is_joined(cluster: DevCluster) -> bool:
    try:
        for host in cluster.hosts:
            with host.connect() as cache:
                if any(other.error for other in cache.cluster().hosts):
                    return False
    except (cashy.CashyError, OSError):
        return False
    return True


def wait_until_joined(cluster: DevCluster) -> None:
    """Until every host hears every other."""
    wait_until(lambda: _is_joined(cluster), 30, "all hosts know each other")


def total(cluster: DevCluster, counter: str) -> int:
    """A counter over all hosts."""
    return cluster.counters().get(counter, 0)


class Readers:
    """One reader for each of some hosts: all read all objects, each in an order of its own, ``rounds`` times (None: until they are to stop)."""

    def __init__(
        self, hosts: Sequence[RunningHost], objects: dict[str, str], rounds: int | None = None
    ) -> None:
        self.problems: list[str] = []
        #: Objects read so far, by reader.
        self.read = [0] * len(hosts)
        self._objects = objects
        self._rounds = rounds
        self._is_stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number, host)) for number, host in enumerate(hosts)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int, host: RunningHost) -> None:
        turn = 0
        try:
            with host.connect(timeout_s=60) as cache:
                while turn != self._rounds and not self._is_stopping.is_set():
                    self._read_all(cache, number, turn)
                    turn += 1
        except Exception as error:
            self.problems.append(f"reader {number}: {error!r}")

    def _read_all(self, cache: cashy.Cache, number: int, turn: int) -> None:
        def place(name: str) -> bytes:
            return hashlib.sha1(f"{name}{number}{turn}".encode()).digest()

        for name in sorted(self._objects, key=place):
            if self._is_stopping.is_set():
                return
            if digest_of(cache, name) != self._objects[name]:
                self.problems.append(f"reader {number}: wrong bytes of {name}")
            self.read[number] += 1

    @property
    def are_reading(self) -> bool:
        """Whether none has ended."""
        return all(thread.is_alive() for thread in self._threads)

    def go_on(self, objects_each: int = 1) -> bool:
        """Waits until each has read so many objects more, which must be right; False if it has ended before."""
        due = [count + objects_each for count in self.read]
        wait_until(
            lambda: not self.are_reading or all(count >= least for count, least in zip(self.read, due, strict=True)),
            60,
            "further reads",
        )  # fmt: skip
        return self.are_reading and not self.problems

    def finish(self) -> list[str]:
        """Waits for the end; what went wrong."""
        for thread in self._threads:
            thread.join(240)
            assert not thread.is_alive(), "a read hangs"
        return self.problems

    def stop(self) -> list[str]:
        """Lets each finish the object it reads; what went wrong."""
        self._is_stopping.set()
        return self.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def read_everywhere(hosts: Sequence[RunningHost], objects: dict[str, str]) -> list[str]:
    """All hosts read all objects once, at the same time, each beginning with another; what went wrong."""
    return Readers(hosts, objects, rounds=1).finish()
