"""Shared-memory IPC in which kill -9 is harmless: segments, slots under pins, a shared index, views, wake-ups.

Law: this package knows nothing of what is stored, nor of the daemons above it. Modules, in reading order: :mod:`~shmipc.layout` (every
shared byte), :mod:`~shmipc.states` (the slot life cycle), :mod:`~shmipc.pins` (the reader's side of the pin protocol),
:mod:`~shmipc.tables` (the owner's side), :mod:`~shmipc.index`, :mod:`~shmipc.arena` (all of it composed), :mod:`~shmipc.view` (memory that
outlives its ``with``).
"""

from __future__ import annotations

__all__: list[str] = []
