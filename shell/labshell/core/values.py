"""What a word means as the value of a parameter, and which value a parameter has that nobody named.

Law: a word means one thing or it is unfit, with the reason and the nearest that would fit. Exact names go first. An abbreviation (a prefix that only
one candidate has, else a part that only one has) is taken only where the caller says so: never in a command that changes something, since what is
unique today may be another one tomorrow. Only a closed kind with exactly one candidate is inferred.
"""

from __future__ import annotations

import datetime
import difflib
import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from labshell.core.candidates import Choices
from labshell.core.declare import CLOSED, Parameter, ParameterKind
from labshell.core.errors import named
from labshell.core.fold import fold_hosts
from labshell.core.limits import SUGGESTIONS_MAX
from labshell.core.nodeset import NodeSetError, parse_hosts

__all__ = ["Argument", "Inferred", "Meaning", "Unfit", "duration_s", "interpret", "only_value", "since_ns"]

#: What a handler gets: text, a whole number, seconds, or names.
Argument = str | int | float | tuple[str, ...]

_NS = 1_000_000_000
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER_DIGITS_MAX = 9

#: Kinds whose candidates are all there are of that name; others can also be there and not fit.
_CALLED = frozenset(CLOSED - {ParameterKind.HOST_WITH, ParameterKind.HOST_WITHOUT, ParameterKind.WORD})


class Inferred(msgspec.Struct, frozen=True):
    """Something that was not typed: what was filled in for it, and why."""

    #: Of a parameter, or ``host`` of an instance.
    name: str
    value: str
    #: ``the only one``, ``the default``, ``all of it``, ``for maste``.
    why: str


class Meaning(msgspec.Struct, frozen=True):
    """What a word, or nothing, stands for."""

    value: Argument
    #: As one would type it in full.
    spelled: str
    inferred: tuple[Inferred, ...] = ()


class Unfit(msgspec.Struct, frozen=True):
    """Why a word is no value of a parameter."""

    problem: str
    suggestions: tuple[str, ...] = ()


def interpret(
    parameter: Parameter,
    word: str,
    choices: Choices,
    before: Mapping[str, str],
    *,
    abbreviated: bool = False,
    spelled: bool = True,
) -> Meaning | Unfit:
    """What a word means as the value of a parameter. ``abbreviated``: parts of names will do.

    ``spelled`` False: only the value is wanted, which for instances on a thousand hosts is had in half the time.
    """
    if word in parameter.words:
        return Meaning(word, word)
    kind = parameter.kind
    if kind is ParameterKind.HOSTS:
        return _hosts(word, choices)
    if kind in (ParameterKind.INSTANCE, ParameterKind.INSTANCES):
        return _instances(parameter, word, choices, abbreviated=abbreviated, spelled=spelled)
    if kind in _READERS:
        return _READERS[kind](word)
    if kind not in CLOSED:
        return Meaning(word, word)
    texts = parameter.words or [one.text for one in choices.candidates(kind, before)]
    name = _name(kind.value if kind in _CALLED else "", word, texts, abbreviated=abbreviated)
    if isinstance(name, Unfit):
        problem = name.problem or f"{parameter.name.upper()} cannot be {word}" + (
            f" ({named(texts)})" if texts else ""
        )
        return Unfit(problem, name.suggestions)
    return Meaning(name, name, () if name == word else (Inferred(parameter.name, name, f"for {word}"),))


def only_value(parameter: Parameter, choices: Choices, before: Mapping[str, str]) -> Meaning | None:
    """The one thing that a parameter can be; None: it can be several, anything, or nothing."""
    kind = parameter.kind
    if kind not in CLOSED:
        return None
    value: Argument
    if kind is ParameterKind.HOSTS:
        names = choices.hosts().names
        spelled, value = (names[0], names) if len(names) == 1 else ("", ())
    elif kind in (ParameterKind.INSTANCE, ParameterKind.INSTANCES):
        spelled = _only_instance(choices.instances())
        value = spelled if kind is ParameterKind.INSTANCE else (spelled,)
    else:
        texts = set(parameter.words) or {one.text for one in choices.candidates(kind, before)}
        spelled = value = texts.pop() if len(texts) == 1 else ""
    return Meaning(value, spelled, (Inferred(parameter.name, spelled, "the only one"),)) if spelled else None


def _only_instance(instances: Mapping[str, tuple[str, ...]]) -> str:
    running = [(process, hosts) for process, hosts in instances.items() if hosts]
    if len(running) != 1 or len(running[0][1]) != 1:
        return ""
    return f"{running[0][0]}@{running[0][1][0]}"


def _name(label: str, word: str, texts: Sequence[str], *, abbreviated: bool) -> str | Unfit:
    if word in texts:
        return word
    if abbreviated and word:
        for fits in (str.startswith, str.__contains__):
            found = sorted({text for text in texts if fits(text, word)})
            if len(found) == 1:
                return found[0]
            if found:
                return Unfit(f"{word} can be {named(found)}: say which", tuple(found[:SUGGESTIONS_MAX]))
    near = difflib.get_close_matches(word, texts, SUGGESTIONS_MAX)
    if not label:
        return Unfit("", tuple(near))
    there_is = "" if near else f" ({named(texts)})" if texts else " (there is none)"
    return Unfit(f"no {label} is called {word or 'nothing'}{there_is}", tuple(near))


