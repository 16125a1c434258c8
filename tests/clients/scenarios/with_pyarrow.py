"""pyarrow's own S3 file system (the AWS SDK for C++): a Parquet data set, selectors, random access."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from common import Where, code_of, digest, main, sample
from pyarrow import fs


def scenario(where: Where) -> dict[str, Any]:
    def system(url: str) -> fs.S3FileSystem:
        return fs.S3FileSystem(
            access_key=where.key, secret_key=where.secret, region="us-east-1", scheme="http", endpoint_override=url.removeprefix("http://")
        )  # fmt: skip

    writer, reader = system(where.write), system(where.read)
    table = pa.table({"day": [n % 3 for n in range(30_000)], "n": list(range(30_000))})
    ds.write_dataset(table, f"{where.bucket}/set", format="parquet", partitioning=["day"], filesystem=writer)
    read = ds.dataset(f"{where.bucket}/set", format="parquet", partitioning=["day"], filesystem=reader)
    data = sample(12_000_000)
    with writer.open_output_stream(f"{where.bucket}/raw") as stream:
        stream.write(data)
    with reader.open_input_file(f"{where.bucket}/raw") as file:
        pieces = [file.read_at(1000, offset) for offset in (0, 5_000_000, 11_999_500)]
        size = file.size()
    found = reader.get_file_info(fs.FileSelector(where.bucket, recursive=True))
    writer.delete_file(f"{where.bucket}/raw")
    return {
        "rows": read.count_rows(),
        "one day": pc.sum(read.to_table(filter=ds.field("day") == 1)["n"]).as_py(),
        "pieces": [digest(piece) for piece in pieces],
        "size": size,
        "files": sorted((info.path.removeprefix(where.bucket), info.type.name) for info in found),
        "gone": code_of(lambda: reader.open_input_file(f"{where.bucket}/raw"), FileNotFoundError),
    }


if __name__ == "__main__":
    main(scenario)
