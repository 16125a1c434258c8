"""Named limits of the client library, each with its reason."""

from __future__ import annotations

__all__ = [
    "ADDRESSES_MAX",
    "ATTEMPT_TIMEOUT_S",
    "CONNECT_TIMEOUT_S",
    "DEFAULT_PORT",
    "KEEPALIVE_TIMEOUT_MS",
    "KEEPALIVE_TIME_MS",
    "MESSAGE_BYTES_MAX",
    "NUMBER_MAX",
    "ORDERS_PAGE_MAX",
    "PAUSE_S_MAX",
    "PAUSE_S_MIN",
    "RECONNECT_BACKOFF_MS_MAX",
    "RECONNECT_BACKOFF_MS_MIN",
    "REFRESH_S_MIN",
    "SESSION_NAME_MAX",
    "SESSION_QUEUE_MAX",
    "SESSION_UPDATES_MAX",
    "SESSION_WINDOW_MAX",
    "STREAM_SILENCE_S",
    "TIMEOUT_S",
    "TOKEN_BYTES_MAX",
    "WATCHDOG_INTERVAL_S",
]

#: Where a front end listens unless told otherwise.
DEFAULT_PORT = 7070

#: How long a call goes on, resends included, unless told otherwise: an engine that was killed is back well within it.
TIMEOUT_S = 10.0

#: How long a connection is tried for a request of which nothing was sent yet.
CONNECT_TIMEOUT_S = 10.0

#: An attempt that was not answered for so long is made again over a new connection: the front end may be frozen, and another may be there.
ATTEMPT_TIMEOUT_S = 3.0

#: Pauses between two attempts grow from the first to the second: a restart is not felt, a crash loop does not burn a core.
PAUSE_S_MIN = 0.02
PAUSE_S_MAX = 0.5

#: gRPC's own pauses between two connections to the same address; its default grows to two minutes.
RECONNECT_BACKOFF_MS_MIN = 50
RECONNECT_BACKOFF_MS_MAX = 500

#: A silent connection is pinged after the first, and given up without an answer after the second.
KEEPALIVE_TIME_MS = 10_000
KEEPALIVE_TIMEOUT_MS = 5_000

#: A stream on which nothing came for so long is begun anew. The server sends a heartbeat at least every 5 s: three of them are missing then.
STREAM_SILENCE_S = 15.0

#: How often silent streams and requests without an answer are looked for.
WATCHDOG_INTERVAL_S = 0.25

#: Bytes of one message from the server: a page of orders or a whole instrument table; gRPC's own default of 4 MiB is too little for the latter.
MESSAGE_BYTES_MAX = 64 * 1024 * 1024

#: Orders asked for in one page; the server gives no more.
ORDERS_PAGE_MAX = 1000

#: No price and no quantity has more units: the server's bound (`toucan.core.instruments.NUMBER_MAX`), told here in the field's words.
NUMBER_MAX = 2**53 - 1

#: The instrument table is asked for again, because of a symbol that is not in it, no more often than this.
REFRESH_S_MIN = 1.0

#: Characters of a session's name; the server takes no more.
SESSION_NAME_MAX = 64

#: Requests of a session that are sent and not answered; the next ones wait here. More would only wait in the server.
SESSION_WINDOW_MAX = 64

#: Requests of a session that wait to be sent; over it the caller is told, since a strategy that is so far ahead has lost touch.
SESSION_QUEUE_MAX = 10_000

#: Updates of a session that nobody has taken; over it only the newest of each order is kept.
SESSION_UPDATES_MAX = 10_000

#: Front ends that one client may be given.
ADDRESSES_MAX = 16

#: Bytes of a file with a token; a larger one is not what was meant.
TOKEN_BYTES_MAX = 16 * 1024
