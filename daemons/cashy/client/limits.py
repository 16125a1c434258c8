"""Named limits of the client library, each with its reason."""

from __future__ import annotations

__all__ = [
    "ANSWER_TIMEOUT_S",
    "BLOCK_HINTS",
    "BLOCK_PLACES_MAX",
    "BLOCK_PLACES_MIN",
    "CONNECT_RETRY_S_MAX",
    "CONNECT_RETRY_S_MIN",
    "FETCH_BLOCKS_MAX",
    "FETCH_ROUNDS_MAX",
    "META_CACHE_MAX",
    "META_TOUCH_NS",
    "OUTPUT_BYTES_MAX",
    "PREFETCH_FRAME_BYTES",
    "READ_AHEAD_BLOCKS",
    "RECONNECTS_MAX",
    "SOCKET_PATH_BYTES_MAX",
    "VERSION_RESTARTS_MAX",
]

#: How long a call waits for the daemon's next answer unless told otherwise: longer than the daemon waits for an origin, so that its
#: error, which says what is wrong, comes first.
ANSWER_TIMEOUT_S = 60.0

#: Pauses between attempts to reach a daemon that is being restarted: short enough not to be felt, long enough not to burn a core.
CONNECT_RETRY_S_MIN = 0.01
CONNECT_RETRY_S_MAX = 0.25

#: How often one call is begun anew because the connection broke under it. A daemon that dies more often is not restarting but crashing.
RECONNECTS_MAX = 5

#: Names whose decoded metadata is kept in the process (about 1 KiB each); others cost a copy from the arena and a decoding.
META_CACHE_MAX = 8192

#: How often at most the use of a metadata record is marked for the evictor: it wants to know what is in use, not how often within an instant.
META_TOUCH_NS = 100_000_000

#: Blocks of which all that a hit needs is remembered in the process (about 300 bytes each), a power of two.
BLOCK_HINTS = 32_768

#: Blocks whose slot alone is remembered (8 bytes each), of objects with enough of them for half a page of memory. Blocks of smaller objects
#: cost a digest and an index lookup once they are not among the former.
BLOCK_PLACES_MAX = 4 * 1024 * 1024
BLOCK_PLACES_MIN = 256

#: Blocks asked for in one Fetch: 1 GiB of default blocks. The daemon holds all of them until they are released.
FETCH_BLOCKS_MAX = 256

#: Rounds of asking for blocks of one read in which no block could be had: it then lies at the daemon, not at timing.
FETCH_ROUNDS_MAX = 4

#: How often a read by name (not by handle) begins anew because the object was replaced under it.
VERSION_RESTARTS_MAX = 3

#: Blocks that ``blocks()`` asks for ahead of the one it gives: enough to keep an origin busy, few enough for small quotas.
READ_AHEAD_BLOCKS = 4

#: Bytes of names in one Prefetch frame; well below ``shmipc.limits.FRAME_BYTES_MAX``.
PREFETCH_FRAME_BYTES = 256 * 1024

#: Bytes of requests that an asyncio session queues for a daemon that does not read them.
OUTPUT_BYTES_MAX = 4 * 1024 * 1024

#: ``sun_path`` has 108 bytes with its closing NUL (unix(7)).
SOCKET_PATH_BYTES_MAX = 107
