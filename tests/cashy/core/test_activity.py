"""Rates and shares out of snapshots: by tables, and what must hold for any counters."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cashy.core.activity import NO_FIGURES, Activity, Figures, Flow, HostSnapshot, Shares

FIRST = {
    "hits_memory": 100, "hit_bytes_memory": 1000, "blocks_from_peer": 10, "bytes_from_peer": 40, "blocks_from_origin": 90,
    "bytes_from_origin": 900, "peer_reads_served": 7, "peer_bytes_served": 70, "fills_failed": 1, "origin.a.reads_total": 50,
    "origin.b.x.reads_total": 40, "origin.a.bytes_total": 900, "origin.a.timeouts_total": 2,
}  # fmt: skip
SECOND = {
    "hits_memory": 160, "hit_bytes_memory": 7000, "blocks_from_peer": 20, "bytes_from_peer": 140, "blocks_from_origin": 120,
    "bytes_from_origin": 1200, "peer_reads_served": 17, "peer_bytes_served": 170, "fills_failed": 3, "origin.a.reads_total": 60,
    "origin.b.x.reads_total": 60, "origin.a.bytes_total": 1200, "origin.a.timeouts_total": 2, "origin.a.connect_failures_total": 1,
    "origin.a.queued": 4, "origin.b.x.queued": 5, "fills_waiting": 6, "arena_used_bytes": 11, "clients": 3, "loop_stall_max_us": 1500,
}  # fmt: skip


def _host(counters: dict[str, int], uptime_s: float, name: str = "h1", error: str = "") -> HostSnapshot:
    return HostSnapshot(name, "10.0.0.1:1", name == "h1", error, uptime_s, 64, counters)


def _figures(*snapshots: HostSnapshot) -> Figures:
    """Of the last of successive snapshots of one host."""
    activity = Activity()
    for snapshot in snapshots:
        last = activity.update([snapshot])
    return last.hosts[0].figures


def test_rates_are_over_the_hosts_own_time() -> None:
    figures = _figures(_host(FIRST, 10.0), _host(SECOND, 12.0))
    assert figures.tiers == {
        "memory": Flow(30, 3000),
        "ssd": Flow(0, 0),
        "peer": Flow(5, 50),
        "origin": Flow(15, 150),
    }
    assert figures.served == Flow(5, 50)
    assert figures.origin_load == Flow(15, 150)
    assert figures.shares == Shares(0.6, 0.0, 0.1, 0.3)
    assert figures.shares_since_start == Shares(160 / 300, 0.0, 20 / 300, 120 / 300)
    assert (figures.origin_waiting, figures.origin_errors, figures.new_errors) == (15, 3, 1)
    assert (figures.failed, figures.new_failed) == (3, 2)
    assert (figures.arena_used_bytes, figures.arena_bytes, figures.clients) == (11, 64, 3)
    assert figures.stall_max_s == pytest.approx(0.0015)


def test_the_first_snapshot_has_levels_and_no_rates() -> None:
    figures = _figures(_host(SECOND, 12.0))
    assert (figures.tiers, figures.served, figures.origin_load, figures.shares) == (None, None, None, None)
    assert figures.shares_since_start == Shares(160 / 300, 0.0, 20 / 300, 120 / 300)
    assert (figures.clients, figures.new_errors, figures.new_failed) == (3, 0, 0)


def test_nothing_read_is_no_share() -> None:
    figures = _figures(_host({}, 1.0), _host({}, 2.0))
    assert figures.tiers == dict.fromkeys(("memory", "ssd", "peer", "origin"), Flow(0, 0))
    assert figures.shares is None
    assert figures.shares_since_start is None


@pytest.mark.parametrize(
    ("counters", "uptime_s"),
    [
        (SECOND, 0.5),  # the uptime fell
        (SECOND, 10.0),  # an answer twice
        ({**SECOND, "hits_memory": 99}, 12.0),  # a counter fell
        ({**SECOND, "origin.b.x.reads_total": 29}, 12.0),
        ({}, 0.25),
    ],
)
def test_a_restarted_host_is_a_new_beginning(counters: dict[str, int], uptime_s: float) -> None:
    activity = Activity()
    activity.update([_host(FIRST, 10.0)])
    restarted = activity.update([_host(counters, uptime_s)])
    assert restarted.hosts[0].figures.tiers is None
    assert restarted.hosts[0].figures.shares is None
    assert restarted.total.tiers is None
    after = activity.update(
        [_host({**counters, "hits_memory": counters.get("hits_memory", 0) + 8}, uptime_s + 4)]
    )
    assert after.hosts[0].figures.tiers is not None
    assert after.hosts[0].figures.tiers["memory"] == Flow(2, 0)


def test_a_host_that_is_down_has_nothing_and_begins_anew() -> None:
    activity = Activity()
    activity.update([_host(FIRST, 10.0), _host(FIRST, 10.0, "h2")])
    down = activity.update([_host(SECOND, 12.0), _host({}, 0.0, "h2", "it does not answer")])
    assert [host.is_up for host in down.hosts] == [True, False]
    assert down.hosts[1].error == "it does not answer"
    assert down.hosts[1].figures == NO_FIGURES
    assert down.hosts_up == 1
    assert down.total.tiers == down.hosts[0].figures.tiers
    back = activity.update([_host(SECOND, 13.0), _host(SECOND, 13.0, "h2")])
    assert back.hosts[1].figures.tiers is None, "what was in between says nothing about now"
    assert back.total.tiers is not None
    assert back.total.clients == 6


def test_a_host_that_leaves_the_list_is_forgotten() -> None:
    activity = Activity()
    activity.update([_host(FIRST, 10.0), _host(FIRST, 10.0, "h2")])
    assert len(activity.update([_host(SECOND, 12.0)]).hosts) == 1
    again = activity.update([_host(SECOND, 13.0), _host(SECOND, 13.0, "h2")])
    assert again.hosts[1].figures.tiers is None


def test_the_total_adds_rates_of_different_intervals() -> None:
    activity = Activity()
    activity.update([_host(FIRST, 10.0), _host(FIRST, 100.0, "h2")])
    total = activity.update([_host(SECOND, 12.0), _host(SECOND, 101.0, "h2")]).total
    assert total.tiers == {
        "memory": Flow(90, 9000),
        "ssd": Flow(0, 0),
        "peer": Flow(15, 150),
        "origin": Flow(45, 450),
    }
    assert total.served == Flow(15, 150)
    assert total.origin_load == Flow(45, 450)
    assert total.shares == Shares(0.6, 0.0, 0.1, 0.3)
    assert total.shares_since_start == Shares(160 / 300, 0.0, 20 / 300, 120 / 300)
    assert (total.failed, total.new_failed, total.origin_errors, total.new_errors) == (6, 4, 6, 2)
    assert (total.arena_used_bytes, total.arena_bytes, total.origin_waiting) == (22, 128, 30)
    assert total.stall_max_s == pytest.approx(0.0015)


def test_no_hosts_at_all() -> None:
    nobody = Activity().update([])
    assert nobody.hosts == ()
    assert nobody.total.tiers is None


_COUNTERS = st.dictionaries(st.sampled_from(sorted(SECOND)), st.integers(0, 1 << 64))
_SNAPSHOTS = st.lists(
    st.lists(
        st.builds(
            _host, _COUNTERS, st.floats(0, 1e9), st.sampled_from(["h1", "h2", "h3"]), st.sampled_from(["", "", "down"])
        ),
        max_size=3,
        unique_by=lambda host: host.name,
    ),
    max_size=6,
)  # fmt: skip


@example(looks=[[_host({}, 0.0)], [_host({"blocks_from_origin": 4}, 2.2e-308)]])
@given(looks=_SNAPSHOTS)
def test_no_rate_is_ever_negative_and_shares_are_a_whole(looks: list[list[HostSnapshot]]) -> None:
    activity = Activity()
    for look in looks:
        now = activity.update(look)
        for figures in (*(host.figures for host in now.hosts), now.total):
            flows = [*(figures.tiers or {}).values(), figures.served, figures.origin_load]
            assert all(min(flow) >= 0 for flow in flows if flow is not None)
            assert min(figures.new_errors, figures.new_failed) >= 0
            for shares in (figures.shares, figures.shares_since_start):
                assert shares is None or sum(shares) == pytest.approx(1)
