"""The operator's acts: halts, busts, corrections, cancels and restatements that nobody asked for, orders by telephone, the end of a day.

Law: the operator may do what no firm may, but not break the books: what cannot be raises :class:`OperatorError`, and nothing has changed. All firms
concerned are told, in the words of FIX 4.4 Appendix D (E, H, J, K).

**Busts.** A trade that is cancelled or corrected to less gives quantity back to both orders. By default it is not executed anew, as on real
exchanges: an order that is still open is restated to the smaller quantity, a filled one is cancelled for the part that came back. With
``is_reinstated`` it goes back into the book behind the others, where the order may rest (J.1.a); two orders that met before would then meet again
at once, so that is for trades whose other side was a market, IOC or FOK order, or is wrong. Orders that have ended stay ended (J.1.b, J.1.d).
"""

from __future__ import annotations

from toucan.core.instruments import NUMBER_MAX
from toucan.core.values import ExecType, OrdStatus
from toucan.core.venue_messages import NewOrder
from toucan.exchange.core.exchange import Exchange, FirmRefused
from toucan.exchange.core.market import Market
from toucan.exchange.core.orders import VenueOrder
from toucan.exchange.core.scribe import Addressed
from toucan.exchange.core.sessions import end_day
from toucan.exchange.core.trades import Trade
from toucan.market.core.messages import LineKind

__all__ = ["Operator", "OperatorError"]


class OperatorError(ValueError):
    """What the operator asks for cannot be; the message says why. Nothing has changed."""


