"""s3fs under pandas: CSV and Parquet with chosen columns, glob, move, random reads."""

from __future__ import annotations

from typing import Any

import pandas as pd
import s3fs
from common import Where, code_of, digest, main, sample


def scenario(where: Where) -> dict[str, Any]:
    def options(url: str) -> dict[str, Any]:
        return {
            "key": where.key, "secret": where.secret, "client_kwargs": {"endpoint_url": url, "region_name": "us-east-1"},
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        }  # fmt: skip

    writer = s3fs.S3FileSystem(**options(where.write))
    reader = s3fs.S3FileSystem(**options(where.read), use_listings_cache=False)
    frame = pd.DataFrame(
        {
            "n": range(50_000),
            "square": [n * n for n in range(50_000)],
            "text": [f"row {n}" for n in range(50_000)],
        }
    )
    base = f"s3://{where.bucket}"
    frame.to_csv(f"{base}/frame.csv", index=False, storage_options=options(where.write))
    frame.to_parquet(f"{base}/tables/frame.parquet", storage_options=options(where.write))
    csv = pd.read_csv(f"{base}/frame.csv", storage_options=options(where.read))
    columns = pd.read_parquet(
        f"{base}/tables/frame.parquet", columns=["square"], storage_options=options(where.read)
    )
    data = sample(3_000_000)
    with writer.open(f"{where.bucket}/raw", "wb") as file:
        file.write(data)
    with reader.open(f"{where.bucket}/raw", "rb", block_size=1 << 18) as file:
        file.seek(1_234_567)
        middle = file.read(1000)
    writer.mv(f"{where.bucket}/raw", f"{where.bucket}/tables/moved")
    reader.invalidate_cache()
    return {
        "csv": csv.equals(frame),
        "columns": [list(columns.columns), int(columns["square"].sum())],
        "middle": digest(middle) == digest(data[1_234_567:1_235_567]),
        "glob": [name.removeprefix(where.bucket) for name in reader.glob(f"{where.bucket}/tables/*")],
        "moved": digest(reader.cat(f"{where.bucket}/tables/moved")) == digest(data),
        "gone": code_of(lambda: reader.cat(f"{where.bucket}/raw"), FileNotFoundError),
        "info": reader.info(f"{where.bucket}/tables/moved")["size"],
    }


if __name__ == "__main__":
    main(scenario)
