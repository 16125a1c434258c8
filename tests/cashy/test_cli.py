"""The command line itself: usage, errors and exit codes, and how options become settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cashy.cli import cashy_group
from cashy.cli.options import command_line_of, overrides_of
from cashy.cli.stat import block_runs, home_counts
from cashy.settings import load_settings


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CASHY_")}
    return subprocess.run(
        [sys.executable, "-m", "cashy", *arguments],
        env={**environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def parse(command: str, *arguments: str) -> dict[str, object]:
    found = cashy_group.commands[command]
    return dict(found.make_context(command, list(arguments)).params)


@pytest.mark.parametrize("command", sorted(cashy_group.commands))
def test_help_of_each_command(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert "Usage: cashy " + command in done.stdout
    assert done.stderr == ""


def test_version() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("cashy, version ")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["get"], 2, "Missing argument 'URL'"),
        (["dev", "--orign", "x"], 2, "No such option"),
        (["dev", "--origin", "x"], 2, "write s3=URL, s3-anonymous=URL or file=DIRECTORY"),
        (["dev", "--peer", "x"], 2, "--peer: 'x' is no peer; write NAME=HOST:PORT or NAME=HOST:PORT,WEIGHT"),
        (
            ["master", "--origin", "file=/", "--peer", "a=h:1", "--cluster-key", "/k", "--cluster-insecure"],
            78,
            "which of them is this one? Give cluster.host or --cluster-host, one of: a",
        ),
        (["dev", "--s3-workers", "many"], 2, "'many' is not a valid integer"),
        (["dev", "--eviction", "random"], 2, "Invalid value for '--eviction'"),
        (["master", "--memory", "lots", "--origin", "file=/"], 2, "--memory: 'lots' is no size"),
        (
            ["master", "--block-size", "5MiB", "--origin", "file=/"],
            2,
            "--block-size: '5MiB' is no block size",
        ),
        (["dev", "--s3", "here", "--origin", "file=/"], 2, "--s3: 'here' is no address"),
        (["master"], 78, "no origin is configured"),
        (["dev"], 1, "no origin is configured"),
        (
            ["master", "--origin", "file=/", "--cluster-host", "a"],
            78,
            'this host is "a" of a cluster, but there are no peers',
        ),
        (
            ["dev", "--origin", "file=/", "--cluster-host", "a"],
            1,
            'this host is "a" of a cluster, but there are no peers',
        ),
        (["dev", "--config", "/nonexistent/x.toml"], 1, "cannot read the configuration /nonexistent/x.toml"),
        (["stat", "s3://b/k", "--socket", "/nonexistent/cashy.sock"], 1, "/nonexistent/cashy.sock"),
        (["get", "s3://b/k", "--socket", "/nonexistent/cashy.sock"], 1, "/nonexistent/cashy.sock"),
    ],
)
def test_error_is_one_line(arguments: list[str], exit_code: int, message: str) -> None:
    done = run(*arguments)
    assert done.returncode == exit_code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("cashy: error: ")
    assert message in line


def test_mistake_in_the_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "cashy.toml"
    path.write_text("[memory]\nblocksize = 1\n")
    expected = f'cashy: error: {path}:2: unknown key "blocksize" in [memory]; did you mean "block_size"?\n'
    for done in (run("master", "--config", str(path)), run("s3", CASHY_CONFIG=str(path))):
        assert (done.returncode, done.stderr) == (78, expected)


def test_options_become_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parameters = parse(
        "dev", "--origin", "s3=http://h:1", "--origin", "file=data", "--memory", "1GiB", "--block-size", "1MiB",
        "--s3", "127.0.0.1:0", "--socket", "c.sock", "--s3-workers", "3", "--anonymous", "--credentials", "keys.toml",
        "--revalidate-after", "0.5",
    )  # fmt: skip
    settings = load_settings(None, overrides_of(parameters), {})
    assert [origin.name for origin in settings.origins] == ["http://h:1", str(tmp_path / "data")]
    assert (settings.memory.size_bytes, settings.memory.block_bytes) == (1 << 30, 1 << 20)
    assert (settings.s3.listen, settings.s3.workers, settings.s3.anonymous) == ("127.0.0.1:0", 3, True)
    assert settings.s3.credentials == tmp_path / "keys.toml"
    assert settings.instance.socket == tmp_path / "c.sock"
    assert settings.freshness.revalidate_after_s == 0.5


def test_no_option_replaces_nothing() -> None:
    assert overrides_of(parse("dev")) == {}


@pytest.mark.parametrize("command", ["master", "s3"])
def test_parameters_survive_being_passed_on(command: str) -> None:
    """``cashy dev`` hands its parameters to its children as arguments: they must mean the same there."""
    given = parse(
        "dev", "--origin", "s3=http://h:1", "--origin", "file=/srv/a b", "--memory", "64MiB", "--no-anonymous",
        "--s3", "127.0.0.1:0", "--log-format", "json", "--peer", "a=h:1", "--peer", "b=[::1]:2,0.5", "--cluster-host", "a",
        "--cluster-key", "/srv/a b/key", "--cluster-listen", "0.0.0.0:1", "--cluster-tls-certificate", "/c", "--no-cluster-insecure",
    )  # fmt: skip
    first, *arguments = command_line_of(command, None, given)
    assert first == command
    passed = parse(command, *arguments)
    assert passed["config"] == Path(os.devnull)
    for name, value in passed.items():
        if name != "config" and name in given:
            assert value == given[name]


def test_an_optional_file_is_only_read_when_named() -> None:
    assert isinstance(cashy_group.commands["dev"], click.Command)
    assert command_line_of("master", Path("/etc/x.toml"), {})[:3] == ["master", "--config", "/etc/x.toml"]


def test_neighbouring_blocks_are_joined() -> None:
    assert block_runs([]) == []
    assert block_runs(["a", "a", "b", "a"]) == [(0, 1, "a"), (2, 2, "b"), (3, 3, "a")]


def test_homes_of_blocks_that_are_not_here_are_named_and_counted() -> None:
    assert home_counts(["host2"], "host1") == "at home on host2"
    assert home_counts(["host1"], "host1") == "at home on this host"
    assert home_counts(["host3", "host1", "host3"], "host1") == "at home on host3 (2), this host (1)"
    assert home_counts(["host2"], "host1", ["SSD"]) == "at home on host2 (SSD)"
    found = home_counts(
        ["host3", "host1", "host3", "host3", "host2"], "host1", ["memory", "", "SSD", "memory", "unknown"]
    )
    assert found == "at home on host2 (1: 1 unknown), host3 (3: 2 memory, 1 SSD), this host (1)"
