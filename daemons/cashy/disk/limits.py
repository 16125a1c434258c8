"""Named limits of the SSD tier, each with its reason."""

from __future__ import annotations

__all__ = [
    "BLOCK_SHARE_MIN", "BUSY_S", "CLOSE_S_MAX", "EVICTIONS_PER_TURN", "FOLDERS", "FOREIGN_NAMES_PER_TURN", "JOURNAL_SLACK_RECORDS", "LATE_S",
    "NOTES_WAITING_MAX", "READS_WAITING_MAX", "READ_S_MAX", "READ_THREADS", "RECOVER_S_MAX", "WRITES_WAITING_BYTES_MAX", "WRITE_S_MAX",
]  # fmt: skip

#: A flash disk answers in a tenth of a millisecond, a block of 4 MiB takes ten; what takes longer than this hangs.
READ_S_MAX = 2.0

#: A write may wait behind the file system's own log.
WRITE_S_MAX = 15.0

#: A timer that comes later than this says that the process stood still, and nothing of the disk.
LATE_S = 0.5

#: To read the index: a million blocks take seconds.
RECOVER_S_MAX = 600.0

#: Reads at a time: a flash disk is fast only with several under way, and each costs a thread.
READ_THREADS = 4

#: Further ones are asked of the next tier, which is faster than a long queue.
READS_WAITING_MAX = 64

#: Blocks held in memory until they are written; over it a block is not written.
WRITES_WAITING_BYTES_MAX = 64 << 20

#: Folders of block files: a folder of a million names is slow on some file systems.
FOLDERS = 256

#: Places of the index, for blocks of this part of the block size on average; with smaller ones the places end before the room does.
BLOCK_SHARE_MIN = 4

#: Records that the journal may have beyond one for each four blocks, before it is written anew: they are read one by one.
JOURNAL_SLACK_RECORDS = 1 << 16

#: Names of a folder that are compared with the index before the loop gets its turn again.
FOREIGN_NAMES_PER_TURN = 512

#: How long threads are waited for at the end; what hangs is left behind.
CLOSE_S_MAX = 5.0

#: Until a folder is looked through again that was not, since the readers' queue was full.
BUSY_S = 1.0

#: Blocks that are given up before the loop gets its turn again: a disk whose size was halved gives up half a million.
EVICTIONS_PER_TURN = 128

#: Records that wait while nothing can be written (the disk is full); beyond them the whole index is written when it can be.
NOTES_WAITING_MAX = 1 << 14
