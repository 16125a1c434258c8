"""The worker as a process of its own: how it begins and what it says when it cannot."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from cashy.errors import ConfigError, NotConnected
from cashy.s3 import main
from cashy.s3.main import format_address, open_listener, run
from cashy.settings import load_settings


def settings_for(tmp_path: Path, **s3: object) -> object:
    overrides: Mapping[str, object] = {
        "instance.socket": str(tmp_path / "cashy.sock"), "s3.listen": "127.0.0.1:0",
        **{f"s3.{name}": value for name, value in s3.items()},
    }  # fmt: skip
    return load_settings(None, overrides, {})


def test_without_a_master_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "MASTER_START_S", 0.1)
    with pytest.raises(NotConnected, match=r"cashy\.sock"):
        run(settings_for(tmp_path, anonymous=True))  # type: ignore[arg-type]


def test_a_world_readable_credentials_file_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('[key.A]\nsecret = "x"\n')
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        run(settings_for(tmp_path, credentials=str(path)))  # type: ignore[arg-type]


def test_workers_share_an_address() -> None:
    with open_listener("127.0.0.1", 0) as first:
        address = first.getsockname()
        first.listen()
        with open_listener(*address) as second:
            assert second.getsockname() == address


def test_a_taken_address_is_an_error_that_names_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        host, port = other.getsockname()
        with pytest.raises(ConfigError, match=f"cannot listen on {host}:{port}: {os.strerror(98)}"):
            open_listener(host, port)


def test_a_host_that_is_none_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on no\.such\.host"):
        open_listener("no.such.host.invalid", 0)


def test_addresses_as_text() -> None:
    assert format_address(("127.0.0.1", 80)) == "127.0.0.1:80"
    assert format_address(("::1", 80, 0, 0)) == "[::1]:80"