class Operator:
    """The operator of an exchange. Methods give what firms are told, as :meth:`Exchange.handle` does, and take the time in ns since the epoch."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    # ------------------------------------------------------------ markets

    def halt(self, symbol: str, now_ns: int, *, cancels_orders: bool = False) -> list[Addressed]:
        """Stops matching; what waits stays (K.1.a), or is all cancelled (K.1.b)."""
        market = self._market(symbol, now_ns)
        if market.is_halted:
            raise OperatorError(f"trading in {symbol} is halted already")
        market.is_halted = True
        self.exchange.matching.note(market)
        if cancels_orders:
            for order in list(market.orders()):
                self.exchange.matching.end(market, order, ExecType.CANCELED, "halted", text="trading halt")
        return self.exchange.scribe.take()

    def resume(self, symbol: str, now_ns: int) -> list[Addressed]:
        """Ends a halt: the book is uncrossed and matched again, if its session is on."""
        market = self._market(symbol, now_ns)
        if not market.is_halted:
            raise OperatorError(f"trading in {symbol} is not halted")
        market.is_halted = False
        self.exchange.matching.note(market)
        self.exchange.matching.begin(market)
        return self.exchange.scribe.take()

    def done_for_day(self, symbol: str, now_ns: int) -> list[Addressed]:
        """Closes a market before its time, until its next session opens. DAY orders that still come are for that day, and expire with it."""
        market = self._market(symbol, now_ns)
        if market.is_closed:
            raise OperatorError(f"the market in {symbol} is closed already")
        end_day(self.exchange.matching, market)
        return self.exchange.scribe.take()

    # ------------------------------------------------------------ orders

    def enter(self, firm: str, message: NewOrder, now_ns: int) -> list[Addressed]:
        """Enters an order for a firm, as if it had telephoned (E.1.a): its reports name symbol, side and account."""
        exchange = self.exchange
        exchange.move_time(now_ns)
        try:
            known = exchange.firm(firm)
        except FirmRefused as error:
            raise OperatorError(str(error)) from None
        if message.cl_ord_id in known.ids:
            raise OperatorError(f"{firm} has used the id {message.cl_ord_id!r} before")
        exchange.enter(known, message, is_external=True)
        return exchange.scribe.take()

    def cancel(
        self, firm: str, cl_ord_id: str, now_ns: int, *, reason: str = "operator", text: str = ""
    ) -> list[Addressed]:
        """Cancels an open order that its firm did not ask to cancel (E.1.b)."""
        market, order = self._open_order(firm, cl_ord_id, now_ns)
        self.exchange.matching.end(market, order, ExecType.CANCELED, reason, text=text)
        return self.exchange.scribe.take()

    def restate(
        self, firm: str, cl_ord_id: str, now_ns: int, *, quantity: int | None = None, price: int | None = None,
        reason: str = "operator",
    ) -> list[Addressed]:  # fmt: skip
        """Gives an open order another quantity or price (E.1.c, E.1.d), with the same effect on its place as a replacement."""
        market, order = self._open_order(firm, cl_ord_id, now_ns)
        wanted = order.quantity if quantity is None else quantity
        self._check_quantity(market, wanted)
        if wanted < order.cum_quantity:
            raise OperatorError(
                f"{order.cum_quantity} of the order are executed; it cannot be restated to {wanted}"
            )
        if price is not None:
            self._check_price(market, price)
            if not order.type.has_price:
                raise OperatorError(f"a {order.type.name} order has no price")

        def tell() -> None:
            self.exchange.scribe.tell(order, ExecType.RESTATED, reason=reason)

        new_price = order.price if price is None else price
        self.exchange.matching.amend(market, order, wanted, new_price, order.stop_price, tell)
        return self.exchange.scribe.take()

    # ------------------------------------------------------------ trades

    def bust(self, exec_id: str, now_ns: int, *, is_reinstated: bool = False) -> list[Addressed]:
        """Cancels a trade, named by either side's exec_id: TRADE_CANCEL to both sides."""
        trade = self._trade(exec_id, now_ns)
        quantity, price = trade.quantity, trade.price
        trade.is_busted = True
        trade.quantity = 0
        self._adjust(trade, ExecType.TRADE_CANCEL, -quantity, (quantity, price), is_reinstated)
        return self.exchange.scribe.take()

    def correct(
        self, exec_id: str, now_ns: int, *, quantity: int | None = None, price: int | None = None,
        is_reinstated: bool = False,
    ) -> list[Addressed]:  # fmt: skip
        """Gives a trade another quantity or price: TRADE_CORRECT to both sides. It can be corrected again, under the same exec_id."""
        trade = self._trade(exec_id, now_ns)
        market = self.exchange.markets[trade.buy.symbol]
        new_quantity = trade.quantity if quantity is None else quantity
        new_price = trade.price if price is None else price
        self._check_quantity(market, new_quantity)
        self._check_price(market, new_price)
        change = new_quantity - trade.quantity
        for order in (trade.buy, trade.sell):
            if order.cum_quantity + change > order.quantity:
                raise OperatorError(
                    f"the order {order.cl_ord_id} of {order.firm} is for {order.quantity}; {order.cum_quantity + change} of it cannot be executed"
                )
        trade.quantity, trade.price = new_quantity, new_price
        self._adjust(trade, ExecType.TRADE_CORRECT, change, (new_quantity, new_price), is_reinstated)
        return self.exchange.scribe.take()

    def _adjust(
        self, trade: Trade, kind: ExecType, change: int, told: tuple[int, int], is_reinstated: bool
    ) -> None:
        """Both orders have ``change`` more executed than before; tells them, then does what follows of it."""
        market = self.exchange.markets[trade.buy.symbol]
        line = LineKind.BUST if kind is ExecType.TRADE_CANCEL else LineKind.CORRECTION
        market.tape.write(line, self.exchange.scribe.now_ns, told[1], told[0], of=trade.line)
        if trade.day == market.day:
            market.volume += change
        self.exchange.matching.note(market)
        sides = ((trade.buy, trade.buy_exec_id), (trade.sell, trade.sell_exec_id))
        was_open = [self._execute_otherwise(market, order, change, is_reinstated) for order, _ in sides]
        for order, exec_id in sides:
            if trade.day < order.day:
                order.prior_cum_quantity += change
            self.exchange.scribe.tell(
                order, kind, exec_ref_id=exec_id, last_quantity=told[0], last_price=told[1]
            )
        for (order, _), was in zip(sides, was_open, strict=True):
            self._settle(market, order, change, was, is_reinstated)

    def _execute_otherwise(self, market: Market, order: VenueOrder, change: int, is_reinstated: bool) -> bool:
        """Changes what is executed of an order; gives whether it was open. What lies in the book shows what it did, or less."""
        was_open = order.is_open
        cum = order.cum_quantity + change
        if order.is_resting and change > 0:
            if cum < order.quantity:
                market.side_of(order.side).resize(order, order.quantity, cum)
            else:
                self.exchange.matching.withdraw(market, order)
        elif order.is_resting and change < 0 and is_reinstated:
            self.exchange.matching.withdraw(market, order)
        order.cum_quantity = cum
        return was_open

    def _settle(
        self, market: Market, order: VenueOrder, change: int, was_open: bool, is_reinstated: bool
    ) -> None:
        matching = self.exchange.matching
        if was_open and not order.is_open:
            matching.close(order)
        elif not order.is_open or change >= 0:
            return
        elif is_reinstated and order.can_rest:
            if not was_open:
                order.begin_day(market.day)
                matching.open(order)
            matching.enter(market, order)
        elif was_open:
            # Less of it by what came back: what is left to do, and its place in the book, are what they were.
            order.quantity += change
            self.exchange.scribe.tell(order, ExecType.RESTATED, reason="busted")
        else:
            order.end = OrdStatus.CANCELED
            self.exchange.scribe.tell(order, ExecType.CANCELED, reason="busted")

    # ------------------------------------------------------------ what there is

    def _market(self, symbol: str, now_ns: int) -> Market:
        self.exchange.move_time(now_ns)
        market = self.exchange.markets.get(symbol)
        if market is None:
            raise OperatorError(
                f"no instrument {symbol!r} is traded here; there are {', '.join(self.exchange.markets)}"
            )
        return market

    def _open_order(self, firm: str, cl_ord_id: str, now_ns: int) -> tuple[Market, VenueOrder]:
        self.exchange.move_time(now_ns)
        known = self.exchange.scribe.firms.get(firm)
        order = None if known is None else known.ids.get(cl_ord_id)
        if order is None:
            raise OperatorError(f"{firm!r} has no order {cl_ord_id!r}")
        if not order.is_open:
            raise OperatorError(f"the order {cl_ord_id!r} of {firm} is {order.status.name}")
        return self.exchange.markets[order.symbol], order

    def _trade(self, exec_id: str, now_ns: int) -> Trade:
        self.exchange.move_time(now_ns)
        trade = self.exchange.trades.get(exec_id)
        if trade is None:
            raise OperatorError(f"no trade has the exec_id {exec_id!r}, or it is too old to be changed")
        if trade.is_busted:
            raise OperatorError(f"the trade {exec_id} is cancelled already")
        return trade

    def _check_quantity(self, market: Market, quantity: int) -> None:
        if not 0 < quantity <= NUMBER_MAX or quantity % market.instrument.lot:
            raise OperatorError(f"{quantity} is no quantity of {market.symbol}")

    def _check_price(self, market: Market, price: int) -> None:
        if not 0 < price <= NUMBER_MAX or price % market.instrument.tick:
            raise OperatorError(f"{price} is no price of {market.symbol}")
