"""The whole core by itself: state, decisions, timers and one venue's session, driven by hand; what is sent to the venue is collected."""

from __future__ import annotations

from typing import Any

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core.decide import Decider
from toucan.core.instruments import Instrument
from toucan.core.order import Client, Order
from toucan.core.outcomes import Accepted, Outcome
from toucan.core.reconcile import Phase, VenueSession, message_of
from toucan.core.records import decode, encode
from toucan.core.state import EngineState
from toucan.core.terms import OrderTerms
from toucan.core.timers import Timers
from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import MassStatusRequest, Report, ResumeEnd, ToVenue, Welcome
from toucan.risk_file import parse_limits

__all__ = ["ALICE", "BOB", "INSTRUMENTS", "NO_LIMITS", "START_NS", "Desk", "terms"]

ALICE = Client("alice", "desk")
BOB = Client("bob", "desk")
#: A Monday, 14:00 UTC.
START_NS = 1_767_621_600_000_000_000
INSTRUMENTS = {
    one.symbol: one
    for one in (
        Instrument("AAPL", "USD", "SIM"),
        Instrument("MSFT", "USD", "SIM"),
        Instrument("BTC-USD", "USD", "SIM", quantity_decimals=8),
    )
}
NO_LIMITS = """
base_currency = "USD"
[firm]
[team.alpha]
accounts = ["ACC1", "ACC2"]
[team.beta]
accounts = ["ACC3"]
"""


def terms(quantity: int = 100, price: int | None = 10_000, **more: Any) -> OrderTerms:
    """A limit order to buy AAPL for ACC1, good till cancelled, where nothing else is said."""
    values: dict[str, Any] = {
        "account": "ACC1", "symbol": "AAPL", "side": Side.BUY, "time_in_force": TimeInForce.GTC,
        "type": OrderType.LIMIT if price is not None else OrderType.MARKET,
    }  # fmt: skip
    return OrderTerms(**{**values, "quantity": quantity, "price": price, **more})


