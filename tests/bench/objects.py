"""The objects that are read: files in memory, different for every key, the same in every run."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

__all__ = ["BUCKET", "content", "digest_of", "make_files"]

BUCKET = "bench"
_PIECE = 1 << 20


def content(key: str, size_bytes: int) -> bytes:
    """Bytes of an object: random, repeated after a MiB with the position put in, so that no two blocks are equal."""
    piece = random.Random(key).randbytes(min(size_bytes, _PIECE))
    whole = bytearray()
    while len(whole) < size_bytes:
        whole += len(whole).to_bytes(8, "little") + piece[8:]
    return bytes(whole[:size_bytes])


def digest_of(data: bytes) -> str:
    """What the load generator reports for these bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def make_files(root: Path, count: int, size_bytes: int) -> dict[str, str]:
    """Writes ``root/bench/NNNNNN`` and returns their digests by key."""
    folder = root / BUCKET
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for number in range(count):
        key = f"{number:06d}"
        data = content(key, size_bytes)
        (folder / key).write_bytes(data)
        digests[key] = digest_of(data)
    return digests
