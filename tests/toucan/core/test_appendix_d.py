"""FIX 4.4 Appendix D, "Order State Change Matrices", as scripts: the engine is the order's sender, the venue is scripted.

Each line is one message. Ours: ``NOS`` (a new order), ``CXL``, ``RPL``, with the ClOrdIDs X, Y, Z given in this order. The venue's:
``ExecType(id)/OrdStatus quantity/cum/leaves``, with ``quantity@price`` of an execution and ``ref=n`` for the nth one where it is about an earlier
one; ``CR`` is an OrderCancelReject. After each of the venue's messages the order must stand as the message says. Where messages cross on the
wire in the specification, they stand in the order in which the sender of the order sees them.
"""

from __future__ import annotations

import re

import pytest
from tests.toucan.core.desk import Desk, terms

from toucan.core import requests as rq
from toucan.core.events import ReportRefused
from toucan.core.order import Order
from toucan.core.outcomes import Accepted, Refused
from toucan.core.values import ExecType, OrdStatus, TimeInForce
from toucan.core.venue_messages import CancelOrder, NewOrder, ReplaceOrder

_KINDS = {
    "New": ExecType.NEW, "Trade": ExecType.TRADE, "DFD": ExecType.DONE_FOR_DAY, "PC": ExecType.PENDING_CANCEL,
    "PR": ExecType.PENDING_REPLACE, "Canceled": ExecType.CANCELED, "Replace": ExecType.REPLACED, "Rejected": ExecType.REJECTED,
    "Restated": ExecType.RESTATED, "Stopped": ExecType.STOPPED, "Bust": ExecType.TRADE_CANCEL, "Correct": ExecType.TRADE_CORRECT,
    "Status": ExecType.ORDER_STATUS, "CR": ExecType.CANCEL_REJECT, "PN": ExecType.PENDING_NEW, "Suspended": ExecType.SUSPENDED,
}  # fmt: skip
_STATUSES = {
    "New": OrdStatus.NEW, "PF": OrdStatus.PARTIALLY_FILLED, "Filled": OrdStatus.FILLED, "DFD": OrdStatus.DONE_FOR_DAY,
    "PC": OrdStatus.PENDING_CANCEL, "PR": OrdStatus.PENDING_REPLACE, "Canceled": OrdStatus.CANCELED, "Rejected": OrdStatus.REJECTED,
    "Stopped": OrdStatus.STOPPED, "PN": OrdStatus.PENDING_NEW, "Suspended": OrdStatus.SUSPENDED,
}  # fmt: skip
_LINE = re.compile(
    r"(?P<kind>\w+)\((?P<id>[XYZ])\)/(?P<status>\w+) (?P<q>\d+)/(?P<cum>\d+)/(?P<leaves>\d+)"
    r"(?: (?P<last>\d+)@(?P<price>\d+))?(?: ref=(?P<ref>\d+))?(?: reason=(?P<reason>\S+))?(?: avg=(?P<avg>\d+))?"
)

