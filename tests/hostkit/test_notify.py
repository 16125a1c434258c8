"""The readiness protocol over real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostkit.notify import LISTEN_DESCRIPTORS_START, NotifyReceiver, listen_sockets, notify


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[NotifyReceiver]:
    receiver = NotifyReceiver(tmp_path)
    yield receiver
    receiver.close()
    assert not receiver.path.exists()


def test_notification_arrives_with_its_sender(
    receiver: NotifyReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(receiver.path))
    assert notify(READY="1", STATUS="serving 3 = three")
    assert notify(STOPPING="1")
    first, second = receiver.receive()
    assert (first.pid, first.fields) == (os.getpid(), {"READY": "1", "STATUS": "serving 3 = three"})
    assert second.fields == {"STOPPING": "1"}
    assert receiver.receive() == []


def test_sender_is_the_one_the_kernel_names(receiver: NotifyReceiver) -> None:
    program = (
        "from hostkit.notify import notify; import os; notify(READY='1', MAINPID='1'); print(os.getpid())"
    )
    environment = {**os.environ, "NOTIFY_SOCKET": str(receiver.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    (notification,) = receiver.receive()
    assert notification.pid == int(done.stdout)


def test_garbage_is_no_harm(receiver: NotifyReceiver) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"\xff\xfe\n\n=\nno equals sign\nREADY=1" + b"x" * 9000, str(receiver.path))
        sender.sendto(b"", str(receiver.path))
    first, second = receiver.receive()
    assert first.fields["READY"].startswith("1x")
    assert second.fields == {}


def test_nobody_listening_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify(READY="1")
    for address in (str(tmp_path / "gone"), "@cashy-test-nobody", "relative", "/" + "x" * 200):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert not notify(READY="1")


def test_full_queue_does_not_block(receiver: NotifyReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(receiver.path))
    sent = [notify(STATUS="x" * 1000) for _ in range(5000)]
    assert sent[0]
    assert not sent[-1]


def test_abstract_addresses_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"cashy-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify(READY="1")
        assert listener.recv(100) == b"READY=1"


def test_passed_sockets_are_taken_over_once() -> None:
    program = (
        "import os; os.environ['LISTEN_PID'] = str(os.getpid()); from hostkit.notify import listen_sockets;"
        "(s,) = listen_sockets(); print(s.getsockname()[1], s.get_inheritable(), listen_sockets(), "
        "[n for n in os.environ if n.startswith('LISTEN_')])"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = 'exec 3<&"$0"; exec "$1" -c "$2"'
        done = subprocess.run(
            ["/bin/bash", "-c", command, str(listener.fileno()), sys.executable, program],
            env={**os.environ, "LISTEN_FDS": "1"}, pass_fds=[listener.fileno()], capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert done.stdout == f"{port} False [] []\n"
    assert LISTEN_DESCRIPTORS_START == 3


def test_sockets_passed_to_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "s3", "OTHER": "x"}
    assert listen_sockets(environ) == []
    assert environ == {"OTHER": "x"}
