"""Who may import whom: the contracts of import-linter in pyproject.toml, and what ``import cashy`` pulls in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

#: What a job that only reads must not load: event loops, parsers and stubs of daemons.
HEAVY = (
    "botocore", "click", "fsspec", "grpc", "httptools", "msgspec", "prometheus_client", "rich", "structlog", "uvloop",
    "cashy.cli", "cashy.fs", "cashy.master", "cashy.numpy", "cashy.origin", "cashy.s3", "cashy.settings", "numpy",
)  # fmt: skip


def test_contracts_hold() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["cashy", "cashy.client"])
def test_client_library_is_light(module: str, tmp_path: Path) -> None:
    program = f"import sys, {module}; print(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "cashy" in loaded
    assert [name for name in HEAVY if name in loaded] == []
