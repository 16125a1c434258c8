"""A Dask cluster over three hosts, whose workers read Parquet, CSV and zarr through the cache of their host: Dask scales the job, cashy serves it.

Hosts are namespace hosts (labtest): own network, own /dev/shm, own systemd. The store is on this machine, and notes each block it gives.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cashy.cluster_certificates import certified
from tests.labtest.namespaces.support import left_of, need_labs, until

from labtest.namespaces import Lab, LabOptions

from .folder_store import FolderStore
from .test_clients import REPOSITORY, SCENARIOS, python_of

pytestmark = pytest.mark.system

HOSTS = ("a", "b", "c")
MIB = 1 << 20
SCENARIO = str(SCENARIOS / "dask_over_cashy.py")
SOURCES = os.pathsep.join(str(REPOSITORY / folder) for folder in ("daemons", "ipc"))
SOCKET = "/run/cashy.sock"
SCHEDULER_PORT = 8786


@dataclass
class Floor:
    """The hosts with their caches and workers, the store, and what the jobs must give."""

    lab: Lab
    store: FolderStore
    due: dict[str, Any]
    python: str

    def job(self, command: str) -> list[str]:
        """A job's command, to be run on the host with the scheduler."""
        return [
            "env",
            *_variables(),
            self.python,
            SCENARIO,
            command,
            f"tcp://{self.lab.hosts['a'].address}:{SCHEDULER_PORT}",
            "research",
        ]

    def counters(self, host: str) -> dict[str, int]:
        """The counters of a host's master."""
        code = "import cashy, json; print(json.dumps(dict(cashy.connect().status().counters)))"
        said = self.lab.hosts[host].run(["env", *_variables(), sys.executable, "-c", code], check=True)
        counters: dict[str, int] = json.loads(said.stdout)
        return counters


def _variables() -> list[str]:
    return [
        f"CASHY_SOCKET={SOCKET}",
        f"PYTHONPATH={SOURCES}",
        "PYTHONWARNINGS=ignore",
        "HOME=/root",
        "PATH=/usr/bin:/bin",
    ]


def _settings(host: str, files: Iterable[str], addresses: dict[str, str]) -> bytes:
    """A host's cashy.toml; where the store is comes from the environment, since it listens when the hosts are up."""
    peers = "".join(
        f'[[peer]]\nname = "{name}"\naddress = "{address}:9100"\n' for name, address in addresses.items()
    )
    certificate = "\n".join(f'{name} = "/etc/cashy.{name}"' for name in files)
    text = f"""[memory]
size = "64MiB"
block_size = "1MiB"
[freshness]
revalidate_after_s = 600
[cluster]
hedge = false
host = "{host}"
{certificate}
{peers}"""
    return text.encode()


def _start(lab: Lab, host: str, unit: str, command: Sequence[str], *properties: str) -> None:
    """A service of a host's systemd."""
    options = [f"--property={each}" for each in properties]
    variables = [f"--setenv={each}" for each in _variables()]
    lab.hosts[host].run(
        ["systemd-run", "--quiet", f"--unit={unit}", *options, *variables, *command], check=True
    )


def _write_file(lab: Lab, host: str, path: str, content: bytes, mode: str = "600") -> None:
    lab.hosts[host].run(["install", f"--mode={mode}", "/dev/stdin", path], stdin=content, check=True)


