"""Plans that people meet: what is in them, in which order, and what is said."""

from __future__ import annotations

import msgspec
import pytest
from tests.labtest.plan.worlds import (
    ENVIRONMENT,
    PATHS,
    ProcessDraw,
    SpecDraw,
    World,
    new_world,
    observe,
    perform,
    release_target,
)

from labtest.core.ask import Ask, UnsureAction
from labtest.core.describe import action_title, describe
from labtest.core.environment import HealthKind, OnChange
from labtest.core.plan import make_plan, plan_in_full
from labtest.core.steps import (
    CheckHealth,
    Forget,
    InstallRelease,
    Plan,
    PutFile,
    Reload,
    ReloadManager,
    RemoveFile,
    RemoveRelease,
    Restart,
    Start,
    Step,
    Stop,
    SwitchRelease,
)
from labtest.core.target import HostTarget, Target
from labtest.errors import SpecError
from labtest.hosts.memory_world import MemoryFile

NOTHING = Target(environment=ENVIRONMENT, hosts=())


def process(name: str, hosts: str, **more: object) -> ProcessDraw:
    fields: dict[str, object] = {
        "name": name,
        "hosts": frozenset(hosts),
        "unit": f"{name}.service",
        "after": (),
        "unit_content": b"unit",
        "files": {},
        "releases": (),
        "health": HealthKind.UNIT,
        "batch_size": 1,
        "stopped_on": frozenset(),
    }
    return ProcessDraw(**{**fields, **more})  # type: ignore[arg-type]


def spec(
    *processes: ProcessDraw, hosts: str = "abc", content: bytes = b"red", version: str = "1.0"
) -> SpecDraw:
    return SpecDraw(
        hosts=tuple(hosts),
        processes=processes,
        contents=dict.fromkeys(PATHS, content),
        modes=dict.fromkeys(PATHS, 0o644),
        host_files={},
        releases={name: release_target(name, version, after_switch=name == "r1") for name in ("r0", "r1")},
        host_releases=frozenset(),
    )


def up(world: World, target: Target) -> None:
    for step in make_plan(target, observe(world, target)).steps:
        perform(world, step)


def world_at(one: SpecDraw) -> World:
    world = new_world()
    up(world, one.target())
    return world


def brief(plan: Plan) -> list[str]:
    return [f"{step.host} {action_title(step.action)}" for step in plan.steps]


def only(plan: Plan, *kinds: type) -> list[Step]:
    return [step for step in plan.steps if isinstance(step.action, kinds)]


def comes_before(plan: Plan, first: Step, second: Step) -> bool:
    """Whether one waits for the other, directly or not."""
    needs = set(second.needs)
    while True:
        more = {need for number in needs for need in plan.steps[number].needs} - needs
        if not more:
            return first.id in needs
        needs |= more


def test_a_first_deployment_reads_like_a_story() -> None:
    one = spec(
        process("store", "a", releases=("r0",)),
        process("web", "ab", after=("store",), files={PATHS[0]: OnChange.RESTART}),
    )
    plan = make_plan(one.target(), observe(new_world(), one.target()))
    assert brief(plan) == [
        "a install release r0 1.0",
        "a switch release r0 to 1.0",
        "a write /etc/systemd/system/store.service",
        "a have systemd read its units",
        "a start store",
        "a wait until store is healthy",
        "a write /etc/systemd/system/web.service",
        "a write /etc/x/one",
        "a have systemd read its units",
        "a start web",
        "a wait until web is healthy",
        "b write /etc/systemd/system/web.service",
        "b write /etc/x/one",
        "b have systemd read its units",
        "b start web",
        "b wait until web is healthy",
    ]
    assert not plan.minor


def test_a_changed_file_restarts_its_process_and_nobody_else() -> None:
    web = process("web", "ab", files={PATHS[0]: OnChange.RESTART})
    front = process("front", "a", after=("web",))
    world = world_at(spec(web, front))
    target = spec(web, front, content=b"blue").target()
    plan = make_plan(target, observe(world, target))
    assert brief(plan) == [
        "a replace /etc/x/one",
        "a restart web",
        "a wait until web is healthy",
        "b replace /etc/x/one",
        "b restart web",
        "b wait until web is healthy",
    ]
    assert plan.steps[0].reason == plan.steps[1].reason == "/etc/x/one changed"
    assert plan.steps[3].needs == (2,)  # the second has its old file until the first is healthy
    assert plan.minor


