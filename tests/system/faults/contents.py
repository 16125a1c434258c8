"""What the store's objects consist of: their bytes follow from key, generation and place, so whoever reads one can tell whether it is right.

Also read by the program that runs on the hosts: it may import the standard library alone.
"""

from __future__ import annotations

import random

__all__ = ["BLOCK_BYTES", "BUCKET", "KEYS", "OBJECT_BYTES", "block", "etag", "generation_of"]

BUCKET = "data"
#: Twice as much in all as the memory of one host.
KEYS = tuple(f"object-{number:02d}" for number in range(48))
BLOCK_BYTES = 256 << 10
OBJECT_BYTES = (1 << 20) + 12_345


def block(key: str, generation: int, index: int) -> bytes:
    """One block of one version."""
    length = min(BLOCK_BYTES, OBJECT_BYTES - index * BLOCK_BYTES)
    return random.Random(f"{key} {generation} {index}").randbytes(length)


def etag(key: str, generation: int) -> str:
    """Its version, as the store tells it."""
    return f'"{key}-{generation}"'


def generation_of(version: str) -> int:
    """The generation that a version names."""
    return int(version.strip('"').rpartition("-")[2])
