"""A venue's drop-copy session, read by ``toucan fix``: a venue that only tells, also what was missed, and knows no order of ours."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from tests.toucan.fix.chain import Chain, wait_until
from tests.toucan.fix.firm import TradingFirm

from toucan.core.values import ExecType, OrdStatus, Side
from toucan.core.venue_messages import Report

pytestmark = [pytest.mark.system]


def _with_copies(chain: Chain) -> Chain:
    """A session for copies beside that of the firm "one"."""
    text = f"""
[fix.copy]
host = "127.0.0.1"
port = {chain.port}
sender_comp_id = "COPY"
target_comp_id = "AVIARY"
reconnect_s = 1
store = {json.dumps(str(chain.folder / "copy"))}
socket = {json.dumps(str(chain.socket_path("copy")))}
[fix_acceptor.drop_copy.COPY]
firms = ["one"]
"""
    chain.config.write_text(chain.config.read_text() + text)
    return chain


def _executions(copy: TradingFirm) -> list[Report]:
    """What it heard behind its first report, but for answers to the questions of others."""
    return [report for report in copy.reports[1:] if report.kind is not ExecType.ORDER_STATUS]


def test_reports_of_orders_that_others_have_sent_are_told_with_all_that_is_known(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        chain = stack.enter_context(_with_copies(Chain(tmp_path, ["one"], ["ABC"])))
        chain.launch("copy").wait_ready()
        trader = TradingFirm(chain.socket_path("one"), "one")
        stack.callback(trader.stop)
        copy = TradingFirm(chain.socket_path("copy"), "copy")
        stack.callback(copy.stop)
        for firm in (trader, copy):
            firm.wait_ready(1)
        first = trader.order(Side.BUY, 50)
        wait_until(lambda: len(copy.reports) == 1)
        told = copy.reports[0]
        assert (told.kind, told.cl_ord_id) == (ExecType.NEW, first)
        assert (told.symbol, told.side, told.account, told.quantity, told.price) == (
            "ABC",
            Side.BUY,
            "a",
            10,
            50,
        )

        chain.processes["copy"].kill()
        second = trader.order(Side.SELL, 50, 4)
        trader.settle()
        chain.launch("copy").wait_ready()
        wait_until(lambda: len(_executions(copy)) == 3)
        kinds = [(report.kind, report.cl_ord_id, report.last_quantity) for report in _executions(copy)]
        assert sorted(kinds) == sorted(
            [(ExecType.NEW, second, 0), (ExecType.TRADE, first, 4), (ExecType.TRADE, second, 4)]
        )
        assert (copy.failure, set(copy.fills.values()), copy.lost) == ("", {1}, set())
        # The venue answers no questions over such a session: what it told last says what is open.
        times = copy.times_ready
        copy._link.reconnect()
        copy.wait_ready(times + 1)
        assert copy._seen == {first}
        assert (copy.reports[-1].ord_status, copy.reports[-1].leaves_quantity) == (
            OrdStatus.PARTIALLY_FILLED,
            6,
        )


def test_who_sends_an_order_over_it_is_told_that_it_was_not_taken(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        chain = stack.enter_context(_with_copies(Chain(tmp_path, ["one"], ["ABC"])))
        chain.launch("copy").wait_ready()
        copy = TradingFirm(chain.socket_path("copy"), "copy")
        stack.callback(copy.stop)
        copy.wait_ready(1)
        wrong = copy.order(Side.BUY, 50)
        wait_until(lambda: len(copy.reports) == 1)
        told = copy.reports[0]
        assert (told.kind, told.cl_ord_id) == (ExecType.REJECTED, wrong)
        assert (told.reason, told.text) == ("not-available", "Unsupported Message Type")
