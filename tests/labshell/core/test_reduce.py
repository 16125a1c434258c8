"""How events change a view; and that nothing else does."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labshell.core.worlds import FLOOR, floor_view, unit

from labshell.core import events
from labshell.core.limits import HEARD_STEP_S, JOBS_KEPT_MAX, STALE_AFTER_S, TEXT_CHARACTERS_MAX
from labshell.core.reduce import reduce
from labshell.core.state import Condition, HostView, JobState, View, condition, first_view, is_stale
from labshell.core.summary import Summarizer, summarize
from labtest.core.environment import HostSpec
from labtest.hosts.interface import LinkState


def after(view: View, *happened: events.Event) -> View:
    for event in happened:
        view = reduce(view, event)
    return view


def test_at_first_nothing_is_known() -> None:
    view = first_view(FLOOR, now_s=5.0)
    assert [host.link for host in view.hosts.values()] == [LinkState.CONNECTING] * 3
    assert condition(view, "cashy-s3", "a", wanted=True) is Condition.UNKNOWN


@pytest.mark.parametrize(
    ("active", "sub", "load", "wanted", "expected"),
    [
        ("active", "running", "loaded", True, Condition.RUNNING),
        ("active", "exited", "loaded", True, Condition.RUNNING),
        ("activating", "start", "loaded", True, Condition.STARTING),
        ("activating", "auto-restart", "loaded", True, Condition.DOWN),
        ("reloading", "reload", "loaded", True, Condition.STARTING),
        ("deactivating", "stop-sigterm", "loaded", True, Condition.STOPPING),
        ("inactive", "dead", "loaded", True, Condition.DOWN),
        ("inactive", "dead", "loaded", False, Condition.STOPPED),
        ("failed", "failed", "loaded", False, Condition.DOWN),
        ("inactive", "dead", "not-found", True, Condition.ABSENT),
        ("inactive", "dead", "masked", True, Condition.DOWN),
    ],
)
def test_condition_follows_from_the_unit(
    active: str, sub: str, load: str, wanted: bool, expected: Condition
) -> None:
    view = after(floor_view(), events.UnitsReported("a", {"cashy-s3": unit(active, sub, load=load)}, 21.0))
    assert condition(view, "cashy-s3", "a", wanted=wanted) is expected


@pytest.mark.parametrize("link", [state for state in LinkState if state is not LinkState.UP])
def test_process_of_a_host_that_is_not_connected_is_unknown_and_never_down(link: LinkState) -> None:
    view = after(floor_view(), events.LinkChanged("a", link, "gone", 30.0))
    assert condition(view, "cashy-s3", "a", wanted=True) is Condition.UNKNOWN
    assert view.hosts["a"].units
    assert view.hosts["a"].reason == "gone"


def test_what_was_known_before_a_connection_was_lost_is_not_taken_for_new() -> None:
    lost = after(floor_view(), events.LinkChanged("a", LinkState.LOST, "", 30.0))
    back = after(lost, events.LinkChanged("a", LinkState.UP, "", 40.0))
    assert condition(back, "cashy-s3", "a", wanted=True) is Condition.UNKNOWN
    assert back.hosts["a"].since_s == 40.0


def test_link_that_stays_as_it_was_keeps_its_time() -> None:
    view = floor_view()
    again = after(view, events.LinkChanged("a", LinkState.UP, "", 99.0))
    assert again is view
    lost = after(
        view,
        events.LinkChanged("a", LinkState.LOST, "x", 30.0),
        events.LinkChanged("a", LinkState.LOST, "y", 31.0),
    )
    assert (lost.hosts["a"].since_s, lost.hosts["a"].reason) == (30.0, "y")


def test_silence_makes_stale_and_a_sign_ends_it() -> None:
    view = floor_view()
    assert not is_stale(view.hosts["a"], 20.0 + STALE_AFTER_S)
    assert is_stale(view.hosts["a"], 20.0 + STALE_AFTER_S + 0.01)
    heard = after(view, events.Heard("a", 40.0))
    assert not is_stale(heard.hosts["a"], 41.0)
    lost = after(view, events.LinkChanged("a", LinkState.LOST, "", 30.0))
    assert not is_stale(lost.hosts["a"], 1_000.0)
    assert is_stale(HostView(link=LinkState.UP, since_s=0.0), STALE_AFTER_S + 1)


def test_signs_that_are_close_together_change_nothing() -> None:
    view = floor_view()
    assert after(view, events.Heard("a", 20.0 + HEARD_STEP_S / 2)) is view
    assert after(view, events.UnitsReported("a", view.hosts["a"].units, 20.1)) is view
    assert after(view, events.Heard("a", 20.0 + HEARD_STEP_S)) is not view
    assert after(view, events.Heard("a", 1.0)) is view


def test_report_of_some_units_keeps_the_others_and_a_whole_one_does_not() -> None:
    view = floor_view()
    some = after(view, events.UnitsReported("a", {"cashy-s3": unit("failed", "failed")}, 21.0))
    assert set(some.hosts["a"].units) == {"cashy-master", "cashy-s3"}
    whole = after(view, events.UnitsReported("a", {"cashy-s3": unit()}, 21.0, whole=True))
    assert set(whole.hosts["a"].units) == {"cashy-s3"}


def test_another_environment_keeps_what_is_known_of_its_hosts() -> None:
    view = floor_view()
    hosts = (FLOOR.hosts[1], HostSpec(name="d"))
    changed = msgspec.structs.replace(FLOOR, hosts=hosts)
    found = after(view, events.EnvironmentChanged(changed, (), 50.0))
    assert list(found.hosts) == ["b", "d"]
    assert found.hosts["b"] is view.hosts["b"]
    assert found.hosts["d"].since_s == 50.0


def test_plan_counts_its_steps_and_ends_once() -> None:
    view = after(
        floor_view(),
        events.PlanStarted("apply", 3, 30.0),
        events.StepStarted(0, "a", "stop x", 30.0),
        events.StepStarted(1, "b", "stop x", 30.0),
        events.StepEnded(0, True, "", 31.0),
        events.StepEnded(1, False, "timeout", 32.0),
        events.StepEnded(1, False, "again", 32.0),
        events.StepEnded(7, True, "", 32.0),
    )
    assert view.plan is not None
    assert (view.plan.done, view.plan.failed, view.plan.problem, dict(view.plan.running)) == (
        1,
        1,
        "b: timeout",
        {},
    )
    ended = after(view, events.PlanEnded(False, "rolled back", 33.0))
    assert ended.plan is not None
    assert (ended.plan.ended_s, ended.plan.ok, ended.plan.outcome) == (33.0, False, "rolled back")
    assert after(ended, events.StepStarted(2, "a", "x", 34.0)) is ended
    assert after(ended, events.PlanEnded(True, "no", 34.0)) is ended


def test_job_that_has_ended_never_runs_again() -> None:
    view = after(floor_view(), events.JobStarted(1, "logs", 1.0), events.JobProgress(1, 2, 5, "half", 2.0))
    assert (view.jobs[1].done, view.jobs[1].total) == (2, 5)
    ended = after(view, events.JobEnded(1, JobState.CANCELLED, "by you", 3.0))
    for late in (
        events.JobProgress(1, 3, 5, "", 4.0),
        events.JobEnded(1, JobState.DONE, "", 4.0),
        events.JobStarted(1, "other", 4.0),
        events.JobProgress(9, 1, 1, "", 4.0),
    ):
        assert after(ended, late) is ended


def test_ended_jobs_are_kept_up_to_a_limit_and_running_ones_all() -> None:
    view = floor_view()
    for job in range(JOBS_KEPT_MAX):
        view = after(
            view, events.JobStarted(job, "x", 1.0), events.JobEnded(job, JobState.DONE, "", float(job))
        )
    view = after(view, events.JobStarted(900, "runs", 1.0))
    assert len(view.jobs) == JOBS_KEPT_MAX + 1
    view = after(view, events.JobStarted(901, "x", 1.0), events.JobEnded(901, JobState.DONE, "", 999.0))
    assert len(view.jobs) == JOBS_KEPT_MAX + 1
    assert 0 not in view.jobs
    assert {900, 901} <= set(view.jobs)


def test_texts_of_hosts_are_harmless_and_short() -> None:
    reason = "\x1b]0;title\x07\nline " + "x" * 2 * TEXT_CHARACTERS_MAX
    view = after(floor_view(), events.LinkChanged("a", LinkState.REFUSED, reason, 30.0))
    assert view.hosts["a"].reason.isprintable()
    assert len(view.hosts["a"].reason) <= TEXT_CHARACTERS_MAX


HOSTS = st.sampled_from(["a", "b", "c", "gone"])
TIMES = st.integers(0, 100).map(float)
UNITS = st.dictionaries(
    st.sampled_from(["cashy-master", "cashy-s3", "toucan-engine", "toucan-web"]),
    st.sampled_from([unit(), unit("failed", "failed"), unit("inactive", "dead", load="not-found"), unit("activating", "start")]),
)  # fmt: skip
ENVIRONMENTS = st.sampled_from(
    [
        FLOOR,
        msgspec.structs.replace(FLOOR, hosts=FLOOR.hosts[:2]),
        msgspec.structs.replace(FLOOR, processes=()),
    ]
)
NUMBERS = st.integers(0, 3)
EVENTS = st.one_of(
    st.builds(events.EnvironmentChanged, ENVIRONMENTS, st.just(()), TIMES),
    st.builds(events.LinkChanged, HOSTS, st.sampled_from(LinkState), st.sampled_from(["", "why"]), TIMES),
    st.builds(events.Heard, HOSTS, TIMES),
    st.builds(events.UnitsReported, HOSTS, UNITS, TIMES, st.booleans()),
    st.builds(events.VersionsReported, HOSTS, st.just({"aviary": ("1",)}), TIMES),
    st.builds(events.PlanStarted, st.just("apply"), NUMBERS, TIMES),
    st.builds(events.StepStarted, NUMBERS, HOSTS, st.just("x"), TIMES),
    st.builds(events.StepEnded, NUMBERS, st.booleans(), st.just("x"), TIMES),
    st.builds(events.PlanEnded, st.booleans(), st.just("x"), TIMES),
    st.builds(events.JobStarted, NUMBERS, st.just("x"), TIMES),
    st.builds(events.JobProgress, NUMBERS, NUMBERS, NUMBERS, st.just("x"), TIMES),
    st.builds(events.JobEnded, NUMBERS, st.sampled_from(JobState), st.just("x"), TIMES),
    st.builds(events.LockChanged, st.sampled_from(["", "anna"]), TIMES),
    st.builds(events.InterruptedChanged, st.sampled_from(["", "apply"]), TIMES),
)


@given(st.lists(EVENTS, max_size=25))
def test_views_are_never_changed_and_follow_from_events_alone(happened: Sequence[events.Event]) -> None:
    views = [floor_view()]
    kept = [msgspec.json.encode(views[0])]
    for event in happened:
        views.append(reduce(views[-1], event))
        kept.append(msgspec.json.encode(views[-1]))
    assert [msgspec.json.encode(view) for view in views] == kept
    assert after(floor_view(), *happened) == views[-1]
    assert list(views[-1].hosts) == [host.name for host in views[-1].environment.hosts]


@given(st.lists(EVENTS, max_size=25))
def test_same_event_again_changes_nothing_more(happened: Sequence[events.Event]) -> None:
    view = after(floor_view(), *happened)
    for event in happened[-3:]:
        if not isinstance(event, events.PlanStarted | events.StepStarted | events.EnvironmentChanged):
            once = reduce(view, event)
            assert reduce(once, event) == once


@given(st.lists(EVENTS, max_size=25))
def test_summary_that_remembers_is_the_one_made_anew(happened: Sequence[events.Event]) -> None:
    remembers = Summarizer()
    view = floor_view()
    for event in happened:
        view = reduce(view, event)
        found = remembers.of(view)
        assert found == summarize(view)
        assert found.running <= found.instances
        assert found.hosts == found.hosts_up + len(found.lost) + len(found.refused) + len(
            found.connecting
        ) + sum(host.link is LinkState.CLOSED for host in view.hosts.values())
        assert len(found.down) == found.conditions[Condition.DOWN]


def test_summary_names_what_is_down() -> None:
    view = after(floor_view(), events.UnitsReported("b", {"cashy-s3": unit("failed", "failed")}, 21.0))
    found = summarize(view)
    assert (found.instances, found.running, found.down, found.is_down) == (4, 3, ("cashy-s3@b",), True)
    assert not summarize(floor_view()).is_down
    assert summarize(after(floor_view(), events.LinkChanged("c", LinkState.LOST, "", 30.0))).is_down
