"""Stores that break their protocol, hang, reset or lie; cancels in every phase; connections kept and lost."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from cashy.errors import (
    AccessDenied,
    CashyError,
    NoSuchBucket,
    NoSuchObject,
    OriginInvalid,
    OriginTimeout,
    OriginUnavailable,
    SlowDown,
    VersionChanged,
)
from cashy.origin.s3 import S3Origin
from cashy.origin.s3_http import DRAIN_BYTES_MAX, ERROR_BODY_BYTES_MAX, HEAD_BYTES_MAX

from .conformance import RUNNERS, Reading, fails_with, pattern, reads
from .raw_store import ETAG, Answer, Request, good_answer, hang, head_of, raw_store, say

DATA = pattern(30, 100_000)
META = (f"etag: {ETAG}", "last-modified: Wed, 21 Oct 2015 07:28:00 GMT")


def origin_at(url: str, connections_max: int = 2, queue_max: int = 100, timeout_s: float = 0.3) -> S3Origin:
    """Without retries after a pause, which are test_s3_retries' matter."""
    return S3Origin(
        "raw", url, connections_max=connections_max, queue_max=queue_max, head_timeout_s=timeout_s, read_timeout_s=timeout_s,
        retries_max=0,
    )  # fmt: skip


def ranged(first: int, last: int, size: int, *headers: str, length: int | None = None) -> bytes:
    length = last - first + 1 if length is None else length
    return head_of(
        206, f"content-range: bytes {first}-{last}/{size}", f"content-length: {length}", *(headers or META)
    )


async def reset(request: Request) -> None:
    """Breaks the connection with a RST."""
    sock = request.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.writer.transport.abort()


def partly(data: bytes, then: Answer) -> Answer:
    async def answer(request: Request) -> None:
        request.writer.write(data)
        await request.writer.drain()
        await asyncio.sleep(0.02)
        await then(request)

    return answer


async def close(request: Request) -> None:
    request.writer.close()


def error(status: int, code: str, *headers: str, extra: str = "") -> bytes:
    body = (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>said so</Message>{extra}</Error>".encode()
    )
    return head_of(status, f"content-length: {len(body)}", *headers) + body


