"""A server for the command line, and the environment that names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.toucan.client.mini_server import MiniServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MiniServer]:
    made = MiniServer()
    monkeypatch.setenv("TOUCAN_SERVER", made.address)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TOUCAN_TOKEN_FILE", raising=False)
    monkeypatch.delenv("TOUCAN_TLS_CA", raising=False)
    monkeypatch.delenv("TOUCAN_ACCOUNT", raising=False)
    yield made
    made.close()
