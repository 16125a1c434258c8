"""What the code under test takes from its surroundings (clocks, chance) comes from the simulation while one runs."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

from cashy.client import reader
from cashy.core import hot_blocks
from cashy.master import (
    catalog,
    cluster,
    coherence,
    fetch,
    fills,
    holders,
    host,
    hot_spots,
    lanes,
    peer_service,
    routes,
    verifying,
)
from cashy.s3 import writing

from .loop import SimulatedLoop
from .process import current_process

__all__ = ["installed"]

#: Modules that ask the time by themselves.
_ASK_THE_TIME: tuple[ModuleType, ...] = (
    catalog, cluster, coherence, fetch, fills, holders, host, hot_spots, lanes, peer_service, routes,
)  # fmt: skip


def _monotonic_ns() -> int:
    process = current_process()
    if process is None:
        return time.monotonic_ns()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return process.clock.local_ns(loop.true_ns)


class _Time:
    """Stands for the module ``time``."""

    monotonic_ns = staticmethod(_monotonic_ns)
    time = staticmethod(time.time)

    @staticmethod
    def monotonic() -> float:
        return _monotonic_ns() / 1e9


@contextmanager
def installed(
    seed: int, remembered_max: int, *, is_hot: bool = False, hosts_leave: bool = False
) -> Iterator[None]:
    """Clocks and random numbers of the masters and clients are the simulation's, and masters remember only so many changes. ``is_hot``: two asks of
    one host make a block hot. ``hosts_leave``: workers give up sooner to tell of a change through a host that has left.
    """
    draw = random.Random(f"incarnations {seed}")
    with ExitStack() as stack:
        for module in _ASK_THE_TIME:
            if hasattr(module, "time"):
                stack.enter_context(mock.patch.object(module, "time", _Time))
        stack.enter_context(mock.patch.object(reader, "monotonic_ns", _monotonic_ns))
        stack.enter_context(mock.patch.object(host, "STALL_CHECK_S", 3600.0))  # nothing stalls here
        # Memory does not rot here, and going through it takes no virtual time, so that it would be done all the time.
        stack.enter_context(mock.patch.object(verifying.Verifier, "_go_slowly", return_value=600.0))
        if hosts_leave:
            stack.enter_context(mock.patch.object(writing, "CHANGE_TOLD_S", 12.0))
        if is_hot:
            stack.enter_context(mock.patch.object(hot_blocks, "HOT_COUNT", 1.5))
            stack.enter_context(mock.patch.object(hot_blocks, "HOT_HOSTS", 1))
        for module in (catalog, coherence):
            stack.enter_context(mock.patch.object(module, "CHANGES_REMEMBERED_MAX", remembered_max))
        for made in (catalog.Catalog, coherence.Coherence):
            _replace_defaults(stack, made.__init__, now_ns=_monotonic_ns, random_bits=draw.getrandbits)
        yield


def _replace_defaults(stack: ExitStack, function: Callable[..., Any], **defaults: Any) -> None:
    """Gives keyword parameters that the function has other defaults."""
    old = dict(function.__kwdefaults__ or {})
    new = {name: value for name, value in defaults.items() if name in old}
    present = function.__kwdefaults__
    if present is not None:
        present.update(new)
        stack.callback(present.update, old)
