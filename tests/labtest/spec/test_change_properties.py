"""What holds for changes of any environment: they can be taken back, kept as JSON, shortened, and applied to another one."""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, given, settings
from tests.labtest.spec.environments import change_lists, environments, histories

from labtest.core.changes import Change, apply, describe, inverse
from labtest.core.checks import check
from labtest.core.environment import Environment
from labtest.core.pending import difference, normalise, rebase

_History = tuple[Environment, tuple[Change, ...]]


@given(histories())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_was_done_is_undone_backwards(history: _History) -> None:
    environment, made = history
    now = environment
    back: tuple[Change, ...] = ()
    for change in made:
        changed = apply(now, (change,))
        assert changed != now
        one = inverse(now, change)
        assert apply(changed, one) == now
        back = (*one, *back)
        now = changed
    assert apply(now, back) == environment
    assert normalise(environment, (*made, *back)) == ()


@given(histories())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_change_leads_to_an_environment_with_problems(history: _History) -> None:
    environment, made = history
    assert check(environment) == ()
    changed = apply(environment, made)
    assert check(changed) == ()
    empty = {process.name for process in changed.processes if not process.hosts}
    assert not [process.name for process in changed.processes if process.hosts and empty & {*process.after}]


@given(histories())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_shortened_list_has_the_same_end(history: _History) -> None:
    environment, made = history
    short = normalise(environment, made)
    assert apply(environment, short) == apply(environment, made)
    assert len(short) <= len(made)
    assert normalise(environment, short) == short


@given(environments(), environments())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_difference_is_exact_or_none(before: Environment, after: Environment) -> None:
    found = difference(before, after)
    assert found is None or apply(before, found) == after
    assert difference(before, before) == ()


@given(histories(), environments())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rebasing_applies_all_that_applies(history: _History, other: Environment) -> None:
    environment, made = history
    moved = rebase(made, other)
    assert apply(other, moved.changes) == moved.environment
    assert len(moved.changes) + len(moved.refused) <= len(made)
    assert all(reason for _, reason in moved.refused)
    assert rebase(made, environment).changes == made


@given(histories())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_applying_depends_on_nothing_but_the_values(history: _History) -> None:
    environment, made = history
    before = msgspec.json.encode(environment)
    copy = msgspec.json.decode(before, type=Environment)
    assert apply(copy, made) == apply(environment, made)
    assert msgspec.json.encode(environment) == before


@given(change_lists())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_changes_are_the_same_after_a_journal(wanted: tuple[Change, ...]) -> None:
    assert msgspec.json.decode(msgspec.json.encode(wanted), type=tuple[Change, ...]) == wanted
    assert all(describe(change) for change in wanted)
