"""An instance of shared memory per test, removed afterwards."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from shmipc.instance import Instance


@pytest.fixture
def instance() -> Iterator[Instance]:
    made = Instance("cashytest", f"{os.getpid()}-{uuid.uuid4().hex[:8]}")
    made.acquire()
    yield made
    made.remove()
    made.close()
