"""What the engine knows of a way to a venue; there is one class for each kind of venue, and one conformance kit for all of them.

Whoever uses a way keeps to this order: :meth:`VenueLink.resume_from`, :meth:`VenueLink.start`, then anything, then :meth:`VenueLink.stop`. A way
connects by itself, begins each connection with Resume from the values that it was told last, and connects again when a connection ends.

* Everything comes by ``deliver``, from a thread of the way's own, in order, never two calls at once: it hands the list over and returns. If it
  gives False nothing of the list was taken: the connection is dropped, and the venue tells it all again over the next one.
* ``send`` gives True if the messages were handed over, all of them; that says nothing of their arrival. A connection that ends loses what was under
  way, and what was sent between its end and its ``Disconnected`` being read may go out over the next one. So requests carry ids that a venue takes
  once only, and whoever sent them asks what became of them.
* A report may come twice, with the same ``venue_seq``: a connection begins behind the last report of which the way was told, not behind the last
  delivered.
* The first report behind a Welcome may have a larger number than the one that was asked for: then the venue keeps no older ones, and only asking
  for the status of all orders (MassStatusRequest) tells how they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from toucan.core.venue_messages import ToVenue
from toucan.venue.events import VenueEvent

__all__ = ["Deliver", "VenueLink"]

#: Takes a list over, or gives False.
Deliver = Callable[[list[VenueEvent]], bool]


class VenueLink(Protocol):
    """A way to one venue for one firm."""

    def resume_from(self, life: str, venue_seq: int) -> None:
        """The newest report that is known for good, and the venue's life that it belongs to; the next connection goes on behind it.

        Before anything is known: "" and 0.
        """

    def start(self, deliver: Deliver) -> None:
        """Connects, and keeps connected."""

    def send(self, messages: Sequence[ToVenue]) -> bool:
        """Hands messages over without waiting, all or none; False: there is no connection, or too much is waiting."""

    def reconnect(self) -> None:
        """Drops the connection, if there is one, and makes a new one."""

    def stop(self) -> None:
        """Ends the connection; nothing is delivered after this returns."""
