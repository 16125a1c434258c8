"""A venue that misbehaves on purpose, to show what whoever trades there must bear: an exchange behind a bad line, run by careless people.

It is a :class:`~toucan.venue.local_link.VenueCore` around a real exchange. What happens is drawn from a random number generator that is passed in,
so a seed gives the same course of events every time; it happens when a message passes and at steps of the time that is passed in, never otherwise.
With :data:`BEHAVES` nothing happens, and it must pass the conformance kit like the exchange that it is around.

What it may do is what venues do, so whoever keeps to the protocol comes out right:

* reports come late, twice (with the same number), not at all until the firm resumes (a gap in the numbers shows it), or in another order than they
  were written, except of one and the same order; only a fill may come long after other reports of its order, and then says nothing of how the order
  stands;
* requests vanish, and connections break, before or after a request was carried out;
* orders are cancelled, trades are cancelled or corrected by the operator; old executions are told again under new numbers, with their old exec_id.

And what no venue may do, and they do it all the same: fills beyond an order's quantity (``over_fill``). Such a fill is told, numbered and kept; the
exchange itself knows nothing of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random

import msgspec

from toucan.core.values import ExecType
from toucan.core.venue_messages import (
    Book,
    FromVenue,
    MassStatusRequest,
    Quote,
    Report,
    Resume,
    ResumeEnd,
    ToVenue,
    Welcome,
)
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.core.firms import ReportLog
from toucan.exchange.core.operator import Operator, OperatorError
from toucan.exchange.core.scribe import Addressed
from toucan.exchange.limits import REPORTS_KEPT_MAX
from toucan.venue.events import Disconnected

__all__ = ["BEHAVES", "MISBEHAVES", "Behaviour", "MisbehavingVenue"]

_MS = 1_000_000
#: Orders and trades of a firm that can be hit by the operator: the newest.
_REMEMBERED_MAX = 200
#: Steps that are made up for when time jumps.
_STEPS_MAX = 1000

_EXECUTIONS = (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)
#: Reports that refer to what was executed so far: no fill of that order may come after them that happened before.
_REFERRING = (ExecType.RESTATED, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How likely (0 to 1) each thing is, for each message that passes or for each step of ``step_ns``."""

    # Of each message to a firm.
    late: float = 0.0
    late_ns_max: int = 50 * _MS
    duplicate: float = 0.0
    lose: float = 0.0
    #: Of two neighbouring reports of different orders: they change places.
    swap: float = 0.0
    #: Of a fill: it is reported up to ``late_ns_max`` after what happened after it.
    hold_fill: float = 0.0
    # Of each request.
    swallow: float = 0.0
    #: The connection breaks at a request; as often before it is carried out as after.
    cut_at_request: float = 0.0
    # Of each firm at each step.
    cut: float = 0.0
    over_fill: float = 0.0
    bust: float = 0.0
    correct: float = 0.0
    cancel: float = 0.0
    resend: float = 0.0
    #: What is told again may be any report that has an exec_id, not only executions.
    resends_all_kinds: bool = False
    step_ns: int = 10 * _MS


#: Nothing happens.
BEHAVES = Behaviour()

#: Everything happens, each often enough to meet the others.
MISBEHAVES = Behaviour(
    late=0.3,
    duplicate=0.05,
    lose=0.03,
    swap=0.2,
    hold_fill=0.1,
    swallow=0.02,
    cut_at_request=0.02,
    cut=0.01,
    over_fill=0.005,
    bust=0.01,
    correct=0.01,
    cancel=0.01,
    resend=0.02,
)


class _Line:
    """What the misbehaving venue keeps of a firm: its own numbering, what is on the way to it, and what can be done to it."""

    def __init__(self, kept_max: int) -> None:
        self.log = ReportLog(kept_max)
        self.is_connected = False
        #: Whether something in the log was left out of the connection that is there now.
        self.has_lost = False
        self.on_the_way: deque[tuple[int, FromVenue]] = deque()
        self.held: list[tuple[int, Report]] = []
        self.orders: dict[str, Report] = {}  # newest report by venue_order_id
        self.trades: deque[Report] = deque(maxlen=_REMEMBERED_MAX)

    def note(self, report: Report) -> None:
        """Remembers what the exchange has said."""
        if report.kind is ExecType.TRADE:
            self.trades.append(report)
        if report.leaves_quantity is None or not report.venue_order_id:
            return
        self.orders.pop(report.venue_order_id, None)
        self.orders[report.venue_order_id] = report
        if len(self.orders) > _REMEMBERED_MAX:
            del self.orders[next(iter(self.orders))]


