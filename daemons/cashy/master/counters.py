"""Counters of the master: totals since its start, by name; plain integers, read by status answers and tests."""

from __future__ import annotations

from collections import Counter

__all__ = ["Counters"]


class Counters:
    """Named totals."""

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        """Counts."""
        self._totals[name] += amount

    def totals(self) -> dict[str, int]:
        """A copy."""
        return dict(self._totals)
