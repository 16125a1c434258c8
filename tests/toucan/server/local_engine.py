"""An engine in the test's own process: the real core, and the front end's side of it (:class:`toucan.engine.port.EnginePort`).

What a real engine does with memory rings, a journal and sockets is done here at once and by hand: requests are decided when they come, events are
told one by one, and a test says when the engine is away, when its answers are held back, or when the copy lags behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.toucan.core.desk import NO_LIMITS, Desk

from toucan.core import events as ev
from toucan.core.instruments import Instrument
from toucan.core.order import Client, Order
from toucan.core.requests import Body, Reply, Request
from toucan.core.state import EngineState
from toucan.core.terms import OrderTerms
from toucan.core.values import ExecType
from toucan.core.venue_messages import Book, Quote
from toucan.engine.port import Applied, EngineAway, EventListener, Listener

__all__ = ["LocalEngine", "LocalPort"]


class LocalEngine(Desk):
    """The core driven by hand; every port is told what happens."""

    def __init__(self, limits: str = NO_LIMITS) -> None:
        self.ports: list[LocalPort] = []
        super().__init__(limits)

    def apply(self, events: list[ev.Event]) -> list[ev.Event]:
        """See :class:`Desk`; and the copies follow."""
        before = len(self.events)
        happened = super().apply(events)
        for one in self.events[before:]:
            for port in self.ports:
                port.heard(*one)
        return happened

    def port(self) -> LocalPort:
        """A front end's side, which has read everything that there is."""
        port = LocalPort(self)
        self.ports.append(port)
        return port

    def fill(self, order: Order, quantity: int, price: int, exec_id: str) -> None:
        """The venue has executed a part of an order."""
        self.report(
            kind=ExecType.TRADE,
            cl_ord_id=order.cl_ord_id,
            exec_id=exec_id,
            last_quantity=quantity,
            last_price=price,
        )

    def quote(self, quote: Quote, book: Book | None = None) -> None:
        """The market moves."""
        self.decider.quote(quote)
        for port in self.ports:
            port.market(quote, book)

    def restart(self) -> None:
        """The engine is killed, and another one takes the journal over."""
        for port in self.ports:
            port.go_away()
        self.disconnect()
        self.apply([ev.EngineStarted(self.state.epoch + 1, "test")])
        for port in self.ports:
            port.come_back()
        self.connect_again(
            *(order for order in self.state.live_orders() if order.venue_order_id or not order.requests)
        )

    def working_order(self, terms: OrderTerms, client: Client) -> Order:
        """An order that its venue has acknowledged, entered in another way than through a front end."""
        return self.working(terms, client)


