"""A trace: what became of one read, as events in the order of time; and the spans that a person wants to see made of them.

Law: values in, values out; the time of an event is an argument (nanoseconds of CLOCK_MONOTONIC, which differs from host to host: so a trace keeps
times since its own beginning). A trace is bounded: beyond :data:`EVENTS_MAX` events it only says that there were more, and a text is cut. Whoever
notes an event asks first whether anybody wants a trace; so a read without one pays a comparison, and nothing here is on its way. Words of events
are :data:`EVENTS`, one table for all hosts; one that a newer host says and this one does not know is shown as it is.

Traces that other hosts will ask for are kept in :class:`TraceMemory`, as many and as long as is said there, whatever anybody asks.

Rejected: spans with parents, as tracing systems have them (a block's events have one order, and hedged reads are told apart by whom they are read
from); sampling (a trace is asked for by somebody who waits for it); a trailer behind a read's last byte (the last byte is the end of a read, for the
connection's accounts and for its reader's, and an older host would not know what comes after it).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    "DETAIL_CHARACTERS_MAX",
    "EVENTS",
    "EVENTS_MAX",
    "LOCAL_SSD",
    "METADATA",
    "TRACES_MAX",
    "TRACE_ID_BYTES",
    "TRACE_S_MAX",
    "Event",
    "Span",
    "Trace",
    "TraceMemory",
    "spans_of",
]

#: As W3C's trace-id has: so one can be written where the other is understood.
TRACE_ID_BYTES = 16

#: Where a block is asked for that lies on the host's own SSD.
LOCAL_SSD = "local SSD"

#: The block number of what is not about a block.
METADATA = -1

#: Of one trace on one host: eight for each of the 256 blocks that one may have, 200 kB.
EVENTS_MAX = 2048

#: Of an event's detail, an error's message for the most part.
DETAIL_CHARACTERS_MAX = 200

#: Traces kept for other hosts at a time, and for how long: they are asked for as soon as the read is over.
TRACES_MAX = 32
TRACE_S_MAX = 120.0

#: What can happen, and what it means; ``where`` is the host or origin concerned.
EVENTS: dict[str, str] = {
    "known": "the object's metadata was known here, and current",
    "asks": "the metadata was asked of `where`",
    "answers": "`where` answered with the metadata",
    "refused": "`where` did not answer with the metadata; the next source is asked",
    "learnt": "the object is known from here on",
    "read": "another host, `where`, asked for the block",
    "memory": "the block was in this host's memory",
    "joins": "the block was on its way here already, for somebody else: waited for together",
    "waits": "the read waits for a place among those under way",
    "asked": "`where` was asked for the block, or for what is missing of it",
    "head": "the head of the answer of `where` is here",
    "first byte": "the first bytes of `where` are here, verified",
    "hedges": "`where` has given no sign in its time: another source is asked beside it",
    "dropped": "`where` was not needed any more: another source's bytes came first, or nobody waits",
    "retries": "`where` failed, and is asked again after a pause",
    "failed": "`where` did not deliver; the next source is asked, or nobody",
    "arrived": "the whole block is in this host's memory",
    "gave up": "the block did not come",
    "sends": "the answer to the asking host begins",
    "sent": "the answer's last byte is with the kernel",
}


class Event(NamedTuple):
    """One event; ``at_us`` microseconds after the trace began on its host."""

    at_us: int
    block: int
    what: str
    where: str = ""
    detail: str = ""


class Trace:
    """The events of one read on one host. ``began_ns``: CLOCK_MONOTONIC when the host heard of it."""

    __slots__ = ("began_ns", "events", "is_cut", "trace_id")

    def __init__(self, trace_id: bytes, began_ns: int) -> None:
        if len(trace_id) != TRACE_ID_BYTES:
            raise ValueError(f"a trace id has {TRACE_ID_BYTES} bytes, not {len(trace_id)}")
        self.trace_id = trace_id
        self.began_ns = began_ns
        self.events: list[Event] = []
        self.is_cut = False

    def note(self, at_ns: int, block: int, what: str, where: str = "", detail: str = "") -> None:
        """Adds an event, if there is room for it."""
        if len(self.events) >= EVENTS_MAX:
            self.is_cut = True
            return
        at_us = max(0, at_ns - self.began_ns) // 1000
        self.events.append(Event(at_us, block, what, where, detail[:DETAIL_CHARACTERS_MAX]))


class TraceMemory:
    """Traces by id until they are taken; the oldest give way, and what nobody takes goes with time."""

    def __init__(self) -> None:
        self._traces: OrderedDict[bytes, Trace] = OrderedDict()

    def __len__(self) -> int:
        return len(self._traces)

    def of(self, trace_id: bytes, now_ns: int) -> Trace:
        """The trace of an id, begun now if it is not there. ValueError for what is no id."""
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = Trace(trace_id, now_ns)
            self._traces[trace_id] = trace
            if len(self._traces) > TRACES_MAX:
                self._traces.popitem(last=False)
        return trace

    def take(self, trace_id: bytes) -> Trace | None:
        """The trace, which is forgotten here; None if it is not known."""
        return self._traces.pop(trace_id, None)

    def expire(self, now_ns: int) -> None:
        """Forgets what has been here for too long."""
        limit_ns = now_ns - int(TRACE_S_MAX * 1e9)
        while self._traces and next(iter(self._traces.values())).began_ns < limit_ns:
            self._traces.popitem(last=False)


@dataclass(slots=True)
class Span:
    """Some time of one block (or of the metadata). ``kind``: ``metadata``, ``queue`` (waits for a place), ``joined``, ``wait`` (for the first byte of
    ``where``), ``transfer`` (its bytes arrive), ``send`` (to another host), ``memory`` (no time at all).
    """

    block: int
    kind: str
    where: str
    begin_us: int
    end_us: int
    #: Why it ended, where that was not as hoped.
    failure: str = ""
    #: What happened in between: why it was tried again.
    notes: list[str] = field(default_factory=list)


#: Events that begin a span: its kind.
_BEGINS = {
    "asks": "metadata",
    "waits": "queue",
    "joins": "joined",
    "asked": "wait",
    "first byte": "transfer",
    "sends": "send",
}
#: Events that end all spans of the block, and of one source.
_ENDS_ALL = frozenset(("arrived", "gave up", "learnt"))
_ENDS_ONE = frozenset(("failed", "answers", "refused", "dropped"))
_AT_ONCE = {"memory": "memory", "known": "metadata"}


def spans_of(events: Iterable[Event], until_us: int) -> list[Span]:
    """The spans of one host's events, by block and time; what is not over by ``until_us`` ends then.

    Reads of several sources of one block may overlap; a wait for a place ends when somebody is asked.
    """
    made: list[Span] = []
    under_way: dict[tuple[int, str], Span] = {}
    for event in sorted(events, key=lambda event: event.at_us):
        _ended(event, under_way)
        if (
            event.what in ("retries", "hedges")
            and (span := under_way.get((event.block, event.where))) is not None
        ):
            span.notes.append(event.detail or event.what)
        kind = _BEGINS.get(event.what) or _AT_ONCE.get(event.what)
        if kind is None:
            continue
        end_us = event.at_us if event.what in _AT_ONCE else max(event.at_us, until_us)
        span = Span(event.block, kind, event.where, event.at_us, end_us)
        made.append(span)
        if event.what in _BEGINS:
            under_way[event.block, _source_of(kind, event.where)] = span
    return sorted(made, key=lambda span: (span.block, span.begin_us))


def _source_of(kind: str, where: str) -> str:
    """Of waiting for a place, and for others' reads, there is one at a time; of sending, too."""
    return where if kind in ("wait", "transfer", "metadata") else f"({kind})"


def _ended(event: Event, under_way: dict[tuple[int, str], Span]) -> None:
    """Ends what an event ends."""
    if event.what in _ENDS_ALL:
        keys = [key for key in under_way if key[0] == event.block and key[1] != "(send)"]
    elif event.what in _ENDS_ONE or event.what == "first byte":
        keys = [(event.block, event.where)]
    elif event.what == "asked":
        keys = [(event.block, "(queue)")]
    elif event.what == "sent":
        keys = [(event.block, "(send)")]
    else:
        return
    for key in keys:
        span = under_way.pop(key, None)
        if span is not None:
            span.end_us = event.at_us
            if event.what in ("failed", "refused", "gave up", "dropped"):
                span.failure = event.detail or event.what