#: Matrix, our order's time in force, script.
MATRICES: list[tuple[str, str, str]] = [
    ("A.1.a filled order", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/2000/8000 2000@50
        Trade(X)/PF 10000/3000/7000 1000@50
        Trade(X)/Filled 10000/10000/0 7000@50"""),
    ("A.1.a, rejected", "DAY", """
        NOS 10000
        Rejected(X)/Rejected 10000/0/0 reason=closed"""),
    ("A.1.b part-filled day order, done for day", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/2000/8000 2000@50
        Trade(X)/PF 10000/3000/7000 1000@50
        DFD(X)/DFD 10000/3000/0"""),
    ("B.1.a cancel of a zero-filled order", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        CXL
        PC(Y)/PC 10000/0/10000
        Canceled(Y)/Canceled 10000/0/0"""),
    ("B.1.a, rejected at once", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        CXL
        CR(Y)/New 10000/0/10000 reason=too-late"""),
    ("B.1.a, rejected after it was pending", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        CXL
        PC(Y)/PC 10000/0/10000
        CR(Y)/New 10000/0/10000 reason=too-late"""),
    ("B.1.b cancel of a part-filled order, executions whilst it is pending", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/2000/8000 2000@50
        CXL
        Trade(X)/PF 10000/5000/5000 3000@50
        PC(Y)/PC 10000/5000/5000
        Trade(X)/PC 10000/6000/4000 1000@50
        Canceled(Y)/Canceled 10000/6000/0"""),
    ("B.1.c cancel of an order that is filled before it is accepted", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/2000/8000 2000@50
        CXL
        Trade(X)/PF 10000/5000/5000 3000@50
        PC(Y)/PC 10000/5000/5000
        Trade(X)/PC 10000/10000/0 5000@50
        CR(Y)/Filled 10000/10000/0 reason=too-late"""),
    # The acknowledgement of X comes while a cancel is pending, and by precedence the status stays Pending Cancel.
    ("B.1.d cancel of an order that is not acknowledged", "DAY", """
        NOS 10000
        CXL
        PC(Y)/PC 10000/0/10000
        New(X)/PC 10000/0/10000
        Canceled(Y)/Canceled 10000/0/0"""),
    ("B.1.d, cancelled without ever being acknowledged", "DAY", """
        NOS 10000
        CXL
        PC(Y)/PC 10000/0/10000
        Canceled(Y)/Canceled 10000/0/0"""),
    ("B.1.e acknowledgement and cancel cross", "DAY", """
        NOS 10000
        CXL
        New(X)/New 10000/0/10000
        PC(Y)/PC 10000/0/10000
        Canceled(Y)/Canceled 10000/0/0"""),
    ("C.1.a zero-filled order, quantity increased", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        RPL 11000
        PR(Y)/PR 10000/0/10000
        Replace(Y)/New 11000/0/11000
        Trade(Y)/PF 11000/1000/10000 1000@50
        Trade(Y)/PF 11000/3000/8000 2000@50"""),
    ("C.1.b part-filled order, quantity increased, fill whilst pending", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        RPL 12000
        PR(Y)/PR 10000/1000/9000
        Trade(X)/PR 10000/1100/8900 100@50
        Replace(Y)/PF 12000/1100/10900
        Trade(Y)/Filled 12000/12000/0 10900@50"""),
    ("C.1.c filled order, quantity increased", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/Filled 10000/10000/0 10000@50
        RPL 12000
        PR(Y)/PR 10000/10000/0
        Replace(Y)/PF 12000/10000/2000
        Trade(Y)/Filled 12000/12000/0 2000@50"""),
    ("C.2.a price changed, filled meanwhile", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        RPL 10000 @51
        Trade(X)/Filled 10000/10000/0 9000@50
        CR(Y)/Filled 10000/10000/0 reason=too-late"""),
    ("C.3.a quantity decreased, fills meanwhile", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        RPL 8000
        Trade(X)/PF 10000/1500/8500 500@50
        PR(Y)/PR 10000/1500/8500
        Trade(X)/PR 10000/1600/8400 100@50
        Replace(Y)/PF 8000/1600/6400
        Trade(Y)/Filled 8000/8000/0 6400@50"""),
    ("C.3.b quantity decreased to what is filled meanwhile", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        RPL 7000
        Trade(X)/PF 10000/7000/3000 7000@50
        Replace(Y)/Filled 7000/7000/0"""),
    ("C.3.c quantity decreased below what is filled meanwhile", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        RPL 7000
        Trade(X)/PF 10000/8000/2000 8000@50
        Replace(Y)/Filled 8000/8000/0"""),
    ("D.1.a two replacements, one after the other", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        RPL 8000
        PR(Y)/PR 10000/1000/9000
        Trade(X)/PR 10000/1500/8500 500@50
        Replace(Y)/PF 8000/1500/6500
        Trade(Y)/PF 8000/3500/4500 2000@50
        RPL 6000 orig=Y
        PR(Z)/PR 8000/3500/4500
        Trade(Y)/PR 8000/4000/4000 500@50
        Replace(Z)/PF 6000/4000/2000
        Trade(Z)/Filled 6000/6000/0 2000@50"""),
    ("D.1.b first replacement rejected before it is pending", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        RPL 8000
        CR(Y)/PF 10000/1000/9000 reason=broker
        Trade(X)/PF 10000/3500/6500 2500@50
        RPL 6000 orig=X
        PR(Z)/PR 10000/3500/6500
        Replace(Z)/PF 6000/3500/2500
        Trade(Z)/PF 6000/5000/1000 1500@50"""),
    ("D.1.c first replacement rejected after it was pending", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        RPL 8000
        PR(Y)/PR 10000/1000/9000
        Trade(X)/PR 10000/1500/8500 500@50
        CR(Y)/PF 10000/1500/8500 reason=exchange
        Trade(X)/PF 10000/3500/6500 2000@50
        RPL 6000 orig=X
        PR(Z)/PR 10000/3500/6500
        Replace(Z)/PF 6000/3500/2500
        Trade(Z)/PF 6000/5000/1000 1500@50"""),
    ("D.2.a two replacements at once, worked on one by one", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        RPL 8000 orig=X
        RPL 7000 orig=Y
        PR(Y)/PR 10000/1000/9000
        Replace(Y)/PF 8000/1000/7000
        PR(Z)/PR 8000/1000/7000
        Replace(Z)/PF 7000/1000/6000
        Trade(Z)/Filled 7000/7000/0 6000@50"""),
    ("D.2.b two replacements at once, both pending", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        RPL 8000
        RPL 7000
        PR(Y)/PR 10000/1000/9000
        PR(Z)/PR 10000/1000/9000
        Replace(Y)/PR 8000/1000/7000
        Replace(Z)/PF 7000/1000/6000
        Trade(Z)/Filled 7000/7000/0 6000@50"""),
    ("D.2.c two replacements at once, both rejected", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        RPL 8000
        RPL 7000
        PR(Y)/PR 10000/1000/9000
        CR(Y)/PF 10000/1000/9000
        PR(Z)/PR 10000/1000/9000
        CR(Z)/PF 10000/1000/9000
        Trade(X)/PF 10000/3000/7000 2000@50"""),
    ("D.2.d second replacement rejected, since the first is pending", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        RPL 8000
        RPL 7000
        PR(Y)/PR 10000/1000/9000
        CR(Z)/PR 10000/1000/9000 reason=already-pending
        Replace(Y)/PF 8000/1000/7000
        Trade(Y)/PF 8000/3000/5000 2000@50"""),
    ("E.1.b unsolicited cancel of a part-filled order", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        Canceled(X)/Canceled 10000/1000/0 reason=verbal"""),
    ("E.1.c unsolicited replacement", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Restated(X)/New 11000/0/11000
        Trade(X)/PF 11000/1000/10000 1000@50
        Restated(X)/PF 12000/1000/11000"""),
    ("E.1.d partial decline", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Restated(X)/New 9000/0/9000
        Trade(X)/Filled 9000/9000/0 9000@50"""),
    ("E.1.e unsolicited cancel, not best", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Canceled(X)/Canceled 10000/0/0 reason=not-best"""),
    ("F.1.a rejection of a second order under the same id", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        Rejected(X)/PF 10000/1000/9000 reason=duplicate"""),
    ("G.1.b status of an order on which nothing is done", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Status(X)/New 10000/0/10000"""),
    ("G.1.c status at every step", "DAY", """
        NOS 10000
        Status(X)/PN 10000/0/10000
        New(X)/New 10000/0/10000
        Status(X)/New 10000/0/10000
        Trade(X)/PF 10000/2000/8000 2000@50
        Status(X)/PF 10000/2000/8000
        Trade(X)/Filled 10000/10000/0 8000@50
        Status(X)/Filled 10000/10000/0
        RPL 12000
        PR(Y)/PR 10000/10000/0
        Status(X)/PR 10000/10000/0
        Replace(Y)/PF 12000/10000/2000
        Status(Y)/PF 12000/10000/2000"""),
    ("H.1.a GTC over two days", "GTC", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/2000/8000 2000@50
        DFD(X)/DFD 10000/2000/8000
        Restated(X)/PF 10000/2000/8000
        Trade(X)/PF 10000/3000/7000 1000@50"""),
    ("H.1.b GTC, a 2:1 split between the days", "GTC", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/2000/8000 2000@50 avg=50
        DFD(X)/DFD 10000/2000/8000
        Restated(X)/PF 20000/4000/16000 avg=25
        Trade(X)/PF 20000/9000/11000 5000@30
        Trade(X)/Filled 20000/20000/0 11000@30"""),
    ("H.1.c GTC cancelled on the second day", "GTC", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/2000/8000 2000@50
        DFD(X)/DFD 10000/2000/8000
        Restated(X)/PF 10000/2000/8000
        CXL
        PC(Y)/PC 10000/2000/8000
        Canceled(Y)/Canceled 10000/2000/0"""),
    ("H.1.d GTC replaced on the second day", "GTC", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/2000/8000 2000@50
        DFD(X)/DFD 10000/2000/8000
        Restated(X)/PF 10000/2000/8000
        RPL 15000
        PR(Y)/PR 10000/2000/8000
        Trade(X)/PR 10000/3000/7000 1000@50
        Replace(Y)/PF 15000/3000/12000"""),
    ("I.1.a fill or kill that cannot be filled", "FOK", """
        NOS 10000
        New(X)/New 10000/0/10000
        Canceled(X)/Canceled 10000/0/0"""),
    ("I.1.b immediate or cancel, part filled", "IOC", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@50
        Canceled(X)/Canceled 10000/1000/0"""),
    ("J.1.a bust and corrections of a filled order", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/1000/9000 1000@100
        Trade(X)/Filled 10000/10000/0 9000@110 avg=109
        Bust(X)/PF 10000/9000/1000 ref=1 avg=110
        Correct(X)/PF 10000/9000/1000 9000@100 ref=2 avg=100
        Trade(X)/Filled 10000/10000/0 1000@120 avg=102
        Correct(X)/Filled 10000/10000/0 9000@120 ref=2 avg=120
        RPL 12000
        PR(Y)/PR 10000/10000/0
        Replace(Y)/PF 12000/10000/2000
        Correct(Y)/PF 12000/10500/1500 9500@120 ref=2 avg=120"""),
    ("J.1.b bust and a new trade after the order was cancelled", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/5000/5000 5000@50
        CXL
        PC(Y)/PC 10000/5000/5000
        Canceled(Y)/Canceled 10000/5000/0
        Bust(Y)/Canceled 10000/0/0 ref=1
        Trade(Y)/Canceled 10000/4000/0 4000@51"""),
    ("J.1.c GTC, corrections of yesterday's and today's trades", "GTC", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/2000/8000 2000@50
        DFD(X)/DFD 10000/2000/8000
        Restated(X)/PF 10000/2000/8000
        Trade(X)/PF 10000/3000/7000 1000@50
        Correct(X)/PF 10000/2500/7500 1500@50 ref=1
        Correct(X)/PF 10000/2000/8000 500@50 ref=2"""),
    ("J.1.d correction and bust after done for day", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Trade(X)/PF 10000/5000/5000 5000@50
        DFD(X)/DFD 10000/5000/0
        Correct(X)/DFD 10000/4000/0 4000@50 ref=1
        Bust(X)/DFD 10000/0/0 ref=1"""),
    ("K.1.a trading halt, order reinstated", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Suspended(X)/Suspended 10000/0/10000
        New(X)/New 10000/0/10000
        Trade(X)/Filled 10000/10000/0 10000@50"""),
    ("K.1.b trading halt, order cancelled", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Canceled(X)/Canceled 10000/0/0 reason=halted"""),
    ("L.1.a guarantee of a price by a specialist", "DAY", """
        NOS 10000
        New(X)/New 10000/0/10000
        Stopped(X)/Stopped 10000/0/10000
        Trade(X)/Stopped 10000/1000/9000 1000@50"""),
]  # fmt: skip

