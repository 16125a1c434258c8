"""Waiting for a descriptor of any number: select(2) refuses those of 1024 and more, which a process of many tests may have."""

from __future__ import annotations

import select

__all__ = ["readable"]


def readable(*descriptors: int, timeout_s: float) -> list[int]:
    """Those in which there is something to read, or the end, as soon as there are any; none after ``timeout_s`` seconds."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(max(0.0, timeout_s) * 1000)]
