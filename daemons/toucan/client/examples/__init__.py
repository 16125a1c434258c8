"""Example programs: ``python -m toucan.client.examples.market_maker AAPL``, and ``…follow_fills``, ``…propose AAPL``."""

from __future__ import annotations

__all__: list[str] = []
