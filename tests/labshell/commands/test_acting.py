"""What acts at once touches what it names and nothing else, what is major waits, and each says truthfully what it did."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.labshell.commands.floor import Floor, laid_out

from labshell.app.own import OWN_HANDLERS
from labshell.commands import HANDLERS
from labshell.core.commands import COMMANDS
from labshell.core.json_results import RESULTS

UNITS = [("a", "web.service"), ("b", "web.service"), ("b", "clock.service")]
LINE, OUTCOME, COLLECTED, DIFFERENCE, HISTORY, REACHED = (
    [one.name for one in each.fields] for each in RESULTS
)


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    with laid_out(tmp_path_factory.mktemp("floor"), f"acting-{os.getpid()}") as floor:
        yield floor


@pytest.fixture(autouse=True)
def as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test finds everything deployed as the spec says, and nothing pending."""
    yield
    if "floor" in request.fixturenames:
        floor: Floor = request.getfixturevalue("floor")
        _, plan, status = floor.json("discard -y; plan; status", "--keep-going").lines()
        if plan["result"]["steps"] or "stopped" in {one["condition"] for one in status["result"]}:
            floor.run("--keep-going", "-c", "start web clock; apply -y")
            left = floor.json("plan").result["steps"]
            assert not left, left


def others(floor: Floor, *touched: tuple[str, str]) -> dict[tuple[str, str], str]:
    return {one: floor.invocation(*one) for one in UNITS if one not in touched}


def test_every_command_has_a_handler_and_every_handler_a_command() -> None:
    assert set(HANDLERS) | set(OWN_HANDLERS) == set(COMMANDS)


def test_restart_touches_what_it_names_and_nothing_else(floor: Floor) -> None:
    touched = ("a", "web.service")
    before, was = others(floor, touched), floor.invocation(*touched)
    said = floor.do("restart web@a")
    assert (said.code, said.out) == (0, "restart: done, 2 steps\n"), said
    assert others(floor, touched) == before
    assert floor.invocation(*touched) != was


def test_instances_of_two_processes_are_just_those(floor: Floor) -> None:
    # web@b and clock@b are not web@a: that both processes and both hosts are named is not all four.
    before = floor.invocation("b", "web.service")
    floor.do("stop web@b")
    said = floor.json("restart web@a clock@b")
    assert said.code == 0, said
    rows = {(one["process"], one["host"]): one["condition"] for one in floor.json("status").result}
    assert rows == {("web", "a"): "running", ("web", "b"): "stopped", ("clock", "b"): "running"}
    floor.do("start web@b")
    assert floor.invocation("b", "web.service") not in ("", before)


def test_stop_is_remembered_and_nothing_starts_it_but_start(floor: Floor) -> None:
    stopped = floor.do("stop web")
    assert stopped.code == 0, stopped
    assert "clock@b needs web, and goes on without" in stopped.err, stopped
    later = floor.json("status; plan; restart web; status --down", "--keep-going")
    status, plan, restart, down = later.lines()
    assert [one["condition"] for one in status["result"]] == ["stopped", "stopped", "running"]
    assert (status["exit"], plan["result"]["steps"], down["result"]) == (0, [], [])
    assert restart["exit"] == 1
    assert "stopped by `stop`" in restart["error"]
    started = floor.json("start web; status")
    assert started.code == 0, started
    assert {one["condition"] for one in started.result} == {"running"}, started


def test_set_acts_at_once_on_what_reads_the_variable_and_a_new_shell_plans_nothing_back(floor: Floor) -> None:
    touched = ("a", "web.service")
    before = others(floor, touched)
    said = floor.do("set port 8081 --host a")
    assert said.code == 0, said
    assert "set port = 8081 for host a" in said.out, said
    assert "1 restart" in said.out, said
    assert others(floor, touched) == before
    again = floor.do("plan; set port 8081 --host a")
    assert again.code == 0, again
    assert "nothing to do" in again.out, again
    assert "already" in again.out, again
    assert floor.do("unset port --host a").code == 0


def test_what_is_pending_waits_while_others_act(floor: Floor) -> None:
    collected = floor.json("add clock a; set greeting hi")
    first, second = collected.lines()
    assert list(first["result"]) == COLLECTED
    assert first["result"]["pending"] == ["add clock on a"]
    assert list(second["result"]) == OUTCOME, collected
    assert second["result"]["ending"] == "done", collected
    rows = floor.json("status").result
    assert [(one["process"], one["host"]) for one in rows] == [("web", "a"), ("web", "b"), ("clock", "b")]
    steps = floor.json("plan").result["steps"]
    assert {one["host"] for one in steps if one["action"] == "start"} == {"a"}
    refused = floor.do("restart clock@a")
    assert refused.code == 2, refused
    assert "clock" in refused.err, refused
    assert floor.do("set greeting hello").code == 0


def test_move_is_done_by_apply_and_taken_back_by_rollback(floor: Floor) -> None:
    needs_yes = floor.json("move clock b a; apply")
    assert needs_yes.code == 8, needs_yes
    assert "needs a yes" in needs_yes.lines()[-1]["error"], needs_yes
    moved = floor.json("apply --yes; status")
    assert moved.code == 0, moved
    assert ("clock", "a") in [(one["process"], one["host"]) for one in moved.result], moved
    back = floor.json("rollback --yes; status")
    assert back.code == 0, back
    assert ("clock", "b") in [(one["process"], one["host"]) for one in back.result], back


