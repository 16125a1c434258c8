"""A disk's states, as the table has them."""

from __future__ import annotations

from cashy.core.disk_health import ERRORS_MAX, ERRORS_S, FULL_S, PROBE_S, PROBE_S_MAX, DiskHealth, DiskState


def state_of(health: DiskHealth) -> str:
    return health.state.value


def ready() -> DiskHealth:
    health = DiskHealth()
    health.recovered()
    return health


def test_errors_that_are_far_between_are_borne_and_many_are_not() -> None:
    health = ready()
    for number in range(20):
        assert not health.erred("EIO", number * ERRORS_S)
    health = ready()
    taken_out = [health.erred("EIO", float(number)) for number in range(ERRORS_MAX)]
    assert taken_out == [False] * (ERRORS_MAX - 1) + [True]
    assert health.state is DiskState.FAILED
    assert not health.may_write(1e9)


def test_a_failed_disk_is_probed_less_and_less_often_and_comes_back() -> None:
    health, now, waits = ready(), 0.0, []
    health.failed("gone", now)
    for _ in range(12):
        began = now
        while not health.is_probe_due(now):
            now += 0.5
        waits.append(now - began)
        health.probed("still gone", now)
    assert waits[:3] == [PROBE_S, 2 * PROBE_S, 4 * PROBE_S]
    assert waits[-1] == PROBE_S_MAX
    assert health.reason == "still gone"
    health.probed("", now)
    assert state_of(health) == "recovering"
    assert not health.is_probe_due(now + 1e6)
    health.recovered()
    assert state_of(health) == "ready"


def test_one_that_hangs_is_out_until_all_calls_are_back_and_is_probed_then() -> None:
    health = ready()
    health.hangs("no answer")
    health.hangs("no answer")
    assert state_of(health) == "stuck"
    assert not health.is_probe_due(1e9)
    health.came_back(10.0)
    assert state_of(health) == "stuck"
    health.came_back(11.0)
    assert state_of(health) == "failed"
    assert not health.is_probe_due(11.0)
    assert health.is_probe_due(11.0 + PROBE_S)


def test_a_full_disk_is_read_and_not_written_for_a_time() -> None:
    health = ready()
    health.is_full(100.0)
    assert health.state is DiskState.READY
    assert not health.may_write(100.0 + FULL_S - 0.1)
    assert health.may_write(100.0 + FULL_S)


def test_a_bad_probe_does_not_end_that_it_hangs() -> None:
    health = DiskHealth()
    health.failed("no such folder", 0.0)
    health.probed("", 10.0)
    health.hangs("no answer within 2 s")
    health.probed("no answer within 2 s", 12.0)
    assert state_of(health) == "stuck"
    assert not health.is_probe_due(1000.0)
    health.came_back(1000.0)
    assert state_of(health) == "failed"
    assert health.is_probe_due(1000.0 + PROBE_S_MAX)
