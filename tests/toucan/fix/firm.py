"""A firm that trades over a way that breaks, and keeps its books as an engine does: nothing in flight is guessed about."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

from tests.toucan.exchange.running import PATIENCE_S

from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import (
    CancelOrder,
    MassStatusRequest,
    NewOrder,
    Report,
    ResumeEnd,
    Welcome,
)
from toucan.venue.events import Connected, Disconnected, VenueEvent
from toucan.venue.socket_link import SocketVenueLink

__all__ = ["Standing", "TradingFirm", "standings"]

#: What is known of an order: its status, and what was executed of it.
Standing = tuple[OrdStatus | None, int | None]


def standings(reports: list[Report]) -> dict[str, Standing]:
    """How each order stands after all of its reports, by the id that it began with."""
    first: dict[str, str] = {}
    found: dict[str, Standing] = {}
    for report in reports:
        if report.kind in (ExecType.CANCEL_REJECT, ExecType.ORDER_STATUS):
            continue
        order = first.setdefault(report.cl_ord_id, first.get(report.orig_cl_ord_id, report.cl_ord_id))
        found[order] = report.ord_status, report.cum_quantity
    return found


class TradingFirm:
    """Orders are named by the firm and a number. :attr:`fills` counts how often each execution was told."""

    def __init__(self, path: Path, firm: str) -> None:
        self.firm = firm
        self.reports: list[Report] = []
        self.fills: Counter[str] = Counter()
        #: Orders that were handed over and not heard of.
        self.in_flight: set[str] = set()
        #: Orders of which the venue knows nothing, and those that were never handed over.
        self.lost: set[str] = set()
        self.lives: list[str] = []
        self.times_ready = 0
        self.is_ready = False
        self.changed = threading.Condition()
        self.failure = ""
        self._seq = 0
        self._question = ""
        self._seen: set[str] = set()
        self._count = 0
        self._link = SocketVenueLink(path, firm)
        self._link.start(self._deliver)

    def stop(self) -> None:
        self._link.stop()

    # ------------------------------------------------------------ the link's thread

    def _deliver(self, events: list[VenueEvent]) -> bool:
        with self.changed:
            for event in events:
                self._take(event)
            self.changed.notify_all()
        return True

    def _take(self, event: VenueEvent) -> None:
        match event:
            case Connected() | Disconnected():
                self.is_ready = False
            case Welcome():
                if not self.lives or self.lives[-1] != event.life:
                    self.lives.append(event.life)
                    self._seq = 0
            case Report():
                self._report(event)
            case ResumeEnd(request_id=""):
                self._question = f"{self.firm}-q{len(self.reports)}-{self.times_ready}"
                self._seen = set()
                self._link.send([MassStatusRequest(self._question)])
            case ResumeEnd() if event.request_id == self._question:
                gone = self.in_flight - self._seen
                self.lost |= gone
                self.in_flight.clear()
                self.is_ready = True
                self.times_ready += 1

    def _report(self, report: Report) -> None:
        if report.venue_seq <= self._seq:
            return
        if report.venue_seq != self._seq + 1:
            self.failure = f"report {report.venue_seq} behind {self._seq}"
        self._seq = report.venue_seq
        self._link.resume_from(self.lives[-1], self._seq)
        self.reports.append(report)
        self._seen.add(report.cl_ord_id)
        self.in_flight.discard(report.cl_ord_id)
        if report.kind is ExecType.TRADE:
            self.fills[report.exec_id] += 1

    # ------------------------------------------------------------ the test's side

    def order(self, side: Side, price: int, quantity: int = 10) -> str:
        """Sends an order if the venue is there; gives its id, "" if it is not."""
        with self.changed:
            if not self.is_ready:
                return ""
            self._count += 1
            name = f"{self.firm}-{self._count}"
            self.in_flight.add(name)
        order = NewOrder(name, "a", "ABC", side, OrderType.LIMIT, TimeInForce.GTC, quantity, price)
        if not self._link.send([order]):
            with self.changed:
                self.in_flight.discard(name)
                self.lost.add(name)
        return name

    def cancel(self, name: str, side: Side) -> None:
        """Asks to cancel an order."""
        with self.changed:
            if self.is_ready:
                self._link.send([CancelOrder(f"{name}-c", name, "ABC", side)])

    def wait_ready(self, times: int) -> None:
        """Until it has been in step with the venue so often."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.is_ready and self.times_ready >= times, PATIENCE_S), (
                f"{self.firm} was in step {self.times_ready} times, not {times}"
            )

    def settle(self) -> None:
        """Until nothing is in flight, all of it answered."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.is_ready and not self.in_flight, PATIENCE_S)
            count = self.times_ready
        self._link.reconnect()  # the end of what it then asks is behind everything
        self.wait_ready(count + 1)
