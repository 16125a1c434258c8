"""What importing the client costs, and what it must not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FOREIGN = ("click", "rich", "prompt_toolkit", "msgspec", "structlog", "uvloop", "shmipc", "cashy")


@pytest.mark.parametrize("module", ["toucan.client", "toucan.client.aio"])
def test_the_client_needs_no_package_of_daemons_or_command_line(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.split()) & set(_FOREIGN) == set()
    program = f"import sys, {module}; print(*(name for name in sys.modules if name.startswith('toucan.')))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    ours = {name for name in done.stdout.split() if not name.startswith("toucan.client")}
    assert ours <= {"toucan.core", "toucan.core.values"}
