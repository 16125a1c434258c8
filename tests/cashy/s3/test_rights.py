"""Rights at the store: what is in memory is given only to callers whom the store itself lets read it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.cashy.s3.conftest import KEY, NARROW_KEY, NARROW_WRITER_KEY, WRITER_KEY, Running
from tests.cashy.s3.memory_session import MemorySession
from tests.cashy.s3.scripted_store import Received, ScriptedStore, read_body
from tests.cashy.s3.test_proxy import verified_signer

from cashy.s3.credentials import Key
from cashy.settings import DirectoryOriginSettings

BODY = b"hello"
ALLOWED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


def status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status


class Policy:
    """What the store answers to a HEAD, by the caller's key there."""

    def __init__(self) -> None:
        self.status: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []
        self.open = threading.Event()
        self.open.set()

    def behave(self, request: Received) -> None:
        read_body(request)
        signer = verified_signer(request) or "nobody"
        method, target, _ = request.line.decode().split(" ")
        self.asked.append((signer, f"{method} {target}"))
        assert self.open.wait(20)
        status = self.status.get(signer, 200) if target.count("/") > 1 else 200
        request.peer.sendall(ALLOWED if status == 200 else status_line(status))


@pytest.fixture
def policy() -> Policy:
    return Policy()


@pytest.fixture
def store(policy: Policy) -> Iterator[ScriptedStore]:
    with ScriptedStore(policy.behave) as store:
        yield store


@pytest.fixture
def session() -> MemorySession:
    session = MemorySession()
    session.put("s3://data-1/k", BODY, warm=True)
    session.put("s3://data-1/cold", BODY)
    return session


Begin = Callable[..., Running]


@pytest.fixture
def begin(start: Begin, session: MemorySession, store: ScriptedStore) -> Begin:
    def do(**options: Any) -> Running:
        origins: Sequence[Any] = options.pop("origins", [store.settings])
        return start(session, anonymous=options.pop("anonymous", False), origins=origins, **options)

    return do


def get(running: Running, key: Key, name: str = "k", **arguments: Any) -> bytes:
    with running.client(key).get_object(Bucket="data-1", Key=name, **arguments)["Body"] as body:
        return bytes(body.read())


def refused(running: Running, key: Key, name: str = "k", **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        get(running, key, name, **arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


@pytest.mark.parametrize("name", ["k", "cold"])
def test_the_store_is_asked_as_the_caller_and_its_answer_remembered(
    begin: Begin, policy: Policy, name: str
) -> None:
    running = begin()
    for _ in range(3):
        assert get(running, NARROW_WRITER_KEY, name) == BODY
    assert policy.asked == [("AKIDMAPPED", f"HEAD /data-1/{name}")]
    assert running.counters["rights_asked_total"] == 1


@pytest.mark.parametrize("name", ["k", "cold"])
def test_one_may_and_another_may_not(begin: Begin, policy: Policy, name: str) -> None:
    running = begin()
    policy.status[WRITER_KEY.key_id] = 403
    assert get(running, KEY, name) == BODY
    assert refused(running, WRITER_KEY, name) == (403, "AccessDenied")
    assert refused(running, WRITER_KEY, name, Range="bytes=0-1") == (403, "AccessDenied")
    assert refused(running, WRITER_KEY, name, IfNoneMatch='"v1"') == (403, "AccessDenied")
    with pytest.raises(ClientError) as caught:
        running.client(WRITER_KEY).head_object(Bucket="data-1", Key=name)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert get(running, KEY, name) == BODY
    assert [signer for signer, _ in policy.asked].count(WRITER_KEY.key_id) == 1, (
        "a refusal is remembered, too"
    )


def test_the_keys_own_table_comes_first(begin: Begin, policy: Policy, session: MemorySession) -> None:
    session.put("s3://other/k", BODY, warm=True)
    running = begin()
    with pytest.raises(ClientError) as caught:
        running.client(NARROW_KEY).get_object(Bucket="other", Key="k")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    assert not policy.asked


def test_a_withdrawn_right_ends_and_a_given_one_begins(begin: Begin, policy: Policy) -> None:
    running = begin(rights_valid_s=0.5)
    assert get(running, KEY) == BODY
    policy.status[KEY.key_id] = 403
    time.sleep(0.6)
    assert refused(running, KEY) == (403, "AccessDenied")
    policy.status[KEY.key_id] = 200
    time.sleep(2.1)
    assert get(running, KEY) == BODY


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, (404, "NoSuchKey")), (401, (403, "AccessDenied")), (400, (400, "400")),
     (503, (503, "SlowDown")), (500, (503, "ServiceUnavailable"))],
)  # fmt: skip
def test_whatever_else_the_store_says_is_no_permission(
    begin: Begin, policy: Policy, status: int, expected: tuple[int, str]
) -> None:
    running = begin()
    policy.status[KEY.key_id] = status
    assert refused(running, KEY) == expected
    policy.status[WRITER_KEY.key_id] = 200
    assert get(running, WRITER_KEY) == BODY


