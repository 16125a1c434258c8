"""The exchange: a firm's message in, reports to firms out; and what time does by itself.

Law: every message has an answer, and no message can break a rule of the books: what is not understood is refused with a reason (:mod:`.reasons`).
Time is a parameter and never goes back; whatever is due before a message is done before it. Answers are final: nothing is ever pending here, so
there are no reports of pending states.

**Ids.** Every id of a request that concerned an order leads to that order for as long as it is known, those of refused replacements too: a cancel
that names one was sent by somebody who had not heard of the refusal yet (Appendix D, D.2.c), and it must not be lost. A new order under a known id
is never a second order: marked as a possible resend it is answered with the first one's status, else refused with it (F.1.a, F.1.b).

**Phases.** While a market is halted or closed, limit orders that may rest are taken in and wait in the book, stop orders wait for their price,
replacements are made, cancels pass; market, IOC and FOK orders are rejected ("halted", "closed"). At the close of the session DAY orders expire,
the others are reported as done for the day, and restated when the next one opens (H.1.a). Where one session follows the other without a break
nothing is closed: only DAY orders expire, and a new day begins. Post-only orders that wait in a market that does not match may be executed in its
uncross.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from toucan.core.instruments import Instrument
from toucan.core.values import ExecType, OrdStatus, TimeInForce
from toucan.core.venue_messages import (
    Book,
    CancelOrder,
    MassStatusRequest,
    NewOrder,
    Quote,
    ReplaceOrder,
    Report,
    Resume,
    ResumeEnd,
    StatusRequest,
    ToVenue,
    Welcome,
)
from toucan.exchange.core.agenda import NEVER_NS, Agenda
from toucan.exchange.core.calendar import session_span
from toucan.exchange.core.checks import is_id, new_order_refusal, replace_refusal
from toucan.exchange.core.firms import Firm
from toucan.exchange.core.market import Market
from toucan.exchange.core.matching import Matching
from toucan.exchange.core.orders import VenueOrder
from toucan.exchange.core.scribe import Addressed, Scribe
from toucan.exchange.core.sessions import change_session
from toucan.exchange.core.trades import TradeBook
from toucan.exchange.limits import (
    ACCOUNT_CHARACTERS_MAX,
    BOOK_LEVELS,
    CLOSED_ORDERS_KEPT_MAX,
    FIRM_CHARACTERS_MAX,
    FIRMS_MAX,
    ID_CHARACTERS_MAX,
    OPEN_ORDERS_MAX,
    REPORTS_KEPT_MAX,
    REQUESTS_PER_ORDER_MAX,
    TRADES_KEPT_MAX,
)
from toucan.market.core.tape import Tape

__all__ = ["BACKGROUND_FIRM", "Exchange", "FirmRefused"]

#: The name under which recorded events are played: it gets no reports, and nobody can connect as it.
BACKGROUND_FIRM = "background"


class FirmRefused(ValueError):
    """Somebody cannot speak as the firm that he names: the name is empty, too long or reserved, or there are too many firms."""


class Exchange:
    """All markets and firms of one life. Outputs are lists of (firm, message), in the order in which things happened.

    ``life`` names this state and must be another one for each exchange; it becomes part of all ids. The limits are parameters for tests alone.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument],
        *,
        life: str,
        now_ns: int,
        reports_kept_max: int = REPORTS_KEPT_MAX,
        closed_orders_kept_max: int = CLOSED_ORDERS_KEPT_MAX,
        open_orders_max: int = OPEN_ORDERS_MAX,
        trades_kept_max: int = TRADES_KEPT_MAX,
    ) -> None:
        self.life = life
        self.scribe = Scribe(life)
        self.scribe.now_ns = now_ns
        self.agenda = Agenda()
        self.trades = TradeBook(trades_kept_max)
        self.matching = Matching(self.scribe, self.agenda, self.trades)
        self.markets: dict[str, Market] = {}
        self._orders = 0
        self._reports_kept_max = reports_kept_max
        self._closed_orders_kept_max = closed_orders_kept_max
        self._open_orders_max = open_orders_max
        for instrument in instruments:
            if instrument.symbol in self.markets:
                raise ValueError(f"instrument {instrument.symbol} is listed twice")
            market = Market(instrument, session_span(instrument.session, now_ns), now_ns)
            self.markets[market.symbol] = market
            self.agenda.add_market(
                market, market.span.opens_ns if market.is_closed else market.span.closes_ns
            )

    # ------------------------------------------------------------ firms

    def handle(self, firm: str, message: ToVenue, now_ns: int) -> list[Addressed]:
        """Carries out what a firm asks, at a time in ns since the epoch. Raises :class:`FirmRefused`."""
        known = self.firm(firm)
        self.move_time(now_ns)
        _HANDLERS[type(message)](self, known, message)
        return self.scribe.take()

    def welcome(self, resume: Resume) -> tuple[Welcome, int]:
        """The answer to a connection's first message, and the number after which its reports go on. Raises :class:`FirmRefused`."""
        firm = self.firm(resume.firm)
        newest_seq = firm.log.newest_seq
        # A number that was never given is no place to go on from.
        after_seq = min(resume.venue_seq, newest_seq) if resume.life == self.life else 0
        return Welcome(life=self.life, venue_seq=newest_seq), after_seq

    def firm(self, name: str) -> Firm:
        """A firm's tables; a firm that was not here before gets some. Raises :class:`FirmRefused`."""
        known = self.scribe.firms.get(name)
        if known is not None:
            return known
        if not 0 < len(name) <= FIRM_CHARACTERS_MAX or not name.isprintable():
            raise FirmRefused(f"a firm's name has 1 to {FIRM_CHARACTERS_MAX} printable characters")
        if name == BACKGROUND_FIRM:
            raise FirmRefused(f"the name {name!r} is reserved for recorded orders")
        if len(self.scribe.firms) >= FIRMS_MAX:
            raise FirmRefused(f"there are {FIRMS_MAX} firms already, as many as there may be")
        firm = Firm(name, self._reports_kept_max, self._closed_orders_kept_max)
        self.scribe.firms[name] = firm
        return firm

    def newest_seq(self, firm: str) -> int:
        """The number of a known firm's newest report."""
        return self.scribe.firms[firm].log.newest_seq

    def oldest_seq(self, firm: str) -> int:
        """The number of the oldest report that can be told to a known firm again."""
        return self.scribe.firms[firm].log.oldest_seq

    def reports_after(self, firm: str, venue_seq: int, count_max: int) -> list[Report]:
        """A known firm's kept reports with larger numbers, at most so many, oldest first."""
        return list(self.scribe.firms[firm].log.after(venue_seq, count_max))

    # ------------------------------------------------------------ time

    @property
    def now_ns(self) -> int:
        """The latest time that it was told."""
        return self.scribe.now_ns

    def next_at_ns(self) -> int | None:
        """When :meth:`advance` has something to do next; None: never."""
        return None if self.agenda.due_ns == NEVER_NS else self.agenda.due_ns

    def advance(self, now_ns: int) -> list[Addressed]:
        """Does what is due: orders expire, markets close and open."""
        self.move_time(now_ns)
        return self.scribe.take()

    def move_time(self, now_ns: int) -> None:
        """As :meth:`advance`; what is told waits for the next message's answer. For the modules beside this one."""
        while self.agenda.due_ns <= now_ns:
            due = self.agenda.take_due(now_ns)
            assert due is not None
            at_ns, what = due
            self.scribe.now_ns = max(self.scribe.now_ns, at_ns)
            if isinstance(what, Market):
                change_session(self.matching, what, at_ns)
                continue
            for order in what:
                self.matching.end(self.markets[order.symbol], order, ExecType.EXPIRED, "expired")
        self.scribe.now_ns = max(self.scribe.now_ns, now_ns)

    # ------------------------------------------------------------ market data

    def take_changed(self) -> list[str]:
        """Symbols of the markets that look other than when this was called last."""
        changed = [market.symbol for market in self.matching.changed]
        self.matching.changed.clear()
        return sorted(changed)

    def symbols(self) -> list[str]:
        """All that is traded here."""
        return list(self.markets)

    def quote(self, symbol: str) -> Quote:
        """Top of book and last trade. Raises KeyError for an unknown symbol."""
        return self.markets[symbol].quote()

    def book(self, symbol: str, levels: int = BOOK_LEVELS) -> Book:
        """Depth. Raises KeyError for an unknown symbol."""
        return self.markets[symbol].depth(levels)

    def tape(self, symbol: str) -> Tape:
        """All trades, the newest of them kept. Raises KeyError for an unknown symbol."""
        return self.markets[symbol].tape

    # ------------------------------------------------------------ new orders

    def make_order(self, firm: str, message: NewOrder) -> VenueOrder:
        """An order of this message, nowhere entered yet."""
        self._orders += 1
        return VenueOrder(
            number=self._orders,
            venue_order_id=f"{self.life}-O{self._orders}",
            firm=firm,
            cl_ord_id=message.cl_ord_id,
            account=message.account,
            symbol=message.symbol,
            side=message.side,
            type=message.type,
            time_in_force=message.time_in_force,
            quantity=message.quantity,
            price=message.price,
            stop_price=message.stop_price,
            max_floor=message.max_floor,
            post_only=message.post_only,
            expire_at_ns=message.expire_at_ns,
        )

    def enter(self, firm: Firm, message: NewOrder, *, is_external: bool = False) -> None:
        """Takes in or rejects a new order. ``is_external``: it comes from the operator, not from the firm."""
        known = firm.ids.get(message.cl_ord_id)
        if known is not None:
            if message.is_possible_resend:
                self.scribe.tell_status(known)
            else:
                self.scribe.tell(known, ExecType.REJECTED, cl_ord_id=message.cl_ord_id, reason="duplicate-id")
            return
        if not is_id(message.cl_ord_id):
            # Not remembered: it could not be told apart from others that were cut.
            self.scribe.answer_unknown(
                firm, ExecType.REJECTED, message.cl_ord_id[:ID_CHARACTERS_MAX], "bad-id"
            )
            return
        order = self.make_order(firm.name, message)
        order.is_external = is_external
        firm.name_order(order, message.cl_ord_id)
        market = self.markets.get(message.symbol)
        refusal = new_order_refusal(firm, market, message, self.now_ns, self._open_orders_max)
        if refusal is not None:
            order.end = OrdStatus.REJECTED
            order.account = order.account[:ACCOUNT_CHARACTERS_MAX]
            self.scribe.tell(order, ExecType.REJECTED, reason=refusal[0], text=refusal[1])
            firm.closed(order)
            return
        assert market is not None
        order.day = market.day
        if order.time_in_force is TimeInForce.DAY:
            order.expire_at_ns = min(market.span.closes_ns, order.expire_at_ns or NEVER_NS)
        elif order.time_in_force is not TimeInForce.GTD:
            order.expire_at_ns = None
        self.matching.open(order)
        self.scribe.tell(order, ExecType.NEW)
        self.matching.enter(market, order)

    # ------------------------------------------------------------ requests about orders

    def _new(self, firm: Firm, message: NewOrder) -> None:
        self.enter(firm, message)

    def _cancel(self, firm: Firm, message: CancelOrder) -> None:
        order = self._order_of(firm, message)
        if order is None:
            return
        if (order.symbol, order.side) != (message.symbol, message.side):
            self.scribe.refuse(order, message.cl_ord_id, "order-mismatch")
        elif not order.is_open:
            self.scribe.refuse(order, message.cl_ord_id, "too-late")
        else:
            self.matching.end(
                self.markets[order.symbol], order, ExecType.CANCELED, "", cl_ord_id=message.cl_ord_id
            )

    def _replace(self, firm: Firm, message: ReplaceOrder) -> None:
        order = self._order_of(firm, message)
        if order is None:
            return
        market = self.markets[order.symbol]
        refusal = replace_refusal(market, order, message, self.now_ns)
        if refusal is not None:
            self.scribe.refuse(order, message.cl_ord_id, *refusal)
            return

        def tell() -> None:
            order.orig_cl_ord_id, order.cl_ord_id = order.cl_ord_id, message.cl_ord_id
            self.scribe.tell(order, ExecType.REPLACED, orig_cl_ord_id=order.orig_cl_ord_id)

        stop_price = order.stop_price if order.is_triggered else message.stop_price
        self.matching.amend(market, order, message.quantity, message.price, stop_price, tell)

    def _order_of(self, firm: Firm, message: CancelOrder | ReplaceOrder) -> VenueOrder | None:
        """The order that a request is about, which is known by the request's id from now on; None: it was answered."""
        order = firm.ids.get(message.orig_cl_ord_id)
        cl_ord_id = message.cl_ord_id
        if order is None:
            self.scribe.answer_unknown(
                firm,
                ExecType.CANCEL_REJECT,
                cl_ord_id[:ID_CHARACTERS_MAX],
                "unknown-order",
                orig_cl_ord_id=message.orig_cl_ord_id[:ID_CHARACTERS_MAX],
            )
            return None
        if not is_id(cl_ord_id):
            self.scribe.refuse(order, cl_ord_id[:ID_CHARACTERS_MAX], "bad-id")
            return None
        if cl_ord_id in firm.ids:
            self.scribe.refuse(order, cl_ord_id, "duplicate-id")
            return None
        # A cancel that can still do something passes, whatever was sent before.
        is_last = isinstance(message, CancelOrder) and order.is_open
        if len(order.ids) >= REQUESTS_PER_ORDER_MAX and not is_last:
            self.scribe.refuse(order, cl_ord_id, "too-many-requests")
            return None
        firm.name_order(order, cl_ord_id)
        return order

    # ------------------------------------------------------------ questions

    def _status(self, firm: Firm, message: StatusRequest) -> None:
        order = firm.ids.get(message.cl_ord_id)
        if order is None:
            cl_ord_id = message.cl_ord_id[:ID_CHARACTERS_MAX]
            self.scribe.answer_unknown(firm, ExecType.ORDER_STATUS, cl_ord_id, "unknown-order")
        else:
            self.scribe.tell_status(order)

    def _mass_status(self, firm: Firm, message: MassStatusRequest) -> None:
        # Those that are only done for the day are told, too: they have not ended.
        for order in list(firm.open_orders.values()):
            self.scribe.tell_status(order)
        self.scribe.say(firm.name, ResumeEnd(request_id=message.request_id))

    def _resume(self, firm: Firm, message: Resume) -> None:
        if message.firm != firm.name:
            raise FirmRefused(f"{firm.name} cannot resume as {message.firm[:FIRM_CHARACTERS_MAX]}")
        welcome, after_seq = self.welcome(message)
        self.scribe.say(firm.name, welcome)
        for report in firm.log.after(after_seq):
            self.scribe.say(firm.name, report)
        self.scribe.say(firm.name, ResumeEnd())


_HANDLERS: dict[type, Callable[[Exchange, Firm, Any], None]] = {
    NewOrder: Exchange._new,
    CancelOrder: Exchange._cancel,
    ReplaceOrder: Exchange._replace,
    StatusRequest: Exchange._status,
    MassStatusRequest: Exchange._mass_status,
    Resume: Exchange._resume,
}