def test_reload_is_not_silently_a_restart(floor: Floor) -> None:
    said = floor.do("reload clock")
    assert said.code == 1, said
    assert "not applicable" in said.out + said.err, said
    floor.replace("clock.service.j2", "exec sleep", "true; exec sleep")
    try:
        before = floor.invocation("b", "clock.service")
        changed = floor.do("reload clock")
        assert changed.code == 1, changed
        assert "nothing was done" in changed.err, changed
        assert floor.invocation("b", "clock.service") == before
    finally:
        floor.replace("clock.service.j2", "true; exec sleep", "exec sleep")


def test_restart_in_batches_adds_up_what_was_done(floor: Floor) -> None:
    said = floor.json("restart web --wait 10ms --no-health")
    assert said.code == 0, said
    assert list(said.result) == OUTCOME, said
    assert said.result["steps_done"] == 2  # two restarts, and no checks


def test_read_only_refuses_and_leaves_no_trace(floor: Floor) -> None:
    before = floor.invocation("a", "web.service")
    said = floor.json("restart web@a", "--read-only")
    assert said.code == 2, said
    assert "--read-only" in said.lines()[0]["error"], said
    assert floor.invocation("a", "web.service") == before
    assert floor.json("status", "--read-only").code == 0


def test_run_folds_what_is_equal_and_says_how_it_ended(floor: Floor) -> None:
    same, odd = floor.json(
        "run -- echo same; run -- sh -c 'hostname; test $(hostname) = a'", "--keep-going"
    ).lines()
    assert (same["exit"], same["result"]) == (0, [{"hosts": ["a", "b"], "status": 0, "output": "same"}])
    assert odd["exit"] == 1, odd
    assert [one["status"] for one in odd["result"]] == [0, 1], odd
    late, missing = floor.json("run -t 200ms sleep 60; run --on a no-such-program", "--keep-going").lines()
    assert (late["result"][0]["status"], missing["result"][0]["status"]) == (124, 127)


def test_diff_shows_lines_of_files_and_what_else_differs(floor: Floor) -> None:
    assert floor.do("diff").out == "no differences\n"
    assert floor.lab is not None
    floor.lab.hosts["a"].run(["sh", "-c", "echo odd > /srv/page"], check=True)
    said = floor.json("diff")
    (one,) = [each for each in said.result if each["what"] == "/srv/page"]
    assert said.code == 1
    assert list(one) == DIFFERENCE
    assert "-odd" in one["lines"]
    assert "+hello from a" in one["lines"]
    assert "a: /srv/page changed" in floor.do("diff a").out


def test_logs_are_of_who_was_named_in_order_and_as_documented(floor: Floor) -> None:
    said = floor.json("logs clock -n5 --grep says")
    assert said.code == 0, said
    assert said.result, said
    assert {one["process"] for one in said.result} == {"clock"}
    assert "says" in said.result[0]["text"]
    bad = floor.do("logs -g '(' web")
    assert bad.code != 0, bad
    assert "no regular expression" in bad.err, bad


def test_history_says_who_did_what_and_how_it_ended(floor: Floor) -> None:
    floor.do("restart clock; status")
    floor.do("reload clock")
    said = floor.json("history -n 2")
    assert [list(one) for one in said.result] == [HISTORY] * 2
    assert [(one["line"], one["result"], one["exit"]) for one in said.result] == [
        ("restart clock@b", "done", 0),
        ("reload clock@b", "failed", 1),
    ]
    shown = floor.do("audit -n1")
    assert "reload clock@b" in shown.out, shown
    assert "status" not in shown.out, shown


def test_every_line_of_json_has_the_documented_fields(floor: Floor) -> None:
    said = floor.json("status; no-such-command; reconnect a; help status; jobs", "--keep-going")
    assert [list(one) for one in said.lines()] == [LINE] * 5
    assert said.lines()[1]["errors"][0]["error"] == "UnknownCommand"
    assert list(said.lines()[2]["result"][0]) == REACHED


def test_what_has_the_terminal_says_that_there_is_none(floor: Floor) -> None:
    for command in ("bash a", "ssh a", "debug web@a", "tool page", "tool echo x"):
        said = floor.do(command)
        assert said.code == 2, (command, said)
        assert "terminal" in said.err, (command, said)


def test_an_edited_spec_is_seen_by_the_next_plan_of_the_same_shell(floor: Floor) -> None:
    script = floor.folder / "script"
    os.mkfifo(script)
    program = floor.start("--json", str(script))
    try:
        with script.open("w") as commands:
            commands.write("plan\n")
            floor.replace("small.toml", 'greeting = "hello"', 'greeting = "bye"')
            commands.write("plan\n")
        said = floor.ends(program)
    finally:
        floor.replace("small.toml", 'greeting = "bye"', 'greeting = "hello"')
    assert said.lines()[-1]["result"]["steps"], said
