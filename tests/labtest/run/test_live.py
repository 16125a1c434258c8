"""A live environment as a test holds it: hosts, processes, changes, faults, and its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.labtest.namespaces.support import need_labs
from tests.labtest.run.small_environment import NAME, write_spec
from tests.labtest.run.support import left_of_lab, until

from labtest.core.change_values import ChangeRefused
from labtest.core.steps import PutFile, Restart
from labtest.errors import ActionFailed, LabError, PlanOutdated, SpecError
from labtest.live import ApplyFailed, CallLate, EnvironmentClosed, LiveEnvironment
from labtest.namespaces import FaultNotPossible, Lab, LabNotFound, addresses


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveEnvironment]:
    """The environment, for all tests here."""
    need_labs()
    with LiveEnvironment(write_spec(tmp_path_factory.mktemp("spec"), f"{NAME}-live")) as env:
        assert env.lab is not None
        lab_id = env.lab.id
        yield env
    assert left_of_lab(lab_id) == []


@pytest.fixture
def env(small: LiveEnvironment) -> Iterator[LiveEnvironment]:
    """The same, as its spec says again after each test."""
    small.begin_test()
    yield small
    small.bring_back()


def page(env: LiveEnvironment) -> str:
    """What the process ``web`` on a gives to the host b."""
    address = f"http://{env.hosts['a'].address}:8080/page"
    return env.hosts["b"].run(["curl", "--silent", "--max-time", "1", address]).stdout


def test_hosts_run_commands_and_give_files(env: LiveEnvironment) -> None:
    assert list(env.hosts) == ["a", "b"]
    host = env.hosts["a"]
    assert host.run(["hostname"]).stdout == "a\n"
    ran = host.run(["sh", "-c", "cat; echo $WHO >&2; exit 3"], stdin="in", env={"WHO": "me"})
    assert (ran.status, ran.stdout, ran.stderr) == (3, "in", "me\n")
    with pytest.raises(ActionFailed, match=r"(?s)a: sh -c .* ended with status 3\nno such thing"):
        host.run(["sh", "-c", "echo no such thing >&2; exit 3"], check=True)
    assert host.read_file("/srv/page") == b"hello from a\n"
    with pytest.raises(ActionFailed) as missing:
        host.read_file("/srv/nothing")
    assert missing.value.code == "not-found"


def test_processes_are_one_instance_or_all(env: LiveEnvironment) -> None:
    web = env.process("web")
    assert web.hosts == ("a", "b")
    assert {host: state.active for host, state in web.states().items()} == {"a": "active", "b": "active"}
    assert str(web["b"]) == str(env.process("web@b")) == "web@b"
    assert env.process("clock").state().sub == "running"
    assert web.unit == "web.service"
    with pytest.raises(LabError, match="web runs on a, b: choose one"):
        web.state()
    with pytest.raises(LabError, match="there is no process 'wep'; did you mean 'web'"):
        env.process("wep")
    with pytest.raises(LabError, match="clock does not run on 'a'; it runs on b"):
        env.process("clock@a")


def test_a_killed_process_is_waited_for_and_its_log_tells(env: LiveEnvironment) -> None:
    web = env.process("web@a")
    assert not any("code=killed" in line.text for line in web.logs())
    before = web.state().main_pid
    web.kill()
    web.wait_for(lambda state: state.active == "active" and state.main_pid not in (0, before))
    web.wait_healthy()
    texts = [line.text for line in web.logs()]
    assert any("code=killed, status=9/KILL" in text for text in texts)
    assert any("Serving HTTP" in text for text in texts)
    times = [line.at_ns for line in env.process("web").logs(since_ns=0)]
    assert times == sorted(times)
    assert env.hosts["a"].logs("web.service", since_ns=times[-1] + 10**9) == []


def test_waiting_ends_with_the_last_state(env: LiveEnvironment) -> None:
    with pytest.raises(CallLate, match=r"clock@b is not failed after 0\.2 s: active \(running, success\)"):
        env.process("clock").wait_for("failed", 0.2)


def test_processes_are_restarted_stopped_and_started(env: LiveEnvironment) -> None:
    web = env.process("web")
    before = {host: state.invocation for host, state in web.states().items()}
    web.restart()
    after = {host: state.invocation for host, state in web.states().items()}
    assert not set(before.values()) & set(after.values())
    web["b"].restart()
    assert web["a"].state().invocation == after["a"]
    web["b"].stop()
    web["b"].stop()
    assert [state.active for state in web.states().values()] == ["active", "inactive"]
    assert env.differences() == []
    web["b"].start()
    web["b"].start()
    assert web["b"].state().active == "active"


def test_changes_wait_until_they_are_applied_and_are_taken_back(env: LiveEnvironment) -> None:
    env.set("greeting", "good day")
    assert page(env) == "hello from a\n"
    steps = env.plan().plan.steps
    assert {step.host for step in steps if isinstance(step.action, PutFile)} == {"a", "b"}
    assert sum(isinstance(step.action, Restart) for step in steps) == 3
    env.apply()
    assert page(env) == "good day from a\n"
    with pytest.raises(ChangeRefused, match='greeting is "good day" already'):
        env.set("greeting", "good day")
    env.set("greeting", "bye", host="b")
    env.discard()
    env.set("greeting", "night", process="clock")
    env.move("clock", "b", "a")
    env.apply()
    assert "the clock says night" in [line.text for line in env.process("clock@a").logs()]
    assert env.bring_back() != []
    assert page(env) == "hello from a\n"
    assert env.process("clock").hosts == ("b",)
    assert env.bring_back() == []


def test_a_plan_that_was_looked_at_is_refused_once_the_world_has_moved(env: LiveEnvironment) -> None:
    env.set("greeting", "late")
    prepared = env.plan()
    env.hosts["a"].run(["sh", "-c", "echo other > /srv/page"], check=True)
    with pytest.raises(PlanOutdated, match="a has changed since"):
        env.apply(prepared)
    assert env.apply(env.plan()).steps_done > 0
    assert page(env) == "late from a\n"


def test_a_change_that_cannot_work_is_told_and_rolled_back(env: LiveEnvironment) -> None:
    env.hosts["a"].run(
        ["sh", "-c", "mkdir -p /x && nohup python3 -m http.server 9999 > /dev/null 2>&1 &"], check=True
    )
    try:
        env.set("port", 9999, host="a")
        with pytest.raises(ApplyFailed, match="everything is as it was before") as failed:
            env.apply()
        assert failed.value.outcome.problems[0].host == "a"
        assert page(env) == "hello from a\n"
    finally:
        env.hosts["a"].run(["pkill", "-f", "[9]999"])


def test_tools_run_where_the_spec_says(env: LiveEnvironment) -> None:
    assert env.tool("page").stdout == "hello from b\n"
    assert env.tool("page", "/proc/sys/kernel/hostname", check=True).stdout == "hello from b\nb\n"
    assert env.tool("echo", "a  b", "$HOME").stdout == f"{env.hosts['a'].address}:8080|a  b|$HOME|"
    with pytest.raises(ActionFailed, match="status 1"):
        env.tool("page", "/nothing", check=True)
    with pytest.raises(LabError, match="there is no tool 'pagr'; did you mean 'page'"):
        env.tool("pagr")


def test_a_host_that_is_cut_off_still_tells_its_log_and_is_healed(env: LiveEnvironment) -> None:
    host = env.hosts["a"]
    host.partition()
    assert page(env) == ""
    host.run(["systemctl", "kill", "--signal=USR1", "web"])
    assert env.process("web@a").logs() != []
    assert env.heal() == ["a"]
    assert env.heal() == []
    # It was killed, so systemd starts it again: it is active before it listens.
    until(lambda: page(env) == "hello from a\n", "the page")


def test_all_faults_are_undone(env: LiveEnvironment) -> None:
    a, b = env.hosts["a"], env.hosts["b"]
    a.delay(20)
    a.loss(0.5)
    a.rate(100)
    a.partition_from("b")
    a.fill_shared_memory()
    b.power_cut()
    assert sorted(env.heal()) == ["a", "b"]
    a.freeze()
    env.bring_back()
    assert page(env) == "hello from a\n"
    a.run(["sh", "-c", "echo x > /dev/shm/x"], check=True)
    assert env.process("clock").state().active == "active"


def test_what_was_done_behind_its_back_is_put_right(env: LiveEnvironment) -> None:
    env.hosts["b"].run(["systemctl", "stop", "clock"], check=True)
    env.hosts["a"].run(["sh", "-c", "echo mine > /srv/page; rm /etc/systemd/system/web.service"], check=True)
    told = "\n".join(env.bring_back())
    assert "start clock" in told
    assert "/srv/page" in told
    assert page(env) == "hello from a\n"


def test_a_remade_environment_is_the_same_object_with_other_hosts(env: LiveEnvironment) -> None:
    assert env.lab is not None
    before, host, web = env.lab.id, env.hosts["a"], env.process("web@a")
    boot_id = host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    env.remake()
    assert env.lab is not None
    assert left_of_lab(before) == [] or env.lab.id == before
    assert host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout != boot_id
    assert web.state().active == "active"


def test_a_bad_spec_boots_nothing(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, f"{NAME}-bad")
    spec.write_text(spec.read_text() + "\n[hosts.c]\nkin = 1\n")
    with pytest.raises(SpecError, match="kin"):
        LiveEnvironment(spec).open()
    with pytest.raises(EnvironmentClosed, match="is not open"):
        _ = LiveEnvironment(spec).hosts


def test_hosts_that_are_up_are_used_by_one_at_a_time_and_stay(tmp_path: Path) -> None:
    need_labs()
    spec = write_spec(tmp_path, f"{NAME}-shared")
    with Lab(f"{NAME}-shared", ["a", "b"]) as lab:
        lab.detach()
        lab.partition("a")
        with LiveEnvironment(spec) as first:
            assert first.lab is not None
            assert first.lab.id == lab.id
            second = LiveEnvironment(spec)
            second.open()
            assert second.lab is not None
            other = second.lab.id
            assert other != lab.id
            second.close()
            assert left_of_lab(other) == []
        assert set(lab.hosts) == {"a", "b"}
        assert not lab.hosts["a"].run(["ls", "/srv/page"], check=False).stdout  # what was deployed there went
        with pytest.raises(LabNotFound):
            LiveEnvironment(spec, lab="nothing.1").open()


def test_hosts_reached_by_ssh_are_left_as_they_were_found(tmp_path: Path) -> None:
    need_labs()
    name = f"{NAME}-ssh"
    with Lab(name, ["a", "b"]) as lab:
        spec = write_spec(tmp_path, name)
        text = spec.read_text()
        for name_of_host, address in addresses(lab).items():
            text = text.replace(
                f'[hosts.{name_of_host}]\nkind = "namespace"',
                f'[hosts.{name_of_host}]\naddress = "{address}"',
            )
        spec.write_text(text)
        with LiveEnvironment(spec, ssh_config=str(lab.ssh_config)) as env:
            assert env.lab is None
            host = env.hosts["b"]
            assert host.run(["cat"], stdin=b"x").stdout == "x"
            assert host.run(["sh", "-c", "exit 4"]).status == 4
            began = time.monotonic()
            with pytest.raises(CallLate):
                host.run(["sleep", "30"], timeout_s=0.2)
            assert time.monotonic() - began < 10
            assert "the clock says hello" in [line.text for line in env.process("clock").logs()]
            with pytest.raises(FaultNotPossible, match='it is a host of kind "ssh"'):
                host.partition()
            assert page(env) == "hello from a\n"
        for host_inside in lab.hosts.values():
            assert host_inside.run(["systemctl", "is-active", "web"]).stdout == "inactive\n"
            assert not host_inside.run(["ls", "/srv/page", "/etc/systemd/system/web.service"]).stdout
