"""Real S3 clients, unmodified: each sees through cashy what it sees at the store itself.

One program per client (``scenarios/``), run with that client's own Python where it pins what others need otherwise (``make clients``), against
SeaweedFS directly, through one host, and through two (written through one, read through the other). Every report must be the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.system.harness import KEY, SECRET, DevCluster, s3_client
from tests.system.weed import Weed

pytestmark = pytest.mark.system

REPOSITORY = Path(__file__).resolve().parents[2]
SCENARIOS = Path(__file__).parent / "scenarios"
ENVIRONMENTS = REPOSITORY / "build" / "clients"

#: The client's environment ("": this one), and programs that must be installed.
CLIENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "boto3": ("", ()),
    "awscli": ("awscli", ()),
    "s3fs": ("s3fs", ()),
    "pyarrow": ("s3fs", ()),
    "obstore": ("obstore", ()),
    "minio": ("minio", ()),
    "rclone": ("", ("rclone",)),
    "curl": ("", ("curl",)),
}

_numbers = count(1)


def python_of(environment: str) -> str:
    if not environment:
        return sys.executable
    python = ENVIRONMENTS / environment / "bin" / "python"
    if not (ENVIRONMENTS / environment / ".made").exists():
        pytest.skip(f"{environment} has no environment yet: run  make clients")
    return str(python)


@pytest.fixture(scope="module")
def store(weed: Weed) -> str:
    return weed.url


@pytest.fixture(scope="module")
def cluster(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    config = "[freshness]\nrevalidate_after_s = 600\n"
    with DevCluster(
        2, tmp_path_factory.mktemp("cluster"), f"s3={store}", memory="128MiB", config=config
    ) as cluster:
        yield cluster


def run(name: str, store: str, write: str, read: str, folder: Path) -> dict[str, Any]:
    environment, programs = CLIENTS[name]
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: run  make system-packages")
    bucket = f"clients-{next(_numbers)}"
    direct = s3_client(store)
    direct.create_bucket(Bucket=bucket)
    direct.close()
    folder.mkdir()
    variables = {
        "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(SCENARIOS),
    }  # fmt: skip
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    command = [python_of(environment), str(SCENARIOS / f"with_{name}.py"), write, read, bucket, str(folder)]
    done = subprocess.run(
        command, env=inherited | variables, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_sees_the_same_everywhere(
    name: str, store: str, cluster: DevCluster, tmp_path: Path
) -> None:
    one, other = cluster.hosts
    ways = {"direct": (store, store), "one": (one.url, one.url), "two": (one.url, other.url)}
    with ThreadPoolExecutor(len(ways)) as threads:
        running = {
            way: threads.submit(run, name, store, write, read, tmp_path / way)
            for way, (write, read) in ways.items()
        }
        reports = {way: report.result() for way, report in running.items()}
    assert reports["one"] == reports["direct"]
    assert reports["two"] == reports["direct"]
    assert cluster.counters()["blocks_filled"] > 0
