"""How much of the limits is used: open orders at their worst, positions, requests; added up at every node from the trader to the firm.

Law: what is kept is what orders claim (:class:`~toucan.core.claims.Claim`) and what is held; every sum follows from that and from the tree, so it can
be made anew at any time (:meth:`Exposure.rebuild`) and is not part of a snapshot. Nothing is refused here: facts are taken in, questions
answered. A fact costs one step for each node of its path, whatever the number of orders.

Money is derived too, since it needs two things that are not in the journal: the instrument table, and market prices. Until they are given
(:meth:`Exposure.use_instruments`, :meth:`Exposure.mark`) money is 0, and a position is valued at the price at which it last changed. Positions follow
the market; an order is valued when it changes.

A node's position in a symbol is the net of all below it. Gross value is not netted between accounts: an account's net positions are valued one
by one and added up, so that two accounts that hold opposite positions use up the limit of both.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Any

from toucan.core.claims import NO_CLAIM, Claim, worst_price
from toucan.core.instruments import Instrument
from toucan.core.risk_tree import LimitTree
from toucan.core.terms import OrderTerms
from toucan.core.values import Side

__all__ = ["DUPLICATES_KEPT_MAX", "NODES_MAX", "Exposure", "NodeUsage", "SideUsage", "SymbolUsage"]

#: Orders per account that are remembered to recognise duplicates; with more within the window the oldest are forgotten.
DUPLICATES_KEPT_MAX = 10_000
#: Nodes with usage: every trader who ever sent an order for an account has one.
NODES_MAX = 100_000


class SideUsage:
    """Open orders of a node in one symbol on one side."""

    __slots__ = ("counts", "prices", "quantity", "reducing")

    def __init__(self) -> None:
        #: What may still be executed at worst.
        self.quantity = 0
        #: The part of it that is reduce-only.
        self.reducing = 0
        #: At which those that are or may come into the book meet others; ascending, each once: prices are fewer than orders.
        self.prices: list[int] = []
        #: How many orders are at each of them.
        self.counts: dict[int, int] = {}

    def came(self, price: int) -> None:
        """One order more is at a price."""
        count = self.counts.get(price, 0)
        self.counts[price] = count + 1
        if not count:
            insort(self.prices, price)

    def went(self, price: int) -> None:
        """One order less."""
        count = self.counts[price] - 1
        if count:
            self.counts[price] = count
        else:
            del self.counts[price]
            del self.prices[bisect_left(self.prices, price)]


class SymbolUsage:
    """A node's position in one symbol, signed, and its open orders there."""

    __slots__ = ("buy", "position", "sell")

    def __init__(self) -> None:
        self.position = 0
        self.buy = SideUsage()
        self.sell = SideUsage()

    def side(self, side: Side) -> SideUsage:
        """Open orders of one side."""
        return self.buy if side is Side.BUY else self.sell

    @property
    def worst_position(self) -> int:
        """The largest position, long or short, that its open orders can lead to."""
        return max(self.position + self.buy.quantity, self.sell.quantity - self.position)


class NodeUsage:
    """What a node uses altogether. Money is in micro-units of the base currency, each order and position rounded up."""

    __slots__ = ("gross_notional", "open_notional", "open_orders", "requests", "symbols")

    def __init__(self) -> None:
        self.open_orders = 0
        self.open_notional = 0
        #: Of positions, at the market.
        self.gross_notional = 0
        self.symbols: dict[str, SymbolUsage] = {}
        #: When requests were sent, oldest first: as many as ``max_requests`` of the node.
        self.requests: deque[int] = deque()

    def symbol(self, symbol: str) -> SymbolUsage:
        """Its usage in a symbol, to be read."""
        return self.symbols.get(symbol) or SymbolUsage()


class _Lane:
    """The nodes of an account and trader, nearest first, with those limits that facts need."""

    __slots__ = ("_sides", "duplicate_window_ns", "nodes", "requests_max", "version")

    def __init__(self, tree: LimitTree, path: tuple[str, ...], nodes: tuple[NodeUsage, ...]) -> None:
        self.version = tree.version
        self.nodes = nodes
        self.requests_max = [tree.number(node, "max_requests", 0) for node in path]
        windows = [tree.number(node, "duplicate_window_s", 9) or 0 for node in path]
        #: An order is remembered for as long as any node asks for.
        self.duplicate_window_ns = max(windows)
        self._sides: dict[tuple[str, Side], tuple[tuple[NodeUsage, SideUsage], ...]] = {}

    def sides(self, symbol: str, side: Side) -> tuple[tuple[NodeUsage, SideUsage], ...]:
        """Each node with its usage of one side in a symbol, to be changed."""
        found = self._sides.get((symbol, side))
        if found is None:
            found = tuple((node, _symbol_of(node, symbol).side(side)) for node in self.nodes)
            self._sides[symbol, side] = found
        return found


