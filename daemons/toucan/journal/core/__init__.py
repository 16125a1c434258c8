"""What the journal's bytes are and what they mean, as pure code: bytes in, records or findings out; no file, clock or randomness."""

from __future__ import annotations

__all__: list[str] = []
