"""What goes over the connection as JSON, as types of this side: made here, checked here."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from labtest.core.actual import FileActual, HostActual, ProcessActual, ReleaseActual, UnitState
from labtest.hosts.interface import LogBatch, LogLine

__all__ = [
    "ErrorAnswer",
    "Event",
    "Hello",
    "ObserveAnswer",
    "RunAnswer",
    "SaidAnswer",
    "decode",
    "encode",
    "log_batch",
]

_T = TypeVar("_T")


class Hello(msgspec.Struct, frozen=True):
    """The agent's first words."""

    protocol: int
    #: sha256 of the program that it runs.
    digest: str
    python: str
    #: Effective: 0 is root.
    user_id: int
    process_id: int
    boot_id: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """A request that could not be done."""

    code: str
    problem: str
    holder: str = ""


class Event(msgspec.Struct, frozen=True):
    """One item of an answer: which fields are there depends on the request."""

    #: sha256 of a blob that the host lacks, and the range of it that it takes now.
    need: str = ""
    offset: int = 0
    length: int = 0
    units: tuple[UnitState, ...] | None = None
    #: at_ns, unit, pid, priority, text.
    lines: tuple[tuple[int, str, int, int, str], ...] | None = None
    dropped: int = 0
    cursor: str = ""
    locked: bool = False


class SaidAnswer(msgspec.Struct, frozen=True):
    """The answer to ``do``."""

    said: str


class RunAnswer(msgspec.Struct, frozen=True):
    """The answer to ``run``; the outputs have come as blobs, one after the other."""

    status: int
    stdout_bytes: int
    dropped_bytes: int


class ObserveAnswer(msgspec.Struct, frozen=True):
    """The answer to ``observe``."""

    boot_id: str
    files: tuple[FileActual, ...]
    releases: tuple[ReleaseActual, ...]
    processes: tuple[ProcessActual, ...]

    def of(self, host: str) -> HostActual:
        """As everybody else has it."""
        return HostActual(
            host=host,
            boot_id=self.boot_id,
            files=self.files,
            releases=self.releases,
            processes=self.processes,
        )


def log_batch(event: Event) -> LogBatch:
    """An event of ``logs``."""
    return LogBatch(
        lines=tuple(LogLine(*line) for line in event.lines or ()), dropped=event.dropped, cursor=event.cursor
    )


def encode(value: dict[str, Any]) -> bytes:
    """A request."""
    return msgspec.json.encode(value)


_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (Hello, ErrorAnswer, Event, SaidAnswer, RunAnswer, ObserveAnswer, dict)
}


def decode(payload: bytes, kind: type[_T]) -> _T:
    """Raises :class:`msgspec.ValidationError` or :class:`msgspec.DecodeError` for what is none."""
    answer: _T = _DECODERS[kind].decode(payload)
    return answer
