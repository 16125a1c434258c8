"""Reads what `write` has put into a folder through cashy:// with each library, and compares; or runs the examples of a page.

python reads_by_fsspec.py write FOLDER | read FOLDER BUCKET | processes BUCKET | page FILE
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def write(folder: Path) -> None:
    """What the page's examples read."""
    import numpy as np
    import pandas as pd
    import zarr

    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"symbol": random.choice(["A", "B"], 40_000), "price": random.random(40_000), "n": np.arange(40_000)}
    )
    frame.to_csv(folder / "prices.csv", index=False)
    (folder / "trades").mkdir()
    for number in range(4):
        part = frame[number * 10_000 :][:10_000]
        part.to_parquet(folder / f"trades/part-{number}.parquet", row_group_size=1000, index=False)
    grid = zarr.create_array(folder / "grid.zarr", shape=(1000, 700), chunks=(100, 100), dtype="f8")
    grid[:] = random.random((1000, 700))
    np.save(folder / "weights.npy", random.random((1000, 300)))


def read(folder: Path, bucket: str) -> None:
    """Each library reads the folder itself, and through cashy by both names of it."""
    import dask.dataframe as dd
    import numpy as np
    import pandas as pd
    import pyarrow.dataset as ds
    import zarr
    from fsspec import filesystem

    fs = filesystem("cashy")
    prices = pd.read_csv(folder / "prices.csv")
    trades = pd.read_parquet(folder / "trades")
    grid = zarr.open_array(folder / "grid.zarr", mode="r")[:]
    for top in (f"cashy://{bucket}", f"cashy://{folder}"):
        pd.testing.assert_frame_equal(pd.read_csv(f"{top}/prices.csv"), prices)
        pd.testing.assert_frame_equal(pd.read_parquet(f"{top}/trades"), trades)
        pd.testing.assert_frame_equal(
            pd.read_parquet(f"{top}/trades/part-2.parquet", columns=["n"]), trades[["n"]][20_000:30_000].reset_index(drop=True)
        )  # fmt: skip
        pd.testing.assert_frame_equal(
            ds.dataset(fs._strip_protocol(f"{top}/trades"), filesystem=fs, format="parquet").to_table().to_pandas(), trades
        )  # fmt: skip
        for scheduler in ("threads", "processes"):
            lazy = dd.read_parquet(f"{top}/trades")
            assert lazy.n.sum().compute(scheduler=scheduler, num_workers=2) == trades.n.sum()
        assert len(dd.read_csv(f"{top}/prices.csv", blocksize=200_000).compute(scheduler="threads")) == len(
            prices
        )
        np.testing.assert_array_equal(zarr.open_array(f"{top}/grid.zarr", mode="r")[:], grid)
    print("the same")


def processes(bucket: str) -> None:
    """Workers that are processes of their own, to which file systems are sent."""
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        print(int(dd.read_parquet(f"cashy://{bucket}/trades").n.sum().compute()))


def page(file: Path) -> None:
    """Every example by itself."""
    for example in re.findall(r"```python\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(example, str(file), "exec"), {"__name__": "example"})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", folder]:
            write(Path(folder))
        case ["read", folder, bucket]:
            read(Path(folder), bucket)
        case ["processes", bucket]:
            processes(bucket)
        case ["page", file]:
            page(Path(file))
