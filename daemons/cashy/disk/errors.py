"""What can go wrong on a disk. All of it is ours to handle: the block is asked of the next tier."""

from __future__ import annotations

from cashy.errors import CashyError

__all__ = ["DiskCorrupt", "DiskError", "DiskTimeout", "DiskTorn"]


class DiskError(CashyError, OSError):
    """A call of the file system failed, or the block is not there any more."""

    code = "ORIGIN_UNAVAILABLE"


class DiskTimeout(DiskError, TimeoutError):
    """A call did not come back in time."""

    code = "ORIGIN_TIMEOUT"


class DiskCorrupt(DiskError):
    """The bytes are not those that were written: checksum, name or length differ."""

    code = "ORIGIN_INVALID"


class DiskTorn(DiskCorrupt):
    """The file ends before the block does, or its end was never written: a crash cut it off. It says nothing against the disk."""
