"""Routes: from whom a block is read, one after the other, until its bytes are here.

A route leads over the block's home and the hosts after it to the origin. Who else may have the block in memory comes before them
(:mod:`cashy.master.holders`), or, at the home itself, before the origin. Only the origin's own word is final: whatever a peer answers but bytes leads
to the next source, which goes on at the byte where the peer stopped, if it has the same version. To the fill that waits, a route is one read
of one origin: one ``begin``, one ``detached``, one outcome.

A host that gives no sign of a read in its usual time has the next source asked beside it (:mod:`cashy.core.hedging`). There is one
buffer, so there is one race: whose head comes first gets it, and the other is given up before it could write a byte.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aviary.cashy.v1.control_pb2 import Tier
from cashy.core.candidates import SLOW_MARGIN_S
from cashy.core.hedging import DELAY_MIN_S, Hedging, Refusal
from cashy.core.names import Resolved
from cashy.core.pace import Pace
from cashy.core.trace import Trace
from cashy.errors import (
    AccessDenied,
    CashyError,
    DeadlineExceeded,
    NoSuchBucket,
    NoSuchObject,
    OriginInvalid,
    SlowDown,
    VersionChanged,
)
from cashy.limits import HOLDER_READS_MAX, HOLDER_SILENCE_S, LOOK_AGAIN_S_MAX, LOOP_LATE_S, PEER_FILLS_MAX
from cashy.master.cluster import Cluster
from cashy.master.counters import Counters
from cashy.master.holders import Ask, Holders
from cashy.master.lanes import Lane, LaneUser
from cashy.master.legs import Leg, SecondPlace
from cashy.master.read_log import ReadLog
from cashy.master.sources import Sources
from cashy.master.tracing import current_trace
from cashy.origin.base import BlockRead, BlockSink, ObjectMeta, Origin
from cashy.peer.client import Peer
from cashy.peer.errors import PeerElsewhere, PeerTimeout
from cashy.peer.service import PeerRead

__all__ = ["Route", "Routes", "Target"]

#: What a peer says of the object itself: other peers would say the same, so the origin is asked next.
_ABOUT_THE_OBJECT = (NoSuchObject, NoSuchBucket, AccessDenied, VersionChanged)


@dataclass(frozen=True, slots=True)
class Target:
    """Block ``index`` at ``place``. ``version`` None takes what there is, and then ``url`` is the object's name."""

    place: Resolved
    source_key: str
    index: int
    version: str | None
    url: str = ""
    size_bytes: int | None = None


