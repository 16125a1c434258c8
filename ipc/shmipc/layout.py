"""Every shared byte: the arena segment and the pin table, as native 64-bit words.

Law: all offsets, field positions and encodings of shared memory live here and nowhere else; this module knows no file, process
or policy. Words are native-endian and 8-byte aligned, so that a load or store of one (``memoryview.cast("Q")[i]``, a fixed-size
``memcpy`` in CPython that compiles to one move) is never torn; ``struct`` with a standard-size prefix ("<Q") assembles bytes one by one
and must not be used on a word that another process may be writing. The assertions at the end tie the numbers together: an edit that breaks one
stops the import. Another layout gets another :data:`LAYOUT_VERSION`; a segment of another version is never re-initialised in place.

Arena segment::

    0           header, HEADER_BYTES: words H_*
    index       tags: buckets * 8 u64;  then slot numbers: buckets * 8 u32   (a hint: the truth is a slot's header)
    slots       slot_count * SLOT_BYTES: words S_*
    data        slabs of slab_bytes, page-aligned

Pin table file (one per client connection; the owner writes the first 512 bytes once, the client everything else)::

    0           words T_MAGIC … T_SERIAL          (owner)
    512         words T_HIGH_WATER … T_HIT_BYTES  (client)
    4096        entries: TABLE_ENTRIES pin words, 0 = free
    …           touch ring: TABLE_TOUCHES pin words

Ring (:mod:`shmipc.ring`) and log (:mod:`shmipc.broadcast`): a header of RING_HEADER_BYTES, then a data area that is a power of two::

    0           words R_MAGIC … R_CAPACITY_BYTES  (maker)
    512         word  R_PUBLISHED                 (ring: writer)        log: L_OLDEST, L_PUBLISHED, L_NEXT_SEQUENCE (writer)
    1024        word  R_ACKNOWLEDGED              (ring: reader)

Channel (:mod:`shmipc.channel`), a sealed memfd::

    0           words C_MAGIC … C_CLIENT_WAITS    (server)
    512         word  C_CLIENT_WANTS_ROOM         (client)
    1024        word  C_SERVER_WANTS_ROOM         (server)
    4096        ring of client to server, then ring of server to client, both of C_RING_BYTES
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

from shmipc.errors import ArenaLayoutError

__all__ = [
    "ARENA_MAGIC", "CHANNEL_HEADER_BYTES", "CHANNEL_MAGIC", "CLIENT_WAITS_LOOP", "CLIENT_WAITS_THREAD", "C_CLIENT_WAITS",
    "C_CLIENT_WANTS_ROOM", "C_LAYOUT_VERSION", "C_MAGIC", "C_RING_BYTES", "C_SERVER_WANTS_ROOM", "LOG_MAGIC",
    "L_NEXT_SEQUENCE", "L_OLDEST", "L_PUBLISHED", "RING_HEADER_BYTES", "RING_MAGIC", "R_ACKNOWLEDGED", "R_CAPACITY_BYTES",
    "R_LAYOUT_VERSION", "R_MAGIC", "R_PUBLISHED", "SEMAPHORE_BYTES",
    "DIGEST_BYTES", "GENERATION_BITS", "GENERATION_MAX", "HEADER_BYTES", "INDEX_WAYS", "LAYOUT_VERSION", "NEVER_ENDS", "PAGE_BYTES",
    "SLOT_BITS", "SLOT_BYTES", "SLOT_WORDS", "SLOTS_MAX", "STATE_BITS", "STATE_MASK", "TABLE_BYTES", "TABLE_ENTRIES", "TABLE_HEADER_BYTES",
    "TABLE_MAGIC", "TABLE_TOUCHES", "WORD_BYTES", "Geometry", "H_ARENA_ID", "H_COHERENT_UNTIL_NS", "H_DATA_BYTES", "H_DATA_OFFSET",
    "H_DOUBTED_BEFORE_NS",
    "H_INDEX_BUCKETS", "H_INDEX_OFFSET", "H_LAYOUT_VERSION", "H_MAGIC", "H_OWNER_EPOCH", "H_OWNER_PID", "H_SLAB_BYTES", "H_SLOTS_OFFSET",
    "H_SLOT_COUNT", "H_TOTAL_BYTES", "S_CAPACITY", "S_CRC", "S_DIGEST", "S_KIND", "S_LENGTH", "S_OFFSET", "S_VALIDATED_NS", "S_VALID_UNTIL_NS",
    "S_WATERMARK", "S_WORD", "T_ARENA_ID", "T_ENTRIES", "T_HIGH_WATER", "T_HITS", "T_HIT_BYTES", "T_LAYOUT_VERSION", "T_MAGIC", "T_SERIAL",
    "T_TOUCHES", "T_TOUCH_HEAD", "geometry_for", "pack_pin", "pack_word", "unpack_pin",
]  # fmt: skip

WORD_BYTES = 8
PAGE_BYTES = mmap.PAGESIZE

ARENA_MAGIC = int.from_bytes(b"AVARENA1", "little")
TABLE_MAGIC = int.from_bytes(b"AVPINTB1", "little")
LAYOUT_VERSION = 3

# --- arena header, in words ---
HEADER_BYTES = 4096
H_MAGIC = 0  # written last when a segment is made: without it the segment is unfinished
H_LAYOUT_VERSION = 1
H_ARENA_ID = 2
H_TOTAL_BYTES = 3
H_SLOT_COUNT = 4
H_INDEX_BUCKETS = 5
H_INDEX_OFFSET = 6
H_SLOTS_OFFSET = 7
H_DATA_OFFSET = 8
H_DATA_BYTES = 9
H_SLAB_BYTES = 10
H_OWNER_PID = 11
H_OWNER_EPOCH = 12  # how often the segment was taken over, starting at 1
H_COHERENT_UNTIL_NS = 13  # CLOCK_MONOTONIC; what others may change is known to be unchanged until then (NEVER_ENDS: nobody else changes it)
H_DOUBTED_BEFORE_NS = (
    14  # CLOCK_MONOTONIC; of what others may change, what was validated before then has to be validated again
)
NEVER_ENDS = (1 << 64) - 1

# --- slot header, in words ---
SLOT_BYTES = 128
SLOT_WORDS = SLOT_BYTES // WORD_BYTES
S_WORD = 0  # generation << STATE_BITS | state
S_DIGEST = 1  # DIGEST_BYTES
S_LENGTH = 5
S_OFFSET = 6  # from the start of the segment
S_CAPACITY = 7
S_CRC = 8  # crc32c of the length bytes
S_KIND = 9  # the application's
S_WATERMARK = 10  # bytes that have arrived, while FILLING
S_VALID_UNTIL_NS = 11  # CLOCK_MONOTONIC; the application's freshness, changed without a new generation
S_VALIDATED_NS = 12  # CLOCK_MONOTONIC; when the question was asked whose answer the freshness rests on
DIGEST_BYTES = 32

SLOT_BITS = 24
GENERATION_BITS = 40
STATE_BITS = 8
SLOTS_MAX = 1 << SLOT_BITS
GENERATION_MAX = (1 << GENERATION_BITS) - 1
STATE_MASK = (1 << STATE_BITS) - 1

# --- index ---
INDEX_WAYS = 8

# --- pin table ---
TABLE_HEADER_BYTES = 4096
T_MAGIC = 0
T_LAYOUT_VERSION = 1
T_ARENA_ID = 2
T_ENTRIES = 3
T_TOUCHES = 4
T_SERIAL = 5
T_HIGH_WATER = 64  # client: entries at or above it were never used
T_TOUCH_HEAD = 65  # client: touches ever written
T_HITS = 66  # client: blocks it found READY without asking anybody
T_HIT_BYTES = 67  # client: bytes it read in those blocks
TABLE_ENTRIES = 8192
TABLE_TOUCHES = 4096
TABLE_BYTES = TABLE_HEADER_BYTES + (TABLE_ENTRIES + TABLE_TOUCHES) * WORD_BYTES

# --- ring, and log: both begin alike ---
RING_MAGIC = int.from_bytes(b"AVRING01", "little")
LOG_MAGIC = int.from_bytes(b"AVBCLOG1", "little")
RING_HEADER_BYTES = 4096
R_MAGIC = 0  # written last by the maker
R_LAYOUT_VERSION = 1
R_CAPACITY_BYTES = 2  # of the data area; a power of two
R_PUBLISHED = 64  # writer: bytes ever published
R_ACKNOWLEDGED = 128  # reader: bytes ever acknowledged
L_OLDEST = 64  # writer: what lies before this position is, or may be, overwritten
L_PUBLISHED = 65  # writer: bytes ever published
L_NEXT_SEQUENCE = 66  # writer: of the next message; may be one publication late, see shmipc.broadcast

SEMAPHORE_BYTES = 64  # glibc's sem_t has 32, and a cache line of its own

# --- channel ---
CHANNEL_MAGIC = int.from_bytes(b"AVCHANN1", "little")
CHANNEL_HEADER_BYTES = 4096
C_MAGIC = 0
C_LAYOUT_VERSION = 1
C_RING_BYTES = 2  # of each ring's data area
C_CLIENT_WAITS = 3  # CLIENT_WAITS_*
C_CLIENT_WANTS_ROOM = 64  # client: how often it has asked to be woken when there is room
C_SERVER_WANTS_ROOM = 128  # server: the same
CLIENT_WAITS_THREAD = 1
CLIENT_WAITS_LOOP = 2


class Geometry(NamedTuple):
    """Where the parts of an arena segment begin, in bytes from its start."""

    total_bytes: int
    slot_count: int
    index_buckets: int
    index_offset: int
    slots_offset: int
    data_offset: int
    data_bytes: int
    slab_bytes: int


def pack_word(generation: int, state: int) -> int:
    """The slot header's first word."""
    return generation << STATE_BITS | state


