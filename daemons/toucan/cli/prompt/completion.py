"""What the prompt suggests while a command is typed: commands, options, and what the picture knows of symbols, accounts, orders and nodes.

The commands themselves say what goes where (:mod:`toucan.cli.parameters`), so a new one is completed without a word about it here.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import click
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from toucan.cli import parameters
from toucan.cli.lines import END_WORDS
from toucan.cli.prompt.picture import Picture
from toucan.cli.words import staged_words, status_words, terms_words
from toucan.core.values import TradingLevel

__all__ = ["PromptCompleter", "Suggestion", "suggestions"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A word, and what it is."""

    text: str
    meta: str = ""


def suggestions(before_cursor: str, group: click.Group, picture: Picture) -> list[Suggestion]:
    """What may stand where the cursor is, if it begins like what was typed of it."""
    try:
        words = shlex.split(before_cursor)
    except ValueError:
        return []  # within quotes
    is_new_word = not before_cursor or before_cursor[-1].isspace()
    current = "" if is_new_word or not words else words.pop()
    return [one for one in _candidates(words, current, group, picture) if _fits(one.text, current)]


def _fits(text: str, typed: str) -> bool:
    return text.lower().startswith(typed.lower()) and text != typed


def _candidates(words: list[str], current: str, group: click.Group, picture: Picture) -> Iterable[Suggestion]:
    context = click.Context(group)
    if words[:1] in (["help"], ["toucan"]):
        words = words[1:]
    if not words:
        names = [
            Suggestion(name, command.get_short_help_str(80)) for name, command in _commands(group, context)
        ]
        return [
            *names,
            Suggestion("help", "What a command does."),
            *(Suggestion(word, "Ends the prompt.") for word in END_WORDS),
        ]
    command = group.get_command(context, words[0])
    if command is None:
        return ()
    if isinstance(command, click.Group):
        found = command.get_command(context, words[1]) if len(words) > 1 else None
        if found is not None:
            return _of_command(found, words[2:], current, picture)
        shown = command.get_command(context, "show")
        names = (
            [Suggestion(name, one.get_short_help_str(80)) for name, one in _commands(command, context)]
            if len(words) == 1
            else []
        )
        return [*names, *(_of_command(shown, words[1:], current, picture) if shown is not None else ())]
    return _of_command(command, words[1:], current, picture)


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield name, command


def _of_command(
    command: click.Command, words: list[str], current: str, picture: Picture
) -> Iterable[Suggestion]:
    options = {
        name: one
        for one in command.params
        if isinstance(one, click.Option)
        for name in (*one.opts, *one.secondary_opts)
    }
    waiting = options.get(words[-1]) if words else None
    if waiting is not None and not waiting.is_flag:
        return _of_type(waiting.type, [], picture)
    if current.startswith("-"):
        return [
            Suggestion(name, one.help or "")
            for name, one in options.items()
            if name.startswith("--") and (name not in words or one.multiple)
        ]
    return _of_arguments(command, _positional(words, options), picture)


def _positional(words: list[str], options: dict[str, click.Option]) -> list[str]:
    found, is_value = [], False
    for word in words:
        option = options.get(word)
        if not is_value and option is None:
            found.append(word)
        is_value = not is_value and option is not None and not option.is_flag
    return found


def _of_arguments(command: click.Command, words: list[str], picture: Picture) -> Iterable[Suggestion]:
    for argument in (one for one in command.params if isinstance(one, click.Argument)):
        if argument.nargs == -1:
            return _of_type(argument.type, words, picture)
        if not words:
            return _of_type(argument.type, [], picture)
        words = words[1:]
    return ()


def _of_type(kind: click.ParamType[Any], words: list[str], picture: Picture) -> Iterable[Suggestion]:
    if isinstance(kind, click.Choice):
        return [Suggestion(str(choice)) for choice in kind.choices]
    makes = _BY_TYPE.get(kind.name)
    return () if makes is None else makes(picture, words)


def _symbols(picture: Picture, words: list[str]) -> list[Suggestion]:
    return [Suggestion(symbol, text) for symbol, text in picture.symbols.items()]


def _order_words(picture: Picture, words: list[str]) -> list[Suggestion]:
    if len(words) == 1:
        return _symbols(picture, words)
    if len(words) == 2:
        return [Suggestion("@", "A limit price follows."), Suggestion("market", "Whatever the market gives.")]
    return []


def _watch_words(picture: Picture, words: list[str]) -> list[Suggestion]:
    if not words:
        return [
            Suggestion("orders", "What happens to orders."),
            Suggestion("positions", "Positions and their profit."),
            Suggestion("market", "Prices of symbols."),
            Suggestion("events", "Everything, denials too."),
            Suggestion("staged", "Proposals and what is decided about them."),
        ]
    return [one for one in _symbols(picture, words) if one.text not in words] if words[0] == "market" else []


def _order_ids(picture: Picture, words: list[str]) -> list[Suggestion]:
    return [
        Suggestion(str(order.order_id), f"{terms_words(order.terms)}: {status_words(order)}")
        for order in reversed(picture.orders)
        if str(order.order_id) not in words
    ]


def _staged_ids(picture: Picture, words: list[str]) -> list[Suggestion]:
    return [
        Suggestion(str(staged.staged_id), f"{terms_words(staged.terms)}: {staged_words(staged)}")
        for staged in reversed(picture.staged)
        if str(staged.staged_id) not in words
    ]


def _nodes(picture: Picture, words: list[str]) -> list[Suggestion]:
    return [
        Suggestion(node, "" if level is TradingLevel.NORMAL else level.name.lower().replace("_", "-"))
        for node, level in picture.levels.items()
    ]


def _accounts(picture: Picture, words: list[str]) -> list[Suggestion]:
    return [Suggestion(account) for account in picture.accounts]


_BY_TYPE: dict[str, Callable[[Picture, list[str]], list[Suggestion]]] = {
    parameters.SYMBOL.name: _symbols,
    parameters.ACCOUNT.name: _accounts,
    parameters.NODE.name: _nodes,
    parameters.ORDER_ID.name: _order_ids,
    parameters.ORDER_WORDS.name: _order_words,
    parameters.STAGED_ID.name: _staged_ids,
    parameters.WATCH_WORDS.name: _watch_words,
}


class PromptCompleter(Completer):
    """For prompt_toolkit."""

    def __init__(self, group: click.Group, picture: Callable[[], Picture]) -> None:
        self._group = group
        self._picture = picture

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Suggestions for what is typed up to the cursor."""
        text = document.text_before_cursor
        word = document.get_word_before_cursor(WORD=True)
        for one in suggestions(text, self._group, self._picture()):
            yield Completion(one.text, start_position=-len(word), display_meta=one.meta)
