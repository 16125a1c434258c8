"""Named limits of the gateway, each with its reason; those of the methods behind it are in :mod:`toucan.server.limits`."""

from __future__ import annotations

from toucan.server.limits import REQUEST_BYTES_MAX

__all__ = [
    "ABORT_GRACE_S",
    "BODY_BYTES_MAX",
    "BODY_WAIT_S",
    "BUCKETS_MAX",
    "CONNECTIONS_MAX",
    "ENDED_MAX",
    "HEAD_BYTES_MAX",
    "HEAD_WAIT_S",
    "IDLE_CONNECTION_S",
    "JSON_PARTS_MAX",
    "LINGER_S",
    "LOGINS_BURST",
    "LOGINS_PER_S",
    "LOGIN_BYTES_MAX",
    "LOOK_AT_SESSIONS_S",
    "SEND_BUFFER_BYTES",
    "SESSION_S_MAX",
    "STATIC_BYTES_MAX",
    "STATIC_FILES_MAX",
    "TELL_AGAIN_S",
    "UNACKNOWLEDGED_MS",
]

#: Bytes of a request's body: a message as large as gRPC takes it is twice as long in JSON, with its names and quotes.
BODY_BYTES_MAX = 2 * REQUEST_BYTES_MAX

#: Bytes of a request's first line and headers: browsers send one or two thousand, a cookie of ours has one.
HEAD_BYTES_MAX = 16 << 10

#: How long a request's head, and then its body, may take to arrive: some hundred KiB over the worst of links.
HEAD_WAIT_S = 10.0
BODY_WAIT_S = 20.0

#: How long a connection without a request is kept: a page that is looked at asks again within it, so an order pays for no handshake.
IDLE_CONNECTION_S = 75

#: Connections at a time: half of the descriptors that the unit gives, streams hold one each.
CONNECTIONS_MAX = 8000

#: A connection on which what was sent is not acknowledged for so long is dead (TCP_USER_TIMEOUT): a browser that vanished without a word frees its
#: stream, since each stream says something every few seconds.
UNACKNOWLEDGED_MS = 20_000

#: What waits for one connection in the kernel: some seconds of updates. It would grow to some MB otherwise, for each of thousands of slow readers.
SEND_BUFFER_BYTES = 256 << 10

#: How long a connection on which something was refused still takes what its client sends, so that he reads the answer and not that he was cut off.
LINGER_S = 1.0

#: How often the log may say that connections are refused: a line for each would be one more thing to fill a disk with.
TELL_AGAIN_S = 10.0

#: How long a stream that was ended while its client takes nothing may still get rid of the reason, before its connection is broken off.
ABORT_GRACE_S = 1.0

#: Bytes of the body of a login: a token and its quotes.
LOGIN_BYTES_MAX = 2048

#: Logins of one address: a person mistypes some, a program that guesses gets nowhere.
LOGINS_PER_S = 0.2
LOGINS_BURST = 10

#: Users, or addresses, whose rate is remembered: about 200 bytes each.
BUCKETS_MAX = 20_000

#: The longest that a session may be set to last: a week.
SESSION_S_MAX = 7 * 24 * 3600

#: Sessions that were ended before their time and are remembered: each is a logout of somebody who had logged in, and logins are limited.
ENDED_MAX = 50_000

#: How often it is looked for sessions that have ended, and in the file of those that were ended at another gateway.
LOOK_AT_SESSIONS_S = 1.0

#: Parts of streams of one kind that are kept as JSON for the next who watches the same: ten seconds of updates, a MB or two.
JSON_PARTS_MAX = 2048

#: Files of the page, and all their bytes: they are served from memory.
STATIC_FILES_MAX = 500
STATIC_BYTES_MAX = 16 << 20
