"""``python -m labtest.cli``."""

from __future__ import annotations

from labtest.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
