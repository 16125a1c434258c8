"""Named limits of what operators ask a master for, each with its reason; those of reads are in ``cashy.limits``."""

from __future__ import annotations

__all__ = [
    "EVICT_BLOCKS_MAX",
    "EVICT_NAMES_MAX",
    "OPERATE_BLOCKS_PER_TURN",
    "PEER_OPERATE_TIMEOUT_S",
    "PEER_TRACE_TIMEOUT_S",
    "PIN_ASK_S",
    "PIN_LOADS",
    "PIN_LOOK_S",
    "PIN_NAMES_MAX",
    "PIN_REPORT_BYTES",
    "PIN_RETRY_S",
    "TRACE_BLOCKS_DEFAULT",
    "TRACE_BLOCKS_MAX",
    "TRACE_REPORT_BYTES",
]

#: Blocks of one object that are looked for one by one, some ten seconds: 16 TiB at the default block size.
EVICT_BLOCKS_MAX = 1 << 22

#: Names in one Evict: with names of a kilobyte, as S3's may be, twice what a frame to another host holds; it is sent in parts.
EVICT_NAMES_MAX = 1000

#: Names in one Pin or Unpin: each is looked up at its origin before the answer.
PIN_NAMES_MAX = 100

#: Blocks looked for, or let go of, before the loop gets its turn again: under a millisecond.
OPERATE_BLOCKS_PER_TURN = 128

#: How long another host may take for an operator's request: it may look up a hundred objects at the origin, or let go of a million blocks.
PEER_OPERATE_TIMEOUT_S = 30.0

#: How long it may take to tell what it noted of a read that is over; somebody at a terminal waits.
PEER_TRACE_TIMEOUT_S = 2.0

#: How often what is pinned is looked at: whether its time is over, whether a reader has brought word of a new version.
PIN_LOOK_S = 1.0

#: How often the origin is asked for the version of what is pinned, if no reader did: a thousand pins are 17 questions a second.
PIN_ASK_S = 60.0

#: How soon what could not be loaded is tried again.
PIN_RETRY_S = 5.0

#: Blocks of pinned objects on their way at a time: readers come first.
PIN_LOADS = 4

#: Of what is told of pins in one answer: what is pinned on a host may be a thousand names of four kilobytes, a frame holds one megabyte.
PIN_REPORT_BYTES = 256 << 10

#: Of a traced read whose length is not said: what fits a screen, and not all of a large object.
TRACE_BLOCKS_DEFAULT = 16

#: Blocks of one traced read: more lines nobody looks at.
TRACE_BLOCKS_MAX = 256

#: A trace's whole answer; over it, what other hosts noted is left out, the longest first.
TRACE_REPORT_BYTES = 900 << 10
