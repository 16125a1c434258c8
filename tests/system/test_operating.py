"""Operating a real host: hits that nobody is told of are counted, /metrics says so, ``cashy top`` shows it and leaves the terminal as it was."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import cashy
from cashy.metrics.table import Resolver
from hostkit.notify import NotifyReceiver

from .harness import NOT_HEDGED, DevCluster, DevHost, RunningHost, wait_until
from .reading import wait_until_joined

pytestmark = pytest.mark.system

KIB = 1 << 10
BLOCK = 64 * KIB
SIZE = 10 * BLOCK + 100


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("origin")
    (folder / "bucket").mkdir()
    for name in ("a", "b", "c", "d"):
        (folder / "bucket" / name).write_bytes(os.urandom(SIZE))
    return folder


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, origin: Path) -> Iterator[DevHost]:
    config = '[freshness]\nrevalidate_after_s = 3600\n[log]\nlevel = "warning"\n'
    folder = tmp_path_factory.mktemp("host")
    with DevHost(folder, f"file={origin}", memory="16MiB", block="64KiB", workers=2, config=config) as host:
        yield host


def scrape(url: str) -> dict[str, float]:
    """Samples of /metrics as ``name{label="value"}``."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        page = answer.read().decode()
    time.sleep(0.25)  # the page is made anew after a while
    return {
        sample.name + "".join(f'{{{key}="{value}"}}' for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }  # fmt: skip


def rise(host: DevHost, work: Callable[[], None]) -> dict[str, int]:
    """What the master's counters rose by."""
    before = host.counters()
    work()
    return {name: value - before.get(name, 0) for name, value in host.counters().items()}


# --- hits ---


def test_hits_of_jobs_and_s3_workers_are_counted(host: DevHost, origin: Path) -> None:
    url = f"file://{origin}/bucket/a"
    with host.connect() as cache:
        cold = rise(host, lambda: cache.read(url).release())
        assert (cold["hits_memory"], cold["hit_bytes_memory"]) == (0, 0)
        assert (cold["blocks_from_origin"], cold["bytes_from_origin"]) == (11, SIZE)
        warm = rise(host, lambda: cache.read(url, 10, 2 * BLOCK).release())
        assert (warm["hits_memory"], warm["hit_bytes_memory"]) == (3, 2 * BLOCK)
        assert warm["blocks_from_origin"] == 0
    s3 = host.s3()

    def get() -> None:
        for _ in range(4):
            assert len(s3.get_object(Bucket="bucket", Key="a", Range="bytes=5-104")["Body"].read()) == 100

    get()  # the first one asks: the S3 name of the same file is another name
    over_http = rise(host, get)
    assert (over_http["hits_memory"], over_http["hit_bytes_memory"]) == (4, 400)


def test_a_whole_object_over_s3_counts_each_block_once(host: DevHost) -> None:
    s3 = host.s3()

    def get() -> None:
        assert len(s3.get_object(Bucket="bucket", Key="b")["Body"].read()) == SIZE

    cold = rise(host, get)
    assert cold["blocks_from_origin"] == 11
    assert cold["hits_memory"] == 0, "what was asked for ahead was no hit"
    warm = rise(host, get)
    assert (warm["blocks_from_origin"], warm["hits_memory"], warm["hit_bytes_memory"]) == (0, 11, SIZE)


def test_hits_of_a_client_that_is_gone_stay(host: DevHost, origin: Path) -> None:
    url = f"file://{origin}/bucket/c"
    code = f"import cashy\nwith cashy.connect({str(host.socket)!r}) as c:\n    for _ in range(5): c.read({url!r}, 0, 10).release()"

    def work() -> None:
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        wait_until(lambda: host.counters()["tables_retired"] > tables, what="its table's retirement")

    tables = host.counters().get("tables_retired", 0)
    risen = rise(host, work)
    assert (risen["hits_memory"], risen["hit_bytes_memory"]) == (4, 40)


# --- the cluster's report ---


def test_a_host_without_a_cluster_reports_itself(host: DevHost) -> None:
    async def ask() -> Any:
        async with cashy.aio.connect(host.socket) as cache:
            return await cache.cluster()

    with host.connect() as cache:
        reports = [cache.cluster(), asyncio.run(ask())]
        for report in reports:
            (one,) = report.hosts
            assert one.is_self
            assert not one.error
            assert one.status.pid == host.master_pid()
            assert one.status.uptime_s > 0
            assert one.status.counters["clients"] >= 1
            assert one.name


# --- /metrics ---


def test_the_master_shows_what_it_counts(host: DevHost, origin: Path) -> None:
    url = host.metrics["master"]
    assert url
    with host.connect() as cache:
        cache.read(f"file://{origin}/bucket/d").release()
        before = scrape(url)
        cache.read(f"file://{origin}/bucket/d").release()
        after = scrape(url)
    assert after['cashy_blocks_total{tier="memory"}'] - before['cashy_blocks_total{tier="memory"}'] == 11
    assert after['cashy_bytes_total{tier="memory"}'] - before['cashy_bytes_total{tier="memory"}'] == SIZE
    assert after['cashy_blocks_total{tier="origin"}'] == before['cashy_blocks_total{tier="origin"}'] >= 11
    assert after["cashy_arena_used_bytes"] > 0
    assert after["process_resident_memory_bytes"] > 0
    assert any(name.startswith("cashy_origin_reads_total{") and value > 0 for name, value in after.items())
    assert any(name.startswith("cashy_info") and '{daemon="master"}' in name for name in after)


def test_every_worker_has_metrics_of_its_own(host: DevHost) -> None:
    urls = host.metrics["s3"]
    assert len(set(urls)) == 2
    before = [scrape(url)["cashy_s3_requests_total"] for url in urls]
    clients = [host.s3() for _ in range(6)]  # each with a connection of its own
    for client in clients:
        client.head_object(Bucket="bucket", Key="a")
        with pytest.raises(client.exceptions.ClientError):
            client.head_object(Bucket="bucket", Key="missing")
    pages = [scrape(url) for url in urls]
    assert sum(page["cashy_s3_requests_total"] for page in pages) - sum(before) == 12
    assert sum(page.get('cashy_s3_errors_total{code="NoSuchKey"}', 0) for page in pages) >= 6
    assert sum(page["cashy_s3_connections"] for page in pages) >= 6


def test_a_worker_whose_port_is_taken_takes_the_next_one(host: DevHost, tmp_path: Path) -> None:
    taken = host.metrics["s3"][0].removeprefix("http://").removesuffix("/metrics")
    receiver = NotifyReceiver(tmp_path)
    command = [
        sys.executable,
        "-m",
        "cashy",
        "s3",
        "--config",
        os.devnull,
        "--socket",
        str(host.socket),
        "--s3",
        "127.0.0.1:0",
    ]
    worker = subprocess.Popen(
        [*command, "--anonymous", "--metrics", taken],
        env=os.environ | {"NOTIFY_SOCKET": str(receiver.path)}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        said: dict[str, str] = {}

        def is_ready() -> bool:
            for notification in receiver.receive():
                said.update(notification.fields)
            assert worker.poll() is None
            return "READY" in said

        wait_until(is_ready, 30, "the worker")
        address = said["X_CASHY_METRICS"]
        before, after = (int(text.rpartition(":")[2]) for text in (taken, address))
        assert before < after <= before + 64
        assert scrape(f"http://{address}/metrics")["cashy_s3_requests_total"] == 0
    finally:
        worker.terminate()
        assert worker.wait(20) == 0
        receiver.close()


def test_no_counter_of_a_running_host_is_missing_from_the_table(host: DevHost) -> None:
    resolver = Resolver("master")
    assert [name for name in host.counters() if resolver.find(name) is None] == []


# --- cashy top ---


def top(host: RunningHost, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cashy", "top", "--socket", str(host.socket), *options],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_piped_it_is_a_table_once(host: DevHost) -> None:
    done = top(host, "--interval", "0.1")
    assert (done.returncode, done.stderr) == (0, "")
    titles, headings, figures = done.stdout.splitlines()
    assert titles.split()[:3] == ["memory", "peers", "origin"]
    assert len(figures.split()) == len(headings.split()) == 24
    assert "\x1b" not in done.stdout


def test_json_once_and_running(host: DevHost) -> None:
    done = top(host, "--once", "--json", "--interval", "0.1")
    (line,) = done.stdout.splitlines()
    made = json.loads(line)
    assert made["hosts_up"] == 1
    assert made["hosts"][0]["arena_bytes"] == 16 << 20
    assert made["hosts"][0]["reads_per_s"]["origin"] == 0
    command = [
        sys.executable,
        "-m",
        "cashy",
        "top",
        "--socket",
        str(host.socket),
        "--json",
        "--interval",
        "0.1",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert running.stderr is not None
            assert [json.loads(running.stdout.readline())["hosts_up"] for _ in range(3)] == [1, 1, 1]
            running.send_signal(signal.SIGINT)
            assert running.wait(20) == 0
            assert running.stderr.read() == ""
        finally:
            running.kill()


def test_rates_are_seen_while_somebody_reads(host: DevHost, origin: Path) -> None:
    with host.connect() as cache:
        cache.read(f"file://{origin}/bucket/a").release()
        command = [
            sys.executable,
            "-m",
            "cashy",
            "top",
            "--socket",
            str(host.socket),
            "--json",
            "--interval",
            "0.2",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            try:
                assert running.stdout is not None
                made: dict[str, Any] = {"total": {"shares": None}}
                deadline = time.monotonic() + 30
                while made["total"]["shares"] is None and time.monotonic() < deadline:
                    for _ in range(100):
                        cache.read(f"file://{origin}/bucket/a", 0, BLOCK).release()
                    if select.select([running.stdout], [], [], 0)[0]:
                        made = json.loads(running.stdout.readline())
            finally:
                running.kill()
    assert made["total"]["shares"] == {"memory": 1, "ssd": 0, "peer": 0, "origin": 0}
    assert made["total"]["reads_per_s"]["memory"] > 0
    assert made["total"]["bytes_per_s"]["memory"] == pytest.approx(
        made["total"]["reads_per_s"]["memory"] * BLOCK,
        rel=0.01,  # the two are not read at the same instant
    )


def test_without_a_daemon_it_is_one_line_and_no_screen(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cashy", "top", "--socket", str(tmp_path / "none.sock")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cashy: error: ")
    assert done.stderr.count("\n") == 1


class Terminal:
    """``cashy top`` on a terminal of its own."""

    def __init__(self, host: DevHost, columns: int = 80, lines: int = 24) -> None:
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(self._theirs)
        self.output = b""
        # Who runs the tests may have a fixed size, which would count for more than the terminal's.
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cashy", "top", "--socket", str(host.socket), "--interval", "0.2"],
            stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env=environment | {"TERM": "xterm-256color"},
        )  # fmt: skip

    def read_until(self, wanted: bytes, timeout_s: float = 30.0) -> None:
        """Reads on until ``wanted`` has been written since the last call."""
        start = len(self.output)
        deadline = time.monotonic() + timeout_s
        while wanted not in self.output[start:]:
            left = deadline - time.monotonic()
            assert left > 0, f"{wanted!r} did not come: {self.output[start:][-2000:]!r}"
            if select.select([self._ours], [], [], left)[0]:
                self.output += os.read(self._ours, 65536)

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self._theirs)

    def ended(self) -> int:
        """The exit code, with the rest of the output read."""
        deadline = time.monotonic() + 20
        while self.process.poll() is None or select.select([self._ours], [], [], 0)[0]:
            assert time.monotonic() < deadline, "it does not end"
            if select.select([self._ours], [], [], 0.05)[0]:
                self.output += os.read(self._ours, 65536)
        return self.process.returncode

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


ALTERNATE_ON, ALTERNATE_OFF, CURSOR_ON = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


@pytest.mark.parametrize(
    "leave",
    [
        lambda terminal: terminal.type(b"q"),
        lambda terminal: terminal.type(b"\x03"),
        lambda terminal: terminal.process.send_signal(signal.SIGTERM),
    ],
    ids=["q", "ctrl-c", "SIGTERM"],
)
def test_the_terminal_is_as_it_was(host: DevHost, leave: Callable[[Terminal], None]) -> None:
    with Terminal(host) as terminal:
        terminal.read_until(b"since start")
        assert ALTERNATE_ON in terminal.output
        assert not terminal.settings()[3] & (termios.ICANON | termios.ECHO)
        leave(terminal)
        assert terminal.ended() == 0
        assert terminal.settings() == terminal.before
        assert terminal.output.rindex(ALTERNATE_OFF) > terminal.output.rindex(ALTERNATE_ON)
        assert terminal.output.rindex(CURSOR_ON) > terminal.output.rindex(b"\x1b[?25l")
        assert b"Traceback" not in terminal.output


def test_a_resized_window_is_drawn_anew(host: DevHost) -> None:
    with Terminal(host) as terminal:
        terminal.read_until(b"origin load")
        terminal.resize(160, 40)
        wide, deadline = False, time.monotonic() + 20
        while not wide:
            assert time.monotonic() < deadline, "the wide table was not drawn"
            terminal.read_until(b"q quits")
            lines = terminal.output.split(b"\r\n")
            wide = any(b"memory" in line and b"master" in line for line in lines)  # side by side
        terminal.type(b"q")
        assert terminal.ended() == 0


def test_a_master_that_hangs_is_seen_and_the_keys_still_work(host: DevHost) -> None:
    with Terminal(host) as terminal:
        terminal.read_until(b"since start")
        with host.hanging_master():
            terminal.read_until(b"no answer for")
            started = time.monotonic()
            terminal.type(b"q")
            assert terminal.ended() == 0
            assert time.monotonic() - started < 10
        assert terminal.settings() == terminal.before


def test_a_restarted_master_is_followed(host: DevHost) -> None:
    """Last of this module: the master that comes has counters of its own."""
    with Terminal(host) as terminal:
        terminal.read_until(b"since start")
        host.wait_for_other_master(host.kill_master())
        terminal.read_until(b"since start")
        terminal.read_until(b"since start")
        assert b"Traceback" not in terminal.output
        terminal.type(b"q")
        assert terminal.ended() == 0


# --- a cluster ---


@contextmanager
def read_twice_everywhere(folder: Path, origin: Path) -> Iterator[DevCluster]:
    """A cluster whose hosts have read one object, each of its blocks once from where it is: a connection that broke is not what is tested."""
    config = '[log]\nlevel = "warning"\n' + NOT_HEDGED
    for attempt in range(3):
        own = folder / str(attempt)
        own.mkdir()
        with DevCluster(
            2,
            own,
            f"file={origin}",
            memory="16MiB",
            block="64KiB",
            workers=0,
            config=config,
        ) as cluster:
            wait_until_joined(cluster)
            for host in cluster.hosts:
                with host.connect() as reader:
                    for _ in range(2):
                        reader.read(f"file://{origin}/bucket/a").release()
                    failed = sum(one.status.counters["peer_reads_failed"] for one in reader.cluster().hosts)
            if not failed:
                yield cluster
                return
    raise AssertionError("connections between the hosts break again and again")


def test_a_cluster_is_seen_through_any_of_its_hosts(tmp_path: Path, origin: Path) -> None:
    with read_twice_everywhere(tmp_path, origin) as cluster:
        first, second = cluster.hosts
        with first.connect() as cache, second.connect() as other:
            report = cache.cluster()
            assert [(one.name, one.is_self, one.error) for one in report.hosts] == [
                (first.name, True, ""),
                (second.name, False, ""),
            ]
            assert [one.name for one in other.cluster().hosts] == [second.name, first.name]
            own, others = (one.status.counters for one in report.hosts)
            assert own["blocks_from_origin"] + others["blocks_from_origin"] == 11, "each block once"
            assert own["blocks_from_peer"] == others["blocks_from_origin"], "the others are at home there"
            assert others["blocks_from_peer"] == own["blocks_from_origin"]
            assert own["hits_memory"] == 11
            assert others["hits_memory"] == 11 + others["blocks_from_origin"], (
                "what is at home there was there already"
            )
            resolver = Resolver("master")
            unknown = {
                name for one in report.hosts for name in one.status.counters if resolver.find(name) is None
            }
            assert unknown == set()
            made = json.loads(top(first, "--once", "--json", "--interval", "0.2").stdout)
            assert made["hosts_up"] == 2
            hits = 22 + others["blocks_from_origin"]
            whole = hits + 11 + 11
            assert made["total"]["shares_since_start"] == {
                "memory": hits / whole,
                "ssd": 0,
                "peer": 11 / whole,
                "origin": 11 / whole,
            }
            with second.hanging_master():
                wait_until(lambda: bool(cache.cluster().hosts[1].error), 20, "the other host's absence")
                made = json.loads(top(first, "--once", "--json", "--interval", "0.2").stdout)
            assert [host["up"] for host in made["hosts"]] == [True, False]
            error = made["hosts"][1]["error"]
            assert error.startswith("no "), error
            assert second.name not in error, "its name stands before it"
            not_read = cache.locate(f"file://{origin}/bucket/b")
            assert set(not_read.tiers) == {"not on this host"}
            assert (not_read.host, set(not_read.homes)) == (first.name, {first.name, second.name})
            done = subprocess.run(
                [sys.executable, "-m", "cashy", "stat", f"file://{origin}/bucket/b", "--socket", str(first.socket)],
                capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
            homes = Counter(not_read.homes)
            there = homes[second.name]
            elsewhere = (
                f"at home on {second.name} ({there}: {there} not there), this host ({homes[first.name]})"
            )
            assert f"not on this host; {elsewhere}" in done.stdout
