"""What becomes of a request's body between client and store: which checks it passes, and in which form it goes on.

Law. :func:`plan_upload` decides from the request's head alone, before any byte of the body is read, how long the body to the store is and what
its ``x-amz-content-sha256`` says: both stand in the head that goes out first. The :class:`Upload` then takes bytes as they come and gives
bytes to be sent. No byte given is verified before :meth:`Upload.finish`; the sender holds the last ones back until it has returned.

Three forms come in, three go out:

* *A hash of the whole body in the head*: verified here on the way, and passed on as it is; the store verifies it too.
* *Unsigned, or aws-chunked without a trailer*: goes on plain as ``UNSIGNED-PAYLOAD``. The chunks' signatures are made with a secret that the
  store need not know, so they end here, verified. AWS documents no condition on TLS for unsigned payloads; towards a store
  behind plain HTTP, TCP's checksum is then all that guards these bytes, unless the client sent a checksum header.
* *aws-chunked with a trailing checksum*: goes on as ``STREAMING-UNSIGNED-PAYLOAD-TRAILER`` with the same checksum. It cannot become a
  header, since it is known only at the end, and must not be dropped: parts of a multipart upload that was created with a
  checksum algorithm are refused without one, and the answer repeats it to the client.

A body of unknown length goes on in HTTP's chunked encoding: Amazon's S3 does not take it, and says so itself; other stores do.

Rejected: signing chunks anew for the store; each would have to be held and hashed before its first byte could leave.

Source: Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header", "PutObject", "UploadPart".
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple, Protocol

from cashy.core.aws_chunked import (
    CHECKSUM_LENGTHS,
    CHUNK_BYTES_MAX,
    FRAMINGS,
    ChunkedDecoder,
    ChunkedEncoder,
    ChunkSigner,
    encoded_length,
)
from cashy.core.s3_errors import S3Error

__all__ = ["BODY_BYTES_MAX", "UNSIGNED_PAYLOAD", "Upload", "UploadPlan", "content_of", "plan_upload"]

#: S3's limit for one PUT or part, 5 GiB, and as much as its framing could add (a line of 90 bytes for every 8 KiB).
BODY_BYTES_MAX = CHUNK_BYTES_MAX + CHUNK_BYTES_MAX // 64

UNSIGNED_PAYLOAD = b"UNSIGNED-PAYLOAD"

_HEX_SHA256 = re.compile(rb"[0-9a-f]{64}")
_LENGTH = re.compile(rb"[0-9]{1,16}")


class Upload(Protocol):
    """A body on its way."""

    def feed(self, data: bytes) -> list[bytes]:
        """Takes bytes as the client sent them, gives what is to be sent, in pieces that are not empty. Raises :class:`S3Error`."""
        ...

    def finish(self) -> list[bytes]:
        """The client's body has ended; gives what is still to be sent. Raises :class:`S3Error` if anything of it was wrong."""
        ...


class UploadPlan(NamedTuple):
    """How a body goes on: ``length`` is what will be sent, in bytes, None if it is not known before the end; ``headers`` come in place of the
    client's own of these names.
    """

    upload: Upload
    length: int | None
    payload: bytes
    headers: dict[bytes, bytes]


def plan_upload(headers: Mapping[bytes, bytes], signer: ChunkSigner | None) -> UploadPlan:
    """Decides from a request's headers (names in lower case). ``signer`` as of the request's signature, None if it has none.

    Without Content-Length the body is a chunked one. Raises :class:`S3Error` for what cannot be taken, whatever the bytes are.
    """
    length = _length_of(headers, b"content-length")
    if length is not None and length > BODY_BYTES_MAX:
        raise S3Error("EntityTooLarge")
    announced = headers.get(b"x-amz-content-sha256", UNSIGNED_PAYLOAD)
    if announced.startswith(b"STREAMING-"):
        return _plan_chunked(headers, announced, signer)
    if announced == UNSIGNED_PAYLOAD:
        return UploadPlan(_Plain(None), length, announced, {})
    if _HEX_SHA256.fullmatch(announced) is None:
        raise S3Error(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-… or a valid sha256 value.",
        )
    return UploadPlan(_Plain(announced), length, announced, {})


