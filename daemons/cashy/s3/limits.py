"""Named limits of the S3 worker, each with its reason. What an operator may change is in ``cashy.settings`` instead."""

from __future__ import annotations

__all__ = [
    "ANSWER_QUEUE_BYTES_MAX",
    "BLOCK_BYTES_GUESS",
    "BODY_BUFFER_BYTES",
    "BODY_PROGRESS_BYTES",
    "BODY_QUEUE_BYTES_MAX",
    "COPY_BYTES_MAX",
    "CREDENTIALS_FILE_BYTES_MAX",
    "DIRECTORY_LOOK_S",
    "FETCH_RETRY_S",
    "LINGER_BYTES_MAX",
    "LINGER_S",
    "LISTEN_BACKLOG",
    "OUTGOING_BYTES_MAX",
    "PARSE_STEP_BYTES",
    "READ_AHEAD_BLOCKS_MAX",
    "READ_AHEAD_BLOCKS_MIN",
    "READ_AHEAD_BYTES",
    "READ_AHEAD_SHARES",
    "RECEIVE_BUFFER_BYTES",
    "REFUSED_MAX",
    "RENDERED_HEADS_MAX",
    "STOP_GRACE_S",
    "STORE_HEAD_BYTES_MAX",
    "STORE_HEAD_S",
    "STORE_IDLE_S",
    "STORE_INTERIMS_MAX",
    "STORE_JOIN_BYTES_MAX",
    "STORE_PLACE_S",
    "STORE_PROGRESS_S",
    "STORE_REUSE_S",
    "STORE_WRITE_BYTES_MAX",
    "SWEEP_INTERVAL_S",
    "VERSION_RESTARTS_MAX",
]

#: Bodies up to this size are copied beside their head, and their pin is dropped at once. Above it they are sent from shared memory. Copying is
#: cheaper by 8 % at 16 KiB and 4 % at 32 KiB, equal at 64 KiB, dearer by 12 % at 128 KiB [measured]; copies are also memory that
#: every stalled reader holds.
COPY_BYTES_MAX = 32 << 10

#: One buffer of the worker that all its connections receive into: requests are heads, and what is not parsed at once is kept per
#: connection, so this bounds it.
RECEIVE_BUFFER_BYTES = 16 << 10

#: Parsed at a time; what a client pipelines beyond it stays bytes until the requests before are answered.
PARSE_STEP_BYTES = 4 << 10

#: Answers of pipelined requests that may wait unsent; over it the next request waits until they have left.
OUTGOING_BYTES_MAX = 256 << 10

#: Bytes of one answer asked for ahead of the block being sent: at 1 Gbit/s and 5 ms a sixth of this is on the line; the rest covers jitter.
READ_AHEAD_BYTES = 16 << 20

#: One answer asks for no more ahead than this part of what the worker may pin: in a small arena, readers would evict each other's blocks.
READ_AHEAD_SHARES = 8

#: The same in blocks: one ahead is the least that overlaps receiving with sending, and each is a message to the master.
READ_AHEAD_BLOCKS_MIN, READ_AHEAD_BLOCKS_MAX = 1, 64

#: Connections over the limit that are still answered (SlowDown) before they are closed; further ones are cut off without a word.
REFUSED_MAX = 256

#: Size of blocks until an object's metadata says it: the daemon's default. A wrong guess costs one needless block.
BLOCK_BYTES_GUESS = 4 << 20

#: Pause before a block is asked for again when the arena or the pin quota is full in the middle of a body.
FETCH_RETRY_S = 0.1

#: How often a read begins anew because the object changed before its first byte was sent.
VERSION_RESTARTS_MAX = 3

#: Heads of objects kept rendered; each is under 1 KiB for most objects.
RENDERED_HEADS_MAX = 8192

#: After an error that ends a connection, its client may still be sending: closing at once would reset the connection and destroy the
#: answer. So this much more is read and thrown away, for so long.
LINGER_BYTES_MAX = 2 << 20
LINGER_S = 2.0

#: How often deadlines are looked at. One pass over all connections costs less than a timer per request.
SWEEP_INTERVAL_S = 0.25

#: Connections that the kernel may hold until they are accepted; the kernel itself caps it at net.core.somaxconn.
LISTEN_BACKLOG = 4096

#: How long an orderly stop waits for answers under way; a supervisor kills after 10 s.
STOP_GRACE_S = 8.0

#: A key takes about 150 bytes: 30,000 keys. A larger file is not one of credentials.
CREDENTIALS_FILE_BYTES_MAX = 4 << 20

#: One buffer of the worker that bodies are received into, while their connection's request takes them: larger reads cost less per byte.
BODY_BUFFER_BYTES = 256 << 10

#: Of one body, received and not yet taken by the proxy; over it its connection is not read. One buffer more may come on top.
BODY_QUEUE_BYTES_MAX = 256 << 10

#: So much of a body must come within each time limit without progress (less only at its end): one byte now and then would hold a
#: place at the store for days.
BODY_PROGRESS_BYTES = 4 << 10

#: The same two queues towards the store: what its socket has not taken, and what of its answer was not sent on.
STORE_WRITE_BYTES_MAX = 256 << 10
ANSWER_QUEUE_BYTES_MAX = 256 << 10

#: Head of a store's answer: S3 allows 8 KiB of headers; the parser itself has no limit.
STORE_HEAD_BYTES_MAX = 64 << 10

#: Interim (1xx) answers of a store before the real one; nothing we send asks for any.
STORE_INTERIMS_MAX = 4

#: From the end of a request to the head of its answer. Completing a large upload takes S3 minutes, but it sends its head at once;
#: SDKs themselves give up after 60 s.
STORE_HEAD_S = 60.0

#: Between two arrivals of an answer's bytes, and between two times that a store takes bytes of a body.
STORE_PROGRESS_S = 60.0

#: A place at the store that does not become free for so long is answered SlowDown: a client waits no longer for its own.
STORE_PLACE_S = 10.0

#: Kept-alive connections to a store are closed after this, before most stores do.
STORE_IDLE_S = 15.0

#: Requests that cannot be sent again take no connection that was idle for longer: the store may be closing it just now.
STORE_REUSE_S = 3.0

#: Whether a directory has a folder is looked up in a thread; one that takes longer hangs in a dead mount.
DIRECTORY_LOOK_S = 5.0

#: Pieces of a request to a store are joined up to this size: a small body leaves with its head in one write, and so does framing with data.
STORE_JOIN_BYTES_MAX = 16 << 10
