"""A tier over real folders for tests, blocks to put there, and a process that writes until it is killed."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path

import crc32c

from cashy.disk import DiskOptions, DiskTier
from cashy.disk.layout import block_path
from cashy.errors import CashyError

__all__ = ["BLOCK", "block", "digest_of", "flip", "get", "path_of", "put", "run", "tier_at", "until"]

BLOCK = 256 << 10
PATIENCE_S = 20.0


def digest_of(number: int) -> bytes:
    """The digest of a block of tests."""
    return blake2b(number.to_bytes(8, "little"), digest_size=32).digest()


def block(number: int, size: int = BLOCK) -> bytes:
    """Its bytes, which follow from its number."""
    return random.Random(number).randbytes(size)


def path_of(folder: Path, number: int) -> Path:
    """Its file."""
    return Path(block_path(folder, digest_of(number)[:16]))


def flip(path: Path) -> None:
    """Another bit, somewhere in the block's bytes."""
    data = bytearray(path.read_bytes())
    data[random.randrange(BLOCK)] ^= 1
    path.write_bytes(data)


def run(story: Callable[[], Awaitable[None]]) -> None:
    """On a loop of its own, for a minute at most."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(bounded())


async def until(holds: Callable[[], object]) -> None:
    """Waits for something."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def tier_at(
    *folders: Path, blocks: int = 64, rate: int = 1 << 40, is_ready: bool = True
) -> AsyncIterator[DiskTier]:
    """A tier with room for so many blocks on each disk, when its disks are ready."""
    options = [DiskOptions(folder, blocks * (BLOCK + 8192), rate) for folder in folders]
    tier = DiskTier(options, block_bytes=BLOCK)
    await tier.start()
    try:
        if is_ready:
            await until(lambda: all(disk.is_ready for disk in tier.disks))
        yield tier
    finally:
        await tier.close()


async def put(tier: DiskTier, number: int, size: int = BLOCK) -> bool:
    """Writes a block as the master does; whether it is there."""
    data = block(number, size)
    if not tier.wants(digest_of(number), size, uses=1):
        return False
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    tier.write(digest_of(number), size, crc32c.crc32c(data), memoryview(data), done.set_result)
    return await asyncio.wait_for(done, PATIENCE_S)


async def get(tier: DiskTier, number: int) -> bytes | CashyError | None:
    """Reads a block; None: it is not there."""
    found = tier.find(digest_of(number))
    if found is None:
        return None
    buffer = bytearray(found.length)
    done: asyncio.Future[CashyError | None] = asyncio.get_running_loop().create_future()
    calls: list[str] = []

    def told(error: CashyError | None, crc: int) -> None:
        assert error is not None or crc == crc32c.crc32c(buffer)
        calls.append("done")
        done.set_result(error)

    tier.read(found, memoryview(buffer), told, lambda: calls.append("detached"))
    error = await asyncio.wait_for(done, PATIENCE_S)
    return error if error is not None else bytes(buffer)


async def _write_for_ever(folder: Path, first: int) -> None:
    async with tier_at(folder, blocks=32) as tier:
        number = first
        while True:
            if await put(tier, number):
                print(number, flush=True)
            number += 1


if __name__ == "__main__":
    asyncio.run(_write_for_ever(Path(sys.argv[1]), int(sys.argv[2])))