def _deploy(lab: Lab, python: str, store: FolderStore, folder: Path) -> None:
    addresses = {name: host.address for name, host in lab.hosts.items()}
    certificates = certified(folder / "ca", HOSTS)
    for name in HOSTS:
        files = tomllib.loads(certificates[name])
        for setting, path in files.items():
            _write_file(lab, name, f"/etc/cashy.{setting}", Path(path).read_bytes())
        _write_file(lab, name, "/etc/cashy.toml", _settings(name, files, addresses))
        master = [
            sys.executable,
            "-m",
            "cashy",
            "master",
            "--config",
            "/etc/cashy.toml",
            "--socket",
            SOCKET,
            "--origin",
            f"s3={store.url}",
        ]
        keys = [f"Environment={key}=origin" for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
        _start(lab, name, "cashy", master, "Restart=always", "RestartSec=100ms", *keys)
    _start(
        lab,
        "a",
        "dask-scheduler",
        [python, "-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--port", str(SCHEDULER_PORT)],
    )
    for name, address in addresses.items():
        options = [
            "--no-nanny",
            "--no-dashboard",
            "--nthreads",
            "2",
            "--name",
            name,
            "--host",
            address,
            "--local-directory",
            "/tmp",
        ]
        _start(
            lab,
            name,
            "dask-worker",
            [
                python,
                "-m",
                "distributed.cli.dask_worker",
                f"tcp://{addresses['a']}:{SCHEDULER_PORT}",
                *options,
            ],
        )


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    need_labs()
    python = python_of("dask")
    top = tmp_path_factory.mktemp("store")
    bucket = top / "research"
    bucket.mkdir()
    written = subprocess.run(
        [python, SCENARIO, "write", str(bucket)], capture_output=True, text=True, timeout=120, check=False
    )
    assert written.returncode == 0, written.stderr[-4000:]
    lab = Lab(f"dask{uuid.uuid4().hex[:6]}", HOSTS, LabOptions())
    with lab, FolderStore(top, lab.machine_address, block_bytes=MIB) as store:
        lab_id = lab.id
        _deploy(lab, python, store, tmp_path_factory.mktemp("cluster"))
        yield Floor(lab, store, json.loads(written.stdout), python)
    assert left_of(lab_id) == []


def _journals(floor: Floor) -> str:
    return "".join(
        floor.lab.hosts[name].journal("cashy", "dask-worker", "dask-scheduler", lines=60) for name in HOSTS
    )


def test_each_block_is_read_from_the_store_once_by_the_whole_cluster(floor: Floor) -> None:
    done = floor.lab.hosts["a"].run(floor.job("run"), timeout_s=200)
    assert done.returncode == 0, done.stderr[-4000:] + _journals(floor)
    assert json.loads(done.stdout) == floor.due["run"]
    blocks = floor.store.blocks("research/trades", "research/quotes.csv", "research/grid.zarr")
    gets = floor.store.gets
    assert gets.keys() == set(blocks)
    # A host that stands still for a second on a loaded machine is read around, and then asks for the block itself.
    assert sum(gets.values()) - len(gets) <= len(gets) // 16, gets
    counters = [floor.counters(name) for name in HOSTS]
    assert all(each["blocks_from_origin"] > 0 for each in counters), "every host is home to a part"
    assert sum(each["blocks_from_peer"] for each in counters) > 0


def test_a_worker_and_a_master_killed_in_the_middle_cost_time_and_no_result(floor: Floor) -> None:
    hosts = floor.lab.hosts
    job = subprocess.Popen(
        [*hosts["a"].ssh_argv(), *floor.job("killed")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert job.stdout is not None
        said = job.stdout.readline()
        assert said == "middle\n", said + _journals(floor)
        floor.lab.kill("b", "dask-worker", "KILL")
        before = (
            hosts["c"].run(["systemctl", "show", "--value", "--property=MainPID", "cashy"], check=True).stdout
        )
        floor.lab.kill("c", "cashy", "KILL")
        result, errors = job.communicate("go\n", timeout=200)
    finally:
        job.kill()
        job.wait()
    assert job.returncode == 0, errors[-4000:] + _journals(floor)
    assert json.loads(result) == floor.due["killed"]
    until(lambda: _main_pid(floor, "c") not in (before, "0\n"), "another master on c")
    assert hosts["b"].run(["systemctl", "is-active", "dask-worker"]).stdout.strip() == "failed"
    missing = floor.store.blocks("research/later") - set(floor.store.gets)
    assert not missing


def _main_pid(floor: Floor, host: str) -> str:
    return (
        floor.lab.hosts[host]
        .run(["systemctl", "show", "--value", "--property=MainPID", "cashy"], check=True)
        .stdout
    )
