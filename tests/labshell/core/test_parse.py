"""Lines of the real table of commands: options, values, abbreviations, errors with their places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labshell.core.worlds import floor_view, parsed

from labshell.core.choices import ViewChoices
from labshell.core.errors import (
    BadOption,
    BadValue,
    LineError,
    MissingParameter,
    TooManyWords,
    UnfinishedQuote,
    UnknownCommand,
)
from labshell.core.limits import ARGUMENT_WORDS_MAX
from labshell.core.parse import Bound, parse

CHOICES = ViewChoices(floor_view())


def read(line: str, *, abbreviated: bool = True) -> Bound:
    bound = parse(line, CHOICES, abbreviated=abbreviated)
    assert bound is not None
    return bound


@pytest.mark.parametrize("line", ["", "   ", "# a comment", "\t"])
def test_nothing_is_no_command(line: str) -> None:
    assert parse(line, CHOICES) is None


@pytest.mark.parametrize(
    ("line", "full"),
    [
        ("restart cashy-master", "restart cashy-master@a   (host a: the only one)"),
        ("restart cashy-s3", "restart cashy-s3@a,b   (hosts a,b: all 2 of it)"),
        ("restart cashy-s3@b --batch 25% -w ask", "restart --batch 25% --wait ask cashy-s3@b   "),
        ("restart cashy-s3@@web", "restart cashy-s3@a,b   "),
        ("restart *@c", "restart *@c   "),
        ("restart cashy-*", "restart cashy-*   "),
        ("move cashy-master c", "move cashy-master a c   (from a: the only one)"),
        ("swap 0.2.0", "swap aviary 0.2.0   (release aviary: the only one)"),
        ("set level 5 --host b", "set --host b level 5   "),
        ("set level -5", "set level -5   "),
        ("set -- level --x", "set -- level --x   "),
        ("set level 'a b'", "set level 'a b'   "),
        ("run uptime", "run uptime   (on @all: the default; timeout 60: the default)"),
        ("run --on=@web -t 5m -- sh -c 'a | b'", "run --on @web --timeout 5m sh -c 'a | b'   "),
        ("run ls -la --on", "run ls -la --on   (on @all: the default; timeout 60: the default)"),
        ("run -- -x", "run -- -x   (on @all: the default; timeout 60: the default)"),
        ("tool toucan --json positions", "tool toucan --json positions   "),
        ("status", "status   "),
        ("st --down", "status --down   "),
        ("hosts !c", "hosts !c   "),
        ("logs engine -n 5", "logs --lines 5 toucan-engine@c   (instances toucan-engine: for engine; host c: the only one)"),
        ("help restart", "help restart   "),
        ("exit", "quit   "),
    ],
)  # fmt: skip
def test_line_is_shown_in_full(line: str, full: str) -> None:
    bound = read(line)
    assert f"{bound.spelled}   {bound.note}" == full


def test_values_have_their_types() -> None:
    bound = read("logs -f --grep 'a b' -n 7 --since 10m -p warning cashy-s3 toucan-engine")
    assert bound.flag("follow")
    assert not bound.flag("json")
    assert bound.text("grep") == "a b"
    assert bound.number("lines") == 7
    assert bound.text("since") == "10m"
    assert bound.texts("instances") == ("cashy-s3@a", "cashy-s3@b", "toucan-engine@c")
    assert read("run -t 1.5m x").seconds("timeout") == 90.0
    assert read("restart cashy-s3 --wait ask").seconds("wait") is None
    assert read("restart cashy-s3 --wait ask").text("wait") == "ask"
    assert read("restart cashy-s3").seconds("wait") is None
    assert read("run --on @web x").texts("on") == ("a", "b")
    assert read("run x 'y z'").texts("argv") == ("x", "y z")
    assert read("debug toucan-engine").text("instance") == "toucan-engine@c"
    assert read("status").texts("instances") == ()
    assert read("set level 5").text("value") == "5"


def test_instances_named_twice_are_taken_once() -> None:
    assert read("stop cashy-s3@a cashy-s3 *@a").texts("instances") == (
        "cashy-s3@a",
        "cashy-s3@b",
        "cashy-master@a",
    )


@pytest.mark.parametrize(
    ("line", "kind", "message", "place"),
    [
        ("restrat x", UnknownCommand, "did you mean restart", (0, 7)),
        ("xyzzy", UnknownCommand, "`help` lists all", (0, 5)),
        ("restart", MissingParameter, "INSTANCES is missing: cashy-master, cashy-s3", (7, 7)),
        ("restart cahsy-s3", BadValue, "no process is called cahsy-s3; did you mean cashy-s3", (8, 16)),
        ("restart cashy-s3@c", BadValue, "cashy-s3 does not run on c; it runs on a or b", (8, 18)),
        ("restart cashy-s3@x", BadValue, "no host is called x", (8, 18)),
        ("restart zz*", BadValue, "no process matches zz", (8, 11)),
        ("debug cashy-s3", BadValue, "cashy-s3 is more than one: cashy-s3@a or cashy-s3@b", (6, 14)),
        ("bash", MissingParameter, "HOST is missing: a, b or c", (4, 4)),
        ("move cashy-s3 a b", BadValue, "TO cannot be b", (16, 17)),
        ("set level", MissingParameter, "VALUE is missing", (9, 9)),
        ("cancel", MissingParameter, "there is none", (6, 6)),
        ("plan now", TooManyWords, "plan takes no now here", (5, 8)),
        ("run", MissingParameter, "ARGV is missing: The command", (3, 3)),
        ("apply --yse", BadOption, "has no option --yse; did you mean --yes", (6, 11)),
        ("apply --yes=1", BadOption, "--yes has no value", (6, 13)),
        ("apply --yes -y", BadOption, "given twice", (12, 14)),
        ("logs -n", BadOption, "--lines lacks its value", (5, 7)),
        ("logs -n 0", BadOption, "no whole number of at least 1", (8, 9)),
        ("logs --lines=x", BadOption, "x is no whole number", (13, 14)),
        ("logs -p bad", BadOption, "PRIORITY cannot be bad", (8, 11)),
        ("restart cashy-s3 -b 101%", BadOption, "more than all", (20, 24)),
        ("restart cashy-s3 -b 0", BadOption, "no batch", (20, 21)),
        ("restart cashy-s3 -w soon", BadOption, "no duration", (20, 24)),
        ("logs -s yesterday", BadOption, "no time", (8, 17)),
        ("hosts a!a", BadValue, "leaves no host", (6, 9)),
        ("help 'x", UnfinishedQuote, "not closed", (5, 7)),
    ],
)
def test_error_says_what_where_and_what_would_be_right(
    line: str, kind: type[LineError], message: str, place: tuple[int, int]
) -> None:
    with pytest.raises(kind) as caught:
        read(line)
    assert message in str(caught.value)
    assert (caught.value.start, caught.value.end) == place
    assert caught.value.marked(line).splitlines()[1].startswith(" " * place[0] + "^")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("line", ["status master", "status cashy-m", "logs engine", "logs cashy-s3 -p warn"])
def test_abbreviations_are_taken_where_nothing_is_changed(line: str) -> None:
    assert "for " in read(line).note
    with pytest.raises(LineError):
        read(line, abbreviated=False)


@pytest.mark.parametrize(
    "line", ["restart master", "stop engine", "move master c", "remove-host bb", "tool touc", "reload s3@a"]
)
def test_abbreviations_are_refused_where_something_is_changed(line: str) -> None:
    with pytest.raises(LineError):
        read(line)


def test_abbreviation_of_several_lists_them() -> None:
    with pytest.raises(BadValue, match="toucan can be toucan-engine or toucan-web: say which"):
        read("status toucan")


def test_exact_name_goes_before_a_longer_one() -> None:
    assert read("help set").text("command") == "set"


def test_commands_are_not_abbreviated() -> None:
    with pytest.raises(UnknownCommand):
        read("hist")


def test_words_of_one_parameter_have_a_limit() -> None:
    assert len(read("status " + "cashy-s3@a " * ARGUMENT_WORDS_MAX).texts("instances")) == 1
    with pytest.raises(TooManyWords):
        read("status " + "cashy-s3@a " * (ARGUMENT_WORDS_MAX + 1))


LINES = st.lists(
    st.sampled_from(
        [
            "restart", "move", "run", "set", "logs", "status", "swap", "tool", "bash", "ssh", "debug", "hosts", "add", "help",
            "cashy-s3", "cashy-master", "cashy-s3@a", "*@c", "a", "b", "c", "@web", "!a", "level", "aviary", "0.2.0", "toucan",
            "-n", "--on", "--", "-f", "5", "25%", "-5", "'a b'", "--batch", "--host", "--json", "--wait=ask", "x",
        ]
    ),
    max_size=6,
).map(" ".join)  # fmt: skip


@given(LINES)
def test_line_in_full_is_read_as_the_same(line: str) -> None:
    bound = parsed(line, CHOICES)
    if not isinstance(bound, Bound):
        return
    again = read(bound.spelled)
    assert (again.command, again.arguments, again.options) == (bound.command, bound.arguments, bound.options)
    assert again.spelled == bound.spelled


@given(st.one_of(LINES, st.text(max_size=40)))
def test_any_text_is_read_or_refused_with_a_place(line: str) -> None:
    found = parsed(line, CHOICES)
    if isinstance(found, LineError):
        assert 0 <= found.start <= found.end <= len(line)
