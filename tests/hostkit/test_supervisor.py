"""The supervisor of ``cashy dev``, with real child processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from hostkit import supervisor as module
from hostkit.notify import NotifyReceiver
from hostkit.supervisor import Child, ChildFailed, Supervisor

READY = "from hostkit.notify import notify; notify(READY='1', X_CASHY_S3='127.0.0.1:7');"
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    receiver = NotifyReceiver(tmp_path)
    with contextlib.closing(receiver), Supervisor(receiver, structlog.get_logger()) as supervisor:
        yield supervisor


def make_child(tmp_path: Path, program: str, name: str = "child") -> Child:
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "FOLDER": str(tmp_path)}
    return Child(name, [sys.executable, "-c", program], environment)


def pid_of(child: Child) -> int:
    assert child.process is not None
    return child.process.pid


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def test_waits_until_ready_and_stops_in_the_end(supervisor: Supervisor, tmp_path: Path) -> None:
    child = make_child(tmp_path, READY + SLEEP)
    supervisor.start(child)
    assert supervisor.wait_ready([child])
    assert child.notified["X_CASHY_S3"] == "127.0.0.1:7"
    assert alive(pid_of(child))
    supervisor.stop_all()
    assert not alive(pid_of(child))


def test_child_that_does_not_start_is_not_tried_again(supervisor: Supervisor, tmp_path: Path) -> None:
    child = make_child(tmp_path, "import sys; sys.exit(3)")
    supervisor.start(child)
    with pytest.raises(ChildFailed, match=r"child did not start \(exit status 3\)"):
        supervisor.wait_ready([child])


def test_child_that_never_gets_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    child = make_child(tmp_path, SLEEP)
    supervisor.start(child)
    with pytest.raises(ChildFailed, match="did not become ready within"):
        supervisor.wait_ready([child], timeout_s=0.2)


def test_readiness_told_by_another_process_does_not_count(supervisor: Supervisor, tmp_path: Path) -> None:
    impostor = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {READY!r}]);" + SLEEP
    child = make_child(tmp_path, impostor)
    supervisor.start(child)
    with pytest.raises(ChildFailed, match="did not become ready"):
        supervisor.wait_ready([child], timeout_s=1.5)


def test_fallen_child_is_restarted(supervisor: Supervisor, tmp_path: Path) -> None:
    child = make_child(tmp_path, READY + SLEEP)
    supervisor.start(child)
    assert supervisor.wait_ready([child])
    first = pid_of(child)
    os.kill(first, signal.SIGKILL)

    def stop_after_restart() -> None:
        eventually(lambda: pid_of(child) != first and child.ready)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=stop_after_restart)
    watcher.start()
    supervisor.run()
    watcher.join()
    assert pid_of(child) != first
    assert child.ready
    assert len(child.falls) == 1


def test_child_that_falls_too_often_is_given_up(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_PAUSE_MAX_S", 0.01)
    child = make_child(
        tmp_path, READY + "import os; open(os.environ['FOLDER'] + '/starts', 'a').write('x'); os.abort()"
    )
    supervisor.start(child)
    with pytest.raises(ChildFailed, match=r"fell 6 times within 60 s \(last: killed by SIGABRT\)"):
        supervisor.run()
    assert (tmp_path / "starts").read_text() == "x" * (module.RESTARTS_MAX + 1)


def test_child_that_does_not_stop_is_killed(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT_S", 0.2)
    child = make_child(tmp_path, "import signal; signal.signal(15, signal.SIG_IGN);" + READY + SLEEP)
    supervisor.start(child)
    assert supervisor.wait_ready([child])
    supervisor.stop_all()
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL


def test_child_that_others_lean_on_is_stopped_last(supervisor: Supervisor, tmp_path: Path) -> None:
    note = "import os, signal, sys, time; name = sys.argv[1];"
    handler = (
        "signal.signal(15, lambda *_: (open(os.environ['FOLDER'] + '/order', 'a').write(name), sys.exit(0)));"
    )
    children: list[Child] = []
    for name in "abc":
        child = make_child(tmp_path, note + handler + READY + SLEEP)
        child.arguments.append(name)
        child.leans_on = children[0] if children else None
        supervisor.start(child)
        children.append(child)
    assert supervisor.wait_ready(children)
    supervisor.stop_all()
    order = (tmp_path / "order").read_text()
    assert sorted(order) == ["a", "b", "c"]
    assert order[-1] == "a"


def test_stop_signal_ends_the_wait(supervisor: Supervisor, tmp_path: Path) -> None:
    child = make_child(tmp_path, SLEEP)
    supervisor.start(child)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    assert supervisor.wait_ready([child]) is False
    timer.join()


def test_children_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    program = f"""
import os, sys
from pathlib import Path
from hostkit.supervisor import Child, Supervisor
from hostkit.log import configure_logging, get_logger
from hostkit.notify import NotifyReceiver
folder = Path(sys.argv[1])
environment = dict(os.environ, NOTIFY_SOCKET=str(folder / "notify"))
configure_logging("error", "json")
with Supervisor(NotifyReceiver(folder), get_logger()) as supervisor:
    child = Child("child", [sys.executable, "-c", {READY + SLEEP!r}], environment)
    supervisor.start(child)
    supervisor.wait_ready([child])
    print(child.process.pid, flush=True)
    supervisor.run()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            child_pid = int(parent.stdout.readline())
            assert alive(child_pid)
        finally:
            parent.kill()
    assert eventually(lambda: not alive(child_pid))