def test_nor_is_silence(begin: Begin, policy: Policy, store: ScriptedStore) -> None:
    running = begin(store_head_s=0.3)
    policy.open.clear()
    assert refused(running, KEY)[0] == 503
    policy.open.set()


def test_who_asks_meanwhile_waits_for_the_same_answer(begin: Begin, policy: Policy) -> None:
    running = begin()
    policy.open.clear()
    with ThreadPoolExecutor(8) as threads:
        reads = [threads.submit(get, running, KEY) for _ in range(8)]
        deadline = time.monotonic() + 20
        while running.counters["requests_total"] < 8:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not any(read.done() for read in reads), "no byte before the store has said so"
        policy.open.set()
        assert [read.result() for read in reads] == [BODY] * 8
    assert len(policy.asked) == 1


def test_a_caller_that_may_not_learns_not_even_that_there_is_nothing(begin: Begin, policy: Policy) -> None:
    running = begin()
    policy.status[KEY.key_id] = 403
    assert refused(running, KEY, "absent") == (403, "AccessDenied")


def test_keys_are_asked_about_as_they_are(begin: Begin, policy: Policy, session: MemorySession) -> None:
    session.put("s3://data-1/a b/ü+%2F", BODY, warm=True)
    running = begin()
    assert get(running, KEY, "a b/ü+%2F") == BODY
    assert policy.asked == [(KEY.key_id, "HEAD /data-1/a%20b/%C3%BC%2B%252F")]


UNSIGNED = b"GET /data-1/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def test_who_has_no_key_is_nobody_at_the_store_too(begin: Begin, policy: Policy) -> None:
    running = begin(anonymous=True)
    for _ in range(3):
        assert running.exchange(UNSIGNED).endswith(BODY)
    assert policy.asked == [("nobody", "HEAD /data-1/k")]
    assert get(running, KEY) == BODY
    assert [signer for signer, _ in policy.asked] == ["nobody", KEY.key_id], "nobody's right is nobody else's"


def test_nobody_gets_what_the_store_gives_to_keys_only(begin: Begin, policy: Policy) -> None:
    running = begin(anonymous=True)
    policy.status["nobody"] = 403
    assert get(running, KEY) == BODY
    for _ in range(2):
        assert b"<Code>AccessDenied</Code>" in running.exchange(UNSIGNED)
    assert [signer for signer, _ in policy.asked].count("nobody") == 1, "a refusal is remembered, too"


def test_what_the_daemon_reads_may_be_made_public(begin: Begin, policy: Policy) -> None:
    running = begin(anonymous=True, rights="here")
    policy.status["nobody"] = 403
    assert running.exchange(UNSIGNED).endswith(BODY)
    assert not policy.asked


def test_nobody_is_asked_where_the_table_decides_alone(begin: Begin, policy: Policy) -> None:
    running = begin(rights="here")
    policy.status[KEY.key_id] = 403
    assert get(running, KEY) == BODY
    assert not policy.asked


def test_nor_about_what_lies_in_a_directory(
    begin: Begin, policy: Policy, store: ScriptedStore, tmp_path: Path
) -> None:
    (tmp_path / "data-1").mkdir()
    running = begin(origins=[DirectoryOriginSettings(path=tmp_path), store.settings])
    assert get(running, KEY) == BODY
    assert not policy.asked
