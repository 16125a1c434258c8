"""Tables: what they say of a view, and how they fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labshell.core.worlds import floor_view, unit

from labshell.core import events
from labshell.core.pictures import hosts_table, jobs_table, plan_table, size_words, status_table
from labshell.core.reduce import reduce
from labshell.core.state import JobState, View
from labshell.core.tables import Cell, Column, Table, fitted, plain_lines
from labshell.core.text import width_of
from labtest.core.environment import Health
from labtest.core.steps import Action, CheckHealth, Plan, PutFile, ReloadManager, Restart, Step
from labtest.core.target import FileTarget, ProcessTarget
from labtest.hosts.interface import LinkState

HOUR_NS = 3_600 * 10**9
NOW_NS = 500_000 * HOUR_NS
STATUS = "serving 3 clients, 12 % of the arena in use, 0 errors"


def floor() -> View:
    """One instance down, one host lost, one with details."""
    view = floor_view()
    details = unit(
        status=STATUS,
        main_pid=1234,
        memory_bytes=300 * 2**20,
        active_since_ns=NOW_NS - 5 * HOUR_NS,
        restarts=2,
    )
    view = reduce(view, events.UnitsReported("a", {"cashy-s3": details}, 21.0))
    view = reduce(
        view, events.UnitsReported("b", {"cashy-s3": unit("failed", "failed", result="signal")}, 21.0)
    )
    return reduce(view, events.LinkChanged("c", LinkState.LOST, "connection reset by peer", 22.0))


def lines(table: Table, width: int) -> list[str]:
    return plain_lines(fitted(table, width))


def test_status_says_what_each_instance_does() -> None:
    assert lines(status_table(floor(), now_s=30.0, now_ns=NOW_NS), 120) == [
        "PROCESS        HOST  STATE               FOR  RESTARTS   MEMORY   PID  STATUS",
        "cashy-master   a     running",
        "cashy-s3       a     running             5 h         2  300 MiB  1234  serving 3 clients, 12 % of the arena in use, 0 e…",
        "cashy-s3       b     down (signal)",
        "toucan-engine  c     unknown (lost 8 s)",
        "toucan-web     c     unknown (lost 8 s)",
    ]


def test_status_fits_eighty_columns_and_says_what_matters() -> None:
    assert lines(status_table(floor(), now_s=30.0, now_ns=NOW_NS), 80) == [
        "PROCESS        HOST  STATE               FOR  RESTARTS  STATUS",
        "cashy-master   a     running",
        "cashy-s3       a     running             5 h         2  serving 3 clients, 12 %…",
        "cashy-s3       b     down (signal)",
        "toucan-engine  c     unknown (lost 8 s)",
        "toucan-web     c     unknown (lost 8 s)",
    ]


def test_status_marks_what_may_be_old() -> None:
    table = status_table(floor_view(), now_s=60.0, now_ns=NOW_NS, instances={"cashy-master@a"})
    assert table.rows[0][2] == Cell("running (40 s ago)", "old")


def test_status_of_what_is_down_leaves_out_what_is_wanted_so() -> None:
    table = status_table(floor(), now_s=30.0, now_ns=NOW_NS, down_only=True)
    assert [(row[0].text, row[1].text) for row in table.rows] == [("cashy-s3", "b"), ("toucan-engine", "c")]
    assert status_table(floor_view(), now_s=30.0, now_ns=NOW_NS, down_only=True).rows == ()


def test_hosts_say_how_they_are_reached() -> None:
    assert lines(hosts_table(floor(), now_s=30.0), 100) == [
        "HOST  LINK      RUNNING  REACHED BY  ADDRESS   GROUPS  WHY",
        "a     up 20 s       2/2  ssh a       10.0.0.1  web",
        "b     up 20 s       0/1  ssh b       10.0.0.2  web",
        "c     lost 8 s      ?/2  namespace   10.0.0.3          connection reset by peer",
    ]
    assert lines(hosts_table(floor(), now_s=30.0, hosts={"c"}), 60) == [
        "HOST  LINK      RUNNING  ADDRESS   WHY",
        "c     lost 8 s      ?/2  10.0.0.3  connection reset by peer",
    ]


def process(name: str) -> ProcessTarget:
    return ProcessTarget(
        process=name,
        unit=f"{name}.service",
        after=(),
        inputs=(),
        health=Health(),
        start_timeout_s=1.0,
        stop_timeout_s=1.0,
    )


def plan() -> Plan:
    file = FileTarget(
        path="/etc/aviary/cashy.toml", sha256="0" * 64, size_bytes=1, mode=0o644, owner="root", group="root"
    )
    actions: list[Action] = [
        PutFile(file, "1" * 64),
        ReloadManager(),
        Restart(process("cashy-s3")),
        CheckHealth(process("cashy-s3")),
    ]
    steps = [
        Step(
            id=4 * place + number,
            host=host,
            action=action,
            needs=(4 * place + number - 1,) if number else (),
            reason="level changed",
        )
        for place, host in enumerate(("cache1", "cache2", "cache3"))
        for number, action in enumerate(actions)
    ]
    return Plan(environment="floor", steps=tuple(steps), index="x", minor=True)


def test_plan_shows_equal_work_on_many_hosts_once() -> None:
    assert lines(plan_table(plan()), 100) == [
        "HOSTS       WHAT                               WHY",
        "cache[1-3]  replace /etc/aviary/cashy.toml     level changed",
        "cache[1-3]  have systemd read its units again  level changed",
        "cache[1-3]  restart cashy-s3                   level changed",
        "cache[1-3]  wait until cashy-s3 is healthy     level changed",
    ]


def test_jobs_say_how_far_they_are() -> None:
    view = floor_view()
    for event in (
        events.JobStarted(1, "logs -f", 1.0),
        events.JobEnded(1, JobState.FAILED, "b: connection lost", 5.0),
        events.JobStarted(2, "restart cashy-s3", 10.0, 4),
        events.JobProgress(2, 1, 4, "cashy-s3@b", 12.0),
    ):
        view = reduce(view, event)
    assert lines(jobs_table(view, now_s=30.0), 80) == [
        "JOB  STATE     FOR  DONE  WHAT              DETAIL",
        "  1  failed    4 s        logs -f           b: connection lost",
        "  2  running  20 s   1/4  restart cashy-s3  cashy-s3@b",
    ]


def test_columns_leave_by_their_rank_and_are_named() -> None:
    table = status_table(floor(), now_s=30.0, now_ns=NOW_NS)
    found = fitted(table, 60)
    assert found.dropped == ("PID", "MEMORY", "RESTARTS")
    assert found.titles == ("PROCESS", "HOST", "STATE", "FOR", "STATUS")
    assert fitted(table, 200).dropped == ()


CELLS = st.text(alphabet="ab漢\n\x1b ", max_size=12).map(Cell)
COLUMNS = st.lists(
    st.builds(
        lambda title, rank, narrowest, right: Column(title=title, rank=rank, narrowest=narrowest, right=right),
        st.text(alphabet="AB", min_size=1, max_size=6), st.integers(0, 5), st.sampled_from([0, 2, 4]), st.booleans(),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = draw(COLUMNS)
    rows = draw(st.lists(st.tuples(*[CELLS] * len(columns)), max_size=4))
    return Table(columns=tuple(columns), rows=tuple(rows), empty="none")


@given(tables(), st.integers(1, 60))
def test_table_fits_and_loses_no_row(table: Table, width: int) -> None:
    found = fitted(table, width)
    assert len(found.rows) == len(table.rows)
    shown = plain_lines(found)
    assert all("\n" not in line and "\x1b" not in line for line in shown)
    always = sum(column.rank == 0 for column in table.columns)
    least = always + 2 * max(0, always - 1)
    if width >= least:
        assert all(width_of(line) <= width for line in shown)
    names = [column.title for column in table.columns if column.rank == 0]
    assert len(found.titles) >= len(names)
    if sum(found.widths) + 2 * max(0, len(found.widths) - 1) < width - 100:
        assert not found.dropped


@given(tables())
def test_table_with_room_shows_everything(table: Table) -> None:
    found = fitted(table, 200)
    assert not found.dropped
    kept = [
        at for at, one in enumerate(table.columns) if one.rank == 0 or any(row[at].text for row in table.rows)
    ]
    assert found.titles == tuple(table.columns[at].title for at in kept)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (300 * 2**20, "300 MiB"),
        (5 * 2**40, "5.0 TiB"),
    ],
)
def test_sizes_are_short(size: int, text: str) -> None:
    assert size_words(size) == text
