"""What goes over a feed of market data.

Law: these are values and their bytes; who sends them when is for :mod:`toucan.market.publisher`. One side says :class:`Subscribe`, once; the other
one :class:`FeedWelcome`, then the newest quote and depth of every instrument and the newest lines of its tape, then what changes. Quotes and depth
are states, of which only the newest counts, so some may be left out on the way. Lines of the tape are events: they are numbered without gaps within
a venue's life, and each carries the sum of all before it, so whoever misses some knows how many they were and how much was traded in them.

Somebody is there as long as he says something: a :class:`FeedBeat` comes at least every second. It also says when the sender has no news himself.
The first one behind a welcome means that everything was told which there is: from here on a line is news, and not the past.

Rejected: one number for all instruments' lines, which tells that something is missing and not of what; sending what was missed again on request
(front ends show a market, and do not keep its books: who needs every line records the feed).
"""

from __future__ import annotations

import enum

import msgspec

from toucan.core.frames import FrameReader
from toucan.core.instruments import Instrument
from toucan.core.values import Side
from toucan.core.venue_messages import Book, Quote

__all__ = [
    "FeedBeat",
    "FeedWelcome",
    "FromFeed",
    "LineKind",
    "Subscribe",
    "TapeLine",
    "feed_reader",
    "subscriber_reader",
]


class LineKind(enum.IntEnum):
    """What a line of the tape says of a trade; numbers as in the API."""

    TRADE = 1
    BUST = 2
    CORRECTION = 3


class _Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True, tag_field="message"):
    """Immutable, tagged with its name, and holding nothing that could form a cycle."""


class Subscribe(_Message, frozen=True):
    """First message of a connection. ``after``: of each symbol the last line that was seen in that life; of those left out the newest lines come."""

    life: str = ""
    after: dict[str, int] = {}


class FeedWelcome(_Message, frozen=True):
    """The feed's life, in which lines are numbered, and what is told of. Another one later: the venue has begun anew, nothing of before counts."""

    life: str
    instruments: tuple[Instrument, ...] = ()


class FeedBeat(_Message, frozen=True):
    """The sender is there. ``is_stale``: it does not hear from the market itself at the moment."""

    at_ns: int
    is_stale: bool = False


class TapeLine(_Message, frozen=True):
    """One trade, or what became of one."""

    symbol: str
    number: int
    kind: LineKind
    at_ns: int
    #: Of a bust what is cancelled, of a correction what is right now.
    price: int
    quantity: int
    #: Traded in all lines of this life up to this one, modulo 2**63; busts and corrections do not count.
    total: int
    #: Of the order that came and met one that waited; None: there was none, or it is not known.
    aggressor: Side | None = None
    #: Number of the line that said that the trade was made; 0: this one, or (of a bust or correction) it is not known.
    of: int = 0


FromFeed = FeedWelcome | Quote | Book | TapeLine | FeedBeat


def subscriber_reader() -> FrameReader[Subscribe]:
    """For what comes from a subscriber."""
    return FrameReader(msgspec.msgpack.Decoder(Subscribe))


def feed_reader() -> FrameReader[FromFeed]:
    """For what comes from a feed."""
    return FrameReader(msgspec.msgpack.Decoder(FromFeed))
