"""The reference model: what a store says of one key over time, and which of it a read may return. Knows nothing of cashy.

A read over [begin, end] may return a version that was applied at the store at or before ``end``, unless a later one (in the order in which the store
applied them) was acknowledged to its writer at or before ``begin``. That an object is absent is a version too. Writes that were never
acknowledged may show or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ABSENT", "KeyHistory", "Version", "Violation"]

#: The content of a version that says: there is no such object.
ABSENT = -1


@dataclass(eq=False)
class Version:
    """One state of a key. Times are true nanoseconds; ``order`` is its place among those the store applied."""

    key: str
    number: int
    content: int
    writer: str
    begun_ns: int
    applied_ns: int | None = None
    order: int | None = None
    acknowledged_ns: int | None = None
    #: When its writer left, with whatever outcome.
    ended_ns: int | None = None

    @property
    def is_absent(self) -> bool:
        return self.content == ABSENT

    def __str__(self) -> str:
        return f"v{self.number}" + (" (absent)" if self.is_absent else f" (content {self.content})")


class Violation(Exception):
    """A read returned what it must not."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass
class _Read:
    end_ns: int
    order: int


@dataclass
class KeyHistory:
    """Everything that happened to one key."""

    key: str
    versions: list[Version] = field(default_factory=list)
    applied: list[Version] = field(default_factory=list)
    #: Reads by what was returned, as far as a later read may have to return no less.
    latest_reads: list[_Read] = field(default_factory=list)
    steps_back: int = 0

    def __post_init__(self) -> None:
        first = Version(self.key, 0, ABSENT, "nobody", -1, acknowledged_ns=-1, ended_ns=-1)
        self.versions.append(first)
        self.apply(first, -1)

    def begin(self, content: int, writer: str, now_ns: int) -> Version:
        """A write has begun."""
        version = Version(self.key, len(self.versions), content, writer, now_ns)
        self.versions.append(version)
        return version

    def apply(self, version: Version, now_ns: int) -> None:
        """The store has it from now on."""
        version.applied_ns, version.order = now_ns, len(self.applied)
        self.applied.append(version)

    @property
    def current(self) -> Version:
        return self.applied[-1]

    def check(self, number: int | None, begin_ns: int, end_ns: int) -> None:
        """A read returned version ``number`` (None: that there is no such object). Raises :class:`Violation`."""
        floor = max(
            (version for version in self.applied if _is_by(version.acknowledged_ns, begin_ns)),
            key=lambda version: version.order or 0,
        )
        assert floor.order is not None
        allowed = [version for version in self.applied[floor.order :] if _is_by(version.applied_ns, end_ns)]
        fitting = [
            version
            for version in allowed
            if (version.is_absent if number is None else version.number == number)
        ]
        if not fitting:
            returned = "that it is absent" if number is None else f"v{number}"
            raise Violation(
                self.key,
                f"a read of {self.key} from {begin_ns / 1e9:.6f} to {end_ns / 1e9:.6f} returned {returned}; allowed are "
                f"{', '.join(map(str, allowed))}, since {floor} was acknowledged at {(floor.acknowledged_ns or 0) / 1e9:.6f}",
            )
        self._note_step_back(fitting, begin_ns, end_ns)

    def _note_step_back(self, fitting: list[Version], begin_ns: int, end_ns: int) -> None:
        """Counts reads that return less than an earlier one did while nothing was being written. Allowed, but worth knowing."""
        order = max(version.order or 0 for version in fitting)
        newer_ends = [
            read.end_ns for read in self.latest_reads if read.order > order and read.end_ns <= begin_ns
        ]
        if newer_ends and not any(
            _is_in_flight(version, min(newer_ends), end_ns) for version in self.versions
        ):
            self.steps_back += 1
        self.latest_reads = [*self.latest_reads[-7:], _Read(end_ns, order)]


def _is_in_flight(version: Version, begin_ns: int, end_ns: int) -> bool:
    if version.begun_ns > end_ns:
        return False
    return version.ended_ns is None or max(version.ended_ns, version.applied_ns or 0) >= begin_ns


def _is_by(at_ns: int | None, now_ns: int) -> bool:
    return at_ns is not None and at_ns <= now_ns
