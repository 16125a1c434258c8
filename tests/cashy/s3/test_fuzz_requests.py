"""The path of a request under fire: recorded requests, smuggling shapes, and both of them damaged, at a real worker over real sockets.

However a stream of bytes is cut into pieces, its answers are the same: each is served or refused with a 4xx or 501, in bounded time; nothing is
logged as a bug, and nothing stays behind. One thing may differ: after a refusal, whether the connection goes on, since it does only if the
body of what was refused had come. A failure names the seed; ``CASHY_FUZZ_SEED`` repeats it, and ``CASHY_FUZZ_EXAMPLES`` (400) makes the
run longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st
from tests.cashy.s3.conftest import WRITER_KEY, Running
from tests.cashy.s3.memory_session import MemorySession
from tests.cashy.s3.scripted_store import ScriptedStore, answer
from tests.cashy.s3.signed_requests import signed_head

from cashy.s3 import posting as posting_module
from cashy.s3 import worker as worker_module
from cashy.s3.connection import S3Connection
from cashy.s3.limits import BODY_BUFFER_BYTES, RECEIVE_BUFFER_BYTES
from cashy.s3.worker import WorkerOptions

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.http"))
SEED = int(os.environ.get("CASHY_FUZZ_SEED") or random.randrange(1 << 32))
EXAMPLES = int(os.environ.get("CASHY_FUZZ_EXAMPLES") or 400)

#: Longer than any deadline of the worker in these tests.
PATIENCE_S = 20.0

#: Of resident memory, while the same requests come again; pages come and go by the allocator's own rules.
GROWTH_BYTES_MAX = 2 << 20

ALLOWED = frozenset((200, 204, 206, 304, *range(400, 500), 501))
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r\n]*\r\n")
_DATE = re.compile(rb"x-amz-date(?:: ?|=|\"\r\n\r\n)([0-9]{8}T[0-9]{6}Z)", re.IGNORECASE)
#: What differs from one answer to the next though they are the same: its number, and the time.
_OWN = re.compile(
    rb"(?i)x-amz-request-id: [0-9A-F]{16}\r\n|<RequestId>[0-9A-F]{16}|Date: [^\r\n]*\r\n|Connection: close\r\n"
    rb"|<ServerTime>[^<]*|HTTP/1\.1 100 Continue\r\n\r\n"
)


#: Of a head with two faults, which one is named depends on what llhttp has told when it sees the second.
_MALFORMED = re.compile(
    rb"HTTP/1\.1 400 Bad Request\r\n(?:[^\r\n]+\r\n)+\r\n"
    rb"<\?xml[^>]*>\n<Error><Code>(?:BadRequest|InvalidURI|RequestHeaderSectionTooLarge)</Code>.*?</Error>",
    re.DOTALL,
)


class Log:
    """Keeps what the worker says is wrong."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **about: Any) -> None:
        self.entries.append((event, about))

    warning = error

    def info(self, event: str, **about: Any) -> None:
        pass


