"""Waiting for a descriptor of any number: select(2) refuses those of 1024 and more, which a large program has."""

from __future__ import annotations

import select

__all__ = ["wait_readable"]


def wait_readable(descriptor: int, timeout_s: float) -> bool:
    """Waits until there is something to read, or the end; False: not within ``timeout_s`` seconds."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))
