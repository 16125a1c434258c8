"""The model beside the core: of each order a list of what happened to it, and how that adds up, worked out anew each time it is asked."""

from __future__ import annotations

from typing import Any

from tests.toucan.core.desk import ALICE, BOB

from toucan.core.instruments import NUMBER_MAX
from toucan.core.limits import REQUESTS_IN_FLIGHT_MAX
from toucan.core.order import Client
from toucan.core.terms import OrderTerms
from toucan.core.values import OrdStatus, Side, TimeInForce, TradingLevel

__all__ = ["ACCOUNTS", "CLIENTS", "LIVE", "NODES", "Model", "ModelOrder", "Now"]

CLIENTS = (ALICE, BOB, Client("alice", "robot"))
ACCOUNTS = ("ACC1", "ACC3")
TEAMS = {"ACC1": "alpha", "ACC3": "beta"}
NODES = ("firm", "firm/alpha", "firm/beta/ACC3", "firm/alpha/ACC1/alice")
LIVE = ("pending", "working")


class Now:
    """How an order stands, worked out from its history."""

    def __init__(self, history: list[tuple[Any, ...]]) -> None:
        self.state = "pending"
        self.quantity, self.price = 0, 0
        self.trades: dict[str, tuple[int, int]] = {}
        self.in_flight: dict[str, tuple[str, int, int]] = {}
        self.confirmed: set[str] = set()
        self.is_done = False
        for what, *more in history:
            getattr(self, f"_{what}")(*more)
            if what in ("told", "traded"):
                self.in_flight = {name: one for name, one in self.in_flight.items() if one[0] != "new"}
            if self.state not in LIVE and what == "ended":
                self.in_flight, self.is_done = {}, False

    def _asked(self, name: str, kind: str, quantity: int, price: int) -> None:
        self.in_flight[name] = (kind, quantity, price)
        if kind == "new":
            self.quantity, self.price = quantity, price

    def _told(self, what: str) -> None:
        self.state = "working"
        if what == "done-for-day":
            self.is_done = True

    def _restated(self, quantity: int) -> None:
        self.state, self.quantity, self.is_done = "working", quantity, False
        self.in_flight = {name: one for name, one in self.in_flight.items() if one[0] != "new"}

    def _traded(self, exec_id: str, quantity: int, price: int) -> None:
        if self.state in ("pending", "rejected"):
            self.state = "working"
        self.trades[exec_id] = (quantity, price)

    def _busted(self, exec_id: str) -> None:
        del self.trades[exec_id]

    def _corrected(self, exec_id: str, quantity: int, price: int) -> None:
        self.trades[exec_id] = (quantity, price)

    def _confirmed(self, name: str) -> None:
        self.confirmed.add(name)

    def _replaced(self, name: str) -> None:
        _, quantity, self.price = self.in_flight.pop(name)
        self.quantity = max(quantity, self.cum)
        self.state = "working"
        self.in_flight = {other: one for other, one in self.in_flight.items() if one[0] != "new"}

    def _refused(self, name: str) -> None:
        self.in_flight.pop(name, None)

    def _ended(self, how: str) -> None:
        self.state = how

    @property
    def cum(self) -> int:
        return sum(quantity for quantity, _ in self.trades.values())

    def leaves(self, is_day: bool) -> int:
        if self.state not in LIVE or (self.is_done and is_day):
            return 0
        return max(0, self.quantity - self.cum)

    def status(self) -> OrdStatus:
        for kind, status in (("cancel", OrdStatus.PENDING_CANCEL), ("replace", OrdStatus.PENDING_REPLACE)):
            if any(one[0] == kind and name in self.confirmed for name, one in self.in_flight.items()):
                return status
        if self.is_done:
            return OrdStatus.DONE_FOR_DAY
        if self.state == "rejected":
            return OrdStatus.REJECTED
        if self.cum and self.cum >= self.quantity:
            return OrdStatus.FILLED
        if self.state in ("canceled", "expired"):
            return OrdStatus[self.state.upper()]
        return (
            OrdStatus.PARTIALLY_FILLED
            if self.cum
            else OrdStatus.NEW
            if self.state == "working"
            else OrdStatus.PENDING_NEW
        )

    def possible(self) -> list[tuple[int, int]]:
        """All quantities and prices that may be in force, now or when what is in flight is accepted."""
        asked = [(quantity, price) for kind, quantity, price in self.in_flight.values() if kind == "replace"]
        return [(self.quantity, self.price), *(asked if self.state in LIVE else [])]

    def worst(self, is_day: bool) -> int:
        """The most that may still be executed."""
        return max([self.leaves(is_day), *(quantity - self.cum for quantity, _ in self.possible()[1:])])

    def is_being_cancelled(self) -> bool:
        return any(kind == "cancel" for kind, _, _ in self.in_flight.values())


