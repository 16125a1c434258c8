"""The history that an audit log comes to, also one that was cut off or never ended."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from labshell.core.json_results import RESULTS, collected_json, history_json, reached_json

HISTORY = [one.name for one in next(each for each in RESULTS if "history" in each.title).fields]


def record(
    event: str, job: int, line: str = "restart x", *, pid: int = 7, changes: bool = True
) -> dict[str, Any]:
    whole = {
        "event": event, "at": f"2026-01-02T03:04:{job:02d}+00:00", "user": "ada", "sudo_user": "", "host": "desk", "tty": "", "client": "",
        "pid": pid, "job": job, "command": line.split()[0], "line": line, "changes": changes,
    }  # fmt: skip
    ended = {"result": "done", "exit": 0, "problem": "", "elapsed_s": 1.5}
    return whole | ended if event == "ended" else whole


def test_beginning_and_end_are_one_command_and_looks_are_none() -> None:
    records = [record("began", 1), record("ended", 2, "status", changes=False), record("ended", 1)]
    (one,) = history_json(records, 20)
    assert list(one) == HISTORY
    assert (one["line"], one["result"], one["exit"], one["elapsed_s"]) == ("restart x", "done", 0, 1.5)


def test_what_never_ended_has_no_result_and_what_began_before_the_log_is_there() -> None:
    first, second = history_json([record("ended", 1), record("began", 2, pid=8)], 20)
    assert first["result"] == "done"
    assert (second["result"], second["exit"], second["problem"]) == (None, None, "")


def test_a_process_id_that_comes_again_is_another_command() -> None:
    records = [record("began", 1), record("began", 1), record("ended", 1)]
    assert [one["result"] for one in history_json(records, 20)] == ["done"]


@given(st.lists(st.tuples(st.sampled_from(("began", "ended")), st.integers(1, 5))), st.integers(1, 5))
def test_no_more_than_was_asked_for_and_all_fields(events: list[tuple[str, int]], count: int) -> None:
    found = history_json([record(event, job) for event, job in events], count)
    assert len(found) == min(count, len({job for _, job in events}))
    assert all(list(one) == HISTORY for one in found)


def test_nothing_collected_and_an_unreached_host_have_all_fields() -> None:
    assert collected_json(None, ["a"]) == {"change": None, "what": None, "pending": ["a"]}
    assert reached_json("a", "gone") == {"host": "a", "connected": False, "reason": "gone"}
