"""Which blocks are worth a write to the disk.

Law. Fingerprints, sizes and times only; whoever asks writes. Three questions, the cheap ones first: is the block large enough to be worth a file;
was it used since it came, or does the filter remember that it was here before; and does the rate allow it.

A flash disk wears out by writes, and most blocks of a scan are never asked for again, so a block that was read once is written only when it comes
by a second time: the filter keeps a fingerprint of each that was refused (as the ghost queue of S3-FIFO does before it lets a block into flash). Two
fingerprints that fall on one place push each other out: some are written one time later, none too early but by chance (one in 2^32).

Rejected: a frequency sketch (TinyLFU): the eviction policy of the memory has told already who is used often, by the uses it hands over; a
coin (Flashield calls it the baseline): it refuses hot blocks as often as cold ones.

Source: Yang et al., FIFO queues are all you need for cache eviction, SOSP 2023, section 5.5.
"""

from __future__ import annotations

from array import array

from cashy.core.pace import Pace

__all__ = ["DISK_BLOCK_BYTES_MIN", "SEEN_PLACES", "DiskAdmission"]

#: Smaller ones cost a file each, and a read of them is as dear as one from another host's memory.
DISK_BLOCK_BYTES_MIN = 16 << 10

#: Fingerprints that are remembered, 4 bytes each: of a terabyte of blocks of 4 MiB all.
SEEN_PLACES = 1 << 18


class DiskAdmission:
    """Of one disk; ``write_bytes_per_s`` is what may be written to it over any longer time."""

    def __init__(self, write_bytes_per_s: float, seen_places: int = SEEN_PLACES) -> None:
        self.pace = Pace(write_bytes_per_s)
        self._seen = array("I", bytes(4 * seen_places))

    def is_worth_it(self, digest: bytes, length: int, uses: int) -> bool:
        """Whether a block should be on the disk; the question is remembered. ``uses``: how often it was read since it came, but for the first."""
        if length < DISK_BLOCK_BYTES_MIN:
            return False
        if uses > 0:
            return True
        place = int.from_bytes(digest[:8], "little") % len(self._seen)
        fingerprint = int.from_bytes(digest[8:12], "little") | 1  # 0 is a place that holds none
        if self._seen[place] == fingerprint:
            return True
        self._seen[place] = fingerprint
        return False

    def may_write(self, now_s: float) -> bool:
        """Whether the rate allows one more write now."""
        return self.pace.wait_s(now_s) <= 0.0

    def writes(self, length: int, now_s: float) -> None:
        """One is written."""
        self.pace.take(length, now_s)
