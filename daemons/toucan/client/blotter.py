"""A picture of orders, kept from a stream: what a screen shows, and what a strategy believes."""

from __future__ import annotations

from collections.abc import Iterator

from toucan.client.streams import OrderBatch
from toucan.client.values import Order, OrderUpdate

__all__ = ["Blotter"]


class Blotter:
    """Orders by id, from the batches of one :meth:`~toucan.client.Toucan.watch_orders`; not thread-safe.

    A snapshot takes the place of the picture when it is complete, so that what left the filter while nobody was told is gone then, and no half of
    one is ever seen.
    """

    def __init__(self, *, only_open: bool = False) -> None:
        self._only_open = only_open
        self._orders: dict[int, Order] = {}
        self._snapshot: dict[int, Order] = {}
        #: The picture is complete up to this event; 0: nothing is known yet.
        self.seq = 0

    def __len__(self) -> int:
        return len(self._orders)

    def __iter__(self) -> Iterator[Order]:
        return iter(list(self._orders.values()))

    def get(self, order_id: int) -> Order | None:
        """One order, or None."""
        return self._orders.get(order_id)

    def apply(self, batch: OrderBatch) -> tuple[OrderUpdate, ...]:
        """Takes a batch in; returns the changes that were news."""
        if batch.is_snapshot_begin:
            self._snapshot = {}
        picture = self._snapshot if batch.is_snapshot else self._orders
        for update in batch.updates:
            order = update.order
            if self._only_open and not order.is_open:
                picture.pop(order.order_id, None)
            else:
                picture[order.order_id] = order
        if batch.is_snapshot_end:
            self._orders, self._snapshot = self._snapshot, {}
        if not batch.is_snapshot or batch.is_snapshot_end:
            self.seq = max(self.seq, batch.seq) if not batch.is_snapshot else batch.seq
        return batch.news
