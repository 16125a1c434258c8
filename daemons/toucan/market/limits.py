"""Named limits of market data, each with its reason."""

from __future__ import annotations

__all__ = [
    "BEAT_S",
    "CONNECTIONS_MAX",
    "CONNECT_S_MAX",
    "DEPTH_LEVELS",
    "FLUSH_S",
    "GREETING_S_MAX",
    "JOIN_LINES",
    "OUT_BYTES_MAX",
    "PUBLISH_INTERVAL_S",
    "RECEIVE_BYTES",
    "RECONNECT_S",
    "RECONNECT_S_MAX",
    "RECORD_BYTES_MAX",
    "REPEAT_PAUSE_S",
    "REPLAY_RECORDS_PER_TURN",
    "ROTATE_BYTES",
    "ROTATE_BYTES_MIN",
    "SEGMENTS_MAX",
    "SHUTDOWN_FLUSH_S",
    "SILENCE_S_MAX",
    "STALLED_S_MAX",
    "STEP_LINE_CHARACTERS_MAX",
    "STEP_RECORDS_MAX",
    "SUBSCRIBE_BYTES_MAX",
    "SYNC_S",
    "TAPE_LINES_KEPT",
]

# ---------------------------------------------------------------- feeds

#: Levels of each side that are told as depth: what fits a screen.
DEPTH_LEVELS = 20

#: Lines of each instrument's tape that are kept for whoever is a moment behind: some seconds of a busy market, about 150 kB.
TAPE_LINES_KEPT = 1000

#: Lines of each tape told to a subscriber who begins: a screen full, since a thousand instruments' all would be a hundred megabytes.
JOIN_LINES = 100

#: Quotes, depth and lines are told at most this often, always the newest: 20 times a second is faster than anybody sees.
PUBLISH_INTERVAL_S = 0.05

#: Subscribers at a time: the front ends of a host, and recorders.
CONNECTIONS_MAX = 128

#: A connection that has not subscribed by then is closed.
GREETING_S_MAX = 5.0

#: While more than this waits for a subscriber he is told nothing more; then he gets the newest.
OUT_BYTES_MAX = 256 << 10

#: A subscriber who takes nothing of what waits for so long is cut off; he comes back.
STALLED_S_MAX = 10.0

#: How often a feed says that it is there, and how long it may say nothing before it is taken for dead: two beats may be lost to a busy machine.
BEAT_S = 1.0
SILENCE_S_MAX = 3.5

#: A subscription with a place for each of ten thousand symbols.
SUBSCRIBE_BYTES_MAX = 1 << 20

#: To connect, and between two attempts: a feed is on the same host or next to it.
CONNECT_S_MAX = 2.0
RECONNECT_S = 0.05
RECONNECT_S_MAX = 2.0

#: Taken from a feed's socket at a time: about a millisecond of decoding.
RECEIVE_BYTES = 64 << 10

#: When told to stop, what waits for subscribers who read is sent for this long.
SHUTDOWN_FLUSH_S = 1.0

# ---------------------------------------------------------------- recordings

#: What a killed recorder loses at most, in seconds: what it has heard is handed to the kernel this often.
FLUSH_S = 0.2

#: What a power cut loses at most, in seconds: what the kernel has is synced to the disk this often.
SYNC_S = 5.0

#: Bytes of one record: a frame of the feed and its head. A longer one in a file is damage.
RECORD_BYTES_MAX = (1 << 20) + 64

#: A recording goes on in another file from this size on, and the least that may be asked for: a beginning with every picture in it must fit.
ROTATE_BYTES = 256 << 20
ROTATE_BYTES_MIN = 64 << 10

#: Files of one recording; six digits number them.
SEGMENTS_MAX = 999_999

#: Records played in one turn of the loop, about 5 ms: subscribers are written to in between.
REPLAY_RECORDS_PER_TURN = 500

#: Between two times that a recording is played: a short one, repeated, must not keep a core busy.
REPEAT_PAUSE_S = 1.0

#: A line that steps a replay, and how many records one may step over.
STEP_LINE_CHARACTERS_MAX = 64
STEP_RECORDS_MAX = 1_000_000

assert BEAT_S * 3 < SILENCE_S_MAX
