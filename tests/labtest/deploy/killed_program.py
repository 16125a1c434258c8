"""Applies changes to hosts that are on disk, until it is killed: ``killed_program FOLDER``. A program for ``test_kill.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import trio
from tests.labtest.deploy.labs import Bench
from tests.labtest.deploy.test_trouble import CHANGES


async def main() -> None:
    bench = Bench(Path(sys.argv[1]), are_stored=True)
    async with bench.open("the one that is killed") as d:
        d.collect(*CHANGES)
        await d.apply(await d.plan())


if __name__ == "__main__":
    trio.run(main)
