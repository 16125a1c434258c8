"""What the prompt suggests, where."""

from __future__ import annotations

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from tests.toucan.cli.support import order

from toucan.cli import toucan_group
from toucan.cli.commands import COMMANDS
from toucan.cli.prompt.completion import PromptCompleter, suggestions
from toucan.cli.prompt.picture import Picture
from toucan.core.values import TradingLevel

PICTURE = Picture(
    server="h",
    symbols={"AAPL": "Apple Inc.", "AMD": "AMD", "BTC-USD": "Bitcoin"},
    accounts=("ACC1", "ACC2"),
    orders=(order(12), order(130)),
    levels={"firm": TradingLevel.NORMAL, "firm/desk": TradingLevel.FREEZE},
)


def words(text: str) -> list[str]:
    return [one.text for one in suggestions(text, toucan_group, PICTURE)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bu", ["buy"]),
        ("c", ["cancel"]),
        ("buy ", []),
        ("buy 100 ", ["AAPL", "AMD", "BTC-USD"]),
        ("buy 100 a", ["AAPL", "AMD"]),
        ("toucan sell 1 bt", ["BTC-USD"]),
        ("buy 100 AAPL ", ["@", "market"]),
        ("buy 100 AAPL m", ["market"]),
        ("buy 100 AAPL @ ", []),
        ("buy 100 AAPL @ 1 --tif ", ["day", "gtc", "ioc", "fok", "gtd"]),
        ("buy 100 AAPL @ 1 --tif g", ["gtc", "gtd"]),
        ("buy 100 --tif ioc ", ["AAPL", "AMD", "BTC-USD"]),
        ("buy 100 --post-only ", ["AAPL", "AMD", "BTC-USD"]),
        ("buy 100 AAPL --account ", ["ACC1", "ACC2"]),
        ("preview ", ["buy", "sell"]),
        ("preview buy 100 aa", ["AAPL"]),
        ("cancel ", ["130", "12"]),
        ("cancel 12 ", ["130"]),
        ("cancel --all --symbol AM", ["AMD"]),
        ("cancel --all --side ", ["buy", "sell"]),
        ("replace 1", ["130", "12"]),
        ("kill ", ["firm", "firm/desk"]),
        ("kill firm --level ", ["block-new", "cancel-all", "freeze"]),
        ("limits ", ["remove", "set", "show", "firm", "firm/desk"]),
        ("limits set f", ["firm", "firm/desk"]),
        ("watch ", ["orders", "positions", "market", "events", "staged"]),
        ("watch market ", ["AAPL", "AMD", "BTC-USD"]),
        ("watch market AAPL a", ["AMD"]),
        ("watch orders ", []),
        ("help can", ["cancel"]),
        ("exi", ["exit"]),
        ("nonsense ", []),
        ("buy 100 'AA", []),
    ],
)
def test_what_fits_where(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_all_commands_at_the_beginning() -> None:
    assert words("") == [*(line.name for line in COMMANDS), "help", "exit", "quit"]


def test_options_are_suggested_once_unless_they_repeat() -> None:
    found = words("orders --status new -")
    assert "--status" in found
    assert "--symbol" in found
    assert "--symbol" not in words("orders --symbol AAPL -")
    assert words("orders --sy") == ["--symbol"]


def test_meanings_stand_beside_them() -> None:
    metas = {one.text: one.meta for one in suggestions("cancel ", toucan_group, PICTURE)}
    assert metas["12"] == "buy 100 AAPL @ 189.50 for ACC1: new"
    assert suggestions("kill firm/", toucan_group, PICTURE)[0].meta == "freeze"
    assert suggestions("buy 1 AA", toucan_group, PICTURE)[0].meta == "Apple Inc."


def test_the_completer_replaces_the_word_that_was_begun() -> None:
    completer = PromptCompleter(toucan_group, lambda: PICTURE)
    (completion,) = completer.get_completions(Document("buy 100 btc-"), CompleteEvent())
    assert (completion.text, completion.start_position) == ("BTC-USD", -4)


def _words_of_all_commands() -> list[str]:
    context = click.Context(toucan_group)
    found = [
        "@",
        "market",
        "AAPL",
        "12",
        "firm",
        "'",
        "--",
        "-",
        "show",
        "set",
        *toucan_group.list_commands(context),
    ]
    for name in toucan_group.list_commands(context):
        command = toucan_group.get_command(context, name)
        assert command is not None
        found += [option for parameter in command.params for option in parameter.opts]
    return found


@settings(deadline=None)
@given(st.lists(st.sampled_from(_words_of_all_commands()), max_size=6), st.booleans())
def test_whatever_is_typed_the_suggestions_begin_like_it(typed: list[str], is_new_word: bool) -> None:
    text = " ".join(typed) + (" " if is_new_word else "")
    begun = "" if is_new_word or not typed else typed[-1]
    assert all(one.text.lower().startswith(begun.lower()) for one in suggestions(text, toucan_group, PICTURE))
