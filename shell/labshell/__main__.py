"""``python -m labshell``."""

from __future__ import annotations

from labshell.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