class ModelOrder:
    """An order as the model has it."""

    def __init__(self, order_id: int, owner: Client, wanted: OrderTerms) -> None:
        self.order_id = order_id
        self.owner = owner
        self.account, self.side, self.reduces = wanted.account, wanted.side, wanted.reduce_only
        self.is_day = wanted.time_in_force is TimeInForce.DAY
        self.count = 1
        self.history: list[tuple[Any, ...]] = [("asked", self.id(1), "new", wanted.quantity, wanted.price)]

    def id(self, number: int) -> str:
        return f"T-{self.order_id}-{number}"

    def now(self) -> Now:
        return Now(self.history)

    def may_execute(self) -> bool:
        return self.now().worst(self.is_day) > 0

    def path(self) -> list[str]:
        names = ["firm", TEAMS[self.account], self.account, self.owner.user]
        return ["/".join(names[:length]) for length in (1, 2, 3, 4)]

    def asked(self, kind: str, quantity: int = 0, price: int = 0) -> str:
        self.count += 1
        self.history.append(("asked", self.id(self.count), kind, quantity, price))
        return self.id(self.count)


class Model:
    """All orders, levels and sessions."""

    def __init__(self) -> None:
        self.orders: dict[int, ModelOrder] = {}
        self.levels: dict[str, TradingLevel] = {}
        #: Grace time and, if it is lost, since when; both in ns.
        self.sessions: dict[Client, tuple[int | None, int | None]] = {}
        #: How many trades, busts and corrections there were: their ids.
        self.executions = 0
        self.is_connected = True

    def held(self, account: str, user: str = "") -> int:
        mine = [
            one for one in self.orders.values() if one.account == account and user in ("", one.owner.user)
        ]
        return sum(one.side.sign * one.now().cum for one in mine)

    def level(self, order: ModelOrder, besides: str = "") -> TradingLevel:
        nodes = (node for node in order.path() if node != besides)
        return max(self.levels.get(node, TradingLevel.NORMAL) for node in nodes)

    def is_frozen(self, order: ModelOrder, besides: str = "") -> bool:
        return self.level(order, besides) is TradingLevel.FREEZE

    def cancellable(self) -> list[ModelOrder]:
        return [
            one for one in self.orders.values() if one.may_execute() and not one.now().is_being_cancelled()
        ]

    # ------------------------------------------------------------ what a request will be answered

    def submit_code(self, order: ModelOrder, quantity: int) -> str:
        if not self.is_connected:
            return "VENUE_NOT_READY"
        blocked = {TradingLevel.NORMAL: "", TradingLevel.FREEZE: "TRADING_FROZEN"}.get(
            self.level(order), "TRADING_BLOCKED"
        )
        if blocked:
            return blocked
        return "REDUCE_ONLY" if order.reduces and self._reducing(order) + quantity > self._room(order) else ""

    def _room(self, order: ModelOrder) -> int:
        return max(0, -order.side.sign * self.held(order.account))

    def _reducing(self, order: ModelOrder, besides: int = 0) -> int:
        return sum(
            one.now().worst(one.is_day)
            for one in self.orders.values()
            if one.reduces
            and (one.account, one.side) == (order.account, order.side)
            and one.order_id != besides
        )

    def replace_code(self, order: ModelOrder, quantity: int, price: int) -> str:
        now = order.now()
        if self.is_frozen(order):
            return "FROZEN"
        if now.is_being_cancelled():
            return "CANCEL_IN_FLIGHT"
        is_growing = now.state in LIVE and now.status() in (OrdStatus.FILLED, OrdStatus.PENDING_REPLACE)
        if not now.leaves(order.is_day) and not is_growing:
            return "ORDER_CLOSED"
        if len(now.in_flight) >= REQUESTS_IN_FLIGHT_MAX:
            return "TOO_MANY_IN_FLIGHT"
        if (quantity, price) == now.possible()[-1]:
            return "NOTHING_CHANGES"
        if quantity <= now.cum:
            return "INVALID_ORDER"
        if not self.is_connected:
            return "VENUE_NOT_READY"
        return self._replace_denial(order, now, quantity, price)

    def _replace_denial(self, order: ModelOrder, now: Now, quantity: int, price: int) -> str:
        worst = now.worst(order.is_day)
        added = max(0, quantity - now.cum - worst)
        prices = [one for _, one in now.possible()] if worst else []
        is_dearer = price > max(prices, default=0)
        is_sharper = (
            price > max(prices, default=0)
            if order.side is Side.BUY
            else price < min(prices, default=NUMBER_MAX)
        )
        if (added or is_dearer or is_sharper) and self.level(order) is not TradingLevel.NORMAL:
            return "TRADING_BLOCKED"
        is_too_much = order.reduces and added and self._reducing(order) + added > self._room(order)
        return "REDUCE_ONLY" if is_too_much else ""

    def cancel_code(self, order: ModelOrder) -> str:
        if self.is_frozen(order):
            return "FROZEN"
        if order.now().is_being_cancelled():
            return "CANCEL_IN_FLIGHT"
        return "" if order.may_execute() else "ORDER_CLOSED"

    # ------------------------------------------------------------ what follows by itself

    def position_changed(self, account: str) -> None:
        """Reduce-only orders beyond what there is to reduce are cancelled, and the newest give way."""
        room = {Side.BUY: max(0, -self.held(account)), Side.SELL: max(0, self.held(account))}
        for order_id in sorted(self.orders):
            order = self.orders[order_id]
            worst = order.now().worst(order.is_day)
            if not order.reduces or order.account != account or not worst:
                continue
            if room[order.side] >= worst:
                room[order.side] -= worst
            elif not order.now().is_being_cancelled() and not self.is_frozen(order):
                order.asked("cancel")

    def time_passed(self, now_ns: int) -> None:
        for client, (grace_ns, lost_ns) in list(self.sessions.items()):
            if grace_ns is None or lost_ns is None or lost_ns + grace_ns > now_ns:
                continue
            own = [one for one in self.cancellable() if one.owner == client]
            if any(map(self.is_frozen, own)):
                continue
            del self.sessions[client]
            for order in own:
                order.asked("cancel")

    def reconciled(self, at_venue: set[int]) -> None:
        """After a connection: what the venue does not know has not arrived."""
        for order in self.orders.values():
            now = order.now()
            if order.order_id in at_venue:
                lost = [
                    name
                    for name, one in now.in_flight.items()
                    if one[0] == "replace" and name not in now.confirmed
                ]
                order.history += [("refused", name) for name in lost]
            elif any(kind == "new" for kind, _, _ in now.in_flight.values()):
                order.history.append(("ended", "rejected"))
            elif now.leaves(order.is_day):
                order.history.append(("ended", "canceled"))
            else:
                order.history += [("refused", name) for name in now.in_flight]
