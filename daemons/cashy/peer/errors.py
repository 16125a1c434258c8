"""What can go wrong between two hosts; all are ours to handle (the next host, then the origin), so they carry codes callers know already.

An answer of the *other host's origin* (``NoSuchObject``, ``VersionChanged``, ``OriginTimeout`` …) comes through as itself, and
``SlowDown`` when a queue is full, here or there.
"""

from __future__ import annotations

from cashy.core.hot_blocks import Hot
from cashy.core.peer_frames import PeerError, PeerProtocolError
from cashy.core.peer_greeting import GreetingRefused
from cashy.errors import SlowDown

__all__ = [
    "GreetingRefused",
    "PeerBusy",
    "PeerCorrupt",
    "PeerElsewhere",
    "PeerError",
    "PeerProtocolError",
    "PeerTimeout",
    "PeerUnavailable",
]


class PeerUnavailable(PeerError, ConnectionError):
    """The host cannot be reached, fell silent, or closed the connection."""

    code = "ORIGIN_UNAVAILABLE"


class PeerCorrupt(PeerProtocolError):
    """Bytes of this read did not fit their checksum; what came before did, and the connection goes on."""

    code = "ORIGIN_INVALID"


class PeerTimeout(PeerError, TimeoutError):
    """The host lives, but the answer was not complete by the deadline."""

    code = "ORIGIN_TIMEOUT"


class PeerBusy(PeerError, SlowDown):
    """As many requests as a connection takes are under way to this host; nothing was sent."""

    code = "SLOW_DOWN"


class PeerElsewhere(PeerError, SlowDown):
    """The block is hot, and another host that holds it is to be asked: see :mod:`cashy.core.hot_blocks`."""

    code = "SLOW_DOWN"

    def __init__(self, message: str, hot: Hot) -> None:
        super().__init__(message)
        self.hot = hot
