"""What goes wrong around the shell: others go on, what is wrong is said with the host's name, and nothing is half done without saying so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.labshell.commands.floor import Floor, laid_out, until

from labtest.deploy import StateFolder


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    with laid_out(tmp_path_factory.mktemp("weather"), f"weather-{os.getpid()}") as floor:
        yield floor


@pytest.fixture
def edited(floor: Floor) -> Iterator[Floor]:
    """A floor whose files may be edited: they are put back, and so is what runs."""
    kept = floor.folder.parent / "kept"
    shutil.copytree(floor.folder, kept, ignore=shutil.ignore_patterns("*.lab", ".*"))
    yield floor
    shutil.copytree(kept, floor.folder, dirs_exist_ok=True)
    shutil.rmtree(kept)
    back = floor.json("apply --yes")
    assert back.code == 0, back


# --- without any host


def test_a_spec_that_is_not_there_or_broken_is_told_by_its_name_and_line(tmp_path: Path) -> None:
    floor = Floor(tmp_path / "f", None, "never-up")
    missing = floor.run("-c", "status", spec=tmp_path / "none.toml")
    assert missing.code == 2, missing
    assert "none.toml" in missing.err, missing
    assert "Traceback" not in missing.text, missing
    floor.replace("small.toml", 'hosts = ["b"]', 'hosts = ["nowhere"]')
    broken = floor.do("status")
    assert broken.code == 2, broken
    assert "nowhere" in broken.err, broken
    assert "small.toml" in broken.err, broken


def test_hosts_that_were_not_booted_are_told_with_the_command_that_boots_them(tmp_path: Path) -> None:
    floor = Floor(tmp_path / "f", None, "never-up")
    said = floor.do("status")
    assert said.code != 0, said
    assert "labtest up" in said.err, said
    assert not (floor.folder / "small.lab").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("{", "start again from the spec alone"), ('{"format": 99}', "newer")],
)
def test_a_state_folder_that_cannot_be_understood_is_left_as_it_is(
    floor: Floor, content: str, complaint: str
) -> None:
    desired = StateFolder.beside(floor.spec).path / "desired.json"
    before = desired.read_bytes()
    desired.write_text(content)
    try:
        said = floor.do("restart web")
        assert said.code == 1, said
        assert complaint in said.err, said
        assert "desired.json" in said.err, said
        assert desired.read_text() == content
    finally:
        desired.write_bytes(before)


def test_an_audit_log_that_cannot_be_written_keeps_changes_from_beginning(floor: Floor) -> None:
    audit = StateFolder.beside(floor.spec).audit_path
    kept = audit.rename(audit.with_suffix(".kept"))
    audit.mkdir()
    try:
        before = floor.invocation("a", "web.service")
        said = floor.do("restart web@a")
        assert said.code == 1, said
        assert "nothing is changed that is not recorded" in said.err, said
        assert floor.invocation("a", "web.service") == before
    finally:
        audit.rmdir()
        kept.rename(audit)


@pytest.fixture
def full(floor: Floor, tmp_path: Path) -> Iterator[Floor]:
    """The state folder's file system has no byte left."""
    folder, kept = StateFolder.beside(floor.spec).path, tmp_path / "kept"
    shutil.copytree(folder, kept)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], check=True)
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        with suppress(OSError), (folder / "others").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        yield floor
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_state_folder_without_room_keeps_changes_from_beginning(full: Floor) -> None:
    desired = StateFolder.beside(full.spec).path / "desired.json"
    before, kept = full.invocation("a", "web.service"), desired.read_bytes()
    for command in ("restart web@a", "set greeting moin"):
        said = full.do(command)
        assert said.code == 1, (command, said)
        assert "No space left" in said.err, (command, said)
        assert "small.lab" in said.err, (command, said)
    assert full.do("status").code == 0, "who only looks needs no room"
    assert full.invocation("a", "web.service") == before
    assert desired.read_bytes() == kept


# --- what is deployed is wrong


