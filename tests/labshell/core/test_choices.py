"""What a view offers to choose from."""

from __future__ import annotations

import pytest
from tests.labshell.core.worlds import floor_view

from labshell.core import events
from labshell.core.candidates import Candidate
from labshell.core.choices import ViewChoices
from labshell.core.commands import COMMANDS
from labshell.core.declare import ParameterKind
from labshell.core.reduce import reduce
from labshell.core.state import JobState, View
from labtest.hosts.interface import LinkState


def offered(kind: ParameterKind, view: View | None = None, **before: str) -> list[Candidate]:
    return list(ViewChoices(view or floor_view()).candidates(kind, before))


def texts(kind: ParameterKind, view: View | None = None, **before: str) -> list[str]:
    return [one.text for one in offered(kind, view, **before)]


def test_hosts_say_their_groups_and_how_they_are() -> None:
    view = reduce(floor_view(), events.LinkChanged("b", LinkState.LOST, "", 30.0))
    assert offered(ParameterKind.HOST, view) == [
        Candidate("a", "@web"),
        Candidate("b", "@web lost"),
        Candidate("c", ""),
    ]


def test_hosts_of_a_process_and_the_others() -> None:
    assert offered(ParameterKind.HOST_WITH, process="cashy-s3") == [
        Candidate("a", "running"),
        Candidate("b", "running"),
    ]
    assert texts(ParameterKind.HOST_WITHOUT, process="cashy-s3") == ["c"]
    assert texts(ParameterKind.HOST_WITH, process="none") == []
    assert texts(ParameterKind.HOST_WITHOUT, process="none") == ["a", "b", "c"]


def test_host_that_cannot_be_reached_comes_last_to_move_to() -> None:
    view = reduce(floor_view(), events.LinkChanged("b", LinkState.LOST, "", 30.0))
    assert {
        one.text: one.weight for one in offered(ParameterKind.HOST_WITHOUT, view, process="toucan-web")
    } == {"a": 0, "b": -1}


def test_groups_come_after_hosts_and_all_is_one() -> None:
    found = offered(ParameterKind.HOSTS)
    assert [one.text for one in found] == ["a", "b", "c", "@web", "@all"]
    assert [one.detail for one in found[3:]] == ["2 hosts", "3 hosts"]


@pytest.mark.parametrize(
    ("before", "values"),
    [
        ({}, {"cache_size": "2GiB", "level": "3", "verbose": "true"}),
        ({"host": "b"}, {"cache_size": "4GiB", "level": "3", "verbose": "true"}),
        ({"host": "a"}, {"cache_size": "2GiB", "level": "3", "verbose": "true"}),
        ({"process": "toucan-engine"}, {"cache_size": "2GiB", "level": "3", "verbose": "true"}),
    ],
)
def test_variables_have_the_value_that_counts_there(before: dict[str, str], values: dict[str, str]) -> None:
    assert {one.text: one.detail for one in offered(ParameterKind.VARIABLE, None, **before)} == values


def test_values_begin_with_what_would_be_a_change() -> None:
    assert offered(ParameterKind.VALUE, variable="verbose") == [
        Candidate("false", "not as it is"),
        Candidate("true", "as it is", -1),
    ]
    assert texts(ParameterKind.VALUE, variable="level") == ["3"]
    assert texts(ParameterKind.VALUE, variable="none") == []


def test_only_jobs_that_run_can_be_chosen() -> None:
    view = reduce(
        reduce(floor_view(), events.JobStarted(1, "logs -f", 1.0)), events.JobStarted(2, "run x", 1.0)
    )
    assert offered(ParameterKind.JOB, view) == [Candidate("1", "logs -f"), Candidate("2", "run x")]
    assert texts(ParameterKind.JOB, reduce(view, events.JobEnded(1, JobState.DONE, "", 2.0))) == ["2"]


def test_versions_are_those_of_the_release_on_hosts() -> None:
    view = reduce(floor_view(), events.VersionsReported("b", {"aviary": ("0.1.0",)}, 30.0))
    assert {one.text: one.detail for one in offered(ParameterKind.VERSION, view, release="aviary")} == {
        "0.1.0": "on 2 hosts, in use",
        "0.2.0": "on 1 host",
    }
    assert texts(ParameterKind.VERSION, release="other") == []


def test_commands_tools_and_releases_say_what_they_are() -> None:
    assert offered(ParameterKind.TOOL)[0] == Candidate("toucan", "order entry")
    assert offered(ParameterKind.RELEASE) == [Candidate("aviary", "0.1.0")]
    assert texts(ParameterKind.COMMAND)[: len(COMMANDS)] == list(COMMANDS)
    assert texts(ParameterKind.UNIT) == ["x.service"]
    assert texts(ParameterKind.FILE) == []
    assert texts(ParameterKind.TEXT) == []
