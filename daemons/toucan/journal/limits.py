"""Named limits of the journal, each with its reason. What an operator may change is a parameter; these are its defaults and bounds."""

from __future__ import annotations

__all__ = [
    "COMMIT_BYTES_MAX",
    "EMERGENCY_SEGMENTS",
    "EVENTS_PER_RECORD_MAX",
    "FOLLOW_BYTES_MAX",
    "LOSSES_MAX",
    "PREPARE_STEP_BYTES",
    "PROJECTION_READ_BYTES",
    "PROJECTION_ROWS_PER_TRANSACTION",
    "QUERY_ROWS_MAX",
    "READ_WINDOW_BYTES",
    "READ_WINDOW_BYTES_MIN",
    "RECORD_PAYLOAD_BYTES_MAX",
    "RESERVE_BYTES_DEFAULT",
    "SEGMENT_BYTES_DEFAULT",
    "SEGMENT_BYTES_MAX",
    "SEGMENT_BYTES_MIN",
    "SEQ_MAX",
    "SNAPSHOTS_KEPT",
    "SNAPSHOT_BYTES_MAX",
]

#: Sequence numbers stay below what SQLite and signed 64-bit languages can hold; at a million events a second it is reached in 292,000 years.
SEQ_MAX = (1 << 63) - 1

#: One file of the log: small enough to be read whole when the engine starts (a second), large enough that a new one is rare.
SEGMENT_BYTES_DEFAULT = 64 << 20

#: Below that a segment is mostly its own beginning.
SEGMENT_BYTES_MIN = 4 << 10

#: A segment is verified in one go at every start; 1 GiB takes about ten seconds.
SEGMENT_BYTES_MAX = 1 << 30

#: Payload of one record: the engine's largest batch of events many times over. What a damaged length can make a reader keep in memory.
RECORD_PAYLOAD_BYTES_MAX = 4 << 20

#: Bytes of one commit, headers included. No crash leaves more than that unfinished, so more than that is damage.
COMMIT_BYTES_MAX = 16 << 20

#: Space that is kept back for cancels: at 300 bytes each they are 14,000.
RESERVE_BYTES_DEFAULT = 4 << 20

#: The reserve is used up in so many segments of equal size.
EMERGENCY_SEGMENTS = 4

#: One step of preparing the next segment: written and synced in about a millisecond.
PREPARE_STEP_BYTES = 256 << 10

#: What the count of a record can hold.
EVENTS_PER_RECORD_MAX = (1 << 32) - 1

#: What is read from a segment at a time.
READ_WINDOW_BYTES = 1 << 20

#: What a follower reads first: it is mostly one commit behind.
READ_WINDOW_BYTES_MIN = 16 << 10

#: What one call of a follower returns at most, so that one that is far behind does not fill its memory (one record more, if that is larger).
FOLLOW_BYTES_MAX = 8 << 20

#: Acknowledged losses in one journal. Each was acknowledged by a person; one that has so many is on a broken disk.
LOSSES_MAX = 10_000

#: Snapshots kept: the newest, and the one before in case it is damaged.
SNAPSHOTS_KEPT = 2

#: A snapshot is held in memory to be written and read.
SNAPSHOT_BYTES_MAX = 1 << 30

#: Rows of one SQLite transaction: its cost is spread over them, and a reader does not wait long.
PROJECTION_ROWS_PER_TRANSACTION = 10_000

#: Payload that is decoded to rows at a time; a transaction has at most the rows of so much more than its number.
PROJECTION_READ_BYTES = 256 << 10

#: Rows of one answer to a query, and what is returned where no limit was asked for.
QUERY_ROWS_MAX = 100_000