def test_a_template_with_an_unknown_variable_changes_nothing(edited: Floor) -> None:
    before = edited.invocation("b", "clock.service")
    edited.replace("clock.service.j2", "greeting", "greting")
    for command in ("plan", "apply --yes", "restart clock"):
        said = edited.do(command)
        assert said.code == 2, (command, said)
        assert "greting" in said.err, (command, said)
        assert "clock.service.j2" in said.err, (command, said)
    assert edited.invocation("b", "clock.service") == before


def test_a_unit_that_does_not_start_is_rolled_back_and_its_last_words_are_shown(edited: Floor) -> None:
    edited.replace("clock.service.j2", "exec sleep infinity", "echo it is broken; exit 3")
    edited.replace("clock.service.j2", "[Service]", "[Service]\nType=oneshot\nRemainAfterExit=yes")
    said = edited.do("apply --yes")
    assert said.code == 1, said
    assert "everything is as it was before" in said.out, said
    assert "start clock" in said.out, said
    assert "it is broken" in said.out, said
    rows = edited.json("status --down")
    assert (rows.code, rows.result) == (0, []), rows


def test_a_health_check_that_never_passes_is_rolled_back(edited: Floor) -> None:
    edited.replace("small.toml", ":{{ port }}/page", ":{{ port }}/no-such-page")
    edited.replace("small.toml", '/no-such-page" }', '/no-such-page", timeout_s = 1 }')
    edited.replace("page.j2", "from", "of")
    said = edited.do("apply --yes")
    assert said.code == 1, said
    assert "404" in said.out, said
    assert "as it was before" in said.out, said
    assert edited.json("status --down").result == []


def test_a_full_disk_is_rolled_back_and_said(edited: Floor) -> None:
    assert edited.lab is not None
    edited.replace("page.j2", "from", "x" * 200_000)
    edited.lab.fill_disk("b")
    try:
        said = edited.do("apply --yes")
        assert said.code == 1, said
        assert "b: " in said.out, said
        assert "space" in said.out.lower(), said
    finally:
        edited.lab.free_disk("b")
    assert edited.json("status --down").result == []


# --- hosts


@pytest.fixture
def cut_off(floor: Floor) -> Iterator[Floor]:
    """Host b has no power."""
    assert floor.lab is not None
    floor.lab.power_cut("b")
    yield floor
    floor.lab.boot("b")
    assert floor.do("apply --yes").code == 0


def test_a_host_without_power_is_named_and_the_others_go_on(cut_off: Floor) -> None:
    said = cut_off.json("status; plan; run hostname; restart web; logs web -n1; reconnect", "--keep-going")
    status, plan, ran, restarted, logs, reconnected = said.lines()
    assert [one["exit"] for one in said.lines()] == [5, 5, 5, 5, 5, 5], said
    assert [one["condition"] for one in status["result"]] == ["running", "unknown", "unknown"]
    assert plan["result"]["unreachable"] == ["b"]
    assert [(one["hosts"], one["status"]) for one in ran["result"]] == [(["a"], 0), (["b"], None)]
    assert restarted["result"]["unreachable"] == ["b"]
    assert restarted["result"]["steps_done"] == 2
    assert logs["result"]
    assert "b: " in logs["error"]
    assert reconnected["result"][0]["connected"] is False
    text = cut_off.do("apply -y")
    assert text.code == 5, text
    assert "not known, since they do not answer: b" in text.out, text


@pytest.fixture
def without_rights(edited: Floor) -> Floor:
    """Who logs in to host b may not become root there."""
    assert edited.lab is not None
    user = "useradd --create-home --shell /bin/bash ops && cp -r ~root/.ssh /home/ops/ && chown -R ops: /home/ops"
    edited.lab.hosts["b"].run(["sh", "-c", user], check=True)
    edited.replace("small.toml", "[hosts.b]\n", '[hosts.b]\nssh = "ops@b"\nsudo = true\n')
    return edited


