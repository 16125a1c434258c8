"""A front end that serves from a thread, for clients and commands that wait for their answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
import uvloop
from tests.toucan.server.support import World

__all__ = ["Served", "served"]

_PATIENCE_S = 30.0


class Served:
    """A :class:`World` on another thread's loop."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        self.world = world
        self.address = world.front.address
        self._loop = loop

    def do(self, action: Callable[[], object]) -> None:
        """Does something to the engine, on its loop, and waits until it is done."""
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(act)
        assert done.wait(_PATIENCE_S)


@contextlib.contextmanager
def served(users: Path | None = None) -> Iterator[Served]:
    """Serves until it is left; without a users file everyone is ``local``."""
    ready = threading.Event()
    found: list[Served] = []
    over: list[asyncio.Event] = []

    async def serve() -> None:
        over.append(asyncio.Event())
        async with World.open(users) as world:
            found.append(Served(world, asyncio.get_running_loop()))
            ready.set()
            await over[0].wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="served")
    # What it logs would stand among what a command prints.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    thread.start()
    try:
        assert ready.wait(_PATIENCE_S)
        yield found[0]
    finally:
        found[0]._loop.call_soon_threadsafe(over[0].set)
        thread.join(_PATIENCE_S)
        structlog.reset_defaults()