# Each: what the store answers to a read of bytes 0 to 4095, and the error that must come of it.
FAULTS: dict[str, tuple[Answer, type[CashyError]]] = {
    "short body": (say(ranged(0, 4095, 100_000) + DATA[:4000], then_close=True), OriginInvalid),
    "no body at all": (say(ranged(0, 4095, 100_000), then_close=True), OriginInvalid),
    "another range": (say(ranged(1, 4096, 100_000) + DATA[1:4097]), OriginInvalid),
    "a shorter range": (say(ranged(0, 4000, 100_000) + DATA[:4001]), OriginInvalid),
    "a longer range": (say(ranged(0, 8191, 100_000) + DATA[:8192]), OriginInvalid),
    "unknown size": (say(head_of(206, "content-range: bytes 0-4095/*", "content-length: 4096", *META)), OriginInvalid),
    "no content-range": (say(head_of(206, "content-length: 4096", *META)), OriginInvalid),
    "other length": (say(ranged(0, 4095, 100_000, length=4097)), OriginInvalid),
    "no etag": (say(ranged(0, 4095, 100_000, "x: y")), OriginInvalid),
    "weak etag": (say(ranged(0, 4095, 100_000, 'etag: W/"abc"')), OriginInvalid),
    "two etags": (say(ranged(0, 4095, 100_000, 'etag: "a"', 'etag: "b"')), OriginInvalid),
    "whole object": (say(head_of(200, "content-length: 100000", *META) + DATA), OriginInvalid),
    "no size": (say(head_of(200, "connection: close", *META) + DATA, then_close=True), OriginInvalid),
    "garbage": (say(b"\x00\x01\x02 garbage \r\n\r\n" * 10), OriginInvalid),
    "another protocol": (say(b"SSH-2.0-OpenSSH_9.2\r\n"), OriginInvalid),
    "header of 1 MB": (say(head_of(206, "x-long: " + "x" * (1 << 20))), OriginInvalid),
    "endless headers": (say(b"HTTP/1.1 206 OK\r\n" + b"x-a: b\r\n" * 100_000), OriginInvalid),
    "interim answers": (say(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), OriginInvalid),
    "chunks too many": (
        say(head_of(206, "content-range: bytes 0-4095/9999", "transfer-encoding: chunked", *META)
            + b"1001\r\n" + DATA[:4097] + b"\r\n0\r\n\r\n"), OriginInvalid),
    "chunks too few": (
        say(head_of(206, "content-range: bytes 0-4095/9999", "transfer-encoding: chunked", *META)
            + b"fff\r\n" + DATA[:4095] + b"\r\n0\r\n\r\n"), OriginInvalid),
    "hang before the head": (hang, OriginTimeout),
    "hang within the head": (partly(b"HTTP/1.1 206 OK\r\ncontent-", hang), OriginTimeout),
    "hang within the body": (partly(ranged(0, 4095, 100_000) + DATA[:100], hang), OriginTimeout),
    "hang before the body": (partly(ranged(0, 4095, 100_000), hang), OriginTimeout),
    "reset before the head": (reset, OriginUnavailable),
    "reset within the body": (partly(ranged(0, 4095, 100_000) + DATA[:100], reset), OriginUnavailable),
    "closed before the head": (close, OriginUnavailable),
    "closed within the head": (partly(b"HTTP/1.1 206 OK\r\ncontent-", close), OriginUnavailable),
    "412": (say(error(412, "PreconditionFailed")), VersionChanged),
    "404 key": (say(error(404, "NoSuchKey")), NoSuchObject),
    "404 bucket": (say(error(404, "NoSuchBucket")), NoSuchBucket),
    "404 of nothing": (say(head_of(404, "content-length: 0")), NoSuchObject),
    "403": (say(error(403, "AccessDenied")), AccessDenied),
    "403 signature": (say(error(403, "SignatureDoesNotMatch")), AccessDenied),
    "400 expired": (say(error(400, "ExpiredToken")), AccessDenied),
    "503": (say(error(503, "SlowDown")), SlowDown),
    "503 of a proxy": (say(head_of(503, "content-length: 5") + b"<h1>!"), SlowDown),
    "500": (say(error(500, "InternalError")), OriginUnavailable),
    "502 of a proxy": (say(head_of(502, "connection: close") + b"<html>", then_close=True), OriginUnavailable),
    "301": (say(error(301, "PermanentRedirect", "x-amz-bucket-region: eu-west-3")), OriginInvalid),
    "307": (say(error(307, "TemporaryRedirect", extra="<Endpoint>b.s3.eu-west-3.amazonaws.com</Endpoint>")), OriginInvalid),
    "418": (say(head_of(418, "content-length: 0")), OriginInvalid),
    "204": (say(head_of(204)), OriginInvalid),
    "endless error": (say(head_of(500, "content-length: 100000000") + b"e" * 1_000_000), OriginUnavailable),
}  # fmt: skip


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_a_clear_error_and_the_next_read_works(fault: str, loop: str) -> None:
    answer, kind = FAULTS[fault]

    async def main() -> None:
        # A redirect to another region is followed, to one that is asked already is not.
        faults = [answer] * (2 if fault == "301" else 1)
        async with raw_store(*faults, good_answer(DATA)) as store:
            origin = origin_at(store.url)
            reading = Reading(origin, "bucket", "key", 0, 4096)
            failure = await reading.wait()
            assert type(failure) is kind, repr(failure)
            assert "bucket/key" in str(failure)
            if fault in ("301", "307"):
                assert "eu-west-3" in str(failure)
            assert await reads(origin, "bucket", "key", 5, 4096) == DATA[5:4101]
            await origin.close()

    RUNNERS[loop](main())


