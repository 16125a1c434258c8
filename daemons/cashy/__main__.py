"""``python -m cashy`` is the ``cashy`` command, for whoever has no console script on the path."""

from __future__ import annotations

from cashy.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
