"""A cluster whose hosts rush at few blocks: what the busiest host sends, with and without copies of hot blocks; and what is left when the rush is
over.

Placement, heat, hints and choice are the real ones (``cashy.core``); every host keeps the blocks it has read for a while, as it does in its arena.
A transfer takes ``SEND_S`` of the sender's link, one after the other; an asker sees how many of its own a holder has to finish.

``python -m tests.simulation.hot_blocks`` prints the figures of docs/membership.md.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from cashy.core.hot_blocks import Candidate, Heat, Hints, choose, is_sent_on
from cashy.core.placement import Member, Ranking, place_key

__all__ = ["Outcome", "Size", "burst", "main", "play", "zipf"]

#: A block of 4 MiB over a link of 10 Gbit/s.
SEND_S = 0.0034
_NS = 1_000_000_000


@dataclass(frozen=True)
class Size:
    """``kept``: blocks of others that a host keeps; ``asks`` in all, ``asks_per_s`` of all hosts together."""

    hosts: int = 300
    blocks: int = 20_000
    kept: int = 50
    asks: int = 150_000
    asks_per_s: float = 6_000.0


@dataclass
class Outcome:
    """What came of it. ``sent``: blocks that each host sent to others."""

    sent: Counter[str] = field(default_factory=Counter)
    asks: int = 0
    redirects: int = 0
    waited_s: list[float] = field(default_factory=list)
    hot_at_peak: int = 0
    hot_at_end: int = 0

    @property
    def hottest_share(self) -> float:
        """Of all blocks sent, those of the busiest host."""
        return max(self.sent.values()) / sum(self.sent.values())

    def slowest_s(self, share: float = 0.99) -> float:
        """How long a read waits for its sender, but for the worst."""
        return sorted(self.waited_s)[int(len(self.waited_s) * share)]


class _Host:
    def __init__(self, name: str) -> None:
        self.name = name
        self.heat, self.hints = Heat(), Hints()
        self.kept: OrderedDict[int, None] = OrderedDict()
        self.free_at = 0.0


class _Cluster:
    def __init__(self, size: Size, *, spreads: bool) -> None:
        names = [f"h{number}" for number in range(size.hosts)]
        self.size, self.spreads = size, spreads
        self.hosts = {name: _Host(name) for name in names}
        self.names = names
        self.ranking = Ranking(Member(name) for name in names)
        self.keys = [place_key("s", "k", number) for number in range(size.blocks)]
        self.homes = [self.ranking.first(key, 1)[0] for key in self.keys]
        self.outcome = Outcome()

    def read(self, name: str, block: int, now: float) -> None:
        host, home = self.hosts[name], self.hosts[self.homes[block]]
        self.outcome.asks += 1
        if home is host or block in host.kept:
            host.kept[block] = None
            host.kept.move_to_end(block)
            return
        ready_at = self._from_holder(host, home, block, now) if self.spreads else self._send(home, now)
        self.outcome.waited_s.append(ready_at - now)
        self._keep(host, block)

    def _from_holder(self, host: _Host, home: _Host, block: int, now: float) -> float:
        key, now_ns = self.keys[block], int(now * _NS)
        copies = host.hints.copies(key, now_ns)
        holders = self.ranking.first(key, max(1, copies))
        chosen = home.name
        if copies > 1 and host.name not in holders:
            chosen = choose([Candidate(name, 1.0, 0) for name in holders], key, host.name)[0]
        if chosen == home.name:
            hot = home.heat.asked(key, host.name, copies, self.size.hosts, now_ns)
            host.hints.note(key, hot, now_ns)
            holders = self.ranking.first(key, max(1, hot.copies))
            if (
                not copies
                and hot.copies > 1
                and host.name not in holders
                and is_sent_on(key, host.name, hot.copies)
            ):
                self.outcome.redirects += 1
                order = choose([Candidate(name, 1.0, 0) for name in holders], key, host.name)
                chosen = next(name for name in order if name != home.name)
        holder = self.hosts[chosen]
        if holder is not home and block not in holder.kept:
            now = self._send(home, now)
            self._keep(holder, block)
        elif holder is not home:
            holder.kept.move_to_end(block)
        return self._send(holder, now)

    def _send(self, sender: _Host, now: float) -> float:
        self.outcome.sent[sender.name] += 1
        sender.free_at = max(sender.free_at, now) + SEND_S
        return sender.free_at

    def _keep(self, host: _Host, block: int) -> None:
        host.kept[block] = None
        host.kept.move_to_end(block)
        if len(host.kept) > self.size.kept:
            host.kept.popitem(last=False)

    def hot_blocks(self, now: float) -> int:
        return sum(host.heat.hot_blocks(self.size.hosts, int(now * _NS)) for host in self.hosts.values())


def zipf(size: Size, draw: random.Random, exponent: float = 1.1) -> Iterator[tuple[float, str, int]]:
    """Time, host and block of each ask: all hosts want the same few."""
    sums = list(itertools.accumulate(1 / (rank + 1) ** exponent for rank in range(size.blocks)))
    now = 0.0
    for _ in range(size.asks):
        now += draw.expovariate(size.asks_per_s)
        yield now, f"h{draw.randrange(size.hosts)}", bisect.bisect(sums, draw.random() * sums[-1])


def burst(size: Size, draw: random.Random, blocks: int = 16) -> Iterator[tuple[float, str, int]]:
    """A job starts on all hosts within a third of a second: each reads the same blocks one after the other."""
    asks = []
    for number in range(size.hosts):
        start = draw.random() * 0.3
        asks += [(start + block * 0.02, f"h{number}", block) for block in range(blocks)]
    yield from sorted(asks)


def play(size: Size, asks: Iterator[tuple[float, str, int]], *, spreads: bool) -> Outcome:
    """All asks, then a minute of silence."""
    cluster = _Cluster(size, spreads=spreads)
    now, looked_at = 0.0, 0.0
    for now, host, block in asks:
        cluster.read(host, block, now)
        if now - looked_at > 1:
            looked_at = now
            cluster.outcome.hot_at_peak = max(cluster.outcome.hot_at_peak, cluster.hot_blocks(now))
    cluster.outcome.hot_at_end = cluster.hot_blocks(now + 60)
    return cluster.outcome


def main() -> None:
    """Prints the figures."""
    size = Size()
    for name, make in (("zipf", zipf), ("burst", burst)):
        for spreads in (False, True):
            outcome = play(size, make(size, random.Random(1)), spreads=spreads)
            sent = sum(outcome.sent.values())
            print(
                f"{name:6} copies: {spreads!s:5} sent {sent:8,}  busiest host {max(outcome.sent.values()):7,} ({outcome.hottest_share:.2%}, "
                f"{outcome.hottest_share * size.hosts:.1f} times its part)  p99 wait {outcome.slowest_s() * 1000:8,.1f} ms  worst "
                f"{max(outcome.waited_s) * 1000:8,.1f} ms  sent on {outcome.redirects:,}  hot {outcome.hot_at_peak} -> {outcome.hot_at_end}"
            )


if __name__ == "__main__":
    main()
