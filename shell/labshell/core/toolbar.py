"""The line at the bottom of the screen, and the prompt.

Law: both are functions of a view, a width and the time; drawing them asks nothing and never takes more columns than there are. What is wrong is
the last thing to go when it is narrow: first words are shortened, then numbers that are as they should be leave, and the count of what is down stays
to the end. Red is for what is down and for nothing else.

The prompt ends in ``>`` always. ``#`` was rejected: everything here acts as root on every host, so it would always stand there and say nothing. What
differs is said in words: ``[2 changes]``, ``(read-only)``, ``[interrupted]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from labshell.core.state import JobState, View, is_stale, shown_hosts
from labshell.core.summary import Summary, summarize
from labshell.core.text import ago, cut, width_of

__all__ = ["BAR", "BAD", "Fragments", "GOOD", "PROMPT", "PROMPT_BAD", "WARN", "prompt", "toolbar"]

#: Style and text, as prompt_toolkit wants them.
Fragments = list[tuple[str, str]]

BAR = "class:bar"
GOOD = "class:bar.good"
WARN = "class:bar.warn"
BAD = "class:bar.down"
PROMPT = "class:prompt"
PROMPT_BAD = "class:prompt.down"

_SEPARATOR = " | "
#: Names of what is down that are spelt out in the longest form.
_NAMES_MAX = 3
#: Share of the line that the prompt's name may take.
_PROMPT_SHARE = 3
#: Names of environments are cut to this in narrow bars.
_SHORT_NAME = 8


class _Segment(msgspec.Struct, frozen=True):
    """A part of the bar: its forms, the longest first; an empty last one means that it may leave."""

    name: str
    forms: tuple[Fragments | tuple[()], ...]


#: Which segment to shorten next while the bar is too long, the least important first. One that has no shorter form is passed over.
_SHORTEN = (
    "work", "lock", "hosts", "pending", "name", "interrupted", "name", "processes", "work", "lock", "down",
    "hosts", "interrupted", "processes", "lock", "down", "work", "pending", "hosts", "interrupted", "hosts", "pending",
)  # fmt: skip


def toolbar(view: View, width: int, now_s: float, summary: Summary | None = None) -> Fragments:
    """The bar in at most ``width`` columns. ``summary``: that of the view, if the caller has it."""
    found = summarize(view) if summary is None else summary
    segments = [
        segment
        for segment in (
            _name(view),
            _down(found),
            _hosts(view, found, now_s),
            _processes(found),
            _pending(view),
            _interrupted(view),
            _lock(view),
            _work(view),
        )
        if segment is not None
    ]
    chosen = {segment.name: 0 for segment in segments}
    for name in _SHORTEN:
        if _width(_laid(segments, chosen)) <= width:
            break
        forms = next((len(one.forms) for one in segments if one.name == name), 0)
        if chosen.get(name, forms) + 1 < forms:
            chosen[name] += 1
    return _cut(_laid(segments, chosen), width)


def prompt(view: View, width: int, summary: Summary | None = None) -> Fragments:
    """``floor> ``, ``floor [2 changes]> ``; red when something is down. At most a third of ``width``, if that leaves room for a name."""
    found = summarize(view) if summary is None else summary
    marks = [_counted(len(view.pending), "change")] if view.pending else []
    marks += ["interrupted"] if view.interrupted else []
    text = f" [{', '.join(marks)}]" if marks else ""
    text += " (read-only)" if view.read_only else ""
    room = max(_SHORT_NAME, width // _PROMPT_SHARE) - 2
    if width_of(text) > room - min(_SHORT_NAME, width_of(view.environment.name)):
        text = f" [{len(view.pending)}]" if view.pending else ""
    name = cut(view.environment.name, max(1, room - width_of(text)))
    return [(PROMPT_BAD if found.is_down else PROMPT, f"{name}{text}> ")]


def _laid(segments: Sequence[_Segment], chosen: dict[str, int]) -> Fragments:
    """The chosen forms in a row."""
    laid: Fragments = []
    for segment in segments:
        form = segment.forms[chosen[segment.name]]
        if form:
            laid += [(BAR, _SEPARATOR if laid else " "), *form]
    return laid


def _width(fragments: Fragments) -> int:
    return sum(width_of(text) for _, text in fragments)


def _cut(fragments: Fragments, width: int) -> Fragments:
    kept: Fragments = []
    room = width
    for style, text in fragments:
        shown = cut(text, room)
        if shown:
            kept.append((style, shown))
        room -= width_of(shown)
        if shown != text:
            break
    return kept


def _forms(style: str, *texts: str) -> tuple[Fragments | tuple[()], ...]:
    """Forms of one style each; those that are no shorter than the one before are left out."""
    kept: list[str] = []
    for text in texts:
        if not kept or width_of(text) < width_of(kept[-1]):
            kept.append(text)
    return tuple([(style, text)] if text else () for text in kept)


def _name(view: View) -> _Segment:
    name = view.environment.name
    mode = " (read-only)" if view.read_only else ""
    return _Segment("name", _forms(BAR, name + mode, cut(name, _SHORT_NAME), ""))


def _down(found: Summary) -> _Segment | None:
    if not found.down:
        return None
    names = found.down[:_NAMES_MAX]
    more = len(found.down) - len(names)
    full = f"DOWN {' '.join(names)}{f' +{more}' if more else ''}"
    one = f"DOWN {names[0]}" + (f" +{len(found.down) - 1}" if len(found.down) > 1 else "")
    return _Segment("down", _forms(BAD, full, one, f"{len(found.down)} DOWN"))


def _hosts(view: View, found: Summary, now_s: float) -> _Segment:
    """``hosts 2/3, b lost 12 s, c silent 20 s``."""
    count = f"{found.hosts_up}/{found.hosts}"
    hosts = dict(shown_hosts(view))
    troubles = [
        (BAD, f"{name} {hosts[name].link.value} {ago(now_s - hosts[name].since_s)}")
        for name in (*found.lost, *found.refused)
    ]
    quiet = [name for name, host in hosts.items() if is_stale(host, now_s)]
    for name in quiet:
        heard_s = hosts[name].heard_s
        troubles.append(
            (WARN, f"{name} silent {ago(now_s - (hosts[name].since_s if heard_s is None else heard_s))}")
        )
    if found.connecting:
        troubles.append((WARN, f"{_named(found.connecting)} connecting"))
    if not troubles:
        return _Segment("hosts", _forms(GOOD, f"hosts {count}", f"{count} hosts", count, ""))
    style = BAD if found.lost or found.refused else WARN
    bad = len(found.lost) + len(found.refused)
    words = [f"{bad} lost"] if bad else []
    words += [f"{len(quiet)} silent"] if quiet else []
    full: Fragments = [(style, f"hosts {count}")]
    for trouble_style, text in troubles[:_NAMES_MAX]:
        full += [(BAR, ", "), (trouble_style, text)]
    if len(troubles) > _NAMES_MAX:
        full.append((BAR, f" +{len(troubles) - _NAMES_MAX}"))
    short = f"hosts {count}{', ' if words else ''}{', '.join(words)}"
    return _Segment("hosts", (full, *_forms(style, short, f"hosts {count}", count, "")))


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else str(len(names))


def _processes(found: Summary) -> _Segment:
    style = GOOD if found.running == found.instances else BAR
    count = f"{found.running}/{found.instances}"
    return _Segment("processes", _forms(style, f"processes {count}", f"proc {count}", ""))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _pending(view: View) -> _Segment | None:
    if not view.pending:
        return None
    count = _counted(len(view.pending), "change")
    return _Segment("pending", _forms(WARN, f"{count} pending", count, f"+{len(view.pending)}", ""))


def _interrupted(view: View) -> _Segment | None:
    if not view.interrupted:
        return None
    return _Segment("interrupted", _forms(WARN, "interrupted: resume or rollback", "interrupted", "!", ""))


def _lock(view: View) -> _Segment | None:
    if not view.locked_by:
        return None
    return _Segment(
        "lock",
        _forms(
            WARN, f"locked by {cut(view.locked_by, 40)}", f"locked by {cut(view.locked_by, 12)}", "locked", ""
        ),
    )


def _work(view: View) -> _Segment | None:
    """The plan that is carried out; else the job that runs, or how many."""
    plan = view.plan
    if plan is not None and plan.ended_s is None:
        count = f"{plan.done}/{plan.steps}"
        failed = f", {plan.failed} FAILED" if plan.failed else ""
        now = next(iter(plan.running.values()), None)
        full = f"{plan.title} {count}{failed}" + (f": {now.text} on {now.host}" if now else "")
        return _Segment(
            "work", _forms(BAD if plan.failed else WARN, full, f"{plan.title} {count}{failed}", count, "")
        )
    jobs = [job for job in view.jobs.values() if job.state is JobState.RUNNING]
    if not jobs:
        return None
    if len(jobs) > 1:
        return _Segment("work", _forms(BAR, f"{len(jobs)} jobs", ""))
    count = f" {jobs[0].done}/{jobs[0].total}" if jobs[0].total else ""
    return _Segment(
        "work",
        _forms(BAR, f"{cut(jobs[0].title, 30)}{count}", f"{cut(jobs[0].title, 12)}{count}", "1 job", ""),
    )
