"""Named limits of cashy's daemons and client library, each with its reason. What an operator may change is in ``settings.py`` instead."""

from __future__ import annotations

__all__ = [
    "ACCEPT_PAUSE_S",
    "ARENA_WAIT_S",
    "CALLER_CHARACTERS_MAX",
    "CERTIFICATE_CHECK_S",
    "CHANGES_REMEMBERED_MAX",
    "CHANGE_END_S",
    "CHANGE_MARK_S",
    "CHANGE_NAMES_MAX",
    "CHANGE_RETRY_S",
    "CHANGE_ROUND_LEASES",
    "CLIENT_OUTGOING_BYTES_MAX",
    "DEMOTIONS_CLASS_SHARE",
    "DEMOTIONS_PER_DISK",
    "DEMOTIONS_PER_TURN",
    "DESCRIPTORS_WANTED",
    "FETCH_BLOCKS_MAX",
    "FETCH_WINDOW_BLOCKS_MAX",
    "FILLS_WAITING_BYTES_MAX",
    "FILLS_WAITING_MAX",
    "FILL_SILENCE_S_MAX",
    "HARVEST_MARKS_MAX",
    "HELLO_TIMEOUT_S",
    "HOLDER_READS_MAX",
    "HOLDER_SILENCE_S",
    "HOSTS_LOOK_S",
    "LEASE_ANSWER_S",
    "LEASE_NAMES_BYTES",
    "LEASE_RENEWALS",
    "LEASE_RETRY_S",
    "LIST_ENTRIES_MAX",
    "LOCATE_BLOCKS_MAX",
    "LOCATE_BLOCKS_PER_QUESTION",
    "LOOK_AGAIN_S_MAX",
    "LOOP_LATE_S",
    "MAINTENANCE_INTERVAL_S",
    "MAPPED_BLOCKS_MAX",
    "MAPPED_FETCHES_MAX",
    "MAPPED_SHARE",
    "MAPPED_TRIES",
    "MAPPED_WAIT_S",
    "OVERFULL_RETRY_S",
    "PEER_CHANGED_BYTES",
    "PEER_CHANGED_NAMES",
    "PEER_CHANGED_TIMEOUT_S",
    "PEER_FILLS_MAX",
    "PEER_HEAD_TIMEOUT_S",
    "PEER_LEAVING_S",
    "PEER_READS_END_S",
    "PEER_READ_ROUNDS",
    "PEER_STATUS_TIMEOUT_S",
    "PEER_TASKS_MAX",
    "PLACES_REMEMBERED_MAX",
    "PREFETCH_CONCURRENCY",
    "PREFETCH_NAMES_MAX",
    "PROGRESS_STEP_BYTES",
    "PROTOCOL_VERSION",
    "READ_AHEAD_STREAMS_MAX",
    "SCRUB_BATCH_BYTES",
    "SCRUB_BATCH_SLOTS",
    "SCRUB_BYTES_PER_S",
    "SCRUB_PAUSE_S",
    "SCRUB_SHARE",
    "SLOTS_MAX_DEFAULT",
    "SLOT_SHARE_BYTES",
    "STALL_CHECK_S",
    "SWITCH_INTERVAL_S",
    "USER_ROOM_LOOK_S",
    "USER_ROOM_LOOK_SHARE",
    "USER_ROOM_SHARE",
    "USER_ROOM_SMALL",
    "USER_ROOM_SPARE_BLOCKS",
    "USER_ROOM_SPARE_SHARE",
]

#: How often the age of this host's certificate is looked at; it is told of by days.
CERTIFICATE_CHECK_S = 3600.0

#: How long no connection is accepted after the process ran out of descriptors.
ACCEPT_PAUSE_S = 0.1

#: Version of the client socket's protocol; client and master must agree.
PROTOCOL_VERSION = 1

#: Descriptors a daemon asks for (soft limit, as far as the hard one allows): thousands of clients, five to seven each.
DESCRIPTORS_WANTED = 65_536

#: Blocks written to one SSD at a time that memory is about to let go: one is being written, one waits, so that the disk never does. What is written
#: cannot go, and more of it than this costs more hits in memory than it brings on the SSD (docs/ssd-tier.md).
DEMOTIONS_PER_DISK = 2