class Routes:
    """The ways of one host: its origins, and its cluster if it is in one.

    ``origin_paces``: bandwidth limits of origins, by name; ``hedge_budget``: see :class:`~cashy.core.hedging.Hedging`; ``holders``: who else
    has blocks in memory, None: nobody is asked for that.
    """

    def __init__(
        self, origins: Mapping[str, Origin], cluster: Cluster | None, counters: Counters, *, block_bytes: int, fills_max: int,
        origin_paces: Mapping[str, Pace] | None = None, hedge_budget: float = 0.0,
        holders: Holders | None = None,
    ) -> None:  # fmt: skip
        self.origins = origins
        self.cluster = cluster
        self.counters = counters
        self.block_bytes = block_bytes
        self.hedging = Hedging(hedge_budget)
        self.sources = Sources(self.hedging)
        self.at_origins = Lane(fills_max, paces=origin_paces, quantum_bytes=block_bytes)
        self.at_peers = Lane(PEER_FILLS_MAX, quantum_bytes=block_bytes)
        #: Of what others have in memory: such reads wait for nobody's place, so two hosts that ask each other come to an end.
        self.at_holders = Lane(HOLDER_READS_MAX, quantum_bytes=block_bytes)
        self.holders = holders
        self.log = ReadLog()

    def asks_for(
        self, target: Target, *, forward: bool, is_copy: bool, may_probe: bool
    ) -> tuple[list[Ask], bool]:
        """Whom to ask for a block's bytes before the origin, and whether the first is asked to see how it does.

        Without ``forward`` nobody who might ask somebody else; ``is_copy``: this host shall hold a copy of a hot block.
        """
        place = (target.place.origin, target.source_key, target.index)
        if forward:
            peers, is_probe = self.plan_for(target, may_probe=may_probe)
            if peers or self.holders is None:
                asks = (
                    [Ask(peer) for peer in peers]
                    if self.holders is None
                    else self.holders.in_front(*place, peers)
                )
                return asks, is_probe
        if self.holders is None:
            return [], False
        old_home = self.holders.old_home_of(*place)
        return old_home or (self.holders.home_of_copy(*place) if is_copy else []), False

    def lane_of(self, ask: Ask | None) -> Lane:
        """Where a place to ask somebody is waited for; None: the origin."""
        if ask is None:
            return self.at_origins
        return self.at_holders if ask.only_here else self.at_peers

    def peers_for(self, target: Target) -> Sequence[Peer]:
        """Hosts to ask before the origin; none for a block whose home is here."""
        return self.plan_for(target, may_probe=False)[0]

    def plan_for(self, target: Target, *, may_probe: bool) -> tuple[Sequence[Peer], bool]:
        """The same, and whether the first is asked to see how it does, so that nobody should wait for it."""
        if self.cluster is None:
            return (), False
        place = target.place
        peers = self.cluster.peers_for(place.origin, target.source_key, target.index)
        names = [peer.name for peer in peers]
        if any(
            peer.is_silent for peer in peers
        ):  # by the time that the others have been asked it may have gone on
            peers = sorted(peers, key=lambda peer: peer.is_silent)
            return peers, False
        now = time.monotonic()
        crowd = self.at_origins.crowd
        ordered = self.sources.in_order(names, place.origin, now, crowd=crowd)
        if ordered == names:
            return peers, False
        if may_probe and self.sources.wants_probe(names, place.origin, now, crowd=crowd):
            self.counters.add("slow_peers_probed")
            return peers, True
        if may_probe:
            self.counters.add("slow_peers_avoided")
        by_name = dict(zip(names, peers, strict=True))
        return [by_name[name] for name in ordered], False

    @property
    def takes_wishes(self) -> bool:
        """Whether there is room for one more prefetch."""
        return self.at_origins.takes_wishes and self.at_peers.takes_wishes

    def check_room(self, owner: str = "") -> None:
        """Raises ``SlowDown`` if too many reads wait already for one more of this user."""
        try:
            self.at_origins.check_room(owner)
            self.at_peers.check_room(owner)
            self.at_holders.check_room(owner)
        except SlowDown:
            self.counters.add("fills_refused")
            self.hedging.slow_down_seen(time.monotonic())
            raise

    @property
    def active(self) -> int:
        """Reads under way."""
        return self.at_origins.active + self.at_peers.active + self.at_holders.active

    @property
    def waiting(self) -> int:
        """Reads waiting for a place."""
        return self.at_origins.waiting + self.at_peers.waiting + self.at_holders.waiting


