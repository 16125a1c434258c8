"""What CI relies on: a skipped test fails its run, and the hooks' configuration is valid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("body", "require_all", "exit_code"),
    [
        ("assert True", "1", 0),
        ("pytest.skip('lost something')", "1", 1),
        ("pytest.skip('lost something')", "", 0),
        ("assert False", "1", 1),
    ],
)
def test_skipped_test_fails_a_run_that_requires_all(
    tmp_path: Path, body: str, require_all: str, exit_code: int
) -> None:
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_one.py").write_text(
        f"import pytest\ndef test_one():\n    {body}\ndef test_two():\n    pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(tmp_path)],
        env={**os.environ, "CASHY_REQUIRE_ALL_TESTS": require_all},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == exit_code, done.stdout
    assert "passed" in done.stdout
    assert ("a skipped test is a failure" in done.stdout) == ("skip" in body and require_all == "1")


def test_hooks_are_valid_and_download_nothing() -> None:
    path = REPOSITORY / ".pre-commit-config.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    repositories = [
        line.split("repo:")[1].strip() for line in path.read_text().splitlines() if "- repo:" in line
    ]
    assert repositories == ["local"]
