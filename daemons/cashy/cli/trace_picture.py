"""The picture of a trace: a line for each block, its time from left to right, and beside it in words what that was.

Each line has one scale, from the read's beginning to its end. What another host did for a block stands below it, moved to where that host was
asked: the clocks of two hosts have nothing to do with each other, so the way there and back shows as a gap at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cashy.core.trace import METADATA, Event, Span, spans_of

if TYPE_CHECKING:
    from aviary.cashy.v1.operate_pb2 import HostTrace, TraceReport

__all__ = ["BAR_WIDTH_MIN", "print_trace", "trace_lines"]

#: Less would show nothing.
BAR_WIDTH_MIN = 20
_WIDTH_PIPED = 120
_LABEL_WIDTH_MAX = 28
#: What the words may take of a terminal's width, at most.
_WORDS_SHARE = 2

#: How a span is drawn, and in which colour.
_DRAWN: dict[str, tuple[str, str]] = {
    "metadata": ("=", "magenta"),
    "queue": (".", "dim"),
    "joined": ("~", "yellow"),
    "wait": ("-", "cyan"),
    "transfer": ("#", "green"),
    "send": (">", "blue"),
    "memory": ("|", "green"),
}
_LEGEND = ". waits for a place  - for the first byte  # bytes arrive  ~ somebody else's read  | in memory  > sent on  = metadata  x failed"


def print_trace(url: str, report: TraceReport) -> None:
    """Prints it, as wide as the terminal."""
    console = Console(highlight=False)
    width = console.width if console.is_terminal else _WIDTH_PIPED
    for line in trace_lines(url, report, width):
        console.print(line, soft_wrap=not sys.stdout.isatty())


def trace_lines(url: str, report: TraceReport, width: int) -> list[Text]:
    """The picture in lines of about ``width`` characters; words beside a bar are not cut."""
    lines = [Text(url, style="bold"), Text(_heading(report))]
    if not report.hosts:
        return lines
    rows = list(_rows(report))
    label_width = min(_LABEL_WIDTH_MAX, max((len(label) for label, _ in rows), default=0))
    bar_width = max(BAR_WIDTH_MIN, (width - label_width) // _WORDS_SHARE)
    lines.append(Text(_LEGEND, style="dim"))
    whole_us = max(1, report.took_us, *(span.end_us for _, spans in rows for span in spans), 1)
    lines.append(_scale(label_width, bar_width, whole_us))
    for label, spans in rows:
        line = Text(label[:label_width].ljust(label_width + 1))
        line.append_text(_bar(spans, bar_width, whole_us))
        line.append("  " + _words(spans))
        lines.append(line)
    for host in report.hosts:
        if host.error:
            lines.append(Text(f"host {host.host} did not tell: {' '.join(host.error.split())}", style="red"))
        if host.is_cut:
            lines.append(Text(f"host {host.host} noted more than is shown", style="yellow"))
    return lines


def _heading(report: TraceReport) -> str:
    took = f"{report.took_us / 1000:.1f} ms"
    trace = f"trace {report.trace_id.hex()}"
    if not report.block_bytes:
        return f"nothing was read; {took}; {trace}"
    last = report.first_block + report.block_count - 1
    blocks = (
        f"blocks {report.first_block} to {last}" if report.block_count > 1 else f"block {report.first_block}"
    )
    if not report.block_count:
        blocks = "no block"
    return f"{blocks} of {report.object_blocks:,}, {report.size:,} bytes in all, version {report.version}; {took}; {trace}"


def _events_of(host: HostTrace) -> list[Event]:
    return [Event(event.at_us, event.block, event.what, event.where, event.detail) for event in host.events]


def _rows(report: TraceReport) -> Iterator[tuple[str, list[Span]]]:
    """Label and spans of each line: the metadata, then the blocks, each with what other hosts did for it."""
    own = _events_of(report.hosts[0])
    spans = _by_block(spans_of(own, report.took_us))
    others = {host.host: _events_of(host) for host in report.hosts[1:]}
    for block in sorted(spans):
        yield ("metadata" if block == METADATA else f"block {block}"), spans[block]
        for name, events in others.items():
            theirs = [event for event in events if event.block == block]
            asked = [
                event.at_us
                for event in own
                if event.block == block and event.what == "asked" and event.where == name
            ]
            if theirs and asked:
                yield f"  at {name}", _moved(theirs, asked[-1])


def _by_block(spans: Iterable[Span]) -> dict[int, list[Span]]:
    found: dict[int, list[Span]] = {}
    for span in spans:
        found.setdefault(span.block, []).append(span)
    return found


def _moved(events: Sequence[Event], to_us: int) -> list[Span]:
    """Another host's spans, as if it had heard of the read when it was asked."""
    first_us = min(event.at_us for event in events)
    moved = [event._replace(at_us=event.at_us - first_us + to_us) for event in events]
    return spans_of(moved, max(event.at_us for event in moved))


def _scale(label_width: int, bar_width: int, whole_us: int) -> Text:
    end = f"{whole_us / 1000:.1f} ms"
    return Text(" " * (label_width + 1) + "0" + end.rjust(bar_width - 1), style="dim")


def _bar(spans: Sequence[Span], width: int, whole_us: int) -> Text:
    """Later spans are drawn over earlier ones, and each is seen, however short."""
    cells: list[tuple[str, str]] = [(" ", "")] * width
    for span in sorted(spans, key=lambda span: span.kind != "send"):  # it goes on below everything else
        sign, style = _DRAWN.get(span.kind, ("?", ""))
        begin = min(width - 1, span.begin_us * width // whole_us)
        end = min(width, max(begin + 1, -(-span.end_us * width // whole_us)))
        for place in range(begin, end):
            cells[place] = sign, style
        if span.failure:
            cells[end - 1] = "x", "red"
    bar = Text()
    for sign, style in cells:
        bar.append(sign, style=style)
    return bar


_WORDS: Mapping[str, str] = {
    "metadata": "asked",
    "queue": "waited for a place",
    "joined": "on its way already, waited",
    "wait": "first byte after",
    "transfer": "the rest in",
    "send": "sent in",
}


def _words(spans: Sequence[Span]) -> str:
    """What a line shows, in words: source by source."""
    said: list[str] = []
    source = ""
    for span in sorted(spans, key=lambda span: span.kind == "send"):
        if span.kind == "memory" or (span.kind == "metadata" and not span.where):
            said.append("in memory" if span.kind == "memory" else "known here")
            continue
        took = f"{(span.end_us - span.begin_us) / 1000:.1f} ms"
        if span.kind == "queue" and span.end_us - span.begin_us < 100:
            continue  # it did not wait
        where = f"{span.where}: " if span.where and span.where != source and span.kind != "queue" else ""
        source = span.where or source
        said += [
            f"{where}no sign, another is asked beside it"
            if note == "hedges"
            else f"{where}tried again: {' '.join(note.split())}"
            for note in span.notes
        ]
        if span.failure:
            said.append(f"{where}failed after {took}: {' '.join(span.failure.split())}")
        else:
            said.append(f"{where}{_WORDS.get(span.kind, span.kind)} {took}")
    return ", ".join(said)
