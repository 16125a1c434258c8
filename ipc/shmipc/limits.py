"""Named limits of shmipc, each with its reason.

Law: a bound that protects somebody is a name here and never a number in the code; what is fixed by the shared layout is in :mod:`shmipc.layout`.
"""

from __future__ import annotations

__all__ = [
    "EVICTION_BATCH_SLOTS",
    "FRAME_BYTES_MAX",
    "FRAME_DESCRIPTORS_MAX",
    "KEPT_SPANS_MAX",
    "KEPT_SPAN_BYTES_MAX",
    "LIVENESS_CHECK_S",
    "LOG_ATTEMPTS_MAX",
    "MAPPINGS_PER_CLIENT_MAX",
    "POSITION_MAX",
    "RING_BYTES_MAX",
    "RING_BYTES_MIN",
    "SEMAPHORE_POLL_S",
    "STALE_POSTS_MAX",
    "TABLES_MAX",
]

#: A control frame carries names, metadata and hints, never object data; an S3 key is at most 1 KiB, its metadata 8 KiB.
FRAME_BYTES_MAX = 1 << 20

#: The most descriptors one frame brings (arena, pin table, up to three of a channel), with room for descriptors received ahead of their frame.
FRAME_DESCRIPTORS_MAX = 8

#: A waiter looks at least this often whether the other side still lives; a semaphore cannot tell.
LIVENESS_CHECK_S = 0.1

#: How often a semaphore is looked at where libc has no sem_clockwait: a wake-up is late by this at most, for a fraction of a percent of a core.
SEMAPHORE_POLL_S = 0.005

#: Linux allows 65,530 mappings per process (vm.max_map_count), and past that malloc and thread stacks fail too; a client stays far below.
MAPPINGS_PER_CLIENT_MAX = 8192

#: Mappings of spanning views that are kept for the next view of the same pieces, and their bytes: 2 MiB of page tables.
KEPT_SPANS_MAX = 16
KEPT_SPAN_BYTES_MAX = 1 << 30

#: Pin tables of one arena: bounds the owner's scan (one pread per table and eviction batch) and its descriptors.
TABLES_MAX = 1024

#: Slots marked per fence where there are as many candidates: the fence and the scan are paid once per batch.
EVICTION_BATCH_SLOTS = 64

#: A ring's or log's data area: a page at least, so that rings lie on pages of their own.
RING_BYTES_MIN = 4096

#: And 64 MiB at most: a reader copies all that is published at once, so this is also what a hostile writer can make it allocate.
RING_BYTES_MAX = 1 << 26

#: Where a ring or log may be taken up at most: what is left of 64 bits is 290 years at 1 GB/s, so positions never overflow.
POSITION_MAX = 1 << 63

#: A reader that is lapped while it copies tries again this often, then comes back empty-handed: the writer is never slowed down, and nobody hangs.
LOG_ATTEMPTS_MAX = 8

#: Posts that a woken waiter takes along: they are stale (it looks next), but somebody who posts for ever must not keep it here.
STALE_POSTS_MAX = 256
