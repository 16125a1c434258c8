"""A line into a command with its arguments, or an error that says which part is wrong and what would be right.

Law: reading a line changes nothing and asks no host. What comes out says in full what was meant (:attr:`Bound.spelled`) and what of it was not
typed (:attr:`Bound.inferred`), so that the shell can show both before it acts. Exact names are tried first; abbreviated ones only if that leads
nowhere, and never for a command that changes something.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import msgspec

from labshell.core.candidates import Choices
from labshell.core.commands import COMMANDS, Command, Option, Parameter, ParameterKind, find_command, usage
from labshell.core.errors import (
    Ambiguous,
    BadOption,
    BadValue,
    LineError,
    MissingParameter,
    TooManyWords,
    UnknownCommand,
    named,
)
from labshell.core.infer import Failure, FailureKind, Reading, find_readings
from labshell.core.limits import READINGS_MAX, SUGGESTIONS_MAX
from labshell.core.values import Argument, Inferred, Meaning, Unfit, interpret
from labshell.core.words import Word, quoted, words_of

__all__ = ["Bound", "bind", "parse", "separated"]


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A command with all it needs."""

    command: Command
    #: Names of parameters to values; one that is optional and was left out is not in it.
    arguments: dict[str, Argument] = {}
    #: Names of options to values, ``True`` for a flag; those with a default are always in it.
    options: dict[str, Argument] = {}
    #: What was not typed.
    inferred: tuple[Inferred, ...] = ()
    #: The line in full, as one could have typed it.
    spelled: str = ""

    @property
    def note(self) -> str:
        """What was filled in, and why: ``(host a: the only one)``; empty: nothing."""
        return (
            f"({'; '.join(f'{one.name} {one.value}: {one.why}' for one in self.inferred)})"
            if self.inferred
            else ""
        )

    def flag(self, option: str) -> bool:
        """Whether a flag was given."""
        return bool(self.options.get(option, False))

    def text(self, name: str) -> str | None:
        """An argument's or option's text; None: it was left out."""
        value = self._value(name)
        return ",".join(value) if isinstance(value, tuple) else None if value is None else str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """The names of one that takes several: hosts of a set, instances, words; empty: it was left out."""
        value = self._value(name)
        return value if isinstance(value, tuple) else () if value is None else (str(value),)

    def number(self, name: str) -> int | None:
        """A whole number; None: it was left out."""
        value = self._value(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def seconds(self, name: str) -> float | None:
        """A duration in seconds; None: it was left out, or a word stands there (:meth:`text`)."""
        value = self._value(name)
        return float(value) if isinstance(value, float) else None

    def _value(self, name: str) -> Argument | None:
        value = self.arguments.get(name)
        return self.options.get(name) if value is None else value


class _GivenOption(msgspec.Struct, frozen=True):
    option: Option
    name: Word
    #: None: a flag.
    value: Word | None


def parse(
    line: str, choices: Choices, *, commands: Mapping[str, Command] = COMMANDS, abbreviated: bool = True
) -> Bound | None:
    """Reads a line; None if nothing but space or a comment is there. Raises LineError.

    ``abbreviated`` False: names of values must be whole in every command, as scripts want it.
    """
    words = words_of(line)
    if not words:
        return None
    command = find_command(words[0].text, commands)
    if command is None:
        names = [name for one in commands.values() for name in (one.name, *one.aliases)]
        near = difflib.get_close_matches(words[0].text, names, SUGGESTIONS_MAX)
        problem = f"no command is called {words[0].text or 'nothing'}" + (
            "" if near else "; `help` lists all"
        )
        raise UnknownCommand(problem, start=words[0].start, end=words[0].end, suggestions=near)
    return bind(command, words[1:], choices, abbreviated=abbreviated, end=len(line.rstrip()))


def bind(
    command: Command,
    words: Sequence[Word],
    choices: Choices,
    *,
    abbreviated: bool = True,
    end: int | None = None,
) -> Bound:
    """Gives the words after a command's name to its options and parameters. Raises LineError.

    ``end`` is the end of the line, where missing words are missed.
    """
    given, rest = separated(command, words)
    may_abbreviate = abbreviated and not command.changes
    options, spelled, notes = _options(command, given, choices, abbreviated=may_abbreviate)
    before = {name: str(value) for name, value in options.items()}
    texts = [word.text for word in rest]
    readings, failures = find_readings(command.parameters, texts, choices, before)
    if not readings and may_abbreviate:
        readings, abbreviated_failures = find_readings(
            command.parameters, texts, choices, before, abbreviated=True
        )
        failures = abbreviated_failures
    place = end if end is not None else words[-1].end if words else 0
    if not readings:
        raise _error(command, failures, rest, choices, place)
    if len(readings) > 1:
        raise _ambiguity(command, readings, spelled, rest, place)
    reading = readings[0]
    return Bound(
        command=command,
        arguments=reading.arguments,
        options=options,
        inferred=(*reading.inferred, *notes),
        spelled=_line(command, spelled, reading),
    )


def separated(command: Command, words: Sequence[Word]) -> tuple[list[_GivenOption], list[Word]]:
    """Options with their values, and all other words. Raises BadOption.

    ``--`` ends options; before the words of ``ARGV`` the first word that is none does.
    """
    given: list[_GivenOption] = []
    rest: list[Word] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word.text == "--" and word.plain:
            rest += words[at:]
            break
        if not _is_option(word):
            rest.append(word)
            if command.takes_argv:
                rest += words[at:]
                break
            continue
        one = _given(command, word, words[at] if at < len(words) else None)
        if any(one.option is other.option for other in given):
            raise BadOption(f"--{one.option.name} is given twice", start=word.start, end=word.end)
        given.append(one)
        at += one.value is not None and at < len(words) and one.value is words[at]
    return given, rest


def _is_option(word: Word) -> bool:
    # "-5" is a value; a word that begins with a quote is meant as it stands.
    return len(word.text) > 1 and word.text[0] == "-" and not word.quote and not word.text[1].isdigit()


def _given(command: Command, word: Word, following: Word | None) -> _GivenOption:
    name, equals, value = word.text.partition("=")
    option = command.option(name)
    glued = command.option(word.text[:2]) if option is None else None
    if glued is not None and glued.kind is not None:  # -n20
        return _GivenOption(glued, word, Word(word.text[2:], word.start + 2, word.end, plain=word.plain))
    if option is None:
        names = [f"--{one.name}" for one in command.options]
        near = difflib.get_close_matches(name, names, SUGGESTIONS_MAX)
        has = "" if near else f" (it has {named(names)})" if names else " (it has none)"
        raise BadOption(
            f"{command.name} has no option {name}{has}", start=word.start, end=word.end, suggestions=near
        )
    if option.kind is None:
        if equals:
            raise BadOption(f"--{option.name} has no value", start=word.start, end=word.end)
        return _GivenOption(option, word, None)
    if equals:
        start = word.start + len(name) + 1
        return _GivenOption(option, word, Word(value, start, word.end, plain=word.plain))
    if following is None:
        raise BadOption(f"--{option.name} lacks its value: {option.help}", start=word.start, end=word.end)
    return _GivenOption(option, word, following)


def _options(
    command: Command, given: Sequence[_GivenOption], choices: Choices, *, abbreviated: bool
) -> tuple[dict[str, Argument], list[str], list[Inferred]]:
    """Values of options, the options spelled out, and what was filled in."""
    values: dict[str, Argument] = {}
    spelled: list[str] = []
    notes: list[Inferred] = []
    for one in given:
        if one.value is None:
            values[one.option.name] = True
            spelled.append(f"--{one.option.name}")
            continue
        meaning = _option_meaning(one, one.value, choices, values, abbreviated=abbreviated)
        values[one.option.name] = meaning.value
        spelled += [f"--{one.option.name}", quoted(meaning.spelled)]
        notes += meaning.inferred
    for option in command.options:
        if option.default is None or option.name in values:
            continue
        default = interpret(option.parameter, option.default, choices, {})
        # One that makes no sense here (all hosts of none) is left out, and the handler says what it lacks.
        if isinstance(default, Meaning):
            values[option.name] = default.value
            notes.append(Inferred(option.name, default.spelled, "the default"))
    return values, spelled, notes


def _option_meaning(
    one: _GivenOption, value: Word, choices: Choices, values: Mapping[str, Argument], *, abbreviated: bool
) -> Meaning:
    before = {name: str(other) for name, other in values.items()}
    meaning = interpret(one.option.parameter, value.text, choices, before)
    if isinstance(meaning, Unfit) and abbreviated:
        meaning = interpret(one.option.parameter, value.text, choices, before, abbreviated=True)
    if isinstance(meaning, Unfit):
        problem = f"--{one.option.name}: {meaning.problem}"
        raise BadOption(problem, start=value.start, end=value.end, suggestions=meaning.suggestions)
    return meaning


def _line(command: Command, options: Sequence[str], reading: Reading) -> str:
    # A value that looks like an option is one only behind "--"; words of ARGV do, whatever they look like, once a word stands before them.
    looks = [text[:1] == "-" and not text[1:2].isdigit() for text in reading.spelled]
    ends = ["--"] if any(looks[:1] if command.takes_argv else looks) else []
    words = [command.name, *options, *ends, *reading.spelled]
    return " ".join(word for word in words if word)


def _ambiguity(
    command: Command, readings: Sequence[Reading], options: Sequence[str], rest: Sequence[Word], end: int
) -> Ambiguous:
    lines = [_line(command, options, one) for one in readings[:READINGS_MAX]]
    if len(set(lines)) < len(lines):
        # They differ in what was left out, which no line says.
        pairs = [", ".join(f"{name} {value}" for name, value in one.arguments.items()) for one in readings]
        lines = [f"{line} ({names})" for line, names in zip(lines, pairs, strict=False)]
    more = " and more" if len(readings) > READINGS_MAX else ""
    problem = f"this can be {' | '.join(lines)}{more}: say which"
    return Ambiguous(
        problem, start=rest[0].start if rest else end, end=rest[-1].end if rest else end, readings=lines
    )


def _error(
    command: Command, failures: Sequence[Failure], rest: Sequence[Word], choices: Choices, end: int
) -> LineError:
    """The error of the try that got furthest; of those the one that left out least."""
    furthest = max(one.word for one in failures)
    at_place = sorted((one for one in failures if one.word == furthest), key=lambda one: one.left_out)
    missing = next((one for one in at_place if one.kind is FailureKind.MISSING), None)
    if missing is not None and missing.parameter is not None:
        at = rest[missing.word].start if missing.word < len(rest) else end
        return _missing(command, missing.parameter, choices, missing.before, at)
    unfit = [one for one in at_place if one.kind is FailureKind.UNFIT]
    word = rest[furthest]
    if unfit:
        return _unfit(unfit, word)
    problem = f"{command.name} takes no {quoted(word.text)} here: {usage(command)}"
    return TooManyWords(problem, start=word.start, end=rest[-1].end)


def _missing(
    command: Command, parameter: Parameter, choices: Choices, before: Mapping[str, str], end: int
) -> MissingParameter:
    candidates = list(parameter.words) or [one.text for one in choices.candidates(parameter.kind, before)]
    if candidates:
        what = named(candidates)
    elif parameter.kind in (
        ParameterKind.ARGV,
        ParameterKind.TEXT,
        ParameterKind.VALUE,
        ParameterKind.VERSION,
    ):
        what = parameter.help.rstrip(".")
    else:
        what = "there is none"
    problem = f"{parameter.name.upper()} is missing: {what}  ({usage(command)})"
    return MissingParameter(problem, at=end, parameter=parameter.name, candidates=candidates)


def _unfit(failures: Sequence[Failure], word: Word) -> BadValue:
    reasons = {one.unfit.problem: one for one in failures if one.unfit is not None}
    names = [one.parameter.name for one in failures if one.parameter is not None]
    suggestions = [text for one in failures if one.unfit is not None for text in one.unfit.suggestions]
    return BadValue(
        "; ".join(reasons),
        start=word.start,
        end=word.end,
        parameters=list(dict.fromkeys(names)),
        suggestions=list(dict.fromkeys(suggestions))[:SUGGESTIONS_MAX],
    )
