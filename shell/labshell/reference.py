"""Writes the pages of ``docs/`` that are generated from the shell's table of commands: ``python -m labshell.reference docs [--check]``."""

from __future__ import annotations

import sys

from hostkit.generated_pages import run
from labshell.core.reference import commands_page

__all__ = ["pages"]


def pages() -> dict[str, str]:
    """All generated pages: file name and text."""
    return {"labshell-commands.md": commands_page()}


if __name__ == "__main__":
    sys.exit(run(pages(), "labshell.reference", sys.argv[1:]))
