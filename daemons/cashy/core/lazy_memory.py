"""Large tables of numbers that cost memory only where they are used.

Law: a table for every slot an arena may ever have is made here. Its pages come from an anonymous mapping, so the kernel gives each when it is
first written; ``array`` and ``bytearray`` write all of themselves when they are made, which for a cache of large blocks is most of what its
bookkeeping would ever take. No file, name or other process has part in it.
"""

from __future__ import annotations

import mmap
from typing import Literal

__all__ = ["zeros"]

_ITEM_BYTES = {"B": 1, "I": 4, "Q": 8}


def zeros(code: Literal["B", "I", "Q"], count: int) -> memoryview:
    """``count`` zeroed numbers of 1, 4 or 8 bytes (as of :mod:`struct`), writable; indexing beyond them is an IndexError."""
    pages = mmap.mmap(-1, max(1, count * _ITEM_BYTES[code]), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return memoryview(pages).cast(code)[:count]
