"""One cache for each socket and process, for what has no place to keep a cache of its own: file systems by URL, helpers for arrays.

Law: whoever asks for the same socket gets the same :class:`~cashy.Cache`, which threads may share and which goes on in a forked child. Nobody
closes it: it ends with the process.
"""

from __future__ import annotations

import os
import threading

from cashy.client.cache import Cache, connect, socket_path_or_default

__all__ = ["shared_cache"]

_lock = threading.Lock()
_caches: dict[str, Cache] = {}


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()  # it may be held by a thread that is not here


os.register_at_fork(after_in_child=_after_fork_in_child)


def shared_cache(socket_path: str | os.PathLike[str] | None = None) -> Cache:
    """The process's cache on a socket: the one given, else $CASHY_SOCKET as it is now, else ``/run/cashy/cashy.sock``.

    Connects the first time. Raises :class:`~cashy.errors.NotConnected`.
    """
    path = socket_path_or_default(socket_path)
    cache = _caches.get(path)
    if cache is not None:
        return cache
    with _lock:
        cache = _caches.get(path)
        if cache is None:
            cache = _caches[path] = connect(path)
        return cache
