"""Scenarios of the exchange as text: what firms and the operator do, and every report that must come of it, in order.

::

    > A buy X 100 @50          firm A sends a limit order X
    < A NEW X NEW 100/0/100    kind, id, status, quantity/executed/left
    > B sell Y 40 @50
    < B NEW Y NEW 40/0/40
    < A TRADE X PARTIALLY_FILLED 100/40/60 40@50
    < B TRADE Y FILLED 40/40/0 40@50

Words that may follow an order: ``stop 55``, ``day`` (the default), ``gtc``, ``ioc``, ``fok``, ``gtd 10`` (seconds from now), ``floor 10``,
``post``, ``resend``, ``in LOT``; without ``@50`` it is a market order. Further actions are in :meth:`Script.act`. A report may go on with ``@51``
(its price, for what changes an order), ``after X`` (the original id), ``today N`` (executed today, if told) and its reason in parentheses. Whatever
a scenario is about, all its reports keep the rules of :func:`check_report`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from toucan.core.instruments import Instrument, Session
from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import (
    CancelOrder,
    MassStatusRequest,
    NewOrder,
    ReplaceOrder,
    Report,
    ResumeEnd,
    StatusRequest,
)
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.core.operator import Operator
from toucan.exchange.core.scribe import Addressed

__all__ = ["INSTRUMENTS", "START_NS", "Script", "check_report", "shown_report"]

_NS = 1_000_000_000
#: Wednesday, 2024-01-03 12:00 UTC.
START_NS = 1_704_283_200 * _NS

INSTRUMENTS = (
    Instrument(symbol="ABC", currency="USD", venue="exchange"),
    Instrument(symbol="LOT", currency="USD", venue="exchange", tick=5, lot=100),
    Instrument(
        symbol="NINE",
        currency="USD",
        venue="exchange",
        session=Session(open=datetime.time(9), close=datetime.time(17), weekdays=(0, 1, 2, 3, 4)),
    ),
)

_TIMES_IN_FORCE = {
    word.name.lower(): word for word in (TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)
}
_CHANGES_TERMS = (ExecType.REPLACED, ExecType.RESTATED)
_TRADES = (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)


class Script:
    """Plays a scenario on an exchange of its own."""

    def __init__(self, **limits: int) -> None:
        self.exchange = Exchange(INSTRUMENTS, life="L", now_ns=START_NS, **limits)
        self.operator = Operator(self.exchange)
        self.now_ns = START_NS
        self._orders: dict[str, NewOrder] = {}
        self._trades: dict[str, list[str]] = {}
        self._seqs: dict[str, int] = {}
        self._exec_ids: set[str] = set()

    def play(self, text: str) -> None:
        """Plays all steps; fails where what is told is not what is written."""
        told: list[str] = []
        steps = [line.strip() for line in text.strip().splitlines()]
        for step, following in zip(steps, [*steps[1:], ">"], strict=True):
            if step.startswith(">"):
                told = list(self._shown(self.act(step[1:])))
                expected: list[str] = []
            elif step:
                expected.append(" ".join(step.removeprefix("<").split()))
            if following.startswith(">"):
                assert told == expected, f"after {step!r}"

    def act(self, action: str) -> list[Addressed]:
        """Carries out one action."""
        match action.split():
            case ["halt", symbol, *rest]:
                return self.operator.halt(symbol, self.now_ns, cancels_orders="cancel" in rest)
            case ["resume", symbol]:
                return self.operator.resume(symbol, self.now_ns)
            case ["end-day", symbol]:
                return self.operator.done_for_day(symbol, self.now_ns)
            case ["wait", seconds]:
                self.now_ns += int(float(seconds) * _NS)
                return self.exchange.advance(self.now_ns)
            case ["until", day, time]:
                moment = datetime.datetime.fromisoformat(f"{day}T{time}+00:00")
                self.now_ns = int(moment.timestamp()) * _NS
                return self.exchange.advance(self.now_ns)
            case ["bust", order, place, *rest]:
                exec_id = self._trades[order][int(place) - 1]
                return self.operator.bust(exec_id, self.now_ns, is_reinstated="back" in rest)
            case ["correct", order, place, *rest]:
                exec_id, numbers = self._trades[order][int(place) - 1], _numbers(rest)
                return self.operator.correct(
                    exec_id,
                    self.now_ns,
                    quantity=numbers.get("quantity"),
                    price=numbers.get("price"),
                    is_reinstated="back" in rest,
                )
            case ["drop", firm, order]:
                return self.operator.cancel(firm, order, self.now_ns)
            case ["restate", firm, order, *rest]:
                numbers = _numbers(rest)
                return self.operator.restate(
                    firm, order, self.now_ns, quantity=numbers.get("quantity"), price=numbers.get("price")
                )
            case ["phone", firm, *rest]:
                return self.operator.enter(firm, self._new_order(rest), self.now_ns)
            case [firm, "cancel", own, order]:
                return self._send(firm, self._cancel(own, order))
            case [firm, "replace", own, order, *rest]:
                return self._send(firm, self._replace(own, order, rest))
            case [firm, "status", order]:
                return self._send(firm, StatusRequest(order))
            case [firm, "mass", question]:
                return self._send(firm, MassStatusRequest(question))
            case [firm, *rest]:
                return self._send(firm, self._new_order(rest))
        raise AssertionError(f"no such action: {action}")

    # ------------------------------------------------------------ messages

    def _send(
        self, firm: str, message: NewOrder | CancelOrder | ReplaceOrder | StatusRequest | MassStatusRequest
    ) -> list[Addressed]:
        return self.exchange.handle(firm, message, self.now_ns)

    def _new_order(self, words: list[str]) -> NewOrder:
        side, name, quantity, *rest = words
        numbers = _numbers(rest)
        price, stop_price = numbers.get("@"), numbers.get("stop")
        kinds = {
            (False, False): OrderType.MARKET, (True, False): OrderType.LIMIT,
            (False, True): OrderType.STOP, (True, True): OrderType.STOP_LIMIT,
        }  # fmt: skip
        time_in_force = next(
            (_TIMES_IN_FORCE[word] for word in rest if word in _TIMES_IN_FORCE), TimeInForce.DAY
        )
        order = NewOrder(
            cl_ord_id=name,
            account="a",
            symbol=rest[rest.index("in") + 1] if "in" in rest else "ABC",
            side=Side.BUY if side == "buy" else Side.SELL,
            type=kinds[price is not None, stop_price is not None],
            time_in_force=TimeInForce.GTD if "gtd" in rest else time_in_force,
            quantity=int(quantity),
            price=price,
            stop_price=stop_price,
            max_floor=numbers.get("floor"),
            post_only="post" in rest,
            expire_at_ns=self.now_ns + numbers["gtd"] * _NS if "gtd" in numbers else None,
            is_possible_resend="resend" in rest,
        )
        self._orders.setdefault(name, order)
        return order

    def _cancel(self, own: str, order: str) -> CancelOrder:
        first = self._first(own, order)
        return CancelOrder(own, order, first.symbol, first.side)

    def _replace(self, own: str, order: str, words: list[str]) -> ReplaceOrder:
        first, numbers = self._first(own, order), _numbers(words)
        return ReplaceOrder(
            cl_ord_id=own,
            orig_cl_ord_id=order,
            symbol=first.symbol,
            side=first.side,
            type=first.type,
            quantity=numbers["quantity"],
            price=numbers.get("@", first.price),
            stop_price=numbers.get("stop", first.stop_price),
        )

    def _first(self, own: str, order: str) -> NewOrder:
        """The order that a request is about; of an unknown one anything."""
        found = self._orders.get(order) or self._new_order(["buy", order, "1", "@1"])
        self._orders.setdefault(own, found)
        return found

    # ------------------------------------------------------------ reports

    def _shown(self, told: list[Addressed]) -> Iterator[str]:
        for firm, message in told:
            if isinstance(message, Report):
                self._seqs[firm] = check_report(message, self._seqs.get(firm, 0), self._exec_ids)
                if message.kind is ExecType.TRADE:
                    self._trades.setdefault(message.cl_ord_id, []).append(message.exec_id)
                yield f"{firm} {shown_report(message)}"
            else:
                assert isinstance(message, ResumeEnd)
                yield f"{firm} END {message.request_id}"


def check_report(report: Report, last_seq: int, exec_ids: set[str]) -> int:
    """What holds for every report: numbers without gaps, unique ids, and quantities that add up. Gives its number."""
    assert report.venue_seq == last_seq + 1
    if report.exec_id:
        assert report.exec_id not in exec_ids
        exec_ids.add(report.exec_id)
    if report.ord_status is None or report.cum_quantity is None or report.quantity is None:
        return report.venue_seq  # not said
    assert report.leaves_quantity is not None
    total = report.cum_quantity + report.leaves_quantity
    if report.ord_status in (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.FILLED):
        assert total == report.quantity
    elif report.ord_status is OrdStatus.DONE_FOR_DAY:
        assert report.leaves_quantity == 0 or total == report.quantity
    else:
        assert report.leaves_quantity == 0
        assert total <= report.quantity or report.ord_status is OrdStatus.REJECTED
    assert (report.ord_status is OrdStatus.FILLED) <= (report.leaves_quantity == 0 < report.cum_quantity)
    return report.venue_seq


def shown_report(report: Report) -> str:
    """A report as it is written in a scenario."""
    assert report.ord_status is not None
    words = [report.kind.name, report.cl_ord_id, report.ord_status.name]
    if report.quantity is not None:
        words.append(f"{report.quantity}/{report.cum_quantity}/{report.leaves_quantity}")
    if report.kind in _TRADES:
        words.append(f"{report.last_quantity}@{report.last_price}")
    if report.kind in _CHANGES_TERMS and report.price is not None:
        words.append(f"@{report.price}")
    if report.orig_cl_ord_id:
        words.append(f"after {report.orig_cl_ord_id}")
    if report.day_cum_quantity is not None:
        words.append(f"today {report.day_cum_quantity}")
    if report.side is not None and report.kind is not ExecType.ORDER_STATUS:
        words.append(f"{report.side.name} {report.symbol} {report.account}")
    if report.reason:
        words.append(f"({report.reason})")
    return " ".join(words)


def _numbers(words: list[str]) -> dict[str, int]:
    """``@50`` and ``name 50`` anywhere in a line; a number alone is a quantity."""
    found: dict[str, int] = {}
    name = "quantity"
    for word in words:
        if word.startswith("@"):
            found["@"] = int(word[1:])
        elif word.lstrip("-").isdigit():
            found[name] = int(word)
            name = "quantity"
        else:
            name = word
    return found
