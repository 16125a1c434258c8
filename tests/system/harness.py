"""Whole hosts as processes, and origins that misbehave on purpose."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import boto3
import botocore.config
from tests.cashy.cluster_certificates import certified

import cashy
from shmipc.errors import OwnerAlive
from shmipc.instance import Instance

__all__ = [
    "KEY",
    "NOT_HEDGED",
    "SECRET",
    "CountingStore",
    "DevCluster",
    "DevHost",
    "FaultyStore",
    "RunningHost",
    "free_port",
    "lone_hosts",
    "s3_client",
    "started_store",
    "wait_until",
]

KEY = "AKIDEXAMPLE"
#: For hosts whose blocks and frames are counted one by one: on a loaded machine a host is late now and then, and then others are asked too.
NOT_HEDGED = "[cluster]\nhedge = false\n"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def wait_until(condition: Callable[[], bool], timeout_s: float = 15.0, what: str = "the condition") -> None:
    """Polls; fails the test when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.02)


def s3_client(url: str, *, key: str = KEY, secret: str = SECRET, retries: int = 0) -> Any:
    """boto3's client, path style, without retries of its own."""
    config = botocore.config.Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": retries + 1},
        read_timeout=60,
        connect_timeout=10,
    )
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=config,
    )


class RunningHost:
    """One host of a running ``cashy dev``, by its entry in the ready line."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.name: str = entry["name"]
        self.socket = Path(entry["socket"])
        self.url: str = entry["s3"]
        #: Where the other hosts reach it, HOST:PORT; None outside a cluster.
        self.peer: str | None = entry["peer"]
        #: URLs of /metrics: {"master": …, "s3": […]}.
        self.metrics: dict[str, Any] = entry["metrics"]
        self._s3_clients: list[Any] = []

    def connect(self, **options: Any) -> cashy.Cache:
        """A client of this host."""
        return cashy.connect(self.socket, **options)

    def s3(self, **options: Any) -> Any:
        """An S3 client of this host; closed with it."""
        client = s3_client(self.url, **options)
        self._s3_clients.append(client)
        return client

    def counters(self) -> dict[str, int]:
        """The master's counters."""
        with self.connect() as cache:
            return dict(cache.status().counters)

    def master_pid(self) -> int:
        """Process id of the master."""
        with self.connect() as cache:
            return int(cache.status().pid)

    def kill_master(self) -> int:
        """SIGKILL; returns the process id it had. ``cashy dev`` starts another one."""
        pid = self.master_pid()
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def hanging_master(self) -> Iterator[None]:
        """The master stands still (SIGSTOP), with all its connections open, until the end."""
        pid = self.master_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def wait_for_other_master(self, pid: int, timeout_s: float = 30.0) -> None:
        """Waits until a master answers that is not process ``pid``."""
        wait_until(lambda: self._has_other_master(pid), timeout_s, f"a new master of {self.name}")

    def _has_other_master(self, pid: int) -> bool:
        try:
            return self.master_pid() != pid
        except (cashy.CashyError, OSError):
            return False

    def close_s3_clients(self) -> None:
        """Closes what :meth:`s3` gave."""
        for client in self._s3_clients:
            client.close()


