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

import cashy
from cashy.cli.dev_hosts import HOSTS_MAX
from cashy.cli.ports import reserved_address
from cashy.errors import ConfigError
from cashy.setting_values import Address

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

    def hosts(self) -> list[dict[str, Any]]:
        """What the ready line says of each host."""
        return list(self.ready["hosts"])

    def masters(self) -> list[int]:
        return sorted(pid for pid, name in self.processes().items() if name == "master")

    def leftovers(self) -> list[Path]:
        sockets = [Path(entry["socket"]) for entry in self.hosts()]
        found = [*sockets, *SHM.glob(f"cashy.{os.geteuid()}.dev-{self.process.pid}*")]
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
    assert set(host.ready) == {"ready", "s3", "socket", "pid", "hosts"}
    assert host.ready["ready"] is True
    assert host.ready["pid"] == host.process.pid
    assert host.ready["s3"].startswith("http://127.0.0.1:")
    assert Path(host.ready["socket"]).is_socket()
    assert Path(host.ready["socket"]).parent.stat().st_mode & 0o777 == 0o700
    assert set(host.children()) == {"master", "s3"}
    (entry,) = host.hosts()
    assert set(entry) == {"name", "s3", "socket", "peer", "metrics", "master_pid"}
    assert (entry["name"], entry["s3"], entry["socket"]) == ("host1", host.ready["s3"], host.ready["socket"])
    assert (entry["peer"], entry["master_pid"]) == (None, host.children()["master"])
    for url in (entry["metrics"]["master"], *entry["metrics"]["s3"]):
        assert b"# HELP" in (read(url) or b"")
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


# ---------------------------------------------------------------- several hosts


def arguments_of(pid: int) -> list[str]:
    return command_of(str(pid))


def test_hosts_have_everything_of_their_own(start: Callable[..., Host]) -> None:
    cluster = start("--hosts", "3")
    hosts = cluster.hosts()
    assert [entry["name"] for entry in hosts] == ["host1", "host2", "host3"]
    assert (cluster.ready["s3"], cluster.ready["socket"]) == (hosts[0]["s3"], hosts[0]["socket"])
    for key in ("s3", "socket", "peer", "master_pid"):
        assert len({entry[key] for entry in hosts}) == 3, key
    metrics = [url for entry in hosts for url in (entry["metrics"]["master"], *entry["metrics"]["s3"])]
    assert len(set(metrics)) == 6
    assert sorted(entry["master_pid"] for entry in hosts) == cluster.masters()
    for number, entry in enumerate(hosts, 1):
        assert Path(entry["socket"]).is_socket()
        assert entry["socket"].endswith(f".{number}")
        assert read(f"{entry['s3']}/bucket/hello") == b"hello, world"
        assert list(SHM.glob(f"cashy.{os.geteuid()}.dev-{cluster.process.pid}-{number}"))
    for url in metrics:
        page = read(url) or b""
        assert b"# HELP" in page, url
        assert b'host="host' in page, url
    folder = Path(hosts[0]["socket"]).parent
    assert cluster.stop() == 0
    assert cluster.leftovers() == []
    assert not folder.exists()


def test_hosts_know_each_other(start: Callable[..., Host]) -> None:
    cluster = start("--hosts", "3", "--s3-workers", "0")
    hosts = cluster.hosts()
    peers = [f"{entry['name']}={entry['peer']}" for entry in hosts]
    for entry in hosts:
        arguments = arguments_of(entry["master_pid"])
        given = [arguments[at + 1] for at, argument in enumerate(arguments) if argument == "--peer"]
        assert given == peers, "the same list everywhere"
        assert arguments[arguments.index("--cluster-host") + 1] == entry["name"]
        key = Path(arguments[arguments.index("--cluster-tls-key") + 1])
        assert key.stat().st_mode & 0o777 == 0o600
        secret = key.read_text().splitlines()[1]
        assert len(secret) >= 32
        assert secret not in " ".join(arguments)
        with cashy.connect(entry["socket"]) as cache:
            assert cache.status().host == entry["name"]


def test_socket_path_and_instance_are_numbered(start: Callable[..., Host], tmp_path: Path) -> None:
    path, instance = tmp_path / "c.sock", f"t{os.getpid()}"
    cluster = start("--hosts", "2", "--socket", str(path), "--instance", instance, "--s3-workers", "0")
    assert [entry["socket"] for entry in cluster.hosts()] == [f"{path}.1", f"{path}.2"]
    assert [entry["s3"] for entry in cluster.hosts()] == [None, None]
    assert len([name for name in SHM.glob(f"cashy.{os.geteuid()}.{instance}-?") if name.is_dir()]) == 2
    assert cluster.stop() == 0
    assert cluster.leftovers() == []
    assert list(SHM.glob(f"cashy.{os.geteuid()}.{instance}*")) == []


