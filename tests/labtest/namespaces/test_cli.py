"""The ``labtest`` command: hosts left up by one process, and found, hurt and taken down by others."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.labtest.namespaces.support import left_of, need_labs

from labtest.cli import labtest_group
from labtest.cli.commands import COMMANDS

_LABTEST = [sys.executable, "-m", "labtest.cli"]


def labtest(*arguments: str, exit_code: int = 0) -> str:
    """Runs it; returns what it prints, or, where it is to fail, what it says on standard error."""
    done = subprocess.run([*_LABTEST, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if exit_code else done.stdout


def spec_of(folder: Path, name: str, *hosts: str, kind: str = "namespace") -> str:
    path = folder / f"{name}-{'-'.join(hosts)}.toml"
    tables = "".join(f'[hosts.{host}]\nkind = "{kind}"\n' for host in hosts)
    path.write_text(f'name = "{name}-{os.getpid()}"\n{tables}')
    return str(path)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The spec of a lab with the hosts a and b, which is up."""
    need_labs()
    path = spec_of(tmp_path_factory.mktemp("spec"), "cli", "a", "b")
    labtest("up", path)
    lab_id = json.loads(labtest("status", path, "--json"))["id"]
    yield path
    assert labtest("down", path) == f"{lab_id} is down\n"
    assert left_of(lab_id) == []


def name_of(spec: str) -> str:
    return f"{Path(spec).name.split('-')[0]}-{os.getpid()}"


def states(spec: str) -> dict[str, tuple[str, list[str]]]:
    found = json.loads(labtest("status", spec, "--json"))
    return {host["name"]: (host["state"], host["faults"]) for host in found["hosts"]}


def test_status_shows_hosts_in_words_and_as_json(spec: str) -> None:
    shown = labtest("status", spec)
    one = json.loads(labtest("status", spec, "--json"))
    assert (one["name"], one["is_detached"]) == (name_of(spec), True)
    for host in one["hosts"]:
        assert f"  {host['name']}  {host['address']}" in shown
    assert one in json.loads(labtest("status", "--json"))
    assert shown.splitlines()[1] in labtest("status")


def test_ssh_runs_a_command_word_for_word_and_gives_its_status(spec: str) -> None:
    words = ("printf", "%s|", "a  b", "$HOME", "*", "-c")
    assert labtest("ssh", "--lab", spec, "a", "--", *words) == "a  b|$HOME|*|-c|"
    assert labtest("ssh", "--lab", spec, "a", "echo $HOME | tr a-z A-Z") == "/ROOT\n"
    labtest("ssh", "--lab", spec, "b", "exit 42", exit_code=42)


def test_ssh_without_a_command_is_a_shell_on_a_terminal(spec: str) -> None:
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [*_LABTEST, "ssh", "--lab", spec, "b"], stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        os.write(controller, b"tty; echo at-$(hostname); exit 3\n")
        shown, deadline = b"", time.monotonic() + 60
        while process.poll() is None or b"at-b\r\n" not in shown:
            assert time.monotonic() < deadline, shown
            try:
                shown += os.read(controller, 4096)
            except OSError:
                break  # the other end is closed
        assert process.wait(timeout=60) == 3
    os.close(controller)
    assert b"/dev/pts/" in shown
    assert b"at-b\r\n" in shown


def test_faults_are_made_shown_and_undone(spec: str) -> None:
    def fault(*arguments: str) -> None:
        name, *rest = arguments
        labtest("fault", name, "--lab", name_of(spec), *rest)

    fault("delay", "a", "10", "--jitter", "2")
    fault("loss", "a", "1.5")
    fault("rate", "a", "100")
    fault("partition", "a", "b")
    fault("fill-disk", "b", "/dev/shm")
    fault("freeze", "b")
    assert states(spec) == {
        "a": ("up", ["cut from b", "delay 10 ±2 ms", "loss 1.5 %", "rate 100 Mbit/s"]),
        "b": ("frozen", ["/dev/shm full"]),
    }
    fault("thaw", "b")
    fault("free-disk", "b", "/dev/shm")
    fault("clear", "a")
    fault("partition", "a")
    assert states(spec)["a"] == ("up", ["cut off"])
    fault("heal", "a")
    fault("kill", "a", "ssh.service", "--signal", "HUP")
    assert states(spec) == {"a": ("up", []), "b": ("up", [])}
    fault("power-cut", "a")
    assert states(spec)["a"] == ("off", [])
    fault("boot", "a")
    assert states(spec)["a"] == ("up", [])


