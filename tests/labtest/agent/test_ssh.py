"""Reaching hosts by ssh: what goes wrong is told apart, and nothing ever asks. The sshd is the test's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.labtest.agent.hosts import SSHD, Sshd, ends, key, sshd

from labtest.agent.client import AgentClient
from labtest.agent.connection import Ended
from labtest.agent.payload import AgentOptions
from labtest.core.environment import HostKind, HostSpec
from labtest.errors import (
    AgentFailed,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    LabError,
    LoginRefused,
    NotPrivileged,
)
from labtest.hosts.ssh import Ssh, SshSettings, ssh_run_folder
from labtest.hosts.ssh_words import explain_end, host_key_in
from labtest.namespaces import Lab

TARGET = HostSpec(name="rack1", ssh="target")

needs_sshd = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="an sshd of its own needs root"),
    pytest.mark.skipif(SSHD is None, reason="no sshd: apt-get install openssh-server"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with sshd(tmp_path / "sshd") as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    with ssh_run_folder() as made:
        yield made


def session(server: Sshd, folder: Path, *, connect_timeout_s: float = 10.0) -> Ssh:
    return Ssh(folder, SshSettings(config_file=str(server.ssh_config), connect_timeout_s=connect_timeout_s))


def options(server: Sshd) -> AgentOptions:
    return AgentOptions(state_folder=str(server.folder / "state"), run_folder=str(server.folder / "run"))


def connected(server: Sshd, folder: Path) -> str:
    """Connects, runs a command, and gives what it said."""

    async def main() -> str:
        with trio.fail_after(60):
            async with session(server, folder).connect(TARGET, options(server)) as agent:
                return (await agent.run(["echo", "it works"])).stdout.decode()

    return trio.run(main)


def refusal(
    server: Sshd, folder: Path, host: HostSpec = TARGET, *, connect_timeout_s: float = 10.0
) -> LabError:
    """Why it does not connect."""

    async def main() -> LabError:
        with trio.fail_after(60):
            try:
                async with session(server, folder, connect_timeout_s=connect_timeout_s).connect(
                    host, options(server)
                ):
                    raise AssertionError("it connects")
            except LabError as error:
                return error

    return trio.run(main)


class TestRefusals:
    pytestmark = needs_sshd

    def test_an_unknown_key_comes_with_its_fingerprint_and_what_to_do(
        self, server: Sshd, folder: Path
    ) -> None:
        server.known_hosts.write_text("")
        error = refusal(server, folder)
        shown = subprocess.run(
            ["ssh-keygen", "-lf", server.host_key], capture_output=True, text=True, check=True
        ).stdout.split()[1]
        assert type(error) is HostKeyUnknown
        assert f"ssh-ed25519 {shown}" in str(error)
        assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in str(error)
        assert f"ssh -F {server.ssh_config} target" in str(error)
        assert server.known_hosts.read_text() == ""  # nobody has said yes

    def test_a_changed_key_is_loud_and_names_the_line(
        self, server: Sshd, folder: Path, tmp_path: Path
    ) -> None:
        server.trust(key(tmp_path / "another"))
        error = refusal(server, folder)
        assert type(error) is HostKeyChanged
        assert "HAS CHANGED" in str(error)
        assert f"{server.known_hosts}:1" in str(error)
        assert "SHA256:" in str(error)
        assert "ssh-keygen -f" in str(error)

    def test_a_key_that_nobody_has_authorized_is_a_refused_login(
        self, server: Sshd, folder: Path, tmp_path: Path
    ) -> None:
        server.configure_client(identity=key(tmp_path / "stranger"))
        error = refusal(server, folder)
        assert type(error) is LoginRefused
        assert "Permission denied (publickey" in str(error)

    def test_a_server_that_wants_a_password_is_a_refused_login_and_nothing_asks(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = tmp_path / "asked"
        program = tmp_path / "askpass"
        program.write_text(f"#!/bin/sh\ntouch {asked}\necho secret\n")
        program.chmod(0o755)
        monkeypatch.setenv("SSH_ASKPASS", str(program))
        monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
        monkeypatch.setenv("DISPLAY", ":0")
        server = Sshd(tmp_path / "sshd")
        try:
            server.start("PubkeyAuthentication no", "PasswordAuthentication yes")
            assert type(refusal(server, folder)) is LoginRefused
        finally:
            server.stop()
        assert not asked.exists()

    def test_an_sshd_that_is_not_up_refuses_the_connection(self, server: Sshd, folder: Path) -> None:
        server.stop()
        error = refusal(server, folder)
        assert type(error) is HostUnreachable
        # Reset: somebody had it listen for a moment longer.
        assert "Connection refused" in str(error) or "Connection reset" in str(error)

    def test_a_host_that_accepts_and_says_nothing_is_late(self, server: Sshd, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            server.port = silent.getsockname()[1]
            server.configure_client()
            error = refusal(server, folder, connect_timeout_s=1.0)
        assert type(error) is HostUnreachable
        assert "timed out" in str(error)

    def test_a_name_that_nobody_knows_is_told(self, server: Sshd, folder: Path) -> None:
        error = refusal(server, folder, HostSpec(name="rack1", ssh="no-such-host.invalid"))
        assert type(error) is HostUnreachable
        assert "no-such-host.invalid" in str(error)

    def test_a_destination_is_never_taken_for_an_option(
        self, server: Sshd, folder: Path, tmp_path: Path
    ) -> None:
        trap = tmp_path / "trap"
        error = refusal(server, folder, HostSpec(name="rack1", ssh=f"-oProxyCommand=touch {trap}"))
        assert isinstance(error, HostUnreachable)
        assert not trap.exists()

    def test_a_host_without_python_is_told(self, folder: Path, tmp_path: Path) -> None:
        programs = tmp_path / "bin"
        programs.mkdir()
        (programs / "sh").symlink_to("/bin/sh")
        server = Sshd(tmp_path / "sshd")
        try:
            server.start(f'ForceCommand PATH={programs}; export PATH; eval "$SSH_ORIGINAL_COMMAND"')
            error = refusal(server, folder)
        finally:
            server.stop()
        assert type(error) is AgentFailed
        assert "there is no python3" in str(error)

    def test_a_login_shell_that_ends_at_once_is_a_refused_login(self, folder: Path, tmp_path: Path) -> None:
        server = Sshd(tmp_path / "sshd")
        try:
            server.start("ForceCommand echo This account is currently not available. >&2; exit 1")
            error = refusal(server, folder)
        finally:
            server.stop()
        assert type(error) is LoginRefused
        assert "not available" in str(error)


class TestSessions:
    pytestmark = needs_sshd

    def test_an_agent_runs_where_the_login_shell_talks_and_the_configuration_is_full_of_traps(
        self, folder: Path, tmp_path: Path
    ) -> None:
        server = Sshd(tmp_path / "sshd")
        server.configure_client(
            more=" ControlMaster auto\n ControlPath /nowhere/%C\n ControlPersist 10m\n RemoteCommand echo trap\n RequestTTY force\n"
            " LogLevel QUIET\n LocalForward 127.0.0.1:1 127.0.0.1:2\n ExitOnForwardFailure yes\n"
        )
        try:
            server.start('ForceCommand echo "Welcome to rack1"; eval "$SSH_ORIGINAL_COMMAND"')
            assert connected(server, folder) == "it works\n"
        finally:
            server.stop()

    def test_a_jump_is_honoured(self, server: Sshd, folder: Path) -> None:
        """The second configuration of the same sshd is reached through the first."""
        text = server.ssh_config.read_text()
        server.ssh_config.write_text(f"{text}{text.replace('Host target', 'Host behind')} ProxyJump target\n")

        async def main() -> str:
            with trio.fail_after(60):
                host = HostSpec(name="far", ssh="behind")
                async with session(server, folder).connect(host, options(server)) as agent:
                    return (await agent.run(["sh", "-c", "echo $PPID"])).stdout.decode()

        assert trio.run(main).strip().isdecimal()

    def test_sessions_of_people_go_through_the_master_while_it_is_up(
        self, server: Sshd, folder: Path
    ) -> None:
        ssh = session(server, folder)

        async def main() -> None:
            with trio.fail_after(60):
                async with ssh.connect(TARGET, options(server)):
                    server.authorized.write_text("")  # no new login is possible now
                    argv = ssh.argv(TARGET, ["printf", "%s|", "two words", "$HOME", "it's"])
                    ran = await trio.run_process(argv, capture_stdout=True)
                    assert ran.stdout == b"two words|$HOME|it's|"
                with pytest.raises(subprocess.CalledProcessError):
                    await trio.run_process(argv, capture_stdout=True, stderr=subprocess.DEVNULL)

        trio.run(main)

    def test_a_persons_session_outlives_an_agent_that_is_lost(self, server: Sshd, folder: Path) -> None:
        ssh = session(server, folder)

        async def main() -> None:
            with trio.fail_after(60):
                async with ssh.connect(TARGET, options(server)) as agent:
                    argv = ssh.argv(TARGET, ["sh", "-c", "echo begun; read line <$0; echo ended", str(fifo)])
                    person = await trio.lowlevel.open_process(argv, stdout=subprocess.PIPE)
                    assert person.stdout is not None
                    assert await person.stdout.receive_some(100) == b"begun\n"
                    os.kill(agent.hello.process_id, 9)
                    await agent.wait_lost()
                async with ssh.connect(TARGET, options(server)) as agent:
                    assert (await agent.run(["sh", "-c", f"echo >{fifo}"])).status == 0
                    assert await person.stdout.receive_some(100) == b"ended\n"
                    assert await person.wait() == 0
                await person.stdout.aclose()
                await ssh.aclose()

        fifo = server.folder / "fifo"
        os.mkfifo(fifo)
        trio.run(main)
        assert not [path for path in folder.iterdir() if path.is_socket()]

    def test_a_session_with_a_terminal_has_one(self, server: Sshd, folder: Path) -> None:
        argv = session(server, folder).argv(TARGET, ["tty"], tty=True)
        ran = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=True)
        assert ran.stdout.startswith(b"/dev/pts/")

    def test_nothing_is_left_when_an_agent_is_closed(self, server: Sshd, folder: Path) -> None:
        async def main() -> tuple[int, int]:
            with trio.fail_after(60):
                async with session(server, folder).connect(TARGET, options(server)) as agent:
                    sockets = [path for path in folder.iterdir() if path.is_socket()]
                    assert len(sockets) == 1
                    ssh = next(
                        process for process in _processes("ssh") if str(sockets[0]) in _arguments(process)
                    )
                    return agent.hello.process_id, ssh

        agent_process, ssh_process = trio.run(main)
        assert ends(agent_process)
        assert ends(ssh_process)
        assert not [path for path in folder.iterdir() if path.is_socket()]

    def test_a_socket_that_a_killed_master_left_is_in_nobodys_way(self, server: Sshd, folder: Path) -> None:
        async def main() -> None:
            ssh = session(server, folder)
            with trio.fail_after(60):
                async with ssh.connect(TARGET, options(server)) as agent:
                    (left,) = [path for path in folder.iterdir() if path.is_socket()]
                    for process in _processes("ssh"):
                        if str(left) in _arguments(process):
                            os.kill(process, 9)
                    await agent.wait_lost()
                assert left.exists()
                async with ssh.connect(TARGET, options(server)) as agent:
                    server.authorized.write_text("")
                    ran = await trio.run_process(ssh.argv(TARGET, ["echo", "shared"]), capture_stdout=True)
                    assert ran.stdout == b"shared\n"
                    assert ends(agent.hello.process_id, 0.0) is False

        trio.run(main)


def _processes(name: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and (folder / "comm").read_text().strip() == name:
                found.append(int(folder.name))
        except OSError:
            pass
    return found


def _arguments(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


# ---------------------------------------------------------------- root


@pytest.mark.system
@pytest.mark.skipif(os.geteuid() != 0, reason="a host of its own needs root")
@pytest.mark.skipif(shutil.which("sudo") is None, reason="no sudo: apt-get install sudo")
def test_a_user_becomes_root_by_sudo_or_is_told_why_not(folder: Path) -> None:
    with Lab("agent-sudo", ["a"]) as lab:
        lab.hosts["a"].run(
            [
                "sh",
                "-c",
                "useradd --create-home --shell /bin/bash ops && cp -r ~root/.ssh /home/ops/ && chown -R ops: /home/ops",
            ]
        )
        ssh = Ssh(folder, SshSettings(config_file=str(lab.ssh_config)))

        def attempt(*, sudo: bool) -> str:
            async def main() -> str:
                with trio.fail_after(60):
                    host = HostSpec(name="a", ssh="ops@a", kind=HostKind.NAMESPACE, sudo=sudo)
                    try:
                        async with ssh.connect(host) as agent:
                            return await _user(agent)
                    except NotPrivileged as error:
                        return str(error)

            return trio.run(main)

        assert "root is needed" in attempt(sudo=False)
        assert "sudo -n does not: sudo: a password is required" in attempt(sudo=True)
        lab.hosts["a"].run(["sh", "-c", "echo 'ops ALL=(root) NOPASSWD: /usr/bin/true' >/etc/sudoers.d/ops"])
        assert "sudo -n does not" in attempt(sudo=True)
        lab.hosts["a"].run(["sh", "-c", "echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops"])
        assert attempt(sudo=True) == "root"
        lab.hosts["a"].run(["rm", "/usr/bin/sudo"])
        assert "there is no sudo" in attempt(sudo=True)


async def _user(agent: AgentClient) -> str:
    return (await agent.run(["id", "-un"])).stdout.decode().strip()


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("ssh: connect to host 10.0.0.1 port 22: No route to host", HostUnreachable, "No route to host"),
        ("ssh: connect to host rack1 port 22: Connection timed out", HostUnreachable, "timed out"),
        ("kex_exchange_identification: read: Connection reset by peer", HostUnreachable, "reset by peer"),
        ("Connection closed by 10.0.0.1 port 22", HostUnreachable, "closed by"),
        ("command-line: line 0: Bad configuration option: foo", HostUnreachable, "Bad configuration"),
        (
            '"System is booting up. Unprivileged users are not permitted to log in yet. See pam_nologin(8)."\nConnection closed by 10.0.0.1',
            HostUnreachable,
            "lets nobody in yet",
        ),
        (
            "Authorized use only!\nops@rack1: Permission denied (publickey,password).",
            LoginRefused,
            "ops@rack1: Permission",
        ),
        ("Received disconnect from 10.0.0.1: 2: Too many authentication failures", LoginRefused, "Too many"),
        ("Host key verification failed.", HostKeyUnknown, "not known"),
        (
            "@    WARNING: REVOKED HOST KEY DETECTED!     @\nHost key verification failed.",
            HostKeyChanged,
            "CHANGED",
        ),
        ("", HostUnreachable, "without a word"),
    ],
)
def test_what_ssh_says_is_told_apart(said: str, kind: type[LabError], words: str) -> None:
    error = explain_end("rack1", Ended(status=255, is_logged_in=False, stderr=said), sudo=False)
    assert type(error) is kind
    assert words in str(error)
    assert str(error).startswith("rack1: ")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("sudo: a password is required", 1),
        ("ops is not in the sudoers file.", 1),
        ("Sorry, user ops is not allowed to execute '/usr/bin/python3 -I' as root on rack1.", 1),
        ("labtest: there is no sudo", 96),
    ],
)
def test_what_sudo_says_is_told_apart(said: str, status: int) -> None:
    error = explain_end("rack1", Ended(status=status, is_logged_in=True, stderr=said), sudo=True)
    assert type(error) is NotPrivileged
    assert said in str(error)


def test_a_program_that_fails_is_no_missing_right() -> None:
    said = "Traceback (most recent call last):\nsudo: of all words"
    assert (
        type(explain_end("rack1", Ended(status=1, is_logged_in=True, stderr=said), sudo=True)) is AgentFailed
    )


@given(st.text(), st.integers(-64, 255), st.booleans(), st.booleans())
def test_whatever_ssh_says_is_an_error_of_that_host(
    said: str, status: int, is_logged_in: bool, sudo: bool
) -> None:
    error = explain_end("rack1", Ended(status=status, is_logged_in=is_logged_in, stderr=said), sudo=sudo)
    assert isinstance(error, HostUnreachable | AgentFailed)
    assert str(error).startswith("rack1: ")


def test_the_key_at_which_ssh_stopped_is_the_last_one() -> None:
    verbose = "debug1: Server host key: ssh-ed25519 SHA256:jump\r\ndebug1: Server host key: ssh-rsa SHA256:target\r\n"
    assert host_key_in(verbose) == ("ssh-rsa", "SHA256:target")
    assert host_key_in("") is None


# ---------------------------------------------------------------- the folder of sockets


def test_a_folder_is_for_its_user_alone_and_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "r"))
    (tmp_path / "r").mkdir()
    with ssh_run_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_what_lives_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path("/tmp") / f"r{os.getpid()}"
    base.mkdir()
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
        left = base / "labtest-ssh-left"
        left.mkdir()
        (left / "lock").touch()
        (base / "other").mkdir()
        with ssh_run_folder() as one, ssh_run_folder() as two:
            assert {path.name for path in base.iterdir()} == {one.name, two.name, "other"}
    finally:
        shutil.rmtree(base)


def test_a_path_that_is_too_long_for_a_socket_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with ssh_run_folder() as folder:
        assert folder.parent == Path("/tmp")
