"""The objects that are read: files in memory, different for every key, the same in every run."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

__all__ = ["BUCKET", "content", "digest_of", "make_file", "make_files"]

BUCKET = "bench"
_PIECE = 1 << 20


def content(key: str, size_bytes: int) -> bytes:
    """Bytes of an object: random, repeated after a MiB with the position put in, so that no two blocks are equal."""
    return b"".join(_pieces(key, size_bytes))


def _pieces(key: str, size_bytes: int) -> Iterator[bytes]:
    piece = random.Random(key).randbytes(min(size_bytes, _PIECE))
    for at in range(0, size_bytes, _PIECE):
        yield (at.to_bytes(8, "little") + piece[8:])[: size_bytes - at]


def digest_of(data: bytes | memoryview) -> str:
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


def make_file(root: Path, key: str, size_bytes: int) -> str:
    """Writes one object, of any size, and returns its digest."""
    folder = root / BUCKET
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.blake2b(digest_size=16)
    with (folder / key).open("wb") as file:
        for piece in _pieces(key, size_bytes):
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()
