"""Removes what a process that made a lab and died has left. It is run by the lab's heir: a shell that waits for that process's end."""

from __future__ import annotations

import time

from labtest.namespaces.removal import clean_up

__all__ = ["main"]

#: A dying process closes its files one after the other: the pipe may be closed a moment before the lock is free.
_TRIES = 50
_PAUSE_S = 0.1


def main() -> None:
    """Looks for a few seconds; a lab that is left even then is removed by whoever starts one next."""
    for _ in range(_TRIES):
        if clean_up():
            return
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main()
