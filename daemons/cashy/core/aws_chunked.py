"""aws-chunked bodies: decoded and checked on their way in, made on their way out.

Law. Bytes in, bytes out: no socket, no clock, no credentials (signing keys are handed in). Here is the framing that S3 clients put around an
upload whose hash or checksum they learn only at its end, and nothing of HTTP's own framing, which is off before. What is decoded is *not
trusted* until :meth:`ChunkedDecoder.finish` has returned: a chunk's signature covers the whole chunk, and the trailer comes last. So whoever
passes bytes on at once must hold back the end of the request until then; a store forgets a request that was cut off.

Checked: every chunk's signature, each chained to the one before (the first to the request's own); the trailer's signature; the announced
length of the content; the trailing checksum, for each algorithm that is at hand; that exactly the announced trailer comes, and nothing
after it. Sizes of chunks are bounded by the largest part S3 takes only: some SDKs send the whole content as one chunk, and nothing here
keeps more than a line.

CRC64NVME and XXHash go on unverified, and the store checks them: every body here goes on to one, with its checksum. A CRC64 in
plain Python does under 10 MB/s, less than any network, and the one well-kept package that has it in C (awscrt) brings a second HTTP, TLS
and event loop stack with it.

Rejected: AWS's lower limit of 8 KiB for signed chunks. It guards against work per chunk, which is small here, and other stores
do without it. Also rejected: ignoring what follows the last chunk; it would be smuggled past the checks.

Sources: Amazon S3 API Reference, "Signature Calculations … Transferring Payload in Multiple Chunks", "Signature calculations for trailing
headers", "Checking object integrity".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple, Protocol

from crc32c import crc32c

from cashy.core.s3_errors import S3Error
from cashy.core.sigv4 import EMPTY_SHA256, PreparedKey

__all__ = [
    "CHECKSUM_LENGTHS",
    "CHUNK_BYTES_MAX",
    "FRAMINGS",
    "LINE_BYTES_MAX",
    "SENT_CHUNK_BYTES",
    "TRAILER_BYTES_MAX",
    "ChunkSigner",
    "ChunkedDecoder",
    "ChunkedEncoder",
    "Framing",
    "encoded_length",
]

#: S3's limit for one PUT or part, 5 GiB: no chunk can be larger.
CHUNK_BYTES_MAX = 5 << 30

#: A chunk's first line: 16 digits and a signature make 97 bytes.
LINE_BYTES_MAX = 256

#: All lines of a trailer: a checksum and a signature make about 170 bytes.
TRAILER_BYTES_MAX = 1024

#: Chunks that go to the store: what botocore sends. MinIO takes at most 16 MiB, AWS at least 8 KiB.
SENT_CHUNK_BYTES = 1 << 20

#: Trailing checksums and the length of their Base64 text.
CHECKSUM_LENGTHS: dict[bytes, int] = {
    b"x-amz-checksum-crc32": 8,
    b"x-amz-checksum-crc32c": 8,
    b"x-amz-checksum-crc64nvme": 12,
    b"x-amz-checksum-md5": 24,
    b"x-amz-checksum-sha1": 28,
    b"x-amz-checksum-sha256": 44,
    b"x-amz-checksum-sha512": 88,
    b"x-amz-checksum-xxhash128": 24,
    b"x-amz-checksum-xxhash3": 12,
    b"x-amz-checksum-xxhash64": 12,
}

_SIGNATURE_TRAILER = b"x-amz-trailer-signature"
_SIGNED_LINE = re.compile(rb"([0-9A-Fa-f]{1,16});chunk-signature=([0-9a-f]{64})\r\n")
_PLAIN_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


class Framing(NamedTuple):
    """What an ``x-amz-content-sha256`` of ``STREAMING-…`` says about a body."""

    is_signed: bool
    has_trailer: bool


#: By the header's value. The ECDSA ones (SigV4A) are not here: no key of ours could verify them.
FRAMINGS: dict[bytes, Framing] = {
    b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD": Framing(is_signed=True, has_trailer=False),
    b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": Framing(is_signed=True, has_trailer=True),
    b"STREAMING-UNSIGNED-PAYLOAD-TRAILER": Framing(is_signed=False, has_trailer=True),
}


class ChunkSigner:
    """The chain of signatures of one body, begun by the request's own (``seed``, 64 hexadecimal digits).

    ``timestamp`` and ``scope`` (``date/region/s3/aws4_request``) are the request's.
    """

    def __init__(self, key: PreparedKey, timestamp: bytes, scope: bytes, seed: bytes) -> None:
        self._key = key
        self._about = timestamp + b"\n" + scope + b"\n"
        self._previous = seed

    def sign_chunk(self, data_sha256: bytes) -> bytes:
        """The next chunk's signature, of the hexadecimal hash of its data."""
        return self._sign(b"AWS4-HMAC-SHA256-PAYLOAD\n", EMPTY_SHA256 + b"\n" + data_sha256)

    def sign_trailer(self, trailer: bytes) -> bytes:
        """The trailer's signature; ``trailer`` is ``name:value`` and a line feed for each of its lines."""
        return self._sign(b"AWS4-HMAC-SHA256-TRAILER\n", hashlib.sha256(trailer).hexdigest().encode())

    def _sign(self, algorithm: bytes, what: bytes) -> bytes:
        self._previous = self._key.sign(algorithm + self._about + self._previous + b"\n" + what)
        return self._previous


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc:
    """A 32-bit CRC with the interface of hashlib."""

    def __init__(self, function: Callable[[bytes, int], int]) -> None:
        self._function = function
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_CHECKSUMS: dict[bytes, Callable[[], _Hash]] = {
    b"x-amz-checksum-crc32": lambda: _Crc(zlib.crc32),
    b"x-amz-checksum-crc32c": lambda: _Crc(crc32c),
    b"x-amz-checksum-md5": lambda: hashlib.md5(usedforsecurity=False),
    b"x-amz-checksum-sha1": lambda: hashlib.sha1(usedforsecurity=False),
    b"x-amz-checksum-sha256": lambda: hashlib.sha256(),
    b"x-amz-checksum-sha512": lambda: hashlib.sha512(),
}


