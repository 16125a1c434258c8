"""``python -m tests.clients.measure_fsspec [ROUNDS]``: the ratios of docs/fsspec.md, over SeaweedFS and one host of cashy. Not a test."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from tests.bench.peers import seaweedfs
from tests.system.harness import KEY, SECRET, DevHost, s3_client

from .test_clients import ENVIRONMENTS, REPOSITORY, SCENARIOS

__all__ = ["main"]

MIB = 1 << 20


def _fill(url: str, rounds: int) -> None:
    with contextlib.closing(s3_client(url)) as direct:
        direct.create_bucket(Bucket="measured")
        for number in range(rounds):
            direct.put_object(Bucket="measured", Key=f"large-{number}", Body=os.urandom(64 * MIB))
        values = np.random.default_rng(1)
        table = pa.table({f"c{number}": values.random(250_000) for number in range(12)})
        sink = io.BytesIO()
        pa.parquet.write_table(table, sink, row_group_size=25_000)
        direct.put_object(Bucket="measured", Key="table.parquet", Body=sink.getvalue())


def main(rounds: int) -> None:
    """Prints one row for each ratio."""
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "weed").mkdir()
        (folder / "host").mkdir()
        with seaweedfs(folder / "weed", core=None) as store:
            _fill(store.url, rounds)
            with DevHost(
                folder / "host", f"s3={store.url}", memory="1GiB", workers=0, variables=keys
            ) as host:
                sources = os.pathsep.join(str(REPOSITORY / name) for name in ("daemons", "ipc"))
                done = subprocess.run(
                    [ENVIRONMENTS / "fsspec/bin/python", SCENARIOS / "measure_fsspec.py", store.url, "measured", str(rounds)],
                    env=os.environ | keys | {"CASHY_SOCKET": str(host.socket), "PYTHONPATH": sources},
                    stdout=subprocess.PIPE, check=True, timeout=900,
                )  # fmt: skip
    for name, (median, low, high) in json.loads(done.stdout).items():
        print(f"| {name} | {median:g} | {low:g} to {high:g} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
