"""Where blocks belong: the real ranking over a list of hosts, remembered, since it is a function of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from cashy.core.placement import Member, Ranking, place_key

__all__ = ["VERSIONS_STRIDE", "HostList", "Naming", "block_of", "host_list", "version_of"]

#: A content is a block's number plus this times its version: another version is another content at the same place.
VERSIONS_STRIDE = 1 << 32

#: Hosts of a ranking that are asked for; more are where these are not enough.
_KEPT = 2


def block_of(content: int) -> int:
    """The block's number, whatever the version."""
    return content % VERSIONS_STRIDE


def version_of(content: int) -> int:
    """The version's number."""
    return content // VERSIONS_STRIDE


def _host(number: int) -> str:
    return f"cache-{number:04}.example"


def _key(block: int) -> int:
    return place_key("origin", "", block)


@dataclass(frozen=True)
class Naming:
    """What hosts are called, and the placement key of a block: those of a real cluster, where one is compared with."""

    host: Callable[[int], str] = _host
    key: Callable[[int], int] = _key


class HostList:
    """One state of the file of hosts."""

    def __init__(self, numbers: Sequence[int], naming: Naming) -> None:
        self.numbers = tuple(numbers)
        self.key = naming.key
        self._number_of = {naming.host(number): number for number in self.numbers}
        self._ranking = Ranking(Member(name) for name in self._number_of)
        self._kept: dict[int, tuple[int, ...]] = {}

    def ranked(self, block: int, count: int = _KEPT) -> tuple[int, ...]:
        """The first ``count`` hosts for a block, the home first, or more."""
        kept = self._kept.get(block, ())
        if len(kept) < min(count, len(self.numbers)):
            names = self._ranking.first(self.key(block), count)
            kept = self._kept[block] = tuple(self._number_of[name] for name in names)
        return kept

    def home(self, block: int) -> int:
        """The block's home."""
        return self.ranked(block)[0]


@cache
def host_list(numbers: tuple[int, ...], naming: Naming) -> HostList:
    """The same list for the same hosts: what it remembers serves every run of a process."""
    return HostList(numbers, naming)
