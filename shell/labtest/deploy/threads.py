"""Work that would hold up a prompt, in a thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import trio

__all__ = ["in_thread"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(call: Callable[_P, _T], *args: _P.args, **keywords: _P.kwargs) -> _T:
    """Calls something that takes its time (a plan for a hundred hosts: half a second) while everything else goes on."""
    return await trio.to_thread.run_sync(partial(call, *args, **keywords))
