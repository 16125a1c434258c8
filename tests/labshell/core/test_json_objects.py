"""What ``--json`` prints: the documented fields, all of them, in whatever state things are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labshell.core.test_reduce import EVENTS
from tests.labshell.core.test_tables import plan
from tests.labshell.core.worlds import floor_view, unit

from labshell.core import events
from labshell.core.choices import ViewChoices
from labshell.core.errors import LineError
from labshell.core.folding import HostOutput, fold_lines, fold_outputs
from labshell.core.json_objects import (
    OBJECTS,
    error_json,
    hosts_json,
    iso_time,
    log_line_json,
    outputs_json,
    plan_json,
    status_json,
)
from labshell.core.parse import parse
from labshell.core.reduce import reduce
from labtest.errors import HostUnreachable, LabError
from labtest.hosts.interface import LinkState, LogLine

FIELDS = {
    fields.title.split("`")[1] if "`" in fields.title else "error": [one.name for one in fields.fields]
    for fields in OBJECTS
}


def test_status_has_what_is_known_and_null_for_what_is_not() -> None:
    view = reduce(floor_view(), events.LinkChanged("c", LinkState.LOST, "", 22.0))
    view = reduce(
        view, events.UnitsReported("a", {"cashy-s3": unit(active_since_ns=1_500_000_000, main_pid=7)}, 22.0)
    )
    found = status_json(view, now_s=30.0)
    assert [list(one) for one in found] == [FIELDS["status"]] * 5
    assert found[1] == {
        "process": "cashy-s3", "host": "a", "wanted": True, "condition": "running", "old": False, "unit": "x.service",
        "load": "loaded", "active": "active", "sub": "running", "result": None, "status": None, "main_pid": 7, "restarts": 0,
        "active_since": "1970-01-01T00:00:01.500000000Z", "memory_bytes": None,
    }  # fmt: skip
    assert (found[0]["main_pid"], found[0]["active_since"]) == (None, None)
    assert (found[3]["condition"], found[3]["active"], found[4]["wanted"]) == ("unknown", None, False)


def test_status_is_chosen_as_in_the_table() -> None:
    view = reduce(floor_view(), events.UnitsReported("b", {"cashy-s3": unit("failed", "failed")}, 21.0))
    assert [one["host"] for one in status_json(view, now_s=30.0, down_only=True)] == ["b"]
    assert len(status_json(view, now_s=30.0, instances={"cashy-s3@a", "cashy-s3@b"})) == 2


def test_hosts_have_all_fields() -> None:
    view = reduce(floor_view(), events.LinkChanged("c", LinkState.REFUSED, "no sudo", 22.0))
    found = hosts_json(view, now_s=30.0)
    assert [list(one) for one in found] == [FIELDS["hosts"]] * 3
    assert found[2] == {
        "host": "c", "kind": "namespace", "ssh": None, "address": "10.0.0.3", "groups": [], "link": "refused", "link_seconds": 8.0,
        "silent_seconds": 10.0, "old": False, "reason": "no sudo", "processes": 2, "running": None,
    }  # fmt: skip
    assert [one["host"] for one in hosts_json(view, now_s=30.0, hosts={"b"})] == ["b"]


def test_plan_has_every_step_with_what_it_needs() -> None:
    found = plan_json(plan())
    assert list(found) == FIELDS["plan"]
    steps = found["steps"]
    assert isinstance(steps, list)
    assert [list(one) for one in steps] == [FIELDS["steps"]] * 12
    assert (steps[2]["action"], steps[2]["what"], steps[2]["needs"]) == ("restart", "restart cashy-s3", [1])


def test_outputs_and_logs_have_all_fields() -> None:
    outputs = outputs_json(fold_outputs([HostOutput(host="a", status=None, output=b"\xffno")]))
    assert outputs == [{"hosts": ["a"], "status": None, "output": "\ufffdno"}]
    line = log_line_json(fold_lines([("a", LogLine(1, "u.service", 2, 6, "x"))], within_ns=1)[0])
    assert list(line) == FIELDS["logs"]


@pytest.mark.parametrize(
    ("line", "kind", "candidates"),
    [
        ("bash", "MissingParameter", ["a", "b", "c"]),
        ("restrat", "UnknownCommand", ["restart"]),
        ("plan x", "TooManyWords", []),
    ],
)
def test_error_of_a_line_says_where_and_what_could_stand_there(
    line: str, kind: str, candidates: list[str]
) -> None:
    with pytest.raises(LineError) as caught:
        parse(line, ViewChoices(floor_view()))
    found = error_json(caught.value)
    assert list(found) == FIELDS["errors"]
    assert (found["error"], found["exit_code"], found["start"], found["host"]) == (
        kind,
        2,
        caught.value.start,
        None,
    )
    listed = found["candidates"]
    assert isinstance(listed, list)
    assert listed[: len(candidates)] == candidates


@pytest.mark.parametrize(("error", "host"), [(HostUnreachable("a", "gone"), "a"), (LabError("x"), None)])
def test_error_of_a_host_names_it(error: LabError, host: str | None) -> None:
    found = error_json(error)
    assert (found["host"], found["start"], found["exit_code"]) == (host, None, error.exit_code)


@given(st.lists(EVENTS, max_size=15))
def test_every_view_can_be_printed(happened: list[events.Event]) -> None:
    view = floor_view()
    for event in happened:
        view = reduce(view, event)
    text = json.dumps([status_json(view, now_s=50.0), hosts_json(view, now_s=50.0)])
    assert json.loads(text)


def test_times_are_utc_with_all_nanoseconds() -> None:
    assert iso_time(1_767_323_045_123_456_789) == "2026-01-02T03:04:05.123456789Z"
