"""An agent that is killed, stopped, lied to, flooded, or out of room: on this machine, with folders of the test's own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from tests.labtest.agent.conformance import refused
from tests.labtest.agent.hosts import children, ends

from labtest.agent.client import AgentClient
from labtest.agent.connection import Ended, connection
from labtest.agent.limits import CALLS_MAX, PREAMBLE_BYTES_MAX
from labtest.agent.payload import AgentOptions, Payload, build_payload, opening, python_command
from labtest.agent.program import frames
from labtest.agent.program.frames import pack_frame
from labtest.agent.program.limits import (
    BATCH_LINES_MAX,
    FRAME_BYTES_MAX,
    PROBLEM_CHARACTERS_MAX,
    REQUESTS_MAX,
    SILENCE_S,
)
from labtest.core.steps import PutFile
from labtest.core.target import FileTarget
from labtest.errors import AgentFailed, HostUnreachable, LabError
from labtest.hosts.local import connect_local

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="an agent is root"),
]


def play(
    folder: Path,
    scenario: Callable[[AgentClient], Awaitable[None]],
    *,
    env: dict[str, str] | None = None,
    timeout_s: float = 60.0,
) -> None:
    """Runs a scenario with an agent on this machine."""

    async def main() -> None:
        with trio.fail_after(timeout_s):
            async with connect_local("here", options(folder), env=env) as agent:
                await scenario(agent)

    trio.run(main)


def options(folder: Path) -> AgentOptions:
    return AgentOptions(state_folder=str(folder / "state"), run_folder=str(folder / "run"))


def file_of(path: Path, content: bytes) -> FileTarget:
    return FileTarget(
        path=str(path),
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        mode=0o644,
        owner="root",
        group="root",
    )


async def begun(path: Path) -> int:
    """The process id that a command has written."""
    while not (path.exists() and path.read_text().strip()):
        await trio.sleep(0.01)
    return int(path.read_text())


# ---------------------------------------------------------------- kills


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_an_agent_that_is_killed_leaves_nothing_and_says_so_to_all_calls(
    tmp_path: Path, number: signal.Signals
) -> None:
    async def scenario(agent: AgentClient) -> None:
        errors: list[HostUnreachable] = []

        async def call(name: str) -> None:
            try:
                # The guard hears of a command when it has been started: one that began in that instant would be left.
                command = f"sleep 0.5; sleep 6201 & echo $! >{tmp_path}/{name}; wait"
                await agent.run(["sh", "-c", command])
            except HostUnreachable as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for name in ("one", "two"):
                nursery.start_soon(call, name)
            processes = [await begun(tmp_path / name) for name in ("one", "two")]
            os.kill(agent.hello.process_id, number)
        assert len(errors) == 2
        assert all(ends(process) for process in processes)
        assert "here: " in str(errors[0])
        with pytest.raises(HostUnreachable):
            await agent.read_file("/etc/hostname")

    play(tmp_path, scenario)


def test_closing_an_agent_ends_what_it_started(tmp_path: Path) -> None:
    async def scenario(agent: AgentClient) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_refused_by_close, agent, tmp_path)
            process = await begun(tmp_path / "one")
            await agent.aclose()
        assert ends(process)
        assert ends(agent.hello.process_id)

    play(tmp_path, scenario)


async def _refused_by_close(agent: AgentClient, folder: Path) -> None:
    with pytest.raises(HostUnreachable, match="closed"):
        await agent.run(["sh", "-c", f"echo $$ >{folder}/one; exec sleep 6202"])


def test_an_agent_that_hangs_is_noticed_though_its_connection_stays(tmp_path: Path) -> None:
    async def scenario(agent: AgentClient) -> None:
        process_id = agent.hello.process_id
        os.kill(process_id, signal.SIGSTOP)
        try:
            with trio.fail_after(2 * SILENCE_S):
                assert "no sign of life" in await agent.wait_lost()
            with pytest.raises(HostUnreachable, match="no sign of life"):
                await agent.run(["true"])
        finally:
            os.kill(process_id, signal.SIGKILL)

    play(tmp_path, scenario)


def test_an_agent_does_not_outlive_its_shell(tmp_path: Path) -> None:
    """The shell's process is killed outright, in the middle of a command."""
    program = f"""
import trio
from labtest.agent.payload import AgentOptions
from labtest.hosts.local import connect_local
async def main():
    async with connect_local("here", AgentOptions(state_folder={str(tmp_path)!r}, run_folder={str(tmp_path)!r})) as agent:
        await agent.run(["sh", "-c", "echo $$ >{tmp_path}/command; exec sleep 6203"])
trio.run(main)
"""
    shell = subprocess.Popen([sys.executable, "-c", program])
    try:
        deadline = time.monotonic() + 20
        command = tmp_path / "command"
        while not (command.exists() and command.read_text().strip()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (agent,) = children(shell.pid)
    finally:
        shell.kill()
        shell.wait()
    assert ends(agent)
    assert ends(int(command.read_text()))


def test_a_command_that_begins_as_the_agent_ends_is_ended_too() -> None:
    program = """
import subprocess, threading, time
from labtest.agent.program.failures import Failed
from labtest.agent.program.processes import Guard, Processes
guard, is_starting, begun = Guard(), threading.Event(), []
def start():
    with guard.starting():
        is_starting.set()
        time.sleep(0.2)
        begun.append(subprocess.Popen(["sleep", "6205"], start_new_session=True))
        guard.add(begun[0].pid)
threading.Thread(target=start).start()
is_starting.wait()
guard.kill_all()
print(begun[0].wait(20), flush=True)
try:
    Processes(guard).start(["true"])
except Failed as failure:
    print(failure)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert ended.stdout.splitlines() == ["-9", "io: the agent ends: nothing is started any more"]


def test_an_agent_that_hears_nothing_from_its_shell_ends_and_takes_its_commands_along(tmp_path: Path) -> None:
    """As when a laptop is closed: TCP keeps the connection for hours. The agent of this test is less patient."""
    sources = json.loads(zlib.decompress(build_payload().content))
    patient, hasty = "CLIENT_SILENCE_S = 30.0", "CLIENT_SILENCE_S = 0.3"
    assert any(patient in source for _, source in sources)
    content = zlib.compress(
        json.dumps([[name, source.replace(patient, hasty)] for name, source in sources]).encode()
    )
    program = Payload(content, hashlib.sha256(content).hexdigest())
    request = {
        "op": "run",
        "argv": ["sh", "-c", f"echo $$ >{tmp_path}/command; exec sleep 6204"],
        "env": {},
        "folder": "/",
        "timeout_s": 60,
        "output_bytes_max": 10,
        "stdin_bytes": 0,
    }
    agent = subprocess.Popen(python_command(sys.executable), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert agent.stdin is not None
    try:
        agent.stdin.write(
            opening(options(tmp_path), program) + pack_frame(frames.REQUEST, 1, json.dumps(request).encode())
        )
        agent.stdin.flush()
        assert agent.wait(20) == 0
    finally:
        agent.kill()
        agent.wait()
        agent.stdin.close()
    assert ends(int((tmp_path / "command").read_text()))


# ---------------------------------------------------------------- what is none


def _raw(argv: list[str], *, payload: Payload | None = None) -> LabError:
    """The error with which another program than an agent is refused."""

    async def explain(ended: Ended) -> LabError:
        return AgentFailed("here", f"ended with {ended.status}: {ended.stderr}")

    async def main() -> LabError:
        with trio.fail_after(30):
            try:
                async with connection("here", argv, explain=explain, payload=payload) as made:
                    await made.lost.wait()
                    return HostUnreachable("here", made.reason)
            except LabError as error:
                return error

    return trio.run(main)


def _printing(output: bytes, times: int = 1) -> list[str]:
    """Prints, and stays until its input ends."""
    program = f"import sys; sys.stdout.buffer.write({output!r} * {times}); sys.stdout.flush(); sys.stdin.buffer.read()"
    return [sys.executable, "-c", program]


def test_a_program_that_ends_is_no_agent() -> None:
    error = _raw(["sh", "-c", "echo not today >&2; exit 5"])
    assert "ended with 5: not today" in str(error)


def test_a_program_that_is_not_there_is_no_agent() -> None:
    assert "cannot be started" in str(_raw(["/no/such/program"]))


def test_endless_output_of_a_login_is_not_kept() -> None:
    error = _raw(_printing(b"welcome ", PREAMBLE_BYTES_MAX))
    assert isinstance(error, AgentFailed)
    assert "login shell prints more than" in str(error)


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"\xff" * 20, "not in the protocol"),
        (pack_frame(frames.RESULT, 1, b"{}"), "no greeting"),
        (pack_frame(frames.HELLO, 0, b'{"protocol": 1}'), "not in the protocol"),
    ],
)
def test_a_greeting_that_is_none_is_refused(greeting: bytes, words: str) -> None:
    error = _raw(_printing(frames.MAGIC + greeting))
    assert isinstance(error, AgentFailed)
    assert words in str(error)


def test_an_agent_of_another_program_is_refused() -> None:
    hello = b'{"protocol":1,"digest":"%s","python":"3.9","user_id":0,"process_id":1,"boot_id":"x"}' % (
        b"0" * 64
    )
    error = _raw(_printing(frames.MAGIC + pack_frame(frames.HELLO, 0, hello)))
    assert isinstance(error, AgentFailed)
    assert "another one" in str(error)


def test_garbage_in_the_middle_ends_the_connection() -> None:
    digest = build_payload().digest.encode()
    hello = b'{"protocol":1,"digest":"%s","python":"3.9","user_id":0,"process_id":1,"boot_id":"x"}' % digest
    error = _raw(_printing(frames.MAGIC + pack_frame(frames.HELLO, 0, hello) + b"\xee" * 30))
    assert "not in the protocol" in str(error)


def test_what_a_login_shell_prints_is_skipped(tmp_path: Path) -> None:
    """Some print a message of the day, also where nobody reads it."""
    noisy = [
        "sh",
        "-c",
        'echo "Welcome to rack1"; echo "No mail."; exec "$0" "$@"',
        *python_command(sys.executable),
    ]

    async def explain(ended: Ended) -> LabError:
        return AgentFailed("here", ended.stderr)

    async def main() -> None:
        with trio.fail_after(30):
            async with connection("here", noisy, explain=explain, options=options(tmp_path)) as made:
                assert (await AgentClient(made).run(["echo", "hi"])).stdout == b"hi\n"

    trio.run(main)


# ---------------------------------------------------------------- much at once


def test_more_calls_than_the_host_takes_wait_their_turn(tmp_path: Path) -> None:
    done = []

    async def scenario(agent: AgentClient) -> None:
        async def call(number: int) -> None:
            done.append((await agent.run(["echo", str(number)])).stdout)

        async with trio.open_nursery() as nursery:
            for number in range(REQUESTS_MAX + CALLS_MAX):
                nursery.start_soon(call, number)

    play(tmp_path, scenario)
    assert sorted(int(output) for output in done) == list(range(REQUESTS_MAX + CALLS_MAX))


def test_a_request_near_the_limit_is_taken_and_one_beyond_it_is_not_sent(tmp_path: Path) -> None:
    path = "/" + "x" * 97  # 101 bytes of JSON, and the agent looks at it once

    async def scenario(agent: AgentClient) -> None:
        actual = await agent.observe("kit", files=[path] * (FRAME_BYTES_MAX // 101 - 2), units={})
        assert actual.files == ()
        await refused("too-large", agent.observe("kit", files=[path] * (FRAME_BYTES_MAX // 101), units={}))
        assert (await agent.run(["true"])).status == 0

    play(tmp_path, scenario)


def test_an_errors_text_is_bounded(tmp_path: Path) -> None:
    async def scenario(agent: AgentClient) -> None:
        error = await refused("io", agent.read_file("/" + "x" * 10**6))
        assert len(error.problem) <= PROBLEM_CHARACTERS_MAX
        assert error.problem.endswith("File name too long")

    play(tmp_path, scenario)


def test_64_mib_arrive_whole_and_others_are_answered_meanwhile(tmp_path: Path) -> None:
    content = os.urandom(2**20) * 64
    file = file_of(tmp_path / "large", content)
    answered = 0

    async def scenario(agent: AgentClient) -> None:
        nonlocal answered
        async with trio.open_nursery() as nursery:

            async def put() -> None:
                await agent.do("kit", PutFile(file=file), content=lambda _: content)
                nursery.cancel_scope.cancel()

            nursery.start_soon(put)
            while True:
                await agent.read_file("/proc/self/stat")
                answered += 1

    play(tmp_path, scenario)
    assert hashlib.sha256((tmp_path / "large").read_bytes()).hexdigest() == file.sha256
    assert answered > 3


def test_a_put_that_is_cancelled_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    content = bytes(32 * 2**20)
    place = tmp_path / "files" / "large"

    async def scenario(agent: AgentClient) -> None:
        await agent.do("kit", PutFile(file=file_of(place, b"old")), content=lambda _: b"old")
        replaces = hashlib.sha256(b"old").hexdigest()
        async with trio.open_nursery() as nursery:

            def give(_: str) -> bytes:
                nursery.cancel_scope.cancel()
                return content

            await agent.do(
                "kit", PutFile(file=file_of(place, content), replaces_sha256=replaces), content=give
            )
        assert [path.name for path in place.parent.iterdir()] == ["large"]
        assert place.read_bytes() == b"old"

    play(tmp_path, scenario)


def test_content_that_is_not_what_was_announced_is_not_taken(tmp_path: Path) -> None:
    place = tmp_path / "files" / "x"

    async def scenario(agent: AgentClient) -> None:
        file = file_of(place, b"announced")
        await refused("checksum", agent.do("kit", PutFile(file=file), content=lambda _: b"different"))
        with pytest.raises(ValueError, match="more were announced"):
            await agent.do("kit", PutFile(file=file), content=lambda _: b"short")
        assert list(place.parent.iterdir()) == []

    play(tmp_path, scenario)


def test_what_a_killed_agent_left_half_is_gone_after_the_next_put(tmp_path: Path) -> None:
    content = bytes(32 * 2**20)
    place = tmp_path / "files" / "large"

    async def killed(agent: AgentClient) -> None:
        def give(_: str) -> bytes:
            os.kill(agent.hello.process_id, signal.SIGKILL)
            return content

        with pytest.raises(HostUnreachable):
            await agent.do("kit", PutFile(file=file_of(place, content)), content=give)
        assert not place.exists()

    async def again(agent: AgentClient) -> None:
        await agent.do("kit", PutFile(file=file_of(place, content)), content=lambda _: content)
        assert [path.name for path in place.parent.iterdir()] == ["large"]

    play(tmp_path, killed)
    play(tmp_path, again)


def test_a_damaged_manifest_is_named_and_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    manifest = tmp_path / "state" / "kit" / "manifest.json"
    manifest.parent.mkdir(parents=True)

    async def scenario(agent: AgentClient) -> None:
        for text in ("", "{", '{"version": 99}', "[]"):
            manifest.write_text(text)
            error = await refused("io", agent.observe("kit", files=(), units={}))
            assert str(manifest) in error.problem
        for name in ("", "../other", "a/b", "."):
            await refused("not-allowed", agent.observe(name, files=(), units={}))

    play(tmp_path, scenario)


# ---------------------------------------------------------------- no room


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """One MiB of room."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.decode()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_found_before_anything_is_sent_and_nothing_stays(tmp_path: Path) -> None:
    content = bytes(2 * 2**20)
    asked = []

    def give(sha256: str) -> bytes:
        asked.append(sha256)
        return content

    async def scenario(agent: AgentClient) -> None:
        place = disk / "large"
        error = await refused(
            "no-space", agent.do("kit", PutFile(file=file_of(place, content)), content=give)
        )
        assert str(place) in error.problem
        assert list(disk.iterdir()) == []
        assert asked == []
        small = file_of(place, b"small")
        await agent.do("kit", PutFile(file=small), content=lambda _: b"small")
        await refused(
            "no-space",
            agent.do(
                "kit", PutFile(file=file_of(place, content), replaces_sha256=small.sha256), content=give
            ),
        )
        assert place.read_bytes() == b"small"

    with small_disk(tmp_path / "disk") as disk:
        play(tmp_path, scenario)


def test_a_full_disk_of_the_agents_own_is_told(tmp_path: Path) -> None:
    async def scenario(agent: AgentClient) -> None:
        (disk / "fill").write_bytes(bytes(2**20 - 4096))
        file = file_of(tmp_path / "x", b"x")

        async def fill() -> None:
            for number in range(1000):
                await agent.do(f"kit{number}", PutFile(file=file), content=lambda _: b"x")

        await refused("no-space", fill())

    with small_disk(tmp_path / "disk") as disk:
        play(disk, scenario)


# ---------------------------------------------------------------- a flood of log lines

#: Stands in for journalctl: so many lines in so many bursts, as JSON, then silence. The real one cannot be made to write as fast as that.
_FLOOD = """#!{python}
import json, sys, time
if "--follow" not in sys.argv:
    sys.exit(0)
BURSTS, LINES = {bursts}, {lines}
for burst in range(BURSTS):
    began = time.monotonic()
    entries = []
    for line in range(LINES):
        number = burst * LINES + line
        entries.append('{{"__CURSOR":"c%d","__REALTIME_TIMESTAMP":"%d","_SYSTEMD_UNIT":"a.service","_PID":"7","PRIORITY":"6",'
            '"MESSAGE":"line %d of a daemon that logs in a loop"}}\\n' % (number, number, number))
    sys.stdout.write("".join(entries))
    sys.stdout.flush()
    time.sleep(max(0.0, 0.02 - (time.monotonic() - began)))
time.sleep(600)
"""


def flooding(folder: Path, *, bursts: int, lines: int) -> dict[str, str]:
    """An environment in which journalctl floods."""
    folder.mkdir()
    program = folder / "journalctl"
    program.write_text(_FLOOD.format(python=sys.executable, bursts=bursts, lines=lines))
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("grep", ["", "99 of"])
def test_of_100_000_lines_a_second_each_is_shown_or_counted(tmp_path: Path, grep: str) -> None:
    bursts, lines = 75, 2000
    shown: list[int] = []
    dropped = 0
    last = f"line {bursts * lines - 1} of"

    async def scenario(agent: AgentClient) -> None:
        nonlocal dropped
        async with agent.logs([], follow=True, grep=grep, lines=0) as batches:
            async for batch in batches:
                assert len(batch.lines) <= BATCH_LINES_MAX
                shown.extend(int(line.text.split()[1]) for line in batch.lines)
                dropped += batch.dropped
                if batch.lines and batch.lines[-1].text.startswith(last):
                    return

    play(tmp_path, scenario, env=flooding(tmp_path / "bin", bursts=bursts, lines=lines))
    assert shown == sorted(set(shown))
    if grep:
        assert all(number % 100 == 99 for number in shown)
    else:
        assert len(shown) + dropped == bursts * lines
        assert dropped > 0
    assert len(shown) > 100


def test_whoever_does_not_read_a_flood_costs_nothing(tmp_path: Path) -> None:
    """The agent keeps a few batches, drops the rest, and answers others; the reader then sees the newest."""
    bursts, lines = 50, 2000

    async def scenario(agent: AgentClient) -> None:
        async with agent.logs([], follow=True, lines=0) as batches:
            first = await anext(batches)
            for _ in range(20):
                await agent.run(["sleep", "0.05"])
            seen, dropped = len(first.lines), first.dropped
            async for batch in batches:
                seen, dropped = seen + len(batch.lines), dropped + batch.dropped
                if batch.cursor == f"c{bursts * lines - 1}":
                    break
            assert seen + dropped == bursts * lines
            assert seen < bursts * lines / 5

    play(tmp_path, scenario, env=flooding(tmp_path / "bin", bursts=bursts, lines=lines))


def test_a_journalctl_that_fails_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "journalctl").write_text("#!/bin/sh\necho no journal files were found >&2\nexit 1\n")
    (folder / "journalctl").chmod(0o755)

    async def scenario(agent: AgentClient) -> None:
        for follow in (False, True):
            async with agent.logs(["a.service"], follow=follow) as batches:
                error = await refused("io", anext(batches))
                assert "no journal files" in error.problem

    play(tmp_path, scenario, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