class Clock:
    """The worker's wall clock, which stands at a request's own date so that recorded signatures stay valid."""

    now_s = time.time()

    def time(self) -> float:
        return self.now_s

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def resident_bytes() -> int:
    """Of this process, which the worker is a thread of (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def are_alike(first: bytes, second: bytes) -> bool:
    """Whether two connections got the same answers, as far as both went on; one ends early only with a refusal."""
    shorter, longer = sorted((first, second), key=len)
    if shorter == longer:
        return True
    statuses = [int(status) for status in _STATUS.findall(shorter)]
    return bool(statuses) and statuses[-1] >= 400 and longer.startswith(shorter)


class Target:
    """A worker with something to read and a store behind it, and what it should not have done."""

    def __init__(self, running: Running, clock: Clock) -> None:
        self.running = running
        self.clock = clock
        self.log = Log()
        self.loop_errors: list[dict[str, Any]] = []
        assert running.worker is not None
        self.worker = running.worker
        self.worker.log = self.log
        running._loop.set_exception_handler(lambda _, context: self.loop_errors.append(context))

    def receive_in_steps(self, step: int | None) -> None:
        """From now on the worker is given at most so many bytes at a time."""

        def do() -> None:
            self.worker.receive_buffer = memoryview(bytearray(step or RECEIVE_BUFFER_BYTES))
            self.worker.body_buffer = memoryview(bytearray(step or BODY_BUFFER_BYTES))

        self.running.on_loop(do)

    def answers(self, data: bytes, step: int | None = None) -> bytes:
        """All that comes back until the worker closes, without what is each answer's own."""
        match = _DATE.search(data)
        if match is not None and match[1][:4] in (b"2025", b"2026", b"2027"):
            with contextlib.suppress(ValueError):  # damage has made it a 31st of February
                self.clock.now_s = (
                    time.mktime(time.strptime(match[1].decode(), "%Y%m%dT%H%M%SZ")) - time.timezone
                )
        self.receive_in_steps(step)
        received = bytearray()
        with self.running.connect() as raw:
            raw.settimeout(PATIENCE_S)  # raises where the worker hangs
            try:
                raw.sendall(data)
                raw.shutdown(socket.SHUT_WR)
            except (ConnectionResetError, BrokenPipeError, OSError):
                pass  # it had enough; its answer is still to be read
            while chunk := raw.recv(1 << 16):
                received += chunk
        return _MALFORMED.sub(b"HTTP/1.1 400 malformed\r\n", _OWN.sub(b"", bytes(received)))

    def check(self, data: bytes, steps: tuple[int, ...]) -> list[int]:
        """Feeds it whole and in steps; gives the statuses of the answers."""
        whole = self.answers(data)
        for step in steps:
            other = self.answers(data, step)
            assert are_alike(whole, other), f"in steps of {step}: {other[:3000]!r}, whole: {whole[:3000]!r}"
        statuses = [int(status) for status in _STATUS.findall(whole)]
        assert ALLOWED.issuperset(statuses), (statuses, whole[:2000])
        assert not self.loop_errors, self.loop_errors
        assert not [entry for entry in self.log.entries if entry[1].get("exc_info") is not None]
        self.log.entries.clear()
        return statuses

    def levels(self) -> dict[str, int]:
        """What must not grow."""

        def look() -> dict[str, int]:
            gc.collect()
            return {
                "connections": len(self.worker.connections),
                "tasks": len(asyncio.all_tasks()),
                "connection objects": sum(isinstance(one, S3Connection) for one in gc.get_objects()),
                "pins": self.running.session.pinned,
                "fetches": self.running.session.open_fetches,
                "store links": self.worker.stores.counters()["store_links"],
            }

        return self.running.on_loop(look)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    session = MemorySession(block_bytes=1 << 20)
    session.put("s3://data-1/k", b"hello", warm=True)
    session.put("s3://data-1/other", b"other")
    session.put("s3://b/k", b"hello", warm=True)
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch, ScriptedStore(answer()) as store:
        patch.setattr(worker_module, "time", clock)
        patch.setattr(posting_module, "time", clock)
        options = WorkerOptions(domains=("s3.cashy.test",), head_timeout_s=5.0, body_timeout_s=5.0)
        running = Running(session, options, anonymous=True, origins=[store.settings])
        running.start()
        try:
            target = Target(running, clock)
            before = target.levels()
            yield target
            deadline = time.monotonic() + PATIENCE_S
            while (after := target.levels()) != before | {"store links": after["store links"]}:
                assert time.monotonic() < deadline, (before, after)
                time.sleep(0.05)
            assert after["store links"] <= 1  # kept alive for the next
            assert sum(len(request.head) for request in store.requests) > 0
        finally:
            running.stop()


# ---------------------------------------------------------------- the corpus


#: What the answers must be where that is the point; None: whatever is allowed.
EXPECTED: dict[str, list[int]] = {
    "boto3-http-get": [200],
    "boto3-http-get-range": [206],
    "boto3-http-get-if-none-match": [304],
    "boto3-http-get-missing": [404],
    "boto3-http-put-bytes": [200],
    "boto3-http-put-stream-crc32": [200],
    "boto3-https-put-bytes": [200],
    "boto3-https-put-stream-crc32": [200],
    "boto3-http-delete-many": [200],
    "boto3-http-list-buckets": [200],
    "curl-http-presigned-get": [200],
    "curl-get": [200],
    "curl-get-http-1.0": [200],
    "curl-absolute-form": [200],
    "curl-get-signed": [200],
    "curl-put-signed": [200],
    "curl-put-signed-h2c": [200],
    "curl-put-signed-expect": [200],
    "curl-put-chunked": [200],
    "curl-signed-form": [200],
    "curl-post-form": [405],
    "curl-options-asterisk": [200],
}


