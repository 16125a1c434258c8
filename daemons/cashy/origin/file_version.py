"""What tells two states of a file apart: its version, for reads and for listings alike."""

from __future__ import annotations

import os

__all__ = ["version_of"]


def version_of(status: os.stat_result) -> str:
    """``size-mtime_ns-inode`` in hex."""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"
