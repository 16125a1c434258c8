"""``python -m tests.simulation.demotion``: which blocks should be on the SSD when they leave memory? One host, one request at a time.

Eviction, demotion and the disk's admission are the real ones. The SSD is a plain first-in-first-out store that takes so many blocks for each one that
comes into memory; what it is offered while as many wait as may is dropped. Left out are sizes, pins and guests: what is compared is when blocks are
offered. Prints a table; docs/ssd-tier.md has it.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from tests.cashy import traces

from cashy.core.demotion import Demotion, edge
from cashy.core.disk_admission import DISK_BLOCK_BYTES_MIN, DiskAdmission
from cashy.core.eviction import make_policy
from cashy.core.uses import uses

from .copies import BATCH_SHARE, EVICTION_BATCH_SLOTS, HARVEST_EVERY, fingerprint

__all__ = ["RULES", "WORKLOADS", "Outcome", "main", "play", "requests_of"]

#: When a block is offered: as it comes, as it goes (its slot is kept until it is written or refused), or ahead of that.
RULES = ("as it comes", "as it goes", "before it goes")
WORKLOADS = ("zipf", "zipf and scans", "epochs")
_BLOCK_BYTES = DISK_BLOCK_BYTES_MIN

#: Blocks that are being written or wait for it, at most.
WRITES_WAITING_MAX = 2


@dataclass(frozen=True)
class Outcome:
    """Shares of the reads counted: found in memory, on the SSD, at the origin; writes for each read; and of what went, how much without having been
    offered; ``stalls``: reads that would have waited for the disk to get room, as a share.
    """

    memory: float
    ssd: float
    origin: float
    writes: float
    unoffered: float
    stalls: float


class _Ssd:
    def __init__(self, capacity: int, per_insertion: float, *, has_admission: bool) -> None:
        self._admission = DiskAdmission(1.0) if has_admission else None
        self.blocks: OrderedDict[int, None] = OrderedDict()
        self.waiting: deque[tuple[int, int]] = deque()
        self.writes = 0
        self._capacity = capacity
        self._per_insertion = per_insertion
        self._credit = 0.0

    def _admits(self, block: int, uses: int) -> bool:
        digest = fingerprint(block).to_bytes(8, "little") * 2
        return self._admission is None or self._admission.is_worth_it(digest, _BLOCK_BYTES, uses)

    def offer(self, block: int, slot: int, uses: int) -> bool:
        if block in self.blocks or not self._admits(block, uses) or len(self.waiting) >= WRITES_WAITING_MAX:
            return False
        self.waiting.append((block, slot))
        return True

    def advance(self) -> list[int]:
        """One block came into memory: so much is written meanwhile; the slots that are free of it."""
        self._credit = min(self._credit + self._per_insertion, WRITES_WAITING_MAX)
        done = []
        while self.waiting and self._credit >= 1:
            self._credit -= 1
            done.append(self.write_next())
        return done

    def write_next(self) -> int:
        block, slot = self.waiting.popleft()
        self.writes += 1
        self.blocks[block] = None
        if len(self.blocks) > self._capacity:
            self.blocks.popitem(last=False)
        return slot


class _Host:
    def __init__(
        self,
        slots: int,
        ssd_blocks: int,
        rule: str,
        policy: str,
        per_insertion: float,
        *,
        has_admission: bool,
    ) -> None:
        self._policy = make_policy(policy, slots, 1)
        self._rule = rule
        self._batch = max(1, min(EVICTION_BATCH_SLOTS, slots // BATCH_SHARE))
        self._demotion = Demotion(slots)
        self.ssd = _Ssd(ssd_blocks, per_insertion, has_admission=has_admission)
        self.slot_of: dict[int, int] = {}
        self._block_in: dict[int, int] = {}
        self._free = list(range(slots))
        self._marks: list[int] = []
        self._held: set[int] = set()
        self._overdue: set[int] = set()
        self._count = 0
        self.gone = self.unoffered = self.stalls = 0

    def read(self, block: int) -> str:
        self._count += 1
        if block in self.slot_of:
            self._mark(self.slot_of[block])
            return "memory"
        where = "ssd" if block in self.ssd.blocks else "origin"
        for slot in self.ssd.advance():
            self._write_ended(slot)
        if not self._free:
            self._make_room()
        slot = self._free.pop()
        self.slot_of[block], self._block_in[slot] = slot, block
        self._policy.inserted(slot, fingerprint(block), 0)
        self._demotion.came(slot, is_wanted=True)
        self._mark(slot)
        if self._rule == "before it goes" and len(self._free) < edge(len(self.slot_of)):
            self._write_ahead()
        if self._rule == "as it comes":
            self._demotion.due([slot], 1)
            self._offer(slot)
        return where

    def _write_ahead(self) -> None:
        room = WRITES_WAITING_MAX - len(self.ssd.waiting)
        if room:
            for slot in self._demotion.due(self._policy.victims(0, edge(self._policy.tracked(0))), room):
                self._offer(slot)

    def _offer(self, slot: int) -> bool:
        taken = self.ssd.offer(self._block_in[slot], slot, self._policy.uses(slot))
        if taken:
            self._held.add(slot)
        return taken

    def _mark(self, slot: int) -> None:
        self._marks.append(slot)
        if self._count % HARVEST_EVERY == 0:
            self._harvest()

    def _harvest(self) -> None:
        for slot in uses(self._marks):
            if slot in self._block_in:
                self._policy.touched(slot)
        self._marks.clear()

    def _write_ended(self, slot: int) -> None:
        self._held.discard(slot)
        if slot in self._overdue:
            self._overdue.discard(slot)
            if slot in self._policy.victims(0, len(self._held) + 1):
                self._let_go(slot)

    def _make_room(self) -> None:
        self._harvest()
        while not self._free:
            for slot in self._policy.victims(0, self._batch + len(self._held)):
                self._let_go(slot)

    def _let_go(self, slot: int) -> None:
        if self._rule == "as it goes" and self._offer(slot):
            # The slot is wanted now: whoever wants it waits for this write, and for those before it.
            self.stalls += 1
            while slot in self._held:
                self._write_ended(self.ssd.write_next())
        if slot in self._held:
            self._overdue.add(slot)
            return
        self.gone += 1
        self.unoffered += self._demotion.went(slot) and self._rule == "before it goes"
        self._policy.removed(slot)
        del self.slot_of[self._block_in.pop(slot)]
        self._free.append(slot)


def requests_of(workload: str, rng: random.Random, slots: int, count: int) -> Iterator[int]:
    """Reads of blocks: ``zipf`` over twenty times the memory; the same with scans; epochs over four times the memory, in order."""
    if workload == "zipf":
        return traces.zipf(rng, keys=20 * slots, requests=count, skew=0.9)
    if workload == "zipf and scans":
        return traces.scan_polluted(
            rng, keys=20 * slots, requests=count // 2, scan_every=2 * slots, scan_length=2 * slots, skew=0.9
        )
    return traces.loop(keys=4 * slots, rounds=-(-count // (4 * slots)))


def play(
    workload: str, rule: str, *, slots: int = 500, ssd_share: int = 8, count: int = 60_000, per_insertion: float = 1.0, policy: str = "s3fifo",
    seed: int = 1, has_admission: bool = True,
) -> Outcome:  # fmt: skip
    """Plays ``count`` reads and counts the second half. ``per_insertion``: blocks the SSD takes while one comes into memory."""
    host = _Host(slots, ssd_share * slots, rule, policy, per_insertion, has_admission=has_admission)
    found = {"memory": 0, "ssd": 0, "origin": 0}
    writes_before = 0
    for number, block in enumerate(requests_of(workload, random.Random(seed), slots, count)):
        where = host.read(block)
        if number == count // 2:
            writes_before, host.gone, host.unoffered, host.stalls = host.ssd.writes, 0, 0, 0
        if number >= count // 2:
            found[where] += 1
    total = sum(found.values())
    return Outcome(
        **{where: count / total for where, count in found.items()},
        writes=(host.ssd.writes - writes_before) / total,
        unoffered=host.unoffered / max(1, host.gone),
        stalls=host.stalls / total,
    )


def main() -> None:
    """Prints the table."""
    print(
        "| workload | SSD takes | admission | offered | memory | SSD | origin | writes/read | unoffered | waits |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for workload in WORKLOADS:
        for per_insertion in (1.0, 0.1):
            for has_admission in (False, True):
                for rule in RULES:
                    out = play(workload, rule, per_insertion=per_insertion, has_admission=has_admission)
                    shares = f"{out.memory:.3f} | {out.ssd:.3f} | {out.origin:.3f} | {out.writes:.3f} | {out.unoffered:.3f} | {out.stalls:.3f}"
                    admission = "filtered" if has_admission else "all"
                    print(f"| {workload} | {per_insertion:g} | {admission} | {rule} | {shares} |")


if __name__ == "__main__":
    main()
