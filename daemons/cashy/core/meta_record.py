"""How an object's metadata lies in its arena slot.

Law: the one place that knows the bytes of a metadata slot, and the kinds of slots. A record is a fixed prefix of native words, which the
hit path reads with one ``struct`` call, followed by the serialized ``ObjectInfo``, which is parsed only by whoever asks for headers or the
version. Freshness is not in the record: it is the slot header's ``valid_until_ns`` (``CLOCK_MONOTONIC``), until which a client may use the
record without asking the master; the master moves it without writing the record anew.

The same ``ObjectInfo`` goes over the socket, so there is one description of an object and not two. Rejected: a record without the prefix
(parsing protobuf costs more than the rest of a hit), and a record without the protobuf (a second encoding of headers).
"""

from __future__ import annotations

from struct import Struct

from google.protobuf.message import DecodeError

from aviary.cashy.v1.control_pb2 import ObjectInfo
from cashy.errors import InternalError, OriginInvalid

__all__ = [
    "CONTENT_ID_BYTES",
    "KIND_BLOCK",
    "KIND_META",
    "META_RECORD_BYTES_MAX",
    "PREFIX_BYTES",
    "decode",
    "decode_prefix",
    "encode",
]

#: Slot kind of a metadata record, which is keyed by ``names.meta_digest``.
KIND_META = 1

#: Slot kind of a block of an object, which is keyed by ``names.block_digest``.
KIND_BLOCK = 2

CONTENT_ID_BYTES = 32

#: S3 allows 2 KiB of user metadata and 8 KiB of headers in all, key included; this leaves a store some freedom and still keeps the
#: copy of a record on the hit path short. A record also has to fit a control frame (``shmipc.limits.FRAME_BYTES_MAX``).
META_RECORD_BYTES_MAX = 65_536

_PREFIX = Struct("=32sQQQ")  # content_id, size_bytes, block_bytes, length of the ObjectInfo that follows
PREFIX_BYTES = _PREFIX.size

assert _PREFIX.size == CONTENT_ID_BYTES + 3 * 8


def encode(info: ObjectInfo) -> bytes:
    """The bytes of the record for ``info``.

    Raises :class:`OriginInvalid` if they are more than :data:`META_RECORD_BYTES_MAX` (a store with absurdly many headers), and
    :class:`InternalError` if ``content_id`` or ``block_bytes`` is missing.
    """
    if len(info.content_id) != CONTENT_ID_BYTES or not info.block_bytes:
        raise InternalError(
            "metadata without content_id or block_bytes cannot be recorded: a bug in the master"
        )
    body = info.SerializeToString()
    if PREFIX_BYTES + len(body) > META_RECORD_BYTES_MAX:
        raise OriginInvalid(
            f"the object's headers and metadata take {len(body):,} bytes, at most {META_RECORD_BYTES_MAX - PREFIX_BYTES:,} are kept: "
            "remove headers or user metadata from the object"
        )
    return _PREFIX.pack(info.content_id, info.size, info.block_bytes, len(body)) + body


def decode_prefix(record: bytes | bytearray | memoryview) -> tuple[bytes, int, int]:
    """``(content_id, size_bytes, block_bytes)`` of a record; raises :class:`InternalError` if it is cut short."""
    if len(record) < PREFIX_BYTES:
        raise InternalError(f"a metadata record of {len(record)} bytes lacks its prefix of {PREFIX_BYTES}")
    content, size_bytes, block_bytes, _ = _PREFIX.unpack_from(record)
    return content, size_bytes, block_bytes


def decode(record: bytes | bytearray | memoryview) -> ObjectInfo:
    """The whole description; raises :class:`InternalError` if the record is not one."""
    if len(record) < PREFIX_BYTES:
        raise InternalError(f"a metadata record of {len(record)} bytes lacks its prefix of {PREFIX_BYTES}")
    content, size_bytes, block_bytes, length = _PREFIX.unpack_from(record)
    body = bytes(record[PREFIX_BYTES : PREFIX_BYTES + length])
    try:
        info = ObjectInfo.FromString(body)
    except DecodeError as error:
        raise InternalError(f"a metadata record does not parse: {error}") from error
    if len(body) != length or (info.content_id, info.size, info.block_bytes) != (
        content,
        size_bytes,
        block_bytes,
    ):
        raise InternalError(
            "a metadata record contradicts itself: cut short, or of another version of aviary"
        )
    return info
