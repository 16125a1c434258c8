"""What is proposed while a line is typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labshell.core.worlds import floor_view, parsed

from labshell.core.candidates import Candidate
from labshell.core.choices import ViewChoices
from labshell.core.commands import COMMANDS
from labshell.core.complete import COMMAND_HABIT, Suggestion, complete
from labshell.core.declare import ParameterKind
from labshell.core.errors import LineError
from labshell.core.habits import Habits, Use
from labshell.core.state import first_view
from labtest.core.environment import Environment, HostSpec, ProcessSpec

CHOICES = ViewChoices(floor_view())


def proposed(line: str, habits: Habits | None = None) -> list[Suggestion]:
    return complete(line, len(line), CHOICES, habits=habits)


def texts(line: str, habits: Habits | None = None) -> list[str]:
    return [one.text for one in proposed(line, habits)]


def after(line: str, one: Suggestion) -> str:
    return line[: one.start] + one.text


def test_commands_come_in_the_order_of_help() -> None:
    assert texts("")[: len(COMMANDS)] == list(COMMANDS)
    assert texts("re")[:4] == ["restart", "reload", "remove", "remove-host"]
    assert proposed("restart")[0].detail == COMMANDS["restart"].help


def test_exact_then_prefix_then_part() -> None:
    assert texts("st")[:4] == ["st", "status", "start", "stop"]
    assert texts("set") == ["set", "unset"]
    assert texts("sta") == ["status", "start", "restart"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("restart ", ["cashy-master", "cashy-s3", "toucan-engine", "toucan-web"]),
        ("restart s3", ["cashy-s3"]),
        ("restart cashy-s3 t", ["toucan-engine", "toucan-web", "cashy-master"]),
        ("restart cashy-s3@", ["a", "b", "@web"]),
        ("restart cashy-s3@b,", ["a", "b", "@web"]),
        ("restart cashy-s3@@", ["@web"]),
        ("move cashy-s3 ", ["a", "b"]),
        ("move cashy-s3 a ", ["c"]),
        # One host only that it could come from, so hosts to go to are proposed as well.
        ("move cashy-master ", ["a", "b", "c"]),
        ("move cashy-master b", ["b"]),
        ("bash ", ["a", "b", "c"]),
        ("swap ", ["aviary", "0.2.0", "0.1.0"]),
        ("swap aviary ", ["0.2.0", "0.1.0"]),
        ("set ver", ["verbose"]),
        ("set verbose ", ["false", "true"]),
        ("set level ", ["3"]),
        ("set --host b cache_size ", ["4GiB"]),
        ("set cache_size ", ["2GiB"]),
        ("set --host ", ["a", "b", "c"]),
        ("run --on ", ["a", "b", "c", "@web", "@all"]),
        ("run --on a,@w", ["@web"]),
        ("run --on=@w", ["@web"]),
        ("run --on !", ["a", "b", "c", "@web", "@all"]),
        ("run ls ", []),
        ("logs -p w", ["warning"]),
        ("logs --li", ["--lines"]),
        ("logs -f -", ["--grep", "--lines", "--since", "--priority", "--json"]),
        ("debug toucan-engine --with ", ["py-spy", "gdb", "pdb", "strace"]),
        ("restart cashy-s3 -w a", ["ask"]),
        ("tool ", ["toucan", "cashy"]),
        ("help resta", ["restart"]),
        ("apply ", ["--yes", "--no-rollback"]),
        ("quit -- ", []),
        ("nonsense ", []),
        ("restart # ", []),
        # A slip in one word does not end completion of the next.
        ("move cahsy-master a ", ["a", "b", "c"]),
        ("add nonsense ", ["a", "b", "c"]),
    ],
)
def test_what_may_come_next(line: str, expected: list[str]) -> None:
    found = texts(line)
    assert found[: len(expected)] == expected
    assert expected or not found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("restart 'ca", "restart 'cashy-master'"),
        ('restart "s3', 'restart "cashy-s3"'),
        ("run --on 'a,@w", "run --on 'a,@web'"),
        ('restart "cashy-s3@b', 'restart "cashy-s3@b"'),
        ("restart cashy-s3@a,b", "restart cashy-s3@a,b"),
    ],
)
def test_quoted_words_stay_quoted(line: str, expected: str) -> None:
    assert after(line, proposed(line)[0]) == expected


def test_details_say_how_things_are() -> None:
    assert {one.text: one.detail for one in proposed("debug ")} == {
        "cashy-master": "on a, running",
        "cashy-s3": "on 2 hosts",
        "toucan-engine": "on c, running",
        "toucan-web": "on c, stopped",
    }
    assert proposed("swap aviary ")[1].detail == "on 1 host, in use"


def test_only_what_is_before_the_cursor_counts() -> None:
    assert [one.text for one in complete("bash x", 5, CHOICES)] == ["a", "b", "c"]


def test_what_is_used_comes_first_within_its_class() -> None:
    habits = {(COMMAND_HABIT, "remove"): Use(3, 0.0), (COMMAND_HABIT, "restart"): Use(2, 0.0)}
    assert texts("re", habits)[:3] == ["remove", "restart", "reload"]
    # Weight goes before habit: the version in use stays last.
    assert texts("swap aviary ", {("version", "0.1.0"): Use(9999, 0.0)}) == ["0.2.0", "0.1.0"]


def test_there_are_never_more_than_asked_for() -> None:
    assert len(complete("", 0, CHOICES, most=5)) == 5
    assert complete("", 0, CHOICES, most=5) == complete("", 0, CHOICES)[:5]


LINES = st.sampled_from(
    ["", "restart ", "move cashy-s3 ", "move cashy-master ", "set ", "run --on ", "run --on a,", "swap ", "logs -", "tool ",
     "restart cashy-s3@", "debug --with ", "help "]
)  # fmt: skip


@given(LINES, st.text(alphabet="acehstw-3@", max_size=3), st.sampled_from("acehstw-3"))
def test_typing_on_never_brings_back_or_reorders(line: str, typed: str, more: str) -> None:
    """In whole lines as in :mod:`test_matching`: those that keep the kind of their match keep their order."""
    if "@" in typed or not (line + typed).strip():
        return
    before = [after(line, one) for one in complete(line + typed, len(line + typed), CHOICES, most=10_000)]
    longer = line + typed + more
    found = [after(line, one) for one in complete(longer, len(longer), CHOICES, most=10_000)]
    if typed.startswith("-") or (typed + more).startswith("-"):
        return  # from parameters to options
    assert set(found) <= set(before)
    prefixed = [text for text in before if text[len(line) :].startswith(typed + more) and text != longer]
    assert [text for text in found if text in prefixed] == prefixed


@given(st.text(alphabet="restacy-mov@! ,'\"\\#=3\n", max_size=25), st.integers(0, 25))
def test_any_line_is_completed_without_fail(line: str, cursor: int) -> None:
    at = min(cursor, len(line))
    for one in complete(line, at, CHOICES):
        assert 0 <= one.start <= at
        assert one.text


def test_each_proposed_word_is_read_again() -> None:
    """What is chosen from the menu is never an unknown value where it stands."""
    for line in (
        "bash ",
        "restart ",
        "move cashy-master ",
        "hosts ",
        "hosts a,",
        "debug ",
        "tool ",
        "help ",
        "status cashy-s3@",
    ):
        for one in proposed(line):
            found = parsed(after(line, one), CHOICES)
            if isinstance(found, LineError):
                assert "missing" in str(found) or "more than one" in str(found), (line, one)


class CountingChoices(ViewChoices):
    """Notes how many candidates were ever made."""

    made = 0

    def candidates(self, kind: ParameterKind, before: Mapping[str, str]) -> Sequence[Candidate]:
        found = super().candidates(kind, before)
        self.made += len(found)
        return found


@pytest.mark.parametrize(
    "line",
    [
        "restart p",
        "restart process-3@ca",
        "bash 9",
        "run --on cache1,c",
        "move process-7 ",
        "logs process-1 p",
        "status ",
    ],
)
def test_large_environment_is_never_listed_instance_by_instance(line: str) -> None:
    """50,000 instances: hosts, or processes, a few times over, and never their product; that is what keeps it between two keys."""
    names = tuple(f"cache{number}" for number in range(1_000))
    processes = tuple(
        ProcessSpec(name=f"process-{number}", hosts=names[:-1], unit=f"p{number}.service")
        for number in range(50)
    )
    hosts = tuple(HostSpec(name=name) for name in names)
    view = first_view(Environment(name="large", hosts=hosts, processes=processes), now_s=0.0)
    choices = CountingChoices(view)
    assert complete(line, len(line), choices)
    assert choices.made <= 3 * (len(hosts) + len(processes))
