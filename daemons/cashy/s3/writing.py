"""The seam for coherence: what is told before and after an object is changed through the proxy.

Law: every change of an object whose name is known lies wholly inside one :meth:`Writing.writing`, from before its request leaves until the store's
answer is complete, and the client learns of its success only after that has been left. It is left in every case: also when the
outcome is unknown, and when the client has gone (then by cancellation).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

__all__ = ["NothingShared", "Writing"]


class Writing(Protocol):
    """Who has to know of changes."""

    def writing(self, names: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """To be entered around a change of these objects (``s3://bucket/key``); may raise ``CashyError`` on entering."""
        ...


class NothingShared:
    """Nobody has to know: what was cached is found out by its age."""

    def writing(self, names: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """Does nothing."""
        return nullcontext()
