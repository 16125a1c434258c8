"""Named limits of the embedded exchange, each with its reason. Those of frames on the wire are in ``toucan.exchange.core.wire``."""

from __future__ import annotations

from toucan.market.limits import DEPTH_LEVELS

__all__ = [
    "ACCOUNT_CHARACTERS_MAX",
    "BOOK_LEVELS",
    "CLOSED_ORDERS_KEPT_MAX",
    "CONNECTIONS_MAX",
    "FIRMS_MAX",
    "FIRM_CHARACTERS_MAX",
    "GREETING_S_MAX",
    "ID_CHARACTERS_MAX",
    "LISTEN_BACKLOG",
    "MARKET_DATA_BYTES_MAX",
    "MARKET_DATA_INTERVAL_S",
    "OPEN_ORDERS_MAX",
    "OPERATOR_CONNECTIONS_MAX",
    "OPERATOR_LINE_BYTES_MAX",
    "OUT_BYTES_MAX",
    "QUESTIONS_MAX",
    "REPLAY_EVENTS_PER_TURN",
    "REPLAY_TURN_S",
    "REPORTS_KEPT_MAX",
    "REQUESTS_PER_ORDER_MAX",
    "SEND_REPORTS",
    "SHUTDOWN_FLUSH_S",
    "STALLED_S_MAX",
    "TIMER_S_MAX",
    "TRADES_KEPT_MAX",
]

# ---------------------------------------------------------------- the core

#: Ids of requests and accounts are kept for every order: long enough for a UUID with a prefix, short enough for millions.
ID_CHARACTERS_MAX = 128
ACCOUNT_CHARACTERS_MAX = 128

#: A firm is a name in logs and a table of its own.
FIRM_CHARACTERS_MAX = 64
FIRMS_MAX = 1000

#: Open orders of one firm; over it new ones are rejected. A mass status request answers with as many reports.
OPEN_ORDERS_MAX = 100_000

#: Orders of one firm that ended and are still known: for duplicates, status requests and busts. About 150 MB; the oldest is forgotten first, and
#: from then on a possible resend of an unknown id is rejected, since it might be one of the forgotten.
CLOSED_ORDERS_KEPT_MAX = 200_000

#: Reports of one firm that can be sent again: minutes of a busy strategy, about 50 MB.
REPORTS_KEPT_MAX = 100_000

#: Ids under which one order is known. Only a program gone wrong replaces an order so often; a cancel of an open order passes even then.
REQUESTS_PER_ORDER_MAX = 1000

#: Trades that the operator can still bust or correct.
TRADES_KEPT_MAX = 100_000

#: Levels of each side that are told as depth.
BOOK_LEVELS = DEPTH_LEVELS

# ---------------------------------------------------------------- the process

#: Connections at a time, those that have not said who they are included.
CONNECTIONS_MAX = 256
LISTEN_BACKLOG = 128

#: A connection that has not sent Resume by then is closed: it is no firm.
GREETING_S_MAX = 5.0

#: Bytes waiting for a firm at a time; its further reports wait in its log, where they are kept anyway. It fills a socket's buffer twice.
OUT_BYTES_MAX = 256 << 10

#: Reports taken from a firm's log at a time, until that much waits: about 100 kB.
SEND_REPORTS = 500

#: A firm for which something waits and that takes none of it for this long is cut off. It resumes later from the report that it knows.
STALLED_S_MAX = 10.0

#: Mass status requests of one connection whose end was not told yet; over it the connection is cut off: it asks and does not read.
QUESTIONS_MAX = 1000

#: Market data is told at most this often to each connection, always the newest: 20 times a second is faster than anybody sees.
MARKET_DATA_INTERVAL_S = 0.05

#: While more than this waits for a connection it gets no market data: reports come first.
MARKET_DATA_BYTES_MAX = 256 << 10

#: Recorded events played in one turn of the loop (about 5 ms), and the time between two turns: orders of firms are matched in between.
REPLAY_EVENTS_PER_TURN = 500
REPLAY_TURN_S = 0.005

#: The exchange's timer looks at the clock at least this often: a clock that was set, and an operator's advance, are noticed.
TIMER_S_MAX = 1.0

#: When told to stop, what waits for firms that read is sent for this long.
SHUTDOWN_FLUSH_S = 1.0

#: The operator's channel: people and tests, one line for each command.
OPERATOR_CONNECTIONS_MAX = 16
OPERATOR_LINE_BYTES_MAX = 64 << 10
