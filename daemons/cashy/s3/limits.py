"""Named limits of the S3 worker, each with its reason. What an operator may change is in ``cashy.settings`` instead."""

from __future__ import annotations

__all__ = [
    "ANSWER_QUEUE_BYTES_MAX",
    "ANONYMOUS",
    "BLOCK_BYTES_GUESS",
    "BODY_BUFFER_BYTES",
    "BODY_PROGRESS_BYTES",
    "BODY_QUEUE_BYTES_MAX",
    "CHANGE_TOLD_RETRY_S",
    "CHANGE_TOLD_S",
    "CHECKSUMS_ABSENT_S",
    "CHECKSUMS_REMEMBERED_MAX",
    "COPY_BYTES_MAX",
    "CREDENTIALS_FILE_BYTES_MAX",
    "DIRECTORY_LOOK_QUEUE_MAX",
    "DIRECTORY_LOOK_S",
    "DIRECTORY_LOOK_THREADS",
    "FETCH_RETRY_S",
    "LINGER_BYTES_MAX",
    "LINGER_S",
    "LISTEN_BACKLOG",
    "LISTING_QUEUE_MAX",
    "LISTING_S",
    "LISTING_THREADS",
    "MASTER_AWAY_S",
    "MASTER_LOSSES_MAX",
    "MASTER_START_LOOK_S",
    "MASTER_START_S",
    "OUTGOING_BYTES_MAX",
    "PARSE_STEP_BYTES",
    "READ_AHEAD_BLOCKS_MAX",
    "READ_AHEAD_BLOCKS_MIN",
    "READ_AHEAD_BYTES",
    "READ_AHEAD_SHARES",
    "RECEIVE_BUFFER_BYTES",
    "REFUSED_MAX",
    "REFUSAL_BYTES_MAX",
    "RENDERED_HEADS_MAX",
    "RIGHTS_REFUSED_S",
    "RIGHTS_REMEMBERED_MAX",
    "STOP_FIRST_REQUEST_S",
    "STOP_GRACE_S",
    "STOP_LAST_SHARE",
    "STOP_LOOK_S",
    "STORE_ANSWER_VALID_S",
    "STORE_HEAD_BYTES_MAX",
    "STORE_HEAD_S",
    "STORE_HOSTS_MAX",
    "STORE_IDLE_S",
    "STORE_INTERIMS_MAX",
    "STORE_JOIN_BYTES_MAX",
    "STORE_LIST_BYTES_MAX",
    "STORE_PLACE_S",
    "STORE_PROGRESS_S",
    "STORE_REUSE_S",
    "STORE_WRITE_BYTES_MAX",
    "SWEEP_INTERVAL_S",
    "TLS_PIECES_PER_TURN",
    "TLS_PIECE_BYTES",
    "TLS_RECEIVE_BYTES",
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

#: Who all unsigned callers are together, where callers take turns; no access key is called so.
ANONYMOUS = "(anonymous)"

#: Size of blocks until an object's metadata says it: the daemon's default. A wrong guess costs one needless block.
BLOCK_BYTES_GUESS = 4 << 20

#: Pause before a block is asked for again when the arena or the pin quota is full in the middle of a body.
FETCH_RETRY_S = 0.1

#: How often a read begins anew because the object changed, or the master was lost, before its first byte was sent.
VERSION_RESTARTS_MAX = 3

#: How often one block is asked for again because the master was lost, and for how long since the request began: a master that was there is being
#: restarted, and one that is not there for so long is not.
MASTER_LOSSES_MAX = 3
MASTER_AWAY_S = 45.0

#: How long a worker that starts waits for a master to connect to, and how often it looks: a master takes over its memory in a second or two.
MASTER_START_S = 10.0
MASTER_START_LOOK_S = 0.05

#: Heads of objects kept rendered; each is under 1 KiB for most objects.
RENDERED_HEADS_MAX = 8192

#: After an error that ends a connection, its client may still be sending: closing at once would reset the connection and destroy the
#: answer. So this much more is read and thrown away, for so long.
LINGER_BYTES_MAX = 2 << 20
LINGER_S = 2.0

#: Encrypted at a time, and not before the socket has taken all that was: what a reader that stalls costs. Four full records.
TLS_PIECE_BYTES = 64 << 10

#: So many pieces until other connections have their turn: 1 MiB takes about a millisecond.
TLS_PIECES_PER_TURN = 16

#: Received at a time, encrypted; OpenSSL's own buffer grows as large, once for each connection that uploads.
TLS_RECEIVE_BYTES = 64 << 10

#: How often deadlines are looked at. One pass over all connections costs less than a timer per request.
SWEEP_INTERVAL_S = 0.25

#: Connections that the kernel may hold until they are accepted; the kernel itself caps it at net.core.somaxconn.
LISTEN_BACKLOG = 4096

#: How long an orderly stop waits for answers under way; a supervisor kills after 10 s.
STOP_GRACE_S = 8.0

#: Part of it that is kept for connections that came while those before them were seen off.
STOP_LAST_SHARE = 0.25

#: A connection that an orderly stop finds without a request: if one comes within this time it is answered, and with it the client learns that it is
#: the last. Closed at once, a client that is just sending would lose it.
STOP_FIRST_REQUEST_S = 1.0

#: How often an orderly stop looks whether its connections are gone, and how long it takes in what the kernel still has for it.
STOP_LOOK_S = 0.01

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

#: Hosts of one store that a worker has connections to (virtual-host style and regions); over it, the least recently used idle one goes.
STORE_HOSTS_MAX = 64

#: So much of a refusal is read to see whether it tells another region; S3's are under 1 KiB.
REFUSAL_BYTES_MAX = 16 << 10

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

#: Threads for that: the calls are short where the file system lives, and all of them are stuck where it does not.
DIRECTORY_LOOK_THREADS = 4
DIRECTORY_LOOK_QUEUE_MAX = 1024

#: One page of a directory's listing; over it the page ends early, or is refused if it is empty. SDKs wait 60 s for the first byte.
LISTING_S = 20.0

#: Listings of one directory at a time, and waiting: they share the interpreter with everything else of the worker, so more threads help only
#: where the file system is slow. A page of 1,000 keys takes 10 ms, so the queue is under a second's work; over it is SlowDown.
LISTING_THREADS = 4
LISTING_QUEUE_MAX = 64

#: Whether a store has a bucket that a directory behind it has, too, is asked again after this: buckets come and go rarely.
STORE_ANSWER_VALID_S = 2.0

#: Of a store's list of buckets: 10,000 buckets, the most that S3 gives, with 300 bytes each are 3 MB.
STORE_LIST_BYTES_MAX = 4 << 20

#: Pieces of a request to a store are joined up to this size: a small body leaves with its head in one write, and so does framing with data.
STORE_JOIN_BYTES_MAX = 16 << 10

#: How long the end of a change is told to the master again, which may be restarting, or reach too few hosts; then its writer gets an error.
CHANGE_TOLD_S = 90.0

#: How often, beside the time that each attempt takes.
CHANGE_TOLD_RETRY_S = 0.2

#: Objects whose checksums a store told when a caller's right was asked for, and those that have none; about 400 bytes each.
CHECKSUMS_REMEMBERED_MAX = 16_384

#: How long it is remembered that an object has no checksums; what is remembered wrongly is missed for no longer.
CHECKSUMS_ABSENT_S = 60.0

#: Callers' rights to objects that are remembered, with about 300 bytes each; beyond that the store is asked again.
RIGHTS_REMEMBERED_MAX = 262_144

#: How long a store's refusal is remembered.
RIGHTS_REFUSED_S = 2.0
