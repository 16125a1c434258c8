"""What `cashy evict`, `pin`, `hosts` and `trace` make of what a master says. With masters: tests/system/test_operating_commands.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.cashy.v1.control_pb2 import ClusterReport, HostStatus, StatusReport
from aviary.cashy.v1.operate_pb2 import (
    EvictReport,
    HostEvicted,
    HostPins,
    HostTrace,
    NameFailed,
    PinnedObject,
    PinReport,
    TraceEvent,
    TraceReport,
)
from cashy.cli.evict import EvictTotals
from cashy.cli.hosts import host_rows, print_rows
from cashy.cli.pin_report import is_settled, parse_duration, pin_text, pins_as_dict, time_text
from cashy.cli.trace import parse_range, trace_as_dict
from cashy.cli.trace_picture import trace_lines
from cashy.core.trace import EVENTS, METADATA

# --- lengths of time, ranges ---


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1.5d", 129_600), (" 2 h ", 7200)]
)  # fmt: skip
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "-1s", "2 hours", "h", "1e3", "99999d", "\N{ARABIC-INDIC DIGIT THREE}x"]
)
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="write 90s, 15m, 2h or 1d"):
        parse_duration(text)


@given(seconds=st.floats(0.001, 1e9))
def test_a_length_of_time_in_words_is_short(seconds: float) -> None:
    words = time_text(seconds).split()
    assert 1 <= len(words) <= 2
    said = sum(parse_duration(word) for word in words)
    assert abs(said - max(1, round(seconds))) <= max(1, seconds * 0.05)


@pytest.mark.parametrize(
    ("text", "expected"), [(None, (0, 0)), ("0-", (0, 0)), ("7-", (7, 0)), ("0-0", (0, 1)), ("5-14", (5, 10))]
)
def test_ranges(text: str | None, expected: tuple[int, int]) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize("text", ["", "-5", "5-4", "a-b", "1-2-3", "1" * 19 + "-"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no range|ends before"):
        parse_range(text)


# --- evict ---


def test_answers_of_one_host_add_up_and_a_failure_stays(capsys: pytest.CaptureFixture[str]) -> None:
    totals = EvictTotals()
    totals.add(
        EvictReport(
            hosts=[
                HostEvicted(host="a", objects=1, blocks=2, bytes=2000),
                HostEvicted(host="b", error="down: \nno"),
            ]
        )
    )
    totals.add(
        EvictReport(
            hosts=[HostEvicted(host="a", objects=1, blocks=3, bytes=3000, held_blocks=1, held_bytes=1000, pinned_blocks=4), HostEvicted(host="b")],
            failed=[NameFailed(name="s3://b/k", code="NO_SUCH_OBJECT", message="there is\nnone")],
        )
    )  # fmt: skip
    assert totals.has_failures
    totals.show(is_all=False)
    said = capsys.readouterr()
    assert said.out == (
        "a: 5 blocks, 5,000 bytes of 2 objects evicted; 1 of them (1,000 bytes) are in use, and go when their readers let go; "
        "4 blocks are pinned and stay\n"
    )
    assert said.err == "cashy: failed: s3://b/k: there is none\ncashy: failed: host b: down: no\n"
    assert json.loads(json.dumps(totals.as_dict()))["hosts"][1]["error"] == "down: \nno"
    fine = EvictTotals()
    fine.add(EvictReport(hosts=[HostEvicted(host="a")]))
    assert not fine.has_failures


# --- pins ---


def test_what_is_pinned_in_words_and_when_nothing_more_comes() -> None:
    loading = PinnedObject(name="s3://b/k", blocks=3, bytes=30, blocks_here=1, bytes_here=10, left_s=7199.0)
    assert pin_text(loading) == "for 1h 59m; 1 of 3 blocks are in memory (10 of 30 bytes)"
    failed = PinnedObject(name="s3://b/k", blocks=3, bytes=30, homes_only=True, error="no\nroom")
    assert (
        pin_text(failed)
        == "until it is unpinned; 0 of 3 blocks at home here are in memory (0 of 30 bytes); no room"
    )
    assert not is_settled(PinReport(hosts=[HostPins(objects=[failed, loading])]))
    assert is_settled(PinReport(hosts=[HostPins(objects=[failed]), HostPins(error="down")]))
    (host,) = pins_as_dict(PinReport(hosts=[HostPins(host="a", objects=[failed])]))["hosts"]
    assert (host["objects"][0]["left_s"], host["objects"][0]["error"]) == (None, "no\nroom")


# --- hosts ---


def report_of_three() -> ClusterReport:
    counters = {
        "hits_memory": 75, "blocks_from_origin": 25, "arena_used_bytes": 3 << 20, "origin.s.timeouts_total": 2,
        "peer.b.latency_p50_us": 400, "peer.b.latency_p99_us": 2600,
    }  # fmt: skip
    status = StatusReport(counters=counters, arena_bytes=16 << 20, uptime_s=3700, version="1.2.3")
    return ClusterReport(
        hosts=[
            HostStatus(name="a", address="h:1", weight=1, is_self=True, status=status),
            HostStatus(name="b", address="h:2", weight=3, status=StatusReport(uptime_s=5, version="1.2.4")),
            HostStatus(name="c", address="h:3", weight=0, error="it does\nnot answer"),
        ]
    )


def test_a_row_for_each_host() -> None:
    own, other, away = host_rows(report_of_three())
    assert (own["up"], own["is_self"], own["share"], own["hit_ratio"], own["origin_errors"]) == (
        True,
        True,
        0.25,
        0.75,
        2,
    )
    assert (own["version"], own["uptime_s"], own["latency_p50_s"]) == ("1.2.3", 3700, None)
    assert (other["share"], other["latency_p50_s"], other["latency_p99_s"]) == (0.75, 0.0004, 0.0026)
    assert other["hit_ratio"] is None
    assert (away["up"], away["error"], away["share"], away["uptime_s"]) == (
        False,
        "it does\nnot answer",
        0,
        None,
    )


def test_the_table_has_a_line_for_each_host(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(host_rows(report_of_three()))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 4
    assert lines[0].split() == [
        "host",
        "address",
        "weight",
        "share",
        "state",
        "version",
        "up",
        "for",
        "memory",
        "hits",
        "p50",
        "p99",
        "errors",
    ]
    assert lines[1].split() == [
        "a",
        "h:1",
        "1",
        "25",
        "%",
        "up,",
        "this",
        "host",
        "1.2.3",
        "1h",
        "1m",
        "3.0M",
        "of",
        "16.0M",
        "75",
        "%",
        "-",
        "-",
        "2",
    ]
    assert lines[2].split()[-4:] == ["-", "0.4ms", "2.6ms", "0"]
    assert "down: it does not answer" in lines[3]


# --- trace ---


def a_trace() -> TraceReport:
    own = [
        TraceEvent(at_us=0, block=METADATA, what="asks", where="b"),
        TraceEvent(at_us=1000, block=METADATA, what="refused", where="b", detail="down"),
        TraceEvent(at_us=1000, block=METADATA, what="learnt"),
        TraceEvent(at_us=1000, block=0, what="memory"),
        TraceEvent(at_us=1000, block=1, what="waits", where="peers"),
        TraceEvent(at_us=2000, block=1, what="asked", where="b"),
        TraceEvent(at_us=6000, block=1, what="first byte", where="b"),
        TraceEvent(at_us=10_000, block=1, what="arrived"),
    ]
    theirs = [
        TraceEvent(at_us=50, block=1, what="read", where="a"), TraceEvent(at_us=50, block=1, what="asked", where="store"),
        TraceEvent(at_us=3050, block=1, what="failed", where="store", detail="ORIGIN_TIMEOUT: slow"),
    ]  # fmt: skip
    return TraceReport(
        trace_id=bytes(range(16)), block_count=2, object_blocks=9, size=900, block_bytes=100, version="v", took_us=10_000,
        hosts=[HostTrace(host="a", events=own), HostTrace(host="b", events=theirs), HostTrace(host="c", error="no\nanswer")],
    )  # fmt: skip


def test_the_picture_of_a_trace() -> None:
    lines = [line.plain.rstrip() for line in trace_lines("s3://b/k", a_trace(), 80)]
    assert lines[0] == "s3://b/k"
    assert lines[1].startswith("blocks 0 to 1 of 9, 900 bytes in all, version v; 10.0 ms; trace 000102")
    body = lines[4:]
    width = (80 - len("block 0  ")) // 2
    assert [line[:9].rstrip() for line in body[:4]] == ["metadata", "block 0", "block 1", "  at b"]
    assert body[0].endswith("b: failed after 1.0 ms: down")
    assert body[1].endswith("in memory")
    bar = body[2][9 : 9 + width]
    assert bar.strip() == bar.replace(" ", "")
    assert set(bar.strip()) == {".", "-", "#"}
    assert 0.35 * width < bar.count("#") < 0.45 * width
    assert body[2].endswith("waited for a place 1.0 ms, b: first byte after 4.0 ms, the rest in 4.0 ms")
    theirs = body[3][9 : 9 + width]
    assert theirs.index("-") == bar.index("-"), "it begins where it was asked"
    assert theirs.rstrip().endswith("x")
    assert body[3].endswith("store: failed after 3.0 ms: ORIGIN_TIMEOUT: slow")
    assert body[4] == "host c did not tell: no answer"


def test_a_trace_as_json() -> None:
    made = json.loads(json.dumps(trace_as_dict("s3://b/k", a_trace(), 12.5)))
    assert (made["trace_id"], made["took_ms"], made["asked_ms"]) == (bytes(range(16)).hex(), 10.0, 12.5)
    assert made["hosts"][0]["spans"][-1] == {
        "block": 1, "kind": "transfer", "where": "b", "begin_ms": 6.0, "end_ms": 10.0, "failure": None, "notes": [],
    }  # fmt: skip
    assert made["hosts"][2] == {
        "host": "c",
        "error": "no\nanswer",
        "is_cut": False,
        "events": [],
        "spans": [],
    }
    assert made["failure"] is None


_events = st.builds(
    TraceEvent, at_us=st.integers(0, 1 << 40), block=st.integers(-1, 3), what=st.sampled_from([*EVENTS, "new"]),
    where=st.sampled_from(["", "b", "[red]x"]), detail=st.text(max_size=20),
)  # fmt: skip
_hosts = st.builds(
    HostTrace, host=st.sampled_from(["a", "b"]), events=st.lists(_events, max_size=12), is_cut=st.booleans()
)


@given(hosts=st.lists(_hosts, max_size=3), width=st.integers(1, 200), took_us=st.integers(0, 1 << 40))
def test_any_trace_can_be_drawn(hosts: list[HostTrace], width: int, took_us: int) -> None:
    report = TraceReport(hosts=hosts, took_us=took_us, block_bytes=1, trace_id=bytes(16))
    lines = trace_lines("s3://b/[bold]k", report, width)
    assert lines[0].plain == "s3://b/[bold]k"
    assert all("\n" not in line.plain for line in lines)
    trace_as_dict("s3://b/k", report, 1.0)
