"""Three hosts read without end while everything breaks that can: no wrong byte, and no failed read where a copy or the origin can be reached.

Each fault is done once, in an order by chance, and again and again for ``CASHY_SOAK_S`` seconds if that is set: memory, descriptors and segments stay
what they were.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.labtest.namespaces.support import need_labs
from tests.systemd.conftest import installed, wheel  # noqa: F401 - fixtures

from .faults.blows import BLOWS, Cost, strike
from .faults.hosts import MASTER, NAMES, Floor, floor

#: How long faults go on; at least each comes once.
SOAK_S = float(os.environ.get("CASHY_SOAK_S", "0"))

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200 + SOAK_S)]

#: More than this a master may not have grown by, in private memory: a leak of one object for each read would be more.
GROWTH_KIB = 24 << 10
GROWTH_DESCRIPTORS = 8


@pytest.fixture(scope="module")
def lab(installed: Path) -> Iterator[Floor]:  # noqa: F811
    need_labs()
    with floor(installed) as made:
        yield made


def _told(lab: Floor) -> str:
    return "\n".join(
        lab.lab.hosts[name].journal(MASTER, lines=30) for name in NAMES if lab.lab.hosts[name].pid
    )


def _check(lab: Floor, cost: Cost) -> None:
    assert lab.wrong() == []
    failed = lab.failed(cost.since, cost.spared)
    assert failed == [], f"{cost.name}: {failed[:10]}\n{_told(lab)}"


def test_nothing_that_breaks_costs_a_byte_or_a_read_and_nothing_grows(lab: Floor) -> None:
    seed = int(os.environ.get("CASHY_SOAK_SEED", str(random.SystemRandom().getrandbits(32))))
    choose, began_s = random.Random(seed), time.monotonic()
    print(f"\nseed {seed}")
    lab.until_read()
    strike(lab, "objects are overwritten", NAMES[0])
    before = {name: lab.usage(name) for name in NAMES}
    while True:
        for name in choose.sample(sorted(BLOWS), len(BLOWS)):
            cost = strike(lab, name, choose.choice(NAMES))
            print(
                f"{name}: all read again after {cost.recovered_s:.1f} s; slowest read {cost.slowest_s:.1f} s"
            )
            _check(lab, cost)
        if time.monotonic() - began_s >= SOAK_S:
            break
    for name in NAMES:
        usage = lab.usage(name)
        print(f"{name}: {before[name]} -> {usage}")
        assert usage["memory_kib"] < before[name]["memory_kib"] + GROWTH_KIB
        assert usage["descriptors"] <= before[name]["descriptors"] + GROWTH_DESCRIPTORS
        assert usage["segments"] <= before[name]["segments"] + 1
    print(f"reads: {sum(record.reads for name in NAMES for record in lab.records(name))}")
