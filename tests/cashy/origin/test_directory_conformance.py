"""The directory origin passes the conformance kit, with ``openat2`` and without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cashy.origin import beneath
from cashy.origin.base import Origin
from cashy.origin.directory import DirectoryOrigin

from .conformance import CHECKS, RUNNERS


class DirectoryPlace:
    """A directory and its origin. Objects are replaced by rename, as one should."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.origin: Origin = DirectoryOrigin("directory", root, threads=3, read_timeout_s=30)

    def make_bucket(self, bucket: str) -> None:
        (self.root / bucket).mkdir(exist_ok=True)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        path = self.root / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.root / ".scratch"
        scratch.write_bytes(data)
        os.replace(scratch, path)


@pytest.mark.parametrize("opener", ["openat2", "walk"])
@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("check", CHECKS)
def test_conformance(
    check: str, loop: str, opener: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if opener == "walk":
        monkeypatch.setattr(beneath, "can_openat2", lambda: False)
    elif not beneath.can_openat2():
        pytest.skip("this kernel or sandbox has no openat2; the other half of these tests covers the walk")

    async def main() -> None:
        place = DirectoryPlace(tmp_path)
        try:
            await CHECKS[check](place)
        finally:
            await place.origin.close()
        assert place.origin.counters()["threads"] == 0

    RUNNERS[loop](main())