#: Matrices that are no script for a sender's order, and why.
ELSEWHERE = {
    "B.1.f": "a cancel of an unknown order is refused here and never sent: test_cancel_of_an_unknown_order",
    "E.1.a": "an order entered by telephone: test_phoned_order",
    "F.1.b": "the receiver's half is the exchange's (tests/toucan/exchange); the sender's: test_the_same_request_is_one_order",
    "F.1.c": "the electronic copy of an order entered by telephone: the engine gives every order an id of its own and sends no copies",
    "G.1.a": "status of an unknown order: an order in flight that its venue does not know, test_reconcile.py",
    "L.1.b": "no order here has its quantity in cash (CashOrderQty)",
}


def test_every_matrix_is_here() -> None:
    letters = {
        "A.1": "ab", "B.1": "abcdef", "C.1": "abc", "C.2": "a", "C.3": "abc", "D.1": "abc", "D.2": "abcd", "E.1": "abcde",
        "F.1": "abc", "G.1": "abc", "H.1": "abcd", "I.1": "ab", "J.1": "abcd", "K.1": "ab", "L.1": "ab",
    }  # fmt: skip
    every = [f"{group}.{letter}" for group, those in letters.items() for letter in those]
    assert len(every) == 47
    covered = {name[:5] for name, _, _ in MATRICES}
    assert covered | set(ELSEWHERE) == set(every)
    assert not covered & set(ELSEWHERE)


