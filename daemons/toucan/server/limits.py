"""Named limits of a front end, each with its reason. What an operator may change is in :mod:`toucan.server.settings`."""

from __future__ import annotations

from toucan.market.limits import DEPTH_LEVELS, TAPE_LINES_KEPT

__all__ = [
    "AHEAD_WAIT_S",
    "ANONYMOUS_STREAMS_MAX",
    "ASK_TIMEOUT_S",
    "CATCH_UP_EVENTS",
    "CLIENTS_WITH_REQUESTS_MAX",
    "CUT_OFF_AFTER_S",
    "DEADLINE_MARGIN_S",
    "DEPTH_MAX",
    "DROP_COPIES_PER_MESSAGE",
    "DROP_COPIES_WAITING_MAX",
    "ENGINE_LOOK_S",
    "ENGINE_WAIT_S",
    "ERROR_TEXT_CHARACTERS_MAX",
    "FILTER_NAMES_MAX",
    "GRACE_MS_MAX",
    "HEARTBEAT_S",
    "HOUSEKEEPING_S",
    "KEEPALIVE_TIMEOUT_S",
    "KEEPALIVE_TIME_S",
    "LIFE_CHARACTERS_MAX",
    "LIMIT_NAME_CHARACTERS_MAX",
    "LIMIT_VALUE_CHARACTERS_MAX",
    "MARKET_RATE_MAX",
    "MARKET_SYMBOLS_MAX",
    "MARKS_INTERVAL_S",
    "MESSAGE_BYTES_MAX",
    "MIN_SEQ_WAIT_S",
    "NAME_CHARACTERS_MAX",
    "NODE_CHARACTERS_MAX",
    "ORDERS_PAGE_DEFAULT",
    "ORDERS_PAGE_MAX",
    "ORDERS_SCANNED_PER_TURN",
    "PAGE_TOKEN_CHARACTERS_MAX",
    "PING_INTERVAL_MIN_S",
    "POSITIONS_PER_TURN",
    "REASON_CHARACTERS_MAX",
    "REQUESTS_WAITING_MAX",
    "REQUEST_BYTES_MAX",
    "REQUEST_NUMBER_MAX",
    "RPCS_MAX",
    "SESSION_ANSWERS_MAX",
    "SESSION_BROKEN_TIMEOUT_S",
    "SNAPSHOT_ORDERS_PER_TURN",
    "STAGED_KEPT_MAX",
    "STAGED_PER_MESSAGE_MAX",
    "STALL_CHECK_S",
    "STOP_GRACE_S",
    "STREAMS_MAX",
    "STREAMS_PER_CONNECTION_MAX",
    "STREAMS_PER_USER_MAX",
    "TOKEN_BYTES_MAX",
    "TRADES_PER_MESSAGE_MAX",
    "UPDATES_KEPT_MAX",
    "UPDATES_PER_MESSAGE_MAX",
    "UPDATES_WAITING_MAX",
    "USERS_CHECK_S",
    "USERS_FILE_BYTES_MAX",
    "USERS_MAX",
    "WRITES_PER_S_MAX",
    "WRITES_PER_TURN_MAX",
]

# ---------------------------------------------------------------- requests

#: Bytes of one message from a client: an order with a long note has some hundred, a filter with many names some thousand.
REQUEST_BYTES_MAX = 64 << 10

#: Requests of one client (user and session) that wait for their turn; whoever sends more than this ahead wants a session stream.
REQUESTS_WAITING_MAX = 64

#: Clients that have something under way at a time: more than the engine remembers (``toucan.core.limits.CLIENTS_MAX``) helps nobody.
CLIENTS_WITH_REQUESTS_MAX = 10_000

#: The largest request number: what JSON and every client's language carry exactly.
REQUEST_NUMBER_MAX = 2**53 - 1

#: How long a request without a deadline of its own may take, its wait for its turn included: longer than a restart of the engine.
ASK_TIMEOUT_S = 30.0

#: A deadline is taken to end so much earlier here, so that the answer that says so still arrives.
DEADLINE_MARGIN_S = 0.005

#: How long a read with ``min_seq`` waits for that event.
MIN_SEQ_WAIT_S = 5.0

#: Characters of a symbol's, account's, user's or session's name.
NAME_CHARACTERS_MAX = 64

#: Characters of a node's path: four names and the slashes between them.
NODE_CHARACTERS_MAX = 4 * NAME_CHARACTERS_MAX + 3

#: Characters of a limit's name: ``symbol.<symbol>.<limit>``.
LIMIT_NAME_CHARACTERS_MAX = 128

#: Characters of a limit's value: a restricted list of some thousand symbols.
LIMIT_VALUE_CHARACTERS_MAX = 32 << 10

#: Characters of a reason for the audit trail: some sentences.
REASON_CHARACTERS_MAX = 1000

#: Names in one list of a filter; each is looked up once for every update.
FILTER_NAMES_MAX = 1000

#: Characters of a page token of ours: a number.
PAGE_TOKEN_CHARACTERS_MAX = 32

#: Orders of one page of ListOrders, if the request does not say and at most: some hundred KiB.
ORDERS_PAGE_DEFAULT = 100
ORDERS_PAGE_MAX = 1000

#: Orders looked at before others have their turn: about a millisecond.
ORDERS_SCANNED_PER_TURN = 1000

#: Characters of an error's text: with its details it must fit the 8 KiB that a peer takes as metadata.
ERROR_TEXT_CHARACTERS_MAX = 600