CHUNKED = head_of(206, "content-range: bytes 0-4095/9999", "transfer-encoding: chunked", *META)

# Unusual, but correct.
ODDITIES: dict[str, Answer] = {
    "chunked": say(CHUNKED + b"800\r\n" + DATA[:2048] + b"\r\n800\r\n" + DATA[2048:4096] + b"\r\n0\r\n\r\n"),
    "ends with the connection": say(
        head_of(206, "content-range: bytes 0-4095/9999", "connection: close", *META) + DATA[:4096],
        then_close=True,
    ),
    "interim answer": say(b"HTTP/1.1 100 Continue\r\n\r\n" + ranged(0, 4095, 9999) + DATA[:4096]),
    "whole object that fits": say(head_of(200, "content-length: 4096", *META) + DATA[:4096]),
    "surplus bytes": say(ranged(0, 4095, 9999) + DATA[:4096] + b"surplus"),
    "HTTP/1.0": say(ranged(0, 4095, 9999).replace(b"HTTP/1.1", b"HTTP/1.0") + DATA[:4096], then_close=True),
    "large head": say(ranged(0, 4095, 9999, *META, "x-long: " + "x" * (HEAD_BYTES_MAX - 2000)) + DATA[:4096]),
}


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("oddity", ODDITIES)
def test_oddity_is_served(oddity: str, loop: str) -> None:
    async def main() -> None:
        async with raw_store(ODDITIES[oddity], good_answer(DATA)) as store:
            origin = origin_at(store.url)
            assert await reads(origin, "bucket", "key", 0, 4096) == DATA[:4096]
            assert await reads(origin, "bucket", "key", 0, 4096) == DATA[:4096]
            await origin.close()

    RUNNERS[loop](main())


@pytest.mark.parametrize("loop", RUNNERS)
def test_slow_drip_arrives(loop: str) -> None:
    async def drip(request: Request) -> None:
        for piece in (
            ranged(0, 4095, 9999)[:50],
            ranged(0, 4095, 9999)[50:],
            *(DATA[at : at + 512] for at in range(0, 4096, 512)),
        ):
            request.writer.write(piece)
            await request.writer.drain()
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with raw_store(drip) as store:
            origin = origin_at(store.url, timeout_s=5)
            reading = Reading(origin, "bucket", "key", 0, 4096)
            assert await reading.data() == DATA[:4096]
            assert reading.sink.calls.count("advanced") > 2
            await origin.close()

    RUNNERS[loop](main())


def test_another_etag_is_a_changed_version() -> None:
    async def main() -> None:
        async with raw_store(good_answer(DATA)) as store:
            origin = origin_at(store.url)
            await fails_with(VersionChanged, origin, "bucket", "key", 0, 4096, '"other"')
            assert store.requests[0].headers["if-match"] == '"other"'
            assert await reads(origin, "bucket", "key", 0, 4096, expected=ETAG) == DATA[:4096]
            await origin.close()

    asyncio.run(main())


def test_connections_are_kept_and_reused() -> None:
    async def main() -> None:
        async with raw_store(good_answer(DATA)) as store:
            origin = origin_at(store.url, connections_max=4)
            readings = [Reading(origin, "bucket", "key", index * 1000, 1000 + index) for index in range(64)]
            for index, reading in enumerate(readings):
                assert await reading.data() == DATA[index * 1000 : index * 1000 + 1000 + index]
            assert store.connections == 4
            assert origin.counters()["connections_idle"] == 4
            await origin.close()

    asyncio.run(main())


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("how", [close, reset])
def test_stale_connection_is_retried_once_on_a_fresh_one(how: Answer, loop: str) -> None:
    async def main() -> None:
        async with raw_store(good_answer(DATA), how, good_answer(DATA)) as store:
            origin = origin_at(store.url)
            assert await reads(origin, "bucket", "key", 0, 4096) == DATA[:4096]
            assert await reads(origin, "bucket", "key", 0, 4096) == DATA[:4096]
            assert origin.counters()["retries_total"] == 1
            assert [request.connection for request in store.requests] == [1, 1, 2]
            await origin.close()
        async with raw_store(good_answer(DATA), how) as store:
            origin = origin_at(store.url)
            assert await reads(origin, "bucket", "key", 0, 4096) == DATA[:4096]
            await fails_with(OriginUnavailable, origin, "bucket", "key", 0, 4096)
            assert len(store.requests) == 3
            await origin.close()

    RUNNERS[loop](main())


