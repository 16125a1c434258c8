"""Matching: who trades with whom, at which price, and in which order; and what becomes of what is left.

Law: price first, then time: an arriving order is executed against the best level, there against whoever came first, at the price of the one who
waited. Nothing is matched while a market is halted or closed; when that ends the book is uncrossed at one price
(:mod:`toucan.exchange.core.uncross`).

* A FOK order is executed completely or not at all, and then cancelled, not rejected (FIX 4.4 Appendix D, I.1.a). What is left of an IOC or market
  order is cancelled. A market order never rests: there is no price at which it could.
* A stop order is triggered by the last trade, also by one that was made before it came. Those that one arriving order's trades reach are sent into
  the book after it, one after the other in the order in which they were reached, even if the price has gone back meanwhile.
* A firm may trade with itself: who must not is the firm's own matter, and it prevents it before it sends.

Every change is reported when it is made, first to the one who waited. Rejected: collecting fills and reporting afterwards, when an iceberg that was
executed twice has only its last numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from toucan.core.values import ExecType, OrdStatus, Side, TimeInForce
from toucan.exchange.core.agenda import Agenda
from toucan.exchange.core.market import Market
from toucan.exchange.core.orders import VenueOrder
from toucan.exchange.core.scribe import Scribe
from toucan.exchange.core.trades import Trade, TradeBook
from toucan.exchange.core.uncross import equilibrium
from toucan.market.core.messages import LineKind

__all__ = ["Matching"]

_TRADE = ExecType.TRADE
_TRADED = LineKind.TRADE


class Matching:
    """The engine: moves orders in and out of markets and tells through the scribe. It holds no market itself.

    ``changed`` are the markets that look other than before, for whoever publishes market data; that one empties it.
    """

    def __init__(self, scribe: Scribe, agenda: Agenda, trades: TradeBook) -> None:
        self.scribe = scribe
        self.agenda = agenda
        self.trades = trades
        self.changed: set[Market] = set()

    # ------------------------------------------------------------ in

    def enter(self, market: Market, order: VenueOrder) -> None:
        """Executes an accepted order as far as it can be, lets it rest or wait or ends it; then all stop orders that it has reached."""
        if order.waits_for_trigger and not self._is_reached(market, order):
            market.stops.add(order)
            return
        if order.waits_for_trigger:
            self._trigger(order)
        self._execute(market, order)
        self._drain(market)

    def open(self, order: VenueOrder) -> None:
        """An order is open, perhaps again: it is listed with its firm, and will expire."""
        firm = self.scribe.firms.get(order.firm)
        if firm is not None:
            firm.opened(order)
            self.agenda.add_order(order)

    def amend(
        self,
        market: Market,
        order: VenueOrder,
        quantity: int,
        price: int | None,
        stop_price: int | None,
        tell: Callable[[], object],
    ) -> None:
        """Gives an order other numbers, then calls ``tell``, then executes it as far as it can be.

        It keeps its place if only the quantity gets less. A quantity below what is filled becomes that much, and the order is filled (C.3.c); a
        filled one that gets more is open again (C.1.c).
        """
        quantity = max(quantity, order.cum_quantity)
        is_less = order.cum_quantity < quantity <= order.quantity
        if is_less and price == order.price and stop_price == order.stop_price:
            if order.is_resting:
                market.side_of(order.side).resize(order, quantity, order.cum_quantity)
                self.note(market)
            order.quantity = quantity
            tell()
            return
        was_open = order.is_open
        if not was_open:
            order.begin_day(market.day)
        self.withdraw(market, order)
        order.quantity, order.price, order.stop_price = quantity, price, stop_price
        tell()
        if not order.is_open:
            self.close(order)
            return
        if not was_open:
            self.open(order)
        self.enter(market, order)

    def begin(self, market: Market) -> None:
        """Matching begins or goes on: the book is uncrossed, stop orders that were reached meanwhile are triggered."""
        if not market.is_matching:
            return
        if market.is_crossed:
            self._uncross(market)
        if market.last_price is not None:
            market.triggered.extend(market.stops.take_reached(market.last_price))
        self._drain(market)
        self.note(market)

    # ------------------------------------------------------------ out

    def withdraw(self, market: Market, order: VenueOrder) -> None:
        """Takes an order out of where it lies, if it does."""
        if order.is_resting:
            market.side_of(order.side).remove(order)
            self.note(market)
        elif order.is_waiting:
            market.stops.remove(order)

    def close(self, order: VenueOrder) -> None:
        """An order has ended or is filled: it is known for a while longer."""
        firm = self.scribe.firms.get(order.firm)
        if firm is not None:
            self.agenda.remove_order(order)
            firm.closed(order)

    def end(
        self,
        market: Market,
        order: VenueOrder,
        kind: ExecType,
        reason: str,
        *,
        cl_ord_id: str | None = None,
        text: str = "",
    ) -> None:
        """Ends an open order as CANCELED or EXPIRED and tells it; ``cl_ord_id`` is that of the request that asked for it."""
        self.withdraw(market, order)
        order.end = OrdStatus.EXPIRED if kind is ExecType.EXPIRED else OrdStatus.CANCELED
        order.is_done_for_day = False
        if cl_ord_id is not None:
            order.orig_cl_ord_id, order.cl_ord_id = order.cl_ord_id, cl_ord_id
        self.scribe.tell(
            order,
            kind,
            orig_cl_ord_id=order.orig_cl_ord_id if cl_ord_id is not None else "",
            reason=reason,
            text=text,
        )
        self.close(order)

    # ------------------------------------------------------------ one order

    def _is_reached(self, market: Market, order: VenueOrder) -> bool:
        last, stop = market.last_price, order.stop_price
        if last is None or stop is None or not market.is_matching:
            return False
        return last >= stop if order.side is Side.BUY else last <= stop

    def _trigger(self, order: VenueOrder) -> None:
        order.is_triggered = True
        self.scribe.tell(order, ExecType.TRIGGERED)

    def _execute(self, market: Market, order: VenueOrder) -> None:
        if not market.is_matching:
            self._rest(market, order)
            return
        opposite = market.opposite_of(order.side)
        is_all_or_none = order.time_in_force is TimeInForce.FOK
        leaves = order.leaves_quantity
        if is_all_or_none and opposite.available(order.price, leaves) < leaves:
            self.end(market, order, ExecType.CANCELED, "fok")
            return
        while leaves and opposite.accepts(order.price):
            level = opposite.best
            assert level is not None
            maker = level.first
            quantity = min(leaves, maker.shown)
            opposite.execute_first(level, maker, quantity)
            order.cum_quantity += quantity
            leaves -= quantity
            self._report_trade(market, maker, order, quantity, level.price, order.side)
        if not leaves:
            self.close(order)
        elif order.can_rest:
            self._rest(market, order)
        else:
            is_immediate = order.type.has_price
            self.end(market, order, ExecType.CANCELED, "ioc" if is_immediate else "no-liquidity")

    def _rest(self, market: Market, order: VenueOrder) -> None:
        market.side_of(order.side).add(order)
        self.note(market)

    def _drain(self, market: Market) -> None:
        triggered = market.triggered
        while triggered:
            order = triggered.popleft()
            self._trigger(order)
            self._execute(market, order)

    # ------------------------------------------------------------ one trade

    def _report_trade(
        self,
        market: Market,
        maker: VenueOrder,
        taker: VenueOrder,
        quantity: int,
        price: int,
        aggressor: Side | None,
    ) -> None:
        """Both orders have their new numbers; the maker, if it is filled, has left the book."""
        line = market.tape.write(_TRADED, self.scribe.now_ns, price, quantity, aggressor)
        tell = self.scribe.tell
        maker_exec_id = tell(maker, _TRADE, last_quantity=quantity, last_price=price)
        taker_exec_id = tell(taker, _TRADE, last_quantity=quantity, last_price=price)
        if maker.side is Side.BUY:
            trade = Trade(maker, maker_exec_id, taker, taker_exec_id, quantity, price, market.day, line)
        else:
            trade = Trade(taker, taker_exec_id, maker, maker_exec_id, quantity, price, market.day, line)
        self.trades.add(trade)
        if not maker.is_open:
            self.close(maker)
        market.volume += quantity
        market.last_quantity = quantity
        self.note(market)
        if price != market.last_price:
            market.last_price = price
            if market.stops:
                market.triggered.extend(market.stops.take_reached(price))

    def _uncross(self, market: Market) -> None:
        best_ask, best_bid = market.asks.best, market.bids.best
        assert best_ask is not None
        assert best_bid is not None
        bids = [(one.price, one.total) for one in market.bids.levels() if one.price >= best_ask.price]
        asks = [(one.price, one.total) for one in market.asks.levels() if one.price <= best_bid.price]
        found = equilibrium(bids, asks, market.last_price)
        assert found is not None
        while market.is_crossed:
            bid_level, ask_level = market.bids.best, market.asks.best
            assert bid_level is not None
            assert ask_level is not None
            buy, sell = bid_level.first, ask_level.first
            quantity = min(buy.shown, sell.shown)
            market.bids.execute_first(bid_level, buy, quantity)
            market.asks.execute_first(ask_level, sell, quantity)
            self._report_trade(market, buy, sell, quantity, found[0], None)
            if not sell.is_open:
                self.close(sell)

    def note(self, market: Market) -> None:
        """The market looks other than before."""
        market.changed_ns = self.scribe.now_ns
        self.changed.add(market)
