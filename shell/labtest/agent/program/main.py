"""Where the program begins on the host."""

from __future__ import annotations

import json
import os

from .processes import Guard
from .server import Server

__all__ = ["main"]


def main(digest: str, options: str) -> None:
    """Serves the connection on standard input and output until it ends, and does not return. ``options`` is a JSON object."""
    # Whatever prints, by mistake or in a library, must not write into the connection.
    reader, writer = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    os.umask(0o022)
    os.chdir("/")
    guard = Guard()
    Server(reader, writer, guard, json.loads(options)).serve(digest)
