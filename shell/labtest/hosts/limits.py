"""Limits of the connections to hosts, each with its reason."""

from __future__ import annotations

__all__: list[str] = []

#: ``ConnectTimeout`` of ssh: a SYN that was lost twice is answered within seven seconds.
CONNECT_TIMEOUT_S = 10.0
#: ``ServerAliveInterval`` and ``ServerAliveCountMax``: the agent's own signs of life are quicker; these end a terminal's session on a dead host.
SERVER_ALIVE_S = 5
SERVER_ALIVE_COUNT = 3
#: A second ssh that only asks for the host's key.
FINGERPRINT_TIMEOUT_S = 15.0
#: unix(7) has room for 108 bytes with the ending zero; ssh binds under a name that is 17 longer, and renames.
SOCKET_PATH_BYTES_MAX = 107 - 17

#: Hosts that are being connected to at a time: each is a key exchange, and a start of Python.
CONNECTING_MAX = 8
#: The first pause after a connection is lost, and the longest: a host that comes back is seen within ten seconds.
PAUSE_MIN_S, PAUSE_MAX_S = 0.25, 10.0
#: A connection that lasted so long was a good one: the next pause is the shortest again.
GOOD_CONNECTION_S = 10.0