class MisbehavingVenue:
    """Wraps ``exchange``, which nobody else may use. ``counts`` says how often each kind of misbehaviour has happened."""

    def __init__(
        self,
        exchange: Exchange,
        behaviour: Behaviour,
        chance: Random,
        *,
        reports_kept_max: int = REPORTS_KEPT_MAX,
    ) -> None:
        self.exchange = exchange
        self.behaviour = behaviour
        self.counts: dict[str, int] = {}
        self._operator = Operator(exchange)
        self._chance = chance
        self._lines: dict[str, _Line] = {}
        self._kept_max = reports_kept_max
        self._step_at_ns = exchange.now_ns + behaviour.step_ns
        self._over_fills = 0
        self._cut_off: list[tuple[str, Disconnected]] = []
        has_steps = any(
            (behaviour.cut, behaviour.over_fill, behaviour.bust, behaviour.correct, behaviour.cancel, behaviour.resend)
        )  # fmt: skip
        self._has_steps = has_steps

    # ------------------------------------------------------------ a venue

    @property
    def life(self) -> str:
        """The exchange's."""
        return self.exchange.life

    def handle(self, firm: str, message: ToVenue, now_ns: int) -> list[tuple[str, FromVenue | Disconnected]]:
        """As :meth:`Exchange.handle`; what is told may be anything that was due. Raises :class:`FirmRefused`."""
        self._make_steps(now_ns)
        line = self._line(firm)
        if isinstance(message, Resume):
            self._resume(line, message, now_ns)
        elif line.is_connected:
            self._carry_out(firm, line, message, now_ns)
        return self._due(now_ns)

    def advance(self, now_ns: int) -> list[tuple[str, FromVenue | Disconnected]]:
        """As :meth:`Exchange.advance`, and whatever else happens until then."""
        self._make_steps(now_ns)
        self._take(self.exchange.advance(now_ns), now_ns)
        return self._due(now_ns)

    def tell(self, told: list[Addressed], now_ns: int) -> list[tuple[str, FromVenue | Disconnected]]:
        """Passes on what somebody else made the exchange say, its operator for one."""
        self._take(told, now_ns)
        return self._due(now_ns)

    def next_at_ns(self) -> int | None:
        """When something is due next."""
        times = [line.on_the_way[0][0] for line in self._lines.values() if line.on_the_way]
        times += [at_ns for line in self._lines.values() for at_ns, _ in line.held]
        if self._has_steps:
            times.append(self._step_at_ns)
        exchange_ns = self.exchange.next_at_ns()
        if exchange_ns is not None:
            times.append(exchange_ns)
        return min(times, default=None)

    def take_changed(self) -> list[str]:
        """Market data is as it is."""
        return self.exchange.take_changed()

    def symbols(self) -> list[str]:
        """All that is traded."""
        return self.exchange.symbols()

    def quote(self, symbol: str) -> Quote:
        """Top of book and last trade."""
        return self.exchange.quote(symbol)

    def book(self, symbol: str) -> Book:
        """Depth."""
        return self.exchange.book(symbol)

    # ------------------------------------------------------------ requests

    def _carry_out(self, firm: str, line: _Line, message: ToVenue, now_ns: int) -> None:
        if self._happens(self.behaviour.swallow, "swallow"):
            return
        is_cut = self._happens(self.behaviour.cut_at_request, "cut_at_request")
        if is_cut and self._chance.random() < 0.5:
            self._cut(firm, line, "the line is broken")
            return
        if isinstance(message, MassStatusRequest):
            if line.has_lost:
                # The end of the answer would say that all was told.
                self._cut(firm, line, "the line is broken")
                return
            self._release(line, now_ns)
        self._take(self.exchange.handle(firm, message, now_ns), now_ns)
        if is_cut:
            self._cut(firm, line, "the line is broken")

    def _resume(self, line: _Line, message: Resume, now_ns: int) -> None:
        self._release(line, now_ns)
        line.is_connected = True
        line.has_lost = False
        # Reports on the way come out of the log again; the end of an answer does not.
        rest = [told for _, told in line.on_the_way if isinstance(told, ResumeEnd) and told.request_id]
        line.on_the_way.clear()
        self._send(line, Welcome(life=self.life, venue_seq=line.log.newest_seq), now_ns)
        for report in line.log.after(message.venue_seq if message.life == self.life else 0):
            self._send(line, report, now_ns)
        for end in (ResumeEnd(), *rest):
            self._send(line, end, now_ns)

    def _cut(self, firm: str, line: _Line, reason: str) -> None:
        if line.is_connected:
            line.is_connected = False
            line.on_the_way.clear()
            self._cut_off.append((firm, Disconnected(reason)))

    def _line(self, firm: str) -> _Line:
        self.exchange.firm(firm)
        if firm not in self._lines:
            self._lines[firm] = _Line(self._kept_max)
        return self._lines[firm]

    # ------------------------------------------------------------ what is told

    def _take(self, told: list[Addressed], now_ns: int) -> None:
        """What the exchange says is swapped, held back, numbered, kept, and sent."""
        told = list(told)
        for place in range(len(told) - 1):
            (firm, one), (other_firm, other) = told[place], told[place + 1]
            is_free = (
                isinstance(one, Report)
                and isinstance(other, Report)
                and firm == other_firm
                and one.venue_order_id != other.venue_order_id
            )
            if is_free and self._happens(self.behaviour.swap, "swap"):
                told[place], told[place + 1] = told[place + 1], told[place]
        for firm, message in told:
            line = self._line(firm)
            if not isinstance(message, Report):
                self._send(line, message, now_ns)
                continue
            line.note(message)
            if message.kind is ExecType.TRADE and self._happens(self.behaviour.hold_fill, "hold_fill"):
                late = msgspec.structs.replace(
                    message, ord_status=None, cum_quantity=None, leaves_quantity=None, day_cum_quantity=None
                )
                line.held.append((now_ns + self._chance.randint(1, self.behaviour.late_ns_max), late))
                continue
            if message.kind in _REFERRING:
                self._release(line, now_ns, message.venue_order_id)
            self._number(line, message, now_ns)

    def _release(self, line: _Line, now_ns: int, venue_order_id: str | None = None) -> None:
        """Fills that were held back are told now: of one order, or all."""
        held, line.held = line.held, []
        for at_ns, report in held:
            if venue_order_id in (None, report.venue_order_id):
                self._number(line, report, now_ns)
            else:
                line.held.append((at_ns, report))

    def _number(self, line: _Line, report: Report, now_ns: int) -> None:
        numbered = msgspec.structs.replace(report, venue_seq=line.log.newest_seq + 1)
        line.log.append(numbered)
        if not line.is_connected:
            return
        is_answer = report.kind is ExecType.ORDER_STATUS
        if not is_answer and self._happens(self.behaviour.lose, "lose"):
            line.has_lost = True
            return
        self._send(line, numbered, now_ns)
        if self._happens(self.behaviour.duplicate, "duplicate"):
            self._send(line, numbered, now_ns)

    def _send(self, line: _Line, message: FromVenue, now_ns: int) -> None:
        """Puts something on the way, on which it waits for what is late before it."""
        if not line.is_connected:
            return
        due_ns = now_ns
        if self._happens(self.behaviour.late, "late"):
            due_ns += self._chance.randint(1, self.behaviour.late_ns_max)
        line.on_the_way.append((due_ns, message))

    def _due(self, now_ns: int) -> list[tuple[str, FromVenue | Disconnected]]:
        told: list[tuple[str, FromVenue | Disconnected]] = []
        for firm, line in self._lines.items():
            while line.on_the_way and line.on_the_way[0][0] <= now_ns:
                told.append((firm, line.on_the_way.popleft()[1]))
        told += self._cut_off
        self._cut_off = []
        return told

    # ------------------------------------------------------------ steps of time

    def _make_steps(self, now_ns: int) -> None:
        step_ns = self.behaviour.step_ns
        self._step_at_ns = max(self._step_at_ns, now_ns - _STEPS_MAX * step_ns)
        while self._step_at_ns <= now_ns:
            at_ns = self._step_at_ns
            self._step_at_ns += step_ns
            self._release_due(at_ns)
            if self._has_steps:
                self._take(self.exchange.advance(at_ns), at_ns)
                for firm, line in list(self._lines.items()):
                    self._step(firm, line, at_ns)
        self._release_due(now_ns)

    def _release_due(self, now_ns: int) -> None:
        """Fills whose time has come are told."""
        for line in self._lines.values():
            due = [report for at_ns, report in line.held if at_ns <= now_ns]
            if due:
                line.held = [one for one in line.held if one[0] > now_ns]
            for report in due:
                self._number(line, report, now_ns)

    def _step(self, firm: str, line: _Line, at_ns: int) -> None:
        behaviour = self.behaviour
        if self._happens(behaviour.resend, "resend"):
            self._resend(line, at_ns)
        if self._happens(behaviour.over_fill, "over_fill"):
            self._over_fill(line, at_ns)
        for told in self._operate(firm, line, at_ns):
            self._take(told, at_ns)
        if self._happens(behaviour.cut, "cut"):
            self._cut(firm, line, "the line is broken")

    def _operate(self, firm: str, line: _Line, at_ns: int) -> Iterator[list[Addressed]]:
        """What the operator does to this firm; what turns out to be impossible is left alone."""
        operator, behaviour = self._operator, self.behaviour
        trade = self._chance.choice(line.trades) if line.trades else None
        if trade is not None and self._happens(behaviour.bust, "bust"):
            try:
                yield operator.bust(trade.exec_id, at_ns)
            except OperatorError:
                pass
        if trade is not None and self._happens(behaviour.correct, "correct"):
            try:
                yield operator.correct(trade.exec_id, at_ns, price=self._other_price(trade))
            except OperatorError:
                pass
        open_orders = [report for report in line.orders.values() if report.leaves_quantity]
        if open_orders and self._happens(behaviour.cancel, "cancel"):
            try:
                yield operator.cancel(firm, self._chance.choice(open_orders).cl_ord_id, at_ns)
            except OperatorError:
                pass

    def _other_price(self, trade: Report) -> int | None:
        """One tick more than what was reported."""
        kept = self.exchange.trades.get(trade.exec_id)
        if kept is None or trade.last_price is None:
            return None
        return trade.last_price + self.exchange.markets[kept.buy.symbol].instrument.tick

    def _resend(self, line: _Line, at_ns: int) -> None:
        newest = line.log.after(line.log.newest_seq - _REMEMBERED_MAX)
        kinds = tuple(ExecType) if self.behaviour.resends_all_kinds else _EXECUTIONS
        found = [report for report in newest if report.exec_id and report.kind in kinds]
        if found:
            self._number(line, self._chance.choice(found), at_ns)

    def _over_fill(self, line: _Line, at_ns: int) -> None:
        if not line.trades:
            return
        trade = self._chance.choice(line.trades)
        order = line.orders.get(trade.venue_order_id, trade)
        assert order.quantity is not None
        self._over_fills += 1
        too_much = msgspec.structs.replace(
            trade,
            cl_ord_id=order.cl_ord_id,
            exec_id=f"{self.life}-X{self._over_fills}",
            last_quantity=order.quantity + trade.last_quantity,
            cum_quantity=None,
            leaves_quantity=None,
            ord_status=None,
            at_ns=at_ns,
        )
        self._number(line, too_much, at_ns)

    def _happens(self, probability: float, what: str) -> bool:
        if probability > 0 and self._chance.random() < probability:
            self.counts[what] = self.counts.get(what, 0) + 1
            return True
        return False