#: And of one size class at most this part, so that a small one is never all held.
DEMOTIONS_CLASS_SHARE = 4

#: Blocks offered to the SSDs in one turn of the loop, wanted or not: a millisecond.
DEMOTIONS_PER_TURN = 64

#: A connection that has not said Hello by then is closed: it is no client.
HELLO_TIMEOUT_S = 5.0

#: Answers waiting for a client that does not read; over it the client is dropped, the master never waits for one.
CLIENT_OUTGOING_BYTES_MAX = 4 << 20

#: Blocks in one Fetch; a view of 256 GiB at the default block size. The client's pin quota is the tighter bound.
FETCH_BLOCKS_MAX = 65_536

#: Blocks of one range under way at a time, however many hosts there are: a quarter of what may be under way from peers altogether.
FETCH_WINDOW_BLOCKS_MAX = 64

#: Block reads waiting for a place among those under way, and their bytes (as many of the default size); over it SlowDown for whoever has the
#: most there.
FILLS_WAITING_MAX = 16_384
FILLS_WAITING_BYTES_MAX = 64 << 30

#: Of a user's name, which is kept with each read that waits: an access key has 20 by default, and 128 at most.
CALLER_CHARACTERS_MAX = 160

#: How long another host may take to note a change before it is told again.
PEER_CHANGED_TIMEOUT_S = 2.0

#: How often that is tried with a host that is down.
CHANGE_RETRY_S = 0.1

#: How many leases' lengths the hosts have to note a change: a silent host's lease ends in one, and a host that has just started counts after one.
CHANGE_ROUND_LEASES = 3

#: How long the end of a change is told again while too few hosts note it; then its writer gets an error, though the object may be changed.
CHANGE_END_S = 60.0

#: How long an object counts as being changed if the host that changes it says no more: longer than a store may take to answer.
CHANGE_MARK_S = 900.0

#: A lease is asked for anew so many times in its length: two answers may be lost.
LEASE_RENEWALS = 3

#: How long another host may take to grant one: less than the time between two questions.
LEASE_ANSWER_S = 0.9

#: How soon a host that did not grant one is asked again.
LEASE_RETRY_S = 0.2

#: Names told of with one lease: half of what its frame may hold.
LEASE_NAMES_BYTES = 32 << 10

#: Names told of in one message to another host: well below what its frame may hold, and a millisecond of its loop.
PEER_CHANGED_BYTES = 32 << 10
PEER_CHANGED_NAMES = 64

#: Objects in one change: what one DeleteObjects may name.
CHANGE_NAMES_MAX = 1000

#: Names whose last change is remembered, so that an answer asked for before it is not taken for current; beyond that all older answers are doubted.
CHANGES_REMEMBERED_MAX = 65_536

#: Block reads under way from all peers together: at 10 ms and 4 MiB enough for 100 GB/s, and few enough to be walked through.
PEER_FILLS_MAX = 256

#: Block reads under way from the memory of hosts that were home before a change of hosts, or are home to a hot block.
HOLDER_READS_MAX = 64

#: How long such a host may give no sign: it has the block in memory or says at once that it has not, and the origin is the alternative.
HOLDER_SILENCE_S = 2.0

#: How often the file of hosts is looked at, and hosts that have left are let go.
HOSTS_LOOK_S = 1.0

#: A block of another host's may take as long as so many blocks may take at the slowest origin, one after the other: others wait there in front of
#: it. A host whose signs of life lead to nothing is left then.
PEER_READ_ROUNDS = 10

#: How long an object's home may take to say what it knows; then the next host or the origin is asked.
PEER_HEAD_TIMEOUT_S = 5.0

#: How long another host may take to tell its counters; somebody at a terminal waits.
PEER_STATUS_TIMEOUT_S = 1.5

#: Objects of unknown version that are being looked up for other hosts at a time.
PEER_TASKS_MAX = 4096

#: A block read without a byte for this long is given up whatever its origin says; beyond any sensible limit of an origin's own.
FILL_SILENCE_S_MAX = 120.0

#: Part of the arena that one user's reads and views may keep, so that there is room for the others' however many clients he has.
USER_ROOM_SHARE = 7 / 8

