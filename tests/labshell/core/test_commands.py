"""The table of commands is complete and agrees with itself; help and reference page say all of it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from hostkit.generated_pages import stale_pages
from labshell.core.choices import ViewChoices
from labshell.core.commands import COMMANDS, Command, Option, Parameter, ParameterKind, find_command, usage
from labshell.core.events import EnvironmentChanged, JobStarted
from labshell.core.parse import parse
from labshell.core.reduce import reduce
from labshell.core.reference import commands_page, help_list, help_text
from labshell.core.state import View, first_view
from labshell.reference import pages
from labtest.core.environment import Environment, HostSpec, ProcessSpec, ReleaseSpec, ToolSpec

REPOSITORY = Path(__file__).resolve().parents[3]
EACH = pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda one: one.name)

#: The environment that all examples of help are about.
EXAMPLES = Environment(
    name="floor",
    hosts=(*(HostSpec(name=f"cache{number}") for number in range(1, 21)), HostSpec(name="c"), HostSpec(name="web1", groups=("web",))),
    processes=(
        ProcessSpec(name="cashy-master", hosts=("cache1", "cache2"), unit="m.service"),
        ProcessSpec(name="cashy-s3", hosts=("cache1", "cache2", "cache3"), unit="s.service"),
        ProcessSpec(name="toucan-engine", hosts=("web1",), unit="e.service"),
        ProcessSpec(name="toucan-server", hosts=("web1",), unit="t.service"),
        ProcessSpec(name="toucan-web", hosts=("web1",), unit="w.service"),
    ),
    releases=(ReleaseSpec(name="aviary", version="0.1.0", source=(), folder="/opt/aviary"),),
    tools=(ToolSpec(name="toucan", run=("toucan",)), ToolSpec(name="cashy", run=("cashy",))),
    variables={"cache_size": "1GiB", "greeting": "hello"},
    groups={"web": ("web1",)},
)  # fmt: skip


def example_view(line: str) -> View:
    view = first_view(EXAMPLES, now_s=0.0)
    if "cache4" in line and "cashy-s3 cache4" in line and line.startswith("remove"):
        on = (*EXAMPLES.processes[1].hosts, "cache4")
        processes = tuple(
            ProcessSpec(name=one.name, hosts=on, unit=one.unit) if one.name == "cashy-s3" else one
            for one in EXAMPLES.processes
        )
        changed = Environment(name="floor", hosts=EXAMPLES.hosts, processes=processes)
        view = reduce(view, EnvironmentChanged(changed, (), 1.0))
    return reduce(view, JobStarted(3, "logs -f", 1.0))


def entries(command: Command) -> list[Parameter | Option]:
    return [*command.parameters, *command.options]


def test_names_and_aliases_are_unique() -> None:
    names = [name for one in COMMANDS.values() for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names))
    assert all(COMMANDS[name].name == name for name in COMMANDS)


@EACH
def test_command_has_help_with_an_example(command: Command) -> None:
    assert command.help.endswith(".")
    assert len(command.help) <= 100
    assert len(command.long_help) > 40
    assert command.examples
    assert all(one.help.rstrip("`").endswith((".", "]")) for one in entries(command))


@EACH
def test_options_and_parameters_do_not_collide(command: Command) -> None:
    names = [one.name for one in entries(command)]
    assert len(names) == len(set(names))
    shorts = [one.short for one in command.options if one.short]
    assert len(shorts) == len(set(shorts))
    assert all(len(short) == 1 for short in shorts)


@EACH
def test_only_the_last_parameter_takes_many_words(command: Command) -> None:
    for one in command.parameters[:-1]:
        assert not one.many
        assert one.kind is not ParameterKind.ARGV


@EACH
def test_flags_agree_with_each_other(command: Command) -> None:
    assert not command.major or command.changes
    assert command.asks == (command.option("--yes") is not None)
    for one in entries(command):
        if one.kind is ParameterKind.WORD:
            assert one.words


@pytest.mark.parametrize("line", [example.line for one in COMMANDS.values() for example in one.examples])
def test_every_example_is_a_line_that_is_understood(line: str) -> None:
    bound = parse(line, ViewChoices(example_view(line)), abbreviated=False)
    assert bound is not None
    assert bound.command is find_command(line.split()[0])


@EACH
def test_help_says_all_of_a_command(command: Command) -> None:
    text = "\n".join(help_text(command))
    assert usage(command) in text
    for one in command.parameters:
        assert one.name.upper() in text
        assert one.help in text
    for option in command.options:
        assert f"--{option.name}" in text
        assert option.help in text
    for example in command.examples:
        assert example.line in text
    assert any(line.split()[:1] == [command.name] for line in help_list())


@EACH
def test_reference_page_says_all_of_a_command(command: Command) -> None:
    page = commands_page()
    section = page.split(f"\n## {command.name}\n")[1].split("\n## ")[0]
    assert command.help in section
    for option in command.options:
        assert f"--{option.name}" in section
    for text in itertools.chain(command.aliases, (example.line for example in command.examples)):
        assert text in section


def test_reference_page_has_no_broken_links() -> None:
    page = commands_page()
    titles = set(re.findall(r"^## (.+)$", page, re.MULTILINE))
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= titles


def test_reference_page_is_fresh() -> None:
    assert stale_pages(pages(), REPOSITORY / "docs") == [], "run `make docs`"
