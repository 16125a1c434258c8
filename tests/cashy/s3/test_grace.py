"""What the S3 endpoint says of stale objects, and whom it lets in while the store cannot be reached."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError
from tests.cashy.s3.conftest import KEY, WRITER_KEY, Start, receive_answer
from tests.cashy.s3.memory_session import MemorySession
from tests.cashy.s3.test_rights import BODY, Begin, Policy, begin, get, policy, refused, session, store

from cashy.errors import OriginUnavailable

__all__ = ["begin", "policy", "session", "store"]

NAME = "s3://data-1/k"


def make_stale(session: MemorySession, past_s: float = 12.4, age_s: float = 17.9) -> None:
    info = session.metas[NAME].info
    info.stale_for_ms, info.age_ms = int(past_s * 1000), int(age_s * 1000)


@pytest.mark.parametrize(
    ("line", "extra", "status"),
    [("GET", "", 200), ("HEAD", "", 200), ("GET", "Range: bytes=1-3\r\n", 206), ("GET", 'If-None-Match: "v1"\r\n', 304)],
)  # fmt: skip
def test_a_stale_answer_is_marked_whatever_its_kind(
    start: Start, session: MemorySession, line: str, extra: str, status: int
) -> None:
    running = start(session)
    make_stale(session)
    with running.connect() as raw:
        raw.sendall(f"{line} /data-1/k HTTP/1.1\r\nHost: h\r\n{extra}\r\n".encode())
        got, headers, _ = receive_answer(raw, has_body=status != 304 and line == "GET")
    assert got == status
    assert headers["x-cashy-stale"] == "12"
    assert headers["age"] == "17"
    assert headers["cache-status"] == "cashy; hit; ttl=-12; detail=origin-unreachable"
    assert running.counters["stale_answers_total"] == 1


def test_a_fresh_answer_says_nothing_of_it(start: Start, session: MemorySession) -> None:
    running = start(session)
    with running.connect() as raw:
        raw.sendall(b"GET /data-1/k HTTP/1.1\r\nHost: h\r\n\r\n")
        headers = receive_answer(raw)[1]
    assert not {"x-cashy-stale", "age", "cache-status"} & set(headers)
    assert not running.counters["stale_answers_total"]


def test_what_is_not_there_any_more_is_a_clear_503(start: Start) -> None:
    session = MemorySession()
    session.fetch_error = OriginUnavailable("store at 10.0.0.1: refused")
    with pytest.raises(ClientError) as caught:
        start(session).client().get_object(Bucket="data-1", Key="k")
    answer = caught.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (
        503,
        "ServiceUnavailable",
    )


@pytest.mark.parametrize("status", [500, 503])
def test_who_was_let_in_before_is_let_in_while_the_store_is_down_and_nobody_else(
    begin: Begin, policy: Policy, status: int
) -> None:
    running = begin(rights_valid_s=0.0, rights_grace_s=60.0)
    assert get(running, KEY) == BODY
    policy.status |= {KEY.key_id: status, WRITER_KEY.key_id: status}
    for _ in range(5):
        assert get(running, KEY) == BODY
        assert refused(running, WRITER_KEY)[0] == 503
        assert refused(running, KEY, "cold")[0] == 503, "a right to one object is none to another"
    assert running.counters["rights_in_grace_total"] == 5


def test_it_ends_with_its_grace(begin: Begin, policy: Policy) -> None:
    running = begin(rights_valid_s=0.0, rights_grace_s=0.3)
    assert get(running, KEY) == BODY
    policy.status[KEY.key_id] = 500
    time.sleep(0.4)
    assert refused(running, KEY) == (503, "ServiceUnavailable")


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (404, "NoSuchKey")])
def test_and_with_the_stores_refusal(begin: Begin, policy: Policy, status: int, code: str) -> None:
    running = begin(rights_valid_s=0.0, rights_grace_s=60.0)
    assert get(running, KEY) == BODY
    policy.status[KEY.key_id] = status
    assert refused(running, KEY) == (status, code)
    policy.status[KEY.key_id] = 500
    time.sleep(2.1)  # for so long a refusal itself is remembered
    assert refused(running, KEY)[0] == 503


def test_a_silent_store_is_waited_for_once(begin: Begin, policy: Policy) -> None:
    running = begin(rights_valid_s=0.0, rights_grace_s=60.0, store_head_s=0.3)
    assert get(running, KEY) == BODY
    policy.open.clear()
    for _ in range(20):
        assert get(running, KEY) == BODY
    assert len(policy.asked) < 12, "once it counts as down only the probe asks"
    policy.open.set()
