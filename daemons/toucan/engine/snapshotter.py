"""``python -m toucan.engine.snapshotter FOLDER SEQ``: makes a snapshot of the state after event SEQ, from the journal alone.

A process of its own: it takes the engine's loop not a microsecond, and if it fails there is one snapshot less.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from toucan.engine.recovery import recover
from toucan.journal.core.snapshot_frame import Snapshot
from toucan.journal.snapshots import SnapshotStore

__all__ = ["main", "make_snapshot"]

#: It must not take the engine's core.
_NICENESS = 10


def make_snapshot(folder: Path, seq: int) -> Path:
    """Makes and stores it; returns where."""
    state, follower = recover(folder, seq)
    with follower:
        chain, journal_id = follower.chain_before(), follower.journal_id
        assert chain is not None
        assert journal_id is not None
        return SnapshotStore(folder).store(
            Snapshot(journal_id, state.seq, chain, time.time_ns(), state.dump())
        )


def main() -> int:
    """Command line."""
    os.nice(_NICENESS)
    make_snapshot(Path(sys.argv[1]), int(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