class Desk:
    """Requests in, events applied, messages to the venue out; time stands still until it is moved."""

    def __init__(self, limits: str = NO_LIMITS, *, is_ready: bool = True) -> None:
        self.now_ns = START_NS
        self.state = EngineState()
        self.decider = Decider(self.state, INSTRUMENTS, "T")
        self.timers = Timers(self.decider)
        self.session = VenueSession("SIM", "FIRM", self.state, dict(INSTRUMENTS))
        #: Everything that happened, as (seq, at_ns, event).
        self.events: list[tuple[int, int, ev.Event]] = []
        self.sent: list[ToVenue] = []
        self._numbers: dict[Client, int] = {}
        self._venue_seq = 0
        self._last: rq.Request | None = None
        self.apply([ev.EngineStarted(1, "test"), ev.LimitsLoaded(parse_limits(limits, INSTRUMENTS), "test")])
        if is_ready:
            self.connect()

    def restarted(self) -> Desk:
        """The engine's next process: all that it has is what was journalled."""
        desk = Desk.__new__(Desk)
        desk.now_ns, desk.state, desk.events, desk.sent = self.now_ns, self.replayed(), [*self.events], []
        desk.decider = Decider(desk.state, INSTRUMENTS, "T")
        desk.timers = Timers(desk.decider)
        desk.session = VenueSession("SIM", "FIRM", desk.state, dict(INSTRUMENTS))
        desk._numbers, desk._venue_seq, desk._last = self._numbers, self._venue_seq, None
        desk.apply([ev.EngineStarted(self.state.epoch + 1, "test")])
        return desk

    # ------------------------------------------------------------ the venue

    def connect(self, life: str = "life-1") -> None:
        """The venue is there, has missed nothing and has nothing open."""
        self.session.connected()
        self.apply(self.session.welcome(Welcome(life, 0)))
        self.resume_end("")
        self.reconcile()
        assert self.session.phase is Phase.READY

    def reconcile(self, *open_orders: Order) -> None:
        """The venue answers which orders are open there, as they are known here."""
        question = self.sent.pop()
        assert isinstance(question, MassStatusRequest)
        for order in open_orders:
            self.report(kind=ExecType.ORDER_STATUS, cl_ord_id=order.cl_ord_id, ord_status=OrdStatus.NEW)
        self.resume_end(question.request_id)

    def connect_again(self, *open_orders: Order) -> None:
        """Another connection to the same venue, which has nothing new to tell and these orders open."""
        self.session.connected()
        self.apply(self.session.welcome(Welcome(self.state.venue("SIM").life, self._venue_seq)))
        self.resume_end("")
        self.reconcile(*open_orders)
        assert self.session.phase is Phase.READY

    def begins_anew(self) -> None:
        """The venue has lost its state: its reports are numbered from 1 again."""
        self._venue_seq = 0

    def disconnect(self, why: str = "cut") -> None:
        """The connection is gone."""
        self.apply(self.session.disconnected(why))

    def resume_end(self, request_id: str) -> None:
        """All that was asked for was told."""
        events, messages = self.session.resume_end(ResumeEnd(request_id))
        self.apply(events)
        self.sent += messages

    def report(self, **fields: Any) -> list[ev.Event]:
        """The venue reports; numbered in a row unless it is said otherwise. Gives the events that it led to."""
        if "venue_seq" not in fields:
            self._venue_seq += 1
            fields["venue_seq"] = self._venue_seq
        events, messages = self.session.report(Report(**{"at_ns": self.now_ns, **fields}))
        self.sent += messages
        return self.apply(events)

    # ------------------------------------------------------------ clients

    def ask(self, body: rq.Body, client: Client = ALICE, number: int | None = None, **more: Any) -> Outcome:
        """A request, with the client's next number unless one is given."""
        if number is None:
            number = self._numbers[client] = self._numbers.get(client, 0) + 1
        self._last = request = rq.Request(0, client, number, body, **more)
        return self._decide(request)

    def again(self) -> Outcome:
        """The last request once more, as it was."""
        assert self._last is not None
        return self._decide(self._last)

    def _decide(self, request: rq.Request) -> Outcome:
        events, outcome = self.decider.request(request, self.now_ns, self.now_ns)
        self.apply(events)
        return outcome

    def submit(self, terms: OrderTerms, client: Client = ALICE, **more: Any) -> Order:
        """An order that is accepted."""
        outcome = self.ask(rq.Submit(terms, **more), client)
        assert isinstance(outcome, Accepted), outcome
        return self.state.orders[outcome.order_id]

    def working(self, terms: OrderTerms, client: Client = ALICE) -> Order:
        """An order that its venue has acknowledged."""
        order = self.submit(terms, client)
        self.report(kind=ExecType.NEW, cl_ord_id=order.cl_ord_id)
        return order

    # ------------------------------------------------------------ time, replay

    def pass_time(self, seconds: float) -> list[ev.Event]:
        """Time passes, and what is due happens."""
        self.now_ns += int(seconds * 1e9)
        return self.apply(self.timers.tick(self.now_ns))

    def apply(self, events: list[ev.Event]) -> list[ev.Event]:
        """Applies events as the engine's loop does; gives them and those that followed."""
        happened: list[ev.Event] = []
        while events:
            following: list[ev.Event] = []
            for event in decode(encode(events)):
                change = self.state.apply(self.state.seq + 1, self.now_ns, event)
                self.events.append((self.state.seq, self.now_ns, event))
                happened.append(event)
                message = message_of(event, self.state)
                if message is not None and self.session.phase is Phase.READY:
                    self.sent.append(message[1])
                self.timers.applied(event, change)
                following += self.decider.following(change)
            events = following
        return happened

    def replayed(self) -> EngineState:
        """Another state, from the same events."""
        state = EngineState()
        for seq, at_ns, event in self.events:
            state.apply(seq, at_ns, event)
        return state
