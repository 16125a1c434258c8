"""Parts of cashy that a version may have or not: what is there is simulated, what is not is left out."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["HOT_BLOCKS"]


def _found(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


#: Which blocks many hosts hold (:mod:`.hot`).
HOT_BLOCKS = _found("cashy.core.hot_blocks")
