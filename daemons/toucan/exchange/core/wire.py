"""The exchange's protocol as bytes: frames (:mod:`toucan.core.frames`) of the messages of :mod:`toucan.core.venue_messages`.

Law: which messages there are, and no socket. They are unions, tagged with their names; a firm sends ``ToVenue`` and hears ``FromVenue``.
"""

from __future__ import annotations

import msgspec

from toucan.core.frames import FRAME_BYTES_MAX, FrameReader, WireError, encode_all
from toucan.core.venue_messages import FromVenue, ToVenue

__all__ = [
    "FRAME_BYTES_MAX",
    "FrameReader",
    "WireError",
    "encode_all",
    "firm_reader",
    "venue_reader",
]


def firm_reader() -> FrameReader[ToVenue]:
    """For what comes from a firm."""
    return FrameReader(msgspec.msgpack.Decoder(ToVenue))


def venue_reader() -> FrameReader[FromVenue]:
    """For what comes from a venue."""
    return FrameReader(msgspec.msgpack.Decoder(FromVenue))
