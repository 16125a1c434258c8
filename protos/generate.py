"""Generates ipc/aviary from protos/ (``--check``: compares instead, and exits 1 if the checked-in code is stale)."""

from __future__ import annotations

import argparse
import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GENERATED = ROOT / "ipc" / "aviary"
BANNER = '"""GENERATED from protos/ by protos/generate.py; edit the .proto files instead."""\n'

__all__ = ["generate", "stale_files"]


def generate(out: Path) -> None:
    """Writes the whole ``aviary`` package below ``out``."""
    sources = sorted(str(p.relative_to(PROTOS)) for p in PROTOS.rglob("*.proto"))
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{PROTOS}",
        f"--python_out={out}",
        f"--pyi_out={out}",
    ]
    subprocess.run([*command, *sources], check=True, cwd=PROTOS)
    with_services = [source for source in sources if "\nservice " in (PROTOS / source).read_text()]
    subprocess.run([*command[:4], f"--grpc_python_out={out}", *with_services], check=True, cwd=PROTOS)
    package = out / "aviary"
    for folder in [package, *(p for p in package.rglob("*") if p.is_dir() and p.name != "__pycache__")]:
        (folder / "__init__.py").write_text(BANNER)
    (package / "py.typed").touch()


def stale_files(fresh: Path, checked_in: Path) -> list[str]:
    """Names files that differ between two ``aviary`` trees, or are in one of them only."""
    names = {
        str(p.relative_to(tree))
        for tree in (fresh, checked_in)
        for p in tree.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    return sorted(
        n
        for n in names
        if not (fresh / n).is_file()
        or not (checked_in / n).is_file()
        or not filecmp.cmp(fresh / n, checked_in / n, shallow=False)
    )


def main() -> int:
    """Generates or checks; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="compare with the checked-in code instead of writing it"
    )
    if not parser.parse_args().check:
        generate(GENERATED.parent)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = stale_files(Path(folder) / "aviary", GENERATED)
    for name in stale:
        print(f"stale: ipc/aviary/{name}; run python protos/generate.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
