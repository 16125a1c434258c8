"""Where objects come from: the block-reader interface and its readers for directories and S3 stores."""

from __future__ import annotations

__all__: list[str] = []
