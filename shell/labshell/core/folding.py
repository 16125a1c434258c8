"""Equal output of many hosts, shown once.

Law: outputs are equal when their bytes and their status are, but for one newline at the end; nothing like a timestamp is taken out to make them so,
since then it could not be trusted. The largest group comes first, and of two that are as large the one with the earliest host: so what most
hosts say is read first and the odd one stands at the end, where the eye is. A host without an answer is a group too, never left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from labshell.core.fold import fold_hosts, natural
from labtest.hosts.interface import LogLine

__all__ = ["Folded", "FoldedLine", "HostOutput", "fold_lines", "fold_outputs"]


class HostOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What one host said."""

    host: str
    #: Exit status, or minus the signal; None: no answer, and ``output`` says why.
    status: int | None
    output: bytes


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts that said the same."""

    hosts: tuple[str, ...]
    status: int | None
    output: bytes

    @property
    def header(self) -> str:
        """``cache[1-20] (20)``; with how it ended, if that was not well."""
        header = f"{fold_hosts(self.hosts)} ({len(self.hosts)})"
        if self.status is None:
            return f"{header}: no answer"
        if self.status < 0:
            return f"{header}: ended by signal {-self.status}"
        return f"{header}: status {self.status}" if self.status else header


def fold_outputs(outputs: Iterable[HostOutput]) -> list[Folded]:
    """Groups of hosts with equal status and output, the largest first."""
    groups: dict[tuple[int | None, bytes], list[str]] = {}
    for one in outputs:
        groups.setdefault((one.status, one.output.removesuffix(b"\n")), []).append(one.host)
    folded = [
        Folded(hosts=tuple(sorted(hosts, key=natural)), status=status, output=output)
        for (status, output), hosts in groups.items()
    ]
    return sorted(folded, key=lambda one: (-len(one.hosts), natural(one.hosts[0]), one.output))


class FoldedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One message, and the hosts that wrote it."""

    #: Of the first of them.
    line: LogLine
    hosts: tuple[str, ...]


def fold_lines(lines: Sequence[tuple[str, LogLine]], *, within_ns: int) -> list[FoldedLine]:
    """Messages of hosts in the order of their times; equal ones of *different* hosts that are at most ``within_ns`` apart are one.

    Two of the same host stay two: that it was said twice is news.
    """
    folded: list[tuple[LogLine, list[str]]] = []
    latest: dict[tuple[str, int, str], int] = {}
    for host, line in sorted(lines, key=lambda pair: pair[1].at_ns):
        key = (line.unit, line.priority, line.text)
        at = latest.get(key)
        if at is not None:
            first, hosts = folded[at]
            if host not in hosts and line.at_ns - first.at_ns <= within_ns:
                hosts.append(host)
                continue
        latest[key] = len(folded)
        folded.append((line, [host]))
    return [FoldedLine(line=line, hosts=tuple(sorted(hosts, key=natural))) for line, hosts in folded]