@pytest.mark.parametrize(("on_change", "kind"), [(OnChange.RELOAD, Reload), (OnChange.NOTHING, None)])
def test_a_process_that_need_not_be_restarted_is_not(on_change: OnChange, kind: type | None) -> None:
    web = process("web", "a", files={PATHS[0]: on_change})
    world = world_at(spec(web))
    target = spec(web, content=b"blue").target()
    plan = make_plan(target, observe(world, target))
    assert [type(step.action) for step in plan.steps] == ([PutFile, kind, CheckHealth] if kind else [PutFile])


@pytest.mark.parametrize(("size", "longest"), [(1, 4), (2, 2), (3, 2), (4, 1)])
def test_few_are_down_at_a_time(size: int, longest: int) -> None:
    web = process("web", "abcd", files={PATHS[0]: OnChange.RESTART}, batch_size=size)
    world = world_at(spec(web, hosts="abcd"))
    target = spec(web, content=b"blue", hosts="abcd").target()
    plan = make_plan(target, observe(world, target))
    restarts = only(plan, Restart)
    chains = [1 + sum(comes_before(plan, other, step) for other in restarts) for step in restarts]
    assert max(chains) == longest
    asked = make_plan(target, observe(world, target), ask=Ask(batch_size=4))
    assert not any(
        comes_before(asked, other, step) for step in only(asked, Restart) for other in only(asked, Restart)
    )


def test_those_that_are_down_come_up_before_others_go_down() -> None:
    web = process("web", "abc", files={PATHS[0]: OnChange.RESTART})
    world = world_at(spec(web))
    world["c"].set_unit("web.service", active="failed", sub="failed", result="signal")
    target = spec(web, content=b"blue").target()
    plan = make_plan(target, observe(world, target))
    (start,) = only(plan, Start)
    assert (start.host, start.reason) == ("c", "it has failed (signal)")
    assert all(comes_before(plan, start, restart) for restart in only(plan, Restart))


def test_a_process_that_moves_has_one_owner_and_is_expected() -> None:
    world = world_at(spec(process("web", "a", releases=("r0",))))
    target = spec(process("web", "b", releases=("r0",))).target()
    plan = make_plan(target, observe(world, target))
    (stop,), (start,), (install,) = only(plan, Stop), only(plan, Start), only(plan, InstallRelease)
    assert comes_before(plan, install, stop)
    assert comes_before(plan, stop, start)
    assert (stop.reason, start.reason) == ("it moves to b", "it moves here from a")
    assert not plan.minor


def test_stops_are_in_reverse_order_and_cleaning_comes_last() -> None:
    one = spec(
        process("store", "a"), process("web", "b", after=("store",)), process("front", "a", after=("web",))
    )
    world = world_at(one)
    plan = make_plan(NOTHING, observe(world, NOTHING), before=one.target())
    front, web, store = only(plan, Stop)
    assert [step.action.process for step in (front, web, store) if isinstance(step.action, Stop)] == [
        "front",
        "web",
        "store",
    ]
    assert comes_before(plan, front, web)
    assert comes_before(plan, web, store)
    for step in only(plan, RemoveFile):
        assert all(comes_before(plan, stop, step) for stop in (front, web, store) if stop.host == step.host)
    assert len(only(plan, Forget)) == 3


def test_what_labtest_did_not_put_there_is_replaced_with_a_word_and_never_removed() -> None:
    world = new_world()
    world["a"].state.files[PATHS[0]] = MemoryFile(b"by hand")
    world["a"].state.files[PATHS[1]] = MemoryFile(b"red")
    files = {PATHS[0]: OnChange.RESTART, PATHS[1]: OnChange.RESTART}
    target = spec(process("web", "a", files=files)).target()
    plan = make_plan(target, observe(world, target))
    assert [step.action.file.path for step in plan.steps if isinstance(step.action, PutFile)] == [
        "/etc/systemd/system/web.service", PATHS[0],
    ]  # fmt: skip
    assert "not put there by labtest" in next(step.reason for step in plan.steps if PATHS[0] in step.reason)
    up(world, target)
    up(world, NOTHING)
    assert world["a"].state.files[PATHS[1]].content == b"red"
    assert PATHS[0] not in world["a"].state.files


