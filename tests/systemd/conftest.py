"""What tests of units share: a wheel of this source, and what `make install-systemd` makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SYSTEMD = REPOSITORY / "systemd"


def make(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs make in the repository, with the Python that runs the tests."""
    return subprocess.run(
        ["make", "--no-print-directory", *arguments, f"PYTHON={sys.executable}"],
        cwd=REPOSITORY, capture_output=True, text=True, check=check, timeout=300, stdin=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
    )  # fmt: skip


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this source."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=REPOSITORY, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DESTDIR into which everything was installed once; leave it as it is."""
    destdir = tmp_path_factory.mktemp("destdir")
    make("install-systemd", f"DESTDIR={destdir}", f"WHEEL={wheel}")
    return destdir
