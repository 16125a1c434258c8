"""Pages of ``docs/`` that are made from code: written, or looked at whether they still say what the code says.

A module with such pages is called as ``python -m MODULE docs [--check]``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["run", "stale_pages"]


def stale_pages(pages: Mapping[str, str], folder: Path) -> list[str]:
    """Names the pages (file name and text) that are missing in ``folder`` or differ there."""
    return [name for name, text in pages.items() if not _says(folder / name, text)]


def _says(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def run(pages: Mapping[str, str], module: str, arguments: Sequence[str]) -> int:
    """Writes what is stale; with ``--check`` names it, and how ``module`` writes it. The exit code: 1 where that found something."""
    folder = Path(next((argument for argument in arguments if argument != "--check"), "docs"))
    stale = stale_pages(pages, folder)
    if "--check" not in arguments:
        for name in stale:
            (folder / name).write_text(pages[name], encoding="utf-8")
        return 0
    for name in stale:
        print(f"{folder / name} is stale: run `python -m {module} {folder}`", file=sys.stderr)
    return 1 if stale else 0