def test_the_corpus_is_there() -> None:
    assert {path.stem for path in CORPUS} >= EXPECTED.keys()
    assert sum(path.stem.startswith("smuggle-") for path in CORPUS) > 50


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus_is_answered_alike_however_it_comes(target: Target, path: Path) -> None:
    data = path.read_bytes()
    statuses = target.check(data, (1, 7, 100))
    if path.stem.startswith("smuggle-"):
        assert statuses[-1] >= 400
        assert 200 not in statuses  # what was smuggled behind it
    if path.stem in EXPECTED:
        assert statuses == EXPECTED[path.stem]


def test_the_same_over_and_over_uses_no_more_memory(target: Target) -> None:
    """Whole, cut off and damaged, so many times that 100 bytes kept of each request would show."""
    chance = random.Random(SEED)
    data = [path.read_bytes() for path in CORPUS]
    data += [one[: chance.randrange(len(one))] + chance.randbytes(9) for one in data for _ in range(2)]

    def play() -> int:
        for one in data:
            target.answers(one)
        gc.collect()
        return resident_bytes()

    play()
    before = play()  # by now what is kept once is kept: caches, arenas of the allocator
    rounds = max(2, EXAMPLES // 100)
    grown = min(play() for _ in range(rounds)) - before
    assert grown < GROWTH_BYTES_MAX, f"CASHY_FUZZ_SEED={SEED}: {grown} bytes"


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus_cut_off_anywhere(target: Target, path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), max(1, len(data) // 12)):
        target.check(data[:length], (1,))


def test_requests_one_after_the_other(target: Target) -> None:
    good = [path.read_bytes() for path in CORPUS if path.stem in ("boto3-http-get", "boto3-http-head")]
    put = next(path.read_bytes() for path in CORPUS if path.stem == "boto3-https-put-bytes")
    statuses = target.check(b"".join([good[0], put, good[1], put, good[0]]), (1, 3, 500))
    assert statuses == [200] * 5


# ---------------------------------------------------------------- damaged ones


#: What has confused readers of HTTP and S3 before.
TOKENS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"%", b"%00", b"%2F", b"%2e%2e/", b"../", b"//", b"?", b"#", b"&", b"=",
    b"\xff", b"\xc3\xa4", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"5;a=b\r\nhello\r\n", b"-1", b"99999999999999999999", b"0x10",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Host: other\r\n",
    b"Range: bytes=0-0,2-3\r\n", b"Range: bytes=-0\r\n", b"If-Match: *\r\n", b"If-Modified-Since: x\r\n", b"HTTP/1.0", b"HTTP/2.0",
    b"Host: data-1.s3.cashy.test\r\n", b"http://s3.cashy.test", b"GET * HTTP/1.1\r\n", b"OPTIONS", b"DELETE", b"PATCH",
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256&", b"X-Amz-Expires=0&", b"x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n",
    b"x-amz-decoded-content-length: 5\r\n", b"x-amz-copy-source: /data-1/other\r\n", b"versionId=1&", b"partNumber=1&", b"uploadId=u&",
    b"response-content-type=a%0d%0ab&", b"<Delete>", b"]]>",
]  # fmt: skip
SAMPLES = [path.read_bytes() for path in CORPUS]
GOOD = [data for data, path in zip(SAMPLES, CORPUS, strict=True) if not path.stem.startswith("smuggle-")]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sample with up to three changes, sometimes with another one behind it."""
    data = draw(st.sampled_from(GOOD if draw(st.booleans()) else SAMPLES))
    for _ in range(draw(st.integers(1, 3))):
        data = _changed(draw, data)
    if draw(st.integers(0, 4)) == 0:
        data += draw(st.sampled_from(SAMPLES))
    return data


def _changed(draw: st.DrawFn, data: bytes) -> bytes:
    place = draw(st.integers(0, len(data)))
    kind = draw(st.sampled_from(["token", "cut", "lose", "repeat", "byte", "line", "swap", "long"]))
    if kind == "token":
        starts = [match.end() for match in re.finditer(rb"\r\n|[ /?&:=]", data)]
        place = draw(st.one_of(st.just(place), st.sampled_from(starts or [place])))
        return data[:place] + draw(st.sampled_from(TOKENS)) + data[place:]
    if kind == "cut":
        return data[:place]
    if kind == "lose":
        return data[:place] + data[place + draw(st.integers(1, 40)) :]
    if kind == "repeat":
        return data[:place] + data[place : place + 60] * draw(st.integers(2, 4)) + data[place + 60 :]
    if kind == "byte":
        return data[:place] + draw(st.binary(min_size=1, max_size=4)) + data[place + 1 :]
    if kind == "long":
        return (
            data[:place] + data[place : place + 1] * draw(st.sampled_from([300, 9000, 40_000])) + data[place:]
        )
    lines = data.split(b"\r\n")
    first, second = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
    if kind == "line":
        lines.insert(first, lines[second])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    return b"\r\n".join(lines)


# No shrinking over sockets for ever: the deadline of the test itself holds.
FUZZ = settings(
    max_examples=EXAMPLES, deadline=None, database=None, print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


def seeded(test: Callable[..., None]) -> Callable[..., None]:
    """With this run's seed and settings."""
    return seed(SEED)(FUZZ(test))


@seeded
@given(damaged(), st.sampled_from([1, 2, 3, 17, 251, 4096]))
def test_damaged_requests(target: Target, data: bytes, step: int) -> None:
    note(f"CASHY_FUZZ_SEED={SEED}")
    target.check(data, (step,))


HEADERS = st.dictionaries(
    st.sampled_from([
        "Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Expect", "Connection", "TE",
        "x-amz-checksum-mode", "x-amz-copy-source", "x-amz-trailer", "x-amz-decoded-content-length", "Content-Encoding",
        "Content-MD5", "x-amz-security-token", "x-amz-acl", "Cookie",
    ]),
    st.one_of(
        st.sampled_from([
            "bytes=0-", "bytes=-3", "bytes=9-1", "*", '"v1"', "Mon, 23 Nov 2026 02:00:00 GMT", "100-continue", "close", "aws-chunked",
            "x-amz-checksum-crc32", "5", "ENABLED", "/data-1/other", "data-1/../x",
        ]),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20),
    ),
    max_size=4,
)  # fmt: skip
KEYS = st.text("ab/.%~+*é ", max_size=8).map(lambda text: "".join(_encoded(character) for character in text))
QUERY = st.lists(
    st.sampled_from(["acl", "versionId=1", "partNumber=1", "uploads", "uploadId=u", "delete", "list-type=2", "prefix=a", "x=%ff", "select"]),
    max_size=3,
).map("&".join)  # fmt: skip


