"""Refusals that may pass, broken connections, and the time a block may take."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cashy.core.backoff import RETRY_TOKENS_MAX
from cashy.errors import (
    CashyError,
    NoSuchObject,
    OriginInvalid,
    OriginTimeout,
    OriginUnavailable,
    SlowDown,
    VersionChanged,
)
from cashy.origin.s3 import S3Origin

from .conformance import RUNNERS, Reading, fails_with, pattern, reads
from .raw_store import ETAG, Answer, Request, good_answer, hang, head_of, raw_store, say

DATA = pattern(40, 400_000)
META = (f"etag: {ETAG}", "last-modified: Wed, 21 Oct 2015 07:28:00 GMT")


@asynccontextmanager
async def origin_at(
    url: str, *, fraction: Callable[[], float] = lambda: 0.01, **options: Any
) -> AsyncIterator[S3Origin]:
    origin = S3Origin("raw", url, fraction=fraction, **options)
    try:
        yield origin
    finally:
        await origin.close()


def refusal(status: int, code: str, *headers: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>later</Message></Error>".encode()
    return say(head_of(status, f"content-length: {len(body)}", *headers) + body)


async def reset(request: Request) -> None:
    sock = request.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.writer.transport.abort()


async def close(request: Request) -> None:
    request.writer.close()


def broken_after(count: int, end: Answer, etag: str = ETAG) -> Answer:
    """A good answer whose connection ends after so many bytes of the body."""

    async def answer(request: Request) -> None:
        first, last = request.span(len(DATA))
        lines = (f"content-range: bytes {first}-{last - 1}/{len(DATA)}", f"content-length: {last - first}")
        request.writer.write(head_of(206, *lines, f"etag: {etag}") + DATA[first : first + count])
        await request.writer.drain()
        await asyncio.sleep(0.02)
        await end(request)

    return answer


PASSING: dict[str, Answer] = {
    "SlowDown": refusal(503, "SlowDown"),
    "InternalError": refusal(500, "InternalError"),
    "too many requests": refusal(429, "TooManyRequests"),
    "bad gateway": refusal(502, ""),
    "gateway timeout": refusal(504, ""),
    "Retry-After": refusal(503, "SlowDown", "retry-after: 0"),
    "reset": reset,
    "closed": close,
}


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("kind", PASSING)
def test_what_may_pass_is_asked_again(kind: str, loop: str) -> None:
    async def main() -> None:
        answers = [PASSING[kind], PASSING[kind], good_answer(DATA)]
        async with raw_store(*answers) as store, origin_at(store.url) as origin:
            reading = Reading(origin, "bucket", "key", 0, 4096)
            assert await reading.data() == DATA[:4096]
            assert len(store.requests) == 3
            assert origin.counters()["retries_total"] == 2
        head = say(head_of(200, "content-length: 7", *META))
        async with raw_store(PASSING[kind], head) as store, origin_at(store.url) as origin:
            if kind in ("reset", "closed"):
                assert (await origin.head("bucket", "key")).size_bytes == 7
                assert len(store.requests) == 2

    RUNNERS[loop](main())


def test_who_wants_to_know_is_told_of_each_retry() -> None:
    told: list[tuple[CashyError, float]] = []

    async def main() -> None:
        answers = [PASSING["SlowDown"], PASSING["InternalError"], good_answer(DATA)]
        async with raw_store(*answers) as store, origin_at(store.url) as origin:
            reading = Reading(origin, "bucket", "key", 0, 4096)
            reading.read.on_retry = lambda error, delay_s: told.append((error, delay_s))
            assert await reading.data() == DATA[:4096]

    RUNNERS["uvloop"](main())
    assert [type(error) for error, _ in told] == [SlowDown, OriginUnavailable]
    assert all(0 <= delay_s < 10 for _, delay_s in told)


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("status", [503, 500, 429])
def test_head_is_asked_again(status: int, loop: str) -> None:
    async def main() -> None:
        answers = [say(head_of(status, "content-length: 0")), say(head_of(200, "content-length: 7", *META))]
        async with raw_store(*answers) as store, origin_at(store.url) as origin:
            assert (await origin.head("bucket", "key")).size_bytes == 7
            assert len(store.requests) == 2
        async with raw_store(answers[0]) as store, origin_at(store.url, retries_max=2) as origin:
            with pytest.raises(CashyError, match="2 retries before"):
                await origin.head("bucket", "key")
            assert len(store.requests) == 3

    RUNNERS[loop](main())


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(404, "NoSuchKey"), NoSuchObject),
        (refusal(412, "PreconditionFailed"), VersionChanged),
        (say(b"no HTTP\r\n\r\n"), OriginInvalid),
    ],
)
def test_what_will_not_pass_is_told_at_once(answer: Answer, kind: type[CashyError]) -> None:
    async def main() -> None:
        async with raw_store(answer) as store, origin_at(store.url, head_timeout_s=0.1) as origin:
            await fails_with(kind, origin, "bucket", "key", 0, 4096)
            assert len(store.requests) == 1

    asyncio.run(main())


@pytest.mark.parametrize("loop", RUNNERS)
def test_silence_is_left_and_asked_again_on_another_connection(loop: str) -> None:
    async def main() -> None:
        async with (
            raw_store(hang, good_answer(DATA)) as store,
            origin_at(store.url, head_timeout_s=0.2) as origin,
        ):
            assert await Reading(origin, "bucket", "key", 0, 4096).data() == DATA[:4096]
            assert len(store.requests) == 2
        async with (
            raw_store(hang) as store,
            origin_at(store.url, head_timeout_s=0.1, retries_max=2) as origin,
        ):
            await fails_with(OriginTimeout, origin, "bucket", "key", 0, 4096)
            assert len(store.requests) == 3

    RUNNERS[loop](main())


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("end", [reset, close])
def test_broken_transfer_goes_on_where_it_was(end: Answer, loop: str) -> None:
    async def main() -> None:
        answers = [broken_after(100_000, end), broken_after(50_000, end), good_answer(DATA)]
        async with raw_store(*answers) as store, origin_at(store.url) as origin:
            reading = Reading(origin, "bucket", "key", 1000, 300_000)
            assert await reading.data() == DATA[1000:301_000]
            assert reading.sink.calls.count("begin") == 1
            ranges = [request.headers["range"] for request in store.requests]
            assert ranges == ["bytes=1000-300999", "bytes=101000-300999", "bytes=151000-300999"]
            assert [request.headers.get("if-match") for request in store.requests] == [None, ETAG, ETAG]
            counters = origin.counters()
            assert (counters["reads_resumed_total"], counters["retries_total"]) == (2, 2)

    RUNNERS[loop](main())


def test_object_replaced_during_a_break_is_another_version() -> None:
    async def main() -> None:
        for second in (good_answer(DATA, '"new"'), refusal(412, "PreconditionFailed")):
            async with raw_store(broken_after(9999, reset), second) as store, origin_at(store.url) as origin:
                reading = Reading(origin, "bucket", "key", 0, 300_000)
                assert type(await reading.wait()) is VersionChanged
                assert len(store.requests) == 2

    asyncio.run(main())


def test_store_that_breaks_for_ever_is_told_of() -> None:
    async def main() -> None:
        async with (
            raw_store(broken_after(100, close)) as store,
            origin_at(store.url, retries_max=3) as origin,
        ):
            reading = Reading(origin, "bucket", "key", 0, 300_000)
            error = await reading.wait()
            assert type(error) is OriginInvalid
            assert "3 retries before" in str(error)
            assert len(store.requests) == 4
            assert origin.counters()["retries_refused_total"] == 1

    asyncio.run(main())


@pytest.mark.parametrize("loop", RUNNERS)
def test_deadline_of_a_block_ends_it_wherever_it_is(loop: str) -> None:
    async def drip(request: Request) -> None:
        request.writer.write(head_of(206, "content-range: bytes 0-4095/9999", "content-length: 4096", *META))
        for at in range(4096):
            request.writer.write(DATA[at : at + 1])
            await asyncio.sleep(0.01)

    async def main() -> None:
        # Refused at 0, 0.09, 0.27 and 0.63 s, and then the next would be too late: far enough from the end for a slow machine.
        for answer, limit_s in ((drip, 0.3), (hang, 0.3), (refusal(503, "SlowDown"), 1.3)):
            options: dict[str, Any] = {"block_timeout_s": limit_s, "fraction": lambda: 0.9, "retries_max": 16}
            async with raw_store(answer) as store, origin_at(store.url, **options) as origin:
                reading = Reading(origin, "bucket", "key", 0, 4096)
                error = await reading.wait()
                # A retry that could not begin in time is none: the refusal itself is told.
                assert type(error) in (OriginTimeout, SlowDown)
                assert (type(error) is OriginTimeout) == (answer in (drip, hang))
                counters = origin.counters()
                assert counters["timeouts_total"] + counters["retries_refused_total"] == 1

    RUNNERS[loop](main())


def test_read_that_waits_in_the_queue_has_its_deadline_too() -> None:
    async def main() -> None:
        async with (
            raw_store(hang) as store,
            origin_at(store.url, block_timeout_s=0.2, connections_max=1) as origin,
        ):
            readings = [Reading(origin, "bucket", "key", 0, 4096) for _ in range(3)]
            for reading in readings:
                assert type(await reading.wait()) is OriginTimeout
            with pytest.raises(OriginTimeout):
                await origin.head("bucket", "key")
            assert origin.counters()["queued"] == 0

    asyncio.run(main())


def test_retry_after_beyond_reason_is_told_at_once() -> None:
    async def main() -> None:
        answer = refusal(503, "SlowDown", "retry-after: 3600")
        async with raw_store(answer) as store, origin_at(store.url) as origin:
            await fails_with(SlowDown, origin, "bucket", "key", 0, 4096)
            assert len(store.requests) == 1

    asyncio.run(main())


def test_cancel_and_close_during_the_pause() -> None:
    async def main() -> None:
        answer = refusal(503, "SlowDown", "retry-after: 15")
        async with raw_store(answer) as store, origin_at(store.url) as origin:
            cancelled, waiting = (Reading(origin, "bucket", "key", 0, 4096) for _ in range(2))
            while len(origin.paused) < 2:
                await asyncio.sleep(0.005)
            cancelled.cancel()
            await cancelled.settle_cancelled()
            assert len(origin.paused) == 1
            await origin.close()
            assert type(await waiting.wait()) is OriginUnavailable
            assert not origin.paused

    asyncio.run(main())


def test_overloaded_store_is_not_hammered() -> None:
    """Each of 200 reads may retry 4 times; the store's budget lets 100 retries pass in all."""

    async def main() -> None:
        async with (
            raw_store(refusal(503, "SlowDown")) as store,
            origin_at(store.url, fraction=lambda: 0.001, connections_max=8) as origin,
        ):
            readings = [Reading(origin, "bucket", "key", 0, 4096) for _ in range(200)]
            for reading in readings:
                assert type(await reading.wait()) is SlowDown
            counters = origin.counters()
            assert counters["retries_total"] == RETRY_TOKENS_MAX
            assert len(store.requests) == counters["slow_downs_total"] == 200 + RETRY_TOKENS_MAX
            assert counters["retries_refused_total"] == 200

    asyncio.run(main())


