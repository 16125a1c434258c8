"""The whole cluster, and what befalls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from .events import NS, Events
from .fill import Attempt, LocalRead
from .host import Host
from .measures import Measures
from .model import Shape, Times
from .network import NOTICED_NS, Network
from .origin import Origin
from .placing import HostList, Naming, host_list

__all__ = ["World"]


class World:
    """Hosts, network and origin, at time 0 with nothing cached."""

    def __init__(self, shape: Shape, times: Times, seed: int, naming: Naming = Naming()) -> None:  # noqa: B008 - immutable
        self.shape, self.times, self.seed = shape, times, seed
        self._naming = naming
        self.events = Events()
        self.measures = Measures()
        self.network = Network(shape.hosts)
        self.origin = Origin(shape, times, self.events, self.measures, seed)
        self._random = Random(f"{seed} world")
        #: Told of each host that starts anew.
        self.on_start: list[Callable[[int], None]] = []
        self.list = host_list(tuple(range(shape.hosts)), naming)
        self.hosts = [Host(self, number, self.list) for number in range(shape.hosts)]

    def warm(self, blocks: range) -> None:
        """Every block is in its home's memory, or on its disk, as after a long time."""
        for block in blocks:
            self.hosts[self.list.home(block)].memory.insert(block, is_guest=False)

    # --- reads ---

    def read(self, host: int, content: int, on_done: Callable[[int, bool], None] | None = None) -> None:
        """A client of a host reads a block now."""
        self.hosts[host].read(content, LocalRead(self.events.now_ns, on_done))

    # --- faults ---

    def power_off(self, hosts: Iterable[int]) -> None:
        """The hosts are gone, with what they had in memory. Their disks keep what they have."""
        for number in hosts:
            self._stop(number)
            self.hosts[number].forget_all()
            self._silence(self.hosts[number].serving.asked)

    def kill_master(self, number: int) -> None:
        """The process is gone, its arena stays; connections to it break at once, and soon there is another."""
        self._stop(number)
        for attempt in list(self.hosts[number].serving.asked):
            self.events.at(self.events.now_ns + self.times.network_ns, attempt.asker.asking.lose, attempt)
        self.events.at(self.events.now_ns + self.times.restart_ns, self.power_on, [number])

    def _stop(self, number: int) -> None:
        self.hosts[number].die()
        self.network.turn_off(number, self.events.now_ns)

    def _silence(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            self.events.at(self.events.now_ns + NOTICED_NS, attempt.asker.asking.lose, attempt)

    def power_on(self, hosts: Iterable[int]) -> None:
        """They are back."""
        for number in hosts:
            self.hosts[number].start_anew()
            self.network.turn_on(number, self.events.now_ns)
            for on_start in self.on_start:
                on_start(number)

    def cut_off(self, hosts: Sequence[int], for_ns: int) -> None:
        """These hosts and the others do not reach each other for a while. All reach the origin."""
        self.network.cut(hosts, self.events.now_ns)
        for host in self.hosts:
            self._silence(
                [
                    each
                    for each in host.serving.asked
                    if not self.network.reaches(each.asker.number, host.number)
                ]
            )
        self.events.at(self.events.now_ns + for_ns, self._heal)

    def _heal(self) -> None:
        self.network.heal(self.events.now_ns)

    def slow_loop(self, number: int, factor: float, for_ns: int) -> None:
        """The loop of a host takes ``factor`` times as long for what others ask of it, for a while."""
        self.hosts[number].slow = factor
        self.events.at(self.events.now_ns + for_ns, setattr, self.hosts[number], "slow", 1.0)

    def slow_network(self, number: int, factor: float, for_ns: int) -> None:
        """What a host sends takes ``factor`` times as long, for a while."""
        link = self.hosts[number].serving.link
        link.set_slow(factor)
        self.events.at(self.events.now_ns + for_ns, link.set_slow, 1.0)

    def slow_disk(self, number: int, factor: float, for_ns: int) -> None:
        """As a disk that repeats every read."""
        disk = self.hosts[number].disk
        assert disk is not None, "this cluster has no disks"
        disk.slow = factor
        self.events.at(self.events.now_ns + for_ns, setattr, disk, "slow", 1.0)

    # --- the list of hosts ---

    def change_list(self, numbers: Sequence[int]) -> HostList:
        """Another file of hosts; each reads it within ``list_spread_ns``. New numbers are new hosts, next in order."""
        self.list = host_list(tuple(numbers), self._naming)
        for number in range(len(self.hosts), max(numbers) + 1):
            self.network.add_host(self.events.now_ns)
            self.hosts.append(Host(self, number, self.list))
        for host in self.hosts:
            after_ns = int(self._random.random() * self.times.list_spread_ns)
            self.events.at(self.events.now_ns + after_ns, setattr, host, "hosts", self.list)
        return self.list

    # --- the end ---

    def settle(self, within_s: float = 300.0) -> None:
        """Lets everything come to its end."""
        self.events.run(self.events.now_ns + int(within_s * NS))

    def unfinished(self) -> int:
        """Reads that were asked for and have not ended in any way."""
        counts = self.measures.counts
        return counts["reads"] - counts["reads_done"] - counts["reads_failed"] - counts["reads_died"]
