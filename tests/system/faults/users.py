"""What a user does with a daemon of his host: ``users.py greedy|modest|knock SOCKET FILE SECONDS``; prints what came of it as JSON.

A greedy one goes on for longer, until there is a file ``FILE.over``.

Runs on the hosts by the Python of the release, as the user that is meant: the daemon goes by whose process it is. Each byte is compared with the
file.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path

import cashy

MIB = 1 << 20
BLOCK = 256 << 10
#: Of one process.
CLIENTS = 4
#: So many views of so many bytes each client keeps: all together are several times the memory.
VIEWS, VIEW_BYTES = 4, 2 * MIB


class Outcomes:
    """What became of the reads of a process."""

    def __init__(self) -> None:
        self.took_s: list[float] = []
        self.wrong = 0
        self.errors: Counter[str] = Counter()

    def read(self, cache: cashy.Cache, path: Path, at: int, size: int) -> memoryview | None:
        """Reads and compares; None: it failed."""
        began_s = time.monotonic()
        view = None
        try:
            view = cache.read(f"file://{path}", at, size)
            with path.open("rb") as file:
                self.wrong += bytes(view) != os.pread(file.fileno(), size, at)
        except cashy.CashyError as error:
            self.errors[f"{type(error).__name__}: {error}"] += 1
        self.took_s.append(time.monotonic() - began_s)
        return view

    def told(self) -> str:
        return json.dumps({"uid": os.getuid(), **vars(self)})


def greedy(outcomes: Outcomes, socket: str, path: Path, number: int) -> None:
    """One client that reads what nobody has read yet, and keeps what it has got."""
    kept: deque[memoryview] = deque(maxlen=VIEWS)
    size = path.stat().st_size
    at = (os.getpid() * CLIENTS + number) * 7 * VIEW_BYTES
    with cashy.connect(socket) as cache:
        while not Path(f"{path}.over").exists():
            view = outcomes.read(cache, path, at % size, VIEW_BYTES)
            if view is not None:  # one without room is told to let go of some, and does not
                kept.append(view)
            at += VIEW_BYTES
        kept.clear()


def modest(outcomes: Outcomes, socket: str, path: Path, end_s: float) -> None:
    """Reads a block now and then, each for the first time."""
    with cashy.connect(socket) as cache:
        for at in range(0, path.stat().st_size, BLOCK):
            if time.monotonic() >= end_s:
                return
            outcomes.read(cache, path, at, BLOCK)
            time.sleep(0.1)


def main(kind: str, socket: str, name: str, seconds: str) -> None:
    outcomes, path, end_s = Outcomes(), Path(name), time.monotonic() + float(seconds)
    if kind == "knock":
        try:
            cashy.connect(socket).close()
        except cashy.SlowDown as error:
            outcomes.errors[f"SlowDown: {error}"] += 1
    elif kind == "modest":
        modest(outcomes, socket, path, end_s)
    else:
        threads = [
            threading.Thread(target=greedy, args=(outcomes, socket, path, number))
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(outcomes.told())


if __name__ == "__main__":
    main(*sys.argv[1:])
