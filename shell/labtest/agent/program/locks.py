"""The lock of an environment on this host: a flock, which ends with the agent whatever ends the agent."""

from __future__ import annotations

import fcntl
import os

from .failures import Failed, naming
from .limits import BEAT_S, HOLDER_BYTES_MAX
from .manifest import checked_name
from .requests import Request

__all__ = ["hold"]


def hold(request: Request, folder: str, environment: str, holder: str) -> None:
    """Takes the lock, says so, and holds it until the request is cancelled. Raises :class:`Failed` (``locked``) with the ``holder``'s words."""
    path = os.path.join(folder, f"{checked_name(environment, 'an environment')}.lock")
    with naming(f"locking {path}"):
        os.makedirs(folder, mode=0o755, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                other = os.pread(descriptor, HOLDER_BYTES_MAX, 0).decode("utf-8", "replace").strip()
                raise Failed(
                    "locked", f"environment {environment} is locked by {other or 'somebody'}", holder=other
                ) from None
            # The file stays: removing it would let a third one lock another file of the same name.
            words = holder.encode("utf-8", "replace")[:HOLDER_BYTES_MAX]
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, words, 0)
            request.event({"locked": True})
            while True:
                request.sleep(60 * BEAT_S)
        finally:
            os.close(descriptor)
