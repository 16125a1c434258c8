"""Which orders a venue may still have, and the questions about them, for venues that answer no OrderMassStatusRequest.

An order is in it from the moment at which it may have been sent until a report says that nothing of it is left. To ask for one too many costs a
message; one too few would be believed lost.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from toucan.core.values import ExecType, OrdStatus, RequestKind
from toucan.core.venue_messages import Report
from toucan.fix.core.facts import OrderFacts
from toucan.fix.limits import ANSWERS_KEPT_MAX

__all__ = ["OpenOrders"]

_ENDED = (OrdStatus.CANCELED, OrdStatus.EXPIRED, OrdStatus.REJECTED, OrdStatus.FILLED)


class OpenOrders:
    """Made from what was sent and told before; may be used from any thread."""

    def __init__(self, sent: Iterable[OrderFacts], told: Iterable[Report]) -> None:
        self._lock = threading.Lock()
        #: By the id under which the venue has it: the last report of it, None before the first.
        self._open: dict[str, Report | None] = {}
        #: Of each question the orders that were not answered yet.
        self._questions: dict[str, set[str]] = {}
        #: Those that are asked for when these are answered.
        self._later: list[str] = []
        self._more: list[str] = []
        for facts in sent:
            self.sent(facts)
        for report in told:
            self.told(report)

    def sent(self, facts: OrderFacts) -> None:
        """A request goes out."""
        if facts.kind is RequestKind.NEW:
            with self._lock:
                self._open.setdefault(facts.cl_ord_id, None)

    def told(self, report: Report) -> list[str]:
        """A report has come; gives the questions that are answered with it."""
        ids = (report.cl_ord_id, report.orig_cl_ord_id)
        with self._lock:
            if report.kind is not ExecType.CANCEL_REJECT:
                self._take(report)
            return self._answered(ids) if report.kind is ExecType.ORDER_STATUS else []

    def _take(self, report: Report) -> None:
        is_second_copy = report.kind is ExecType.REJECTED and report.ord_status not in (
            None,
            OrdStatus.REJECTED,
        )
        if is_second_copy:
            return
        if report.ord_status in _ENDED or report.kind is ExecType.REPLACED:
            self._open.pop(report.orig_cl_ord_id, None)
        if report.ord_status in _ENDED:
            self._open.pop(report.cl_ord_id, None)
        elif report.ord_status is not None:
            # What is pending is a request of its own, and the order has its old id until that is accepted.
            is_pending = report.kind in (ExecType.PENDING_CANCEL, ExecType.PENDING_REPLACE)
            self._open[(report.orig_cl_ord_id if is_pending else "") or report.cl_ord_id] = report

    def last(self, cl_ord_id: str) -> Report | None:
        """The last report of an order that may be open; None: there was none."""
        with self._lock:
            return self._open.get(cl_ord_id)

    def ask(self, question: str) -> list[str]:
        """Begins a question; gives the ids to ask for first, none if there is nothing to ask."""
        with self._lock:
            ids = list(self._open)
            self._questions.clear()  # an earlier one was of an earlier connection
            self._more = []
            ids, self._later = ids[:ANSWERS_KEPT_MAX], ids[ANSWERS_KEPT_MAX:]
            if ids:
                self._questions[question] = set(ids)
            return ids

    def more(self) -> list[str]:
        """The ids to ask for next, as all those before are answered; each is given once."""
        with self._lock:
            more, self._more = self._more, []
            return more

    def unanswered(self, cl_ord_id: str) -> list[str]:
        """The venue says that it knows no such order; gives the questions that are answered with that."""
        with self._lock:
            self._open.pop(cl_ord_id, None)
            return self._answered((cl_ord_id,))

    def _answered(self, ids: Iterable[str]) -> list[str]:
        done = []
        for question, waiting in self._questions.items():
            waiting.difference_update(ids)
            if waiting:
                continue
            if self._later:
                more, self._later = self._later[:ANSWERS_KEPT_MAX], self._later[ANSWERS_KEPT_MAX:]
                self._more += more
                waiting.update(more)
            else:
                done.append(question)
        for question in done:
            del self._questions[question]
        return done
