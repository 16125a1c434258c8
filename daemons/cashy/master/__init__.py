"""The master process: the one writer of the host's arena; plans reads, owns fills and eviction, answers the client socket."""

from __future__ import annotations

__all__: list[str] = []
