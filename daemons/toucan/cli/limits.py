"""Named limits of the command line, each with its reason. Some are in other modules' words: :mod:`toucan.client.limits`."""

from __future__ import annotations

__all__ = [
    "CONNECT_TIMEOUT_S",
    "DEPTH_DEFAULT",
    "DEPTH_MAX",
    "HISTORY_LINES_MAX",
    "LADDER_BAR_CHARACTERS",
    "LADDER_RATE_MAX",
    "LIMITS_INTERVAL_S",
    "ORDERS_SHOWN",
    "PROMPT_WAIT_S",
    "REFRESH_INTERVAL_S",
    "SESSION_SLOTS",
    "STALE_AFTER_S",
    "TIMEOUT_S",
    "TRADES_BEFORE_DEFAULT",
    "TRADES_BEFORE_MAX",
    "WAIT_S",
]

#: How long a command goes on by default, resends included.
TIMEOUT_S = 10.0

#: A person who types a wrong address wants to hear of it sooner.
CONNECT_TIMEOUT_S = 2.0

#: How long `buy` and `sell` wait for the venue's first word before they print how the order stands.
WAIT_S = 1.0

#: The same at the prompt, where what comes later is said by itself.
PROMPT_WAIT_S = 0.3

#: Sessions that the one-shot commands of a host share. The engine remembers every session for days, so each command cannot have one of its own;
#: with one for all, commands that run at the same time would overtake each other's numbers.
SESSION_SLOTS = 64

#: Orders that `orders` shows unless told otherwise.
ORDERS_SHOWN = 100

#: Levels of a book that `book` shows, and the most that the server tells.
DEPTH_DEFAULT = 5
DEPTH_MAX = 20

#: Trades with which `trades` begins, and the most that the server keeps ready for that.
TRADES_BEFORE_DEFAULT = 10
TRADES_BEFORE_MAX = 100

#: How often the ladder of `book` is drawn at most (the server tells no more often), and how wide its longest bar is.
LADDER_RATE_MAX = 20
LADDER_BAR_CHARACTERS = 24

#: The blotter line says that it is old after so long without a word of the server, which sends one at least every 5 s.
STALE_AFTER_S = 7.0

#: How often the blotter line is drawn again by itself: its clock counts tenths, but nobody reads faster.
REFRESH_INTERVAL_S = 0.5

#: How often the prompt asks for kill levels, which no stream tells to those without a drop copy.
LIMITS_INTERVAL_S = 2.0

#: Lines of history that are kept.
HISTORY_LINES_MAX = 10_000