def _encoded(character: str) -> str:
    return character if character.isascii() and character not in " %" else "%C3%A9"


@seeded
@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"]),
    st.sampled_from(["data-1", "b", "no-such", "UPPER", "..", ""]), KEYS, QUERY, HEADERS,
    st.sampled_from([b"", b"hello", b"x" * 5000, b"<Delete><Object><Key>a</Key></Object></Delete>"]),
    st.sampled_from(["length", "chunked", "short", "none"]), st.sampled_from([1, 5, 1000]),
)  # fmt: skip
def test_strange_requests_that_are_well_signed(
    target: Target, method: str, bucket: str, key: str, query: str, headers: dict[str, str], body: bytes, framing: str, step: int
) -> None:  # fmt: skip
    path = f"/{bucket}/{key}" + (f"?{query}" if query else "")
    target.clock.now_s = time.time()
    head, _ = signed_head(target.running.url, method, path, headers, "UNSIGNED-PAYLOAD", key=WRITER_KEY)
    data = (
        head
        + {
            "length": b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
            "chunked": b"Transfer-Encoding: chunked\r\n\r\n"
            + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"")
            + b"0\r\n\r\n",
            "short": b"Content-Length: %d\r\n\r\n%b" % (len(body) + 1, body),
            "none": b"\r\n" + body,
        }[framing]
    )
    note(f"CASHY_FUZZ_SEED={SEED}")
    target.check(data, (step,))
