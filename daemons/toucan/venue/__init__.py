"""The ways to venues: the interface that the engine knows, a socket to the embedded exchange, the exchange in-process, and one that misbehaves."""

from __future__ import annotations

__all__: list[str] = []
