"""What may come next in a line that is being typed.

Law: everything proposed comes from the table of commands and from :class:`~labshell.core.candidates.Choices`, both in memory. The words before the
cursor are read as inference reads them, so parameters that were left out are passed over here as well: after ``move cashy-master`` hosts to move to
are proposed, if there is one host only that it could come from. The order is that of :mod:`labshell.core.matching`, which keeps still
while more is typed. Sets of hosts and instances are completed part by part (after ``,``, ``!``, ``&``, ``@``), since all of them would be too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from labshell.core.candidates import Candidate, Choices
from labshell.core.commands import COMMANDS, Command, Option, Parameter, ParameterKind, find_command
from labshell.core.errors import LineError
from labshell.core.habits import Habits, score
from labshell.core.limits import ARGUMENT_WORDS_MAX, COMPLETIONS_MAX
from labshell.core.matching import ranked
from labshell.core.nodeset import last_term
from labshell.core.values import Meaning, Unfit, interpret, only_value
from labshell.core.words import Word, quoted, split

__all__ = ["COMMAND_HABIT", "Suggestion", "complete"]

#: The kind under which uses of commands are kept (:mod:`labshell.core.habits`).
COMMAND_HABIT = "command"


class Suggestion(msgspec.Struct, frozen=True):
    """One proposal: ``text`` takes the place of the line from ``start`` to the cursor."""

    text: str
    start: int
    #: What the menu shows: the name without quotes.
    display: str
    #: What it is, in a few words.
    detail: str = ""


class _Place(msgspec.Struct, frozen=True):
    """A part of the current word, and what it can be."""

    typed: str
    start: int
    #: What the word has before that part, if the whole word must be written anew to be quoted rightly.
    prefix: str
    quote: str
    #: With the habit each is looked up under.
    candidates: Sequence[tuple[str, Candidate]]


def complete(
    line: str,
    cursor: int,
    choices: Choices,
    *,
    commands: Mapping[str, Command] = COMMANDS,
    habits: Habits | None = None,
    now_s: float = 0.0,
    most: int = COMPLETIONS_MAX,
) -> list[Suggestion]:
    """Proposals for what stands before the cursor, the best first. ``now_s`` is that of ``habits``, and the same while one line is typed."""
    try:
        found = split(line[:cursor])
    except LineError:
        return []
    if found.comment or found.open_quote == "\\":
        return []
    words = list(found.words)
    current = words.pop() if words and words[-1].end == cursor else Word("", cursor, cursor)
    known = habits or {}

    def score_of(pair: tuple[str, Candidate]) -> float:
        # Weight goes before habit, whatever the habit: the score of one is far smaller than 1e9.
        return pair[1].weight * 1e9 + (score(known.get((pair[0], pair[1].text)), now_s) if known else 0.0)

    suggestions: dict[tuple[str, int], Suggestion] = {}
    for place in _places(words, current, choices, commands):
        for _, one in ranked(place.typed, place.candidates, lambda pair: pair[1].text, score_of):
            made = _suggestion(place, one)
            suggestions.setdefault((made.text, made.start), made)
            if len(suggestions) >= most:
                return list(suggestions.values())
    return list(suggestions.values())


def _suggestion(place: _Place, one: Candidate) -> Suggestion:
    return Suggestion(quoted(place.prefix + one.text, place.quote), place.start, one.text, one.detail)


def _places(
    words: Sequence[Word], current: Word, choices: Choices, commands: Mapping[str, Command]
) -> Iterator[_Place]:
    if not words:
        names = choices.candidates(ParameterKind.COMMAND, {})
        yield _whole(current, [(COMMAND_HABIT, one) for one in names or _command_names(commands)])
        return
    command = find_command(words[0].text, commands)
    if command is None:
        return
    before, rest, waiting, ended = _read_options(command, words[1:], choices)
    if waiting is not None:
        yield from _of_parameters([(waiting.parameter, before)], current, choices)
        return
    is_dashed = current.text.startswith("-") and not current.quote and not ended
    if is_dashed:
        yield from _option_places(command, before, current, choices)
        return
    parameters = _next_parameters(command.parameters, [word.text for word in rest], before, choices)
    yield from _of_parameters(parameters, current, choices)
    if not parameters and not current.text and not ended:
        yield from _option_places(command, before, current, choices)


def _command_names(commands: Mapping[str, Command]) -> list[Candidate]:
    return [Candidate(one.name, one.help) for one in commands.values()]


def _read_options(
    command: Command, words: Sequence[Word], choices: Choices
) -> tuple[dict[str, str], list[Word], Option | None, bool]:
    """What options say, the other words, the option that waits for its value, and whether options are over. Errors are passed over."""
    before: dict[str, str] = {}
    rest: list[Word] = []
    waiting: Option | None = None
    for at, word in enumerate(words):
        if waiting is not None:
            before[waiting.name], waiting = word.text, None
            continue
        if word.text == "--" and word.plain:
            return before, [*rest, *words[at + 1 :]], None, True
        name, equals, value = word.text.partition("=")
        option = None if word.quote else command.option(name)
        if option is None:
            rest.append(word)
            if command.takes_argv:
                return before, [*rest, *words[at + 1 :]], None, True
        elif option.kind is None or equals:
            before[option.name] = value
        else:
            waiting = option
    return before, rest, waiting, False


def _option_places(
    command: Command, before: Mapping[str, str], current: Word, choices: Choices
) -> Iterator[_Place]:
    name, equals, value = current.text.partition("=")
    option = command.option(name)
    if equals:
        if option is not None and option.kind is not None:
            start = current.start + len(name) + 1
            part = Word(value, start, current.end, plain=current.plain)
            yield from _of_parameters([(option.parameter, before)], part, choices)
        return
    free = [one for one in command.options if one.name not in before]
    yield _whole(current, [("option", Candidate(f"--{one.name}", one.help)) for one in free])


def _next_parameters(
    parameters: Sequence[Parameter], words: Sequence[str], before: Mapping[str, str], choices: Choices
) -> list[tuple[Parameter, Mapping[str, str]]]:
    """The parameters that the next word can be for, with what stands before each, in their order.

    Words that fit nothing are given to parameters in their order, so that a slip in one word does not end completion of the next.
    """
    found: dict[str, tuple[Parameter, Mapping[str, str]]] = {}
    _collect(parameters, 0, words, dict(before), choices, found, strict=True)
    if not found and words:
        _collect(parameters, 0, words, dict(before), choices, found, strict=False)
    order = {one.name: at for at, one in enumerate(parameters)}
    return sorted(found.values(), key=lambda pair: order[pair[0].name])


def _collect(
    parameters: Sequence[Parameter],
    at: int,
    words: Sequence[str],
    before: dict[str, str],
    choices: Choices,
    found: dict[str, tuple[Parameter, Mapping[str, str]]],
    *,
    strict: bool,
) -> None:
    """Adds those that can be reached once all words are given to parameters."""
    if at == len(parameters):
        return
    parameter = parameters[at]
    if words:
        taken = 0
        for word in words[: ARGUMENT_WORDS_MAX if parameter.many else 1]:
            meaning = interpret(parameter, word, choices, before, spelled=False)
            if isinstance(meaning, Unfit) and strict:
                break
            taken += 1
            given = before | {parameter.name: _text(meaning, word)}
            _collect(parameters, at + 1, words[taken:], given, choices, found, strict=strict)
        if parameter.many and taken == len(words):
            found.setdefault(parameter.name, (parameter, before))
        if not strict:
            return
    else:
        found.setdefault(parameter.name, (parameter, before))
    skipped = _left_out(parameter, choices, before)
    if skipped is not None:
        _collect(parameters, at + 1, words, skipped, choices, found, strict=strict)


def _text(meaning: Meaning | Unfit, word: str) -> str:
    if isinstance(meaning, Unfit):
        return word
    return ",".join(meaning.value) if isinstance(meaning.value, tuple) else str(meaning.value)


def _left_out(parameter: Parameter, choices: Choices, before: dict[str, str]) -> dict[str, str] | None:
    """What stands before the next one if this one is left out; None: it cannot be."""
    if parameter.default is not None or parameter.optional:
        return before
    only = only_value(parameter, choices, before)
    return None if only is None else before | {parameter.name: _text(only, "")}


def _of_parameters(
    parameters: Sequence[tuple[Parameter, Mapping[str, str]]], current: Word, choices: Choices
) -> Iterator[_Place]:
    """One place for all that take whole words, so that their candidates are ranked together; others part by part."""
    whole: list[tuple[str, Candidate]] = []
    for parameter, before in parameters:
        whole += [(parameter.kind.value, Candidate(word)) for word in parameter.words]
        if parameter.kind is ParameterKind.HOSTS:
            yield _host_place(current, 0, choices.candidates(ParameterKind.HOSTS, before))
        elif parameter.kind in (ParameterKind.INSTANCE, ParameterKind.INSTANCES) and "@" in current.text:
            yield _instance_place(current, choices)
        elif parameter.kind is not ParameterKind.WORD:
            whole += [(parameter.kind.value, one) for one in choices.candidates(parameter.kind, before)]
    if whole:
        yield _whole(current, whole)


def _whole(current: Word, candidates: Sequence[tuple[str, Candidate]]) -> _Place:
    return _Place(current.text, current.start, "", current.quote, candidates)


def _host_place(current: Word, skip: int, candidates: Sequence[Candidate]) -> _Place:
    """The last term of a set of hosts, which begins ``skip`` characters into the word at the earliest."""
    at = skip + last_term(current.text[skip:])
    pairs = [(ParameterKind.HOST.value, one) for one in candidates]
    typed, prefix = current.text[at:], current.text[:at]
    if current.plain and not current.quote:
        return _Place(typed, current.start + at, "", "", pairs)
    return _Place(typed, current.start, prefix, current.quote, pairs)


def _instance_place(current: Word, choices: Choices) -> _Place:
    """After the ``@`` of an instance: the hosts of that process, and groups that have some of them."""
    process, _, _ = current.text.partition("@")
    known, on = choices.hosts(), frozenset(choices.instances().get(process, choices.hosts().names))
    hosts = choices.candidates(ParameterKind.HOST_WITH, {"process": process})
    if not hosts:
        hosts = [Candidate(name) for name in known.names if name in on]
    groups = [
        Candidate(f"@{group}", f"{len(on.intersection(names))} of its hosts")
        for group, names in known.groups.items()
        if on.intersection(names)
    ]
    return _host_place(current, len(process) + 1, [*hosts, *groups])
