"""Named limits of FIX sessions and the processes around them, each with its reason."""

from __future__ import annotations

__all__ = [
    "ACCEPTOR_WAIT_S",
    "ANSWERS_KEPT_MAX",
    "DESK_END_S_MAX",
    "DESK_TURN_S_MAX",
    "ENDING_S_MAX",
    "EXEC_IDS_KEPT_MAX",
    "FIELD_CHARACTERS_MAX",
    "INBOX_MAX",
    "LOGON_PAUSE_S",
    "LOGON_S_MAX",
    "LOGOUT_S_MAX",
    "LOG_BYTES_KEPT",
    "ORDERS_KEPT_MAX",
    "QUESTIONS_MAX",
    "RECORD_BYTES_MAX",
    "REPORTS_KEPT_MAX",
    "SEND_QUEUE_MAX",
    "SENT_KEPT_MAX",
    "SILENT_HEARTBEATS",
    "STALLED_S_MAX",
    "SUBSCRIPTIONS_MAX",
    "UNREAD_S_MAX",
]

#: Of one record of a file: a report has hundreds of bytes. More is damage.
RECORD_BYTES_MAX = 64 << 10

#: Of a text or an id in a message: the nine of a report fit a record, each character with four bytes. An id of a request that is longer is refused.
FIELD_CHARACTERS_MAX = 1000

#: Reports that an engine can be told again: as many as the embedded exchange keeps. Over it the oldest go, at the next start from the file as well.
REPORTS_KEPT_MAX = 100_000

#: Ids of requests whose symbol and side are remembered; the oldest go first. A report about an older one can no longer be told apart from one of
#: an order that somebody else has entered.
ORDERS_KEPT_MAX = 200_000

#: Execution ids by which a report that comes twice is recognised: more than a session can send again.
EXEC_IDS_KEPT_MAX = 200_000

#: A file that is longer than this, and than twice what is still kept, is written anew with that.
LOG_BYTES_KEPT = 64 << 20

#: Requests of the engine that wait to be given to QuickFIX; over it the connection is cut, and the engine asks what became of them.
SEND_QUEUE_MAX = 20_000

#: Messages sent of which the number is remembered, so that a reject of one, which names only the number, leads to its order.
SENT_KEPT_MAX = 20_000

#: Mass status requests under way in one session.
QUESTIONS_MAX = 1000

#: Orders asked for one by one at a venue that has no OrderMassStatusRequest, before the next are.
ANSWERS_KEPT_MAX = 10_000

#: Symbols to which one session subscribes.
SUBSCRIPTIONS_MAX = 1000

#: An engine that reads nothing for this long is cut off; it resumes later.
STALLED_S_MAX = 10.0

#: A client that takes nothing of what is sent to it for this long is cut off, before its desk, which waits for it, is believed to hang.
UNREAD_S_MAX = 5.0

#: And a venue that takes nothing for so many heartbeats: FIX's measure for a connection that is silent.
SILENT_HEARTBEATS = 2

#: How long a client's request waits for the connection to the exchange; then it is told that the exchange cannot be reached.
ACCEPTOR_WAIT_S = 2.0

#: To log on, and to be answered to a Logout, before the connection is dropped.
LOGON_S_MAX = 10
LOGOUT_S_MAX = 2

#: Portions of what the exchange tells that wait for a desk; over it the connection is dropped, and the exchange tells them again.
INBOX_MAX = 1000

#: A desk that has not got on for so long is believed to hang, and the watchdog is told nothing any more.
DESK_TURN_S_MAX = 8.0

#: At the end of a process: what waits at a desk.
DESK_END_S_MAX = 1.0

#: Between the order to log out and the first look at who still is: a session counts as logged on a moment after the other side hears of it.
LOGON_PAUSE_S = 0.05

#: At the end of a process: how long Logout may take in all.
ENDING_S_MAX = 5.0
