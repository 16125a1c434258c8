"""What a body becomes on its way to the store."""

from __future__ import annotations

import base64
import zlib
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.aws_chunked import CHUNK_BYTES_MAX, ChunkSigner
from cashy.core.s3_errors import S3Error
from cashy.core.sigv4 import prepared_key
from cashy.core.upload_body import BODY_BYTES_MAX, UNSIGNED_PAYLOAD, UploadPlan, content_of, plan_upload

CONTENT = b"0123456789" * 50
SIGNED = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
TRAILER = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CRC32 = b"x-amz-checksum-crc32"


def signer() -> ChunkSigner:
    return ChunkSigner(
        prepared_key("s", b"20130524", "r"), b"20130524T000000Z", b"20130524/r/s3/aws4_request", b"0" * 64
    )


def through(plan: UploadPlan, body: bytes, step: int = 7) -> bytes:
    pieces = []
    for at in range(0, len(body), step):
        pieces += plan.upload.feed(body[at : at + step])
    pieces += plan.upload.finish()
    assert all(pieces)
    assert plan.length == sum(map(len, pieces))
    content = content_of(plan, pieces)
    assert content == CONTENT
    return b"".join(pieces)


def signed_body() -> bytes:
    chain = signer()
    body = b""
    for part in (CONTENT[:300], CONTENT[300:], b""):
        signature = chain.sign_chunk(sha256(part).hexdigest().encode())
        body += b"%x;chunk-signature=%b\r\n%b\r\n" % (len(part), signature, part)
    return body


def trailer_body() -> bytes:
    checksum = base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big"))
    return b"%x\r\n%b\r\n0\r\n%b:%b\r\n\r\n" % (len(CONTENT), CONTENT, CRC32, checksum)


def refusal(headers: dict[bytes, bytes], chain: ChunkSigner | None = None) -> str:
    with pytest.raises(S3Error) as caught:
        plan_upload(headers, chain)
    return caught.value.code


@pytest.mark.parametrize("headers", [{}, {b"x-amz-content-sha256": UNSIGNED_PAYLOAD}])
def test_unsigned(headers: dict[bytes, bytes]) -> None:
    plan = plan_upload({b"content-length": b"500", **headers}, None)
    assert plan.payload == UNSIGNED_PAYLOAD
    assert through(plan, CONTENT) == CONTENT


def test_a_hash_in_the_head_is_verified_and_passed_on() -> None:
    headers = {
        b"content-length": b"500",
        b"x-amz-content-sha256": sha256(CONTENT).hexdigest().encode(),
    }
    plan = plan_upload(headers, None)
    assert plan.payload == headers[b"x-amz-content-sha256"]
    assert through(plan, CONTENT) == CONTENT
    plan = plan_upload(headers, None)
    plan.upload.feed(CONTENT[:-1] + b"X")
    with pytest.raises(S3Error) as caught:
        plan.upload.finish()
    assert caught.value.code == "XAmzContentSHA256Mismatch"


@given(st.integers(1, 600))
def test_signed_chunks_end_here(step: int) -> None:
    headers = {
        b"x-amz-content-sha256": SIGNED,
        b"x-amz-decoded-content-length": b"500",
        b"content-encoding": b"gzip, aws-chunked",
    }
    plan = plan_upload(headers, signer())
    assert plan.payload == UNSIGNED_PAYLOAD
    assert plan.headers == {b"content-encoding": b"gzip"}
    assert through(plan, signed_body(), step) == CONTENT


@given(st.integers(1, 600))
def test_a_trailing_checksum_stays_one(step: int) -> None:
    headers = {
        b"x-amz-content-sha256": TRAILER,
        b"x-amz-decoded-content-length": b"500",
        b"content-encoding": b"aws-chunked",
        b"x-amz-trailer": CRC32,
    }
    plan = plan_upload(headers, None)
    assert plan.payload == TRAILER
    assert plan.headers == {
        b"content-encoding": b"aws-chunked",
        b"x-amz-decoded-content-length": b"500",
        b"x-amz-trailer": CRC32,
    }
    assert through(plan, trailer_body(), step).endswith(trailer_body()[-30:])


def test_what_cannot_be_taken() -> None:
    assert refusal({b"x-amz-content-sha256": SIGNED}, signer()) == "MissingContentLength"
    assert refusal({b"content-length": b"1", b"x-amz-content-sha256": b"x"}) == "InvalidArgument"
    assert refusal({b"content-length": b"1,1"}) == "InvalidArgument"
    chunked = {b"x-amz-decoded-content-length": b"5", b"content-length": b"9"}
    assert refusal({**chunked, b"x-amz-content-sha256": SIGNED}) == "InvalidRequest"  # nobody signed it
    assert (
        refusal({**chunked, b"x-amz-content-sha256": b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}, signer())
        == "NotImplemented"
    )
    for trailer in (b"", b"x-amz-meta-a", b"x-amz-checksum-crc32,x-amz-checksum-sha1"):
        assert (
            refusal({**chunked, b"x-amz-content-sha256": TRAILER, b"x-amz-trailer": trailer})
            == "InvalidRequest"
        )


def test_limits() -> None:
    assert plan_upload({b"content-length": b"%d" % BODY_BYTES_MAX}, None).length == BODY_BYTES_MAX
    assert refusal({b"content-length": b"%d" % (BODY_BYTES_MAX + 1)}) == "EntityTooLarge"
    headers = {b"x-amz-content-sha256": SIGNED, b"x-amz-decoded-content-length": b"%d" % CHUNK_BYTES_MAX}
    assert plan_upload(headers, signer()).length == CHUNK_BYTES_MAX
    headers[b"x-amz-decoded-content-length"] = b"%d" % (CHUNK_BYTES_MAX + 1)
    assert refusal(headers, signer()) == "EntityTooLarge"