#: A user who keeps more than this part of what he may leaves so many whole blocks of memory empty, but no more than one part in so many of it: what
#: he finds in memory he can pin without asking.
USER_ROOM_SMALL = 1 / 8
USER_ROOM_SPARE_BLOCKS = 16
USER_ROOM_SPARE_SHARE = 16

#: What a user's clients have pinned is counted so often at most, and with this part of the loop's time: a client may have thousands of pins.
USER_ROOM_LOOK_S = 0.02
USER_ROOM_LOOK_SHARE = 0.05

#: How long a fetch gets no further for want of room, everything being pinned or its user keeping too much already, before it fails with ArenaFull.
ARENA_WAIT_S = 5.0

#: How often room is looked for meanwhile: each try costs a fence and a scan of the pin tables.
OVERFULL_RETRY_S = 0.05

#: Blocks in one Fetch of files on the SSD: so many descriptors may be on their way to a client for it.
MAPPED_BLOCKS_MAX = 64

#: Such fetches of one client at a time.
MAPPED_FETCHES_MAX = 4

#: How long a block that is to be mapped waits for an SSD that is being read in, as after a restart: a million blocks take a second or two.
MAPPED_WAIT_S = 10.0

#: How often a block is looked for on the SSD for a mapping, and brought there if it is not: it may be evicted in between.
MAPPED_TRIES = 3

#: One client may have mapped one part in so many of what the SSDs hold: what is evicted under a view takes room until the view is gone.
MAPPED_SHARE = 2

#: Streaming readers are told of a filling block's progress in steps of this size: small enough to start early, large enough to be few messages.
PROGRESS_STEP_BYTES = 256 << 10

#: Entries of one page of a listing: each with a key of 1,024 bytes and a version of 256, they fit a frame.
LIST_ENTRIES_MAX = 500

#: Blocks reported by one Locate; more do not fit a frame.
LOCATE_BLOCKS_MAX = 262_144

#: Of these, so many are asked of another host at a time: a byte for each fits its answer's frame, beside the object's headers.
LOCATE_BLOCKS_PER_QUESTION = 32_768

#: A late read that may not be asked of a second source is looked at again after so long at most: its host may be silent by then.
LOOK_AGAIN_S_MAX = 0.25

#: By so much a timer may come late before what it was to find late is given its time anew: the loop stood still, and has not listened.
LOOP_LATE_S = 0.005

#: Names queued for loading ahead by request of clients; further ones are not accepted (the answer says how many were).
PREFETCH_NAMES_MAX = 65_536

#: Objects loaded ahead at a time.
PREFETCH_CONCURRENCY = 4

#: Readers of one connection whose order of reading is followed; the longest unused one is forgotten.
READ_AHEAD_STREAMS_MAX = 256

#: Names whose origin is remembered where several origins could have them.
PLACES_REMEMBERED_MAX = 65_536

#: Touch marks of one client that are taken in at a time: each costs microseconds, and the loop is not to stand still for them.
HARVEST_MARKS_MAX = 256

#: How often the master retires tables of dead clients, harvests touch marks and frees retired slots.
MAINTENANCE_INTERVAL_S = 0.5

#: One slot header (with its index entries, 152 bytes) per this many bytes of arena: room for many small objects at under 4 % overhead.
SLOT_SHARE_BYTES = 4096

#: How often the master looks how late its loop is.
STALL_CHECK_S = 0.01

#: How long a thread of the master may keep the interpreter while its loop wants it.
SWITCH_INTERVAL_S = 0.0005

#: The most slots taken by default; an arena this large holds blocks, not crumbs.
SLOTS_MAX_DEFAULT = 1 << 22

#: Memory whose checksums are compared in one go of the thread that does it: a millisecond's work, and as few slots as cost the loop a millisecond.
SCRUB_BATCH_BYTES = 16 << 20
SCRUB_BATCH_SLOTS = 256

#: Part of a core that this may take after a restart, when nothing is a hit before it was looked at.
SCRUB_SHARE = 0.5

#: And how fast it goes round later: a terabyte a day and a half, for a few thousandths of a core.
SCRUB_BYTES_PER_S = 8 << 20

#: Pause between two rounds over memory that holds nothing.
SCRUB_PAUSE_S = 60.0

#: How long the other hosts may take to note that this one stops, and how long what they read of it may take to end.
PEER_LEAVING_S = 1.0
PEER_READS_END_S = 3.0