class _Expect(Enum):
    SIZE = auto()  # the line before a chunk
    DATA = auto()
    DATA_END = auto()  # the line end after a chunk
    TRAILER = auto()
    END = auto()


class ChunkedDecoder:
    """Decodes one body. ``decoded_length`` is what ``x-amz-decoded-content-length`` announced, in bytes.

    ``signer`` for signed framings. ``trailer`` is the announced trailer's name in lower case, None if there is none.
    Every method raises :class:`S3Error` for a body that is not what it claims; then nothing of it counts.
    """

    def __init__(self, decoded_length: int, *, signer: ChunkSigner | None, trailer: bytes | None) -> None:
        self._length = decoded_length
        self._signer = signer
        self._trailer_name = trailer
        make_checksum = _CHECKSUMS.get(trailer) if trailer is not None else None
        self._checksum = make_checksum() if make_checksum is not None else None
        self._expect = _Expect.SIZE
        self._line = b""
        self._chunk_left = 0
        self._chunk_hash = hashlib.sha256()
        self._chunk_signature = b""
        self._decoded = 0
        self._trailer_bytes = 0
        self._trailer_signature: bytes | None = None
        #: The trailing checksum's Base64 text once it has come.
        self.trailer_value: bytes | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Takes bytes of the body; gives the content among them, in pieces that are not empty."""
        content: list[bytes] = []
        at = 0
        while at < len(data):
            if self._expect is _Expect.DATA:
                piece = data[at : at + self._chunk_left]
                at += len(piece)
                self._take(piece)
                content.append(piece)
            elif self._expect is _Expect.END:
                raise S3Error("InvalidRequest", "The body goes on after its last chunk.")
            else:
                at = self._take_line(data, at)
        return content

    def finish(self) -> None:
        """The body has ended: raises :class:`S3Error` unless it was complete."""
        if self._expect is not _Expect.END:
            raise S3Error("IncompleteBody", "The aws-chunked body ended before its last chunk.")

    def _take_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at) + 1
        self._line += data[at:end] if end else data[at : at + LINE_BYTES_MAX + 1]
        if len(self._line) > LINE_BYTES_MAX:
            raise S3Error("InvalidRequest", "A line of the aws-chunked body is too long.")
        if not end:
            return len(data)
        line, self._line = self._line, b""
        if self._expect is _Expect.SIZE:
            self._begin_chunk(line)
        elif self._expect is _Expect.DATA_END:
            if line != b"\r\n":
                raise _bad_chunk("A chunk is longer than its size says.")
            self._expect = _Expect.SIZE
        else:
            self._take_trailer_line(line)
        return end

    def _begin_chunk(self, line: bytes) -> None:
        match = (_SIGNED_LINE if self._signer is not None else _PLAIN_LINE).fullmatch(line)
        if match is None:
            raise _bad_chunk("A chunk does not begin with its size (and signature, if signed).")
        size = int(match[1], 16)
        if size > CHUNK_BYTES_MAX:
            raise _bad_chunk(f"A chunk has {size} bytes; {CHUNK_BYTES_MAX} are allowed.")
        self._decoded += size
        if self._decoded > self._length or (size == 0 and self._decoded < self._length):
            raise S3Error(
                "IncompleteBody",
                f"The content's length is not the {self._length} bytes of x-amz-decoded-content-length.",
            )
        if self._signer is not None:
            self._chunk_signature = match[2]
            self._chunk_hash = hashlib.sha256()
        self._chunk_left = size
        if size:
            self._expect = _Expect.DATA
        else:
            self._check_signature()
            self._expect = _Expect.TRAILER

    def _take(self, piece: bytes) -> None:
        if self._signer is not None:
            self._chunk_hash.update(piece)
        if self._checksum is not None:
            self._checksum.update(piece)
        self._chunk_left -= len(piece)
        if not self._chunk_left:
            self._check_signature()
            self._expect = _Expect.DATA_END

    def _check_signature(self) -> None:
        if self._signer is None:
            return
        expected = self._signer.sign_chunk(self._chunk_hash.hexdigest().encode())
        if not hmac.compare_digest(expected, self._chunk_signature):
            raise S3Error("SignatureDoesNotMatch", "The signature of a chunk does not match its content.")

    # ------------------------------------------------------------ the trailer

    def _take_trailer_line(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > TRAILER_BYTES_MAX:
            raise _bad_trailer(f"it is longer than {TRAILER_BYTES_MAX} bytes")
        text = line.rstrip(b"\r\n")
        if text:
            self._take_trailer(*text.partition(b":")[::2])
        elif not self._is_signature_due():  # AWS's own example has an empty line before the signature
            self._check_trailer()
            self._expect = _Expect.END

    def _is_signature_due(self) -> bool:
        return self._signer is not None and self.trailer_value is not None and self._trailer_signature is None

    def _take_trailer(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.strip()
        if self._trailer_name is None:
            raise _bad_trailer("none was announced by x-amz-trailer")
        if name == self._trailer_name and self.trailer_value is None:
            if len(value) != CHECKSUM_LENGTHS[name] or _BASE64.fullmatch(value) is None:
                raise _bad_trailer(f"{name.decode()} is no checksum in Base64")
            self.trailer_value = value
        elif name == _SIGNATURE_TRAILER and self._signer is not None and self._trailer_signature is None:
            self._trailer_signature = value
        else:
            raise _bad_trailer("it has lines that were not announced, or twice")

    def _check_trailer(self) -> None:
        name, value = self._trailer_name, self.trailer_value
        if name is None:
            return
        if value is None:
            raise _bad_trailer(f"{name.decode()} was announced and did not come")
        if self._signer is not None:
            expected = self._signer.sign_trailer(name + b":" + value + b"\n")
            if not hmac.compare_digest(expected, self._trailer_signature or b""):
                raise S3Error("SignatureDoesNotMatch", "The signature of the trailer does not match.")
        if self._checksum is not None and base64.b64encode(self._checksum.digest()) != value:
            raise S3Error("BadDigest", f"The {name.decode()} you specified did not match what we received.")


def _bad_chunk(message: str) -> S3Error:
    return S3Error("InvalidChunkSizeError", message)


def _bad_trailer(problem: str) -> S3Error:
    return S3Error("MalformedTrailerError", f"The trailer of the body is not well-formed: {problem}.")


# ---------------------------------------------------------------- on the way out


def encoded_length(decoded_length: int, trailer: bytes) -> int:
    """Length in bytes of what :class:`ChunkedEncoder` makes of so much content with this checksum as trailer."""
    whole, rest = divmod(decoded_length, SENT_CHUNK_BYTES)
    sizes = whole * (_framed(SENT_CHUNK_BYTES)) + (_framed(rest) if rest else 0)
    return sizes + len(b"0\r\n") + len(trailer) + 1 + CHECKSUM_LENGTHS[trailer] + len(b"\r\n\r\n")


def _framed(size: int) -> int:
    return len(b"%x\r\n" % size) + size + 2


class ChunkedEncoder:
    """Makes the body of ``STREAMING-UNSIGNED-PAYLOAD-TRAILER``; the content's length is known beforehand."""

    def __init__(self, decoded_length: int) -> None:
        self._left = decoded_length
        self._chunk_left = 0

    def feed(self, content: bytes) -> list[bytes]:
        """Frames content, in pieces that are not empty."""
        pieces: list[bytes] = []
        at = 0
        while at < len(content):
            if not self._chunk_left:
                self._chunk_left = min(SENT_CHUNK_BYTES, self._left)
                pieces.append(b"%x\r\n" % self._chunk_left)
            piece = content[at : at + self._chunk_left]
            at += len(piece)
            self._left -= len(piece)
            self._chunk_left -= len(piece)
            pieces.append(piece)
            if not self._chunk_left:
                pieces.append(b"\r\n")
        return pieces

    def finish(self, trailer: bytes, value: bytes) -> bytes:
        """The last chunk and the trailer."""
        assert not self._left, "all content has been fed"
        return b"0\r\n" + trailer + b":" + value + b"\r\n\r\n"
