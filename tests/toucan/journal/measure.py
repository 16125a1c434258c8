"""Prints what the journal costs on a disk: ``python -m tests.toucan.journal.measure FOLDER``. Nothing is asserted; times are for people."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from toucan.journal.limits import SEGMENT_BYTES_DEFAULT
from toucan.journal.projection import Projection
from toucan.journal.projection_schema import AuditRow
from toucan.journal.reader import read
from toucan.journal.verify import verify
from toucan.journal.writer import Journal

__all__ = ["main"]


def commit_times_us(journal: Journal, commits: int, records: int, payload: bytes) -> list[float]:
    """How long each commit took; the time for appending included."""
    times = []
    for _ in range(commits):
        begin = time.perf_counter_ns()
        for _ in range(records):
            journal.append(journal.next_seq, 1, 0, payload)
        journal.commit()
        times.append((time.perf_counter_ns() - begin) / 1000)
        journal.prepare()
    return times


def show(name: str, times: list[float]) -> None:
    """One line: median and tail."""
    cuts = statistics.quantiles(times, n=100)
    print(f"{name:<48} p50 {cuts[49]:8.0f} us   p99 {cuts[98]:8.0f} us   max {max(times):8.0f} us")


def bare(folder: Path, payload: bytes) -> list[float]:
    """The same bytes by write and fdatasync into a file of zeros: what no journal can beat."""
    path = folder / "bare"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(fd, bytes(SEGMENT_BYTES_DEFAULT))
    os.fsync(fd)
    times, data = [], payload + bytes(64)
    for number in range(2000):
        begin = time.perf_counter_ns()
        os.pwrite(fd, data, number * len(data))
        os.fdatasync(fd)
        times.append((time.perf_counter_ns() - begin) / 1000)
    os.close(fd)
    path.unlink()
    return times


def main(parent: Path) -> None:
    """All of it, in a folder that is removed afterwards."""
    payload = os.urandom(300)
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        show("bare pwrite + fdatasync, 364 bytes", bare(folder, payload))
        with Journal.open(
            folder / "journal", new_journal_id=bytes(16), at_ns=0, witness_path=folder / "witness"
        ) as journal:
            show("commit of 1 record of 300 bytes", commit_times_us(journal, 2000, 1, payload))
            show("commit of 64 records of 300 bytes", commit_times_us(journal, 1000, 64, payload))
            show("commit of 256 records of 300 bytes", commit_times_us(journal, 1000, 256, payload))
            last_seq = journal.committed_seq
        for what, work in (
            ("verify", lambda: verify(folder / "journal")),
            ("read", lambda: sum(1 for _ in read(folder / "journal", 1, last_seq))),
            (
                "open again",
                lambda: Journal.open(folder / "journal", new_journal_id=bytes(16), at_ns=0).close(),
            ),
        ):
            begin = time.perf_counter()
            work()
            print(f"{what}: {time.perf_counter() - begin:.2f} s for {last_seq:,} records")
        projection = Projection(
            folder / "audit.sqlite", folder / "journal",
            lambda record: [AuditRow(record.first_seq, 0, "New", "ann", "s", "A1", "AAPL", f"o{record.first_seq}", "text")],
        )  # fmt: skip
        begin = time.perf_counter()
        projection.update(last_seq)
        print(f"projection: {time.perf_counter() - begin:.2f} s for {last_seq:,} rows")
        projection.close()
        begin = time.perf_counter()
        projection.seq  # noqa: B018
        print(f"opening the projection again: {time.perf_counter() - begin:.2f} s")
        projection.close()
        print(msgspec.json.encode({"events": last_seq}).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
