"""Named limits of the ways to venues, each with its reason."""

from __future__ import annotations

__all__ = [
    "BACKOFF_FIRST_S",
    "BACKOFF_MAX_S",
    "CONNECT_S_MAX",
    "KEEPALIVE_S",
    "OUT_BYTES_MAX",
    "RECEIVE_BYTES",
    "RECONNECT_NS",
    "STABLE_S",
    "UNACKNOWLEDGED_S_MAX",
]

#: To connect: a venue's front is milliseconds away, and trying again is cheap.
CONNECT_S_MAX = 2.0

#: After a failure to connect; doubled each time and drawn at random below that, so that those whom a venue has lost do not all come at once.
BACKOFF_FIRST_S = 0.02
BACKOFF_MAX_S = 2.0

#: A connection lost sooner than this counts as a failure to connect, so that a venue that breaks each one is not tried in a tight loop.
STABLE_S = 1.0

#: Bytes that wait for a venue which does not read: thousands of orders. Over it nothing more is taken, and the engine says so to its clients.
OUT_BYTES_MAX = 1 << 20

#: Taken from the socket at a time: what one portion of resumed reports has.
RECEIVE_BYTES = 256 << 10

#: On TCP: how long a silent other side is believed to be there, and how long what was sent may stay unacknowledged.
KEEPALIVE_S = 5
UNACKNOWLEDGED_S_MAX = 10.0

#: How long the in-process way to a venue stays away after it lost its connection, in the time that is passed in.
RECONNECT_NS = 50_000_000
