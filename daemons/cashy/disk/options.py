"""What is said of one disk in the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["WRITE_BYTES_PER_S_DEFAULT", "DiskOptions"]

#: A flash disk of a few terabytes bears this for years, and reads beside it stay quick.
WRITE_BYTES_PER_S_DEFAULT = 200 << 20


@dataclass(frozen=True, slots=True)
class DiskOptions:
    """``directory`` is this daemon's alone; ``size_bytes`` is all that its blocks may take there."""

    directory: Path
    size_bytes: int
    write_bytes_per_s: int = WRITE_BYTES_PER_S_DEFAULT
