"""Venues, the slow lines to them, and the others who trade there; with a note of all that is true about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from toucan.core.instruments import Instrument
from toucan.core.values import ExecType, OrderType, Side, TimeInForce
from toucan.core.venue_messages import NewOrder, ReplaceOrder, Report, ToVenue
from toucan.exchange.core.exchange import Exchange
from toucan.venue.events import Connected, Disconnected, VenueEvent
from toucan.venue.link import Deliver
from toucan.venue.local_link import LocalVenue, LocalVenueLink
from toucan.venue.misbehaving import BEHAVES, Behaviour, MisbehavingVenue

from .world import MS, Violation, World

__all__ = ["FIRM", "SimulatedVenue", "SlowLink"]

FIRM = "FIRM"
OTHERS = "OTHERS"


class SimulatedVenue:
    """One venue through all its lives."""

    def __init__(
        self, world: World, name: str, instruments: Sequence[Instrument], behaviour: Behaviour
    ) -> None:
        self.world = world
        self.name = name
        self.instruments = list(instruments)
        self.behaviour = behaviour
        self.lives = 0
        #: Requests of the engine by id, cancels aside: how often they were handed to the line, by whichever engine.
        self.handed_over: Counter[str] = Counter()
        #: Of lives that are over: the exec_ids of all trades.
        self.trades_of_old: set[str] = set()
        self.local = LocalVenue(self._core(), world.now_ns)
        #: Counts connections: what was sent over an older one does not arrive once a newer one has begun.
        self.connection = 0
        self._other_orders = 0

    @property
    def core(self) -> MisbehavingVenue:
        core = self.local.core
        assert isinstance(core, MisbehavingVenue)
        return core

    @property
    def exchange(self) -> Exchange:
        return self.core.exchange

    def _core(self) -> MisbehavingVenue:
        self.lives += 1
        life = f"{self.name}-{self.lives}"
        exchange = Exchange(self.instruments, life=life, now_ns=self.world.now_ns)
        return MisbehavingVenue(exchange, self.behaviour, self.world.chance)

    def pump(self) -> None:
        """What is due happens."""
        due = self.local.next_at_ns()
        if due is not None and due <= self.world.now_ns:
            self.local.advance(self.world.now_ns)

    def heal(self) -> None:
        """It behaves from now on."""
        self.behaviour = self.core.behaviour = BEHAVES

    def lose_everything(self) -> None:
        """A new life."""
        self.world.say(f"{self.name} loses its state")
        self.trades_of_old |= {report.exec_id for report in self.reports() if report.kind is ExecType.TRADE}
        self.local.restart(self._core())

    def reports(self) -> list[Report]:
        """All that the exchange itself has told the engine's firm in this life."""
        return list(self.exchange.firm(FIRM).log.after(0))

    def carry_out(self, message: ToVenue) -> None:
        """A request of the engine arrives."""
        self.local.advance(self.world.now_ns)
        self.local.dispatch(self.core.handle(FIRM, message, self.world.now_ns))

    def others_trade(self) -> None:
        """Somebody sends an order that meets what is in the book."""
        chance = self.world.chance
        self._other_orders += 1
        symbol = chance.choice(self.instruments).symbol
        side = chance.choice(list(Side))
        price = 10_000 + chance.randint(-60, 60) * 2 + side.sign * 40
        time_in_force = TimeInForce.IOC if chance.random() < 0.7 else TimeInForce.DAY
        order = NewOrder(
            f"{self.lives}-{self._other_orders}", "THEM", symbol, side, OrderType.LIMIT, time_in_force, chance.randint(1, 15) * 10, price
        )  # fmt: skip
        told = self.exchange.handle(OTHERS, order, self.world.now_ns)
        self.local.dispatch(self.core.tell(told, self.world.now_ns))


class SlowLink:
    """A :class:`~toucan.venue.link.VenueLink`: requests take a while, and may be lost with the connection, or with the engine, on the way."""

    def __init__(self, venue: SimulatedVenue) -> None:
        self._world = venue.world
        self._venue = venue
        self._inner = LocalVenueLink(venue.local, FIRM)
        self._last_due_ns = 0
        #: Goes up when what is on the way is lost.
        self.losses = 0

    def resume_from(self, life: str, venue_seq: int) -> None:
        self._inner.resume_from(life, venue_seq)

    def start(self, deliver: Deliver) -> None:
        def passed_on(messages: list[VenueEvent]) -> bool:
            for message in messages:
                if isinstance(message, Connected):
                    self._venue.connection += 1
                if isinstance(message, (Connected, Disconnected)):
                    self._world.say(f"{self._venue.name}: {message}")
            return deliver(messages)

        self._inner.start(passed_on)

    def send(self, messages: Sequence[ToVenue]) -> bool:
        self._world.point("send")
        if not self._inner.send([]):
            return False
        for message in messages:
            self._world.say(f"to {self._venue.name}: {message}")
            if isinstance(message, (NewOrder, ReplaceOrder)):
                self._venue.handed_over[message.cl_ord_id] += 1
                if self._venue.handed_over[message.cl_ord_id] > 1:
                    raise Violation(f"{type(message).__name__} {message.cl_ord_id} was sent twice")
            delay_ns = self._world.between(10_000, 3 * MS)
            due_ns = max(self._world.now_ns + delay_ns, self._last_due_ns)
            self._last_due_ns = due_ns
            self._world.after(due_ns - self._world.now_ns, _Arrival(self, self._venue, message))
            self._world.point("sent one")
        return True

    def reconnect(self) -> None:
        self._may_lose()
        self._inner.reconnect()

    def stop(self) -> None:
        """The process is gone."""
        self._may_lose()
        self._inner.stop()

    def _may_lose(self) -> None:
        """What was handed over to the host may still arrive, or not."""
        self.losses += self._world.happens(0.5)


class _Arrival:
    """Something on its way; it is dropped if another connection has begun by then, as exchanges do."""

    def __init__(self, link: SlowLink, venue: SimulatedVenue, message: ToVenue) -> None:
        self._link = link
        self._venue = venue
        self._message = message
        self._sent_in = (venue.connection, link.losses)

    def __call__(self) -> None:
        if self._sent_in == (self._venue.connection, self._link.losses):
            self._venue.carry_out(self._message)
        else:
            self._venue.world.counts["requests lost on the way"] += 1
