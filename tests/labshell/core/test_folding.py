"""Equal output of many hosts is shown once, and nothing is lost by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labshell.core.folding import HostOutput, fold_lines, fold_outputs
from labtest.hosts.interface import LogLine


def output(host: str, text: bytes = b"", status: int | None = 0) -> HostOutput:
    return HostOutput(host=host, status=status, output=text)


def test_most_come_first_and_the_odd_one_last() -> None:
    outputs = [output("cache3", b"no\n"), *(output(f"cache{number}", b"ok\n") for number in (10, 1, 2))]
    assert [one.header for one in fold_outputs(outputs)] == ["cache[1-2,10] (3)", "cache3 (1)"]


@pytest.mark.parametrize(
    ("status", "header"),
    [(0, "a (1)"), (3, "a (1): status 3"), (-9, "a (1): ended by signal 9"), (None, "a (1): no answer")],
)
def test_header_says_how_it_ended(status: int | None, header: str) -> None:
    assert fold_outputs([output("a", status=status)])[0].header == header


def test_status_tells_groups_apart_and_a_last_newline_does_not() -> None:
    folded = fold_outputs(
        [output("a", b"x"), output("b", b"x\n"), output("c", b"x", 1), output("d", b"x\n\n")]
    )
    assert [one.hosts for one in folded] == [("a", "b"), ("c",), ("d",)]


OUTPUTS = st.lists(
    st.tuples(st.sampled_from([None, 0, 1, -9]), st.sampled_from([b"", b"x", b"x\n", b"y"])), max_size=12
)


@given(OUTPUTS)
def test_every_host_is_in_one_group_with_what_it_said(said: list[tuple[int | None, bytes]]) -> None:
    outputs = [output(f"h{number}", text, status) for number, (status, text) in enumerate(said)]
    folded = fold_outputs(outputs)
    assert sorted(host for one in folded for host in one.hosts) == sorted(one.host for one in outputs)
    for one in folded:
        for host in one.hosts:
            own = next(other for other in outputs if other.host == host)
            assert (own.status, own.output.removesuffix(b"\n")) == (one.status, one.output)
    sizes = [len(one.hosts) for one in folded]
    assert sizes == sorted(sizes, reverse=True)
    assert len({(one.status, one.output) for one in folded}) == len(folded)


def line(at_ns: int, text: str = "x", priority: int = 6) -> LogLine:
    return LogLine(at_ns, "u.service", 1, priority, text)


def test_equal_messages_of_several_hosts_are_one() -> None:
    folded = fold_lines([("b", line(5)), ("a", line(3)), ("a", line(4, "y"))], within_ns=10)
    assert [(one.line.at_ns, one.line.text, one.hosts) for one in folded] == [
        (3, "x", ("a", "b")),
        (4, "y", ("a",)),
    ]


def test_what_a_host_says_twice_stays_twice() -> None:
    assert [one.hosts for one in fold_lines([("a", line(1)), ("a", line(2))], within_ns=10)] == [
        ("a",),
        ("a",),
    ]


@pytest.mark.parametrize(("apart_ns", "count"), [(10, 1), (11, 2)])
def test_messages_too_far_apart_are_two(apart_ns: int, count: int) -> None:
    assert len(fold_lines([("a", line(0)), ("b", line(apart_ns))], within_ns=10)) == count


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.sampled_from("xy"), st.sampled_from([3, 6]))
    )
)
def test_no_message_is_lost_and_order_is_that_of_time(said: list[tuple[str, int, str, int]]) -> None:
    lines = [(host, line(at_ns, text, priority)) for host, at_ns, text, priority in said]
    folded = fold_lines(lines, within_ns=5)
    assert sum(len(one.hosts) for one in folded) == len(lines)
    times = [one.line.at_ns for one in folded]
    assert times == sorted(times)
    assert all(len(set(one.hosts)) == len(one.hosts) for one in folded)