def test_queue_has_a_limit() -> None:
    async def main() -> None:
        async with raw_store(hang) as store:
            origin = origin_at(store.url, connections_max=2, queue_max=3, timeout_s=30)
            waiting = [Reading(origin, "bucket", "key", 0, 4096) for _ in range(5)]
            while len(store.requests) < 2:
                await asyncio.sleep(0.005)
            await fails_with(SlowDown, origin, "bucket", "key", 0, 4096)
            assert origin.counters()["queued"] == 3
            waiting[4].cancel()
            waiting.append(Reading(origin, "bucket", "key", 0, 4096))
            await asyncio.sleep(0.01)
            assert waiting[5].outcomes == []
            await origin.close()
            for reading in waiting[:4]:
                assert type(await reading.wait()) is OriginUnavailable

    asyncio.run(main())


LARGE = pattern(31, 2 * DRAIN_BYTES_MAX)

# What has arrived when the read is cancelled, of how much; and whether the connection outlives it.
CANCELS: dict[str, tuple[int, int, bool]] = {
    "before the head, little": (0, 4096, True),
    "before the head, much": (0, len(LARGE), False),
    "within the body, little left": (len(LARGE) - DRAIN_BYTES_MAX, len(LARGE), True),
    "within the body, much left": (len(LARGE) - DRAIN_BYTES_MAX - 1, len(LARGE), False),
}


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("phase", CANCELS)
def test_cancel_drains_or_closes(phase: str, loop: str) -> None:
    sent, length, survives = CANCELS[phase]

    async def main() -> None:
        go_on = asyncio.Event()

        async def answer(request: Request) -> None:
            answered = ranged(0, length - 1, len(LARGE)) if sent else b""
            request.writer.write(answered + LARGE[:sent])
            await request.writer.drain()
            await go_on.wait()
            request.writer.write((b"" if sent else ranged(0, length - 1, len(LARGE))) + LARGE[sent:length])

        async with raw_store(answer, good_answer(DATA)) as store:
            origin = origin_at(store.url, connections_max=1, timeout_s=30)
            reading = Reading(origin, "bucket", "key", 0, length)
            while not store.requests or reading.sink.watermark < sent:
                await asyncio.sleep(0.002)
            reading.cancel()
            reading.sink.verify()  # it is detached already
            following = Reading(origin, "bucket", "key", 0, 4096)
            await asyncio.sleep(0.02)
            go_on.set()
            assert await following.data() == DATA[:4096]
            await reading.settle_cancelled()
            counters = origin.counters()
            assert (counters["cancels_drained_total"], counters["cancels_closed_total"]) == (
                survives,
                not survives,
            )
            assert store.connections == (1 if survives else 2)
            await origin.close()

    RUNNERS[loop](main())


