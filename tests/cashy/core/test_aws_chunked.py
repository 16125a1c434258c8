"""aws-chunked bodies: AWS's published examples, what is refused, and that pieces do not matter."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.aws_chunked import (
    CHECKSUM_LENGTHS,
    CHUNK_BYTES_MAX,
    LINE_BYTES_MAX,
    SENT_CHUNK_BYTES,
    TRAILER_BYTES_MAX,
    ChunkedDecoder,
    ChunkedEncoder,
    ChunkSigner,
    encoded_length,
)
from cashy.core.s3_errors import S3Error
from cashy.core.sigv4 import prepared_key

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TIMESTAMP = b"20130524T000000Z"
SCOPE = b"20130524/us-east-1/s3/aws4_request"
CONTENT = b"a" * 66_560

# "Transferring Payload in Multiple Chunks", example: 65 KiB in chunks of 64 KiB.
SEED = b"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
SIGNATURES = (
    b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)
# "Signature calculations for trailing headers", the same content with a CRC32C.
TRAILER_SEED = b"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
TRAILER_SIGNATURES = (
    b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
)
TRAILER_SIGNATURE = b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
CRC32C = b"x-amz-checksum-crc32c"
CRC32 = b"x-amz-checksum-crc32"


def signer(seed: bytes = SEED) -> ChunkSigner:
    return ChunkSigner(prepared_key(SECRET, b"20130524", "us-east-1"), TIMESTAMP, SCOPE, seed)


def signed_body(signatures: tuple[bytes, ...] = SIGNATURES) -> bytes:
    parts = (CONTENT[:65_536], CONTENT[65_536:], b"")
    return b"".join(
        b"%x;chunk-signature=%b\r\n%b\r\n" % (len(part), signature, part)
        for part, signature in zip(parts, signatures, strict=True)
    )


def trailer_body(checksum: bytes = b"sOO8/Q==", signature: bytes = TRAILER_SIGNATURE) -> bytes:
    chunks = signed_body(TRAILER_SIGNATURES).removesuffix(b"\r\n")
    return chunks + b"%b:%b\r\nx-amz-trailer-signature:%b\r\n\r\n" % (CRC32C, checksum, signature)


def sign(parts: list[bytes], trailer: tuple[bytes, bytes] | None = None) -> bytes:
    """What a client with the same key sends; made with the signer, which the examples verify."""
    chain = signer()
    body = b""
    for part in [*parts, b""]:
        signature = chain.sign_chunk(hashlib.sha256(part).hexdigest().encode())
        body += b"%x;chunk-signature=%b\r\n%b\r\n" % (len(part), signature, part)
    if trailer is None:
        return body
    line = b"%b:%b" % trailer
    return body.removesuffix(b"\r\n") + b"%b\r\nx-amz-trailer-signature:%b\r\n\r\n" % (
        line, chain.sign_trailer(line + b"\n"),
    )  # fmt: skip


def unsigned(content: bytes, name: bytes, value: bytes, chunk_bytes: int = 1000) -> bytes:
    body = b""
    for at in range(0, len(content), chunk_bytes):
        part = content[at : at + chunk_bytes]
        body += b"%x\r\n%b\r\n" % (len(part), part)
    return body + b"0\r\n%b:%b\r\n\r\n" % (name, value)


def decode(decoder: ChunkedDecoder, body: bytes, step: int = 1 << 20) -> bytes:
    content = b""
    for at in range(0, len(body), step):
        pieces = decoder.feed(body[at : at + step])
        assert all(pieces)
        content += b"".join(pieces)
    decoder.finish()
    return content


def refusal(decoder: ChunkedDecoder, body: bytes, step: int = 1 << 20) -> str:
    with pytest.raises(S3Error) as caught:
        decode(decoder, body, step)
    return caught.value.code


def plain(length: int, trailer: bytes = CRC32) -> ChunkedDecoder:
    return ChunkedDecoder(length, signer=None, trailer=trailer)


def crc_of(content: bytes) -> bytes:
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big"))


@pytest.mark.parametrize("step", [1 << 20, 4096, 61, 1])
def test_the_published_example(step: int) -> None:
    decoder = ChunkedDecoder(len(CONTENT), signer=signer(), trailer=None)
    assert decode(decoder, signed_body(), step) == CONTENT


@pytest.mark.parametrize("step", [1 << 20, 4096, 61, 1])
def test_the_published_example_with_a_trailer(step: int) -> None:
    decoder = ChunkedDecoder(len(CONTENT), signer=signer(TRAILER_SEED), trailer=CRC32C)
    assert decode(decoder, trailer_body(), step) == CONTENT
    assert decoder.trailer_value == b"sOO8/Q=="
    assert base64.b64decode(b"sOO8/Q==") == crc32c(CONTENT).to_bytes(4, "big")


def test_an_empty_line_before_the_trailers_signature_is_taken() -> None:
    body = trailer_body().replace(b"\r\nx-amz-trailer-signature", b"\n\r\nx-amz-trailer-signature")
    decoder = ChunkedDecoder(len(CONTENT), signer=signer(TRAILER_SEED), trailer=CRC32C)
    assert decode(decoder, body) == CONTENT


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=6), st.integers(1, 50), st.booleans())
def test_pieces_do_not_matter(parts: list[bytes], step: int, has_trailer: bool) -> None:
    content = b"".join(parts)
    trailer = (CRC32, crc_of(content)) if has_trailer else None
    decoder = ChunkedDecoder(len(content), signer=signer(), trailer=CRC32 if has_trailer else None)
    assert decode(decoder, sign(parts, trailer), step) == content


@given(st.integers(0, 400), st.integers(1, 255), st.integers(1, 30))
def test_one_changed_byte_is_noticed(at: int, change: int, step: int) -> None:
    content = b"0123456789" * 9
    body = bytearray(sign([content[:50], content[50:]], (CRC32, crc_of(content))))
    at %= len(body)
    body[at] ^= change
    decoder = ChunkedDecoder(len(content), signer=signer(), trailer=CRC32)
    try:
        same = decode(decoder, bytes(body), step)
    except S3Error:
        pass
    else:  # the case of a hexadecimal digit or a header's name, or a kind of line end: it is the same body
        assert same == content


@given(st.binary(max_size=300), st.booleans(), st.integers(1, 20))
def test_garbage_is_an_error_and_nothing_else(data: bytes, is_signed: bool, step: int) -> None:
    decoder = ChunkedDecoder(100, signer=signer() if is_signed else None, trailer=CRC32)
    assert refusal(decoder, b"5\r\n" + data, step)


@pytest.mark.parametrize("name", [*CHECKSUM_LENGTHS])
def test_trailing_checksums(name: bytes) -> None:
    content = b"some content" * 300
    digests = {
        b"x-amz-checksum-crc32": zlib.crc32(content).to_bytes(4, "big"),
        b"x-amz-checksum-crc32c": crc32c(content).to_bytes(4, "big"),
        b"x-amz-checksum-sha1": hashlib.sha1(content).digest(),
        b"x-amz-checksum-sha256": hashlib.sha256(content).digest(),
        b"x-amz-checksum-md5": hashlib.md5(content).digest(),
        b"x-amz-checksum-sha512": hashlib.sha512(content).digest(),
    }
    # Not computed here, the store looks.
    unknown = {
        b"x-amz-checksum-crc64nvme": bytes(8), b"x-amz-checksum-xxhash3": bytes(8), b"x-amz-checksum-xxhash64": bytes(8),
        b"x-amz-checksum-xxhash128": bytes(16),
    }  # fmt: skip
    value = base64.b64encode((digests | unknown)[name])
    decoder = plain(len(content), name)
    assert decode(decoder, unsigned(content, name.title(), value)) == content
    assert decoder.trailer_value == value
    if name in digests:
        assert refusal(plain(len(content), name), unsigned(content[:-1] + b"X", name, value)) == "BadDigest"


def test_an_empty_content() -> None:
    assert decode(ChunkedDecoder(0, signer=signer(), trailer=None), sign([])) == b""
    assert decode(plain(0), b"0\r\n%b:AAAAAA==\r\n\r\n" % CRC32) == b""


def test_a_wrong_signature() -> None:
    for number in range(3):
        wrong = [*SIGNATURES]
        wrong[number] = b"0" * 64
        decoder = ChunkedDecoder(len(CONTENT), signer=signer(), trailer=None)
        assert refusal(decoder, signed_body(tuple(wrong))) == "SignatureDoesNotMatch"
    for body in (trailer_body(signature=b"0" * 64), trailer_body(checksum=b"AAAAAA==")):
        decoder = ChunkedDecoder(len(CONTENT), signer=signer(TRAILER_SEED), trailer=CRC32C)
        assert refusal(decoder, body) == "SignatureDoesNotMatch"


def test_chunks_cannot_be_exchanged_or_left_out() -> None:
    first, second = b"a" * 30, b"b" * 30
    body = sign([first, second])
    half = body.index(b"1e;", 3)
    end = body.index(b"0;chunk", half)
    swapped = body[half:end] + body[:half] + body[end:]
    assert refusal(ChunkedDecoder(60, signer=signer(), trailer=None), swapped, 7) == "SignatureDoesNotMatch"
    shorter = body[:half] + body[end:]
    assert refusal(ChunkedDecoder(30, signer=signer(), trailer=None), shorter, 7) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "IncompleteBody"),
        (b"5\r\nhello", "IncompleteBody"),
        (b"5\r\nhello\r\n", "IncompleteBody"),
        (b"5\r\nhello\r\n0\r\n", "IncompleteBody"),
        (b"5\r\nhello\r\n0\r\n%b:NhCmhg==\r\n" % CRC32, "IncompleteBody"),
        (b"4\r\nhell\r\n0\r\n%b:NhCmhg==\r\n\r\n" % CRC32, "IncompleteBody"),
        (b"6\r\nhello!\r\n0\r\n\r\n", "IncompleteBody"),
        (b"5\r\nhello!\r\n", "InvalidChunkSizeError"),
        (b"5\r\nhello\n0\r\n\r\n", "InvalidChunkSizeError"),
        (b"5\nhello\r\n", "InvalidChunkSizeError"),
        (b"-5\r\nhello\r\n", "InvalidChunkSizeError"),
        (b"0x5\r\nhello\r\n", "InvalidChunkSizeError"),
        (b" 5\r\nhello\r\n", "InvalidChunkSizeError"),
        (b"5;a=b\r\nhello\r\n", "InvalidChunkSizeError"),
        (b"\r\n", "InvalidChunkSizeError"),
        (b"00000000000000005\r\nhello\r\n", "InvalidChunkSizeError"),
        (b"%x\r\n" % (CHUNK_BYTES_MAX + 1), "InvalidChunkSizeError"),
        (b"%x\r\n" % CHUNK_BYTES_MAX, "IncompleteBody"),
        (b"5\r\nhello\r\n0\r\n\r\n", "MalformedTrailerError"),
        (b"5\r\nhello\r\n0\r\n%b:NhCmhg=\r\n\r\n" % CRC32, "MalformedTrailerError"),
        (b"5\r\nhello\r\n0\r\n%b:N*Cmhg==\r\n\r\n" % CRC32, "MalformedTrailerError"),
        (b"5\r\nhello\r\n0\r\n%b:NhCmhg==\r\n%b:NhCmhg==\r\n\r\n" % (CRC32, CRC32), "MalformedTrailerError"),
        (b"5\r\nhello\r\n0\r\n%b:NhCmhg==\r\nx-amz-acl:public-read\r\n\r\n" % CRC32, "MalformedTrailerError"),
        (b"5\r\nhello\r\n0\r\n%b:NhCmhg==\r\n\r\nX" % CRC32, "InvalidRequest"),
        (b"5\r\nhello\r\n0\r\n%b:AAAAAA==\r\n\r\n" % CRC32, "BadDigest"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1000, 1])
def test_malformed_bodies(body: bytes, code: str, step: int) -> None:
    assert refusal(plain(5), body, step) == code


def test_a_trailer_that_was_not_announced() -> None:
    decoder = ChunkedDecoder(0, signer=None, trailer=None)
    assert refusal(decoder, b"0\r\n%b:AAAAAA==\r\n\r\n" % CRC32) == "MalformedTrailerError"


def test_lines_and_trailers_have_limits() -> None:
    exact = b"0" * (LINE_BYTES_MAX - 2) + b"\r\n"
    assert refusal(plain(5), exact) == "InvalidChunkSizeError"  # a line that may be, with a size that may not
    for step in (1000, 1):
        assert refusal(plain(5), b"0" * (LINE_BYTES_MAX + 1), step) == "InvalidRequest"
    blanks = b" " * (LINE_BYTES_MAX - 40)
    decoder = plain(0)
    decoder.feed(b"0\r\n%b:%bAAAAAA==\r\n" % (CRC32, blanks))
    with pytest.raises(S3Error):
        decoder.feed(b"\t\r\n" * TRAILER_BYTES_MAX)


@given(st.binary(max_size=300), st.integers(1, 60))
def test_what_is_encoded_decodes(content: bytes, step: int) -> None:
    encoder = ChunkedEncoder(len(content))
    pieces = []
    for at in range(0, len(content), step):
        pieces += encoder.feed(content[at : at + step])
    body = b"".join(pieces) + encoder.finish(CRC32, crc_of(content))
    assert len(body) == encoded_length(len(content), CRC32)
    assert decode(plain(len(content)), body, step) == content


@pytest.mark.parametrize("length", [SENT_CHUNK_BYTES - 1, SENT_CHUNK_BYTES, 3 * SENT_CHUNK_BYTES + 7])
def test_large_contents_go_in_chunks(length: int) -> None:
    content = bytes(length)
    encoder = ChunkedEncoder(length)
    body = b"".join(encoder.feed(content)) + encoder.finish(CRC32, crc_of(content))
    assert len(body) == encoded_length(length, CRC32)
    assert body.startswith(b"%x\r\n" % min(length, SENT_CHUNK_BYTES))
    assert decode(plain(length), body, 70_001) == content
