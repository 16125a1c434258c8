"""What the exchange keeps of a firm: its reports, so that they can be told again, and its orders, so that none is taken twice.

Law: reports are numbered here and nowhere else: from 1, without gaps, for one life of the exchange. What is kept is bounded. A firm that asks for
reports older than those gets all there are, in the same life: the first one's number shows it what is missing, and a mass status
request tells it how its orders stand. Calling that a new life was rejected: the venue has lost nothing, and a firm that believed it would send its
orders again. Ids are forgotten with the order that they belong to, the one that ended first first; from then on an unknown id that is
marked as a possible resend might be a forgotten one, so it is not taken as a new order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

from toucan.core.venue_messages import Report
from toucan.exchange.core.orders import VenueOrder

__all__ = ["Firm", "ReportLog"]


class ReportLog:
    """Reports in the order of their numbers; the newest ``kept_max`` are kept."""

    __slots__ = ("_kept", "newest_seq")

    def __init__(self, kept_max: int) -> None:
        self._kept: deque[Report] = deque(maxlen=kept_max)
        #: The number of the newest report; 0 before the first one.
        self.newest_seq = 0

    @property
    def oldest_seq(self) -> int:
        """The number of the oldest report that is kept; one more than the newest's if none is."""
        return self.newest_seq - len(self._kept) + 1

    def append(self, report: Report) -> None:
        """Keeps a report, which must carry the number that is due."""
        assert report.venue_seq == self.newest_seq + 1
        self.newest_seq += 1
        self._kept.append(report)

    def after(self, venue_seq: int, count_max: int | None = None) -> Iterator[Report]:
        """The kept reports with larger numbers, oldest first. The log must not be appended to meanwhile."""
        start = max(0, venue_seq + 1 - self.oldest_seq)
        if start <= len(self._kept) // 2:
            return islice(self._kept, start, None if count_max is None else start + count_max)
        # A deque is walked from one end; what is asked for mostly lies at the right.
        newest = list(islice(reversed(self._kept), max(0, len(self._kept) - start)))
        newest.reverse()
        return iter(newest if count_max is None else newest[:count_max])


class Firm:
    """A firm's log and orders. ``open_orders`` are by number, oldest first; ``ids`` leads from every id of a request to its order."""

    __slots__ = ("_closed", "_closed_max", "has_forgotten", "ids", "log", "name", "open_orders")

    def __init__(self, name: str, reports_kept_max: int, closed_orders_kept_max: int) -> None:
        self.name = name
        self.log = ReportLog(reports_kept_max)
        self.ids: dict[str, VenueOrder] = {}
        self.open_orders: dict[int, VenueOrder] = {}
        #: Whether ids were forgotten.
        self.has_forgotten = False
        self._closed: deque[VenueOrder] = deque()
        self._closed_max = closed_orders_kept_max

    def opened(self, order: VenueOrder) -> None:
        """An order is open, perhaps again."""
        self.open_orders[order.number] = order

    def closed(self, order: VenueOrder) -> None:
        """An order has ended, or is filled, or never began; it is known for as long as not too many others end after it."""
        self.open_orders.pop(order.number, None)
        self._closed.append(order)
        if len(self._closed) > self._closed_max:
            self._forget(self._closed.popleft())

    def name_order(self, order: VenueOrder, cl_ord_id: str) -> None:
        """A request about an order came under this id."""
        self.ids[cl_ord_id] = order
        order.ids = (*order.ids, cl_ord_id)

    def _forget(self, order: VenueOrder) -> None:
        if order.number in self.open_orders:
            return  # opened again by a bust or a replacement; it will end once more
        self.has_forgotten = True
        for cl_ord_id in order.ids:
            self.ids.pop(cl_ord_id, None)
