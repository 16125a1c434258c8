"""Running the command line in this process, and orders to show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from toucan.cli import run
from toucan.client.streams import OrderBatch
from toucan.client.values import Fill, Order, OrderTerms, OrderUpdate
from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce


@dataclass(frozen=True)
class Done:
    """What a command has done."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands as ``toucan …`` does."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        self._capsys.readouterr()
        code = run(list(arguments))
        out, err = self._capsys.readouterr()
        return Done(code, out, err)


def order(
    order_id: int = 12, *, filled: str = "0", status: OrdStatus = OrdStatus.NEW, **changes: Any
) -> Order:
    """A buy order for 100 AAPL @ 189.50, or another one."""
    terms: dict[str, Any] = {
        "account": "ACC1", "symbol": "AAPL", "side": Side.BUY, "type": OrderType.LIMIT, "time_in_force": TimeInForce.DAY,
        "quantity": Decimal(100), "price": Decimal("189.50"), "stop_price": None, "max_floor": None, "post_only": False,
        "reduce_only": False, "expire_at_ns": None, "note": "",
    }  # fmt: skip
    terms |= {name: value for name, value in changes.items() if name in terms}
    made: dict[str, Any] = {
        "order_id": order_id, "terms": OrderTerms(**terms), "owner": "ann", "session": "s", "venue": "SIM", "status": status,
        "cum_quantity": Decimal(filled), "leaves_quantity": terms["quantity"] - Decimal(filled), "average_price": None,
        "requests": (), "venue_order_id": "", "cl_ord_id": "", "created_ns": 0, "updated_ns": 0, "updated_seq": 1,
        "reason": "", "text": "", "is_triggered": False, "is_external": False,
    }  # fmt: skip
    return Order(**(made | {name: value for name, value in changes.items() if name in made}))


def update(
    order: Order,
    execution_type: ExecType | None = None,
    *,
    seq: int = 1,
    fill: tuple[str, str] | None = None,
    is_snapshot: bool = False,
) -> OrderUpdate:
    """A change of an order."""
    made = fill and Fill(exec_id="E1", exec_ref_id="", quantity=Decimal(fill[0]), price=Decimal(fill[1]))
    return OrderUpdate(
        seq=seq, execution_type=execution_type, event="Reported", order=order, fill=made or None, at_ns=0, is_snapshot=is_snapshot
    )  # fmt: skip


def batch(*updates: OrderUpdate, is_snapshot: bool = False, is_end: bool = False) -> OrderBatch:
    """A message of a stream of orders."""
    return OrderBatch(
        news=updates, updates=updates, seq=1, is_stale=False, is_snapshot=is_snapshot, is_snapshot_begin=is_snapshot,
        is_snapshot_end=is_end, conflated=0,
    )  # fmt: skip
