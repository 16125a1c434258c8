"""``cashy top`` without a cluster: its table, its JSON, its screen. With one: tests/system/test_operating.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.cashy.v1 import control_pb2 as pb
from cashy.cli.top import as_dict, snapshots_of
from cashy.cli.top_table import amount, duration, percent, size, table_lines
from cashy.core.activity import Activity, ClusterActivity, HostSnapshot

COUNTERS = {
    "hits_memory": 1200, "hit_bytes_memory": 8_000_000, "blocks_from_peer": 12, "bytes_from_peer": 50_000_000, "blocks_from_origin": 3,
    "bytes_from_origin": 12_600_000, "peer_reads_served": 4, "peer_bytes_served": 16_000_000, "fills_failed": 1, "origin.s3.reads_total": 3,
    "origin.s3.bytes_total": 12_600_000, "origin.s3.queued": 5, "origin.s3.timeouts_total": 7, "arena_used_bytes": 50 << 20, "clients": 9,
    "loop_stall_max_us": 7300,
}  # fmt: skip
REASON = "it does not answer: is its\nmaster running?"


def cluster(count: int = 3, down: int = 2) -> ClusterActivity:
    """Hosts a second after their first snapshot; number ``down`` does not answer."""
    activity = Activity()

    def look(times: int) -> list[HostSnapshot]:
        counters = {name: value * times for name, value in COUNTERS.items()}
        return [
            HostSnapshot(
                f"host{number}",
                error=REASON if number == down else "",
                uptime_s=100.0 + times,
                arena_bytes=64 << 20,
                counters=counters,
            )
            for number in range(1, count + 1)
        ]

    activity.update(look(1))
    return activity.update(look(2))


def text_of(activity: ClusterActivity, width: int, height: int | None = None, first: int = 0) -> list[str]:
    return [line.plain.rstrip() for line in table_lines(activity, width, height, first)]


# --- figures ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.004, "0"), (0.25, "0.25"), (1, "1"), (0.996, "1.0"), (7.34, "7.3"), (9.96, "10.0"), (42.25, "42.2"), (99.96, "100"),
        (999.6, "1.0k"), (12_500, "12.5k"), (123_456, "123k"), (999_999, "1.0M"), (3.2e6, "3.2M"), (1e18, "1.0E"),
    ],
)  # fmt: skip
def test_amounts(value: float, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (512, "512"), (1023, "1023"), (1024, "1.0k"), (64 << 20, "64.0M"), (1000 << 20, "1000M"), (3 << 29, "1.5G"), (1 << 60, "1.0E")],
)  # fmt: skip
def test_sizes(value: float, text: str) -> None:
    assert size(value) == text


@given(value=st.floats(0, 1e20))
def test_no_figure_is_wider_than_its_column(value: float) -> None:
    assert len(amount(value)) <= 5
    assert len(size(value)) <= 5


def test_shares_and_times() -> None:
    assert [percent(share) for share in (0, 0.001, 0.01, 0.5, 0.994, 0.999, 1)] == ["0", "<1", "1", "50", ">99", ">99", "100"]  # fmt: skip
    times = (0, 0.0073, 0.9994, 0.9996, 1.25, 99.96, 3600)
    assert [duration(seconds) for seconds in times] == [
        "0ms",
        "7ms",
        "999ms",
        "1.0s",
        "1.2s",
        "100s",
        "3600s",
    ]


# --- the table ---


def test_a_wide_terminal_has_one_line_a_host() -> None:
    lines = text_of(cluster(), 160)
    assert len(lines) == 2 + 1 + 3
    assert [line.split()[0] for line in lines[1:]] == ["host", "total", "host1", "host2", "host3"]
    assert lines[3].split() == [
        "host1", "1.2k", "8", "12", "50", "3", "12.6", "99", "<1", "<1", "99", "<1", "<1", "3", "12.6", "10", "14", "100M", "64.0M", "4", "16",
        "18", "2", "15ms",
    ]  # fmt: skip
    assert lines[2].split()[:7] == ["total", "2.4k", "16", "24", "100", "6", "25.2"]
    assert lines[4] == "host2  down: it does not answer: is its master running?"


@pytest.mark.parametrize("width", [80, 100, 120, 160, 400])
def test_nothing_is_left_out_and_nothing_is_too_wide(width: int) -> None:
    lines = text_of(cluster(), width)
    assert max(len(line) for line in lines) <= width
    whole = "\n".join(lines)
    for title in ("memory", "peers", "origin", "found in, %", "since start, %", "origin load", "arena", "to peers", "master"):  # fmt: skip
        assert title in whole
    sections = whole.split("\n\n")
    for section in sections:
        assert [line.split()[0] for line in section.split("\n")[1:]] == ["host", "total", "host1", "host2", "host3"]  # fmt: skip


def test_eighty_columns_take_two_sections() -> None:
    assert len("\n".join(text_of(cluster(), 80)).split("\n\n")) == 2


@pytest.mark.parametrize(("width", "height"), [(80, 23), (160, 23), (80, 12), (160, 6)])
def test_more_hosts_than_lines_are_scrolled(width: int, height: int) -> None:
    activity = cluster(60, down=60)
    seen: set[str] = set()
    for first in range(60):
        lines = text_of(activity, width, height, first)
        assert len(lines) <= height
        assert "more hosts" in lines[-1]
        hosts = [line.split()[0] for line in lines if line.startswith("host") and line[4:5].isdigit()]
        assert hosts
        assert any(line.startswith("total") for line in lines)
        seen.update(hosts)
    assert seen == {f"host{number}" for number in range(1, 61)}


def test_as_many_hosts_as_fit_are_all_shown() -> None:
    for width, sections in ((160, 1), (80, 2)):
        full = text_of(cluster(5), width)
        assert len(full) == sections * 8 + sections - 1
        assert text_of(cluster(5), width, len(full)) == full
        assert "more hosts" in text_of(cluster(5), width, len(full) - 1)[-1]


def test_one_host_needs_no_total() -> None:
    assert [line.split()[0] for line in text_of(cluster(1), 160)[1:]] == ["host", "host1"]


def test_reads_of_ssds_are_shown_where_a_host_has_one() -> None:
    counters = COUNTERS | {"disk./mnt/ssd.blocks": 5, "blocks_from_ssd": 700, "bytes_from_ssd": 7_000_000}
    activity = Activity()
    activity.update([HostSnapshot("h", uptime_s=1, counters=COUNTERS)])
    lines = text_of(activity.update([HostSnapshot("h", uptime_s=2, counters=counters)]), 190)
    assert lines[0].split()[:3] == ["memory", "ssd", "peers"]
    assert lines[2].split()[3:5] == ["700", "7"]
    assert lines[1].split().count("ssd") == 2
    assert "ssd" not in "".join(text_of(cluster(), 190))


def test_a_long_name_is_cut() -> None:
    activity = Activity().update([HostSnapshot("a-host-whose-name-has-no-end-whatsoever", uptime_s=1)])
    for width in (40, 80, 160):
        lines = text_of(activity, width)
        assert max(len(line) for line in lines) <= width
        assert lines[2].startswith("a-h")
        assert "…" in lines[2]


def test_before_there_is_an_interval_there_are_no_rates() -> None:
    activity = Activity().update([HostSnapshot("h", uptime_s=1, counters=COUNTERS)])
    assert text_of(activity, 160)[2].split()[1:10] == ["-"] * 9


def test_alarms_are_red_while_they_rise() -> None:
    def reds(activity: ClusterActivity) -> list[str]:
        lines = table_lines(activity, 160)
        return [str(line[span.start : span.end]).strip() for line in lines for span in line.spans if span.style == "red"]  # fmt: skip

    activity = Activity()
    activity.update([HostSnapshot("h", uptime_s=1, counters=COUNTERS)])
    assert reds(activity.update([HostSnapshot("h", uptime_s=2, counters=COUNTERS)])) == []
    risen = COUNTERS | {"origin.s3.timeouts_total": 8, "fills_failed": 3}
    assert reds(activity.update([HostSnapshot("h", uptime_s=3, counters=risen)])) == ["8", "3"]


# --- JSON ---


def test_json_is_plain_and_says_what_is_not_known() -> None:
    made = json.loads(json.dumps(as_dict(cluster())))
    assert made["hosts_up"] == 2
    first, second, _ = made["hosts"]
    assert first["reads_per_s"] == {"memory": 1200, "ssd": 0, "peer": 12, "origin": 3}
    assert first["bytes_per_s"]["origin"] == 12_600_000
    assert first["served"] == {"reads_per_s": 4, "bytes_per_s": 16_000_000}
    assert sum(first["shares"].values()) == pytest.approx(1)
    assert second == {"name": "host2", "address": None, "is_self": False, "up": False, "error": REASON}
    assert made["total"]["reads_per_s"]["memory"] == 2400
    fresh = as_dict(Activity().update([HostSnapshot("h", uptime_s=1)]))["hosts"][0]
    assert fresh["reads_per_s"] is fresh["served"] is fresh["shares"] is None


def test_a_report_as_values() -> None:
    report = pb.ClusterReport()
    own = report.hosts.add(name="a", address="10.0.0.1:7400", is_self=True)
    own.status.uptime_s, own.status.arena_bytes = 2.5, 64
    own.status.counters["clients"] = 3
    report.hosts.add(name="b", error="down")
    assert snapshots_of(report) == [
        HostSnapshot("a", "10.0.0.1:7400", True, "", 2.5, 64, {"clients": 3}),
        HostSnapshot("b", error="down"),
    ]