class _Open:
    """An open order."""

    __slots__ = ("account", "claim", "is_reducing", "notional", "side", "symbol", "trader")

    def __init__(self, account: str, trader: str, symbol: str, side: Side, is_reducing: bool) -> None:
        self.account = account
        self.trader = trader
        self.symbol = symbol
        self.side = side
        self.is_reducing = is_reducing
        self.claim = NO_CLAIM
        #: What the claim is worth; counted at every node of the path.
        self.notional = 0


#: Symbol, side, type, quantity, price (-1: none), stop price (-1: none).
_Likeness = tuple[str, int, int, int, int, int]


def _likeness(terms: OrderTerms) -> _Likeness:
    price = -1 if terms.price is None else terms.price
    stop = -1 if terms.stop_price is None else terms.stop_price
    return terms.symbol, int(terms.side), int(terms.type), terms.quantity, price, stop


class Exposure:
    """Usage of every node of ``tree``. Change the tree through its owner, and :meth:`rebuild` after rates or teams have changed."""

    def __init__(self, tree: LimitTree) -> None:
        self._tree = tree
        self._instruments: Mapping[str, Instrument] = {}
        self._orders: dict[int, _Open] = {}
        #: Reduce-only orders by account and symbol.
        self._reducing: dict[tuple[str, str], dict[int, None]] = {}
        #: Symbol, account, trader: what is held; never 0.
        self._held: dict[str, dict[str, dict[str, int]]] = {}
        #: At which positions last changed; the fallback of a market price.
        self._last_prices: dict[str, int] = {}
        #: When an order like this was last sent, by account; the oldest first, which a plain dict only finds by a search.
        self._recent: dict[str, OrderedDict[_Likeness, int]] = {}
        # Derived from here on.
        self._marks: dict[str, int] = {}
        self._nodes: dict[str, NodeUsage] = {}
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._scales: dict[str, tuple[int, int] | None] = {}

    # ------------------------------------------------------------ facts

    def order_changed(self, order_id: int, trader: str, terms: OrderTerms, claim: Claim) -> None:
        """What an order may still do at its worst is ``claim`` from now on: a new order, one that changed, or with a quantity of 0 one that is over.

        Account, symbol and side of an order never change.
        """
        entry = self._orders.get(order_id)
        if entry is None:
            if claim.quantity == 0:
                return
            entry = _Open(terms.account, trader, terms.symbol, terms.side, terms.reduce_only)
            self._orders[order_id] = entry
            if entry.is_reducing:
                self._reducing.setdefault((terms.account, terms.symbol), {})[order_id] = None
        elif entry.claim == claim:
            return
        self._move(entry, claim)
        if claim.quantity == 0:
            del self._orders[order_id]
            if entry.is_reducing:
                self._forget_reducing(entry, order_id)

    def _forget_reducing(self, entry: _Open, order_id: int) -> None:
        own = self._reducing[entry.account, entry.symbol]
        del own[order_id]
        if not own:
            del self._reducing[entry.account, entry.symbol]

    def _move(self, entry: _Open, claim: Claim) -> None:
        """Takes the place of an order's claim at every node of its path."""
        old, entry.claim = entry.claim, claim
        quantity = claim.quantity - old.quantity
        orders = (claim.quantity > 0) - (old.quantity > 0)
        price = worst_price(entry.side, claim.price, self.price(entry.symbol))
        notional = self.notional(entry.symbol, claim.quantity, price)
        money, entry.notional = notional - entry.notional, notional
        old_rest, rest = old.rest_price, claim.rest_price
        for node, side in self._lane(entry.account, entry.trader).sides(entry.symbol, entry.side):
            node.open_orders += orders
            node.open_notional += money
            side.quantity += quantity
            if entry.is_reducing:
                side.reducing += quantity
            if old_rest != rest:
                if old_rest is not None:
                    side.went(old_rest)
                if rest is not None:
                    side.came(rest)

    def position_changed(self, account: str, trader: str, symbol: str, quantity: int, price: int) -> None:
        """A trader's position in a symbol for an account is ``quantity`` now, and changed at ``price`` (0: none)."""
        if price > 0 and price != self._last_prices.get(symbol):
            if symbol not in self._marks:
                self._revalue(symbol, price)
            self._last_prices[symbol] = price
        accounts = self._held.setdefault(symbol, {})
        traders = accounts.setdefault(account, {})
        old = traders.pop(trader, 0)
        if quantity:
            traders[trader] = quantity
        if not traders:
            del accounts[account]
        if not accounts:
            del self._held[symbol]
        self._hold(self._lane(account, trader).nodes, symbol, old, quantity)

    def _hold(self, nodes: tuple[NodeUsage, ...], symbol: str, old: int, new: int) -> None:
        price = self.price(symbol)
        own = _symbol_of(nodes[1], symbol)
        before = own.position
        for node in nodes:
            _symbol_of(node, symbol).position += new - old
        nodes[0].gross_notional += self.notional(symbol, new, price) - self.notional(symbol, old, price)
        change = self.notional(symbol, own.position, price) - self.notional(symbol, before, price)
        for node in nodes[1:]:
            node.gross_notional += change

    def request_sent(self, account: str, trader: str, now_ns: int) -> None:
        """A request goes to a venue: a new order, a replacement or a cancel."""
        lane = self._lane(account, trader)
        for node, most in zip(lane.nodes, lane.requests_max, strict=True):
            if most is not None:
                node.requests.append(now_ns)
                while len(node.requests) > most:
                    node.requests.popleft()

    def order_sent(self, trader: str, terms: OrderTerms, now_ns: int) -> None:
        """A new order goes to a venue: another one like it is a duplicate for some time."""
        window_ns = self._lane(terms.account, trader).duplicate_window_ns
        if not window_ns:
            return
        recent = self._recent.setdefault(terms.account, OrderedDict())
        likeness = _likeness(terms)
        recent[likeness] = now_ns
        recent.move_to_end(likeness)
        while True:
            oldest = next(iter(recent))
            if len(recent) <= DUPLICATES_KEPT_MAX and 0 <= now_ns - recent[oldest] < window_ns:
                return
            del recent[oldest]

    # ------------------------------------------------------------ questions

    def node(self, name: str) -> NodeUsage:
        """What a node uses; nothing if nobody below it has done anything yet."""
        return self._nodes.get(name) or NodeUsage()

    def nodes(self) -> Iterator[tuple[str, NodeUsage]]:
        """All nodes that anybody has used, by name."""
        return iter(sorted(self._nodes.items()))

    def claim(self, order_id: int) -> Claim:
        """What an order claims."""
        entry = self._orders.get(order_id)
        return NO_CLAIM if entry is None else entry.claim

    def open_notional(self, order_id: int) -> int:
        """What is counted for an order, in micro-units."""
        entry = self._orders.get(order_id)
        return 0 if entry is None else entry.notional

    def sent_at_ns(self, terms: OrderTerms) -> int | None:
        """When an order like this one was last sent for its account, if that is remembered."""
        recent = self._recent.get(terms.account)
        return None if recent is None else recent.get(_likeness(terms))

    def has_room_for(self, account: str, trader: str) -> bool:
        """Whether a trader may send an order for an account, as far as memory goes."""
        return (account, trader) in self._lanes or len(self._nodes) + 4 <= NODES_MAX

    def reduce_only_excess(self, account: str, symbol: str) -> list[int]:
        """Reduce-only orders that, together, could turn the account's position over as it is now; the newest first. They should be cancelled."""
        order_ids = self._reducing.get((account, symbol), {})
        if not order_ids:
            return []
        position = self.node(self._tree.account_node(account)).symbol(symbol).position
        room = {Side.BUY: max(0, -position), Side.SELL: max(0, position)}
        excess = []
        for order_id in sorted(order_ids):
            entry = self._orders[order_id]
            room[entry.side] -= entry.claim.quantity
            if room[entry.side] < 0:
                room[entry.side] += entry.claim.quantity
                excess.append(order_id)
        return excess[::-1]

    # ------------------------------------------------------------ money

    def use_instruments(self, instruments: Mapping[str, Instrument]) -> None:
        """Gives the table by which quantities are worth money."""
        self._instruments = instruments
        self.rebuild()

    def mark(self, symbol: str, price: int) -> None:
        """What the market pays for a symbol now; positions are valued at it. Not part of the state."""
        if price > 0 and price != self._marks.get(symbol):
            self._revalue(symbol, price)
            self._marks[symbol] = price

    def price(self, symbol: str) -> int:
        """At which positions are valued; 0 if none is known."""
        return self._marks.get(symbol) or self._last_prices.get(symbol, 0)

    def notional(self, symbol: str, quantity: int, price: int) -> int:
        """What a quantity is worth at a price, in micro-units of the base currency, rounded up; 0 where :meth:`has_rate` is not."""
        scale = self._scale(symbol)
        return 0 if scale is None else -(-abs(quantity) * price * scale[0] // scale[1])

    def has_rate(self, symbol: str) -> bool:
        """Whether it is known what the currency of a symbol is worth."""
        return self._scale(symbol) is not None

    def _scale(self, symbol: str) -> tuple[int, int] | None:
        try:
            return self._scales[symbol]
        except KeyError:
            instrument = self._instruments.get(symbol)
            scale = None if instrument is None else self._tree.scale(instrument)
            self._scales[symbol] = scale
            return scale

    def _revalue(self, symbol: str, price: int) -> None:
        """Values all positions in a symbol at another price."""
        old = self.price(symbol)
        for account, traders in self._held.get(symbol, {}).items():
            nodes: tuple[NodeUsage, ...] = ()
            for trader, quantity in traders.items():
                nodes = self._lane(account, trader).nodes
                change = self.notional(symbol, quantity, price) - self.notional(symbol, quantity, old)
                nodes[0].gross_notional += change
            net = sum(traders.values())
            change = self.notional(symbol, net, price) - self.notional(symbol, net, old)
            for node in nodes[1:]:
                node.gross_notional += change

    # ------------------------------------------------------------ sums

    def _lane(self, account: str, trader: str) -> _Lane:
        lane = self._lanes.get((account, trader))
        if lane is None or lane.version != self._tree.version:
            path = self._tree.path(account, trader)
            lane = _Lane(self._tree, path, tuple(map(self._usage, path)))
            self._lanes[account, trader] = lane
        return lane

    def _usage(self, name: str) -> NodeUsage:
        usage = self._nodes.get(name)
        if usage is None:
            usage = self._nodes[name] = NodeUsage()
        return usage

    def use_tree(self, tree: LimitTree) -> None:
        """Another tree takes the place of this one; what is used stays, and so do the requests of nodes that are in both."""
        self._tree = tree
        for name, node in self._nodes.items():
            if tree.number(name, "max_requests", 0) is None:
                node.requests.clear()
        self.rebuild()

    def rebuild(self) -> None:
        """Makes all sums anew: after teams, rates or instruments have changed."""
        requests = {name: node.requests for name, node in self._nodes.items() if node.requests}
        self._nodes, self._lanes, self._scales = {}, {}, {}
        for name, times in requests.items():
            self._usage(name).requests = times
        for entry in self._orders.values():
            claim, entry.claim, entry.notional = entry.claim, NO_CLAIM, 0
            self._move(entry, claim)
        for symbol, accounts in self._held.items():
            for account, traders in accounts.items():
                for trader, quantity in traders.items():
                    self._hold(self._lane(account, trader).nodes, symbol, 0, quantity)

    # ------------------------------------------------------------ snapshots

    def dump(self) -> dict[str, Any]:
        """What the sums follow from, in builtins and sorted: equal histories give equal dumps."""
        return {
            "orders": [[order_id, *_open_row(self._orders[order_id])] for order_id in sorted(self._orders)],
            "held": sorted(
                [symbol, account, trader, str(quantity)]
                for symbol, accounts in self._held.items()
                for account, traders in accounts.items()
                for trader, quantity in traders.items()
            ),
            "last_prices": sorted(map(list, self._last_prices.items())),
            "recent": [
                [account, [[*likeness, at_ns] for likeness, at_ns in self._recent[account].items()]]
                for account in sorted(self._recent)
            ],
            "requests": [[name, list(node.requests)] for name, node in self.nodes() if node.requests],
        }

    @classmethod
    def load(cls, tree: LimitTree, dumped: dict[str, Any]) -> Exposure:
        """The opposite of :meth:`dump`; ``tree`` as it was then."""
        exposure = cls(tree)
        for order_id, account, trader, symbol, side, is_reducing, *claim in dumped["orders"]:
            entry = exposure._orders[order_id] = _Open(account, trader, symbol, Side(side), is_reducing)
            entry.claim = Claim(*claim)
            if is_reducing:
                exposure._reducing.setdefault((account, symbol), {})[order_id] = None
        for symbol, account, trader, quantity in dumped["held"]:
            exposure._held.setdefault(symbol, {}).setdefault(account, {})[trader] = int(quantity)
        exposure._last_prices = dict(dumped["last_prices"])
        for account, rows in dumped["recent"]:
            exposure._recent[account] = OrderedDict(((row[0], *row[1:6]), row[6]) for row in rows)
        for name, times in dumped["requests"]:
            exposure._usage(name).requests = deque(times)
        exposure.rebuild()
        return exposure


def _symbol_of(node: NodeUsage, symbol: str) -> SymbolUsage:
    """A node's usage in a symbol, to be changed."""
    usage = node.symbols.get(symbol)
    if usage is None:
        usage = node.symbols[symbol] = SymbolUsage()
    return usage


def _open_row(entry: _Open) -> list[Any]:
    claim = entry.claim
    numbers = [claim.quantity, claim.price, claim.rest_price]
    return [entry.account, entry.trader, entry.symbol, int(entry.side), entry.is_reducing, *numbers]
