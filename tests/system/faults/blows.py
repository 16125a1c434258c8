"""What is done to the floor, one after the other; each waits until it is over, and says what it may have cost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.systemd.installed_host import PYTHON

from . import contents
from .hosts import LOAD, MASTER, MEMORY_BYTES, NAMES, SSD, Floor, until

__all__ = ["BLOWS", "Cost", "strike"]

#: How long a store, a network or a host is ill.
ILL_S = 3.0
FROZEN_S = 10.0
#: One that was taken out is tried again after five minutes at the latest (cashy.core.disk_health).
SSD_BACK_S_MAX = 400.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a blow came to. ``spared``: readers none of whose reads may have failed; a host without power reads nothing."""

    name: str
    spared: tuple[str, ...]
    since: float
    recovered_s: float
    slowest_s: float


def _killed(floor: Floor, host: str) -> float:
    pid = floor.hosts[host].pid(MASTER)
    floor.lab.kill(host, MASTER)
    began_s = time.monotonic()
    until(lambda: floor.hosts[host].pid(MASTER) not in (0, pid), f"another master at {host}")
    floor.until_read()
    return time.monotonic() - began_s


def _without_power(floor: Floor, host: str) -> float:
    floor.lab.power_cut(host)
    floor.until_read([name for name in NAMES if name != host])
    time.sleep(ILL_S)
    began_s = time.monotonic()
    floor.lab.boot(host)
    floor.until_read()
    return time.monotonic() - began_s


def _cut_off(floor: Floor, host: str) -> float:
    floor.lab.partition(host)
    try:
        floor.until_read([name for name in NAMES if name != host])
        time.sleep(ILL_S)
    finally:
        floor.lab.heal(host)
    return floor.until_read()


def _frozen(floor: Floor, host: str) -> float:
    floor.lab.freeze(host)
    try:
        time.sleep(FROZEN_S)
    finally:
        floor.lab.thaw(host)
    return floor.until_read()


def _no_shared_memory(floor: Floor, host: str) -> float:
    """Also a master that has to start again then finds its arena, and the reader its pin table."""
    floor.lab.fill_shared_memory(host)
    try:
        floor.lab.kill(host, MASTER)
        time.sleep(ILL_S)
        return floor.until_read()
    finally:
        floor.lab.free_shared_memory(host)


_FLIP = """
import glob, mmap, os, sys
(path,) = (each for each in glob.glob("/dev/shm/cashy.*.default.*") if os.path.isfile(each))
with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
    for at in range(len(memory) - int(sys.argv[1]) + 1000, len(memory), 65536):
        memory[at] ^= 1
"""


def _rotten(floor: Floor, host: str) -> float:
    """A byte of every block in its memory is another one while nobody uses it: the readers of a dead master's memory check nothing."""
    at = floor.hosts[host]
    at.systemctl("stop", LOAD)
    at.systemctl("stop", MASTER)
    at.run(PYTHON, "-c", _FLIP, str(MEMORY_BYTES))
    began_s = time.monotonic()
    at.systemctl("start", MASTER, LOAD)
    floor.until_read()
    took_s = time.monotonic() - began_s
    until(lambda: floor.figure(host, "slots_corrupt") > 0, "what is rotten is noticed")
    return took_s


_ROT_ON_SSD = """
import glob, os, sys
for path in glob.glob(f"{sys.argv[1]}/cashy/blocks/*/*"):
    try:
        file = open(path, "r+b")
    except FileNotFoundError:
        continue  # evicted meanwhile
    with file:
        file.seek(1000)
        file.write(os.urandom(16))
"""


def _of_ssd(floor: Floor, host: str, name: str) -> int:
    return floor.figure(host, f"disk.{SSD}/cashy.{name}")


def _rotten_ssd(floor: Floor, host: str) -> float:
    """Some bytes of each block on it are others, also of those that come meanwhile: what lies there may be out of date, and read by nobody."""
    until(lambda: _of_ssd(floor, host, "blocks") > 8, "blocks are on the SSD", SSD_BACK_S_MAX)
    before = _of_ssd(floor, host, "corrupt_total")

    def found() -> bool:
        floor.hosts[host].run(PYTHON, "-c", _ROT_ON_SSD, SSD)
        return _of_ssd(floor, host, "corrupt_total") > before

    until(found, "what is rotten is noticed")
    return floor.until_read()


def _full_ssd(floor: Floor, host: str) -> float:
    """Others have taken all that is left of it."""
    until(lambda: _of_ssd(floor, host, "is_ready") == 1, "the SSD is used", SSD_BACK_S_MAX)
    before = _of_ssd(floor, host, "full_total")

    def found_none() -> bool:
        """What is read over and over is there already: only what is new is written. An SSD that rots as well is not used at all."""
        floor.store.overwrite(contents.KEYS)
        time.sleep(1)
        return _of_ssd(floor, host, "full_total") > before or not _of_ssd(floor, host, "is_ready")

    floor.lab.fill_disk(host, SSD)
    try:
        until(found_none, "a write finds no room")
        floor.until_read()
    finally:
        floor.lab.free_disk(host, SSD)
    return floor.until_read()


def _store(ailment: str, one_in: int) -> Callable[[Floor, str], float]:
    def blow(floor: Floor, _: str) -> float:
        before = floor.store.ailed[ailment]
        with floor.store.ailing(ailment, one_in):  # type: ignore[arg-type]
            time.sleep(ILL_S)
            until(lambda: floor.store.ailed[ailment] > before + 2, f"the store {ailment}")
        return floor.until_read()

    return blow


def _overwritten(floor: Floor, _: str) -> float:
    """All at once, and some again and again while they are read."""
    least = min(floor.store.generation[key] for key in contents.KEYS) + 1
    floor.store.overwrite(contents.KEYS)
    end_s = time.monotonic() + ILL_S
    while time.monotonic() < end_s:
        floor.store.overwrite(random.Random().sample(contents.KEYS, 2))  # type: ignore[arg-type]
        time.sleep(0.1)
    since = time.time()

    def is_current(name: str) -> bool:
        seen = [record.generation for record in floor.records(name, since)[-2:] if record.reads]
        return bool(seen) and min(seen) >= least

    return until(lambda: all(map(is_current, NAMES)), "nobody is given what was overwritten")


#: By name: what is done, and whether the host that it is done to may fail reads of its own meanwhile.
BLOWS: dict[str, tuple[Callable[[Floor, str], float], bool]] = {
    "a master is killed": (_killed, False),
    "a host loses its power": (_without_power, True),
    "a host is cut off": (_cut_off, True),
    "a host stands still": (_frozen, False),
    "/dev/shm is full while a master starts": (_no_shared_memory, False),
    "an SSD is filled by others": (_full_ssd, False),
    "an SSD rots": (_rotten_ssd, False),
    "memory rots while its master is down": (_rotten, False),
    "the store answers 500 and 503": (_store("refuses", 3), False),
    "the store cuts bodies off": (_store("truncates", 3), False),
    "the store hangs": (_store("hangs", 8), False),
    "objects are overwritten": (_overwritten, False),
}


def strike(floor: Floor, name: str, host: str) -> Cost:
    """Does it to the floor, or to this host of it, and waits until everybody reads again."""
    blow, is_hit = BLOWS[name]
    floor.until_read()
    since = time.time()
    recovered_s = blow(floor, host)
    for each in NAMES:
        assert floor.hosts[each].is_active(LOAD)
    spared = tuple(each for each in NAMES if not (is_hit and each == host))
    return Cost(name, spared, since, recovered_s, floor.slowest_s(since, spared))
