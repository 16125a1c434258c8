"""How long a key takes from the keyboard to the screen, while log lines stream into it.

``python -m tests.labshell.app.latency [--rate LINES_A_SECOND] [--keys N] [--json]``: the program runs on a pseudo-terminal, keys are pressed one
after another, and each is timed until the terminal has got it back. What is read meanwhile is everything the program writes, as a terminal must.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.labshell.app.person import Person
from tests.readable import readable

#: Between two keys: a fast typist's. At random, so that keys meet every phase of the output's rhythm.
_GAP_S = (0.02, 0.09)
#: After this a key is lost, and the measurement is no good.
_LOST_S = 10.0
#: Escape sequences, which no key's echo is part of.
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[78>=]")
#: Keys, none of which is in a log line.
_KEYS = "QWXZKVJY"


@dataclass(frozen=True)
class Latency:
    """Milliseconds from key to screen; ``rate`` is what was really printed, lines a second, ``shown`` how many of them reached the screen."""

    keys: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    rate: float
    shown: float


def measure(folder: Path, *, rate: int = 100_000, keys: int = 300, seed: int = 1) -> Latency:
    """Presses keys while ``rate`` lines a second come."""
    person = Person(folder, rows=24, columns=80)
    chance = random.Random(seed)
    try:
        person.ready()
        if rate:
            person.enter(f"flood {rate}")
            person.sees("served block")
            person.sees("printed")
        began_s, raw_before, times = time.monotonic(), len(person.raw), []
        for number in range(keys):
            read_for(person, chance.uniform(*_GAP_S))
            times.append(press(person, _KEYS[number % len(_KEYS)]))
            if number % 20 == 19:
                person.type("\x15")  # Ctrl-U: the line is short again
        took_s = time.monotonic() - began_s
        shown = person.raw[raw_before:].count(b"served block") / took_s
        printed = re.findall(rb"printed (\d+)", person.raw) if rate else []
    finally:
        person.close()
    times.sort()
    return Latency(
        keys=keys, p50_ms=times[len(times) // 2], p99_ms=times[min(len(times) - 1, int(len(times) * 0.99))], max_ms=times[-1],
        rate=int(printed[-1]) / took_s if printed else 0.0, shown=shown,
    )  # fmt: skip


def read_for(person: Person, wait_s: float) -> None:
    end_s = time.monotonic() + wait_s
    while (left_s := end_s - time.monotonic()) > 0:
        _read(person, left_s)


def _read(person: Person, wait_s: float) -> bytes:
    """As fast as a terminal does: what pyte would need for it is not part of the measurement."""
    if not readable(person.terminal, timeout_s=wait_s):
        return b""
    data = os.read(person.terminal, 65536)
    person.raw += data
    return data


def press(person: Person, key: str) -> float:
    began_s = time.perf_counter()
    person.type(key)
    while time.perf_counter() - began_s < _LOST_S:
        if key.encode() in _ESCAPES.sub(b"", _read(person, 1.0)):
            return (time.perf_counter() - began_s) * 1000
    raise AssertionError(f"the key {key!r} was not shown within {_LOST_S:g} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), rate=given.rate, keys=given.keys)
    print(json.dumps(asdict(found)) if given.json else found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
