"""``cashy dev`` as a user meets it: ready line, service, falls, ends, and nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

SHM = Path("/dev/shm")


class Host:
    """A running ``cashy dev`` and its ready line."""

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready

    def children(self) -> dict[str, int]:
        """The daemons by their command name; of several workers one."""
        return {name: pid for pid, name in self.processes().items()}

    def processes(self) -> dict[int, str]:
        """All daemons: process and command name."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        commands = {int(pid): command_of(pid) for pid in pids}
        return {pid: command[3] for pid, command in commands.items() if len(command) > 3}

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def leftovers(self) -> list[Path]:
        found = [Path(self.ready["socket"]), *SHM.glob(f"cashy.{os.geteuid()}.dev-{self.process.pid}*")]
        return [path for path in found if path.exists()]


def command_of(pid: str) -> list[str]:
    """The command line of a process; empty for one that has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def environment(tmp_path: Path) -> dict[str, str]:
    names = {name: value for name, value in os.environ.items() if not name.startswith(("CASHY_", "XDG_"))}
    (tmp_path / "run").mkdir(exist_ok=True)
    return {**names, "XDG_RUNTIME_DIR": str(tmp_path / "run")}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    (tmp_path / "data" / "bucket").mkdir(parents=True)
    (tmp_path / "data" / "bucket" / "hello").write_bytes(b"hello, world")
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, origin: str = f"file={tmp_path / 'data'}") -> Host:
            command = [sys.executable, "-m", "cashy", "dev", "--origin", origin, "--memory", "32MiB"]
            process = subprocess.Popen(
                [*command, "--s3", "127.0.0.1:0", "--anonymous", *arguments],
                env=environment(tmp_path), stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            stack.callback(end, process)
            assert process.stdout is not None
            return Host(process, json.loads(process.stdout.readline() or "null"))

        yield start


def end(process: subprocess.Popen[str]) -> None:
    """Ends it in order if it still runs, so that its children clean up, and closes the pipe."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
    process.communicate()


