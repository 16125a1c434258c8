"""The engine process: one loop that owns all order state, and the way from front ends to it."""

from __future__ import annotations

__all__: list[str] = []