#: A token in a request; longer ones are not hashed.
TOKEN_BYTES_MAX = 512

# ---------------------------------------------------------------- connections and calls

#: Calls under way at a time, streams included; gRPC refuses more.
RPCS_MAX = 8192

#: Streams open at a time: in all; of one user; and health checks and reflection of people who have not said who they are.
STREAMS_MAX = 4096
STREAMS_PER_USER_MAX = 1024
ANONYMOUS_STREAMS_MAX = 32

#: Calls on one connection (HTTP/2 SETTINGS_MAX_CONCURRENT_STREAMS): a client holds back more by itself, so this stays above a user's streams.
STREAMS_PER_CONNECTION_MAX = 2 * STREAMS_PER_USER_MAX

#: A silent connection is pinged after the first, and dead without an answer after the second: a machine that vanished frees its streams.
KEEPALIVE_TIME_S = 20
KEEPALIVE_TIMEOUT_S = 10

#: Clients that ping more often are cut off.
PING_INTERVAL_MIN_S = 5

#: How long calls may go on after the front end was told to stop.
STOP_GRACE_S = 2.0

#: How long a front end that has just started waits for the engine before it says that it is ready all the same, and how often it looks. An engine
#: that starts at the same time has replayed some thousand events by then.
ENGINE_WAIT_S = 5.0
ENGINE_LOOK_S = 0.02

# ---------------------------------------------------------------- streams

#: Messages of all streams together in a second. One costs some 70 us, so streams leave most of a core to requests; what is not sent at
#: once goes into the next message of its stream, which costs next to nothing more.
WRITES_PER_S_MAX = 2500

#: Streams that write in one turn of the loop: what a cancel may have to wait for, some tenths of a millisecond. Fewer would mean a timer for each
#: millisecond, which is as often as the loop's timers come.
WRITES_PER_TURN_MAX = 4

#: The longest silence of a stream; the API promises 5 s.
HEARTBEAT_S = 3.0

#: How often silent and blocked streams are looked for; with HEARTBEAT_S below the promised 5 s.
HOUSEKEEPING_S = 1.0

#: A stream whose client has not taken a message for so long is cut off.
CUT_OFF_AFTER_S = 30.0

#: Updates that wait for one watcher before those of the same order become one; if half of it is left then, he is cut off.
UPDATES_WAITING_MAX = 1000

#: Events that wait for one drop copy. It leaves nothing out, so over it the stream is cut off; it can go on where it was.
DROP_COPIES_WAITING_MAX = 10_000

#: Events of one message of a drop copy: about a millisecond of encoding.
DROP_COPIES_PER_MESSAGE = 100

#: Updates of one message: some 60 KiB.
UPDATES_PER_MESSAGE_MAX = 256

#: Updates kept, ready to be sent, for streams that go on where they broke off: about 30 MB.
UPDATES_KEPT_MAX = 50_000

#: How long a client is waited for whose last front end was quicker than this one.
AHEAD_WAIT_S = 1.0

#: Events looked at before others have their turn, while a stream catches up.
CATCH_UP_EVENTS = 1000

#: Orders of one message of a snapshot: about a millisecond.
SNAPSHOT_ORDERS_PER_TURN = 100

#: Updates of staged orders kept for streams that go on where they broke off; people make few.
STAGED_KEPT_MAX = 10_000

#: Staged orders of one message: each has all that it was, some KiB at most.
STAGED_PER_MESSAGE_MAX = 100

#: Positions worked out before others have their turn: about a millisecond.
POSITIONS_PER_TURN = 40

#: Bytes of positions in one message; gRPC's clients take 4 MiB unless told otherwise.
MESSAGE_BYTES_MAX = 2 << 20

#: How often positions are told again because prices have moved: for eyes.
MARKS_INTERVAL_S = 0.25

#: Messages of a market data stream in a second; the API's bound.
MARKET_RATE_MAX = 20

#: Levels of each side; the API's bound.
DEPTH_MAX = DEPTH_LEVELS

#: Trades of one symbol in one message, the newest; the API's bound, and a screen full. What was traded before them is counted as left out.
TRADES_PER_MESSAGE_MAX = 100

#: Characters of the name of a tape's life.
LIFE_CHARACTERS_MAX = 128

#: Symbols of one market data stream: a large watch list.
MARKET_SYMBOLS_MAX = 1000

#: Answers on a session's stream that its client has not taken; over it the stream is not read until some are.
SESSION_ANSWERS_MAX = 64

#: How long the engine is given to hear that a session's stream has broken off.
SESSION_BROKEN_TIMEOUT_S = 5.0

#: The longest grace time after a session was lost: a day.
GRACE_MS_MAX = 24 * 3600 * 1000

# ---------------------------------------------------------------- users, the loop

#: A users file: a hundred bytes for each of some thousand users.
USERS_FILE_BYTES_MAX = 1 << 20
USERS_MAX = 5000

#: How often the users file and the certificates are looked at for changes.
USERS_CHECK_S = 2.0

#: How often it is looked how late the loop is.
STALL_CHECK_S = 0.05

assert HEARTBEAT_S + HOUSEKEEPING_S < 5.0
assert TRADES_PER_MESSAGE_MAX <= TAPE_LINES_KEPT
assert STREAMS_PER_USER_MAX <= STREAMS_MAX < RPCS_MAX
