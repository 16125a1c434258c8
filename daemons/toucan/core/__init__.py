"""What toucan decides: values, orders and their life cycle, positions, risk, requests to events. No socket, loop, clock, thread or randomness."""

from __future__ import annotations

__all__: list[str] = []
