"""A matcher that is slow and obvious: a list of orders, looked through from the beginning for every single trade.

It knows price, time, icebergs, stops, halts and the uncross as the exchange's documents say them, and shares no code with the exchange.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["NaiveMarket", "NaiveOrder"]


@dataclass
class NaiveOrder:
    """``place`` is "book", "stops" or "" (it has ended)."""

    name: str
    is_buy: bool
    price: int | None
    quantity: int
    is_immediate: bool = False
    is_all_or_none: bool = False
    stop: int | None = None
    floor: int | None = None
    post_only: bool = False
    filled: int = 0
    shown: int = 0
    stamp: int = 0
    place: str = ""

    @property
    def left(self) -> int:
        return self.quantity - self.filled

    def show(self) -> None:
        self.shown = self.left if self.floor is None else min(self.floor, self.left)


@dataclass
class NaiveMarket:
    """``trades`` are (waiting or buying order, other order, quantity, price), ``triggered`` the names of stops that were."""

    is_halted: bool = False
    last: int | None = None
    orders: list[NaiveOrder] = field(default_factory=list)
    trades: list[tuple[str, str, int, int]] = field(default_factory=list)
    triggered: list[str] = field(default_factory=list)
    waiting: list[NaiveOrder] = field(default_factory=list)
    stamps: int = 0

    def stamp(self, order: NaiveOrder) -> None:
        self.stamps += 1
        order.stamp = self.stamps

    # ------------------------------------------------------------ requests

    def new(self, order: NaiveOrder) -> bool:
        """False: it is rejected."""
        is_market = order.price is None
        if self.is_halted and order.stop is None and (is_market or order.is_immediate):
            return False
        if order.post_only and not self.is_halted and self.best_against(order) is not None:
            return False
        self.orders.append(order)
        self.enter(order)
        return True

    def cancel(self, order: NaiveOrder) -> bool:
        if not order.place:
            return False
        order.place = ""
        return True

    def replace(self, order: NaiveOrder, quantity: int, price: int | None, stop: int | None) -> bool:
        reopens = (
            not order.place and order.left == 0 < order.filled < quantity
            and order.price is not None and not order.is_immediate
        )  # fmt: skip
        if not order.place and not reopens:
            return False
        if order.post_only and not self.is_halted and self.best_against(order, price) is not None:
            return False
        if order.name in self.triggered:
            stop = order.stop
        same = (price, stop) == (order.price, order.stop)
        quantity = max(quantity, order.filled)
        if same and order.filled < quantity <= order.quantity:
            order.quantity = quantity
            order.shown = min(order.shown, order.left)
            return True
        order.quantity, order.price, order.stop = quantity, price, stop
        order.place = ""
        if order.left:
            self.enter(order)
        return True

    def halt(self) -> None:
        self.is_halted = True

    def resume(self) -> None:
        self.is_halted = False
        self.uncross()
        self.reach()
        self.send_waiting()

    # ------------------------------------------------------------ matching

    def enter(self, order: NaiveOrder) -> None:
        self.stamp(order)
        if order.stop is not None and order.name not in self.triggered:
            if self.is_halted or not self.is_reached(order):
                order.place = "stops"
                return
            self.triggered.append(order.name)
        self.execute(order)
        self.send_waiting()

    def execute(self, order: NaiveOrder) -> None:
        if order.is_all_or_none and not self.is_halted:
            there = sum(other.left for other in self.against(order, order.price))
            if there < order.left:
                order.place = ""
                return
        while order.left and not self.is_halted:
            best = self.best_against(order)
            if best is None:
                break
            assert best.price is not None
            self.trade(best, order, min(order.left, best.shown), best.price)
        if order.left and order.price is not None and not order.is_immediate:
            order.place = "book"
            order.show()
            self.stamp(order)
        else:
            order.place = ""

    def trade(self, one: NaiveOrder, other: NaiveOrder, quantity: int, price: int) -> None:
        self.trades.append((one.name, other.name, quantity, price))
        for order in (one, other):
            order.filled += quantity
            if order.place == "book":
                order.shown -= quantity
                if not order.left:
                    order.place = ""
                elif not order.shown:
                    order.show()
                    self.stamp(order)
        self.last = price
        self.reach()

    def reach(self) -> None:
        reached = [order for order in self.orders if order.place == "stops" and self.is_reached(order)]
        reached.sort(key=lambda order: (not order.is_buy, self.distance(order), order.stamp))
        for order in reached:
            order.place = ""
        self.waiting += reached

    def send_waiting(self) -> None:
        while self.waiting:
            order = self.waiting.pop(0)
            self.triggered.append(order.name)
            self.execute(order)

    def is_reached(self, order: NaiveOrder) -> bool:
        if self.last is None or order.stop is None:
            return False
        return self.last >= order.stop if order.is_buy else self.last <= order.stop

    def distance(self, order: NaiveOrder) -> int:
        assert order.stop is not None
        return order.stop if order.is_buy else -order.stop

    # ------------------------------------------------------------ who is there

    def against(self, order: NaiveOrder, price: int | None) -> list[NaiveOrder]:
        """Whom an order with this limit would meet, in the order in which it would."""
        found = [
            other
            for other in self.orders
            if other.place == "book" and other.is_buy is not order.is_buy and self.meets(order, price, other)
        ]
        return sorted(found, key=self.rank)

    def best_against(self, order: NaiveOrder, price: int | None = None) -> NaiveOrder | None:
        return next(iter(self.against(order, order.price if price is None else price)), None)

    def meets(self, order: NaiveOrder, price: int | None, other: NaiveOrder) -> bool:
        assert other.price is not None
        return price is None or (other.price <= price if order.is_buy else other.price >= price)

    def rank(self, order: NaiveOrder) -> tuple[int, int]:
        assert order.price is not None
        return (-order.price if order.is_buy else order.price, order.stamp)

    def side(self, is_buy: bool) -> list[NaiveOrder]:
        return sorted(
            (order for order in self.orders if order.place == "book" and order.is_buy is is_buy),
            key=self.rank,
        )

    def depth(self, is_buy: bool) -> list[tuple[int, int]]:
        levels: dict[int, int] = {}
        for order in self.side(is_buy):
            assert order.price is not None
            levels[order.price] = levels.get(order.price, 0) + order.shown
        return list(levels.items())

    # ------------------------------------------------------------ the uncross

    def uncross(self) -> None:
        price = self.uncross_price()
        while price is not None:
            buys, sells = self.side(True), self.side(False)
            if not buys or not sells:
                return
            buy, sell = buys[0], sells[0]
            assert buy.price is not None
            assert sell.price is not None
            if buy.price < sell.price:
                return
            self.trade(buy, sell, min(buy.shown, sell.shown), price)

    def uncross_price(self) -> int | None:
        buys, sells = self.side(True), self.side(False)
        ranked = []
        for price in {order.price for order in buys + sells if order.price is not None}:
            demand = sum(order.left for order in buys if order.price is not None and order.price >= price)
            supply = sum(order.left for order in sells if order.price is not None and order.price <= price)
            if min(demand, supply):
                distance = 0 if self.last is None else abs(price - self.last)
                ranked.append((-min(demand, supply), abs(demand - supply), distance, price))
        return min(ranked)[3] if ranked else None
