"""Named limits of the peer protocol's two ends, each with its reason. Those of frames are in ``cashy.core.peer_frames``."""

from __future__ import annotations

__all__ = [
    "ACCEPTS_PER_TURN", "BACKOFF_FIRST_S", "BACKOFF_MAX_S", "CANCEL_ANSWER_S_MAX", "CHECKSUMS_REMEMBERED_MAX", "CLIENT_SILENT_S_MAX",
    "CONNECTIONS_MAX", "CONNECTIONS_PER_HOST_MAX", "CONNECT_S_MAX", "CONTROL_QUEUE_BYTES_MAX", "DEAD_AFTER_S", "DEADLINE_GRACE_S",
    "FAILED_AFTER_S", "FAREWELL_BYTES_MAX", "FRAME_S_MAX", "GREETINGS_MAX", "GREETING_S_MAX", "HANDSHAKE_BYTES_MAX", "HANDSHAKE_S_MAX",
    "IDLE_PING_S", "LISTEN_BACKLOG", "LOOKAHEAD_ASKING_BYTES",
    "LOOKAHEAD_SERVING_BYTES", "NOT_SENT_BYTES", "OPERATE_SINCE", "PING_S", "RECEIVER_STALLED_S_MAX", "REQUESTS_MAX", "SENDING_S",
    "SIGNS_PER_SILENCE", "SILENT_AFTER_S", "STABLE_S", "SWEEP_S", "TURN_BYTES_MAX",
    "UNREACHABLE_ATTEMPTS", "WAITING_MAX",
]  # fmt: skip

#: Requests under way on one connection; a gigabyte of blocks at the default size. Over it SlowDown, here or from there.
REQUESTS_MAX = 256

#: Requests kept while the first connection to a host is being made; over it SlowDown.
WAITING_MAX = 256

#: To connect, and to greet: hosts of one cluster are milliseconds apart, and the origin is the alternative.
CONNECT_S_MAX = 1.0
GREETING_S_MAX = 2.0

#: A TLS handshake: two round trips and a few milliseconds of arithmetic on a busy loop.
HANDSHAKE_S_MAX = 2.0
#: What the other side may send for it. A chain of four certificates takes 8 KiB; OpenSSL alone would let it be 100 KiB and more.
HANDSHAKE_BYTES_MAX = 64 << 10
#: After a refused handshake so much is still read and thrown away, so that the reason arrives before the connection is reset.
FAREWELL_BYTES_MAX = 16 << 10

#: After a failure to connect: doubled each time, halved at random so that not all hosts come back to one at once.
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0

#: So many attempts must have failed in a row, for one to two seconds, before it is worth a line in the log: hosts are started one after the other.
UNREACHABLE_ATTEMPTS = 5

#: A connection lost sooner than this counts as a failure to connect, so that a host that breaks each one is not tried in a tight loop.
STABLE_S = 5.0

#: Silence after which PING is sent: while an answer is awaited, and otherwise (to notice a dead host before somebody needs it).
PING_S = 0.5
IDLE_PING_S = 5.0

#: No byte for this long after PING: the connection is closed. A healthy loop answers in milliseconds, a bad one stalls for tenths of seconds.
DEAD_AFTER_S = 2.0

#: No byte for this long after PING, and somebody else had better be asked: what is late is asked of another source too, metadata at once. Loops of
#: machines with far too much to do stand still for half a second.
SILENT_AFTER_S = 0.75

#: A read given up before without a sign of it is no failure of the host, whoever gave it up: its reader was in a hurry.
FAILED_AFTER_S = 1.0

#: A frame that has begun must be complete by then: all of it was there when it began, so its time is the network's alone. 1 MiB in this time is
#: 35 kB/s; what is slower is broken.
FRAME_S_MAX = 30.0

#: WAITING is said so often within the silence that the asking host bears: some may come late, or wait behind a frame.
SIGNS_PER_SILENCE = 4

#: Bytes that came so long ago are still coming: at 100 Mbit/s a frame takes that long.
SENDING_S = 0.1

#: How often deadlines and silence are looked at.
SWEEP_S = 0.25

#: After CANCEL the other side must end the request; one that never does would use up the numbers of requests.
CANCEL_ANSWER_S_MAX = 10.0

#: Bytes moved in one turn of the loop and one direction, so that one fast peer does not keep the others waiting.
TURN_BYTES_MAX = 1 << 20

#: Unsent bytes in the kernel (TCP_NOTSENT_LOWAT): what is there can neither be overtaken nor taken back. One frame keeps the wire busy.
NOT_SENT_BYTES = 256 << 10

#: Private memory in which headers land. The asking side receives blocks: what of a payload comes with the header is copied. The serving one
#: receives many small requests, which should come with one call.
LOOKAHEAD_ASKING_BYTES = 512
LOOKAHEAD_SERVING_BYTES = 16 << 10

#: Control frames waiting for a receiver that does not read: over it nothing more is read from it, so that it cannot ask for more.
CONTROL_QUEUE_BYTES_MAX = 256 << 10

#: A receiver that takes nothing for this long while something waits for it is cut off: blocks are held for it.
RECEIVER_STALLED_S_MAX = 5.0

#: The other side pings every IDLE_PING_S: one that is silent for longer than this is dead, or cut off by the network.
CLIENT_SILENT_S_MAX = 15.0

#: The asking host gives up at its deadline by itself; this is for when its CANCEL does not come.
DEADLINE_GRACE_S = 1.0

#: Greeted connections in all: a cluster of a thousand hosts, each with one or (after a loss unnoticed here) two.
CONNECTIONS_MAX = 2048
CONNECTIONS_PER_HOST_MAX = 2

#: Connections that have not proved anything yet: strangers cannot use up more memory and descriptors than these.
GREETINGS_MAX = 64

#: As the kernel's own limit on most hosts.
LISTEN_BACKLOG = 512

#: Connections accepted in one turn of the loop.
ACCEPTS_PER_TURN = 16

#: Blocks whose frames' checksums are remembered, five numbers each at the default size: a block read by many hosts is checksummed once. About
#: 500 bytes per block.
CHECKSUMS_REMEMBERED_MAX = 16_384

#: The first version of the protocol that has LEAVING.
LEAVING_SINCE = 4

#: The protocol's version from which on a host does its part of what operators ask.
OPERATE_SINCE = 4
