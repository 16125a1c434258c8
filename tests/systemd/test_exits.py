"""How daemons end that cannot begin: by their exit code a supervisor knows whether to try again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from toucan.process_failure import EXIT_CONFIG

DEFAULTS = Path(__file__).resolve().parents[2] / "systemd/examples"


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, **environ}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("process", ["engine", "server", "web"])
def test_wrong_settings_of_toucan_are_told_from_what_may_pass(tmp_path: Path, process: str) -> None:
    config = tmp_path / "toucan.toml"
    config.write_text("[engine]\nsokcet = 1\n")
    done = run("toucan.cli", process, "--config", str(config))
    assert done.returncode == EXIT_CONFIG
    assert done.stderr == f"toucan: error: {config}:2: unknown key 'engine.sokcet'; did you mean 'socket'?\n"


def test_wrong_instruments_end_the_exchange_with_the_same(tmp_path: Path) -> None:
    table = tmp_path / "instruments.toml"
    table.write_text("[[instrument]]\nsybmol = 1\n")
    done = run("toucan.cli", "exchange", "--listen", str(tmp_path / "x.sock"), "--instruments", str(table))
    assert done.returncode == EXIT_CONFIG
    assert f"{table}:2: " in done.stderr


def test_a_taken_address_may_pass(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        exchange = run(
            "toucan.cli", "exchange", "--listen", str(tmp_path / "x.sock"), "--tcp", address,
            "--instruments", str(DEFAULTS / "instruments.toml"),
        )  # fmt: skip
        config = tmp_path / "toucan.toml"
        config.write_text(
            f'[server]\nlisten = "{address}"\nlocal_user = "me"\n[engine]\nsocket = "{tmp_path}/e"\n'
            f'[web]\nlisten = "{address}"\nlocal_user = "me"\nstate = "{tmp_path}/web"\n'
        )
        web = run("toucan.cli", "web", "--config", str(config))
        server = run("toucan.cli", "server", "--config", str(config))
        worker = run(
            "cashy",
            "s3",
            "--s3",
            address,
            "--anonymous",
            "--socket",
            str(tmp_path / "c"),
            CASHY_CONFIG=os.devnull,
        )
    for done in (exchange, server, web, worker):
        assert done.returncode == 1, done.stderr
        assert "cannot listen on" in done.stderr


def test_a_missing_mount_may_pass(tmp_path: Path) -> None:
    done = run(
        "cashy", "master", "--origin", f"file={tmp_path}/away", "--instance", f"exit{os.getpid()}", "--socket",
        str(tmp_path / "c"), "--remove-on-exit", CASHY_CONFIG=os.devnull,
    )  # fmt: skip
    assert (done.returncode, "is not a directory" in done.stderr) == (1, True)
