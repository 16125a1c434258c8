"""The orders of one FIX session, by each of their ids, in memory and in a file: what FIX wants repeated in each message.

An id is written down before the request goes on, so whoever hears a report of it knows it, after kill -9 too. After a power cut the last ones may be
missing: what is told of them then looks like an order that somebody else has entered.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

import msgspec

from toucan.fix.core.facts import OrderFacts
from toucan.fix.limits import LOG_BYTES_KEPT, ORDERS_KEPT_MAX
from toucan.fix.record_file import RecordFile

__all__ = ["OrderBook"]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(OrderFacts)


class OrderBook:
    """``path``: its file."""

    def __init__(
        self, path: Path, *, kept_max: int = ORDERS_KEPT_MAX, bytes_kept: int = LOG_BYTES_KEPT
    ) -> None:
        self._file = RecordFile(path)
        self._kept_max = kept_max
        self._bytes_kept = self._bytes_max = bytes_kept
        self._lock = threading.Lock()
        self._by_id: dict[str, OrderFacts] = {}
        self._order: deque[str] = deque()
        #: What was wrong with the file.
        self.end = self._file.end
        for payload in self._file.records:
            self._keep(_decoder.decode(payload))
        self._file.forget_records()
        self._shorten()

    def _shorten(self) -> None:
        if self._file.size > self._bytes_max:
            self._file.rewrite(map(_encoder.encode, self._by_id.values()))
            self._bytes_max = max(self._bytes_kept, 2 * self._file.size)

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, *ids: str) -> OrderFacts | None:
        """What is known under the first of these ids that is known at all."""
        for cl_ord_id in ids:
            found = self._by_id.get(cl_ord_id)
            if found is not None:
                return found
        return None

    def all(self) -> list[OrderFacts]:
        """Everything that is known, the oldest first."""
        return list(self._by_id.values())

    def note(self, facts: OrderFacts) -> bool:
        """Remembers a request, unless its id is known: the first one counts, and this gives False.

        Raises :class:`~toucan.fix.record_file.FixFileError`.
        """
        with self._lock:
            if facts.cl_ord_id in self._by_id:
                return False
            self._file.append(_encoder.encode(facts))
            self._keep(facts)
            self._shorten()
            return True

    def forget(self, cl_ord_id: str) -> None:
        """The request was not sent: another one may have its id. In the file the last one of an id counts."""
        with self._lock:
            del self._by_id[cl_ord_id]
            self._order.remove(cl_ord_id)

    def _keep(self, facts: OrderFacts) -> None:
        if facts.cl_ord_id not in self._by_id:
            self._order.append(facts.cl_ord_id)
        self._by_id[facts.cl_ord_id] = facts
        if len(self._order) > self._kept_max:
            self._by_id.pop(self._order.popleft(), None)

    def close(self) -> None:
        """Syncs and closes the file."""
        self._file.close()
