"""What the embedded exchange decides: books, matching, sessions, busts. Pure: messages and times in, reports and market data out."""

from __future__ import annotations

__all__: list[str] = []
