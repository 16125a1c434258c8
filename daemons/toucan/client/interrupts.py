"""Keeps Ctrl-C out of the middle of what gRPC begins or cancels.

``KeyboardInterrupt`` comes between any two instructions of the main thread. Raised where grpcio has begun a call and not yet counted it, it makes
the thread that all calls of a channel share end early; then streams fall silent, and closing the channel waits for ever.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["uninterrupted"]


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """What is done in here is done to its end; a Ctrl-C meanwhile comes right after it. For what takes no time to speak of."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread is interrupted
        return
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        yield  # ignored, or fatal, or not Python's
        return
    came: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _number, frame: came.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(signal.SIGINT, came[0])
