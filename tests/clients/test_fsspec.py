"""pandas, pyarrow, dask and zarr read through cashy:// what they read directly; the examples of docs/fsspec.md run.

In an environment of their own (``make clients``), where cashy is installed as its users install it: fsspec finds it by its entry point.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.harness import DevHost

from .test_clients import REPOSITORY, SCENARIOS, python_of

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def host(top: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevHost]:
    (top / "research").mkdir()
    with DevHost(tmp_path_factory.mktemp("host"), f"file={top}", memory="64MiB", workers=0) as made:
        run(made, "write", top / "research")
        yield made


def run(host: DevHost, *arguments: object) -> str:
    sources = os.pathsep.join(str(REPOSITORY / folder) for folder in ("daemons", "ipc"))
    done = subprocess.run(
        [python_of("fsspec"), str(SCENARIOS / "reads_by_fsspec.py"), *map(str, arguments)],
        env=os.environ | {"CASHY_SOCKET": str(host.socket), "PYTHONPATH": sources, "PYTHONWARNINGS": "ignore"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stdout


def test_libraries_read_what_they_read_directly(host: DevHost, top: Path) -> None:
    assert run(host, "read", top / "research", "research").strip() == "the same"
    assert host.counters()["pages_listed"] > 0


def test_processes_of_a_dask_cluster_read_too(host: DevHost) -> None:
    assert int(run(host, "processes", "research")) == sum(range(40_000))


def test_the_examples_of_the_page_run(host: DevHost) -> None:
    said = run(host, "page", REPOSITORY / "docs" / "fsspec.md")
    assert "40000" in said
    assert "b'\\x93NUMPY' (1000, 300) False" in said