def test_what_runs_from_something_unknown_is_restarted_and_says_why() -> None:
    world = new_world()
    world["a"].set_unit("web.service", active="active", sub="running", is_started=True)
    target = spec(process("web", "a")).target()
    plan = make_plan(target, observe(world, target))
    (restart,) = only(plan, Restart)
    assert restart.reason == "it runs, and labtest did not start it: from what is not known"
    assert not plan.minor


def test_a_process_that_keeps_failing_is_restarted_and_one_that_is_starting_is_waited_for() -> None:
    web = spec(process("web", "a"))
    for sub, kind in (("auto-restart", Restart), ("start", Start)):
        world = world_at(web)
        world["a"].set_unit("web.service", active="activating", sub=sub)
        plan = make_plan(web.target(), observe(world, web.target()))
        assert [type(step.action) for step in plan.steps] == [kind, CheckHealth]


def test_a_unit_that_was_written_and_never_read_is_read_before_the_restart() -> None:
    world = world_at(spec(process("web", "a")))
    target = spec(process("web", "a", unit_content=b"new")).target()
    perform(world, next(step for step in make_plan(target, observe(world, target)).steps))
    plan = make_plan(target, observe(world, target))
    assert [type(step.action) for step in plan.steps] == [ReloadManager, Restart, CheckHealth]


def test_a_process_asks_after_those_it_needs_if_their_health_is_more_than_a_word() -> None:
    store = process("store", "a", health=HealthKind.TCP)
    world = world_at(spec(store))
    target = spec(store, process("web", "b", after=("store",))).target()
    plan = make_plan(target, observe(world, target))
    check = next(step for step in only(plan, CheckHealth) if step.host == "a")
    assert check.reason == "web comes after it"
    assert check.id in only(plan, Start)[0].needs


# ---------------------------------------------------------------- releases


def test_the_version_before_is_kept_and_older_ones_go() -> None:
    web = process("web", "a", releases=("r0",))
    world = world_at(spec(web, version="1.8"))
    for version, kept in (("1.9", {"1.8", "1.9"}), ("1.10", {"1.9", "1.10"}), ("1.9", {"1.9", "1.10"})):
        target = spec(web, version=version).target()
        up(world, target)
        assert set(world["a"].state.releases["/opt/r0"].installed) == kept
        assert make_plan(target, observe(world, target)).steps == ()


def test_a_rollback_to_the_version_before_installs_nothing() -> None:
    web = process("web", "a", releases=("r0",))
    world = world_at(spec(web, version="1.8"))
    up(world, spec(web, version="1.9").target())
    target = spec(web, version="1.8").target()
    plan = make_plan(target, observe(world, target))
    assert [type(step.action) for step in plan.steps] == [SwitchRelease, Restart, CheckHealth]


def test_a_version_in_use_does_not_get_other_contents() -> None:
    web = process("web", "a", releases=("r0",))
    one = spec(web)
    world = world_at(one)
    other = {**one.releases, "r0": release_target("r0", "1.0", source=b"other")}
    target = msgspec.structs.replace(one, releases=other).target()
    with pytest.raises(SpecError, match=r"release r0: version 1\.0 is in use on host a with other contents"):
        make_plan(target, observe(world, target))


def test_a_release_that_nobody_wants_goes_when_nobody_runs_from_it() -> None:
    world = world_at(spec(process("web", "a", releases=("r0",))))
    target = spec(process("web", "a")).target()
    plan = make_plan(target, observe(world, target))
    assert [action_title(step.action) for step in only(plan, RemoveRelease)] == ["remove release r0"]


# ---------------------------------------------------------------- parts


