"""Disks that are tried again soon, and file systems of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cashy.core import disk_health

from .disks import BLOCK
from .file_systems import Ext4


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_health, "PROBE_S", 0.1)
    monkeypatch.setattr(disk_health, "PROBE_S_MAX", 0.2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for ten blocks."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={10 * BLOCK + (2 << 20)}", "tmpfs", str(folder)], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Ext4]:
    """An ext4 of 64 MiB in a file, mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    if not Path("/dev/loop-control").exists():
        pytest.skip("a file system in a file needs loop devices")
    file_system = Ext4(tmp_path / "image", tmp_path / "mounted")
    file_system.mount()
    try:
        yield file_system
    finally:
        file_system.close()
