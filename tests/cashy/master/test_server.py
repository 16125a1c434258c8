"""The client socket as a stranger sees it: a master in a process of its own, raw frames, and what does not belong there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cashy.master.raw_client import Host, RawClient, host

from aviary.cashy.v1.control_pb2 import (
    Change,
    ChangeNoted,
    ClientFrame,
    Failure,
    Fetch,
    Release,
    Stat,
    Status,
)
from cashy.client.session import AsyncSession
from cashy.limits import PROTOCOL_VERSION
from shmipc.layout import TABLE_BYTES
from shmipc.limits import FRAME_BYTES_MAX
from shmipc.wire import encode_frame

pytestmark = pytest.mark.system


def send_forever(sock: socket.socket, data: bytes) -> None:
    """Until the other side has had enough."""
    for _ in range(3000):
        sock.sendall(data)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with host(tmp_path_factory.mktemp("host")) as running:
        yield running


def test_hello_brings_the_arena_and_a_locked_pin_table(dev: Host) -> None:
    with RawClient(dev[0]) as client:
        welcome = client.hello().welcome
        assert welcome.protocol_version == PROTOCOL_VERSION
        arena, table = client.descriptors
        assert os.fstat(arena).st_size > welcome.arena_bytes
        assert os.fstat(table).st_size == TABLE_BYTES
        with pytest.raises(OSError, match=r"(?i)permission|bad file|not permitted"):
            os.write(arena, b"x")


def test_a_client_that_cannot_pin_gets_no_table(dev: Host) -> None:
    with RawClient(dev[0]) as client:
        client.hello(can_pin=False)
        assert len(client.descriptors) == 1


def test_another_protocol_version_is_told_so(dev: Host) -> None:
    with RawClient(dev[0]) as client:
        failure = client.hello(version=99).failure
        assert failure.code == Failure.INVALID_REQUEST
        assert "same version" in failure.message
        with pytest.raises(EOFError):
            client.next()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n" * 10,
        os.urandom(4096),
        struct.pack("<I", FRAME_BYTES_MAX + 1),
        encode_frame(b"\xff" * 100),
    ],
    ids=["http", "random", "oversize", "no-protobuf"],
)
def test_garbage_ends_that_connection_only(dev: Host, garbage: bytes) -> None:
    with RawClient(dev[0]) as good, RawClient(dev[0]) as bad:
        good.hello()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            bad.socket.sendall(garbage)
            bad.socket.shutdown(socket.SHUT_WR)
            while bad.socket.recv(4096):
                pass
        assert good.counters()["clients"] >= 1


def test_descriptors_from_a_client_are_refused_and_closed(dev: Host) -> None:
    with RawClient(dev[0]) as bad, RawClient(dev[0]) as good:
        good.hello()
        before = len(os.listdir(f"/proc/{dev[2]}/fd"))
        with open(os.devnull) as null:
            socket.send_fds(bad.socket, [b"x"], [null.fileno()])
        assert bad.socket.recv(1) == b""
        good.counters()
        assert len(os.listdir(f"/proc/{dev[2]}/fd")) <= before


def test_a_request_before_hello_is_a_protocol_error(dev: Host) -> None:
    with RawClient(dev[0]) as client:
        client.send(ClientFrame(request_id=5, stat=Stat(name="s3://b/x")))
        with pytest.raises((EOFError, ConnectionResetError)):
            client.next()


def test_errors_name_what_was_wrong(dev: Host) -> None:
    cases = {
        "nonsense": Failure.INVALID_NAME,
        "file:///elsewhere/x": Failure.INVALID_NAME,
        f"file://{dev[1]}/b/../../etc/passwd": Failure.INVALID_NAME,
        "s3://b/missing": Failure.NO_SUCH_OBJECT,
        "s3://nobucket/x": Failure.NO_SUCH_BUCKET,
    }
    with RawClient(dev[0]) as client:
        client.hello()
        for number, (name, code) in enumerate(cases.items(), 10):
            client.send(ClientFrame(request_id=number, stat=Stat(name=name)))
            answer = client.next()
            assert (answer.request_id, answer.failure.code) == (number, code), answer
            assert len(answer.failure.message) > 20


def test_a_fetch_streams_object_blocks_done_and_holds_until_release(dev: Host) -> None:
    with RawClient(dev[0]) as client:
        client.hello()
        client.send(ClientFrame(request_id=7, fetch=Fetch(name="s3://b/x", first_block=0, block_count=100)))
        kinds: list[str | None] = []
        while not kinds or kinds[-1] != "fetch_done":
            kinds.append(client.next().WhichOneof("body"))
        assert kinds == ["object", *["block_ready"] * 4, "fetch_done"]
        client.send(ClientFrame(request_id=7, release=Release()))
        client.send(ClientFrame(request_id=7, fetch=Fetch(name="s3://b/x", first_block=9, block_count=1)))
        assert [client.next().WhichOneof("body") for _ in range(2)] == ["object", "fetch_done"]


def test_too_many_open_fetches_are_slowed_down(dev: Host) -> None:
    with RawClient(dev[0]) as client:
        client.hello()
        for number in range(100, 121):
            client.send(ClientFrame(request_id=number, fetch=Fetch(name="s3://b/x", block_count=1)))
        seen: dict[int, str | None] = {}
        while len(seen) < 21:
            answer = client.next()
            if answer.WhichOneof("body") in ("fetch_done", "failure"):
                seen[answer.request_id] = answer.WhichOneof("body")
        assert seen[120] == "failure"
        assert list(seen.values()).count("fetch_done") == 20


def test_a_client_that_never_reads_is_dropped_and_others_are_served(dev: Host) -> None:
    with RawClient(dev[0]) as slow, RawClient(dev[0]) as good:
        slow.hello()
        good.hello()
        frame = encode_frame(ClientFrame(request_id=1, status=Status()).SerializeToString())
        slow.socket.settimeout(5)
        with pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)):
            send_forever(slow.socket, frame * 100)
        assert good.counters()["clients_dropped"] >= 1


def test_two_thousand_idle_connections_do_no_harm(dev: Host) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    idle = []
    try:
        with RawClient(dev[0]) as good:
            good.hello()
            for _ in range(2000):
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(5)
                with contextlib.suppress(OSError):
                    sock.connect(str(dev[0]))
                idle.append(sock)
            began = time.monotonic()
            assert good.counters()["clients"] >= 1
            assert time.monotonic() - began < 5
            with RawClient(dev[0]) as late:
                assert late.hello().WhichOneof("body") == "welcome"
    finally:
        for sock in idle:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_clients_than_allowed_are_refused_by_name(dev: Host) -> None:
    with contextlib.ExitStack() as stack:
        answers = []
        for _ in range(52):
            client = stack.enter_context(RawClient(dev[0]))
            answers.append(client.hello(can_pin=False))
        refused = [answer.failure for answer in answers if answer.HasField("failure")]
        assert refused
        assert all("clients_max" in failure.message for failure in refused)


def test_one_user_leaves_room_for_the_others_clients(tmp_path: Path) -> None:
    with host(tmp_path, "clients_per_user_max = 3\n") as made, contextlib.ExitStack() as stack:
        answers = [stack.enter_context(RawClient(made.path)).hello(can_pin=False) for _ in range(4)]
        assert [answer.HasField("failure") for answer in answers] == [False, False, False, True]
        assert answers[3].failure.code == Failure.SLOW_DOWN
        assert "clients_per_user_max" in answers[3].failure.message


def test_a_change_whose_teller_is_gone_is_over(dev: Host) -> None:
    """A proxy that is killed between the two messages of a write leaves nothing marked as being changed."""

    async def begin_and_vanish() -> None:
        session = await AsyncSession.connect(str(dev[0]), program="test")
        noted = await session.ask(Change(names=["s3://bucket/changed"]))
        assert isinstance(noted, ChangeNoted)
        await session.close()

    with RawClient(dev[0]) as watcher:
        watcher.hello()
        before = watcher.counters().get("changes_noted", 0)
        asyncio.run(begin_and_vanish())
        deadline = time.monotonic() + 10
        while watcher.counters()["changes_noted"] < before + 2:  # its beginning, and its end
            assert time.monotonic() < deadline
            time.sleep(0.01)