def test_a_part_of_a_plan_touches_nothing_else() -> None:
    web, store = process("web", "ab", files={PATHS[0]: OnChange.RESTART}), process("store", "ab")
    world = world_at(spec(web, store))
    world["a"].set_unit("store.service", active="failed", sub="failed")
    target = spec(web, store, content=b"blue").target()
    actual = observe(world, target)
    assert {step.host for step in make_plan(target, actual, ask=Ask(hosts=frozenset("b"))).steps} == {"b"}
    part = make_plan(target, actual, ask=Ask(processes=frozenset({"store"})))
    assert brief(part) == ["a start store", "a wait until store is healthy"]
    assert part.minor


def test_a_restart_that_is_asked_for_says_so() -> None:
    web = spec(process("web", "ab"))
    world = world_at(web)
    plan = make_plan(web.target(), observe(world, web.target()), ask=Ask(restart=frozenset({("web", "b")})))
    assert [(step.host, step.reason) for step in only(plan, Restart)] == [("b", "asked for")]


def test_a_start_is_held_back_when_what_it_needs_stays_down() -> None:
    one = spec(process("store", "a"), process("web", "b", after=("store",)))
    world = world_at(one)
    for host, unit in (("a", "store.service"), ("b", "web.service")):
        world[host].set_unit(unit, active="failed", sub="failed")
    planned = plan_in_full(one.target(), observe(world, one.target()), ask=Ask(processes=frozenset({"web"})))
    assert planned.plan.steps == ()
    assert planned.held == {("b", "web.service"): "store, which it comes after, does not run on a"}


def test_a_restart_that_is_held_back_holds_back_nothing_that_is_due_without_it() -> None:
    store = process("store", "a")
    web = process("web", "b", after=("store",), files={PATHS[0]: OnChange.RELOAD})
    world = world_at(spec(store, web))
    world["a"].set_unit("store.service", active="failed", sub="failed")
    target = spec(store, web, content=b"blue").target()
    ask = Ask(processes=frozenset({"web"}), restart=frozenset({("web", "b")}))
    planned = plan_in_full(target, observe(world, target), ask=ask)
    assert [type(step.action) for step in planned.plan.steps][:2] == [PutFile, Reload]
    assert planned.held == {("b", "web.service"): "store, which it comes after, does not run on a"}


def test_a_part_of_a_plan_may_start_what_comes_after_a_process_that_still_has_its_old_unit() -> None:
    world = world_at(spec(process("store", "a", unit="store-old.service")))
    target = spec(process("store", "a"), process("web", "a", after=("store",))).target()
    planned = plan_in_full(target, observe(world, target), ask=Ask(processes=frozenset({"web"})))
    started = [step.action.process.process for step in planned.plan.steps if isinstance(step.action, Start)]
    assert started == ["web"]
    assert only(planned.plan, Stop) == []


def test_hosts_that_do_not_answer_are_named_and_what_needs_only_them_waits() -> None:
    one = spec(process("store", "a"), process("web", "ab", after=("store",)), process("other", "b"))
    actual = observe(new_world(), one.target(), silent=frozenset("a"))
    planned = plan_in_full(one.target(), actual)
    assert planned.plan.unreachable == ("a",)
    assert {step.host for step in planned.plan.steps} == {"b"}
    assert [step.action.process.process for step in planned.plan.steps if isinstance(step.action, Start)] == [
        "other"
    ]
    assert "only on a, not answering" in planned.held["b", "web.service"]


def test_a_process_is_not_stopped_for_a_move_to_a_host_that_does_not_answer() -> None:
    world = world_at(spec(process("web", "a")))
    target = spec(process("web", "b")).target()
    planned = plan_in_full(target, observe(world, target, silent=frozenset("b")))
    assert only(planned.plan, Stop, RemoveFile) == []
    assert planned.held == {("a", "web.service"): "it could not be started on b instead"}


def test_a_process_does_not_start_while_its_old_owner_may_not_be_touched() -> None:
    world = world_at(spec(process("web", "a")))
    target = spec(process("web", "b")).target()
    planned = plan_in_full(target, observe(world, target), ask=Ask(hosts=frozenset("b")))
    assert only(planned.plan, Start) == []
    assert planned.held["b", "web.service"] == "web still runs on a, which this plan is not to touch"


