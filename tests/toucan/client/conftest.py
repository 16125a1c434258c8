"""A server and clients that are gone after the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.toucan.client.mini_server import MiniServer

from toucan.client import Toucan, connect


@pytest.fixture
def server() -> Iterator[MiniServer]:
    made = MiniServer()
    yield made
    made.close()


@pytest.fixture
def client(server: MiniServer) -> Iterator[Toucan]:
    with connect(server.address) as made:
        yield made
