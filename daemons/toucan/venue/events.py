"""What a way to a venue says of itself, among the messages of the venue.

They come in order with those messages: all that was received over a connection lies between its :class:`Connected` and its :class:`Disconnected`.
"""

from __future__ import annotations

import msgspec

from toucan.core.venue_messages import FromVenue

__all__ = ["Connected", "Disconnected", "VenueEvent"]


class Connected(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A connection stands, and Resume was sent over it; Welcome comes next."""


class Disconnected(msgspec.Struct, frozen=True, gc=False, tag=True):
    """There is no connection any more, or none could be made: whether what was sent has arrived is unknown. The way keeps trying by itself."""

    reason: str


VenueEvent = FromVenue | Connected | Disconnected
