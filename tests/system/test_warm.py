"""``cashy warm`` as a program: patterns, lists, resumption after SIGKILL, pace, and what it says of what fails."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import CountingStore, DevHost, wait_until

pytestmark = pytest.mark.system

MIB = 1 << 20


def command(host: DevHost, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "cashy", "warm", "--socket", str(host.socket), *map(str, arguments)]


def warm(
    host: DevHost, *arguments: object, code: int = 0, given: str = ""
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(host, *arguments), capture_output=True, text=True, input=given, timeout=120, check=False
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for number in range(6):
        for kind in ("csv", "bin"):
            path = folder / f"data/{number % 2}/n{number}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(MIB * number // 2))
    (folder / "data/a*b[c]").write_bytes(b"special")
    return folder


@pytest.fixture
def host(files: Path, tmp_path: Path) -> Iterator[DevHost]:
    with DevHost(tmp_path, f"file={files}", memory="32MiB", block="1MiB", workers=0) as made:
        yield made


def test_warms_what_patterns_and_lists_name(host: DevHost, files: Path, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text(f"file://{files}/data/a*b[c]\n\nfile://{files}/data/0/n0.csv\n")
    done = warm(host, "s3://data/**/*.csv", f"file://{files}/data/1/n1.csv", "--from", names, "--json")
    *each, end = events(done.stdout)
    warmed = {event["url"]: event["size"] for event in each}
    # Two names of one file are two names.
    expected = {f"s3://data/{n % 2}/n{n}.csv": MIB * n // 2 for n in range(6)}
    expected |= {f"file://{files}/data/1/n1.csv": MIB // 2, f"file://{files}/data/a*b[c]": 7, f"file://{files}/data/0/n0.csv": 0}  # fmt: skip
    assert warmed == expected
    assert (end["event"], end["failed"]) == ("end", 0)
    assert end["warmed"] + end["here"] == len(expected)
    with host.connect() as cache:
        assert all(set(cache.locate(name).tiers) <= {"local memory"} for name in expected)
        assert set(cache.locate("s3://data/1/n5.bin").tiers) == {"not on this host"}
    again = warm(host, "s3://data/**/*.csv")
    assert (
        again.stdout.strip() == "0 warmed (0 B loaded), 6 were in memory already"
        or "0 warmed" in again.stdout
    )
    assert "6 were in memory already" in again.stdout
    everything = warm(host, f"file://{files}/data/", "--json")
    assert events(everything.stdout)[-1]["here"] + events(everything.stdout)[-1]["warmed"] == 13


def test_says_what_failed_and_warms_the_rest(host: DevHost, files: Path) -> None:
    (files / "large").mkdir(exist_ok=True)
    with (files / "large/object").open("wb") as large:
        large.truncate(40 * MIB)
    arguments = (
        "s3://data/0/n2.csv",
        "s3://data/none",
        "s3://nowhere/x*",
        "s3://data/*.none",
        "s3://large/object",
        "nonsense",
    )
    done = warm(host, *arguments, code=3)
    assert done.stdout.startswith("1 warmed (1,048,576 bytes loaded), ")
    assert done.stdout.strip().endswith("5 failed")
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    for url, reason in (
        ("s3://data/none", "there is no such file"),
        ("s3://nowhere/x*", "there is no folder 'nowhere'"),
        ("s3://data/*.none", "no object's name matches"),
        ("s3://large/object", "do not fit the"),
        ("nonsense", "is not the name of an object"),
    ):
        assert any(line.startswith(f"cashy: failed: {url}: ") and reason in line for line in lines), lines
    *each, end = events(warm(host, *arguments, "--json", code=3).stdout)
    assert {event["url"]: event["code"] for event in each if event["event"] == "failed"} == {
        "s3://data/none": "NO_SUCH_OBJECT", "s3://nowhere/x*": "NO_SUCH_BUCKET", "s3://data/*.none": "NO_SUCH_OBJECT",
        "s3://large/object": "TOO_LARGE", "nonsense": "INVALID_NAME",
    }  # fmt: skip
    assert (end["failed"], end["here"]) == (5, 1)


def test_wrong_use_is_refused(host: DevHost, tmp_path: Path) -> None:
    assert "name something to warm" in warm(host, code=2).stderr
    assert "--rate" in warm(host, "s3://data/", "--rate", "fast", code=2).stderr
    assert "64" in warm(host, "s3://data/", "--parallel", 65, code=2).stderr
    warm(host, "s3://data/0/n0.csv", "--parallel", 64)
    assert "no-socket" in warm(host, "s3://data/", "--socket", tmp_path / "no-socket", code=1).stderr
    (tmp_path / "other").write_text("[settings]\n")
    assert (
        "no state of `cashy warm`" in warm(host, "s3://data/", "--state", tmp_path / "other", code=1).stderr
    )
    assert (tmp_path / "other").read_text() == "[settings]\n"


def test_keeps_to_its_rate(host: DevHost) -> None:
    began = time.monotonic()
    done = warm(host, "s3://data/**/*.bin", "--rate", "4MiB", "--json")
    loaded = events(done.stdout)[-1]["loaded_bytes"]
    assert loaded == sum(MIB * number // 2 for number in range(6))
    assert time.monotonic() - began >= (loaded - MIB) / (4 * MIB)


def test_a_terminal_shows_how_it_goes(host: DevHost) -> None:
    own, theirs = pty.openpty()
    child = subprocess.Popen(
        command(host, "s3://data/", "s3://data/none"), stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(own, 65536):
            shown += piece
    except OSError:  # its other end is closed
        pass
    finally:
        os.close(own)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 3
    assert output.startswith(
        b"11 warmed (15,728,647 bytes loaded), 2 were in memory"
    )  # of the empty ones all is
    assert b"11 warmed" in shown
    assert b"s3://data/none" in shown


def test_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    with CountingStore(block_s=0.05) as store:
        for number in range(40):
            store.put(f"o{number}", 2 * MIB if number % 4 else 1000)
        (tmp_path / "host").mkdir()
        with DevHost(
            tmp_path / "host", f"s3-anonymous={store.url}", memory="128MiB", block="1MiB", workers=0
        ) as host:
            _kill_and_go_on(host, store, tmp_path)


def _kill_and_go_on(host: DevHost, store: CountingStore, tmp_path: Path) -> None:
    names, state = tmp_path / "names", tmp_path / "state"
    names.write_text("".join(f"s3://bucket/{key}\n" for key in store.objects))
    arguments = ("--from", names, "--state", state, "--parallel", 4)
    first = subprocess.Popen(command(host, *arguments), stdout=subprocess.DEVNULL)
    wait_until(
        lambda: state.exists() and state.read_bytes().count(b"\n") >= 10, 60, "some objects to be done"
    )
    first.send_signal(signal.SIGSTOP)
    try:
        assert "in use by another" in warm(host, *arguments, code=1).stderr
    finally:
        first.send_signal(signal.SIGKILL)
    first.wait(20)
    recorded = [json.loads(line)["url"] for line in state.read_text().split("\n")[:-1]]
    assert 10 <= len(recorded) < 40
    before = sorted(store.gets)
    with state.open("ab") as file:
        file.write(b'{"arena": "0123')  # as a write that was cut off
    *each, end = events(warm(host, *arguments, "--json").stdout)
    assert (end["skipped"], end["failed"]) == (len(recorded), 0)
    assert sorted([event["url"] for event in each] + recorded) == sorted(
        f"s3://bucket/{key}" for key in store.objects
    )
    done_keys = {url.rpartition("/")[2] for url in recorded}
    assert [get for get in sorted(store.gets) if get[0] in done_keys] == [
        get for get in before if get[0] in done_keys
    ]
    repeated = {get for get in store.gets if store.gets.count(get) > 1}
    assert (
        len(repeated) <= 4 * 5
    )  # what was under way at the kill: of each object under way one block, and four ahead
    with host.connect() as cache:
        assert all(set(cache.locate(f"s3://bucket/{key}").tiers) == {"local memory"} for key in store.objects)
    last = warm(host, *arguments)
    assert last.stdout.strip().endswith("40 were done before")


def test_what_another_memory_had_is_done_again(host: DevHost, files: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    warm(host, "s3://data/0/", "--state", state)
    count = state.read_text().count("\n")
    text = state.read_text()
    arena = json.loads(text.split("\n", 1)[0])["arena"]
    state.write_text(text.replace(arena, "0" * 16))
    done = warm(host, "s3://data/0/", "--state", state)
    assert f"{count} objects" in done.stderr
    assert "memory that is gone" in done.stderr
    assert f"{count} were in memory already" in done.stdout
