"""People who come and leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.labshell.app.person import Person


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Callable[..., Person]]:
    came: list[Person] = []

    def come(*arguments: str, **options: Any) -> Person:
        came.append(Person(tmp_path, *arguments, **options))
        return came[-1]

    yield come
    for one in came:
        one.close()
