"""Reads objects of the store through the daemon of its host for ever, checks each byte, and writes down what became of it, four times a second.

Runs on the hosts by the Python of the release. Each line of its report is of one stretch of time: when it ended (UTC, seconds), how many reads
began in it and came true, the slowest (seconds), the least generation seen, and what was wrong or failed, with when it began and ended.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import contents  # type: ignore[import-not-found]
import crc32c

import cashy

REPORT_S = 0.25
#: Reads a second: the machine has other things to do, too.
RATE = 60.0
#: A read may meet a host that stands still for ten seconds, or a daemon that is being started.
TIMEOUT_S = 45.0


class Report:
    """One stretch of time."""

    def __init__(self) -> None:
        self.reads = 0
        self.slowest_s = 0.0
        self.generation = -1
        self.wrong: list[str] = []
        self.failed: list[dict[str, Any]] = []

    def write(self, file: TextIO) -> None:
        file.write(json.dumps({"at": time.time(), **vars(self)}) + "\n")
        file.flush()


class Checks:
    """The checksums of what is right, kept: to make the bytes takes longer than to read them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], int] = {}

    def complaint(self, key: str, item: cashy.CachedObject, generation: int) -> str:
        """Reads all of it; what is wrong with it, nothing if it is right."""
        count = 0
        for index, data in enumerate(item.blocks()):
            count += len(data)
            if crc32c.crc32c(data) != self._due(key, generation, index):
                return f"block {index} of {key} is not that of generation {generation}"
        return "" if count == contents.OBJECT_BYTES else f"{key} ends after {count} bytes"

    def _due(self, key: str, generation: int, index: int) -> int:
        name = key, generation, index
        if name not in self._known:
            self._known[name] = crc32c.crc32c(contents.block(*name))
        return self._known[name]


def read(cache: cashy.Cache, checks: Checks, key: str, report: Report) -> None:
    """Reads one object once; one that is overwritten meanwhile is read again, as a job would."""
    began, began_s = time.time(), time.monotonic()
    try:
        for attempt in range(3):
            try:
                with cache.open(f"s3://{contents.BUCKET}/{key}") as item:
                    generation = contents.generation_of(item.version)
                    complaint = checks.complaint(key, item, generation)
                break
            except cashy.VersionChanged:
                if attempt == 2:
                    raise
    except (cashy.CashyError, OSError) as error:
        report.failed.append(
            {"began": began, "ended": time.time(), "error": type(error).__name__, "text": str(error)}
        )
        return
    if complaint:
        report.wrong.append(complaint)
        return
    report.reads += 1
    report.slowest_s = max(report.slowest_s, time.monotonic() - began_s)
    report.generation = generation if report.generation < 0 else min(report.generation, generation)


def main(socket: str, path: str) -> None:
    """Never ends."""
    checks, choose = Checks(), random.Random()
    with Path(path).open("a") as file, cashy.connect(socket, timeout_s=TIMEOUT_S) as cache:
        report, due_s = Report(), time.monotonic() + REPORT_S
        while True:
            read(cache, checks, choose.choice(contents.KEYS), report)
            if time.monotonic() >= due_s:
                report.write(file)
                report, due_s = Report(), time.monotonic() + REPORT_S
            time.sleep(1 / RATE)


if __name__ == "__main__":
    main(*sys.argv[1:])
