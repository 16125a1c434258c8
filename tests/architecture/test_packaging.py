"""The wheel holds the packages and nothing else, and works away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_wheel_is_complete_and_imports_from_an_empty_folder(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(REPOSITORY),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"cashy", "shmipc", "aviary"} <= tops
    assert not {"daemons", "ipc", "tests"} & tops
    assert {"cashy/py.typed", "shmipc/py.typed", "cashy/cli/dev.py"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)

    unpacked = tmp_path / "site"
    install = [*pip, "install", "--no-deps", "--target", str(unpacked), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    # -S keeps the editable install of the checkout out; dependencies are added by hand behind the wheel.
    dependencies = next(path for path in sys.path if path.endswith("site-packages"))
    program = f"import sys; sys.path[:0] = [{str(unpacked)!r}, {dependencies!r}]; import cashy; print(cashy.__file__)"
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.strip() == str(unpacked / "cashy" / "__init__.py")
