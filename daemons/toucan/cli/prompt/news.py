"""What the prompt says by itself, above the line that is being typed: fills, ends of orders that nobody here asked for, and what is
proposed and decided. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from toucan.cli.words import clock_time, fill_words, staged_words, status_words, terms_words
from toucan.client.exact import plain
from toucan.client.staged_calls import StagedBatch
from toucan.client.staged_values import StagedOrder, StagedUpdate
from toucan.client.streams import OrderBatch
from toucan.client.values import Order, OrderUpdate
from toucan.core.values import ExecType

__all__ = ["news_lines", "staged_news_lines"]

_EXECUTIONS = (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)
#: What is said although nothing was executed.
_ENDS = (
    ExecType.REJECTED,
    ExecType.CANCELED,
    ExecType.EXPIRED,
    ExecType.DONE_FOR_DAY,
    ExecType.SUSPENDED,
    ExecType.RESTATED,
    ExecType.CANCEL_REJECT,
    ExecType.TRIGGERED,
)


def news_lines(before: Mapping[int, Order], batch: OrderBatch, after: Mapping[int, Order]) -> list[str]:
    """Lines for a batch; ``before`` and ``after``: the open orders without it and with it."""
    lines = [line for update in batch.news if (line := _line(before, update)) is not None]
    if batch.is_snapshot_end:
        # A snapshot that came in place of what was missed: orders that are no longer in it are over.
        gone = sorted(before.keys() - after.keys())
        lines += [f"order {order_id} has ended meanwhile: `order {order_id}` says how" for order_id in gone]
    return lines


def _line(before: Mapping[int, Order], update: OrderUpdate) -> str | None:
    order = update.order
    at = clock_time(update.at_ns)
    if update.is_snapshot:
        known = before.get(order.order_id)
        if known is None or known.cum_quantity == order.cum_quantity:
            return None
        return (
            f"{at}  meanwhile: {plain(order.cum_quantity - known.cum_quantity)} more of {_order_words(order)}"
        )
    if update.fill is not None and update.execution_type in _EXECUTIONS:
        did = fill_words(order, update.fill)
        if update.execution_type is ExecType.TRADE_CANCEL:
            did = f"CANCELLED by the venue: {did}"
        elif update.execution_type is ExecType.TRADE_CORRECT:
            did = f"CORRECTED by the venue: {did}"
        return f"{at}  {did} (order {order.order_id}: {status_words(order)})"
    if update.execution_type in _ENDS:
        return f"{at}  {_order_words(order)}"
    return None


def staged_news_lines(before: Mapping[int, StagedOrder], batch: StagedBatch, user: str) -> list[str]:
    """Lines for a batch of staged orders; ``before``: those that waited without it. What ``user`` has done himself he has been told."""
    return [line for update in batch.news if (line := _staged_line(before, update, user)) is not None]


def _staged_line(before: Mapping[int, StagedOrder], update: StagedUpdate, user: str) -> str | None:
    staged = update.staged
    if update.is_snapshot and before.get(staged.staged_id) == staged:
        return None
    doer = staged.revisions[-1].by if staged.is_pending else staged.decided_by
    if doer == user and not update.is_snapshot:
        return None
    what = f"staged {staged.staged_id}: {terms_words(staged.terms)}: {staged_words(staged)}"
    return f"{clock_time(update.at_ns)}  {what}"


def _order_words(order: Order) -> str:
    return f"order {order.order_id}: {terms_words(order.terms)}: {status_words(order)}"