def test_processes_that_need_each_other_are_refused() -> None:
    target = spec(process("web", "a", after=("store",)), process("store", "a", after=("web",))).target()
    with pytest.raises(SpecError, match="store, web come after each other in a circle"):
        make_plan(target, observe(new_world(), target))


def test_a_process_that_is_moved_by_stopping_it_has_one_owner_too() -> None:
    world = world_at(spec(process("web", "ab", stopped_on=frozenset("b"))))
    target = spec(process("web", "ab", stopped_on=frozenset("a"))).target()
    plan = make_plan(target, observe(world, target))
    assert comes_before(plan, only(plan, Stop)[0], only(plan, Start)[0])


# ---------------------------------------------------------------- after an interruption


def test_what_may_have_been_done_in_part_is_done_again() -> None:
    one = spec(process("web", "a", releases=("r1",), files={PATHS[0]: OnChange.RESTART}))
    world, target = world_at(one), one.target()
    done = make_plan(target, observe(new_world(), target)).steps
    unsure = tuple(UnsureAction(host=step.host, action=step.action) for step in done)
    plan = make_plan(target, observe(world, target), ask=Ask(unsure=unsure))
    assert brief(plan) == [
        "a switch release r1 to 1.0",
        "a replace /etc/systemd/system/web.service",
        "a replace /etc/x/one",
        "a have systemd read its units",
        "a wait until web is healthy",
    ]
    assert all(
        "interrupted" in step.reason or "may not" in step.reason or step.reason == "units changed"
        for step in plan.steps
    )


def test_what_follows_a_switch_is_done_again_if_nobody_was_started_since() -> None:
    web = process("web", "a", releases=("r1",))
    world = world_at(spec(web))
    target = spec(web, version="1.1").target()
    for step in make_plan(target, observe(world, target)).steps[:2]:
        perform(world, step)
    assert world["a"].state.releases["/opt/r1"].current == "1.1"
    plan = make_plan(target, observe(world, target))
    assert [type(step.action) for step in plan.steps] == [SwitchRelease, Restart, CheckHealth]


# ---------------------------------------------------------------- words


def test_a_plan_in_words() -> None:
    web = process("web", "ab", files={PATHS[0]: OnChange.RESTART})
    world = world_at(spec(web, process("old", "a")))
    target = spec(web, process("new", "b"), content=b"blue").target()
    assert describe(plan_in_full(target, observe(world, target, silent=frozenset("c")))) == [
        "a",
        "  - stop old                                it is not wanted here",
        "  ~ replace /etc/x/one                      changed",
        "  ~ restart web                             /etc/x/one changed",
        "  - remove /etc/systemd/system/old.service  /etc/systemd/system/old.service is not wanted here",
        "b",
        "  + write /etc/systemd/system/new.service",
        "  + start new                              it is new here",
        "  ~ replace /etc/x/one                     changed",
        "  ~ restart web                            /etc/x/one changed",
        "no answer, so nothing is done there: c",
        "3 files written, 1 file removed, 1 start, 2 restarts, 1 stop, 3 health checks on 2 hosts",
    ]


def test_nothing_to_do_is_one_line() -> None:
    target = Target(environment=ENVIRONMENT, hosts=(HostTarget(host="a"),))
    assert describe(make_plan(target, observe(new_world(), target))) == ["nothing to do"]


def test_a_plan_is_json() -> None:
    one = spec(process("web", "a", releases=("r0",))).target()
    plan = make_plan(one, observe(new_world(), one))
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_what_follows_a_switch_is_not_done_again_for_who_is_not_asked_about() -> None:
    one = spec(
        process("web", "a", releases=("r1",)),
        process("idle", "a", releases=("r1",), stopped_on=frozenset("a")),
    )
    ask, world = Ask(processes=frozenset(["idle"])), new_world()
    for step in make_plan(one.target(), observe(world, one.target()), ask=ask).steps:
        perform(world, step)
    assert brief(make_plan(one.target(), observe(world, one.target()), ask=ask.narrowed())) == []
    assert "a start web" in brief(make_plan(one.target(), observe(world, one.target())))