def content_of(plan: UploadPlan, sent: Iterable[bytes]) -> bytes:
    """The content of a whole body that its upload has given, without framing."""
    body = b"".join(sent)
    trailer = plan.headers.get(b"x-amz-trailer")
    if trailer is None:
        return body
    decoder = ChunkedDecoder(int(plan.headers[b"x-amz-decoded-content-length"]), signer=None, trailer=trailer)
    return b"".join(decoder.feed(body))


def _plan_chunked(headers: Mapping[bytes, bytes], announced: bytes, signer: ChunkSigner | None) -> UploadPlan:
    framing = FRAMINGS.get(announced)
    if framing is None:
        raise S3Error("NotImplemented", f"{announced.decode('latin-1')[:80]} is not implemented.")
    if framing.is_signed and signer is None:
        raise S3Error("InvalidRequest", "The chunks of an unsigned request cannot be signed.")
    length = _length_of(headers, b"x-amz-decoded-content-length")
    if length is None:
        raise S3Error("MissingContentLength", "You must provide the x-amz-decoded-content-length header.")
    if length > CHUNK_BYTES_MAX:
        raise S3Error("EntityTooLarge")
    trailer = _trailer_of(headers) if framing.has_trailer else None
    decoder = ChunkedDecoder(length, signer=signer if framing.is_signed else None, trailer=trailer)
    encodings = _encodings_without_chunks(headers)
    if trailer is None:
        return UploadPlan(
            _Decoded(decoder), length, UNSIGNED_PAYLOAD, {b"content-encoding": b",".join(encodings)}
        )
    sent_headers = {
        b"content-encoding": b",".join([*encodings, b"aws-chunked"]),
        b"x-amz-decoded-content-length": b"%d" % length,
        b"x-amz-trailer": trailer,
    }
    encoder = ChunkedEncoder(length)
    return UploadPlan(
        _Reframed(decoder, encoder, trailer),
        encoded_length(length, trailer),
        b"STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        sent_headers,
    )


def _length_of(headers: Mapping[bytes, bytes], name: bytes) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    if _LENGTH.fullmatch(text) is None:
        raise S3Error("InvalidArgument", f"{name.decode()} is no number of bytes.")
    return int(text)


def _trailer_of(headers: Mapping[bytes, bytes]) -> bytes:
    trailer = headers.get(b"x-amz-trailer", b"").strip().lower()
    if trailer not in CHECKSUM_LENGTHS:
        raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    return trailer


def _encodings_without_chunks(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """S3 stores an object without this encoding, and not every store knows to take it off."""
    parts = [part.strip() for part in headers.get(b"content-encoding", b"").split(b",")]
    return [part for part in parts if part and part.lower() != b"aws-chunked"]


class _Plain:
    """Goes on as it is; with ``expected`` (64 hexadecimal digits) it is hashed."""

    def __init__(self, expected: bytes | None) -> None:
        self._expected = expected
        self._hash = sha256()
        self._length = 0

    def feed(self, data: bytes) -> list[bytes]:
        self._length += len(data)
        if self._length > BODY_BYTES_MAX:  # which its head did not say
            raise S3Error("EntityTooLarge")
        if self._expected is not None:
            self._hash.update(data)
        return [data] if data else []

    def finish(self) -> list[bytes]:
        computed = self._hash.hexdigest()
        if self._expected is not None and not hmac.compare_digest(computed.encode(), self._expected):
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                details=(
                    ("ClientComputedContentSHA256", self._expected.decode()),
                    ("S3ComputedContentSHA256", computed),
                ),
            )
        return []


class _Decoded:
    """aws-chunked comes, the plain content goes."""

    def __init__(self, decoder: ChunkedDecoder) -> None:
        self._decoder = decoder

    def feed(self, data: bytes) -> list[bytes]:
        return self._decoder.feed(data)

    def finish(self) -> list[bytes]:
        self._decoder.finish()
        return []


class _Reframed:
    """aws-chunked with a trailer comes, the same in unsigned chunks goes."""

    def __init__(self, decoder: ChunkedDecoder, encoder: ChunkedEncoder, trailer: bytes) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._trailer = trailer

    def feed(self, data: bytes) -> list[bytes]:
        return [piece for content in self._decoder.feed(data) for piece in self._encoder.feed(content)]

    def finish(self) -> list[bytes]:
        self._decoder.finish()
        value = self._decoder.trailer_value
        assert value is not None, "a complete body has its trailer"
        return [self._encoder.finish(self._trailer, value)]