class Script:
    """Runs a matrix on a desk of its own."""

    def __init__(self, time_in_force: str) -> None:
        self.desk = Desk()
        self.time_in_force = TimeInForce[time_in_force]
        self.order: Order | None = None
        self.ids: dict[str, str] = {}
        self.trades = 0

    def run(self, script: str) -> None:
        for line in script.split("\n"):
            words = line.split()
            if not words:
                continue
            if words[0] in ("NOS", "CXL", "RPL"):
                self.ours(words)
            else:
                self.theirs(line.strip())

    def ours(self, words: list[str]) -> None:
        desk = self.desk
        if words[0] == "NOS":
            self.order = desk.submit(terms(int(words[1]), 5_000, time_in_force=self.time_in_force))
            sent = desk.sent[-1]
            assert isinstance(sent, NewOrder)
        else:
            assert self.order is not None
            price = next((int(word[1:]) * 100 for word in words if word.startswith("@")), None)
            body: rq.Body = rq.Cancel(self.order.order_id)
            if words[0] == "RPL":
                body = rq.Replace(self.order.order_id, quantity=int(words[1]), price=price)
            outcome = desk.ask(body)
            assert isinstance(outcome, Accepted), outcome
            sent = desk.sent[-1]
            assert isinstance(sent, (CancelOrder, ReplaceOrder))
            for word in words:
                if word.startswith("orig="):
                    assert sent.orig_cl_ord_id == self.ids[word[5:]]
        self.ids["XYZ"[len(self.ids)]] = sent.cl_ord_id

    def theirs(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        assert match is not None, line
        said = match.groupdict()
        order = self.order
        assert order is not None
        kind, status = _KINDS[said["kind"]], _STATUSES[said["status"]]
        fields = {
            "kind": kind, "cl_ord_id": self.ids[said["id"]], "ord_status": status, "quantity": int(said["q"]),
            "cum_quantity": int(said["cum"]), "leaves_quantity": int(said["leaves"]), "reason": said["reason"] or "",
        }  # fmt: skip
        if kind in (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT):
            fields |= self.execution(kind, said)
        events = self.desk.report(**fields)
        assert not any(isinstance(event, ReportRefused) for event in events), (line, events)
        stands = (order.status, order.terms.quantity, order.cum_quantity, order.leaves_quantity)
        assert stands == (status, int(said["q"]), int(said["cum"]), int(said["leaves"])), line
        if said["avg"]:
            assert order.average_price == int(said["avg"]), line

    def execution(self, kind: ExecType, said: dict[str, str]) -> dict[str, object]:
        if kind is ExecType.TRADE:
            self.trades += 1
            exec_id, ref = f"e{self.trades}", ""
        else:
            exec_id, ref = f"{kind.name}-{self.desk.state.seq}", f"e{said['ref']}"
        last = {"last_quantity": int(said["last"]), "last_price": int(said["price"])} if said["last"] else {}
        return {"exec_id": exec_id, "exec_ref_id": ref, **last}


@pytest.mark.parametrize(("name", "time_in_force", "script"), MATRICES, ids=[name for name, _, _ in MATRICES])
def test_matrix(name: str, time_in_force: str, script: str) -> None:
    running = Script(time_in_force)
    running.run(script)
    assert running.desk.replayed().digest() == running.desk.state.digest()


def test_cancel_of_an_unknown_order() -> None:
    """B.1.f: and the number of the request is used up, but no order's id is."""
    desk = Desk()
    outcome = desk.ask(rq.Cancel(77))
    assert isinstance(outcome, Refused)
    assert outcome.code == "UNKNOWN_ORDER"
    assert desk.sent == []
    assert desk.submit(terms()).order_id == 1


def test_phoned_order() -> None:
    """E.1.a: the venue tells of an order that was never sent; it is taken over with all that happens to it."""
    from toucan.core.values import Side

    desk = Desk()
    who = {"symbol": "AAPL", "side": Side.SELL, "account": "ACC1", "cl_ord_id": "phone-1"}
    desk.report(kind=ExecType.NEW, quantity=10_000, price=5_000, **who)
    order = desk.state.order_of("phone-1")
    assert order is not None
    assert (order.is_external, order.status, order.leaves_quantity) == (True, OrdStatus.NEW, 10_000)
    for number, (last, cum) in enumerate(((2_000, 2_000), (1_000, 3_000), (7_000, 10_000))):
        desk.report(kind=ExecType.TRADE, exec_id=f"e{number}", last_quantity=last, last_price=5_000, **who)
        assert order.cum_quantity == cum
    assert order.status is OrdStatus.FILLED
    assert desk.state.positions.quantity("ACC1", "AAPL") == -10_000


def test_the_same_request_is_one_order() -> None:
    """F.1.b, the sender's half: asked again with the same number, nothing is sent again."""
    desk = Desk()
    first = desk.ask(rq.Submit(terms()), number=1)
    assert desk.ask(rq.Submit(terms()), number=1) == first
    assert len([one for one in desk.sent if isinstance(one, NewOrder)]) == 1
