"""What the prompt says by itself."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.toucan.cli.support import batch, order, update

from toucan.cli.prompt.news import news_lines
from toucan.core.values import ExecType, OrdStatus


def said(lines: list[str]) -> list[str]:
    return [line.partition("  ")[2] or line for line in lines]


def test_fills_busts_and_corrections_are_told() -> None:
    partly = order(filled="40", status=OrdStatus.PARTIALLY_FILLED, average_price=Decimal("189.45"))
    updates = [
        update(partly, kind, fill=("40", "189.45"))
        for kind in (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)
    ]
    stands = "bought 40 AAPL @ 189.45 for ACC1 (order 12: partially filled, 40 of 100 @ 189.45)"
    assert said(news_lines({}, batch(*updates), {})) == [
        stands,
        f"CANCELLED by the venue: {stands}",
        f"CORRECTED by the venue: {stands}",
    ]


@pytest.mark.parametrize(
    ("kind", "status", "is_told"),
    [
        (ExecType.REJECTED, OrdStatus.REJECTED, True),
        (ExecType.EXPIRED, OrdStatus.EXPIRED, True),
        (ExecType.CANCELED, OrdStatus.CANCELED, True),
        (ExecType.CANCEL_REJECT, OrdStatus.NEW, True),
        (ExecType.NEW, OrdStatus.NEW, False),
        (ExecType.PENDING_CANCEL, OrdStatus.PENDING_CANCEL, False),
        (None, OrdStatus.PENDING_NEW, False),
    ],
)
def test_ends_are_told_and_routine_is_not(kind: ExecType | None, status: OrdStatus, is_told: bool) -> None:
    lines = news_lines({}, batch(update(order(status=status), kind)), {})
    expected = f"order 12: buy 100 AAPL @ 189.50 for ACC1: {status.name.lower().replace('_', ' ')}"
    assert said(lines) == ([expected] if is_told else [])


def test_a_snapshot_tells_only_what_happened_meanwhile() -> None:
    known, unchanged, gone = order(1, filled="10"), order(2), order(3)
    now = order(1, filled="25", status=OrdStatus.PARTIALLY_FILLED)
    message = batch(
        update(now, is_snapshot=True), update(unchanged, is_snapshot=True), update(order(4), is_snapshot=True),
        is_snapshot=True, is_end=True,
    )  # fmt: skip
    lines = news_lines({1: known, 2: unchanged, 3: gone}, message, {1: now, 2: unchanged, 4: order(4)})
    assert said(lines[:1]) == [
        "meanwhile: 15 more of order 1: buy 100 AAPL @ 189.50 for ACC1: partially filled, 25 of 100"
    ]
    assert lines[1:] == ["order 3 has ended meanwhile: `order 3` says how"]