class LocalPort:
    """See :class:`toucan.engine.port.EnginePort`."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self.state = EngineState()
        self.instruments: dict[str, Instrument] = dict(engine.decider.instruments)
        self.quotes: dict[str, Quote] = {}
        self.books: dict[str, Book] = {}
        self.is_stale = False
        self._listeners: list[Listener] = []
        self._unheard: list[tuple[int, int, ev.Event]] = []
        self._history: list[tuple[int, int, ev.Event]] = []
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        #: The copy does not hear of what happens until :meth:`catch_up`.
        self.is_lagging = False
        #: Set: answers come at once. Cleared: they wait, although what was asked is done.
        self.answers_flow = asyncio.Event()
        self.answers_flow.set()
        #: Set: requests reach the engine at once.
        self.requests_flow = asyncio.Event()
        self.requests_flow.set()
        #: What was asked, in order.
        self.asked: list[tuple[Client, int, Body]] = []
        #: Requests that the engine has and that were not answered, by client; and the most there ever were.
        self.under_way: dict[Client, int] = {}
        self.under_way_max = 0
        #: How many engines there were before.
        self._life = 0
        #: How many events are kept.
        self.history_max = 100_000
        for one in engine.events:
            self._take(*one)
        self.base_currency = self.state.risk.tree.base_currency

    # ------------------------------------------------------------ for tests

    def heard(self, seq: int, at_ns: int, event: ev.Event) -> None:
        """The engine has applied an event."""
        self._unheard.append((seq, at_ns, event))
        if not self.is_lagging and not self.is_stale:
            self.catch_up()

    def catch_up(self) -> None:
        """The copy hears everything that it has not heard."""
        self.is_lagging = False
        unheard, self._unheard = self._unheard, []
        for one in unheard:
            self._take(*one)

    def _take(self, seq: int, at_ns: int, event: ev.Event) -> None:
        change = self.state.apply(seq, at_ns, event)
        self._history.append((seq, at_ns, event))
        for listener in [*self._listeners]:
            if isinstance(listener, EventListener):
                listener.on_applied(Applied(seq, at_ns, event, change))
        for wanted, future in self._waiters:
            if wanted <= seq and not future.done():
                future.set_result(None)

    def market(self, quote: Quote, book: Book | None) -> None:
        """The market moves."""
        self.quotes[quote.symbol] = quote
        if book is not None:
            self.books[book.symbol] = book
        for listener in [*self._listeners]:
            listener.on_market([quote.symbol])

    def go_away(self) -> None:
        """The engine is away."""
        self._life += 1
        self._set_stale(True)

    def come_back(self) -> None:
        """It is back, and the copy hears what it missed before it counts as following."""
        self.catch_up()
        self._set_stale(False)

    def _set_stale(self, is_stale: bool) -> None:
        if is_stale is not self.is_stale:
            self.is_stale = is_stale
            for listener in [*self._listeners]:
                listener.on_staleness(is_stale)

    def replace_copy(self, *, keeps_history: bool) -> None:
        """The copy is replaced by another one, with all that it has not heard; the events between are kept or not."""
        state = EngineState()
        for seq, at_ns, event in self._engine.events:
            state.apply(seq, at_ns, event)
        self.state = state
        self._history += self._unheard
        self._unheard = []
        self.is_lagging = False
        if not keeps_history:
            self._history = []
        for listener in [*self._listeners]:
            listener.on_resync()

    # ------------------------------------------------------------ the protocol

    async def ask(self, client: Client, number: int, body: Body, timeout_s: float | None = None) -> Reply:
        """See the protocol."""
        if self.is_stale:
            raise EngineAway("the engine is away; nothing was sent")
        life = self._life
        self.under_way[client] = self.under_way.get(client, 0) + 1
        self.under_way_max = max(self.under_way_max, self.under_way[client])
        try:
            async with asyncio.timeout(timeout_s):
                await self.requests_flow.wait()
                reply = self._decided(client, number, body)
                await asyncio.sleep(0)
                await self.answers_flow.wait()
            if self._life != life:
                raise EngineAway(
                    "the engine is away: whether this was executed is told when it is sent again"
                )
            return reply
        finally:
            self.under_way[client] -= 1

    def _decided(self, client: Client, number: int, body: Body) -> Reply:
        engine = self._engine
        self.asked.append((client, number, body))
        request = Request(0, client, number, body)
        events, outcome = engine.decider.request(request, engine.now_ns, engine.now_ns)
        engine.apply(events)
        return Reply(0, engine.state.seq, outcome)

    async def wait_for(self, seq: int, timeout_s: float) -> bool:
        """See the protocol."""
        if seq <= self.state.seq:
            return True
        waiter: tuple[int, asyncio.Future[None]] = (seq, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter[1]
        except TimeoutError:
            return False
        finally:
            self._waiters.remove(waiter)
        return True

    def history(self, after_seq: int) -> list[tuple[int, int, ev.Event]] | None:
        """See the protocol."""
        missing = self.state.seq - after_seq
        kept = self._history[-self.history_max :] if self.history_max else []
        if missing < 0 or missing > len(kept):
            return None
        return kept[len(kept) - missing :]

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """See the protocol."""
        self._listeners.append(listener)

        def remove() -> None:
            self._listeners.remove(listener)

        return remove
