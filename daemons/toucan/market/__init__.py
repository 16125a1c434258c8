"""Market data beside the way of orders: a venue's feed (top of book, depth, trades), followed by front ends, recorded, played back.

It never touches the order-entry engine: a front end follows the venue's feed itself, over a socket of its own.
"""

from __future__ import annotations

__all__: list[str] = []
