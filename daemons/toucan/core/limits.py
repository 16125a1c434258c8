"""Bounds of what the engine's state holds, each with its reason.

Law: constants only. They are part of what a replay must do the same way, so lowering one is a change of the journal's meaning; those that only
processes need are in ``toucan/limits.py``.
"""

from __future__ import annotations

__all__ = [
    "ANSWERS_KEPT_MAX",
    "CLIENTS_MAX",
    "CLIENT_IDLE_NS",
    "CLOSED_ORDERS_KEPT_MAX",
    "EXTERNAL_ID_KEPT",
    "OPEN_ORDERS_MAX",
    "REQUESTS_IN_FLIGHT_MAX",
    "SESSION_NAME_MAX",
    "STAGED_DECIDED_KEPT_MAX",
    "STAGED_MAX",
    "STAGED_PER_ACCOUNT_MAX",
    "STAGED_REVISIONS_MAX",
    "STAGED_TTL_NS_DEFAULT",
    "STAGED_TTL_NS_MAX",
    "STAGED_TTL_NS_MIN",
    "STAGED_WHY_CHARACTERS_MAX",
]

#: Answers kept for each client: more than can be waiting for an answer at once, over all front ends, by far.
ANSWERS_KEPT_MAX = 1024

#: Clients (user and session) remembered; over it new sessions are refused until old ones have been idle long enough.
CLIENTS_MAX = 10_000

#: A client that has asked nothing for so long, and has no open order, may be forgotten.
CLIENT_IDLE_NS = 7 * 24 * 3600 * 1_000_000_000

#: Orders that are over and still answered from memory, and can be busted; older ones are in the journal.
CLOSED_ORDERS_KEPT_MAX = 100_000

#: Characters of a ClOrdID that somebody else has made which are kept in those that follow it: venues bound their length.
EXTERNAL_ID_KEPT = 32

#: Orders that may be open at once; people and their strategies have hundreds.
OPEN_ORDERS_MAX = 100_000

#: Requests to the venue that one order may have unanswered: a second replacement may follow a first, a queue of them helps nobody.
REQUESTS_IN_FLIGHT_MAX = 4

#: Characters of a session's name.
SESSION_NAME_MAX = 64

#: Staged orders of one account that wait for somebody to decide: no person reads more, and one strategy gone wild fills no other account's.
STAGED_PER_ACCOUNT_MAX = 200

#: The same of all accounts: what a kill switch rejects in one go, and a front end shows at once.
STAGED_MAX = 2000

#: Staged orders that were decided and are still answered from memory: some days of a desk's; older ones are in the journal.
STAGED_DECIDED_KEPT_MAX = 5_000

#: What a staged order was, at most so many times: people change a proposal a few times, and a program that does so for ever should make a new one.
STAGED_REVISIONS_MAX = 16

#: How long a proposal waits where its proposer does not say: long enough to be read, too short for another market to come.
STAGED_TTL_NS_DEFAULT = 15 * 60 * 1_000_000_000

#: Shorter than this nobody could decide; longer than a day nobody remembers why. The end of its instrument's session ends it in any case.
STAGED_TTL_NS_MIN = 1_000_000_000
STAGED_TTL_NS_MAX = 24 * 3600 * 1_000_000_000

#: Characters of a reason: some sentences, which the journal and every stream carry with each change.
STAGED_WHY_CHARACTERS_MAX = 400
