"""The shell: how soon a question about many hosts is answered, and a key is on the screen."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labtest.namespaces import Lab, LabsNotPossible

from .generator import REPOSITORY
from .row import Bench, Measurement, Unavailable, against_limit, alternate

__all__ = ["key_to_screen", "run_on_many_hosts", "status_of_three_hosts"]

KEY_LIMIT_MS = 16.0
#: A unit that every host has.
UNIT = "systemd-journald.service"


def status_of_three_hosts(bench: Bench) -> Measurement:
    """``status`` in a session whose connections are up, against ansible's ad hoc question for the same, with its ssh masters up."""
    ansible = Path(sys.executable).parent / "ansible"
    if not ansible.exists():
        raise Unavailable("ansible-core is not installed: make bench installs it")
    with _lab(bench.folder, 3) as (lab, spec), _Session(spec) as session:
        inventory = bench.folder / "hosts.ini"
        inventory.write_text("".join(f"{name}\n" for name in lab.hosts))
        ask = [str(ansible), "all", "-i", str(inventory), "-m", "ansible.builtin.command",
               "-a", f"systemctl show --property ActiveState,SubState,MainPID,NRestarts {UNIT}"]  # fmt: skip
        environment = {
            **os.environ,
            "ANSIBLE_SSH_ARGS": f"-F {lab.ssh_config} -o ControlMaster=auto -o ControlPersist=60s",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_CONTROL_PATH_DIR": str(bench.folder / "cp"),
            "ANSIBLE_HOME": str(bench.folder / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_PYTHON_INTERPRETER": lab.python,
        }

        def peer() -> float:
            began_s = time.perf_counter()
            done = subprocess.run(
                ask, env=environment, capture_output=True, text=True, timeout=60, check=True
            )
            assert done.stdout.count("ActiveState=active") == len(lab.hosts), done.stdout
            return (time.perf_counter() - began_s) * 1000

        def ours() -> float:
            took_s, answer = session.ask("status")
            states = [one["condition"] for one in answer["result"]]
            assert states == ["running"] * len(lab.hosts), answer
            return took_s * 1000

        return alternate(bench, ours, peer)


def run_on_many_hosts(bench: Bench) -> Measurement:
    """``run true`` on 20 hosts at once, against the slowest of the same 20 one by one, in one session."""
    with _lab(bench.folder, bench.scaled(20, 3)) as (lab, spec), _Session(spec) as session:

        def on(hosts: str) -> float:
            took_s, answer = session.ask(f"run --on {hosts} true")
            assert answer["exit"] == 0, answer
            return took_s * 1000

        return alternate(bench, lambda: on("@all"), lambda: max(on(host) for host in lab.hosts))


def key_to_screen(bench: Bench) -> Measurement:
    """The 99th percentile of keys while 100,000 log lines a second are shown above the prompt."""
    from tests.labshell.app.latency import measure

    found = []
    for run in range(bench.runs):
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            found.append(measure(Path(folder), keys=bench.scaled(300, 40), seed=run))
    return against_limit(
        [one.p99_ms for one in found],
        KEY_LIMIT_MS,
        p50_ms=round(sorted(one.p50_ms for one in found)[len(found) // 2], 2),
        slowest_ms=round(max(one.max_ms for one in found), 2),
        lines_per_s=round(min(one.rate for one in found)),
    )


@contextlib.contextmanager
def _lab(folder: Path, count: int) -> Iterator[tuple[Lab, Path]]:
    """Hosts, and the spec of an environment that looks at one unit on each."""
    hosts = [f"h{number}" for number in range(1, count + 1)]
    spec = folder / "bench.toml"
    name = f"bench{os.getpid()}"
    text = [f'name = "{name}"', f'[hosts."h[1-{count}]"]', 'kind = "namespace"', "[processes.journal]"]
    spec.write_text("\n".join([*text, 'hosts = ["@all"]', f'unit = "{UNIT}"']) + "\n")
    try:
        with Lab(name, hosts) as lab:
            yield lab, spec
    except LabsNotPossible as error:
        raise Unavailable(str(error)) from error


class _Session:
    """A shell that is there already, asked line by line."""

    def __init__(self, spec: Path) -> None:
        command = [sys.executable, "-m", "labshell", str(spec), "--json"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        while self.ask("hosts")[1]["result"][0]["link"] != "up":
            time.sleep(0.05)
        self.ask("status")

    def ask(self, line: str) -> tuple[float, dict[str, Any]]:
        """Seconds until the whole answer is there, and the answer."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        began_s = time.perf_counter()
        process.stdin.write(line + "\n")
        process.stdin.flush()
        text = process.stdout.readline()
        took_s = time.perf_counter() - began_s
        assert text, f"the shell has ended with {process.wait(timeout=10)}"
        return took_s, json.loads(text)

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)
