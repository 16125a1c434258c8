"""What the daemons of a host share and no product owns: logs, the readiness protocol, strict settings files."""

from __future__ import annotations

__all__: list[str] = []