def test_up_again_boots_what_is_off_and_leaves_the_rest(spec: str) -> None:
    before = json.loads(labtest("status", spec, "--json"))
    labtest("fault", "power-cut", "--lab", spec, "b")
    after = json.loads(labtest("up", spec, "--json"))
    assert after["id"] == before["id"]
    assert after["hosts"][0] == before["hosts"][0]
    assert after["hosts"][1]["state"] == "up"


def test_up_with_other_hosts_is_refused(spec: str, tmp_path: Path) -> None:
    said = labtest("up", spec_of(tmp_path, "cli", "a", "c"), exit_code=1)
    assert "is up with a, b, and the spec wants a, c: labtest down" in said


def test_what_is_not_there_is_told_with_what_is(spec: str) -> None:
    said = labtest("ssh", "--lab", spec, "nowhere", exit_code=1)
    assert said.startswith("labtest: error: there is no host 'nowhere': ")
    assert said.endswith(" has a, b\n")
    assert "lab no-such is not up; up are" in labtest("down", "no-such", exit_code=1)
    assert "has no power" not in labtest("fault", "thaw", "--lab", spec, "nowhere", exit_code=1)
    assert "must be from 0 to 100" in labtest("fault", "loss", "--lab", spec, "a", "101", exit_code=1)


def test_a_broken_spec_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text('name = "broken"\n[hosts.a]\nkind = "namspace"\n')
    said = labtest("up", str(path), exit_code=2)
    assert said.startswith("labtest: error: ")
    assert "broken.toml:3: " in said


def test_a_spec_without_namespace_hosts_has_nothing_to_boot(tmp_path: Path) -> None:
    said = labtest("up", spec_of(tmp_path, "remote", "a", kind="ssh"), exit_code=1)
    assert 'has no host with  kind = "namespace"' in said


@pytest.mark.parametrize(
    "arguments", [["down"], ["down", "x", "--all"], ["up"], ["up", "/nonexistent"], ["hop"]]
)
def test_wrong_usage_ends_with_2_and_points_at_the_help(arguments: list[str]) -> None:
    said = labtest(*arguments, exit_code=2)
    assert said.startswith("labtest: error: ")
    assert "--help)" in said


def test_down_all_takes_down_what_was_left_up_and_nothing_else(tmp_path: Path) -> None:
    """With a list of labs of its own, since those of others shall stay."""
    need_labs()
    specs = [spec_of(tmp_path, "all", "a"), spec_of(tmp_path, "every", "a")]
    program = " ".join(_LABTEST)
    owner = (
        "import sys; from labtest.namespaces import Lab; lab = Lab('owned', ['a']); lab.up(); print(lab.id, flush=True);"
        " sys.stdin.read(); print(lab.hosts['a'].run(['hostname']).stdout, end='', flush=True); lab.down()"
    )
    script = f"""
set -e
mkdir -p /run/aviary-lab
mount -t tmpfs -o mode=700 tmpfs /run/aviary-lab
mkfifo {tmp_path}/wait
{sys.executable} -c "{owner}" < {tmp_path}/wait &
exec 3> {tmp_path}/wait
{program} up {specs[0]} > {tmp_path}/up; {program} up {specs[1]} >> {tmp_path}/up
until {program} status | grep -q 'of process'; do sleep 0.1; done
{program} down --all
{program} down --all
exec 3>&-
wait
{program} status
umount /run/aviary-lab
"""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    owned = next(line for line in said if line.startswith("owned."))
    downs = [line.removesuffix(" is down") for line in said if line.endswith(" is down")]
    assert [lab.split(".")[0] for lab in downs] == [f"all-{os.getpid()}", f"every-{os.getpid()}"]
    assert "no lab was left up" in said
    assert "a" in said  # the one that has an owner was still there
    assert last == "no lab is up"
    assert [left_of(lab_id) for lab_id in [owned, *downs]] == [[]] * 3


def test_the_table_says_what_each_command_says_of_itself() -> None:
    with click.Context(labtest_group) as context:
        for line in COMMANDS:
            command = labtest_group.get_command(context, line.name)
            assert command is not None
            assert (command.help or "").splitlines()[0] == line.summary
        assert labtest_group.get_command(context, "no-such") is None


def test_help_and_version_need_neither_root_nor_a_lab() -> None:
    shown = labtest("--help")
    assert all(f"  {line.name} " in shown for line in COMMANDS)
    assert labtest("--version").startswith("labtest, version ")
