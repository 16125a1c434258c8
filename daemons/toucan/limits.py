"""Named limits of toucan's processes, each with its reason. What is part of a replay is in ``core/limits.py``."""

from __future__ import annotations

__all__ = [
    "BATCH_ITEMS_MAX",
    "EVENT_LOG_BYTES",
    "FRONTS_MAX",
    "FRONT_BACKLOG_MAX",
    "FRONT_RING_BYTES",
    "HANDSHAKE_TIMEOUT_S",
    "HISTORY_EVENTS_MAX",
    "INBOX_ITEMS_MAX",
    "LINK_RETRY_S",
    "LINK_RETRY_S_MAX",
    "MARKET_LOG_BYTES",
    "PATIENCE_S",
    "PATIENT_RECORDS_MAX",
    "PROTOCOL_VERSION",
    "RECORD_EVENTS_MAX",
    "REQUESTS_UNDER_WAY_MAX",
    "REQUEST_BYTES_MAX",
    "SNAPSHOT_EVENTS",
    "TICK_S",
    "VENUE_SILENCE_S_MAX",
]

#: Version of what engine and front ends say to each other; both must be of the same.
PROTOCOL_VERSION = 2

#: Requests and reports that one turn of the loop takes in before it commits: one sync for all of them, and none of them waits for long.
BATCH_ITEMS_MAX = 256

#: Events of one journal record; a mass cancel of more orders becomes several records.
RECORD_EVENTS_MAX = 128

#: Messages from venues and threads that wait for the loop. Over it a venue's connection is dropped; it tells everything again later.
INBOX_ITEMS_MAX = 100_000

#: Front ends at a time: some processes of one host.
FRONTS_MAX = 64

#: A front end's two rings: some thousand requests, and as many answers.
FRONT_RING_BYTES = 1 << 20

#: Answers that wait for a front end whose ring is full; over it it is dropped, and the engine never waits.
FRONT_BACKLOG_MAX = 4096

#: A request as bytes: an order with a long note has some hundred.
REQUEST_BYTES_MAX = 64 * 1024

#: Committed events for whoever follows: some seconds at the highest rate; who is slower reads the journal.
EVENT_LOG_BYTES = 16 << 20

#: Quotes and books, of which only the newest count.
MARKET_LOG_BYTES = 4 << 20

#: How long whoever connects to the engine may take to say who it is.
HANDSHAKE_TIMEOUT_S = 5.0


#: How long a venue may say nothing while it is asked how things stand; over it it is asked over a new connection. No order goes there meanwhile.
VENUE_SILENCE_S_MAX = 5.0

#: How long an acknowledgement of a venue waits at most for something to share its sync with: about the time between an answer and the client's next
#: order. Fills and refusals do not wait.
PATIENCE_S = 0.0005

#: From so many on acknowledgements are company enough for each other.
PATIENT_RECORDS_MAX = 16

#: How often things that depend on time alone are looked at: grace times, overdue orders.
TICK_S = 0.1

#: After so many events a snapshot is made, which bounds what a start has to replay.
SNAPSHOT_EVENTS = 50_000

#: Events a front end keeps for streams that resume; older ones mean a snapshot.
HISTORY_EVENTS_MAX = 50_000

#: Requests of one front end that are not answered yet; over it new ones are refused at once.
REQUESTS_UNDER_WAY_MAX = 10_000

#: First and longest pause of a front end before it looks for the engine again.
LINK_RETRY_S = 0.02
LINK_RETRY_S_MAX = 0.5