def test_refusals_narrow_the_window_and_answers_widen_it() -> None:
    async def main() -> None:
        under_way, most, is_tired = 0, 0, True

        async def answer(request: Request) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.02)
            under_way -= 1
            await (refusal(503, "SlowDown") if is_tired else good_answer(DATA))(request)

        async with (
            raw_store(answer) as store,
            origin_at(store.url, connections_max=16, retries_max=0) as origin,
        ):
            await asyncio.gather(*(Reading(origin, "bucket", "key", 0, 99).wait() for _ in range(16)))
            assert most == 16
            most, is_tired = 0, False
            await asyncio.gather(*(Reading(origin, "bucket", "key", 0, 99).data() for _ in range(16)))
            assert most <= 9
            for _ in range(12):
                most = 0
                await asyncio.gather(*(Reading(origin, "bucket", "key", 0, 99).data() for _ in range(16)))
            assert most == 16

    asyncio.run(main())


def test_reading_goes_on_after_a_store_was_restarted() -> None:
    """All kept connections are stale at once: each request gets through, with one fresh connection each at most."""

    async def main() -> None:
        async with raw_store(good_answer(DATA)) as store, origin_at(store.url, connections_max=4) as origin:
            await asyncio.gather(*(Reading(origin, "bucket", "key", 0, 99).data() for _ in range(8)))
            for task in tuple(store.tasks):
                task.cancel()
            assert await reads(origin, "bucket", "key", 0, 99) == DATA[:99]
            results = await asyncio.gather(
                *(Reading(origin, "bucket", "key", 0, 99).data() for _ in range(8))
            )
            assert results == [DATA[:99]] * 8

    asyncio.run(main())
