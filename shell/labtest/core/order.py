"""Which process comes before which.

Law: dependencies are between processes, never between instances: what a process comes after, it comes after on all hosts. Those of a process
that is no longer wanted are what they were when it was (the target before says so), so that it is stopped in order too. Processes that are told
in no order are ordered by name, so the same target always gives the same plan.
"""

from __future__ import annotations

from labtest.core.target import ProcessTarget, Target
from labtest.errors import SpecError

__all__ = ["Order"]


class Order:
    """The order of the processes of a target, and of those of the target before."""

    def __init__(self, target: Target, before: Target | None) -> None:
        """Raises :class:`~labtest.errors.SpecError` for processes that need each other in a circle."""
        self._after: dict[str, set[str]] = {}
        self._stop_timeouts_s: dict[tuple[str, str], float] = {}
        wanted = _instances(target)
        for process in wanted:
            self._after.setdefault(process.process, set()).update(process.after)
        known = set(self._after)
        for process in _instances(before) if before else ():
            self._stop_timeouts_s.setdefault((process.process, process.unit), process.stop_timeout_s)
            if process.process not in known:
                self._after.setdefault(process.process, set()).update(process.after)
        self._ranks = {process: rank for rank, process in enumerate(_sorted(self._after))}

    def rank(self, process: str) -> int:
        """Its place; one that nobody knows comes last."""
        return self._ranks.get(process, len(self._ranks))

    def after(self, process: str) -> set[str]:
        """What it comes after."""
        return self._after.get(process, set())

    def dependants(self, process: str) -> list[str]:
        """Processes that come directly after it, by name."""
        return sorted(name for name, after in self._after.items() if process in after and name != process)

    def stop_timeout_s(self, process: str, unit: str, default_s: float) -> float:
        """How long one that is no longer wanted may take to stop."""
        return self._stop_timeouts_s.get((process, unit), default_s)


def _instances(target: Target) -> list[ProcessTarget]:
    return [process for host in target.hosts for process in host.processes]


def _sorted(after: dict[str, set[str]]) -> list[str]:
    done: dict[str, None] = {}
    left = sorted(after)
    while left:
        ready = [
            name
            for name in left
            if all(one in done or one not in after or one == name for one in after[name])
        ]
        if not ready:
            raise SpecError(
                "processes",
                None,
                f"{', '.join(left)} come after each other in a circle: none of them could ever start",
            )
        done.update(dict.fromkeys(ready))
        left = [name for name in left if name not in done]
    return list(done)
