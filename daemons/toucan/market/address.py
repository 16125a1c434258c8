"""Where a feed is: the path of a unix socket, or host and port."""

from __future__ import annotations

import socket
from pathlib import Path

from toucan.market.limits import CONNECT_S_MAX

__all__ = ["FeedAddress", "connect", "feed_address", "shown_address"]

FeedAddress = Path | tuple[str, int]


def feed_address(text: str) -> FeedAddress:
    """Reads ``host:port``, or else a path."""
    host, separator, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if separator and port.isdigit() and "/" not in text else Path(text)


def shown_address(address: FeedAddress) -> str:
    """For people."""
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)


def connect(address: FeedAddress) -> socket.socket:
    """A connected socket, which blocks, for as long as ``CONNECT_S_MAX``. Raises OSError."""
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout=CONNECT_S_MAX)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_S_MAX)
        connection.connect(str(address))
    except BaseException:
        connection.close()
        raise
    return connection