def pack_pin(slot: int, generation: int) -> int:
    """The word a reader publishes; never 0, since generations start at 1."""
    return slot << GENERATION_BITS | generation


def unpack_pin(word: int) -> tuple[int, int]:
    """``(slot, generation)`` of a pin word."""
    return word >> GENERATION_BITS, word & GENERATION_MAX


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def geometry_for(data_bytes: int, slab_bytes: int, slot_count: int) -> Geometry:
    """Lays out a segment whose data area holds at least ``data_bytes`` (rounded up to whole slabs of ``slab_bytes``)."""
    if not 1 <= slot_count <= SLOTS_MAX:
        raise ArenaLayoutError(f"an arena has 1 to {SLOTS_MAX} slots, not {slot_count}")
    if slab_bytes < PAGE_BYTES or slab_bytes % PAGE_BYTES:
        raise ArenaLayoutError(
            f"the slab size must be a multiple of the page size {PAGE_BYTES}, not {slab_bytes}"
        )
    if data_bytes < slab_bytes:
        raise ArenaLayoutError(
            f"the arena ({data_bytes} bytes) must hold at least one block ({slab_bytes} bytes)"
        )
    data_bytes = _round_up(data_bytes, slab_bytes)
    # Half full at most: with two buckets of eight ways a full pair is then a curiosity.
    buckets = max(2, 1 << (-(-2 * slot_count // INDEX_WAYS) - 1).bit_length())
    slots_offset = _round_up(HEADER_BYTES + buckets * INDEX_WAYS * (WORD_BYTES + 4), PAGE_BYTES)
    data_offset = _round_up(slots_offset + slot_count * SLOT_BYTES, PAGE_BYTES)
    return Geometry(
        total_bytes=data_offset + data_bytes, slot_count=slot_count, index_buckets=buckets, index_offset=HEADER_BYTES,
        slots_offset=slots_offset, data_offset=data_offset, data_bytes=data_bytes, slab_bytes=slab_bytes,
    )  # fmt: skip


# A pin is one word, so that publishing and dropping it are single stores.
assert SLOT_BITS + GENERATION_BITS == 64
# A slot's word holds the whole generation and the state.
assert GENERATION_BITS + STATE_BITS <= 64
# Slot headers are whole words and never straddle a page, so that no header is half in a page that cannot be read.
assert SLOT_BYTES % WORD_BYTES == 0
assert PAGE_BYTES % SLOT_BYTES == 0
# The digest's words and the fields after it fit the header.
assert S_DIGEST * WORD_BYTES + DIGEST_BYTES == S_LENGTH * WORD_BYTES
assert S_VALIDATED_NS < SLOT_WORDS
assert H_DOUBTED_BEFORE_NS * WORD_BYTES < HEADER_BYTES
# Owner's and client's words of a pin table are on different cache lines (and the owner's are written before the client has the file).
assert T_SERIAL * WORD_BYTES + WORD_BYTES <= 512 == T_HIGH_WATER * WORD_BYTES
# What the owner reads of them in one go, and what a hit writes, is one cache line.
assert T_HIGH_WATER < T_TOUCH_HEAD < T_HITS < T_HIT_BYTES == T_HIGH_WATER + 3
# The touch ring is indexed with a mask.
assert TABLE_TOUCHES & (TABLE_TOUCHES - 1) == 0
# Writer's and reader's words of a ring, and client's and server's of a channel, are on different cache lines (64 bytes; 128 with prefetched pairs).
assert (R_ACKNOWLEDGED - R_PUBLISHED) * WORD_BYTES >= 128
assert (R_PUBLISHED - R_CAPACITY_BYTES) * WORD_BYTES >= 128
assert (C_SERVER_WANTS_ROOM - C_CLIENT_WANTS_ROOM) * WORD_BYTES >= 128
assert (C_CLIENT_WANTS_ROOM - C_CLIENT_WAITS) * WORD_BYTES >= 128
assert C_SERVER_WANTS_ROOM * WORD_BYTES < CHANNEL_HEADER_BYTES
assert max(R_ACKNOWLEDGED, L_NEXT_SEQUENCE) * WORD_BYTES < RING_HEADER_BYTES
# Rings begin on pages of their own.
assert CHANNEL_HEADER_BYTES % PAGE_BYTES == 0
assert RING_HEADER_BYTES % PAGE_BYTES == 0