def _hosts(word: str, choices: Choices) -> Meaning | Unfit:
    try:
        names = parse_hosts(word, choices.hosts())
    except NodeSetError as error:
        return Unfit(error.problem, error.suggestions)
    if not names:
        return Unfit(f"{word} leaves no host")
    return Meaning(names, word)


def _instances(
    parameter: Parameter, word: str, choices: Choices, *, abbreviated: bool, spelled: bool
) -> Meaning | Unfit:
    running = choices.instances()
    part, at, where = word.partition("@")
    processes = _processes(part, running, abbreviated=abbreviated)
    if isinstance(processes, Unfit):
        return processes
    found = _placed(processes, where if at else None, running, choices)
    if isinstance(found, Unfit):
        return found
    texts = tuple(f"{process}@{host}" for process, hosts in found.items() for host in hosts)
    if parameter.kind is ParameterKind.INSTANCE and len(texts) > 1:
        return Unfit(f"{word} is more than one: {named(texts)}")
    value = texts[0] if parameter.kind is ParameterKind.INSTANCE else texts
    if not spelled:
        return Meaning(value, word)
    notes = (
        [] if processes[0] == part or "*" in part else [Inferred(parameter.name, processes[0], f"for {part}")]
    )
    if len(found) > 1:
        return Meaning(value, word, tuple(notes))
    name, hosts = next(iter(found.items()))
    folded = fold_hosts(hosts)
    if not at:
        alone = ("host", folded, "the only one")
        notes.append(Inferred(*(alone if len(hosts) == 1 else ("hosts", folded, f"all {len(hosts)} of it"))))
    return Meaning(value, f"{name}@{folded}", tuple(notes))


def _processes(part: str, running: Mapping[str, tuple[str, ...]], *, abbreviated: bool) -> list[str] | Unfit:
    if "*" in part:
        matching = fnmatch.filter(running, part)
        return matching or Unfit(f"no process matches {part}")
    name = _name("process", part, list(running), abbreviated=abbreviated)
    return name if isinstance(name, Unfit) else [name]


def _placed(
    processes: list[str], where: str | None, running: Mapping[str, tuple[str, ...]], choices: Choices
) -> dict[str, tuple[str, ...]] | Unfit:
    """The hosts of each process, those that ``where`` names. A process on none of them has no part in it."""
    if where is None:
        found = {process: running[process] for process in processes if running[process]}
        return found or Unfit(f"{processes[0]} runs on no host")
    wanted = _hosts(where, choices)
    if isinstance(wanted, Unfit):
        return Unfit(wanted.problem, tuple(f"{processes[0]}@{one}" for one in wanted.suggestions))
    assert isinstance(wanted.value, tuple)
    on = frozenset(wanted.value)
    found = {
        process: kept for process in processes if (kept := tuple(filter(on.__contains__, running[process])))
    }
    if found:
        return found
    what = processes[0] if len(processes) == 1 else "none of these processes"
    hosts = running[processes[0]] if len(processes) == 1 else ()
    runs = f"; it runs on {named(hosts)}" if hosts else ""
    return Unfit(
        f"{what} does not run on {where}{runs}", tuple(f"{what}@{one}" for one in hosts[:SUGGESTIONS_MAX])
    )


def duration_s(text: str) -> float | None:
    """``90``, ``90s``, ``1.5h``, ``2d`` or ``500ms`` in seconds; None: it is none of these."""
    match = _DURATION.fullmatch(text)
    if match is None or len(match.group(1)) > _NUMBER_DIGITS_MAX:
        return None
    return float(match.group(1)) * _UNIT_S[match.group(2)]


def since_ns(text: str, now_ns: int) -> int | None:
    """A time in ns since the epoch: a duration before ``now_ns``, or ISO 8601 (in UTC, if it names no zone); None: it is neither."""
    back_s = duration_s(text)
    if back_s is not None:
        return max(0, now_ns - int(back_s * _NS))
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return max(0, int(at.timestamp()) * _NS)


def _read_number(word: str) -> Meaning | Unfit:
    if not word.isascii() or not word.isdigit() or len(word) > _NUMBER_DIGITS_MAX or int(word) < 1:
        return Unfit(f"{word or 'nothing'} is no whole number of at least 1")
    return Meaning(int(word), word)


def _read_duration(word: str) -> Meaning | Unfit:
    seconds = duration_s(word)
    return (
        Unfit(f"{word or 'nothing'} is no duration: 90, 90s, 5m, 2h")
        if seconds is None
        else Meaning(seconds, word)
    )


def _read_batch(word: str) -> Meaning | Unfit:
    share = word.removesuffix("%")
    if not share.isascii() or not share.isdigit() or len(share) > _NUMBER_DIGITS_MAX or int(share) < 1:
        return Unfit(f"{word or 'nothing'} is no batch: 3, or 25%")
    if share != word and int(share) > 100:
        return Unfit(f"{word} is more than all of them")
    return Meaning(word, word)


def _read_since(word: str) -> Meaning | Unfit:
    if since_ns(word, 0) is None:
        return Unfit(f"{word or 'nothing'} is no time: 10m, 2h, 2026-01-02T03:04")
    return Meaning(word, word)


_READERS: Mapping[ParameterKind, Callable[[str], Meaning | Unfit]] = {
    ParameterKind.NUMBER: _read_number,
    ParameterKind.DURATION: _read_duration,
    ParameterKind.BATCH: _read_batch,
    ParameterKind.SINCE: _read_since,
}
