"""The S3 endpoint: one worker process among several, a client of the host's master like any other.

``main`` is the process, ``worker`` what its connections share, ``connection`` one of them, ``answering`` and ``block_stream`` what has to
wait, ``send`` the rule under which bytes leave shared memory. What is decided without waiting is in :mod:`cashy.core`. Import the
modules; the package exports nothing.
"""

from __future__ import annotations

__all__: list[str] = []
