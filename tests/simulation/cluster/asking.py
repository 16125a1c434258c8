"""What a host asks of others: whom, when a second one too, and what becomes of the answers. Follows ``cashy.master.routes``, by the real rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cashy.core.candidates import SLOW_MARGIN_S
from cashy.core.hedging import DELAY_MIN_S, Hedging, Refusal
from cashy.limits import LOOK_AGAIN_S_MAX
from cashy.master.sources import Sources

from .events import NS
from .fill import Attempt, Fill, SecondPlace
from .hot import HotBlocks
from .network import NOTICED_NS, SILENT_NS
from .plugs import HOT_BLOCKS

if TYPE_CHECKING:
    from cashy.master.lanes import Lane

    from .host import Host

__all__ = ["Asking"]

_ORIGIN = "origin"


class Asking:
    """One host's requests to others."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._world = host.world
        self._events, self._counts = host.world.events, host.world.measures.counts
        self._block_ns = host.world.shape.block_ns(host.world.shape.nic_bytes_s)
        self._in_free_ns = 0
        self.hedging = Hedging(host.world.shape.hedge_budget)
        self.sources = Sources(self.hedging)
        self.hot = HotBlocks(host) if HOT_BLOCKS is not None and host.world.shape.spreads_hot_blocks else None
        #: Reads asked twice, and reads that others have answered.
        self.hedged = self.succeeded = 0
        #: Hosts that were found unreachable.
        self.lost: set[int] = set()
        #: What is under way at each other host, in the order of asking.
        self._open: dict[int, dict[Attempt, None]] = {}

    @property
    def unearned(self) -> float:
        """Reads asked twice beyond what those that others have answered allow."""
        return self.hedged - self.hedging.budget * self.succeeded

    # --- whom ---

    def peers_for(self, block: int) -> list[int]:
        """As ``cashy.master.cluster.Cluster.peers_for``: home and next hosts, up to this one, without those that are not worth trying."""
        chosen: list[int] = []
        host, tried = self._host, self._world.shape.peers_tried
        ranked = host.hosts.ranked(block)
        while True:
            for number in ranked:
                if number == host.number or len(chosen) == tried:
                    return chosen
                if number not in chosen and self.is_worth_trying(number):
                    chosen.append(number)
            if len(ranked) >= len(host.hosts.numbers):
                return chosen
            ranked = host.hosts.ranked(block, 4 * len(ranked))

    def plan(self, fill: Fill) -> None:
        """Puts the hosts to ask in the order of what they are expected to take (``Routes.plan_for``)."""
        if self.hedging.budget:
            self._order(fill)
        if self.hot is not None:
            self.hot.spread(fill)

    def _order(self, fill: Fill) -> None:
        for number in fill.peers:
            self._take_signs(number)
        if any(self._is_silent(number) for number in fill.peers):
            fill.peers.sort(key=self._is_silent)
            return
        names, now_s = [str(number) for number in fill.peers], self._events.now_ns / NS
        crowd = self._host.at_origins.crowd
        ordered = self.sources.in_order(names, _ORIGIN, now_s, crowd=crowd)
        if ordered == names:
            return
        if fill.is_demand and self.sources.wants_probe(names, _ORIGIN, now_s, crowd=crowd):
            self._counts["slow_peers_probed"] += 1
            fill.is_probe = True
            return
        self._counts["slow_peers_avoided"] += 1
        fill.peers = [int(name) for name in ordered]

    def _is_silent(self, other: int) -> bool:
        """Whether it has given no sign of life since something was asked of it (``Peer.is_silent``)."""
        if self._world.network.reaches(self._host.number, other):
            return False
        oldest = next(iter(self._open.get(other, ())), None)
        return oldest is not None and self._events.now_ns - oldest.started_ns >= SILENT_NS

    def is_worth_trying(self, other: int) -> bool:
        """What this host believes of another."""
        network = self._world.network
        if not network.is_troubled:
            return True
        now_ns, own = self._events.now_ns, self._host.number
        if network.reaches(own, other):
            if other not in self.lost:
                return True
            if network.is_back_for(own, other, now_ns):
                self.lost.discard(other)
                return True
            return False
        if other not in self.lost and network.is_noticed_idly(own, other, now_ns):
            self.lost.add(other)
        return other not in self.lost

    # --- asking ---

    def ask(self, fill: Fill, lane: Lane) -> None:
        """The next host, for a fill that has a place."""
        attempt = self._ask(fill, fill.peers.pop(0), lane, fill)
        if fill.is_demand and self.hedging.budget:
            late_after_s = 0.0 if fill.is_probe else self.sources.late_after_s(str(attempt.peer))
            self._await_sign(attempt, late_after_s)

    def _await_sign(self, attempt: Attempt, late_after_s: float) -> None:
        self._events.at(self._events.now_ns + int(late_after_s * NS), self._is_late, attempt, late_after_s)

    def _ask(self, fill: Fill, peer: int, lane: Lane, place: Fill | SecondPlace) -> Attempt:
        now_ns = self._events.now_ns
        attempt = Attempt(self._host, fill, peer, now_ns, lane, place)
        fill.attempts.append(attempt)
        attempt.copies, attempt.is_final = fill.copies, fill.is_final
        # Who is asked after a holder of copies is the home, which must answer then.
        fill.copies, fill.is_final = 0, fill.is_final or fill.copies > 0
        if self.hot is not None:
            self.hot.under_way[peer] += 1
        other = self._world.hosts[peer]
        other.serving.asked[attempt] = None
        self._counts["peer_reads"] += 1
        self._open.setdefault(peer, {})[attempt] = None
        self.sources.asked(str(peer), attempt, now_ns / NS)
        if self._world.network.reaches(self._host.number, peer):
            self._events.at(now_ns + self._world.times.network_ns, other.serving.serve, attempt)
        else:
            self._events.at(now_ns + NOTICED_NS, self.lose, attempt)
        return attempt

    # --- two at once ---

    def _is_late(self, attempt: Attempt, late_after_s: float) -> None:
        """The first host has given no sign in its time: the next source is asked beside it, if that is allowed (``Route._is_late``)."""
        fill, now_ns = attempt.fill, self._events.now_ns
        if attempt.is_over or fill.is_done or fill.second is not None or 0 < attempt.sign_ns <= now_ns:
            return
        host = self._host
        name, lane = (str(fill.peers[0]), host.at_peers) if fill.peers else ("", host.at_origins)
        place = SecondPlace(fill.size_bytes)
        is_silent = self._is_silent(attempt.peer)
        refusal = self.hedging.refusal(
            name,
            now_ns / NS,
            is_waiting=0 < attempt.waiting_ns <= now_ns,
            is_sending=attempt.is_sending,
            is_silent=is_silent,
        )
        if refusal is None and not lane.try_enter(place):
            refusal = Refusal.OVERLOAD
        if refusal is not None:
            self._counts[f"hedges_refused_{refusal.value}"] += 1
            again_s = max(late_after_s, min(LOOK_AGAIN_S_MAX, 2 * max(late_after_s, DELAY_MIN_S)))
            self._await_sign(attempt, again_s)  # it may be allowed by then, or the host silent
            return
        self._counts["hedges"] += 1
        self.hedged += not is_silent
        self.hedging.started(name, is_silent=is_silent)
        fill.second = name, lane, place
        if attempt.sign_ns:
            self._events.at(attempt.sign_ns, self.head_came, attempt)
        if fill.peers:
            self._ask(fill, fill.peers.pop(0), lane, place)
        else:
            host.ask_origin(fill)

    def sign_is_due(self, attempt: Attempt) -> None:
        """``attempt.sign_ns`` is known now; with two under way, who is first has won by that."""
        if attempt.fill.second is not None:
            self._events.at(attempt.sign_ns, self.head_came, attempt)

    def head_came(self, attempt: Attempt) -> None:
        """There is one buffer: the other source is given up."""
        fill = attempt.fill
        if attempt.is_over or fill.is_done or fill.second is None:
            return
        self._counts["hedges_cancelled"] += 1
        if attempt.place is not fill:
            self._won(fill)
        for other in fill.attempts:
            if other is not attempt and not other.is_over:
                self._give_up(other)
        self._only_one(fill, keeping=attempt.place)

    def _won(self, fill: Fill) -> None:
        """The second source has."""
        self._counts["hedges_won"] += 1
        first = next((each for each in fill.attempts if not each.is_over and each.place is fill), None)
        if first is not None:
            now_s = self._events.now_ns / NS
            self.sources.lost(str(first.peer), first.started_ns / NS, now_s, was_probe=fill.is_probe)

    def origin_came(self, fill: Fill) -> None:
        """The origin has answered: it is the only source, or the second and the first to have all of the block."""
        if fill.second is not None:
            self._won(fill)
            self._counts["hedges_cancelled"] += 1

    def origin_failed(self, fill: Fill) -> bool:
        """The origin does not answer; whether another host is at it, too."""
        if fill.second is not None:
            self._only_one(fill)
        return any(not attempt.is_over for attempt in fill.attempts)

    def _only_one(self, fill: Fill, *, keeping: Fill | SecondPlace | None = None) -> None:
        assert fill.second is not None
        name, lane, place = fill.second
        self.hedging.ended(name)
        fill.second = None
        if place is not keeping:
            lane.leave(place)
            fill.wants_origin = fill.wants_origin and name != ""
        elif not name:
            fill.kept = lane, place

    # --- answers ---

    def lose(self, attempt: Attempt) -> None:
        """The other host is silent: the connection is given up, and all that was asked on it."""
        if attempt.is_over or not self._host.is_up:
            return
        self.lost.add(attempt.peer)
        for each in [
            each for each in self._world.hosts[attempt.peer].serving.asked if each.asker is self._host
        ]:
            self._next_source(each)

    def sent_on(self, attempt: Attempt) -> None:
        """The home has said that other hosts hold the block, too."""
        if attempt.is_over or not self._host.is_up or self.hot is None:
            return
        self._take_sign(attempt)
        self.hot.sent_on(attempt, attempt.hot)
        self._counts["peer_reads_sent_on"] += 1
        self._next_source(attempt)

    def refused(self, attempt: Attempt, is_slow_down: bool) -> None:
        """The other host cannot."""
        if not attempt.is_over and self._host.is_up:
            if is_slow_down:
                self.hedging.slow_down_seen(self._events.now_ns / NS)
            self._next_source(attempt)

    def _next_source(self, attempt: Attempt) -> None:
        fill = attempt.fill
        self.end(attempt)
        self._counts["peer_reads_failed"] += 1
        if fill.is_done:
            return
        if fill.second is not None:  # the other one goes on alone
            self._only_one(fill, keeping=fill.second[2] if attempt.place is fill else None)
            if attempt.place is fill:
                attempt.lane.leave(fill)
            return
        attempt.lane.leave(attempt.place)
        fill.is_probe = False
        self._host.enter(fill, first=True)

    def arrived(self, attempt: Attempt) -> None:
        """The last byte would be here, if this host's network has kept up."""
        now_ns = self._events.now_ns
        self._in_free_ns = max(now_ns, self._in_free_ns + self._block_ns)
        if self._in_free_ns > now_ns:
            self._events.at(self._in_free_ns, self._taken, attempt)
        else:
            self._taken(attempt)

    def _taken(self, attempt: Attempt) -> None:
        if attempt.is_over:
            return
        fill = attempt.fill
        self._learn(attempt)
        self.end(attempt)
        if self.hot is not None:
            self.hot.told(attempt)
        self.hedging.succeeded()
        self.succeeded += 1
        self._counts["blocks_from_peer"] += 1
        attempt.lane.leave(attempt.place)
        self._host.done(fill, attempt.tier)

    def give_up_all(self, fill: Fill) -> None:
        """The fill is over: whatever is under way for it is not wanted any more, and its places are free."""
        for attempt in fill.attempts:
            if not attempt.is_over:
                self._give_up(attempt)
        if fill.second is not None:
            self._only_one(fill)

    def _give_up(self, attempt: Attempt) -> None:
        self._learn(attempt)
        self.end(attempt)
        self._counts["peer_reads_cancelled"] += 1
        attempt.lane.leave(attempt.place)

    def end(self, attempt: Attempt) -> None:
        """Nothing more comes of it."""
        if not attempt.is_over:
            attempt.is_over = True
            if self.hot is not None:
                self.hot.under_way[attempt.peer] -= 1
            del self._open[attempt.peer][attempt]
            self.sources.over(str(attempt.peer), attempt)
            serving = self._world.hosts[attempt.peer].serving
            serving.asked.pop(attempt, None)
            serving.link.drop(attempt)

    # --- what signs say ---

    def is_sending(self, peer: int) -> bool:
        """Whether bytes are coming from another host."""
        now_ns = self._events.now_ns
        return any(0 < each.sign_ns <= now_ns for each in self._open.get(peer, ()))

    def _take_signs(self, peer: int) -> None:
        """Of all that is under way at a host."""
        for attempt in self._open.get(peer, ()):
            self._take_sign(attempt)

    def _take_sign(self, attempt: Attempt) -> None:
        """Its first one, if that has come by now."""
        now_ns = self._events.now_ns
        signs = [at_ns for at_ns in (attempt.waiting_ns, attempt.sign_ns) if 0 < at_ns <= now_ns]
        if attempt.has_sign or not signs:
            return
        attempt.has_sign = True
        took_s = (min(signs) - attempt.started_ns) / NS
        others = (each.sign_ns for each in self._open[attempt.peer] if each is not attempt)
        is_behind_others = took_s > SLOW_MARGIN_S and any(0 < sign_ns <= now_ns for sign_ns in others)
        self.sources.gave_sign(str(attempt.peer), attempt, None if is_behind_others else took_s, now_ns / NS)

    def _learn(self, attempt: Attempt) -> None:
        """From its first sign, or that it had none until now."""
        self._take_sign(attempt)
        if not attempt.has_sign:
            attempt.has_sign = True
            self.sources.gave_none(str(attempt.peer), (self._events.now_ns - attempt.started_ns) / NS)
