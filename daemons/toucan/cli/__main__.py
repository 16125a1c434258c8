"""``python -m toucan.cli``."""

from __future__ import annotations

from toucan.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