def test_cancel_while_it_waits_and_while_connecting() -> None:
    async def main() -> None:
        async with raw_store(good_answer(DATA)) as store:
            origin = origin_at(store.url, connections_max=1)
            readings = [Reading(origin, "bucket", "key", 0, 4096) for _ in range(4)]
            readings[0].cancel()
            readings[2].cancel()
            assert await readings[1].data() == DATA[:4096]
            assert await readings[3].data() == DATA[:4096]
            for reading in (readings[0], readings[2]):
                await reading.settle_cancelled()
            assert len(store.requests) == 2
            await origin.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([say(head_of(404))] * 2, NoSuchBucket),
        ([say(head_of(404)), say(head_of(403))], NoSuchObject),
        ([say(head_of(403))], AccessDenied),
        ([say(head_of(301, "x-amz-bucket-region: eu-west-3"))], OriginInvalid),
        ([say(head_of(200, *META), then_close=True)], OriginInvalid),
        ([say(head_of(200, "content-length: 5"))], OriginInvalid),
        ([hang], OriginTimeout),
        ([reset], OriginUnavailable),
    ],
)
def test_head_errors(answers: list[Answer], kind: type[CashyError]) -> None:
    async def main() -> None:
        async with raw_store(*answers) as store:
            origin = origin_at(store.url)
            with pytest.raises(CashyError) as caught:
                await origin.head("bucket", "key")
            assert type(caught.value) is kind
            await origin.close()

    asyncio.run(main())


def test_error_text_is_limited_and_printable() -> None:
    async def main() -> None:
        text = "\x1b[31m" + "x" * ERROR_BODY_BYTES_MAX
        async with raw_store(say(error(400, "Odd\x07", extra=f"<Message>{text}</Message>"))) as store:
            origin = origin_at(store.url)
            failure = await fails_with(OriginInvalid, origin, "bucket", "key", 0, 4096)
            assert len(str(failure)) < 1000
            assert str(failure).isprintable()
            await origin.close()

    asyncio.run(main())


def test_unsigned_request_has_no_authorization() -> None:
    async def main() -> None:
        async with raw_store(good_answer(DATA)) as store:
            origin = origin_at(store.url)
            await reads(origin, "bucket", "a/../b//c%2Fd e+f", 10, 20)
            request = store.requests[0]
            assert request.path == "/bucket/a/../b//c%252Fd%20e%2Bf"
            assert request.headers["range"] == "bytes=10-29"
            assert "authorization" not in request.headers
            await origin.close()

    asyncio.run(main())


@pytest.mark.parametrize("loop", RUNNERS)
def test_stored_headers_are_kept_as_they_were_written(loop: str) -> None:
    """Also an Expires that is no date, and metadata in bytes that are no ASCII; checksums of the whole object only with HEAD."""
    stored = {
        "cache-control": "no-cache", "content-language": "de, en", "expires": "not a date at all", "x-amz-version-id": "v.1",
        "x-amz-mp-parts-count": "3", "x-amz-checksum-type": "COMPOSITE", "x-amz-expiration": 'expiry-date="x", rule-id="y"',
        "x-amz-server-side-encryption-bucket-key-enabled": "true", "x-amz-replication-status": "COMPLETED",
    }  # fmt: skip
    metadata = {"plain": "a  b", "encoded": "=?UTF-8?Q?=C3=BC?=", "raw": "ü".encode().decode("latin-1")}
    lines = [f"{name}: {value}" for name, value in stored.items()]
    lines += [f"x-amz-meta-{name}: {value}" for name, value in metadata.items()]
    lines += ["x-amz-checksum-crc64nvme: abc=", "x-amz-request-id: 1", "server: other", *META]

    async def main() -> None:
        head = say(head_of(200, "content-length: 4096", *lines))
        body = say(ranged(0, 4095, 4096, *lines) + DATA[:4096])
        async with raw_store(head, body) as store:
            origin = origin_at(store.url)
            meta = await origin.head("bucket", "key")
            assert store.requests[0].headers["x-amz-checksum-mode"] == "ENABLED"
            reading = Reading(origin, "bucket", "key", 0, 4096)
            assert await reading.data() == DATA[:4096]
            assert reading.sink.meta is not None
            assert dict(reading.sink.meta.headers) == stored
            assert dict(meta.headers) == stored | {"x-amz-checksum-crc64nvme": "abc="}
            assert dict(meta.user_metadata) == dict(reading.sink.meta.user_metadata) == metadata
            await origin.close()

    RUNNERS[loop](main())
