"""The public API's definition: buf's rules, and every message, field and value documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_buf_has_nothing_to_say() -> None:
    buf = Path(sys.executable).with_name("buf")
    done = subprocess.run(
        [buf, "lint", str(REPOSITORY / "protos")], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