class Route:
    """One block on its way."""

    __slots__ = (
        "_asks", "_buffer", "_check_room", "_ended", "_first", "_hedge_refusal", "_is_attached", "_is_probe", "_lane", "_on_done", "_refused",
        "_routes", "_second", "_sink", "_target", "_timer", "_trace", "_winner", "asked_at_ns", "is_demand", "is_guest", "meta", "owner", "started",
        "tier", "wanted_until", "watermark",
    )  # fmt: skip

    def __init__(
        self, routes: Routes, target: Target, sink: BlockSink, on_done: Callable[[CashyError | None], None],
        *, is_demand: bool, forward: bool, owner: str = "", is_copy: bool = False, check_room: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self._routes = routes
        #: Raises ``ArenaFull`` where the block would find no room, so that nobody need be asked for it.
        self._check_room = check_room
        self._target = target
        self._sink = sink
        self._on_done = on_done
        self.is_demand = is_demand
        #: On whose behalf it is read.
        self.owner = owner
        self._asks, self._is_probe = routes.asks_for(
            target, forward=forward, is_copy=is_copy, may_probe=is_demand
        )
        #: Whether another host is the block's home.
        self.is_guest = is_copy or any(not ask.only_here for ask in self._asks)
        #: Until when somebody wants it (CLOCK_MONOTONIC, seconds).
        self.wanted_until = math.inf
        self._lane: Lane | None = None  # where the route itself has, or waits for, a place
        self._first: Leg | None = None
        self._second: Leg | None = None
        self._winner: Leg | None = None  # whose head has come
        self._timer: asyncio.TimerHandle | None = None
        self._buffer: memoryview | None = None
        self._is_attached = False
        self._refused: CashyError | None = None
        self._hedge_refusal: Refusal | None = None  # the last one
        self._ended = False
        self.started = False
        self.meta: ObjectMeta | None = None
        self.watermark = 0
        #: Where the bytes come from.
        self.tier = Tier.TIER_ORIGIN
        self.asked_at_ns = 0
        self._trace = current_trace()

    def follow(self, trace: Trace | None) -> None:
        """Somebody who traces waits for it too: what comes from now on is noted, unless it is already, for him or for another."""
        if trace is None or trace is self._trace:
            return
        trace.note(time.monotonic_ns(), self._target.index, "joins", self.peer or self._target.place.origin)
        if self._trace is None:
            self._trace = trace

    def note(self, what: str, where: str = "", error: CashyError | None = None) -> None:
        """An event of this block, if somebody traces it."""
        if self._trace is not None:
            detail = f"{error.code}: {error.message}" if error is not None else ""
            self._trace.note(time.monotonic_ns(), self._target.index, what, where, detail)

    def launch(self) -> None:
        """Starts, or queues."""
        self._enter(first=False)

    def also_for(self, owner: str, wanted_until: float) -> None:
        """Somebody else waits for the block too, up to then."""
        self.wanted_until = max(self.wanted_until, wanted_until)
        if self._lane is not None and not self.started:
            self._lane.also_for(self, owner)

    def _enter(self, *, first: bool) -> None:
        self.started = False
        self._lane = self._routes.lane_of(self._next)
        self.note("waits", "peers" if self._asks else "origins")
        self._lane.enter(self, first=first)

    @property
    def _next(self) -> Ask | None:
        """Whom it will ask next; None: the origin."""
        return self._asks[0] if self._asks else None

    @property
    def is_at_origin(self) -> bool:
        """Whether the origin is being asked, or a place there waited for: what comes will be the origin's own."""
        if self._ended:
            return False
        if self._winner is not None:
            return self._winner.peer is None
        legs = (self._first, self._second)
        return self._lane is self._routes.at_origins or any(
            leg is not None and leg.peer is None for leg in legs
        )

    @property
    def peer(self) -> str:
        """The host asked first at the moment, by name; empty: none, or the origin."""
        return "" if self._first is None else self._first.name

    def is_asking(self, host: str) -> bool:
        """Whether this host's answer is being waited for, and that may wait for others."""
        return any(
            leg is not None and leg.name == host and not leg.is_of_memory
            for leg in (self._first, self._second)
        )

    @property
    def last_sign(self) -> float:
        """When the present source was asked, or another host last said that it is at it (CLOCK_MONOTONIC, seconds)."""
        legs = [leg for leg in (self._first, self._second) if leg is not None]
        return max([self.asked_at_ns / 1e9, *(leg.heard_at for leg in legs)])

    # --- LaneUser ---

    @property
    def size_bytes(self) -> int:
        """What is missing, as far as it is known."""
        block_bytes, target = self._routes.block_bytes, self._target
        if self._buffer is not None:
            length = len(self._buffer)
        elif target.size_bytes is not None:
            length = max(0, min(block_bytes, target.size_bytes - target.index * block_bytes))
        else:
            length = block_bytes
        return length - self.watermark

    @property
    def source(self) -> str:
        """Whom it will ask next."""
        return self._asks[0].peer.name if self._asks else self._target.place.origin

    def start(self) -> None:
        """Asks the next source for what is missing, unless nobody wants it any more."""
        self.started = True
        self._refused = None
        assert self._lane is not None
        if time.monotonic() >= self.wanted_until:
            self._routes.counters.add("fills_past_deadline")
            asyncio.get_running_loop().call_soon(self._finish, self._past_deadline())
            return
        if self._buffer is None and self._check_room is not None:
            try:
                self._check_room()
            except CashyError as error:
                asyncio.get_running_loop().call_soon(self._finish, error)
                return
        source, due_bytes = self.source, self.size_bytes
        ask = self._asks.pop(0) if self._asks else None
        self._first = leg = self._ask(ask, self._lane, self, source, due_bytes)
        self.tier = Tier.TIER_ORIGIN if ask is None else Tier.TIER_PEER
        if ask is not None and self._buffer is None and self.is_demand and self._routes.hedging.budget:
            late_after_s = 0.0 if self._is_probe else self._routes.sources.late_after_s(leg.name)
            self._await_sign(late_after_s)

    def _past_deadline(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"nobody waited any longer for block {self._target.index} of {self._target.source_key}"
        )

    # --- legs ---

    def _ask(self, ask: Ask | None, lane: Lane, place: LaneUser, source: str, due_bytes: int) -> Leg:
        now = time.monotonic()
        peer = None if ask is None else ask.peer
        self.asked_at_ns = int(now * 1e9)
        leg = Leg(
            self, peer, lane, place, source=source, due_bytes=due_bytes, base=self.watermark, asked_at=now
        )
        self.note("asked", self._where(leg))
        if ask is None:
            self._routes.counters.add("origin_reads")
            leg.ask(self._routes.origins[self._target.place.origin], BlockRead(**self._range(leg)))
            return leg
        if ask.only_here:
            self._routes.counters.add("holder_reads")
        else:
            self._routes.counters.add("peer_reads")
        self._routes.sources.asked(ask.peer.name, leg, now)
        cluster = self._routes.cluster
        assert cluster is not None
        patience_s = cluster.read_timeout_s
        read = PeerRead(
            **self._range(leg),
            origin=self._target.place.origin,
            url=self._target.url,
            size_bytes=self._target.size_bytes,
            silence_s=min(HOLDER_SILENCE_S, patience_s) if ask.only_here else patience_s,
            deadline_s=min(cluster.read_total_s, self.wanted_until - now),
            only_here=ask.only_here,
            copies=ask.copies,
            is_final=ask.is_final,
            caller=self.owner,
            trace_id=self._trace.trace_id if self._trace is not None else b"",
        )
        leg.ask(ask.peer, read)
        return leg

    def _range(self, leg: Leg) -> dict[str, Any]:
        """The bytes still missing, as arguments of a read."""
        target, block_bytes = self._target, self._routes.block_bytes
        return {
            "bucket": target.place.bucket,
            "key": target.place.key,
            "offset": target.index * block_bytes + self.watermark,
            "length": (block_bytes if self._buffer is None else len(self._buffer)) - self.watermark,
            "expected_version": target.version if self.meta is None else self.meta.version,
            "sink": leg,
            "on_done": lambda _read, error: self._leg_done(leg, error),
            "on_retry": self._retried if self._trace is not None else None,
        }

    def _await_sign(self, late_after_s: float) -> None:
        loop = asyncio.get_running_loop()
        due_at = loop.time() + late_after_s
        self._timer = loop.call_at(due_at, self._is_late, due_at, late_after_s)

    def _is_late(self, due_at: float, late_after_s: float) -> None:
        """The first host has given no sign in its time: the next source is asked beside it, if that is allowed."""
        self._timer = None
        if asyncio.get_running_loop().time() - due_at > LOOP_LATE_S:
            self._await_sign(late_after_s)  # this host has not listened meanwhile, so silence says nothing
            return
        first, routes = self._first, self._routes
        if first is None or self._ended or self._second is not None or self._buffer is not None:
            return
        ask = self._next
        name = "" if ask is None else ask.peer.name
        lane = routes.lane_of(ask)
        place = SecondPlace(self.owner, self.size_bytes, self.source)
        refusal = routes.hedging.refusal(
            name,
            time.monotonic(),
            is_waiting=bool(first.waiting_since),
            is_sending=first.is_sending,
            is_silent=first.is_silent,
        )
        if refusal is None and not lane.try_enter(place):
            refusal = Refusal.OVERLOAD
        if refusal is not None:
            if refusal is not self._hedge_refusal:
                self._hedge_refusal = refusal
                routes.counters.add(f"hedges_refused_{refusal.value}")
            # It may be allowed by then, or the host silent: a WAITING one, too.
            self._await_sign(max(late_after_s, min(LOOK_AGAIN_S_MAX, 2 * max(late_after_s, DELAY_MIN_S))))
            return
        if ask is not None:
            self._asks.pop(0)
        routes.counters.add("hedges")
        routes.counters.add("hedges_of_silent", first.is_silent)
        self.note("hedges", self._where(first))
        routes.hedging.started(name, is_silent=first.is_silent)
        self._second = self._ask(ask, lane, place, place.source, place.size_bytes)

    def leg_begins(self, leg: Leg, meta: ObjectMeta, length: int) -> memoryview:
        """The head of a source's answer: gives the fill's buffer, from where the bytes are missing. The other leg has lost then."""
        self._has_sign(leg)
        self.note("head", self._where(leg))
        if self._refused is not None:
            raise self._refused
        if self._buffer is not None:
            self._check_rest(meta, length)
            self._winner = leg
            self._is_attached = True
            return self._buffer[self.watermark :]
        self._winner = leg
        self.tier = Tier.TIER_ORIGIN if leg.peer is None else Tier.TIER_PEER
        try:
            self._buffer = self._sink.begin(meta, length)
        except (VersionChanged, OriginInvalid):
            self._winner = None
            raise  # of a peer: the next source is asked
        except CashyError as error:
            self._refused = error
            raise
        self.meta = meta
        self._is_attached = True
        leg.lane.give_back(leg.source, leg.due_bytes - length)
        leg.due_bytes = length
        self._won(leg)
        return self._buffer

    def _check_rest(self, meta: ObjectMeta, length: int) -> None:
        assert self.meta is not None
        assert self._buffer is not None
        if meta.version != self.meta.version:
            raise VersionChanged(
                f"half of {self._target.source_key} came as version {self.meta.version}, now it is {meta.version}"
            )
        if length != len(self._buffer) - self.watermark:
            raise OriginInvalid(
                f"{length} bytes of {self._target.source_key} are offered where {len(self._buffer) - self.watermark} are missing"
            )

    def _won(self, leg: Leg) -> None:
        self._stop_timer()
        first, second = self._first, self._second
        if second is None or first is None:
            return
        self._routes.counters.add("hedges_cancelled")
        if leg is second:
            self._routes.counters.add("hedges_won")
            self._routes.sources.lost(first.name, first.asked_at, time.monotonic(), was_probe=self._is_probe)
        self._give_up(first if leg is second else second)
        self._only(leg)

    def _only(self, leg: Leg) -> None:
        """There is one leg again."""
        assert self._second is not None
        self._routes.hedging.ended(self._second.name)
        self._first, self._second = leg, None

    def leg_advanced(self, leg: Leg, watermark: int, crc: int | None) -> None:
        """More bytes are here."""
        if self._trace is not None and self.watermark == leg.base:
            self.note("first byte", self._where(leg))
        self.watermark = leg.base + watermark
        self._sink.advanced(self.watermark, None if leg.base else crc)

    def leg_detached(self) -> None:
        """The source will not write any more; the next one may, unless this was the last."""
        self._is_attached = False
        if self._ended:
            self._release()

    def _release(self) -> None:
        if self._buffer is not None and not self._is_attached:
            self._buffer = None
            self._sink.detached()

    def _has_sign(self, leg: Leg) -> None:
        """Learns from a leg's first sign."""
        if leg.has_sign:
            return
        leg.has_sign = True
        now = time.monotonic()
        took_s = (leg.waiting_since or now) - leg.asked_at
        if leg.peer is not None:
            is_behind_others = took_s > SLOW_MARGIN_S and leg.is_sending  # which says nothing of the host
            self._routes.sources.gave_sign(leg.name, leg, None if is_behind_others else took_s, now)
        else:
            self._routes.sources.of_origin(self._target.place.origin).add(took_s)

    def _had_none(self, leg: Leg) -> None:
        """Learns from a leg that is given up before its head came."""
        if leg.waiting_since:
            self._has_sign(leg)
        elif leg.peer is not None and not leg.has_sign:
            leg.has_sign = True
            self._routes.sources.gave_none(leg.name, time.monotonic() - leg.asked_at)

    def _give_up(self, leg: Leg) -> None:
        if not leg.is_over:
            self.note("dropped", self._where(leg))
            self._had_none(leg)
            self._is_over(leg)
            leg.cancel()
        leg.lane.leave(leg.place)

    def _is_over(self, leg: Leg) -> None:
        """Nothing more comes of a leg."""
        leg.is_over = True
        if leg.peer is not None:
            self._routes.sources.over(leg.name, leg)
        came = self.watermark - leg.base if leg is self._winner else 0
        leg.lane.give_back(leg.source, leg.due_bytes - came)

    # --- what people are told ---

    def _where(self, leg: Leg) -> str:
        """Who is asked, by name."""
        return leg.name or self._target.place.origin

    def _retried(self, error: CashyError, delay_s: float) -> None:
        if self._trace is not None:
            detail = f"{error.code}: {error.message}; again in {delay_s * 1000:.0f} ms"
            self._trace.note(
                time.monotonic_ns(), self._target.index, "retries", self._target.place.origin, detail
            )

    def _log_failure(self, leg: Leg, error: CashyError) -> None:
        """What says nothing of the object itself is somebody's trouble."""
        if isinstance(error, (NoSuchObject, NoSuchBucket, VersionChanged)):
            return
        target = self._target
        self._routes.log.warning(
            "source_failed",
            self._where(leg),
            url=target.url,
            origin=target.place.origin,
            key=target.source_key,
            block=target.index,
            peer=leg.name,
            code=error.code,
            error=error.message,
            trace=self._trace.trace_id.hex() if self._trace is not None else "",
        )

    # --- outcome ---

    def _leg_done(self, leg: Leg, error: CashyError | None) -> None:
        if self._buffer is not None and self.watermark == len(self._buffer) and leg.peer is not None:
            error = None  # all bytes are here and checked, whatever came after them
        if error is not None and not leg.is_of_memory and not isinstance(error, PeerElsewhere):
            self.note("failed", self._where(leg), error)
            self._log_failure(leg, error)
        if isinstance(error, SlowDown) and not isinstance(error, PeerElsewhere):
            self._routes.hedging.slow_down_seen(time.monotonic())
        if isinstance(error, PeerTimeout):
            self._had_none(leg)
        self._is_over(leg)
        other = self._first if leg is self._second else self._second
        if error is None or self._is_final(leg, error, other):
            if error is None and leg.peer is not None:
                self._routes.hedging.succeeded()
            self.tier = Tier.TIER_ORIGIN if leg.peer is None else Tier.TIER_PEER
            self._note_heat(leg)
            self._finish(error)
            return
        self._look_further(leg, error)
        self._winner = None
        leg.lane.leave(leg.place)
        if other is not None:
            self._only(other)
            return
        self._first = None
        self._stop_timer()
        self._enter(first=True)

    def _look_further(self, leg: Leg, error: CashyError) -> None:
        """Who is to be asked after a source that did not give the block."""
        counters, holders, target = self._routes.counters, self._routes.holders, self._target
        if isinstance(error, PeerElsewhere) and holders is not None:
            counters.add("peer_reads_sent_on")
            self.note("sent on", self._where(leg))
            place = (target.place.origin, target.source_key, target.index)
            self._asks = holders.elsewhere(*place, error.hot, leg.name) + self._asks
            return
        if leg.is_of_memory:
            counters.add("holder_reads_missed")
            return
        if leg.peer is not None:
            counters.add("peer_reads_failed")
        if isinstance(error, _ABOUT_THE_OBJECT):
            self._asks.clear()

    def _note_heat(self, leg: Leg) -> None:
        holders, read, target = self._routes.holders, leg.read, self._target
        if holders is not None and isinstance(read, PeerRead) and read.hot.copies:
            holders.note(target.place.origin, target.source_key, target.index, read.hot)

    def _is_final(self, leg: Leg, error: CashyError, other: Leg | None) -> bool:
        if self._refused is not None or self._is_attached:
            return True
        return leg.peer is None and (other is None or isinstance(error, _ABOUT_THE_OBJECT))

    def _finish(self, error: CashyError | None) -> None:
        if self._ended:
            return
        self._end()
        self.note("gave up" if error is not None else "arrived")
        self._on_done(error)

    def cancel(self) -> None:
        """Gives up: no outcome comes; ``detached`` does if ``begin`` was called."""
        if not self._ended:
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._stop_timer()
        first, second = self._first, self._second
        if first is not None and second is not None:
            self._routes.counters.add("hedges_cancelled")
            self._only(first)
            self._give_up(second)
        if first is not None:
            self._give_up(first)
        if self._lane is not None:
            self._lane.leave(self)
        self._release()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def fresh_until_ns(self) -> int | None:
        """Until when the peer vouches for what it said of the object (CLOCK_MONOTONIC), from the question on; None: the origin said it just now."""
        leg = self._winner or self._first
        if leg is not None and isinstance(leg.read, PeerRead):
            return int((leg.asked_at + leg.read.fresh_for_s) * 1e9)
        return None
