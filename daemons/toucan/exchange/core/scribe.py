"""Writes reports: what happened to an order becomes a numbered message to its firm.

Law: a report says how its order stands when it is written, so it is written after each single change and never later. What happened is decided
elsewhere. A firm that has no table here (the recorded background flow) is told nothing; its orders cost no report.

Execution ids count the reports of one life of the exchange and carry the life, so that they are unique for ever (FIX 17). A status report and a
refusal report no execution and have none.
"""

from __future__ import annotations

from toucan.core.values import ExecType, OrdStatus
from toucan.core.venue_messages import FromVenue, Report
from toucan.exchange.core.firms import Firm
from toucan.exchange.core.orders import VenueOrder
from toucan.exchange.core.reasons import REASONS

__all__ = ["Addressed", "Scribe"]

#: A message and the firm that it is for.
Addressed = tuple[str, FromVenue]

_NO_ORDER_ID = "NONE"  # FIX 37 in an answer about an order that is not known


class Scribe:
    """All firms' tables, and what is to be told since :meth:`take` was called last. ``now_ns`` is the exchange's time, set by its owner."""

    def __init__(self, life: str) -> None:
        self.life = life
        self.now_ns = 0
        self.firms: dict[str, Firm] = {}
        self._executions = 0
        self._out: list[Addressed] = []

    def take(self) -> list[Addressed]:
        """What was written since the last call, in order."""
        taken, self._out = self._out, []
        return taken

    def say(self, firm: str, message: FromVenue) -> None:
        """Tells a firm something that is no report."""
        self._out.append((firm, message))

    def tell(
        self,
        order: VenueOrder,
        kind: ExecType,
        *,
        cl_ord_id: str | None = None,
        orig_cl_ord_id: str = "",
        reason: str = "",
        text: str = "",
        exec_ref_id: str = "",
        last_quantity: int = 0,
        last_price: int | None = None,
    ) -> str:
        """Reports something that concerns an order; gives the report's exec_id, "" if nobody is told."""
        firm = self.firms.get(order.firm)
        if firm is None:
            return ""
        self._executions += 1
        exec_id = f"{self.life}-E{self._executions}"
        is_unseen = order.is_external
        report = Report(
            kind=kind,
            cl_ord_id=order.cl_ord_id if cl_ord_id is None else cl_ord_id,
            venue_seq=firm.log.newest_seq + 1,
            orig_cl_ord_id=orig_cl_ord_id,
            venue_order_id=order.venue_order_id,
            exec_id=exec_id,
            exec_ref_id=exec_ref_id,
            last_quantity=last_quantity,
            last_price=last_price,
            ord_status=order.status,
            quantity=order.quantity,
            price=order.price,
            stop_price=order.stop_price,
            cum_quantity=order.cum_quantity,
            leaves_quantity=order.leaves_quantity,
            day_cum_quantity=_day_cum(order),
            symbol=order.symbol if is_unseen else "",
            side=order.side if is_unseen else None,
            account=order.account if is_unseen else "",
            reason=reason,
            text=text or REASONS.get(reason, ""),
            at_ns=self.now_ns,
        )
        self._post(firm, report)
        return exec_id

    def tell_status(self, order: VenueOrder, cl_ord_id: str | None = None) -> None:
        """Answers how an order stands (FIX 150=I); under ``cl_ord_id``, or its current id."""
        firm = self.firms[order.firm]
        report = Report(
            kind=ExecType.ORDER_STATUS,
            cl_ord_id=order.cl_ord_id if cl_ord_id is None else cl_ord_id,
            venue_seq=firm.log.newest_seq + 1,
            orig_cl_ord_id=order.orig_cl_ord_id if cl_ord_id is None else "",
            venue_order_id=order.venue_order_id,
            ord_status=order.status,
            quantity=order.quantity,
            price=order.price,
            stop_price=order.stop_price,
            cum_quantity=order.cum_quantity,
            leaves_quantity=order.leaves_quantity,
            day_cum_quantity=_day_cum(order),
            symbol=order.symbol,
            side=order.side,
            account=order.account,
            reason="" if order.cum_quantity or not order.is_open else "nothing-done",
            text="" if order.cum_quantity or not order.is_open else REASONS["nothing-done"],
            at_ns=self.now_ns,
        )
        self._post(firm, report)

    def refuse(self, order: VenueOrder, cl_ord_id: str, reason: str, text: str = "") -> None:
        """Refuses a request about an order (FIX OrderCancelReject)."""
        firm = self.firms[order.firm]
        report = Report(
            kind=ExecType.CANCEL_REJECT,
            cl_ord_id=cl_ord_id,
            venue_seq=firm.log.newest_seq + 1,
            orig_cl_ord_id=order.cl_ord_id,
            venue_order_id=order.venue_order_id,
            ord_status=order.status,
            reason=reason,
            text=text or REASONS.get(reason, ""),
            at_ns=self.now_ns,
        )
        self._post(firm, report)

    def answer_unknown(
        self, firm: Firm, kind: ExecType, cl_ord_id: str, reason: str, orig_cl_ord_id: str = ""
    ) -> None:
        """Answers a request about an order that is not known, or that is no order (FIX Appendix D, B.1.f and G.1.a)."""
        has_quantities = kind is not ExecType.CANCEL_REJECT
        report = Report(
            kind=kind,
            cl_ord_id=cl_ord_id,
            venue_seq=firm.log.newest_seq + 1,
            orig_cl_ord_id=orig_cl_ord_id,
            venue_order_id=_NO_ORDER_ID,
            ord_status=OrdStatus.REJECTED,
            cum_quantity=0 if has_quantities else None,
            leaves_quantity=0 if has_quantities else None,
            reason=reason,
            text=REASONS[reason],
            at_ns=self.now_ns,
        )
        self._post(firm, report)

    def _post(self, firm: Firm, report: Report) -> None:
        firm.log.append(report)
        self._out.append((firm.name, report))


def _day_cum(order: VenueOrder) -> int | None:
    """FIX 425, where it differs from what was executed altogether."""
    return order.cum_quantity - order.prior_cum_quantity if order.prior_cum_quantity else None