def test_a_host_whose_user_may_not_become_root_is_named_and_nothing_changes_there(
    without_rights: Floor,
) -> None:
    floor = without_rights
    before = {host: floor.invocation(host, "web.service") for host in ("a", "b")}
    said = floor.do("status; restart web; run hostname", "--keep-going")
    assert said.code == 5, said
    assert "sudo -n does not: sudo: a password is required" in said.text, said
    assert floor.invocation("a", "web.service") != before["a"]
    assert floor.invocation("b", "web.service") == before["b"]


def test_ctrl_c_while_a_host_hangs_keeps_what_came_and_names_who_did_not_answer(floor: Floor) -> None:
    program = floor.start(
        "-c", "run -- sh -c 'test $(hostname) = a && echo quick || { sleep 2; touch /run/there; sleep 60; }'"
    )
    assert floor.lab is not None
    there = floor.lab.hosts["b"]
    until(lambda: there.run(["test", "-e", "/run/there"]).returncode == 0, "the command on b")
    program.send_signal(signal.SIGINT)
    said = floor.ends(program)
    assert said.code == 130, said
    assert "quick" in said.out, said
    assert "no answer yet from b (1)" in said.err, said
    until(
        lambda: there.run(["pgrep", "-x", "sleep"]).stdout.split() == [clock_pid(floor)], "the end of sleep"
    )


def clock_pid(floor: Floor) -> str:
    assert floor.lab is not None
    command = ["systemctl", "show", "--value", "-p", "MainPID", "clock.service"]
    return floor.lab.hosts["b"].run(command, check=True).stdout.strip()


def test_a_host_that_hangs_in_the_middle_of_an_apply_can_be_left_and_resumed(edited: Floor) -> None:
    assert edited.lab is not None
    edited.replace(
        "web.service.j2", "[Service]", "[Service]\nExecStartPre=sh -c 'touch /run/starting; sleep 3'"
    )
    program = edited.start("-c", "apply --yes")
    until(
        lambda: (
            edited.lab is not None
            and edited.lab.hosts["a"].run(["test", "-e", "/run/starting"]).returncode == 0
        ),
        "a start",
    )
    edited.lab.freeze("a")
    program.send_signal(signal.SIGINT)
    said = edited.ends(program)
    edited.lab.thaw("a")
    assert said.code == 130, said
    assert "cancelled" in said.text, said

    resumed = edited.do("status; resume --yes; plan", "--keep-going")
    assert "resume: done" in resumed.out, resumed
    assert "nothing to do" in resumed.out, resumed


def test_of_two_who_change_something_one_is_told_who_the_other_is(floor: Floor) -> None:
    folder = StateFolder.beside(floor.spec)
    with folder.lock("ada@desk, pid 1, apply: 3 steps since 12:00:00"):
        said = floor.do("restart web@a")
        assert said.code == 4, said
        assert "ada@desk" in said.err, said
        assert floor.do("add clock a").code == 4
        assert floor.do("status").code == 0
    assert floor.do("restart web@a").code == 0


def test_a_changed_host_key_is_told_and_never_ignored(floor: Floor) -> None:
    assert floor.lab is not None
    known = next(
        Path(line.split()[1])
        for line in floor.lab.ssh_config.read_text().splitlines()
        if line.split()[:1] == ["UserKnownHostsFile"]
    )
    before = known.read_text()
    key = floor.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    other = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    names = [line.split()[0] for line in before.splitlines()]
    try:
        known.write_text("".join(f"{name} {other}\n" for name in names))
        changed = floor.json("hosts; run hostname", "--keep-going").lines()
        assert {one["link"] for one in changed[0]["result"]} == {"refused"}, changed
        assert "key" in changed[0]["result"][0]["reason"]
        assert changed[1]["exit"] == 5
        known.write_text("")
        unknown = floor.json("hosts").result
        assert {one["link"] for one in unknown} == {"refused"}, unknown
        assert "known" in unknown[0]["reason"], unknown
    finally:
        known.write_text(before)


def test_ctrl_c_ends_logs_that_are_followed(floor: Floor) -> None:
    program = floor.start("-c", "logs clock --follow --lines 1")
    assert program.stdout is not None
    assert "clock@b" in program.stdout.readline()
    program.send_signal(signal.SIGINT)
    assert floor.ends(program).code == 130
