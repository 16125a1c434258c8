"""A Dask job over cashy://, and what it must give. Run with the Python of the environment "dask".

python dask_over_cashy.py write FOLDER             writes the data, prints what the job must give
python dask_over_cashy.py run SCHEDULER BUCKET     runs the job
python dask_over_cashy.py killed SCHEDULER BUCKET  runs another; prints "middle" when half of it is done, and goes on after a line on stdin
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PARTS = 12
ROWS = 40_000


def write(folder: Path) -> dict[str, Any]:
    """Parquet, CSV and zarr; and the truth, computed from the files themselves."""
    import numpy as np
    import pandas as pd
    import zarr

    random = np.random.default_rng(7)
    for name in ("trades", "later"):
        (folder / name).mkdir()
        for number in range(PARTS):
            columns = {
                "symbol": random.choice(["A", "B", "C"], ROWS),
                "price": random.random(ROWS),
                "quantity": random.integers(1, 1000, ROWS),
            }
            pd.DataFrame(columns).to_parquet(folder / f"{name}/part-{number:02}.parquet", index=False)
    pd.DataFrame({"n": np.arange(300_000), "price": random.random(300_000)}).to_csv(
        folder / "quotes.csv", index=False
    )
    grid = zarr.create_array(
        folder / "grid.zarr", shape=(1200, 1000), chunks=(400, 500), dtype="f8", compressors=None
    )
    grid[:] = random.random((1200, 1000))
    trades, quotes = pd.read_parquet(folder / "trades"), pd.read_csv(folder / "quotes.csv")
    return {
        "run": {
            "quantity": {key: int(value) for key, value in trades.groupby("symbol").quantity.sum().items()},
            "price": round(float(trades.price.sum()), 4),
            "rows": len(quotes),
            "quotes": [int(quotes.n.sum()), round(float(quotes.price.sum()), 4)],
            "grid": round(float(grid[:].sum()), 4),
        },
        "killed": [_facts(pd.read_parquet(file)) for file in sorted((folder / "later").iterdir())],
    }  # fmt: skip


def run(bucket: str) -> dict[str, Any]:
    """Three formats, all of their bytes."""
    import dask
    import dask.array as da
    import dask.dataframe as dd

    top = f"cashy://{bucket}"
    trades, quotes = dd.read_parquet(f"{top}/trades"), dd.read_csv(f"{top}/quotes.csv", blocksize="1MiB")
    found = dask.compute(
        trades.groupby("symbol").quantity.sum(), trades.price.sum(), quotes.n.count(), quotes.n.sum(), quotes.price.sum(),
        da.from_zarr(f"{top}/grid.zarr").sum(),
    )  # fmt: skip
    quantity, price, rows, total, prices, grid = found
    return {
        "quantity": {key: int(value) for key, value in sorted(quantity.items())}, "price": round(float(price), 4),
        "rows": int(rows), "quotes": [int(total), round(float(prices), 4)], "grid": round(float(grid), 4),
    }  # fmt: skip


def killed(client: Any, bucket: str) -> list[Any]:
    """A task for each file; the second half of them waits until somebody was killed."""
    from distributed import Event, as_completed

    def task(number: int, event: str) -> Any:
        import pandas as pd
        from distributed import Event

        if number >= PARTS // 2:
            Event(event).wait()
        return _facts(pd.read_parquet(f"cashy://{bucket}/later/part-{number:02}.parquet"))

    tasks = client.map(task, range(PARTS), event="go", pure=False)
    for finished, _ in enumerate(as_completed(tasks), 1):
        if finished == PARTS // 2:
            break
    print("middle", flush=True)
    sys.stdin.readline()
    Event("go").set()
    return list(client.gather(tasks))


def _facts(frame: Any) -> list[Any]:
    return [
        len(frame),
        int(frame.quantity.sum()),
        round(float(frame.price.sum()), 4),
        "".join(sorted(set(frame.symbol))),
    ]


def main(command: str, *arguments: str) -> None:
    """See the module."""
    if command == "write":
        print(json.dumps(write(Path(arguments[0]))))
        return
    from distributed import Client

    scheduler, bucket = arguments
    with Client(scheduler) as client:
        client.wait_for_workers(3, timeout=60)
        print(json.dumps(run(bucket) if command == "run" else killed(client, bucket)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