class DevCluster:
    """A ``cashy dev --hosts N`` with its workers; a context manager that leaves nothing behind."""

    def __init__(
        self,
        host_count: int,
        folder: Path,
        *origins: str,
        memory: str = "64MiB",
        block: str = "4MiB",
        workers: int = 1,
        config: str = "",
        variables: dict[str, str] | None = None,
        more_keys: str = "",
    ) -> None:
        self.folder = folder
        credentials = folder / "credentials.toml"
        own_key = f'[key.{KEY}]\nsecret = "{SECRET}"\nbuckets = ["*"]\nrights = "read-write"\n'
        credentials.write_text(own_key + more_keys)
        credentials.chmod(0o600)
        settings = folder / "cashy.toml"
        settings.write_text(config)
        options = {
            "--hosts": host_count,
            "--config": settings,
            "--memory": memory,
            "--block-size": block,
            "--socket": folder / "cashy.sock",
            "--credentials": credentials,
            "--s3": "127.0.0.1:0",
            "--s3-workers": workers,
        }
        command = [sys.executable, "-m", "cashy", "dev"]
        for option, value in [*options.items(), *(("--origin", origin) for origin in origins)]:
            command += [option, str(value)]
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": "origin",
            "AWS_SECRET_ACCESS_KEY": "origin",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        environment |= variables or {}
        self._log = (folder / "log").open("ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self._reap()
            raise AssertionError(f"cashy dev did not start:\n{self.log()}")
        self.ready: dict[str, Any] = json.loads(line)
        self.hosts = [RunningHost(entry) for entry in self.ready["hosts"]]

    def log(self) -> str:
        """What the daemons logged."""
        return (self.folder / "log").read_text(errors="replace")

    def counters(self) -> dict[str, int]:
        """The masters' counters, added up."""
        total: Counter[str] = Counter()
        for host in self.hosts:
            total.update(host.counters())
        return dict(total)

    def close(self) -> None:
        """An orderly end."""
        for host in self.hosts:
            host.close_s3_clients()
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(30) == 0, self.log()
        finally:
            self._reap()

    def kill_for_good(self) -> None:
        """SIGKILL to all its processes, as when a machine dies: nothing comes back, and nobody says good-bye. For a single host."""
        pid = self.process.pid
        os.kill(pid, signal.SIGSTOP)  # so that it restarts nobody meanwhile
        for each in (*_children_of(pid), pid):
            os.kill(each, signal.SIGKILL)
        self._reap()
        wait_until(lambda: _removed_memory(f"dev-{pid}"), what="the end of the killed processes")

    @property
    def is_gone(self) -> bool:
        """Whether it was killed, or has ended."""
        return self.process.poll() is not None

    def _reap(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DevHost(RunningHost):
    """A ``cashy dev`` of one host with its workers; a context manager that leaves nothing behind."""

    def __init__(
        self,
        folder: Path,
        *origins: str,
        memory: str = "64MiB",
        block: str = "4MiB",
        workers: int = 1,
        config: str = "",
        variables: dict[str, str] | None = None,
    ) -> None:
        self._cluster = DevCluster(
            1,
            folder,
            *origins,
            memory=memory,
            block=block,
            workers=workers,
            config=config,
            variables=variables,
        )
        super().__init__(self._cluster.ready["hosts"][0])
        self.folder = folder
        self.process = self._cluster.process
        self.ready = self._cluster.ready

    def log(self) -> str:
        """What the daemons logged."""
        return self._cluster.log()

    def kill_for_good(self) -> None:
        """SIGKILL to all its processes; see :meth:`DevCluster.kill_for_good`."""
        self._cluster.kill_for_good()

    def close(self) -> None:
        """An orderly end, unless it is gone for good."""
        self.close_s3_clients()
        if not self._cluster.is_gone:
            self._cluster.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _removed_memory(instance: str) -> bool:
    """Removes what a killed master has left in shared memory; False while it still lives."""
    left = Instance("cashy", instance)
    try:
        left.acquire()
    except OwnerAlive:
        return False
    left.remove()
    left.close()
    return True


def _children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def lone_hosts(
    folder: Path, count: int, *origins: str, config: str = "", cluster: str = "[cluster]\n", **options: Any
) -> Iterator[list[DevHost]]:
    """A cluster of hosts with a ``cashy dev`` each, named a, b, …: any of them can be killed as a whole. ``options`` are those of a ``DevHost``.

    ``cluster`` is the beginning of that table.
    """
    names = [chr(ord("a") + number) for number in range(count)]
    certificates = certified(folder / "ca", names)
    peers = "".join(f'[[peer]]\nname = "{name}"\naddress = "127.0.0.1:{free_port()}"\n' for name in names)
    with ExitStack() as stack:
        hosts = []
        for name in names:
            (folder / name).mkdir()
            own = f'{config}{cluster}host = "{name}"\n{certificates[name]}{peers}'
            hosts.append(stack.enter_context(DevHost(folder / name, *origins, config=own, **options)))
        wait_until(lambda: all(_hears_all(host) for host in hosts), 30, "all hosts know each other")
        yield hosts


def _hears_all(host: RunningHost) -> bool:
    with host.connect() as cache:
        return not any(other.error for other in cache.cluster().hosts)


@contextmanager
def started_store() -> Iterator[str]:
    """moto's S3 server in a process of its own; gives its URL."""
    code = (
        "import sys; from moto.server import ThreadedMotoServer; s = ThreadedMotoServer('127.0.0.1', 0, verbose=False); s.start();"
        "print('http://%s:%d' % s.get_host_and_port(), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


class FaultyStore:
    """An S3 store of one object that answers as ``behave`` says: it gets the request's head and the socket's file."""

    def __init__(self, behave: Callable[[str, Any], None]) -> None:
        self.requests: list[str] = []
        requests = self.requests

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                head = b""
                while True:
                    line = b""
                    with suppress(ConnectionResetError):
                        line = self.rfile.readline()
                    if not line:
                        return
                    head += line
                    if line == b"\r\n":
                        requests.append(head.decode())
                        try:
                            behave(head.decode(), self)
                        except (BrokenPipeError, ConnectionResetError):
                            return
                        if self.connection.fileno() < 0:
                            return
                        head = b""

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class CountingStore(FaultyStore):
    """A store of the bucket "bucket", which notes every block that it was asked for (``gets``) and that it has given whole (``given``).

    ``block_s``: how long it takes for each, in small pieces, and how long before the first byte of an object. Blocks have ``block_bytes``.
    """

    _TARGET = re.compile(r"^(GET|HEAD) /bucket/(\S+) ")
    _RANGE = re.compile(r"^range: bytes=(\d+)-(\d+)", re.IGNORECASE | re.MULTILINE)
    _PIECES = 16

    def __init__(self, *, block_bytes: int = 1 << 20, block_s: float = 0.0) -> None:
        super().__init__(self._answer)
        self.objects: dict[str, bytes] = {}
        self.gets: list[tuple[str, int]] = []
        self.given: list[tuple[str, int]] = []
        self._block_bytes = block_bytes
        self._block_s = block_s
        self._may_give = threading.Event()
        self._may_give.set()

    def put(self, key: str, size_bytes: int) -> bytes:
        """Makes an object of random bytes; gives them."""
        self.objects[key] = data = os.urandom(size_bytes)
        return data

    def hold(self) -> None:
        """From now on no byte of an object leaves."""
        self._may_give.clear()

    def let_go(self) -> None:
        """It goes on."""
        self._may_give.set()

    def _answer(self, head: str, handler: Any) -> None:
        target, wanted = self._TARGET.search(head), self._RANGE.search(head)
        assert target is not None, head
        key = target[2]
        data = self.objects[key]
        about = f'ETag: "{key}"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
        if target[1] == "HEAD":
            handler.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n{about}\r\n".encode())
            return
        assert wanted is not None, head
        first, last = int(wanted[1]), int(wanted[2])
        part = memoryview(data)[first : last + 1]
        self.gets.append((key, first // self._block_bytes))
        if first == 0:
            time.sleep(self._block_s)
        handler.wfile.write(
            f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(part)}\r\n{about}"
            f"Content-Range: bytes {first}-{first + len(part) - 1}/{len(data)}\r\n\r\n".encode()
        )
        for number in range(self._PIECES):
            time.sleep(self._block_s / self._PIECES)
            self._may_give.wait(60)
            handler.wfile.write(
                part[number * len(part) // self._PIECES : (number + 1) * len(part) // self._PIECES]
            )
        self.given.append((key, first // self._block_bytes))