def test_given_ports_are_counted_up(start: Callable[..., Host]) -> None:
    with reserved_address(Address("127.0.0.1:0"), "") as free:
        first = (
            free.port - 2
        )  # somewhere in the range of free ports; a neighbour may be taken, then try another
    while not all(is_free(first + place) for place in range(2)):
        first -= 2
    cluster = start("--hosts", "2", "--s3", f"127.0.0.1:{first}")
    assert [entry["s3"] for entry in cluster.hosts()] == [
        f"http://127.0.0.1:{first}",
        f"http://127.0.0.1:{first + 1}",
    ]
    assert cluster.stop() == 0


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.mark.parametrize("fallen", ["master", "s3"])
def test_fallen_daemon_of_one_host_is_restarted_where_it_was(start: Callable[..., Host], fallen: str) -> None:
    """Its ports too: the other hosts look for it there, and the ready line said so."""
    cluster = start("--hosts", "2")
    last = cluster.hosts()[-1]
    pids = {pid for pid, name in cluster.processes().items() if name == fallen}
    pid = (
        last["master_pid"]
        if fallen == "master"
        else max(pids, key=lambda pid: s3_port(pid) == port_of(last["s3"]))
    )
    os.kill(pid, signal.SIGKILL)
    assert eventually(
        lambda: list(cluster.processes().values()).count(fallen) == 2 and pid not in cluster.processes()
    )
    assert eventually(lambda: read(f"{last['s3']}/bucket/hello") == b"hello, world")
    if fallen == "master":
        assert eventually(lambda: listens(last["peer"]))
    url = last["metrics"]["master"] if fallen == "master" else last["metrics"]["s3"][0]
    assert eventually(lambda: b"# HELP" in (read(url) or b""))
    assert cluster.stop() == 0
    assert cluster.leftovers() == []


def s3_port(pid: int) -> int:
    arguments = arguments_of(pid)
    return port_of(arguments[arguments.index("--s3") + 1])


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def listens(address: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port_of(address)), timeout=5).close()
    except OSError:
        return False
    return True


def test_killed_hosts_leave_nothing_in_the_end(start: Callable[..., Host]) -> None:
    cluster = start("--hosts", "3", "--s3-workers", "0")
    os.kill(cluster.process.pid, signal.SIGSTOP)  # so that it does not restart them before the end
    for pid in cluster.masters():
        os.kill(pid, signal.SIGKILL)
    cluster.process.send_signal(signal.SIGTERM)
    os.kill(cluster.process.pid, signal.SIGCONT)
    assert cluster.process.wait(timeout=30) == 0
    assert cluster.leftovers() == []


def test_single_hosts_join_the_cluster_they_are_told_of(start: Callable[..., Host], tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("0123456789abcdef")
    with contextlib.ExitStack() as ports:
        addresses = {name: ports.enter_context(reserved_address(Address("127.0.0.1:0"), "")) for name in "ab"}
        peers = [part for name, address in addresses.items() for part in ("--peer", f"{name}={address}")]
        for name, address in addresses.items():
            host = start(*peers, "--cluster-host", name, "--cluster-key", str(key), "--cluster-insecure")
            (entry,) = host.hosts()
            assert (entry["name"], entry["peer"]) == (name, address)
            assert read(f"{entry['s3']}/bucket/hello") == b"hello, world"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hosts", "2", "--peer", "a=127.0.0.1:1", "--cluster-host", "a", "--cluster-key", "/k", "--cluster-insecure"], "leave out --hosts, or"),
        (["--hosts", "2", "--s3", "127.0.0.1:65535"], "port 65536 is needed, too, beside 127.0.0.1:65535"),
        (["--hosts", "2", "--socket", "/tmp/" + "s" * 101], "is longer than the 107 bytes"),
    ],
)  # fmt: skip
def test_hosts_that_cannot_be_are_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    stderr = run_failing(tmp_path, "--origin", f"file={tmp_path}", "--s3", "127.0.0.1:0", *arguments)
    assert message in stderr
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize("count", ["0", str(HOSTS_MAX + 1), "many"])
def test_number_of_hosts_has_limits(tmp_path: Path, count: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cashy", "dev", "--hosts", count],
        env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "--hosts" in done.stderr


def test_reserved_port_serves_who_asks_for_it_and_nobody_else() -> None:
    with reserved_address(Address("127.0.0.1:0"), "") as address:
        with pytest.raises(ConfigError, match=r"cannot listen on .*; go away"), held(address):
            pass
        for _ in range(2):  # a daemon, and the one started in its place
            with socket.create_server((address.host, address.port)) as server:
                socket.create_connection(server.getsockname(), timeout=5).close()
                with pytest.raises(OSError, match="in use"):
                    socket.create_server((address.host, address.port)).close()
    with reserved_address(address, "") as again:
        assert again == address


@contextlib.contextmanager
def held(address: Address) -> Iterator[None]:
    """Somebody else's listener on the port is noticed."""
    with (
        socket.create_server((address.host, address.port)),
        reserved_address(address, "go away"),
    ):
        yield
