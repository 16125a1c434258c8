"""What market data consist of and how they are kept: messages, tapes, the newest picture, recordings' bytes, a replay's pace. Pure."""

from __future__ import annotations

__all__: list[str] = []
