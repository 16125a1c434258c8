"""Kills a writing process at random: ``python -m tests.toucan.journal.kill_harness FOLDER ROUNDS SEED``, prints JSON.

A child opens the journal and commits batches, and notes each last event in shared memory *after* its commit has returned. The parent kills it with
SIGKILL at a random moment, which may lie in the opening, in a commit, in the change of segments or in a snapshot, opens the journal itself, and looks
whether all that was noted is there. The next child goes on. A process of its own, so that forks are cheap and a hang can be killed.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import sys
import traceback
from pathlib import Path

from tests.toucan.journal.support import AT_NS, check, open_journal, payload_of, rest_of, stage

from toucan.journal.core.snapshot_frame import Snapshot
from toucan.journal.reader import read
from toucan.journal.snapshots import SnapshotStore
from toucan.journal.verify import verify

__all__ = ["run"]

SEGMENT_BYTES = 1 << 20

#: A commit takes less than a millisecond; a child that does not get so far in this many looks is stuck.
LOOKS_MAX = 200_000_000


def payload(first_seq: int, count: int) -> bytes:
    """Mostly a small one; sometimes one whose writing takes long enough to be killed in."""
    small = payload_of(first_seq, count)
    return small * 4000 if first_seq % 41 == 0 else small


def write(folder: Path, witness_path: Path, acknowledged: memoryview[int], seed: int, parent: int) -> None:
    """A child's life."""
    choose = random.Random(seed)
    store = SnapshotStore(folder)
    with open_journal(folder, witness_path=witness_path, segment_bytes=SEGMENT_BYTES) as journal:
        while os.getppid() == parent:
            last_seq = stage(journal, payload)
            journal.commit(is_urgent=choose.random() < 0.1)
            acknowledged[0] = last_seq
            acknowledged[1] += 1
            for _ in range(choose.randrange(3)):
                journal.prepare()
            if choose.random() < 0.03:
                store.store(
                    Snapshot(journal.journal_id, journal.committed_seq, journal.chain, AT_NS, b"s" * 3000)
                )


def start(folder: Path, witness_path: Path, acknowledged: memoryview[int], seed: int) -> int:
    """Forks a child; returns its process id."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        write(folder, witness_path, acknowledged, seed, parent)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def kill(pid: int, acknowledged: memoryview[int], commits: int, looks: int) -> None:
    """Waits for so many commits, and a moment more; raises if the child ended by itself."""
    for _ in range(LOOKS_MAX):
        if acknowledged[1] >= commits:
            break
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            raise RuntimeError("the child ended by itself")
    for _ in range(looks):  # passes time without giving the processor away
        acknowledged[1]
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the child ended by itself")


def run(folder: Path, rounds: int, seed: int) -> dict[str, int]:
    """All rounds; raises what is wrong."""
    choose = random.Random(seed)
    journal_folder, witness_path = folder / "journal", folder / "witness"
    acknowledged = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
    counts = dict.fromkeys(("kills", "commits", "unacknowledged", "torn", "in_opening", "snapshots"), 0)
    last_seq = 0
    for _ in range(rounds):
        acknowledged[0], acknowledged[1] = last_seq, 0
        commits = choose.choice((0, 0, 1, 5, 30))
        pid = start(journal_folder, witness_path, acknowledged, choose.getrandbits(32))
        kill(pid, acknowledged, commits, choose.randrange(60_000))
        noted = acknowledged[0]
        counts["kills"] += 1
        counts["commits"] += acknowledged[1]
        counts["in_opening"] += acknowledged[1] == 0
        with open_journal(journal_folder, witness_path=witness_path, segment_bytes=SEGMENT_BYTES) as journal:
            found = journal.committed_seq
            assert found >= noted, f"event {noted} was acknowledged, the last one is {found}"
            counts["unacknowledged"] += found > noted
            counts["torn"] += any("never ended" in note for note in journal.notes)
            snapshot, follower = SnapshotStore(journal_folder).resume(journal_folder, found)
            with follower:
                begin = snapshot.seq + 1 if snapshot else 1
                counts["snapshots"] += snapshot is not None
                check(rest_of(follower, found), begin, found, payload)
        last_seq = found
    check(read(journal_folder, 1, last_seq), 1, last_seq, payload)
    report = verify(journal_folder, witness_path)
    assert not report.findings, report.findings
    return {**counts, "events": report.events, "last_seq": last_seq, "segments": len(report.segments)}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
