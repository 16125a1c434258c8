"""Which parameters the words of a line are for, when some were left out.

Law: all ways are found of giving the words, in their order, to the parameters, where a parameter that gets none is optional or can be only one thing.
Exactly one way is what was meant; none is an error, and several are an ambiguity that lists them. Nothing is ever preferred among several: the first,
the likeliest and the last used are all guesses. What a parameter can be may depend on those before it, so they are tried from left to right.

One rule keeps this from reading a slip as a value: a parameter that takes any text does not get a word that names (or nearly names) what a
parameter left out just before it could have been. With one variable ``level``, ``set level`` lacks a value; it does not set ``level`` to "level".
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Mapping, Sequence

import msgspec

from labshell.core.candidates import Choices
from labshell.core.declare import CLOSED, Parameter, ParameterKind
from labshell.core.limits import ARGUMENT_WORDS_MAX, READINGS_MAX
from labshell.core.values import Argument, Inferred, Meaning, Unfit, interpret, only_value
from labshell.core.words import quoted

__all__ = ["Failure", "FailureKind", "Reading", "find_readings"]

#: How alike a word and a name are that may be a slip for each other (difflib's ratio).
_NEARLY = 0.75


class Reading(msgspec.Struct, frozen=True):
    """One way to read the words."""

    arguments: dict[str, Argument]
    #: Each argument as one would type it.
    spelled: tuple[str, ...]
    inferred: tuple[Inferred, ...]


class FailureKind(enum.Enum):
    """Why a way of reading ends."""

    UNFIT = enum.auto()
    MISSING = enum.auto()
    TOO_MANY = enum.auto()


class Failure(msgspec.Struct, frozen=True):
    """Where one way of reading ended. ``word`` is the index of the word at fault, or of that before which one is missing."""

    kind: FailureKind
    word: int
    #: Parameters that were left out before.
    left_out: int
    parameter: Parameter | None = None
    unfit: Unfit | None = None
    #: What stood before, as :class:`~labshell.core.candidates.Choices` is asked with.
    before: Mapping[str, str] = {}


class _Path(msgspec.Struct, frozen=True):
    """What has been decided so far."""

    before: dict[str, str]
    arguments: dict[str, Argument] = {}
    spelled: tuple[str, ...] = ()
    inferred: tuple[Inferred, ...] = ()
    #: Parameters left out since the last word that was given to one.
    skipped: tuple[Parameter, ...] = ()
    left_out: int = 0

    def took(self, parameter: Parameter, meaning: Meaning) -> _Path:
        return self._with(parameter, meaning, (), self.left_out)

    def filled(self, parameter: Parameter, meaning: Meaning) -> _Path:
        return self._with(parameter, meaning, (*self.skipped, parameter), self.left_out + 1)

    def empty(self, parameter: Parameter) -> _Path:
        return msgspec.structs.replace(self, skipped=(*self.skipped, parameter), left_out=self.left_out + 1)

    def _with(
        self, parameter: Parameter, meaning: Meaning, skipped: tuple[Parameter, ...], left_out: int
    ) -> _Path:
        text = ",".join(meaning.value) if isinstance(meaning.value, tuple) else str(meaning.value)
        return _Path(
            before=self.before | {parameter.name: text},
            arguments=self.arguments | {parameter.name: meaning.value},
            spelled=(*self.spelled, meaning.spelled) if meaning.spelled else self.spelled,
            inferred=(*self.inferred, *meaning.inferred),
            skipped=skipped,
            left_out=left_out,
        )


class _Search:
    """Tries all ways, depth first."""

    def __init__(
        self, parameters: Sequence[Parameter], words: Sequence[str], choices: Choices, *, abbreviated: bool
    ) -> None:
        self._parameters = parameters
        self._words = words
        self._choices = choices
        self._abbreviated = abbreviated
        self.readings: list[Reading] = []
        self.failures: list[Failure] = []

    def go(self, at: int, word: int, path: _Path) -> None:
        if len(self.readings) > READINGS_MAX:
            return
        if at == len(self._parameters):
            if word == len(self._words):
                self._keep(path)
            else:
                self.failures.append(Failure(FailureKind.TOO_MANY, word, path.left_out))
            return
        parameter = self._parameters[at]
        if word < len(self._words):
            self._take(parameter, at, word, path)
        self._leave_out(parameter, at, word, path)

    def _keep(self, path: _Path) -> None:
        reading = Reading(path.arguments, path.spelled, path.inferred)
        if all(reading.arguments != other.arguments for other in self.readings):
            self.readings.append(reading)

    def _take(self, parameter: Parameter, at: int, word: int, path: _Path) -> None:
        """Gives it one word, or for ``many`` each number of words that fit, or all that are left."""
        if parameter.kind not in CLOSED:
            slip = self._slip(self._words[word], path)
            if slip is not None:
                self._fail(parameter, word, path, slip)
                return
        if parameter.kind is ParameterKind.ARGV:
            rest = tuple(self._words[word:])
            self.go(
                at + 1, len(self._words), path.took(parameter, Meaning(rest, " ".join(map(quoted, rest))))
            )
            return
        taken: list[Meaning] = []
        for index in range(word, min(len(self._words), word + (ARGUMENT_WORDS_MAX if parameter.many else 1))):
            meaning = self._meaning(parameter, index, path)
            if isinstance(meaning, Unfit):
                self._fail(parameter, index, path, meaning)
                return
            taken.append(meaning)
            self.go(at + 1, index + 1, path.took(parameter, _together(taken) if parameter.many else meaning))

    def _meaning(self, parameter: Parameter, word: int, path: _Path) -> Meaning | Unfit:
        text = self._words[word]
        found = interpret(parameter, text, self._choices, path.before, abbreviated=self._abbreviated)
        return (
            msgspec.structs.replace(found, spelled=quoted(found.spelled))
            if isinstance(found, Meaning)
            else found
        )

    def _slip(self, word: str, path: _Path) -> Unfit | None:
        """Why a parameter that takes any text does not take this word."""
        for skipped in path.skipped:
            found = interpret(skipped, word, self._choices, path.before)
            if skipped.kind in CLOSED and isinstance(found, Meaning):
                return Unfit(f"{word} is a {skipped.name} already")
            only = path.before.get(skipped.name)
            if only is not None and difflib.SequenceMatcher(None, word, only).ratio() >= _NEARLY:
                return Unfit(f"no {skipped.name} is called {word}", (only,))
        return None

    def _leave_out(self, parameter: Parameter, at: int, word: int, path: _Path) -> None:
        if parameter.default is not None:
            meaning = interpret(parameter, parameter.default, self._choices, path.before)
            if isinstance(meaning, Meaning):
                note = Inferred(parameter.name, meaning.spelled, "the default")
                self.go(
                    at + 1, word, path.filled(parameter, Meaning(meaning.value, meaning.spelled, (note,)))
                )
            return
        if parameter.optional:
            self.go(at + 1, word, path.empty(parameter))
            return
        only = only_value(parameter, self._choices, path.before)
        if only is not None:
            self.go(at + 1, word, path.filled(parameter, only))
        elif word == len(self._words) or self._is_for_next(at, word, path):
            failure = Failure(FailureKind.MISSING, word, path.left_out, parameter, None, path.before)
            self.failures.append(failure)

    def _is_for_next(self, at: int, word: int, path: _Path) -> bool:
        """Whether the word names what the parameter after this one can be: then this one is missing, and the word is not wrong."""
        if at + 1 == len(self._parameters) or self._parameters[at + 1].kind not in CLOSED:
            return False
        found = interpret(self._parameters[at + 1], self._words[word], self._choices, path.before)
        return isinstance(found, Meaning)

    def _fail(self, parameter: Parameter, word: int, path: _Path, unfit: Unfit) -> None:
        self.failures.append(Failure(FailureKind.UNFIT, word, path.left_out, parameter, unfit, path.before))


def _together(taken: Sequence[Meaning]) -> Meaning:
    """Several words of one parameter as its value: names without repeats."""
    names: dict[str, None] = {}
    for one in taken:
        names.update(dict.fromkeys(one.value if isinstance(one.value, tuple) else (str(one.value),)))
    notes = tuple(note for one in taken for note in one.inferred)
    return Meaning(tuple(names), " ".join(one.spelled for one in taken), notes)


def find_readings(
    parameters: Sequence[Parameter],
    words: Sequence[str],
    choices: Choices,
    before: Mapping[str, str],
    *,
    abbreviated: bool = False,
) -> tuple[list[Reading], list[Failure]]:
    """All ways to give the words to the parameters, in order, at most ``READINGS_MAX + 1``; and where the other tries ended."""
    search = _Search(parameters, words, choices, abbreviated=abbreviated)
    search.go(0, 0, _Path(before=dict(before)))
    return search.readings, search.failures
