"""Decisions of the gateway about whom to let in; pure."""

from __future__ import annotations

__all__: list[str] = []