def eventually(condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def read(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bytes(answer.read())
    except OSError:
        return None


def test_ready_line_service_and_clean_end(start: Callable[..., Host]) -> None:
    host = start()
    assert set(host.ready) == {"ready", "s3", "socket", "pid"}
    assert host.ready["ready"] is True
    assert host.ready["pid"] == host.process.pid
    assert host.ready["s3"].startswith("http://127.0.0.1:")
    assert Path(host.ready["socket"]).is_socket()
    assert Path(host.ready["socket"]).parent.stat().st_mode & 0o777 == 0o700
    assert set(host.children()) == {"master", "s3"}
    assert read(f"{host.ready['s3']}/bucket/hello") == b"hello, world"
    assert host.stop() == 0
    assert host.process.stdout is not None
    assert host.process.stdout.read() == "", "one line only"
    assert host.leftovers() == []
    assert not Path(host.ready["socket"]).parent.exists()


def test_interrupt_ends_it_too(start: Callable[..., Host]) -> None:
    host = start("--s3-workers", "0")
    assert host.ready["s3"] is None
    assert host.stop(signal.SIGINT) == 0
    assert host.leftovers() == []


@pytest.mark.parametrize("fallen", ["master", "s3"])
def test_fallen_daemon_is_restarted_at_the_same_place(start: Callable[..., Host], fallen: str) -> None:
    host = start()
    url = f"{host.ready['s3']}/bucket/hello"
    assert read(url) == b"hello, world"
    old = host.children()
    os.kill(old[fallen], signal.SIGKILL)
    assert eventually(lambda: host.children().get(fallen, old[fallen]) != old[fallen])
    assert eventually(lambda: read(url) == b"hello, world")
    assert host.stop() == 0
    assert host.leftovers() == []


def test_workers_share_the_address(start: Callable[..., Host]) -> None:
    host = start("--s3-workers", "2")
    workers = {pid for pid, name in host.processes().items() if name == "s3"}
    assert len(workers) == 2
    url = f"{host.ready['s3']}/bucket/hello"
    for pid in workers:  # whichever is left answers
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: read(url) == b"hello, world")
        assert eventually(lambda: list(host.processes().values()).count("s3") == 2)
    assert host.stop() == 0
    assert host.leftovers() == []


def test_children_do_not_outlive_a_kill(start: Callable[..., Host]) -> None:
    host = start()
    children = host.children().values()
    host.stop(signal.SIGKILL)
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    assert host.leftovers() == [], "the master was told by the kernel, and removed its own"


def test_killed_master_leaves_nothing_in_the_end(start: Callable[..., Host]) -> None:
    host = start("--s3-workers", "0")
    os.kill(host.process.pid, signal.SIGSTOP)  # so that it does not restart it before the end
    os.kill(host.children()["master"], signal.SIGKILL)
    host.process.send_signal(signal.SIGTERM)
    os.kill(host.process.pid, signal.SIGCONT)
    assert host.process.wait(timeout=30) == 0
    assert host.leftovers() == []


def run_failing(tmp_path: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cashy", "dev", *arguments],
        env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert list((tmp_path / "run").iterdir()) == []
    return done.stderr


def test_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        stderr = run_failing(tmp_path, "--origin", f"file={tmp_path}", "--s3", address)
    assert f"cashy: error: cannot listen on {address}: {os.strerror(errno.EADDRINUSE)}" in stderr


def test_host_on_the_port_is_told(start: Callable[..., Host], tmp_path: Path) -> None:
    """Another host's workers would share the port, were it only for SO_REUSEPORT."""
    host = start()
    address = host.ready["s3"].removeprefix("http://")
    other = tmp_path / "other"
    other.mkdir()
    assert f"cannot listen on {address}" in run_failing(
        other, "--origin", f"file={tmp_path}", "--s3", address
    )
    assert read(f"{host.ready['s3']}/bucket/hello") == b"hello, world"


def test_missing_directory_is_told(tmp_path: Path) -> None:
    stderr = run_failing(tmp_path, "--origin", f"file={tmp_path / 'nowhere'}", "--s3", "127.0.0.1:0")
    first, *_, last = [line for line in stderr.splitlines() if line.startswith("cashy: error:")]
    assert "nowhere" in first
    assert "cashy master did not start (exit status 1)" in last


def test_too_little_shared_memory_is_told(tmp_path: Path) -> None:
    stderr = run_failing(
        tmp_path, "--origin", f"file={tmp_path}", "--s3", "127.0.0.1:0", "--memory", "512TiB"
    )
    assert "cashy master did not start" in stderr
    assert "/dev/shm" in stderr


def test_socket_of_another_host_is_left_alone(start: Callable[..., Host], tmp_path: Path) -> None:
    host = start()
    other = tmp_path / "other"
    other.mkdir()
    run_failing(
        other, "--origin", f"file={tmp_path}", "--s3", "127.0.0.1:0", "--socket", host.ready["socket"]
    )
    assert Path(host.ready["socket"]).is_socket()
    assert read(f"{host.ready['s3']}/bucket/hello") == b"hello, world"


def test_get_and_stat(start: Callable[..., Host], tmp_path: Path) -> None:
    host = start()
    data = os.urandom(9 << 20)
    (tmp_path / "data" / "bucket" / "large").write_bytes(data)
    target = tmp_path / "target"
    target.write_bytes(b"old")

    def cashy(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "cashy", *arguments]
        environ = {**os.environ, "CASHY_SOCKET": host.ready["socket"]}
        return subprocess.run(command, env=environ, capture_output=True, check=False, timeout=60)

    url = f"file://{tmp_path}/data/bucket/large"
    done = cashy("get", url, "-o", str(target), "--checksum")
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert target.read_bytes() == data
    assert done.stderr.decode().endswith(f"  {url}\n")
    assert cashy("get", "s3://bucket/hello").stdout == b"hello, world"

    done = cashy("stat", url, "--json")
    assert done.returncode == 0, done.stderr
    stat = json.loads(done.stdout)
    assert (stat["name"], stat["size"], stat["block_size"]) == (url, 9 << 20, 4 << 20)
    assert len(stat["blocks"]) == 3
    assert len(set(stat["blocks"])) == 1
    done = cashy("stat", url)
    assert b"9,437,184 bytes" in done.stdout
    assert b"0 to 2" in done.stdout

    before = sorted(tmp_path.iterdir())
    done = cashy("get", "s3://bucket/missing", "-o", str(tmp_path / "new"))
    assert done.returncode == 1
    assert done.stderr.startswith(b"cashy: error: ")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
    assert target.read_bytes() == data
