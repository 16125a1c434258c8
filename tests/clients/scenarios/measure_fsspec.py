"""cashy:// against s3fs on the same store, paired: each round does the same with both, in changing order; prints the medians of the ratios as JSON.

python measure_fsspec.py STORE_URL BUCKET ROUNDS  (the bucket has objects large-0 … of 64 MiB, one for each round and more, and table.parquet)
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import s3fs
from fsspec import filesystem

MIB = 1 << 20


def through(fs: Any, path: str) -> int:
    """The object in pieces of 64 KiB."""
    total = 0
    with fs.open(path, "rb") as file:
        while piece := file.read(64 << 10):
            total += len(piece)
    return total


def ranges(fs: Any, path: str, seed: int) -> int:
    """200 ranges of 64 KiB in one call."""
    spots = random.Random(seed)
    starts = [spots.randrange(63 * MIB) for _ in range(200)]
    return sum(map(len, fs.cat_ranges([path] * 200, starts, [start + (64 << 10) for start in starts])))


def seconds(work: Callable[[], int]) -> tuple[float, int]:
    """How long it takes, and what it gives."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def main(store: str, bucket: str, rounds: int) -> None:
    """Measures."""
    options = {"endpoint_url": store, "region_name": "us-east-1"}
    kinds = {"cashy": filesystem("cashy"), "s3fs": s3fs.S3FileSystem(client_kwargs=options)}
    ratios: dict[str, list[float]] = {}
    for number in range(rounds):
        path = f"{bucket}/large-{number}"
        works: dict[str, Callable[[Any], int]] = {
            "first read of 64 MiB, cat_file": lambda fs, path=path: len(fs.cat_file(path)),
            "again, cat_file": lambda fs, path=path: len(fs.cat_file(path)),
            "again, in pieces of 64 KiB": lambda fs, path=path: through(fs, path),
            "200 ranges of 64 KiB, cat_ranges": lambda fs, path=path, seed=number: ranges(fs, path, seed),
            "pandas.read_parquet, 3 of 12 columns": lambda fs: len(
                pd.read_parquet(f"{bucket}/table.parquet", filesystem=fs, columns=["c1", "c5", "c9"])
            ),
        }
        for name, work in works.items():
            order = ["cashy", "s3fs"] if number % 2 else ["s3fs", "cashy"]
            taken = {kind: seconds(lambda kind=kind, work=work: work(kinds[kind])) for kind in order}
            assert taken["cashy"][1] == taken["s3fs"][1]
            ratios.setdefault(name, []).append(taken["s3fs"][0] / taken["cashy"][0])
    print(
        json.dumps(
            {
                name: [round(statistics.median(all_), 2), round(min(all_), 2), round(max(all_), 2)]
                for name, all_ in ratios.items()
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
